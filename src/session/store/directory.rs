//! The lists of sessions: whose they are, at which sites, in which order, and the end of many at once.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Facts, Session, Times};
use crate::session::store::StoreFuture;
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// One site's sessions, or those of all its tenants as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteFilter {
    /// Those of this site or tenant alone.
    Only(SiteId),
    /// Those of this site and of its tenants.
    WithTenants(SiteId),
}

impl SiteFilter {
    /// Whether a session of this site is among them.
    pub fn takes(&self, site: &SiteId) -> bool {
        match self {
            Self::Only(own) => own == site,
            Self::WithTenants(own) => {
                own == site || (own.as_str() == site.site() && site.tenant_name().is_some())
            }
        }
    }
}

/// Who knows the user of a session by the name that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum At {
    /// Whoever does: for people, who look for a name wherever it is one.
    #[default]
    Anywhere,
    /// This issuer.
    Issuer(Arc<str>),
    /// This issuer, as it knows us under this `client_id`.
    Client(Registration),
}

/// Which sessions a list is of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Within {
    /// Where their users signed in.
    pub at: At,
    /// At which sites; `None` for all.
    pub site: Option<SiteFilter>,
}

impl Within {
    /// All sessions.
    pub fn everywhere() -> Self {
        Self::default()
    }

    /// Those of users who signed in at this issuer.
    pub fn of_issuer(issuer: &Arc<str>) -> Self {
        Self {
            at: At::Issuer(Arc::clone(issuer)),
            site: None,
        }
    }

    /// Those that came of logins with this registration.
    pub fn of_client(registration: &Registration) -> Self {
        Self {
            at: At::Client(registration.clone()),
            site: None,
        }
    }

    /// Of these, those at these sites.
    #[must_use]
    pub fn at(self, site: SiteFilter) -> Self {
        Self {
            site: Some(site),
            ..self
        }
    }

    /// Whether a session of these facts is among them.
    pub fn takes(&self, facts: &Facts) -> bool {
        self.takes_registration(&facts.registration)
            && (self.site.as_ref()).is_none_or(|site| site.takes(&facts.site))
    }

    /// Whether users of this registration are among those meant.
    pub fn takes_registration(&self, registration: &Registration) -> bool {
        match &self.at {
            At::Anywhere => true,
            At::Issuer(issuer) => *issuer == registration.issuer,
            At::Client(own) => own == registration,
        }
    }
}

/// Whose sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who<'a> {
    /// All of a user of this registration; at one site, where one is named.
    Subject {
        /// Whose name for the user it is.
        registration: &'a Registration,
        /// The user.
        subject: &'a str,
        /// At which site.
        site: Option<&'a SiteId>,
    },
    /// Those that came of one session at the provider; of this user, where one is named (E10).
    ProviderSid {
        /// Whose name for the session it is.
        registration: &'a Registration,
        /// The provider's name for it.
        sid: &'a str,
        /// Whose it must be.
        subject: Option<&'a str>,
    },
    /// All of a site or tenant.
    Site(&'a SiteFilter),
}

/// A place in the list of all sessions, which stays good while sessions come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The lower-cased name of the last row of the page before.
    pub name: Box<str>,
    /// Its hash.
    pub hash: SessionHash,
}

/// A place in the list of sessions by their last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recency {
    /// Where it stands, in the store's own measure.
    pub at: Timestamp,
    /// Which of those that stand there.
    pub hash: SessionHash,
}

/// Whether a folded name, or a word in it, begins with a folded text: a last name is found as the
/// first one is.
pub fn begins_a_word(name: &str, text: &str) -> bool {
    name.match_indices(text).any(|(at, _)| {
        at == 0
            || name
                .get(..at)
                .is_some_and(|before| before.ends_with([' ', '-']))
    })
}

/// A name as the list of sessions sorts it and a search compares it.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// A session as it is listed: what stands in the clear, and the session where it opens.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Who has it, and where.
    pub facts: Facts,
    /// The moments of its life.
    pub times: Times,
    /// `None` where the record does not open: it is damaged, or its key is not in the ring.
    pub session: Option<Arc<Session>>,
}

impl Deref for Listed {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl Listed {
    /// A session that is at hand.
    pub(in crate::session) fn of(session: Arc<Session>) -> Self {
        Self {
            facts: session.facts.clone(),
            times: session.times(),
            session: Some(session),
        }
    }

    /// The place behind this one in the list of all.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            name: folded(&self.name).into(),
            hash: self.hash,
        }
    }
}

/// Lists the sessions that a store keeps.
pub trait Directory: Send + Sync + fmt::Debug {
    /// All sessions of a subject among these, oldest first.
    fn of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>>;

    /// Those of a subject that are live and were used last, at most so many, the last one first; and how
    /// many there are in all.
    fn newest_of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
        at_most: usize,
        now: Timestamp,
    ) -> StoreFuture<'a, (Vec<Listed>, usize)> {
        Box::pin(async move {
            let mut listed = self.of_subject(subject, within).await?;
            listed.retain(|listed| now < listed.times.expires);
            let total = listed.len();
            listed.sort_by_key(|listed| Reverse(listed.times.seen));
            listed.truncate(at_most);
            Ok((listed, total))
        })
    }

    /// All sessions of one at the provider among these, oldest first.
    fn of_provider_sid<'a>(
        &'a self,
        sid: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>>;

    /// Sessions among these by lower-cased name, then hash, of whose name a [word begins](begins_a_word)
    /// with a lower-cased text.
    fn page<'a>(
        &'a self,
        word: &'a str,
        within: &'a Within,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>>;

    /// Those among these that were used last, the last one first, behind a place in that order; and the
    /// place behind them, if there may be more.
    fn latest<'a>(
        &'a self,
        within: &'a Within,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Listed>, Option<Recency>)>;

    /// One session as it is listed, even where its record does not open. A store that lists nothing
    /// shows nothing.
    fn inspect<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Listed>> {
        let _ = hash;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Ends those of these sessions that cannot be listed, and that began by then, but for one (E13). A
    /// store that lists all of them has nothing to do.
    fn end_unseen<'a>(
        &'a self,
        _who: Who<'a>,
        _began_by: Timestamp,
        _except: Option<&'a SessionHash>,
        _reason: EndReason,
    ) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_taken_with_its_tenants_and_no_other() {
        let site = SiteId::new;
        for (filter, taken, left) in [
            (
                SiteFilter::Only(site("shop")),
                vec!["shop"],
                vec!["", "shop/acme", "shopping", "shop/"],
            ),
            (
                SiteFilter::WithTenants(site("shop")),
                vec!["shop", "shop/acme", "shop/b"],
                vec!["", "shopping", "shopping/acme", "acme"],
            ),
            (
                SiteFilter::Only(site("shop/acme")),
                vec!["shop/acme"],
                vec!["shop", "shop/acme2", ""],
            ),
            (
                SiteFilter::WithTenants(site("")),
                vec!["", "/acme"],
                vec!["shop", "shop/acme"],
            ),
        ] {
            for id in taken {
                assert!(filter.takes(&site(id)), "{filter:?} {id:?}");
            }
            for id in left {
                assert!(!filter.takes(&site(id)), "{filter:?} {id:?}");
            }
        }
    }
}
