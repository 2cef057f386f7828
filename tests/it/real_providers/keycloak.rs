//! The stories that a real Keycloak is part of. Each has a realm of its own in the one Keycloak.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::keycloak_server::{Realm, asks_for_password, log_in, shared};
use super::{House, TOKEN_LIFE, end_of, eventually, tokens_end, trail};
use crate::client_auth::client_key;
use crate::support::browser::{Browser, Fetch};
use crate::support::journey::refusal;
use crate::support::wire::Reply;

/// A house before a new realm, with these lines of `[provider]` beside those that are needed.
async fn house(more: &str) -> (House, Realm<'static>) {
    let mut house = House::new(&[]);
    let realm = shared().await.realm(&house).await;
    house.serve(&format!("{}\n{more}", realm.provider())).await;
    (house, realm)
}

/// B1, D1, E9: in by the form, calls with a token, out by the end-session endpoint; a next login is
/// asked for the password again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn keycloak_signs_in_and_out() {
    let (house, realm) = house("").await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    let session = house.session(&mut browser).await;
    assert_eq!(session["user"]["email"], "alice@example.com");
    assert_eq!(session["user"]["preferred_username"], "alice");
    assert_eq!(house.call(&browser).await, "200 ");
    assert_eq!(realm.sessions("alice").await, 1);
    // A second login passes without the form, as single sign-on has it.
    let again = browser.visit(&house.at("/bff/login")).await;
    assert_eq!(again.url().as_str(), house.at("/"));

    let session = house.session(&mut browser).await;
    let link = session["logout_url"].as_str().unwrap();
    let out = browser.click(&format!("{link}&return_to=/bye")).await;
    let out = if out.last().text().contains("http-equiv=\"refresh\"") {
        browser.go_on(&out.last().clone()).await
    } else {
        out
    };
    assert_eq!(out.url().as_str(), house.at("/bye"), "{:?}", out.paths());
    assert!(!house.is_signed_in(&mut browser).await);
    assert_eq!(realm.sessions("alice").await, 0);
    let form = browser.visit(&house.at("/bff/login")).await;
    assert!(asks_for_password(form.last()));
}

/// L2, L3: fifty calls at once with a token that has ended bring one refresh, as Keycloak counts; and
/// with rotation as strict as it can be, the next ones too.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn keycloak_sees_one_refresh_for_fifty_calls() {
    let (house, realm) = house("").await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    assert_eq!(house.call(&browser).await, "200 ");
    let mut token = house.token();
    for round in 1..=3 {
        tokens_end().await;
        house.storm(&browser).await;
        assert_ne!(house.token(), token);
        token = house.token();
        assert_eq!(realm.events("REFRESH_TOKEN").await, round);
    }
    assert_eq!(realm.events("REFRESH_TOKEN_ERROR").await, 0);
}

/// E10: however a sign-out comes about at Keycloak, its back channel ends the session here, and the
/// page hears of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn a_sign_out_at_keycloak_ends_the_session() {
    let (house, realm) = house("").await;
    for way in ["an administrator", "one session", "the user"] {
        let mut browser = house.browser();
        realm.sign_in(&house, &mut browser, "alice").await;
        let mut events = house.hear(&mut browser).await;
        match way {
            "an administrator" => realm.sign_out("alice").await,
            "one session" => realm.end_session("alice").await,
            _ => sign_out_at_keycloak(&realm, &mut browser).await,
        }
        assert_eq!(end_of(&mut events).await, "provider_logout", "{way}");
        assert_eq!(house.call(&browser).await, "401 session_expired", "{way}");
    }
}

/// The user signs out in Keycloak's own pages.
async fn sign_out_at_keycloak(realm: &Realm<'_>, browser: &mut Browser) {
    let page = browser
        .visit(&realm.at("/protocol/openid-connect/logout"))
        .await;
    let asked = page.last().clone();
    browser
        .fill_form_of(&asked, &[("confirmLogout", "Logout")])
        .await;
}

/// E13: Keycloak's page that signs out everywhere loads the front-channel address in a frame.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn keycloaks_front_channel_ends_the_session() {
    let (house, realm) = house("").await;
    realm
        .change_client(json!({
            "frontchannelLogout": true,
            "attributes": {
                "backchannel.logout.url": "",
                "frontchannel.logout.url": house.at("/bff/frontchannel-logout"),
                "frontchannel.logout.session.required": "true",
            },
        }))
        .await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    let mut events = house.hear(&mut browser).await;
    let page = browser
        .visit(&realm.at("/protocol/openid-connect/logout"))
        .await;
    let asked = page.last().clone();
    let page = browser
        .fill_form_of(&asked, &[("confirmLogout", "Logout")])
        .await;
    let frame = frame_of(page.last());
    let answer = browser.fetch(Fetch::frame(&frame)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(end_of(&mut events).await, "provider_logout");
}

