//! `/bff/login`: sends the browser to the provider (section B).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use url::form_urlencoded;

use crate::auth::answer::{see_other, with_cookies};
use crate::auth::pending_login::{PendingLogin, Prompt};
use crate::auth::return_to::{BadReturnTo, ReturnTo};
use crate::auth::{LogoutHint, RelyingParty};
use crate::oidc::{AuthorizationRequest, ProviderError};
use crate::secret::{CodeVerifier, IdToken, Nonce, State};
use crate::session::Activity;
use crate::session::cookie::Presented;
use crate::web::body::Body;
use crate::web::strangers::{Demand, OverBudget, Source};

/// Why no login was begun. No cookie was set.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A script fetched what only a navigation may open.
    #[error("login was fetched by a script; it must be navigated to")]
    NotANavigation,
    /// The place to return to is not ours.
    #[error(transparent)]
    BadReturnTo(#[from] BadReturnTo),
    /// A parameter is repeated, or is not what it must be.
    #[error("the login parameter {0} is repeated or malformed")]
    BadParameter(&'static str),
    /// A third-party-initiated login names another issuer, or none, or several (B7).
    #[error("the login was initiated for another issuer")]
    OtherIssuer,
    /// The provider cannot be asked, or its metadata cannot be trusted.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// So many logins of this address have failed that its next would be refused at its end.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

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
}

/// The parameters of `/bff/login` that are passed on, by their name at the provider (B8).
const PASSED_ON: [&str; 5] = [
    "prompt",
    "login_hint",
    "ui_locales",
    "acr_values",
    "max_age",
];

/// What somebody asked of a login.
#[derive(Debug)]
pub struct LoginRequest {
    return_to: ReturnTo,
    extra: Vec<(&'static str, String)>,
}

impl LoginRequest {
    /// A login that comes back to this place, with nothing else asked.
    pub const fn returning_to(return_to: ReturnTo) -> Self {
        Self {
            return_to,
            extra: Vec::new(),
        }
    }

    /// Reads the query of `/bff/login`; parameters that are not ours are passed over.
    fn parse(query: &str, relying_party: &RelyingParty) -> Result<Self, LoginError> {
        let mut return_to = None;
        let mut extra: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "return_to" || name == "returnUrl" {
                if return_to
                    .replace(relying_party.return_to(&value)?)
                    .is_some()
                {
                    return Err(LoginError::BadParameter("return_to"));
                }
            } else if let Some(name) = PASSED_ON.into_iter().find(|own| *own == name) {
                if extra.iter().any(|(own, _)| *own == name) || !is_plain(&value) {
                    return Err(LoginError::BadParameter(name));
                }
                if name == "max_age" && value.parse::<u32>().is_err() {
                    return Err(LoginError::BadParameter(name));
                }
                extra.push((name, value.into_owned()));
            }
        }
        Ok(Self {
            return_to: return_to.unwrap_or_else(ReturnTo::root),
            extra,
        })
    }

    /// Reads a third-party-initiated login (OIDC Core §4): the issuer, the target and the hint,
    /// and nothing else of what a stranger's link says (B7).
    fn parse_third_party(query: &str, relying_party: &RelyingParty) -> Result<Self, LoginError> {
        let issuer = &relying_party.provider.settings().issuer;
        let mut own = Self::returning_to(ReturnTo::root());
        let mut named = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "iss" => named = Some(value == issuer.as_str() && named.is_none()),
                "target_link_uri" => own.return_to = relying_party.return_to(&value)?,
                "login_hint" if is_plain(&value) => {
                    own.extra = vec![("login_hint", value.into_owned())];
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
        for (name, value) in &self.extra {
            query.append_pair(name, value);
        }
        query.finish()
    }

    fn extra(&self, name: &str) -> Option<&str> {
        self.extra
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }
}

fn is_plain(value: &str) -> bool {
    value.len() <= 512 && !value.chars().any(char::is_control)
}

impl RelyingParty {
    /// Answers `/bff/login`.
    ///
    /// # Errors
    ///
    /// See [`LoginError`]; no cookie is set, and no session is touched (B5).
    pub async fn login(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<LoginAnswer, LoginError> {
        let query = parts.uri.query().unwrap_or_default();
        if header_is_not(&parts.headers, "sec-fetch-mode", b"navigate") {
            return Err(LoginError::NotANavigation);
        }
        let initiated_elsewhere = self.settings.third_party_login
            && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "iss");
        if initiated_elsewhere {
            return self.third_party_login(query, parts, presented).await;
        }
        let request = LoginRequest::parse(query, self)?;
        let foreign = matches!(
            parts
                .headers
                .get("sec-fetch-site")
                .map(HeaderValue::as_bytes),
            Some(b"cross-site" | b"same-site")
        );
        if foreign {
            let link = format!("{}/login?{}", self.settings.base_path, request.query());
            return Ok(LoginAnswer::Confirm { link });
        }
        self.begin_login(request, &parts.headers, presented)
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
    ) -> Result<LoginAnswer, LoginError> {
        let request = LoginRequest::parse_third_party(parameters, self)?;
        self.begin_login(request, &parts.headers, presented)
            .await
            .map(LoginAnswer::Begun)
    }

    /// Whether a login from here could be finished, before a person takes trouble with it.
    ///
    /// # Errors
    ///
    /// So many of this address have failed that its next would be refused.
    pub fn admit_login(&self, source: Source) -> Result<(), LoginError> {
        let now = self.clock.now();
        Ok(self.strangers.ask(Demand::UsedState, source, now)?)
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
    ) -> Result<Response<Body>, LoginError> {
        let randomness = &*self.randomness;
        let prompt = match request.extra("prompt") {
            Some("none") => Prompt::None,
            _ => Prompt::Allowed,
        };
        let pending = PendingLogin {
            state: State::random(randomness),
            nonce: Nonce::random(randomness),
            code_verifier: CodeVerifier::random(randomness),
            max_age: request
                .extra("max_age")
                .and_then(|seconds| seconds.parse().ok()),
            prompt,
            previous_session: match presented {
                Presented::Session(cookie) => Some(cookie.hash),
                Presented::Nothing => None,
            },
            started: self.clock.now(),
            return_to: request.return_to,
        };
        let hint = match pending.prompt {
            Prompt::None => Box::pin(self.id_token_of(presented)).await,
            Prompt::Allowed => None,
        };
        let authorization = AuthorizationRequest {
            state: &pending.state,
            nonce: &pending.nonce,
            code_verifier: &pending.code_verifier,
            extra: &request.extra,
            id_token_hint: hint.as_deref(),
        };
        let location = self.provider.authorization_url(&authorization).await?;
        let cookies = self.pending_logins.begin(&pending, headers, randomness);
        Ok(with_cookies(see_other(location.as_str()), cookies))
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
        found.live()?.tokens().id_token.clone()
    }
}

/// Whether the header is there and says something else.
fn header_is_not(headers: &HeaderMap, name: &str, expected: &[u8]) -> bool {
    headers
        .get(name)
        .is_some_and(|value| value.as_bytes() != expected)
}
