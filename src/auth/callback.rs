//! `/bff/callback`: the provider sends the browser back (section C).
//!
//! The checks run in the order of the rules; the first failure stops, and nothing is sent to the
//! token endpoint before the answer is known to be this browser's own (C1–C6). Nothing is kept of an
//! answer that brings no code. Where the login is over already, the browser goes on: see
//! [`resume`](crate::auth::resume).

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use crate::auth::admission::TURN_WITHIN;
use crate::auth::answer::{see_other, with_cookies};
use crate::auth::authorization_response::AuthorizationResponse;
use crate::auth::login::Logins;
use crate::auth::new_session::previous_sessions;
use crate::auth::past_login::LoginEnd;
use crate::auth::pending_login::{KnownLogin, PendingLogin, Progress, Prompt, Window};
use crate::auth::resume::Again;
use crate::auth::return_to::ReturnTo;
use crate::oidc::{ErrorCode, ExpectedIdToken, IssuerCheck};
use crate::secret::AuthorizationCode;
use crate::session::cookie::Presented;
use crate::session::store::{Note, StoreError};
use crate::telemetry::LoginOutcome;
use crate::web::body::Body;
use crate::web::strangers::{Demand, Source};

pub use crate::auth::callback_fault::CallbackFault;
pub use crate::auth::logged_in::LoggedIn;

/// A login that failed: no session cookie is set, and no session that was there is touched.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct CallbackError {
    /// Why.
    #[source]
    pub cause: CallbackFault,
    /// The line for the cookie of this login, where it was found and is used up.
    pub cookie: Option<HeaderValue>,
    /// Where the browser wanted to go, where that is known.
    pub return_to: Option<ReturnTo>,
    /// What the login is shown in.
    pub window: Window,
    /// How a person's browser goes on, where this login is no more than over.
    pub again: Option<Again>,
}

impl CallbackError {
    /// Before the login that it belongs to was looked for.
    fn unbound(cause: CallbackFault, again: Option<Again>) -> Box<Self> {
        Box::new(Self {
            cause,
            cookie: None,
            return_to: None,
            window: Window::Tab,
            again,
        })
    }

    /// The place to tell that the user, or somebody in their name, said no at the provider.
    pub fn denied(&self) -> Option<&ReturnTo> {
        match self.cause {
            CallbackFault::Refused(Some(ErrorCode::ACCESS_DENIED)) => self.return_to.as_ref(),
            _ => None,
        }
    }

    /// The provider's own word for why it signed nobody in, where it is a registered one.
    pub fn word_of_the_provider(&self) -> Option<&'static str> {
        match self.cause {
            CallbackFault::Refused(code) => code.map(ErrorCode::as_str),
            _ => None,
        }
    }
}

