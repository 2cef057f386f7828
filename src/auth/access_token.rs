//! A live access token for a session: refreshed early, once however many wait (section L).
//!
//! Who waits, and for how long, is settled here; what a refresh is and may come to, in `refresh`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::auth::refresh::{Refresher, end};
use crate::auth::token_error::Outcome;
use crate::clock::{Clock, Timestamp};
use crate::oidc::TokenSet;
use crate::session::id::SessionHash;
use crate::session::record::{Session, Tokens};
use crate::web::background::Background;
use crate::web::ending::EndReason;
use crate::web::uniform::UniformState;

pub use crate::auth::token_error::{NotNow, TokenError};

/// After a refresh that could not be made, the next is tried this much later (L5).
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An upstream that refuses every token brings about one refresh in this time, not one a call.
const FORCED_AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// How patient calls are.
#[derive(Debug, Clone, Copy)]
pub(in crate::auth) struct Patience {
    /// How long a call waits for a refresh.
    pub(in crate::auth) wait: Duration,
    /// How long after its end an access token that is not renewed is a reason to sign in again.
    pub(in crate::auth) unrefreshable_after: Duration,
}

/// Gives out live access tokens.
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

/// The refreshes under way at all sites, each of one session; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::auth) struct Refreshes(Arc<RefreshLists>);

#[derive(Debug, Default)]
struct RefreshLists {
    refreshes: Mutex<HashMap<SessionHash, Refresh, UniformState>>,
    /// When an upstream's refusal last brought a refresh about.
    forced: Mutex<HashMap<SessionHash, Timestamp, UniformState>>,
}

#[derive(Debug)]
enum Refresh {
    Running(Running),
    /// None may be started before this moment, since the last one failed.
    NotBefore(Timestamp, NotNow),
}

/// A refresh that is under way.
#[derive(Debug, Clone)]
struct Running {
    /// Where its outcome comes.
    outcome: watch::Receiver<Option<Outcome>>,
    /// Until when calls wait for it. It goes on after that: whoever breaks it off loses what it may
    /// have spent.
    awaited_until: Instant,
}

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
        self.0.refresher.tokens(granted, None)
    }

    /// Whether this session's tokens are of the client that these are of.
    pub(in crate::auth) fn are_of(&self, session: &Session) -> bool {
        self.0.refresher.is_for(session)
    }

    /// `Authorization` for an upstream.
    ///
    /// While the token is good for a while yet, a due refresh goes on beside the call; near the
    /// token's end the call waits for it.
    ///
    /// # Errors
    ///
    /// The session is over, or the token is and the provider cannot be asked.
    pub async fn bearer(&self, session: &Arc<Session>) -> Result<HeaderValue, TokenError> {
        let now = self.0.clock.now();
        let stale = {
            let tokens = session.tokens();
            match (tokens.refresh_at, tokens.expires) {
                (Some(refresh_at), _) if now < refresh_at => return Ok(tokens.bearer.clone()),
                (Some(refresh_at), Some(expires)) => {
                    let time_to_wait = expires.since(refresh_at) / 2;
                    if now < refresh_at + time_to_wait {
                        if tokens.refresh_token.is_some() {
                            drop(self.refresh(session, &tokens.bearer, now));
                        }
                        return Ok(tokens.bearer.clone());
                    }
                }
                // Without a lifetime it is good until an upstream says otherwise (L1).
                _ => return Ok(tokens.bearer.clone()),
            }
            // Of the same look: other tokens may come at any moment.
            tokens.bearer.clone()
        };
        // In a box: every call's future would have to have room for it.
        match Box::pin(self.refreshed(session, &stale, now)).await {
            Ok(()) => Ok(session.tokens().bearer.clone()),
            Err(TokenError::Unavailable(why)) => self.0.old_bearer(session, why),
            Err(error) => Err(error),
        }
    }

    /// Another `Authorization` after an upstream refused `refused` with 401 (I13); `None` where
    /// there is none to be had.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub async fn after_refusal(
        &self,
        session: &Arc<Session>,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, TokenError> {
        let renewed = || {
            let tokens = session.tokens();
            (tokens.bearer != *refused).then(|| tokens.bearer.clone())
        };
        if let Some(bearer) = renewed() {
            return Ok(Some(bearer));
        }
        if session.tokens().refresh_token.is_none() {
            return Ok(None);
        }
        let now = self.0.clock.now();
        // Calls that are refused while one of them has a refresh under way wait for that one. It
        // may also have ended since the look above.
        if !self.0.is_refreshing(session.hash) && !self.0.may_force(session.hash, now) {
            return Ok(renewed());
        }
        match self.refreshed(session, refused, now).await {
            Ok(()) => Ok(renewed()),
            Err(TokenError::SessionEnded(reason)) => Err(TokenError::SessionEnded(reason)),
            Err(TokenError::Unavailable(_) | TokenError::Unrefreshable(_)) => Ok(None),
        }
    }

    async fn refreshed(
        &self,
        session: &Arc<Session>,
        stale: &HeaderValue,
        now: Timestamp,
    ) -> Outcome {
        let (has_refresh_token, expires) = {
            let tokens = session.tokens();
            (tokens.refresh_token.is_some(), tokens.expires)
        };
        if !has_refresh_token {
            // Nothing can renew it: while it lives it serves, then the session is over.
            if expires.is_none_or(|expires| now < expires) {
                return Err(TokenError::Unavailable(NotNow::NoRefreshToken));
            }
            return Err(end(self.0.refresher.sessions(), session, EndReason::Expired).await);
        }
        match self.refresh(session, stale, now) {
            Joined::Done => Ok(()),
            Joined::Ended(reason) => Err(TokenError::SessionEnded(reason)),
            Joined::HeldBack(why) => Err(TokenError::Unavailable(why)),
            Joined::Running(running) => running.outcome().await,
        }
    }

    /// Joins the refresh that replaces the `stale` token, or starts it in a task of its own,
    /// which nobody's leaving cancels (L2).
    fn refresh(&self, session: &Arc<Session>, stale: &HeaderValue, now: Timestamp) -> Joined {
        if !self.0.refresher.is_for(session) {
            self.0.refresher.tell_of_gone(session);
            return Joined::HeldBack(NotNow::ClientGone);
        }
        let mut refreshes = lock(&self.0.shared.0.refreshes);
        match refreshes.get(&session.hash) {
            Some(Refresh::Running(running)) => return Joined::Running(running.clone()),
            Some(Refresh::NotBefore(moment, why)) if now < *moment => {
                return Joined::HeldBack(*why);
            }
            _ => {}
        }
        // New tokens are stored before a refresh leaves the list. So one that ended between the
        // caller's look at the tokens and this lock shows here, and is not repeated.
        let version = {
            let tokens = session.tokens();
            if tokens.bearer != *stale {
                return Joined::Done;
            }
            tokens.version
        };
        // Likewise the end that a dead grant brings: nobody asks the provider once more (L4).
        if let Some(reason) = session.ending.reason() {
            return Joined::Ended(reason);
        }
        let (sender, receiver) = watch::channel(None);
        refreshes.retain(|_, refresh| match refresh {
            Refresh::Running(_) => true,
            Refresh::NotBefore(moment, _) => now < *moment,
        });
        let running = Running {
            outcome: receiver,
            awaited_until: Instant::now() + self.0.patience.wait,
        };
        refreshes.insert(session.hash, Refresh::Running(running.clone()));
        drop(refreshes);
        let inner = Arc::clone(&self.0);
        let session = Arc::clone(session);
        self.0.background.spawn(async move {
            let listed = ListedRefresh {
                inner: &inner,
                hash: session.hash,
            };
            let outcome = inner.refresher.run(&session, version, &sender).await;
            if let Err(TokenError::Unavailable(why)) = outcome {
                let not_before = Refresh::NotBefore(inner.clock.now() + RETRY_AFTER, why);
                lock(&inner.shared.0.refreshes).insert(session.hash, not_before);
            }
            drop(listed);
            sender.send_replace(Some(outcome));
        });
        Joined::Running(running)
    }
}

