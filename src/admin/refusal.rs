//! What the administration API answers instead, as problem details (RFC 9457).

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Map;

use crate::session::store::StoreError;
use crate::web::body::Body;
use crate::web::problem::Problem;

/// Why the API does not do what it was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is asked under a name that is not this listener's.
    UnknownHost,
    /// The key is missing or wrong.
    Unauthorized,
    /// A page of another origin asks.
    OriginNotAllowed,
    /// A parameter is missing, doubled, out of bounds or not known: a sentence.
    BadRequest(String),
    /// The cursor is none, or belongs to another list.
    BadCursor,
    /// There is no session of this id.
    NoSuchSession,
    /// There is nothing of this path.
    NotFound,
    /// Something is here, for these methods.
    MethodNotAllowed(&'static str),
    /// The configuration has faults, a line each, and is not taken into use.
    Configuration(String),
    /// The configuration is read at a start alone: `bff dev` builds on what it says.
    ReadAtStart,
    /// What was asked for broke off.
    BrokeOff,
    /// The store keeps no list.
    NoSessionList,
    /// The store could not be asked; nothing has ended by it.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How long to wait for a store that is away.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

impl Refusal {
    /// The answer.
    pub(super) fn answer(self, request_id: &str) -> Response<Body> {
        let (status, code, title) = self.words();
        let problem = Problem {
            status,
            code,
            title,
            detail: self.detail(),
            request_id: request_id.to_owned(),
            login_url: None,
            for_people: None,
            on: None,
            home: None,
            extra: Map::new(),
        };
        let mut answer = problem.json();
        let field = match self {
            Self::Unauthorized => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::MethodNotAllowed(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
            Self::Store(_) => Some((RETRY_AFTER, RETRY_AFTER_SECONDS)),
            _ => None,
        };
        answer.headers_mut().extend(field);
        answer
    }

    /// The stable word for it.
    pub(super) const fn code(&self) -> &'static str {
        let (_, code, _) = self.words();
        code
    }

    const fn words(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UnknownHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "unknown_host",
                "This host is not served here",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "The administration key is needed",
            ),
            Self::OriginNotAllowed => (
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "Another page may not ask this",
            ),
            Self::BadRequest(_) => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "The request cannot be understood",
            ),
            Self::BadCursor => (
                StatusCode::BAD_REQUEST,
                "bad_cursor",
                "The cursor cannot be used",
            ),
            Self::Configuration(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "configuration_refused",
                "The configuration cannot be used",
            ),
            Self::ReadAtStart => (
                StatusCode::CONFLICT,
                "read_at_start",
                "The configuration is read at a start alone",
            ),
            Self::BrokeOff => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "Something is wrong here",
            ),
            Self::NoSuchSession => (StatusCode::NOT_FOUND, "no_such_session", "No such session"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing here"),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This takes other methods",
            ),
            Self::NoSessionList => (
                StatusCode::NOT_IMPLEMENTED,
                "no_session_list",
                "There is no list of sessions",
            ),
            Self::Store(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "The session store does not answer",
            ),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::UnknownHost => {
                "This listener answers to IP addresses, to localhost and to the names in \
                                  server.admin_hosts."
                    .to_owned()
            }
            Self::Unauthorized => {
                "Send server.admin_key, or one of server.admin_keys, as a bearer token.".to_owned()
            }
            Self::OriginNotAllowed => {
                "Only the page of this listener, and what is no page, may ask.".to_owned()
            }
            Self::BadRequest(sentence) => sentence.clone(),
            Self::BadCursor => "The cursor belongs to another list; begin without one.".to_owned(),
            Self::Configuration(faults) => faults.clone(),
            Self::ReadAtStart => {
                "bff dev reads its configuration at its start alone; restart it.".to_owned()
            }
            Self::BrokeOff => "The log says what happened.".to_owned(),
            Self::NoSuchSession => "There is no session of this id, or it has ended.".to_owned(),
            Self::NotFound => "The paths are described in /api/openapi.json.".to_owned(),
            Self::MethodNotAllowed(allowed) => format!("This path takes {allowed}."),
            Self::NoSessionList => "With session.store = \"cookie\" sessions are in the browsers \
                                    alone: they can be neither listed nor ended from here."
                .to_owned(),
            Self::Store(error) => sentence(error),
        }
    }
}

/// The store's own words, for operators.
fn sentence(error: &StoreError) -> String {
    let text = error.to_string();
    let mut characters = text.trim_end_matches('.').chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}
