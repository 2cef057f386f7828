//! Why requests are refused, and what is answered: the one place that picks the status of a failure.
//!
//! Every [`Refusal`] of every part comes to a verdict, whose [`Code`] has the status. The browser gets
//! the code and a fixed sentence, the log the detail; the request id joins them (N4).

mod answer;
mod auth;
mod code;
mod proxy;
mod request;
mod verdict;
mod verdicts;

pub use answer::answer;
pub use code::Code;
pub use request::RefusedRequest;

use http::Method;

use crate::auth::access_token::TokenError;
use crate::auth::backchannel_logout::BackchannelLogoutError;
use crate::auth::callback::CallbackError;
use crate::auth::ending::follows;
use crate::auth::events::EventsError;
use crate::auth::frontchannel_logout::FrontchannelLogoutError;
use crate::auth::login::LoginError;
use crate::auth::logout::LogoutError;
use crate::auth::sessions::SessionsError;
use crate::auth::user::UserError;
use crate::pipeline::csrf::CsrfFault;
use crate::pipeline::step_up::StepUp;
use crate::proxy::forward::ForwardError;
use crate::proxy::message::MessageFault;
use crate::proxy::path::PathFault;
use crate::proxy::upgrade::HandshakeFault;
use crate::session::store::StoreError;
use crate::web::ending::EndReason;
use crate::web::navigation::NotOpened;
use crate::web::open_limits::OpenLimitReached;
use crate::web::strangers::OverBudget;

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its head is malformed; its connection closes.
    #[error(transparent)]
    Message(#[from] MessageFault),
    /// Two readers could take its path for two paths.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// It asks for a host that is not served here.
    #[error("a host that is not served here: {0}")]
    UnknownHost(Box<str>),
    /// It is for a tenant whose site cannot be made of the configuration.
    #[error("the tenant's site cannot be made: {0}")]
    Tenant(String),
    /// It came on the connection of another host, and is to come on one of its own.
    #[error("a host that the certificate of the connection is not for")]
    Misdirected,
    /// Nothing is served at its path.
    #[error("no route")]
    NoRoute,
    /// Something is served at its path, by other methods.
    #[error("method not allowed")]
    MethodNotAllowed(Vec<Method>),
    /// It asks for a service worker's script where none may come from.
    #[error("a service worker's script on a route without service_worker = true")]
    ServiceWorker,
    /// It may be forged.
    #[error("refused as forged: {0:?}")]
    Csrf(CsrfFault),
    /// It may change something only where a browser has gone there, and none has.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    /// It needs a session and brings none.
    #[error("login required")]
    LoginRequired,
    /// Its session has ended, and this is why, where that is remembered.
    #[error("{}", ended(*.0))]
    Ended(Option<EndReason>),
    /// Its session is not one of those that may call the route, by this entry of `require`.
    #[error("the session does not fulfil require.{0}")]
    Unmet(String),
    /// Its session may call the route after another login.
    #[error("another login is required: {}", .0.asked())]
    StepUp(Box<StepUp>),
    /// The session store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its session has no access token.
    #[error(transparent)]
    Token(TokenError),
    /// A login could not be begun.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A login could not be finished.
    #[error(transparent)]
    Callback(#[from] Box<CallbackError>),
    /// The form of a callback could not be read.
    #[error("the form of the callback cannot be read")]
    CallbackForm,
    /// Nothing was signed out.
    #[error(transparent)]
    Logout(#[from] LogoutError),
    /// The provider's word that a session has ended is not taken.
    #[error(transparent)]
    BackchannelLogout(#[from] BackchannelLogoutError),
    /// The same, by its page in a frame.
    #[error(transparent)]
    FrontchannelLogout(#[from] FrontchannelLogoutError),
    /// The user's sessions are neither listed nor ended.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// There is no stream of events.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The page was made for another session than the browser now has.
    #[error("the page belongs to another session")]
    UserChanged,
    /// There is no user to tell of.
    #[error(transparent)]
    User(UserError),
    /// Its WebSocket handshake is wrong.
    #[error(transparent)]
    Handshake(#[from] HandshakeFault),
    /// Too many WebSockets are open.
    #[error(transparent)]
    Sockets(#[from] OpenLimitReached),
    /// Too many of them are open without a session.
    #[error(transparent)]
    StrangersSockets(OverBudget),
    /// Too many of their calls or files are under way without a session.
    #[error(transparent)]
    Strangers(OverBudget),
    /// The upstream did not answer it.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl Refusal {
    /// The stable word for it.
    pub fn code(&self) -> Code {
        self.verdict().code
    }

    /// Whether signing in is what helps.
    pub fn needs_login(&self) -> bool {
        self.code().needs_login()
    }

    /// Why the session ended that the request came in, if that is why it is refused.
    fn end_reason(&self) -> Option<EndReason> {
        match self {
            Self::Ended(reason) => *reason,
            Self::Token(TokenError::SessionEnded(reason))
            | Self::Sessions(SessionsError::Ended(reason))
            | Self::User(UserError::Ended(reason))
            | Self::Forward(ForwardError::Ended(reason)) => Some(*reason),
            _ => None,
        }
    }
}

/// For the log.
fn ended(reason: Option<EndReason>) -> &'static str {
    if reason.is_some_and(|reason| follows(reason).is_replaced) {
        "another login took the session's place"
    } else {
        "the session has ended"
    }
}
