//! A certificate and its private key in two PEM files: read, judged, and told from what they were.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

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
    /// See [`PairFault`], which names the file.
    pub fn check(&self, now: Timestamp) -> Result<(), PairFault> {
        read(self, &aws_lc_rs::default_provider(), now).map(drop)
    }
}

/// Why the two files cannot be used; each says which.
#[derive(Debug, thiserror::Error)]
pub enum PairFault {
    /// The file is not there, or not ours to read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Damaged PEM.
    #[error("{} is damaged: {}", path.display(), damage(fault))]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; the library would quote the file, which may be a key's.
        fault: pem::Error,
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

/// What is wrong with a PEM file, in words that quote nothing of it.
pub const fn damage(fault: &pem::Error) -> &'static str {
    match fault {
        pem::Error::MissingSectionEnd { .. } => "an -----END … line is missing",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN … line is not whole",
        pem::Error::Base64Decode(_) => "what stands in it is no base64",
        _ => "it holds nothing of this kind",
    }
}

/// How long a chain's leaf is valid; `None` where it does not say so as expected.
pub(crate) fn validity(chain: &[CertificateDer<'_>]) -> Option<Validity> {
    chain.first().and_then(|leaf| Validity::of(leaf))
}

/// What changes when a file does: also where a link is pointed elsewhere, as orchestrators do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// Those of both files; `None` where one is not there.
pub(crate) fn stamps(files: &TlsFiles) -> Option<[Stamp; 2]> {
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
pub(crate) fn read(
    files: &TlsFiles,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<CertifiedKey, PairFault> {
    let certified = read_of_any_time(files, provider)?;
    match validity(&certified.cert) {
        Some(validity) if validity.not_after < now => Err(PairFault::Expired {
            path: files.cert.clone(),
            not_after: validity.not_after,
        }),
        _ => Ok(certified),
    }
}

/// The same, whether or not the certificate's time is over.
pub(crate) fn read_of_any_time(
    files: &TlsFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PairFault> {
    let chain = read_chain(&files.cert)?;
    let key = read_key(&files.key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|source| PairFault::Unusable {
            path: files.key.clone(),
            source,
        })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(PairFault::KeyDoesNotFit {
                cert: files.cert.clone(),
                key: files.key.clone(),
            })
        }
        Err(source) => Err(PairFault::Unusable {
            path: files.cert.clone(),
            source,
        }),
    }
}

pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PairFault> {
    let text = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|fault| PairFault::NotPem {
            path: path.to_owned(),
            fault,
        })?;
    if chain.is_empty() {
        return Err(PairFault::Missing {
            path: path.to_owned(),
            expected: "certificate",
        });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, PairFault> {
    let text = read_file(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|fault| match fault {
        pem::Error::NoItemsFound => PairFault::Missing {
            path: path.to_owned(),
            expected: "private key",
        },
        fault => PairFault::NotPem {
            path: path.to_owned(),
            fault,
        },
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, PairFault> {
    regular_file::read(path, LARGEST_SECRET)
        .map(Zeroizing::new)
        .map_err(|source| PairFault::Unreadable {
            path: path.to_owned(),
            source,
        })
}
