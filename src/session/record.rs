//! What is known of one session.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::secret::{AccessToken, IdToken, LogoutSid, RefreshToken};
use crate::session::id::SessionHash;
use crate::web::ending::Ending;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// What finds a session: who has it, and where. All of it stands in the clear where it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where it is kept.
    pub hash: SessionHash,
    /// The site that it belongs to.
    pub site: SiteId,
    /// Who we are at the provider that signed the user in: what `subject` and `provider_sid` are names
    /// within.
    pub registration: Registration,
    /// The `sub` of the ID token.
    pub subject: Box<str>,
    /// The `sid` of the ID token, the provider's name for its own session.
    pub provider_sid: Option<Box<str>>,
    /// The user's name, for people who look for a session. Never empty.
    pub name: Box<str>,
}

/// What else is known of a session from its login on, for its own browser and for us: sealed wherever it
/// is written down.
#[derive(Debug)]
pub struct Details {
    /// A name for it that opens nothing, for the browser and for people.
    pub tag: Box<str>,
    /// What a logout link of this session carries (E1).
    pub logout_sid: LogoutSid,
    /// What the browser called itself at the login.
    pub user_agent: Option<Box<str>>,
    /// The claims that the browser may see: a JSON object.
    pub claims: Box<str>,
    /// How the user proved who they are.
    pub authentication: Authentication,
    /// What a refreshed ID token is held against, in the words of whoever wrote it: a JSON object.
    pub grant_facts: Box<str>,
}

/// A session as this process holds it: who it is, and the parts that change while it lives. Its
/// [`Facts`] are read as its own.
#[derive(Debug)]
pub struct Session {
    /// Who has it, and where.
    pub facts: Facts,
    /// What else its login said.
    pub details: Details,
    /// When the user signed in.
    pub created: Timestamp,
    /// When it ends, however active (G9).
    pub ends: Timestamp,
    /// Its end, for whatever is open on its behalf.
    pub ending: Ending,
    /// Told when its tokens or its end moved.
    pub changes: Notify,
    last_seen: AtomicI64,
    /// When it ends if nothing more is heard of it, by its site's word at its last use.
    expires: AtomicI64,
    /// When anybody here last looked at it, which is written down nowhere.
    looked_at: AtomicI64,
    /// As of when this process knows it to be as its store has it, where that is another process.
    known_at: AtomicI64,
    tokens: ArcSwap<Tokens>,
}

/// The moments of a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When the user signed in.
    pub created: Timestamp,
    /// When it was last used, to a tenth of the idle timeout.
    pub seen: Timestamp,
    /// When it ends if nothing more is heard of it: the idle or the absolute limit.
    pub expires: Timestamp,
    /// When it ends, however active.
    pub ends: Timestamp,
}

impl Times {
    /// Those of a session that begins now.
    pub fn beginning(now: Timestamp, idle_timeout: Duration, max_lifetime: Duration) -> Self {
        Self::seen(now, now, now + max_lifetime, idle_timeout)
    }

    /// Those of a session that was last used at `seen`.
    pub fn seen(
        created: Timestamp,
        seen: Timestamp,
        ends: Timestamp,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            created,
            seen,
            expires: ends.min(seen + idle_timeout),
            ends,
        }
    }
}

impl Facts {
    /// A session of this user, who is called by their subject.
    pub fn new(hash: SessionHash, site: SiteId, registration: Registration, subject: &str) -> Self {
        Self {
            hash,
            site,
            registration,
            subject: subject.into(),
            provider_sid: None,
            name: subject.into(),
        }
    }

    /// Whether both are sessions of one user at one site.
    pub fn are_of_one_user(&self, other: &Self) -> bool {
        self.site == other.site
            && self.subject == other.subject
            && self.registration == other.registration
    }
}

impl Details {
    /// Those of a login that said no more.
    pub fn new(tag: &str, logout_sid: LogoutSid) -> Self {
        Self {
            tag: tag.into(),
            logout_sid,
            user_agent: None,
            claims: "{}".into(),
            authentication: Authentication::default(),
            grant_facts: "{}".into(),
        }
    }
}

/// The member of [`Details::grant_facts`] that holds the address of the login.
const CLIENT: &str = "client_address";

/// The facts of a grant with the address that its login came from. That travels in their JSON object
/// since releases before this one take no further field of a record, and read past a member that
/// they do not know.
pub fn facts_of_login(grant_facts: &impl serde::Serialize, client: IpAddr) -> Box<str> {
    let mut facts = serde_json::to_value(grant_facts).unwrap_or_default();
    if let Some(facts) = facts.as_object_mut() {
        facts.insert(CLIENT.to_owned(), client.to_string().into());
    }
    facts.to_string().into()
}

/// How and when the user proved who they are (OIDC Core §2).
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// `acr`.
    pub acr: Option<Box<str>>,
    /// `amr`.
    pub amr: Vec<Box<str>>,
    /// `auth_time`.
    pub auth_time: Option<Timestamp>,
}

