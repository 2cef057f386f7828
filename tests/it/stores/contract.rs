//! What every store of rows promises (the docs of `RecordStore`), each promise a function.
//!
//! A store's test calls [`holds`] with a function that opens a fresh, empty store twice, as two
//! nodes would. Times are those of a test: stores may compare them with each other and with the
//! `now` that is passed, and never with the machine's clock.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock, Timestamp};
use bff::session::id::SessionHash;
use bff::session::record::{Facts, Times};
use bff::session::store::record_store::{
    Counted, Event, Insertion, Listener, Lookup, RecordStore, Replacement, Row, Rows, Server,
    Standing,
};
use bff::session::store::{Cursor, Limit, LimitScope, OnLimit, SiteFilter, Within, folded};
use bff::web::ending::EndReason;
use bff::web::registration::Registration;
use bff::web::site_id::SiteId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::clock::{nine_o_clock, soon};

/// Two handles on one store, as two nodes hold them; the same one twice where a store is one
/// process's own.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    pub(crate) one: Arc<dyn RecordStore>,
    pub(crate) other: Arc<dyn RecordStore>,
}

impl Nodes {
    /// One of the two, in turns.
    fn turn(&self, n: usize) -> &Arc<dyn RecordStore> {
        if n.is_multiple_of(2) {
            &self.one
        } else {
            &self.other
        }
    }
}

type Promise = fn(Nodes) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), (|nodes| Box::pin($name(nodes))) as Promise)),*]
    };
}

/// Checks every promise, each on a store that `fresh` opens, and fails with all that were broken.
pub(crate) async fn holds(fresh: impl AsyncFn() -> Nodes) {
    let promises = promises![
        a_store_can_be_prepared_again_and_answers,
        a_row_comes_back_as_it_was,
        a_row_inserted_twice_is_stored_once,
        nothing_lies_under_an_unknown_hash,
        tokens_follow_the_version_before,
        of_many_replacements_one_is_saved,
        sealing_anew_changes_nothing_else,
        a_use_only_moves_forward,
        one_caller_ends_a_session,
        an_end_is_remembered_for_as_long_as_its_session_could_live,
        nothing_revives_an_ended_session,
        a_session_ends_as_expired_only_when_it_is,
        either_the_use_or_the_expiry_wins,
        the_longest_expired_come_first,
        several_sessions_of_a_subject_are_found,
        several_sessions_of_a_provider_session_are_found,
        the_list_is_in_the_order_of_names,
        the_list_is_searched_by_words,
        the_list_is_read_by_last_use,
        a_kept_value_is_looked_at,
        the_list_stays_good_while_rows_come_and_go,
        sessions_are_counted,
        standings_come_in_order,
        a_lease_is_one_owners,
        a_lease_runs_out_in_the_stores_time,
        of_many_owners_one_gets_the_lease,
        a_value_is_kept_once_and_taken_once,
        a_kept_value_is_forgotten_after_its_span,
        forgetting_takes_only_what_is_over,
        the_oldest_beyond_the_limit_are_named,
        a_login_beyond_the_limit_is_refused,
        the_limit_counts_the_living,
        of_many_logins_exactly_the_limit_stays,
        of_many_logins_exactly_the_limit_is_let_in,
        a_subject_is_its_clients_and_its_sites,
        a_provider_session_is_its_clients,
        lists_are_read_by_site,
        the_limit_counts_the_rows_that_are_meant,
        the_other_node_hears_each_session_in_order,
        nodes_of_the_release_before_are_told_in_the_clear,
        a_shared_store_has_a_clock,
    ];
    let mut broken = Vec::new();
    for (name, promise) in promises {
        if tokio::spawn(promise(fresh().await)).await.is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
}

pub(crate) const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const MOMENT: Duration = Duration::from_millis(60);

pub(crate) fn now() -> Timestamp {
    nine_o_clock().now()
}

/// A hash that nobody else in the test has. They sort as their numbers do.
pub(crate) fn hash(number: usize) -> SessionHash {
    let mut bytes = [0x5b; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SessionHash::from_slice(&bytes).unwrap()
}

/// Who we are at the provider of most sessions here.
fn client() -> Registration {
    Registration::new("https://id.example.com", "app")
}

/// A session of alice at the main site, a second younger with each number.
pub(crate) fn row(number: usize) -> Row {
    let created = now() + Duration::from_secs(number as u64);
    Row {
        facts: Facts {
            provider_sid: Some("sid-1".into()),
            name: "Alice".into(),
            ..Facts::new(hash(number), SiteId::main(), client(), "alice")
        },
        times: Times::beginning(created, HOUR, 8 * HOUR),
        version: 1,
        sealed: format!("sealed {number}").into_bytes().into(),
    }
}

/// As [`row`], and somewhat different.
pub(crate) fn row_with(number: usize, change: impl FnOnce(&mut Row)) -> Row {
    let mut row = row(number);
    change(&mut row);
    row
}

fn named(number: usize, name: &str) -> Row {
    row_with(number, |row| {
        row.facts.name = name.into();
        row.facts.subject = format!("subject {number}").into();
    })
}

fn of_subject(number: usize, subject: &str) -> Row {
    row_with(number, |row| row.facts.subject = subject.into())
}

fn expiring(number: usize, expires: Timestamp) -> Row {
    row_with(number, |row| row.times.expires = expires)
}

/// All sessions of a subject.
async fn all_of(store: &Arc<dyn RecordStore>, subject: &str) -> Vec<Row> {
    store.of_subject(subject, &Rows::all()).await.unwrap()
}

async fn insert(store: &Arc<dyn RecordStore>, row: &Row) {
    let stored = store.insert(row, None, now()).await.unwrap();
    assert_eq!(stored, Insertion::Stored { beyond: Vec::new() });
}

async fn end(store: &Arc<dyn RecordStore>, hash: &SessionHash) -> Option<Row> {
    store.end(hash, EndReason::Logout, now()).await.unwrap()
}

fn hashes(rows: &[Row]) -> Vec<SessionHash> {
    rows.iter().map(|row| row.hash).collect()
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| &*row.name).collect()
}

/// Asks again until the store's own time has come.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, asking).await;
}

async fn a_store_can_be_prepared_again_and_answers(nodes: Nodes) {
    for node in [&nodes.one, &nodes.other, &nodes.one] {
        node.prepare().await.unwrap();
        node.check().await.unwrap();
    }
}

