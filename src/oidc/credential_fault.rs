//! Why nothing can prove to the provider who we are.

use std::sync::Arc;

use crate::oidc::assertion_file::AssertionFault;
use crate::oidc::client_key::ClientKeyFault;
use crate::web::key_pair::PairFault;

/// Why what proves who we are cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialFault {
    /// Our own key cannot sign the assertion (A10).
    #[error("provider.client_key cannot sign: {0}")]
    Key(#[from] ClientKeyFault),
    /// The file gives no assertion that is good now.
    #[error("provider.client_assertion_file {0}")]
    Assertion(#[from] AssertionFault),
    /// There is no certificate that could be shown (RFC 8705 §2).
    #[error("provider.client_cert: {0}")]
    Certificate(Arc<PairFault>),
}

impl CredentialFault {
    /// The word for metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Key(_) => "client_key",
            Self::Assertion(_) => "client_assertion",
            Self::Certificate(_) => "client_certificate",
        }
    }
}
