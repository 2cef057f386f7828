//! The tokens of a session: one refresh token, and access tokens by what they are for.
//!
//! They are replaced all at once (L3): each change makes another set with the next version. What tells one
//! token from another is the version of the set that it came with, never its text.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use crate::clock::Timestamp;
use crate::secret::{AccessToken, IdToken, RefreshToken};
use crate::web::proof::Prover;

/// What the provider granted, and until when it is good.
#[derive(Clone)]
pub struct Tokens {
    /// Counts the sets that the session has had, from 1.
    pub version: u64,
    /// The session's own access token, which came with its login.
    pub own: Access,
    /// Buys access tokens.
    pub refresh_token: Option<Arc<RefreshToken>>,
    /// The version with which the refresh token came or was last used: of two who used one, the store
    /// knows by it that they did.
    pub spent: u64,
    /// The last ID token, for `id_token_hint`.
    pub id_token: Option<Arc<IdToken>>,
    /// Access tokens for something else, in no order.
    pub others: Vec<Other>,
    /// What proves that the access tokens are ours, where they are bound to it (RFC 9449).
    pub prover: Option<Arc<Prover>>,
    /// When the provider lets go of the refresh token, where it says so.
    pub grant_ends: Option<Timestamp>,
}

/// An access token.
#[derive(Clone)]
pub struct Access {
    /// The version of the set that it came with.
    pub version: u64,
    /// For the upstreams.
    pub token: AccessToken,
    /// `Authorization` with the token in it, ready to be cloned.
    pub authorization: HeaderValue,
    /// When it ends; unknown where the provider does not say (L1).
    pub expires: Option<Timestamp>,
    /// When the next one should be fetched; before `expires`.
    pub refresh_at: Option<Timestamp>,
}

/// An access token for something else than the session's own.
#[derive(Clone)]
pub struct Other {
    /// What it is for: a [`TokenSpec`](crate::web::token_spec::TokenSpec)'s key.
    pub key: Arc<str>,
    /// The token.
    pub access: Access,
}

impl Tokens {
    /// The first set of a session, of this access token.
    pub const fn first(own: Access) -> Self {
        Self {
            version: own.version,
            spent: own.version,
            own,
            refresh_token: None,
            id_token: None,
            others: Vec::new(),
            prover: None,
            grant_ends: None,
        }
    }

    /// The access token under `key`: the session's own where there is none.
    pub fn access(&self, key: Option<&Arc<str>>) -> Option<&Access> {
        match key {
            None => Some(&self.own),
            Some(key) => {
                let mut others = self.others.iter();
                others
                    .find(|other| other.key == *key)
                    .map(|other| &other.access)
            }
        }
    }

    /// The next set: this one with `access` under `key`. Tokens for something else that ended by `now` are
    /// left out.
    #[must_use]
    pub fn with(&self, key: Option<Arc<str>>, access: Access, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.version = self.version + 1;
        next.others.retain(|other| {
            let ended = other.access.expires.is_some_and(|expires| expires <= now);
            !ended && Some(&other.key) != key.as_ref()
        });
        let access = Access {
            version: next.version,
            ..access
        };
        match key {
            None => next.own = access,
            Some(key) => next.others.push(Other { key, access }),
        }
        next
    }

    /// Whether this is the session's own access token and nothing that releases before this one do not
    /// know.
    pub(super) fn are_plain(&self) -> bool {
        self.others.is_empty()
            && self.prover.is_none()
            && !self.own.token.is_bound()
            && self.own.version == self.version
            && self.spent == self.version
    }

    /// Whether both are one set: what was written under a version may be another node's.
    pub(super) fn are_those_of(&self, written: &Self) -> bool {
        let same = |own: &Access, other: &Access| {
            own.version == other.version && own.token.is(&other.token)
        };
        self.version == written.version
            && same(&self.own, &written.own)
            && self.others.len() == written.others.len()
            && self
                .others
                .iter()
                .zip(&written.others)
                .all(|(own, other)| own.key == other.key && same(&own.access, &other.access))
    }
}

impl Access {
    /// An access token of this version, of which nobody said when it ends; `None` where it holds bytes that
    /// no header may carry.
    pub fn new(version: u64, token: AccessToken) -> Option<Self> {
        Some(Self {
            version,
            authorization: token.authorization()?,
            token,
            expires: None,
            refresh_at: None,
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("version", &self.version)
            .field("own", &self.own)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("version", &self.version)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Other")
            .field(&self.key)
            .field(&self.access)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::fixture;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn access(text: &str, expires_in: u64) -> Access {
        let mut access = Access::new(1, AccessToken::new(text)).unwrap();
        access.expires = Some(NOW + Duration::from_secs(expires_in));
        access
    }

    /// A15: an access token has its place by what it is for, and replaces none but its own.
    #[test]
    fn a_token_replaces_its_own_predecessor_alone() {
        let first = fixture::tokens(1);
        let orders = first.with(Some("orders".into()), access("o1", 60), NOW);
        let both = orders.with(Some("mail".into()), access("m1", 60), NOW);
        let renewed = both.with(Some("orders".into()), access("o2", 60), NOW);
        let text = |tokens: &Tokens, key: Option<&str>| {
            let access = tokens.access(key.map(Into::into).as_ref()).unwrap();
            (access.version, access.token.expose().to_owned())
        };
        assert_eq!(renewed.version, 4);
        assert_eq!(text(&renewed, None), (1, "at".to_owned()));
        assert_eq!(text(&renewed, Some("mail")), (3, "m1".to_owned()));
        assert_eq!(text(&renewed, Some("orders")), (4, "o2".to_owned()));
        assert!(renewed.access(Some(&"nothing".into())).is_none());
        let own = renewed.with(None, access("at2", 60), NOW);
        assert_eq!(text(&own, None), (5, "at2".to_owned()));
        assert_eq!(own.others.len(), 2);
        // What has ended is not carried along.
        let later = own.with(None, access("at3", 60), NOW + Duration::from_mins(1));
        assert!(later.others.is_empty());
        assert_eq!(later.version, 6);
    }
}