/// Where the frame of a page leads.
fn frame_of(page: &Reply) -> String {
    let text = page.text();
    let (_, rest) = text
        .split_once("<iframe src=\"")
        .unwrap_or_else(|| panic!("no frame in {text}"));
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

/// D15, D16: three new keys within a minute, each followed by a login, and a logout token that is
/// signed with a fourth before anybody has signed in with it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn new_keys_of_keycloak_are_fetched() {
    let (house, realm) = house("").await;
    let mut alice = house.browser();
    realm.sign_in(&house, &mut alice, "alice").await;
    let began = Instant::now();
    for _ in 0..3 {
        realm.rotate_keys().await;
        let mut bob = house.browser();
        realm.sign_in(&house, &mut bob, "bob").await;
    }
    realm.rotate_keys().await;
    let mut events = house.hear(&mut alice).await;
    realm.sign_out("alice").await;
    assert_eq!(end_of(&mut events).await, "provider_logout");
    assert!(began.elapsed() < Duration::from_mins(1), "within a minute");
}

/// D18: a key that is new at a refresh ends nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn a_refresh_outlives_a_new_key_of_keycloak() {
    let (house, realm) = house("").await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    for round in 1..=4 {
        realm.rotate_keys().await;
        tokens_end().await;
        assert_eq!(house.call(&browser).await, "200 ", "round {round}");
    }
    assert!(house.is_signed_in(&mut browser).await);
    assert_eq!(house.refreshes("ok").await, 4);
}

/// L4: a secret that was changed there and a client that was switched off end nothing, and all goes on
/// once they are put right. Keycloak answers 401 to both.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn a_client_that_keycloak_refuses_ends_nothing() {
    let (house, realm) = house("").await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    let faults = [
        (
            json!({ "secret": "another" }),
            json!({ "secret": "demo-client-secret" }),
        ),
        (json!({ "enabled": false }), json!({ "enabled": true })),
    ];
    for (fault, remedy) in faults {
        realm.change_client(fault.clone()).await;
        tokens_end().await;
        assert_eq!(
            house.call(&browser).await,
            "503 provider_unavailable",
            "{fault}"
        );
        assert!(house.is_signed_in(&mut browser).await, "{fault}");
        assert_eq!(house.node.ready().await.status, 200, "{fault}");
        realm.change_client(remedy).await;
        eventually("calls are answered again", async || {
            house.call(&browser).await == "200 "
        })
        .await;
    }
}

/// L4: a session that is over there, with no back channel to say so, ends at the next refresh.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn a_session_that_keycloak_forgot_ends_at_the_refresh() {
    let (house, realm) = house("").await;
    realm
        .change_client(json!({ "attributes": { "backchannel.logout.url": "" } }))
        .await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    let mut events = house.hear(&mut browser).await;
    realm.sign_out("alice").await;
    tokens_end().await;
    assert_eq!(house.call(&browser).await, "401 session_expired");
    assert_eq!(end_of(&mut events).await, "refresh_refused");
}

/// The default scopes do without `offline_access`, and bring a refresh token; where it is written,
/// the check says what it breaks.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn offline_access_is_for_nobody_at_keycloak() {
    let (house, realm) = house("").await;
    let begun = house.browser().open(&house.at("/bff/login")).await;
    let scope = begun.location().unwrap();
    assert!(
        scope.as_str().contains("scope=openid+profile+email&"),
        "{scope}"
    );
    let lines = format!(
        "{}\nscopes = [\"openid\", \"offline_access\"]",
        realm.provider()
    );
    let ended = house.check(&lines).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("offline_access"), "{}", ended.err);
}

/// N3: what this client alone is asked for at Keycloak, which no metadata tell.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn the_check_hears_what_keycloak_demands() {
    let (house, realm) = house("").await;
    let provider = realm.provider();
    let ended = house.check(&provider).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("answers as it should"), "{}", ended.out);

    let par = "require.pushed.authorization.requests";
    let dpop = "dpop.bound.access.tokens";
    let demands = [
        (
            json!({ "attributes": { par: "true" } }),
            json!({ "attributes": { par: "false" } }),
            "demands pushed authorization requests (PAR), which bff does not send yet; turn that off",
        ),
        (
            json!({ "attributes": { dpop: "true" } }),
            json!({ "attributes": { dpop: "false" } }),
            "demands DPoP of this client; write provider.dpop = \"always\"",
        ),
        (
            json!({ "secret": "another" }),
            json!({ "secret": "demo-client-secret" }),
            "provider.client_secret is refused by the token endpoint (unauthorized_client)",
        ),
        (
            json!({ "enabled": false }),
            json!({ "enabled": true }),
            "see that the client is enabled",
        ),
        (
            json!({ "redirectUris": ["http://localhost:1/elsewhere"] }),
            json!({ "redirectUris": [house.at("/bff/callback")] }),
            "register that redirect URI with this client",
        ),
    ];
    for (demand, remedy, sentence) in demands {
        realm.change_client(demand.clone()).await;
        let ended = house.check(&provider).await;
        assert_eq!(ended.code, Some(2), "{demand}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(sentence), "{demand}: {}", ended.err);
        realm.change_client(remedy).await;
    }
}

