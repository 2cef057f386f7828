//! `/bff/callback`: the provider sends the browser back (section C).
//!
//! The checks run in the order of the rules; the first failure stops, and nothing is sent to the
//! token endpoint before the answer is known to be this browser's own (C1–C6). Nothing is kept of an
//! answer that brings no code.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use serde_json::{Map, Value};

use crate::auth::RelyingParty;
use crate::auth::answer::{see_other, with_cookies};
use crate::auth::authorization_response::AuthorizationResponse;
use crate::auth::ended_at_provider::LoggedInWhen;
use crate::auth::pending_login::{PendingLogin, Prompt};
use crate::auth::return_to::ReturnTo;
use crate::clock::Timestamp;
use crate::oidc::{
    ErrorCode, ExchangeError, ExpectedIdToken, Grant, Identity, IssuerCheck, ProviderError,
};
use crate::secret::{AuthorizationCode, LogoutSid, random_base64url};
use crate::session::cookie::{Presented, TooLarge};
use crate::session::id::{SessionHash, SessionId};
use crate::session::record::{Authentication, NewSession, Session, facts_of_login};
use crate::session::store::{Admission, StoreError};
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::strangers::{Demand, OverBudget, Source};

/// A login that failed: no session cookie is set, and no session that was there is touched.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct CallbackError {
    /// Why.
    #[source]
    pub cause: CallbackFault,
    /// Deletes the cookie of this login, where it was found and is used up.
    pub delete_cookie: Option<HeaderValue>,
    /// Where the browser wanted to go, where that is known.
    pub return_to: Option<ReturnTo>,
}

