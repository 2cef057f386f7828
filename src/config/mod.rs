//! `bff.toml` turned into the parts' own validated types. The only place that reads the
//! environment. Loading has no other side effect.

use std::time::Duration;

use ipnet::IpNet;

use crate::admin::AdminSettings;
use crate::auth::AuthSettings;
#[cfg(feature = "dev")]
use crate::dev::DevSettings;
use crate::frontend::FrontendSettings;
use crate::oidc::ProviderSettings;
use crate::proxy::RouteSettings;
use crate::server::ServerSettings;
use crate::session::SessionSettings;
use crate::telemetry::LogSettings;

/// Everything an operator decided, as the parts use it.
#[derive(Debug)]
pub struct Config {
    /// The public listener.
    pub server: ServerSettings,
    /// The administration listener, where one is asked for.
    pub admin: Option<AdminSettings>,
    /// Proxies before us whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `;` may stand in a path (I9).
    pub allow_semicolon: bool,
    /// The endpoints under the base path.
    pub auth: AuthSettings,
    /// The provider.
    pub provider: ProviderSettings,
    /// Sessions.
    pub session: SessionSettings,
    /// The routes, in the order written; a dev-server frontend is the last of them, on `/`.
    pub routes: Vec<RouteSettings>,
    /// The app's files, where `[frontend] dir` is set.
    pub frontend: Option<FrontendSettings>,
    /// Logging.
    pub log: LogSettings,
    /// `[dev]`.
    #[cfg(feature = "dev")]
    pub dev: DevSettings,
}

/// How often the configuration's files (keys, certificates) are looked at for changes.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
