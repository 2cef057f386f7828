//! Who we are, and at which provider: what subjects, sids and tokens are names within.

use std::fmt;
use std::sync::Arc;

/// A client's registration: an issuer and the `client_id` that we have there.
///
/// `sub` and `sid` mean nothing without it (OIDC Core §2, §5.7): two issuers may give one to two people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registration {
    /// The issuer, byte for byte as configured.
    pub issuer: Arc<str>,
    /// Who we are there.
    pub client_id: Arc<str>,
}

impl Registration {
    /// The registration of `client_id` at `issuer`.
    pub fn new(issuer: &str, client_id: &str) -> Self {
        Self {
            issuer: issuer.into(),
            client_id: client_id.into(),
        }
    }

    /// In the place of one that nothing names.
    pub fn unnamed() -> Self {
        Self::new("", "")
    }

    /// Whether it stands in the place of one.
    pub fn is_unnamed(&self) -> bool {
        self.issuer.is_empty() && self.client_id.is_empty()
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.client_id, self.issuer)
    }
}
