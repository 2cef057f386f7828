//! The second listener: health and metrics, never reachable from the first (N1).

use std::net::SocketAddr;

use crate::secret::AdminKey;

/// `server.admin_listen` and its key.
#[derive(Debug)]
pub struct AdminSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The bearer key; without one there is only health and metrics.
    pub key: Option<AdminKey>,
}
