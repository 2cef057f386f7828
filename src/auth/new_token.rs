//! A new token of a session: what it replaces, how it comes to stand beside the others, and what the log
//! says of one that did not come (L3, L8).

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::ending::FORGOTTEN;
use crate::auth::revocation::Revocations;
use crate::auth::token_error::{NotNow, Outcome, TokenError};
use crate::clock::{Clock, Timestamp};
use crate::oidc::GrantEnd;
use crate::secret::{IdToken, RefreshToken};
use crate::session::Sessions;
use crate::session::journal::RefreshFailed;
use crate::session::record::Session;
use crate::session::store::{Leased, STORE_AGAIN_AFTER, SaveOutcome};
use crate::session::tokens::{Access, Tokens};
use crate::telemetry::{RefreshOutcome, chain};
use crate::web::ending::EndReason;
use crate::web::repeats::Repeats;
use crate::web::token_spec::{ExchangeTerms, TokenSpec};

/// Stores new tokens, and tells of those that did not come.
#[derive(Debug)]
pub(in crate::auth) struct TokenKeeper {
    pub(in crate::auth) sessions: Sessions,
    pub(in crate::auth) clock: Arc<dyn Clock>,
    pub(in crate::auth) revocations: Revocations,
    pub(in crate::auth) warnings: Repeats,
}

impl TokenKeeper {
    /// Stores a new token before anybody uses it, beside whatever others came meanwhile. A store that is
    /// away is asked again for as long as the session could live: the old refresh token is worth nothing
    /// any more.
    pub(in crate::auth) async fn store(
        &self,
        session: &Arc<Session>,
        stale: &Stale,
        gained: Gained,
        before: &Arc<Tokens>,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let (journal, token) = (self.sessions.journal(), stale.token());
        let Some(access) = &gained.access else {
            const WORD: &str = "unusable_token";
            let failed = RefreshFailed {
                outcome: RefreshOutcome::Unavailable,
                token,
                code: Some(WORD),
                cause: "the access token has bytes that no header may carry",
            };
            self.tell(session, &failed, "refresh failed; the session stays");
            return Err(TokenError::Unavailable(NotNow::Provider(WORD)));
        };
        let took = || gained.asked.elapsed();
        let mut base = Arc::clone(before);
        loop {
            let tokens = Arc::new(gained.after(&base, access, stale, self.clock.now()));
            match self.sessions.save_tokens(session, &tokens).await {
                Ok(SaveOutcome::Saved) => {
                    journal.refreshed(session, token, RefreshOutcome::Ok, took());
                    return Ok(());
                }
                Ok(SaveOutcome::Overtaken) => {
                    let stored = Arc::clone(&session.tokens());
                    // Another node had taken over; what it stored is as good.
                    if stale.is_replaced(&stored) {
                        journal.refreshed(session, token, RefreshOutcome::Overtaken, took());
                        return Ok(());
                    }
                    // Another token came first.
                    if stored.version != base.version {
                        base = stored;
                        continue;
                    }
                    return Err(TokenError::Unavailable(NotNow::Store));
                }
                Ok(SaveOutcome::Ended) => {
                    // A logout came first and wins: what it could not see is revoked here (L8).
                    self.revocations.begin(tokens);
                    let failed = RefreshFailed {
                        outcome: RefreshOutcome::SessionEnded,
                        token,
                        code: None,
                        cause: "the session ended meanwhile",
                    };
                    let what = "refreshed tokens came too late and are revoked";
                    journal.refresh_failed(session, &failed, what);
                    return Err(over(session, FORGOTTEN));
                }
                Err(error) => {
                    // Told once a refresh: whoever waits for it has an answer, and it goes on.
                    if told
                        .send_replace(Some(Err(TokenError::Unavailable(NotNow::Store))))
                        .is_none()
                    {
                        let failed = RefreshFailed {
                            outcome: RefreshOutcome::StoreUnavailable,
                            token,
                            code: None,
                            cause: &chain(&error),
                        };
                        self.tell(session, &failed, "refreshed tokens wait for the store");
                    }
                }
            }
            if self.clock.now() >= session.ends {
                return Err(TokenError::Unavailable(NotNow::Store));
            }
            tokio::time::sleep(STORE_AGAIN_AFTER).await;
        }
    }

