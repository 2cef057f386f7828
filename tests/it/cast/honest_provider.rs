//! The provider's honest path, through a relying party of a few lines.

use std::time::Duration;

use bff::clock::Clock as _;
use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::keys::SigningKey;
use serde_json::{Value, json};

use super::relying_party::{RelyingParty, get, parameter, send};
use crate::support::browser::Browser;
use crate::support::clock::nine_o_clock;
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn alice_signs_in_by_the_form_and_her_tokens_work() {
    let idp = Idp::start(&nine_o_clock());
    let mut browser = Browser::new(nine_o_clock());
    let relying_party = RelyingParty::of(&idp);

    let asked = browser.visit(&relying_party.authorization_url(&[])).await;
    assert_eq!(asked.last().status, 200, "{:?}", asked.last());
    let answered = browser
        .submit_form_of(asked.last(), Some(("user", "alice")))
        .await;
    let code = relying_party.code(&answered);
    let response = relying_party.exchange(&code).await;

    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let now = idp.clock().now().unix_seconds();
    let claims = relying_party.judge(&response, now).await.unwrap();
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["email"], "alice@example.com");
    let access_token = response.json()["access_token"].as_str().unwrap().to_owned();
    let userinfo = get(&idp.url("/userinfo"), Some(&access_token)).await.json();
    assert_eq!(userinfo["sub"], "alice");
    assert_eq!(userinfo["name"], "Alice Adams");

    // The browser is known now, so the next login asks nobody.
    let again = RelyingParty::of(&idp);
    let silent = again.authorization_url(&[("prompt", "none")]);
    again.code(&browser.visit(&silent).await);
}

/// RFC 6749 §4.1.2.1: whoever cancels at the login page is sent back with `access_denied`, which an app
/// could not be tried with. Nobody is signed in by it.
#[tokio::test]
async fn whoever_cancels_is_sent_back() {
    let idp = Idp::start(&nine_o_clock());
    let mut browser = Browser::new(nine_o_clock());
    let relying_party = RelyingParty::of(&idp);
    let asked = browser.visit(&relying_party.authorization_url(&[])).await;
    assert!(asked.last().text().contains(">Cancel</button>"));
    let answered = browser
        .submit_form_of(asked.last(), Some(("cancel", "1")))
        .await;
    let back = answered.left.as_ref().unwrap();
    assert_eq!(parameter(back, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(back, "code"), None);
    assert_eq!(parameter(back, "iss"), Some(idp.issuer.clone()));
    let again = browser.visit(&relying_party.authorization_url(&[])).await;
    assert_eq!(again.last().status, 200, "the page asks once more");
}

#[tokio::test]
async fn the_discovery_document_names_endpoints_that_are_there() {
    let idp = Idp::start(&nine_o_clock());
    let metadata = get(&idp.url("/.well-known/openid-configuration"), None)
        .await
        .json();
    assert_eq!(metadata["issuer"], idp.issuer);
    for (name, url) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let reply = get(url.as_str().unwrap(), None).await;
            assert_ne!(reply.status, 404, "{name}");
        }
    }
    assert_eq!(idp.count(Endpoint::Discovery), 1);
}

/// RFC 6749 §4.1.2: a second use of a code ends what the first one brought.
#[tokio::test]
async fn a_code_is_good_once_and_a_replay_ends_the_grant() {
    let idp = Idp::start(&nine_o_clock());
    let mut browser = Browser::new(nine_o_clock());
    let relying_party = RelyingParty::of(&idp);
    let url = relying_party.authorization_url(&[("login_hint", "bob")]);
    let code = relying_party.code(&browser.visit(&url).await);

    let first = relying_party.exchange(&code).await.json();
    let second = relying_party.exchange(&code).await;

    assert_eq!(second.status, 400);
    assert_eq!(second.json()["error"], "invalid_grant");
    let access_token = first["access_token"].as_str().unwrap();
    let userinfo = get(&idp.url("/userinfo"), Some(access_token)).await;
    assert_eq!(userinfo.status, 401);
}

#[tokio::test]
async fn a_code_needs_its_verifier_its_redirect_uri_and_a_young_age() {
    type Spoil = fn(&mut RelyingParty, &Idp);
    let cases: [(&str, Spoil); 2] = [
        ("another verifier", |relying_party, _| {
            relying_party.code_verifier.push('x');
        }),
        ("too old", |_, idp| {
            idp.clock().advance(Duration::from_secs(61));
        }),
    ];
    for (name, spoil) in cases {
        let idp = Idp::start(&nine_o_clock());
        let mut relying_party = RelyingParty::of(&idp);
        let url = relying_party.authorization_url(&[("login_hint", "bob")]);
        let visit = Browser::new(nine_o_clock()).visit(&url).await;
        let code = relying_party.code(&visit);
        spoil(&mut relying_party, &idp);
        let reply = relying_party.exchange(&code).await;
        assert_eq!(reply.json()["error"], "invalid_grant", "{name}");
    }
}

