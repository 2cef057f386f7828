//! How a person is sent to sign in, and where they come back to.

use http::request::Parts;
use http::{Method, Response};

use crate::auth::AccessDenied;
use crate::auth::answer::see_other;
use crate::auth::login::{LoginRequest, Logins};
use crate::auth::pending_login::Window;
use crate::auth::return_to::ReturnTo;
use crate::pipeline::Serving;
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
use crate::web::navigation::{Arrival, check_opened, is_page_load};
use crate::web::problem::Way;

/// Whether a request to this route may be answered by sending the browser to sign in.
pub(super) fn may_begin_login(route: &Route, parts: &Parts) -> bool {
    route.settings().auth == RouteAuth::Required && is_page_load(parts)
}

impl Serving<'_> {
    /// Starts a login that comes back to this page; where the browser may have a session that it does
    /// not show to a link of another site, with a step of our own first (B5).
    pub(super) async fn login_for_page(
        &self,
        ctx: &mut Context,
        parts: &Parts,
        path: &RequestPath,
    ) -> Result<Response<Body>, Refusal> {
        check_opened(&parts.headers)?;
        let relying_party = &*self.site.relying_party;
        let logins = relying_party.logins();
        let presented = self.presented(ctx, parts);
        let address = match parts.uri.query() {
            Some(query) => format!("{}?{query}", path.as_str()),
            None => path.as_str().to_owned(),
        };
        if logins.may_hold_back_a_session(parts, presented) {
            return Ok(same_site_step(&address));
        }
        let place = relying_party
            .places()
            .place(&address, &parts.headers)
            .unwrap_or_else(|_| relying_party.places().front_page());
        logins.check_progress(parts, presented, &place)?;
        if self.site.choices().must_be_made() {
            let link = relying_party.places().login_link(&place, Window::Tab);
            return Ok(see_other(&link));
        }
        let request = LoginRequest::returning_to(place);
        let source = self.source(ctx, parts);
        logins.admit_login(source)?;
        Ok(logins
            .begin_login(request, &parts.headers, presented, source)
            .await?)
    }

    /// Where the person is, or wanted to go, whose request is refused.
    pub(super) fn place_of(&self, parts: &Parts) -> Option<ReturnTo> {
        let relying_party = &self.site.relying_party;
        let path = self.site.path(parts.uri.path()).ok()?;
        match UnderBase::at(path.as_str(), &relying_party.settings().base_path) {
            UnderBase::Endpoint(Endpoint::Login) => relying_party.logins().place_of_login(parts),
            UnderBase::Endpoint(Endpoint::LoginResume) => {
                let logins = self.resumed_at(parts).logins();
                Some(logins.place_of_resume(parts)?.0)
            }
            UnderBase::Endpoint(_) | UnderBase::OfProvider(..) | UnderBase::Nothing => None,
            UnderBase::Outside if parts.method == Method::GET => {
                let address = parts.uri.path_and_query()?.as_str();
                relying_party.places().place(address, &parts.headers).ok()
            }
            // What was sent is lost; the page that sent it is the nearest.
            UnderBase::Outside => Some(relying_party.places().page_that_asked(&parts.headers)),
        }
    }

    /// The front page, if anything opens there and the person is elsewhere.
    pub(super) fn home(&self, parts: &Parts) -> Option<Way> {
        let front = self.site.relying_party.places().front_page();
        let is_here = parts.method == Method::GET && parts.uri.path() == front.path();
        let opens = || self.opens(&front, parts) != Opens::Nothing;
        (!is_here && opens()).then(|| Way::new("Start page", front.as_str()))
    }

    /// What the login is shown in that a request is for, as far as it says itself.
    pub(super) fn window_of(&self, parts: &Parts) -> Window {
        let relying_party = &self.site.relying_party;
        match UnderBase::at(parts.uri.path(), &relying_party.settings().base_path) {
            UnderBase::Endpoint(Endpoint::Login) => Logins::window_of_login(parts),
            UnderBase::Endpoint(Endpoint::LoginResume) => {
                let place = self.resumed_at(parts).logins().place_of_resume(parts);
                place.map_or(Window::Tab, |(_, window)| window)
            }
            _ => Window::Tab,
        }
    }

    /// Whether the place after a login is a page that needs the session at once: a Strict cookie
    /// is not sent on the redirect that ends a journey from another site (C13).
    pub(super) fn needs_hop(&self, place: &ReturnTo, parts: &Parts) -> bool {
        let relying_party = &self.site.relying_party;
        let same_site = relying_party.session_cookie().settings().same_site;
        same_site == SameSite::Strict
            && Arrival::of(&parts.headers).is_seen()
            && matches!(self.opens(place, parts), Opens::ToEach | Opens::InASession)
    }

    /// Whether a login that was cancelled may go back to this place: only where nothing begins the
    /// login anew, so that nobody is sent round in circles (C5).
    pub(super) fn may_tell(
        &self,
        asked_for: AccessDenied,
        place: &ReturnTo,
        parts: &Parts,
    ) -> bool {
        asked_for == AccessDenied::ReturnTo
            && Arrival::of(&parts.headers).is_seen()
            && matches!(self.opens(place, parts), Opens::ToAnybody | Opens::ToEach)
    }

    /// What a browser finds that goes to `place`.
    fn opens(&self, place: &ReturnTo, parts: &Parts) -> Opens {
        let Ok(path) = self.site.path(place.path()) else {
            return Opens::Nothing;
        };
        let host = external_host(parts).unwrap_or_default();
        match self.site.routes.find(host, &Method::GET, &path) {
            RouteMatch::Found(route) => match (route.settings().auth, route.settings().csrf) {
                (RouteAuth::None, _) => Opens::ToAnybody,
                (RouteAuth::Optional, Some(CsrfCheck::Origin) | None) => Opens::ToEach,
                (RouteAuth::Required, _) | (RouteAuth::Optional, Some(CsrfCheck::Header)) => {
                    Opens::InASession
                }
            },
            RouteMatch::NoRoute if self.site.frontend.is_some() => Opens::ToAnybody,
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
