//! A call to a route: its proof that a page of ours makes it, its session and token, and the way upstream.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::auth::access_token::TokenError;
use crate::pipeline::Serving;
use crate::pipeline::context::Context;
use crate::pipeline::error::Refusal;
use crate::pipeline::{account, csrf};
use crate::proxy::forward::{Call, RequestBody};
use crate::proxy::path::RequestPath;
use crate::proxy::route::Route;
use crate::proxy::upgrade::{Handshake, HandshakeFault, Upgrade, is_websocket};
use crate::proxy::{CsrfCheck, RouteAuth};
use crate::session::Activity;
use crate::session::cookie::Presented;
use crate::session::record::Session;
use crate::session::store::Found;
use crate::web::body::Body;
use crate::web::ending::Ending;
use crate::web::strangers::{Demand, Turn};

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
/// The tag of the session that a page was made for.
const X_BFF_SESSION: HeaderName = HeaderName::from_static("x-bff-session");

impl Serving<'_> {
    pub(super) async fn answer_route(
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