enum Joined {
    /// Somebody else's refresh has just ended well.
    Done,
    /// The session has just ended.
    Ended(EndReason),
    /// The last one failed too recently, for this reason.
    HeldBack(NotNow),
    /// One is under way.
    Running(Running),
}

impl Running {
    /// What it comes to, if it does so before calls stop waiting for it.
    async fn outcome(mut self) -> Outcome {
        let outcome = self.outcome.wait_for(Option::is_some);
        match timeout_at(self.awaited_until, outcome).await {
            Ok(Ok(outcome)) => outcome.unwrap_or(Err(TokenError::Unavailable(NotNow::BrokeOff))),
            Ok(Err(_)) => Err(TokenError::Unavailable(NotNow::BrokeOff)),
            Err(_) => Err(TokenError::Unavailable(NotNow::Slow)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a refresh off the list when its task ends, however it ends.
struct ListedRefresh<'a> {
    inner: &'a Inner,
    hash: SessionHash,
}

impl Drop for ListedRefresh<'_> {
    fn drop(&mut self) {
        let mut refreshes = lock(&self.inner.shared.0.refreshes);
        if let Some(Refresh::Running(_)) = refreshes.get(&self.hash) {
            refreshes.remove(&self.hash);
        }
    }
}

impl Inner {
    /// The token that could not be renewed, while it lives.
    fn old_bearer(&self, session: &Session, why: NotNow) -> Result<HeaderValue, TokenError> {
        let (tokens, now) = (session.tokens(), self.clock.now());
        match (tokens.expires, why) {
            (Some(expires), NotNow::Refused(_))
                if now >= expires + self.patience.unrefreshable_after =>
            {
                Err(TokenError::Unrefreshable(why))
            }
            // Nobody will be asked, however long one waits.
            (Some(expires), NotNow::ClientGone) if now >= expires => {
                Err(TokenError::Unrefreshable(why))
            }
            (Some(expires), _) if now >= expires => Err(TokenError::Unavailable(why)),
            _ => Ok(tokens.bearer.clone()),
        }
    }

    fn is_refreshing(&self, hash: SessionHash) -> bool {
        matches!(
            lock(&self.shared.0.refreshes).get(&hash),
            Some(Refresh::Running(_))
        )
    }

    fn may_force(&self, hash: SessionHash, now: Timestamp) -> bool {
        let mut forced = lock(&self.shared.0.forced);
        forced.retain(|_, at| now < *at + FORCED_AT_MOST_EVERY);
        let first = !forced.contains_key(&hash);
        if first {
            forced.insert(hash, now);
        }
        first
    }
}
