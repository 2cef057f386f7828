//! `/bff/logout`: ends the session here first, then at the provider (E1–E6).

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use crate::auth::answer::{json, see_other, taken_back, with_cookies};
use crate::auth::places::Places;
use crate::auth::return_to::{BadReturnTo, ReturnTo};
use crate::auth::{AuthSettings, Common, LogoutHint};
use crate::clock::Randomness;
use crate::oidc::{EndSessionRequest, Provider};
use crate::secret::random_base64url;
use crate::session::cookie::{MOST_VALUES, Presented, SessionCookie, set_cookie, values_of};
use crate::session::record::Session;
use crate::session::seal::Keys;
use crate::session::store::{Note, StoreError};
use crate::session::{Activity, Sessions};
use crate::telemetry::{LogoutOutcome, Metrics};
use crate::web::body::Body;
use crate::web::cookie_names;
use crate::web::ending::EndReason;
use crate::web::registration::Registration;

/// Octets of a `logout_hint`: enough for any name, and no burden for an address.
const LONGEST_LOGOUT_HINT: usize = 512;

/// How long the browser has to go on from here to the provider.
const CONTINUE_WITHIN: Duration = Duration::from_mins(2);

/// Why nothing was ended.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// A link without this session's own value: somebody else's (E1).
    #[error("the logout link does not carry this session's sid")]
    ForeignLink,
    /// The place to return to is not ours.
    #[error(transparent)]
    BadReturnTo(#[from] BadReturnTo),
    /// The store could not be asked; the session lives and the cookie stays.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the logout was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutBy {
    /// A navigation, which proves itself by `sid`.
    Link,
    /// A fetch with the anti-CSRF header, which was checked before.
    Fetch,
}

/// Logouts in the browser that is signed in: `/bff/logout` and what follows it.
#[derive(Debug)]
pub struct Logouts {
    settings: Arc<AuthSettings>,
    places: Places,
    /// Where the provider sends the browser afterwards.
    post_logout_redirect_uri: Url,
    provider: Provider,
    /// Whose sessions go on there: what an ID token says of one's user is no other provider's to read.
    registration: Registration,
    sessions: Sessions,
    session_cookie: SessionCookie,
    keys: Keys,
    randomness: Arc<dyn Randomness>,
    metrics: Metrics,
}

impl Logouts {
    pub(in crate::auth) fn new(common: &Common) -> Self {
        Self {
            settings: Arc::clone(&common.settings),
            post_logout_redirect_uri: common.places.address("/logout/callback"),
            places: common.places.clone(),
            registration: common.provider.settings().registration(),
            provider: common.provider.clone(),
            sessions: common.sessions.clone(),
            session_cookie: common.session_cookie.clone(),
            keys: common.keys.clone(),
            randomness: Arc::clone(&common.randomness),
            metrics: common.metrics.clone(),
        }
    }

    /// Answers `/bff/logout`.
    ///
    /// # Errors
    ///
    /// See [`LogoutError`]; nothing was ended.
    pub async fn logout(
        &self,
        by: LogoutBy,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Response<Body>, LogoutError> {
        let mut sid = None;
        let mut return_to = self.places.front_page();
        for (name, value) in
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            match &*name {
                "sid" => sid = Some(value.into_owned()),
                "return_to" | "returnUrl" => {
                    let place = self.places.parse(&value)?;
                    return_to = place.unwrap_or_else(|| self.places.front_page());
                }
                _ => {}
            }
        }
        let session = match presented {
            Presented::Session(cookie) => self
                .sessions
                .find(&cookie, Activity::Observes)
                .await?
                .live(),
            Presented::Nothing => None,
        };
        let Some(session) = session else {
            let answer = match by {
                LogoutBy::Link => see_other(return_to.as_str()),
                LogoutBy::Fetch => json(
                    StatusCode::OK,
                    &json!({ "redirect_to": return_to.as_str() }),
                ),
            };
            return Ok(with_cookies(
                answer,
                taken_back(&self.session_cookie, presented),
            ));
        };
        if by == LogoutBy::Link && !sid.is_some_and(|sid| session.details.logout_sid.matches(&sid))
        {
            return Err(LogoutError::ForeignLink);
        }
        self.sessions.end(&session.hash, EndReason::Logout).await?;
        self.metrics.logout(LogoutOutcome::Ok);
        let onward = self.end_session_location(&session, &return_to);
        let (answer, continuation) = match by {
            LogoutBy::Link => (see_other(&onward), None),
            LogoutBy::Fetch => {
                let (redirect_to, cookie) = self.continue_later(onward, &return_to).await;
                (
                    json(StatusCode::OK, &json!({ "redirect_to": redirect_to })),
                    cookie,
                )
            }
        };
        let answer = with_cookies(answer, taken_back(&self.session_cookie, presented));
        Ok(with_cookies(answer, continuation))
    }

