//! A live access token for a session: refreshed early, once however many wait (section L).
//!
//! Who waits, and for how long, is settled here; what a refresh is and may come to, in `refresh`. Each of
//! a session's tokens is refreshed on its own; what tells one from another is its version.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::auth::flights::{Flights, Joined, Seldom, UnderWay};
use crate::auth::live_token::{FORCED_AT_MOST_EVERY, RETRY_AFTER};
use crate::auth::new_token::Stale;
use crate::auth::refresh::{Refresher, end};
use crate::auth::token_error::Outcome;
use crate::clock::{Clock, Timestamp};
use crate::oidc::TokenSet;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::tokens::Tokens;
use crate::web::background::Background;
use crate::web::ending::EndReason;
use crate::web::token_spec::TokenSpec;

pub use crate::auth::live_token::LiveToken;
pub use crate::auth::token_error::{NotNow, TokenError};

/// How patient calls are.
#[derive(Debug, Clone, Copy)]
pub(in crate::auth) struct Patience {
    /// How long a call waits for a refresh.
    pub(in crate::auth) wait: Duration,
    /// How long after its end an access token that is not renewed is a reason to sign in again.
    pub(in crate::auth) unrefreshable_after: Duration,
}

/// Gives out live access tokens of sessions.
#[derive(Debug, Clone)]
pub struct AccessTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    refresher: Refresher,
    clock: Arc<dyn Clock>,
    background: Background,
    patience: Patience,
    shared: Refreshes,
}

/// The refreshes under way at all sites, each of one token of one session; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::auth) struct Refreshes {
    under_way: Flights<Slot>,
    /// When an upstream's refusal last brought a refresh about.
    forced: Arc<Seldom<Slot>>,
}

/// Where a token is kept: in which session, and under which key, if it is not the session's own.
type Slot = (SessionHash, Option<Arc<str>>);

impl AccessTokens {
    pub(in crate::auth) fn new(
        refresher: Refresher,
        shared: Refreshes,
        clock: Arc<dyn Clock>,
        background: Background,
        patience: Patience,
    ) -> Self {
        Self(Arc::new(Inner {
            refresher,
            clock,
            background,
            patience,
            shared,
        }))
    }

    /// Tokens as a new session keeps them, with the moment of their refresh.
    ///
    /// `None` where the access token cannot be sent in a header.
    pub fn tokens(&self, granted: TokenSet) -> Option<Tokens> {
        self.0.refresher.first(granted)
    }

    /// Whether this session's tokens are of the client that these are of.
    pub(in crate::auth) fn are_of(&self, session: &Session) -> bool {
        self.0.refresher.is_for(session)
    }

    /// What a call to an upstream carries: the token that `spec` asks for, the session's own where nothing
    /// is.
    ///
    /// While the token is good for a while yet, a due refresh goes on beside the call; near the
    /// token's end, and where there is none yet, the call waits for it.
    ///
    /// # Errors
    ///
    /// The session is over, or the token is and the provider cannot be asked; or it says no to `spec`.
    pub async fn live(
        &self,
        session: &Arc<Session>,
        spec: Option<&Arc<TokenSpec>>,
    ) -> Result<LiveToken, TokenError> {
        let now = self.0.clock.now();
        let stale = {
            let tokens = session.tokens();
            let access = tokens.access(spec.map(|spec| spec.key()));
            // Without a lifetime it is good until an upstream says otherwise (L1).
            if let Some(access) = access {
                match (access.refresh_at, access.expires) {
                    (Some(refresh_at), _) if now < refresh_at => {
                        return Ok(LiveToken::of(access, tokens.prover.as_ref()));
                    }
                    (Some(refresh_at), Some(expires)) => {
                        let time_to_wait = expires.since(refresh_at) / 2;
                        if now < refresh_at + time_to_wait {
                            if can_renew(&tokens, spec) {
                                drop(self.refresh(session, spec, access.version, now));
                            }
                            return Ok(LiveToken::of(access, tokens.prover.as_ref()));
                        }
                    }
                    _ => return Ok(LiveToken::of(access, tokens.prover.as_ref())),
                }
            }
            // Of the same look: other tokens may come at any moment.
            access.map_or(0, |access| access.version)
        };
        // In a box: every call's future would have to have room for it.
        Box::pin(self.renewed(session, spec, stale, now)).await
    }

