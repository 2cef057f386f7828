//! The relying party as the browser sees it: login, callback, logout, session, user.

use std::time::Duration;

use url::Url;

/// What the endpoints under the base path need to know.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The origin that browsers see.
    pub public_url: Url,
    /// Where our endpoints live, `/bff`: a leading slash, no trailing one.
    pub base_path: String,
    /// Whether `/bff/session` answers 200 or 401 to the anonymous.
    pub anonymous: AnonymousAnswer,
    /// The claims that `/bff/session` shows.
    pub claims: Vec<String>,
    /// How long before its end an access token is refreshed.
    pub refresh_before: Duration,
    /// Whether logout revokes the refresh token at the provider (E5).
    pub revoke_on_logout: bool,
    /// What the end-session request carries (E3).
    pub logout_hint: LogoutHint,
    /// Whether a login may be started from elsewhere (OIDC Core §4, B7).
    pub third_party_login: bool,
}

/// How `/bff/session` answers the anonymous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousAnswer {
    /// 200 with `{"authenticated": false}`.
    Ok,
    /// 401 with the same body.
    Unauthorized,
}

/// What tells the provider whose session ends (E3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutHint {
    /// The last ID token, as `id_token_hint`.
    IdToken,
    /// The `client_id` alone.
    None,
}