impl Logins {
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
    ) -> Result<LoggedIn, Box<CallbackError>> {
        let result = self
            .finish_login(parameters, &parts.headers, presented, client)
            .await;
        self.metrics.login(match &result {
            Ok(_) => LoginOutcome::Ok,
            Err(error) => error.cause.outcome(),
        });
        result
    }

    /// Answers a callback at the address of a provider that is not configured: whatever it brings is used
    /// nowhere.
    pub fn callback_of_nobody(&self) -> Box<CallbackError> {
        let error = CallbackError::unbound(CallbackFault::OfNobody, None);
        self.metrics.login(error.cause.outcome());
        error
    }

    /// 303 to `place`, where the login began, with the reason for which it failed.
    pub fn back_where_it_began(&self, place: &ReturnTo, error: &CallbackError) -> Response<Body> {
        let back = see_other(&place.told(ErrorCode::ACCESS_DENIED.as_str()));
        with_cookies(back, error.cookie.clone())
    }

    async fn finish_login(
        &self,
        parameters: &str,
        headers: &HeaderMap,
        presented: Presented,
        client: IpAddr,
    ) -> Result<LoggedIn, Box<CallbackError>> {
        let answer = AuthorizationResponse::parse(parameters);
        let (login, pending) = self.login_of(&answer, headers)?;
        if let Some(name) = answer.repeated {
            return Err(login.used_up(CallbackFault::Repeated(name)));
        }
        let issuer = self.provider.check_response_issuer(answer.iss.as_deref());
        match issuer.await {
            Ok(IssuerCheck::Fits) => {}
            Ok(IssuerCheck::Other) => return Err(login.used_up(CallbackFault::OtherIssuer)),
            Ok(IssuerCheck::Missing) => return Err(login.used_up(CallbackFault::LacksIssuer)),
            Err(error) => return Err(login.unused(CallbackFault::Provider(error))),
        }
        if let Some(error) = answer.error {
            return login.refused(&pending, &error, answer.took_too_long);
        }
        let code = answer.code.filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| login.used_up(CallbackFault::NoCode))?;
        // Nothing is used up before there is a turn.
        let (source, now) = (Source::from(client), self.clock.now());
        let over_budget = |over| login.unused(CallbackFault::OverBudget(over));
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
            Ok(false) => return Err(login.over(CallbackFault::Replayed, &pending)),
            Err(error) => return Err(login.unused(CallbackFault::Store(error))),
        }
        let signed_in = login.remembered(&pending, LoginEnd::SignedIn);
        let redeemed = self.redeem(pending, code, (headers, client), presented);
        match redeemed.await {
            // What is kept of it is a user's now, and those are as many as the provider knows.
            Ok(mut logged_in) => {
                logged_in.cookies.push(signed_in);
                Ok(logged_in)
            }
            Err(cause) => {
                used.keep_until(now + self.settings.login_timeout);
                Err(login.used_up(cause))
            }
        }
    }

    /// The login that the answer belongs to, if this browser began it and it is under way (C2, C3).
    fn login_of(
        &self,
        answer: &AuthorizationResponse,
        headers: &HeaderMap,
    ) -> Result<(OwnLogin<'_>, PendingLogin), Box<CallbackError>> {
        let state = answer.state.as_deref().filter(|state| !state.is_empty());
        let again = state.map(|state| self.again(state));
        let unbound = CallbackError::unbound;
        if answer.repeated == Some("state") {
            // Whose login this is stands twice, so it is nobody's.
            return Err(unbound(CallbackFault::Repeated("state"), None));
        }
        let now = self.clock.now();
        let known = state.and_then(|state| self.pending.find(headers, state, now));
        let Some(KnownLogin { name, progress }) = known else {
            return Err(match answer.repeated {
                Some(name) => unbound(CallbackFault::Repeated(name), None),
                None => unbound(CallbackFault::UnknownState, again),
            });
        };
        match progress {
            Progress::UnderWay(pending) => {
                let login = OwnLogin {
                    logins: self,
                    cookie: name,
                    return_to: pending.return_to.clone(),
                    window: pending.window,
                    again,
                };
                Ok((login, pending))
            }
            Progress::Over(past) => Err(Box::new(CallbackError {
                cause: CallbackFault::Over,
                cookie: None,
                return_to: Some(past.return_to),
                window: past.window,
                again,
            })),
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
            essential_acr: &pending.essential_acr,
        };
        let asked = self.clock.now();
        // A login that began under another configuration brought no key.
        let prover = if pending.prover.is_some() {
            pending.prover
        } else {
            let fresh = self.provider.new_prover().await;
            fresh.map_err(CallbackFault::Provider)?
        };
        let code = AuthorizationCode::new(code);
        let grant = self
            .provider
            .exchange_code(&code, pending.code_verifier, &expected, prover)
            .await
            .map_err(CallbackFault::Exchange)?;
        let previous = previous_sessions(pending.previous_session, presented);
        let (session, cookies) = self
            .begin_session(grant, asked, browser, presented, &previous)
            .await?;
        self.end_previous(&previous).await;
        Ok(LoggedIn {
            return_to: pending.return_to,
            window: pending.window,
            session: Some(session),
            cookies,
        })
    }

    /// Whether this is the first use of the login's state, on whichever node. Kept for as long as its
    /// cookie opens, and only for answers that a browser's own cookie vouched for (C6).
    async fn use_once(&self, pending: &PendingLogin) -> Result<bool, StoreError> {
        let note = Note::UsedState {
            site: self.sessions.site(),
            suffix: &pending.state.cookie_suffix(),
        };
        let lifetime = self.settings.login_timeout;
        self.sessions.keep(note, b"", lifetime).await
    }
}

/// A login that this browser began and that was under way, while its callback is judged.
struct OwnLogin<'a> {
    logins: &'a Logins,
    /// The name of its cookie.
    cookie: String,
    return_to: ReturnTo,
    window: Window,
    /// How it goes on where it is no more than over.
    again: Option<Again>,
}

impl OwnLogin<'_> {
    /// What the provider's error comes to.
    fn refused(
        self,
        pending: &PendingLogin,
        error: &str,
        took_too_long: bool,
    ) -> Result<LoggedIn, Box<CallbackError>> {
        let code = ErrorCode::from_text(error);
        let needs_the_user = code.is_some_and(ErrorCode::needs_the_user);
        if pending.prompt == Prompt::None && needs_the_user {
            // Expected: the page asked whether the user is signed in at the provider.
            return Ok(LoggedIn {
                cookies: vec![self.logins.pending.forget(&self.cookie)],
                return_to: self.return_to,
                window: self.window,
                session: None,
            });
        }
        if took_too_long && code.is_some_and(ErrorCode::says_later) {
            return Err(self.over(CallbackFault::TookTooLong, pending));
        }
        Err(self.used_up(CallbackFault::Refused(code)))
    }

    /// It failed, and is used up.
    fn used_up(&self, cause: CallbackFault) -> Box<CallbackError> {
        let forgotten = self.logins.pending.forget(&self.cookie);
        self.fault(cause, Some(forgotten), None)
    }

    /// It failed, and nothing was used up: the browser may load the callback again.
    fn unused(&self, cause: CallbackFault) -> Box<CallbackError> {
        self.fault(cause, None, None)
    }

    /// It is no more than over: the browser goes on, and where it was going stays.
    fn over(&self, cause: CallbackFault, pending: &PendingLogin) -> Box<CallbackError> {
        let cookie = self.remembered(pending, LoginEnd::Unfinished);
        self.fault(cause, Some(cookie), self.again.clone())
    }

    /// What is left of it, in the place of its cookie.
    fn remembered(&self, pending: &PendingLogin, end: LoginEnd) -> HeaderValue {
        let Logins {
            clock, randomness, ..
        } = self.logins;
        let past = pending.over(end, clock.now());
        let cookies = &self.logins.pending;
        cookies.remember(&self.cookie, &past, &**randomness)
    }

    fn fault(
        &self,
        cause: CallbackFault,
        cookie: Option<HeaderValue>,
        again: Option<Again>,
    ) -> Box<CallbackError> {
        Box::new(CallbackError {
            cause,
            cookie,
            return_to: Some(self.return_to.clone()),
            window: self.window,
            again,
        })
    }
}