async fn a_row_comes_back_as_it_was(nodes: Nodes) {
    let plain = row(1);
    let odd = row_with(2, |row| {
        row.facts = Facts {
            hash: hash(2),
            site: SiteId::new("shöp '%/ac\"me"),
            registration: Registration::new("https://id/'%_", "app \"1\""),
            subject: "a'b\"c\\d%_*:{}|😀 \u{e9}".into(),
            provider_sid: None,
            name: "  Zoë 'Ω' 山田\n\"太郎\" \u{202e}".into(),
        };
        row.version = 7;
        row.sealed = (0..100_000_u32)
            .map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)])
            .collect();
    });
    let early = row_with(3, |row| {
        row.times = Times {
            created: Timestamp::from_unix_millis(1),
            seen: Timestamp::from_unix_millis(1_001),
            expires: Timestamp::from_unix_millis(2_002),
            ends: Timestamp::from_unix_millis(3_003),
        };
    });
    for row in [plain, odd, early] {
        insert(&nodes.one, &row).await;
        for node in [&nodes.one, &nodes.other] {
            let found = node.load(&row.hash).await.unwrap();
            assert_eq!(found, Lookup::Row(row.clone()));
        }
        assert_eq!(end(&nodes.other, &row.hash).await, Some(row));
    }
}

/// The answer to the first insert may have got lost.
async fn a_row_inserted_twice_is_stored_once(nodes: Nodes) {
    let refuse = refuse(1);
    insert(&nodes.one, &row(1)).await;
    for (n, limit) in [None, Some(refuse)].into_iter().enumerate() {
        let limit = limit.map(everyone);
        let stored = nodes.turn(n).insert(&row(1), limit.as_ref(), now()).await;
        let stored = stored.unwrap();
        assert_eq!(stored, Insertion::Stored { beyond: Vec::new() });
    }
    assert_eq!(nodes.one.count().await.unwrap(), 1);
    assert_eq!(all_of(&nodes.one, "alice").await, [row(1)]);
}

async fn nothing_lies_under_an_unknown_hash(nodes: Nodes) {
    insert(&nodes.one, &row(1)).await;
    let unknown = hash(2);
    let one = &nodes.one;
    assert_eq!(one.load(&unknown).await.unwrap(), Lookup::Nothing);
    assert!(!one.slide(&unknown, now(), now()).await.unwrap());
    let replaced = one.replace(&unknown, 2, b"x").await.unwrap();
    assert_eq!(replaced, Replacement::Ended);
    one.reseal(&unknown, 1, b"x").await.unwrap();
    assert_eq!(end(one, &unknown).await, None);
    let expired = one.end_expired(&unknown, now() + 100 * HOUR);
    assert_eq!(expired.await.unwrap(), None);
    assert_eq!(one.load(&unknown).await.unwrap(), Lookup::Nothing);
}

/// L3.
async fn tokens_follow_the_version_before(nodes: Nodes) {
    let stored = row(1);
    insert(&nodes.one, &stored).await;
    let replace = |node: &Arc<dyn RecordStore>, version: u64, sealed: &'static [u8]| {
        let node = node.clone();
        async move { node.replace(&hash(1), version, sealed).await.unwrap() }
    };
    let cases = [
        ("skips one", 3, Replacement::Overtaken),
        ("is the same", 1, Replacement::Overtaken),
        ("follows", 2, Replacement::Saved),
        ("comes late", 2, Replacement::Overtaken),
        ("follows again", 3, Replacement::Saved),
    ];
    for (n, (name, version, outcome)) in cases.into_iter().enumerate() {
        let was = replace(nodes.turn(n), version, b"new").await;
        assert_eq!(was, outcome, "{name}");
    }
    let expected = Row {
        version: 3,
        sealed: b"new".to_vec().into(),
        ..stored
    };
    let found = nodes.other.load(&hash(1)).await.unwrap();
    assert_eq!(found, Lookup::Row(expected.clone()));

    assert_eq!(end(&nodes.other, &hash(1)).await, Some(expected));
    assert_eq!(replace(&nodes.one, 4, b"late").await, Replacement::Ended);
    assert_eq!(
        nodes.one.load(&hash(1)).await.unwrap(),
        Lookup::Ended(EndReason::Logout)
    );
}

/// L3.
async fn of_many_replacements_one_is_saved(nodes: Nodes) {
    insert(&nodes.one, &row(1)).await;
    for version in 2..6 {
        let mut racers = JoinSet::new();
        for n in 0..16 {
            let node = nodes.turn(n).clone();
            racers.spawn(async move {
                let sealed = format!("version {version} of {n}").into_bytes();
                let outcome = node.replace(&hash(1), version, &sealed).await.unwrap();
                (outcome, sealed)
            });
        }
        let outcomes = racers.join_all().await;
        let mut saved = outcomes
            .iter()
            .filter(|(outcome, _)| *outcome == Replacement::Saved);
        let (_, sealed) = saved.next().unwrap();
        assert!(saved.next().is_none(), "{outcomes:?}");
        assert!(
            outcomes
                .iter()
                .all(|(outcome, _)| *outcome != Replacement::Ended)
        );
        let expected = Row {
            version,
            sealed: sealed.clone().into(),
            ..row(1)
        };
        let found = nodes.other.load(&hash(1)).await.unwrap();
        assert_eq!(found, Lookup::Row(expected));
    }
}

/// G7.
async fn sealing_anew_changes_nothing_else(nodes: Nodes) {
    insert(&nodes.one, &row(1)).await;
    nodes.one.reseal(&hash(1), 1, b"anew").await.unwrap();
    let anew = Row {
        sealed: b"anew".to_vec().into(),
        ..row(1)
    };
    let load = || async { nodes.other.load(&hash(1)).await.unwrap() };
    assert_eq!(load().await, Lookup::Row(anew.clone()));

    for version in [0, 2, 3] {
        nodes.other.reseal(&hash(1), version, b"no").await.unwrap();
    }
    assert_eq!(load().await, Lookup::Row(anew));

    end(&nodes.one, &hash(1)).await;
    nodes.other.reseal(&hash(1), 1, b"late").await.unwrap();
    assert_eq!(load().await, Lookup::Ended(EndReason::Logout));
}

async fn a_use_only_moves_forward(nodes: Nodes) {
    insert(&nodes.one, &row(0)).await;
    let start = now();
    // (minutes noted as seen, as expiry) and what stands then.
    let cases = [
        ("later", (5, 70), (5, 70)),
        ("earlier", (4, 69), (5, 70)),
        ("seen later, expiry earlier", (6, 60), (6, 70)),
        ("seen earlier, expiry later", (1, 80), (6, 80)),
        ("the same", (6, 80), (6, 80)),
    ];
    for (n, (name, (seen, expires), stands)) in cases.into_iter().enumerate() {
        let (seen, expires) = (start + seen * MINUTE, start + expires * MINUTE);
        let lives = nodes.turn(n).slide(&hash(0), seen, expires).await;
        assert!(lives.unwrap(), "{name}");
        let expected = row_with(0, |row| {
            row.times.seen = start + stands.0 * MINUTE;
            row.times.expires = start + stands.1 * MINUTE;
        });
        let found = nodes.turn(n + 1).load(&hash(0)).await.unwrap();
        assert_eq!(found, Lookup::Row(expected), "{name}");
    }
    let expired = nodes.one.expired(start + 79 * MINUTE, 10).await.unwrap();
    assert_eq!(expired, []);
    let expired = nodes.one.expired(start + 80 * MINUTE, 10).await.unwrap();
    assert_eq!(expired, [hash(0)]);
}