/// L3, RFC 9700 §4.14.2: refresh tokens rotate, and a second use ends the family.
#[tokio::test]
async fn refresh_tokens_rotate_and_a_reuse_ends_the_family() {
    let idp = Idp::start(&nine_o_clock());
    let relying_party = RelyingParty::of(&idp);
    let login = relying_party
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    let first = login["refresh_token"].as_str().unwrap();

    let refreshed = relying_party.refresh(first).await.json();
    let second = refreshed["refresh_token"].as_str().unwrap();
    assert_ne!(first, second);
    let renewed = relying_party.refresh(second).await;
    assert_eq!(renewed.status, 200);

    let reuse = relying_party.refresh(first).await;
    assert_eq!(reuse.json()["error"], "invalid_grant");
    let third = renewed.json()["refresh_token"].as_str().unwrap().to_owned();
    let after = relying_party.refresh(&third).await;
    assert_eq!(after.json()["error"], "invalid_grant");
    assert_eq!(idp.refreshes(), 4);
}

#[tokio::test]
async fn an_authorization_request_with_a_fault_is_refused() {
    // Every one of these goes back to the relying party, which is known to be right.
    let cases = [
        ("response_type", "token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("scope", "", "invalid_scope"),
        ("prompt", "none", "login_required"),
        ("prompt", "none login", "invalid_request"),
    ];
    let idp = Idp::start(&nine_o_clock());
    for (name, value, error) in cases {
        let relying_party = RelyingParty::of(&idp);
        let url = relying_party.authorization_url(&[(name, value)]);
        let visit = Browser::new(nine_o_clock()).visit(&url).await;
        let callback = visit.left.expect(name);
        assert_eq!(
            parameter(&callback, "error").as_deref(),
            Some(error),
            "{name}={value}"
        );
        assert_eq!(parameter(&callback, "iss"), Some(idp.issuer.clone()));
    }
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let idp = Idp::start(&nine_o_clock());
    for (name, value) in [
        ("redirect_uri", "https://evil.example/bff/callback"),
        ("redirect_uri", "https://app.example/bff/callback/"),
        ("client_id", "somebody-else"),
        ("request", "e30.e30."),
        ("request_uri", "urn:ietf:params:oauth:request_uri:none"),
    ] {
        let url = RelyingParty::of(&idp).authorization_url(&[(name, value)]);
        let visit = Browser::new(nine_o_clock()).visit(&url).await;
        assert_eq!(visit.last().status, 400, "{value}");
        assert_eq!(visit.left, None, "{value}");
    }
}

/// D13: `max_age` and `acr_values` ask again where the session does not fit.
#[tokio::test]
async fn an_old_or_weak_session_is_asked_again() {
    let clock = nine_o_clock();
    let idp = Idp::start(&clock);
    let mut browser = Browser::new(clock.clone());
    RelyingParty::of(&idp).log_in(&mut browser).await;
    clock.advance(Duration::from_secs(100));
    let cases = [
        ("max_age", "1000", true),
        ("max_age", "10", false),
        ("acr_values", "pwd", true),
        ("acr_values", "mfa", false),
        ("prompt", "login", false),
    ];
    for (name, value, passes) in cases {
        let url = RelyingParty::of(&idp).authorization_url(&[(name, value)]);
        let visit = browser.visit(&url).await;
        assert_eq!(visit.left.is_some(), passes, "{name}={value}");
    }
    let relying_party = RelyingParty::of(&idp);
    let url = relying_party.authorization_url(&[("acr_values", "mfa"), ("login_hint", "alice")]);
    let code = relying_party.code(&browser.visit(&url).await);
    let response = relying_party.exchange(&code).await;
    let now = clock.now().unix_seconds();
    let claims = relying_party.judge(&response, now).await.unwrap();
    assert_eq!(claims["acr"], "mfa");
    assert_eq!(claims["auth_time"], now);
}

#[tokio::test]
async fn form_post_brings_the_code_in_a_form() {
    let idp = Idp::start(&nine_o_clock());
    let app = Upstream::start();
    let mut browser = Browser::new(nine_o_clock());
    browser.resolve(PUBLIC_URL, app.addr());
    let relying_party = RelyingParty::of(&idp);
    let url =
        relying_party.authorization_url(&[("login_hint", "alice"), ("response_mode", "form_post")]);
    let page = browser.visit(&url).await;
    browser.submit_form_of(page.last(), None).await;

    let seen = app.the_one();
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.target, "/bff/callback");
    assert_eq!(seen.header("sec-fetch-site"), Some("cross-site"));
    assert_eq!(seen.header("origin"), Some(idp.issuer.as_str()));
    let form = String::from_utf8(seen.body).unwrap();
    assert!(form.contains("code=") && form.contains("iss="), "{form}");
}

