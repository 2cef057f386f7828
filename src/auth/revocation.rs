//! Tokens that nobody will use again are revoked at the provider, beside the request that made them
//! so: a slow provider holds up nobody's logout (E5).

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::oidc::{Provider, RevocationError};
use crate::secret::{AccessToken, RefreshToken};
use crate::session::record::Session;
use crate::session::tokens::Tokens;
use crate::telemetry::chain;
use crate::web::background::Background;
use crate::web::repeats::Repeats;

/// Sessions whose tokens are revoked at once: a user, or an administrator, may end thousands with one
/// word, and the provider is to hear of them one after the other.
const AT_ONCE: usize = 8;

/// Revokes tokens; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Revocations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Provider,
    clock: Arc<dyn Clock>,
    background: Background,
    warnings: Repeats,
    turns: Semaphore,
}

impl Revocations {
    pub(in crate::auth) fn new(
        provider: Provider,
        clock: Arc<dyn Clock>,
        background: Background,
    ) -> Self {
        Self(Arc::new(Inner {
            provider,
            clock,
            background,
            warnings: Repeats::default(),
            turns: Semaphore::new(AT_ONCE),
        }))
    }

    /// Revokes these tokens beside whatever goes on.
    pub(in crate::auth) fn begin(&self, tokens: Arc<Tokens>) {
        let this = self.clone();
        let revoke = async move { this.revoke(&tokens).await };
        self.0.background.spawn(revoke);
    }

    /// Revokes the last tokens that this session had.
    pub(in crate::auth) fn begin_last(&self, session: Arc<Session>) {
        let this = self.clone();
        self.0.background.spawn(async move {
            let tokens = Arc::clone(&session.tokens());
            this.revoke(&tokens).await;
        });
    }

    async fn revoke(&self, tokens: &Tokens) {
        let Ok(_turn) = self.0.turns.acquire().await else {
            return;
        };
        let refresh_token = tokens.refresh_token.as_deref();
        let own = &tokens.own.token;
        self.revoke_pair(refresh_token, own).await;
        // Of another grant than the refresh token's, some of them, which does not take them along.
        for other in &tokens.others {
            self.revoke_pair(None, &other.access.token).await;
        }
    }

    async fn revoke_pair(&self, refresh_token: Option<&RefreshToken>, access_token: &AccessToken) {
        let inner = &*self.0;
        let revoked = inner.provider.revoke(refresh_token, Some(access_token));
        let Err(error) = revoked.await else {
            return;
        };
        let cause = chain(&error);
        tracing::info!(
            event = "revocation.failed",
            cause,
            "tokens could not be revoked"
        );
        // An access token ends by itself, and not every provider revokes them (RFC 7009 §2.2.1).
        if let RevocationError::RefreshToken(_) = error
            && let Some(left_out) = inner.warnings.due(&cause, inner.clock.now())
        {
            tracing::warn!(
                event = "revocation.failing",
                cause,
                left_out,
                "refresh tokens of sessions that are over could not be revoked"
            );
        }
    }
}
