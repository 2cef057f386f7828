//! The second listener: health, metrics and administration, never reachable from the first (N1).
//!
//! It owns who may ask what here. What is healthy, each part says through a [`Check`]. All that tells
//! of sessions needs the key; without a configured one there is only health and metrics.

mod filter;
mod health;
mod keys;
mod metrics;
mod page;
mod refusal;
mod reload;
mod sessions;
mod sites;
mod stats;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::Randomness;
use crate::secret::random_base64url;
use crate::server::{
    Callers, Connection, Handler, Limits, Listen, Server, ServerSettings, StartError, Timeouts,
    WorkerContext,
};
use crate::session::Sessions;
use crate::telemetry::{LogLines, Metrics};
use crate::web::body::Body;
use crate::web::navigation::Sender;
use crate::web::own_hosts::OwnHosts;
use crate::web::pace::LeastRate;

use filter::{Asked, Ending};
use page::Asset;
use refusal::Refusal;
use sessions::{Administered, Hand};

pub use self::health::{Check, CheckState};
pub use self::keys::AdminKeys;
pub use self::reload::{ReloadAnswer, Reloads};
pub use self::sites::NamesSites;
pub use self::stats::History;

/// `server.admin_listen` and its key.
#[derive(Debug)]
pub struct AdminSettings {
    /// The address to listen on.
    pub listen: Listen,
    /// The bearer keys; without one there is only health and metrics.
    pub keys: AdminKeys,
    /// The hosts that it answers to.
    pub hosts: OwnHosts,
}

/// What the second listener tells about.
#[derive(Clone)]
pub struct Admin {
    /// What `/readyz` asks, each time.
    pub checks: Vec<Arc<dyn Check>>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What went on lately, which somebody [keeps](History::keep).
    pub history: History,
    /// The sessions, of all sites.
    pub sessions: Sessions,
    /// The sites that are served.
    pub sites: Arc<dyn NamesSites>,
    /// Reads the configuration again.
    pub reload: Arc<dyn Reloads>,
    /// Names requests.
    pub randomness: Arc<dyn Randomness>,
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
    log: &LogLines,
) -> Result<Server, StartError> {
    let AdminSettings {
        listen,
        keys,
        hosts,
    } = settings;
    let keys = Arc::new(keys);
    let make_handler = move |_: WorkerContext| AdminHandler {
        keys: Arc::clone(&keys),
        hosts: hosts.clone(),
        admin: admin.clone(),
    };
    Server::start(
        server_settings(listen),
        &Callers::Operators,
        make_handler,
        shutdown,
        log,
    )
}

/// A few operators and one scraper; whoever else gets this far gets no room.
fn server_settings(listen: Listen) -> ServerSettings {
    ServerSettings {
        listen,
        key: "server.admin_listen",
        tls: None,
        site_certificates: Vec::new(),
        workers: NonZeroUsize::MIN,
        limits: Limits {
            head_bytes: 8 * 1024,
            head_fields: 100,
            upstream_fields: 100,
            connections: 64,
            connections_per_address: None,
            h2_streams: 16,
            h2_resets: 16,
            least_rate: LeastRate::ANY,
        },
        timeouts: Timeouts {
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            websocket_ping: None,
            upstream_age: Duration::from_mins(5),
            drain: Duration::from_secs(1),
        },
    }
}

