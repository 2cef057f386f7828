//! How we prove who we are to the provider, end to end.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bff::clock::Clock as _;
use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Asked, Idp};
use crate::support::journey::{login_url, refusal};
use crate::support::upstream::Upstream;

/// A secret that a careless encoding breaks.
const ODD_SECRET: &str = "p%q r+s:t&u=v/ü and more of it";

/// Signs in, refreshes, signs out: every kind of call that carries a credential.
async fn whole_life(idp: &Idp, browser: &mut Browser) -> Vec<Asked> {
    browser.sign_in("alice").await;
    idp.clock().advance(Duration::from_secs(295));
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    idp.asked_times(Endpoint::Revocation, 2).await;
    let mut asked = idp.asked(Endpoint::Token);
    assert_eq!(asked.len(), 2, "a code and a refresh");
    asked.extend(idp.asked(Endpoint::Revocation));
    asked
}

/// A9: `client_secret_basic`, both halves form-encoded before Base64, at every endpoint.
#[tokio::test]
async fn the_secret_travels_in_the_authorization_header() {
    let idp = Idp::start(&nine_o_clock());
    idp.expect_proof(Proof::Secret(ODD_SECRET.to_owned()));
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .variable("BFF_CLIENT_SECRET", ODD_SECRET)
        .start();
    for asked in whole_life(&idp, &mut bff.browser()).await {
        let value = asked.headers["authorization"].to_str().unwrap();
        let encoded = value.strip_prefix("Basic ").unwrap();
        let decoded = STANDARD.decode(encoded).unwrap();
        assert_eq!(
            String::from_utf8(decoded).unwrap(),
            "app:p%25q+r%2Bs%3At%26u%3Dv%2F%C3%BC+and+more+of+it"
        );
        assert_eq!(asked.form.value("client_secret"), None);
        assert_eq!(asked.form.value("client_assertion"), None);
    }
}

/// A9: `client_secret_post`, and then no Authorization.
#[tokio::test]
async fn the_secret_travels_in_the_form() {
    let idp = Idp::start(&nine_o_clock());
    idp.expect_proof(Proof::Secret(ODD_SECRET.to_owned()));
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .variable("BFF_CLIENT_SECRET", ODD_SECRET)
        .set("provider.client_auth", "client_secret_post")
        .start();
    for asked in whole_life(&idp, &mut bff.browser()).await {
        assert_eq!(asked.form.value("client_id"), Some("app"));
        assert_eq!(asked.form.value("client_secret"), Some(ODD_SECRET));
        assert!(!asked.headers.contains_key("authorization"));
    }
}

/// A9: with nothing configured the secret goes where the provider takes it, at every endpoint. Where
/// it was taken in the form alone, each login was 400.
#[tokio::test]
async fn the_secret_travels_as_the_provider_takes_it() {
    for (offered, in_form) in [
        (json!(["client_secret_post"]), true),
        (json!(["private_key_jwt", "client_secret_post"]), true),
        (json!(["client_secret_post", "client_secret_basic"]), false),
        (json!(null), false),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let list = "token_endpoint_auth_methods_supported";
        idp.misbehave(Fault::Set(Stage::Metadata, list, offered.clone()));
        let upstream = Upstream::start();
        let bff = Bff::with(&idp, &upstream).start();
        for asked in whole_life(&idp, &mut bff.browser()).await {
            let secret = asked.form.value("client_secret");
            assert_eq!(secret.is_some(), in_form, "{offered}");
            let has_header = asked.headers.contains_key("authorization");
            assert_eq!(has_header, !in_form, "{offered}");
        }
    }
}

/// A P-256 key as PEM, and its public half as the provider knows it.
pub(crate) fn client_key() -> (String, Value) {
    let key = rcgen::KeyPair::generate().unwrap();
    let point = key.public_key_raw();
    assert_eq!((point.len(), point[0]), (65, 4), "an uncompressed point");
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "client",
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
        "y": URL_SAFE_NO_PAD.encode(&point[33..]),
    });
    (key.serialize_pem(), jwk)
}

