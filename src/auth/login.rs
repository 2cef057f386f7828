//! `/bff/login`: sends the browser to the provider (section B).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use url::form_urlencoded;

use crate::auth::access_token::AccessTokens;
use crate::auth::answer::{see_other, with_cookies};
use crate::auth::attempts::Attempts;
use crate::auth::choices::Choices;
use crate::auth::ended_at_provider::EndsAtProvider;
use crate::auth::ending::Endings;
use crate::auth::logged_in::LoggedIn;
use crate::auth::login_owner::LoginOwner;
use crate::auth::login_params::PASSED_ON;
use crate::auth::past_login::PastLogin;
use crate::auth::pending_login::{PendingLogin, PendingLoginCookie, Prompt, Window};
use crate::auth::places::{Places, STEP_UP};
use crate::auth::return_to::ReturnTo;
use crate::auth::{AuthSettings, Common, LogoutHint};
use crate::clock::{Clock, Randomness};
use crate::oidc::{AuthorizationRequest, Provider, ResponseMode};
use crate::secret::{CodeVerifier, IdToken, Nonce, State};
use crate::session::cookie::{Presented, SessionCookie, set_cookie};
use crate::session::seal::Keys;
use crate::session::{Activity, SameSite, Sessions};
use crate::telemetry::Metrics;
use crate::web::body::Body;
use crate::web::cookie_names;
use crate::web::navigation::Sender;
use crate::web::strangers::{Source, Strangers};

pub use crate::auth::login_error::{LoginError, Trouble};
pub use crate::auth::login_params::is_plain;

/// What a login request comes to.
#[derive(Debug)]
pub enum LoginAnswer {
    /// 303 to the provider, with the cookie of the login.
    Begun(Response<Body>),
    /// Another site sent the browser here: a person must confirm, by this link (B6).
    Confirm {
        /// The same login, to be navigated to from our own page.
        link: String,
    },
    /// The browser must take a step of our own site first, by this link, so that the session that
    /// it may have comes along and can be replaced.
    Step {
        /// The same login.
        link: String,
    },
    /// It is over at once: somebody is signed in already, or nobody can be asked.
    SignedIn(LoggedIn),
}

/// The longest value of the parameters that every login may carry.
pub const LONGEST_VALUE: usize = 512;

/// What somebody asked of a login.
#[derive(Debug)]
pub struct LoginRequest {
    return_to: ReturnTo,
    extra: Vec<(Cow<'static, str>, String)>,
    window: Window,
    attempts: Attempts,
    /// Whether the answer must be as strong as was asked for.
    is_step_up: bool,
}

impl LoginRequest {
    /// A login that comes back to this place, with nothing else asked.
    pub const fn returning_to(return_to: ReturnTo) -> Self {
        Self {
            return_to,
            extra: Vec::new(),
            window: Window::Tab,
            attempts: Attempts::NONE,
            is_step_up: false,
        }
    }

    /// A login that is over, from the start; after so many attempts.
    pub(in crate::auth) fn again(past: PastLogin, attempts: Attempts) -> Self {
        let silent = (past.prompt == Prompt::None).then(|| ("prompt".into(), "none".to_owned()));
        let max_age = past.max_age.map(|age| ("max_age".into(), age.to_string()));
        let is_step_up = !past.essential_acr.is_empty();
        let acr_values = is_step_up.then(|| ("acr_values".into(), past.essential_acr.join(" ")));
        let extra = silent.into_iter().chain(max_age).chain(acr_values);
        Self {
            return_to: past.return_to,
            extra: extra.collect(),
            window: past.window,
            attempts,
            is_step_up,
        }
    }

