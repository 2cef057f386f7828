//! Authorization requests that do not stand in the browser's address: pushed (A12), signed (A13), and what they
//! ask for.

use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};
use url::Url;

use crate::client_auth::client_key;
use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::signed_in;
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{CLIENT_ID, Idp};
use crate::support::journey::{parameter, refusal};
use crate::support::upstream::Upstream;

/// A product that proves by a key who it is.
fn by_key<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let (pem, jwk) = client_key();
    idp.expect_proof(Proof::PrivateKeyJwt(jwk));
    Bff::with(idp, upstream)
        .unset("provider.client_secret")
        .variable("BFF_CLIENT_KEY", &pem)
        .set("provider.client_key", "env:BFF_CLIENT_KEY")
}

fn names(url: &Url) -> Vec<String> {
    url.query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// A12: everything is handed over past the browser, with our credential; its address says who we are and which
/// request is meant, each once. The provider demands it, or the operator does.
#[tokio::test]
async fn a_pushed_request_shows_the_browser_two_parameters() {
    for demanded in [true, false] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        idp.core.demand_pushed(demanded);
        let bff = Bff::with(&idp, &upstream);
        let bff = if demanded {
            bff
        } else {
            bff.set("provider.pushed_authorization", "always")
        };
        let bff = bff.start();
        let mut browser = bff.browser();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let begun = browser.begin_login("login_hint=alice&max_age=60").await;
            let address = begun.location().unwrap();
            assert_eq!(names(&address), ["client_id", "request_uri"]);
            assert_eq!(parameter(&address, "client_id").as_deref(), Some(CLIENT_ID));
            seen.push(parameter(&address, "request_uri").unwrap());
        }
        assert_ne!(seen[0], seen[1], "no request is named twice");
        let pushed = &idp.asked(Endpoint::Pushed)[0];
        assert_eq!(pushed.method, "POST");
        assert!(pushed.headers.contains_key("authorization"));
        let form: Vec<&str> = pushed.form.iter().map(|(name, _)| name).collect();
        for name in [
            "client_id",
            "code_challenge",
            "login_hint",
            "max_age",
            "nonce",
            "redirect_uri",
            "response_type",
            "scope",
            "state",
        ] {
            let times = form.iter().filter(|known| **known == name).count();
            assert_eq!(times, 1, "{name}: {form:?}");
        }
        assert!(!form.contains(&"request_uri"));
        let mut alice = bff.browser();
        alice.sign_in("alice").await;
        assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    }
}

/// A12, A10: by a key too, with an assertion for the issuer that is another at each call.
#[tokio::test]
async fn a_key_hands_the_request_over() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = by_key(&idp, &upstream)
        .set("provider.pushed_authorization", "always")
        .start();
    signed_in(&bff, "alice").await;
    let calls = [Endpoint::Pushed, Endpoint::Token].map(|endpoint| idp.asked(endpoint).remove(0));
    let mut ids = Vec::new();
    for call in &calls {
        assert!(!call.headers.contains_key("authorization"));
        let times = call.form.iter().filter(|(name, _)| *name == "client_id");
        assert_eq!(times.count(), 1);
        let assertion = call.form.value("client_assertion").unwrap();
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(assertion).unwrap();
        assert_eq!(claims["aud"], idp.issuer);
        ids.push(claims["jti"].clone());
    }
    assert_ne!(ids[0], ids[1]);
}

/// A12: a provider that is away, refuses, or answers with nonsense signs nobody in: no cookie, no way to it, the
/// cause in the log.
#[tokio::test]
async fn a_request_that_is_not_taken_begins_no_login() {
    let cut = Fault::Answer(Endpoint::Pushed, 201, "application/json", b"{".to_vec());
    let no_name = br#"{"expires_in":60}"#.to_vec();
    let no_name = Fault::Answer(Endpoint::Pushed, 201, "application/json", no_name);
    let past = br#"{"request_uri":"urn:x","expires_in":0}"#.to_vec();
    let past = Fault::Answer(Endpoint::Pushed, 201, "application/json", past);
    for (fault, told) in [
        (
            Fault::unavailable(Endpoint::Pushed),
            "answered with status 503",
        ),
        (
            Fault::Error(Endpoint::Pushed, 400, "invalid_request"),
            "answered with status 400, invalid_request",
        ),
        (
            Fault::Error(Endpoint::Pushed, 401, "invalid_client"),
            "answered with status 401, invalid_client",
        ),
        (Fault::DropUnheard(Endpoint::Pushed), "no answer"),
        (cut, "no usable request_uri"),
        (no_name, "no usable request_uri"),
        (past, "no usable request_uri"),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        idp.core.demand_pushed(true);
        let bff = Bff::with(&idp, &upstream).start();
        idp.misbehave(fault);
        let mut browser = bff.browser();
        let reply = browser.begin_login("").await;
        assert_eq!(reply.status, 503, "{told}");
        assert_eq!(reply.header("set-cookie"), None, "{told}");
        assert_eq!(reply.header("location"), None, "{told}");
        assert!(!bff.logs().lines_with(told).is_empty(), "{told}");
        idp.behave();
        browser.sign_in("alice").await;
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    }
}

/// A12: "never" against a provider that demands it is told, with what to write.
#[tokio::test]
async fn a_provider_that_demands_it_is_heeded() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    idp.core.demand_pushed(true);
    let bff = Bff::with(&idp, &upstream)
        .set("provider.pushed_authorization", "never")
        .start();
    let mut browser = bff.browser();
    browser.begin_login("").await;
    assert_eq!(idp.count(Endpoint::Pushed), 0);
    let told = bff.logs().lines_with("provider.pushed_authorization is");
    assert!(!told.is_empty());
}

