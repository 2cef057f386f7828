//! What Prometheus reads, and what is written for it: docs/metrics.md, the alert rules and the dashboard
//! name what a scrape has, and nothing else (N1).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::call::{Call, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{ACCESS_TOKEN_SECONDS, Idp};
use crate::support::upstream::Upstream;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What sessions that outlive a process are sealed with.
const SESSION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A metric's value in a scrape; a series is named with all its labels.
fn value(scrape: &str, series: &str) -> Option<f64> {
    let line = scrape.lines().find_map(|line| line.strip_prefix(series))?;
    line.strip_prefix(' ')?.parse().ok()
}

/// The names that a scrape has.
fn scraped(scrape: &str) -> BTreeSet<String> {
    let types = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

/// The names of metrics that stand in a text, without what a histogram adds to its own.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c: char| !is_part(c) && !c.is_ascii_digit());
    let ours = words.filter(|word| word.starts_with("bff_") || word.starts_with("process_"));
    let bare = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let bare = ends.iter().find_map(|end| word.strip_suffix(end));
        bare.unwrap_or(word).to_owned()
    };
    ours.map(bare).collect()
}

/// A product that has all there is to tell of but a store with a clock of its own: a store outside the
/// process, a certificate, a secret that ends.
fn complete<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let pair = rcgen::generate_simple_self_signed(vec!["app.example".to_owned()]).unwrap();
    let builder = Bff::with(idp, upstream)
        .file("tls.crt", pair.cert.pem())
        .file("tls.key", pair.signing_key.serialize_pem());
    let path = |name: &str| builder.path(name).to_str().unwrap().to_owned();
    let (cert, key, store) = (path("tls.crt"), path("tls.key"), path("sessions.db"));
    builder
        .set("server.tls.cert", cert)
        .set("server.tls.key", key)
        .set("session.store", "sqlite")
        .set("session.store_url", format!("sqlite://{store}"))
        .set("session.keys", vec!["env:BFF_SESSION_KEY"])
        .variable("BFF_SESSION_KEY", SESSION_KEY)
        .set("provider.client_secret_expires", "2027-01-31")
}

/// N1: what the docs, the alert rules and the dashboard name is there, and the docs name all that is.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn what_is_written_for_prometheus_names_what_is_scraped() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    // One that people can sign in to, and one that has a certificate: the cast's browser speaks no TLS.
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    idp.sign_out("alice", bff.public_addr).await;
    let other = complete(&idp, &upstream).start();
    let scrapes = soon("the certificate's end", async {
        loop {
            let both = bff.metrics().unwrap() + &other.metrics().unwrap();
            if both.contains("bff_certificate_expires") && both.contains("bff_session_lookups") {
                break both;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut there = scraped(&scrapes);
    // SQLite has no clock but the machine's.
    there.insert("bff_session_store_clock_skew_seconds".to_owned());
    let documented: BTreeSet<String> = read("docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    assert_eq!(there, documented, "scrape, docs/metrics.md");
    for path in ["packaging/alerts.yaml", "packaging/grafana.json"] {
        let named = named(&read(path));
        assert!(!named.is_empty(), "{path}");
        let unknown: Vec<_> = named.difference(&there).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
    let secret = value(&scrapes, "bff_client_secret_expires_timestamp_seconds");
    // 2027-01-31T00:00:00Z.
    assert_eq!(secret, Some(1_801_353_600.0));
    let certificate = value(&scrapes, "bff_certificate_expires_timestamp_seconds");
    assert!(certificate.unwrap() > 1_801_353_600.0);
    assert!(!other.logs().text().contains("client_secret.expires"));
}

/// N1: three logins make a page that can be read: a scrape had 595 lines after them, most of them
/// histograms of upstreams that endpoints do not have.
#[tokio::test]
async fn a_scrape_is_of_what_happened() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    for user in ["alice", "bob", "alice"] {
        let browser = signed_in(&bff, user).await;
        let call = Call::get("/api/orders").of(&browser);
        assert_eq!(call.send(bff.public_addr).await.status, 200);
    }
    let scrape = bff.metrics().unwrap();
    assert!(scrape.lines().count() < 400, "{scrape}");
    let upstreams: BTreeSet<&str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("bff_upstream_head_duration_seconds_count"))
        .collect();
    assert_eq!(upstreams, BTreeSet::from(["{route=\"/api\"} 3"]));
    assert!(!scrape.contains("/bff/frontchannel-logout"), "{scrape}");
    assert_eq!(
        value(&scrape, "bff_logins_total{outcome=\"ok\"}"),
        Some(3.0)
    );
}

/// N1: how sessions are looked at, and what is open on their behalf, is told as it is.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn what_is_open_and_looked_at_is_counted() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let builder = Bff::with(&idp, &upstream);
    let store = builder.path("sessions.db");
    let bff = builder
        .set("session.store", "sqlite")
        .set("session.store_url", format!("sqlite://{}", store.display()))
        .set("session.keys", vec!["env:BFF_SESSION_KEY"])
        .variable("BFF_SESSION_KEY", SESSION_KEY)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let stream = alice.event_source("/bff/session/events").await;
    for _ in 0..5 {
        let call = Call::get("/api/orders").of(&alice).send(bff.public_addr);
        assert_eq!(call.await.status, 200);
    }
    bff.clock()
        .advance(Duration::from_secs(ACCESS_TOKEN_SECONDS));
    let call = Call::get("/api/orders").of(&alice).send(bff.public_addr);
    assert_eq!(call.await.status, 200);
    let counted = |series: &'static str, least: f64| {
        let bff = &bff;
        soon(series, async move {
            while value(&bff.metrics().unwrap(), series).is_none_or(|found| found < least) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    counted("bff_event_streams_open", 1.0).await;
    counted("bff_session_lookups_total{from=\"memory\"}", 5.0).await;
    counted("bff_session_store_call_duration_seconds_count", 1.0).await;
    counted("bff_token_refreshes_total{outcome=\"ok\"}", 1.0).await;
    let scrape = bff.metrics().unwrap();
    assert_eq!(
        value(&scrape, "bff_session_store_errors_total{kind=\"away\"}"),
        Some(0.0)
    );
    drop(stream);
    soon("the stream's end", async {
        while value(&bff.metrics().unwrap(), "bff_event_streams_open") != Some(0.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
