//! `/bff/frontchannel-logout`: a page of the provider loads it in a frame, in the browser that signs
//! out there (OIDC Front-Channel Logout 1.0; E15).
//!
//! Browsers send no cookie of ours into a frame of another site, so the session is found by its
//! `sid` alone. Nothing is revoked at the provider: whoever knows issuer and `sid` may call this.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_SECURITY_POLICY;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use url::{Url, form_urlencoded};

use crate::auth::backchannel_logout::ProviderLogouts;
use crate::session::store::StoreError;
use crate::telemetry::LogoutOutcome;
use crate::web::body::Body;
use crate::web::problem;

/// Sessions that are looked for at once: anyone can ask.
pub(in crate::auth) const LOOKED_FOR_AT_ONCE: usize = 32;

/// How long one more waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(1);

/// Why nothing was ended.
#[derive(Debug, thiserror::Error)]
pub enum FrontchannelLogoutError {
    /// `iss` or `sid` is missing or stands twice, or `iss` is not the provider.
    #[error("the front-channel logout does not name our provider and one session there")]
    Malformed,
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many come at once.
    #[error("too many front-channel logouts come at once")]
    Busy,
}

impl ProviderLogouts {
    /// Answers `/bff/frontchannel-logout`, the same whether there was such a session or not.
    ///
    /// # Errors
    ///
    /// See [`FrontchannelLogoutError`]; nothing was ended.
    pub async fn frontchannel_logout(
        &self,
        parts: &Parts,
    ) -> Result<Response<Body>, FrontchannelLogoutError> {
        let query = parts.uri.query().unwrap_or_default();
        let sid = self
            .sid_of(query)
            .ok_or(FrontchannelLogoutError::Malformed)?;
        let turn = tokio::time::timeout(TURN_WITHIN, self.front_channel.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            return Err(FrontchannelLogoutError::Busy);
        };
        let ended = self.ended_there.end_listed_of_sid(&sid).await?;
        self.metrics.logout(LogoutOutcome::Frontchannel);
        if ended == 0 {
            self.warn_of_missing_sid();
        }
        tracing::info!(
            event = "logout.frontchannel",
            ended,
            "the provider's page signed somebody out"
        );
        Ok(self.framed_page())
    }

    /// Nothing was found, and nothing ever will be while sessions are known by no `sid`.
    fn warn_of_missing_sid(&self) {
        if self.provider.id_tokens_lack_sid()
            && let Some(left_out) = self.warnings.due("no sid", self.clock.now())
        {
            tracing::warn!(
                event = "logout.refused",
                left_out,
                "a front-channel logout signed nobody out: the provider's ID tokens carry no `sid` to find the session by; let it add that claim, or register the back channel"
            );
        }
    }

    /// The `sid`, if the query names our provider and one session, each once.
    fn sid_of(&self, query: &str) -> Option<String> {
        let (mut iss, mut sid) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "iss" => &mut iss,
                "sid" => &mut sid,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        iss.filter(|iss| self.provider.is_issuer(iss))?;
        sid.filter(|sid| !sid.is_empty())
    }

    /// The only page of ours that may be framed, and by the provider alone.
    fn framed_page(&self) -> Response<Body> {
        let mut page = problem::page("Signed out", "<p>You are signed out here.</p>");
        *page.status_mut() = StatusCode::OK;
        let issuer = Url::parse(&self.provider.settings().issuer);
        let origin = issuer.map(|issuer| issuer.origin().ascii_serialization());
        let policy = format!(
            "default-src 'none'; frame-ancestors {}",
            origin.as_deref().unwrap_or("'none'")
        );
        if let Ok(policy) = HeaderValue::try_from(policy) {
            page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        page
    }
}
