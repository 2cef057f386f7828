//! The stories in which Keycloak itself goes away, and in which it has two names.

use bff::clock::SystemRandomness;
use serde_json::json;

use super::keycloak_server::{Keycloak, asks_for_password, log_in};
use super::{House, end_of, eventually, tokens_end};

/// The example's configuration of bff in a container.
const COMPOSE: &str = include_str!("../../../examples/keycloak/compose.toml");

/// L5: Keycloak restarts. Sessions stay, calls that lack a live token wait it out, and a logout
/// there still arrives afterwards.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: tests/providers.sh"]
async fn a_restart_of_keycloak_signs_nobody_out() {
    let mut keycloak = Keycloak::start().await;
    let mut house = House::new(&[]);
    let realm = keycloak.realm(&house).await;
    house.serve(&realm.provider()).await;
    let mut browser = house.browser();
    realm.sign_in(&house, &mut browser, "alice").await;
    let name = realm.name.clone();

    keycloak.stop();
    tokens_end().await;
    assert_eq!(house.call(&browser).await, "503 provider_unavailable");
    assert!(house.is_signed_in(&mut browser).await);
    assert_eq!(house.node.ready().await.status, 200);
    let login = house.browser().open(&house.at("/bff/login")).await;
    assert_eq!(login.status, 303, "the metadata are remembered");

    let known_as = format!("http://{}", keycloak.addr);
    keycloak.launch(&known_as, &[]).await;
    eventually("calls are answered again", async || {
        house.call(&browser).await == "200 "
    })
    .await;
    let realm = keycloak.known(&name);
    let mut events = house.hear(&mut browser).await;
    realm.sign_out("alice").await;
    assert_eq!(end_of(&mut events).await, "provider_logout");

    // And once more, under two names.
    keycloak.stop();
    with_two_names(&mut keycloak).await;
}

/// A7: the example's configuration as it stands, but for the addresses. Browsers know
/// Keycloak as `localhost`, bff asks it at an address that counts as another machine's, and Keycloak
/// finds bff by another name than browsers do. With Keycloak's own endpoints for the back channel and
/// without.
async fn with_two_names(keycloak: &mut Keycloak) {
    let port = keycloak.addr.port();
    let known_as = format!("http://localhost:{port}");
    for dynamic in [false, true] {
        let option = format!("--hostname-backchannel-dynamic={dynamic}");
        keycloak.launch(&known_as, &[&option]).await;
        let key = bff::secret::random_base64url::<32>(&SystemRandomness);
        let mut house = House::new(&[
            ("BFF_CLIENT_SECRET", "demo-client-secret"),
            ("BFF_SESSION_KEY", &key),
        ]);
        let realm = keycloak.realm(&house).await;
        let to_us = format!("http://{}/bff/backchannel-logout", house.node.addr);
        realm
            .change_client(json!({ "attributes": { "backchannel.logout.url": to_us } }))
            .await;
        let app = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/keycloak/app");
        let [inside, issuer] = ["http://0.0.0.0", "http://localhost"]
            .map(|host| format!("{host}:{port}/realms/{}", realm.name));
        let addresses = [
            ("BFF_SERVER__LISTEN", house.node.addr.to_string()),
            ("BFF_SERVER__ADMIN_LISTEN", house.node.admin.to_string()),
            ("BFF_SERVER__PUBLIC_URL", house.origin()),
            ("BFF_PROVIDER__ISSUER", issuer),
            ("BFF_PROVIDER__INTERNAL_URL", inside),
            ("BFF_FRONTEND__DIR", app.to_owned()),
        ];
        for (name, address) in &addresses {
            house.node.variable(name, address);
        }
        let config = COMPOSE.replace("http://127.0.0.1:9000", &house.api.url());
        house.serve_as(&config).await;
        let mut browser = house.browser();
        let form = browser.visit(&house.at("/bff/login")).await;
        assert!(asks_for_password(form.last()), "{:?}", form.last());
        assert_eq!(form.url().host_str(), Some("localhost"));
        log_in(&mut browser, &form.last().clone(), "alice").await;
        assert!(house.is_signed_in(&mut browser).await);
        tokens_end().await;
        assert_eq!(house.call(&browser).await, "200 ");
        assert_eq!(house.refreshes("ok").await, 1);
        let mut events = house.hear(&mut browser).await;
        realm.sign_out("alice").await;
        assert_eq!(end_of(&mut events).await, "provider_logout");
        keycloak.stop();
    }
}