/// E3, E4: the hint ends the provider's session; only a registered address is followed.
#[tokio::test]
async fn end_session_signs_out_and_follows_only_registered_addresses() {
    let idp = Idp::start(&nine_o_clock());
    let mut browser = Browser::new(nine_o_clock());
    let relying_party = RelyingParty::of(&idp);
    let login = relying_party.log_in(&mut browser).await.json();
    // Revoking first is what relying parties do; the hint is good all the same.
    let refresh_token = login["refresh_token"].as_str().unwrap();
    let revoked = relying_party
        .post("/revoke", &[("token", refresh_token)])
        .await;
    assert_eq!(revoked.unwrap().status, 200);
    let dead = relying_party.refresh(refresh_token).await;
    assert_eq!(dead.json()["error"], "invalid_grant");

    let end = |target: &str| {
        let hint = login["id_token"].as_str().unwrap();
        format!(
            "{}/end_session?id_token_hint={hint}&state=s1&post_logout_redirect_uri={target}",
            idp.issuer
        )
    };
    let elsewhere = browser.visit(&end("https://evil.example/")).await;
    assert_eq!((elsewhere.last().status, elsewhere.left), (200, None));
    let home = format!("{PUBLIC_URL}/bff/logout/callback");
    let visit = browser.visit(&end(&home)).await;
    assert_eq!(visit.left.unwrap().as_str(), format!("{home}?state=s1"));

    let silent = RelyingParty::of(&idp).authorization_url(&[("prompt", "none")]);
    let asked = browser.visit(&silent).await.left.unwrap();
    assert_eq!(
        parameter(&asked, "error").as_deref(),
        Some("login_required")
    );
}

/// A9: a wrong proof is `invalid_client`, and two proofs are one too many.
#[tokio::test]
async fn a_relying_party_has_to_prove_who_it_is() {
    let idp = Idp::start(&nine_o_clock());
    let secret = idp.client_secret.as_str();
    let other_id = [("client_id", "other")];
    let posted = [("client_secret", secret)];
    let cases = [
        (
            "a wrong secret",
            "wrong-wrong",
            &[][..],
            401,
            "invalid_client",
        ),
        ("another id", secret, &other_id, 401, "invalid_client"),
        ("two proofs", secret, &posted, 400, "invalid_request"),
        ("a right proof", secret, &[], 400, "unsupported_grant_type"),
    ];
    for (name, secret, form, status, error) in cases {
        let relying_party = RelyingParty::new(&idp.issuer, CLIENT_ID, secret);
        let reply = relying_party.post("/token", form).await.unwrap();
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.json()["error"], error, "{name}");
    }
}

/// A10: an assertion is verified in full, and good once.
#[tokio::test]
async fn an_assertion_is_verified_and_good_once() {
    let idp = Idp::start(&nine_o_clock());
    let key = SigningKey::p256("ours").unwrap();
    idp.expect_proof(Proof::PrivateKeyJwt(key.public_jwk()));
    let now = idp.clock().now().unix_seconds();
    let good = json!({
        "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": idp.issuer, "jti": "1", "iat": now, "exp": now + 60,
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims["jti"] = json!(format!("{name}{value}"));
        claims[name] = value;
        claims
    };
    let header = json!({ "alg": "ES256", "typ": "client-authentication+jwt" });
    let plain = json!({ "alg": "ES256", "typ": "JWT" });
    let cases = [
        ("good", &header, good.clone(), "unsupported_grant_type"),
        ("used twice", &header, good.clone(), "invalid_client"),
        ("typ JWT", &plain, with("jti", json!("2")), "invalid_client"),
        (
            "aud a list",
            &header,
            with("aud", json!([idp.issuer])),
            "invalid_client",
        ),
        (
            "aud the endpoint",
            &header,
            with("aud", json!(idp.url("/token"))),
            "invalid_client",
        ),
        (
            "expired",
            &header,
            with("exp", json!(now)),
            "invalid_client",
        ),
        (
            "long-lived",
            &header,
            with("exp", json!(now + 61)),
            "invalid_client",
        ),
        (
            "another iss",
            &header,
            with("iss", json!("other")),
            "invalid_client",
        ),
    ];
    for (name, header, claims, error) in cases {
        let assertion = key.sign(header, &claims).unwrap();
        let form = [
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
        ];
        let reply = send("POST", &idp.url("/token"), &[], &form).await.unwrap();
        assert_eq!(reply.json()["error"], error, "{name}");
    }
    let stranger = SigningKey::p256("ours").unwrap();
    let assertion = stranger.sign(&header, &with("jti", json!("3"))).unwrap();
    let form = [
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", &assertion),
    ];
    let reply = send("POST", &idp.url("/token"), &[], &form).await.unwrap();
    assert_eq!(reply.status, 401, "a stranger's key");
}
