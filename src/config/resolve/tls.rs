//! `server.tls`, and that of a site: the certificate to serve https with, and its key.

use std::path::{Path, PathBuf};

use crate::clock::{Clock as _, SystemClock};
use crate::config::document::joined;
use crate::config::error::Faults;
use crate::config::reader::{Field, Written};
use crate::config::resolve::Surroundings;
use crate::config::tls_table::TlsTable;
use crate::server::{SiteCertificate, TlsError, TlsFiles, damage};
use crate::web::regular_file::{self, LARGEST_SECRET};

/// The files are there, and are what they have to be.
pub(super) fn tls(
    field: &Field<TlsTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<TlsFiles> {
    let example = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
    pair(field, example, surroundings, faults)
}

/// The files of a certificate and its key, written as in `example`.
pub(super) fn pair(
    field: &Field<TlsTable>,
    example: &str,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<TlsFiles> {
    let tls = field.written()?;
    let mut file = |field: &Field<String>, key: &str, label: &str| {
        let key = joined(&tls.key, key);
        let written = field.required(&tls.place, &key, example, faults)?;
        let path = surroundings.folder.private(written, &written.value);
        if !surroundings.purpose.needs_secrets() {
            // Nothing is served.
            return Some(path);
        }
        match regular_file::read_text(&path, LARGEST_SECRET) {
            Ok(pem) if pem.contains(label) => Some(path),
            Ok(_) => {
                written.refuse(
                    faults,
                    format!(
                        "names {}, which holds no PEM block of this kind",
                        path.display()
                    ),
                    format!("write the path of a file with -----BEGIN … {label}-----"),
                );
                None
            }
            Err(error) => {
                written.refuse(
                    faults,
                    format!("names {}, which can't be read ({error})", path.display()),
                    "write the path of a PEM file that this process may read",
                );
                None
            }
        }
    };
    let cert = file(&tls.value.cert, "cert", "CERTIFICATE");
    let key = file(&tls.value.key, "key", "PRIVATE KEY");
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (Some(cert), None) => {
            judge_alone(&tls.value.cert, cert, surroundings, faults);
            return None;
        }
        (None, _) => return None,
    };
    let files = TlsFiles { cert, key };
    if surroundings.purpose.judges_certificates()
        && let Err(error) = files.check(SystemClock.now())
        && let (Some(cert), Some(key)) = (tls.value.cert.written(), tls.value.key.written())
    {
        refuse_tls(&error, &files, (cert, key), faults);
    }
    Some(files)
}

/// A certificate whose key is no key is judged all the same: every fault at once.
fn judge_alone(
    field: &Field<String>,
    cert: PathBuf,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) {
    let files = TlsFiles {
        key: cert.clone(),
        cert,
    };
    if surroundings.purpose.judges_certificates()
        && let Err(error) = files.names()
        && let Some(cert) = field.written()
    {
        refuse_tls(&error, &files, (cert, cert), faults);
    }
}

/// That of a site, which is for its host.
pub(super) fn certificate(
    field: &Field<TlsTable>,
    host: &str,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<SiteCertificate> {
    let certificate = SiteCertificate {
        host: host.to_owned(),
        files: tls(field, surroundings, faults)?,
    };
    if surroundings.purpose.judges_certificates()
        && let Err(error) = certificate.check(SystemClock.now())
        && matches!(
            error,
            TlsError::DoesNotCover { .. } | TlsError::NoServerName { .. }
        )
        && let Some(cert) = field.written().and_then(|tls| tls.value.cert.written())
    {
        cert.refuse(
            faults,
            error.to_string(),
            "write the certificate of that host",
        );
    }
    Some(certificate)
}

/// Says at which of the two keys a pair is at fault.
fn refuse_tls(
    error: &TlsError,
    files: &TlsFiles,
    (cert, key): (&Written<String>, &Written<String>),
    faults: &mut Faults,
) {
    let name = |path: &Path| format!("names {}", path.display());
    let mut unusable = |path: &Path, why: String| {
        let at = if *path == files.key { key } else { cert };
        let what = format!("{}, which {why}", name(path));
        at.refuse(faults, what, "write the path of a file that can be used");
    };
    match error {
        TlsError::KeyDoesNotFit { .. } => key.refuse(
            faults,
            format!("{}, which is the key of another certificate than {}", name(&files.key), files.cert.display()),
            "write the two files that belong together, the certificate of the server first in its file",
        ),
        TlsError::Expired { not_after, .. } => cert.refuse(
            faults,
            format!("{}, which expired at {not_after:?}", name(&files.cert)),
            "renew the certificate, or look at this machine's clock",
        ),
        TlsError::Unreadable { path, source } => {
            unusable(path, format!("can't be read ({source})"));
        }
        TlsError::NotPem { path, fault } => {
            unusable(path, format!("is damaged: {}", damage(fault)));
        }
        TlsError::Missing { path, expected } => unusable(path, format!("holds no {expected}")),
        TlsError::Unusable { path, source } => {
            unusable(path, format!("cannot be used: {source}"));
        }
        // Of the certificates of sites.
        TlsError::DoesNotCover { .. }
        | TlsError::NoServerName { .. }
        | TlsError::TwoForOneHost { .. }
        | TlsError::NothingLeft => {
            cert.refuse(faults, error.to_string(), "write the certificate of the site");
        }
    }
}
