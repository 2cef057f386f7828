//! The way of a request to one of our own endpoints: its method, its CSRF check, its answer.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use crate::auth::RelyingParty;
use crate::auth::backchannel_logout::BackchannelLogoutError;
use crate::auth::callback::{CallbackError, LoggedIn};
use crate::auth::login::LoginAnswer;
use crate::auth::logout::LogoutBy;
use crate::auth::pending_login::Window;
use crate::pipeline::Serving;
use crate::pipeline::choosing::Picked;
use crate::pipeline::context::Context;
use crate::pipeline::csrf;
use crate::pipeline::endpoint::Endpoint;
use crate::pipeline::error::Refusal;
use crate::pipeline::identity::Identities;
use crate::pipeline::pages::{confirm_login, hop_page, same_site_step, signed_in_window};
use crate::proxy::CsrfCheck;
use crate::session::cookie::Presented;
use crate::web::body::Body;
use crate::web::client_address::unnamed_proxy;
use crate::web::navigation::{Arrival, check_opened};

/// The most bytes that a form may have: a callback's, a third-party login's, a logout token's.
const MAX_FORM: usize = 64 * 1024;
/// The type of such a form.
const FORM_TYPE: &[u8] = b"application/x-www-form-urlencoded";
/// How long such a form may take.
const FORM_WITHIN: Duration = Duration::from_secs(10);

impl Serving<'_> {
    /// The public keys that upstreams hold our tokens against; the one answer of ours that may be kept.
    fn identity_keys(&self) -> Result<Response<Body>, Refusal> {
        let identities = self.site.identities.as_ref();
        let published = identities.and_then(Identities::published);
        let mut response = Response::new(Body::full(published.ok_or(Refusal::NoRoute)?));
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/jwk-set+json"),
        );
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        );
        Ok(response)
    }

    /// Answers a request to an endpoint of ours.
    pub(super) async fn answer_endpoint(
        &self,
        (endpoint, relying_party): (Endpoint, &RelyingParty),
        ctx: &mut Context,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        endpoint
            .take(&parts.method, self.site.method_rules(relying_party))
            .map_err(Refusal::MethodNotAllowed)?;
        match proof(endpoint, &parts.method) {
            Proof::Page(check) => {
                csrf::check(check, parts, &self.site.public).map_err(Refusal::Csrf)?;
            }
            Proof::Opened => check_opened(&parts.headers)?,
            Proof::Provider | Proof::Public => {}
        }
        let presented = self.presented(ctx, parts);
        if let Presented::Session(cookie) = &presented {
            ctx.session = relying_party.sessions().at_hand(&cookie.hash);
        }
        let (logins, logouts) = (relying_party.logins(), relying_party.logouts());
        let sessions = relying_party.session_endpoints();
        match endpoint {
            Endpoint::Login => {
                self.warn_of_unnamed_proxy(ctx, parts);
                let source = self.source(ctx, parts);
                logins.admit_login(source)?;
                if parts.method == Method::POST {
                    let form = read_form(parts, body).await.ok_or(Refusal::CallbackForm)?;
                    let logins = self.at_issuer_of(&form)?.logins();
                    let answer = logins
                        .third_party_login(&form, parts, presented, source)
                        .await?;
                    return Ok(self.show(answer, parts));
                }
                match self.picked(parts, presented).await? {
                    Picked::Provider(at) => {
                        let answer = at.logins().login(parts, presented, source).await?;
                        Ok(self.show(answer, parts))
                    }
                    Picked::Nobody(nobody) => Ok(self.show(nobody, parts)),
                    Picked::Page(page) => Ok(page),
                }
            }
            Endpoint::LoginResume => {
                let source = self.source(ctx, parts);
                let logins = self.resumed_at(parts).logins();
                let answer = logins.resume(parts, presented, source).await?;
                Ok(self.show(answer, parts))
            }
            Endpoint::Callback => {
                let form;
                let parameters = if parts.method == Method::POST {
                    form = read_form(parts, body).await.ok_or(Refusal::CallbackForm)?;
                    form.as_str()
                } else {
                    parts.uri.query().unwrap_or_default()
                };
                let client = self.client(ctx, parts).address();
                let finished = logins.callback(parameters, parts, presented, client);
                match finished.await {
                    Ok(logged_in) => {
                        ctx.session.clone_from(&logged_in.session);
                        Ok(self.arrive(logged_in, parts))
                    }
                    Err(error) => self.after_failed_callback(ctx, relying_party, error, parts),
                }
            }
            Endpoint::Logout => {
                let by = if parts.method == Method::POST {
                    LogoutBy::Fetch
                } else {
                    LogoutBy::Link
                };
                let own = self.signed_in_at(presented).await?;
                let logouts = own.unwrap_or(relying_party).logouts();
                Ok(logouts.logout(by, parts, presented).await?)
            }
            Endpoint::LogoutContinue => Ok(logouts.logout_continue(parts).await),
            Endpoint::LogoutCallback => Ok(logouts.logout_callback(parts)),
            Endpoint::Session => Ok(sessions.session(parts, presented).await?),
            Endpoint::SessionEvents => {
                let events = sessions.events(parts, presented, &self.worker.shutdown);
                Ok(events.await?)
            }
            Endpoint::Sessions if parts.method == Method::DELETE => {
                Ok(sessions.end_own_sessions(parts, presented).await?)
            }
            Endpoint::Sessions => Ok(sessions.own_sessions(parts, presented).await?),
            Endpoint::User => sessions.user(parts, presented).await.map_err(Refusal::User),
            Endpoint::BackchannelLogout => {
                let form = read_form(parts, body).await;
                let form = form.ok_or(BackchannelLogoutError::Malformed)?;
                Ok(relying_party
                    .provider_logouts()
                    .backchannel_logout(&form)
                    .await?)
            }
            Endpoint::Jwks => self.identity_keys(),
            Endpoint::FrontchannelLogout => Ok(relying_party
                .provider_logouts()
                .frontchannel_logout(parts)
                .await?),
        }
    }
}

