//! What each refusal comes to: its code, its title, its sentence.
//!
//! Exhaustive, over the failures of every part: those of the relying party in `auth`, of the way
//! upstream in `proxy`.

use crate::pipeline::csrf::CsrfFault;
use crate::pipeline::error::verdict::{STORE_UNAVAILABLE, TOO_BUSY, Verdict, bad_request, verdict};
use crate::pipeline::error::{Code, Refusal, auth, proxy};
use crate::web::navigation::NotOpened;
use crate::web::open_limits::OpenLimitReached;
use crate::web::strangers::OverBudget;

impl Refusal {
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Message(fault) => proxy::message(*fault),
            Self::Path(_) => bad_request("The path has a form that is not served here."),
            Self::UnknownHost(_) => verdict(
                Code::NoRoute,
                "Not found",
                "This host is not served here; open the site by its public address.",
            ),
            Self::Tenant(_) => verdict(
                Code::SiteUnavailable,
                "Out of order",
                "This site cannot be served at the moment. Whoever runs it finds the cause in the log.",
            ),
            Self::Misdirected => verdict(
                Code::Misdirected,
                "Misdirected request",
                "This connection was opened to another host. Open the address again.",
            ),
            Self::NoRoute => verdict(Code::NoRoute, "Not found", "Nothing is served here."),
            Self::MethodNotAllowed(_) => verdict(
                Code::MethodNotAllowed,
                "Method not allowed",
                "This address does not take the method of the request.",
            ),
            Self::ServiceWorker => verdict(
                Code::ServiceWorkerNotAllowed,
                "Service worker not allowed",
                "Service workers come from the app itself; this address serves none.",
            ),
            Self::Csrf(fault) => csrf(*fault),
            Self::NotOpened(fault) => not_opened(*fault),
            Self::LoginRequired => auth::LOGIN_REQUIRED,
            Self::Ended(reason) => auth::ended(*reason),
            Self::Unmet(_) => auth::NOT_ONE_OF_THEM,
            Self::StepUp(_) => auth::STEP_UP_REQUIRED,
            Self::Store(_) => STORE_UNAVAILABLE,
            Self::Token(error) => auth::token(error),
            Self::Login(error) => auth::login(error),
            Self::Callback(error) => auth::callback(&error.cause),
            Self::CallbackForm => auth::MALFORMED_CALLBACK,
            Self::Logout(error) => auth::logout(error),
            Self::BackchannelLogout(error) => auth::backchannel_logout(error),
            Self::FrontchannelLogout(error) => auth::frontchannel_logout(error),
            Self::Sessions(error) => auth::sessions(error),
            Self::Events(error) => auth::events(error),
            Self::User(error) => auth::user(error),
            Self::UserChanged => auth::USER_CHANGED,
            Self::Handshake(fault) => proxy::handshake(*fault),
            Self::Sockets(OpenLimitReached::Total | OpenLimitReached::Owner)
            | Self::StrangersSockets(OverBudget::Address(_) | OverBudget::All(_)) => verdict(
                Code::TooManyRequests,
                "Too many connections",
                "Too many WebSockets are open. Close some and try again.",
            ),
            Self::Strangers(OverBudget::Address(_)) => verdict(
                Code::TooManyRequests,
                "Too many requests",
                "Too many requests from your network are under way. Try again in a moment.",
            ),
            Self::Strangers(OverBudget::All(_)) => TOO_BUSY,
            Self::Forward(error) => proxy::forward(error),
        }
    }
}

const fn csrf(fault: CsrfFault) -> Verdict {
    match fault {
        CsrfFault::Header => verdict(
            Code::Csrf,
            "Anti-forgery header missing",
            "Requests to this address need the header X-CSRF: 1.",
        ),
        CsrfFault::Origin => verdict(
            Code::OriginNotAllowed,
            "Origin not allowed",
            "This address may be called by pages of this site only.",
        ),
    }
}

const fn not_opened(fault: NotOpened) -> Verdict {
    match fault {
        NotOpened::Ahead => verdict(
            Code::PrefetchRefused,
            "Not fetched ahead",
            "This address changes something, so it is not fetched before somebody asks for it.",
        ),
        NotOpened::Fetched => verdict(
            Code::NotANavigation,
            "Not a navigation",
            "This address takes navigations only: set window.location to it.",
        ),
    }
}
