//! The request that is refused, as far as it bears on the answer: who will read that, and where they go
//! on from it.

use http::{StatusCode, Version};

use crate::auth::RelyingParty;
use crate::auth::callback::CallbackFault;
use crate::auth::login::LoginError;
use crate::auth::pending_login::Window;
use crate::auth::return_to::ReturnTo;
use crate::clock::Timestamp;
use crate::frontend::ErrorPage;
use crate::pipeline::developer::Audience;
use crate::pipeline::error::Refusal;
use crate::pipeline::error::verdict::Verdict;
use crate::web::navigation::Arrival;
use crate::web::problem::Way;
use crate::web::repeats::Repeats;
use crate::web::site_id::SiteId;

/// What an answer needs to know of the request and the site beside the refusal itself.
#[derive(Debug)]
pub struct RefusedRequest<'a> {
    /// The site that was asked; none where the place is none's.
    pub site: Option<&'a SiteId>,
    /// Who signs people in there.
    pub relying_party: Option<&'a RelyingParty>,
    /// The request's version of HTTP.
    pub version: Version,
    /// Who will read the answer: this decides between a problem document and a page.
    pub arrival: Arrival,
    /// Whom it may be told what is behind us.
    pub audience: Audience,
    /// Where a person would go on after a login, as far as the request says.
    pub return_to: Option<ReturnTo>,
    /// Where the app begins, if anything does there and the person is elsewhere.
    pub home: Option<Way>,
    /// What a login that the request is for is shown in, as far as the request says.
    pub window: Window,
    /// The app's own page for what goes wrong.
    pub error_page: Option<&'a ErrorPage>,
    /// The warnings that were given lately.
    pub warnings: &'a Repeats,
    /// The present moment.
    pub now: Timestamp,
}

impl RefusedRequest<'_> {
    /// Where a browser signs in. A person comes back to where they were; a script says for itself
    /// where it wants to go on.
    pub(super) fn login_url(&self, refusal: &Refusal) -> Option<String> {
        let return_to = match refusal {
            Refusal::Callback(error) => error.return_to.as_ref(),
            Refusal::StepUp(step_up) => {
                let places = self.relying_party?.places();
                return Some(step_up.login_url(places, self.window(refusal)));
            }
            Refusal::Login(LoginError::Over { link } | LoginError::Hopeless { link, .. }) => {
                return Some(link.clone());
            }
            _ => self.return_to.as_ref(),
        };
        let places = self.relying_party?.places();
        Some(match return_to.filter(|_| self.arrival.is_seen()) {
            Some(place) => places.login_link(place, self.window(refusal)),
            None => places.login_url(),
        })
    }

    /// What the login is shown in that the refusal ends.
    pub(super) fn window(&self, refusal: &Refusal) -> Window {
        match refusal {
            Refusal::Callback(error) => error.window,
            Refusal::Login(LoginError::Hopeless { window, .. }) => *window,
            _ => self.window,
        }
    }

    /// Where the app begins; on a host that is not served, nowhere.
    pub(super) fn way_home(&self, refusal: &Refusal) -> Option<Way> {
        let is_here = !matches!(refusal, Refusal::UnknownHost(_));
        self.home.clone().filter(|_| is_here)
    }

    /// What a person does next: loads the page again where that may help and loses nothing, else
    /// signs in, where that was under way or would help.
    pub(super) fn way_on(&self, refusal: &Refusal, verdict: &Verdict) -> Option<Way> {
        let sign_in = || Some(Way::new("Sign in", self.login_url(refusal)?));
        let is_passing = verdict.status.is_server_error()
            || matches!(
                verdict.status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        match refusal {
            // The same answer of the provider is as good in a moment.
            Refusal::Callback(error)
                if error.cookie.is_none()
                    && matches!(
                        error.cause,
                        CallbackFault::Store(_) | CallbackFault::OverBudget(_)
                    ) =>
            {
                Some(Way::new("Try again", ""))
            }
            // Whoever comes by an IP address need not learn what is behind it.
            Refusal::UnknownHost(_) if self.audience == Audience::Developer => {
                let address = self.relying_party?.settings().public_url.as_str();
                Some(Way::new("Open the public address", address))
            }
            Refusal::Callback(_)
            | Refusal::CallbackForm
            | Refusal::Login(_)
            | Refusal::StepUp(_) => sign_in(),
            _ if verdict.code.needs_login() => sign_in(),
            _ if is_passing => {
                let place = self.return_to.as_ref()?;
                Some(Way::new("Try again", place.as_str()))
            }
            _ => None,
        }
    }
}
