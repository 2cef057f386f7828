//! Who calls, told to an upstream in a token that bff signs (§8).

use std::time::Duration;

use bff::clock::Clock as _;
use bff::dev::provider::tamper::Stage;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

fn key() -> String {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    pair.serialize_pem()
}

fn telling<'a>(idp: &'a Idp, upstream: &Upstream, identity: &str) -> BffBuilder<'a> {
    let route = format!("path = '/own'\nauth = 'optional'\nidentity = {identity}");
    Bff::with(idp, upstream)
        .variable("BFF_IDENTITY", &key())
        .set("server.identity_keys", vec!["env:BFF_IDENTITY"])
        .route(route.parse().unwrap(), upstream)
}

async fn published(bff: &Bff<'_>) -> Reply {
    let call = Call::bare("GET", "/bff/jwks.json").header("Host", "app.example");
    call.send(bff.public_addr).await
}

/// As an upstream verifies it; the test's clock is not that of the machine.
async fn verified(bff: &Bff<'_>, token: &str, audience: &str) -> Value {
    let set: JwkSet = serde_json::from_slice(&published(bff).await.body).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.validate_exp = false;
    rules.set_issuer(&[PUBLIC_URL]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let read = jsonwebtoken::decode::<Value>(token, &key, &rules);
    read.unwrap().claims
}

/// §8: a minute long, for this upstream, with the claims that the browser sees; nobody else writes the
/// header, with a session or without one.
#[tokio::test]
async fn an_upstream_is_told_who_calls_in_a_signed_token() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = telling(&idp, &upstream, "true").start();
    let alice = signed_in(&bff, "alice").await;
    let forged = |call: Call| call.header("X-BFF-Identity", "forged");
    let call = forged(Call::get("/own/x").of(&alice));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let seen = upstream.last();
    let [token] = seen.all("x-bff-identity")[..] else {
        panic!("{seen:?}");
    };
    let claims = verified(&bff, token, upstream.url().trim_end_matches('/')).await;
    let now = bff.clock().now().unix_seconds();
    assert_eq!(claims["iat"], now);
    assert_eq!(claims["exp"], now + 60);
    assert_eq!(claims["email"], "alice@example.com");
    assert!(!claims["sub"].as_str().unwrap().is_empty());

    let call = forged(Call::get("/own/x"));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert!(upstream.last().all("x-bff-identity").is_empty());
}

/// §8: it is used again for half its life, by its own session alone.
#[tokio::test]
async fn a_token_is_used_again_for_half_its_life() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = telling(&idp, &upstream, "true").start();
    let alice = signed_in(&bff, "alice").await;
    let bob = signed_in(&bff, "bob").await;
    let token_of = async |browser| {
        let call = Call::get("/own/x").of(browser);
        assert_eq!(call.send(bff.public_addr).await.status, 200);
        upstream.last().header("x-bff-identity").unwrap().to_owned()
    };
    let first = token_of(&alice).await;
    assert_eq!(token_of(&alice).await, first);
    assert_ne!(token_of(&bob).await, first);
    bff.clock().advance(Duration::from_millis(29_999));
    assert_eq!(token_of(&alice).await, first);
    bff.clock().advance(Duration::from_millis(1));
    assert_ne!(token_of(&alice).await, first);
}

/// §8: the operator says for whom it is, what it tells and in which header; what the provider says never
/// stands for what we say.
#[tokio::test]
async fn the_operator_says_what_a_token_tells() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let set = |name, value| Fault::Set(Stage::IdTokenClaims, name, value);
    idp.misbehave(Fault::All(vec![
        set("realm_access", json!({ "roles": ["admin"] })),
        set("groups", json!(["a"])),
    ]));
    let identity =
        "{ audience = 'orders', claims = ['realm_access.roles', 'absent'], header = 'X-Who' }";
    let bff = telling(&idp, &upstream, identity).start();
    let mut alice = signed_in(&bff, "alice").await;
    let call = Call::get("/own/x").of(&alice);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let token = upstream.last().header("x-who").unwrap().to_owned();
    let claims = verified(&bff, &token, "orders").await;
    assert_eq!(claims["realm_access.roles"], json!(["admin"]));
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["aud", "exp", "iat", "iss", "realm_access.roles", "sub"]
    );
    let session = alice.session().await.to_string();
    assert!(!session.contains("admin"), "{session}");
}

/// §8: keys are changed without a token that nobody can verify: all are published, the first signs, and a
/// reload takes them into use. The set may be kept, and holds no private part.
#[tokio::test]
async fn keys_are_changed_while_upstreams_verify() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (old, new) = (key(), key());
    let builder = telling(&idp, &upstream, "true")
        .administered()
        .file("old.pem", &old)
        .file("new.pem", &new)
        .set("server.identity_keys", vec!["file:old.pem"]);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let alice = signed_in(&bff, "alice").await;
    let mut kids = Vec::new();
    for keys in [
        "\"file:old.pem\"",
        "\"file:old.pem\", \"file:new.pem\"",
        "\"file:new.pem\", \"file:old.pem\"",
        "\"file:new.pem\"",
    ] {
        std::fs::write(&path, toml.replacen("\"file:old.pem\"", keys, 1)).unwrap();
        let reloaded = bff.administer("POST", "/reload").await;
        assert_eq!(reloaded.status, 200, "{reloaded:?}");
        // A token of before may be used for half its life.
        bff.clock().advance(Duration::from_secs(30));
        let call = Call::get("/own/x").of(&alice);
        assert_eq!(call.send(bff.public_addr).await.status, 200);
        let token = upstream.last().header("x-bff-identity").unwrap().to_owned();
        verified(&bff, &token, upstream.url().trim_end_matches('/')).await;
        let set = published(&bff).await;
        assert_eq!(set.header("cache-control"), Some("public, max-age=300"));
        let count = set.json()["keys"].as_array().unwrap().len();
        assert_eq!(count, keys.matches("file:").count());
        assert!(!set.text().contains("\"d\""));
        kids.push(jsonwebtoken::decode_header(&token).unwrap().kid.unwrap());
    }
    assert_eq!(kids[0], kids[1]);
    assert_ne!(kids[1], kids[2]);
    assert_eq!(kids[2], kids[3]);
}

/// §8: without keys there is no set, and nobody learns more.
#[tokio::test]
async fn a_site_without_identity_publishes_no_keys() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let reply = alice.fetch(Fetch::get("/bff/jwks.json").csrf()).await;
    assert_eq!(reply.status, 404);
}