/// What a new session starts with.
#[derive(Debug)]
pub struct NewSession {
    /// Who has it, and where.
    pub facts: Facts,
    /// What else the login said.
    pub details: Details,
    /// What the provider granted.
    pub tokens: Tokens,
}

impl Deref for Session {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl Session {
    /// A session as it begins, or as it was written down.
    pub(in crate::session) fn new(new: NewSession, times: Times) -> Self {
        let NewSession {
            facts,
            details,
            tokens,
        } = new;
        Self {
            facts,
            details,
            created: times.created,
            ends: times.ends,
            ending: Ending::new(),
            changes: Notify::new(),
            last_seen: AtomicI64::new(times.seen.unix_millis()),
            expires: AtomicI64::new(times.expires.unix_millis()),
            looked_at: AtomicI64::new(times.seen.unix_millis()),
            known_at: AtomicI64::new(i64::MIN),
            tokens: ArcSwap::from_pointee(tokens),
        }
    }

    /// The address that the login came from, where it was written down.
    pub fn client(&self) -> Option<IpAddr> {
        let facts: Map<String, Value> = serde_json::from_str(&self.details.grant_facts).ok()?;
        facts.get(CLIENT)?.as_str()?.parse().ok()
    }

    /// When it was last used, to a tenth of the idle timeout.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.last_seen.load(Ordering::Relaxed))
    }

    /// Notes a use, and until when it lives by it; neither is ever taken back by an earlier one.
    pub(in crate::session) fn seen_at(&self, seen: Timestamp, expires: Timestamp) {
        self.last_seen
            .fetch_max(seen.unix_millis(), Ordering::Relaxed);
        self.expires
            .fetch_max(expires.unix_millis(), Ordering::Relaxed);
    }

    /// Notes that somebody looked at it: it is no session that nobody uses.
    pub(in crate::session) fn look_at(&self, now: Timestamp) {
        self.looked_at.store(now.unix_millis(), Ordering::Relaxed);
    }

    /// When it was last used or looked at, as far as this process knows.
    pub(in crate::session) fn last_looked_at(&self) -> Timestamp {
        let looked_at = Timestamp::from_unix_millis(self.looked_at.load(Ordering::Relaxed));
        looked_at.max(self.last_seen())
    }

    /// As of when it is known to be as its store has it.
    pub(in crate::session) fn known_at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.known_at.load(Ordering::Relaxed))
    }

    /// It is known to be as its store has it, as of then.
    pub(in crate::session) fn know_at(&self, moment: Timestamp) {
        self.known_at.store(moment.unix_millis(), Ordering::Relaxed);
    }

    /// The moment at which it ends if nothing more is heard of it, as it was last written down.
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.expires.load(Ordering::Relaxed))
    }

    /// The same under this idle timeout: what its site says of it now.
    pub fn expires_within(&self, idle_timeout: Duration) -> Timestamp {
        self.ends.min(self.last_seen() + idle_timeout)
    }

    /// The moments of its life, as it was last written down.
    pub fn times(&self) -> Times {
        Times {
            created: self.created,
            seen: self.last_seen(),
            expires: self.expires(),
            ends: self.ends,
        }
    }

    /// The tokens of this moment.
    pub fn tokens(&self) -> arc_swap::Guard<Arc<Tokens>> {
        self.tokens.load()
    }

    /// Puts other tokens in place, unless those here are as new.
    pub(in crate::session) fn replace_tokens(&self, tokens: &Arc<Tokens>) {
        self.tokens.rcu(|own| {
            let newer = if own.version < tokens.version {
                tokens
            } else {
                own
            };
            Arc::clone(newer)
        });
    }

    /// Takes a use back that could not be written down, if none came after it.
    pub(in crate::session) fn take_use_back(&self, used: Times, before: Times) {
        let put_back = |moment: &AtomicI64, used: Timestamp, before: Timestamp| {
            let (used, before) = (used.unix_millis(), before.unix_millis());
            // Fails where somebody used it meanwhile, who writes that down.
            moment
                .compare_exchange(used, before, Ordering::Relaxed, Ordering::Relaxed)
                .ok();
        };
        put_back(&self.last_seen, used.seen, before.seen);
        put_back(&self.expires, used.expires, before.expires);
    }
}

/// What the provider granted, and until when it is good.
pub struct Tokens {
    /// Counts the tokens that the session has had, from 1 (L3).
    pub version: u64,
    /// For the upstreams.
    pub access_token: AccessToken,
    /// `Authorization` with the access token in it, ready to be cloned.
    pub bearer: HeaderValue,
    /// Buys the next access token.
    pub refresh_token: Option<Arc<RefreshToken>>,
    /// The last ID token, for `id_token_hint`.
    pub id_token: Option<Arc<IdToken>>,
    /// When the access token ends; unknown where the provider does not say (L1).
    pub expires: Option<Timestamp>,
    /// When the next one should be fetched; before `expires`.
    pub refresh_at: Option<Timestamp>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
