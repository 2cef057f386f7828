//! The shapes that the endpoints' answers share.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::session::cookie::{Presented, SessionCookie};
use crate::web::body::Body;

/// 303 to `location`, never kept and never told onward (B1, C11).
pub fn see_other(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Places are URLs as a WHATWG parser writes them: always valid in a header.
    let location =
        HeaderValue::try_from(location).unwrap_or_else(|_| HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    not_stored(response)
}

/// JSON that is never kept (G11).
pub(in crate::auth) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::full(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    not_stored(response)
}

/// Marks an answer as never to be kept.
pub(in crate::auth) fn not_stored(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds `Set-Cookie` lines.
pub(in crate::auth) fn with_cookies(
    mut response: Response<Body>,
    lines: impl IntoIterator<Item = HeaderValue>,
) -> Response<Body> {
    for line in lines {
        response.headers_mut().append(SET_COOKIE, line);
    }
    response
}

/// `Set-Cookie` lines that take back the cookie of a session that is over. One that did not open is
/// not ours to take (G6).
pub(in crate::auth) fn taken_back(
    cookie: &SessionCookie,
    presented: Presented,
) -> Vec<HeaderValue> {
    match presented {
        Presented::Session(presented) => cookie.delete(&presented),
        Presented::Nothing => Vec::new(),
    }
}
