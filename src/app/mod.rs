//! Wires the parts together.
//!
//! One thread a worker serves requests. One more, the caretaker's, does what no request waits
//! for: fresh metadata and keys of the provider, expired sessions, reloaded keys, metrics.

mod caretaker;
#[cfg(feature = "dev")]
mod develop;
mod foundation;
mod look;
mod memory;
mod pipelines;
mod providers;
mod readiness;
mod reload;
mod service_manager;
mod signals;
mod site;
mod stores;
mod table;
mod tenants;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, History};
use crate::app::caretaker::Caretaker;
use crate::app::foundation::Foundation;
use crate::app::reload::Reloader;
use crate::app::service_manager::ServiceManager;
use crate::app::signals::Signals;
use crate::clock::{Clock, Randomness, SystemClock, SystemRandomness};
use crate::config::{Config, Reload, Variables, Warnings};
#[cfg(feature = "dev")]
use crate::dev::DevError;
use crate::frontend::FrontendError;
use crate::pipeline::developer::Audience;
use crate::proxy::route::RouteFault;
use crate::server::{self, Listen, RollCall, Server, WorkerContext};
use crate::session::store::StoreError;
use crate::telemetry::{self, LogError, LogLines, Metrics};
use crate::web::background::Background;
use crate::web::outbound::OutboundError;
use crate::web::public_origin::NoOrigin;

#[cfg(feature = "dev")]
pub use develop::{Development, develop};
pub use look::{explained, judge};
pub(crate) use stores::room_for_cookies;
pub use stores::{ask_store, migrate};

/// Why nothing was started; each says in one sentence what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be had.
    #[error(transparent)]
    Server(#[from] server::StartError),
    /// The app's files are not there.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// Nothing is there to be served.
    #[error(
        "no site is configured: write server.public_url, or name a folder of them as server.sites"
    )]
    NoSite,
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
    pub reload: Option<Arc<Reload>>,
    /// Takes the log lines of this app.
    pub log: LogLines,
}

impl Environment {
    /// The machine itself.
    pub fn system(reload: Option<Reload>) -> Self {
        let reload = reload.map(Arc::new);
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
    reloader: Arc<Reloader>,
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
        mut config: Config,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let Environment {
            clock,
            randomness,
            reload,
            log,
        } = environment;
        let _lines = log.enter();
        let foundation = Foundation::lay(audience, &mut config, clock, randomness)?;
        let Config { server, admin, .. } = config;
        let patience = server.timeouts.drain;
        // Whoever leaves through `?` below ends what runs already.
        let shutdown = CancellationToken::new();
        let leaving = shutdown.child_token();
        let undo = shutdown.clone().drop_guard();
        let sockets = foundation.sockets(audience, &server);
        let pipelines = foundation.pipelines(&sockets, &server);
        let make_pipeline = move |worker: WorkerContext| pipelines.of(worker);
        let callers = foundation.callers();
        let public = Server::start(server, &callers, make_pipeline, shutdown.clone(), &log)?;
        let afterwards = CancellationToken::new();
        let undo_afterwards = afterwards.clone().drop_guard();
        let reloader = Arc::new(Reloader::new(
            Arc::clone(&foundation.ground),
            foundation.sites.clone(),
            public.certificates(),
            reload,
            log.clone(),
        ));
        let history = admin.as_ref().map(|_| History::new());
        let told = Admin {
            sites: Arc::new(foundation.sites.clone()),
            checks: foundation.checks(),
            metrics: foundation.ground.metrics.clone(),
            history: history.clone().unwrap_or_default(),
            sessions: foundation.sessions.clone(),
            reload: Arc::new(Arc::clone(&reloader)),
            randomness: Arc::clone(&foundation.ground.randomness),
            draining: leaving.clone(),
        };
        let admin = admin
            .map(|settings| admin::start(settings, told, afterwards.clone(), &log))
            .transpose()?;
        let ground = foundation.ground;
        let (metrics, background) = (ground.metrics.clone(), ground.background.clone());
        let caretaker = Caretaker {
            ground,
            sites: foundation.sites,
            sessions: foundation.sessions,
            sockets,
            certificates: public.certificates(),
            reloader: Arc::clone(&reloader),
            history,
        }
        .spawn(foundation.care, afterwards.clone(), log)
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
            reloader,
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
        self.reloader.reload();
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
    for site in config.faces() {
        site.log_exceptions();
    }
    let public_urls = config.public_urls();
    let signals = Signals::listen()?;
    let app = RunningApp::start(config, Environment::system(Some(reload)))?;
    tracing::info!(
        event = "serving",
        version = env!("CARGO_PKG_VERSION"),
        listen = %app.public_addr(),
        admin = app.admin_addr().map(tracing::field::display),
        public_url = public_urls.join(", "),
        "serving"
    );
    signals.run(app, &ServiceManager::of(variables));
    Ok(())
}
