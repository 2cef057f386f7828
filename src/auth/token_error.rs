//! Why a session has no access token to send, for those who make it and those who wait for it.

use crate::oidc::ErrorCode;
use crate::web::ending::EndReason;

/// What a refresh comes to.
pub(in crate::auth) type Outcome = Result<(), TokenError>;

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The provider no longer honours the grant, or there was nothing to refresh with: the
    /// session is over, for this reason (L4).
    #[error("the session ended: its access token cannot be renewed")]
    SessionEnded(EndReason),
    /// There is no other token for now; the session lives (L5).
    #[error("the access token has expired and cannot be renewed now: {0}")]
    Unavailable(NotNow),
    /// The access token has been dead for long, and the provider still refuses to renew it; or it is
    /// dead, and who could renew it is not there any more. The session lives, in case that is mended; a
    /// login would help sooner (L4).
    #[error("the access token has expired and is not renewed: {0}")]
    Unrefreshable(NotNow),
    /// The provider says no to a token that a route asks for beside the session's own, by this code where
    /// it is a registered one. The session lives.
    #[error("the identity provider gives no token for this route{}", code_of(*.0))]
    Refused(Option<ErrorCode>),
}

fn code_of(code: Option<ErrorCode>) -> String {
    code.map_or_else(String::new, |code| format!(": {code}"))
}

/// Why a token cannot be renewed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// The refresh goes on, but calls do not wait for it any longer.
    #[error("the refresh takes longer than a call waits")]
    Slow,
    /// The provider refuses, by a code that need not keep it from taking a login.
    #[error("{0}")]
    Refused(ErrorCode),
    /// All else at the provider or on the way there, in the word of the metric.
    #[error("{0}")]
    Provider(&'static str),
    /// The client that signed the user in is not in the configuration any more.
    #[error("its session is of a client at a provider that is not configured here any more")]
    ClientGone,
    /// The session store.
    #[error("the session store cannot be asked")]
    Store,
    /// Nothing can renew it, and it lives yet.
    #[error("there is no refresh token")]
    NoRefreshToken,
    /// What the session holds of its grant cannot be read.
    #[error("the session's record cannot be read")]
    Record,
    /// The refresh went without a word: its task broke, or the process ends.
    #[error("the refresh broke off")]
    BrokeOff,
}
