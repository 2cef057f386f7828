//! Who is this browser: session ids, records, the sealed cookie, the key ring and the stores.

use std::time::Duration;

use crate::secret::SessionKey;

/// `[session]`.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The key ring: the first seals, all open (G7). Empty: a fresh one at start.
    pub keys: Vec<SessionKey>,
    /// Without a call for this long, a session ends.
    pub idle_timeout: Duration,
    /// However active, a session ends after this long (G9).
    pub max_lifetime: Duration,
    /// How the cookie is written.
    pub cookie: CookieSettings,
}

/// `[session.cookie]`, checked against the rules of its prefix (G1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// The name, `__Host-Http-bff`, or `bff` on http loopback.
    pub name: String,
    /// `Secure`; left out only on http loopback.
    pub secure: bool,
    /// `SameSite`.
    pub same_site: SameSite,
    /// Whether the cookie outlives the browser's closing (`Max-Age`).
    pub persistent: bool,
}

/// The `SameSite` attribute of the session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Not sent on any cross-site request.
    Strict,
    /// Sent on top-level cross-site navigations.
    Lax,
}
