//! No store: each session travels whole in its browser's cookie.
//!
//! What this process has seen lately it keeps at hand, one object a session: so that calls which still
//! carry the cookie of a moment ago share one refresh and its tokens, and what is open learns of the
//! end. What was ended it remembers, since the cookie opens all the same (E13). Both end with the
//! process, and no other process knows of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::clock::{Clock, Timestamp};
use crate::session::id::SessionHash;
use crate::session::inherited::Inherited;
use crate::session::record::Session;
use crate::session::store::memory::MemoryStore;
use crate::session::store::revocations::Revocations;
use crate::session::store::{
    Admission, Condition, Cursor, Directory, Found, Lease, Leased, Limit, Listed, Memory, Note,
    Notes, Over, Recency, SaveOutcome, SessionStore, StoreFuture, Who, Within,
};
use crate::session::tokens::Tokens;
use crate::web::ending::EndReason;

/// Ends that are remembered, at about 200 bytes each.
const MOST_ENDS: usize = 200_000;

/// Sessions that are remembered to be too large.
const MOST_OUTGROWN: u64 = 10_000;

/// The sessions that this process has seen, and those that have ended.
#[derive(Debug)]
pub struct CookieStore {
    seen: MemoryStore,
    /// Locked before anything of `seen`. A session is looked up here and taken in under one lock: of
    /// an end and a cookie that come together, the end wins.
    over: Mutex<Revocations>,
    /// The tokens with which sessions became too large for their cookies. Bounded: what is pushed out
    /// is found out again.
    outgrown: Cache<SessionHash, u64>,
    clock: Arc<dyn Clock>,
    inherited: Inherited,
}

impl CookieStore {
    /// A store that has seen nothing; keeps so many bytes of sessions at hand. What a cookie carries that names
    /// no registration is of the inherited one.
    pub fn new(memory: u64, clock: Arc<dyn Clock>, inherited: Inherited) -> Self {
        Self {
            seen: MemoryStore::forgetting(memory),
            over: Mutex::new(Revocations::new(MOST_ENDS)),
            outgrown: Cache::new(MOST_OUTGROWN),
            clock,
            inherited,
        }
    }

    /// Sessions of one more site are carried, which may live for so long: ends are remembered as long.
    pub(in crate::session) fn outlast(&self, max_lifetime: Duration) {
        lock(&self.over).outlast(max_lifetime);
    }

    /// What is carried and names no registration is of this one.
    pub(in crate::session) const fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// Whether the session with the tokens of now is too large for its cookie.
    pub(in crate::session) fn has_outgrown(&self, session: &Session) -> bool {
        self.outgrown.get(&session.hash) == Some(session.tokens().version)
    }

    /// Notes that it is.
    pub(in crate::session) fn outgrows(&self, session: &Session) {
        self.outgrown.insert(session.hash, session.tokens().version);
    }

    /// Whether a cookie that carries these tokens and this last use would bring nothing new.
    pub(in crate::session) fn knows(
        &self,
        hash: &SessionHash,
        version: u64,
        seen: Timestamp,
    ) -> bool {
        self.seen.get(hash).is_some_and(|session| {
            session.tokens().version >= version && session.last_seen() >= seen
        })
    }

    /// Takes in what an opened cookie carried, unless it is over. An old cookie never takes newer
    /// tokens' place.
    pub(in crate::session) fn take_in(&self, carried: Session) {
        let now = self.clock.now();
        let mut over = lock(&self.over);
        if let Some(session) = self.seen.get(&carried.hash) {
            session.replace_tokens(&carried.tokens());
            session.seen_at(carried.last_seen(), carried.expires());
            self.seen.moved_on(&session);
            return;
        }
        // Not the session's end: its browser may hold a later cookie than this one.
        if now >= carried.expires() {
            return;
        }
        if let Some(reason) = over.covers(&carried) {
            over.end(&carried.hash, reason, carried.created);
            return;
        }
        if over.may_have_forgotten(&carried) {
            return;
        }
        self.seen.put(Arc::new(carried));
    }
}