    /// Reads the query of `/bff/login`; parameters that are not ours are passed over.
    fn parse(parts: &Parts, logins: &Logins) -> Result<Self, LoginError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut return_to = None;
        let mut window = None;
        let mut attempts = Attempts::NONE;
        let mut is_step_up = false;
        let mut extra: Vec<(Cow<'static, str>, String)> = Vec::new();
        let bad = |name: &'static str| LoginError::BadParameter(name.into());
        let operators = &logins.settings.login_params;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "return_to" || name == "returnUrl" {
                let place = logins.places.place(&value, &parts.headers)?;
                if return_to.replace(place).is_some() {
                    return Err(bad("return_to"));
                }
            } else if name == "mode" {
                if value != "popup" || window.replace(Window::Popup).is_some() {
                    return Err(bad("mode"));
                }
            } else if name == STEP_UP {
                is_step_up = value == "true";
            } else if name == "tried" {
                attempts = Attempts::open(&logins.keys, &value);
            } else if let Some(name) = PASSED_ON.into_iter().find(|own| *own == name) {
                if extra.iter().any(|(own, _)| own == name) || !is_plain(&value, LONGEST_VALUE) {
                    return Err(bad(name));
                }
                if name == "max_age" && value.parse::<u32>().is_err() {
                    return Err(bad(name));
                }
                extra.push((name.into(), value.into_owned()));
            } else if let Some((name, values)) = operators.find(&name) {
                if extra.iter().any(|(own, _)| own == name) || !values.allow(&value) {
                    return Err(LoginError::BadParameter(name.to_owned().into()));
                }
                extra.push((name.to_owned().into(), value.into_owned()));
            }
        }
        Ok(Self {
            return_to: return_to.unwrap_or_else(|| logins.places.front_page()),
            extra,
            window: window.unwrap_or(Window::Tab),
            attempts,
            is_step_up,
        })
    }

    /// Reads a third-party-initiated login (OIDC Core §4): the issuer, the target and the hint,
    /// and nothing else of what a stranger's link says (B7).
    fn parse_third_party(
        parameters: &str,
        headers: &HeaderMap,
        logins: &Logins,
    ) -> Result<Self, LoginError> {
        let issuer = &logins.provider.settings().issuer;
        let mut own = Self::returning_to(logins.places.front_page());
        let mut named = None;
        for (name, value) in form_urlencoded::parse(parameters.as_bytes()) {
            match &*name {
                "iss" => named = Some(value == issuer.as_str() && named.is_none()),
                "target_link_uri" => {
                    own.return_to = logins.places.place(&value, headers)?;
                }
                "login_hint" if is_plain(&value, LONGEST_VALUE) => {
                    own.extra = vec![("login_hint".into(), value.into_owned())];
                }
                _ => {}
            }
        }
        if named == Some(true) {
            Ok(own)
        } else {
            Err(LoginError::OtherIssuer)
        }
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", self.return_to.as_str());
        if self.window == Window::Popup {
            query.append_pair("mode", "popup");
        }
        if self.is_step_up {
            query.append_pair(STEP_UP, "true");
        }
        for (name, value) in &self.extra {
            query.append_pair(name, value);
        }
        query.finish()
    }

    /// One of these contexts must be the answer's, where there are any: asked for by a step-up, or as the
    /// operator wants it of every login that asks for some (D13).
    fn essential_acr(&self, always: bool) -> Vec<String> {
        if !self.is_step_up && !always {
            return Vec::new();
        }
        let asked = self.extra("acr_values").unwrap_or_default();
        asked.split_ascii_whitespace().map(str::to_owned).collect()
    }

