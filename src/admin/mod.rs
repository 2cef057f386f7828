//! The second listener: health and metrics, never reachable from the first (N1).
//!
//! It owns who may ask what here. What is healthy, each part says through a [`Check`].

mod health;
mod metrics;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::secret::AdminKey;
use crate::server::{
    Connection, Handler, Limits, Server, ServerSettings, StartError, Timeouts, WorkerContext,
};
use crate::telemetry::Metrics;
use crate::web::body::Body;

pub use self::health::{Check, CheckState};

/// `server.admin_listen` and its key.
#[derive(Debug)]
pub struct AdminSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The bearer key; without one there is only health and metrics.
    pub key: Option<AdminKey>,
}

/// What the second listener tells about.
#[derive(Clone)]
pub struct Admin {
    /// What `/readyz` asks, each time.
    pub checks: Vec<Arc<dyn Check>>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The public listener's shutdown: once cancelled, `/readyz` sends new work elsewhere.
    pub draining: CancellationToken,
}

/// Starts the listener on a thread of its own. `shutdown` should come after the public
/// listener's drain, so that `/readyz` and `/metrics` answer during it.
///
/// # Errors
///
/// The address cannot be bound.
pub fn start(
    settings: AdminSettings,
    admin: Admin,
    shutdown: CancellationToken,
) -> Result<Server, StartError> {
    let key = settings.key.map(Arc::new);
    let make_handler = move |_: WorkerContext| AdminHandler {
        key: key.clone(),
        admin: admin.clone(),
    };
    Server::start(server_settings(settings.listen), make_handler, shutdown)
}

/// A few operators and one scraper; whoever else gets this far gets no room.
fn server_settings(listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        listen,
        tls: None,
        workers: NonZeroUsize::MIN,
        limits: Limits {
            head_bytes: 8 * 1024,
            head_fields: 100,
            connections: 64,
            h2_streams: 16,
            h2_resets: 16,
        },
        timeouts: Timeouts {
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            drain: Duration::from_secs(1),
        },
    }
}

struct AdminHandler {
    key: Option<Arc<AdminKey>>,
    admin: Admin,
}

impl Handler for AdminHandler {
    async fn handle(&self, request: Request<Incoming>, _: Connection) -> Response<Body> {
        let known = match request.uri().path() {
            "/livez" => Known::Live,
            "/readyz" => Known::Ready,
            "/metrics" => Known::Metrics,
            _ => return self.unknown(request.headers()),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = empty(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(ALLOW, allowed);
            return refusal;
        }
        match known {
            Known::Live => health::live(),
            Known::Ready => health::ready(&self.admin).await,
            Known::Metrics => metrics::show(&self.admin.metrics),
        }
    }
}

enum Known {
    Live,
    Ready,
    Metrics,
}

impl AdminHandler {
    /// Without the key nobody learns what else there is.
    fn unknown(&self, headers: &HeaderMap) -> Response<Body> {
        match &self.key {
            Some(key) if !carries(headers, key) => {
                let mut refusal = empty(StatusCode::UNAUTHORIZED);
                refusal
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refusal
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

/// Whether the request has the key, compared in constant time (RFC 6750 §2.1).
fn carries(headers: &HeaderMap, key: &AdminKey) -> bool {
    let mut found = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (found.next(), found.next()) else {
        return false;
    };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && key.matches(token.trim_start_matches(' '))
        })
}

fn empty(status: StatusCode) -> Response<Body> {
    answer(status, None, Body::Empty)
}

fn answer(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.checks.iter().map(|check| check.name()).collect();
        f.debug_struct("Admin")
            .field("checks", &names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