async fn one_caller_ends_a_session(nodes: Nodes) {
    let reasons = [
        EndReason::Logout,
        EndReason::Expired,
        EndReason::Superseded,
        EndReason::RefreshRefused,
        EndReason::Revoked,
        EndReason::ProviderLogout,
        EndReason::SignedOutElsewhere,
    ];
    for round in 0..4 {
        insert(&nodes.one, &row(round)).await;
        let mut racers = JoinSet::new();
        for (n, reason) in reasons.into_iter().enumerate() {
            let node = nodes.turn(n).clone();
            racers.spawn(async move {
                let ended = node.end(&hash(round), reason, now()).await.unwrap();
                (reason, ended)
            });
        }
        let outcomes = racers.join_all().await;
        let ended: Vec<_> = outcomes.iter().filter(|(_, row)| row.is_some()).collect();
        let [(reason, ended)] = ended.as_slice() else {
            panic!("{outcomes:?}");
        };
        assert_eq!(*ended, Some(row(round)));
        for node in [&nodes.one, &nodes.other] {
            let found = node.load(&hash(round)).await.unwrap();
            assert_eq!(found, Lookup::Ended(*reason));
        }
    }
    // Every reason is remembered as itself.
    for (n, reason) in reasons.into_iter().enumerate() {
        let number = 100 + n;
        insert(&nodes.one, &row(number)).await;
        nodes.one.end(&hash(number), reason, now()).await.unwrap();
        let found = nodes.other.load(&hash(number)).await.unwrap();
        assert_eq!(found, Lookup::Ended(reason));
    }
}

async fn an_end_is_remembered_for_as_long_as_its_session_could_live(nodes: Nodes) {
    insert(&nodes.one, &row(1)).await;
    insert(&nodes.one, &row(2)).await;
    end(&nodes.one, &hash(1)).await;
    let shortly_before = row(2).times.ends - MOMENT;
    let (two, revoked) = (hash(2), EndReason::Revoked);
    let short = nodes.one.end(&two, revoked, shortly_before).await;
    assert_eq!(short.unwrap(), Some(row(2)));
    until("the end to be forgotten", || async {
        nodes.other.forget(now()).await.unwrap();
        nodes.other.load(&hash(2)).await.unwrap() == Lookup::Nothing
    })
    .await;
    let standings = nodes.one.standings(&[hash(1), hash(2)]).await.unwrap();
    assert_eq!(
        standings,
        [Standing::Ended(EndReason::Logout), Standing::Nothing]
    );
}

/// L8: whatever comes together with the end, after it the session is over for good.
async fn nothing_revives_an_ended_session(nodes: Nodes) {
    for round in 0..60 {
        let stored = row(round);
        insert(&nodes.one, &stored).await;
        let (first, second) = (nodes.turn(round), nodes.turn(round + 1));
        let late = now() + 3 * HOUR;
        let (ended, slid, replaced, resealed, inserted) = tokio::join!(
            first.end(&stored.hash, EndReason::Revoked, now()),
            second.slide(&stored.hash, late, late),
            second.replace(&stored.hash, 2, b"new"),
            second.reseal(&stored.hash, 1, b"anew"),
            second.insert(&stored, None, late),
        );
        assert!(ended.unwrap().is_some());
        slid.unwrap();
        replaced.unwrap();
        resealed.unwrap();
        inserted.unwrap();

        let over = |what: &str| format!("round {round}, {what}");
        for node in [&nodes.one, &nodes.other] {
            let found = node.load(&stored.hash).await.unwrap();
            let expected = Lookup::Ended(EndReason::Revoked);
            assert_eq!(found, expected, "{}", over("load"));
            assert!(!node.slide(&stored.hash, late, late).await.unwrap());
            for version in [2, 3] {
                let replaced = node.replace(&stored.hash, version, b"late").await.unwrap();
                assert_eq!(replaced, Replacement::Ended, "{}", over("replace"));
            }
            assert_eq!(end(node, &stored.hash).await, None);
            assert_eq!(all_of(node, "alice").await, []);
            let by_sid = node.of_provider_sid("sid-1", &Rows::all()).await;
            assert_eq!(by_sid.unwrap(), []);
            let page = node.page("", &Rows::all(), None, 10).await;
            assert_eq!(page.unwrap(), []);
            assert_eq!(node.expired(late + 99 * HOUR, 10).await.unwrap(), []);
        }
    }
}

async fn a_session_ends_as_expired_only_when_it_is(nodes: Nodes) {
    insert(&nodes.one, &expiring(1, now() + MINUTE)).await;
    let hash = &hash(1);
    let at = |now: Timestamp| nodes.other.end_expired(hash, now);
    assert_eq!(at(now()).await.unwrap(), None);
    let just_before = now() + MINUTE - Duration::from_millis(1);
    assert_eq!(at(just_before).await.unwrap(), None);
    assert_eq!(
        nodes.one.load(hash).await.unwrap(),
        Lookup::Row(expiring(1, now() + MINUTE))
    );
    let ended = at(now() + MINUTE).await.unwrap();
    assert_eq!(ended, Some(expiring(1, now() + MINUTE)));
    assert_eq!(
        nodes.one.load(hash).await.unwrap(),
        Lookup::Ended(EndReason::Expired)
    );
    assert_eq!(at(now() + MINUTE).await.unwrap(), None);
}

/// A session that another node put off is not swept.
async fn either_the_use_or_the_expiry_wins(nodes: Nodes) {
    for round in 0..40 {
        insert(&nodes.one, &expiring(round, now())).await;
        let hash = hash(round);
        let later = now() + HOUR;
        let (slid, ended) = tokio::join!(
            nodes.turn(round).slide(&hash, now(), later),
            nodes.turn(round + 1).end_expired(&hash, now()),
        );
        let (slid, ended) = (slid.unwrap(), ended.unwrap());
        assert_ne!(slid, ended.is_some(), "round {round}");
        let lives = matches!(nodes.one.load(&hash).await.unwrap(), Lookup::Row(_));
        assert_eq!(lives, slid, "round {round}");
    }
}

async fn the_longest_expired_come_first(nodes: Nodes) {
    for (number, minutes) in [(1, 30), (2, 10), (3, 20), (4, 40), (5, 15)] {
        insert(&nodes.one, &expiring(number, now() + minutes * MINUTE)).await;
    }
    end(&nodes.one, &hash(5)).await;
    let at = |minutes: u32, at_most| {
        let node = nodes.other.clone();
        async move {
            let expired = node.expired(now() + minutes * MINUTE, at_most).await;
            expired.unwrap()
        }
    };
    assert_eq!(at(9, 10).await, []);
    assert_eq!(at(10, 10).await, [hash(2)]);
    assert_eq!(at(30, 10).await, [hash(2), hash(3), hash(1)]);
    assert_eq!(at(30, 2).await, [hash(2), hash(3)]);
    assert_eq!(at(90, 10).await, [hash(2), hash(3), hash(1), hash(4)]);
    let just_before = now() + 10 * MINUTE - Duration::from_millis(1);
    assert_eq!(nodes.one.expired(just_before, 10).await.unwrap(), []);
}