impl Serving<'_> {
    /// A proxy that nobody named is told of at a login, where looking costs no call anything: its address
    /// is taken for everybody's (I4).
    fn warn_of_unnamed_proxy(&self, ctx: &Context, parts: &Parts) {
        let shared = self.worker.shared();
        let peer = ctx.connection.peer;
        let Some(client) = unnamed_proxy(peer, &parts.headers, &shared.trusted_proxies) else {
            return;
        };
        if let Some(left_out) = shared.warnings.due("an unnamed proxy", shared.clock.now()) {
            tracing::warn!(
                event = "proxy.unnamed",
                %client,
                left_out,
                "X-Forwarded-For comes from an address that server.trusted_proxies does not name, and counts for nothing: every visitor has that address; if it is your proxy's, write it there"
            );
        }
    }

    /// How a login goes on.
    fn show(&self, answer: LoginAnswer, parts: &Parts) -> Response<Body> {
        match answer {
            LoginAnswer::Begun(response) => response,
            LoginAnswer::Confirm { link } => confirm_login(&link, self.home(parts).as_ref()),
            LoginAnswer::Step { link } => same_site_step(&link),
            LoginAnswer::SignedIn(there) if there.window == Window::Popup => {
                signed_in_window(there)
            }
            // A step of our own site led here: the Strict cookie comes along.
            LoginAnswer::SignedIn(there) => there.redirect(),
        }
    }

    /// The end of a login that succeeded.
    fn arrive(&self, logged_in: LoggedIn, parts: &Parts) -> Response<Body> {
        if logged_in.window == Window::Popup {
            return signed_in_window(logged_in);
        }
        let hop = self.needs_hop(&logged_in.return_to, parts);
        let place = logged_in.return_to.clone();
        let response = logged_in.redirect();
        if hop {
            hop_page(&response, &place)
        } else {
            response
        }
    }

    /// A person goes on where that is known; what is left is refused.
    fn after_failed_callback(
        &self,
        ctx: &Context,
        relying_party: &RelyingParty,
        error: Box<CallbackError>,
        parts: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        let (logins, settings) = (relying_party.logins(), relying_party.settings());
        let (id, cause) = (ctx.request_id(), error.to_string());
        let site = self.site.id().named();
        if let Some(again) = &error.again
            && Arrival::of(&parts.headers).is_seen()
        {
            tracing::info!(
                event = "login.over",
                request.id = id,
                site_id = site,
                cause,
                "login over; the browser goes on"
            );
            return Ok(logins.go_on(again, error.cookie));
        }
        let place = error.denied().filter(|_| error.window == Window::Tab);
        if let Some(place) =
            place.filter(|place| self.may_tell(settings.access_denied, place, parts))
        {
            tracing::info!(
                event = "login.failed",
                request.id = id,
                site_id = site,
                cause,
                "login failed; back where it began"
            );
            return Ok(logins.back_where_it_began(place, &error));
        }
        Err(error.into())
    }
}

/// What a request to an endpoint must prove.
enum Proof {
    /// That our own page calls.
    Page(CsrfCheck),
    /// That a browser has gone there: what it does ahead or by itself changes nothing.
    Opened,
    /// Nothing here: it is the provider's to call, and what it brings is proof.
    Provider,
    /// Nothing: it is the same for whoever asks.
    Public,
}

fn proof(endpoint: Endpoint, method: &Method) -> Proof {
    match endpoint {
        Endpoint::Session | Endpoint::Sessions | Endpoint::User => Proof::Page(CsrfCheck::Header),
        Endpoint::Logout if method == Method::POST => Proof::Page(CsrfCheck::Header),
        // An EventSource cannot send a header.
        Endpoint::SessionEvents => Proof::Page(CsrfCheck::Origin),
        Endpoint::Login
        | Endpoint::LoginResume
        | Endpoint::Callback
        | Endpoint::Logout
        | Endpoint::LogoutContinue
        | Endpoint::LogoutCallback
        | Endpoint::FrontchannelLogout => Proof::Opened,
        Endpoint::BackchannelLogout => Proof::Provider,
        Endpoint::Jwks => Proof::Public,
    }
}

/// The fields of a posted form, still encoded; a body of another type is no form (C1).
async fn read_form(parts: &Parts, body: Incoming) -> Option<String> {
    let is_form = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().split(|byte| *byte == b';').next())
        .is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(FORM_TYPE));
    if !is_form {
        return None;
    }
    let read = tokio::time::timeout(FORM_WITHIN, Limited::new(body, MAX_FORM).collect());
    let bytes = read.await.ok()?.ok()?.to_bytes();
    String::from_utf8(bytes.into()).ok()
}