    fn extra(&self, name: &str) -> Option<&str> {
        self.extra
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The logins at one provider: `/bff/login`, `/bff/login/resume` and `/bff/callback`. Holds no state of
/// any, which travels in the browser's cookies.
#[derive(Debug)]
pub struct Logins {
    pub(in crate::auth) settings: Arc<AuthSettings>,
    pub(in crate::auth) places: Places,
    pub(in crate::auth) provider: Provider,
    pub(in crate::auth) sessions: Sessions,
    pub(in crate::auth) session_cookie: SessionCookie,
    pub(in crate::auth) pending: PendingLoginCookie,
    pub(in crate::auth) tokens: AccessTokens,
    pub(in crate::auth) endings: Endings,
    pub(in crate::auth) ended_there: EndsAtProvider,
    pub(in crate::auth) keys: Keys,
    pub(in crate::auth) clock: Arc<dyn Clock>,
    pub(in crate::auth) randomness: Arc<dyn Randomness>,
    pub(in crate::auth) metrics: Metrics,
    pub(in crate::auth) strangers: Strangers,
}

impl Logins {
    pub(in crate::auth) fn new(
        common: &Common,
        tokens: AccessTokens,
        endings: Endings,
        strangers: Strangers,
    ) -> Self {
        let settings = Arc::clone(&common.settings);
        Self {
            pending: PendingLoginCookie::new(
                common.session_cookie.settings(),
                common.provider.settings().response_mode == ResponseMode::FormPost,
                common.keys.clone(),
                settings.login_timeout,
                LoginOwner::new(
                    common.provider.settings().registration(),
                    settings.name.is_some(),
                ),
            ),
            settings,
            places: common.places.clone(),
            provider: common.provider.clone(),
            sessions: common.sessions.clone(),
            session_cookie: common.session_cookie.clone(),
            tokens,
            endings,
            ended_there: EndsAtProvider::new(common),
            keys: common.keys.clone(),
            clock: Arc::clone(&common.clock),
            randomness: Arc::clone(&common.randomness),
            metrics: common.metrics.clone(),
            strangers,
        }
    }

    /// Answers `/bff/login`.
    ///
    /// # Errors
    ///
    /// See [`LoginError`]; no cookie is set, and no session is touched (B5).
    pub async fn login(
        &self,
        parts: &Parts,
        presented: Presented,
        source: Source,
    ) -> Result<LoginAnswer, LoginError> {
        let query = parts.uri.query().unwrap_or_default();
        let initiated_elsewhere = self.settings.third_party_login
            && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "iss");
        if initiated_elsewhere {
            return self
                .third_party_login(query, parts, presented, source)
                .await;
        }
        let request = LoginRequest::parse(parts, self)?;
        if Sender::of(&parts.headers).is_somebody_else() {
            let link = self.own_link(&request.query());
            return Ok(LoginAnswer::Confirm { link });
        }
        self.begin_login(request, &parts.headers, presented, source)
            .await
            .map(LoginAnswer::Begun)
    }

    /// Answers a third-party-initiated login; the parameters come in the query or in a form (B7).
    ///
    /// # Errors
    ///
    /// See [`LoginError`].
    pub async fn third_party_login(
        &self,
        parameters: &str,
        parts: &Parts,
        presented: Presented,
        source: Source,
    ) -> Result<LoginAnswer, LoginError> {
        let request = LoginRequest::parse_third_party(parameters, &parts.headers, self)?;
        if self.may_hold_back_a_session(parts, presented) {
            let link = self.third_party_link(&request);
            return Ok(LoginAnswer::Step { link });
        }
        self.begin_login(request, &parts.headers, presented, source)
            .await
            .map(LoginAnswer::Begun)
    }

    /// Looks at the place that a login is to come back to, before anybody chooses where it begins.
    ///
    /// # Errors
    ///
    /// It is not ours.
    pub fn check_place(&self, parts: &Parts) -> Result<(), LoginError> {
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if matches!(&*name, "return_to" | "returnUrl") {
                self.places.place(&value, &parts.headers)?;
            }
        }
        Ok(())
    }

    /// The end of a login that may ask nobody, where it is unknown whom it would ask: nobody is signed in.
    pub fn nobody(&self, parts: &Parts) -> LoginAnswer {
        let place = self.place_of_login(parts);
        LoginAnswer::SignedIn(LoggedIn {
            return_to: place.unwrap_or_else(|| self.places.front_page()),
            window: Self::window_of_login(parts),
            session: None,
            cookies: Vec::new(),
        })
    }

    /// A link that begins a login here, at this provider where there are several.
    fn own_link(&self, query: &str) -> String {
        let login_url = self.places.login_url();
        match &self.settings.name {
            Some(name) => Choices::link(&login_url, query, name),
            None => format!("{login_url}?{query}"),
        }
    }

