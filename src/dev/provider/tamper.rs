//! Where a provider may be made to lie. The development provider never does; the tests' does.

use std::fmt;

use serde_json::Value;

/// What is about to leave the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The discovery document.
    Metadata,
    /// The key set.
    Jwks,
    /// The parameters sent back through the browser, success or error.
    AuthorizationResponse,
    /// The answer to a pushed request.
    PushedResponse,
    /// The JOSE header of an ID token, before it is signed.
    IdTokenHeader,
    /// The claims of a login's ID token, before they are signed.
    IdTokenClaims,
    /// The claims of a refreshed ID token, before they are signed.
    RefreshedIdTokenClaims,
    /// The answer to a code, with the signed ID token in it.
    TokenResponse,
    /// The answer to a refresh token.
    RefreshResponse,
    /// The answer to a token exchange.
    ExchangedToken,
    /// The answer to client credentials.
    ClientToken,
    /// The JOSE header of a logout token, before it is signed.
    LogoutTokenHeader,
    /// The claims of a logout token, before they are signed.
    LogoutTokenClaims,
    /// The signed logout token, as the member `logout_token` of an object.
    LogoutToken,
    /// The claims of UserInfo.
    UserInfo,
}

/// Changes what leaves the provider. Called outside of any lock of the core.
pub trait Tamper: Send + Sync + fmt::Debug {
    /// Changes `value` in place; the honest provider leaves it alone.
    fn tamper(&self, stage: Stage, value: &mut Value);
}

/// Tells the truth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Honest;

impl Tamper for Honest {
    fn tamper(&self, _stage: Stage, _value: &mut Value) {}
}
