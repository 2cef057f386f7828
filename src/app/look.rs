//! Makes the sites of a configuration as whoever serves does, and serves nothing: no store is opened,
//! nothing is bound, nobody is asked.

use std::sync::Arc;

use tokio::runtime;

use crate::app::StartError;
use crate::app::foundation::account_of_strangers;
use crate::app::providers::Providers;
use crate::app::site::{Files, Ground};
use crate::app::stores::{self, Opened, room_for_cookies};
use crate::app::table::table;
use crate::auth;
use crate::auth::ending::AllEndings;
use crate::clock::{Clock, Randomness, SystemClock, SystemRandomness};
use crate::config::Config;
use crate::frontend::FileRoom;
use crate::pipeline::sites::Sites;
use crate::server;
use crate::session::journal::{Journal, SubjectNames};
use crate::session::seal::Keys;
use crate::telemetry::Metrics;
use crate::web::background::Background;
use crate::web::identity::KeysInUse;
use crate::web::outbound;

/// Makes all that `serve` would make of `config` before it listens, for whoever judges; its sites are
/// taken out of it.
///
/// # Errors
///
/// What would keep `serve` from starting, in one sentence.
pub fn judge(config: &mut Config) -> Result<Sites, StartError> {
    let certificates = config.server.check_certificates(SystemClock.now());
    certificates.map_err(server::StartError::from)?;
    stores::judge(config)?;
    look(config, Files::Judged)
}

/// The sites of `config`, taken out of it, to be asked what becomes of a call.
///
/// # Errors
///
/// As [`judge`], but for the files that it names.
pub fn explained(config: &mut Config) -> Result<Sites, StartError> {
    look(config, Files::Unseen)
}

fn look(config: &mut Config, files: Files) -> Result<Sites, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
    let metrics = Metrics::new();
    let keys = Keys::configured(&config.keys, &*randomness);
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .map_err(StartError::Thread)?;
    let (sites, tenanted) = config.take_sites();
    if sites.is_empty() && tenanted.is_empty() {
        return Err(StartError::NoSite);
    }
    let ground = Arc::new(Ground {
        inherited: stores::inherited(&sites),
        endings: AllEndings::default(),
        metrics: metrics.clone(),
        journal: Journal::new(metrics, SubjectNames::Hashed(keys.clone())),
        keys,
        identity_keys: KeysInUse::new(config.identity_keys.take()),
        sessions: Opened::in_memory(Arc::clone(&clock), 0),
        room_for_cookies: room_for_cookies(config.server.limits.head_bytes),
        background: Background::on(runtime.handle().clone()),
        strangers: account_of_strangers(&config.server, 1, &config.trusted_proxies),
        shared: auth::Shared::new(),
        file_room: FileRoom::new(1),
        files,
        providers: Providers::on(runtime.handle().clone()),
        tls: outbound::tls()?,
        clock,
        randomness,
    });
    Ok(Sites::new(table(&ground, sites, tenanted)?))
}
