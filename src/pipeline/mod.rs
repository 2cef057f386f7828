//! One request, start to end. [`Serving::answer`] lists the steps in order; an early return is
//! an answer, and what was refused has reached no upstream.
//!
//! Head → host → path → endpoint or route → CSRF → cookie → session → live access token →
//! forward → one retry after an upstream's 401 → the answer's own headers → one log line.

pub mod access_log;
mod account;
mod choosing;
pub mod context;
pub mod csrf;
pub mod developer;
pub mod endpoint;
mod endpoints;
pub mod error;
mod nobody;
pub mod own_headers;
mod pages;
mod refusal_log;
mod sign_in;
pub mod site;
pub mod sites;

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;

use crate::auth::access_token::TokenError;
use crate::clock::{Clock, Randomness};
use crate::frontend::{Frontend, FrontendAnswer};
use crate::proxy::forward::{Call, RequestBody};
use crate::proxy::message::{check_request, external_host};
use crate::proxy::path::{PathFault, RequestPath};
use crate::proxy::route::Route;
use crate::proxy::upgrade::{Handshake, HandshakeFault, Upgrade, is_websocket};
use crate::proxy::upstream::Upstreams;
use crate::proxy::{CsrfCheck, RouteAuth};
use crate::server::{Connection, Handler};
use crate::session::Activity;
use crate::session::cookie::{OpenedCookies, Presented};
use crate::session::record::Session;
use crate::session::store::Found;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::web::body::Body;
use crate::web::client_address::{ClientAddress, Peer, TrustedProxies};
use crate::web::ending::Ending;
use crate::web::navigation::Arrival;
use crate::web::open_limits::OpenLimits;
use crate::web::repeats::Repeats;
use crate::web::strangers::{Demand, Source, Strangers, Turn};