    /// Another token after an upstream refused `refused` with 401 (I13); `None` where there is none to be
    /// had.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub async fn after_refusal(
        &self,
        session: &Arc<Session>,
        spec: Option<&Arc<TokenSpec>>,
        refused: &LiveToken,
    ) -> Result<Option<LiveToken>, TokenError> {
        let renewed = || {
            let tokens = session.tokens();
            let access = tokens.access(spec.map(|spec| spec.key()));
            let newer = access.filter(|access| access.version != refused.version());
            newer.map(|access| LiveToken::of(access, tokens.prover.as_ref()))
        };
        if let Some(token) = renewed() {
            return Ok(Some(token));
        }
        if !can_renew(&session.tokens(), spec) {
            return Ok(None);
        }
        let now = self.0.clock.now();
        let slot = slot(session, spec);
        // Calls that are refused while one of them has a refresh under way wait for that one. It
        // may also have ended since the look above.
        let shared = &self.0.shared;
        if !shared.under_way.is_under_way(&slot)
            && !shared.forced.may(slot, now, FORCED_AT_MOST_EVERY)
        {
            return Ok(renewed());
        }
        match self.refreshed(session, spec, refused.version(), now).await {
            Ok(()) => Ok(renewed()),
            Err(TokenError::SessionEnded(reason)) => Err(TokenError::SessionEnded(reason)),
            Err(
                TokenError::Unavailable(_) | TokenError::Unrefreshable(_) | TokenError::Refused(_),
            ) => Ok(None),
        }
    }

    /// A token in the place of the `stale` one: that one itself, while it lives, where none can be had.
    async fn renewed(
        &self,
        session: &Arc<Session>,
        spec: Option<&Arc<TokenSpec>>,
        stale: u64,
        now: Timestamp,
    ) -> Result<LiveToken, TokenError> {
        match self.refreshed(session, spec, stale, now).await {
            Ok(()) => {
                let tokens = session.tokens();
                let access = tokens.access(spec.map(|spec| spec.key()));
                access
                    .map(|access| LiveToken::of(access, tokens.prover.as_ref()))
                    .ok_or(TokenError::Unavailable(NotNow::BrokeOff))
            }
            Err(TokenError::Unavailable(why)) => self.0.old_token(session, spec, why),
            // No other will come; the one that is there is good to its end.
            Err(error @ TokenError::Refused(_)) => self.0.living(session, spec).ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn refreshed(
        &self,
        session: &Arc<Session>,
        spec: Option<&Arc<TokenSpec>>,
        stale: u64,
        now: Timestamp,
    ) -> Outcome {
        let (can_renew, expires) = {
            let tokens = session.tokens();
            (can_renew(&tokens, spec), tokens.own.expires)
        };
        if !can_renew {
            // Nothing can renew it: while it lives it serves, then the session is over.
            if expires.is_none_or(|expires| now < expires) {
                if let Some(spec) = spec {
                    self.0.refresher.tell_of_lack(session, spec);
                }
                return Err(TokenError::Unavailable(NotNow::NoRefreshToken));
            }
            return Err(end(self.0.refresher.sessions(), session, EndReason::Expired).await);
        }
        match self.refresh(session, spec, stale, now) {
            Ok(under_way) => under_way.outcome().await,
            Err(outcome) => outcome,
        }
    }

    /// Joins the refresh that replaces the `stale` token, or starts it in a task of its own,
    /// which nobody's leaving cancels (L2); the outcome, where there is nothing to wait for.
    fn refresh(
        &self,
        session: &Arc<Session>,
        spec: Option<&Arc<TokenSpec>>,
        stale: u64,
        now: Timestamp,
    ) -> Result<UnderWay, Outcome> {
        if !self.0.refresher.is_for(session) {
            self.0.refresher.tell_of_gone(session);
            return Err(Err(TokenError::Unavailable(NotNow::ClientGone)));
        }
        // A refresh that ended between the caller's look at the tokens and this one shows here, and is
        // not repeated.
        let look = || {
            let tokens = session.tokens();
            let access = tokens.access(spec.map(|spec| spec.key()));
            if access.is_some_and(|access| access.version != stale) {
                return Some(Ok(()));
            }
            // Likewise the end that a dead grant brings: nobody asks the provider once more (L4).
            let reason = session.ending.reason()?;
            Some(Err(TokenError::SessionEnded(reason)))
        };
        let flights = &self.0.shared.under_way;
        match flights.join(slot(session, spec), now, self.0.patience.wait, look) {
            Joined::Settled(outcome) => Err(outcome),
            Joined::UnderWay(under_way) => Ok(under_way),
            Joined::Begins(under_way, flying) => {
                let tokens = self.clone();
                let session = Arc::clone(session);
                let stale = Stale {
                    spec: spec.cloned(),
                    version: stale,
                };
                self.0.background.spawn(async move {
                    let outcome = tokens.run(&session, &stale, flying.told()).await;
                    let fails = matches!(
                        outcome,
                        Err(TokenError::Unavailable(_) | TokenError::Refused(_))
                    );
                    let not_before = fails.then(|| tokens.0.clock.now() + RETRY_AFTER);
                    flying.land(outcome, not_before);
                });
                Ok(under_way)
            }
        }
    }

    /// Makes a refresh. What is exchanged must be live itself, whatever brought the exchange about.
    async fn run(
        &self,
        session: &Arc<Session>,
        stale: &Stale,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        if stale.exchange().is_some() {
            self.own_lives(session).await?;
        }
        self.0.refresher.run(session, stale, told).await
    }

    /// As [`Self::live`] of the session's own; its type has a name, since it may begin a refresh, and a
    /// refresh begins with it.
    fn own_lives<'a>(
        &'a self,
        session: &'a Arc<Session>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move { self.live(session, None).await.map(drop) })
    }
}

