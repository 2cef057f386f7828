//! Why the provider could not be asked.
//!
//! Variants say what the caller can do. The texts are for the log: none of them holds a token, a
//! code or a word that the provider chose.

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::oidc::ProviderSettings;
use crate::oidc::credential_fault::CredentialFault;
use crate::oidc::error_code::ErrorAnswer;
use crate::web::loopback::is_loopback;
use crate::web::outbound::OutboundError;

/// A call outside a login or a refresh went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be asked now; later it may.
    #[error("the provider cannot be asked")]
    Unavailable(#[source] Arc<Unavailable>),
    /// It answered, and the answer may not be used; an operator must look.
    #[error("the provider misbehaves")]
    Misbehaved(#[source] Arc<Misbehaviour>),
}

impl ProviderError {
    /// The word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unavailable(unavailable) => unavailable.as_str(),
            Self::Misbehaved(_) => "bad_metadata",
        }
    }
}

impl From<Unavailable> for ProviderError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(Arc::new(unavailable))
    }
}

impl From<Misbehaviour> for ProviderError {
    fn from(misbehaviour: Misbehaviour) -> Self {
        Self::Misbehaved(Arc::new(misbehaviour))
    }
}

/// Why the provider could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Nobody answered where its metadata should be.
    #[error("no metadata from {address}{}", container_hint(address, source))]
    NoMetadata {
        /// Where they were asked for.
        address: Url,
        /// What happened instead.
        source: OutboundError,
    },
    /// No answer came.
    #[error("no answer from the {endpoint} endpoint")]
    NoAnswer {
        /// Which of its endpoints.
        endpoint: &'static str,
        /// What happened instead.
        source: OutboundError,
    },
    /// It answered with a status that is no answer.
    #[error("the {endpoint} endpoint answered with {answer}")]
    Status {
        /// Which of its endpoints.
        endpoint: &'static str,
        /// The status, and the code that came with it.
        answer: ErrorAnswer,
    },
    /// The token endpoint said 200 and sent something else (L5).
    #[error("the token endpoint sent no usable answer")]
    BadTokenResponse(#[source] TokenResponseFault),
    /// The answer to a pushed request names none (RFC 9126 §2.2).
    #[error("the pushed_authorization endpoint sent no usable request_uri")]
    BadPushedResponse,
    /// No key is known to have signed what it sent, and its keys were fetched too often of late (D16).
    #[error("the provider's keys were fetched too often of late to look for a newer one")]
    KeysThrottled,
    /// We cannot say who we are (A9, A10).
    #[error("nothing can prove to the provider who we are")]
    Credential(#[source] CredentialFault),
}

impl Unavailable {
    /// The word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoAnswer { source, .. } | Self::NoMetadata { source, .. } => source.as_str(),
            Self::Status { answer, .. } => answer.as_str(),
            Self::BadTokenResponse(_) => "bad_token_response",
            Self::BadPushedResponse => "bad_pushed_response",
            Self::Credential(fault) => fault.as_str(),
            Self::KeysThrottled => "keys_throttled",
        }
    }
}

