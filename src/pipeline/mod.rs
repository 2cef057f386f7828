//! One request, start to end. [`Pipeline::answer`] lists the steps in order; an early return is
//! an answer, and what was refused has reached no upstream.
//!
//! Head → host → path → endpoint or route → CSRF → cookie → session → live access token →
//! forward → one retry after an upstream's 401 → the answer's own headers → one log line.

pub mod access_log;
mod account;
pub mod context;
pub mod csrf;
pub mod developer;
pub mod endpoint;
mod endpoints;
pub mod error;
pub mod own_headers;
mod pages;
mod refusal_log;
mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;

use crate::auth::RelyingParty;
use crate::auth::access_token::TokenError;
use crate::clock::{Clock, Randomness};
use crate::frontend::{ErrorPage, Frontend, FrontendAnswer};
use crate::proxy::forward::{Call, RequestBody};
use crate::proxy::message::{check_request, external_host};
use crate::proxy::path::{PathFault, PathRules, RequestPath};
use crate::proxy::route::{Route, RouteMatch, RouteTable};
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
use crate::web::client_address::{ClientAddress, TrustedProxies};
use crate::web::cookie_names::CookieNames;
use crate::web::ending::Ending;
use crate::web::navigation::Arrival;
use crate::web::open_limits::OpenLimits;
use crate::web::public_origin::PublicOrigin;
use crate::web::repeats::Repeats;
use crate::web::strangers::{Demand, Source, Strangers, Turn};

use context::{Context, RequestIds, X_REQUEST_ID, given_id};
use developer::Audience;
use endpoint::{Endpoint, UnderBase};
use error::{Refusal, Site};
use own_headers::OwnHeaders;
use sign_in::may_begin_login;

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
/// The tag of the session that a page was made for.
const X_BFF_SESSION: HeaderName = HeaderName::from_static("x-bff-session");

/// WebSockets open at once, over all workers (M6).
const MAX_SOCKETS: usize = 20_000;
/// WebSockets of one session open at once (M6).
const MAX_SOCKETS_PER_SESSION: usize = 100;
/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    relying_party: Arc<RelyingParty>,
    routes: RouteTable,
    frontend: Option<Frontend>,
    error_page: Option<ErrorPage>,
    public: PublicOrigin,
    trusted_proxies: TrustedProxies,
    /// What the paths of the app's files may hold.
    path_rules: PathRules,
    own_headers: OwnHeaders,
    audience: Audience,
    strip_cookies: CookieNames,
    sockets: OpenLimits,
    websocket_ping: Option<Duration>,
    strangers: Strangers,
    clock: Arc<dyn Clock>,
    /// Of failed logins, hosts and proxies that are not ours, on whichever worker.
    warnings: Repeats,
    metrics: SharedMetrics,
}

/// The parts that a [`Shared`] is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by their types")]
pub struct SharedParts {
    pub relying_party: Arc<RelyingParty>,
    pub routes: RouteTable,
    pub frontend: Option<Frontend>,
    pub error_page: Option<ErrorPage>,
    pub public: PublicOrigin,
    pub trusted_proxies: TrustedProxies,
    pub websocket_ping: Option<Duration>,
    pub strangers: Strangers,
    pub clock: Arc<dyn Clock>,
    pub path_rules: PathRules,
    pub own_headers: OwnHeaders,
    pub audience: Audience,
    pub metrics: Metrics,
}

#[derive(Debug)]
struct SharedMetrics {
    routes: Vec<RouteMetrics>,
    endpoints: Vec<(Endpoint, RouteMetrics)>,
    frontend: RouteMetrics,
    other: RouteMetrics,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(parts: SharedParts) -> Self {
        let SharedParts {
            relying_party,
            routes,
            frontend,
            error_page,
            public,
            trusted_proxies,
            websocket_ping,
            strangers,
            clock,
            path_rules,
            own_headers,
            audience,
            metrics,
        } = parts;
        let base_path = &relying_party.settings().base_path;
        let metrics = SharedMetrics {
            routes: routes
                .routes()
                .map(|route| metrics.route(&route.settings().name))
                .collect(),
            endpoints: Endpoint::ALL
                .into_iter()
                .map(|(endpoint, path)| (endpoint, metrics.route(&format!("{base_path}{path}"))))
                .collect(),
            frontend: metrics.route("frontend"),
            other: metrics.route("none"),
        };
        Self {
            strip_cookies: relying_party.session_cookie().settings().derived_names(),
            sockets: OpenLimits::new(MAX_SOCKETS, MAX_SOCKETS_PER_SESSION),
            websocket_ping,
            strangers,
            clock,
            warnings: Repeats::default(),
            relying_party,
            routes,
            frontend,
            error_page,
            public,
            trusted_proxies,
            path_rules,
            own_headers,
            audience,
            metrics,
        }
    }
}