/// E10.
async fn several_sessions_of_a_subject_are_found(nodes: Nodes) {
    let of = of_subject;
    let strange = "x'; --*?[a]{b}:%_\\ é😀";
    for row in [
        of(3, "alice"),
        of(1, "alice"),
        of(2, "alice"),
        of(4, "Alice"),
        of(5, "alice2"),
        of(6, "alic"),
        of(7, strange),
        of(8, "x"),
    ] {
        insert(&nodes.one, &row).await;
    }
    let find = |subject: &'static str| {
        let node = nodes.other.clone();
        async move { all_of(&node, subject).await }
    };
    let expected = [of(1, "alice"), of(2, "alice"), of(3, "alice")];
    assert_eq!(find("alice").await, expected);
    assert_eq!(find("Alice").await, [of(4, "Alice")]);
    assert_eq!(find(strange).await, [of(7, strange)]);
    for nobody in ["", "bob", "%", "*", "alice%"] {
        assert_eq!(find(nobody).await, [], "{nobody}");
    }
    end(&nodes.one, &hash(2)).await;
    nodes.one.replace(&hash(3), 2, b"new").await.unwrap();
    assert_eq!(hashes(&find("alice").await), [hash(1), hash(3)]);
    end(&nodes.one, &hash(1)).await;
    end(&nodes.one, &hash(3)).await;
    assert_eq!(find("alice").await, []);
}

/// E10.
async fn several_sessions_of_a_provider_session_are_found(nodes: Nodes) {
    let of = |number, sid: Option<&str>| {
        row_with(number, |row| row.facts.provider_sid = sid.map(Into::into))
    };
    for row in [
        of(2, Some("s1")),
        of(1, Some("s1")),
        of(3, Some("S1")),
        of(4, None),
        of(5, Some("s1*%")),
    ] {
        insert(&nodes.one, &row).await;
    }
    let find = |sid: &'static str| {
        let node = nodes.other.clone();
        async move { node.of_provider_sid(sid, &Rows::all()).await.unwrap() }
    };
    assert_eq!(find("s1").await, [of(1, Some("s1")), of(2, Some("s1"))]);
    assert_eq!(find("S1").await, [of(3, Some("S1"))]);
    assert_eq!(find("s1*%").await, [of(5, Some("s1*%"))]);
    for none in ["", "s2", "None", "null"] {
        assert_eq!(find(none).await, [], "{none}");
    }
    end(&nodes.one, &hash(1)).await;
    assert_eq!(hashes(&find("s1").await), [hash(2)]);
}

/// Every page of `at_most`, one behind the other.
async fn pages(store: &Arc<dyn RecordStore>, prefix: &str, at_most: usize) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    for _ in 0..1000 {
        let after = all.last().map(cursor);
        let all_rows = Rows::all();
        let page = store.page(prefix, &all_rows, after.as_ref(), at_most).await;
        let page = page.unwrap();
        assert!(page.len() <= at_most);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
    panic!("the list has no end: {} rows", all.len());
}

fn cursor(row: &Row) -> Cursor {
    Cursor {
        name: folded(&row.name).into(),
        hash: row.hash,
    }
}

async fn the_list_is_in_the_order_of_names(nodes: Nodes) {
    let given = [
        "bob", "Alice", "alice", "ALICE", "Zoë", "Ärger", "ärger", "zz", "a", "山田", "😀", "a b",
        "a-b", "A_B", "al", "alicé", "\u{fffd}",
    ];
    let mut rows: Vec<Row> = given
        .iter()
        .enumerate()
        .map(|(number, name)| named(number, name))
        .collect();
    for row in &rows {
        insert(&nodes.one, row).await;
    }
    rows.sort_by_key(|row| (folded(&row.name).into_bytes(), row.hash));
    for at_most in [1, 2, 3, 16, 17, 100] {
        let listed = pages(&nodes.other, "", at_most).await;
        assert_eq!(names(&listed), names(&rows), "pages of {at_most}");
        assert_eq!(listed, rows, "pages of {at_most}");
    }
}

/// Those used last come first, page by page, each once; where a session's end is near, Redis puts it
/// further down, so here none is.
async fn the_list_is_read_by_last_use(nodes: Nodes) {
    let mut rows = Vec::new();
    for number in 0..20 {
        let mut row = row(number);
        // Two of each moment.
        row.times.seen = now() + Duration::from_secs(u64::try_from(number / 2).unwrap());
        row.times.expires = row.times.seen + HOUR;
        insert(&nodes.one, &row).await;
        rows.push(row);
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.times.seen, row.hash)));
    for at_most in [1, 3, 20, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..30 {
            let page = nodes.other.latest(&Rows::all(), after, at_most).await;
            let (page, next) = page.unwrap();
            found.extend(hashes(&page));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, hashes(&rows), "pages of {at_most}");
    }
}

/// A look takes nothing out, and sees nothing past its time.
async fn a_kept_value_is_looked_at(nodes: Nodes) {
    let (one, other, now) = (&nodes.one, &nodes.other, now());
    assert_eq!(other.peek("looked at", now).await.unwrap(), None);
    assert!(one.keep("looked at", b"value", MINUTE, now).await.unwrap());
    for _ in 0..2 {
        let seen = other.peek("looked at", now).await.unwrap();
        assert_eq!(seen.as_deref(), Some(&b"value"[..]));
    }
    assert_eq!(other.peek("looked at", now + MINUTE).await.unwrap(), None);
    let taken = one.take("looked at", now).await.unwrap();
    assert_eq!(taken.as_deref(), Some(&b"value"[..]));
    assert_eq!(other.peek("looked at", now).await.unwrap(), None);
}

async fn the_list_is_searched_by_words(nodes: Nodes) {
    let given = [
        "Alice",
        "alina",
        "bob",
        "100%",
        "1000",
        "a_b",
        "aXb",
        "Ärger",
        "a\\b",
        "*",
        "[x]",
        "straße",
        "Zed von Alinsky",
        "Grace-Alina",
        "Malina",
    ];
    for (number, name) in given.iter().enumerate() {
        insert(&nodes.one, &named(number, name)).await;
    }
    let cases: [(&str, &[&str]); 14] = [
        ("ali", &["Alice", "alina", "Grace-Alina", "Zed von Alinsky"]),
        ("von ali", &["Zed von Alinsky"]),
        ("alinsky", &["Zed von Alinsky"]),
        ("alice", &["Alice"]),
        ("alicex", &[]),
        ("100%", &["100%"]),
        ("%", &[]),
        ("a_", &["a_b"]),
        ("_", &[]),
        ("är", &["Ärger"]),
        ("a\\", &["a\\b"]),
        ("*", &["*"]),
        ("[", &["[x]"]),
        ("straß", &["straße"]),
    ];
    for (prefix, expected) in cases {
        for at_most in [1, 10] {
            let found = pages(&nodes.other, prefix, at_most).await;
            assert_eq!(names(&found), expected, "{prefix:?}, pages of {at_most}");
        }
    }
    assert_eq!(pages(&nodes.other, "", 5).await.len(), given.len());
}

