//! One site with three providers, two of them real: Keycloak, Ory Hydra and the development provider.

use std::sync::Arc;

use bff::clock::{Clock as _, ManualClock, SystemClock};
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use super::hydra_server::{self, Client};
use super::keycloak_server::{self, Realm};
use super::{House, end_of, tokens_end, trail};
use crate::support::browser::{Browser, Fetch};
use crate::support::idp::{CLIENT_ID, Idp};
use crate::support::journey::{parameter, refusal};

const NAMES: [&str; 3] = ["keycloak", "hydra", "dev"];

/// The three, and the site before them.
struct Cast {
    house: House,
    realm: Realm<'static>,
    client: Client<'static>,
    idp: Idp,
}

impl Cast {
    async fn new() -> Self {
        let began = Instant::now();
        let clock = Arc::new(ManualClock::starting_at(SystemClock.now()));
        let idp = Idp::start(&clock);
        let mut house = House::new(&[("DEV_SECRET", &idp.client_secret)]);
        let realm = keycloak_server::shared().await.realm(&house).await;
        // Its logout tokens go to another's address until the end of the story.
        realm
            .change_client(json!({
                "redirectUris": [house.at("/bff/callback/keycloak")],
                "attributes": { "backchannel.logout.url": house.at("/bff/backchannel-logout/hydra") },
            }))
            .await;
        let members = json!({
            "redirect_uris": [house.at("/bff/callback/hydra")],
            "backchannel_logout_uri": house.at("/bff/backchannel-logout/hydra"),
            "backchannel_logout_session_required": true,
        });
        let hydra = hydra_server::shared().await;
        let client = hydra.client(&house, &members).await;
        idp.called_at(&house.origin(), "dev");
        let config = format!(
            "[provider]\nallow_logout_token_without_exp = true\n\
             [providers.keycloak]\n{}\n[providers.hydra]\n{}\n\
             [providers.dev]\nissuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret = \"env:DEV_SECRET\"\n{}",
            realm.provider(),
            client.provider(),
            idp.issuer,
            house.rest
        );
        house.serve_as(&config).await;
        clock.advance(began.elapsed());
        Self {
            house,
            realm,
            client,
            idp,
        }
    }

    async fn sign_in(&mut self, provider: &str, user: &str) -> Browser {
        let mut browser = self.house.browser();
        self.house.begin_at(provider);
        match provider {
            "keycloak" => self.realm.sign_in(&self.house, &mut browser, user).await,
            "hydra" => self.client.sign_in(&self.house, &mut browser, user).await,
            _ => {
                let link = format!("{}&login_hint={user}", self.house.login());
                let visit = browser.visit(&link).await;
                assert!(
                    self.house.is_signed_in(&mut browser).await,
                    "{}",
                    trail(&visit)
                );
            }
        }
        let session = self.house.session(&mut browser).await;
        assert_eq!(session["provider"], provider);
        browser
    }

    /// What a provider that knows its user answers a login with, which goes nowhere yet.
    async fn answer(&self, browser: &mut Browser, provider: &str) -> Url {
        let link = self.house.at(&format!("/bff/login?provider={provider}"));
        let begun = browser.open(&link).await;
        let answer = browser.open(begun.location().unwrap().as_str()).await;
        answer
            .location()
            .unwrap_or_else(|| panic!("{provider}: {answer:?}"))
    }
}

/// RFC 9700 §4.4, E10: in at each, tokens of its own for each, nothing of one is anything at another's address,
/// and each signs out where its user signed in.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak and Hydra: tests/providers.sh"]
async fn three_providers_keep_to_themselves() {
    let mut cast = Cast::new().await;
    let mut browsers = Vec::new();
    for name in NAMES {
        let browser = cast.sign_in(name, "alice").await;
        assert_eq!(cast.house.call(&browser).await, "200 ", "{name}");
        browsers.push(browser);
    }
    tokens_end().await;
    for (name, browser) in NAMES.iter().zip(&browsers) {
        assert_eq!(cast.house.call(browser).await, "200 ", "{name}, renewed");
    }
    assert_eq!(cast.realm.events("REFRESH_TOKEN").await, 1);

    // Those that know their user answer at once; the answer is another's to read.
    for from in ["keycloak", "dev"] {
        let at = NAMES.iter().position(|name| *name == from).unwrap();
        for other in NAMES.iter().filter(|other| **other != from) {
            let mut browser = cast.house.browser();
            browser.jar = browsers[at].jar.clone();
            let answer = cast.answer(&mut browser, from).await;
            assert_eq!(answer.path(), format!("/bff/callback/{from}"));
            let mut moved = answer.clone();
            moved.set_path(&format!("/bff/callback/{other}"));
            let visit = browser.visit(moved.as_str()).await;
            let landed = visit.url();
            assert_eq!(parameter(landed, "code"), None, "{}", trail(&visit));
            let session = cast.house.session(&mut browser).await;
            assert_eq!(session["provider"], from, "the one from before");
        }
    }

    // A logout token of Keycloak's at Hydra's address ends nothing.
    let [keycloak, hydra, dev] = &mut browsers[..] else {
        panic!("three browsers");
    };
    cast.realm.sign_out("alice").await;
    cast.house.logs("a logout token signed nobody out").await;
    for browser in [&mut *keycloak, &mut *hydra, &mut *dev] {
        assert!(cast.house.is_signed_in(browser).await);
    }
    let mut events = cast.house.hear(hydra).await;
    let end_session = cast.client.at("/oauth2/sessions/logout");
    cast.client.sign_out(hydra, &end_session).await;
    assert_eq!(end_of(&mut events).await, "provider_logout");
    assert!(cast.house.is_signed_in(dev).await, "and nobody else's");
    let session = cast.house.session(dev).await;
    dev.stand_on(&cast.house.origin());
    dev.click(session["logout_url"].as_str().unwrap()).await;
    assert_eq!(
        cast.idp
            .count(bff::dev::provider::endpoints::Endpoint::EndSession),
        1
    );
    dev.stand_on(&cast.house.origin());
    let reply = dev.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(refusal(&reply), "401 login_required");
}
