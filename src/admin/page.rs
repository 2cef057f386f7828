//! The page for people, and the description of the API: files that stand in the binary and hold no
//! data.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response};

use crate::web::body::Body;

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asset {
    /// `/`
    Page,
    /// `/admin.css`
    Style,
    /// `/admin.js`
    Script,
    /// `/api/openapi.json`
    Description,
}

/// The page may load its own script and style, ask the API beside it, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

impl Asset {
    /// The answer, for whoever may have it.
    pub(super) fn answer(self) -> Response<Body> {
        let (content_type, content) = match self {
            Self::Page => (
                "text/html; charset=utf-8",
                include_str!("assets/index.html"),
            ),
            Self::Style => ("text/css; charset=utf-8", include_str!("assets/admin.css")),
            Self::Script => (
                "text/javascript; charset=utf-8",
                include_str!("assets/admin.js"),
            ),
            Self::Description => ("application/json", include_str!("assets/openapi.json")),
        };
        let mut answer = Response::new(Body::full(content));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        // After an upgrade the page and its script must be of one age.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        answer
    }
}
