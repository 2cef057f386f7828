//! What the process can be told, and what its service manager is told in turn.

use std::future::pending;
use std::pin::pin;

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::service_manager::ServiceManager;
use crate::app::{RunningApp, StartError};
use crate::server::RollCall;

/// Listened to from before the process serves: a signal that nobody listens to ends it.
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let on = |kind| {
            let _guard = runtime.enter();
            signal(kind).map_err(StartError::Thread)
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
            runtime,
        })
    }

    /// Runs until the process is told to stop and the drain is over.
    pub(super) fn run(self, app: RunningApp, manager: &ServiceManager) {
        let Self {
            runtime,
            terminate,
            interrupt,
            hang_up,
        } = self;
        let workers = app.workers();
        runtime.block_on(async {
            // To its end: during the drain a worker may hang as well.
            tokio::select! {
                () = until_stopped(app, manager, terminate, interrupt, hang_up) => {}
                () = watch(&workers, manager) => {}
            }
        });
        tracing::info!(event = "stopped", "stopped");
    }
}

/// A hang-up never ends the process: service managers send it to say that files have changed, and
/// terminals when they close.
async fn until_stopped(
    app: RunningApp,
    manager: &ServiceManager,
    mut terminate: Signal,
    mut interrupt: Signal,
    mut hang_up: Signal,
) {
    let shutdown = app.shutdown().clone();
    manager.ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // A worker broke, which ends them all.
            () = shutdown.cancelled() => break,
            _ = hang_up.recv() => {
                manager.reloading();
                app.reload();
                manager.ready();
            }
        }
    }
    manager.stopping(app.longest_end());
    // Whoever says it again does not want to wait.
    let mut again = pin!(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    app.leave(&mut again).await;
    app.finished().await;
}

/// Tells the service manager that we are alive, as often as it asks for, for as long as all workers
/// answer. Never ends.
async fn watch(workers: &RollCall, manager: &ServiceManager) {
    let Some(interval) = manager.watchdog() else {
        return pending().await;
    };
    let mut tick = tokio::time::interval(interval);
    loop {
        tick.tick().await;
        if workers.all_answer(interval).await {
            manager.alive();
        } else {
            tracing::error!(
                event = "worker.hangs",
                "a worker does not answer; the service manager is not told that all is well"
            );
        }
    }
}
