//! One request, start to end. [`Serving::answer`] lists the steps in order; an early return is
//! an answer, and what was refused has reached no upstream.
//!
//! Head → host → path → endpoint or route → CSRF → cookie → session → live access token →
//! forward → one retry after an upstream's 401 → the answer's own headers → one log line.

use http::header::{ALLOW, CACHE_CONTROL, VARY};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use crate::frontend::{Frontend, FrontendAnswer};
use crate::pipeline::context::Context;
use crate::pipeline::error::{self, Refusal, RefusedRequest};
use crate::pipeline::sign_in::may_begin_login;
use crate::pipeline::site::Destination;
use crate::pipeline::{Serving, account, csrf};
use crate::proxy::RouteAuth;
use crate::proxy::message::check_request;
use crate::proxy::path::{PathFault, RequestPath};
use crate::server::Connection;
use crate::session::cookie::Presented;
use crate::web::body::Body;
use crate::web::client_address::ClientAddress;
use crate::web::navigation::Arrival;
use crate::web::strangers::{Demand, Source};

impl Serving<'_> {
    pub(super) async fn respond(
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

    pub(super) fn refuse(
        self,
        refusal: &Refusal,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Response<Body> {
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
                let file = account::held(file, Some(turn), parts.version);
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
                let page = account::held(page, Some(turn), parts.version);
                return Ok(site.own_headers.on_ours(page));
            }
        }
        Err(fault.into())
    }

    pub(super) fn client(&self, ctx: &Context, parts: &Parts) -> ClientAddress {
        let trusted = &self.worker.shared.trusted_proxies;
        ClientAddress::resolve(ctx.connection.peer, &parts.headers, trusted)
    }

    /// On whose account a stranger's request goes.
    pub(super) fn source(&self, ctx: &Context, parts: &Parts) -> Source {
        self.client(ctx, parts).address().into()
    }

    /// The session cookie that the request presents; its values are tried once, whoever asks again.
    pub(super) fn presented(&self, ctx: &mut Context, parts: &Parts) -> Presented {
        *ctx.presented.get_or_insert_with(|| {
            let cookie = self.site.relying_party.session_cookie();
            cookie.read(&parts.headers, &self.worker.opened_cookies)
        })
    }

    pub(super) fn refused<'a>(&'a self, parts: &Parts) -> RefusedRequest<'a> {
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
