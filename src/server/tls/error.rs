//! Why a certificate cannot be used.

use std::path::PathBuf;

use crate::web::key_pair::PairFault;

/// Why a certificate or its key cannot be used; each says which file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files themselves.
    #[error(transparent)]
    Pair(#[from] PairFault),
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
