//! What is read again while running. The certificate's files are the listener's own affair.

use crate::config::{ConfigErrors, Reload};
use crate::secret::SessionKey;
use crate::session::seal::Keys;

/// The session keys and where they are read again.
#[derive(Clone)]
pub(super) struct ReloadedKeys {
    pub(super) ring: Keys,
    pub(super) source: Option<Reload>,
}

impl ReloadedKeys {
    /// Takes the keys into use as they stand now. A file that is half written is read again in a
    /// moment; the old keys stay, and nothing is said.
    pub(super) fn look(&self) {
        if let Some(Ok(reread)) = self.source.as_ref().map(Reload::read)
            && self.ring.replace(&reread.keys)
        {
            told_of(&reread.keys);
        }
    }

    /// The same for whoever asked, who is told in any case, and also of what takes a restart.
    pub(super) fn reload(&self) {
        match self.source.as_ref().map(Reload::read) {
            None => {}
            Some(Err(faults)) => refused(&faults),
            Some(Ok(reread)) => {
                if self.ring.replace(&reread.keys) {
                    told_of(&reread.keys);
                } else {
                    tracing::info!(
                        event = "keys.unchanged",
                        "the session keys have not changed"
                    );
                }
                if reread.changed.is_empty() {
                    tracing::info!(
                        event = "reload.unchanged",
                        "nothing has changed that is read at a start alone"
                    );
                } else {
                    tracing::warn!(
                        event = "reload.needs_restart",
                        changed = reread.changed.join(", "),
                        "these keys have changed and are read at a start alone; restart to use them"
                    );
                }
            }
        }
    }
}

fn told_of(keys: &[SessionKey]) {
    tracing::info!(
        event = "keys.reloaded",
        keys = keys.len(),
        "session keys reloaded"
    );
}

fn refused(faults: &ConfigErrors) {
    for error in faults.to_string().lines() {
        tracing::error!(
            event = "reload.refused",
            error,
            "the configuration cannot be used; all stays as it was"
        );
    }
}
