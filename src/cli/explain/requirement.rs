//! Who may call a route, beside whoever has a session.

use super::Page;
use crate::proxy::RouteSettings;

/// The lines of a route's `require`.
pub(super) fn lines(page: &mut Page, route: &RouteSettings) {
    let Some(rule) = &route.require else { return };
    let mut word = "requires";
    for (claim, texts) in &rule.claims {
        page.line(word, &format!("the claim {claim} says {}", any(texts)));
        word = "";
    }
    if !rule.scopes.is_empty() {
        page.line(word, &format!("the scope {} is granted", any(&rule.scopes)));
        word = "";
    }
    if !rule.acr.is_empty() {
        page.line(word, &format!("the sign-in had the acr {}", any(&rule.acr)));
        word = "";
    }
    if let Some(age) = rule.max_auth_age {
        let age = humantime::format_duration(age);
        page.line(word, &format!("the sign-in is no older than {age}"));
    }
    let mends = "else 403 forbidden, or 401 step_up_required where another sign-in mends it";
    page.line("", mends);
}

fn any(texts: &[String]) -> String {
    texts.join(" or ")
}
