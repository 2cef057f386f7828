//! How we prove to the provider who we are (A1, A9–A11): one credential, what it needs, and the certificate
//! that we show.

use crate::clock::{Clock as _, SystemClock};
use crate::config::error::{Faults, Place};
use crate::config::file::ProviderTable;
use crate::config::reader::{Field, Written};
use crate::config::resolve::Surroundings;
use crate::config::resolve::missing_secret::MissingSecret;
use crate::config::resolve::table;
use crate::config::resolve::tls::pair;
use crate::config::secret_source::SecretSource;
use crate::config::tenants::placeholders::is_of_nobody;
use crate::config::words::{Chosen, ClientAuthMethod};
use crate::oidc::{AssertionAudience, ClientAuth, check_assertion_file, check_client_key};
use crate::secret::{ClientKey, ClientSecret};
use crate::web::renewed_certificate::RenewedCertificate;

/// HS256 takes a key of at least the bytes of its hash (RFC 7518 §3.2).
const LEAST_SIGNING_SECRET: usize = 32;

/// A1: a confidential client, unless `allow_public_client` is set.
pub(super) fn client_auth(
    provider: &ProviderTable,
    (place, missing): (&Place, &MissingSecret),
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<ClientAuth> {
    let secret = &provider.client_secret;
    warn_of_idle_keys(provider, faults);
    let method = match &provider.client_auth {
        Field::Written(method) => method.value.0,
        Field::Unreadable => return None,
        Field::Absent => match only_one(provider, faults)? {
            Credential::Secret => {
                return client_secret(secret, (place, missing), surroundings, faults)
                    .map(ClientAuth::Secret);
            }
            Credential::Assertion => ClientAuthMethod::PrivateKeyJwt,
            Credential::None => return public_client(provider, (place, missing), faults),
        },
    };

    let audience = &provider.client_assertion_audience;
    let audience = audience.or(Chosen(AssertionAudience::Issuer)).0;
    match method {
        ClientAuthMethod::SecretBasic => {
            client_secret(secret, (place, missing), surroundings, faults)
                .map(ClientAuth::SecretBasic)
        }
        ClientAuthMethod::SecretPost => {
            client_secret(secret, (place, missing), surroundings, faults)
                .map(ClientAuth::SecretPost)
        }
        ClientAuthMethod::SecretJwt => {
            let own = client_secret(secret, (place, missing), surroundings, faults)?;
            if own.is_shorter_than(LEAST_SIGNING_SECRET)
                && let Some(written) = secret.written()
            {
                written.warn(
                    faults,
                    "has less than the 32 bytes that signing with it takes, so that it can be guessed",
                    "let the provider make a longer one",
                );
            }
            Some(ClientAuth::SecretJwt {
                secret: own,
                audience,
            })
        }
        ClientAuthMethod::Certificate(certification) => {
            // What is wrong with it is told where it is read.
            let example = "client_cert = \"client.crt\"";
            let cert = &provider.client_cert;
            cert.required(place, "provider.client_cert", example, faults)?;
            Some(ClientAuth::Certificate(certification))
        }
        ClientAuthMethod::PrivateKeyJwt => match &provider.client_assertion_file {
            Field::Written(file) => {
                assertion_file(file, &provider.client_key, surroundings, faults)
            }
            Field::Unreadable => None,
            Field::Absent => Some(ClientAuth::PrivateKeyJwt {
                key: client_key(&provider.client_key, place, surroundings, faults)?,
                key_id: provider
                    .client_key_id
                    .written()
                    .map(|written| written.value.clone()),
                audience,
            }),
        },
    }
}

/// What there is to prove it with.
enum Credential {
    Secret,
    Assertion,
    None,
}

/// The one credential that is written; `None` after noting that there are two.
fn only_one(provider: &ProviderTable, faults: &mut Faults) -> Option<Credential> {
    let (key, file) = (&provider.client_key, &provider.client_assertion_file);
    let has_secret = provider.client_secret.stands();
    if has_secret && let Some(key) = key.written() {
        key.refuse(
            faults,
            "stands beside client_secret, and only one can prove who we are",
            "write client_auth = \"private_key_jwt\", or leave one of the two out",
        );
        return None;
    }
    if has_secret && let Some(file) = file.written() {
        file.refuse(
            faults,
            "stands beside client_secret, and only one can prove who we are",
            "leave one of the two out",
        );
        return None;
    }
    Some(if key.stands() || file.stands() {
        Credential::Assertion
    } else if has_secret {
        Credential::Secret
    } else {
        Credential::None
    })
}

/// What is said of assertions where none is signed, or others sign it.
fn warn_of_idle_keys(provider: &ProviderTable, faults: &mut Faults) {
    let method = provider.client_auth.written().map(|method| method.value.0);
    let by_key = match method {
        Some(method) => method == ClientAuthMethod::PrivateKeyJwt,
        None => !provider.client_secret.stands(),
    };
    let by_secret = method == Some(ClientAuthMethod::SecretJwt);
    let by_others = by_key && provider.client_assertion_file.stands();
    let has_key = by_key && !by_others && (method.is_some() || provider.client_key.stands());
    if let Some(audience) = provider.client_assertion_audience.written()
        && !(has_key || by_secret)
    {
        let what = if by_others {
            "changes nothing, since others write the assertion"
        } else {
            "changes nothing, since no assertion proves who we are"
        };
        let remedy = "leave it out, or write client_auth = \"private_key_jwt\" and a client_key";
        audience.warn(faults, what, remedy);
    }
    if let Some(key_id) = provider.client_key_id.written()
        && !has_key
    {
        let what = "changes nothing, since no client_key signs";
        let remedy = "leave it out, or write client_auth = \"private_key_jwt\" and a client_key";
        key_id.warn(faults, what, remedy);
    }
    if let Some(file) = provider.client_assertion_file.written()
        && method.is_some()
        && !by_key
    {
        let what = "changes nothing, since client_auth says otherwise";
        file.warn(
            faults,
            what,
            "leave it out, or write client_auth = \"private_key_jwt\"",
        );
    }
}

fn client_key(
    field: &Field<SecretSource>,
    place: &Place,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<ClientKey> {
    let written = field.required(
        place,
        "provider.client_key",
        "client_key = \"file:/run/secrets/client.pem\"",
        faults,
    )?;
    let pem = written.resolve(surroundings.secrets(), faults)?;
    let key = ClientKey::new(pem.as_str());
    let is_of_nobody = surroundings.of_nobody && is_of_nobody(&pem);
    if !is_of_nobody && let Err(fault) = check_client_key(&key) {
        written.refuse(
            faults,
            format!("cannot sign ({fault})"),
            "put a key there that starts with -----BEGIN PRIVATE KEY-----",
        );
        return None;
    }
    Some(key)
}

/// What others write. Once it runs, the one before it is kept while that is good.
fn assertion_file(
    written: &Written<String>,
    key: &Field<SecretSource>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<ClientAuth> {
    if key.stands() {
        written.refuse(
            faults,
            "stands beside client_key, and only one can prove who we are",
            "leave one of the two out",
        );
        return None;
    }
    let path = surroundings.folder.private(written, &written.value);
    if surroundings.purpose.judges_certificates()
        && let Err(fault) = check_assertion_file(&path, SystemClock.now())
    {
        written.refuse(
            faults,
            fault.to_string(),
            "see that whatever writes it does so before bff starts, and that this process may read it",
        );
        return None;
    }
    Some(ClientAuth::AssertionFile(path))
}

fn client_secret(
    field: &Field<SecretSource>,
    (place, missing): (&Place, &MissingSecret),
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<ClientSecret> {
    if !field.stands() {
        missing.refuse(place, "is missing", faults);
    }
    let written = field.written()?;
    let secret = written.resolve(surroundings.secrets(), faults)?;
    if let Some(own) = surroundings.own.name_of(&secret) {
        let what = format!("is what {own} says as well, and the provider is sent it");
        let remedy = "write the secret that this provider gave you";
        if written.place.is_in_a_site() {
            written.refuse(faults, what, remedy);
            return None;
        }
        // Whoever writes bff.toml has both in any case, and what ran goes on running.
        written.warn(faults, what, remedy);
    }
    Some(ClientSecret::new(secret.as_str()))
}

fn public_client(
    provider: &ProviderTable,
    (place, missing): (&Place, &MissingSecret),
    faults: &mut Faults,
) -> Option<ClientAuth> {
    if let Some(written) = provider.allow_public_client.written()
        && written.value
    {
        written.warn(
            faults,
            "lets anyone who knows the client_id act as this app at the provider",
            "register a confidential client and write client_secret",
        );
        return Some(ClientAuth::Public);
    }
    if !provider.allow_public_client.stands() || provider.allow_public_client.written().is_some() {
        let what = "is missing, and so is client_key: nothing proves to the provider who we are";
        missing.refuse(place, what, faults);
    }
    None
}

/// The certificate that we show in TLS: for `tls_client_auth`, and with any other credential for tokens that
/// are bound to it (RFC 8705 §3).
pub(super) fn client_certificate(
    field: &Field<ProviderTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<RenewedCertificate> {
    let (provider, place) = table(field);
    let (cert, key) = (&provider.client_cert, &provider.client_cert_key);
    if surroundings.purpose.is_without_provider() || !(cert.stands() || key.stands()) {
        return None;
    }
    let place = cert.written().map_or(&place, |cert| &cert.place);
    let keys = [
        (cert, "provider.client_cert".to_owned()),
        (key, "provider.client_cert_key".to_owned()),
    ];
    let example = "client_cert = \"client.crt\" and client_cert_key = \"client.key\"";
    let files = pair(keys, (place, example), surroundings, faults)?;
    Some(RenewedCertificate::of(files, SystemClock.now()))
}
