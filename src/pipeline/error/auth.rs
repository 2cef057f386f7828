//! What the failures of the relying party come to: logins, sessions, logouts.

use crate::auth::access_token::TokenError;
use crate::auth::backchannel_logout::BackchannelLogoutError;
use crate::auth::callback::CallbackFault;
use crate::auth::ending::follows;
use crate::auth::events::EventsError;
use crate::auth::frontchannel_logout::FrontchannelLogoutError;
use crate::auth::login::LoginError;
use crate::auth::logout::LogoutError;
use crate::auth::resume::Trouble;
use crate::auth::sessions::SessionsError;
use crate::auth::user::UserError;
use crate::oidc::{ErrorCode, ExchangeError, ProviderError};
use crate::pipeline::error::Code;
use crate::pipeline::error::verdict::{STORE_UNAVAILABLE, Verdict, bad_request, verdict};
use crate::web::ending::EndReason;
use crate::web::open_limits::OpenLimitReached;
use crate::web::strangers::OverBudget;

const fn login_failed(detail: &'static str) -> Verdict {
    verdict(Code::LoginFailed, "Sign-in failed", detail)
}

const LOGIN_OVER: Verdict =
    login_failed("This sign-in is over or was started in another browser. Please sign in again.");

pub(super) const MALFORMED_CALLBACK: Verdict =
    login_failed("The answer of the identity provider is malformed.");

/// No link of it leads to the same login: a provider that answers with less would do so again.
const TOO_WEAK: Verdict = verdict(
    Code::StepUpFailed,
    "Not signed in strongly enough",
    "The identity provider signed you in, but not in the way that this asks for: with a second factor, say, or just now. If you were signed in before, you still are. Try again from the page that you came from, and choose the stronger way; if there is none, ask the operators of this site.",
);

const BAD_RETURN_TO: Verdict = verdict(
    Code::BadReturnTo,
    "Bad return address",
    "The address to return to must be a path on this site.",
);

pub(super) const LOGIN_REQUIRED: Verdict = verdict(
    Code::LoginRequired,
    "Sign-in required",
    "You need to sign in first.",
);

const SESSION_EXPIRED: Verdict = verdict(
    Code::SessionExpired,
    "Session ended",
    "Your session has ended. Sign in again to go on.",
);

const SESSION_SUPERSEDED: Verdict = verdict(
    Code::SessionSuperseded,
    "Signed in elsewhere",
    "Another sign-in took the place of this one. Sign in again to go on here.",
);

pub(super) const NOT_ONE_OF_THEM: Verdict = verdict(
    Code::Forbidden,
    "Not allowed",
    "You are signed in, and this is not open to you.",
);

pub(super) const STEP_UP_REQUIRED: Verdict = verdict(
    Code::StepUpRequired,
    "Sign in once more",
    "This asks for a fresh or a stronger sign-in. Sign in again to go on.",
);

pub(super) const USER_CHANGED: Verdict = verdict(
    Code::UserChanged,
    "Signed in anew",
    "Somebody signed in anew in this browser since the page was loaded. Load it again.",
);

const PROVIDER_UNAVAILABLE: Verdict = verdict(
    Code::ProviderUnavailable,
    "Sign-in unavailable",
    "Signing in and staying signed in do not work right now. Try again in a moment. If it lasts, tell the operators of this site the id of this request.",
);

/// The code was sent, so this callback is used up, whatever became of it (C6, C7).
const SIGN_IN_UNFINISHED: Verdict = verdict(
    Code::ProviderUnavailable,
    "Sign-in unavailable",
    "This sign-in could not be finished, and loading the page again does not help: sign in again in a moment. If it lasts, tell the operators of this site the id of this request.",
);

const TOO_MANY_LOGINS: Verdict = verdict(
    Code::TooManyRequests,
    "Too many sign-ins",
    "Too many sign-ins from your network have failed or wait. Nothing is lost: try again in a moment.",
);

const BUSY: Verdict = verdict(
    Code::Busy,
    "Too many sign-ins at once",
    "Many people sign in at this moment. Nothing is lost: load this page again in a moment.",
);

