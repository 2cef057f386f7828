//! Why the token endpoint gave nothing, and what that is to those who asked it.

use crate::oidc::credential_fault::CredentialFault;
use crate::oidc::error::{TokenResponseFault, Unavailable};
use crate::oidc::error_code::ErrorAnswer;
use crate::oidc::untrusted::ExchangeError;
use crate::web::outbound::OutboundError;

/// Why the token endpoint gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenFailure {
    #[error("no answer")]
    NoAnswer(#[source] OutboundError),
    /// A status of 4xx or 5xx.
    #[error("the answer is {0}")]
    Error(ErrorAnswer),
    #[error("no usable answer")]
    Fault(#[source] TokenResponseFault),
    #[error("nothing proves who we are")]
    Credential(#[source] CredentialFault),
}

impl TokenFailure {
    /// Why the provider cannot be asked now, or else its refusal.
    pub(super) fn later(self) -> Result<Unavailable, ErrorAnswer> {
        const ENDPOINT: &str = "token";
        Ok(match self {
            Self::Error(answer) if !answer.says_later() => return Err(answer),
            Self::Error(answer) => Unavailable::Status {
                endpoint: ENDPOINT,
                answer,
            },
            Self::NoAnswer(source) => Unavailable::NoAnswer {
                endpoint: ENDPOINT,
                source,
            },
            Self::Fault(fault) => Unavailable::BadTokenResponse(fault),
            Self::Credential(fault) => Unavailable::Credential(fault),
        })
    }
}

impl From<TokenResponseFault> for TokenFailure {
    fn from(fault: TokenResponseFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TokenFailure> for ExchangeError {
    fn from(failure: TokenFailure) -> Self {
        if let TokenFailure::Fault(fault) = failure {
            return Self::Untrusted(fault.into());
        }
        match failure.later() {
            Ok(unavailable) => Self::Unavailable(unavailable.into()),
            Err(answer) => Self::Refused(answer),
        }
    }
}
