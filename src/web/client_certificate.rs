//! What we show a server that asks in TLS who we are: a certificate and its key.
//!
//! Both are read with the configuration, which is read again when one of the files changes, and not taken
//! where one is of no use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::{ResolvesClientCert, Resumption};

use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::web::key_pair::{PairFault, TlsFiles, read_of_any_time, validity};

/// How often the log says of one that it has expired.
const TOLD_EVERY: Duration = Duration::from_hours(1);

/// A certificate of ours and its key; cheap to clone.
#[derive(Clone)]
pub struct ClientCertificate(Arc<Inner>);

struct Inner {
    cert: PathBuf,
    /// What the chain is, so that connections of one are not those of another.
    print: Vec<u8>,
    shown: Option<Shown>,
}

impl ClientCertificate {
    /// The chain, leaf first, and the leaf's key in these PEM files.
    ///
    /// # Errors
    ///
    /// See [`PairFault`]. One that has expired is none: who judges a start says so.
    pub fn read(files: &TlsFiles) -> Result<Self, PairFault> {
        let certified = read_of_any_time(files, &rustls::crypto::aws_lc_rs::default_provider())?;
        let print = certified.cert.iter().flat_map(AsRef::as_ref).copied();
        let print = digest(&SHA256, &print.collect::<Vec<u8>>());
        let ends = validity(&certified.cert).map(|validity| validity.not_after);
        let shown = Shown {
            certified: Arc::new(certified),
            cert: files.cert.clone(),
            ends,
            told: AtomicI64::new(i64::MIN),
        };
        Ok(Self(Arc::new(Inner {
            cert: files.cert.clone(),
            print: print.as_ref().to_vec(),
            shown: Some(shown),
        })))
    }

    /// One that is only spoken of.
    pub fn unread(cert: &Path) -> Self {
        Self(Arc::new(Inner {
            cert: cert.to_owned(),
            print: Vec::new(),
            shown: None,
        }))
    }

    /// The certificate's file.
    pub fn path(&self) -> &Path {
        &self.0.cert
    }

    /// `tls` with this one to show. What one connection agreed on is taken up by those with the same
    /// certificate alone: a server would take another for this one.
    pub fn shown_in(&self, mut tls: ClientConfig) -> ClientConfig {
        if self.0.shown.is_some() {
            tls.client_auth_cert_resolver = Arc::new(self.clone());
            tls.resumption = Resumption::in_memory_sessions(32);
        }
        tls
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.shown.as_ref()?;
        shown.tell_of_end(SystemClock.now());
        Some(Arc::clone(&shown.certified))
    }

    fn has_certs(&self) -> bool {
        self.0.shown.is_some()
    }
}

struct Shown {
    certified: Arc<CertifiedKey>,
    cert: PathBuf,
    ends: Option<Timestamp>,
    /// When it was last said that it has expired.
    told: AtomicI64,
}

impl Shown {
    /// The server will refuse it, and says no more than that it does.
    fn tell_of_end(&self, now: Timestamp) {
        if self.ends.is_none_or(|ends| now <= ends) {
            return;
        }
        let told = Timestamp::from_unix_millis(self.told.load(Ordering::Relaxed));
        if now.since(told) < TOLD_EVERY {
            return;
        }
        self.told.store(now.unix_millis(), Ordering::Relaxed);
        tracing::error!(
            event = "client_certificate.expired",
            tls.cert = %self.cert.display(),
            at = self.ends.map(Timestamp::rfc3339),
            "the certificate that upstreams are shown has expired; a new one in the place of its files is taken into use by itself"
        );
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert && self.0.print == other.0.print
    }
}

impl Eq for ClientCertificate {}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate")
            .field(&self.0.cert)
            .finish()
    }
}
