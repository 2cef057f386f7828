//! What a process stands on before anybody listens: what all sites share, and the sites themselves.

use std::sync::Arc;

use ipnet::IpNet;
use tokio::runtime::{self, Runtime};

use crate::admin::Check;
use crate::app::StartError;
use crate::app::pipelines::{Pipelines, upstream_limits};
use crate::app::providers::Providers;
use crate::app::readiness::{ProvidersCheck, StoreCheck, StrangersCheck};
use crate::app::site::{Files, Ground};
use crate::app::stores::{self, Around, room_for_cookies};
use crate::app::table::table;
use crate::app::tenants::TenantsEndings;
use crate::auth;
use crate::auth::ending::AllEndings;
use crate::clock::{Clock, Randomness};
use crate::config::Config;
use crate::frontend::FileRoom;
use crate::pipeline::developer::Audience;
use crate::pipeline::sites::Sites;
use crate::pipeline::{Shared, SharedParts};
use crate::proxy::upstream::UpstreamRoom;
use crate::server::descriptors::{
    connections_that_fit, files_that_fit, raise, upstreams_that_fit, warn_of_fewer,
};
use crate::server::{Callers, ServerSettings};
use crate::session::Sessions;
use crate::session::journal::{Journal, SubjectNames};
use crate::session::seal::Keys;
use crate::telemetry::{Metrics, SubjectInLog};
use crate::web::background::Background;
use crate::web::client_address::TrustedProxies;
use crate::web::identity::KeysInUse;
use crate::web::outbound;
use crate::web::strangers::{self, Addresses, Budget, Strangers};

/// All that is there before anybody listens.
pub(super) struct Foundation {
    pub(super) ground: Arc<Ground>,
    pub(super) sites: Sites,
    /// Those of all sites.
    pub(super) sessions: Sessions,
    /// Where that is done which no request waits for.
    pub(super) care: Runtime,
    trusted_proxies: TrustedProxies,
    upstream_room: UpstreamRoom,
}

impl Foundation {
    /// Makes the sites of `config`, which are taken out of it, and opens their store.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub(super) fn lay(
        audience: Audience,
        config: &mut Config,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::new();
        let keys = Keys::configured(&config.keys, &*randomness);
        let care = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let inherited = stores::inherited(&config.sites);
        let opened = stores::open(
            &config.store,
            &Around {
                metrics: &metrics,
                keys: &keys,
                inherited: &inherited,
                clock: &clock,
                randomness: &randomness,
                care: &care,
            },
        )?;
        let Descriptors { upstreams, files } = share_out(&mut config.server, audience);
        let server = &config.server;
        let ground = Arc::new(Ground {
            journal: Journal::new(metrics.clone(), subject_names(config.log.subject, &keys)),
            endings: AllEndings::default(),
            room_for_cookies: room_for_cookies(server.limits.head_bytes),
            background: Background::on(care.handle().clone()),
            strangers: account_of_strangers(server, upstreams, &config.trusted_proxies),
            shared: auth::Shared::new(),
            file_room: FileRoom::new(files),
            files: Files::Judged,
            providers: Providers::on(care.handle().clone()),
            tls: outbound::tls()?,
            sessions: opened,
            clock,
            randomness,
            metrics,
            keys,
            identity_keys: KeysInUse::new(config.identity_keys.take()),
            inherited,
        });
        let first = config.faces().next().ok_or(StartError::NoSite)?;
        let sessions = ground.sessions_of(&first.id, &first.session);
        let upstream_room = UpstreamRoom::new(upstreams, server.workers);
        let (sites, tenanted) = config.take_sites();
        let table = table(&ground, sites, tenanted)?;
        ground.now_under(&table);
        let sites = Sites::new(table);
        let tenants = TenantsEndings(sites.downgrade());
        ground.endings.find_tenants(Box::new(tenants));
        ground.metrics.config_in_use(ground.clock.now());
        Ok(Self {
            ground,
            sites,
            sessions,
            care,
            trusted_proxies: TrustedProxies::new(std::mem::take(&mut config.trusted_proxies)),
            upstream_room,
        })
    }

    /// What the pipelines of all workers share.
    pub(super) fn sockets(&self, audience: Audience, server: &ServerSettings) -> Arc<Shared> {
        Arc::new(Shared::new(SharedParts {
            trusted_proxies: self.trusted_proxies.clone(),
            websocket_ping: server.timeouts.websocket_ping,
            strangers: self.ground.strangers.clone(),
            clock: Arc::clone(&self.ground.clock),
            randomness: Arc::clone(&self.ground.randomness),
            audience,
            metrics: self.ground.metrics.clone(),
        }))
    }

    /// What makes the pipelines.
    pub(super) fn pipelines(&self, shared: &Arc<Shared>, server: &ServerSettings) -> Pipelines {
        Pipelines {
            sites: self.sites.clone(),
            shared: Arc::clone(shared),
            limits: upstream_limits(server),
            room: self.upstream_room.clone(),
            tls: Arc::new(self.ground.tls.clone()),
            randomness: Arc::clone(&self.ground.randomness),
        }
    }

    /// Who calls, as far as connections are counted.
    pub(super) fn callers(&self) -> Callers {
        Callers::Strangers {
            account: self.ground.strangers.clone(),
            proxies: self.trusted_proxies.clone(),
        }
    }

    /// What `/readyz` asks.
    pub(super) fn checks(&self) -> Vec<Arc<dyn Check>> {
        let (sites, clock) = (self.sites.clone(), &self.ground.clock);
        let strangers = self.ground.strangers.clone();
        vec![
            Arc::new(ProvidersCheck::new(sites, Arc::clone(clock))),
            Arc::new(StoreCheck(self.sessions.clone())),
            Arc::new(StrangersCheck(strangers, Arc::clone(clock))),
        ]
    }
}

fn subject_names(said: SubjectInLog, keys: &Keys) -> SubjectNames {
    match said {
        SubjectInLog::Hash => SubjectNames::Hashed(keys.clone()),
        SubjectInLog::Clear => SubjectNames::Clear,
    }
}

/// What the limit on open files leaves to each, so that a flood of one kind starves no other.
struct Descriptors {
    upstreams: usize,
    files: usize,
}

/// Cuts the connections of `server` to what fits, and shares out the rest.
fn share_out(server: &mut ServerSettings, audience: Audience) -> Descriptors {
    let descriptors = raise();
    let wanted = server.limits.connections;
    let connections = connections_that_fit(wanted, descriptors);
    // One developer's browser opens few, and the limit is nothing that they need to mend.
    if audience == Audience::Public {
        warn_of_fewer(connections, wanted, descriptors);
    }
    server.limits.connections = connections;
    Descriptors {
        upstreams: upstreams_that_fit(connections, descriptors),
        files: files_that_fit(descriptors),
    }
}

/// Addresses tell strangers apart where TLS ends here or the proxies before us were named, as a socket
/// file names them; else all may come through a proxy that nobody named.
pub(super) fn account_of_strangers(
    server: &ServerSettings,
    upstreams: usize,
    trusted_proxies: &[IpNet],
) -> Strangers {
    let is_named = !trusted_proxies.is_empty() || server.listen.unix().is_some();
    let addresses = if server.speaks_tls() || is_named {
        Addresses::TellApart
    } else {
        Addresses::MayBeShared
    };
    let room = strangers::Room {
        connections: server.limits.connections,
        connections_per_address: server.limits.connections_per_address,
        upstreams,
    };
    Strangers::new(addresses, |demand| Budget::of(demand, room))
}