impl CallbackError {
    /// The place to tell that the user, or somebody in their name, said no at the provider.
    pub fn denied(&self) -> Option<&ReturnTo> {
        match self.cause {
            CallbackFault::Refused(Some(ErrorCode::ACCESS_DENIED)) => self.return_to.as_ref(),
            _ => None,
        }
    }
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum CallbackFault {
    /// A parameter came twice (C2).
    #[error("the callback repeats the parameter {0}")]
    Repeated(&'static str),
    /// No login of this browser has this state, or it is over (C3).
    #[error("the callback belongs to no login of this browser")]
    UnknownState,
    /// The answer was used before (C6).
    #[error("the callback was used before")]
    Replayed,
    /// The answer is another issuer's (C4).
    #[error("the callback comes from another issuer")]
    OtherIssuer,
    /// The answer does not say whose it is, as the provider announces that all of them do (C4).
    #[error("the callback lacks iss, which the provider's metadata promise")]
    LacksIssuer,
    /// The provider says no; its error, if it is one of the registered ones (C5).
    #[error("the provider refused the login: {}", .0.map_or("another error", ErrorCode::as_str))]
    Refused(Option<ErrorCode>),
    /// Neither a code nor an error.
    #[error("the callback has no code")]
    NoCode,
    /// The provider's answer cannot be trusted, or the code was refused (C7–C10, D).
    #[error(transparent)]
    Exchange(ExchangeError),
    /// The access token cannot be sent in a header.
    #[error("the access token has bytes that no header may carry")]
    UnusableToken,
    /// The provider could not be asked.
    #[error(transparent)]
    Provider(ProviderError),
    /// The session could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Strangers ask for too much at once, or this one does. Nothing was used up.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// The provider ended its session while the one here began (E10).
    #[error("the provider ended its session before ours began")]
    EndedThere,
    /// The session is to travel in the cookie, and no browser takes one of its size (G8).
    #[error(transparent)]
    TooLarge(TooLarge),
    /// The user has as many sessions as there may be.
    #[error("the user has as many sessions as session.max_per_user allows")]
    SessionLimit,
}

/// How long a callback waits for its turn to buy tokens, where strangers ask for many.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// What a login that succeeded comes to.
#[derive(Debug)]
pub struct LoggedIn {
    /// Where the browser wanted to go.
    pub return_to: ReturnTo,
    /// The cookies of the answer: the session's, and the deletion of the login's.
    pub cookies: Vec<HeaderValue>,
    /// The session, unless it was only asked whether the user is signed in at the provider.
    pub session: Option<Arc<Session>>,
}

impl LoggedIn {
    /// 303 to the place.
    pub fn redirect(self) -> Response<Body> {
        with_cookies(see_other(self.return_to.as_str()), self.cookies)
    }
}

impl RelyingParty {
    /// Answers the callback, whose parameters came in the query or in a form.
    ///
    /// # Errors
    ///
    /// See [`CallbackError`].
    pub async fn callback(
        &self,
        parameters: &str,
        parts: &Parts,
        presented: Presented,
        client: IpAddr,
    ) -> Result<LoggedIn, CallbackError> {
        let result = self
            .finish_login(parameters, &parts.headers, presented, client)
            .await;
        self.metrics.login(match &result {
            Ok(_) => "ok",
            Err(error) => error.cause.outcome(),
        });
        result
    }

    /// 303 to `place`, where the login began, with the reason for which it failed.
    pub fn back_where_it_began(&self, place: &ReturnTo, error: &CallbackError) -> Response<Body> {
        let back = see_other(&place.told(ErrorCode::ACCESS_DENIED.as_str()));
        with_cookies(back, error.delete_cookie.clone())
    }

    async fn finish_login(
        &self,
        parameters: &str,
        headers: &HeaderMap,
        presented: Presented,
        client: IpAddr,
    ) -> Result<LoggedIn, CallbackError> {
        let source = Source::from(client);
        let unbound = |cause| CallbackError {
            cause,
            delete_cookie: None,
            return_to: None,
        };
        let answer = AuthorizationResponse::parse(parameters);
        if answer.repeated == Some("state") {
            // Whose login this is stands twice, so it is nobody's.
            return Err(unbound(CallbackFault::Repeated("state")));
        }
        let found = answer
            .state
            .as_deref()
            .and_then(|state| self.pending_logins.find(headers, state, self.clock.now()));
        let Some((pending, delete_cookie)) = found else {
            let fault = answer.repeated.map(CallbackFault::Repeated);
            return Err(unbound(fault.unwrap_or(CallbackFault::UnknownState)));
        };
        let return_to = pending.return_to.clone();
        let bound = |cause| CallbackError {
            cause,
            delete_cookie: Some(delete_cookie.clone()),
            return_to: Some(return_to.clone()),
        };
        // Nothing was used up: the browser may load the callback again.
        let unused = |cause| CallbackError {
            cause,
            delete_cookie: None,
            return_to: Some(return_to.clone()),
        };
        if let Some(name) = answer.repeated {
            return Err(bound(CallbackFault::Repeated(name)));
        }
        match self
            .provider
            .check_response_issuer(answer.iss.as_deref())
            .await
        {
            Ok(IssuerCheck::Fits) => {}
            Ok(IssuerCheck::Other) => return Err(bound(CallbackFault::OtherIssuer)),
            Ok(IssuerCheck::Missing) => return Err(bound(CallbackFault::LacksIssuer)),
            Err(error) => return Err(unused(CallbackFault::Provider(error))),
        }
        if let Some(error) = answer.error {
            let code = ErrorCode::from_text(&error);
            let needs_the_user = code.is_some_and(ErrorCode::needs_the_user);
            if pending.prompt == Prompt::None && needs_the_user {
                // Expected: the page asked whether the user is signed in at the provider.
                return Ok(LoggedIn {
                    return_to: pending.return_to,
                    cookies: vec![delete_cookie],
                    session: None,
                });
            }
            return Err(bound(CallbackFault::Refused(code)));
        }
        let code = answer.code.filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| bound(CallbackFault::NoCode))?;
        // Nothing is used up before there is a turn.
        let over_budget = |over| unused(CallbackFault::OverBudget(over));
        let now = self.clock.now();
        let _exchange = self
            .strangers
            .hold_soon(Demand::CodeExchange, source, TURN_WITHIN)
            .await
            .map_err(over_budget)?;
        let used = self
            .strangers
            .hold(Demand::UsedState, source, now)
            .map_err(over_budget)?;
        match self.use_once(&pending).await {
            Ok(true) => {}
            Ok(false) => return Err(bound(CallbackFault::Replayed)),
            Err(error) => return Err(unused(CallbackFault::Store(error))),
        }
        match self
            .redeem(pending, code, (headers, client), presented)
            .await
        {
            // What is kept of it is a user's now, and those are as many as the provider knows.
            Ok(mut logged_in) => {
                logged_in.cookies.push(delete_cookie);
                Ok(logged_in)
            }
            Err(fault) => {
                used.keep_until(now + self.settings.login_timeout);
                Err(bound(fault))
            }
        }
    }

    /// Buys tokens with the code and begins the session.
    async fn redeem(
        &self,
        pending: PendingLogin,
        code: String,
        browser: (&HeaderMap, IpAddr),
        presented: Presented,
    ) -> Result<LoggedIn, CallbackFault> {
        let expected = ExpectedIdToken {
            nonce: &pending.nonce,
            begun: pending.started,
            max_age: pending.max_age,
            essential_acr: &[],
        };
        let asked = self.clock.now();
        let grant = self
            .provider
            .exchange_code(
                &AuthorizationCode::new(code),
                pending.code_verifier,
                &expected,
            )
            .await
            .map_err(CallbackFault::Exchange)?;
        let previous = previous_sessions(pending.previous_session, presented);
        let (cookies, session) = self
            .begin_session(grant, asked, browser, presented, &previous)
            .await?;
        self.end_previous(&previous).await;
        Ok(LoggedIn {
            return_to: pending.return_to,
            cookies,
            session: Some(session),
        })
    }

    /// Whether this is the first use of the login's state, on whichever node. Kept for as long as its
    /// cookie opens, and only for answers that a browser's own cookie vouched for (C6).
    async fn use_once(&self, pending: &PendingLogin) -> Result<bool, StoreError> {
        let key = format!("used state {}", pending.state.cookie_suffix());
        let lifetime = self.settings.login_timeout;
        self.sessions.keep(&key, b"", lifetime).await
    }

    async fn begin_session(
        &self,
        grant: Grant,
        asked: Timestamp,
        (headers, client): (&HeaderMap, IpAddr),
        presented: Presented,
        previous: &[SessionHash],
    ) -> Result<(Vec<HeaderValue>, Arc<Session>), CallbackFault> {
        let randomness = &*self.randomness;
        let id = SessionId::random(randomness);
        let identity = grant.identity;
        let login = LoggedInWhen {
            issued: identity.facts.iat,
            asked,
        };
        let name = display_name(&identity);
        let email = identity.claims.get("email").and_then(Value::as_str);
        let email = email.map(str::to_owned);
        let tokens = self
            .tokens
            .tokens(grant.tokens)
            .ok_or(CallbackFault::UnusableToken)?;
        let new = NewSession {
            hash: id.hash(),
            tag: random_base64url::<9>(randomness).into(),
            logout_sid: LogoutSid::random(randomness),
            claims: self.claims_for_browser(&identity).into(),
            grant_facts: facts_of_login(&identity.facts, client),
            authentication: Authentication {
                acr: identity.acr.map(Into::into),
                amr: identity.amr.into_iter().map(Into::into).collect(),
                auth_time: identity.auth_time.map(Timestamp::from_unix_seconds),
            },
            name: name.into(),
            user_agent: user_agent(headers),
            subject: identity.sub.into(),
            provider_sid: identity.sid.map(Into::into),
            tokens,
        };
        let session = self.sessions.prepare(new);
        let lifetime = self.sessions.max_lifetime();
        let begun = self
            .session_cookie
            .begin(&id, &session, presented, lifetime, randomness);
        let cookies = match begun {
            Ok(cookies) => cookies,
            Err(too_large) => {
                self.revoke_later(session);
                return Err(CallbackFault::TooLarge(too_large));
            }
        };
        let mut admission = self.sessions.admit(&session).await?;
        // This browser's own session makes room for the one that takes its place, if it is of the
        // same user: a login that is refused ends nobody else's.
        if matches!(admission, Admission::Refused)
            && self
                .end_previous(&self.of_user(previous, &session.subject).await?)
                .await
        {
            admission = self.sessions.admit(&session).await?;
        }
        let Admission::Admitted(superseded) = admission else {
            self.revoke_later(session);
            return Err(CallbackFault::SessionLimit);
        };
        for session in superseded {
            self.revoke_superseded(session);
        }
        self.check_not_ended_there(&session, login).await?;
        if let Some(email) = email
            && let Err(error) = self.sessions.note_email(&email, &session.subject).await
        {
            // The login stands; who looks for its session finds it by name.
            tracing::debug!(%error, "an e-mail address was not noted");
        }
        Ok((cookies, session))
    }

    /// A logout token that came while the login was on its way found no session to end.
    async fn check_not_ended_there(
        &self,
        session: &Arc<Session>,
        login: LoggedInWhen,
    ) -> Result<(), CallbackFault> {
        let fault = match self.ended_on_its_way(session, login).await {
            Ok(false) => return Ok(()),
            Ok(true) => CallbackFault::EndedThere,
            Err(error) => {
                // Nobody gets its cookie; where it cannot be ended, it runs into its limits.
                let ended = self.sessions.end(&session.hash, EndReason::ProviderLogout);
                drop(ended.await);
                CallbackFault::Store(error)
            }
        };
        self.revoke_later(Arc::clone(session));
        Err(fault)
    }

    /// The claims that the configuration lets out, as a JSON object; always with `sub`.
    fn claims_for_browser(&self, identity: &Identity) -> String {
        let mut shown = Map::new();
        shown.insert("sub".to_owned(), Value::String(identity.sub.clone()));
        for name in &self.settings.claims {
            if let Some(value) = identity.claims.get(name) {
                shown.insert(name.clone(), value.clone());
            }
        }
        Value::Object(shown).to_string()
    }

    /// Those of these sessions that are this user's.
    async fn of_user(
        &self,
        hashes: &[SessionHash],
        subject: &str,
    ) -> Result<Vec<SessionHash>, StoreError> {
        let mut own = Vec::new();
        for hash in hashes {
            let listed = self.sessions.look_up(hash).await?;
            if listed.is_some_and(|listed| *listed.subject == *subject) {
                own.push(*hash);
            }
        }
        Ok(own)
    }

    /// Ends the sessions that this browser had before; whether there were any.
    async fn end_previous(&self, previous: &[SessionHash]) -> bool {
        let mut any = false;
        for hash in previous {
            match self.sessions.end(hash, EndReason::Superseded).await {
                Ok(Some(ended)) => {
                    any = true;
                    self.revoke_superseded(ended);
                }
                Ok(None) => {}
                // The new session stands; the old one runs into its limits by itself.
                Err(error) => {
                    tracing::warn!(event = "session.not_ended", %error, "the session before this login could not be ended");
                }
            }
        }
        any
    }

    /// Nobody will use the tokens of a session again whose place another login took.
    fn revoke_superseded(&self, session: Arc<Session>) {
        if self.settings.revoke_superseded {
            self.revoke_later(session);
        }
    }
}

/// The session that this browser had when the login began, and the one it presents now.
fn previous_sessions(at_start: Option<SessionHash>, presented: Presented) -> Vec<SessionHash> {
    let now = match presented {
        Presented::Session(cookie) => Some(cookie.hash),
        Presented::Nothing => None,
    };
    let mut previous: Vec<_> = at_start.into_iter().chain(now).collect();
    previous.dedup();
    previous
}

/// What people call the user: the first of the usual claims that says something.
fn display_name(identity: &Identity) -> String {
    let said = ["name", "preferred_username", "email"]
        .into_iter()
        .filter_map(|claim| identity.claims.get(claim)?.as_str())
        .map(str::trim)
        .find(|name| !name.is_empty());
    said.unwrap_or(&identity.sub)
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect()
}

/// Characters of a name that are kept.
const LONGEST_NAME: usize = 200;

/// What the browser calls itself, shortened.
fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    const LONGEST: usize = 400;
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(LONGEST).collect())
}

impl CallbackFault {
    /// What an operator can do about it, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Exchange(ExchangeError::Refused(answer)) => answer.remedy(),
            _ => None,
        }
    }

    /// The word for the metric.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Provider(_) | Self::Exchange(ExchangeError::Unavailable(_)) => {
                "provider_unavailable"
            }
            Self::Store(_) => "store_unavailable",
            Self::OverBudget(_) => "over_budget",
            Self::SessionLimit => "session_limit",
            Self::TooLarge(_) => "too_large",
            Self::Repeated(_)
            | Self::UnknownState
            | Self::Replayed
            | Self::OtherIssuer
            | Self::LacksIssuer
            | Self::Refused(_)
            | Self::NoCode
            | Self::Exchange(_)
            | Self::UnusableToken
            | Self::EndedThere => "refused",
        }
    }
}
