//! A login under way: sealed in a cookie of its own, so that the server keeps nothing for it
//! (B2–B4).
//!
//! The cookie's name ends in a hash of the `state`, so that several tabs may log in at once and
//! a callback finds its own. When the login is over, what is left of it takes the same place: see
//! [`PastLogin`].

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::auth::login_tail::{Tail, read_tail, with_tail};
use crate::auth::past_login::{LoginEnd, PastLogin, REMEMBERED_FOR};
use crate::auth::return_to::ReturnTo;
use crate::clock::{Randomness, Timestamp};
use crate::secret::{CodeVerifier, Nonce, State};
use crate::session::CookieSettings;
use crate::session::cookie::{MOST_VALUES, cookies, set_cookie, values_of};
use crate::session::id::SessionHash;
use crate::session::seal::{FieldReader, FieldWriter, Keys};
use crate::web::cookie_names;
use crate::web::proof::Prover;
use crate::web::registration::Registration;

pub use crate::auth::login_owner::LoginOwner;
pub use crate::auth::prompt::{Prompt, Window};

/// Logins under way in one browser; one more pushes the oldest out (B4).
const MAX_PER_BROWSER: usize = 5;

/// Logins that are over and that one browser remembers; one more drops the oldest.
const MOST_REMEMBERED: usize = 5;

/// Cookies named as logins that are tried, our own and others'; each costs a decryption or two.
const MOST_TRIED: usize = 2 * (MAX_PER_BROWSER + MOST_REMEMBERED);

/// What the callback must know of the login that it ends.
#[derive(Debug)]
pub struct PendingLogin {
    /// What the provider must hand back.
    pub state: State,
    /// What the ID token must hold.
    pub nonce: Nonce,
    /// The secret behind the `code_challenge`.
    pub code_verifier: CodeVerifier,
    /// Where the browser goes afterwards.
    pub return_to: ReturnTo,
    /// `max_age`, where it was asked for (D13).
    pub max_age: Option<u64>,
    /// One of these must be the answer's `acr`, where there are any (D13).
    pub essential_acr: Vec<String>,
    /// Whether the provider was told to ask the user nothing.
    pub prompt: Prompt,
    /// What it is shown in.
    pub window: Window,
    /// The session that this browser had; it ends when the login succeeds.
    pub previous_session: Option<SessionHash>,
    /// When it began.
    pub started: Timestamp,
    /// Who we are at its provider, where the site has several: what comes of one is never taken for
    /// another's.
    pub registration: Option<Registration>,
    /// What the tokens are to be bound to, where they are (A14).
    pub prover: Option<Arc<Prover>>,
}

impl PendingLogin {
    /// What is left of it once it is over.
    pub fn over(&self, end: LoginEnd, ended: Timestamp) -> PastLogin {
        PastLogin {
            return_to: self.return_to.clone(),
            max_age: self.max_age,
            essential_acr: self.essential_acr.clone(),
            prompt: self.prompt,
            window: self.window,
            end,
            ended,
            registration: self.registration.clone(),
        }
    }
}

/// A login that this browser's own cookie knows.
#[derive(Debug)]
pub struct KnownLogin {
    /// The name of its cookie.
    pub name: String,
    /// How far it is.
    pub progress: Progress,
}

/// How far a login is.
#[derive(Debug)]
pub enum Progress {
    /// The provider's answer is awaited.
    UnderWay(PendingLogin),
    /// It is over, or its time is.
    Over(PastLogin),
}

/// Reads and writes the cookies of pending logins.
#[derive(Debug, Clone)]
pub struct PendingLoginCookie {
    prefix: String,
    /// What it was before the session cookie's name changed; read, and not written.
    former_prefix: Option<String>,
    secure: bool,
    same_site: cookie::SameSite,
    keys: Keys,
    lifetime: Duration,
    /// Whose logins are found: of the provider that answers.
    owner: LoginOwner,
}

