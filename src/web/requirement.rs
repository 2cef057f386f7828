//! Who may call a route: what the claims of a session must say, and how its user must have signed in.

use std::time::Duration;

use serde_json::Value;

use crate::web::claims::texts;

/// A rule of which every part must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Claims by their paths, each with the texts of which it must say one.
    pub claims: Vec<(String, Vec<String>)>,
    /// Scopes of which one must have been granted; empty asks for none.
    pub scopes: Vec<String>,
    /// Of these the `acr` must be one; empty asks for none.
    pub acr: Vec<String>,
    /// How long ago the user may have signed in at the provider.
    pub max_auth_age: Option<Duration>,
}

/// Whether a claim says one of these texts, be it alone or in a list.
pub fn says_any(claim: &Value, wanted: &[String]) -> bool {
    texts(claim).any(|text| wanted.iter().any(|wanted| *wanted == text))
}
