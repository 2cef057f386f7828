//! Why what the provider sent brought nothing: it refused, or may not be believed.
//!
//! As in `error`, variants say what the caller can do, and no text holds a word of the provider's.

use std::sync::Arc;

use crate::oidc::claims::ClaimFault;
use crate::oidc::error::{Misbehaviour, ProviderError, TokenResponseFault};
use crate::oidc::error_code::ErrorAnswer;
use crate::oidc::grant::TokenSet;
use crate::oidc::jws::JwsFault;

/// Why a code brought no tokens.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The provider cannot be asked now.
    #[error("the provider cannot be asked")]
    Unavailable(#[source] ProviderError),
    /// It refused the code.
    #[error("the token endpoint refused the code: {0}")]
    Refused(ErrorAnswer),
    /// It answered, and the answer may not be believed.
    #[error("the provider's answer may not be believed")]
    Untrusted(#[source] Untrusted),
}

/// Why a refresh token brought no tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The refresh token is dead, or the user must sign in again: the session is over (L4).
    #[error("the token endpoint no longer honours the refresh token: {0}")]
    GrantOver(ErrorAnswer),
    /// It refuses us, or what we ask, and says nothing of the grant: the session stays (L4).
    #[error("the token endpoint refuses to refresh: {0}")]
    Refused(ErrorAnswer),
    /// The provider cannot be asked now; the session stays (L5).
    #[error("the provider cannot be asked")]
    Unavailable(#[source] ProviderError),
    /// The new ID token is about another user, or of another issuer: the session is over, and
    /// nobody will use what came (D18).
    #[error("the refreshed ID token has another `{claim}`")]
    AboutAnother {
        /// `sub` or `iss`.
        claim: &'static str,
        /// To be revoked.
        tokens: Box<TokenSet>,
    },
}

impl RefreshError {
    /// The word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::GrantOver(answer) | Self::Refused(answer) => answer.as_str(),
            Self::Unavailable(error) => error.as_str(),
            Self::AboutAnother { .. } => "about_another",
        }
    }
}

/// Which token could not be revoked (RFC 7009).
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The refresh token: whoever has it can go on.
    #[error("the refresh token lives on")]
    RefreshToken(#[source] ProviderError),
    /// The access token alone, which some providers do not revoke: it lives on to its end.
    #[error("the access token lives on to its end")]
    AccessToken(#[source] ProviderError),
}

/// Why an answer may not be believed.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// The token response itself (C8).
    #[error("bad token response")]
    TokenResponse(#[from] TokenResponseFault),
    /// The ID token (section D).
    #[error("bad ID token")]
    IdToken(#[from] IdTokenFault),
    /// The UserInfo response (C12).
    #[error("bad UserInfo response")]
    UserInfo(#[from] UserInfoFault),
    /// The metadata.
    #[error("the provider misbehaves")]
    Metadata(#[source] Arc<Misbehaviour>),
}

impl Untrusted {
    /// Whether all is well but how the user signed in: not as strongly or not as lately as was asked for
    /// (D13).
    pub const fn is_of_a_weak_login(&self) -> bool {
        let Self::IdToken(IdTokenFault::Claim(fault)) = self else {
            return false;
        };
        match fault {
            ClaimFault::Missing(claim) | ClaimFault::Value(claim) => {
                matches!(claim.as_bytes(), b"acr" | b"auth_time")
            }
            ClaimFault::Type(_) => false,
        }
    }
}

/// What is wrong with an ID token (OIDC Core §3.1.3.7).
#[derive(Debug, thiserror::Error)]
pub enum IdTokenFault {
    /// There is none, although `openid` was asked for (C10).
    #[error("there is none")]
    Missing,
    /// Its header, its signature or its key.
    #[error("as a signed token")]
    Jws(#[from] JwsFault),
    /// A claim.
    #[error("by its claims")]
    Claim(#[from] ClaimFault),
}

/// Why a logout token ends no session.
#[derive(Debug, thiserror::Error)]
pub enum LogoutTokenError {
    /// It may not be believed, now or later.
    #[error("bad logout token")]
    Invalid(#[source] LogoutTokenFault),
    /// The keys that it may have been signed with cannot be had now; later it may be good.
    #[error("the logout token cannot be verified now")]
    Unavailable(#[source] JwsFault),
}

/// What is wrong with a logout token (Back-Channel Logout §2.6).
#[derive(Debug, thiserror::Error)]
pub enum LogoutTokenFault {
    /// Its header, its signature or its key.
    #[error("as a signed token")]
    Jws(#[source] JwsFault),
    /// A claim.
    #[error("by its claims")]
    Claim(#[source] ClaimFault),
}

impl From<JwsFault> for LogoutTokenError {
    fn from(fault: JwsFault) -> Self {
        if fault.could_not_look() {
            Self::Unavailable(fault)
        } else {
            Self::Invalid(LogoutTokenFault::Jws(fault))
        }
    }
}

impl From<ClaimFault> for LogoutTokenError {
    fn from(fault: ClaimFault) -> Self {
        Self::Invalid(LogoutTokenFault::Claim(fault))
    }
}

/// What is wrong with a UserInfo response (OIDC Core §5.3.2).
#[derive(Debug, thiserror::Error)]
pub enum UserInfoFault {
    /// A status other than 200.
    #[error("status {0}")]
    Status(u16),
    /// Neither a JSON object nor a signed one.
    #[error("no JSON object")]
    NotAnObject,
    /// `sub` is not that of the ID token.
    #[error("about another subject")]
    OtherSubject,
    /// The access token holds bytes that no header may.
    #[error("the access token fits in no header")]
    AccessToken,
    /// The signed form does not verify.
    #[error("as a signed token")]
    Jws(#[from] JwsFault),
    /// A claim of the signed form.
    #[error("by its claims")]
    Claim(#[from] ClaimFault),
}
