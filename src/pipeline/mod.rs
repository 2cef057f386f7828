//! The way of a request: `serving` lists its steps at the site that it is for.

pub mod access_log;
mod account;
mod call;
mod choosing;
pub mod context;
pub mod csrf;
pub mod developer;
pub mod endpoint;
mod endpoints;
pub mod error;
pub mod identity;
mod nobody;
pub mod own_headers;
mod pages;
mod refusal_log;
mod requirement;
mod serving;
mod sign_in;
pub mod site;
pub mod sites;
pub mod step_up;
pub mod tenancy;
mod told_of_session;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Randomness};
use crate::proxy::message::external_host;
use crate::proxy::upstream::Upstreams;
use crate::server::{Connection, Handler};
use crate::session::cookie::OpenedCookies;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::web::body::Body;
use crate::web::client_address::{Peer, TrustedProxies};
use crate::web::open_limits::OpenLimits;
use crate::web::repeats::Repeats;
use crate::web::strangers::Strangers;

use context::{Context, RequestIds, X_REQUEST_ID, given_id};
use developer::Audience;
use nobody::Stranger;
use site::Site;
use sites::Sites;

/// WebSockets open at once, over all workers (M6).
const MAX_SOCKETS: usize = 20_000;
/// WebSockets of one session open at once (M6).
const MAX_SOCKETS_PER_SESSION: usize = 100;
/// What all workers and all sites share: what is counted and limited for the process.
#[derive(Debug)]
pub struct Shared {
    trusted_proxies: TrustedProxies,
    audience: Audience,
    sockets: OpenLimits,
    websocket_ping: Option<Duration>,
    strangers: Strangers,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    /// Of failed logins, hosts and proxies that are not ours, on whichever worker.
    warnings: Repeats,
    /// Where requests are counted that reach nothing.
    other: RouteMetrics,
}

/// The parts that a [`Shared`] is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by their types")]
pub struct SharedParts {
    pub trusted_proxies: TrustedProxies,
    pub websocket_ping: Option<Duration>,
    pub strangers: Strangers,
    pub clock: Arc<dyn Clock>,
    pub randomness: Arc<dyn Randomness>,
    pub audience: Audience,
    pub metrics: Metrics,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(parts: SharedParts) -> Self {
        let SharedParts {
            trusted_proxies,
            websocket_ping,
            strangers,
            clock,
            randomness,
            audience,
            metrics,
        } = parts;
        Self {
            sockets: OpenLimits::new(MAX_SOCKETS, MAX_SOCKETS_PER_SESSION),
            websocket_ping,
            strangers,
            clock,
            randomness,
            warnings: Repeats::default(),
            trusted_proxies,
            audience,
            other: metrics.route("none"),
        }
    }

    /// How many WebSockets are open.
    pub fn open_sockets(&self) -> usize {
        self.sockets.count()
    }
}

/// Answers the requests of one worker.
#[derive(Debug)]
pub struct Pipeline {
    sites: Sites,
    shared: Arc<Shared>,
    upstreams: Upstreams,
    opened_cookies: OpenedCookies,
    request_ids: RequestIds,
    shutdown: CancellationToken,
}

impl Handler for Pipeline {
    async fn handle(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let id = self.request_id(&parts, connection.peer);
        let mut ctx = Context::new(connection, id);
        let host = external_host(&parts).unwrap_or_default();
        let (site, mut response) = match self.site_of(host, &parts) {
            Ok(site) => {
                let serving = Serving {
                    site: &site,
                    worker: self,
                };
                let response = serving.respond(host, &mut ctx, &parts, body).await;
                (Some(site), response)
            }
            Err(stranger) => (None, self.answer_stranger(stranger, &mut ctx, &parts)),
        };
        response
            .headers_mut()
            .insert(X_REQUEST_ID, ctx.request_id.clone());
        if ctx.counted.is_none() {
            ctx.counted = Some(self.shared.other.clone());
        }
        let site = site.as_deref().map(Site::id);
        let trusted = &self.shared.trusted_proxies;
        access_log::write(&ctx, site, &parts, &response, trusted);
        response
    }
}

impl Pipeline {
    /// The pipeline of one worker, with its own upstream connections.
    /// `shutdown` ends its WebSockets.
    pub fn new(
        sites: Sites,
        shared: Arc<Shared>,
        upstreams: Upstreams,
        randomness: Arc<dyn Randomness>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            sites,
            shared,
            upstreams,
            opened_cookies: OpenedCookies::default(),
            request_ids: RequestIds::new(randomness),
            shutdown,
        }
    }

    /// The site that a request is for. Before its path is looked at, so that a stranger's host learns
    /// nothing of our routes; the same answer with a session and without (I8).
    fn site_of(&self, host: &str, parts: &Parts) -> Result<Arc<Site>, Stranger> {
        match self.sites.at(host, parts.uri.path()) {
            Ok(site) => Ok(site),
            Err(absence) => self.meant(absence, host, parts),
        }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The id that a proxy before us gave the request, if we know the proxy, or one of ours.
    fn request_id(&self, parts: &Parts, peer: Peer) -> HeaderValue {
        let is_known = self.shared.trusted_proxies.trust_peer(peer);
        let given = is_known.then(|| given_id(&parts.headers)).flatten();
        given.unwrap_or_else(|| self.request_ids.next())
    }
}

/// One request while it is answered: at which site, by which worker.
#[derive(Debug, Clone, Copy)]
struct Serving<'a> {
    site: &'a Site,
    worker: &'a Pipeline,
}