    /// The third party's login as a link of our own.
    fn third_party_link(&self, request: &LoginRequest) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("iss", &self.provider.settings().issuer)
            .append_pair("target_link_uri", request.return_to.as_str())
            .extend_pairs(&request.extra);
        self.own_link(&query.finish())
    }

    /// Whether this browser may have a session that it does not show here: a Strict cookie stays
    /// behind wherever another site leads to us, a Lax one where it posts a form. A login that began
    /// now would leave that session alive beside the new one (B5, G4).
    pub fn may_hold_back_a_session(&self, parts: &Parts, presented: Presented) -> bool {
        let stays_behind = match self.session_cookie.settings().same_site {
            SameSite::Strict => true,
            SameSite::Lax => parts.method != Method::GET,
        };
        stays_behind
            && !matches!(presented, Presented::Session(_))
            && Sender::of(&parts.headers) == Sender::Stranger
    }

    /// What a request for `/bff/login` is shown in.
    pub fn window_of_login(parts: &Parts) -> Window {
        let query = parts.uri.query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        if pairs.any(|(name, value)| name == "mode" && value == "popup") {
            Window::Popup
        } else {
            Window::Tab
        }
    }

    /// The place that a request for `/bff/login` asked for, if it is one.
    pub fn place_of_login(&self, parts: &Parts) -> Option<ReturnTo> {
        let query = parts.uri.query()?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, asked) = pairs
            .find(|(name, _)| matches!(&**name, "return_to" | "returnUrl" | "target_link_uri"))?;
        self.places.place(&asked, &parts.headers).ok()
    }

    /// Begins a login: 303 to the provider, with a cookie that ties the callback to this browser.
    ///
    /// # Errors
    ///
    /// The provider cannot be asked.
    pub async fn begin_login(
        &self,
        request: LoginRequest,
        headers: &HeaderMap,
        presented: Presented,
        source: Source,
    ) -> Result<Response<Body>, LoginError> {
        let _turn = self.turn_to_push(source).await?;
        let randomness = &*self.randomness;
        let prompt = match request.extra("prompt") {
            Some("none") => Prompt::None,
            _ => Prompt::Allowed,
        };
        let count = request.attempts.seal(&self.keys, randomness);
        let prover = self.provider.new_prover().await?;
        let pending = PendingLogin {
            state: count.map_or_else(
                || State::random(randomness),
                |count| State::carrying(&count, randomness),
            ),
            nonce: Nonce::random(randomness),
            code_verifier: CodeVerifier::random(randomness),
            max_age: request
                .extra("max_age")
                .and_then(|seconds| seconds.parse().ok()),
            essential_acr: request.essential_acr(self.settings.essential_acr),
            prompt,
            window: request.window,
            previous_session: match presented {
                Presented::Session(cookie) => Some(cookie.hash),
                Presented::Nothing => None,
            },
            started: self.clock.now(),
            return_to: request.return_to,
            registration: self.pending.owner().written(),
            prover,
        };
        let hint = match pending.prompt {
            Prompt::None => Box::pin(self.id_token_of(presented)).await,
            Prompt::Allowed => None,
        };
        let extra: Vec<(&str, &str)> = request
            .extra
            .iter()
            .map(|(name, value)| (&**name, value.as_str()))
            .collect();
        let authorization = AuthorizationRequest {
            state: &pending.state,
            nonce: &pending.nonce,
            code_verifier: &pending.code_verifier,
            extra: &extra,
            id_token_hint: hint.as_deref(),
            prover: pending.prover.as_deref(),
        };
        let location = self.provider.authorization_url(&authorization).await?;
        let mut cookies = self.pending.begin(&pending, headers, randomness);
        cookies.extend(self.remembered_choice());
        Ok(with_cookies(see_other(location.as_str()), cookies))
    }

    /// The line by which this browser remembers which of several providers was chosen; it opens nothing.
    fn remembered_choice(&self) -> Option<HeaderValue> {
        const REMEMBERED_FOR: Duration = Duration::from_hours(24 * 365);
        let name = self.settings.name.as_deref()?;
        if !self.settings.choices.must_be_made() {
            return None;
        }
        let session_cookie = self.session_cookie.settings();
        let line = set_cookie(
            &cookie_names::provider(&session_cookie.name),
            name,
            session_cookie.secure,
            cookie::SameSite::Lax,
            Some(REMEMBERED_FOR),
        );
        Some(line)
    }

    /// The ID token that says whose session at the provider is asked for in silence (OIDC Core
    /// §3.1.2.1), where it may travel through the browser. A store that is away costs the hint alone.
    async fn id_token_of(&self, presented: Presented) -> Option<Arc<IdToken>> {
        let Presented::Session(cookie) = presented else {
            return None;
        };
        match self.settings.logout_hint {
            LogoutHint::IdToken => {}
            LogoutHint::None => return None,
        }
        let found = self.sessions.find(&cookie, Activity::Observes).await.ok()?;
        let session = found.live()?;
        // One of another provider says who its user is, and nothing here.
        let is_own = session.registration == *self.ended_there.registration();
        is_own.then(|| session.tokens().id_token.clone()).flatten()
    }
}
