//! What is known of one session.

use std::fmt;
use std::net::IpAddr;
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

/// A session as this process holds it: who it is, and the parts that change while it lives.
#[derive(Debug)]
pub struct Session {
    /// Where it is kept.
    pub hash: SessionHash,
    /// A name for it that opens nothing, for the browser and for people.
    pub tag: Box<str>,
    /// What a logout link of this session carries (E1).
    pub logout_sid: LogoutSid,
    /// The `sub` of the ID token.
    pub subject: Box<str>,
    /// The `sid` of the ID token, the provider's name for its own session.
    pub provider_sid: Option<Box<str>>,
    /// The user's name, for people who look for a session. Never empty.
    pub name: Box<str>,
    /// What the browser called itself at the login.
    pub user_agent: Option<Box<str>>,
    /// The claims that the browser may see: a JSON object.
    pub claims: Box<str>,
    /// How the user proved who they are.
    pub authentication: Authentication,
    /// What a refreshed ID token is held against, in the words of whoever wrote it.
    pub grant_facts: Box<str>,
    /// When the user signed in.
    pub created: Timestamp,
    /// When it ends, however active (G9).
    pub ends: Timestamp,
    /// Its end, for whatever is open on its behalf.
    pub ending: Ending,
    /// Told when its tokens or its end moved.
    pub changes: Notify,
    last_seen: AtomicI64,
    tokens: ArcSwap<Tokens>,
}

/// The member of [`Session::grant_facts`] that holds the address of the login.
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

/// The facts that a new session starts with.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are those of Session")]
pub struct NewSession {
    pub hash: SessionHash,
    pub tag: Box<str>,
    pub logout_sid: LogoutSid,
    pub subject: Box<str>,
    pub provider_sid: Option<Box<str>>,
    pub name: Box<str>,
    pub user_agent: Option<Box<str>>,
    pub claims: Box<str>,
    pub authentication: Authentication,
    pub grant_facts: Box<str>,
    pub tokens: Tokens,
}

impl Session {
    pub(in crate::session) fn new(new: NewSession, now: Timestamp, lifetime: Duration) -> Self {
        Self {
            hash: new.hash,
            tag: new.tag,
            logout_sid: new.logout_sid,
            subject: new.subject,
            provider_sid: new.provider_sid,
            name: new.name,
            user_agent: new.user_agent,
            claims: new.claims,
            authentication: new.authentication,
            grant_facts: new.grant_facts,
            created: now,
            ends: now + lifetime,
            ending: Ending::new(),
            changes: Notify::new(),
            last_seen: AtomicI64::new(now.unix_millis()),
            tokens: ArcSwap::from_pointee(new.tokens),
        }
    }

    /// A session as it was written down: begun at `created`, last used at `seen`.
    pub(in crate::session) fn restored(
        new: NewSession,
        created: Timestamp,
        seen: Timestamp,
        ends: Timestamp,
    ) -> Self {
        let session = Self::new(new, created, Duration::ZERO);
        session.seen_at(seen);
        Self { ends, ..session }
    }

    /// The address that the login came from, where it was written down.
    pub fn client(&self) -> Option<IpAddr> {
        let facts: Map<String, Value> = serde_json::from_str(&self.grant_facts).ok()?;
        facts.get(CLIENT)?.as_str()?.parse().ok()
    }

    /// When it was last used, to a tenth of the idle timeout.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.last_seen.load(Ordering::Relaxed))
    }

    pub(in crate::session) fn seen_at(&self, now: Timestamp) {
        self.last_seen
            .fetch_max(now.unix_millis(), Ordering::Relaxed);
    }

    /// The moment at which it ends if nothing more is heard of it.
    pub fn expires(&self, idle_timeout: Duration) -> Timestamp {
        self.ends.min(self.last_seen() + idle_timeout)
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
    pub(in crate::session) fn unsee(&self, seen: Timestamp, before: Timestamp) {
        let (seen, before) = (seen.unix_millis(), before.unix_millis());
        // Fails where somebody used it meanwhile, who writes that down.
        self.last_seen
            .compare_exchange(seen, before, Ordering::Relaxed, Ordering::Relaxed)
            .ok();
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
