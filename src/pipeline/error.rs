//! The one file that picks the status of a failure: every refusal of every part, mapped to its
//! answer.
//!
//! The browser gets a stable code and a fixed sentence, the log the detail; the request id joins
//! them (N4).

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Method, Response, StatusCode, Version};
use serde_json::{Map, Value, json};

use crate::auth::RelyingParty;
use crate::auth::access_token::TokenError;
use crate::auth::backchannel_logout::BackchannelLogoutError;
use crate::auth::callback::{CallbackError, CallbackFault};
use crate::auth::events::EventsError;
use crate::auth::frontchannel_logout::FrontchannelLogoutError;
use crate::auth::login::LoginError;
use crate::auth::logout::LogoutError;
use crate::auth::pending_login::Window;
use crate::auth::resume::Trouble;
use crate::auth::return_to::ReturnTo;
use crate::auth::sessions::SessionsError;
use crate::auth::user::UserError;
use crate::clock::Timestamp;
use crate::frontend::ErrorPage;
use crate::oidc::{ExchangeError, ProviderError};
use crate::pipeline::context::Context;
use crate::pipeline::csrf::CsrfFault;
use crate::pipeline::developer::{self, Audience};
use crate::pipeline::{pages, refusal_log};
use crate::proxy::forward::ForwardError;
use crate::proxy::message::MessageFault;
use crate::proxy::path::PathFault;
use crate::proxy::upgrade::HandshakeFault;
use crate::session::cookie::{Presented, SessionCookie};
use crate::session::store::StoreError;
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::navigation::{Arrival, NotOpened};
use crate::web::open_limits::OpenLimitReached;
use crate::web::problem::{ForPeople, Problem, Way};
use crate::web::repeats::Repeats;
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
    #[error("the session has ended")]
    SessionExpired(Option<EndReason>),
    /// Another login took its session's place.
    #[error("another login took the session's place")]
    SessionSuperseded,
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

/// The code of a store that is away.
pub(in crate::pipeline) const STORE_AWAY: &str = "store_unavailable";

/// What a refusal comes to.
struct Verdict {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
}

const fn verdict(
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
) -> Verdict {
    Verdict {
        status,
        code,
        title,
        detail,
    }
}

/// The codes that more than one refusal has.
const fn bad_request(detail: &'static str) -> Verdict {
    verdict(
        StatusCode::BAD_REQUEST,
        "bad_request",
        "Bad request",
        detail,
    )
}

const fn login_failed(detail: &'static str) -> Verdict {
    verdict(
        StatusCode::BAD_REQUEST,
        "login_failed",
        "Sign-in failed",
        detail,
    )
}

const LOGIN_OVER: Verdict =
    login_failed("This sign-in is over or was started in another browser. Please sign in again.");

const BAD_RETURN_TO: Verdict = verdict(
    StatusCode::BAD_REQUEST,
    "bad_return_to",
    "Bad return address",
    "The address to return to must be a path on this site.",
);

const LOGIN_REQUIRED: Verdict = verdict(
    StatusCode::UNAUTHORIZED,
    "login_required",
    "Sign-in required",
    "You need to sign in first.",
);

const SESSION_EXPIRED: Verdict = verdict(
    StatusCode::UNAUTHORIZED,
    "session_expired",
    "Session ended",
    "Your session has ended. Sign in again to go on.",
);

const SESSION_SUPERSEDED: Verdict = verdict(
    StatusCode::UNAUTHORIZED,
    "session_superseded",
    "Signed in elsewhere",
    "Another sign-in took the place of this one. Sign in again to go on here.",
);

const PROVIDER_UNAVAILABLE: Verdict = verdict(
    StatusCode::SERVICE_UNAVAILABLE,
    "provider_unavailable",
    "Sign-in unavailable",
    "Signing in and staying signed in do not work right now. Try again in a moment. If it lasts, tell the operators of this site the id of this request.",
);

/// The code was sent, so this callback is used up, whatever became of it (C6, C7).
const SIGN_IN_UNFINISHED: Verdict = verdict(
    StatusCode::SERVICE_UNAVAILABLE,
    "provider_unavailable",
    "Sign-in unavailable",
    "This sign-in could not be finished, and loading the page again does not help: sign in again in a moment. If it lasts, tell the operators of this site the id of this request.",
);

