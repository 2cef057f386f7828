//! The certificate that we show the provider (RFC 8705): how it proves who we are, where it is shown, and
//! what becomes of one that is renewed or cannot be used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::support::authority::{Authority, Terminator};
use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::Idp;
use crate::support::journey::{login_url, refusal};
use crate::support::upstream::Upstream;

/// A provider behind two servers: one for everybody, and one for those alone who show a certificate of
/// `clients`, at which it has its addresses for them.
struct Stand {
    servers: Authority,
    clients: Authority,
    strict: Terminator,
    idp: Idp,
    upstream: Upstream,
    _open: Terminator,
}

impl Stand {
    fn set() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let open = servers.terminator("localhost");
        let strict = servers.strict_terminator("localhost", &clients);
        let issuer = format!("https://localhost:{}", open.port());
        let idp = Idp::known_as(&issuer, &nine_o_clock());
        open.lead_to(idp.addr());
        strict.lead_to(idp.addr());
        // Who it is, is for the server before it to find out.
        idp.expect_proof(Proof::Public);
        let at = |path: &str| format!("https://localhost:{}{path}", strict.port());
        let aliases = json!({
            "token_endpoint": at("/token"),
            "revocation_endpoint": at("/revoke"),
            "userinfo_endpoint": at("/userinfo"),
            "authorization_endpoint": "https://evil.example/authorize",
        });
        idp.misbehave(Fault::Set(
            Stage::Metadata,
            "mtls_endpoint_aliases",
            aliases,
        ));
        Self {
            servers,
            clients,
            strict,
            idp,
            upstream: Upstream::start(),
            _open: open,
        }
    }

    fn bff(&self) -> BffBuilder<'_> {
        Bff::with(&self.idp, &self.upstream)
            .unset("provider.client_secret")
            .file("ca.pem", self.servers.pem())
            .set("provider.ca", "ca.pem")
    }

    /// One that shows a certificate, and that certificate.
    fn with_certificate(&self, client_auth: &str) -> (BffBuilder<'_>, Vec<u8>) {
        let (cert, key) = self.clients.certificate_for("app");
        let builder = self
            .bff()
            .file("client.crt", &cert)
            .file("client.key", key)
            .set("provider.client_auth", client_auth)
            .set("provider.client_cert", "client.crt")
            .set("provider.client_cert_key", "client.key");
        (builder, der(&cert))
    }
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

/// As orchestrators do: another file takes the place of the one before.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// The files of the certificate, which the builder knows.
fn files(builder: &BffBuilder<'_>) -> [PathBuf; 2] {
    ["client.crt", "client.key"].map(|name| builder.path(name))
}

/// An API call once the access token has to be refreshed.
async fn refreshed(stand: &Stand, browser: &mut Browser) -> u16 {
    stand.idp.clock().advance(Duration::from_secs(295));
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    reply.status
}

/// A9, A11, RFC 8705 §2, §5: the certificate alone proves who we are, at the addresses that the provider has
/// for it. The browser is sent where everybody signs in.
#[tokio::test]
async fn a_certificate_proves_who_we_are() {
    for client_auth in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let stand = Stand::set();
        let (builder, certificate) = stand.with_certificate(client_auth);
        let bff = builder.start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        assert_eq!(refreshed(&stand, &mut browser).await, 200);
        browser
            .fetch(Fetch::new("POST", "/bff/logout").csrf())
            .await;
        stand.idp.asked_times(Endpoint::Revocation, 2).await;
        let mut asked = stand.idp.asked(Endpoint::Token);
        asked.extend(stand.idp.asked(Endpoint::Revocation));
        assert_eq!(asked.len(), 4, "a code, a refresh, two revocations");
        let host = format!("localhost:{}", stand.strict.port());
        for asked in asked {
            assert_eq!(asked.headers["host"], host.as_str());
            assert!(!asked.headers.contains_key("authorization"));
            assert_eq!(asked.form.value("client_id"), Some("app"));
            assert_eq!(asked.form.value("client_secret"), None);
            assert_eq!(asked.form.value("client_assertion"), None);
        }
        let shown = stand.strict.shown();
        assert!(!shown.is_empty());
        assert!(shown.iter().all(|shown| *shown == certificate));
    }
}

