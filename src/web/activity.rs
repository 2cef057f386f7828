//! Whether a request counts as use of its session (G9), as it says itself.

use http::{HeaderMap, HeaderName};

/// What a page says of a call that nobody made by hand: `none`. No other origin may send it without a
/// preflight, and all that it can do is let a session end sooner.
const X_BFF_ACTIVITY: HeaderName = HeaderName::from_static("x-bff-activity");

/// Whether looking at a session counts as using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Puts the idle timeout off.
    Slides,
    /// Only looks (`?slide=false`, `X-BFF-Activity: none`, a route with `activity = false`).
    Observes,
}

impl Activity {
    /// A use by both accounts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Slides, Self::Slides) => Self::Slides,
            (Self::Observes, _) | (_, Self::Observes) => Self::Observes,
        }
    }

    /// What the request says of itself; a use, unless it says otherwise.
    pub fn said_by(headers: &HeaderMap) -> Self {
        let mut said = headers.get_all(X_BFF_ACTIVITY).iter();
        if said.any(|value| value.as_bytes().eq_ignore_ascii_case(b"none")) {
            Self::Observes
        } else {
            Self::Slides
        }
    }
}
