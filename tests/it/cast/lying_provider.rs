//! Each fault is one: a strict relying party refuses what it has to, and takes what is only odd.

use bff::clock::Clock as _;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::json;

use super::relying_party::{RelyingParty, get, parameter};
use crate::support::browser::Browser;
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::{Fault, KeySetFault, SignatureFault};
use crate::support::idp::Idp;

/// Logs alice in while `fault` is active; the verdict of a strict relying party.
async fn verdict(idp: &Idp, fault: &Fault) -> Result<(), String> {
    let relying_party = RelyingParty::of(idp);
    idp.misbehave(fault.clone());
    let mut browser = Browser::new(nine_o_clock());
    let response = relying_party.log_in(&mut browser).await;
    let now = idp.clock().now().unix_seconds();
    let judged = relying_party.judge(&response, now).await.map(|_| ());
    idp.behave();
    judged
}

/// D1 to D15, C10: every fault of an ID token is a fault.
#[tokio::test]
async fn a_strict_relying_party_refuses_every_bad_id_token() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    for (name, fault) in Fault::bad_id_tokens(now) {
        assert!(verdict(&idp, &fault).await.is_err(), "{name} passed");
    }
}

/// C8: every fault of a token response is a fault.
#[tokio::test]
async fn a_strict_relying_party_refuses_every_bad_token_response() {
    let idp = Idp::start(&nine_o_clock());
    for (name, fault) in Fault::bad_token_responses() {
        assert!(verdict(&idp, &fault).await.is_err(), "{name} passed");
    }
}

/// C8, D7, D14, D15, D17: what is only odd is no fault.
#[tokio::test]
async fn a_strict_relying_party_takes_what_is_only_odd() {
    let idp = Idp::start(&nine_o_clock());
    for (name, fault) in Fault::odd_but_valid() {
        assert_eq!(verdict(&idp, &fault).await, Ok(()), "{name}");
    }
    assert_eq!(
        verdict(&idp, &Fault::Signature(SignatureFault::NoKid)).await,
        Ok(()),
        "no kid beside two keys of other types"
    );
    assert_eq!(
        verdict(&idp, &Fault::Keys(KeySetFault::SymmetricTwin)).await,
        Ok(()),
        "an oct key under the right kid"
    );
}

/// D18: the faults of a refresh change what a refresh brings, and a login not at all.
#[tokio::test]
async fn a_refresh_lies_without_the_login() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    let doubtful = Fault::doubtful_refreshed_id_tokens(now);
    for (name, fault) in Fault::refreshed_id_tokens_of_another()
        .into_iter()
        .chain(doubtful)
    {
        let Fault::Set(_, claim, value) = fault.clone() else {
            continue;
        };
        assert_eq!(verdict(&idp, &fault).await, Ok(()), "{name}");
        let relying_party = RelyingParty::of(&idp);
        let login = relying_party
            .log_in(&mut Browser::new(nine_o_clock()))
            .await
            .json();
        idp.misbehave(fault);
        let refreshed = relying_party
            .refresh(login["refresh_token"].as_str().unwrap())
            .await
            .json();
        idp.behave();
        let id_token = refreshed["id_token"].as_str().unwrap();
        let claims: serde_json::Value =
            jsonwebtoken::dangerous::insecure_decode_claims(id_token).unwrap();
        assert_eq!(claims[claim], value, "{name}");
    }
}

/// C4: the authorization response can lie about its issuer, or say nothing of it.
#[tokio::test]
async fn the_authorization_response_can_lie() {
    let idp = Idp::start(&nine_o_clock());
    let stage = Stage::AuthorizationResponse;
    let cases = [
        (
            Fault::Set(stage, "iss", json!("https://evil.example")),
            vec!["https://evil.example"],
        ),
        (Fault::Remove(stage, "iss"), vec![]),
        (
            Fault::Set(stage, "iss", json!([idp.issuer, "x"])),
            vec![idp.issuer.as_str(), "x"],
        ),
    ];
    for (fault, expected) in cases {
        idp.misbehave(fault.clone());
        let url = RelyingParty::of(&idp).authorization_url(&[("login_hint", "alice")]);
        let visit = Browser::new(nine_o_clock()).visit(&url).await;
        idp.behave();
        let callback = visit.left.unwrap();
        let said: Vec<String> = callback
            .query_pairs()
            .filter(|(name, _)| name == "iss")
            .map(|(_, value)| value.into_owned())
            .collect();
        assert_eq!(said, expected, "{fault:?}");
        assert!(parameter(&callback, "code").is_some(), "{fault:?}");
    }
}

