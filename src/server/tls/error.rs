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
    /// No browser takes the certificate for this host's.
    #[error("the certificate {} does not cover {host}; it is for {names}", path.display())]
    DoesNotCover {
        /// The certificate's file.
        path: PathBuf,
        /// The host of the site.
        host: String,
        /// What it covers, as a sentence lists it.
        names: String,
    },
    /// The host is an address, by which no certificate is asked for (RFC 6066 §3).
    #[error(
        "{host} is an address, and browsers name no address when they ask for a certificate: write {} as server.tls",
        cert.display()
    )]
    NoServerName {
        /// The host of the site.
        host: String,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// Two sites of one host want two certificates.
    #[error(
        "{host} has two certificates, {} and {}: sites of one host have one", one.display(), other.display()
    )]
    TwoForOneHost {
        /// The host.
        host: String,
        /// The file of the one.
        one: PathBuf,
        /// The file of the other.
        other: PathBuf,
    },
    /// All certificates were taken away from a listener that speaks TLS.
    #[error("no certificate is left, and a listener goes from https to http at a start alone")]
    NothingLeft,
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
