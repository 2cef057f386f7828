//! A session as the tests of this crate begin it: one place to say what a session is.

use std::sync::Arc;
use std::time::Duration;

use crate::secret::{AccessToken, LogoutSid, RefreshToken};
use crate::session::id::SessionHash;
use crate::session::inherited::Inherited;
use crate::session::record::{Details, Facts, NewSession};
use crate::session::tokens::{Access, Tokens};
use crate::session::{CookieSettings, SameSite, SessionSettings};
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// Who we are in tests, where it does not matter.
pub(crate) fn registration() -> Registration {
    Registration::new("https://id.example.com", "app")
}

pub(crate) fn inherited() -> Inherited {
    Inherited::new(registration())
}

/// A session of this user at the main site.
pub(crate) fn new_session(hash: SessionHash, subject: &str) -> NewSession {
    NewSession {
        facts: Facts::new(hash, SiteId::main(), registration(), subject),
        details: Details::new("tag", LogoutSid::new("logout-sid")),
        tokens: tokens(1),
    }
}

/// The tokens of this version.
pub(crate) fn tokens(version: u64) -> Tokens {
    let access_token = AccessToken::new("at");
    Tokens {
        refresh_token: Some(Arc::new(RefreshToken::new("rt"))),
        ..Tokens::first(Access::new(version, access_token).unwrap())
    }
}

/// What the cookie is called, and that it needs no https.
pub(crate) fn cookie() -> CookieSettings {
    CookieSettings {
        name: "bff".to_owned(),
        former_name: None,
        secure: false,
        same_site: SameSite::Strict,
        persistent: false,
    }
}

/// Half an hour idle, one hour in all.
pub(crate) fn settings() -> SessionSettings {
    SessionSettings {
        idle_timeout: Duration::from_mins(30),
        max_lifetime: Duration::from_hours(1),
        limit: None,
        cookie: cookie(),
    }
}