impl Shared {
    /// How many event streams and WebSockets are open.
    pub fn open(&self) -> (usize, usize) {
        (self.relying_party.open_streams(), self.sockets.count())
    }
}

/// Answers the requests of one worker.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    upstreams: Upstreams,
    opened_cookies: OpenedCookies,
    request_ids: RequestIds,
    shutdown: CancellationToken,
}

impl Handler for Pipeline {
    async fn handle(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let id = self.request_id(&parts, connection);
        let mut ctx = Context::new(connection, id);
        let mut response = match self.answer(&mut ctx, &parts, body).await {
            Ok(response) => response,
            Err(refusal) => {
                ctx.code = Some(refusal.code());
                let answer = error::answer(&refusal, &ctx, &self.site(&parts));
                self.shared.own_headers.on_ours(answer)
            }
        };
        if let Some(presented) = ctx.presented
            && ctx.in_session
            && self.shared.relying_party.cookie_carries_sessions()
        {
            self.shared
                .relying_party
                .renew_cookie(&parts, presented, &mut response);
        }
        response
            .headers_mut()
            .insert(X_REQUEST_ID, ctx.request_id.clone());
        if ctx.counted.is_none() {
            ctx.counted = Some(self.shared.metrics.other.clone());
        }
        access_log::write(&ctx, &parts, &response, &self.shared.trusted_proxies);
        response
    }
}

