//! `/bff/session`: who is signed in, as the browser app asks it.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::auth::answer::{json, taken_back, with_cookies};
use crate::auth::ending::follows;
use crate::auth::places::Places;
use crate::auth::{AnonymousAnswer, AuthSettings, Common};
use crate::clock::{Clock, Randomness, Timestamp};
use crate::session::cookie::{Presented, SessionCookie};
use crate::session::record::Session;
use crate::session::store::{Found, StoreError};
use crate::session::{Activity, Sessions};
use crate::telemetry::Metrics;
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::open_limits::OpenLimits;

/// What a browser asks of its own session and its user's others: `/bff/session`, its events,
/// `/bff/sessions` and `/bff/user`.
#[derive(Debug)]
pub struct SessionEndpoints {
    pub(in crate::auth) settings: Arc<AuthSettings>,
    pub(in crate::auth) places: Places,
    pub(in crate::auth) sessions: Sessions,
    pub(in crate::auth) session_cookie: SessionCookie,
    pub(in crate::auth) clock: Arc<dyn Clock>,
    pub(in crate::auth) randomness: Arc<dyn Randomness>,
    pub(in crate::auth) metrics: Metrics,
    /// Event streams that are open.
    pub(in crate::auth) streams: OpenLimits,
}

impl SessionEndpoints {
    pub(in crate::auth) fn new(common: &Common, streams: OpenLimits) -> Self {
        Self {
            settings: Arc::clone(&common.settings),
            places: common.places.clone(),
            sessions: common.sessions.clone(),
            session_cookie: common.session_cookie.clone(),
            clock: Arc::clone(&common.clock),
            randomness: Arc::clone(&common.randomness),
            metrics: common.metrics.clone(),
            streams,
        }
    }

    /// Answers `/bff/session`; never with a token, a code or the session id (G13).
    ///
    /// # Errors
    ///
    /// The store could not be asked, which is no logout.
    pub async fn session(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Response<Body>, StoreError> {
        let Presented::Session(cookie) = presented else {
            return Ok(self.anonymous(presented, None));
        };
        match self.sessions.find(&cookie, activity(parts)).await? {
            Found::Live(session) => {
                // Not to the end of its grant, which any refresh may put off.
                let lifetime = session.ends.since(self.clock.now());
                let renewed =
                    self.session_cookie
                        .renew(&cookie, &parts.headers, lifetime, &*self.randomness);
                let facts = json(StatusCode::OK, &self.facts(&session));
                Ok(with_cookies(facts, renewed))
            }
            Found::Ended(reason) => Ok(self.anonymous(presented, Some(reason))),
            Found::Nothing => Ok(self.anonymous(presented, None)),
        }
    }

    /// Nobody is signed in, any more: then with the reason, in the words of the `ended` event.
    fn anonymous(&self, presented: Presented, ended: Option<EndReason>) -> Response<Body> {
        let status = match self.settings.anonymous {
            AnonymousAnswer::Ok => StatusCode::OK,
            AnonymousAnswer::Unauthorized => StatusCode::UNAUTHORIZED,
        };
        let mut body = json!({ "authenticated": false, "login_url": self.places.login_url() });
        if let (Value::Object(body), Some(reason)) = (&mut body, ended) {
            body.insert("ended".to_owned(), reason.as_str().into());
        }
        // The browser itself may have signed in anew meanwhile, and this answer may come late: it
        // must not take the new cookie away.
        let dead = if ended.is_some_and(|reason| follows(reason).is_replaced) {
            Vec::new()
        } else {
            taken_back(&self.session_cookie, presented)
        };
        with_cookies(json(status, &body), dead)
    }

    fn facts(&self, session: &Session) -> Value {
        let remaining = self.sessions.remaining(session);
        let token_expires_in = session
            .tokens()
            .own
            .expires
            .map(|expires| expires.since(self.clock.now()).as_secs());
        let authentication = &session.details.authentication;
        let mut facts = json!({
            "authenticated": true,
            "user": claims(session),
            "session": {
                "tag": session.details.tag,
                "created_at": session.created.rfc3339(),
                "expires_in": remaining.idle.as_secs(),
                "ends_in": remaining.absolute.as_secs(),
            },
            "token": { "expires_in": token_expires_in },
            "auth": {
                "acr": authentication.acr,
                "amr": authentication.amr,
                "auth_time": authentication.auth_time.map(Timestamp::rfc3339),
            },
            "logout_url": self.places.logout_url(session),
        });
        let provider = self.settings.choices.name_of(&session.registration);
        if let (Value::Object(facts), Some(name)) = (&mut facts, provider) {
            facts.insert("provider".to_owned(), name.into());
        }
        facts
    }
}

/// The claims that the browser may see.
pub(in crate::auth) fn claims(session: &Session) -> Value {
    serde_json::from_str(&session.details.claims).unwrap_or_default()
}

/// Whether the request counts as use of the session (G9).
pub(in crate::auth) fn activity(parts: &Parts) -> Activity {
    let observes = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "slide" && value == "false");
    if observes {
        Activity::Observes
    } else {
        Activity::said_by(&parts.headers)
    }
}
