//! `route.client_cert`: what we show an upstream that asks in TLS who calls.

use crate::config::error::Faults;
use crate::config::reader::Field;
use crate::config::resolve::{Surroundings, tls};
use crate::config::tls_table::TlsTable;
use crate::web::client_certificate::ClientCertificate;

/// The certificate; the outer `None` after a fault.
#[expect(clippy::option_option, reason = "nothing, or what cannot be shown")]
pub(super) fn client_cert(
    field: &Field<TlsTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Option<ClientCertificate>> {
    let Some(written) = field.written() else {
        return (!field.stands()).then_some(None);
    };
    let example = "client_cert = { cert = \"bff.crt\", key = \"bff.key\" }";
    let files = tls::in_table(field, example, surroundings, faults)?;
    if !surroundings.purpose.needs_secrets() {
        return Some(Some(ClientCertificate::unread(&files.cert)));
    }
    match ClientCertificate::read(&files) {
        Ok(certificate) => Some(Some(certificate)),
        // Whoever judges a start has said so, with the file.
        Err(_) if surroundings.purpose.judges_certificates() => None,
        Err(fault) => {
            let remedy = "put a certificate and its own key there";
            written.refuse(faults, fault.to_string(), remedy);
            None
        }
    }
}
