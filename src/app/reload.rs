//! The configuration read again while the process serves: judged as `bff check` judges it, and taken
//! into use whole or not at all.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admin::{ReloadAnswer, Reloads};
use crate::app::site::Ground;
use crate::app::table::table;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, ConfigErrors, Print, Reload, Reread, SiteConfig, TenantedSite};
use crate::pipeline::sites::{Sites, Table};
use crate::secret::SessionKey;
use crate::server::{self, Certificates, ServerSettings};
use crate::telemetry::{LogLines, ReloadOutcome, chain};
use crate::web::changes::Changes;

/// Takes configurations into use.
pub(super) struct Reloader {
    ground: Arc<Ground>,
    sites: Sites,
    certificates: Option<Certificates>,
    source: Option<Arc<Reload>>,
    log: LogLines,
    /// One at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was looked at last, whatever came of it.
    seen: Option<Print>,
    /// What differed at the last look, and may be half written yet.
    changing: Option<Print>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
enum Reloaded {
    /// Nothing says anything else than what is in use.
    Unchanged,
    /// These keys are in use as they stand now, which are of these sites and tenants.
    Applied {
        changed: Vec<String>,
        sites: Changes,
        tenants: Changes,
    },
    /// All stays as it was, for these faults.
    Refused { faults: Vec<String> },
}

impl Reloader {
    pub(super) fn new(
        ground: Arc<Ground>,
        sites: Sites,
        certificates: Option<Certificates>,
        source: Option<Arc<Reload>>,
        log: LogLines,
    ) -> Self {
        let seen = source.as_ref().map(|source| source.stamp());
        Self {
            ground,
            sites,
            certificates,
            source,
            log,
            state: Mutex::new(State {
                seen,
                changing: None,
            }),
        }
    }

    /// Whether there are files that may change.
    pub(super) const fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Takes into use what has changed, once it changes no more between two looks: a file that is half
    /// written is read again in a moment. Reads files.
    pub(super) fn look(&self) {
        let Some(source) = &self.source else {
            return;
        };
        let now = source.stamp();
        {
            let mut state = self.state();
            if state.seen.as_ref() == Some(&now) {
                state.changing = None;
                return;
            }
            if state.changing.as_ref() != Some(&now) {
                state.changing = Some(now);
                return;
            }
        }
        self.reload();
    }

    /// Takes the configuration into use as it stands now; the log and the metrics say what came of it.
    /// When this returns, no request that comes is answered by the one before. Reads files. `None` where there
    /// are none.
    pub(super) fn reload(&self) -> Option<ReloadAnswer> {
        let source = self.source.as_ref()?;
        // Whoever asks may be on a thread that writes nowhere.
        let _lines = self.log.enter();
        let mut state = self.state();
        state.changing = None;
        state.seen = Some(source.stamp());
        let (reloaded, needs_restart) = match source.read() {
            Ok(reread) => {
                let needs_restart = reread.needs_restart.clone();
                (self.apply(source, reread), needs_restart)
            }
            Err(errors) => (refused(&errors), Vec::new()),
        };
        self.tell(&reloaded);
        if !needs_restart.is_empty() {
            tracing::warn!(
                event = "reload.needs_restart",
                changed = needs_restart.join(", "),
                "these keys have changed and are read at a start alone; restart to use them"
            );
        }
        Some(reloaded.answer(needs_restart))
    }

    fn apply(&self, source: &Reload, mut reread: Reread) -> Reloaded {
        let changed = std::mem::take(&mut reread.changed);
        if changed.is_empty() {
            return Reloaded::Unchanged;
        }
        let sites = std::mem::take(&mut reread.sites);
        let (config, warnings, prints) = reread.into_parts();
        match self.swap(config) {
            Ok(tenants) => {
                warnings.log();
                source.accept(prints);
                Reloaded::Applied {
                    changed,
                    sites,
                    tenants,
                }
            }
            Err(fault) => Reloaded::Refused {
                faults: vec![fault],
            },
        }
    }

    /// All of `config`, and what differs of its tenants; or its fault and nothing of it.
    fn swap(&self, config: Config) -> Result<Changes, String> {
        match self.table(&config.server, config.sites, config.tenanted) {
            Ok(table) => {
                if self.ground.keys.replace(&config.keys) {
                    told_of(&config.keys);
                }
                self.ground.identity_keys.replace(config.identity_keys);
                self.ground.now_under(&table);
                let tenants = table.tenants_since(&self.sites.table());
                self.sites.replace(table);
                Ok(tenants)
            }
            Err(fault) => {
                // Whatever it was to be at is let go of.
                self.ground.now_under(&self.sites.table());
                Err(fault)
            }
        }
    }

    /// What is to be served from now on, with its certificates in use.
    fn table(
        &self,
        server: &ServerSettings,
        sites: Vec<SiteConfig>,
        tenanted: Vec<TenantedSite>,
    ) -> Result<Table, String> {
        let table = table(&self.ground, sites, tenanted);
        let table = table.map_err(|error| chain(&error))?;
        table.take_up(&self.sites.table())?;
        if let Some(certificates) = &self.certificates {
            let (tls, of_sites) = (server.tls.as_ref(), &server.site_certificates);
            let replaced = certificates.replace(tls, of_sites, SystemClock.now());
            replaced.map_err(|error| chain(&server::StartError::from(error)))?;
        }
        Ok(table)
    }

    fn tell(&self, reloaded: &Reloaded) {
        let (metrics, now) = (&self.ground.metrics, self.ground.clock.now());
        match reloaded {
            Reloaded::Unchanged => {
                metrics.reload(ReloadOutcome::Unchanged, now);
                tracing::info!(
                    event = "reload.unchanged",
                    "nothing has changed that can be taken into use"
                );
            }
            Reloaded::Applied {
                changed,
                sites,
                tenants,
            } => {
                metrics.reload(ReloadOutcome::Applied, now);
                tracing::info!(
                    event = "reload.applied",
                    changed = changed.join(", "),
                    sites = self.sites.ids().len(),
                    of_sites = sites.sentence(),
                    of_tenants = tenants.sentence(),
                    "the configuration is in use as it stands now"
                );
            }
            Reloaded::Refused { faults } => {
                metrics.reload(ReloadOutcome::Refused, now);
                for error in faults {
                    tracing::error!(
                        event = "reload.refused",
                        error,
                        "the configuration cannot be used; all stays as it was"
                    );
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reloaded {
    fn answer(self, needs_restart: Vec<String>) -> ReloadAnswer {
        let answer = match self {
            Self::Unchanged => ReloadAnswer::default(),
            Self::Applied {
                changed,
                sites,
                tenants,
            } => ReloadAnswer {
                changed,
                sites,
                tenants,
                ..ReloadAnswer::default()
            },
            Self::Refused { faults } => ReloadAnswer {
                faults,
                ..ReloadAnswer::default()
            },
        };
        ReloadAnswer {
            needs_restart,
            ..answer
        }
    }
}

impl Reloads for Arc<Reloader> {
    fn reload(&self) -> Option<ReloadAnswer> {
        Reloader::reload(self)
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn refused(errors: &ConfigErrors) -> Reloaded {
    Reloaded::Refused {
        faults: errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn told_of(keys: &[SessionKey]) {
    tracing::info!(
        event = "keys.reloaded",
        keys = keys.len(),
        "session keys reloaded"
    );
}
