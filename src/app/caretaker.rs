//! The caretaker's thread: what no request waits for.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::admin::History;
use crate::app::reload::Reloader;
use crate::app::site::Ground;
use crate::config::RELOAD_INTERVAL;
use crate::pipeline::Shared;
use crate::pipeline::sites::Sites;
use crate::server::Certificates;
use crate::session::Sessions;
use crate::telemetry::LogLines;
use crate::web::strangers::Pressure;

/// How often expired sessions are looked for: what is open on behalf of one ends within 1 s (M4).
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// How often the sites of tenants are looked at: one is let go that nobody has asked for at fifteen of
/// these looks.
const LOOK_AT_TENANTS: Duration = Duration::from_mins(1);

/// Does what no request waits for.
pub(super) struct Caretaker {
    pub(super) ground: Arc<Ground>,
    pub(super) sites: Sites,
    pub(super) sessions: Sessions,
    /// Knows which WebSockets are open.
    pub(super) sockets: Arc<Shared>,
    pub(super) certificates: Option<Certificates>,
    pub(super) reloader: Arc<Reloader>,
    /// Where there is somebody to look at it.
    pub(super) history: Option<History>,
}

impl Caretaker {
    pub(super) fn spawn(
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
                        () = self.ground.metrics.clone().keep_small() => {}
                        () = self.sessions.tend() => {}
                        () = self.sweep() => {}
                        () = self.reload() => {}
                        () = self.let_go_of_tenants() => {}
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
            drop(self.sessions.sweep().await);
            self.gauge();
        }
    }

    /// Looks at what is not counted where it happens.
    fn gauge(&self) {
        let metrics = &self.ground.metrics;
        metrics.sessions(self.sessions.count());
        metrics.open(
            self.ground.shared.open_streams(),
            self.sockets.open_sockets(),
        );
        for pressure in self.ground.strangers.pressure(self.ground.clock.now()) {
            let Pressure {
                demand,
                used,
                total,
                refused,
            } = pressure;
            metrics.strangers(demand.as_str(), used, total, refused);
        }
        if let Some(memory) = self.sessions.memory() {
            metrics.session_memory(memory.used, memory.most);
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
                let Ground { metrics, clock, .. } = &*self.ground;
                history.keep(metrics, &self.sessions, &**clock).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Lets go of the sites of tenants that nobody asks for.
    async fn let_go_of_tenants(&self) {
        let mut tick = tokio::time::interval(LOOK_AT_TENANTS);
        loop {
            tick.tick().await;
            self.sites.let_go_of_unused();
        }
    }

    /// Takes into use what has changed on the disk.
    async fn reload(&self) {
        if !self.reloader.has_source() {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            tick.tick().await;
            let reloader = Arc::clone(&self.reloader);
            // It reads files, and the trips to the store go by this thread.
            if let Err(error) = tokio::task::spawn_blocking(move || reloader.look()).await {
                tracing::error!(event = "reload.refused", %error, "reading the configuration again broke off");
            }
        }
    }
}