    /// Answers `/bff/logout/continue`: the navigation that a script was told to make, so that it
    /// never sees the `id_token_hint`.
    pub async fn logout_continue(&self, parts: &Parts) -> Response<Body> {
        let mut onward = None;
        let mut used = Vec::new();
        for name in self.continuation_cookies() {
            let values = values_of(&parts.headers, &name).take(MOST_VALUES);
            for handle in values.filter_map(|value| self.keys.open(&name, value)) {
                let handle = String::from_utf8_lossy(&handle);
                let taken = self.sessions.take(self.way_out(&handle)).await;
                onward = onward.or(taken.ok().flatten());
                used.push(self.continuation(&name, "", Duration::ZERO));
            }
        }
        used.dedup();
        let onward = onward.and_then(|onward| String::from_utf8(onward).ok());
        with_cookies(see_other(onward.as_deref().unwrap_or("/")), used)
    }

    /// Answers `/bff/logout/callback`, where the provider sends the browser afterwards: does
    /// nothing sensitive, whatever the state says (E4).
    pub fn logout_callback(&self, parts: &Parts) -> Response<Body> {
        let return_to = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .find(|(name, _)| name == "state")
            .and_then(|(_, state)| self.keys.open(LOGOUT_STATE, state.as_bytes()))
            .and_then(|place| ReturnTo::sealed(std::str::from_utf8(&place).ok()?))
            .unwrap_or_else(|| self.places.front_page());
        see_other(return_to.as_str())
    }

    /// The provider's end-session endpoint, or our own place where it has none (E3, E6), or is not the
    /// one that signed the user in.
    fn end_session_location(&self, session: &Session, return_to: &ReturnTo) -> String {
        if session.registration != self.registration {
            return return_to.to_string();
        }
        let tokens = session.tokens();
        let hint = match self.settings.logout_hint {
            LogoutHint::IdToken => tokens.id_token.as_deref(),
            LogoutHint::None => None,
        };
        let state = self.keys.seal(
            LOGOUT_STATE,
            return_to.as_str().as_bytes(),
            &*self.randomness,
        );
        let logout_hint = self.logout_hint(session);
        let request = EndSessionRequest {
            id_token_hint: hint,
            logout_hint: logout_hint.as_deref(),
            post_logout_redirect_uri: &self.post_logout_redirect_uri,
            state: &state,
        };
        self.provider
            .end_session_url(&request)
            .map_or_else(|| return_to.to_string(), String::from)
    }

    /// The user in a word that the provider knows: the claim that is to go along.
    fn logout_hint(&self, session: &Session) -> Option<String> {
        let name = self.settings.logout_hint_claim.as_deref()?;
        if name == "sub" {
            return Some(session.subject.to_string());
        }
        let shown =
            serde_json::from_str::<Map<String, Value>>(&session.details.claims).unwrap_or_default();
        let shown = shown.get(name).and_then(Value::as_str).map(str::to_owned);
        let hidden = || Provider::text_claim(session.tokens().id_token.as_deref()?, name);
        shown
            .or_else(hidden)
            .filter(|hint| hint.len() <= LONGEST_LOGOUT_HINT)
    }

    /// Remembers where this browser goes on to, under a handle in a cookie of its own; whichever node
    /// it meets next finds it.
    async fn continue_later(
        &self,
        onward: String,
        return_to: &ReturnTo,
    ) -> (String, Option<HeaderValue>) {
        if onward == return_to.as_str() {
            return (onward, None);
        }
        let handle = random_base64url::<16>(&*self.randomness);
        let name = cookie_names::logout(self.session_cookie.name());
        let sealed = self.keys.seal(&name, handle.as_bytes(), &*self.randomness);
        let note = self.way_out(&handle);
        let kept = self.sessions.keep(note, onward.as_bytes(), CONTINUE_WITHIN);
        if !matches!(kept.await, Ok(true)) {
            // Signed out here; the provider's own session stays, as where it has no such endpoint.
            tracing::warn!(
                event = "logout.cut_short",
                "the way to the provider's logout could not be kept"
            );
            return (return_to.to_string(), None);
        }
        let cookie = self.continuation(&name, &sealed, CONTINUE_WITHIN);
        (self.places.endpoint("/logout/continue"), Some(cookie))
    }

    const fn way_out<'a>(&'a self, handle: &'a str) -> Note<'a> {
        Note::WayOut {
            site: self.sessions.site(),
            handle,
        }
    }

    /// The names that the cookie of a way on may have, the one that it is written under first.
    fn continuation_cookies(&self) -> impl Iterator<Item = String> {
        let names = self.session_cookie.settings().names();
        names.map(cookie_names::logout)
    }

    fn continuation(&self, name: &str, value: &str, max_age: Duration) -> HeaderValue {
        let secure = self.session_cookie.settings().secure;
        let strict = cookie::SameSite::Strict;
        set_cookie(name, value, secure, strict, Some(max_age))
    }
}

/// What the `state` of an end-session request is sealed for.
const LOGOUT_STATE: &str = "logout state";
