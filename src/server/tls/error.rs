//! Why a certificate cannot be used.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

use crate::clock::Timestamp;

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