/// RFC 8705 §3: with another credential the certificate is shown as well, for tokens that are bound to it.
#[tokio::test]
async fn a_certificate_is_shown_beside_a_secret() {
    let stand = Stand::set();
    stand
        .idp
        .expect_proof(Proof::Secret(stand.idp.client_secret.clone()));
    let (builder, certificate) = stand.with_certificate("client_secret_basic");
    let bff = builder
        .set("provider.client_secret", "env:BFF_CLIENT_SECRET")
        .start();
    bff.browser().sign_in("alice").await;
    let asked = stand.idp.asked(Endpoint::Token);
    assert!(asked[0].headers.contains_key("authorization"));
    assert_eq!(stand.strict.shown(), [certificate]);
}

/// RFC 8705: a server that wants a certificate takes none of another authority, and a login that fails there
/// is an outage.
#[tokio::test]
async fn a_certificate_of_another_authority_gets_nothing() {
    let stand = Stand::set();
    let (cert, key) = Authority::new().certificate_for("app");
    let bff = stand
        .bff()
        .file("client.crt", cert)
        .file("client.key", key)
        .set("provider.client_auth", "tls_client_auth")
        .set("provider.client_cert", "client.crt")
        .set("provider.client_cert_key", "client.key")
        .start();
    let visit = bff.browser().visit(&login_url("login_hint=alice")).await;
    assert_eq!(refusal(visit.last()), "503 provider_unavailable");
    assert!(stand.idp.asked(Endpoint::Token).is_empty());
    assert!(stand.strict.shown().is_empty());
}

/// RFC 8705: a renewed certificate is shown without a restart. One that cannot be used takes nothing away
/// while the one before it is good, and the log says so in one sentence.
#[tokio::test]
async fn a_renewed_certificate_is_shown() {
    let stand = Stand::set();
    let (builder, first) = stand.with_certificate("tls_client_auth");
    let [cert_file, key_file] = files(&builder);
    let bff = builder.start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    assert_eq!(stand.strict.shown(), std::slice::from_ref(&first));

    let (cert, key) = stand.clients.certificate_for("app");
    let second = der(&cert);
    replace(&key_file, &key);
    replace(&cert_file, &cert);
    // The connection that is open is that of the first, and is not used for it.
    assert_eq!(refreshed(&stand, &mut browser).await, 200);
    assert_eq!(stand.strict.shown(), [first, second]);

    replace(
        &cert_file,
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    assert_eq!(refreshed(&stand, &mut browser).await, 200);
    assert_eq!(refreshed(&stand, &mut browser).await, 200);
    let told = bff
        .logs()
        .lines_with("the changed client certificate cannot be used");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("client.crt"), "{told:?}");
}

/// RFC 8705: where the certificate has ended nothing is asked that could only fail; the log names its key.
#[tokio::test]
async fn a_certificate_that_has_ended_is_an_outage() {
    let stand = Stand::set();
    let (builder, _) = stand.with_certificate("tls_client_auth");
    let bff = builder.start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let asked = stand.idp.asked(Endpoint::Token).len();
    // The certificates of this authority end in the year 4096.
    stand
        .idp
        .clock()
        .advance(Duration::from_hours(24 * 366 * 2200));
    let visit = bff.browser().visit(&login_url("login_hint=alice")).await;
    assert_eq!(refusal(visit.last()), "503 provider_unavailable");
    assert_eq!(stand.idp.asked(Endpoint::Token).len(), asked);
    let told = bff
        .logs()
        .lines_with("provider.client_cert: the certificate");
    assert!(!told.is_empty(), "{}", bff.logs().text());
    assert!(told[0].contains("expired at"), "{told:?}");
}
