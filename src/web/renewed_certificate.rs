//! The certificate that we show to the provider (RFC 8705 §2): looked at before each call that needs it, read
//! again when its files change, the one before it kept while it is good. What upstreams are shown is read with
//! the routes: see [`client_certificate`](crate::web::client_certificate).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;

use crate::clock::Timestamp;
use crate::web::key_pair::{PairFault, Stamp, TlsFiles, read, stamps, validity};

/// A certificate and its key; cheap to clone.
#[derive(Clone)]
pub struct RenewedCertificate(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    /// What is shown.
    current: ArcSwapOption<Shown>,
    /// How often it was another.
    renewals: AtomicU64,
    seen: Mutex<Seen>,
}

struct Shown {
    certified: Arc<CertifiedKey>,
    ends: Option<Timestamp>,
}

/// The files as they were looked at last, and what was wrong with them.
#[derive(Default)]
struct Seen {
    stamps: Option<[Stamp; 2]>,
    fault: Option<Arc<PairFault>>,
}

impl RenewedCertificate {
    /// The one in these files, which are read at once. What is wrong with them is told when it is to be
    /// shown: whoever starts has judged them. Blocking.
    pub fn of(files: TlsFiles, now: Timestamp) -> Self {
        let this = Self(Arc::new(Inner {
            files,
            current: ArcSwapOption::empty(),
            renewals: AtomicU64::new(0),
            seen: Mutex::default(),
        }));
        this.0.look(now);
        this
    }

    /// Takes new files into use, and says whether there is one that can be shown.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn ready(&self, now: Timestamp) -> Result<(), Arc<PairFault>> {
        let inner = Arc::clone(&self.0);
        let looked = tokio::task::spawn_blocking(move || (inner.look(now), inner.standing(now)));
        // Nothing ends the look but the end of the process.
        let Ok((news, standing)) = looked.await else {
            return Ok(());
        };
        match news {
            Some(Ok(())) => tracing::info!(
                event = "provider.client_cert",
                tls.cert = %self.0.files.cert.display(),
                "a new client certificate is in use"
            ),
            Some(Err(fault)) => tracing::error!(
                event = "provider.client_cert",
                error = %fault,
                "the changed client certificate cannot be used; the one before it is shown until it ends"
            ),
            None => {}
        }
        standing
    }

    /// A number that is another once another certificate is shown.
    pub(super) fn version(&self) -> u64 {
        self.0.renewals.load(Ordering::Acquire)
    }

    /// For TLS.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&self.0) as _
    }
}

impl Inner {
    /// Reads the files where they have changed. What became of that, where there was one to go on with: a
    /// fault is news once.
    fn look(&self, now: Timestamp) -> Option<Result<(), Arc<PairFault>>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps(&self.files);
        let had_one = self.current.load().is_some();
        if found == seen.stamps && had_one {
            return None;
        }
        seen.stamps = found;
        let read = read(&self.files, &aws_lc_rs::default_provider(), now).map_err(Arc::new);
        seen.fault = read.as_ref().err().map(Arc::clone);
        let news = read.map(|certified| {
            self.current.store(Some(Arc::new(Shown {
                ends: validity(&certified.cert).map(|validity| validity.not_after),
                certified: Arc::new(certified),
            })));
            self.renewals.fetch_add(1, Ordering::Release);
        });
        had_one.then_some(news)
    }

    /// Whether there is one that can be shown.
    fn standing(&self, now: Timestamp) -> Result<(), Arc<PairFault>> {
        let current = self.current.load();
        let ended = current.as_ref().and_then(|shown| shown.ends);
        let ended = ended.filter(|ends| *ends < now);
        if current.is_some() && ended.is_none() {
            return Ok(());
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Err(seen.fault.clone().unwrap_or_else(|| {
            Arc::new(PairFault::Expired {
                path: self.files.cert.clone(),
                not_after: ended.unwrap_or(now),
            })
        }))
    }
}