const STORE_UNAVAILABLE: Verdict = verdict(
    StatusCode::SERVICE_UNAVAILABLE,
    STORE_AWAY,
    "Session store unavailable",
    "Your session cannot be looked up right now. You are not signed out; try again in a moment.",
);

const TOO_MANY_LOGINS: Verdict = verdict(
    StatusCode::TOO_MANY_REQUESTS,
    "too_many_requests",
    "Too many sign-ins",
    "Too many sign-ins from your network have failed or wait. Nothing is lost: try again in a moment.",
);

const BUSY: Verdict = verdict(
    StatusCode::SERVICE_UNAVAILABLE,
    "busy",
    "Too many sign-ins at once",
    "Many people sign in at this moment. Nothing is lost: load this page again in a moment.",
);

const TOO_BUSY: Verdict = verdict(
    StatusCode::SERVICE_UNAVAILABLE,
    "busy",
    "Too busy",
    "More is under way than can be served at once. Try again in a moment.",
);

/// What a person reads who opens an address that is for scripts.
const FOR_THE_APP: ForPeople = ForPeople {
    title: "This address is for the app",
    detail: "The app gets its data here; opened by itself, the address shows nothing. Open the app instead.",
};

/// Its reader is a provider, whose words are OAuth's (Back-Channel Logout §2.8).
const INVALID_LOGOUT_REQUEST: Verdict = verdict(
    StatusCode::BAD_REQUEST,
    "invalid_request",
    "Invalid logout request",
    "The logout token is missing, invalid or used up.",
);

/// Seconds after which an outage is worth another try: the pace of our own retries (L5).
const RETRY_IN: HeaderValue = HeaderValue::from_static("5");

/// The codes of whoever has no session, or none that is of use any more: signing in is what helps.
const NEEDS_LOGIN: [&str; 4] = [
    "login_required",
    "session_expired",
    "session_superseded",
    "token_unrefreshable",
];

