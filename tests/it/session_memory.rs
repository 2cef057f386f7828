//! `session.memory`: sessions of this process take so much and no more, and who goes is whoever would miss it
//! least.

use std::time::Duration;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Browser;
use crate::support::call::{Call, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::Idp;
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// The least that can be written: a few hundred sessions.
const MEMORY: &str = "1MiB";
const BYTES: f64 = 1_048_576.0;

/// More logins than it has room for.
const FLOOD: usize = 420;

fn with_little_memory<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    Bff::with(idp, upstream)
        .set("session.store", "memory")
        .set("session.memory", MEMORY)
        .set("session.max_per_user", "none")
}

async fn call(bff: &Bff<'_>, browser: &Browser) -> Reply {
    let call = Call::get("/api/orders").of(browser);
    call.send(bff.public_addr).await
}

fn figure(bff: &Bff<'_>, series: &str) -> f64 {
    let metrics = bff.metrics().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series}\n{metrics}"))
        .trim()
        .parse()
        .unwrap()
}

fn evicted(bff: &Bff<'_>) -> f64 {
    figure(bff, "bff_sessions_ended_total{reason=\"evicted\"}")
}

/// Once it says that sessions take what they may and hardly less.
async fn is_full(bff: &Bff<'_>) {
    let wanted = BYTES * 0.85..=BYTES;
    soon("a gauge of full memory", async {
        while !wanted.contains(&figure(bff, "bff_session_memory_bytes")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!((figure(bff, "bff_session_memory_max_bytes") - BYTES).abs() < 1.0);
}

/// DESIGN §4: where sessions have no room one account ends its own alone, however often it signs in. The
/// memory store grew with every login, until the system ended the process and everybody's session.
#[tokio::test]
async fn a_flood_of_one_account_ends_its_own_sessions_alone() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = with_little_memory(&idp, &upstream).start();
    let idle = [signed_in(&bff, "bob").await, signed_in(&bff, "bob").await];
    bff.clock().advance(Duration::from_mins(20));
    let first = signed_in(&bff, "alice").await;
    let mut last = None;
    for _ in 0..FLOOD {
        bff.clock().advance(Duration::from_millis(10));
        let newcomer = signed_in(&bff, "alice").await;
        assert_eq!(call(&bff, &newcomer).await.status, 200, "it has just begun");
        last = Some(newcomer);
    }
    let ended = evicted(&bff);
    assert!(ended > 20.0, "{ended}");
    for bob in &idle {
        assert_eq!(call(&bff, bob).await.status, 200);
    }
    assert_eq!(call(&bff, &last.unwrap()).await.status, 200);
    let refused = call(&bff, &first).await;
    assert_eq!(refused.status, 401);
    let problem: serde_json::Value = serde_json::from_str(&refused.text()).unwrap();
    assert_eq!(problem["code"], "session_expired");
    assert_eq!(problem["ended"], "evicted");

    // What it takes is told, and whoever runs it is told once what to do.
    is_full(&bff).await;
    let told = bff.logs().lines_with("store.full");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("raise session.memory"), "{told:#?}");
    let journal = bff.logs().lines_with("\"reason\":\"evicted\"").len();
    assert!(journal > 20, "{journal}");
}

/// DESIGN §4: a session in use is not taken for one that nobody uses, between two of the moments at which a
/// use is written down.
#[tokio::test]
async fn a_busy_session_stays_in_a_flood_of_strangers() {
    let idp = Idp::with_crowd(&nine_o_clock(), FLOOD + 2);
    let upstream = Upstream::start();
    let bff = with_little_memory(&idp, &upstream).start();
    let [busy, idle] = [FLOOD, FLOOD + 1].map(|user| format!("user-{user}"));
    let (busy, idle) = (signed_in(&bff, &busy).await, signed_in(&bff, &idle).await);
    for stranger in 0..FLOOD {
        // All in less than a tenth of the idle timeout.
        bff.clock().advance(Duration::from_millis(100));
        assert_eq!(call(&bff, &busy).await.status, 200);
        let newcomer = signed_in(&bff, &format!("user-{stranger}")).await;
        assert_eq!(call(&bff, &newcomer).await.status, 200, "it has just begun");
    }
    assert!(evicted(&bff) > 20.0);
    assert_eq!(call(&bff, &busy).await.status, 200);
    assert_eq!(call(&bff, &idle).await.status, 401);
}

/// DESIGN §4: the cookie store merely forgets what it has no room for, and its cookie brings it back.
#[tokio::test]
async fn what_the_cookie_store_forgets_comes_back_with_its_cookie() {
    let idp = Idp::with_crowd(&nine_o_clock(), FLOOD + 2);
    let upstream = Upstream::start();
    let bff = Bff::in_cookies(&idp, &upstream)
        .set("session.memory", MEMORY)
        .start();
    let idle = signed_in(&bff, &format!("user-{FLOOD}")).await;
    for stranger in 0..FLOOD {
        bff.clock().advance(Duration::from_millis(100));
        signed_in(&bff, &format!("user-{stranger}")).await;
    }
    is_full(&bff).await;
    assert_eq!(call(&bff, &idle).await.status, 200);
    assert!(evicted(&bff) < 1.0);
}
