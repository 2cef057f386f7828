//! An access token as a call carries it, and how often another is fetched.

use std::time::Duration;

use http::HeaderValue;

use crate::session::tokens::Access;

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
}

impl LiveToken {
    /// Which one it is of those that were in its place.
    pub(in crate::auth) const fn version(&self) -> u64 {
        self.version
    }

    /// The one that is kept so.
    pub(in crate::auth) fn of(access: &Access) -> Self {
        Self {
            authorization: access.authorization.clone(),
            version: access.version,
        }
    }
}
