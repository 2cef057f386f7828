//! A live access token for a session: refreshed early, once however many wait (section L).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;

use crate::clock::{Clock, Randomness, Timestamp};
use crate::oidc::{GrantFacts, Provider, RefreshError, TokenSet};
use crate::secret::random_base64url;
use crate::session::Sessions;
use crate::session::id::{SessionHash, UniformState};
use crate::session::record::{Session, Tokens};
use crate::session::store::{Found, LEASE_SPAN, STORE_AGAIN_AFTER, SaveOutcome};
use crate::telemetry::Metrics;
use crate::web::background::Background;
use crate::web::ending::EndReason;

/// After a refresh that could not be made, the next is tried this much later (L5).
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often a node looks whether the one that refreshes is done, if it is not told.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A refresh of another node that takes longer than this is not waited for.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(30);

/// An upstream that refuses every token brings about one refresh in this time, not one a call.
const FORCED_AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The provider no longer honours the grant, or there was nothing to refresh with: the
    /// session is over, for this reason (L4).
    #[error("the session ended: its access token cannot be renewed")]
    SessionEnded(EndReason),
    /// The provider or the store could not be asked; the session lives (L5).
    #[error("the access token has expired and the provider cannot be asked for another")]
    Unavailable,
}

/// Gives out live access tokens.
#[derive(Debug, Clone)]
pub struct AccessTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Provider,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    metrics: Metrics,
    background: Background,
    refresh_before: Duration,
    refreshes: Mutex<HashMap<SessionHash, Refresh, UniformState>>,
    /// When an upstream's refusal last brought a refresh about.
    forced: Mutex<HashMap<SessionHash, Timestamp, UniformState>>,
}

#[derive(Debug)]
enum Refresh {
    /// One is under way; its outcome comes here.
    Running(watch::Receiver<Option<Outcome>>),
    /// None may be started before this moment.
    NotBefore(Timestamp),
}

type Outcome = Result<(), TokenError>;

impl AccessTokens {
    /// Tokens of `provider` for `sessions`.
    pub fn new(
        provider: Provider,
        sessions: Sessions,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        metrics: Metrics,
        background: Background,
        refresh_before: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            provider,
            sessions,
            clock,
            randomness,
            metrics,
            background,
            refresh_before,
            refreshes: Mutex::default(),
            forced: Mutex::default(),
        }))
    }

    /// Tokens as a new session keeps them, with the moment of their refresh.
    ///
    /// `None` where the access token cannot be sent in a header.
    pub fn tokens(&self, granted: TokenSet) -> Option<Tokens> {
        self.0.tokens(granted, None)
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
            Err(ended @ TokenError::SessionEnded(_)) => Err(ended),
            Err(TokenError::Unavailable) => {
                let tokens = session.tokens();
                let lives = tokens
                    .expires
                    .is_none_or(|expires| self.0.clock.now() < expires);
                if lives {
                    Ok(tokens.bearer.clone())
                } else {
                    Err(TokenError::Unavailable)
                }
            }
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
            Err(ended @ TokenError::SessionEnded(_)) => Err(ended),
            Err(TokenError::Unavailable) => Ok(None),
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
                return Err(TokenError::Unavailable);
            }
            return Err(self.0.end(session, EndReason::Expired).await);
        }
        match self.refresh(session, stale, now) {
            Joined::Done => Ok(()),
            Joined::Ended(reason) => Err(TokenError::SessionEnded(reason)),
            Joined::HeldBack => Err(TokenError::Unavailable),
            Joined::Running(mut outcome) => match outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.unwrap_or(Err(TokenError::Unavailable)),
                // The task is gone without a word: it panicked, or the runtime is ending.
                Err(_) => Err(TokenError::Unavailable),
            },
        }
    }

    /// Joins the refresh that replaces the `stale` token, or starts it in a task of its own,
    /// which nobody's leaving cancels (L2).
    fn refresh(&self, session: &Arc<Session>, stale: &HeaderValue, now: Timestamp) -> Joined {
        let mut refreshes = lock(&self.0.refreshes);
        match refreshes.get(&session.hash) {
            Some(Refresh::Running(outcome)) => return Joined::Running(outcome.clone()),
            Some(Refresh::NotBefore(moment)) if now < *moment => return Joined::HeldBack,
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
            Refresh::NotBefore(moment) => now < *moment,
        });
        refreshes.insert(session.hash, Refresh::Running(receiver.clone()));
        drop(refreshes);
        let inner = Arc::clone(&self.0);
        let session = Arc::clone(session);
        self.0.background.spawn(async move {
            let running = RunningRefresh {
                inner: &inner,
                hash: session.hash,
            };
            let outcome = inner.run(&session, version, &sender).await;
            if outcome == Err(TokenError::Unavailable) {
                let not_before = Refresh::NotBefore(inner.clock.now() + RETRY_AFTER);
                lock(&inner.refreshes).insert(session.hash, not_before);
            }
            drop(running);
            sender.send_replace(Some(outcome));
        });
        Joined::Running(receiver)
    }
}

