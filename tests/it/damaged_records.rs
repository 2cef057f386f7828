//! Records that do not open: one sentence in the log and on `/readyz`, nothing lost, and nobody
//! else's session touched (G5, G7).

use serde_json::Value;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::signed_in;
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::servers::redis::{Redis, is_here};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// A product on this Redis, with these keys; the first one seals.
fn on<'a>(redis: &Redis, idp: &'a Idp, upstream: &Upstream, keys: &[&str]) -> BffBuilder<'a> {
    let names: Vec<String> = (0..keys.len()).map(|at| format!("KEY_{at}")).collect();
    let sources: Vec<toml::Value> = names
        .iter()
        .map(|name| format!("env:{name}").into())
        .collect();
    let builder = Bff::with(idp, upstream)
        .set("session.store", "redis")
        .set("session.store_url", redis.url())
        .set("session.keys", sources);
    names
        .iter()
        .zip(keys)
        .fold(builder, |builder, (name, key)| builder.variable(name, key))
}

fn key() -> String {
    let key = bff::secret::SessionKey::random(&bff::clock::SystemRandomness);
    key.to_text().to_string()
}

async fn call(browser: &mut Browser) -> Reply {
    browser.fetch(Fetch::get("/api/orders").csrf()).await
}

/// What `/readyz` says of the store, where it is no reason to be unready.
async fn store_state(bff: &Bff<'_>) -> Value {
    bff.ready().await.json()["checks"]["session_store"].clone()
}

/// The keys of the records in this Redis.
fn records(redis: &Redis) -> Vec<String> {
    let keys = redis.cli(&["keys", "bff:s:*"]);
    keys.lines().map(str::to_owned).collect()
}

/// A damaged record is the end for its own browser alone, which can sign in again; it stays where it
/// is, for whoever looks into it.
#[tokio::test]
async fn a_damaged_record_is_nobody_elses() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let (idp, upstream, own) = (Idp::start(&nine_o_clock()), Upstream::start(), key());
    let first = on(&redis, &idp, &upstream, &[&own]).start();
    let mut alice = signed_in(&first, "alice").await;
    let damaged = records(&redis).pop().unwrap();
    let mut bob = signed_in(&first, "bob").await;
    drop(first);
    redis.cli(&["hset", &damaged, "data", "damaged"]);

    let bff = on(&redis, &idp, &upstream, &[&own]).start();
    for browser in [&mut alice, &mut bob] {
        browser.resolve(PUBLIC_URL, bff.public_addr);
    }
    assert_eq!(refusal(&call(&mut alice).await), "401 session_expired");
    assert_eq!(call(&mut bob).await.status, 200);
    let state = store_state(&bff).await;
    assert_eq!(state["state"], "degraded", "{state}");
    let told = "does not open: it is damaged";
    assert!(state["detail"].as_str().unwrap().contains(told), "{state}");
    let lines = bff.logs().text();
    assert_eq!(lines.matches(told).count(), 1, "{lines}");
    assert_eq!(redis.cli(&["hget", &damaged, "data"]).trim(), "damaged");
    alice.sign_in("alice").await;
    assert_eq!(call(&mut alice).await.status, 200);
    assert_eq!(call(&mut bob).await.status, 200);
}

/// Whoever may speak on the channel signs nobody out: the store is asked.
#[tokio::test]
async fn a_forged_event_signs_nobody_out() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let (idp, upstream, own) = (Idp::start(&nine_o_clock()), Upstream::start(), key());
    let bff = on(&redis, &idp, &upstream, &[&own]).start();
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(call(&mut alice).await.status, 200);
    let hash = records(&redis).pop().unwrap().replace("bff:s:", "");
    for _ in 0..20 {
        let heard = redis.cli(&["publish", "bff:events", &format!("e 5 {hash}")]);
        assert_eq!(heard.trim(), "1", "the node listens");
        assert_eq!(call(&mut alice).await.status, 200);
    }
}

/// A record sealed by a key that this node does not have yet is no logout: the key may come.
#[tokio::test]
async fn an_unknown_key_signs_nobody_out() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (old, new) = (key(), key());
    let first = on(&redis, &idp, &upstream, &[&old]).start();
    let mut alice = signed_in(&first, "alice").await;
    drop(first);
    // Another node has the new key first already, and seals the record anew.
    let before = redis.cli(&["hget", &records(&redis).pop().unwrap(), "data"]);
    let ahead = on(&redis, &idp, &upstream, &[&new, &old]).start();
    alice.resolve(PUBLIC_URL, ahead.public_addr);
    assert_eq!(call(&mut alice).await.status, 200);
    let record = records(&redis).pop().unwrap();
    crate::support::clock::soon("the record to be sealed anew", async {
        while redis.cli(&["hget", &record, "data"]) == before {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(ahead);

    let behind = on(&redis, &idp, &upstream, &[&old]).start();
    alice.resolve(PUBLIC_URL, behind.public_addr);
    let reply = call(&mut alice).await;
    assert_eq!(refusal(&reply), "503 store_unavailable");
    assert!(reply.header("retry-after").is_some());
    assert!(reply.all("set-cookie").is_empty(), "the cookie stays");
    let state = store_state(&behind).await;
    assert_eq!(state["state"], "degraded", "{state}");
    let told = "sealed by a key that is not in session.keys";
    assert!(state["detail"].as_str().unwrap().contains(told), "{state}");
    assert!(behind.logs().text().contains(told));
    drop(behind);

    let both = on(&redis, &idp, &upstream, &[&old, &new]).start();
    alice.resolve(PUBLIC_URL, both.public_addr);
    assert_eq!(call(&mut alice).await.status, 200);
}
