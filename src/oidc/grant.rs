//! What a login brings: tokens, and what the provider said of the user.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::oidc::grant_end::GrantEnd;
use crate::secret::{AccessToken, IdToken, RefreshToken};
use crate::web::proof::Prover;

/// What a code brought.
#[derive(Debug)]
pub struct Grant {
    /// The tokens.
    pub tokens: TokenSet,
    /// Who signed in.
    pub identity: Identity,
}

/// The tokens of one answer of the token endpoint.
#[derive(Debug)]
pub struct TokenSet {
    /// For the upstreams.
    pub access_token: AccessToken,
    /// For the next access token. After a refresh, none means: keep the one you have (L3).
    pub refresh_token: Option<RefreshToken>,
    /// For the `id_token_hint` of the logout; only one that was verified.
    pub id_token: Option<IdToken>,
    /// How long the access token lives, where the provider said so (C8).
    pub expires_in: Option<Duration>,
    /// When the refresh token ends by itself.
    pub grant_end: GrantEnd,
    /// What was granted (C9).
    pub scope: Vec<String>,
    /// The key that they were to be bound to (A14).
    pub prover: Option<Arc<Prover>>,
}

/// What a verified ID token (and UserInfo) said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The user at this issuer.
    pub sub: String,
    /// The user's session at the provider.
    pub sid: Option<String>,
    /// How strongly the user was authenticated.
    pub acr: Option<String>,
    /// By which means.
    pub amr: Vec<String>,
    /// When, in seconds since the epoch.
    pub auth_time: Option<i64>,
    /// When the user's session at the provider ends, in seconds since the epoch (OpenID Connect Enterprise
    /// Extensions).
    #[serde(default)]
    pub session_expiry: Option<i64>,
    /// What a later refresh is held against.
    pub facts: GrantFacts,
    /// The claims of the ID token with those of UserInfo laid over, without those that only serve
    /// the protocol.
    pub claims: Map<String, Value>,
}

/// What a later refresh is held against (D18, L7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFacts {
    /// The user at this issuer.
    pub sub: String,
    /// The issuer.
    pub iss: String,
    /// Whom the first ID token was for.
    pub aud: Vec<String>,
    /// Who asked for it.
    pub azp: Option<String>,
    /// When the user was authenticated, in seconds since the epoch.
    pub auth_time: Option<i64>,
    /// When the last ID token was issued, in seconds since the epoch.
    pub iat: i64,
    /// A hash of the nonce of the login.
    pub nonce: Option<String>,
    /// What was granted at login.
    pub scope: Vec<String>,
}