async fn the_list_stays_good_while_rows_come_and_go(nodes: Nodes) {
    let mut staying = BTreeSet::new();
    for number in 0..60 {
        insert(
            &nodes.one,
            &named(number, &format!("Name {:02}", number / 2)),
        )
        .await;
        if number % 3 != 0 {
            staying.insert(hash(number));
        }
    }
    let mut seen = Vec::new();
    let mut after = None;
    for step in 0..60 {
        let rows = Rows::all();
        let page = nodes.other.page("name", &rows, after.as_ref(), 7).await;
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(cursor(last));
        seen.extend(hashes(&page));
        // One comes at each end, and some go, the row of the cursor among them.
        insert(&nodes.one, &named(1000 + 2 * step, "Name !")).await;
        insert(&nodes.one, &named(1001 + 2 * step, "name 99")).await;
        for number in (0..60).filter(|number| number % 3 == 0 && number % 5 == step % 5) {
            end(&nodes.one, &hash(number)).await;
        }
        if staying.remove(&last.hash) {
            end(&nodes.one, &last.hash).await;
        }
    }
    let once: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!(once.len(), seen.len(), "a row came twice");
    assert!(once.is_superset(&staying), "a row was left out");
}

async fn sessions_are_counted(nodes: Nodes) {
    assert_eq!(nodes.one.count().await.unwrap(), 0);
    for number in 0..5 {
        insert(nodes.turn(number), &row(number)).await;
    }
    end(&nodes.one, &hash(3)).await;
    end(&nodes.one, &hash(3)).await;
    nodes.one.replace(&hash(2), 2, b"new").await.unwrap();
    for node in [&nodes.one, &nodes.other] {
        assert_eq!(node.count().await.unwrap(), 4);
    }
}

async fn standings_come_in_order(nodes: Nodes) {
    for number in 1..4 {
        insert(&nodes.one, &row(number)).await;
    }
    nodes.one.replace(&hash(2), 2, b"new").await.unwrap();
    nodes
        .one
        .end(&hash(3), EndReason::ProviderLogout, now())
        .await
        .unwrap();
    let asked = [hash(3), hash(9), hash(1), hash(2), hash(3), hash(1)];
    let ended = Standing::Ended(EndReason::ProviderLogout);
    assert_eq!(
        nodes.other.standings(&asked).await.unwrap(),
        [
            ended,
            Standing::Nothing,
            Standing::Live(1),
            Standing::Live(2),
            ended,
            Standing::Live(1),
        ]
    );
    assert_eq!(nodes.other.standings(&[]).await.unwrap(), []);
    let many: Vec<_> = (0..300).map(hash).collect();
    let standings = nodes.other.standings(&many).await.unwrap();
    assert_eq!(standings.len(), 300);
    assert_eq!(standings[2], Standing::Live(2));
}

async fn a_lease_is_one_owners(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    assert!(one.lease("refresh a", "me", MINUTE).await.unwrap());
    assert!(!other.lease("refresh a", "you", MINUTE).await.unwrap());
    assert!(one.lease("refresh a", "me", MINUTE).await.unwrap());
    assert!(other.lease("refresh b", "you", MINUTE).await.unwrap());

    other.release("refresh a", "you").await.unwrap();
    assert!(!other.lease("refresh a", "you", MINUTE).await.unwrap());
    one.release("refresh a", "me").await.unwrap();
    one.release("refresh a", "me").await.unwrap();
    assert!(other.lease("refresh a", "you", MINUTE).await.unwrap());
    assert!(!one.lease("refresh a", "me", MINUTE).await.unwrap());
}

async fn a_lease_runs_out_in_the_stores_time(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    assert!(one.lease("short", "me", MOMENT).await.unwrap());
    assert!(one.lease("renewed", "me", MOMENT).await.unwrap());
    assert!(one.lease("renewed", "me", MINUTE).await.unwrap());
    until("the lease to run out", || async {
        other.lease("short", "you", MINUTE).await.unwrap()
    })
    .await;
    assert!(!one.lease("short", "me", MINUTE).await.unwrap());
    // The former owner gives back what is no longer its own.
    one.release("short", "me").await.unwrap();
    assert!(!one.lease("short", "me", MINUTE).await.unwrap());
    assert!(!other.lease("renewed", "you", MINUTE).await.unwrap());
}

async fn of_many_owners_one_gets_the_lease(nodes: Nodes) {
    for round in 0..5 {
        let mut racers = JoinSet::new();
        for n in 0..12 {
            let node = nodes.turn(n).clone();
            racers.spawn(async move {
                let name = format!("lease {round}");
                node.lease(&name, &format!("owner {n}"), MINUTE)
                    .await
                    .unwrap()
            });
        }
        let held = racers.join_all().await.into_iter().filter(|held| *held);
        assert_eq!(held.count(), 1, "round {round}");
    }
}

async fn a_value_is_kept_once_and_taken_once(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    let value: Vec<u8> = (0..=255).collect();
    assert!(one.keep("jti 1", &value, MINUTE, now()).await.unwrap());
    assert!(!other.keep("jti 1", b"other", MINUTE, now()).await.unwrap());
    assert!(other.keep("jti 2", b"", MINUTE, now()).await.unwrap());
    assert_eq!(other.take("jti 2", now()).await.unwrap(), Some(Vec::new()));
    assert_eq!(other.take("jti 3", now()).await.unwrap(), None);

    let mut racers = JoinSet::new();
    for n in 0..12 {
        let node = nodes.turn(n).clone();
        racers.spawn(async move { node.take("jti 1", now()).await.unwrap() });
    }
    let mut taken: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.pop(), Some(value));
    assert!(taken.is_empty());
    assert!(other.keep("jti 1", b"again", MINUTE, now()).await.unwrap());

    let mut racers = JoinSet::new();
    for n in 0..12 {
        let node = nodes.turn(n).clone();
        racers.spawn(async move { node.keep("jti 4", b"x", MINUTE, now()).await.unwrap() });
    }
    let first = racers.join_all().await.into_iter().filter(|first| *first);
    assert_eq!(first.count(), 1);
}

