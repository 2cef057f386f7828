//! The files of a certificate: read, judged, and told from what they were.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::error::TlsError;
use super::names::{CertificateNames, as_address};
use crate::clock::Timestamp;
use crate::web::der::Validity;
use crate::web::regular_file::{self, LARGEST_SECRET};

/// PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads and judges both files as a start would: readable, fitting, in date.
    ///
    /// # Errors
    ///
    /// See [`TlsError`], which names the file.
    pub fn check(&self, now: Timestamp) -> Result<(), TlsError> {
        read(self, &aws_lc_rs::default_provider(), now).map(drop)
    }

    /// The hosts that the certificate is for.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: the certificate's file cannot be read.
    pub fn names(&self) -> Result<CertificateNames, TlsError> {
        read_chain(&self.cert).map(|chain| names(&chain))
    }
}

/// A certificate for browsers that ask for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteCertificate {
    /// The host, in A-labels; `*.app.example.com` for all that are one label below.
    pub host: String,
    /// The certificate and its key. Several hosts may share them.
    pub files: TlsFiles,
}

impl SiteCertificate {
    /// Reads and judges as a start would: as [`TlsFiles::check`], and that browsers take the
    /// certificate for the host's.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn check(&self, now: Timestamp) -> Result<(), TlsError> {
        self.judge_host()?;
        let read = read(&self.files, &aws_lc_rs::default_provider(), now)?;
        judge_names(&self.files, &names(&read.cert), [&*self.host])
    }

    pub(super) fn judge_host(&self) -> Result<(), TlsError> {
        match as_address(&self.host) {
            None => Ok(()),
            Some(_) => Err(TlsError::NoServerName {
                host: self.host.clone(),
                cert: self.files.cert.clone(),
            }),
        }
    }
}

/// Whether these names cover all hosts that the certificate is to be shown for.
pub(super) fn judge_names<'a>(
    files: &TlsFiles,
    names: &CertificateNames,
    hosts: impl IntoIterator<Item = &'a str>,
) -> Result<(), TlsError> {
    match hosts.into_iter().find(|host| !names.cover(host)) {
        None => Ok(()),
        Some(host) => Err(TlsError::DoesNotCover {
            path: files.cert.clone(),
            host: host.to_owned(),
            names: names.to_string(),
        }),
    }
}

/// The hosts that a chain's leaf is for.
pub(super) fn names(chain: &[CertificateDer<'_>]) -> CertificateNames {
    chain
        .first()
        .map(|leaf| CertificateNames::of(leaf))
        .unwrap_or_default()
}

/// How long a chain's leaf is valid; `None` where it does not say so as expected.
pub(super) fn validity(chain: &[CertificateDer<'_>]) -> Option<Validity> {
    chain.first().and_then(|leaf| Validity::of(leaf))
}

/// What changes when a file does: also where a link is pointed elsewhere, as orchestrators do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// Those of both files; `None` where one is not there.
pub(super) fn stamps(files: &TlsFiles) -> Option<[Stamp; 2]> {
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

/// Reads and judges both.
pub(super) fn read(
    files: &TlsFiles,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(&files.cert)?;
    let key = read_key(&files.key)?;
    if let Some(validity) = validity(&chain)
        && validity.not_after < now
    {
        return Err(TlsError::Expired {
            path: files.cert.clone(),
            not_after: validity.not_after,
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
        .map_err(|fault| TlsError::NotPem {
            path: path.to_owned(),
            fault,
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
    PrivateKeyDer::from_pem_slice(&text).map_err(|fault| match fault {
        pem::Error::NoItemsFound => TlsError::Missing {
            path: path.to_owned(),
            expected: "private key",
        },
        fault => TlsError::NotPem {
            path: path.to_owned(),
            fault,
        },
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    regular_file::read(path, LARGEST_SECRET)
        .map(Zeroizing::new)
        .map_err(|source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        })
}
