//! Why a login did not begin, by whose fault it is.

use std::borrow::Cow;

use crate::auth::prompt::Window;
use crate::auth::return_to::BadReturnTo;
use crate::oidc::ProviderError;
use crate::session::store::StoreError;
use crate::web::strangers::OverBudget;

/// Why no login was begun. No cookie was set.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The place to return to is not ours.
    #[error(transparent)]
    BadReturnTo(#[from] BadReturnTo),
    /// A parameter is repeated, or is not what it must be.
    #[error("the login parameter {0} is repeated, malformed, or has a value that is not listed")]
    BadParameter(Cow<'static, str>),
    /// It names a provider that the site does not have.
    #[error("the login parameter provider names a provider that is not configured")]
    UnknownProvider,
    /// A third-party-initiated login names another issuer, or none, or several (B7).
    #[error("the login was initiated for another issuer")]
    OtherIssuer,
    /// The provider cannot be asked, or its metadata cannot be trusted.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// So many logins of this address have failed that its next would be refused at its end.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// A login that was to go on is over, and nothing shows that this browser began it.
    #[error("the login is over, or another browser's")]
    Over {
        /// Where a person begins it anew.
        link: String,
    },
    /// So many logins came to nothing just now that the next would too.
    #[error("logins come to nothing in this browser: {trouble:?}")]
    Hopeless {
        /// Why, as far as it can be told.
        trouble: Trouble,
        /// Where a person tries all the same.
        link: String,
        /// What it is shown in.
        window: Window,
    },
    /// Whether somebody is signed in could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why signing in again would not help, as far as it can be told from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The browser brings no cookie of a login back.
    NoCookie,
    /// It was at another port than the public one.
    OtherPort,
    /// It brings that cookie, and not the session's.
    NoSession,
    /// The provider, or a clock, says each time that the login took too long.
    TooLate,
}
