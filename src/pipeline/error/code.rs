//! The stable codes of failures: the words that apps compare, each with the status that it is sent
//! under and with what is done about it. docs/refusals.md lists them.

use http::StatusCode;

/// What helps the browser that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Signing in: the session is over, and its cookie goes.
    NewSession,
    /// Signing in, and the cookie stays. A superseded session's does: where the browser itself signed
    /// in anew, an answer to the old cookie that comes late would take the new one away.
    SignIn,
    /// Signing in once more, in another way: whoever is signed in decides when, and stays signed in.
    StepUp,
    /// Signing in once more, since that was under way or comes next.
    SignInAgain,
    /// Nothing that has to do with a login.
    Other,
}

/// One code a line: its name, its word, its status and its remedy.
macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident $word:literal $status:ident $remedy:ident,)+) => {
        /// Why a request was refused, in one word that stays.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word of it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// The status that it is sent under.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)+
                }
            }

            const fn remedy(self) -> Remedy {
                match self {
                    $(Self::$name => Remedy::$remedy,)+
                }
            }
        }
    };
}

codes! {
    /// The request, or a parameter of it, is malformed.
    BadRequest "bad_request" BAD_REQUEST Other,
    /// A browser is to come back to no path of this site.
    BadReturnTo "bad_return_to" BAD_REQUEST Other,
    /// An address that changes something is for navigations.
    NotANavigation "not_a_navigation" BAD_REQUEST Other,
    /// A login came to nothing.
    LoginFailed "login_failed" BAD_REQUEST SignInAgain,
    /// Logins come to nothing again and again.
    LoginLoop "login_loop" BAD_REQUEST Other,
    /// A logout token is not taken: OAuth's word, for a provider.
    InvalidRequest "invalid_request" BAD_REQUEST Other,
    /// There is no session.
    LoginRequired "login_required" UNAUTHORIZED NewSession,
    /// The session has ended.
    SessionExpired "session_expired" UNAUTHORIZED NewSession,
    /// A newer login took the session's place.
    SessionSuperseded "session_superseded" UNAUTHORIZED SignIn,
    /// The provider does not renew the session's token, and does not end the session either.
    TokenUnrefreshable "token_unrefreshable" UNAUTHORIZED SignIn,
    /// The user, or this app, may not do that.
    Forbidden "forbidden" FORBIDDEN Other,
    /// The route asks for a fresher or a stronger login than the session's.
    StepUpRequired "step_up_required" UNAUTHORIZED StepUp,
    /// A login came to less than was asked for.
    StepUpFailed "step_up_failed" FORBIDDEN Other,
    /// The request may be forged.
    Csrf "csrf" FORBIDDEN Other,
    /// The request comes from another site.
    OriginNotAllowed "origin_not_allowed" FORBIDDEN Other,
    /// A browser looks ahead at an address that changes something.
    PrefetchRefused "prefetch_refused" FORBIDDEN Other,
    /// A service worker's script may not come from here.
    ServiceWorkerNotAllowed "service_worker_not_allowed" FORBIDDEN Other,
    /// The user is signed in as often as may be.
    SessionLimit "session_limit" FORBIDDEN Other,
    /// Nothing is served there.
    NoRoute "no_route" NOT_FOUND Other,
    /// The user has no such session.
    NoSuchSession "no_such_session" NOT_FOUND Other,
    /// What is served there takes other methods.
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED Other,
    /// The body did not come in time.
    BodyTimeout "body_timeout" REQUEST_TIMEOUT Other,
    /// The page was made for another session than the browser now has.
    UserChanged "user_changed" CONFLICT Other,
    /// The body is larger than the route takes.
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE Other,
    /// The request expects what is not known here.
    ExpectationFailed "expectation_failed" EXPECTATION_FAILED Other,
    /// Another connection is for this host.
    Misdirected "misdirected" MISDIRECTED_REQUEST Other,
    /// This browser, or its network, asks for too much at once.
    TooManyRequests "too_many_requests" TOO_MANY_REQUESTS Other,
    /// The request could not be forwarded, by a fault of ours.
    Internal "internal" INTERNAL_SERVER_ERROR Other,
    /// The transfer coding of the request is not known here.
    NotImplemented "not_implemented" NOT_IMPLEMENTED Other,
    /// The upstream does not answer, or not properly.
    UpstreamUnavailable "upstream_unavailable" BAD_GATEWAY Other,
    /// More is asked of the whole site than it can serve.
    Busy "busy" SERVICE_UNAVAILABLE Other,
    /// The provider is away, or its metadata cannot be trusted.
    ProviderUnavailable "provider_unavailable" SERVICE_UNAVAILABLE SignInAgain,
    /// A tenant's site cannot be made.
    SiteUnavailable "site_unavailable" SERVICE_UNAVAILABLE Other,
    /// The session store is away.
    StoreUnavailable "store_unavailable" SERVICE_UNAVAILABLE Other,
    /// The upstream did not answer in time.
    UpstreamTimeout "upstream_timeout" GATEWAY_TIMEOUT Other,
    /// The request has been here before, again and again.
    LoopDetected "loop_detected" LOOP_DETECTED Other,
}

impl Code {
    /// Whether signing in is what helps, so that a person on the way to a page is sent there at once.
    pub const fn needs_login(self) -> bool {
        matches!(self.remedy(), Remedy::NewSession | Remedy::SignIn)
    }

    /// Whether the answer says where to sign in.
    pub const fn offers_login(self) -> bool {
        !matches!(self.remedy(), Remedy::Other)
    }

    /// Whether the answer takes the session cookie back.
    pub const fn deletes_cookie(self) -> bool {
        matches!(self.remedy(), Remedy::NewSession)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// N4: what apps compare is listed for them, each code with its status and with whether it comes
    /// with a `login_url`.
    #[test]
    fn every_code_is_documented() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/refusals.md");
        let docs = fs::read_to_string(docs).unwrap();
        let documented: BTreeSet<[String; 3]> = docs
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|row| {
                let mut cells = row.split('|').skip(1).map(|cell| cell.trim().to_owned());
                std::array::from_fn(|_| cells.next().unwrap())
            })
            .collect();
        let there = Code::ALL.iter().map(|code| {
            let offers = if code.offers_login() { "yes" } else { "" };
            [
                format!("`{}`", code.as_str()),
                code.status().as_str().to_owned(),
                offers.to_owned(),
            ]
        });
        assert_eq!(there.collect::<BTreeSet<_>>(), documented);
    }

    /// Only a session that is over takes its cookie along, and whoever needs a login is told where.
    #[test]
    fn what_follows_from_a_code_fits_together() {
        for code in Code::ALL {
            assert!(!code.deletes_cookie() || code.needs_login(), "{code:?}");
            assert!(!code.needs_login() || code.offers_login(), "{code:?}");
            let is_401 = code.status() == StatusCode::UNAUTHORIZED;
            // Nobody is sent to a second login unasked: it might come back as weak as the first.
            let is_step_up = *code == Code::StepUpRequired;
            assert_eq!(code.needs_login() || is_step_up, is_401, "{code:?}");
        }
        assert!(!Code::SessionSuperseded.deletes_cookie());
    }
}
