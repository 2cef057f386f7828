//! The store as a whole; its parts have their own tests beside them.

use std::sync::Barrier;
use std::thread;

use futures_util::FutureExt as _;

use super::*;
use crate::secret::AccessToken;
use crate::session::fixture;
use crate::session::record::Times;
use crate::session::tokens::Access;
use crate::web::site_id::SiteId;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

fn keep(store: &MemoryStore, suffix: &str) -> bool {
    let site = &SiteId::main();
    let note = Note::UsedState { site, suffix };
    let kept = store.keep(note, b"", MINUTE, NOW).now_or_never();
    kept.unwrap().unwrap()
}

fn begin(number: u64) -> Arc<Session> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[31] = number.to_be_bytes()[7];
    let hash = SessionHash::from_slice(&bytes).unwrap();
    let new = fixture::new_session(hash, &number.to_string());
    let begun = NOW + Duration::from_millis(number);
    Arc::new(Session::new(new, Times::beginning(begun, HOUR, HOUR)))
}

fn insert(store: &MemoryStore, session: Arc<Session>) -> Vec<Over> {
    let inserted = store.insert(session, None, NOW).now_or_never();
    match inserted.unwrap().unwrap() {
        Admission::Admitted(over) => over,
        Admission::Refused => panic!("there is no limit"),
    }
}

/// §4: a login that has just succeeded is there, and what it pushed out says why it is not, to the last
/// one. By moka's own choice, `TinyLFU`, both may be refused for those that came before.
#[test]
fn whoever_comes_is_taken_in_and_whoever_goes_knows_why() {
    let store = MemoryStore::new(1 << 20);
    let find = |hash: &SessionHash| store.find(hash, NOW).now_or_never().unwrap().unwrap();
    let mut evicted = 0;
    for number in 0..3000 {
        let session = begin(number);
        let over = insert(&store, Arc::clone(&session));
        assert!(find(&session.hash).live().is_some(), "{number}");
        for Over { session, reason } in over {
            evicted += 1;
            assert_eq!(reason, EndReason::Evicted);
            assert_eq!(session.ending.reason(), Some(reason));
            let found = find(&session.hash);
            assert!(
                matches!(found, Found::Ended(EndReason::Evicted)),
                "{number}"
            );
        }
        store.ended.run_pending_tasks();
    }
    assert_eq!(store.count() + evicted, 3000);
    let Memory { used, most } = SessionStore::memory(&store).unwrap();
    assert!(used <= most && used > most / 10 * 8, "{used} of {most}");
    // moka's own bound was a net that nothing fell into.
    assert!(store.shelf.pushed_out().is_empty());
    assert_eq!(store.shelf.bytes(), used);
}

/// Tokens that grow take others' place, and what has ended is weighed no more.
#[test]
fn a_change_of_tokens_is_weighed() {
    let store = MemoryStore::new(1 << 20);
    for number in 0..100 {
        insert(&store, begin(number));
    }
    let grows = begin(100);
    insert(&store, Arc::clone(&grows));
    let used = || SessionStore::memory(&store).unwrap().used;
    let before = used();
    let large = |version| {
        let access_token = AccessToken::new(&"a".repeat(400_000));
        let mut tokens = fixture::tokens(version);
        tokens.own = Access::new(version, access_token).unwrap();
        Arc::new(tokens)
    };
    let save = |session, tokens| store.save_tokens(session, tokens).now_or_never();
    save(&grows, large(2)).unwrap().unwrap();
    assert!(used() > before + 799_000, "{}", used());
    let over = store.sweep(NOW).now_or_never().unwrap().unwrap();
    assert!((1..50).contains(&over.len()), "{}", over.len());
    assert_eq!(grows.ending.reason(), None);
    let before = used();
    drop(store.remove(&grows.hash, EndReason::Logout));
    save(&grows, large(3)).unwrap().unwrap();
    assert!(used() < before - 799_000, "{}", used());
    store.shelf.pushed_out();
    assert_eq!(store.shelf.bytes(), used());
}

/// C6: of threads that use a state at the same moment, one is the first.
#[test]
fn one_alone_is_the_first_to_keep_a_key() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 2000;
    let store = MemoryStore::new(1 << 20);
    let barrier = Barrier::new(THREADS);
    let firsts = || {
        let first = |round: usize| {
            barrier.wait();
            keep(&store, &format!("state {round}"))
        };
        (0..ROUNDS).filter(|round| first(*round)).count()
    };
    let firsts: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(firsts)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(firsts, ROUNDS);
}