impl Refusal {
    /// The session has ended, for this reason where that is known.
    pub fn ended(reason: Option<EndReason>) -> Self {
        match reason {
            Some(EndReason::Superseded) => Self::SessionSuperseded,
            reason => Self::SessionExpired(reason),
        }
    }

    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        self.verdict().code
    }

    /// Whether signing in is what helps.
    pub fn needs_login(&self) -> bool {
        NEEDS_LOGIN.contains(&self.verdict().code)
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Message(fault) => message(*fault),
            Self::Path(_) => bad_request("The path has a form that is not served here."),
            Self::UnknownHost(_) => verdict(
                StatusCode::NOT_FOUND,
                "no_route",
                "Not found",
                "This host is not served here; open the site by its public address.",
            ),
            Self::NoRoute => verdict(
                StatusCode::NOT_FOUND,
                "no_route",
                "Not found",
                "Nothing is served here.",
            ),
            Self::MethodNotAllowed(_) => verdict(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
                "This address does not take the method of the request.",
            ),
            Self::ServiceWorker => verdict(
                StatusCode::FORBIDDEN,
                "service_worker_not_allowed",
                "Service worker not allowed",
                "Service workers come from the app itself; this address serves none.",
            ),
            Self::Csrf(CsrfFault::Header) => verdict(
                StatusCode::FORBIDDEN,
                "csrf",
                "Anti-forgery header missing",
                "Requests to this address need the header X-CSRF: 1.",
            ),
            Self::Csrf(CsrfFault::Origin) => verdict(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "Origin not allowed",
                "This address may be called by pages of this site only.",
            ),
            Self::NotOpened(NotOpened::Ahead) => verdict(
                StatusCode::FORBIDDEN,
                "prefetch_refused",
                "Not fetched ahead",
                "This address changes something, so it is not fetched before somebody asks for it.",
            ),
            Self::NotOpened(NotOpened::Fetched) => verdict(
                StatusCode::BAD_REQUEST,
                "not_a_navigation",
                "Not a navigation",
                "This address takes navigations only: set window.location to it.",
            ),
            Self::LoginRequired
            | Self::User(UserError::Anonymous)
            | Self::Sessions(SessionsError::Anonymous) => LOGIN_REQUIRED,
            Self::SessionSuperseded
            | Self::Token(TokenError::SessionEnded(EndReason::Superseded))
            | Self::User(UserError::Ended(EndReason::Superseded))
            | Self::Sessions(SessionsError::Ended(EndReason::Superseded)) => SESSION_SUPERSEDED,
            Self::SessionExpired(_)
            | Self::Token(TokenError::SessionEnded(_))
            | Self::User(UserError::Ended(_))
            | Self::Sessions(SessionsError::Ended(_)) => SESSION_EXPIRED,
            Self::UserChanged => verdict(
                StatusCode::CONFLICT,
                "user_changed",
                "Signed in anew",
                "Somebody signed in anew in this browser since the page was loaded. Load it again.",
            ),
            Self::Token(TokenError::Unrefreshable(_)) => verdict(
                StatusCode::UNAUTHORIZED,
                "token_unrefreshable",
                "Sign-in needed again",
                "Your sign-in can no longer be renewed. Sign in again to go on.",
            ),
            Self::Token(TokenError::Unavailable(_))
            | Self::BackchannelLogout(BackchannelLogoutError::NoKeys(_)) => PROVIDER_UNAVAILABLE,
            Self::Store(_)
            | Self::User(UserError::Store(_))
            | Self::BackchannelLogout(BackchannelLogoutError::Store(_))
            | Self::FrontchannelLogout(FrontchannelLogoutError::Store(_))
            | Self::Sessions(SessionsError::Store(_))
            | Self::Events(EventsError::Store(_))
            | Self::Logout(LogoutError::Store(_)) => STORE_UNAVAILABLE,
            Self::Login(error) => login(error),
            Self::Callback(error) => callback(&error.cause),
            Self::CallbackForm => login_failed("The answer of the identity provider is malformed."),
            Self::Logout(LogoutError::ForeignLink) => verdict(
                StatusCode::FORBIDDEN,
                "csrf",
                "Not your sign-out link",
                "This sign-out link does not belong to your session. You are still signed in.",
            ),
            Self::Logout(LogoutError::BadReturnTo(_)) => BAD_RETURN_TO,
            Self::BackchannelLogout(
                BackchannelLogoutError::Malformed
                | BackchannelLogoutError::Invalid(_)
                | BackchannelLogoutError::Replayed,
            ) => INVALID_LOGOUT_REQUEST,
            Self::FrontchannelLogout(FrontchannelLogoutError::Busy) => verdict(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
                "Too many sign-outs come at once. Load this page again in a moment.",
            ),
            Self::FrontchannelLogout(FrontchannelLogoutError::Malformed) => {
                bad_request("Nobody was signed out: the address names no session of our provider.")
            }
            Self::Sessions(SessionsError::NoSuchSession) => verdict(
                StatusCode::NOT_FOUND,
                "no_such_session",
                "No such session",
                "You have no such session, or it has ended already.",
            ),
            Self::Sessions(SessionsError::Query) => {
                bad_request("The query must be empty, or name one session by its tag.")
            }
            Self::Events(EventsError::TooMany(
                OpenLimitReached::Total | OpenLimitReached::Owner,
            )) => verdict(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many streams",
                "Too many event streams are open. Close some and try again.",
            ),
            Self::Handshake(fault) => handshake(*fault),
            Self::Sockets(OpenLimitReached::Total | OpenLimitReached::Owner)
            | Self::StrangersSockets(OverBudget::Address(_) | OverBudget::All(_)) => verdict(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many connections",
                "Too many WebSockets are open. Close some and try again.",
            ),
            Self::Strangers(OverBudget::Address(_)) => verdict(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
                "Too many requests from your network are under way. Try again in a moment.",
            ),
            Self::Strangers(OverBudget::All(_)) => TOO_BUSY,
            Self::Forward(error) => forward(error),
        }
    }
}

