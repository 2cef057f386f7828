//! The stories that a real Ory Hydra is part of. Each has a client of its own in the one Hydra.

use serde_json::{Value, json};

use super::hydra_server::{Client, shared};
use super::{House, end_of, tokens_end, trail};
use crate::client_auth::client_key;
use crate::support::browser::Fetch;
use crate::support::journey::refusal;

/// A house before a new client, with these lines of `[provider]` and members of the client.
async fn house(lines: &str, members: impl FnOnce(&House) -> Value) -> (House, Client<'static>) {
    let mut house = House::new(&[]);
    let client = shared().await.client(&house, &members(&house)).await;
    house
        .serve(&format!("{}\n{lines}", client.provider()))
        .await;
    (house, client)
}

/// B1, D1, E9: in, calls with a token, and out by the end-session endpoint.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn hydra_signs_in_and_out() {
    let (house, client) = house("", |_| json!({})).await;
    let ended = house.check(&client.provider()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mut browser = house.browser();
    client.sign_in(&house, &mut browser, "alice").await;
    assert_eq!(house.call(&browser).await, "200 ");
    let session = house.session(&mut browser).await;
    assert_eq!(session["user"]["email"], "alice@example.com");
    let link = session["logout_url"].as_str().unwrap();
    let out = client
        .sign_out(&mut browser, &format!("{link}&return_to=/bye"))
        .await;
    assert_eq!(out.url().as_str(), house.at("/bye"), "{}", trail(&out));
    assert!(!house.is_signed_in(&mut browser).await);
}

/// L2, L3: fifty calls at once bring one refresh. A second use of a refresh token would cost the grant.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn hydra_sees_one_refresh_for_fifty_calls() {
    let (house, client) = house("", |_| json!({})).await;
    let mut browser = house.browser();
    client.sign_in(&house, &mut browser, "alice").await;
    for round in 1..=3 {
        tokens_end().await;
        house.storm(&browser).await;
        assert_eq!(house.refreshes("ok").await, round);
    }
}

/// A10: Hydra takes no other audience of an assertion than its token endpoint.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn hydra_takes_an_assertion_for_its_token_endpoint() {
    let (pem, jwk) = client_key();
    let mut house = House::new(&[("BFF_CLIENT_KEY", &pem)]);
    let members = json!({
        "client_secret": null,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": { "keys": [jwk] },
    });
    let client = shared().await.client(&house, &members).await;
    let lines = client.provider().replace(
        "client_secret = \"hydra-client-secret\"",
        "client_key = \"env:BFF_CLIENT_KEY\"",
    );
    let ended = house.check(&lines).await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    let remedy = "client_assertion_audience = \"token_endpoint\"";
    assert!(ended.err.contains(remedy), "{}", ended.err);
    let lines = format!("{lines}\n{remedy}");
    let ended = house.check(&lines).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    house.serve(&lines).await;
    let mut browser = house.browser();
    client.sign_in(&house, &mut browser, "alice").await;
    tokens_end().await;
    assert_eq!(house.call(&browser).await, "200 ");
}

/// D18: after a rotation Hydra's refreshed ID token names the old key and is made by the new one. It is
/// left out, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn a_refresh_outlives_a_new_key_of_hydra() {
    let (house, client) = house("", |_| json!({})).await;
    let mut browser = house.browser();
    client.sign_in(&house, &mut browser, "alice").await;
    for round in 1..=3 {
        shared().await.rotate_keys().await;
        tokens_end().await;
        assert_eq!(house.call(&browser).await, "200 ", "round {round}");
    }
    assert!(house.is_signed_in(&mut browser).await);
    let mut bob = house.browser();
    client.sign_in(&house, &mut bob, "bob").await;
}

/// E10: Hydra's logout tokens have no `exp`: by default they are refused, the log says why, and by key
/// they are taken.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn hydras_back_channel_needs_a_key() {
    let back_channel = |house: &House| {
        json!({
            "backchannel_logout_uri": house.at("/bff/backchannel-logout"),
            "backchannel_logout_session_required": true,
        })
    };
    let (mut house, client) = house("", back_channel).await;
    let lines = client.provider();
    for allowed in [false, true] {
        let lines = format!("{lines}\nallow_logout_token_without_exp = {allowed}");
        house.serve_anew(&lines).await;
        let mut browser = house.browser();
        client.sign_in(&house, &mut browser, "alice").await;
        let mut events = house.hear(&mut browser).await;
        let end_session = client.at("/oauth2/sessions/logout");
        client.sign_out(&mut browser, &end_session).await;
        if allowed {
            assert_eq!(end_of(&mut events).await, "provider_logout");
            continue;
        }
        house.logs("a logout token signed nobody out").await;
        house.logs("exp").await;
        assert!(house.is_signed_in(&mut browser).await);
    }
}

/// E13: the front channel, in a frame of Hydra's page.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn hydras_front_channel_ends_the_session() {
    let front_channel = |house: &House| {
        json!({
            "frontchannel_logout_uri": house.at("/bff/frontchannel-logout"),
            "frontchannel_logout_session_required": true,
        })
    };
    let (house, client) = house("", front_channel).await;
    let mut browser = house.browser();
    client.sign_in(&house, &mut browser, "alice").await;
    let mut events = house.hear(&mut browser).await;
    let end_session = client.at("/oauth2/sessions/logout");
    let page = client.sign_out(&mut browser, &end_session).await;
    let text = page.last().text();
    let (_, rest) = text
        .split_once("<iframe src=\"")
        .unwrap_or_else(|| panic!("no frame in {text}"));
    let frame = rest.split('"').next().unwrap().replace("&amp;", "&");
    let answer = browser.fetch(Fetch::frame(&frame)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(end_of(&mut events).await, "provider_logout");
}

/// L4: a consent that was taken back ends the session at the next refresh.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn a_consent_that_was_taken_back_ends_the_session() {
    let (house, client) = house("", |_| json!({})).await;
    let mut browser = house.browser();
    client.sign_in(&house, &mut browser, "carol").await;
    let mut events = house.hear(&mut browser).await;
    client.revoke_consent("carol").await;
    tokens_end().await;
    assert_eq!(house.call(&browser).await, "401 session_expired");
    assert_eq!(end_of(&mut events).await, "refresh_refused");
}

/// A login that was cancelled there ends on a page, or by key where it began.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Hydra: tests/providers.sh"]
async fn a_login_that_is_cancelled_at_hydra_goes_back() {
    let (mut house, client) = house("", |_| json!({})).await;
    let page = client.cancel(&house, &mut house.browser()).await;
    assert_eq!(refusal(page.last()), "400 login_failed", "{}", trail(&page));
    house.logs("access_denied").await;
    let lines = format!("{}\naccess_denied = \"return_to\"", client.provider());
    house.serve_anew(&lines).await;
    let back = client.cancel(&house, &mut house.browser()).await;
    let place = house.at("/shop?bff_error=access_denied");
    assert_eq!(back.url().as_str(), place);
}
