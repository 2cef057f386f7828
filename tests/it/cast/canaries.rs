//! Canaries are heard: the upstream plays a product that leaks.

use bff::clock::Clock as _;

use super::relying_party::RelyingParty;
use crate::support::bff::{Bff, Started};
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::{Answer, Upstream};

/// Alice's tokens, and an upstream in the place of the product.
async fn world() -> (Idp, Upstream, serde_json::Value) {
    let idp = Idp::start(&nine_o_clock());
    let tokens = RelyingParty::of(&idp)
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    (idp, Upstream::start(), tokens)
}

fn play<'a>(idp: &'a Idp, product: &Upstream) -> Bff<'a> {
    Bff::with(idp, product).start_with(|_, _, _, _| Started {
        public_addr: product.addr(),
        admin_addr: None,
        app: Box::new(()),
    })
}

/// G14: a token in a body, a header or a piece of a token is heard.
#[tokio::test]
async fn a_token_that_reaches_the_browser_is_heard() {
    let (idp, product, tokens) = world().await;
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let payload = text("id_token").split('.').nth(1).unwrap().to_owned();
    let cases = [
        ("access token", text("access_token")),
        ("refresh token", text("refresh_token")),
        ("ID token", text("id_token")),
        ("ID token", payload),
        ("client secret", idp.client_secret.clone()),
    ];
    for (kind, secret) in cases {
        for in_header in [false, true] {
            let bff = play(&idp, &product);
            let secret = secret.clone();
            product.answers(move |_| {
                let answer = Answer::text("fine");
                if in_header {
                    answer.header("x-leak", &secret)
                } else {
                    answer.body(format!("{{\"x\":\"{secret}\"}}"))
                }
            });
            let mut browser = bff.browser();
            browser.stand_on(PUBLIC_URL);
            browser.fetch(Fetch::get("/bff/session")).await;
            assert_eq!(
                bff.sightings(),
                format!("the answer to {PUBLIC_URL}/bff/session shows the {kind}\n")
                    // The body is looked at twice, raw and without its framing.
                    .repeat(if in_header { 1 } else { 2 }),
            );
            // Dropped, it would fail this test.
            std::mem::forget(bff);
        }
    }
}

/// E3: the redirects to the end-session and the authorization endpoint may carry the ID token, and
/// nothing else may.
#[tokio::test]
async fn redirects_that_take_a_hint_alone_may_carry_the_id_token() {
    let (idp, product, tokens) = world().await;
    let bff = play(&idp, &product);
    let id_token = tokens["id_token"].as_str().unwrap().to_owned();
    for endpoint in ["/end_session", "/authorize"] {
        let location = format!("{}?id_token_hint={id_token}", idp.url(endpoint));
        product.answers(move |_| Answer::status(303).header("location", &location));
        bff.browser()
            .open(&format!("{PUBLIC_URL}/bff/logout/continue"))
            .await;
        assert_eq!(bff.sightings(), "");
    }

    let elsewhere = format!("{}?id_token_hint={id_token}", idp.url("/end_session_"));
    product.answers(move |_| Answer::status(303).header("location", &elsewhere));
    bff.browser()
        .open(&format!("{PUBLIC_URL}/bff/logout/continue"))
        .await;
    assert!(bff.sightings().contains("shows the ID token"));
    std::mem::forget(bff);
}

#[tokio::test]
#[should_panic(expected = "a canary sang")]
async fn a_canary_in_the_log_fails_the_test() {
    let (idp, product, tokens) = world().await;
    let _bff = play(&idp, &product);
    tracing::info!("{}", tokens["access_token"]);
}

#[tokio::test]
async fn a_configuration_is_written_as_a_person_would() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let builder = Bff::with(&idp, &upstream)
        .set("session.cookie.same_site", "Lax")
        .route(toml::toml! { path = "/open"  auth = "none" }, &upstream)
        .variable("BFF_LOG__LEVEL", "debug")
        .file("dist/index.html", "<!doctype html>");
    assert!(builder.path("dist/index.html").is_file());
    let read: toml::Table = builder.toml().parse().unwrap();
    assert_eq!(
        read["provider"]["issuer"].as_str(),
        Some(idp.issuer.as_str())
    );
    assert_eq!(read["session"]["cookie"]["same_site"].as_str(), Some("Lax"));
    assert_eq!(
        read["route"][1]["upstream"].as_str(),
        Some(upstream.url().as_str())
    );
    let mut given = None;
    let bff = builder.start_with(|path, environment, clock, _| {
        given = Some((
            std::fs::read_to_string(path).unwrap(),
            environment,
            clock.now(),
        ));
        Started {
            public_addr: upstream.addr(),
            admin_addr: None,
            app: Box::new(()),
        }
    });
    let (text, environment, now) = given.unwrap();
    assert_eq!(text.parse::<toml::Table>().unwrap(), read);
    assert_eq!(environment["BFF_CLIENT_SECRET"], idp.client_secret);
    assert_eq!(environment["BFF_LOG__LEVEL"], "debug");
    assert_eq!(now, bff.clock().now());
}
