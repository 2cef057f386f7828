//! The keys that tokens are bound to (RFC 9449).

use std::sync::Arc;

use crate::oidc::error::ProviderError;
use crate::oidc::provider::Provider;
use crate::web::proof::{Prover, Proving};

impl Provider {
    /// A key for tokens to be bound to, where they are to be (A14): of one user, or of ourselves.
    ///
    /// # Errors
    ///
    /// As [`Self::metadata`].
    pub async fn new_prover(&self) -> Result<Option<Arc<Prover>>, ProviderError> {
        let metadata = self.metadata().await?;
        let fresh = metadata.terms.binds.then(Prover::fresh);
        Ok(fresh.flatten().map(Arc::new))
    }

    /// What this key proves requests by.
    pub(super) fn proving<'a>(&'a self, prover: Option<&'a Prover>) -> Option<Proving<'a>> {
        Some(Proving {
            prover: prover?,
            clock: &*self.0.clock,
            randomness: &*self.0.randomness,
        })
    }
}
