//! A login under way: sealed in a cookie of its own, so that the server keeps nothing for it
//! (B2–B4).
//!
//! The cookie's name ends in a hash of the `state`, so that several tabs may log in at once and
//! a callback finds its own.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::auth::return_to::ReturnTo;
use crate::clock::{Randomness, Timestamp};
use crate::secret::{CodeVerifier, Nonce, State};
use crate::session::cookie::{cookies, set_cookie};
use crate::session::id::SessionHash;
use crate::session::seal::{FieldReader, FieldWriter, Keys};

/// How long a login may take (B4).
pub const LIFETIME: Duration = Duration::from_mins(10);

/// Logins under way in one browser; one more drops the oldest (B4).
const MAX_PER_BROWSER: usize = 5;

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
    /// Whether the provider was told to ask the user nothing.
    pub prompt: Prompt,
    /// The session that this browser had; it ends when the login succeeds.
    pub previous_session: Option<SessionHash>,
    /// When it began.
    pub started: Timestamp,
}

/// Whether the user may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// The provider may show pages.
    Allowed,
    /// `prompt=none`: the provider answers at once, one way or the other.
    None,
}

/// Reads and writes the cookies of pending logins.
#[derive(Debug, Clone)]
pub struct PendingLoginCookie {
    prefix: String,
    secure: bool,
    same_site: cookie::SameSite,
    keys: Keys,
}

impl PendingLoginCookie {
    /// Cookies named after the session cookie; `cross_site_post` where the callback is a form
    /// post, which a Lax cookie does not accompany (B3).
    pub fn new(session_cookie: &str, secure: bool, cross_site_post: bool, keys: Keys) -> Self {
        Self {
            prefix: format!("{session_cookie}-login-"),
            // SameSite=None asks for Secure, which browsers take from loopback too.
            secure: secure || cross_site_post,
            same_site: if cross_site_post {
                cookie::SameSite::None
            } else {
                cookie::SameSite::Lax
            },
            keys,
        }
    }

    /// What all their names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `Set-Cookie` lines that begin this login, dropping the oldest where there are too many.
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
            .number(i64::from(pending.prompt == Prompt::None))
            .bytes(previous)
            .number(pending.started.unix_millis());
        let sealed = self.keys.seal(&name, fields.finish(), randomness);
        let mut lines = self.drop_oldest(headers, pending.started);
        lines.push(set_cookie(
            &name,
            &sealed,
            self.secure,
            self.same_site,
            Some(LIFETIME),
        ));
        lines
    }

    fn drop_oldest(&self, headers: &HeaderMap, now: Timestamp) -> Vec<HeaderValue> {
        let mut open: Vec<(Timestamp, &str)> = cookies(headers)
            .filter_map(|(name, value)| {
                let name = std::str::from_utf8(name).ok()?;
                name.strip_prefix(self.prefix.as_str())
                    .filter(|rest| is_suffix(rest))?;
                // One that does not open any more is the oldest of all.
                let started = self
                    .open(name, value)
                    .filter(|pending| is_current(pending, now))
                    .map_or(Timestamp::from_unix_millis(i64::MIN), |pending| {
                        pending.started
                    });
                Some((started, name))
            })
            .collect();
        open.sort_unstable();
        let unreadable = open
            .iter()
            .filter(|(at, _)| *at == Timestamp::from_unix_millis(i64::MIN))
            .count();
        let surplus = (open.len() + 1)
            .saturating_sub(MAX_PER_BROWSER)
            .max(unreadable);
        open.iter()
            .take(surplus)
            .map(|(_, name)| self.delete(name))
            .collect()
    }

    /// The login that `state` belongs to, if this browser began it lately (C3), and the line
    /// that deletes its cookie.
    pub fn find(
        &self,
        headers: &HeaderMap,
        state: &str,
        now: Timestamp,
    ) -> Option<(PendingLogin, HeaderValue)> {
        let name = format!("{}{}", self.prefix, State::new(state).cookie_suffix());
        let pending = cookies(headers)
            .filter(|(own, _)| *own == name.as_bytes())
            .find_map(|(_, value)| self.open(&name, value))?;
        let fits = pending.state.matches(state) && is_current(&pending, now);
        fits.then(|| (pending, self.delete(&name)))
    }

    fn open(&self, name: &str, value: &[u8]) -> Option<PendingLogin> {
        let plaintext = self.keys.open(name, value)?;
        let mut fields = FieldReader::new(&plaintext);
        let (state, nonce, code_verifier) = fields.login_secrets()?;
        let pending = PendingLogin {
            state,
            nonce,
            code_verifier,
            return_to: ReturnTo::sealed(fields.text()?)?,
            max_age: u64::try_from(fields.number()?).ok(),
            prompt: if fields.number()? == 1 {
                Prompt::None
            } else {
                Prompt::Allowed
            },
            previous_session: SessionHash::from_slice(fields.bytes()?),
            started: Timestamp::from_unix_millis(fields.number()?),
        };
        fields.is_empty().then_some(pending)
    }

    fn delete(&self, name: &str) -> HeaderValue {
        set_cookie(name, "", self.secure, self.same_site, Some(Duration::ZERO))
    }
}

fn is_current(pending: &PendingLogin, now: Timestamp) -> bool {
    now < pending.started + LIFETIME
}

/// Whether `rest` can be the end of a name that we wrote: what goes into `Set-Cookie` again is
/// never a browser's free text.
fn is_suffix(rest: &str) -> bool {
    rest.len() == 12
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
