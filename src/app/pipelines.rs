//! Makes the pipeline of each worker, with its own connections to upstreams.

use std::sync::Arc;

use crate::clock::Randomness;
use crate::pipeline::sites::Sites;
use crate::pipeline::{Pipeline, Shared};
use crate::proxy::dial::SystemResolver;
use crate::proxy::upstream::{UpstreamLimits, UpstreamRoom, Upstreams};
use crate::server::{ServerSettings, WorkerContext};

/// What the pipelines of all workers are made of.
pub(super) struct Pipelines {
    pub(super) sites: Sites,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: UpstreamLimits,
    pub(super) room: UpstreamRoom,
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) randomness: Arc<dyn Randomness>,
}

impl Pipelines {
    /// The one of this worker.
    pub(super) fn of(&self, worker: WorkerContext) -> Pipeline {
        let upstreams = Upstreams::new(
            self.limits.clone(),
            self.room.clone(),
            Arc::clone(&self.tls),
            Arc::new(SystemResolver),
        );
        Pipeline::new(
            self.sites.clone(),
            Arc::clone(&self.shared),
            upstreams,
            Arc::clone(&self.randomness),
            worker.shutdown,
        )
    }
}

/// How upstreams are spoken to, as the listener's settings say.
pub(super) fn upstream_limits(server: &ServerSettings) -> UpstreamLimits {
    UpstreamLimits {
        connect: server.timeouts.connect,
        body_idle: server.timeouts.body_idle,
        least_rate: server.limits.least_rate,
        age: server.timeouts.upstream_age,
        fields: server.limits.upstream_fields,
    }
}
