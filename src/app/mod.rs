//! Wires the parts together; the only file that names concrete stores.
//!
//! One thread a worker serves requests. One more, the caretaker's, does what no request waits
//! for: fresh metadata and keys of the provider, expired sessions, reloaded keys, metrics.

mod checks;
mod reload;
mod service_manager;
mod signals;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::{self, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::dispatcher::{self, Dispatch};

use crate::admin::{self, Admin, History, OnEnd};
use crate::app::checks::{ProviderCheck, StoreCheck, StrangersCheck};
use crate::app::reload::ReloadedKeys;
use crate::app::service_manager::ServiceManager;
use crate::app::signals::Signals;
use crate::auth::{RelyingParty, RelyingPartyParts};
use crate::clock::{Clock, Randomness, SystemClock, SystemRandomness, Timestamp};
use crate::config::{Config, RELOAD_INTERVAL, Reload, Variables, Warnings};
#[cfg(feature = "dev")]
use crate::config::{DevelopmentServers, PathInDevelopment};
#[cfg(feature = "dev")]
use crate::dev::{self, DevError, DevPlaces};
use crate::frontend::{FileRoom, Frontend, FrontendError};
use crate::oidc::Provider;
use crate::pipeline::developer::Audience;
use crate::pipeline::own_headers::{NEL, OwnHeaders};
use crate::pipeline::{Pipeline, Shared, SharedParts};
use crate::proxy::dial::SystemResolver;
use crate::proxy::route::{RouteFault, RouteTable};
use crate::proxy::upstream::{UpstreamLimits, UpstreamRoom, Upstreams};
#[cfg(feature = "dev")]
use crate::secret::ClientSecret;
use crate::secret::SessionKey;
use crate::server::descriptors::{
    connections_that_fit, files_that_fit, raise, upstreams_that_fit, warn_of_fewer,
};
use crate::server::{self, Callers, Certificates, Listen, RollCall, Server, ServerSettings};
use crate::session::cookie::{Carrier, SessionCookie};
use crate::session::journal::{Journal, SubjectNames};
use crate::session::seal::Keys;
use crate::session::store::cookie::CookieStore;
use crate::session::store::memory::MemoryStore;
use crate::session::store::near_cache::{NearCache, NearCacheSettings};
use crate::session::store::record_store::RecordStore;
#[cfg(feature = "redis")]
use crate::session::store::redis::RedisStore;
#[cfg(feature = "postgres")]
use crate::session::store::sql::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::session::store::sql::sqlite::SqliteStore;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::session::store::sql::{Migrations, SqlSettings};
use crate::session::store::voice::Voice;
use crate::session::store::{SessionStore, StoreError};
use crate::session::{SessionSettings, Sessions, StorePlace, StoreSettings};
use crate::telemetry::{self, LogError, LogLines, Metrics, SubjectInLog};
use crate::web::background::Background;
use crate::web::client_address::TrustedProxies;
use crate::web::outbound::{self, Outbound, OutboundError};
use crate::web::public_origin::{NoOrigin, PublicOrigin};
use crate::web::strangers::{self, Addresses, Budget, Pressure, Strangers};

/// How often expired sessions are looked for: what is open on behalf of one ends within 1 s (M4).
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Why nothing was started; each says in one sentence what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be had.
    #[error(transparent)]
    Server(#[from] server::StartError),
    /// The app's files are not there.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// The routes contradict one another.
    #[error(transparent)]
    Routes(#[from] RouteFault),
    /// `public_url` has no origin.
    #[error(transparent)]
    PublicUrl(#[from] NoOrigin),
    /// TLS towards the provider and the upstreams.
    #[error("the client for calls to the provider cannot be made: {0}")]
    Outbound(#[from] OutboundError),
    /// A thread or its runtime could not be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The session store answers, and will not do.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be written as asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The development servers could not start.
    #[cfg(feature = "dev")]
    #[error(transparent)]
    Dev(#[from] DevError),
}

/// What an app takes from its surroundings, so that tests can stand in for them.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
    /// Reads the configuration again, where it comes from a file.
    pub reload: Option<Reload>,
    /// Takes the log lines of this app.
    pub log: LogLines,
}

impl Environment {
    /// The machine itself.
    pub fn system(reload: Option<Reload>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            reload,
            log: LogLines::default(),
        }
    }
}

/// A running `bff`.
pub struct RunningApp {
    public: Server,
    admin: Option<Server>,
    metrics: Metrics,
    /// Has `/readyz` send new work elsewhere; the drain does too.
    leaving: CancellationToken,
    /// How long all are served from then on.
    drain_delay: Duration,
    /// Begins the drain of the public listener.
    shutdown: CancellationToken,
    keys: ReloadedKeys,
    /// Ends what must answer during the drain: the administration listener, the caretaker.
    afterwards: CancellationToken,
    background: Background,
    /// How long work in the background may take once the drain is over.
    patience: Duration,
    caretaker: JoinHandle<()>,
}

impl RunningApp {
    /// Starts everything that `config` asks for; returns once all listen.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: Config, environment: Environment) -> Result<Self, StartError> {
        Self::start_for(Audience::Public, config, environment)
    }

    fn start_for(
        audience: Audience,
        config: Config,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let Environment {
            clock,
            randomness,
            reload,
            log,
        } = environment;
        let _lines = log.enter();
        let metrics = Metrics::new();
        // Nobody takes back what the operator says.
        let own_headers = OwnHeaders {
            clears_nel: !config.sets_header(&NEL),
            hsts: config.hsts(),
        };
        if let Some(expires) = config.client_secret_expires {
            metrics.client_secret_expires(expires);
            warn_of_expiry(expires, clock.now());
        }
        let tls = outbound::tls()?;
        let outbound = Outbound::with_tls(tls.clone(), config.provider.timeout, config.outbound);
        let provider = Provider::new(
            config.provider,
            outbound,
            Arc::clone(&clock),
            Arc::clone(&randomness),
            metrics.clone(),
        );
        let keys = key_ring(&config.session.keys, &*randomness);
        let care = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let background = Background::on(care.handle().clone());
        let (session_cookie, (store, house_clock)) = open_sessions(
            &config.session,
            room_for_cookies(config.server.limits.head_bytes),
            config.auth.needs_id_tokens(),
            &Around {
                metrics: &metrics,
                keys: &keys,
                clock: &clock,
                randomness: &randomness,
                care: &care,
            },
        )?;
        let subjects = match config.log.subject {
            SubjectInLog::Hash => SubjectNames::Hashed(keys.clone()),
            SubjectInLog::Clear => SubjectNames::Clear,
        };
        let journal = Journal::new(metrics.clone(), subjects);
        let lists = !matches!(config.session.store.place, StorePlace::Cookie);
        let mut sessions = Sessions::new(store, Arc::clone(&house_clock), &config.session, journal);
        if lists {
            sessions = sessions.found_by_email(keys.clone());
        }
        let mut server = config.server;
        let descriptors = raise();
        let wanted = server.limits.connections;
        let connections = connections_that_fit(wanted, descriptors);
        // One developer's browser opens few, and the limit is nothing that they need to mend.
        if audience == Audience::Public {
            warn_of_fewer(connections, wanted, descriptors);
        }
        server.limits.connections = connections;
        let upstreams = upstreams_that_fit(connections, descriptors);
        let upstream_room = UpstreamRoom::new(upstreams, server.workers);
        let file_room = FileRoom::new(files_that_fit(descriptors));
        let strangers = account_of_strangers(&server, upstreams, &config.trusted_proxies);
        let trusted_proxies = TrustedProxies::new(config.trusted_proxies);
        let callers = Callers::Strangers {
            account: strangers.clone(),
            proxies: trusted_proxies.clone(),
        };
        let revoke_abandoned = config.session.revoke_abandoned;
        let relying_party = Arc::new(RelyingParty::new(RelyingPartyParts {
            session_cookie,
            provider: provider.clone(),
            sessions: sessions.clone(),
            keys: keys.clone(),
            clock: house_clock,
            randomness: Arc::clone(&randomness),
            metrics: metrics.clone(),
            background: background.clone(),
            strangers: strangers.clone(),
            settings: config.auth,
        }));
        let on_end = revoked_by(&relying_party);
        let abandoned = revoke_abandoned.then(|| Arc::clone(&relying_party));
        let shared = Arc::new(Shared::new(SharedParts {
            public: PublicOrigin::new(&relying_party.settings().public_url)?,
            relying_party,
            routes: RouteTable::new(config.routes)?,
            frontend: config
                .frontend
                .map(|settings| Frontend::new(settings, file_room, Arc::clone(&clock)))
                .transpose()?,
            error_page: config.error_page,
            trusted_proxies,
            websocket_ping: server.timeouts.websocket_ping,
            strangers: strangers.clone(),
            clock: Arc::clone(&clock),
            path_rules: config.path_rules,
            own_headers,
            audience,
            metrics: metrics.clone(),
        }));
        let tls = Arc::new(tls);
        let timeouts = server.timeouts.clone();
        let least_rate = server.limits.least_rate;
        let upstream_fields = server.limits.upstream_fields;
        let patience = timeouts.drain;
        // Whoever leaves through `?` below ends what runs already.
        let shutdown = CancellationToken::new();
        let leaving = shutdown.child_token();
        let undo = shutdown.clone().drop_guard();
        let names = Arc::clone(&randomness);
        let open = Arc::clone(&shared);
        let make_pipeline = move |worker: server::WorkerContext| {
            let limits = UpstreamLimits {
                connect: timeouts.connect,
                body_idle: timeouts.body_idle,
                least_rate,
                age: timeouts.upstream_age,
                fields: upstream_fields,
            };
            let upstreams = Upstreams::new(
                limits,
                upstream_room.clone(),
                Arc::clone(&tls),
                Arc::new(SystemResolver),
            );
            let names = Arc::clone(&names);
            Pipeline::new(Arc::clone(&shared), upstreams, names, worker.shutdown)
        };
        let public = Server::start(server, &callers, make_pipeline, shutdown.clone(), &log)?;
        let afterwards = CancellationToken::new();
        let undo_afterwards = afterwards.clone().drop_guard();
        let history = config.admin.as_ref().map(|_| History::new());
        let admin = config
            .admin
            .map(|settings| {
                let admin = Admin {
                    checks: vec![
                        Arc::new(ProviderCheck::new(provider.clone(), Arc::clone(&clock))),
                        Arc::new(StoreCheck(sessions.clone())),
                        Arc::new(StrangersCheck(strangers.clone(), Arc::clone(&clock))),
                    ],
                    metrics: metrics.clone(),
                    history: history.clone().unwrap_or_default(),
                    sessions: sessions.clone(),
                    on_end,
                    randomness,
                    draining: leaving.clone(),
                };
                admin::start(settings, admin, afterwards.clone(), &log)
            })
            .transpose()?;
        let keys = ReloadedKeys {
            ring: keys,
            source: reload,
        };
        let caretaker = Caretaker {
            open,
            certificates: public.certificates(),
            provider,
            sessions,
            keys: keys.clone(),
            abandoned,
            strangers,
            metrics: metrics.clone(),
            history,
            clock,
        }
        .spawn(care, afterwards.clone(), log)
        .map_err(StartError::Thread)?;
        undo.disarm();
        undo_afterwards.disarm();
        Ok(Self {
            public,
            admin,
            metrics,
            leaving,
            drain_delay: config.drain_delay,
            shutdown,
            keys,
            afterwards,
            background,
            patience,
            caretaker,
        })
    }

    /// Where the public listener is.
    pub const fn public_addr(&self) -> &Listen {
        self.public.local_addr()
    }

    /// Where the administration listener is, if there is one.
    pub fn admin_addr(&self) -> Option<&Listen> {
        self.admin.as_ref().map(Server::local_addr)
    }

    /// The counters, as `/metrics` shows them.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Cancelling this begins the drain.
    pub const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Whom to ask whether those who serve still turn.
    pub fn workers(&self) -> RollCall {
        self.public.workers()
    }

    /// Reads again what can be read while running, the session keys and the certificate, and says in
    /// the log what came of it, and what has changed that takes a restart. Reads files.
    pub fn reload(&self) {
        tracing::info!(event = "reload", "told to reload");
        self.keys.reload();
        self.public.reload();
    }

    /// The longest that the end may take, from the moment it is told.
    pub fn longest_end(&self) -> Duration {
        // Work in the background may take as long as the drain did.
        self.drain_delay + self.patience * 2
    }

    /// Begins the end: `/readyz` sends new work elsewhere, all are served as ever for `drain_delay` or
    /// until `hurry`, and then the drain begins.
    pub async fn leave(&self, hurry: impl Future<Output = ()>) {
        self.leaving.cancel();
        self.public.keeps_no_connection();
        if !self.drain_delay.is_zero() {
            let delay_ms = u64::try_from(self.drain_delay.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(
                event = "leaving",
                delay_ms,
                "told to stop; all are served until the drain begins"
            );
            tokio::select! {
                () = tokio::time::sleep(self.drain_delay) => {}
                () = hurry => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        tracing::info!(event = "draining", "draining");
        self.shutdown.cancel();
    }

    /// Waits until the drain is over and every thread has ended.
    pub async fn finished(self) {
        self.public.finished().await;
        // A refresh that is broken off has spent its refresh token for nothing.
        if !self.background.finished(self.patience).await {
            tracing::warn!(
                event = "drain.cut",
                "refreshes or revocations were still under way at the end of the drain"
            );
        }
        self.afterwards.cancel();
        if let Some(admin) = self.admin {
            admin.finished().await;
        }
        if self.caretaker.join().is_err() {
            tracing::error!(event = "worker.broke", "the caretaker broke");
        }
    }
}

impl fmt::Debug for RunningApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningApp")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Serves as `config` says, until the process is told to stop.
///
/// # Errors
///
/// What keeps it from starting: an address in use, a certificate that cannot be used, ….
pub fn serve(
    config: Config,
    warnings: &Warnings,
    reload: Reload,
    variables: &Variables,
) -> Result<(), StartError> {
    let _log = telemetry::init(&config.log)?;
    warnings.log();
    config.log_exceptions();
    let public_url = config.auth.public_url.clone();
    let signals = Signals::listen()?;
    let app = RunningApp::start(config, Environment::system(Some(reload)))?;
    tracing::info!(
        event = "serving",
        version = env!("CARGO_PKG_VERSION"),
        listen = %app.public_addr(),
        admin = app.admin_addr().map(tracing::field::display),
        %public_url,
        "serving"
    );
    signals.run(app, &ServiceManager::of(variables));
    Ok(())
}

/// Starts the development servers, puts them where `config` names them, and serves. `announce` is
/// told, once all listen, where to look.
///
/// # Errors
///
/// As [`serve`], and where the development servers cannot start.
#[cfg(feature = "dev")]
pub fn develop(
    mut config: Config,
    warnings: &Warnings,
    announce: impl FnOnce(&Development),
) -> Result<(), StartError> {
    let _log = telemetry::init(&config.log)?;
    warnings.log();
    config.log_exceptions();
    let signals = Signals::listen()?;
    let environment = Environment::system(None);
    let public_url = config.auth.public_url.clone();
    let endpoint = |name: &str| {
        let mut url = public_url.clone();
        url.set_path(&format!("{}/{name}", config.auth.base_path));
        url
    };
    let places = DevPlaces {
        redirect_uri: config.provider.redirect_uri.clone(),
        post_logout_redirect_uri: endpoint("logout/callback"),
        backchannel_logout_uri: endpoint("backchannel-logout"),
    };
    let mut servers = dev::start(
        &config.dev,
        &places,
        Arc::clone(&environment.clock),
        Arc::clone(&environment.randomness),
    )?;
    let paths = config.paths_in_development();
    config.use_development_servers(DevelopmentServers {
        issuer: servers.issuer.clone(),
        client_id: servers.client_id.clone(),
        client_secret: std::mem::replace(&mut servers.client_secret, ClientSecret::new("")),
        api: servers.api_url.clone(),
        app: servers.demo_url.clone(),
    });
    let mut endpoints = public_url.clone();
    endpoints.set_path(&config.auth.base_path);
    let users = config
        .dev
        .users
        .iter()
        .map(|user| user.name.clone())
        .collect();
    let app = RunningApp::start_for(Audience::Developer, config, environment)?;
    announce(&Development {
        endpoints: endpoints.to_string(),
        public_url: public_url.to_string(),
        issuer: servers.issuer.clone(),
        control_url: servers.control_url.to_string(),
        users,
        paths,
    });
    signals.run(app, &ServiceManager::none());
    Ok(())
}

/// Where to look, while `bff dev` runs.
#[cfg(feature = "dev")]
#[derive(Debug)]
pub struct Development {
    /// The app.
    pub public_url: String,
    /// What its endpoints' addresses begin with.
    pub endpoints: String,
    /// The development provider.
    pub issuer: String,
    /// The page that makes it misbehave.
    pub control_url: String,
    /// Who can sign in.
    pub users: Vec<String>,
    /// What stands behind the app's address.
    pub paths: Vec<PathInDevelopment>,
}

/// The configured keys, or a fresh one: sessions then end with the process.
fn key_ring(keys: &[SessionKey], randomness: &dyn Randomness) -> Keys {
    Keys::new(keys).unwrap_or_else(|| Keys::of(&SessionKey::random(randomness)))
}

/// The octets of a request's head that the cookies of a session may take: other fields must have
/// room beside them.
pub(crate) const fn room_for_cookies(head_bytes: usize) -> usize {
    const FOR_OTHERS: usize = 8 * 1024;
    if head_bytes > 2 * FOR_OTHERS {
        head_bytes - FOR_OTHERS
    } else {
        head_bytes / 2
    }
}

/// The session cookie, which carries the sessions itself where there is no store, the store, and the
/// clock by which sessions live: nodes that share a store share their time as well. `room` is what the
/// cookie may take of a request's head.
fn open_sessions(
    settings: &SessionSettings,
    room: usize,
    keep_id_tokens: bool,
    around: &Around<'_>,
) -> Result<(SessionCookie, OpenStore), StoreError> {
    let cookie = settings.cookie.clone();
    let (keys, clock) = (around.keys, around.clock);
    if !matches!(settings.store.place, StorePlace::Cookie) {
        let opened = open_store(settings, around)?;
        return Ok((SessionCookie::new(cookie, keys.clone()), opened));
    }
    let store = Arc::new(CookieStore::new(
        settings.idle_timeout,
        settings.max_lifetime,
        settings.store.near_cache,
        Arc::clone(clock),
    ));
    let carrier = Carrier {
        store: Arc::clone(&store),
        room,
        id_token: keep_id_tokens,
    };
    let cookie = SessionCookie::carrying(cookie, keys.clone(), carrier);
    Ok((cookie, (store, Arc::clone(clock))))
}

/// What stands around a store.
struct Around<'a> {
    metrics: &'a Metrics,
    keys: &'a Keys,
    clock: &'a Arc<dyn Clock>,
    randomness: &'a Arc<dyn Randomness>,
    /// Where it is spoken to.
    care: &'a Runtime,
}

/// Where sessions are, and the clock by which they live.
type OpenStore = (Arc<dyn SessionStore>, Arc<dyn Clock>);

/// The store that the configuration names, ready or on its way: one that is away at start is no
/// reason not to, since it may come. And its clock.
fn open_store(settings: &SessionSettings, around: &Around<'_>) -> Result<OpenStore, StoreError> {
    let Around {
        metrics,
        keys,
        clock,
        randomness,
        care,
    } = *around;
    let voice = Voice::new(keys.clone(), Arc::clone(randomness));
    let Some(records) = open_records(&settings.store, voice)? else {
        let store = MemoryStore::new(settings.idle_timeout, settings.max_lifetime);
        return Ok((Arc::new(store), Arc::clone(clock)));
    };
    let near_cache = NearCacheSettings {
        kind: settings.store.place.kind(),
        idle_timeout: settings.idle_timeout,
        max_lifetime: settings.max_lifetime,
        max_staleness: settings.store.max_staleness,
        capacity: settings.store.near_cache,
        timeout: settings.store.timeout,
    };
    let store = NearCache::new(
        Arc::clone(&records),
        near_cache,
        keys.clone(),
        Arc::clone(clock),
        Arc::clone(randomness),
        care.handle().clone(),
        metrics.store(),
    );
    let prepared = on_its_own_thread(care, async {
        records.prepare().await?;
        // Before the first request: a wrong clock must end no session.
        store.compare_clocks().await.map(drop)
    });
    match prepared {
        Ok(()) => {}
        Err(error @ (StoreError::Away(_) | StoreError::Taken(_))) => {
            tracing::warn!(event = "store.away", %error, "starting without sessions; they are served once it answers");
        }
        Err(error @ StoreError::Unusable(_)) => return Err(error),
    }
    let clock = store.clock();
    Ok((Arc::new(store), clock))
}

/// Waits for a step on a thread of its own, which logs where this one does: whoever starts an app may
/// stand in a runtime already.
fn on_its_own_thread(
    care: &Runtime,
    step: impl Future<Output = Result<(), StoreError>> + Send,
) -> Result<(), StoreError> {
    let log = dispatcher::get_default(Dispatch::clone);
    std::thread::scope(|scope| {
        let step = || dispatcher::with_default(&log, || care.block_on(step));
        let broken = || Err(StoreError::Away("its thread broke".into()));
        scope.spawn(step).join().unwrap_or_else(|_| broken())
    })
}

/// What keeps sessions outside this process; `None` where nothing does.
fn open_records(
    settings: &StoreSettings,
    #[cfg_attr(
        not(any(feature = "redis", feature = "postgres")),
        expect(unused_variables, reason = "a store of one process has no channel")
    )]
    voice: Voice,
) -> Result<Option<Arc<dyn RecordStore>>, StoreError> {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    let sql = SqlSettings {
        timeout: settings.timeout,
        migrations: if settings.migrate {
            Migrations::Run
        } else {
            Migrations::Check
        },
    };
    Ok(match &settings.place {
        StorePlace::Memory | StorePlace::Cookie => None,
        #[cfg(feature = "sqlite")]
        StorePlace::Sqlite(path) => Some(Arc::new(SqliteStore::new(path, sql))),
        #[cfg(feature = "postgres")]
        StorePlace::Postgres(url) => {
            let store = PostgresStore::new(url.expose(), settings.ca.as_deref(), sql, voice)?;
            Some(Arc::new(store))
        }
        #[cfg(feature = "redis")]
        StorePlace::Redis(url) => {
            let store = RedisStore::new(url, settings.ca.as_deref(), settings.timeout, voice)?;
            Some(Arc::new(store))
        }
        #[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "redis")))]
        other => {
            let what = format!("this bff was built without the store \"{}\"", other.kind());
            return Err(StoreError::Unusable(what.into()));
        }
    })
}

/// The voice of who asks a store and tells nobody anything.
fn silent_voice(config: &Config) -> Voice {
    let randomness = SystemRandomness;
    Voice::new(
        key_ring(&config.session.keys, &randomness),
        Arc::new(randomness),
    )
}

/// Asks the configured store whether it would serve, and changes nothing in it; its word, `None` where
/// sessions stay in the process.
///
/// # Errors
///
/// The store is away, or cannot be used; one sentence.
pub fn ask_store(config: &Config) -> Result<Option<&'static str>, StartError> {
    let settings = StoreSettings {
        migrate: false,
        ..config.session.store.clone()
    };
    // Looking would make the file, and for whoever looks.
    if let StorePlace::Sqlite(path) = &settings.place
        && !path.exists()
    {
        return Ok(Some("a new SQLite file"));
    }
    let Some(records) = open_records(&settings, silent_voice(config))? else {
        return Ok(None);
    };
    let care = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    care.block_on(async {
        records.prepare().await?;
        records.check().await
    })?;
    Ok(Some(settings.place.kind()))
}

/// Brings the schema of the configured store up to date; the word of the store.
///
/// # Errors
///
/// The store is away, or cannot be used; one sentence.
pub fn migrate(config: &Config) -> Result<&'static str, StartError> {
    let settings = StoreSettings {
        migrate: true,
        ..config.session.store.clone()
    };
    let care = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    if let Some(records) = open_records(&settings, silent_voice(config))? {
        care.block_on(records.prepare())?;
    }
    Ok(settings.place.kind())
}

