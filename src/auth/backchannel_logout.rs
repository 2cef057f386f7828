//! `/bff/backchannel-logout`: the provider says that a session has ended (OIDC Back-Channel Logout
//! 1.0; E7–E14).
//!
//! Anyone can send logout tokens (E14). To verify one takes no turn: it waits for nothing but keys, and
//! however many tokens wait for those, one fetch serves them all.

use std::sync::Arc;

use http::Response;
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};

use crate::auth::Common;
use crate::auth::answer::not_stored;
use crate::auth::ended_at_provider::{EndedThere, EndedWhen, EndsAtProvider};
use crate::auth::places::Places;
use crate::clock::Clock;
use crate::oidc::{JwsFault, LogoutToken, LogoutTokenError, LogoutTokenFault, Provider};
use crate::session::Sessions;
use crate::session::store::{Note, StoreError};
use crate::telemetry::{LogoutOutcome, Metrics, chain};
use crate::web::body::Body;
use crate::web::registration::Registration;
use crate::web::repeats::Repeats;

/// Why nothing was ended, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum BackchannelLogoutError {
    /// The form does not hold exactly one `logout_token`.
    #[error("the request is no form with exactly one logout_token")]
    Malformed,
    /// The token may not be believed.
    #[error("bad logout token")]
    Invalid(#[source] LogoutTokenFault),
    /// The token was used before (E9).
    #[error("the logout token was used before")]
    Replayed,
    /// The provider's keys cannot be had; later the token may be good.
    #[error("the logout token cannot be verified now")]
    NoKeys(#[source] JwsFault),
    /// The store could not be asked; the token is as good as before.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LogoutTokenError> for BackchannelLogoutError {
    fn from(error: LogoutTokenError) -> Self {
        match error {
            LogoutTokenError::Invalid(fault) => Self::Invalid(fault),
            LogoutTokenError::Unavailable(fault) => Self::NoKeys(fault),
        }
    }
}

/// Where the provider says that a session has ended: `/bff/backchannel-logout` and
/// `/bff/frontchannel-logout`.
#[derive(Debug)]
pub struct ProviderLogouts {
    pub(in crate::auth) places: Places,
    pub(in crate::auth) provider: Provider,
    pub(in crate::auth) sessions: Sessions,
    pub(in crate::auth) ended_there: EndsAtProvider,
    pub(in crate::auth) clock: Arc<dyn Clock>,
    pub(in crate::auth) metrics: Metrics,
    /// What was warned of lately.
    pub(in crate::auth) warnings: Repeats,
    /// Turns to look for the session of a front-channel logout.
    pub(in crate::auth) front_channel: Arc<Semaphore>,
}

impl ProviderLogouts {
    pub(in crate::auth) fn new(common: &Common, front_channel: Arc<Semaphore>) -> Self {
        Self {
            places: common.places.clone(),
            provider: common.provider.clone(),
            sessions: common.sessions.clone(),
            ended_there: EndsAtProvider::new(common),
            clock: Arc::clone(&common.clock),
            metrics: common.metrics.clone(),
            warnings: Repeats::default(),
            front_channel,
        }
    }

    /// Answers `/bff/backchannel-logout`, whose form is still encoded.
    ///
    /// # Errors
    ///
    /// See [`BackchannelLogoutError`].
    pub async fn backchannel_logout(
        &self,
        form: &str,
    ) -> Result<Response<Body>, BackchannelLogoutError> {
        let outcome = self.end_by_logout_token(form).await;
        self.metrics.logout(match &outcome {
            Ok(()) => LogoutOutcome::Backchannel,
            Err(
                BackchannelLogoutError::Malformed
                | BackchannelLogoutError::Invalid(_)
                | BackchannelLogoutError::Replayed,
            ) => LogoutOutcome::BackchannelRefused,
            Err(BackchannelLogoutError::NoKeys(_) | BackchannelLogoutError::Store(_)) => {
                LogoutOutcome::BackchannelUnavailable
            }
        });
        if let Err(error) = &outcome {
            self.warn_of_refused(error);
        }
        outcome.map(|()| not_stored(Response::new(Body::Empty)))
    }

    async fn end_by_logout_token(&self, form: &str) -> Result<(), BackchannelLogoutError> {
        let text = only_logout_token(form).ok_or(BackchannelLogoutError::Malformed)?;
        let token = self.provider.verify_logout_token(&text).await?;
        let used = Note::LogoutToken {
            registration: self.ended_there.registration(),
            jti: &token.jti,
        };
        let now = self.clock.now();
        let remember_for = token.forget_replays_after.since(now);
        if let Some(kept) = self.sessions.take(used).await? {
            self.sessions.keep(used, &kept, remember_for).await?;
            return Err(BackchannelLogoutError::Replayed);
        }
        self.end_sessions_of(&token).await?;
        // Last: until all has been done, the provider may try again with the same token.
        if !self.sessions.keep(used, b"", remember_for).await? {
            return Err(BackchannelLogoutError::Replayed);
        }
        Ok(())
    }

    /// Says why a logout token signed nobody out: once a minute for all that the provider need not
    /// have made, and for each thing that is wrong with those that it did.
    fn warn_of_refused(&self, error: &BackchannelLogoutError) {
        let cause = chain(error);
        let kind = match error {
            BackchannelLogoutError::Malformed
            | BackchannelLogoutError::Invalid(LogoutTokenFault::Jws(_))
            | BackchannelLogoutError::NoKeys(_) => "anybody's logout token",
            BackchannelLogoutError::Invalid(LogoutTokenFault::Claim(_))
            | BackchannelLogoutError::Replayed => cause.as_str(),
            // Told by the store.
            BackchannelLogoutError::Store(_) => return,
        };
        if let Some(left_out) = self.warnings.due(kind, self.clock.now()) {
            tracing::warn!(
                event = "logout.refused",
                cause,
                left_out,
                "a logout token signed nobody out"
            );
        }
    }

    /// Whether the provider may call us by a name of its own: one that we ask within its network calls
    /// from there.
    pub fn is_called_by_any_name(&self) -> bool {
        self.provider.settings().internal.is_some()
    }

    /// Whose sessions its logout tokens end.
    pub fn registration(&self) -> &Registration {
        self.ended_there.registration()
    }

    /// Where the provider is to send logout tokens.
    pub fn address(&self) -> Url {
        self.places.address("/backchannel-logout")
    }

    async fn end_sessions_of(&self, token: &LogoutToken) -> Result<(), StoreError> {
        let what = EndedThere {
            sid: token.sid.as_deref(),
            sub: token.sub.as_deref(),
        };
        let when = EndedWhen {
            said: token.issued_at.unix_seconds(),
            heard: self.clock.now(),
        };
        let ended = self.ended_there.end_ended_there(what, when).await?;
        tracing::info!(
            event = "logout.backchannel",
            ended,
            "the provider signed somebody out"
        );
        Ok(())
    }
}

/// The one `logout_token` of a form; what else stands there is passed over (§2.5, E7).
fn only_logout_token(form: &str) -> Option<String> {
    let mut tokens = form_urlencoded::parse(form.as_bytes())
        .filter(|(name, _)| name == "logout_token")
        .map(|(_, value)| value.into_owned());
    let token = tokens.next().filter(|token| !token.is_empty())?;
    tokens.next().is_none().then_some(token)
}
