//! The development identity provider, the demo app and the demo API behind `bff dev`.
//!
//! To the rest of the code it is a provider like any other, reached over HTTP.

use serde_json::{Map, Value};

/// `[dev]`: who can sign in at the development provider.
#[derive(Debug, Clone)]
pub struct DevSettings {
    /// The users, alice and bob by default.
    pub users: Vec<DevUser>,
    /// Seconds that an access token lives.
    pub access_token_seconds: u64,
}

/// A person that the development provider knows.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// What `login_hint` names, and the `sub`.
    pub name: String,
    /// Claims beside `sub`.
    pub claims: Map<String, Value>,
}
