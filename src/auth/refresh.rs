//! One refresh of one session's tokens, whichever node makes it: under a lease, stored before
//! anybody uses them, and told in the log and the metrics (L2–L8).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::client_tokens::ClientTokens;
use crate::auth::ending::FORGOTTEN;
use crate::auth::new_token::{Gained, Stale, TokenKeeper, over};
use crate::auth::spenders::Spenders;
use crate::auth::token_error::{NotNow, Outcome, TokenError};
use crate::clock::Randomness;
use crate::oidc::{
    ErrorAnswer, ErrorCode, GrantEnd, GrantFacts, Provider, RefreshError, TokenRefusal, TokenSet,
    Untrusted,
};
use crate::secret::{AccessToken, random_base64url};
use crate::session::Sessions;
use crate::session::journal::RefreshFailed;
use crate::session::record::Session;
use crate::session::store::{Found, LEASE_SPAN, Leased};
use crate::session::tokens::{Access, Tokens};
use crate::telemetry::{RefreshOutcome, chain};
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::token_spec::{ExchangeTerms, TokenSpec};

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
    pub(in crate::auth) randomness: Arc<dyn Randomness>,
    /// How long before its end an access token is refreshed.
    pub(in crate::auth) refresh_before: Duration,
    /// Stores what it brings.
    pub(in crate::auth) keeper: TokenKeeper,
    /// Our own tokens, for exchanges in which we say who acts.
    pub(in crate::auth) clients: ClientTokens,
    /// What our own token is asked for there.
    pub(in crate::auth) actor: Arc<TokenSpec>,
    pub(in crate::auth) spenders: Spenders,
}

impl Refresher {
    /// The sessions that it refreshes, among others.
    pub(in crate::auth) const fn sessions(&self) -> &Sessions {
        &self.keeper.sessions
    }

    /// Whether this session's tokens are of the client that refreshes here.
    pub(in crate::auth) fn is_for(&self, session: &Session) -> bool {
        session.registration == self.registration
    }

    /// One line a minute for the sessions that nobody can refresh any more.
    pub(in crate::auth) fn tell_of_gone(&self, session: &Session) {
        let registration = session.registration.to_string();
        if let Some(left_out) = self
            .keeper
            .warnings
            .due(&registration, self.keeper.clock.now())
        {
            tracing::warn!(
                event = "refresh.client_gone",
                client = registration,
                left_out,
                "sessions of a client that is not configured any more are not renewed: their users sign in \
                 again when the access token ends, or at once by /bff/login"
            );
        }
    }

    /// A route wants a token that only a refresh token buys, and the session has none.
    pub(in crate::auth) fn tell_of_lack(&self, session: &Session, spec: &Arc<TokenSpec>) {
        let cause = "the session has no refresh token, which buys tokens for other APIs: add \"offline_access\" to provider.scopes, or allow this client refresh tokens at the provider";
        self.keeper
            .tell_of_refusal(session, Some(spec.key()), "no_refresh_token", cause);
    }

    /// Tokens as a session keeps them first, with the moment of their refresh; `None` where the access token
    /// cannot be sent in a header.
    pub(in crate::auth) fn first(&self, granted: TokenSet) -> Option<Tokens> {
        let own = self.access(granted.access_token, granted.expires_in)?;
        Some(Tokens {
            grant_ends: match granted.grant_end {
                GrantEnd::At(end) => Some(end),
                GrantEnd::Unsaid | GrantEnd::Never => None,
            },
            refresh_token: granted.refresh_token.map(Arc::new),
            id_token: granted.id_token.map(Arc::new),
            prover: granted.prover,
            ..Tokens::first(own)
        })
    }

