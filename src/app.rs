//! Wires the parts together; the only file that names concrete stores.

use crate::config::Config;

/// Why nothing was started; each says in one sentence what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The parts are not wired together yet.
    #[error("this build cannot serve yet")]
    NotWired,
}

/// Serves as `config` says, until the process is told to stop.
///
/// # Errors
/// What keeps it from starting: an address in use, a certificate that cannot be used, ….
pub fn serve(_config: Config) -> Result<(), StartError> {
    Err(StartError::NotWired)
}

/// Starts the development servers, puts them where `config` names them, and serves.
///
/// # Errors
/// As [`serve`], and where the development servers cannot start.
#[cfg(feature = "dev")]
pub fn develop(_config: Config) -> Result<(), StartError> {
    Err(StartError::NotWired)
}