/// Does what no request waits for.
struct Caretaker {
    /// Knows what is open.
    open: Arc<Shared>,
    certificates: Option<Certificates>,
    provider: Provider,
    sessions: Sessions,
    keys: ReloadedKeys,
    /// Revokes the tokens of sessions that expired, where that is asked for.
    abandoned: Option<Arc<RelyingParty>>,
    strangers: Strangers,
    metrics: Metrics,
    /// Where there is somebody to look at it.
    history: Option<History>,
    clock: Arc<dyn Clock>,
}

impl Caretaker {
    fn spawn(
        self,
        runtime: Runtime,
        until: CancellationToken,
        log: LogLines,
    ) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("bff-caretaker".to_owned())
            .spawn(move || {
                let _lines = log.enter();
                runtime.block_on(async {
                    tokio::select! {
                        () = self.provider.clone().keep_fresh() => {}
                        () = self.metrics.clone().keep_small() => {}
                        () = self.sessions.tend() => {}
                        () = self.sweep() => {}
                        () = self.reload_keys() => {}
                        () = self.keep_history() => {}
                        () = until.cancelled() => {}
                    }
                });
            })
    }

    async fn sweep(&self) {
        let mut tick = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tick.tick().await;
            // A store that is away is told of where it is first met; what has expired stays so.
            let ended = self.sessions.sweep().await.unwrap_or_default();
            if let Some(relying_party) = &self.abandoned {
                for session in ended {
                    relying_party.revoke_later(session);
                }
            }
            self.gauge();
        }
    }

    /// Looks at what is not counted where it happens.
    fn gauge(&self) {
        let metrics = &self.metrics;
        metrics.sessions(self.sessions.count());
        let (streams, sockets) = self.open.open();
        metrics.open(streams, sockets);
        for pressure in self.strangers.pressure(self.clock.now()) {
            let Pressure {
                demand,
                used,
                total,
                refused,
            } = pressure;
            metrics.strangers(demand.as_str(), used, total, refused);
        }
        if let Some(lookups) = self.sessions.lookups() {
            metrics.lookups(lookups.from_memory, lookups.from_store);
        }
        if let Some(ahead) = self.sessions.clock_skew() {
            metrics.clock_skew(ahead);
        }
        if let Some(expires) = self.certificates.as_ref().and_then(Certificates::expires) {
            metrics.certificate_expires(expires);
        }
    }

    async fn keep_history(&self) {
        match &self.history {
            Some(history) => {
                let (metrics, sessions) = (&self.metrics, &self.sessions);
                history.keep(metrics, sessions, &*self.clock).await;
            }
            None => std::future::pending().await,
        }
    }

    async fn reload_keys(&self) {
        if self.keys.source.is_none() {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            tick.tick().await;
            // A file that is half written is read again in a moment; the old keys stay.
            self.keys.look();
        }
    }
}

