//! The certificates of the listener's files: for which hosts they are.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;

use super::error::TlsError;
use super::names::{CertificateNames, as_address};
use crate::clock::Timestamp;
use crate::web::key_pair::{PairFault, TlsFiles, read, read_chain};

/// The hosts that the certificate in these files is for.
///
/// # Errors
///
/// Its file cannot be read.
pub fn names_in(files: &TlsFiles) -> Result<CertificateNames, PairFault> {
    read_chain(&files.cert).map(|chain| names(&chain))
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
