//! The endpoints under the base path, and which methods they take.

use http::Method;

use crate::oidc::ResponseMode;

/// One of our own endpoints (DESIGN §2: what the browser sees).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the last segments of their paths")]
pub enum Endpoint {
    Login,
    LoginResume,
    Callback,
    Logout,
    LogoutContinue,
    LogoutCallback,
    Session,
    SessionEvents,
    Sessions,
    User,
    BackchannelLogout,
    FrontchannelLogout,
    Jwks,
}

impl Endpoint {
    /// Every path below the base path with its endpoint.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Login, "/login"),
        (Self::LoginResume, "/login/resume"),
        (Self::Callback, "/callback"),
        (Self::Logout, "/logout"),
        (Self::LogoutContinue, "/logout/continue"),
        (Self::LogoutCallback, "/logout/callback"),
        (Self::Session, "/session"),
        (Self::SessionEvents, "/session/events"),
        (Self::Sessions, "/sessions"),
        (Self::User, "/user"),
        (Self::BackchannelLogout, "/backchannel-logout"),
        // As it is called elsewhere.
        (Self::BackchannelLogout, "/backchannel"),
        (Self::FrontchannelLogout, "/frontchannel-logout"),
        (Self::Jwks, "/jwks.json"),
    ];

    /// Whether each of several providers has one to itself: what comes there is judged by its keys and
    /// for its logins alone (RFC 9700 §4.4).
    pub const fn is_a_providers(self) -> bool {
        match self {
            Self::Callback | Self::BackchannelLogout | Self::FrontchannelLogout => true,
            Self::Login
            | Self::LoginResume
            | Self::Logout
            | Self::LogoutContinue
            | Self::LogoutCallback
            | Self::Session
            | Self::SessionEvents
            | Self::Sessions
            | Self::User
            | Self::Jwks => false,
        }
    }

    /// Whether this endpoint takes `method`.
    ///
    /// # Errors
    ///
    /// What it takes instead, for `Allow` (C1).
    pub fn take(self, method: &Method, rules: MethodRules) -> Result<(), Vec<Method>> {
        let allowed: &[Method] = match self {
            Self::Login if rules.third_party_login => &[Method::GET, Method::POST],
            Self::Callback if rules.response_mode == ResponseMode::FormPost => &[Method::POST],
            Self::Logout => &[Method::GET, Method::POST],
            Self::Sessions => &[Method::GET, Method::DELETE],
            Self::BackchannelLogout => &[Method::POST],
            Self::Login
            | Self::LoginResume
            | Self::Callback
            | Self::LogoutContinue
            | Self::LogoutCallback
            | Self::Session
            | Self::SessionEvents
            | Self::User
            | Self::FrontchannelLogout
            | Self::Jwks => &[Method::GET],
        };
        if allowed.contains(method) {
            return Ok(());
        }
        Err(allowed.to_vec())
    }
}

/// What of the configuration decides on methods.
#[derive(Debug, Clone, Copy)]
pub struct MethodRules {
    /// `provider.response_mode`.
    pub response_mode: ResponseMode,
    /// `provider.third_party_login`.
    pub third_party_login: bool,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderBase<'a> {
    /// The path is not below the base path.
    Outside,
    /// The path is, and nothing is there.
    Nothing,
    /// An endpoint.
    Endpoint(Endpoint),
    /// An endpoint that one of several providers has to itself, and what that one is called.
    OfProvider(Endpoint, &'a str),
}

impl<'a> UnderBase<'a> {
    /// What stands at `path`, by whole segments.
    pub fn at(path: &'a str, base_path: &str) -> Self {
        let rest = match path.strip_prefix(base_path) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => return Self::Outside,
        };
        let endpoint = |wanted: &str| {
            let mut all = Endpoint::ALL.into_iter();
            all.find(|(_, own)| *own == wanted)
                .map(|(endpoint, _)| endpoint)
        };
        if let Some(endpoint) = endpoint(rest) {
            return Self::Endpoint(endpoint);
        }
        match rest.rsplit_once('/') {
            Some((wanted, name)) if !name.is_empty() => endpoint(wanted)
                .filter(|endpoint| endpoint.is_a_providers())
                .map_or(Self::Nothing, |endpoint| Self::OfProvider(endpoint, name)),
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN §2: whoever reads the README knows every endpoint.
    #[test]
    fn the_readme_tells_of_every_endpoint() {
        let readme = include_str!("../../README.md");
        for (endpoint, path) in Endpoint::ALL {
            let cell = format!("`/bff{path}`");
            assert!(readme.contains(&cell), "{endpoint:?} {cell}");
        }
    }
}
