//! Our own access tokens, by client credentials (RFC 6749 §4.4): of the process, one call for all who wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::auth::flights::{Flights, Joined, Seldom};
use crate::auth::live_token::{FORCED_AT_MOST_EVERY, LiveToken, RETRY_AFTER};
use crate::auth::token_error::{NotNow, Outcome, TokenError};
use crate::clock::{Clock, Timestamp};
use crate::oidc::{BoughtToken, Provider, TokenRefusal};
use crate::secret::AccessToken;
use crate::session::tokens::Access;
use crate::telemetry::chain;
use crate::web::background::Background;
use crate::web::proof::Prover;
use crate::web::repeats::Repeats;
use crate::web::token_spec::TokenSpec;

/// How long a token is kept of which the provider does not say how long it lives.
const UNTOLD_LIFETIME: Duration = Duration::from_mins(5);

/// Gives out our own tokens at one provider; cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Provider,
    clock: Arc<dyn Clock>,
    background: Background,
    /// How long a call waits for a token.
    wait: Duration,
    /// How long before its end a token is fetched anew.
    refresh_before: Duration,
    kept: Mutex<HashMap<Arc<str>, Access>>,
    /// What they are bound to, where they are: the process's own.
    prover: OnceLock<Arc<Prover>>,
    under_way: Flights<Arc<str>>,
    forced: Seldom<Arc<str>>,
    warnings: Repeats,
}

impl ClientTokens {
    pub(in crate::auth) fn new(
        provider: Provider,
        clock: Arc<dyn Clock>,
        background: Background,
        refresh_before: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            wait: provider.settings().timeout,
            provider,
            clock,
            background,
            refresh_before,
            kept: Mutex::default(),
            prover: OnceLock::new(),
            under_way: Flights::default(),
            forced: Seldom::default(),
            warnings: Repeats::default(),
        }))
    }

    /// What a call to an upstream carries.
    ///
    /// # Errors
    ///
    /// There is no live token, and the provider cannot be asked or says no.
    pub async fn live(&self, spec: &Arc<TokenSpec>) -> Result<LiveToken, TokenError> {
        Ok(self.0.live(&self.access(spec).await?))
    }

    /// The token itself.
    pub(in crate::auth) async fn token(
        &self,
        spec: &Arc<TokenSpec>,
    ) -> Result<AccessToken, TokenError> {
        Ok(self.access(spec).await?.token)
    }

    /// Another token after an upstream refused `refused` with 401; `None` where there is none to be had.
    pub async fn after_refusal(
        &self,
        spec: &Arc<TokenSpec>,
        refused: &LiveToken,
    ) -> Option<LiveToken> {
        let newer = || {
            let kept = self.0.kept(spec.key())?;
            (kept.version != refused.version()).then(|| self.0.live(&kept))
        };
        if let Some(newer) = newer() {
            return Some(newer);
        }
        let (key, now) = (Arc::clone(spec.key()), self.0.clock.now());
        if self.0.under_way.is_under_way(&key) || self.0.forced.may(key, now, FORCED_AT_MOST_EVERY)
        {
            // Whatever comes of it shows below.
            self.fetched(spec, refused.version(), now).await.ok();
        }
        newer()
    }

    async fn access(&self, spec: &Arc<TokenSpec>) -> Result<Access, TokenError> {
        let now = self.0.clock.now();
        let kept = self.0.kept(spec.key());
        if let Some(kept) = &kept
            && kept.refresh_at.is_some_and(|refresh_at| now < refresh_at)
        {
            return Ok(kept.clone());
        }
        let stale = kept.as_ref().map_or(0, |kept| kept.version);
        match Box::pin(self.fetched(spec, stale, now)).await {
            Ok(()) => self
                .0
                .kept(spec.key())
                .ok_or(TokenError::Unavailable(NotNow::BrokeOff)),
            // The old one serves while it lives.
            Err(error) => match kept {
                Some(kept) if kept.expires.is_some_and(|expires| now < expires) => Ok(kept),
                _ => Err(error),
            },
        }
    }

    async fn fetched(&self, spec: &Arc<TokenSpec>, stale: u64, now: Timestamp) -> Outcome {
        let look = || {
            let kept = self.0.kept(spec.key());
            kept.is_some_and(|kept| kept.version != stale)
                .then_some(Ok(()))
        };
        let inner = &self.0;
        match inner
            .under_way
            .join(Arc::clone(spec.key()), now, inner.wait, look)
        {
            Joined::Settled(outcome) => outcome,
            Joined::UnderWay(under_way) => under_way.outcome().await,
            Joined::Begins(under_way, flying) => {
                let (inner, spec) = (Arc::clone(inner), Arc::clone(spec));
                self.0.background.spawn(async move {
                    let outcome = inner.fetch(&spec, stale).await;
                    flying.land(outcome, Some(inner.clock.now() + RETRY_AFTER));
                });
                under_way.outcome().await
            }
        }
    }
}

impl Inner {
    fn kept(&self, key: &str) -> Option<Access> {
        self.lock().get(key).cloned()
    }

    fn live(&self, access: &Access) -> LiveToken {
        LiveToken::of(access, self.prover.get())
    }

    async fn buy(&self, spec: &TokenSpec) -> Result<BoughtToken, TokenRefusal> {
        let mut prover = self.prover.get();
        if prover.is_none() {
            let fresh = self.provider.new_prover().await;
            let fresh = fresh.map_err(TokenRefusal::Unavailable)?;
            prover = fresh.map(|fresh| self.prover.get_or_init(|| fresh));
        }
        let prover = prover.map(|prover| &**prover);
        self.provider.client_token(spec, prover).await
    }

    async fn fetch(&self, spec: &Arc<TokenSpec>, stale: u64) -> Outcome {
        let (error, cause) = match self.buy(spec).await {
            Ok(bought) => match self.access(bought, stale + 1) {
                Some(access) => {
                    self.lock().insert(Arc::clone(spec.key()), access);
                    return Ok(());
                }
                None => (
                    TokenError::Unavailable(NotNow::Provider("unusable_token")),
                    "the access token has bytes that no header may carry".to_owned(),
                ),
            },
            Err(refusal) => {
                let cause = chain(&refusal);
                let error = match refusal {
                    TokenRefusal::Refused(answer) => TokenError::Refused(answer.code),
                    TokenRefusal::Unavailable(error) => {
                        TokenError::Unavailable(NotNow::Provider(error.as_str()))
                    }
                };
                (error, cause)
            }
        };
        if let Some(left_out) = self.warnings.due(&cause, self.clock.now()) {
            tracing::warn!(
                event = "client_token.failing",
                token = &**spec.key(),
                cause,
                left_out,
                "the provider gives us no token of our own"
            );
        }
        Err(error)
    }

    fn access(&self, bought: BoughtToken, version: u64) -> Option<Access> {
        let now = self.clock.now();
        let lifetime = bought.expires_in.unwrap_or(UNTOLD_LIFETIME);
        let mut access = Access::new(version, bought.access_token)?;
        access.expires = Some(now + lifetime);
        access.refresh_at = Some(now + lifetime - self.refresh_before.min(lifetime / 4));
        Some(access)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Access>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