    fn access(&self, token: AccessToken, expires_in: Option<Duration>) -> Option<Access> {
        let now = self.keeper.clock.now();
        let mut access = Access::new(1, token)?;
        access.expires = expires_in.map(|lifetime| now + lifetime);
        access.refresh_at = expires_in.map(|lifetime| now + lifetime - self.margin(lifetime));
        Some(access)
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
    /// `stale` is what is to be replaced: what another node stored and a look-up brought
    /// here before this begins is as good as new.
    pub(in crate::auth) async fn run(
        &self,
        session: &Arc<Session>,
        stale: &Stale,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let lease = HeldLease {
            what: stale.lease(session),
            owner: random_base64url::<9>(&*self.randomness),
        };
        // Those of this process that spend the refresh token queue here, and not at the store.
        let _turn = match lease.what.key {
            None => Some(self.spenders.turn(session.hash).await),
            Some(_) => None,
        };
        if let Some(outcome) = self.wait_for_others(session, stale, &lease).await {
            return outcome;
        }
        // Renewed for as long as it takes: the provider may be slow, and the store may be away.
        let renew = async {
            loop {
                tokio::time::sleep(LEASE_SPAN / 4).await;
                // Who cannot renew it holds it to its end; a write that comes too late is refused.
                drop(self.keeper.sessions.lease(lease.what, &lease.owner).await);
            }
        };
        let outcome = tokio::select! {
            outcome = self.refresh(session, stale, &lease, told) => outcome,
            () = renew => Err(TokenError::Unavailable(NotNow::Store)),
        };
        self.keeper.sessions.release(lease.what, &lease.owner).await;
        outcome
    }

    /// Takes the lease; the outcome, where another node had it and refreshed.
    async fn wait_for_others(
        &self,
        session: &Session,
        stale: &Stale,
        lease: &HeldLease<'_>,
    ) -> Option<Outcome> {
        let until = Instant::now() + WAIT_FOR_OTHERS;
        while Instant::now() < until {
            let changed = session.changes.notified();
            match self.keeper.sessions.lease(lease.what, &lease.owner).await {
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

    /// Whether the store knows of another token than the stale one, or of the session's end.
    async fn news(&self, session: &Session, stale: &Stale) -> Option<Outcome> {
        match self.keeper.sessions.reload(session).await {
            Ok(Found::Live(_)) => stale.is_replaced(&session.tokens()).then_some(Ok(())),
            Ok(Found::Ended(reason)) => Some(Err(TokenError::SessionEnded(reason))),
            Ok(Found::Nothing) => Some(Err(over(session, FORGOTTEN))),
            Err(_) => Some(Err(TokenError::Unavailable(NotNow::Store))),
        }
    }

    /// With the lease in hand: asks the store once more, then the provider.
    async fn refresh(
        &self,
        session: &Arc<Session>,
        stale: &Stale,
        lease: &HeldLease<'_>,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        // Whose lease ran out while the store was away may hold new tokens, and the old refresh token
        // is worth nothing any more: shown again, it ends the grant.
        let unsettled = self.keeper.sessions.unsettled();
        if !unsettled.is_zero() {
            tokio::time::sleep(unsettled).await;
        }
        if let Some(outcome) = self.news(session, stale).await {
            return outcome;
        }
        let before = Arc::clone(&session.tokens());
        if let Some(exchange) = stale.exchange() {
            return self.exchange(session, stale, exchange, &before, told).await;
        }
        let spending = Spending {
            session,
            stale,
            lease,
            before,
        };
        self.spend(&spending, told).await
    }

    /// Buys a token with the refresh token.
    async fn spend(
        &self,
        spending: &Spending<'_>,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let Spending {
            session,
            stale,
            before,
            ..
        } = spending;
        let Some(refresh_token) = &before.refresh_token else {
            return Err(TokenError::Unavailable(NotNow::NoRefreshToken));
        };
        let Ok(facts) = serde_json::from_str::<GrantFacts>(&session.details.grant_facts) else {
            return Err(TokenError::Unavailable(NotNow::Record));
        };
        let asked = Instant::now();
        let spec = stale.spec.as_deref();
        let prover = before.prover.as_ref();
        let refreshed = self.provider.refresh(refresh_token, &facts, spec, prover);
        let error = match refreshed.await {
            Ok(refreshed) => {
                if let Some(doubt) = &refreshed.doubt {
                    self.warn_of_doubt(session, doubt);
                }
                let tokens = refreshed.tokens;
                let gained = Gained {
                    access: self.access(tokens.access_token, tokens.expires_in),
                    spent: Some(before.spent),
                    grant_end: tokens.grant_end,
                    refresh_token: tokens.refresh_token.map(Arc::new),
                    id_token: tokens.id_token.map(Arc::new),
                    asked,
                };
                return self
                    .keeper
                    .store(session, stale, gained, before, told)
                    .await;
            }
            Err(error) => error,
        };
        let why = match &error {
            // What the user is to be asked for a resource alone says nothing of the session's own.
            RefreshError::GrantOver(answer) if spec.is_none() || !answer.needs_the_user() => {
                return self.refused(spending, error).await;
            }
            RefreshError::AboutAnother { .. } => return self.refused(spending, error).await,
            RefreshError::Refused(answer) if spec.is_some() && answer.is_about_us() => {
                NotNow::Provider(answer.as_str())
            }
            RefreshError::GrantOver(answer) | RefreshError::Refused(answer) if spec.is_some() => {
                return self.declined(session, stale, *answer, &chain(&error)).await;
            }
            RefreshError::GrantOver(answer) | RefreshError::Refused(answer) => {
                refused_for_now(*answer)
            }
            RefreshError::Unavailable(_) => NotNow::Provider(error.as_str()),
        };
        let failed = RefreshFailed {
            outcome: RefreshOutcome::Unavailable,
            token: stale.token(),
            code: Some(error.as_str()),
            cause: &chain(&error),
        };
        self.keeper
            .tell(session, &failed, "refresh failed; the session stays");
        Err(TokenError::Unavailable(why))
    }

    /// Buys a token with the session's own access token, which lives.
    async fn exchange(
        &self,
        session: &Arc<Session>,
        stale: &Stale,
        (spec, terms): (&TokenSpec, &ExchangeTerms),
        before: &Arc<Tokens>,
        told: &watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let actor = if terms.by_client {
            Some(self.clients.token(&self.actor).await?)
        } else {
            None
        };
        let asked = Instant::now();
        let exchanged = self
            .provider
            .exchange(
                &before.own.token,
                actor.as_ref(),
                spec,
                terms,
                before.prover.as_deref(),
            )
            .await;
        let refusal = match exchanged {
            Ok(bought) => {
                let mut access = self.access(bought.access_token, bought.expires_in);
                // Of one that does not say how long it lives no more is believed than of what it came of.
                if let Some(access) = &mut access
                    && access.expires.is_none()
                {
                    access.expires = before.own.expires;
                    access.refresh_at = before.own.refresh_at;
                }
                let gained = Gained {
                    access,
                    spent: None,
                    grant_end: GrantEnd::Unsaid,
                    refresh_token: None,
                    id_token: None,
                    asked,
                };
                return self
                    .keeper
                    .store(session, stale, gained, before, told)
                    .await;
            }
            Err(refusal) => refusal,
        };
        let cause = chain(&refusal);
        match refusal {
            TokenRefusal::Refused(answer) => self.declined(session, stale, answer, &cause).await,
            TokenRefusal::Unavailable(error) => {
                let word = error.as_str();
                let failed = RefreshFailed {
                    outcome: RefreshOutcome::Unavailable,
                    token: stale.token(),
                    code: Some(word),
                    cause: &cause,
                };
                self.keeper
                    .tell(session, &failed, "a token could not be exchanged");
                Err(TokenError::Unavailable(NotNow::Provider(word)))
            }
        }
    }

    /// The provider gives no token for a route, unless it is by what happened meanwhile: a logout revokes what
    /// was shown, and another node may hold the token.
    async fn declined(
        &self,
        session: &Session,
        stale: &Stale,
        answer: ErrorAnswer,
        cause: &str,
    ) -> Outcome {
        if let Some(outcome) = self.news(session, stale).await {
            return outcome;
        }
        self.keeper
            .tell_of_refusal(session, stale.token(), answer.as_str(), cause);
        Err(TokenError::Refused(answer.code))
    }

    /// The provider no longer honours the grant, or speaks of somebody else; unless another node
    /// used it, the session is over.
    async fn refused(&self, spending: &Spending<'_>, error: RefreshError) -> Outcome {
        let Spending {
            session,
            stale,
            lease,
            before,
        } = spending;
        let (word, cause) = (error.as_str(), chain(&error));
        // Whatever comes of the session, nobody will use what came.
        if let RefreshError::AboutAnother { tokens, .. } = error
            && let Some(mut others) = self.first(*tokens)
        {
            if others.refresh_token.is_none() {
                others.refresh_token.clone_from(&before.refresh_token);
            }
            self.keeper.revocations.begin(Arc::new(others));
        }
        if let Some(outcome) = self.news(session, stale).await {
            return outcome;
        }
        // Whoever took the lease over may hold the tokens that this one was refused for.
        let held = self.keeper.sessions.lease(lease.what, &lease.owner).await;
        if !matches!(held, Ok(true)) || session.tokens().spent != before.spent {
            return Err(TokenError::Unavailable(NotNow::Store));
        }
        let failed = RefreshFailed {
            outcome: RefreshOutcome::Refused,
            token: stale.token(),
            code: Some(word),
            cause: &cause,
        };
        self.keeper
            .tell(session, &failed, "refresh refused; the session ends");
        Err(end(&self.keeper.sessions, session, EndReason::RefreshRefused).await)
    }

    /// The session goes on without the ID token, and the last good one stays for the logout.
    fn warn_of_doubt(&self, session: &Session, doubt: &Untrusted) {
        let cause = chain(doubt);
        tracing::debug!(session_id = ?session.hash, cause, "a refreshed ID token is left out");
        if let Some(left_out) = self.keeper.warnings.due(&cause, self.keeper.clock.now()) {
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

struct HeldLease<'a> {
    what: Leased<'a>,
    owner: String,
}

/// A refresh token that is being spent, and for what.
struct Spending<'a> {
    session: &'a Arc<Session>,
    stale: &'a Stale,
    lease: &'a HeldLease<'a>,
    /// The tokens as they were stored last.
    before: Arc<Tokens>,
}

/// Whether a login may get past a refusal: not where the provider does not take our credential, nor
/// where nobody knows what it means.
fn refused_for_now(answer: ErrorAnswer) -> NotNow {
    match answer.code {
        Some(code) if code != ErrorCode::INVALID_CLIENT => NotNow::Refused(code),
        _ => NotNow::Provider(answer.as_str()),
    }
}
