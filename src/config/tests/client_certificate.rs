//! `provider.client_cert`: what is wrong with it is said with its line, before anybody signs in.

use rcgen::{CertificateParams, KeyPair};

use super::files::{Files, certificate};
use super::*;
use crate::oidc::{Certification, ClientAuth, OwnCertificate};

const PROVIDER: &str = "[provider]\nissuer = \"https://id.example.com\"\nclient_id = \"app\"\n";
const SERVER: &str = "[server]\npublic_url = \"https://app.example.com\"\n\
    trusted_proxies = [\"10.0.0.0/8\"]\n[session]\nstore = \"memory\"\n\
    keys = [\"env:KEY\"]\n";
const BOTH: &str = "client_cert = \"client.crt\"\nclient_cert_key = \"client.key\"\n";

fn files(lines: &str) -> Files {
    let files = Files::new(&format!("{PROVIDER}{lines}{SERVER}"), &[]);
    certificate(&files, "client", &["app"]);
    files
}

/// A9, RFC 8705: the certificate alone is a credential, of one kind or the other.
#[test]
fn a_certificate_is_a_credential() {
    for (word, expected) in [
        ("tls_client_auth", Certification::Authority),
        ("self_signed_tls_client_auth", Certification::SelfSigned),
    ] {
        let config = files(&format!("client_auth = \"{word}\"\n{BOTH}")).fine();
        let provider = &config.sites[0].provider;
        assert!(
            matches!(provider.client_auth, ClientAuth::Certificate(found) if found == expected),
            "{word}"
        );
        assert_eq!(provider.certificate, OwnCertificate::Shown);
    }
    let beside = format!("client_secret = \"env:SECRET\"\n{BOTH}");
    let config = files(&beside).fine();
    assert_eq!(config.sites[0].provider.certificate, OwnCertificate::Shown);
}

/// RFC 8705: a certificate that is missing, expired or not that of the key: one sentence each.
#[test]
fn a_certificate_that_cannot_be_shown_is_refused() {
    let auth = "client_auth = \"tls_client_auth\"\n";
    for (lines, says) in [
        (String::new(), "provider.client_cert is missing"),
        (
            "client_cert = \"client.crt\"\n".to_owned(),
            "provider.client_cert_key is missing",
        ),
        (
            "client_cert = \"gone.crt\"\nclient_cert_key = \"client.key\"\n".to_owned(),
            "provider.client_cert names gone.crt, which can't be read",
        ),
        (
            "client_cert = \"client.key\"\nclient_cert_key = \"client.key\"\n".to_owned(),
            "provider.client_cert names client.key, which holds no PEM block of this kind",
        ),
    ] {
        let said = files(&format!("{auth}{lines}")).faults();
        assert!(said.contains(says), "{lines}: {said}");
        assert_eq!(said.lines().count(), 1, "{lines}: {said}");
    }
    let expired = files(&format!("{auth}{BOTH}"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["app".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    let ended = params.self_signed(&key).unwrap();
    fs::write(expired.0.path().join("client.crt"), ended.pem()).unwrap();
    fs::write(expired.0.path().join("client.key"), key.serialize_pem()).unwrap();
    let said = expired.faults();
    assert!(
        said.contains("provider.client_cert names client.crt, which expired at 2020-02-03"),
        "{said}"
    );

    let other = files(&format!("{auth}{BOTH}"));
    let key = KeyPair::generate().unwrap();
    fs::write(other.0.path().join("client.key"), key.serialize_pem()).unwrap();
    let said = other.faults();
    assert!(
        said.contains("provider.client_cert_key names client.key, which is the key of another"),
        "{said}"
    );
}
