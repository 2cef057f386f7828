//! The headers that an operator sets and removes.

use http::HeaderName;

use super::Page;
use crate::proxy::{HeaderChanges, RouteSettings};
use crate::web::identity::IdentitySettings;

/// What is set and removed, with the values that are no secrets.
pub(super) fn changes(
    page: &mut Page,
    changes: &HeaderChanges,
    identity: Option<&IdentitySettings>,
) {
    for (name, value) in &changes.set {
        let shown = value.to_str().ok().filter(|_| !may_be_secret(name));
        let text = match shown {
            Some(value) => format!("sets {name}: {value}"),
            None => format!("sets {name}, as configured"),
        };
        page.line("", &text);
    }
    for (name, template) in &changes.templates {
        let text = format!(
            "sets {name}: {}, filled in for each call",
            template.written()
        );
        page.line("", &text);
    }
    let is_filled = |name: &HeaderName| changes.templates.iter().any(|(other, _)| other == name);
    let is_ours = |name: &HeaderName| identity.is_some_and(|identity| identity.header == *name);
    let removed = changes.remove.iter();
    for name in removed.filter(|name| !is_filled(name) && !is_ours(name)) {
        page.line("", &format!("removes {name}, as configured"));
    }
}

/// The token that tells the upstream who calls.
pub(super) fn identity(page: &mut Page, route: &RouteSettings) {
    let Some(IdentitySettings {
        audience,
        claims,
        header,
    }) = &route.identity
    else {
        return;
    };
    let whom = audience.as_deref().unwrap_or("its own origin");
    let claims = match claims {
        Some(claims) => claims.join(", "),
        None => "the claims that the browser app sees".to_owned(),
    };
    page.line(
        "",
        &format!("gets {header}, signed for {whom}, with sub and"),
    );
    page.line("", &claims);
}

/// Whether a header of this name may hold a secret between bff and the upstream.
fn may_be_secret(name: &HeaderName) -> bool {
    const SIGNS: [&str; 8] = [
        "auth", "cookie", "cred", "key", "pass", "secret", "sign", "token",
    ];
    SIGNS.iter().any(|sign| name.as_str().contains(sign))
}
