//! The headers that an operator sets and removes.

use http::HeaderName;

use super::Page;
use crate::proxy::HeaderChanges;

/// What is set and removed, with the values that are no secrets.
pub(super) fn changes(page: &mut Page, changes: &HeaderChanges) {
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
    for name in changes.remove.iter().filter(|name| !is_filled(name)) {
        page.line("", &format!("removes {name}, as configured"));
    }
}

/// Whether a header of this name may hold a secret between bff and the upstream.
fn may_be_secret(name: &HeaderName) -> bool {
    const SIGNS: [&str; 8] = [
        "auth", "cookie", "cred", "key", "pass", "secret", "sign", "token",
    ];
    SIGNS.iter().any(|sign| name.as_str().contains(sign))
}
