//! What an operator says of sessions: how long they live, where they are kept, and their cookie.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::StoreUrl;
use crate::session::store::Limit;
use crate::web::cookie_names::CookieNames;

/// What a site says of its sessions.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Without a call for this long, a session ends.
    pub idle_timeout: Duration,
    /// However active, a session ends after this long (G9).
    pub max_lifetime: Duration,
    /// How many sessions a user may have.
    pub limit: Option<Limit>,
    /// How the cookie is written.
    pub cookie: CookieSettings,
}

/// `session.store` and what goes with it.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Which store, and where it is.
    pub place: StorePlace,
    /// How long a call to it may take.
    pub timeout: Duration,
    /// How old what is remembered of it may be.
    pub max_staleness: Duration,
    /// The bytes that sessions of this process may take; `None` for what suits the machine.
    pub memory: Option<u64>,
    /// Whether its schema is brought up to date at start.
    pub migrate: bool,
    /// The roots that its certificate is held against, in PEM; `None` for the machine's own.
    pub ca: Option<PathBuf>,
}

impl StoreSettings {
    /// Sessions in this process.
    pub const fn memory() -> Self {
        Self {
            place: StorePlace::Memory,
            timeout: Duration::from_secs(2),
            max_staleness: Duration::from_secs(1),
            memory: None,
            migrate: true,
            ca: None,
        }
    }
}

/// Where sessions are kept.
#[derive(Debug, Clone)]
pub enum StorePlace {
    /// In this process.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// In Redis or Valkey.
    Redis(StoreUrl),
    /// In PostgreSQL.
    Postgres(StoreUrl),
    /// In the browser's cookie.
    Cookie,
}

impl StorePlace {
    /// The word of `session.store`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "sqlite",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::Cookie => "cookie",
        }
    }
}

/// `[session.cookie]`, checked against the rules of its prefix (G1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// The name, `__Host-Http-bff`; on loopback with the port, `bff-8080`.
    pub name: String,
    /// The default of releases that put no port into it, where a default with one took its place: still
    /// read, so that nobody is signed out.
    pub former_name: Option<String>,
    /// `Secure`; left out only on http loopback.
    pub secure: bool,
    /// `SameSite`.
    pub same_site: SameSite,
    /// Whether the cookie outlives the browser's closing (`Max-Age`).
    pub persistent: bool,
}

impl CookieSettings {
    /// Every name that the cookie may stand under.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(self.former_name.as_deref())
    }

    /// Every name of a cookie of ours that follows from these.
    pub fn derived_names(&self) -> CookieNames {
        CookieNames::of(&self.name, self.former_name.as_deref())
    }
}

/// The `SameSite` attribute of the session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Not sent on any cross-site request.
    Strict,
    /// Sent on top-level cross-site navigations.
    Lax,
}