pub(super) fn login(error: &LoginError) -> Verdict {
    match error {
        LoginError::BadReturnTo(_) => BAD_RETURN_TO,
        LoginError::BadParameter(_) => {
            bad_request("A parameter of the sign-in address is repeated or malformed.")
        }
        LoginError::UnknownProvider => bad_request(
            "The sign-in address names an identity provider that this site does not have.",
        ),
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
        Code::LoginLoop,
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

pub(super) fn callback(cause: &CallbackFault) -> Verdict {
    match cause {
        CallbackFault::UnknownState
        | CallbackFault::Over
        | CallbackFault::Replayed
        | CallbackFault::TookTooLong => LOGIN_OVER,
        CallbackFault::OfNobody => login_failed(
            "The identity provider of this sign-in is not offered here, or not any more. Please sign in again.",
        ),
        CallbackFault::Refused(Some(ErrorCode::UNMET_AUTHENTICATION_REQUIREMENTS)) => TOO_WEAK,
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
            ExchangeError::Untrusted(fault) if fault.is_of_a_weak_login() => TOO_WEAK,
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
            Code::SessionLimit,
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

/// The session has ended, for this reason where that is known.
pub(super) fn ended(reason: Option<EndReason>) -> Verdict {
    if reason.is_some_and(|reason| follows(reason).is_replaced) {
        SESSION_SUPERSEDED
    } else {
        SESSION_EXPIRED
    }
}

pub(super) fn token(error: &TokenError) -> Verdict {
    match error {
        TokenError::SessionEnded(reason) => ended(Some(*reason)),
        TokenError::Unrefreshable(_) => verdict(
            Code::TokenUnrefreshable,
            "Sign-in needed again",
            "Your sign-in can no longer be renewed. Sign in again to go on.",
        ),
        TokenError::Unavailable(_) => PROVIDER_UNAVAILABLE,
        TokenError::Refused(code) => no_access(*code),
    }
}

/// The provider's own word goes along where it is a registered one, which says nothing but what it is: whoever
/// writes the app learns by it what to ask their operators for.
fn no_access(code: Option<ErrorCode>) -> Verdict {
    let refused = verdict(
        Code::Forbidden,
        "Not allowed",
        "The identity provider gives no access to this. If you should have it, tell the operators of this site the id of this request.",
    );
    match code {
        None => refused,
        Some(code) => Verdict {
            detail: format!(
                "The identity provider gives no access to this, by the code {code}. If you should have it, tell the operators of this site the id of this request."
            )
            .into(),
            ..refused
        },
    }
}

pub(super) fn user(error: &UserError) -> Verdict {
    match error {
        UserError::Anonymous => LOGIN_REQUIRED,
        UserError::Ended(reason) => ended(Some(*reason)),
        UserError::Store(_) => STORE_UNAVAILABLE,
    }
}

pub(super) fn sessions(error: &SessionsError) -> Verdict {
    match error {
        SessionsError::Anonymous => LOGIN_REQUIRED,
        SessionsError::Ended(reason) => ended(Some(*reason)),
        SessionsError::NoSuchSession => verdict(
            Code::NoSuchSession,
            "No such session",
            "You have no such session, or it has ended already.",
        ),
        SessionsError::Query => {
            bad_request("The query must be empty, or name one session by its tag.")
        }
        SessionsError::Store(_) => STORE_UNAVAILABLE,
    }
}

pub(super) fn events(error: &EventsError) -> Verdict {
    match error {
        EventsError::TooMany(OpenLimitReached::Total | OpenLimitReached::Owner) => verdict(
            Code::TooManyRequests,
            "Too many streams",
            "Too many event streams are open. Close some and try again.",
        ),
        EventsError::Store(_) => STORE_UNAVAILABLE,
    }
}

pub(super) fn logout(error: &LogoutError) -> Verdict {
    match error {
        LogoutError::ForeignLink => verdict(
            Code::Csrf,
            "Not your sign-out link",
            "This sign-out link does not belong to your session. You are still signed in.",
        ),
        LogoutError::BadReturnTo(_) => BAD_RETURN_TO,
        LogoutError::Store(_) => STORE_UNAVAILABLE,
    }
}

pub(super) fn backchannel_logout(error: &BackchannelLogoutError) -> Verdict {
    match error {
        // Its reader is a provider, whose words are OAuth's (Back-Channel Logout §2.8).
        BackchannelLogoutError::Malformed
        | BackchannelLogoutError::Invalid(_)
        | BackchannelLogoutError::Replayed => verdict(
            Code::InvalidRequest,
            "Invalid logout request",
            "The logout token is missing, invalid or used up.",
        ),
        BackchannelLogoutError::NoKeys(_) => PROVIDER_UNAVAILABLE,
        BackchannelLogoutError::Store(_) => STORE_UNAVAILABLE,
    }
}

pub(super) fn frontchannel_logout(error: &FrontchannelLogoutError) -> Verdict {
    match error {
        FrontchannelLogoutError::Busy => verdict(
            Code::TooManyRequests,
            "Too many requests",
            "Too many sign-outs come at once. Load this page again in a moment.",
        ),
        FrontchannelLogoutError::Malformed => {
            bad_request("Nobody was signed out: the address names no session of our provider.")
        }
        FrontchannelLogoutError::Store(_) => STORE_UNAVAILABLE,
    }
}
