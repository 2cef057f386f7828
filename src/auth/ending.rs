//! What follows the end of a session, by the reason of it: whether its tokens are revoked at the provider,
//! and what the browser is told.
//!
//! [`follows`] is the one table. Whatever the reason, the log and the metric have each end once
//! (`session/journal.rs`), and what is open on the session's behalf hears of it (`web/ending.rs`).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::auth::revocation::Revocations;
use crate::clock::Clock;
use crate::oidc::Provider;
use crate::session::journal::{End, OnEnd};
use crate::session::record::Session;
use crate::web::background::Background;
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aftermath {
    /// What becomes of the session's tokens at the provider.
    tokens: Tokens,
    /// Whether another session has taken the place of this one: the browser is told so, and keeps its
    /// cookie, which may be the other's by now.
    pub is_replaced: bool,
}

/// What becomes of the tokens of a session that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    /// Revoked as after every logout, with `provider.revoke_on_logout`.
    OfALogout,
    /// The same, unless the grant was meant to outlive the user's session at the provider: then it is
    /// not ours to end because of that session (Back-Channel Logout §2.7, E12).
    OfALogoutThere,
    /// Revoked with `session.revoke_superseded`: nobody will use them again.
    OfAReplacedSession,
    /// Revoked with `session.revoke_abandoned`.
    OfAnAbandonedSession,
    /// Left alone: the provider itself has done with them.
    Dead,
}

/// What follows an end for this reason.
pub const fn follows(reason: EndReason) -> Aftermath {
    let (tokens, is_replaced) = match reason {
        EndReason::Logout | EndReason::SignedOutElsewhere | EndReason::Revoked => {
            (Tokens::OfALogout, false)
        }
        EndReason::ProviderLogout => (Tokens::OfALogoutThere, false),
        EndReason::Superseded => (Tokens::OfAReplacedSession, true),
        EndReason::Expired | EndReason::Evicted => (Tokens::OfAnAbandonedSession, false),
        EndReason::RefreshRefused => (Tokens::Dead, false),
    };
    Aftermath {
        tokens,
        is_replaced,
    }
}

/// What is told of an end that nobody remembers any more, however it came.
pub(in crate::auth) const FORGOTTEN: EndReason = EndReason::Expired;

/// What is told to a browser whose cookie is gone: another tab signed out, which took it.
pub(in crate::auth) const WITHOUT_COOKIE: EndReason = EndReason::Logout;

/// Whose tokens are revoked at the provider.
#[derive(Debug, Clone, Copy)]
pub struct RevocationRules {
    /// After a logout, whoever asked for it (E5): `provider.revoke_on_logout`.
    pub on_logout: bool,
    /// After another login took the session's place: `session.revoke_superseded`.
    pub superseded: bool,
    /// After the session ran into a limit, or there was no room for it: `session.revoke_abandoned`.
    pub abandoned: bool,
}

/// Does what follows an end of a session of one site and one client.
#[derive(Debug, Clone)]
pub struct Endings {
    provider: Provider,
    revocations: Revocations,
    rules: RevocationRules,
}

impl Endings {
    /// For sessions whose tokens are of this provider.
    pub fn new(
        provider: Provider,
        clock: Arc<dyn Clock>,
        background: Background,
        rules: RevocationRules,
    ) -> Self {
        Self {
            revocations: Revocations::new(provider.clone(), clock, background),
            provider,
            rules,
        }
    }

    pub(in crate::auth) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    fn revokes(&self, tokens: Tokens) -> bool {
        match tokens {
            Tokens::OfALogout => self.rules.on_logout,
            Tokens::OfALogoutThere => {
                self.rules.on_logout && !self.provider.asks_for("offline_access")
            }
            Tokens::OfAReplacedSession => self.rules.superseded,
            Tokens::OfAnAbandonedSession => self.rules.abandoned,
            Tokens::Dead => false,
        }
    }

    fn ended(&self, session: &Arc<Session>, end: &End<'_>) {
        if !end.spares_tokens && self.revokes(follows(end.reason).tokens) {
            self.revocations.begin_last(Arc::clone(session));
        }
    }
}

/// Who knows what follows the ends of sessions at sites that are made as they are asked for.
pub trait FindsEndings: Send + Sync + fmt::Debug {
    /// For the sessions of this site that came of logins with this registration; `None` where there is no
    /// such site, or it signs people in as somebody else.
    fn of(&self, site: &SiteId, registration: &Registration) -> Option<Endings>;
}

/// What follows the ends of all sites' sessions, whichever of them brought it about: a logout token, a
/// limit and an administrator end those of others too. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AllEndings(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    of_sites: RwLock<HashMap<(SiteId, Registration), Endings>>,
    of_tenants: OnceLock<Box<dyn FindsEndings>>,
}

impl AllEndings {
    /// From now on sessions of these sites that came of logins with these registrations are followed so,
    /// and those of tenants as `of_tenants` finds it.
    pub fn replace(&self, all: impl IntoIterator<Item = (SiteId, Registration, Endings)>) {
        let all = all.into_iter();
        let all = all.map(|(site, registration, endings)| ((site, registration), endings));
        *self
            .0
            .of_sites
            .write()
            .unwrap_or_else(PoisonError::into_inner) = all.collect();
    }

    /// Asks this for what follows the ends of tenants' sessions; once.
    pub fn find_tenants(&self, of_tenants: Box<dyn FindsEndings>) {
        drop(self.0.of_tenants.set(of_tenants));
    }

    fn of(&self, session: &Session) -> Option<Endings> {
        let (site, registration) = (&session.site, &session.registration);
        if site.tenant_name().is_some() {
            return self.0.of_tenants.get()?.of(site, registration);
        }
        let of_sites = &self.0.of_sites;
        let of_sites = of_sites.read().unwrap_or_else(PoisonError::into_inner);
        let of = (site.clone(), registration.clone());
        of_sites.get(&of).cloned()
    }
}

impl OnEnd for AllEndings {
    /// By its own site and its own client: no token goes to another. What is gone from the configuration
    /// revokes nothing.
    fn ended(&self, session: &Arc<Session>, end: &End<'_>) {
        if let Some(endings) = self.of(session) {
            endings.ended(session, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// docs/endings.md has a row for each reason, and says which end is answered as that of a session
    /// whose place another took.
    #[test]
    fn every_reason_is_documented() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/endings.md");
        let docs = fs::read_to_string(docs).unwrap();
        let (_, table) = docs.split_once("\n|---|---|---|---|\n").unwrap();
        let rows = table.lines().map_while(|line| line.strip_prefix("| `"));
        let mut documented: Vec<(&str, bool)> = rows
            .map(|row| {
                let (reason, rest) = row.split_once('`').unwrap();
                (reason, rest.contains("401 `session_superseded`"))
            })
            .collect();
        let mut there: Vec<(&str, bool)> = EndReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), follows(*reason).is_replaced))
            .collect();
        documented.sort_unstable();
        there.sort_unstable();
        assert_eq!(there, documented);
    }
}