use context::{Context, RequestIds, X_REQUEST_ID, given_id};
use developer::Audience;
use error::{Refusal, RefusedRequest};
use sign_in::may_begin_login;
use site::{Destination, Site};
use sites::Sites;

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
/// The tag of the session that a page was made for.
const X_BFF_SESSION: HeaderName = HeaderName::from_static("x-bff-session");

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
            audience,
            metrics,
        } = parts;
        Self {
            sockets: OpenLimits::new(MAX_SOCKETS, MAX_SOCKETS_PER_SESSION),
            websocket_ping,
            strangers,
            clock,
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
            Err(refusal) => (None, self.refuse_stranger(&refusal, &mut ctx, &parts)),
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
    fn site_of(&self, host: &str, parts: &Parts) -> Result<Arc<Site>, Refusal> {
        match self.sites.at(host, parts.uri.path()) {
            Some(site) => Ok(site),
            None => self.meant(host, parts),
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

impl Serving<'_> {
    async fn respond(
        self,
        host: &str,
        ctx: &mut Context,
        parts: &Parts,
        body: Incoming,
    ) -> Response<Body> {
        let mut response = match self.answer(host, ctx, parts, body).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(&refusal, ctx, parts),
        };
        if let Some(presented) = ctx.presented
            && ctx.in_session
            && self.site.relying_party.session_cookie().carries_sessions()
        {
            let sessions = self.site.relying_party.session_endpoints();
            sessions.renew_cookie(parts, presented, &mut response);
        }
        response
    }

    /// A browser takes the connection that it has to one host for others too, where it thinks that it
    /// may (RFC 9113 §9.1.1). One whose certificate is not for the host is to be left for another (RFC
    /// 9110 §15.5.20). A proxy that we know is let alone: the browser sees its certificate, not ours.
    fn check_connection(&self, host: &str, connection: &Connection) -> Result<(), Refusal> {
        let worker = self.worker;
        let is_misdirected = !connection.covers(host)
            && worker.sites.serve(host)
            && !worker.shared.trusted_proxies.trust_peer(connection.peer);
        if is_misdirected {
            return Err(Refusal::Misdirected);
        }
        Ok(())
    }

    fn refuse(self, refusal: &Refusal, ctx: &mut Context, parts: &Parts) -> Response<Body> {
        ctx.code = Some(refusal.code());
        let answer = error::answer(refusal, ctx, &self.refused(parts));
        self.site.own_headers.on_ours(answer)
    }

    async fn answer(
        &self,
        host: &str,
        ctx: &mut Context,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let site = self.site;
        check_request(parts)?;
        self.check_connection(host, &ctx.connection)?;
        let path = match site.path(parts.uri.path()) {
            Ok(path) => path,
            Err(fault) => return Box::pin(self.answer_odd_path(fault, ctx, parts)).await,
        };
        if site.may_be_a_neighbours(&path) {
            return Err(PathFault::TwoRoutes.into());
        }
        // Ours, whatever the route would say: a preflight is answered here (H4).
        if csrf::is_preflight(parts) {
            return Ok(preflight());
        }
        match site.destination(host, &parts.method, &path) {
            Destination::Endpoint(endpoint, of) => {
                ctx.counted = site.metrics.endpoint(endpoint);
                ctx.in_session = true;
                // In a box, like every way that few requests take: a request's future is moved
                // several times, with all the room that its longest way needs.
                let answer = Box::pin(self.answer_endpoint((endpoint, of), ctx, parts, body)).await;
                answer.map(|response| site.own_headers.on_ours(response))
            }
            Destination::Route(route) => {
                ctx.counted = site.metrics.routes.get(route.index()).cloned();
                ctx.in_session = route.settings().auth != RouteAuth::None;
                match self.answer_route(route, &path, ctx, parts, body).await {
                    // A person on the way to a page is sent to sign in, wherever on the way it turned
                    // out that there is no session; a script is told (B10).
                    Err(refusal) if refusal.needs_login() && may_begin_login(route, parts) => {
                        let answer = Box::pin(self.login_for_page(ctx, parts, &path)).await;
                        answer.map(|response| site.own_headers.on_ours(response))
                    }
                    Ok(mut response) => {
                        site.own_headers.on_upstreams(route, &mut response);
                        Ok(response)
                    }
                    refused @ Err(_) => refused,
                }
            }
            Destination::CallbackOfNobody => {
                Err(site.relying_party.logins().callback_of_nobody().into())
            }
            Destination::RouteRefuses(_, fault) => Err(fault.into()),
            Destination::MethodNotAllowed(allow) => Err(Refusal::MethodNotAllowed(allow)),
            Destination::Files(frontend) => {
                Box::pin(self.answer_file(frontend, &path, ctx, parts)).await
            }
            Destination::OddPath(fault) => Box::pin(self.answer_odd_path(fault, ctx, parts)).await,
            Destination::Nothing => Err(Refusal::NoRoute),
        }
    }

    async fn answer_file(
        &self,
        frontend: &Frontend,
        path: &RequestPath,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        ctx.counted = Some(self.site.metrics.frontend.clone());
        let turn = self.turn(Demand::File, self.source(ctx, parts))?;
        match frontend.answer(parts, path.as_str()).await {
            FrontendAnswer::Answer(file) => {
                let file = account::held(file, turn, parts.version);
                Ok(self.site.own_headers.on_ours(file))
            }
            FrontendAnswer::NotFound => Err(Refusal::NoRoute),
        }
    }

    /// A path that two readers could take for two is refused, unless there is one reader only: the
    /// app, which draws a page for it, where nobody could find a route or an endpoint in it.
    async fn answer_odd_path(
        &self,
        fault: PathFault,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        let site = self.site;
        if let Some(frontend) = site.page_for(parts.uri.path()) {
            let turn = self.turn(Demand::File, self.source(ctx, parts))?;
            if let FrontendAnswer::Answer(page) = frontend.page(parts).await {
                ctx.counted = Some(site.metrics.frontend.clone());
                let page = account::held(page, turn, parts.version);
                return Ok(site.own_headers.on_ours(page));
            }
        }
        Err(fault.into())
    }

    async fn answer_route(
        &self,
        route: &Route,
        path: &RequestPath,
        ctx: &mut Context,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let site = self.site;
        // A worker stands between every page of ours and us, for as long as it likes (I11).
        if !route.settings().service_worker && parts.headers.contains_key(SERVICE_WORKER) {
            return Err(Refusal::ServiceWorker);
        }
        // Before the session is looked for and the body read (H5). A page cannot add a header to a
        // WebSocket: there the handshake's Origin speaks (M1).
        let handshake = if route.settings().websocket && is_websocket(parts) {
            if route.settings().csrf.is_some() {
                csrf::check_websocket(&parts.headers, &site.public).map_err(Refusal::Csrf)?;
            }
            Some(Handshake::check(parts)?)
        } else {
            if let Some(check) = route.settings().csrf
                && let Err(fault) = csrf::check(check, parts, &site.public)
                && !self.is_anybodys(route, ctx, parts)
            {
                return Err(Refusal::Csrf(fault));
            }
            None
        };
        let signed_in = self.signed_in(route, ctx, parts).await?;
        let client = self.client(ctx, parts);
        let turn = match signed_in {
            Some(_) => None,
            None => Some(self.turn(Demand::Call, client.address())?),
        };
        let call = |(authorization, ending), body| Call {
            route,
            parts,
            body,
            path,
            authorization,
            client: &client,
            public: &site.public,
            request_id: &ctx.request_id,
            strip: &site.strip_cookies,
            ending,
        };
        if let Some(handshake) = &handshake {
            let call = call(SignedIn::adds(signed_in.as_ref()), RequestBody::Empty);
            let session = signed_in.as_ref().map(|signed_in| &*signed_in.session);
            return Box::pin(self.open_socket(call, handshake, session, turn)).await;
        }
        let replayable = body.is_end_stream() && parts.method.is_idempotent();
        let call_now = call(SignedIn::adds(signed_in.as_ref()), body.into());
        let response = self.worker.upstreams.forward(call_now).await?;
        if let Some(counted) = &ctx.counted {
            counted.upstream_answered(ctx.started.elapsed());
        }
        if let Some(turn) = turn {
            return Ok(account::held(response, turn, parts.version));
        }
        let Some(refused) = &signed_in else {
            return Ok(response);
        };
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // The upstream refuses the token: once, another may please it better (I13). A call that may
        // not be repeated learns at least whether its session is over.
        match Box::pin(self.after_refusal(route, refused)).await? {
            Retry::As(better) if replayable => {
                let call = call(SignedIn::adds(better.as_ref()), RequestBody::Empty);
                let again = Box::pin(self.worker.upstreams.forward(call));
                if better.is_some() {
                    return Ok(again.await?);
                }
                let turn = self.turn(Demand::Call, client.address())?;
                Ok(account::held(again.await?, turn, parts.version))
            }
            Retry::As(_) | Retry::No => Ok(response),
        }
    }

    async fn open_socket(
        &self,
        call: Call<'_>,
        handshake: &Handshake,
        session: Option<&Session>,
        turn: Option<Turn>,
    ) -> Result<Response<Body>, Refusal> {
        let shared = self.worker.shared();
        let permit = shared
            .sockets
            .take(session.map(|session| &*session.details.tag))?;
        let stranger = match turn {
            None => None,
            Some(turn) => {
                let now = shared.clock.now();
                let socket = shared
                    .strangers
                    .hold(Demand::Socket, call.client.address(), now);
                Some([turn, socket.map_err(Refusal::StrangersSockets)?])
            }
        };
        // Only a connection that cannot become a tunnel has none: HTTP/2.
        let browser = call.parts.extensions.get::<OnUpgrade>().cloned();
        let upgrade = Upgrade {
            handshake,
            browser: browser.ok_or(HandshakeFault::Malformed)?,
            permit,
            stranger,
            ping: shared.websocket_ping,
            shutdown: self.worker.shutdown.clone(),
        };
        Ok(self.worker.upstreams.upgrade(call, upgrade).await?)
    }

    fn client(&self, ctx: &Context, parts: &Parts) -> ClientAddress {
        let trusted = &self.worker.shared.trusted_proxies;
        ClientAddress::resolve(ctx.connection.peer, &parts.headers, trusted)
    }

    /// On whose account a stranger's request goes.
    fn source(&self, ctx: &Context, parts: &Parts) -> Source {
        self.client(ctx, parts).address().into()
    }

    /// The session cookie that the request presents; its values are tried once, whoever asks again.
    fn presented(&self, ctx: &mut Context, parts: &Parts) -> Presented {
        *ctx.presented.get_or_insert_with(|| {
            let cookie = self.site.relying_party.session_cookie();
            cookie.read(&parts.headers, &self.worker.opened_cookies)
        })
    }

    /// The session that a route's calls are made in and its live token, where the route has any use
    /// for one.
    async fn signed_in(
        &self,
        route: &Route,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Result<Option<SignedIn>, Refusal> {
        let needed = match route.settings().auth {
            RouteAuth::None => return Ok(None),
            RouteAuth::Optional => false,
            RouteAuth::Required => true,
        };
        let nobody = |refusal| if needed { Err(refusal) } else { Ok(None) };
        let Presented::Session(cookie) = self.presented(ctx, parts) else {
            return nobody(Refusal::LoginRequired);
        };
        let relying_party = &self.site.relying_party;
        let sessions = relying_party.sessions();
        let found = sessions.find_for(&cookie, || {
            let of_the_route = route.settings().activity;
            of_the_route.and(Activity::said_by(&parts.headers))
        });
        let session = match found.await? {
            Found::Live(session) => session,
            Found::Ended(reason) => return nobody(Refusal::Ended(Some(reason))),
            Found::Nothing => return nobody(Refusal::Ended(None)),
        };
        ctx.session = Some(Arc::clone(&session));
        check_session_of_page(&parts.headers, &session)?;
        match self.site.of(&session).tokens().bearer(&session).await {
            Ok(bearer) => Ok(Some(SignedIn { session, bearer })),
            // As if it had been found so.
            Err(TokenError::SessionEnded(reason)) => nobody(Refusal::Ended(Some(reason))),
            Err(error) => Err(Refusal::Token(error)),
        }
    }

    /// Whether a page is open to whoever comes and nothing can be forged with this request: a crawler's
    /// or a program's, that reads, does not say from where, and has no session (H7).
    fn is_anybodys(&self, route: &Route, ctx: &mut Context, parts: &Parts) -> bool {
        let settings = route.settings();
        settings.auth == RouteAuth::Optional
            && settings.csrf == Some(CsrfCheck::Origin)
            && csrf::reads_and_says_nothing(parts)
            && self.presented(ctx, parts) == Presented::Nothing
    }

    /// As whom a call is made once more whose token an upstream refused.
    async fn after_refusal(&self, route: &Route, refused: &SignedIn) -> Result<Retry, Refusal> {
        let SignedIn { session, bearer } = refused;
        let tokens = self.site.of(session).tokens();
        match tokens.after_refusal(session, bearer).await {
            Ok(Some(bearer)) => Ok(Retry::As(Some(SignedIn {
                session: Arc::clone(session),
                bearer,
            }))),
            Ok(None) => Ok(Retry::No),
            Err(TokenError::SessionEnded(reason)) => match route.settings().auth {
                RouteAuth::Required => Err(Refusal::Ended(Some(reason))),
                RouteAuth::Optional | RouteAuth::None => Ok(Retry::As(None)),
            },
            Err(error) => Err(Refusal::Token(error)),
        }
    }

    fn refused<'a>(&'a self, parts: &Parts) -> RefusedRequest<'a> {
        let relying_party = &*self.site.relying_party;
        let arrival = Arrival::of(&parts.headers);
        RefusedRequest {
            site: Some(&self.site.id),
            relying_party: Some(relying_party),
            version: parts.version,
            arrival,
            audience: self.worker.shared.audience,
            return_to: arrival.is_seen().then(|| self.place_of(parts)).flatten(),
            home: arrival.is_seen().then(|| self.home(parts)).flatten(),
            window: self.window_of(parts),
            error_page: self.site.error_page.as_ref(),
            warnings: &self.worker.shared.warnings,
            now: relying_party.now(),
        }
    }
}

/// In whose session a call is made, and with which token.
#[derive(Debug)]
struct SignedIn {
    session: Arc<Session>,
    bearer: HeaderValue,
}

impl SignedIn {
    /// What this adds to a call: the credential, and the end that ends it.
    fn adds(signed_in: Option<&Self>) -> (Option<&HeaderValue>, Option<Ending>) {
        let ending = signed_in.map(|signed_in| signed_in.session.ending.clone());
        (signed_in.map(|signed_in| &signed_in.bearer), ending)
    }
}

/// Whether a call is made once more.
enum Retry {
    /// As somebody, or as nobody where that will do.
    As(Option<SignedIn>),
    No,
}

/// A page that was made for one session must not act in another: its user may have changed in
/// another tab. Before anything goes upstream.
fn check_session_of_page(headers: &HeaderMap, session: &Session) -> Result<(), Refusal> {
    let mut tags = headers.get_all(X_BFF_SESSION).iter();
    if tags.all(|tag| tag.as_bytes() == session.details.tag.as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::UserChanged)
    }
}

/// No other origin may call: the browser finds no permission in this answer and gives up (H4).
fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Origin"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(
        ALLOW,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
    );
    response
}