fn message(fault: MessageFault) -> Verdict {
    match fault {
        MessageFault::Framing(_)
        | MessageFault::Host
        | MessageFault::Target
        | MessageFault::Repeated(_)
        | MessageFault::ConnectionField
        | MessageFault::BlankAround
        | MessageFault::Nominations => bad_request("The request is malformed."),
        MessageFault::UnknownCoding => verdict(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            "Not implemented",
            "The transfer coding of the request is not known here.",
        ),
        MessageFault::Method => verdict(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "This method is not served here.",
        ),
        MessageFault::Expectation => verdict(
            StatusCode::EXPECTATION_FAILED,
            "expectation_failed",
            "Expectation failed",
            "The request expects something that is not known here.",
        ),
    }
}

fn login(error: &LoginError) -> Verdict {
    match error {
        LoginError::BadReturnTo(_) => BAD_RETURN_TO,
        LoginError::BadParameter(_) => {
            bad_request("A parameter of the sign-in address is repeated or malformed.")
        }
        LoginError::OtherIssuer => {
            login_failed("The sign-in was started for another identity provider.")
        }
        LoginError::Provider(error) => provider(error),
        LoginError::OverBudget(over) => over_budget(*over),
        LoginError::Over { .. } => LOGIN_OVER,
        LoginError::Hopeless { trouble, .. } => hopeless(*trouble),
        LoginError::Store(_) => STORE_UNAVAILABLE,
    }
}

fn hopeless(trouble: Trouble) -> Verdict {
    verdict(
        StatusCode::BAD_REQUEST,
        "login_loop",
        "Signing in does not last",
        match trouble {
            Trouble::NoCookie => {
                "Three times now, this browser has not brought back the cookie that a sign-in sets. Allow cookies for this site, and open it in a window of its own, not inside another page. If that does not help: server.public_url must be the very address that browsers have, with https where the page has https."
            }
            Trouble::OtherPort => {
                "Three times now, the sign-in has come back to another port than the one of this site's public address, so its cookie stayed behind. Open the site by its public address. For its operators: server.public_url and the proxy before it name two ports."
            }
            Trouble::NoSession => {
                "Three times now, a sign-in has worked, and this browser has not kept its session. Allow cookies for this site, and open it in a window of its own, not inside another page. For its operators: session.cookie.same_site and a proxy that drops Set-Cookie are the likely causes."
            }
            Trouble::TooLate => {
                "Three times now, a sign-in has been over before it came back. Close other tabs that wait to sign in, and try once more. For the operators of this site: the clocks of its nodes and of the identity provider may differ, or provider.login_timeout is too short."
            }
        },
    )
}

fn callback(cause: &CallbackFault) -> Verdict {
    match cause {
        CallbackFault::UnknownState
        | CallbackFault::Over
        | CallbackFault::Replayed
        | CallbackFault::TookTooLong => LOGIN_OVER,
        CallbackFault::Refused(_) => {
            login_failed("The identity provider did not sign you in. Please try again.")
        }
        CallbackFault::Repeated(_)
        | CallbackFault::OtherIssuer
        | CallbackFault::LacksIssuer
        | CallbackFault::NoCode
        | CallbackFault::UnusableToken
        | CallbackFault::EndedThere => {
            login_failed("The answer of the identity provider cannot be accepted.")
        }
        CallbackFault::Exchange(error) => match error {
            ExchangeError::Unavailable(_) => SIGN_IN_UNFINISHED,
            ExchangeError::Refused(_) | ExchangeError::Untrusted(_) => {
                login_failed("The answer of the identity provider cannot be accepted.")
            }
        },
        CallbackFault::Provider(error) => provider(error),
        CallbackFault::Store(_) => STORE_UNAVAILABLE,
        CallbackFault::OverBudget(over) => over_budget(*over),
        CallbackFault::TooLarge(_) => login_failed(
            "What the identity provider says of you is too much for this app to keep. Its operators can read more in the log.",
        ),
        CallbackFault::SessionLimit => verdict(
            StatusCode::FORBIDDEN,
            "session_limit",
            "Signed in too often",
            "You are signed in elsewhere as often as you may be. Sign out there first.",
        ),
    }
}

const fn provider(error: &ProviderError) -> Verdict {
    match error {
        // A provider whose metadata cannot be trusted is as good as none (A5).
        ProviderError::Unavailable(_) | ProviderError::Misbehaved(_) => PROVIDER_UNAVAILABLE,
    }
}

const fn over_budget(over: OverBudget) -> Verdict {
    match over {
        OverBudget::Address(_) => TOO_MANY_LOGINS,
        OverBudget::All(_) => BUSY,
    }
}

