//! Why a callback signed nobody in, by whose fault it is.

use crate::oidc::{ErrorCode, ExchangeError, ProviderError};
use crate::session::cookie::TooLarge;
use crate::session::store::StoreError;
use crate::telemetry::LoginOutcome;
use crate::web::strangers::OverBudget;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum CallbackFault {
    /// A parameter came twice (C2).
    #[error("the callback repeats the parameter {0}")]
    Repeated(&'static str),
    /// No login that this browser knows has this state (C3).
    #[error("the callback belongs to no login of this browser")]
    UnknownState,
    /// The login is over: finished, pushed out by others, or past its time.
    #[error("the callback's login is over")]
    Over,
    /// The provider has let the login expire.
    #[error("the login took too long at the provider")]
    TookTooLong,
    /// The answer was used before (C6).
    #[error("the callback was used before")]
    Replayed,
    /// It came to the address of a provider that the configuration does not name, or not any more.
    #[error("the callback is of no provider that is configured")]
    OfNobody,
    /// The answer is another issuer's (C4).
    #[error("the callback comes from another issuer")]
    OtherIssuer,
    /// The answer does not say whose it is, as the provider announces that all of them do (C4).
    #[error("the callback lacks iss, which the provider's metadata promise")]
    LacksIssuer,
    /// The provider says no; its error, if it is one of the registered ones (C5).
    #[error("the provider refused the login: {}", .0.map_or("another error", ErrorCode::as_str))]
    Refused(Option<ErrorCode>),
    /// Neither a code nor an error.
    #[error("the callback has no code")]
    NoCode,
    /// The provider's answer cannot be trusted, or the code was refused (C7–C10, D).
    #[error(transparent)]
    Exchange(ExchangeError),
    /// The access token cannot be sent in a header.
    #[error("the access token has bytes that no header may carry")]
    UnusableToken,
    /// The provider could not be asked.
    #[error(transparent)]
    Provider(ProviderError),
    /// The session could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Strangers ask for too much at once, or this one does. Nothing was used up.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// The provider ended its session while the one here began (E10).
    #[error("the provider ended its session before ours began")]
    EndedThere,
    /// The session is to travel in the cookie, and no browser takes one of its size (G8).
    #[error(transparent)]
    TooLarge(TooLarge),
    /// The user has as many sessions as there may be.
    #[error("the user has as many sessions as session.max_per_user allows")]
    SessionLimit,
}

impl CallbackFault {
    /// What an operator can do about it, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Exchange(ExchangeError::Refused(answer)) => answer.remedy(),
            _ => None,
        }
    }

    /// What it is in the metric.
    pub(in crate::auth) fn outcome(&self) -> LoginOutcome {
        match self {
            Self::Provider(_) | Self::Exchange(ExchangeError::Unavailable(_)) => {
                LoginOutcome::ProviderUnavailable
            }
            Self::Store(_) => LoginOutcome::StoreUnavailable,
            Self::OverBudget(_) => LoginOutcome::OverBudget,
            Self::SessionLimit => LoginOutcome::SessionLimit,
            Self::TooLarge(_) => LoginOutcome::TooLarge,
            Self::Over | Self::Replayed => LoginOutcome::Over,
            Self::Repeated(_)
            | Self::UnknownState
            | Self::TookTooLong
            | Self::OfNobody
            | Self::OtherIssuer
            | Self::LacksIssuer
            | Self::Refused(_)
            | Self::NoCode
            | Self::Exchange(_)
            | Self::UnusableToken
            | Self::EndedThere => LoginOutcome::Refused,
        }
    }
}
