//! One refresh of one session's tokens, whichever node makes it: under a lease, stored before
//! anybody uses them, and told in the log and the metrics (L2–L8).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::ending::FORGOTTEN;
use crate::auth::revocation::Revocations;
use crate::auth::token_error::{NotNow, Outcome, TokenError};
use crate::clock::{Clock, Randomness};
use crate::oidc::{
    ErrorAnswer, ErrorCode, GrantFacts, Provider, RefreshError, TokenSet, Untrusted,
};
use crate::secret::random_base64url;
use crate::session::Sessions;
use crate::session::journal::RefreshFailed;
use crate::session::record::{Session, Tokens};
use crate::session::store::{Found, LEASE_SPAN, STORE_AGAIN_AFTER, SaveOutcome};
use crate::telemetry::{RefreshOutcome, chain};
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::repeats::Repeats;

/// How often a node looks whether the one that refreshes is done, if it is not told.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A refresh of another node that takes longer than this is not waited for.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(30);

/// Makes refreshes.
#[derive(Debug)]
pub(in crate::auth) struct Refresher {
    /// Whose sessions it refreshes: no token goes to another client than its own.
    pub(in crate::auth) registration: Registration,
    pub(in crate::auth) provider: Provider,
    pub(in crate::auth) sessions: Sessions,
    pub(in crate::auth) clock: Arc<dyn Clock>,
    pub(in crate::auth) randomness: Arc<dyn Randomness>,
    pub(in crate::auth) revocations: Revocations,
    /// How long before its end an access token is refreshed.
    pub(in crate::auth) refresh_before: Duration,
    pub(in crate::auth) warnings: Repeats,
}

impl Refresher {
    /// The sessions that it refreshes, among others.
    pub(in crate::auth) const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whether this session's tokens are of the client that refreshes here.
    pub(in crate::auth) fn is_for(&self, session: &Session) -> bool {
        session.registration == self.registration
    }

    /// One line a minute for the sessions that nobody can refresh any more.
    pub(in crate::auth) fn tell_of_gone(&self, session: &Session) {
        let registration = session.registration.to_string();
        if let Some(left_out) = self.warnings.due(&registration, self.clock.now()) {
            tracing::warn!(
                event = "refresh.client_gone",
                client = registration,
                left_out,
                "sessions of a client that is not configured any more are not renewed: their users sign in \
                 again when the access token ends, or at once by /bff/login"
            );
        }
    }

    /// Tokens as a session keeps them after `before`, with the moment of their refresh; `None` where
    /// the access token cannot be sent in a header.
    pub(in crate::auth) fn tokens(
        &self,
        granted: TokenSet,
        before: Option<&Tokens>,
    ) -> Option<Tokens> {
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

    /// Refreshes, if no other node does; what it comes to on whichever node.
    ///
    /// `stale` is the version that is to be replaced: what another node stored and a look-up brought
    /// here before this begins is as good as new.
    pub(in crate::auth) async fn run(
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
            () = renew => Err(TokenError::Unavailable(NotNow::Store)),
        };
        self.sessions.release(&session.hash, &owner).await;
        outcome
    }

