//! The certificate of the public listener: read, judged, and read again when it changes (N2).

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::TlsFiles;
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// How HTTP/2 is called in a handshake (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Why a certificate or its key cannot be used; each says which file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, or not ours to read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No PEM, or damaged PEM.
    #[error("{} is not a PEM file: {source}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// PEM, but not what was asked for.
    #[error("{} holds no {expected}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// A certificate or key of a kind that we cannot use.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error("the key {} does not fit the certificate {}", key.display(), cert.display())]
    KeyDoesNotFit {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("the certificate {} expired at {not_after:?}", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// When it ended.
        not_after: Timestamp,
    },
}

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

/// What changes when a file does: also where a link is pointed elsewhere, as orchestrators do.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

fn stamps(files: &TlsFiles) -> Option<[Stamp; 2]> {
    let stamp = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some(Stamp {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    };
    Some([stamp(&files.cert)?, stamp(&files.key)?])
}

fn read(
    files: &TlsFiles,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(&files.cert)?;
    let key = read_key(&files.key)?;
    if let Some(not_after) = chain.first().and_then(|leaf| not_after(leaf))
        && not_after < now
    {
        return Err(TlsError::Expired {
            path: files.cert.clone(),
            not_after,
        });
    }
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|source| TlsError::Unusable {
            path: files.key.clone(),
            source,
        })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::KeyDoesNotFit {
                cert: files.cert.clone(),
                key: files.key.clone(),
            })
        }
        Err(source) => Err(TlsError::Unusable {
            path: files.cert.clone(),
            source,
        }),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::NotPem {
            path: path.to_owned(),
            source,
        })?;
    if chain.is_empty() {
        return Err(TlsError::Missing {
            path: path.to_owned(),
            expected: "certificate",
        });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_file(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Missing {
            path: path.to_owned(),
            expected: "private key",
        },
        source => TlsError::NotPem {
            path: path.to_owned(),
            source,
        },
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        })
}

/// `notAfter` of a certificate (RFC 5280 §4.1.2.5); `None` where it is not written as expected,
/// which is then the TLS library's to judge.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    let (tag, _, rest) = element(fields)?;
    if tag == 0xa0 {
        fields = rest; // version [0], which version 1 leaves out
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    let digits = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        0x18 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let month = time::Month::try_from(pair(0)?).ok()?;
    let moment = time::Date::from_calendar_date(year, month, pair(2)?)
        .ok()?
        .with_hms(pair(4)?, pair(6)?, pair(8)?)
        .ok()?
        .assume_utc();
    Some(Timestamp::from_unix_seconds(moment.unix_timestamp()))
}

/// The first DER element of `bytes`: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        length = octets.iter().try_fold(0_usize, |length, &octet| {
            Some(length.checked_mul(256)? + usize::from(octet))
        })?;
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
