//! The configuration read again while the process serves (DESIGN §7): whole or not at all, with nobody
//! signed out and nothing broken off.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::{self, Call};
use crate::support::clock::{nine_o_clock, soon};
use bff::dev::provider::endpoints::Endpoint;

use crate::support::idp::Idp;
use crate::support::upstream::{Answer, Upstream};

/// The configuration of `builder` with another text in place of one of its own.
fn changed(toml: &str, from: &str, to: &str) -> String {
    assert!(toml.contains(from), "{from} is not in\n{toml}");
    toml.replacen(from, to, 1)
}

fn write(path: &Path, toml: &str) {
    std::fs::write(path, toml).unwrap();
}

fn administered<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    Bff::with(idp, upstream).administered()
}

/// DESIGN §7: what a good reload changes, a request shows as soon as whoever asked for it is answered, on
/// each worker; sessions stay, and a call that is under way ends where it began.
#[tokio::test]
async fn what_a_reload_changes_the_next_request_shows() {
    let idp = Idp::start(&nine_o_clock());
    let (old, new) = (Upstream::start(), Upstream::start());
    old.answers(|_| Answer::text("old"));
    new.answers(|_| Answer::text("new"));
    let builder = administered(&idp, &old);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    for round in 0..10 {
        let (from, upstream) = if round % 2 == 0 {
            (old.url(), &new)
        } else {
            (old.url(), &old)
        };
        write(&path, &changed(&toml, &from, &upstream.url()));
        let reply = bff.administer("POST", "/reload").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(
            reply.json(),
            json!({ "changed": ["route"], "needs_restart": [] })
        );
        // Connections are spread over the workers.
        for _ in 0..8 {
            let mut other = bff.browser();
            other.sign_in("bob").await;
            let reply = other.fetch(Fetch::get("/api/x").csrf()).await;
            let expected = if round % 2 == 0 { "new" } else { "old" };
            assert_eq!(reply.text(), expected, "round {round}");
        }
    }
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    let unchanged = bff.administer("POST", "/reload").await;
    assert_eq!(
        unchanged.json(),
        json!({ "changed": [], "needs_restart": [] })
    );
}

/// DESIGN §7: a faulty configuration leaves all of the old one, and says what is wrong to whoever asked, in
/// the log and in the metrics, with its line and its remedy.
#[tokio::test]
async fn a_faulty_configuration_changes_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let builder = administered(&idp, &upstream);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let faulty = changed(
        &toml,
        "path = \"/api\"",
        "path = \"/other\"\nauht = \"none\"",
    );
    write(&path, &faulty);
    let reply = bff.administer("POST", "/reload").await;
    assert_eq!(reply.status, 422, "{reply:?}");
    assert_eq!(reply.json()["code"], "configuration_refused");
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("bff.toml:") && detail.contains("auth"),
        "{detail}"
    );
    assert_eq!(bff.logs().lines_with("all stays as it was").len(), 1);
    let metrics = bff.metrics().unwrap();
    assert!(metrics.contains("bff_config_reloads_total{outcome=\"refused\"} 1"));
    assert!(!metrics.contains("bff_config_refused_since_timestamp_seconds 0"));
    let reply = browser.fetch(Fetch::get("/api/x").csrf()).await;
    assert_eq!(reply.status, 200, "the old route serves: {reply:?}");
    assert_eq!(bff.ready().await.status, 200, "and the node is ready");

    write(&path, &toml);
    let reply = bff.administer("POST", "/reload").await;
    assert_eq!(reply.status, 200);
    let metrics = bff.metrics().unwrap();
    assert!(metrics.contains("bff_config_refused_since_timestamp_seconds 0"));
}

/// DESIGN §7: while clients call without a pause, a hundred reloads, a third of them faulty, break off no
/// call and end no session; and after each good one no worker answers by the one before.
#[tokio::test]
async fn reloads_under_load_lose_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let (old, new) = (Upstream::start(), Upstream::start());
    old.answers(|_| Answer::text("old"));
    new.answers(|_| Answer::text("new"));
    let builder = administered(&idp, &old);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let browser = call::signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&browser);
    let over = AtomicBool::new(false);
    let client = async || {
        let mut answered = 0;
        while !over.load(Ordering::Relaxed) {
            let reply = call.clone().send(bff.public_addr).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            answered += 1;
        }
        answered
    };
    let reloads = async {
        let other = changed(&toml, &old.url(), &new.url());
        for round in 0..100 {
            let (text, shown) = match round % 3 {
                0 => (other.clone(), "new"),
                1 => (toml.clone(), "old"),
                // What is in use stays so.
                _ => (
                    changed(&other, "[provider]", "[provider]\nisuer = 1"),
                    "old",
                ),
            };
            write(&path, &text);
            let status = bff.administer("POST", "/reload").await.status;
            assert_eq!(
                status,
                if round % 3 == 2 { 422 } else { 200 },
                "round {round}"
            );
            for _ in 0..4 {
                let reply = call.clone().send(bff.public_addr).await;
                assert_eq!(reply.text(), shown, "round {round}");
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    let clients = join_all((0..16).map(|_| client()));
    let (answered, ()) = tokio::join!(clients, reloads);
    assert!(
        answered.iter().all(|answered| *answered > 0),
        "{answered:?}"
    );
    assert_eq!(bff.logs().lines_with("session ended").len(), 0);
}

/// DESIGN §7: what cannot change in flight is named, and all else is taken into use.
#[tokio::test]
async fn what_a_start_alone_reads_is_named() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let builder = administered(&idp, &upstream);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let both = changed(&toml, "workers = 2", "workers = 1");
    let both = changed(&both, "path = \"/api\"", "path = \"/v2\"");
    write(&path, &both);
    let reply = bff.administer("POST", "/reload").await;
    assert_eq!(
        reply.json(),
        json!({ "changed": ["route"], "needs_restart": ["server.workers"] })
    );
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let reply = browser.fetch(Fetch::get("/v2/x").csrf()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// DESIGN §7: a change on the disk is taken into use by itself.
#[tokio::test]
async fn a_changed_file_is_taken_into_use() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let builder = Bff::with(&idp, &upstream);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    write(&path, &changed(&toml, "path = \"/api\"", "path = \"/v2\""));
    let taken = async {
        while bff
            .logs()
            .lines_with("the configuration is in use as it stands now")
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    soon("the file to be read again", taken).await;
    let reply = browser.fetch(Fetch::get("/v2/x").csrf()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// L2 and DESIGN §7: a refresh that is under way outlives a reload, so that no refresh token is used twice;
/// and the provider's metadata are not fetched again.
#[tokio::test]
async fn a_provider_that_stays_is_not_asked_again() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let builder = administered(&idp, &upstream);
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    bff.ready().await;
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    let asked = idp.count(Endpoint::Discovery);
    write(&path, &changed(&toml, "path = \"/api\"", "path = \"/v2\""));
    assert_eq!(bff.administer("POST", "/reload").await.status, 200);
    assert_eq!(
        browser.open(callback.as_str()).await.status,
        303,
        "a login straddles it"
    );
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(idp.count(Endpoint::Discovery), asked);
}