    /// Takes the lease; the outcome, where another node had it and refreshed.
    async fn wait_for_others(&self, session: &Session, stale: u64, owner: &str) -> Option<Outcome> {
        let until = Instant::now() + WAIT_FOR_OTHERS;
        while Instant::now() < until {
            let changed = session.changes.notified();
            match self.sessions.lease(&session.hash, owner).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(_) => return Some(Err(TokenError::Unavailable(NotNow::Store))),
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
        Some(Err(TokenError::Unavailable(NotNow::Store)))
    }

    /// Whether the store knows of other tokens than the stale ones, or of the session's end.
    async fn news(&self, session: &Session, stale: u64) -> Option<Outcome> {
        match self.sessions.reload(session).await {
            Ok(Found::Live(_)) => (session.tokens().version > stale).then_some(Ok(())),
            Ok(Found::Ended(reason)) => Some(Err(TokenError::SessionEnded(reason))),
            Ok(Found::Nothing) => Some(Err(over(session, FORGOTTEN))),
            Err(_) => Some(Err(TokenError::Unavailable(NotNow::Store))),
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
            return Err(TokenError::Unavailable(NotNow::NoRefreshToken));
        };
        let Ok(facts) = serde_json::from_str::<GrantFacts>(&session.details.grant_facts) else {
            return Err(TokenError::Unavailable(NotNow::Record));
        };
        let asked = Instant::now();
        let error = match self.provider.refresh(&refresh_token, &facts).await {
            Ok(refreshed) => {
                if let Some(doubt) = &refreshed.doubt {
                    self.warn_of_doubt(session, doubt);
                }
                let granted = Granted {
                    tokens: refreshed.tokens,
                    asked,
                };
                return self.store(session, granted, &before, told).await;
            }
            Err(error) => error,
        };
        let why = match &error {
            RefreshError::GrantOver(_) | RefreshError::AboutAnother { .. } => {
                return self.refused(session, stale, owner, &before, error).await;
            }
            RefreshError::Refused(answer) => refused_for_now(*answer),
            RefreshError::Unavailable(_) => NotNow::Provider(error.as_str()),
        };
        let failed = RefreshFailed {
            outcome: RefreshOutcome::Unavailable,
            code: Some(error.as_str()),
            cause: &chain(&error),
        };
        self.tell(session, &failed, "refresh failed; the session stays");
        Err(TokenError::Unavailable(why))
    }

    /// The provider no longer honours the grant, or speaks of somebody else; unless another node
    /// used it, the session is over.
    async fn refused(
        &self,
        session: &Session,
        stale: u64,
        owner: &str,
        before: &Tokens,
        error: RefreshError,
    ) -> Outcome {
        let (word, cause) = (error.as_str(), chain(&error));
        // Whatever comes of the session, nobody will use what came.
        if let RefreshError::AboutAnother { tokens, .. } = error
            && let Some(tokens) = self.tokens(*tokens, Some(before))
        {
            self.revocations.begin(Arc::new(tokens));
        }
        if let Some(outcome) = self.news(session, stale).await {
            return outcome;
        }
        // Whoever took the lease over may hold the tokens that this one was refused for.
        if !matches!(self.sessions.lease(&session.hash, owner).await, Ok(true)) {
            return Err(TokenError::Unavailable(NotNow::Store));
        }
        let failed = RefreshFailed {
            outcome: RefreshOutcome::Refused,
            code: Some(word),
            cause: &cause,
        };
        self.tell(session, &failed, "refresh refused; the session ends");
        Err(end(&self.sessions, session, EndReason::RefreshRefused).await)
    }

    /// Stores new tokens before anybody uses them. A store that is away is asked again for as long as
    /// the session could live: the old refresh token is worth nothing any more.
    async fn store(
        &self,
        session: &Arc<Session>,
        granted: Granted,
        before: &Tokens,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let Granted {
            tokens: granted,
            asked,
        } = granted;
        let journal = self.sessions.journal();
        let Some(tokens) = self.tokens(granted, Some(before)).map(Arc::new) else {
            const WORD: &str = "unusable_token";
            let failed = RefreshFailed {
                outcome: RefreshOutcome::Unavailable,
                code: Some(WORD),
                cause: "the access token has bytes that no header may carry",
            };
            self.tell(session, &failed, "refresh failed; the session stays");
            return Err(TokenError::Unavailable(NotNow::Provider(WORD)));
        };
        loop {
            match self.sessions.save_tokens(session, &tokens).await {
                Ok(SaveOutcome::Saved) => {
                    journal.refreshed(session, RefreshOutcome::Ok, asked.elapsed());
                    return Ok(());
                }
                // Another node had taken over; what it stored is as good.
                Ok(SaveOutcome::Overtaken) => {
                    journal.refreshed(session, RefreshOutcome::Overtaken, asked.elapsed());
                    return Ok(());
                }
                Ok(SaveOutcome::Ended) => {
                    // A logout came first and wins: what it could not see is revoked here (L8).
                    self.revocations.begin(tokens);
                    let failed = RefreshFailed {
                        outcome: RefreshOutcome::SessionEnded,
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

    /// One line for each refresh that failed, and one a minute for each cause.
    fn tell(&self, session: &Session, failed: &RefreshFailed<'_>, what: &'static str) {
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

    /// The session goes on without the ID token, and the last good one stays for the logout.
    fn warn_of_doubt(&self, session: &Session, doubt: &Untrusted) {
        let cause = chain(doubt);
        tracing::debug!(session_id = ?session.hash, cause, "a refreshed ID token is left out");
        if let Some(left_out) = self.warnings.due(&cause, self.clock.now()) {
            tracing::warn!(
                event = "refresh.doubtful",
                cause,
                left_out,
                "refreshed ID tokens may not be believed and are left out; the sessions go on"
            );
        }
    }
}

/// Ends the session; the reason is another's where it has ended already.
pub(in crate::auth) async fn end(
    sessions: &Sessions,
    session: &Session,
    reason: EndReason,
) -> TokenError {
    match sessions.end(&session.hash, reason).await {
        Ok(Some(_)) => TokenError::SessionEnded(reason),
        Ok(None) => over(session, reason),
        Err(_) => TokenError::Unavailable(NotNow::Store),
    }
}

/// What the provider gave, and when it was asked.
struct Granted {
    tokens: TokenSet,
    asked: Instant,
}

/// The session is over, for the reason that is known here or else for `reason`.
fn over(session: &Session, reason: EndReason) -> TokenError {
    TokenError::SessionEnded(session.ending.reason().unwrap_or(reason))
}

/// Whether a login may get past a refusal: not where the provider does not take our credential, nor
/// where nobody knows what it means.
fn refused_for_now(answer: ErrorAnswer) -> NotNow {
    match answer.code {
        Some(code) if code != ErrorCode::INVALID_CLIENT => NotNow::Refused(code),
        _ => NotNow::Provider(answer.as_str()),
    }
}