impl PendingLoginCookie {
    /// Cookies named after the session cookie; `cross_site_post` where the callback is a form
    /// post, which a Lax cookie does not accompany (B3); a login may take its `lifetime` (B4).
    pub fn new(
        session_cookie: &CookieSettings,
        cross_site_post: bool,
        keys: Keys,
        lifetime: Duration,
        owner: LoginOwner,
    ) -> Self {
        Self {
            owner,
            lifetime,
            prefix: cookie_names::login_prefix(&session_cookie.name),
            former_prefix: session_cookie
                .former_name
                .as_deref()
                .map(cookie_names::login_prefix),
            // SameSite=None asks for Secure, which browsers take from loopback too.
            secure: session_cookie.secure || cross_site_post,
            same_site: if cross_site_post {
                cookie::SameSite::None
            } else {
                cookie::SameSite::Lax
            },
            keys,
        }
    }

    /// Whose logins these are.
    pub(in crate::auth) const fn owner(&self) -> &LoginOwner {
        &self.owner
    }

    fn prefixes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.prefix).chain(self.former_prefix.as_deref())
    }

    /// `Set-Cookie` lines that begin this login; where there are too many, the oldest is over.
    pub fn begin(
        &self,
        pending: &PendingLogin,
        headers: &HeaderMap,
        randomness: &dyn Randomness,
    ) -> Vec<HeaderValue> {
        let name = format!("{}{}", self.prefix, pending.state.cookie_suffix());
        let previous = pending
            .previous_session
            .as_ref()
            .map_or(&[][..], |hash| hash.as_bytes());
        let fields = FieldWriter::default()
            .login_secrets(&pending.state, &pending.nonce, &pending.code_verifier)
            .text(pending.return_to.as_str())
            .number(
                pending
                    .max_age
                    .map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX)),
            )
            .number(pending.prompt.and(pending.window))
            .bytes(previous)
            .number(pending.started.unix_millis());
        // Only where there are several: nodes of the release before read the rest, and have one.
        let registration = pending.registration.as_ref();
        let prover = pending.prover.as_deref();
        let fields = with_tail(fields, registration, &pending.essential_acr, prover);
        let sealed = self.keys.seal(&name, fields.finish(), randomness);
        let mut lines = self.make_room(headers, pending.started, randomness);
        // Kept for longer than it is good: a form that was left open for too long is known by it.
        lines.push(self.line(&name, &sealed, self.lifetime + REMEMBERED_FOR));
        lines
    }

    /// Lines that end the oldest logins under way and forget the oldest that are over, where there are
    /// too many. What does not open is another product's, or another `bff`'s on another port of this
    /// host (G6).
    fn make_room(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Vec<HeaderValue> {
        let mut under_way = Vec::new();
        let mut over = Vec::new();
        for (name, progress) in self.own(headers, now) {
            match progress {
                Progress::UnderWay(pending) => under_way.push((pending.started, name, pending)),
                Progress::Over(past) => over.push((past.ended, name)),
            }
        }
        under_way.sort_unstable_by_key(|(started, ..)| *started);
        over.sort_unstable();
        let surplus = (under_way.len() + 1).saturating_sub(MAX_PER_BROWSER);
        let pushed_out = under_way.iter().take(surplus).map(|(_, name, pending)| {
            let past = pending.over(LoginEnd::Unfinished, now);
            self.remember(name, &past, randomness)
        });
        let forgotten = (over.len() + surplus).saturating_sub(MOST_REMEMBERED);
        let forgotten = over
            .iter()
            .take(forgotten)
            .map(|(_, name)| self.forget(name));
        pushed_out.chain(forgotten).collect()
    }

    /// How often somebody was signed in by this browser within this time.
    pub fn signed_in_within(&self, headers: &HeaderMap, time: Duration, now: Timestamp) -> usize {
        let own = self.own(headers, now);
        let signed_in = |progress: &Progress| {
            matches!(progress, Progress::Over(past)
                if past.end == LoginEnd::SignedIn && now < past.ended + time)
        };
        own.filter(|(_, progress)| signed_in(progress)).count()
    }

    /// The logins that this browser knows.
    fn own<'a>(
        &'a self,
        headers: &'a HeaderMap,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a str, Progress)> {
        let named = cookies(headers).filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            self.is_ours(name).then_some((name, value))
        });
        let tried = named.take(MOST_TRIED);
        tried.filter_map(move |(name, value)| Some((name, self.open(name, value, now)?)))
    }

    /// Whether a cookie is named as a login is.
    fn is_ours(&self, name: &str) -> bool {
        let mut rests = self
            .prefixes()
            .filter_map(|prefix| name.strip_prefix(prefix));
        rests.any(is_suffix)
    }

    /// The login that `state` belongs to, if this browser began it (C3).
    pub fn find(&self, headers: &HeaderMap, state: &str, now: Timestamp) -> Option<KnownLogin> {
        let known = self.find_named(headers, &State::new(state).cookie_suffix(), now)?;
        match &known.progress {
            Progress::UnderWay(pending) => {
                let is_own = self.owner.takes(pending.registration.as_ref());
                (is_own && pending.state.matches(state)).then_some(known)
            }
            Progress::Over(past) => {
                let is_own = self.owner.takes(past.registration.as_ref());
                is_own.then_some(known)
            }
        }
    }

    /// The login whose cookie's name ends so, if this browser began it.
    pub fn find_named(
        &self,
        headers: &HeaderMap,
        suffix: &str,
        now: Timestamp,
    ) -> Option<KnownLogin> {
        let names = self.prefixes().map(|prefix| format!("{prefix}{suffix}"));
        let mut known = names.filter_map(|name| {
            let progress = values_of(headers, &name)
                .take(MOST_VALUES)
                .find_map(|value| self.open(&name, value, now))?;
            Some(KnownLogin { name, progress })
        });
        known.next()
    }

    fn open(&self, name: &str, value: &[u8], now: Timestamp) -> Option<Progress> {
        let Some(pending) = self.open_pending(name, value) else {
            return PastLogin::open(name, value, &self.keys).map(Progress::Over);
        };
        if self.is_current(pending.started, now) {
            return Some(Progress::UnderWay(pending));
        }
        let ended = pending.started + self.lifetime;
        let past = pending.over(LoginEnd::Unfinished, ended);
        Some(Progress::Over(past))
    }

    fn open_pending(&self, name: &str, value: &[u8]) -> Option<PendingLogin> {
        let plaintext = self.keys.open(name, value)?;
        let mut fields = FieldReader::new(&plaintext);
        let (state, nonce, code_verifier) = fields.login_secrets()?;
        let return_to = ReturnTo::sealed(fields.text()?)?;
        let max_age = u64::try_from(fields.number()?).ok();
        let (prompt, window) = Prompt::and_window(fields.number()?);
        let previous_session = SessionHash::from_slice(fields.bytes()?);
        let started = Timestamp::from_unix_millis(fields.number()?);
        let Tail {
            registration,
            essential_acr,
            prover,
        } = read_tail(&mut fields)?;
        Some(PendingLogin {
            state,
            nonce,
            code_verifier,
            return_to,
            max_age,
            essential_acr,
            prompt,
            window,
            previous_session,
            started,
            registration,
            prover,
        })
    }

    /// The line by which this browser forgets the login of this cookie.
    pub fn forget(&self, name: &str) -> HeaderValue {
        self.line(name, "", Duration::ZERO)
    }

    /// The line by which this browser remembers the login of this cookie, and none of its secrets; one
    /// under the former name is forgotten.
    pub fn remember(
        &self,
        name: &str,
        past: &PastLogin,
        randomness: &dyn Randomness,
    ) -> HeaderValue {
        if !name.starts_with(&self.prefix) {
            return self.forget(name);
        }
        let sealed = past.seal(name, &self.keys, randomness);
        self.line(name, &sealed, REMEMBERED_FOR)
    }

    fn is_current(&self, started: Timestamp, now: Timestamp) -> bool {
        now < started + self.lifetime
    }

    fn line(&self, name: &str, value: &str, max_age: Duration) -> HeaderValue {
        set_cookie(name, value, self.secure, self.same_site, Some(max_age))
    }
}

/// Whether `rest` can be the end of a name that we wrote: what goes into `Set-Cookie` again is
/// never a browser's free text.
pub(in crate::auth) fn is_suffix(rest: &str) -> bool {
    rest.len() == 12
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
