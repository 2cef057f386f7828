//! An access token as a call carries it, and how often another is fetched.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::session::tokens::Access;
use crate::web::proof::Prover;

/// After a refresh that could not be made, the next is tried this much later (L5).
pub(in crate::auth) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An upstream that refuses every token brings about one refresh in this time, not one a call.
pub(in crate::auth) const FORCED_AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// What a call to an upstream carries.
#[derive(Debug, Clone)]
pub struct LiveToken {
    /// `Authorization`.
    pub authorization: HeaderValue,
    version: u64,
    /// What each call proves that it is ours by, where it is bound to a key.
    prover: Option<Arc<Prover>>,
}

impl LiveToken {
    /// Which one it is of those that were in its place.
    pub(in crate::auth) const fn version(&self) -> u64 {
        self.version
    }

    /// What each call with it is proven by; `None` where whoever holds it may use it.
    pub fn prover(&self) -> Option<&Prover> {
        self.prover.as_deref()
    }

    /// The one that is kept so, beside this key.
    pub(in crate::auth) fn of(access: &Access, prover: Option<&Arc<Prover>>) -> Self {
        Self {
            prover: prover.filter(|_| access.token.is_bound()).cloned(),
            authorization: access.authorization.clone(),
            version: access.version,
        }
    }
}