/// A13: signed for the issuer alone, for minutes, and no assertion of a client; in the address or handed over.
#[tokio::test]
async fn a_request_is_signed() {
    for pushed in ["never", "always"] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        let bff = by_key(&idp, &upstream)
            .set("provider.request_object", "signed")
            .set("provider.authorize_params.sub", CLIENT_ID)
            .set("provider.pushed_authorization", pushed)
            .start();
        let mut browser = bff.browser();
        let begun = browser.begin_login("login_hint=alice&max_age=60").await;
        let address = begun.location().unwrap();
        let object = if pushed == "never" {
            let expected = ["client_id", "response_type", "scope", "request"];
            assert_eq!(names(&address), expected);
            parameter(&address, "request").unwrap()
        } else {
            assert_eq!(names(&address), ["client_id", "request_uri"]);
            let form = &idp.asked(Endpoint::Pushed)[0].form;
            assert!(form.value("state").is_none() && form.value("redirect_uri").is_none());
            form.value("request").unwrap().to_owned()
        };
        let header = jsonwebtoken::decode_header(&object).unwrap();
        assert_eq!(header.typ.as_deref(), Some("oauth-authz-req+jwt"));
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(&object).unwrap();
        assert_eq!(claims["iss"], CLIENT_ID);
        assert_eq!(claims["client_id"], CLIENT_ID);
        assert_eq!(claims["aud"], idp.issuer);
        assert_eq!(claims["max_age"], 60);
        assert_eq!(claims["login_hint"], "alice");
        assert!(claims.get("sub").is_none());
        assert!(claims["jti"].as_str().unwrap().len() >= 22);
        let seconds = |name: &str| claims[name].as_i64().unwrap();
        assert!(seconds("nbf") <= seconds("iat") && seconds("exp") - seconds("iat") <= 300);
        let mut alice = bff.browser();
        alice.sign_in("alice").await;
        assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    }
}

/// A15: the login's own access token is for the APIs that the operator names; a link cannot change them.
#[tokio::test]
async fn a_login_asks_for_a_resource() {
    for resources in [
        &["https://a.example.com/"][..],
        &["https://a.example.com/", "https://b.example.com/"],
    ] {
        a_login_is_for(resources).await;
    }
}

/// One is asked for at every turn; of several only the login speaks, for some providers refuse a token request that
/// names more than one.
async fn a_login_is_for(resources: &[&str]) {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let details = [json!({ "type": "payment", "amount": 5 })];
    let bff = Bff::with(&idp, &upstream)
        .set("provider.resource", resources.to_vec())
        .set(
            "provider.authorization_details",
            toml::Value::Array(vec![
                toml::toml! { type = "payment"
                amount = 5 }
                .into(),
            ]),
        )
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let asked = idp.asked(Endpoint::Authorize);
    let of = |name: &str| -> Vec<String> {
        let of = asked[0].query.iter().filter(|(known, _)| *known == name);
        of.map(|(_, value)| value.to_owned()).collect()
    };
    assert_eq!(of("resource"), resources);
    let said: Value = serde_json::from_str(&of("authorization_details")[0]).unwrap();
    assert_eq!(said, json!(details));
    for expired in [false, true] {
        if expired {
            bff.clock().advance(std::time::Duration::from_secs(301));
        }
        let reply = alice.fetch(Fetch::get("/api/x").csrf()).await;
        assert_eq!(reply.status, 200);
        let bearer = upstream.last().bearer().unwrap().to_owned();
        let token = idp.core.introspect(&bearer).unwrap();
        assert_eq!(token.audience, resources, "{expired}");
    }
    assert_eq!(idp.refreshes(), 1);
    for asked in idp.asked(Endpoint::Token) {
        let named = asked.form.iter().filter(|(name, _)| *name == "resource");
        assert_eq!(named.count(), usize::from(resources.len() == 1));
    }
}

/// FAPI 2.0: one word pushes every request, binds every token, and wants the provider's name in its answers.
#[tokio::test]
async fn the_profile_is_kept_in_all_that_is_sent() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    idp.core.demand_nonces(true);
    let (pem, jwk) = client_key();
    idp.sign_with("ES256");
    idp.core.register(bff::dev::provider::client::RelyingParty {
        proof: Proof::PrivateKeyJwt(jwk),
        ..idp.core.relying_party(CLIENT_ID).unwrap()
    });
    let bff = Bff::with(&idp, &upstream)
        .unset("provider.client_secret")
        .unset("provider.id_token_algs")
        .variable("BFF_CLIENT_KEY", &pem)
        .set("provider.client_key", "env:BFF_CLIENT_KEY")
        .set("provider.profile", "fapi2")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let address = idp.asked(Endpoint::Authorize).remove(0).query;
    let shown: Vec<&str> = address.iter().map(|(name, _)| name).collect();
    assert_eq!(shown, ["client_id", "request_uri"]);
    let pushed = idp.asked(Endpoint::Pushed).remove(0).form;
    assert_eq!(pushed.value("code_challenge_method"), Some("S256"));
    assert!(pushed.value("dpop_jkt").is_some());
    alice.fetch(Fetch::get("/api/x").csrf()).await;
    let seen = upstream.last();
    let authorization = seen.header("authorization").unwrap();
    assert!(authorization.starts_with("DPoP ") && seen.header("dpop").is_some());

    idp.misbehave(Fault::Remove(Stage::AuthorizationResponse, "iss"));
    let mut bob = bff.browser();
    let callback = bob.callback_url("login_hint=bob").await;
    let reply = bob.open(callback.as_str()).await;
    assert_eq!(refusal(&reply), "400 login_failed");
}
