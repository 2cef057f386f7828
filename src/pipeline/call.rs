//! A call to a route: its proof that a page of ours makes it, its session and token, and the way upstream.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::auth::access_token::{LiveToken, TokenError};
use crate::auth::client_tokens::ClientTokens;
use crate::auth::return_to::ReturnTo;
use crate::pipeline::Serving;
use crate::pipeline::context::Context;
use crate::pipeline::error::Refusal;
use crate::pipeline::requirement::Unmet;
use crate::pipeline::step_up::StepUp;
use crate::pipeline::{account, csrf, requirement, told_of_session};
use crate::proxy::forward::{Call, RequestBody};
use crate::proxy::path::RequestPath;
use crate::proxy::route::Route;
use crate::proxy::upgrade::{Handshake, HandshakeFault, Upgrade, is_websocket};
use crate::proxy::{CsrfCheck, RouteAuth, RouteSettings};
use crate::session::Activity;
use crate::session::cookie::Presented;
use crate::session::record::Session;
use crate::session::store::Found;
use crate::web::body::Body;
use crate::web::ending::Ending;
use crate::web::navigation::is_page_load;
use crate::web::proof::Proving;
use crate::web::requirement::Requirement;
use crate::web::strangers::{Demand, Turn};
use crate::web::token_spec::RouteToken;

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
        let caller = self.caller(route, ctx, parts).await?;
        let told = self.told_of(route, &caller);
        let client = self.client(ctx, parts);
        let turn = match caller.session {
            Some(_) => None,
            None => Some(self.turn(Demand::Call, client.address())?),
        };
        let proving = self.proving(&caller);
        let call = |(authorization, ending), body| Call {
            proving: proving.as_ref(),
            route,
            parts,
            body,
            path,
            authorization,
            told: &told,
            client: &client,
            public: &site.public,
            request_id: &ctx.request_id,
            strip: &site.strip_cookies,
            ending,
        };
        if let Some(handshake) = &handshake {
            let call = call(caller.adds(), RequestBody::Empty);
            let session = caller.session.as_deref();
            return Box::pin(self.open_socket(call, handshake, session, turn)).await;
        }
        let replayable = body.is_end_stream() && parts.method.is_idempotent();
        let call_now = call(caller.adds(), body.into());
        let response = self.worker.upstreams.forward(call_now).await?;
        if let Some(counted) = &ctx.counted {
            counted.upstream_answered(ctx.started.elapsed());
        }
        if caller.token.is_none() || response.status() != StatusCode::UNAUTHORIZED {
            return Ok(account::held(response, turn, parts.version));
        }
        // It asks for another login, and no other token of this one will do (K1). What it says of a token of
        // ours is not the user's to mend.
        if caller.shows_the_user(route) {
            let place = || self.place_of_step_up(parts);
            if let Some(step_up) = StepUp::challenged(response.headers(), place) {
                return Err(Refusal::StepUp(Box::new(step_up)));
            }
        }
        // The upstream refuses the token: once, another may please it better (I13). A call that may
        // not be repeated learns at least whether its session is over.
        let better = Box::pin(self.after_refusal(route, &caller)).await?;
        let Some(better) = better.filter(|_| replayable) else {
            return Ok(account::held(response, turn, parts.version));
        };
        let turn = match (turn, &better.session) {
            (None, None) => Some(self.turn(Demand::Call, client.address())?),
            (turn, _) => turn,
        };
        let mut call = call(better.adds(), RequestBody::Empty);
        let (told, proving) = (self.told_of(route, &better), self.proving(&better));
        (call.told, call.proving) = (&told, proving.as_ref());
        let again = Box::pin(self.worker.upstreams.forward(call)).await?;
        Ok(account::held(again, turn, parts.version))
    }

    /// What the upstream is told of the caller's session in headers of the operator's own.
    fn told_of(&self, route: &Route, caller: &Caller) -> Vec<(HeaderName, HeaderValue)> {
        let RouteSettings {
            request_headers,
            identity,
            ..
        } = route.settings();
        if request_headers.templates.is_empty() && identity.is_none() {
            return Vec::new();
        }
        let session = caller.session.as_deref();
        let mut told = told_of_session::fields(request_headers, session, &self.site.id);
        if let (Some(identity), Some(session), Some(identities)) =
            (identity, session, &self.site.identities)
        {
            let now = self.site.relying_party.now();
            let token = identities.token(route, identity, session, now);
            told.extend(token.map(|token| (identity.header.clone(), token)));
        }
        told
    }

    /// What the caller's token is bound to, if to anything.
    fn proving<'a>(&'a self, caller: &'a Caller) -> Option<Proving<'a>> {
        let prover = caller.token.as_ref()?.prover()?;
        let shared = self.worker.shared();
        Some(Proving {
            prover,
            clock: &*shared.clock,
            randomness: &*shared.randomness,
        })
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

    /// In which session a call is made, and with which token.
    async fn caller(
        &self,
        route: &Route,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Result<Caller, Refusal> {
        let Some(session) = self.session_of_call(route, ctx, parts).await? else {
            return self.nobody(route).await;
        };
        let tokens = self.site.of(&session).tokens();
        let token = match &route.settings().token {
            RouteToken::User | RouteToken::UserOrClient(_) => tokens.live(&session, None).await,
            RouteToken::UserFor(spec) => tokens.live(&session, Some(spec)).await,
            RouteToken::Client(spec) => Box::pin(self.clients().live(spec)).await,
            RouteToken::None => {
                return Ok(Caller {
                    session: Some(session),
                    token: None,
                });
            }
        };
        match token {
            Ok(token) => Ok(Caller {
                session: Some(session),
                token: Some(token),
            }),
            Err(error) => self.without(route, error).await,
        }
    }

    /// A call of nobody's, and our own token where the route has one for it.
    async fn nobody(&self, route: &Route) -> Result<Caller, Refusal> {
        let token = match &route.settings().token {
            RouteToken::Client(spec) | RouteToken::UserOrClient(spec) => {
                let token = Box::pin(self.clients().live(spec)).await;
                Some(token.map_err(Refusal::Token)?)
            }
            RouteToken::None | RouteToken::User | RouteToken::UserFor(_) => None,
        };
        Ok(Caller {
            session: None,
            token,
        })
    }

    /// What becomes of a call whose session has no token: one that ended is as if it had been found so.
    async fn without(&self, route: &Route, error: TokenError) -> Result<Caller, Refusal> {
        match error {
            TokenError::SessionEnded(reason) => match route.settings().auth {
                RouteAuth::Required => Err(Refusal::Ended(Some(reason))),
                RouteAuth::Optional | RouteAuth::None => Box::pin(self.nobody(route)).await,
            },
            error => Err(Refusal::Token(error)),
        }
    }

    /// Our own tokens, at the site's first provider.
    fn clients(&self) -> &ClientTokens {
        self.site.relying_party.clients()
    }

    /// The session that a route's calls are made in, where the route has any use for one.
    async fn session_of_call(
        &self,
        route: &Route,
        ctx: &mut Context,
        parts: &Parts,
    ) -> Result<Option<Arc<Session>>, Refusal> {
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
        if let Some(rule) = &route.settings().require {
            self.check_requirement(rule, &session, parts)?;
        }
        Ok(Some(session))
    }

    /// What the route asks beside a session.
    fn check_requirement(
        &self,
        rule: &Requirement,
        session: &Session,
        parts: &Parts,
    ) -> Result<(), Refusal> {
        let relying_party = &self.site.relying_party;
        match requirement::check(rule, session, relying_party.now()) {
            Ok(()) => Ok(()),
            Err(Unmet::Entry(entry)) => Err(Refusal::Unmet(entry)),
            Err(Unmet::Login) => {
                let return_to = self.place_of_step_up(parts);
                Err(Refusal::StepUp(Box::new(StepUp::asked_by(rule, return_to))))
            }
        }
    }

    /// Where a second login leads back to: the page that is asked for, or the page that asks.
    fn place_of_step_up(&self, parts: &Parts) -> ReturnTo {
        let places = self.site.relying_party.places();
        let page = is_page_load(parts).then(|| self.place_of(parts)).flatten();
        page.unwrap_or_else(|| places.page_that_asked(&parts.headers))
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

    /// As whom a call is made once more whose token an upstream refused, if at all.
    async fn after_refusal(
        &self,
        route: &Route,
        refused: &Caller,
    ) -> Result<Option<Caller>, Refusal> {
        let Some(token) = &refused.token else {
            return Ok(None);
        };
        let better = match (&refused.session, &route.settings().token) {
            (_, RouteToken::None) | (None, RouteToken::User | RouteToken::UserFor(_)) => None,
            (_, RouteToken::Client(spec)) | (None, RouteToken::UserOrClient(spec)) => {
                self.clients().after_refusal(spec, token).await
            }
            (Some(session), own) => {
                let spec = match own {
                    RouteToken::UserFor(spec) => Some(spec),
                    _ => None,
                };
                let tokens = self.site.of(session).tokens();
                match tokens.after_refusal(session, spec, token).await {
                    Ok(better) => better,
                    Err(error) => return self.without(route, error).await.map(Some),
                }
            }
        };
        Ok(better.map(|token| Caller {
            session: refused.session.clone(),
            token: Some(token),
        }))
    }
}

/// Whose call it is: in which session it is made, and with which token.
#[derive(Debug)]
struct Caller {
    session: Option<Arc<Session>>,
    token: Option<LiveToken>,
}

impl Caller {
    /// Whether the token is the user's.
    fn shows_the_user(&self, route: &Route) -> bool {
        self.session.is_some() && !matches!(route.settings().token, RouteToken::Client(_))
    }

    /// What this adds to a call: the credential, and the end that ends it.
    fn adds(&self) -> (Option<&HeaderValue>, Option<Ending>) {
        let ending = self.session.as_ref().map(|session| session.ending.clone());
        let token = self.token.as_ref();
        (token.map(|token| &token.authorization), ending)
    }
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