impl Pipeline {
    /// The pipeline of one worker, with its own upstream connections.
    /// `shutdown` ends its WebSockets.
    pub fn new(
        shared: Arc<Shared>,
        upstreams: Upstreams,
        randomness: Arc<dyn Randomness>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            shared,
            upstreams,
            opened_cookies: OpenedCookies::default(),
            request_ids: RequestIds::new(randomness),
            shutdown,
        }
    }

    async fn answer(
        &self,
        ctx: &mut Context,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let shared = &*self.shared;
        check_request(parts)?;
        // Before the path is looked at, so that a stranger's host learns nothing of our routes;
        // the same answer with a session and without (I8).
        let host = external_host(parts).unwrap_or_default();
        if !shared.serves(host) && !shared.is_the_provider_within(host, parts) {
            return Err(Refusal::UnknownHost(host.into()));
        }
        let path = match RequestPath::parse(parts.uri.path(), shared.path_rules()) {
            Ok(path) => path,
            Err(fault) => return Box::pin(self.answer_odd_path(fault, ctx, parts)).await,
        };
        // Ours, whatever the route would say: a preflight is answered here (H4).
        if csrf::is_preflight(parts) {
            return Ok(preflight());
        }
        let base_path = &shared.relying_party.settings().base_path;
        match UnderBase::at(path.as_str(), base_path) {
            UnderBase::Endpoint(endpoint) => {
                ctx.counted = shared.metrics.endpoint(endpoint);
                ctx.in_session = true;
                // In a box, like every way that few requests take: a request's future is moved
                // several times, with all the room that its longest way needs.
                let answer = Box::pin(self.answer_endpoint(endpoint, ctx, parts, body)).await;
                return answer.map(|response| shared.own_headers.on_ours(response));
            }
            UnderBase::Nothing => return Err(Refusal::NoRoute),
            UnderBase::Outside => {}
        }
        match shared.routes.find(host, &parts.method, &path) {
            RouteMatch::Found(route) => {
                shared.routes.check(route, &path, base_path)?;
                ctx.counted = shared.metrics.routes.get(route.index()).cloned();
                ctx.in_session = route.settings().auth != RouteAuth::None;
                match self.answer_route(route, &path, ctx, parts, body).await {
                    // A person on the way to a page is sent to sign in, wherever on the way it turned
                    // out that there is no session; a script is told (B10).
                    Err(refusal) if refusal.needs_login() && may_begin_login(route, parts) => {
                        let answer = Box::pin(self.login_for_page(ctx, parts, &path)).await;
                        answer.map(|response| shared.own_headers.on_ours(response))
                    }
                    Ok(mut response) => {
                        shared.own_headers.on_upstreams(route, &mut response);
                        Ok(response)
                    }
                    refused @ Err(_) => refused,
                }
            }
            RouteMatch::MethodNotAllowed(allow) => Err(Refusal::MethodNotAllowed(allow)),
            RouteMatch::NoRoute => {
                let Some(frontend) = &shared.frontend else {
                    return Err(Refusal::NoRoute);
                };
                if let Err(fault) = path.check(shared.path_rules) {
                    return Box::pin(self.answer_odd_path(fault, ctx, parts)).await;
                }
                ctx.counted = Some(shared.metrics.frontend.clone());
                let turn = self.turn(Demand::File, self.source(ctx, parts))?;
                match Box::pin(frontend.answer(parts, path.as_str())).await {
                    FrontendAnswer::Answer(file) => {
                        let file = account::held(file, turn, parts.version);
                        Ok(shared.own_headers.on_ours(file))
                    }
                    FrontendAnswer::NotFound => Err(Refusal::NoRoute),
                }
            }
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
        let shared = &*self.shared;
        let base_path = &shared.relying_party.settings().base_path;
        if let Some(frontend) = &shared.frontend
            && !shared.routes.may_serve(parts.uri.path(), base_path)
        {
            let turn = self.turn(Demand::File, self.source(ctx, parts))?;
            if let FrontendAnswer::Answer(page) = frontend.page(parts).await {
                ctx.counted = Some(shared.metrics.frontend.clone());
                let page = account::held(page, turn, parts.version);
                return Ok(shared.own_headers.on_ours(page));
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
        let shared = &*self.shared;
        // A worker stands between every page of ours and us, for as long as it likes (I11).
        if !route.settings().service_worker && parts.headers.contains_key(SERVICE_WORKER) {
            return Err(Refusal::ServiceWorker);
        }
        // Before the session is looked for and the body read (H5). A page cannot add a header to a
        // WebSocket: there the handshake's Origin speaks (M1).
        let handshake = if route.settings().websocket && is_websocket(parts) {
            if route.settings().csrf.is_some() {
                csrf::check_websocket(&parts.headers, &shared.public).map_err(Refusal::Csrf)?;
            }
            Some(Handshake::check(parts)?)
        } else {
            if let Some(check) = route.settings().csrf
                && let Err(fault) = csrf::check(check, parts, &shared.public)
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
            public: &shared.public,
            request_id: &ctx.request_id,
            strip: &shared.strip_cookies,
            ending,
        };
        if let Some(handshake) = &handshake {
            let call = call(SignedIn::adds(signed_in.as_ref()), RequestBody::Empty);
            let session = signed_in.as_ref().map(|signed_in| &*signed_in.session);
            return Box::pin(self.open_socket(call, handshake, session, turn)).await;
        }
        let replayable = body.is_end_stream() && parts.method.is_idempotent();
        let call_now = call(SignedIn::adds(signed_in.as_ref()), body.into());
        let response = self.upstreams.forward(call_now).await?;
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
                let again = Box::pin(self.upstreams.forward(call));
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
        let shared = &*self.shared;
        let permit = shared.sockets.take(session.map(|session| &*session.tag))?;
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
            shutdown: self.shutdown.clone(),
        };
        Ok(self.upstreams.upgrade(call, upgrade).await?)
    }

    /// The id that a proxy before us gave the request, if we know the proxy, or one of ours.
    fn request_id(&self, parts: &Parts, connection: Connection) -> HeaderValue {
        let is_known = self.shared.trusted_proxies.trust_peer(connection.peer);
        let given = is_known.then(|| given_id(&parts.headers)).flatten();
        given.unwrap_or_else(|| self.request_ids.next())
    }

    fn client(&self, ctx: &Context, parts: &Parts) -> ClientAddress {
        let trusted = &self.shared.trusted_proxies;
        ClientAddress::resolve(ctx.connection.peer, &parts.headers, trusted)
    }

    /// On whose account a stranger's request goes.
    fn source(&self, ctx: &Context, parts: &Parts) -> Source {
        self.client(ctx, parts).address().into()
    }

    /// The session cookie that the request presents; its values are tried once, whoever asks again.
    fn presented(&self, ctx: &mut Context, parts: &Parts) -> Presented {
        *ctx.presented.get_or_insert_with(|| {
            let cookie = self.shared.relying_party.session_cookie();
            cookie.read(&parts.headers, &self.opened_cookies)
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
        let relying_party = &self.shared.relying_party;
        let sessions = relying_party.sessions();
        let found = sessions.find_for(&cookie, || {
            let of_the_route = route.settings().activity;
            of_the_route.and(Activity::said_by(&parts.headers))
        });
        let session = match found.await? {
            Found::Live(session) => session,
            Found::Ended(reason) => return nobody(Refusal::ended(Some(reason))),
            Found::Nothing => return nobody(Refusal::ended(None)),
        };
        ctx.session = Some(Arc::clone(&session));
        check_session_of_page(&parts.headers, &session)?;
        match relying_party.tokens().bearer(&session).await {
            Ok(bearer) => Ok(Some(SignedIn { session, bearer })),
            // As if it had been found so.
            Err(TokenError::SessionEnded(reason)) => nobody(Refusal::ended(Some(reason))),
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
        let tokens = self.shared.relying_party.tokens();
        match tokens.after_refusal(session, bearer).await {
            Ok(Some(bearer)) => Ok(Retry::As(Some(SignedIn {
                session: Arc::clone(session),
                bearer,
            }))),
            Ok(None) => Ok(Retry::No),
            Err(TokenError::SessionEnded(reason)) => match route.settings().auth {
                RouteAuth::Required => Err(Refusal::ended(Some(reason))),
                RouteAuth::Optional | RouteAuth::None => Ok(Retry::As(None)),
            },
            Err(error) => Err(Refusal::Token(error)),
        }
    }

    fn site<'a>(&'a self, parts: &Parts) -> Site<'a> {
        let relying_party = &*self.shared.relying_party;
        let arrival = Arrival::of(&parts.headers);
        Site {
            relying_party,
            version: parts.version,
            arrival,
            audience: self.shared.audience,
            return_to: arrival.is_seen().then(|| self.place_of(parts)).flatten(),
            home: arrival.is_seen().then(|| self.home(parts)).flatten(),
            window: self.window_of(parts),
            error_page: self.shared.error_page.as_ref(),
            warnings: &self.shared.warnings,
            now: relying_party.now(),
            session_cookie: relying_party.session_cookie(),
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

impl Shared {
    /// What a path may hold for anybody here to take it.
    fn path_rules(&self) -> PathRules {
        self.path_rules.or(self.routes.path_rules())
    }

    /// Whether requests for this host are answered: the public one, and those that routes name.
    fn serves(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(self.public.host()) || self.routes.names_host(host)
    }
}

impl Shared {
    /// Whether this is the back channel of a provider that has another name for us, as we have for it.
    /// Any other that was given another address of ours than the public one would sign nobody out, and
    /// nobody would know why.
    fn is_the_provider_within(&self, host: &str, parts: &Parts) -> bool {
        let base_path = &self.relying_party.settings().base_path;
        let wanted = UnderBase::at(parts.uri.path(), base_path);
        let is_back_channel = parts.method == Method::POST
            && wanted == UnderBase::Endpoint(Endpoint::BackchannelLogout);
        if is_back_channel && !self.relying_party.is_called_by_any_name() {
            self.relying_party.backchannel_logout_elsewhere(host);
            return false;
        }
        is_back_channel
    }
}

impl SharedMetrics {
    fn endpoint(&self, endpoint: Endpoint) -> Option<RouteMetrics> {
        self.endpoints
            .iter()
            .find(|(own, _)| *own == endpoint)
            .map(|(_, metrics)| metrics.clone())
    }
}

/// A page that was made for one session must not act in another: its user may have changed in
/// another tab. Before anything goes upstream.
fn check_session_of_page(headers: &HeaderMap, session: &Session) -> Result<(), Refusal> {
    let mut tags = headers.get_all(X_BFF_SESSION).iter();
    if tags.all(|tag| tag.as_bytes() == session.tag.as_bytes()) {
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