struct AdminHandler {
    keys: Arc<AdminKeys>,
    hosts: OwnHosts,
    admin: Admin,
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Handler for AdminHandler {
    async fn handle(&self, request: Request<Incoming>, _: Connection) -> Response<Body> {
        // Before anything is told, health included: a page that asks under its own name can read the
        // answer.
        if !self.hosts.serve(request.uri(), request.headers()) {
            let id = random_base64url::<9>(&*self.admin.randomness);
            return Refusal::UnknownHost.answer(&id);
        }
        let known = match request.uri().path() {
            "/livez" => Known::Live,
            "/readyz" => Known::Ready,
            "/metrics" => Known::Metrics,
            _ => {
                return if self.keys.is_empty() {
                    empty(StatusCode::NOT_FOUND)
                } else {
                    Box::pin(self.administer(&request)).await
                };
            }
        };
        if !reads(request.method()) {
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
    async fn administer(&self, request: &Request<Incoming>) -> Response<Body> {
        let id = random_base64url::<9>(&*self.admin.randomness);
        let mut answer = match self.administered(request, &id).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let (method, path) = (request.method(), request.uri().path());
                tracing::info!(
                    event = "admin.refused",
                    request.id = id,
                    method = method.as_str(),
                    path,
                    code = refusal.code(),
                    "administration refused"
                );
                refusal.answer(&id)
            }
        };
        if let Ok(id) = HeaderValue::try_from(id) {
            answer.headers_mut().insert(X_REQUEST_ID, id);
        }
        answer
    }

    async fn administered(
        &self,
        request: &Request<Incoming>,
        id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let (method, uri) = (request.method(), request.uri());
        // The page holds no data: it asks for the key, and then the API.
        let file = match uri.path() {
            "/" => Some(Asset::Page),
            "/admin.css" => Some(Asset::Style),
            "/admin.js" => Some(Asset::Script),
            _ => None,
        };
        if let Some(file) = file {
            return only_read(method).map(|()| file.answer());
        }
        // Without the key nobody learns what else there is.
        let who = self.keys.who_asks(request.headers());
        let by = who.ok_or(Refusal::Unauthorized)?;
        if is_foreign(request.headers(), uri) {
            return Err(Refusal::OriginNotAllowed);
        }
        let query = uri.query().unwrap_or_default();
        let administered = Administered {
            sessions: self.admin.sessions.everywhere(),
            by: Hand {
                name: by,
                request_id: id,
            },
        };
        match uri.path() {
            "/api/sessions" if reads(method) => administered.list(Asked::read(query)?).await,
            "/api/sessions" if method == Method::DELETE => {
                administered.end_all(Ending::read(query)?).await
            }
            "/api/sessions" => Err(Refusal::MethodNotAllowed(READ_OR_END)),
            "/api/sites" => only_read(method).map(|()| sites::answer(&*self.admin.sites)),
            "/api/stats" => {
                only_read(method)?;
                let Admin {
                    sessions,
                    metrics,
                    history,
                    ..
                } = &self.admin;
                Ok(stats::stats(sessions, metrics, history).await)
            }
            "/reload" if method == Method::POST => {
                let reload = Arc::clone(&self.admin.reload);
                let came = tokio::task::spawn_blocking(move || reload.reload()).await;
                reload::answer(came.map_err(|_| Refusal::BrokeOff)?)
            }
            "/reload" => Err(Refusal::MethodNotAllowed("POST")),
            "/api/openapi.json" => only_read(method).map(|()| Asset::Description.answer()),
            path => match path.strip_prefix("/api/sessions/") {
                Some(session) if reads(method) => administered.show(session).await,
                Some(session) if method == Method::DELETE => administered.end(session).await,
                Some(_) => Err(Refusal::MethodNotAllowed(READ_OR_END)),
                None => Err(Refusal::NotFound),
            },
        }
    }
}

const READ_OR_END: &str = "GET, HEAD, DELETE";

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn only_read(method: &Method) -> Result<(), Refusal> {
    if reads(method) {
        Ok(())
    } else {
        Err(Refusal::MethodNotAllowed("GET, HEAD"))
    }
}

/// Whether a page of another origin asks. The key travels in no cookie, so that nobody can forge a
/// request; a page that got hold of the key is refused all the same.
fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    match Sender::of(headers) {
        Sender::Ourselves | Sender::Person => return false,
        Sender::Sibling | Sender::Stranger | Sender::Unknown => return true,
        Sender::Unsaid => {}
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let own = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let theirs = origin.to_str().ok().and_then(|text| text.split_once("://"));
    // Another server may speak https before us, so the scheme says nothing.
    theirs.map(|(_, authority)| authority) != own
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

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    answer(
        status,
        Some("application/json"),
        Body::full(value.to_string()),
    )
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
