//! `server.tls`, and that of a site: the certificate to serve https with, and its key.

use std::path::{Path, PathBuf};

use crate::clock::{Clock as _, SystemClock};
use crate::config::document::joined;
use crate::config::error::{Faults, Place};
use crate::config::reader::{Field, Written};
use crate::config::resolve::Surroundings;
use crate::config::tls_table::TlsTable;
use crate::server::{SiteCertificate, TlsError, TlsFiles, names_in};
use crate::web::key_pair::{PairFault, damage};
use crate::web::regular_file::{self, LARGEST_SECRET};

/// The files are there, and are what they have to be.
pub(super) fn tls(
    field: &Field<TlsTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<TlsFiles> {
    let example = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
    in_table(field, example, surroundings, faults)
}

/// The files of a certificate and its key, in a table as in `example`.
pub(super) fn in_table(
    field: &Field<TlsTable>,
    example: &str,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<TlsFiles> {
    let tls = field.written()?;
    let keys = [
        (&tls.value.cert, joined(&tls.key, "cert")),
        (&tls.value.key, joined(&tls.key, "key")),
    ];
    pair(keys, (&tls.place, example), surroundings, faults)
}

/// Two files that belong together, by the key of each; a missing key is told at `place`.
pub(super) fn pair(
    [(cert_field, cert_key), (key_field, key_key)]: [(&Field<String>, String); 2],
    (place, example): (&Place, &str),
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<TlsFiles> {
    let mut file = |field: &Field<String>, key: &str, label: &str| {
        let written = field.required(place, key, example, faults)?;
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
    let cert = file(cert_field, &cert_key, "CERTIFICATE");
    let key = file(key_field, &key_key, "PRIVATE KEY");
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (Some(cert), None) => {
            judge_alone(cert_field, cert, surroundings, faults);
            return None;
        }
        (None, _) => return None,
    };
    let files = TlsFiles { cert, key };
    if surroundings.purpose.judges_certificates()
        && let Err(error) = files.check(SystemClock.now())
        && let (Some(cert), Some(key)) = (cert_field.written(), key_field.written())
    {
        refuse_pair(&error, &files, (cert, key), faults);
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
        && let Err(error) = names_in(&files)
        && let Some(cert) = field.written()
    {
        refuse_pair(&error, &files, (cert, cert), faults);
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
pub(super) fn refuse_pair(
    error: &PairFault,
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
        PairFault::KeyDoesNotFit { .. } => key.refuse(
            faults,
            format!("{}, which is the key of another certificate than {}", name(&files.key), files.cert.display()),
            "write the two files that belong together, the certificate of the server first in its file",
        ),
        PairFault::Expired { not_after, .. } => cert.refuse(
            faults,
            format!("{}, which expired at {not_after:?}", name(&files.cert)),
            "renew the certificate, or look at this machine's clock",
        ),
        PairFault::Unreadable { path, source } => {
            unusable(path, format!("can't be read ({source})"));
        }
        PairFault::NotPem { path, fault } => {
            unusable(path, format!("is damaged: {}", damage(fault)));
        }
        PairFault::Missing { path, expected } => unusable(path, format!("holds no {expected}")),
        PairFault::Unusable { path, source } => {
            unusable(path, format!("cannot be used: {source}"));
        }
    }
}
