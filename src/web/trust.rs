//! Whose certificates are believed on calls of ours: those of the machine's authorities, or of a PEM
//! file in their place (N2).

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::web::regular_file::{self, LARGEST_SECRET};

/// The roots of one PEM file; cheap to clone.
#[derive(Clone)]
pub struct Roots(Arc<Inner>);

struct Inner {
    path: PathBuf,
    tls: ClientConfig,
}

/// Why a file gives no roots; continues the key that named it.
#[derive(Debug, thiserror::Error)]
pub enum RootsFault {
    /// It is not there, or not ours to read.
    #[error("names {}, which can't be read ({source})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It holds no certificate that could be one.
    #[error("names {}, which holds no certificate in PEM that can be used", .0.display())]
    NoCertificate(PathBuf),
    /// TLS cannot be set up.
    #[error("cannot be used: {0}")]
    Setup(#[from] rustls::Error),
}

impl Roots {
    /// The certificates in the PEM file at `path`: those of authorities, or a server's own.
    ///
    /// # Errors
    ///
    /// See [`RootsFault`].
    pub fn read(path: &Path) -> Result<Self, RootsFault> {
        let text =
            regular_file::read(path, LARGEST_SECRET).map_err(|source| RootsFault::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        let no_certificate = || RootsFault::NoCertificate(path.to_owned());
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|_| no_certificate())?;
        let mut roots = RootCertStore::empty();
        // Bundles may hold one that is of no use here; all of them would be a mistake.
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(no_certificate());
        }
        let tls = client_builder()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            tls,
        })))
    }

    /// How servers are verified against them.
    pub fn tls(&self) -> ClientConfig {
        self.0.tls.clone()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for Roots {}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roots").field(&self.0.path).finish()
    }
}

/// How servers are verified where no file is named: against the machine's own roots, or those of
/// `SSL_CERT_FILE` and `SSL_CERT_DIR`. Reading them takes megabytes, so an app does it once.
///
/// A machine without roots of trust is no reason not to start: `bff dev` calls loopback alone.
/// Every https call fails there.
///
/// # Errors
///
/// TLS cannot be set up.
pub fn machines_own() -> Result<ClientConfig, rustls::Error> {
    let builder = match client_builder()?.with_platform_verifier() {
        Ok(trusting) => trusting,
        Err(error) => {
            tracing::warn!(
                event = "tls.no_roots",
                error = &error as &dyn Error,
                "this machine has no roots of trust, so no https call can succeed"
            );
            client_builder()?.with_root_certificates(RootCertStore::empty())
        }
    };
    Ok(builder.with_no_client_auth())
}

fn client_builder()
-> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of the other side is not trusted: {what}")]
pub struct Mistrust {
    what: &'static str,
    /// Whether roots of another authority would change that.
    pub is_of_unknown_authority: bool,
}

impl Mistrust {
    /// What is found in `error` and all that is behind it; `None` where it is of another kind.
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(rustls::Error::InvalidCertificate(fault)) = error.downcast_ref() {
            return Some(Self::of(fault));
        }
        // An io::Error names as its source what is behind the error that it holds, not that one.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match held {
            Some(held) => Self::behind(held),
            None => error.source().and_then(Self::behind),
        }
    }

    fn of(fault: &CertificateError) -> Self {
        use CertificateError as Fault;
        let what = match fault {
            // Signed by another authority of the same name is as unknown.
            Fault::UnknownIssuer | Fault::BadSignature => "its authority is not known here",
            Fault::Expired | Fault::ExpiredContext { .. } => "it has expired",
            Fault::NotValidYet | Fault::NotValidYetContext { .. } => {
                "it is not valid yet, or a clock is wrong"
            }
            Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
                "it is for another name"
            }
            Fault::Revoked => "it was revoked",
            _ => "it cannot be verified",
        };
        Self {
            what,
            is_of_unknown_authority: matches!(fault, Fault::UnknownIssuer | Fault::BadSignature),
        }
    }
}
