//! Who may administrate: a key each, and the name under which the log tells what they did.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::secret::AdminKey;

/// Who it is whose key has no name.
const UNNAMED: &str = "administrator";

/// The keys of the listener.
#[derive(Default)]
pub struct AdminKeys(Vec<(Box<str>, AdminKey)>);

impl AdminKeys {
    /// The key without a name, if there is one, and those of people.
    pub fn new(unnamed: Option<AdminKey>, named: Vec<(String, AdminKey)>) -> Self {
        let unnamed = unnamed.map(|key| (UNNAMED.into(), key));
        let named = named.into_iter().map(|(name, key)| (name.into(), key));
        Self(unnamed.into_iter().chain(named).collect())
    }

    /// Whether nobody may administrate.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key to ask with: the one without a name, or else the first.
    pub fn into_first(self) -> Option<AdminKey> {
        self.0.into_iter().next().map(|(_, key)| key)
    }

    /// Whose key a request has; each is compared, in constant time (RFC 6750 §2.1).
    pub(super) fn who_asks(&self, headers: &HeaderMap) -> Option<&str> {
        let mut found = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (found.next(), found.next()) else {
            return None;
        };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let token = token.trim_start_matches(' ');
        let mut who = None;
        for (name, key) in &self.0 {
            if key.matches(token) {
                who = Some(&**name);
            }
        }
        who
    }
}

impl fmt::Debug for AdminKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}
