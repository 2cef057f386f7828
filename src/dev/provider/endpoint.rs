//! The endpoints of the provider, by their paths.

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the specifications' own")]
pub enum Endpoint {
    Discovery,
    Jwks,
    Authorize,
    Pushed,
    Token,
    UserInfo,
    EndSession,
    Revocation,
    Control,
    /// Styles, scripts, and what is not there.
    Other,
}

impl Endpoint {
    /// The endpoint at `path`.
    pub fn at(path: &str) -> Self {
        match path {
            "/.well-known/openid-configuration" => Self::Discovery,
            "/jwks" => Self::Jwks,
            "/authorize" => Self::Authorize,
            "/par" => Self::Pushed,
            "/token" => Self::Token,
            "/userinfo" => Self::UserInfo,
            "/end_session" => Self::EndSession,
            "/revoke" => Self::Revocation,
            "/control" | "/control/state" => Self::Control,
            _ => Self::Other,
        }
    }

    /// The name that the control page uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Authorize => "authorize",
            Self::Pushed => "par",
            Self::Token => "token",
            Self::UserInfo => "userinfo",
            Self::EndSession => "end_session",
            Self::Revocation => "revoke",
            Self::Control => "control",
            Self::Other => "other",
        }
    }
}
