//! The certificates of the public listener: which one a browser gets, and each read again when it
//! changes (N2).
//!
//! A handshake looks at one [`Set`], which never changes: whatever comes new, a renewed certificate or
//! another choice of them, is a set of its own, judged before it takes the other's place. Connections go
//! on with what they began with.

mod error;
mod files;
mod handshake;
mod names;
mod pair;
mod set;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::web::key_pair::TlsFiles;

use self::set::{Chosen, Set};

pub use self::error::TlsError;
pub use self::files::{SiteCertificate, names_in};
pub(super) use self::handshake::shake_hands;
pub use self::names::CertificateNames;
pub(super) use self::pair::H2;

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// How often the log says what ends soon.
const WARNING_INTERVAL: Duration = Duration::from_hours(24);

/// The certificates in use; cheap to clone.
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    /// What the next handshake looks at.
    current: ArcSwap<Set>,
    /// Held by whoever makes the next set, since it is made from the one before.
    changing: Mutex<()>,
}

impl Certificates {
    /// Reads those of a listener: one for whoever asks for no site's host, and those of sites. `None`
    /// where there are none, and the listener speaks no TLS.
    pub(super) fn load(
        otherwise: Option<&TlsFiles>,
        sites: &[SiteCertificate],
        now: Timestamp,
    ) -> Result<Option<Self>, TlsError> {
        if otherwise.is_none() && sites.is_empty() {
            return Ok(None);
        }
        let set = Set::read(otherwise, sites, &Set::default(), now)?;
        Ok(Some(Self(Arc::new(Shared {
            current: ArcSwap::from_pointee(set),
            changing: Mutex::default(),
        }))))
    }

    /// Serves these from now on in place of all others: at once, or not at all. What is served already
    /// and has not changed is not read again. Reads files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: the first fault of any of them, and nothing has changed.
    pub fn replace(
        &self,
        otherwise: Option<&TlsFiles>,
        sites: &[SiteCertificate],
        now: Timestamp,
    ) -> Result<(), TlsError> {
        if otherwise.is_none() && sites.is_empty() {
            return Err(TlsError::NothingLeft);
        }
        let _alone = self
            .0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let next = Set::read(otherwise, sites, &self.0.current.load(), now)?;
        self.0.current.store(Arc::new(next));
        Ok(())
    }

    /// When the first of those in use ends; `None` where none says so as expected.
    pub fn expires(&self) -> Option<Timestamp> {
        self.0.current.load().expires()
    }

    /// What a handshake goes on with that asks for this name, in lower case; `None` where it does not
    /// go on.
    fn choose(&self, server_name: Option<&str>) -> Option<Chosen> {
        self.0.current.load().choose(server_name)
    }

    /// Runs for ever: takes new files into use as they come.
    pub(super) async fn keep_fresh(self) {
        let mut interval = tokio::time::interval(RELOAD_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut warns_at = Instant::now();
        loop {
            let now = interval.tick().await;
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || this.look(Told::News)).await;
            if now >= warns_at {
                warns_at = now + WARNING_INTERVAL;
                self.warn_of_ends(SystemClock.now());
            }
            if let Err(error) = looked {
                tracing::error!(event = "certificate.unusable", %error, "looking at the certificates failed");
            }
        }
    }

    /// Looks once, and says in the log what it found.
    pub(super) fn look(&self, told: Told) {
        let news = self.reload(SystemClock.now());
        if news.is_empty() && told == Told::Always {
            let set = self.0.current.load();
            tracing::info!(
                event = "certificate.unchanged",
                tls.cert = set.only().map(|files| files.cert.display().to_string()),
                certificates = set.len(),
                "no certificate has changed"
            );
        }
        for News { cert, host, taken } in news {
            match taken {
                Ok(()) => tracing::info!(event = "certificate.reloaded",
                    tls.cert = %cert.display(),
                    host,
                    "a new certificate is in use"
                ),
                Err(error) => tracing::error!(event = "certificate.unusable",
                    %error,
                    host,
                    "the changed certificate cannot be used; the one before it stays in use"
                ),
            }
        }
    }

    /// Says which ones end soon, since the metric tells when the first does and not whose it is.
    fn warn_of_ends(&self, now: Timestamp) {
        for (pair, ends) in self.0.current.load().ending(now) {
            tracing::warn!(
                event = "certificate.ends",
                tls.cert = %pair.files.cert.display(),
                host = pair.host(),
                at = ends.rfc3339(),
                "a certificate ends soon and has not been renewed; a new one in the place of its files is taken into use by itself"
            );
        }
    }

    /// Looks once at all of them. A fault is told once and not again until the files change again.
    pub(super) fn reload(&self, now: Timestamp) -> Vec<News> {
        let _alone = self
            .0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (next, news) = self.0.current.load().look(now);
        if !news.is_empty() {
            self.0.current.store(Arc::new(next));
        }
        news
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = self.0.current.load().len();
        f.debug_struct("Certificates")
            .field("len", &certificates)
            .finish()
    }
}

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A change, and a fault.
    News,
    /// That nothing changed as well: somebody asked.
    Always,
}

/// The files of a certificate have changed.
#[derive(Debug)]
pub(super) struct News {
    pub(super) cert: PathBuf,
    /// Of the sites that it is for, the first.
    pub(super) host: Option<String>,
    /// Whether what they hold now is in use, or why not.
    pub(super) taken: Result<(), TlsError>,
}

#[cfg(test)]
mod tests;
