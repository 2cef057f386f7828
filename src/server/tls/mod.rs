//! The certificate of the public listener: read, judged, and read again when it changes (N2).

mod der;
mod error;
mod files;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::TlsFiles;
use crate::clock::{Clock as _, SystemClock, Timestamp};

use self::der::not_after;
use self::files::{Stamp, read, stamps};

pub use self::error::TlsError;

/// How HTTP/2 is called in a handshake (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The certificate in use; cheap to clone.
#[derive(Clone)]
pub struct Certificates(Arc<Watch>);

struct Watch {
    files: TlsFiles,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    seen: Mutex<Option<[Stamp; 2]>>,
}

impl Certificates {
    pub(super) fn load(files: TlsFiles, now: Timestamp) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Before the read: a change between the two is then seen again, not missed.
        let seen = stamps(&files);
        let current = Arc::new(Current(ArcSwap::from_pointee(read(
            &files, &provider, now,
        )?)));
        let unusable = |source| TlsError::Unusable {
            path: files.cert.clone(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        // Resumption without a store: the key of the tickets changes by itself.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(Self(Arc::new(Watch {
            files,
            current,
            config: Arc::new(config),
            seen: Mutex::new(seen),
        })))
    }

    /// When the one in use ends; `None` where it does not say so as expected.
    pub fn expires(&self) -> Option<Timestamp> {
        let current = self.0.current.0.load();
        current.cert.first().and_then(|leaf| not_after(leaf))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.config))
    }

    /// Runs for ever: takes new files into use as they come.
    pub(super) async fn keep_fresh(self) {
        let mut interval = tokio::time::interval(RELOAD_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || this.look(Told::News)).await;
            if let Err(error) = looked {
                tracing::error!(event = "certificate.unusable", %error, "looking at the certificate failed");
            }
        }
    }

    /// Looks once, and says in the log what it found.
    pub(super) fn look(&self, told: Told) {
        match self.reload(SystemClock.now()) {
            Ok(Reload::Unchanged) if told == Told::News => {}
            Ok(Reload::Unchanged) => tracing::info!(event = "certificate.unchanged",
                tls.cert = %self.0.files.cert.display(),
                "the certificate has not changed"
            ),
            Ok(Reload::Taken) => tracing::info!(event = "certificate.reloaded",
                tls.cert = %self.0.files.cert.display(),
                "a new certificate is in use"
            ),
            Err(error) => tracing::error!(event = "certificate.unusable",
                %error,
                "the changed certificate cannot be used; the one before it stays in use"
            ),
        }
    }

    /// Looks once. A fault is told once and not again until the files change again.
    pub(super) fn reload(&self, now: Timestamp) -> Result<Reload, TlsError> {
        let found = stamps(&self.0.files);
        {
            let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == found {
                return Ok(Reload::Unchanged);
            }
            *seen = found;
        }
        let fresh = read(&self.0.files, self.0.config.crypto_provider(), now)?;
        self.0.current.0.store(Arc::new(fresh));
        Ok(Reload::Taken)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.0.files).finish()
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

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Unchanged,
    Taken,
}

struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