impl SessionStore for CookieStore {
    fn at_hand(&self, hash: &SessionHash, now: Timestamp) -> Option<Arc<Session>> {
        self.seen.at_hand(hash, now)
    }

    fn find<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            if let Some(session) = self.seen.get(hash) {
                return Ok(Found::Live(session));
            }
            if let Some(reason) = lock(&self.over).reason(hash) {
                return Ok(Found::Ended(reason));
            }
            self.seen.find(hash, now).await
        })
    }

    fn insert(
        &self,
        session: Arc<Session>,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> StoreFuture<'_, Admission> {
        self.seen.insert(session, limit, now)
    }

    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Arc<Tokens>,
    ) -> StoreFuture<'a, SaveOutcome> {
        self.seen.save_tokens(session, tokens)
    }

    /// The browser is told with the answer.
    fn slide(&self, session: &Arc<Session>, seen: Timestamp, expires: Timestamp) {
        self.seen.slide(session, seen, expires);
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async move {
            let mut over = lock(&self.over);
            // Of one that was not seen it is not known when it began: at the latest now.
            let created = self.seen.get(hash).map(|session| session.created);
            over.end(hash, reason, created.unwrap_or_else(|| self.clock.now()));
            Ok(self.seen.remove(hash, reason))
        })
    }

    /// Remembered by nobody: what a cookie of a session that ran into a limit carries says so itself.
    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool> {
        self.seen.expire(hash, now)
    }

    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Over>> {
        lock(&self.over).forget(now);
        self.seen.sweep(now)
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.seen.tend()
    }

    fn count(&self) -> u64 {
        self.seen.count()
    }

    fn memory(&self) -> Option<Memory> {
        self.seen.memory()
    }

    fn kind(&self) -> &'static str {
        "cookie"
    }

    fn condition(&self) -> Pin<Box<dyn Future<Output = Condition> + Send + '_>> {
        self.seen.condition()
    }
}

/// Those that this process has seen; and what ends the others.
impl Directory for CookieStore {
    fn of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.seen.of_subject(subject, within)
    }

    fn of_provider_sid<'a>(
        &'a self,
        sid: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.seen.of_provider_sid(sid, within)
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        within: &'a Within,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.seen.page(word, within, after, at_most)
    }

    fn latest<'a>(
        &'a self,
        within: &'a Within,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Listed>, Option<Recency>)> {
        self.seen.latest(within, after, at_most)
    }

    fn end_unseen<'a>(
        &'a self,
        who: Who<'a>,
        began_by: Timestamp,
        except: Option<&'a SessionHash>,
        reason: EndReason,
    ) -> StoreFuture<'a, ()> {
        lock(&self.over).end_all(who, began_by, except, reason);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Lease for CookieStore {
    fn lease<'a>(&'a self, what: Leased<'a>, owner: &'a str) -> StoreFuture<'a, bool> {
        self.seen.lease(what, owner)
    }

    fn release<'a>(&'a self, what: Leased<'a>, owner: &'a str) -> StoreFuture<'a, ()> {
        self.seen.release(what, owner)
    }
}

