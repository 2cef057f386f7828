//! What is known of one session.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::secret::LogoutSid;
use crate::session::claims::{self, HeldClaims};
use crate::session::id::SessionHash;
use crate::session::tokens::Tokens;
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
    /// The session that goes on in the place of this one.
    successor: ArcSwapOption<Self>,
    last_seen: AtomicI64,
    /// When it ends if nothing more is heard of it, by its site's word at its last use.
    expires: AtomicI64,
    /// When anybody here last looked at it, which is written down nowhere.
    looked_at: AtomicI64,
    /// As of when this process knows it to be as its store has it, where that is another process.
    known_at: AtomicI64,
    /// When its tokens are worth nothing any more, where the provider says so.
    grant_ends: AtomicI64,
    tokens: ArcSwap<Tokens>,
    /// What its claims say, once somebody asked.
    held: OnceLock<Box<HeldClaims>>,
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

/// The facts of a grant with the address that its login came from, and the claims that are kept for us.
/// Both travel in their JSON object since releases before this one take no further field of a record,
/// and read past a member that they do not know.
pub fn facts_of_login(
    grant_facts: &impl serde::Serialize,
    client: IpAddr,
    kept: Map<String, Value>,
) -> Box<str> {
    let mut facts = serde_json::to_value(grant_facts).unwrap_or_default();
    if let Some(facts) = facts.as_object_mut() {
        facts.insert(CLIENT.to_owned(), client.to_string().into());
        claims::keep(facts, kept);
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
            successor: ArcSwapOption::empty(),
            last_seen: AtomicI64::new(times.seen.unix_millis()),
            expires: AtomicI64::new(times.expires.unix_millis()),
            looked_at: AtomicI64::new(times.seen.unix_millis()),
            known_at: AtomicI64::new(i64::MIN),
            grant_ends: AtomicI64::new(end_of_grant(&tokens)),
            tokens: ArcSwap::from_pointee(tokens),
            held: OnceLock::new(),
        }
    }

    /// What is known of its user, for rules and headers; read once.
    pub fn claims(&self) -> &HeldClaims {
        let Details {
            claims,
            grant_facts,
            ..
        } = &self.details;
        self.held
            .get_or_init(|| Box::new(HeldClaims::read(claims, grant_facts)))
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
        self.bounds().min(self.last_seen() + idle_timeout)
    }

    /// When it ends, however active, as things are now: by its age, or since the provider lets go of its
    /// refresh token and the access token ends.
    pub fn bounds(&self) -> Timestamp {
        let grant_ends = self.grant_ends.load(Ordering::Relaxed);
        self.ends.min(Timestamp::from_unix_millis(grant_ends))
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

    /// From now on what is open on its behalf goes on for the session of its user that takes its place; with
    /// `None`, that comes to nothing.
    pub fn pass_to(&self, successor: Option<&Arc<Self>>) {
        self.ending
            .pass_to(successor.map(|session| session.ending.clone()));
        self.successor.store(successor.map(Arc::clone));
        self.changes.notify_waiters();
    }

    /// The session that goes on in its place.
    pub fn successor(&self) -> Option<Arc<Self>> {
        self.successor.load_full()
    }

    /// The tokens of this moment.
    pub fn tokens(&self) -> arc_swap::Guard<Arc<Tokens>> {
        self.tokens.load()
    }

    /// Puts other tokens in place, unless those here are as new.
    pub(in crate::session) fn replace_tokens(&self, tokens: &Arc<Tokens>) {
        self.put(tokens, |own| own.version < tokens.version);
    }

    /// Puts the tokens in place that come right after those here; whether they do.
    pub(in crate::session) fn advance_tokens(&self, tokens: &Arc<Tokens>) -> bool {
        self.put(tokens, |own| own.version + 1 == tokens.version)
    }

    fn put(&self, tokens: &Arc<Tokens>, may_replace: impl Fn(&Tokens) -> bool) -> bool {
        let before = self.tokens.rcu(|own| {
            let newer = if may_replace(own) { tokens } else { own };
            Arc::clone(newer)
        });
        let is_put = may_replace(&before);
        if is_put {
            // Of two that come one after the other the later one may be noted first.
            let grant_ends = end_of_grant(&self.tokens.load());
            self.grant_ends.store(grant_ends, Ordering::Relaxed);
        }
        is_put
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

/// When the tokens are worth nothing any more, in milliseconds: the refresh token is dead, and the access
/// token that it bought.
fn end_of_grant(tokens: &Tokens) -> i64 {
    let Some(grant_ends) = tokens.grant_ends else {
        return i64::MAX;
    };
    let end = match tokens.own.expires {
        Some(expires) => grant_ends.max(expires),
        // It is good until an upstream says otherwise.
        None => return i64::MAX,
    };
    end.unix_millis()
}