/// Either time will do: the one that is passed, or the store's own.
async fn a_kept_value_is_forgotten_after_its_span(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    assert!(one.keep("a", b"x", MOMENT, now()).await.unwrap());
    assert!(one.keep("b", b"x", MOMENT, now()).await.unwrap());
    assert!(one.keep("c", b"x", 10 * MINUTE, now()).await.unwrap());
    let later = now() + MINUTE;
    until("the value to be forgotten", || async {
        other.keep("b", b"y", MINUTE, later).await.unwrap()
    })
    .await;
    assert_eq!(other.take("a", later).await.unwrap(), None);
    assert_eq!(other.take("b", later).await.unwrap(), Some(b"y".to_vec()));
    assert_eq!(other.take("c", later).await.unwrap(), Some(b"x".to_vec()));
}

async fn forgetting_takes_only_what_is_over(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    insert(one, &row(1)).await;
    insert(one, &row(2)).await;
    end(one, &hash(2)).await;
    assert!(one.keep("jti", b"x", MINUTE, now()).await.unwrap());
    assert!(one.lease("lease", "me", MINUTE).await.unwrap());
    other.forget(now()).await.unwrap();
    assert_eq!(one.load(&hash(1)).await.unwrap(), Lookup::Row(row(1)));
    assert_eq!(
        one.load(&hash(2)).await.unwrap(),
        Lookup::Ended(EndReason::Logout)
    );
    assert!(!one.keep("jti", b"x", MINUTE, now()).await.unwrap());
    assert!(!one.lease("lease", "you", MINUTE).await.unwrap());
}

const fn end_oldest(most: usize) -> Limit {
    Limit {
        most,
        on_limit: OnLimit::EndOldest,
        scope: LimitScope::Site,
    }
}

const fn refuse(most: usize) -> Limit {
    Limit {
        most,
        on_limit: OnLimit::Refuse,
        scope: LimitScope::Site,
    }
}

/// A limit that counts whoever is called the same.
fn everyone(limit: Limit) -> Counted {
    Counted {
        limit,
        among: Rows::all(),
    }
}

/// Inserts under a limit and ends what is beyond it, as the caller has to. Whether it was stored.
async fn sign_in(store: &Arc<dyn RecordStore>, row: &Row, limit: Limit) -> bool {
    sign_in_among(store, row, &everyone(limit)).await
}

/// As [`sign_in`], where some rows alone count.
async fn sign_in_among(store: &Arc<dyn RecordStore>, row: &Row, counted: &Counted) -> bool {
    match store.insert(row, Some(counted), now()).await.unwrap() {
        Insertion::Refused => false,
        Insertion::Stored { beyond } => {
            for hash in &beyond {
                let ended = store.end(hash, EndReason::Superseded, now()).await;
                ended.unwrap();
            }
            true
        }
    }
}

async fn the_oldest_beyond_the_limit_are_named(nodes: Nodes) {
    insert(&nodes.one, &of_subject(0, "bob")).await;
    // Not in the order of their age.
    for number in [3, 1, 2] {
        assert!(sign_in(&nodes.one, &row(number), end_oldest(3)).await);
    }
    assert!(sign_in(&nodes.other, &row(4), end_oldest(3)).await);
    let live = || async { hashes(&all_of(&nodes.one, "alice").await) };
    assert_eq!(live().await, [hash(2), hash(3), hash(4)]);
    assert_eq!(
        nodes.one.load(&hash(1)).await.unwrap(),
        Lookup::Ended(EndReason::Superseded)
    );
    // The limit was lowered. The new one stays, whatever its clock says.
    let from_the_past = row_with(5, |row| row.times.created = now() - HOUR);
    assert!(sign_in(&nodes.other, &from_the_past, end_oldest(1)).await);
    assert_eq!(live().await, [hash(5)]);
    assert_eq!(all_of(&nodes.one, "bob").await.len(), 1);
}

async fn a_login_beyond_the_limit_is_refused(nodes: Nodes) {
    assert!(sign_in(&nodes.one, &row(1), refuse(2)).await);
    assert!(sign_in(&nodes.other, &row(2), refuse(2)).await);
    assert!(!sign_in(&nodes.one, &row(3), refuse(2)).await);
    assert_eq!(nodes.one.load(&hash(3)).await.unwrap(), Lookup::Nothing);
    let live = hashes(&all_of(&nodes.other, "alice").await);
    assert_eq!(live, [hash(1), hash(2)]);
    assert_eq!(nodes.other.count().await.unwrap(), 2);

    assert!(sign_in(&nodes.one, &of_subject(4, "bob"), refuse(2)).await);
    end(&nodes.other, &hash(1)).await;
    assert!(sign_in(&nodes.one, &row(3), refuse(2)).await);
}

async fn the_limit_counts_the_living(nodes: Nodes) {
    insert(&nodes.one, &expiring(1, now())).await;
    insert(&nodes.one, &expiring(2, now() - MINUTE)).await;
    assert!(sign_in(&nodes.other, &row(3), refuse(1)).await);
    assert!(!sign_in(&nodes.other, &row(4), refuse(1)).await);
    // Put off in time, it counts again.
    nodes
        .one
        .slide(&hash(1), now(), now() + MINUTE)
        .await
        .unwrap();
    end(&nodes.one, &hash(3)).await;
    assert!(!sign_in(&nodes.other, &row(5), refuse(1)).await);
}

async fn of_many_logins_exactly_the_limit_stays(nodes: Nodes) {
    for round in 0..3 {
        let mut racers = JoinSet::new();
        let numbers = round * 100..round * 100 + 16;
        for number in numbers.clone() {
            let node = nodes.turn(number).clone();
            // All of the same moment: the age decides nothing.
            let row = row_with(number, |row| {
                row.times.created = now();
                row.facts.subject = format!("subject {round}").into();
            });
            racers.spawn(async move { sign_in(&node, &row, end_oldest(3)).await });
        }
        assert!(racers.join_all().await.into_iter().all(|stored| stored));
        let live = all_of(&nodes.one, &format!("subject {round}")).await;
        assert_eq!(live.len(), 3, "round {round}");
        let all: Vec<_> = numbers.map(hash).collect();
        let standings = nodes.other.standings(&all).await.unwrap();
        let superseded = standings
            .into_iter()
            .filter(|standing| *standing == Standing::Ended(EndReason::Superseded));
        assert_eq!(superseded.count(), 13, "round {round}");
    }
}

async fn of_many_logins_exactly_the_limit_is_let_in(nodes: Nodes) {
    let mut racers = JoinSet::new();
    for number in 0..16 {
        let node = nodes.turn(number).clone();
        racers.spawn(async move { sign_in(&node, &row(number), refuse(3)).await });
    }
    let stored = racers.join_all().await.into_iter().filter(|stored| *stored);
    assert_eq!(stored.count(), 3);
    assert_eq!(all_of(&nodes.one, "alice").await.len(), 3);
    assert_eq!(nodes.other.count().await.unwrap(), 3);
}

