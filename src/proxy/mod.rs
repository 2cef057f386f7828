//! Where an API call goes and what it carries.
//!
//! Knows no session: the pipeline hands over the bearer value and the [`Ending`] of whoever calls.
//!
//! [`Ending`]: crate::web::ending::Ending

pub mod message;
pub mod path;
pub mod route;

pub mod headers;

pub mod dial;
mod exchange;
pub mod forward;
mod upload;
pub mod upstream;

mod frames;
mod tunnel;
pub mod upgrade;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

/// One `[[route]]`, validated.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Its name in logs and metrics: the path as written.
    pub name: String,
    /// The path prefix, by whole segments; `/` takes everything. Normalised, no trailing slash but for `/`.
    pub path: String,
    /// Only for this external host (lower case, no port), where set.
    pub host: Option<String>,
    /// Only these methods; empty takes all.
    pub methods: Vec<Method>,
    /// The upstreams' origins (scheme, host, port; an optional base path), taken in turn.
    pub upstreams: Vec<Url>,
    /// Who may call.
    pub auth: RouteAuth,
    /// How a call proves that our own page made it; `None` where `auth` is none.
    pub csrf: Option<CsrfCheck>,
    /// What becomes of the path on its way.
    pub path_rewrite: PathRewrite,
    /// Changes to the request's headers, after all of ours.
    pub request_headers: HeaderChanges,
    /// Changes to the answer's headers, after all of ours.
    pub response_headers: HeaderChanges,
    /// To the head of the upstream's answer.
    pub timeout: Duration,
    /// The most bytes a request's body may have; `None` streams without end.
    pub max_body: Option<u64>,
    /// Whether WebSocket upgrades pass.
    pub websocket: bool,
    /// Between two pieces of a body, either way; `None` takes what holds for all.
    pub idle_timeout: Option<Duration>,
    /// Whether bodies of requests are streams, which may come as slowly as they like.
    pub streams: bool,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAuth {
    /// A session is needed; its access token is added.
    Required,
    /// The access token is added where there is a session.
    Optional,
    /// No credential of any kind is carried.
    None,
}

/// How a call proves that our own page made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrfCheck {
    /// `X-CSRF: 1`, and nothing foreign in Origin or Fetch Metadata (H2, H3).
    Header,
    /// Fetch Metadata says same-origin, or a navigation (H7).
    Origin,
}

/// What becomes of the path on its way to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Goes as it came.
    Keep,
    /// The route's prefix is taken off.
    StripPrefix,
    /// The route's prefix becomes this one.
    ReplacePrefix(String),
}

/// Headers that the operator sets and removes.
#[derive(Debug, Clone, Default)]
pub struct HeaderChanges {
    /// Set, in place of any that came.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

#[cfg(test)]
mod tests;