/// What the provider did that no relying party may accept.
#[derive(Debug, thiserror::Error)]
pub enum Misbehaviour {
    /// The metadata name another issuer than the one configured, byte for byte (A5).
    #[error(transparent)]
    OtherIssuer(#[from] Box<OtherIssuer>),
    /// Where its metadata should be, something else answered.
    #[error(
        "{address} answers {status} where the metadata should be; write {key} to the letter (at Keycloak it \
         ends with /realms/ and the name of the realm), or discovery = false where it publishes none"
    )]
    NoMetadata {
        /// Where they were asked for.
        address: Url,
        /// The key that says so.
        key: String,
        /// What came.
        status: u16,
    },
    /// The top level is no JSON object (A7).
    #[error("the {0} endpoint sent no JSON object")]
    NotAnObject(&'static str),
    /// A member that must be there is not, or is of another type.
    #[error("the metadata lack a usable `{0}`")]
    Missing(&'static str),
    /// An endpoint is neither https nor on loopback (A7).
    #[error("`{0}` is neither https nor http on loopback")]
    Insecure(&'static str),
    /// An endpoint of an https issuer is in the clear, be it on loopback (A7).
    #[error("`{0}` is not https, and the issuer is")]
    NotHttps(&'static str),
    /// PKCE with S256 is not among the methods listed (A4).
    #[error("the provider does not support PKCE with S256")]
    NoS256,
    /// The key set lists more keys than anyone needs (D17).
    #[error("the key set holds {0} keys")]
    TooManyKeys(usize),
}

/// Metadata of another issuer than the one configured, and what to write then.
#[derive(Debug)]
pub struct OtherIssuer {
    named: String,
    configured: String,
    internal: Option<Url>,
}

impl OtherIssuer {
    /// More of a name helps nobody.
    const LONGEST: usize = 300;

    pub(super) fn new(named: &str, settings: &ProviderSettings) -> Self {
        Self {
            named: named.chars().take(Self::LONGEST).collect(),
            configured: settings.issuer.clone(),
            internal: settings
                .internal
                .as_ref()
                .map(|internal| internal.url().clone()),
        }
    }
}

impl fmt::Display for OtherIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            named,
            configured,
            internal,
        } = self;
        let bare = |issuer: &str| issuer.trim_end_matches('/').to_owned();
        write!(
            f,
            "the metadata name another issuer, {named:?}; write issuer = {named:?}"
        )?;
        match internal {
            _ if bare(named) == bare(configured) => {
                f.write_str(", since a slash at the end makes another one")
            }
            Some(internal) if bare(named) == bare(internal.as_str()) => f.write_str(
                " if browsers reach it there, or else let the provider know the name by which they do \
                 (at Keycloak: --hostname)",
            ),
            Some(_) => f.write_str(" if that is the one that is meant"),
            None => f.write_str(
                " if that is the one that is meant; if bff reaches the provider by another name than \
                 browsers do, write the browsers' as issuer and the other as provider.internal_url",
            ),
        }
    }
}

impl std::error::Error for OtherIssuer {}

/// What is overlooked most often where nobody answers on this machine.
fn container_hint(address: &Url, error: &OutboundError) -> &'static str {
    if matches!(error, OutboundError::Connect(_)) && is_loopback(address) {
        " (a container is a machine of its own: from within one, write as provider.internal_url where \
         bff reaches the provider)"
    } else {
        ""
    }
}

/// What is wrong with a token response (RFC 6749 §5.1).
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum TokenResponseFault {
    /// No JSON object.
    #[error("no JSON object")]
    NotAnObject,
    /// A status that a token endpoint does not use, such as a redirect.
    #[error("status {0}")]
    Status(u16),
    /// No `access_token`, or none that is a non-empty string.
    #[error("no access token")]
    NoAccessToken,
    /// A `token_type` other than was asked for.
    #[error("the token type is neither Bearer nor one that was asked for")]
    TokenType,
    /// A plain token where only one that is bound to our key will do (A14).
    #[error(
        "the token type is Bearer, and provider.dpop is \"always\": let the provider bind the tokens of this \
         client, or write \"auto\""
    )]
    NotBound,
    /// An `id_token` that is no string.
    #[error("the ID token is no string")]
    IdTokenType,
    /// What was issued in an exchange is something else than was asked for (RFC 8693 §2.2.1).
    #[error("the issued token type is another than was asked for")]
    IssuedTokenType,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::tests::settings;

    /// A5: whoever has the wrong issuer is told the right one.
    #[test]
    fn another_issuer_says_what_to_write() {
        for (configured, named, says) in [
            (
                "https://id.example.com",
                "https://id.example.com/",
                "write issuer = \"https://id.example.com/\", since a slash",
            ),
            (
                "https://id.example.com/",
                "https://id.example.com",
                "write issuer = \"https://id.example.com\", since a slash",
            ),
            (
                "https://id.example.com",
                "https://login.example.com",
                "the other as provider.internal_url",
            ),
        ] {
            let other = OtherIssuer::new(named, &settings(configured)).to_string();
            assert!(other.contains(says), "{other}");
        }
    }
}