/// Alice at two sites of one client, at another client of the same issuer, and at another issuer that
/// calls somebody else alice; and one of a node of a release before sites.
fn five_alices() -> [Row; 5] {
    let other_client = Registration::new("https://id.example.com", "shop");
    let other_issuer = Registration::new("https://other.example.com", "app");
    [
        ("", client()),
        ("shop", client()),
        ("shop/acme", other_client),
        ("shop/globex", other_issuer),
        ("", Registration::unnamed()),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (site, registration))| {
        row_with(number, |row| {
            row.facts.site = SiteId::new(site);
            row.facts.registration = registration;
        })
    })
    .collect::<Vec<_>>()
    .try_into()
    .unwrap()
}

fn among(within: Within, unnamed_too: bool) -> Rows {
    Rows {
        within,
        unnamed_too,
    }
}

fn only(site: &str) -> SiteFilter {
    SiteFilter::Only(SiteId::new(site))
}

fn with_tenants(site: &str) -> SiteFilter {
    SiteFilter::WithTenants(SiteId::new(site))
}

/// §7: one `sub` at two registrations is two people; rows that name none are found where they are meant.
async fn a_subject_is_its_clients_and_its_sites(nodes: Nodes) {
    let rows = five_alices();
    for row in &rows {
        insert(&nodes.one, row).await;
    }
    let of_client = Within::of_client(&client());
    let cases = [
        (Rows::all(), vec![0, 1, 2, 3, 4]),
        (among(of_client.clone(), false), vec![0, 1]),
        (among(of_client.clone(), true), vec![0, 1, 4]),
        (among(of_client.clone().at(only("")), true), vec![0, 4]),
        (among(of_client.at(only("shop")), false), vec![1]),
        (
            among(Within::of_issuer(&client().issuer), true),
            vec![0, 1, 2, 4],
        ),
        (
            among(Within::everywhere().at(with_tenants("shop")), false),
            vec![1, 2, 3],
        ),
    ];
    for (among, expected) in cases {
        let found = nodes.other.of_subject("alice", &among).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(|at| rows[at].clone()).collect();
        assert_eq!(found, expected, "{among:?}");
    }
}

/// §7, E10.
async fn a_provider_session_is_its_clients(nodes: Nodes) {
    let rows = five_alices();
    for row in &rows {
        insert(&nodes.one, row).await;
    }
    let other_issuer = &rows[3].registration;
    for (registration, unnamed_too, expected) in [
        (&client(), true, vec![0, 1, 4]),
        (other_issuer, false, vec![3]),
        (&rows[2].registration, false, vec![2]),
        (
            &Registration::new("https://id.example.com", "none"),
            false,
            vec![],
        ),
    ] {
        let among = among(Within::of_client(registration), unnamed_too);
        let found = nodes.other.of_provider_sid("sid-1", &among).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(hash).collect();
        assert_eq!(hashes(&found), expected, "{among:?}");
    }
}

/// §7: who administers sees one site, or one with all its tenants, page by page.
async fn lists_are_read_by_site(nodes: Nodes) {
    let sites = ["", "shop", "shop/acme", "shopping", "shop/globex", "shop-2"];
    for number in 0..60 {
        let row = row_with(number, |row| {
            row.facts.site = SiteId::new(sites[number % sites.len()]);
            row.facts.name = format!("Name {number:02}").into();
        });
        insert(&nodes.one, &row).await;
    }
    let numbers = |wanted: &[usize]| -> Vec<SessionHash> {
        let mine = |number: &usize| wanted.contains(&(number % sites.len()));
        (0..60).filter(mine).map(hash).collect()
    };
    for (site, expected) in [
        (only(""), numbers(&[0])),
        (only("shop"), numbers(&[1])),
        (only("shop/acme"), numbers(&[2])),
        (only("gone"), Vec::new()),
        (with_tenants("shop"), numbers(&[1, 2, 4])),
        (with_tenants(""), numbers(&[0])),
    ] {
        let among = among(Within::everywhere().at(site), false);
        for at_most in [3, 100] {
            let (mut named, mut after) = (Vec::new(), None);
            loop {
                let page = nodes.other.page("", &among, after.as_ref(), at_most).await;
                let page = page.unwrap();
                named.extend(hashes(&page));
                let Some(last) = page.get(at_most - 1) else {
                    break;
                };
                after = Some(cursor(last));
            }
            assert_eq!(named, expected, "{among:?} by name");
            let (mut latest, mut after) = (Vec::new(), None);
            loop {
                let page = nodes.other.latest(&among, after, at_most).await;
                let (page, next) = page.unwrap();
                latest.extend(hashes(&page));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            latest.reverse();
            assert_eq!(latest, expected, "{among:?} by last use");
        }
    }
}

/// §7: a limit counts a user's sessions at one site, or at all sites of one issuer.
async fn the_limit_counts_the_rows_that_are_meant(nodes: Nodes) {
    for on_limit in [OnLimit::Refuse, OnLimit::EndOldest] {
        let number = |n: usize| n + 20 * usize::from(on_limit == OnLimit::EndOldest);
        for (at, mut alice) in five_alices().into_iter().enumerate() {
            alice.facts.hash = hash(number(at));
            alice.facts.subject = format!("alice {on_limit:?}").into();
            insert(&nodes.one, &alice).await;
        }
        let limit = Limit {
            on_limit,
            ..refuse(3)
        };
        let of_issuer = Within::of_issuer(&client().issuer);
        let counted = |within: &Within| Counted {
            limit,
            among: among(within.clone(), true),
        };
        let here = of_issuer.clone().at(only(""));
        let one_more = |n| {
            row_with(number(n), |row| {
                row.facts.subject = format!("alice {on_limit:?}").into();
            })
        };
        // Two are at the main site, one of them of an older node; four at the issuer.
        assert!(sign_in_among(&nodes.other, &one_more(10), &counted(&here)).await);
        let admitted = sign_in_among(&nodes.other, &one_more(11), &counted(&of_issuer)).await;
        let left = all_of(&nodes.one, &format!("alice {on_limit:?}")).await;
        let expected: Vec<_> = match on_limit {
            OnLimit::Refuse => vec![0, 1, 2, 3, 4, 10],
            OnLimit::EndOldest => vec![3, 4, 10, 11],
        };
        assert_eq!(admitted, on_limit == OnLimit::EndOldest);
        let expected: Vec<_> = expected.into_iter().map(|n| hash(number(n))).collect();
        assert_eq!(hashes(&left), expected, "{on_limit:?}");
    }
}

/// What a [`Listener`] was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Subscribed,
    Event(Event),
    /// What was told in the clear.
    Hint(Event),
    /// A word that came by all servers.
    Echo(String),
}

#[derive(Debug)]
struct Ear {
    sender: mpsc::UnboundedSender<Told>,
    /// By which servers each word came.
    words: Mutex<HashMap<String, BTreeSet<usize>>>,
}

impl Ear {
    fn tell(&self, told: Told) {
        // The test may have heard enough.
        drop(self.sender.send(told));
    }
}