/// A5, C12: discovery and UserInfo can lie too.
#[tokio::test]
async fn discovery_and_userinfo_can_lie() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Set(
        Stage::Metadata,
        "issuer",
        json!("https://evil.example"),
    ));
    idp.misbehave(Fault::Set(Stage::UserInfo, "sub", json!("mallory")));
    let metadata = get(&idp.url("/.well-known/openid-configuration"), None).await;
    assert_eq!(metadata.json()["issuer"], "https://evil.example");
    let relying_party = RelyingParty::of(&idp);
    let login = relying_party
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    let access_token = login["access_token"].as_str();
    let userinfo = get(&idp.url("/userinfo"), access_token).await;
    assert_eq!(userinfo.json()["sub"], "mallory");
}

/// L5, L6: the ways in which an answer does not come, and what the provider did meanwhile.
#[tokio::test]
async fn answers_can_fail_to_come() {
    let idp = Idp::start(&nine_o_clock());
    let relying_party = RelyingParty::of(&idp);
    let login = relying_party
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    let refresh_token = login["refresh_token"].as_str().unwrap();
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    let token = Endpoint::Token;

    idp.misbehave_once(Fault::DropUnheard(token));
    assert!(relying_party.post("/token", &refresh).await.is_none());
    idp.misbehave_once(Fault::unavailable(token));
    let reply = relying_party.post("/token", &refresh).await.unwrap();
    assert_eq!(reply.status, 503);
    idp.misbehave_once(Fault::invalid_grant());
    let reply = relying_party.post("/token", &refresh).await.unwrap();
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (400, &json!("invalid_grant"))
    );
    idp.misbehave_once(Fault::Redirect(token, "https://evil.example/".to_owned()));
    let reply = relying_party.post("/token", &refresh).await.unwrap();
    assert_eq!(reply.header("location"), Some("https://evil.example/"));

    // None of these touched the refresh token; the next one uses it up without a word.
    idp.misbehave_once(Fault::DropAfterwards(token));
    assert!(relying_party.post("/token", &refresh).await.is_none());
    let reply = relying_party.refresh(refresh_token).await;
    assert_eq!(reply.json()["error"], "invalid_grant");
    assert_eq!(idp.refreshes(), 6);
}

#[tokio::test]
async fn a_gate_holds_requests_back_until_it_opens() {
    let idp = Idp::start(&nine_o_clock());
    let gate = idp.hold(Endpoint::Jwks);
    let url = idp.url("/jwks");
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { get(&url, None).await.status })
        })
        .collect();
    idp.asked_times(Endpoint::Jwks, 5).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    drop(gate);
    for task in waiting {
        assert_eq!(soon("an answer", task).await.unwrap(), 200);
    }
}

/// D15: keys rotate when told to, and the old ones leave the set.
#[tokio::test]
async fn keys_rotate() {
    let idp = Idp::start(&nine_o_clock());
    let before = get(&idp.url("/jwks"), None).await.json();
    idp.core.rotate_keys().unwrap();
    let after = get(&idp.url("/jwks"), None).await.json();
    assert_ne!(before, after);
    assert_eq!(after["keys"].as_array().unwrap().len(), 2);
}

/// G14: what was given out is known, so that it can be looked for.
#[tokio::test]
async fn every_secret_that_was_issued_is_a_canary() {
    let idp = Idp::start(&nine_o_clock());
    let relying_party = RelyingParty::of(&idp);
    let login = relying_party
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    relying_party
        .refresh(login["refresh_token"].as_str().unwrap())
        .await;
    let kinds: Vec<&str> = idp.issued_secrets().iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [
            "code",
            "access token",
            "refresh token",
            "ID token",
            "access token",
            "refresh token",
            "ID token",
            "client secret",
        ]
    );
}