impl ResolvesClientCert for Inner {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        current.as_ref().map(|shown| Arc::clone(&shown.certified))
    }

    fn has_certs(&self) -> bool {
        self.current.load().is_some()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewedCertificate")
            .field("cert", &self.files.cert)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RenewedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_251_600);

    /// Files with a certificate that ends so many seconds from now.
    struct Files(TempDir);

    impl Files {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn put(&self, ends_in: i64) -> Vec<u8> {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["app".to_owned()]).unwrap();
            let ends = NOW.unix_seconds() + ends_in;
            params.not_after = time::OffsetDateTime::from_unix_timestamp(ends).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            self.write(&self.files().key, &key.serialize_pem());
            self.write(&self.files().cert, &certificate.pem());
            certificate.der().to_vec()
        }

        /// As orchestrators do: another file takes the place of the one before.
        fn write(&self, path: &Path, text: &str) {
            let fresh = self.0.path().join("fresh");
            fs::write(&fresh, text).unwrap();
            fs::rename(fresh, path).unwrap();
        }

        fn files(&self) -> TlsFiles {
            TlsFiles {
                cert: self.0.path().join("client.crt"),
                key: self.0.path().join("client.key"),
            }
        }
    }

    fn shown(certificate: &RenewedCertificate) -> Option<Vec<u8>> {
        let shown = certificate.0.resolve(&[], &[])?;
        Some(shown.cert[0].to_vec())
    }

    fn says(looked: Result<(), Arc<PairFault>>) -> String {
        looked.map_or_else(|fault| fault.to_string(), |()| "ready".to_owned())
    }

    /// RFC 8705: a renewed certificate is shown from the next call on; what cannot be used takes nothing
    /// away while the one before it is good, and is the reason once that has ended.
    #[tokio::test]
    async fn the_one_before_is_kept_while_it_is_good() {
        let files = Files::new();
        let first = files.put(60);
        let certificate = RenewedCertificate::of(files.files(), NOW);
        assert_eq!(shown(&certificate), Some(first));
        let second = files.put(120);
        assert_eq!(says(certificate.ready(NOW).await), "ready");
        assert_eq!(shown(&certificate), Some(second.clone()));

        for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\n!!\n"] {
            files.write(&files.files().cert, text);
            assert_eq!(says(certificate.ready(NOW).await), "ready", "{text}");
            assert_eq!(shown(&certificate), Some(second.clone()), "{text}");
        }
        files.put(-60);
        assert_eq!(says(certificate.ready(NOW).await), "ready");
        fs::remove_file(files.files().cert).unwrap();
        assert_eq!(says(certificate.ready(NOW).await), "ready");
        let late = NOW + Duration::from_mins(3);
        let fault = says(certificate.ready(late).await);
        assert!(fault.starts_with("cannot read"), "{fault}");

        let third = files.put(600);
        assert_eq!(says(certificate.ready(late).await), "ready");
        assert_eq!(shown(&certificate), Some(third));
        let fault = says(certificate.ready(NOW + Duration::from_mins(11)).await);
        assert!(fault.contains("client.crt expired at"), "{fault}");
    }

    /// RFC 8705: what never could be used is looked at again, and says why.
    #[tokio::test]
    async fn what_cannot_be_used_says_why() {
        let files = Files::new();
        let certificate = RenewedCertificate::of(files.files(), NOW);
        let look = async || says(certificate.ready(NOW).await);
        assert!(look().await.starts_with("cannot read"));
        files.put(-60);
        assert!(look().await.contains("client.crt expired at"));
        files.put(60);
        let other = KeyPair::generate().unwrap();
        files.write(&files.files().key, &other.serialize_pem());
        assert!(look().await.contains("does not fit the certificate"));
        files.write(&files.files().key, "hunter2");
        let fault = look().await;
        assert!(fault.contains("client.key holds no private key"), "{fault}");
        assert_eq!(shown(&certificate), None);
        let certificate_of_late = files.put(60);
        assert_eq!(look().await, "ready");
        assert_eq!(shown(&certificate), Some(certificate_of_late));
    }
}