    /// The provider says no to one token; the session and its other tokens stay.
    pub(in crate::auth) fn tell_of_refusal(
        &self,
        session: &Session,
        token: Option<&str>,
        word: &'static str,
        cause: &str,
    ) {
        let failed = RefreshFailed {
            outcome: RefreshOutcome::Declined,
            token,
            code: Some(word),
            cause,
        };
        let what = "the provider gives no token for a route; the session stays";
        self.tell(session, &failed, what);
    }

    /// One line for each refresh that failed, and one a minute for each cause.
    pub(in crate::auth) fn tell(
        &self,
        session: &Session,
        failed: &RefreshFailed<'_>,
        what: &'static str,
    ) {
        self.sessions
            .journal()
            .refresh_failed(session, failed, what);
        let cause = failed.cause;
        if let Some(left_out) = self.warnings.due(cause, self.clock.now()) {
            tracing::warn!(
                event = "refresh.failing",
                cause,
                left_out,
                "access tokens are not renewed"
            );
        }
    }
}

/// The token that is to be replaced: of this version, or any but this.
#[derive(Debug)]
pub(in crate::auth) struct Stale {
    /// What it is for; `None` is the session's own.
    pub(in crate::auth) spec: Option<Arc<TokenSpec>>,
    /// Its version; 0 where there is none yet.
    pub(in crate::auth) version: u64,
}

impl Stale {
    /// What the log calls it, if it is not the session's own.
    pub(in crate::auth) fn token(&self) -> Option<&str> {
        self.spec.as_ref().map(|spec| &**spec.key())
    }

    pub(in crate::auth) fn is_replaced(&self, tokens: &Tokens) -> bool {
        let access = tokens.access(self.spec.as_ref().map(|spec| spec.key()));
        access.is_some_and(|access| access.version != self.version)
    }

    /// What the session's own access token is given for, and on which terms; else the refresh token is spent.
    pub(in crate::auth) fn exchange(&self) -> Option<(&TokenSpec, &ExchangeTerms)> {
        let spec = self.spec.as_deref()?;
        Some((spec, spec.exchange()?))
    }

    /// Whoever spends the refresh token has one lease, whatever it is spent for: a rotating one is good
    /// for one use (L3).
    pub(in crate::auth) fn lease<'a>(&'a self, session: &'a Session) -> Leased<'a> {
        let exchanged = self.exchange();
        Leased {
            hash: &session.hash,
            key: exchanged.map(|(spec, _)| &**spec.key()),
        }
    }
}

/// What the provider gave, and when it was asked.
pub(in crate::auth) struct Gained {
    /// `None` where no header can carry it.
    pub(in crate::auth) access: Option<Access>,
    /// Which use of the refresh token bought it.
    pub(in crate::auth) spent: Option<u64>,
    /// When the refresh token ends by itself.
    pub(in crate::auth) grant_end: GrantEnd,
    pub(in crate::auth) refresh_token: Option<Arc<RefreshToken>>,
    pub(in crate::auth) id_token: Option<Arc<IdToken>>,
    pub(in crate::auth) asked: Instant,
}

impl Gained {
    /// The tokens that follow `base`.
    fn after(&self, base: &Tokens, access: &Access, stale: &Stale, now: Timestamp) -> Tokens {
        let key = stale.spec.as_ref().map(|spec| Arc::clone(spec.key()));
        let mut next = base.with(key, access.clone(), now);
        let Some(spent) = self.spent else {
            return next;
        };
        // Without a new one the old one stays good (L3); and where somebody else spent one meanwhile,
        // theirs.
        if spent == base.spent {
            next.grant_ends = match self.grant_end {
                GrantEnd::At(end) => Some(end),
                GrantEnd::Never => None,
                // Of another refresh token nobody has said anything yet.
                GrantEnd::Unsaid if self.refresh_token.is_some() => None,
                GrantEnd::Unsaid => base.grant_ends,
            };
            if let Some(refresh_token) = &self.refresh_token {
                next.refresh_token = Some(Arc::clone(refresh_token));
            }
            if let Some(id_token) = &self.id_token {
                next.id_token = Some(Arc::clone(id_token));
            }
        }
        next.spent = next.version;
        next
    }
}

/// The session is over, for the reason that is known here or else for `reason`.
pub(in crate::auth) fn over(session: &Session, reason: EndReason) -> TokenError {
    TokenError::SessionEnded(session.ending.reason().unwrap_or(reason))
}
