//! How many sessions a user may have, and which of them count.

use crate::session::record::Facts;
use crate::session::store::directory::{SiteFilter, Within};

/// How many sessions a user may have, and what happens beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// At least 1.
    pub most: usize,
    /// What happens to one more.
    pub on_limit: OnLimit,
    /// Which of the user's sessions count.
    pub scope: LimitScope,
}

/// What happens when a user signs in once more than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// The oldest session ends as superseded.
    EndOldest,
    /// The login is refused.
    Refuse,
}

/// Which sessions of a user count against the limit: those at one issuer, whose name for the user it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Those at the same site.
    Site,
    /// Those at all sites whose users sign in at the same issuer.
    Issuer,
}

impl LimitScope {
    /// The sessions among which one of these facts counts.
    pub(in crate::session) fn around(self, facts: &Facts) -> Within {
        let of_issuer = Within::of_issuer(&facts.registration.issuer);
        match self {
            Self::Site => of_issuer.at(SiteFilter::Only(facts.site.clone())),
            Self::Issuer => of_issuer,
        }
    }
}