enum Joined {
    /// Somebody else's refresh has just ended well.
    Done,
    /// The session has just ended.
    Ended(EndReason),
    /// The last one failed too recently.
    HeldBack,
    /// One is under way.
    Running(watch::Receiver<Option<Outcome>>),
}

/// The session is over, for the reason that is known here or else for `reason`.
fn over(session: &Session, reason: EndReason) -> TokenError {
    TokenError::SessionEnded(session.ending.reason().unwrap_or(reason))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a refresh off the list when its task ends, however it ends.
struct RunningRefresh<'a> {
    inner: &'a Inner,
    hash: SessionHash,
}

impl Drop for RunningRefresh<'_> {
    fn drop(&mut self) {
        let mut refreshes = lock(&self.inner.refreshes);
        if let Some(Refresh::Running(_)) = refreshes.get(&self.hash) {
            refreshes.remove(&self.hash);
        }
    }
}

impl Inner {
    fn tokens(&self, granted: TokenSet, before: Option<&Tokens>) -> Option<Tokens> {
        let now = self.clock.now();
        let bearer = granted.access_token.bearer()?;
        Some(Tokens {
            version: before.map_or(1, |tokens| tokens.version + 1),
            bearer,
            access_token: granted.access_token,
            // Without a new one the old one stays good (L3).
            refresh_token: granted
                .refresh_token
                .map(Arc::new)
                .or_else(|| before.and_then(|tokens| tokens.refresh_token.clone())),
            id_token: granted
                .id_token
                .map(Arc::new)
                .or_else(|| before.and_then(|tokens| tokens.id_token.clone())),
            expires: granted.expires_in.map(|lifetime| now + lifetime),
            refresh_at: granted
                .expires_in
                .map(|lifetime| now + lifetime - self.margin(lifetime)),
        })
    }

    /// How long before its end a token is refreshed: as configured, less up to a fifth by chance
    /// so that a fleet's refreshes spread (L1), and never more than a quarter of its life.
    fn margin(&self, lifetime: Duration) -> Duration {
        let mut chance = [0_u8; 1];
        self.randomness.fill(&mut chance);
        let [chance] = chance;
        let spread = self.refresh_before.mul_f64(f64::from(chance) / 255.0 / 5.0);
        (self.refresh_before - spread).min(lifetime / 4)
    }

    fn is_refreshing(&self, hash: SessionHash) -> bool {
        matches!(lock(&self.refreshes).get(&hash), Some(Refresh::Running(_)))
    }

    fn may_force(&self, hash: SessionHash, now: Timestamp) -> bool {
        let mut forced = lock(&self.forced);
        forced.retain(|_, at| now < *at + FORCED_AT_MOST_EVERY);
        let first = !forced.contains_key(&hash);
        if first {
            forced.insert(hash, now);
        }
        first
    }

    /// Refreshes, if no other node does; what it comes to on whichever node.
    ///
    /// `stale` is the version that is to be replaced: what another node stored and a look-up brought
    /// here before this begins is as good as new.
    async fn run(
        &self,
        session: &Arc<Session>,
        stale: u64,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let owner = random_base64url::<9>(&*self.randomness);
        if let Some(outcome) = self.wait_for_others(session, stale, &owner).await {
            return outcome;
        }
        // Renewed for as long as it takes: the provider may be slow, and the store may be away.
        let renew = async {
            loop {
                tokio::time::sleep(LEASE_SPAN / 4).await;
                // Who cannot renew it holds it to its end; a write that comes too late is refused.
                drop(self.sessions.lease(&session.hash, &owner).await);
            }
        };
        let outcome = tokio::select! {
            outcome = self.refresh(session, stale, &owner, told) => outcome,
            () = renew => Err(TokenError::Unavailable),
        };
        self.sessions.release(&session.hash, &owner).await;
        outcome
    }

