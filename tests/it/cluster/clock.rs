//! One node's clock is wrong, from its start or all at once: nobody's session ends, and the node says so.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::person::{Person, takes_cookie, told};
use super::refresh::all_live;
use super::{Kind, Setup, World, figure, on_stores, pass};
use crate::support::clock::soon;
use crate::support::node::Node;
use crate::support::servers::missing;

/// More than an idle timeout of 30 minutes.
const AHEAD: &str = "+31m";
const AHEAD_SECONDS: f64 = 31.0 * 60.0;

/// What counterfeits a process' clock; `None` where it is not installed.
fn counterfeiter() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").ok()?;
    let mut dirs = dirs.map(|dir| dir.unwrap().path());
    let found = dirs.find_map(|dir| {
        let library = dir.join("faketime/libfaketimeMT.so.1");
        library.is_file().then_some(library)
    });
    if found.is_none() {
        missing("faketime");
    }
    found
}

/// Starts a node again with another clock, which is set again by the file that this returns.
async fn restart_with_a_clock(node: &mut Node, shows: &str) -> Option<PathBuf> {
    let library = counterfeiter()?;
    let file = node.file("clock", shows);
    node.stop().await;
    for (name, value) in [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_CACHE_DURATION", "1"),
        // Spans stay what they are.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        node.variable(name, value);
    }
    node.start().await;
    Some(file)
}

/// What `/readyz` says of the store: the status, and in words.
async fn told_of_the_store(node: &Node) -> (u16, String) {
    let reply = node.ready().await;
    let check = &reply.json()["checks"]["session_store"];
    (reply.status, check.to_string())
}

/// Waits until a node says this of its store.
async fn says(node: &Node, status: u16, words: &str) {
    soon(words, async {
        loop {
            let (found, said) = told_of_the_store(node).await;
            if found == status && said.contains(words) {
                return;
            }
            pass(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The metric.
async fn skew(node: &Node) -> f64 {
    let metrics = node.administration("/metrics").await.text();
    let name = "bff_session_store_clock_skew_seconds ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// Calls every node for a while, longer than any of them sweeps and cleans: all are served.
async fn nobody_is_signed_out(world: &World, people: &[Person], span: Duration) {
    let over = AtomicBool::new(false);
    let calls = async {
        while !over.load(Ordering::Relaxed) {
            for person in people {
                for addr in world.addrs() {
                    let reply = person.call(addr).await.unwrap();
                    assert_eq!(told(&reply), "200", "{}", reply.text());
                    assert!(!takes_cookie(&reply));
                }
            }
            pass(Duration::from_millis(20)).await;
        }
    };
    let wait = async {
        pass(span).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(calls, wait);
    for node in &world.nodes {
        let log = node.log_up_to_now().await;
        assert!(!log.contains("reason=\"expired\""), "{log}");
    }
}

/// Longer than the clean-up's ten seconds.
const WHILE: Duration = Duration::from_secs(12);

/// G9, DESIGN §4: a second node that was 31 minutes ahead ended all sessions of the first within three
/// seconds. It goes by the store's time, is not ready and says why once; the others stay ready. Its
/// clock put right, all is as before.
async fn a_node_with_a_wrong_clock_ends_no_session(kind: Kind) {
    let Some(mut world) = World::start(kind, Setup::default()).await else {
        return;
    };
    let people = world.people(6).await;
    let mut socket = people[0].socket(world.addr(0)).await;
    assert!(all_live(&world, &people).await);
    let Some(clock) = restart_with_a_clock(&mut world.nodes[2], AHEAD).await else {
        return;
    };
    says(&world.nodes[2], 503, "s ahead of the session store's").await;
    nobody_is_signed_out(&world, &people, WHILE).await;
    socket.send(Message::text("still here")).await.unwrap();
    let said = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(said, Message::text("still here"));
    for node in &world.nodes[..2] {
        assert_eq!(told_of_the_store(node).await.0, 200);
        assert!(skew(node).await.abs() < 5.0);
    }
    let ahead = skew(&world.nodes[2]).await;
    assert!((ahead - AHEAD_SECONDS).abs() < 5.0, "{ahead}");
    // Alone at first, it does not know whose clock is wrong.
    let log = world.nodes[2].log_up_to_now().await;
    assert_eq!(log.matches("set this node's by NTP").count(), 1, "{log}");

    // Ends are ends, there as elsewhere; who signs in on another node is known there.
    people[1].sign_out(world.addr(2)).await;
    people[2].sign_out(world.addr(0)).await;
    for person in &people[1..3] {
        soon("the ends to be heard", async {
            for addr in world.addrs() {
                while person.told(addr).await != "401 session_expired" {
                    pass(Duration::from_millis(5)).await;
                }
            }
        })
        .await;
    }
    let late = world.person(7, 0).await;
    assert_eq!(late.told(world.addr(2)).await, "200");

    std::fs::write(clock, "+0").unwrap();
    says(&world.nodes[2], 200, "ok").await;
    assert!(all_live(&world, &people[3..]).await);
    figure!(
        "{kind:?}: a node {ahead:.0} s ahead: {} sessions live on 3 nodes for {WHILE:?}, only that node not ready",
        people.len()
    );
    world.logs_are_clean();
}

/// A clock that is moved while its node serves: by the time the node sees it, no session has ended.
async fn a_clock_that_jumps_ends_no_session(kind: Kind) {
    let Some(mut world) = World::start(kind, Setup::default()).await else {
        return;
    };
    let people = world.people(6).await;
    let Some(clock) = restart_with_a_clock(&mut world.nodes[2], "+0").await else {
        return;
    };
    assert!(all_live(&world, &people).await);
    says(&world.nodes[2], 200, "ok").await;
    for shows in [AHEAD, "-31m", "+0"] {
        std::fs::write(&clock, shows).unwrap();
        nobody_is_signed_out(&world, &people, Duration::from_secs(4)).await;
    }
    says(&world.nodes[2], 200, "ok").await;
    world.logs_are_clean();
}

/// Where most nodes differ from the store, the store may be wrong as well: all stay ready, and nothing
/// ends by a clock that another contradicts.
async fn where_most_clocks_differ_all_stay_ready(kind: Kind) {
    let Some(mut world) = World::start(kind, Setup::default()).await else {
        return;
    };
    let people = world.people(6).await;
    for node in [1, 2] {
        if restart_with_a_clock(&mut world.nodes[node], AHEAD)
            .await
            .is_none()
        {
            return;
        }
    }
    for node in &world.nodes[1..] {
        says(node, 200, "most nodes' differ from it").await;
    }
    nobody_is_signed_out(&world, &people, WHILE).await;
    for node in &world.nodes {
        assert_eq!(told_of_the_store(node).await.0, 200);
    }
    world.logs_are_clean();
}

on_stores! { a_node_with_a_wrong_clock_ends_no_session:
    a_wrong_clock_ends_no_session(Kind::Redis)(Kind::Postgres);
}
on_stores! { a_clock_that_jumps_ends_no_session:
    a_jump_of_a_clock_ends_no_session(Kind::Redis)(Kind::Postgres);
}
on_stores! { where_most_clocks_differ_all_stay_ready:
    most_clocks_wrong_leave_all_ready(Kind::Redis)(Kind::Postgres);
}
