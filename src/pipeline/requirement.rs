//! Whether a session may call a route that asks for more than a session.
//!
//! Held against what is known of the session since its login; nothing goes upstream before.

use crate::clock::Timestamp;
use crate::session::claims::Held;
use crate::session::record::Session;
use crate::web::requirement::{Requirement, says_any};

/// Why a session may not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unmet {
    /// Its user is not one of those who may; the entry that says so.
    Entry(String),
    /// Its login was not such that it may: another one can mend it.
    Login,
}

/// Holds a session against a rule. What no login can mend is told first.
pub(super) fn check(rule: &Requirement, session: &Session, now: Timestamp) -> Result<(), Unmet> {
    let held = session.claims();
    let mut is_known = true;
    for (path, wanted) in &rule.claims {
        match held.get(path) {
            Held::Said(claim) if says_any(claim, wanted) => {}
            Held::Said(_) | Held::Unsaid => return Err(Unmet::Entry(path.clone())),
            // The rule is newer than the login.
            Held::Unknown => is_known = false,
        }
    }
    if !rule.scopes.is_empty() && !held.has_any_scope(&rule.scopes) {
        return Err(Unmet::Entry("scope".to_owned()));
    }
    let login = &session.details.authentication;
    let acr = login.acr.as_deref();
    let is_strong = rule.acr.is_empty() || rule.acr.iter().any(|one| acr == Some(one));
    let is_fresh = rule
        .max_auth_age
        .is_none_or(|age| login.auth_time.is_some_and(|at| now <= at + age));
    if is_known && is_strong && is_fresh {
        Ok(())
    } else {
        Err(Unmet::Login)
    }
}
