//! The `error` of an OAuth answer, as one of the registered codes: what a provider wrote beyond
//! them goes nowhere, neither into a log nor to a browser.

use std::fmt;

use http::StatusCode;

use crate::web::proof::USE_DPOP_NONCE;

/// A registered error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(&'static str);

/// RFC 6749 §4.1.2.1 and §5.2, OIDC Core §3.1.2.6, and what was registered since for the endpoints
/// that we ask: RFC 7009, 8628, 8707, 9396, 9449, CIBA and unmet authentication requirements.
const REGISTERED: [&str; 35] = [
    "access_denied",
    "account_selection_required",
    "authorization_pending",
    "consent_required",
    "expired_login_hint_token",
    "expired_token",
    "interaction_required",
    "invalid_authorization_details",
    "invalid_binding_message",
    "invalid_client",
    "invalid_dpop_proof",
    "invalid_grant",
    "invalid_request",
    "invalid_request_object",
    "invalid_request_uri",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "invalid_user_code",
    "login_required",
    "missing_user_code",
    "registration_not_supported",
    "request_not_supported",
    "request_uri_not_supported",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "transaction_failed",
    "unauthorized_client",
    "unknown_user_id",
    "unmet_authentication_requirements",
    "unsupported_grant_type",
    "unsupported_response_type",
    "unsupported_token_type",
    "use_dpop_nonce",
];

impl ErrorCode {
    /// The user, or somebody in their name, said no.
    pub const ACCESS_DENIED: Self = Self("access_denied");
    /// The credential does not prove that we are this client.
    pub const INVALID_CLIENT: Self = Self("invalid_client");
    /// The user cannot be authenticated in the way that was asked for.
    pub const UNMET_AUTHENTICATION_REQUIREMENTS: Self = Self("unmet_authentication_requirements");
    /// This client may not do that.
    pub const UNAUTHORIZED_CLIENT: Self = Self("unauthorized_client");

    /// The code that `text` is, byte for byte.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut registered = REGISTERED.into_iter();
        registered.find(|code| *code == text).map(Self)
    }

    /// The word of the specification.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether the user has to be asked something, which needs a browser.
    pub fn needs_the_user(self) -> bool {
        const CODES: [&str; 4] = [
            "login_required",
            "interaction_required",
            "account_selection_required",
            "consent_required",
        ];
        CODES.contains(&self.0)
    }

    /// Another proof is wanted, with the nonce that comes along (RFC 9449 §8).
    pub const USE_DPOP_NONCE: Self = Self(USE_DPOP_NONCE);

    /// Whether it says "later" rather than "no". A proof that is not taken says nothing of the user or the
    /// grant: the next one may be, once the clocks agree.
    pub fn says_later(self) -> bool {
        ["temporarily_unavailable", "slow_down", "server_error"].contains(&self.0)
            || self.is_about_the_proof()
    }

    fn is_about_the_proof(self) -> bool {
        self == Self::USE_DPOP_NONCE || self.0 == "invalid_dpop_proof"
    }

    /// Whether it ends the grant that a refresh token stands for (L4).
    pub fn ends_the_grant(self) -> bool {
        self.0 == "invalid_grant" || self.needs_the_user()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An answer that is an error: its status, and its code where that is a registered one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The status.
    pub status: u16,
    /// The `error` of the body.
    pub code: Option<ErrorCode>,
}

impl ErrorAnswer {
    /// Whether the user has to be asked something.
    pub fn needs_the_user(self) -> bool {
        self.code.is_some_and(ErrorCode::needs_the_user)
    }

    /// Whether the same request may be answered better later (L5).
    pub fn says_later(self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(says_later)
            || self.code.is_some_and(ErrorCode::says_later)
    }

    /// The word for metrics.
    pub fn as_str(self) -> &'static str {
        match (self.code, self.status) {
            (Some(code), _) if code.says_later() => code.as_str(),
            (_, 429) => "too_many_requests",
            (_, 500..) => "server_error",
            (Some(code), _) => code.as_str(),
            (None, _) => "refused",
        }
    }

    /// Whether it is about who we are, and not about what was asked for. A token endpoint has no other
    /// reason for 401 (RFC 6749 §5.2).
    pub fn is_about_us(self) -> bool {
        match self.code {
            Some(code) => code == ErrorCode::INVALID_CLIENT,
            None => self.status == StatusCode::UNAUTHORIZED.as_u16(),
        }
    }

    /// What an operator can do where it says that we are not who we say.
    pub fn remedy(self) -> Option<&'static str> {
        if self.code.is_some_and(ErrorCode::is_about_the_proof) {
            return Some(
                "set the clock of this machine, and see that the provider is asked at the address by which it knows itself (provider.dpop)",
            );
        }
        let of_us = [ErrorCode::INVALID_CLIENT, ErrorCode::UNAUTHORIZED_CLIENT];
        self.code.is_some_and(|code| of_us.contains(&code)).then_some(
            "look at provider.client_id, at client_secret or client_key, with a client_key at client_assertion_audience, and at the client's settings at the provider",
        )
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        match self.code {
            Some(code) => write!(f, ", {code}"),
            None => Ok(()),
        }
    }
}

/// Whether the status says "later" rather than "no" (L5).
pub(super) fn says_later(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N4: only words of the specifications; in their order, so that none stands twice.
    #[test]
    fn a_code_is_one_of_the_registered_words() {
        assert!(REGISTERED.is_sorted());
        let code = |text| ErrorCode::from_text(text).map(ErrorCode::as_str);
        assert_eq!(code("invalid_client"), Some("invalid_client"));
        for text in ["Invalid_Grant", "", "invalid_grant ", "the user is bob"] {
            assert_eq!(code(text), None, "{text}");
        }
    }

    /// L4, L5: what an answer means for the one who asked to refresh.
    #[test]
    fn an_answer_is_an_end_or_later_or_a_refusal() {
        let cases = [
            (400, "invalid_grant", "end", "invalid_grant"),
            (400, "interaction_required", "end", "interaction_required"),
            (400, "login_required", "end", "login_required"),
            (400, "consent_required", "end", "consent_required"),
            (
                400,
                "account_selection_required",
                "end",
                "account_selection_required",
            ),
            (401, "invalid_client", "refusal", "invalid_client"),
            (401, "unauthorized_client", "refusal", "unauthorized_client"),
            (400, "invalid_request", "refusal", "invalid_request"),
            (400, "no_such_code", "refusal", "refused"),
            (403, "", "refusal", "refused"),
            (400, "slow_down", "later", "slow_down"),
            (
                400,
                "temporarily_unavailable",
                "later",
                "temporarily_unavailable",
            ),
            (
                503,
                "temporarily_unavailable",
                "later",
                "temporarily_unavailable",
            ),
            (429, "", "later", "too_many_requests"),
            (500, "invalid_grant", "later", "server_error"),
        ];
        for (status, text, expected, word) in cases {
            let code = ErrorCode::from_text(text);
            let answer = ErrorAnswer { status, code };
            let meaning = if answer.says_later() {
                "later"
            } else if code.is_some_and(ErrorCode::ends_the_grant) {
                "end"
            } else {
                "refusal"
            };
            assert_eq!(meaning, expected, "{answer}");
            assert_eq!(answer.as_str(), word, "{answer}");
        }
    }
}