fn claims(asked: &Asked) -> Value {
    let assertion = asked.form.value("client_assertion").unwrap();
    jsonwebtoken::dangerous::insecure_decode_claims(assertion).unwrap()
}

/// A10: `private_key_jwt`: who, to whom as one string, for how long; never twice the same.
#[tokio::test]
async fn every_request_brings_a_new_assertion() {
    let idp = Idp::start(&nine_o_clock());
    let (pem, jwk) = client_key();
    idp.expect_proof(Proof::PrivateKeyJwt(jwk));
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .unset("provider.client_secret")
        .file("client.pem", pem)
        .set("provider.client_auth", "private_key_jwt")
        .set("provider.client_key", "file:client.pem")
        .start();
    // A lost request is repeated, and the repetition is another attempt.
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    idp.misbehave_once(Fault::DropUnheard(Endpoint::Token));
    idp.clock().advance(Duration::from_secs(295));
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let now = idp.clock().now().unix_seconds();
    browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    idp.asked_times(Endpoint::Revocation, 2).await;

    let mut asked = idp.asked(Endpoint::Token);
    asked.extend(idp.asked(Endpoint::Revocation));
    assert_eq!(
        asked.len(),
        5,
        "a code, a refresh, its retry, two revocations"
    );
    let mut ids = Vec::new();
    for (at, asked) in asked.iter().enumerate() {
        assert!(!asked.headers.contains_key("authorization"));
        assert_eq!(asked.form.value("client_secret"), None);
        assert_eq!(asked.form.value("client_id"), Some("app"));
        let assertion = asked.form.value("client_assertion").unwrap();
        let header = jsonwebtoken::decode_header(assertion).unwrap();
        assert_eq!(header.typ.as_deref(), Some("client-authentication+jwt"));
        let claims = claims(asked);
        assert_eq!(claims["iss"], "app");
        assert_eq!(claims["sub"], "app");
        assert_eq!(claims["aud"], idp.issuer.as_str());
        let issued = if at == 0 { now - 295 } else { now };
        assert_eq!(claims["iat"], issued);
        let lifetime = claims["exp"].as_i64().unwrap() - issued;
        assert!((1..=60).contains(&lifetime), "{lifetime} s");
        ids.push(claims["jti"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "an assertion was used twice");
}

/// A10: for a provider that takes its token endpoint alone as the audience, a key says so. Where the
/// provider wants the other one, the log names that key.
#[tokio::test]
async fn an_assertion_may_name_the_token_endpoint() {
    let idp = Idp::start(&nine_o_clock());
    let (pem, jwk) = client_key();
    idp.expect_proof(Proof::PrivateKeyJwt(jwk));
    let bff = Bff::with(&idp, &Upstream::start())
        .unset("provider.client_secret")
        .file("client.pem", pem)
        .set("provider.client_key", "file:client.pem")
        .set("provider.client_assertion_audience", "token_endpoint")
        .start();
    // This provider takes the issuer alone.
    let visit = bff.browser().visit(&login_url("login_hint=alice")).await;
    assert_eq!(refusal(visit.last()), "400 login_failed");
    let asked = idp.asked(Endpoint::Token).pop().unwrap();
    assert_eq!(claims(&asked)["aud"], idp.url("/token"));
    let told = bff.logs().lines_with("client_assertion_audience");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("WARN"), "{told:?}");
}

/// A9, A10: with `client_secret_jwt` the secret signs, and travels nowhere.
#[tokio::test]
async fn a_secret_that_signs_travels_nowhere() {
    let idp = Idp::start(&nine_o_clock());
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(ODD_SECRET)});
    idp.expect_proof(Proof::PrivateKeyJwt(jwk));
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .variable("BFF_CLIENT_SECRET", ODD_SECRET)
        .set("provider.client_auth", "client_secret_jwt")
        .start();
    for asked in whole_life(&idp, &mut bff.browser()).await {
        assert!(!asked.headers.contains_key("authorization"));
        assert_eq!(asked.form.value("client_secret"), None);
        assert_eq!(claims(&asked)["sub"], "app");
    }
}