fn handshake(fault: HandshakeFault) -> Verdict {
    match fault {
        HandshakeFault::Version => verdict(
            StatusCode::UPGRADE_REQUIRED,
            "bad_request",
            "WebSocket version not supported",
            "Version 13 of the WebSocket protocol is spoken here.",
        ),
        HandshakeFault::Malformed => bad_request("The WebSocket handshake is malformed."),
    }
}

fn forward(error: &ForwardError) -> Verdict {
    match error {
        ForwardError::Connect { .. }
        | ForwardError::Closed(_)
        | ForwardError::Unreadable(_)
        | ForwardError::AnswerHead(_)
        | ForwardError::BadAnswer(_) => verdict(
            StatusCode::BAD_GATEWAY,
            "upstream_unavailable",
            "Service unavailable",
            "The service behind this address cannot be reached or does not answer properly.",
        ),
        ForwardError::Busy => TOO_BUSY,
        ForwardError::Timeout => verdict(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "Service too slow",
            "The service behind this address did not answer in time.",
        ),
        ForwardError::BrowserBody => bad_request("The body of the request broke off."),
        ForwardError::BodyTooLarge => verdict(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Body too large",
            "The body of the request is larger than this address takes.",
        ),
        ForwardError::BodyIdle => verdict(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "Body too slow",
            "The body of the request did not come in time.",
        ),
        ForwardError::LoopDetected => verdict(
            StatusCode::LOOP_DETECTED,
            "loop_detected",
            "Loop detected",
            "The request has been here before, again and again.",
        ),
        ForwardError::Ended(EndReason::Superseded) => SESSION_SUPERSEDED,
        ForwardError::Ended(_) => SESSION_EXPIRED,
        ForwardError::Unbuildable(_) => verdict(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "The request could not be forwarded.",
        ),
    }
}

/// The answer to a refused request, in the shape its reader understands.
pub fn answer(refusal: &Refusal, ctx: &Context, site: &Site<'_>) -> Response<Body> {
    let verdict = refusal.verdict();
    refusal_log::write(refusal, (verdict.status, verdict.code), ctx, site);
    let offers_login = NEEDS_LOGIN.contains(&verdict.code)
        || matches!(verdict.code, "login_failed" | "provider_unavailable");
    let problem = Problem {
        status: verdict.status,
        code: verdict.code,
        title: verdict.title,
        detail: developer::told(refusal, site.audience)
            .unwrap_or_else(|| verdict.detail.to_owned()),
        request_id: ctx.request_id().to_owned(),
        login_url: offers_login.then(|| site.login_url(refusal)),
        for_people: for_people(refusal),
        on: site.way_on(refusal, &verdict),
        home: site.way_home(refusal),
        extra: ended(refusal),
    };
    let mut response = if verdict.code == INVALID_LOGOUT_REQUEST.code {
        oauth_error(&verdict)
    } else if !site.arrival.is_seen() {
        problem.json()
    } else if site.window(refusal) == Window::Popup {
        pages::failed_window(&problem, reason_in_window(refusal, verdict.code))
    } else {
        let own = site.error_page.and_then(|page| page.fill(&problem));
        own.unwrap_or_else(|| problem.page())
    };
    let headers = response.headers_mut();
    if matches!(
        verdict.status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        headers.insert(RETRY_AFTER, RETRY_IN);
    }
    match refusal {
        Refusal::MethodNotAllowed(allow) => {
            let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                headers.insert(ALLOW, names);
            }
        }
        // What follows such a head may be misread (J1–J5).
        Refusal::Message(_) if site.version <= Version::HTTP_11 => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::Handshake(HandshakeFault::Version) => {
            headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        }
        Refusal::Callback(error) => {
            headers.extend(error.cookie.clone().map(|line| (SET_COOKIE, line)));
        }
        _ => {}
    }
    // A superseded session's cookie stays: where the browser itself signed in anew, an answer to the
    // old cookie that comes late would take the new one away.
    let session_is_over = matches!(verdict.code, "login_required" | "session_expired");
    if session_is_over && let Some(Presented::Session(cookie)) = &ctx.presented {
        for line in site.session_cookie.delete(cookie) {
            headers.append(SET_COOKIE, line);
        }
    }
    response
}