impl Notes for CookieStore {
    fn keep<'a>(
        &'a self,
        note: Note<'a>,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.seen.keep(note, value, span, now)
    }

    fn peek<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.seen.peek(note, now)
    }

    fn take<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.seen.take(note, now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SystemRandomness};
    use crate::session::fixture;
    use crate::session::id::SessionId;
    use crate::session::record::Times;
    use crate::session::store::SiteFilter;
    use crate::session::weight;
    use crate::web::registration::Registration;
    use crate::web::site_id::SiteId;

    const MINUTE: Duration = Duration::from_mins(1);

    fn store(memory: u64) -> (CookieStore, Arc<ManualClock>) {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let clock = Arc::new(ManualClock::starting_at(now));
        let store = CookieStore::new(memory, clock.clone(), fixture::inherited());
        store.outlast(60 * MINUTE);
        (store, clock)
    }

    /// A store with room for so many.
    fn room_for(sessions: u64) -> (CookieStore, Arc<ManualClock>) {
        let (_, clock) = store(1);
        let id = SessionId::random(&SystemRandomness);
        let one = carried(&clock, "alice", "one", &id);
        store(sessions * u64::from(weight::of(&one)))
    }

    /// Until it has let go of what there is no room for: what moka pushed out is dropped by whoever comes by.
    async fn settle(store: &CookieStore) {
        for _ in 0..1000 {
            store.sweep(store.clock.now()).await.unwrap();
        }
    }

    /// The session of a cookie that was written now: its bytes are what a copy of it holds.
    fn carried(clock: &ManualClock, subject: &str, sid: &str, id: &SessionId) -> Session {
        let mut new = fixture::new_session(id.hash(), subject);
        new.facts.provider_sid = Some(sid.into());
        Session::new(new, Times::beginning(clock.now(), 30 * MINUTE, 60 * MINUTE))
    }

    fn again(session: &Session, id: &SessionId) -> Session {
        let clock = ManualClock::starting_at(session.created);
        let sid = session.provider_sid.as_deref().unwrap();
        carried(&clock, &session.subject, sid, id)
    }

    /// What a logout by somebody else does: the unseen first, then those that are listed.
    async fn end_all(
        store: &CookieStore,
        who: Who<'_>,
        except: Option<&SessionHash>,
        reason: EndReason,
    ) -> usize {
        let now = store.clock.now();
        store.end_unseen(who, now, except, reason).await.unwrap();
        let listed = match who {
            Who::Subject { subject, site, .. } => {
                let mut own = Within::of_client(&fixture::registration());
                own.site = site.map(|site| SiteFilter::Only(site.clone()));
                store.of_subject(subject, &own).await.unwrap()
            }
            Who::ProviderSid { sid, subject, .. } => {
                let own = Within::of_client(&fixture::registration());
                let mut listed = store.of_provider_sid(sid, &own).await.unwrap();
                listed.retain(|listed| subject.is_none_or(|own| *own == *listed.subject));
                listed
            }
            Who::Site(site) => {
                let own = Within::everywhere().at(site.clone());
                store.latest(&own, None, 100).await.unwrap().0
            }
        };
        let mut ended = 0;
        for listed in listed {
            if except != Some(&listed.hash) {
                let end = store.end(&listed.hash, reason).await.unwrap();
                ended += usize::from(end.is_some());
            }
        }
        ended
    }

    async fn is_over(store: &CookieStore, session: Session) -> Option<EndReason> {
        let hash = session.hash;
        store.take_in(session);
        match store.find(&hash, store.clock.now()).await.unwrap() {
            Found::Live(_) => None,
            Found::Ended(reason) => Some(reason),
            Found::Nothing => Some(EndReason::Expired),
        }
    }

    /// E13: an end holds for the user's cookies of before, seen or not, and for nobody else's.
    #[tokio::test]
    async fn an_end_holds_for_cookies_that_were_never_seen() {
        use EndReason::ProviderLogout;
        let registration = &fixture::registration();
        let by = |sid, subject| Who::ProviderSid {
            registration,
            sid,
            subject,
        };
        let of = |subject| Who::Subject {
            registration,
            subject,
            site: None,
        };
        for (name, who, expected) in [
            ("of the user", of("alice"), [true, true, false]),
            ("of the sid", by("one", None), [true, false, false]),
            ("of both", by("one", Some("alice")), [true, false, false]),
            ("of the sid of another", by("one", Some("bob")), [false; 3]),
            ("of nobody", of("carol"), [false; 3]),
        ] {
            for seen in [true, false] {
                let (store, clock) = store(1 << 20);
                let people = [("alice", "one"), ("alice", "two"), ("bob", "three")];
                let ids = people.map(|_| SessionId::random(&SystemRandomness));
                let sessions: Vec<Session> = people
                    .iter()
                    .zip(&ids)
                    .map(|((subject, sid), id)| carried(&clock, subject, sid, id))
                    .collect();
                if seen {
                    for (session, id) in sessions.iter().zip(&ids) {
                        store.take_in(again(session, id));
                    }
                }
                let ended = end_all(&store, who, None, ProviderLogout).await;
                let known = if seen {
                    expected.iter().filter(|over| **over).count()
                } else {
                    0
                };
                assert_eq!(ended, known, "{name}, {seen}");
                clock.advance(Duration::from_millis(1));
                for ((session, id), over) in sessions.iter().zip(&ids).zip(expected) {
                    let found = is_over(&store, again(session, id)).await;
                    assert_eq!(found, over.then_some(ProviderLogout), "{name}, {seen}");
                }
                let later = SessionId::random(&SystemRandomness);
                let later = carried(&clock, "alice", "one", &later);
                assert_eq!(is_over(&store, later).await, None, "{name}: a new login");
            }
        }
    }

    /// All others of a user end, and the one that asked goes on, also when it has to be read anew.
    #[tokio::test]
    async fn one_session_can_be_spared() {
        let (store, clock) = room_for(1);
        let [own, other] = [(); 2].map(|()| SessionId::random(&SystemRandomness));
        let session = carried(&clock, "alice", "one", &own);
        store.take_in(again(&session, &own));
        let reason = EndReason::SignedOutElsewhere;
        let spared = own.hash();
        let who = Who::Subject {
            registration: &fixture::registration(),
            subject: "alice",
            site: Some(&SiteId::main()),
        };
        let ended = end_all(&store, who, Some(&spared), reason).await;
        assert_eq!(ended, 0);
        let stranger = SessionId::random(&SystemRandomness);
        store.take_in(carried(&clock, "bob", "three", &stranger));
        settle(&store).await;
        assert!(
            store.seen.get(&own.hash()).is_none(),
            "it is to be read anew"
        );
        assert_eq!(is_over(&store, session).await, None);
        let unseen = carried(&clock, "alice", "two", &other);
        assert_eq!(is_over(&store, unseen).await, Some(reason));
    }

    /// E13: an end is remembered for as long as its session could have lived, and no longer.
    #[tokio::test]
    async fn ends_are_remembered_while_they_matter() {
        let (store, clock) = store(1 << 20);
        let id = SessionId::random(&SystemRandomness);
        let session = carried(&clock, "alice", "one", &id);
        store.take_in(again(&session, &id));
        store.end(&id.hash(), EndReason::Logout).await.unwrap();
        let found = is_over(&store, again(&session, &id)).await;
        assert_eq!(found, Some(EndReason::Logout));
        clock.advance(59 * MINUTE);
        store.sweep(clock.now()).await.unwrap();
        assert!(lock(&store.over).reason(&id.hash()).is_some());
        clock.advance(MINUTE);
        store.sweep(clock.now()).await.unwrap();
        assert!(lock(&store.over).reason(&id.hash()).is_none());
        let found = is_over(&store, again(&session, &id)).await;
        assert!(found.is_some(), "by what it says itself");
    }

    /// E13: with more ends than are remembered, the oldest sessions are not taken in any more, whether
    /// they had ended or not; those that this process has at hand go on.
    #[tokio::test]
    async fn a_forgotten_end_brings_nobody_back() {
        let (mut store, clock) = store(1 << 20);
        store.over = Mutex::new(Revocations::new(3));
        store.outlast(60 * MINUTE);
        let mut cookies = Vec::new();
        for _ in 0..6 {
            let id = SessionId::random(&SystemRandomness);
            cookies.push((carried(&clock, "alice", "one", &id), id));
            clock.advance(Duration::from_secs(1));
        }
        let (held, id) = &cookies[1];
        store.take_in(again(held, id));
        for (session, id) in [&cookies[0], &cookies[2], &cookies[3], &cookies[4]] {
            store.take_in(again(session, id));
            store.end(&id.hash(), EndReason::Logout).await.unwrap();
        }
        let (forgotten, id) = &cookies[0];
        assert!(is_over(&store, again(forgotten, id)).await.is_some());
        assert!(lock(&store.over).may_have_forgotten(&cookies[0].0));
        assert!(!lock(&store.over).may_have_forgotten(&cookies[2].0));
        let (held, id) = &cookies[1];
        assert_eq!(is_over(&store, again(held, id)).await, None);
        let (young, id) = &cookies[5];
        assert_eq!(is_over(&store, again(young, id)).await, None);
    }

    /// G9: a cookie whose time is up brings nothing back, and takes nothing from the browser that has a
    /// later one.
    #[tokio::test]
    async fn an_expired_cookie_ends_no_session() {
        let (store, clock) = store(1 << 20);
        let id = SessionId::random(&SystemRandomness);
        let session = carried(&clock, "alice", "one", &id);
        clock.advance(30 * MINUTE);
        let found = is_over(&store, again(&session, &id)).await;
        assert_eq!(found, Some(EndReason::Expired));
        let later = again(&session, &id);
        later.seen_at(session.created + 20 * MINUTE, session.created + 50 * MINUTE);
        assert_eq!(is_over(&store, later).await, None);
    }

    /// A process keeps as much at hand as it is told; who is in use stays, and others come back by their
    /// cookies.
    #[tokio::test]
    async fn room_is_made_for_those_who_come() {
        let (store, clock) = room_for(10);
        let ids = [(); 20].map(|()| SessionId::random(&SystemRandomness));
        let mut endings = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            store.take_in(carried(&clock, "alice", "one", id));
            if at < 5 {
                let session = store.seen.get(&id.hash()).unwrap();
                endings.push(session.ending.clone());
            }
            clock.advance(Duration::from_secs(1));
        }
        settle(&store).await;
        let living = |id: &SessionId| store.seen.get(&id.hash()).is_some();
        assert!(ids[..5].iter().all(living), "a stream is open");
        assert!(!ids[5..10].iter().any(living));
        assert!(ids[10..].iter().all(living), "used last");
        drop(endings);
        store.take_in(carried(&clock, "alice", "one", &ids[7]));
        settle(&store).await;
        assert!(living(&ids[7]));
        assert_eq!(store.count(), 10);
        let own = Within::of_client(&fixture::registration());
        assert_eq!(store.of_subject("alice", &own).await.unwrap().len(), 10);
    }

    /// §7: an end is the client's and the site's that it is of; names of others mean nobody here.
    #[tokio::test]
    async fn an_end_is_of_one_client_and_of_one_site() {
        let (own, shop) = (fixture::registration(), SiteId::new("shop"));
        let other = Registration::new("https://other.example", "app");
        let by = |registration, site| Who::Subject {
            registration,
            subject: "alice",
            site,
        };
        let of_shop = SiteFilter::WithTenants(shop.clone());
        let tenant = shop.tenant("acme");
        for (name, who, expected) in [
            ("of the client", by(&own, None), [true, true, false]),
            ("at the site", by(&own, Some(&shop)), [false, true, false]),
            ("of another", by(&other, None), [false, false, true]),
            ("of the site", Who::Site(&of_shop), [false, true, true]),
        ] {
            let (store, clock) = store(1 << 20);
            let main = SiteId::main();
            let sessions =
                [(&own, &main), (&own, &shop), (&other, &tenant)].map(|(registration, site)| {
                    let id = SessionId::random(&SystemRandomness);
                    let mut session = carried(&clock, "alice", "one", &id);
                    session.facts.registration = registration.clone();
                    session.facts.site = site.clone();
                    session
                });
            end_all(&store, who, None, EndReason::Revoked).await;
            for (session, over) in sessions.into_iter().zip(expected) {
                let found = is_over(&store, session).await;
                assert_eq!(found, over.then_some(EndReason::Revoked), "{name}");
            }
        }
    }
}