/// A10: a provider that knows several keys of ours is told which one signed.
#[tokio::test]
async fn an_assertion_names_its_key() {
    let idp = Idp::start(&nine_o_clock());
    let (pem, jwk) = client_key();
    idp.expect_proof(Proof::PrivateKeyJwt(jwk));
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .unset("provider.client_secret")
        .file("client.pem", pem)
        .set("provider.client_key", "file:client.pem")
        .set("provider.client_key_id", "key-of-november")
        .start();
    for asked in whole_life(&idp, &mut bff.browser()).await {
        let assertion = asked.form.value("client_assertion").unwrap();
        let header = jsonwebtoken::decode_header(assertion).unwrap();
        assert_eq!(header.kid.as_deref(), Some("key-of-november"));
    }
}

/// An assertion as a platform would write it, good for a minute from now on.
fn written(pem: &str, idp: &Idp, jti: &str) -> String {
    let now = idp.clock().now().unix_seconds();
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some("client-authentication+jwt".to_owned());
    let claims = json!({
        "iss": "app", "sub": "app", "aud": idp.issuer, "jti": jti, "iat": now, "exp": now + 60,
    });
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// A10: an assertion that others write is read before each use, so that a renewed one is used at once. A
/// file that gives none is an outage that the log tells in one sentence, and no session ends of it.
#[tokio::test]
async fn an_assertion_that_others_write_is_read_before_each_use() {
    let idp = Idp::start(&nine_o_clock());
    let (pem, jwk) = client_key();
    idp.expect_proof(Proof::PrivateKeyJwt(jwk));
    let upstream = Upstream::start();
    // What is there at the start is held against the machine's own clock.
    let far = URL_SAFE_NO_PAD.encode(json!({"exp": 9_999_999_999_i64}).to_string());
    let builder = Bff::with(&idp, &upstream)
        .unset("provider.client_secret")
        .file("assertion", format!("e30.{far}.c2ln"))
        .set("provider.client_assertion_file", "assertion");
    let file = builder.path("assertion");
    let bff = builder.start();
    let mut browser = bff.browser();
    let orders = || Fetch::get("/api/orders").csrf();

    let first = written(&pem, &idp, "1");
    std::fs::write(&file, &first).unwrap();
    browser.sign_in("alice").await;
    idp.clock().advance(Duration::from_secs(295));
    let second = written(&pem, &idp, "2");
    std::fs::write(&file, format!("{second}\n")).unwrap();
    assert_eq!(browser.fetch(orders()).await.status, 200);
    let sent = || {
        let asked = idp.asked(Endpoint::Token);
        let sent = asked.iter().map(|asked| {
            assert!(!asked.headers.contains_key("authorization"));
            assert_eq!(asked.form.value("client_id"), Some("app"));
            asked.form.value("client_assertion").unwrap().to_owned()
        });
        sent.collect::<Vec<_>>()
    };
    assert_eq!(sent(), [first.as_str(), second.as_str()]);

    idp.clock().advance(Duration::from_secs(400));
    let reply = browser.fetch(orders()).await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    assert_eq!(sent().len(), 2, "nothing is sent that proves nothing");
    let told = bff.logs().lines_with("whose JWT ended at");
    assert!(!told.is_empty(), "{}", bff.logs().text());
    assert!(
        told[0].contains("provider.client_assertion_file names"),
        "{told:?}"
    );

    std::fs::write(&file, written(&pem, &idp, "3")).unwrap();
    // Whoever failed is left alone for a while.
    idp.clock().advance(Duration::from_secs(30));
    assert_eq!(browser.fetch(orders()).await.status, 200);
}