    /// Takes the lease; the outcome, where another node had it and refreshed.
    async fn wait_for_others(&self, session: &Session, stale: u64, owner: &str) -> Option<Outcome> {
        let until = tokio::time::Instant::now() + WAIT_FOR_OTHERS;
        while tokio::time::Instant::now() < until {
            let changed = session.changes.notified();
            match self.sessions.lease(&session.hash, owner).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(_) => return Some(Err(TokenError::Unavailable)),
            }
            tokio::select! {
                () = changed => {}
                _ = session.ending.wait() => {}
                () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
            }
            if let Some(outcome) = self.news(session, stale).await {
                return Some(outcome);
            }
        }
        Some(Err(TokenError::Unavailable))
    }

    /// Whether the store knows of other tokens than the stale ones, or of the session's end.
    async fn news(&self, session: &Session, stale: u64) -> Option<Outcome> {
        match self.sessions.reload(session).await {
            Ok(Found::Live(_)) => (session.tokens().version > stale).then_some(Ok(())),
            Ok(Found::Ended(reason)) => Some(Err(TokenError::SessionEnded(reason))),
            Ok(Found::Nothing) => Some(Err(over(session, EndReason::Expired))),
            Err(_) => Some(Err(TokenError::Unavailable)),
        }
    }

    /// With the lease in hand: asks the store once more, then the provider.
    async fn refresh(
        &self,
        session: &Arc<Session>,
        stale: u64,
        owner: &str,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        // Whose lease ran out while the store was away may hold new tokens, and the old refresh token
        // is worth nothing any more: shown again, it ends the grant.
        let unsettled = self.sessions.unsettled();
        if !unsettled.is_zero() {
            tokio::time::sleep(unsettled).await;
        }
        if let Some(outcome) = self.news(session, stale).await {
            return outcome;
        }
        let before = Arc::clone(&session.tokens());
        let Some(refresh_token) = before.refresh_token.clone() else {
            return Err(TokenError::Unavailable);
        };
        let Ok(facts) = serde_json::from_str::<GrantFacts>(&session.grant_facts) else {
            return Err(TokenError::Unavailable);
        };
        match self.provider.refresh(&refresh_token, &facts).await {
            Ok(refreshed) => self.store(session, refreshed.tokens, &before, told).await,
            Err(error @ (RefreshError::InvalidGrant | RefreshError::Untrusted(_))) => {
                self.refused(session, stale, owner, &error).await
            }
            Err(error @ RefreshError::Unavailable(_)) => {
                self.metrics.refresh("unavailable");
                tracing::warn!(session.id_hash = ?session.hash, %error, "refresh failed; the session stays");
                Err(TokenError::Unavailable)
            }
        }
    }

    /// The provider no longer honours the grant; unless another node used it, the session is over.
    async fn refused(
        &self,
        session: &Session,
        stale: u64,
        owner: &str,
        error: &RefreshError,
    ) -> Outcome {
        if let Some(outcome) = self.news(session, stale).await {
            return outcome;
        }
        // Whoever took the lease over may hold the tokens that this one was refused for.
        if !matches!(self.sessions.lease(&session.hash, owner).await, Ok(true)) {
            return Err(TokenError::Unavailable);
        }
        self.metrics.refresh("refused");
        tracing::info!(session.id_hash = ?session.hash, %error, "refresh refused; the session ends");
        Err(self.end(session, EndReason::RefreshRefused).await)
    }

    /// Ends the session, unless somebody else did, for a reason that then counts.
    async fn end(&self, session: &Session, reason: EndReason) -> TokenError {
        match self.sessions.end(&session.hash, reason).await {
            Ok(Some(_)) => TokenError::SessionEnded(reason),
            Ok(None) => over(session, reason),
            Err(_) => TokenError::Unavailable,
        }
    }

    /// Stores new tokens before anybody uses them. A store that is away is asked again for as long as
    /// the session could live: the old refresh token is worth nothing any more.
    async fn store(
        &self,
        session: &Arc<Session>,
        granted: TokenSet,
        before: &Tokens,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let Some(tokens) = self.tokens(granted, Some(before)).map(Arc::new) else {
            self.metrics.refresh("refused");
            return Err(TokenError::Unavailable);
        };
        loop {
            match self.sessions.save_tokens(session, &tokens).await {
                Ok(SaveOutcome::Saved) => {
                    self.metrics.refresh("ok");
                    return Ok(());
                }
                // Another node had taken over; what it stored is as good.
                Ok(SaveOutcome::Overtaken) => {
                    self.metrics.refresh("overtaken");
                    return Ok(());
                }
                Ok(SaveOutcome::Ended) => {
                    // A logout came first and wins: what it could not see is revoked here (L8).
                    self.revoke(&tokens).await;
                    self.metrics.refresh("session_ended");
                    return Err(over(session, EndReason::Expired));
                }
                Err(error) => {
                    // Told once a refresh: whoever waits for it has an answer, and it goes on.
                    if told
                        .send_replace(Some(Err(TokenError::Unavailable)))
                        .is_none()
                    {
                        tracing::warn!(session.id_hash = ?session.hash, %error, "refreshed tokens wait for the store");
                        self.metrics.refresh("store_unavailable");
                    }
                }
            }
            if self.clock.now() >= session.ends {
                return Err(TokenError::Unavailable);
            }
            tokio::time::sleep(STORE_AGAIN_AFTER).await;
        }
    }

    async fn revoke(&self, tokens: &Tokens) {
        let revoked = self
            .provider
            .revoke(tokens.refresh_token.as_deref(), Some(&tokens.access_token))
            .await;
        if let Err(error) = revoked {
            tracing::warn!(%error, "the tokens of an ended session could not be revoked");
        }
    }
}