/// Without the secret nobody signs in, and no session is renewed.
fn warn_of_expiry(expires: Timestamp, now: Timestamp) {
    const EARLY: Duration = Duration::from_hours(30 * 24);
    if now + EARLY >= expires {
        tracing::warn!(
            event = "client_secret.expires",
            at = expires.rfc3339(),
            "provider.client_secret ends within a month, or has ended: without it nobody signs in; \
             get another one from the provider, and write its end as provider.client_secret_expires"
        );
    }
}

/// Addresses tell strangers apart where TLS ends here or the proxies before us were named, as a socket
/// file names them; else all may come through a proxy that nobody named.
fn account_of_strangers(
    server: &ServerSettings,
    upstreams: usize,
    trusted_proxies: &[IpNet],
) -> Strangers {
    let is_named = !trusted_proxies.is_empty() || server.listen.unix().is_some();
    let addresses = if server.tls.is_some() || is_named {
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

/// Tokens of the sessions that an administrator ends are as dead as after a logout (E5).
fn revoked_by(relying_party: &Arc<RelyingParty>) -> OnEnd {
    let relying_party = Arc::clone(relying_party);
    OnEnd::new(move |session| {
        if relying_party.settings().revoke_on_logout {
            relying_party.revoke_later(session);
        }
    })
}