fn slot(session: &Session, spec: Option<&Arc<TokenSpec>>) -> Slot {
    (session.hash, spec.map(|spec| Arc::clone(spec.key())))
}

/// Whether another token of this kind can be had without the user.
fn can_renew(tokens: &Tokens, spec: Option<&Arc<TokenSpec>>) -> bool {
    tokens.refresh_token.is_some() || spec.is_some_and(|spec| spec.exchange().is_some())
}

impl Inner {
    /// The token that is there, while it lives.
    fn living(&self, session: &Session, spec: Option<&Arc<TokenSpec>>) -> Option<LiveToken> {
        let (tokens, now) = (session.tokens(), self.clock.now());
        let access = tokens.access(spec.map(|spec| spec.key()))?;
        let lives = access.expires.is_none_or(|expires| now < expires);
        lives.then(|| LiveToken::of(access, tokens.prover.as_ref()))
    }

    /// The token that could not be renewed, while it lives.
    fn old_token(
        &self,
        session: &Session,
        spec: Option<&Arc<TokenSpec>>,
        why: NotNow,
    ) -> Result<LiveToken, TokenError> {
        if let Some(token) = self.living(session, spec) {
            return Ok(token);
        }
        let ended = {
            let tokens = session.tokens();
            let access = tokens.access(spec.map(|spec| spec.key()));
            access.and_then(|access| access.expires)
        };
        let now = self.clock.now();
        Err(match (ended, why) {
            // It will never come: no outage.
            (None, NotNow::NoRefreshToken) => TokenError::Refused(None),
            (Some(ended), NotNow::Refused(_))
                if now >= ended + self.patience.unrefreshable_after =>
            {
                TokenError::Unrefreshable(why)
            }
            // Nobody will be asked, however long one waits.
            (Some(_), NotNow::ClientGone) => TokenError::Unrefreshable(why),
            _ => TokenError::Unavailable(why),
        })
    }
}