/// In the words of people, what is otherwise told to those who write programs.
fn for_people(refusal: &Refusal) -> Option<ForPeople> {
    match refusal {
        Refusal::Csrf(CsrfFault::Header) | Refusal::MethodNotAllowed(_) => Some(FOR_THE_APP),
        Refusal::Csrf(CsrfFault::Origin) => Some(ForPeople {
            detail: "Another site sent you here, and this address answers to pages of this site alone. Open the app instead.",
            ..FOR_THE_APP
        }),
        _ => None,
    }
}

/// Why a login in a window of its own failed, as the page that opened it is told.
fn reason_in_window(refusal: &Refusal, code: &'static str) -> &'static str {
    match refusal {
        Refusal::Callback(error) => error.word_of_the_provider().unwrap_or(code),
        _ => code,
    }
}

/// An error as OAuth writes it (RFC 6749 §5.2).
fn oauth_error(verdict: &Verdict) -> Response<Body> {
    let body = json!({ "error": verdict.code }).to_string();
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = verdict.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What an answer needs to know of the site and the request beside the refusal itself.
#[derive(Debug)]
pub struct Site<'a> {
    /// Who signs people in.
    pub relying_party: &'a RelyingParty,
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
    /// Takes the session cookie back, where the request brought one that is over.
    pub session_cookie: &'a SessionCookie,
}

impl Site<'_> {
    /// Where a browser signs in. A person comes back to where they were; a script says for itself
    /// where it wants to go on.
    fn login_url(&self, refusal: &Refusal) -> String {
        let return_to = match refusal {
            Refusal::Callback(error) => error.return_to.as_ref(),
            Refusal::Login(LoginError::Over { link } | LoginError::Hopeless { link, .. }) => {
                return link.clone();
            }
            _ => self.return_to.as_ref(),
        };
        match return_to.filter(|_| self.arrival.is_seen()) {
            Some(place) => self
                .relying_party
                .login_link_in(place, self.window(refusal)),
            None => self.relying_party.login_url(),
        }
    }

    /// What the login is shown in that the refusal ends.
    fn window(&self, refusal: &Refusal) -> Window {
        match refusal {
            Refusal::Callback(error) => error.window,
            Refusal::Login(LoginError::Hopeless { window, .. }) => *window,
            _ => self.window,
        }
    }

    /// Where the app begins; on a host that is not served, nowhere.
    fn way_home(&self, refusal: &Refusal) -> Option<Way> {
        let is_here = !matches!(refusal, Refusal::UnknownHost(_));
        self.home.clone().filter(|_| is_here)
    }

    /// What a person does next: loads the page again where that may help and loses nothing, else
    /// signs in, where that was under way or would help.
    fn way_on(&self, refusal: &Refusal, verdict: &Verdict) -> Option<Way> {
        let sign_in = || Some(Way::new("Sign in", self.login_url(refusal)));
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
                let address = self.relying_party.settings().public_url.as_str();
                Some(Way::new("Open the public address", address))
            }
            Refusal::Callback(_) | Refusal::CallbackForm | Refusal::Login(_) => sign_in(),
            _ if NEEDS_LOGIN.contains(&verdict.code) => sign_in(),
            _ if is_passing => {
                let place = self.return_to.as_ref()?;
                Some(Way::new("Try again", place.as_str()))
            }
            _ => None,
        }
    }
}

/// Why the session ended, in the words of `/bff/session`: the next request brings no cookie any more.
fn ended(refusal: &Refusal) -> Map<String, Value> {
    let reason = match refusal {
        Refusal::SessionExpired(reason) => *reason,
        Refusal::SessionSuperseded => Some(EndReason::Superseded),
        Refusal::Token(TokenError::SessionEnded(reason))
        | Refusal::Sessions(SessionsError::Ended(reason))
        | Refusal::User(UserError::Ended(reason))
        | Refusal::Forward(ForwardError::Ended(reason)) => Some(*reason),
        _ => None,
    };
    let member = |reason: EndReason| ("ended".to_owned(), Value::from(reason.as_str()));
    reason.map(member).into_iter().collect()
}
