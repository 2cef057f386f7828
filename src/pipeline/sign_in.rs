//! How a person is sent to sign in, and where they come back to.

use http::request::Parts;
use http::{Method, Response};

use crate::auth::AccessDenied;
use crate::auth::login::LoginRequest;
use crate::auth::return_to::ReturnTo;
use crate::pipeline::Pipeline;
use crate::pipeline::context::Context;
use crate::pipeline::endpoint::{Endpoint, UnderBase};
use crate::pipeline::error::Refusal;
use crate::pipeline::pages::same_site_step;
use crate::proxy::message::external_host;
use crate::proxy::path::RequestPath;
use crate::proxy::route::{Route, RouteMatch};
use crate::proxy::{CsrfCheck, RouteAuth};
use crate::session::SameSite;
use crate::web::body::Body;
use crate::web::navigation::{Arrival, check_opened};

/// Whether a request to this route may be answered by sending the browser to sign in.
pub(super) fn may_begin_login(route: &Route, parts: &Parts) -> bool {
    route.settings().auth == RouteAuth::Required
        && parts.method == Method::GET
        && Arrival::of(&parts.headers).is_of_a_tab()
}

impl Pipeline {
    /// Starts a login that comes back to this page; where the browser may have a session that it does
    /// not show to a link of another site, with a step of our own first (B5).
    pub(super) async fn login_for_page(
        &self,
        ctx: &mut Context,
        parts: &Parts,
        path: &RequestPath,
    ) -> Result<Response<Body>, Refusal> {
        check_opened(&parts.headers)?;
        let relying_party = &*self.shared.relying_party;
        let presented = self.presented(ctx, parts);
        let address = match parts.uri.query() {
            Some(query) => format!("{}?{query}", path.as_str()),
            None => path.as_str().to_owned(),
        };
        if relying_party.may_hold_back_a_session(parts, presented) {
            return Ok(same_site_step(&address));
        }
        let place = relying_party
            .place(&address, &parts.headers)
            .unwrap_or_else(|_| ReturnTo::root());
        let request = LoginRequest::returning_to(place);
        relying_party.admit_login(self.source(ctx, parts))?;
        Ok(relying_party
            .begin_login(request, &parts.headers, presented)
            .await?)
    }

    /// Where the person is, or wanted to go, whose request is refused.
    pub(super) fn place_of(&self, parts: &Parts) -> Option<ReturnTo> {
        let relying_party = &self.shared.relying_party;
        let path = RequestPath::parse(parts.uri.path(), self.shared.path_rules()).ok()?;
        match UnderBase::at(path.as_str(), &relying_party.settings().base_path) {
            UnderBase::Endpoint(Endpoint::Login) => relying_party.place_of_login(parts),
            UnderBase::Endpoint(_) | UnderBase::Nothing => None,
            UnderBase::Outside if parts.method == Method::GET => {
                let address = parts.uri.path_and_query()?.as_str();
                relying_party.place(address, &parts.headers).ok()
            }
            // What was sent is lost; the page that sent it is the nearest.
            UnderBase::Outside => Some(relying_party.page_that_asked(&parts.headers)),
        }
    }

    /// Whether the place after a login is a page that needs the session at once: a Strict cookie
    /// is not sent on the redirect that ends a journey from another site (C13).
    pub(super) fn needs_hop(&self, place: &ReturnTo, parts: &Parts) -> bool {
        let relying_party = &self.shared.relying_party;
        let same_site = relying_party.session_cookie().settings().same_site;
        same_site == SameSite::Strict
            && Arrival::of(&parts.headers).is_seen()
            && matches!(self.opens(place, parts), Opens::ToEach | Opens::InASession)
    }

    /// Whether a login that was cancelled may go back to this place: only where nothing begins the
    /// login anew, so that nobody is sent round in circles (C5).
    pub(super) fn may_tell(&self, place: &ReturnTo, parts: &Parts) -> bool {
        let settings = self.shared.relying_party.settings();
        settings.access_denied == AccessDenied::ReturnTo
            && Arrival::of(&parts.headers).is_seen()
            && matches!(self.opens(place, parts), Opens::ToAnybody | Opens::ToEach)
    }

    /// What a browser finds that goes to `place`.
    fn opens(&self, place: &ReturnTo, parts: &Parts) -> Opens {
        let Ok(path) = RequestPath::parse(place.path(), self.shared.path_rules()) else {
            return Opens::Nothing;
        };
        let host = external_host(parts).unwrap_or_default();
        match self.shared.routes.find(host, &Method::GET, &path) {
            RouteMatch::Found(route) => match (route.settings().auth, route.settings().csrf) {
                (RouteAuth::None, _) => Opens::ToAnybody,
                (RouteAuth::Optional, Some(CsrfCheck::Origin) | None) => Opens::ToEach,
                (RouteAuth::Required, _) | (RouteAuth::Optional, Some(CsrfCheck::Header)) => {
                    Opens::InASession
                }
            },
            RouteMatch::NoRoute if self.shared.frontend.is_some() => Opens::ToAnybody,
            RouteMatch::NoRoute | RouteMatch::MethodNotAllowed(_) => Opens::Nothing,
        }
    }
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// The same page for whoever comes.
    ToAnybody,
    /// A page with a session and without.
    ToEach,
    /// Something that is reached in a session.
    InASession,
    /// Nothing.
    Nothing,
}
