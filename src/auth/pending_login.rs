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
use crate::session::CookieSettings;
use crate::session::cookie::{MOST_VALUES, cookies, set_cookie, values_of};
use crate::session::id::SessionHash;
use crate::session::seal::{FieldReader, FieldWriter, Keys};

/// Logins under way in one browser; one more drops the oldest (B4).
const MAX_PER_BROWSER: usize = 5;

/// Cookies named as logins that are tried, our own and others'; each costs a decryption.
const MOST_TRIED: usize = 2 * MAX_PER_BROWSER;

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
    /// What it was before the session cookie's name changed; read, and not written.
    former_prefix: Option<String>,
    secure: bool,
    same_site: cookie::SameSite,
    keys: Keys,
    lifetime: Duration,
}

impl PendingLoginCookie {
    /// Cookies named after the session cookie; `cross_site_post` where the callback is a form
    /// post, which a Lax cookie does not accompany (B3); a login may take its `lifetime` (B4).
    pub fn new(
        session_cookie: &CookieSettings,
        cross_site_post: bool,
        keys: Keys,
        lifetime: Duration,
    ) -> Self {
        let prefix = |name: &str| format!("{name}-login-");
        Self {
            lifetime,
            prefix: prefix(&session_cookie.name),
            former_prefix: session_cookie.former_name.as_deref().map(prefix),
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

    fn prefixes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.prefix).chain(self.former_prefix.as_deref())
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
            Some(self.lifetime),
        ));
        lines
    }

    /// Lines that take back the logins that are over, and the oldest of those under way. What does not
    /// open is another product's, or another `bff`'s on another port of this host (G6).
    fn drop_oldest(&self, headers: &HeaderMap, now: Timestamp) -> Vec<HeaderValue> {
        let named = cookies(headers).filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            self.is_ours(name).then_some((name, value))
        });
        let mut own: Vec<(Timestamp, &str)> = named
            .take(MOST_TRIED)
            .filter_map(|(name, value)| Some((self.open(name, value)?.started, name)))
            .collect();
        own.sort_unstable();
        let over = own
            .iter()
            .filter(|(started, _)| !self.is_current(*started, now))
            .count();
        let surplus = (own.len() + 1).saturating_sub(MAX_PER_BROWSER).max(over);
        own.iter()
            .take(surplus)
            .map(|(_, name)| self.delete(name))
            .collect()
    }

    /// Whether a cookie is named as a login is.
    fn is_ours(&self, name: &str) -> bool {
        let mut rests = self
            .prefixes()
            .filter_map(|prefix| name.strip_prefix(prefix));
        rests.any(is_suffix)
    }

    /// The login that `state` belongs to, if this browser began it lately (C3), and the line
    /// that deletes its cookie.
    pub fn find(
        &self,
        headers: &HeaderMap,
        state: &str,
        now: Timestamp,
    ) -> Option<(PendingLogin, HeaderValue)> {
        let suffix = State::new(state).cookie_suffix();
        let names = self.prefixes().map(|prefix| format!("{prefix}{suffix}"));
        let mut found = names.filter_map(|name| {
            let pending = values_of(headers, &name)
                .take(MOST_VALUES)
                .find_map(|value| self.open(&name, value))?;
            Some((pending, name))
        });
        let (pending, name) = found.next()?;
        let fits = pending.state.matches(state) && self.is_current(pending.started, now);
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

    fn is_current(&self, started: Timestamp, now: Timestamp) -> bool {
        now < started + self.lifetime
    }

    fn delete(&self, name: &str) -> HeaderValue {
        set_cookie(name, "", self.secure, self.same_site, Some(Duration::ZERO))
    }
}

/// Whether `rest` can be the end of a name that we wrote: what goes into `Set-Cookie` again is
/// never a browser's free text.
fn is_suffix(rest: &str) -> bool {
    rest.len() == 12
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
