//! The configuration read again while the process serves (DESIGN §7): whole or not at all, with nobody
//! signed out and nothing broken off.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::{self, Call};
use crate::support::clock::{nine_o_clock, soon};
use bff::dev::provider::endpoints::Endpoint;

use crate::support::idp::{ACCESS_TOKEN_SECONDS, Idp};
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

/// L2 and DESIGN §7: a refresh that is under way when the configuration changes is the only one: what the new
/// configuration serves waits for it, its token is used, and the one that it spent is spent once. Also where
/// the provider itself is configured otherwise.
#[tokio::test]
async fn a_refresh_that_is_under_way_is_the_only_one() {
    for (from, to) in [
        ("path = \"/api\"", "path = \"/api\"\nidle_timeout = \"29s\""),
        ("[provider]", "[provider]\ntimeout = \"59s\""),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let upstream = Upstream::start();
        let builder = administered(&idp, &upstream).set("server.workers", 1);
        let (path, toml) = (builder.path("bff.toml"), builder.toml());
        let bff = builder.start();
        let browser = call::signed_in(&bff, "alice").await;
        let call = Call::get("/api/orders").of(&browser);
        assert_eq!(call.send(bff.public_addr).await.status, 200);
        for round in 1..=2 {
            bff.clock()
                .advance(Duration::from_secs(ACCESS_TOKEN_SECONDS + 60));
            let before = upstream.seen().len();
            let gate = idp.hold(Endpoint::Token);
            let mut old = call.begin(bff.public_addr).await;
            idp.asked_times(Endpoint::Token, 1 + round).await;
            let text = if round == 1 {
                changed(&toml, from, to)
            } else {
                toml.clone()
            };
            write(&path, &text);
            let reply = bff.administer("POST", "/reload").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let changed = reply.json()["changed"].clone();
            assert_eq!(changed.as_array().map(Vec::len), Some(1), "{changed}");
            let mut new = Vec::new();
            for _ in 0..20 {
                new.push(call.begin(bff.public_addr).await);
            }
            // Whatever was sent before this has been read once this is answered.
            let settled = Call::get("/bff/session?slide=false").of(&browser);
            assert_eq!(settled.send(bff.public_addr).await.status, 200);
            assert_eq!(upstream.seen().len(), before, "nobody goes with the old");
            drop(gate);

            let reply = call.answer_on(&mut old).await;
            assert_eq!(reply.status, 200, "{to}: {reply:?}");
            for wire in &mut new {
                let reply = call.answer_on(wire).await;
                assert_eq!(reply.status, 200, "{to}: {reply:?}");
            }
            assert_eq!(idp.refreshes(), round, "{to}");
            let seen = upstream.seen();
            let bearers: Vec<_> = seen[before..].iter().map(|seen| seen.bearer()).collect();
            assert_eq!(bearers.len(), 21);
            let first = bearers[0];
            assert!(
                bearers.iter().all(|bearer| *bearer == first),
                "{to}: one new token for all"
            );
            assert_ne!(seen[before - 1].bearer(), first, "{to}: a new one");
        }
        let spent: Vec<_> = idp.asked(Endpoint::Token);
        let spent: BTreeSet<_> = spent
            .iter()
            .filter_map(|asked| asked.form.value("refresh_token"))
            .collect();
        assert_eq!(spent.len(), 2, "{to}: each refresh token is spent once");
        assert_eq!(bff.logs().lines_with("session.ended").len(), 0);
    }
}