impl Listener for Ear {
    fn subscribed(&self) {
        self.tell(Told::Subscribed);
    }

    fn heard(&self, event: Event) {
        self.tell(Told::Event(event));
    }

    fn hinted(&self, event: Event) {
        self.tell(Told::Hint(event));
    }

    fn echoed(&self, word: &str, by: Server) {
        let mut words = self.words.lock().unwrap();
        let came = words.entry(word.to_owned()).or_default();
        assert!(came.insert(by.number), "{word} came twice by {by:?}");
        if came.len() == by.of {
            self.tell(Told::Echo(word.to_owned()));
        }
    }
}

/// Listens to a store on a task of its own; what it is told comes out here, and the end of
/// listening as the end of the channel. The first is always [`Told::Subscribed`], and was.
pub(crate) async fn listening(store: &Arc<dyn RecordStore>) -> mpsc::UnboundedReceiver<Told> {
    let (sender, mut told) = mpsc::unbounded_channel();
    let store = store.clone();
    tokio::spawn(async move {
        let ear = Ear {
            sender,
            words: Mutex::default(),
        };
        let ended = store.listen(Arc::new(ear)).await;
        assert!(ended.is_err(), "listening ended without an error");
    });
    let first = soon("the channel", told.recv()).await;
    assert_eq!(first, Some(Told::Subscribed));
    told
}

/// What is told up to the word that is announced now, session by session: a session's events come in
/// order, and those of two sessions in any, for a Cluster keeps them on two masters.
pub(crate) async fn told_until(
    announcing: &Arc<dyn RecordStore>,
    told: &mut mpsc::UnboundedReceiver<Told>,
    word: &str,
) -> Vec<Event> {
    announcing.announce(word).await.unwrap();
    let mut events = Vec::new();
    loop {
        match soon("the word to come back", told.recv()).await.unwrap() {
            Told::Echo(echo) if echo == word => break,
            Told::Event(event) => events.push(event),
            // Hints are said to nodes of the release before, besides.
            Told::Echo(_) | Told::Hint(_) => {}
            Told::Subscribed => panic!("subscribed twice"),
        }
    }
    events.sort_by_key(of);
    events
}

/// As [`told_until`], of this story's own sessions: the bus of a Cluster is slow, and what the story
/// before told may come to whoever listens since.
async fn told_of_own(
    announcing: &Arc<dyn RecordStore>,
    told: &mut mpsc::UnboundedReceiver<Told>,
    word: &str,
) -> Vec<Event> {
    let own: Vec<_> = (100..150).map(hash).collect();
    let mut events = told_until(announcing, told, word).await;
    events.retain(|event| own.contains(&of(event)));
    events
}

/// Whose event it is.
pub(crate) fn of(event: &Event) -> SessionHash {
    match event {
        Event::Ended(hash, _) | Event::Changed(hash, _) => *hash,
    }
}

async fn the_other_node_hears_each_session_in_order(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    if !one.is_shared() {
        // Nobody else is there to be heard; `announce` has nobody to tell.
        let mut told = listening(one).await;
        one.announce("word").await.unwrap();
        insert(one, &row(1)).await;
        end(one, &hash(1)).await;
        assert!(!told.is_closed());
        told.close();
        return;
    }
    let mut told_other = listening(other).await;
    let mut told_one = listening(one).await;

    insert(one, &row(141)).await;
    insert(one, &row(142)).await;
    insert(one, &expiring(143, now())).await;
    one.replace(&hash(141), 2, b"new").await.unwrap();
    // Of these nobody is told: nothing came of them, or nothing that others have to know at once.
    one.replace(&hash(141), 2, b"overtaken").await.unwrap();
    one.reseal(&hash(141), 2, b"anew").await.unwrap();
    one.slide(&hash(141), now() + MINUTE, now() + HOUR)
        .await
        .unwrap();
    one.end_expired(&hash(141), now()).await.unwrap();
    end(one, &hash(149)).await;
    other.replace(&hash(142), 2, b"new").await.unwrap();
    end(one, &hash(141)).await;
    end(one, &hash(141)).await;
    other.replace(&hash(141), 3, b"late").await.unwrap();
    one.end_expired(&hash(143), now()).await.unwrap();
    other
        .end(&hash(142), EndReason::Revoked, now())
        .await
        .unwrap();

    let expected = [
        Event::Changed(hash(141), 2),
        Event::Ended(hash(141), EndReason::Logout),
        Event::Changed(hash(142), 2),
        Event::Ended(hash(142), EndReason::Revoked),
        Event::Ended(hash(143), EndReason::Expired),
    ];
    assert_eq!(told_of_own(one, &mut told_other, "one's").await, expected);
    assert_eq!(
        told_of_own(other, &mut told_one, "the other's").await,
        expected
    );

    // A word never overtakes an event of its own node, and no event gets lost.
    for round in 100..130 {
        insert(one, &row(round)).await;
        end(one, &hash(round)).await;
        let events = told_of_own(one, &mut told_other, &format!("word {round}")).await;
        assert_eq!(events, [Event::Ended(hash(round), EndReason::Logout)]);
    }
}

/// They understand nothing else. A node that just started does not know yet whether one is there.
async fn nodes_of_the_release_before_are_told_in_the_clear(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    if !one.is_shared() {
        return;
    }
    let mut told = listening(other).await;
    insert(one, &row(151)).await;
    one.replace(&hash(151), 2, b"new").await.unwrap();
    end(one, &hash(151)).await;
    one.announce("word").await.unwrap();
    let (mut events, mut hints) = (Vec::new(), Vec::new());
    loop {
        match soon("the word to come back", told.recv()).await.unwrap() {
            Told::Event(event) if of(&event) == hash(151) => events.push(event),
            Told::Event(_) => {}
            Told::Hint(event) => hints.push(event),
            Told::Echo(_) => break,
            Told::Subscribed => panic!("subscribed twice"),
        }
    }
    let expected = [
        Event::Changed(hash(151), 2),
        Event::Ended(hash(151), EndReason::Logout),
    ];
    assert_eq!(events, expected);
    // The bus of a Cluster brings them more than once.
    assert!(
        expected.iter().all(|event| hints.contains(event)),
        "{hints:?}"
    );
}

async fn a_shared_store_has_a_clock(nodes: Nodes) {
    let (one, other) = (&nodes.one, &nodes.other);
    let before = SystemClock.now();
    let shown = (one.time().await.unwrap(), other.time().await.unwrap());
    let after = SystemClock.now();
    match shown {
        // On this machine there is but one.
        (Some(shown), Some(again)) => {
            let moment = Duration::from_millis(5);
            assert!(
                before - moment <= shown && again <= after + moment,
                "{shown:?}"
            );
            assert!(shown <= again + moment, "{shown:?} {again:?}");
        }
        (None, None) => assert!(!one.is_shared()),
        other => panic!("{other:?}"),
    }
}