/// D3: how the ID tokens of one client are signed stands in no metadata. Where it is not what is
/// configured, the log of a login says so.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn another_algorithm_than_is_configured_is_named() {
    let (house, realm) = house("id_token_algs = [\"RS256\"]").await;
    realm
        .change_client(json!({ "attributes": { "id.token.signed.response.alg": "ES256" } }))
        .await;
    let mut browser = house.browser();
    let page = realm.try_to_sign_in(&house, &mut browser, "alice").await;
    assert_eq!(refusal(page.last()), "400 login_failed", "{}", trail(&page));
    house
        .logs("it is signed with ES256, which provider.id_token_algs does not list")
        .await;
}

/// D3: with the default configuration a client may have its ID tokens signed in any way but HMAC.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn keycloak_signs_as_it_likes() {
    let (house, realm) = house("userinfo = true\nresponse_mode = \"form_post\"").await;
    for alg in ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
        realm
            .change_client(json!({ "attributes": {
                "id.token.signed.response.alg": alg,
                "user.info.response.signature.alg": alg,
            } }))
            .await;
        let mut browser = house.browser();
        sign_in_by_form_post(&house, &mut browser).await;
        tokens_end().await;
        assert_eq!(house.call(&browser).await, "200 ", "{alg}");
    }
    assert_eq!(house.refreshes("ok").await, 6);
}

/// Keycloak's answer is a page whose form posts itself.
async fn sign_in_by_form_post(house: &House, browser: &mut Browser) {
    let form = browser.visit(&house.at("/bff/login")).await;
    let answer = log_in(browser, &form.last().clone(), "alice").await;
    let page = answer.last().clone();
    browser.fill_form_of(&page, &[]).await;
    assert!(house.is_signed_in(browser).await, "{}", page.text());
}

/// A consent that is refused goes back to where the login began, by key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn a_consent_that_is_refused_goes_back() {
    let (mut house, realm) = house("").await;
    realm
        .change_client(json!({ "consentRequired": true }))
        .await;
    let refused = async |house: &House| {
        let mut browser = house.browser();
        let form = browser
            .visit(&house.at("/bff/login?return_to=/shop?item=7%23top"))
            .await;
        let consent = log_in(&mut browser, &form.last().clone(), "alice").await;
        let consent = consent.last().clone();
        assert!(consent.text().contains("kc-cancel"), "{}", consent.text());
        browser.fill_form_of(&consent, &[("cancel", "No")]).await
    };
    let page = refused(&house).await;
    assert_eq!(refusal(page.last()), "400 login_failed", "{}", trail(&page));
    house.logs("access_denied").await;
    let lines = format!("{}\naccess_denied = \"return_to\"", realm.provider());
    house.serve_anew(&lines).await;
    let back = refused(&house).await;
    assert_eq!(
        back.url().as_str(),
        house.at("/shop?item=7&bff_error=access_denied#top")
    );
}

/// A client that proves itself by a signed assertion.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn keycloak_takes_a_signed_assertion() {
    let (pem, jwk) = client_key();
    let mut house = House::new(&[("BFF_CLIENT_KEY", &pem)]);
    let realm = shared().await.realm(&house).await;
    realm
        .change_client(json!({
            "clientAuthenticatorType": "client-jwt",
            "attributes": {
                "use.jwks.string": "true",
                "jwks.string": json!({ "keys": [jwk] }).to_string(),
                "token.endpoint.auth.signing.alg": "ES256",
            },
        }))
        .await;
    let lines = realm.provider().replace(
        "client_secret = \"demo-client-secret\"",
        "client_key = \"env:BFF_CLIENT_KEY\"",
    );
    for audience in ["issuer", "token_endpoint"] {
        let lines = format!("{lines}\nclient_assertion_audience = \"{audience}\"");
        let ended = house.check(&lines).await;
        assert_eq!(ended.code, Some(0), "{audience}: {}", ended.err);
        house.serve(&lines).await;
        let mut browser = house.browser();
        realm.sign_in(&house, &mut browser, "alice").await;
        sleep(TOKEN_LIFE).await;
        eventually("a refresh", async || {
            house.call(&browser).await == "200 " && house.refreshes("ok").await == 1
        })
        .await;
        house.node.stop().await;
    }
}
