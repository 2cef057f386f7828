//! What a provider's answers were found to be like: what is odd there is left out, and said once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::oidc::grant::Identity;
use crate::oidc::id_token;
use crate::oidc::jws::Verified;

#[derive(Default)]
pub(super) struct Oddities {
    /// The last ID token had no `sid`.
    lacks_sid: AtomicBool,
    /// It was said that `auth_time` is no date.
    auth_time_told: AtomicBool,
    /// It was said that an end is none.
    end_told: AtomicBool,
}

impl Oddities {
    /// Whether the last ID token of a login had no `sid`.
    pub(super) fn id_tokens_lack_sid(&self) -> bool {
        self.lacks_sid.load(Ordering::Relaxed)
    }

    /// Looks at the ID token of a login.
    pub(super) fn look_at(&self, identity: &Identity, verified: &Verified) {
        self.lacks_sid
            .store(identity.sid.is_none(), Ordering::Relaxed);
        if id_token::auth_time_is_odd(verified)
            && !self.auth_time_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                event = "provider.odd_auth_time",
                "the provider's `auth_time` is no date in seconds and is left out of /bff/session"
            );
        }
        if identity.session_expiry.is_none()
            && verified.claims.contains_key(id_token::SESSION_EXPIRY)
        {
            self.end_is_odd(id_token::SESSION_EXPIRY);
        }
    }

    /// What the provider says of the end of a session or of its refresh token cannot be meant.
    pub(super) fn end_is_odd(&self, name: &'static str) {
        if !self.end_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                event = "provider.odd_end",
                name,
                "the provider names an end that is none, negative, over already or no number, and it is not heeded"
            );
        }
    }
}
