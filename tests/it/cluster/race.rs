//! A use and a refresh racing an end from another node: what is over stays over.

use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock, SystemRandomness};
use bff::secret::{AccessToken, LogoutSid, RefreshToken, SessionKey, StoreUrl};
use bff::session::cookie::OpenedCookie;
use bff::session::id::{SessionHash, SessionId};
use bff::session::journal::{Journal, SubjectNames};
use bff::session::record::{Details, Facts, NewSession, Session};
use bff::session::seal::Keys;
use bff::session::store::near_cache::{NearCache, NearCacheSettings};
use bff::session::store::record_store::{Lookup, RecordStore, Rows, Standing};
use bff::session::store::redis::RedisStore;
use bff::session::store::sql::postgres::PostgresStore;
use bff::session::store::sql::{Migrations, SqlSettings};
use bff::session::store::voice::Voice;
use bff::session::store::{Found, SaveOutcome, SessionStore as _};
use bff::session::tokens::{Access, Tokens};
use bff::session::{Activity, CookieSettings, Inherited, SameSite, SessionSettings, Sessions};
use bff::telemetry::Metrics;
use bff::web::ending::EndReason;
use bff::web::registration::Registration;
use bff::web::site_id::SiteId;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Kind, Setup, Store, World, figure, on_stores, pass};
use crate::support::clock::soon;

const STALENESS: Duration = Duration::from_secs(1);

/// A node, as far as sessions go.
struct InProcess {
    records: Arc<dyn RecordStore>,
    cache: NearCache,
    sessions: Sessions,
    tending: JoinHandle<()>,
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.tending.abort();
    }
}

impl InProcess {
    fn on(store: &Store, keys: &Keys) -> Self {
        let voice = Voice::new(keys.clone(), Arc::new(SystemRandomness));
        let records = records(store, voice);
        let cache = NearCache::new(
            Arc::clone(&records),
            NearCacheSettings {
                kind: store.word(),
                max_staleness: STALENESS,
                memory: 64 << 20,
                timeout: Duration::from_secs(10),
            },
            (keys.clone(), Inherited::new(registration())),
            Arc::new(SystemClock),
            Arc::new(SystemRandomness),
            Handle::current(),
            Metrics::new().store(),
        );
        let tending = tokio::spawn({
            let cache = cache.clone();
            async move { cache.tend().await }
        });
        let sessions = Sessions::new(
            Arc::new(cache.clone()),
            cache.clock(),
            SiteId::main(),
            &settings(),
            Journal::new(Metrics::new(), SubjectNames::Clear),
        );
        Self {
            records,
            cache,
            sessions,
            tending,
        }
    }
}

/// The store as a node opens it.
fn records(store: &Store, voice: Voice) -> Arc<dyn RecordStore> {
    let timeout = Duration::from_secs(10);
    match store {
        Store::Redis(redis) => {
            let url = StoreUrl::new(redis.url());
            Arc::new(RedisStore::new(&url, None, timeout, voice).unwrap())
        }
        Store::Postgres(_, url) => {
            let settings = SqlSettings {
                timeout,
                migrations: Migrations::Run,
            };
            Arc::new(PostgresStore::new(url, None, settings, voice).unwrap())
        }
        other => panic!("{other:?} is one process's own"),
    }
}

fn settings() -> SessionSettings {
    SessionSettings {
        idle_timeout: Duration::from_mins(30),
        max_lifetime: Duration::from_hours(8),
        limit: None,
        cookie: CookieSettings {
            name: "bff".to_owned(),
            former_name: None,
            secure: false,
            same_site: SameSite::Strict,
            persistent: false,
        },
    }
}

fn tokens(version: u64) -> Tokens {
    let access_token = AccessToken::new(&format!("access token {version}"));
    Tokens {
        refresh_token: Some(Arc::new(RefreshToken::new(format!("refresh {version}")))),
        id_token: None,
        ..Tokens::first(Access::new(version, access_token).unwrap())
    }
}

fn registration() -> Registration {
    Registration::new("https://id.example.com", "app")
}

fn new_session(number: usize) -> NewSession {
    NewSession {
        facts: Facts {
            provider_sid: Some(format!("sid {number}").into()),
            ..Facts::new(
                SessionId::random(&SystemRandomness).hash(),
                SiteId::main(),
                registration(),
                &format!("subject {number}"),
            )
        },
        details: Details::new(
            &format!("tag {number}"),
            LogoutSid::random(&SystemRandomness),
        ),
        tokens: tokens(1),
    }
}

/// The session as calls at this node find it.
async fn known(node: &InProcess, cookie: &OpenedCookie) -> Arc<Session> {
    match node.sessions.find(cookie, Activity::Observes).await {
        Ok(Found::Live(session)) => session,
        found => panic!("{found:?}"),
    }
}

/// One session, known to both nodes; used and refreshed on both while one of them ends it.
async fn race(one: &InProcess, other: &InProcess, number: usize) -> (SessionHash, SaveOutcome) {
    let session = one.sessions.prepare(new_session(number));
    one.sessions.admit(&session).await.unwrap();
    let cookie = OpenedCookie::of(session.hash, session.created);
    let (session, there) = (known(one, &cookie).await, known(other, &cookie).await);
    let use_it = |node: &InProcess, session: &Arc<Session>| {
        let now = SystemClock.now() + Duration::from_mins(5);
        node.cache
            .slide(session, now, now + settings().idle_timeout);
    };
    // Who comes first is another one each time.
    let pause = |share: usize| Duration::from_micros((number * share % 7 * 300) as u64);
    let ((), saved, (), ended) = tokio::join!(
        async {
            pass(pause(3)).await;
            use_it(one, &session);
        },
        async {
            pass(pause(5)).await;
            let tokens = Arc::new(tokens(2));
            one.sessions.save_tokens(&session, &tokens).await.unwrap()
        },
        async {
            pass(pause(2)).await;
            use_it(other, &there);
        },
        async {
            pass(pause(11)).await;
            let ended = other.sessions.end(&there.hash, EndReason::Logout).await;
            ended.unwrap()
        },
    );
    let acknowledged = Instant::now();
    let ended = ended.expect("the one who ends it gets it");
    // What is revoked are the tokens of that moment: with them the late ones of a loser.
    let kept = if saved == SaveOutcome::Saved { 2 } else { 1 };
    assert_eq!(ended.tokens().version, kept, "{saved:?}");
    let over = |found: &Found| matches!(found, Found::Ended(EndReason::Logout));
    let found = other
        .sessions
        .find(&cookie, Activity::Slides)
        .await
        .unwrap();
    assert!(
        over(&found),
        "{number}: {found:?} on the node that ended it"
    );
    loop {
        let asked = Instant::now();
        let found = one.sessions.find(&cookie, Activity::Slides).await.unwrap();
        if over(&found) {
            break;
        }
        let late = asked - acknowledged;
        assert!(
            late <= STALENESS,
            "{number}: {found:?} {late:?} after its end"
        );
        pass(Duration::from_millis(1)).await;
    }
    // Whatever is open on its behalf is told, too, if a moment later than whoever asks.
    let told = soon("the end of what is open", session.ending.wait()).await;
    assert_eq!(told, EndReason::Logout);
    (session.hash, saved)
}

/// L8: never revived, whoever came late; the store holds the remembered end alone.
async fn an_end_wins(kind: Kind, races: usize, at_once: usize) {
    let Some(store) = Store::start(kind).await else {
        return;
    };
    let keys = Keys::of(&SessionKey::random(&SystemRandomness));
    let (one, other) = (InProcess::on(&store, &keys), InProcess::on(&store, &keys));
    one.records.prepare().await.unwrap();
    let mut hashes = Vec::new();
    let mut saved = 0;
    let began = Instant::now();
    for batch in 0..races.div_ceil(at_once) {
        let numbers = batch * at_once..((batch + 1) * at_once).min(races);
        let raced = join_all(numbers.map(|number| race(&one, &other, number))).await;
        for (hash, outcome) in raced {
            hashes.push(hash);
            saved += usize::from(outcome == SaveOutcome::Saved);
            assert_ne!(outcome, SaveOutcome::Overtaken);
        }
    }
    let took = began.elapsed();
    // What was written late was written by now.
    pass(Duration::from_millis(500)).await;
    for hashes in hashes.chunks(500) {
        let standings = one.records.standings(hashes).await.unwrap();
        let revived: Vec<_> = standings
            .iter()
            .filter(|standing| **standing != Standing::Ended(EndReason::Logout))
            .collect();
        assert!(revived.is_empty(), "{revived:?}");
    }
    let everywhere = Rows::all();
    for (number, hash) in hashes.iter().enumerate() {
        let lookup = other.records.load(hash).await.unwrap();
        assert_eq!(lookup, Lookup::Ended(EndReason::Logout));
        if number % 50 == 0 {
            let subject = format!("subject {number}");
            let listed = one.records.of_subject(&subject, &everywhere).await;
            assert_eq!(listed.unwrap(), []);
            let sid = format!("sid {number}");
            let listed = one.records.of_provider_sid(&sid, &everywhere).await;
            assert_eq!(listed.unwrap(), []);
        }
    }
    assert_eq!(one.records.count().await.unwrap(), 0);
    let page = one.records.page("", &everywhere, None, 10).await;
    assert_eq!(page.unwrap(), []);
    assert!(
        races < 50 || (saved > 0 && saved < races),
        "no race: {saved}"
    );
    figure!(
        "{kind:?}: {races} races of two uses and a refresh with an end: {saved} refreshes came first, none revived a session; {took:?}"
    );
}

on_stores! { an_end_wins:
    an_end_wins_over_a_use_and_a_refresh_on_redis(Kind::Redis, 300, 50);
    an_end_wins_over_a_use_and_a_refresh_on_postgres(Kind::Postgres, 300, 50);
    #[ignore = "large"]
    large_races_on_redis(Kind::Redis, 10_000, 100);
    #[ignore = "large"]
    large_races_on_postgres(Kind::Postgres, 10_000, 100);
}

/// L8, with processes: calls that slide and refresh on two nodes while the third signs out.
async fn a_logout_wins(kind: Kind, people: usize, rounds: usize) {
    let setup = Setup {
        // A use is written down after a second.
        session: "idle_timeout = \"10s\"",
        ..Setup::default()
    };
    let Some(world) = World::start(kind, setup).await else {
        return;
    };
    world.provider.core.set_access_token_seconds(1);
    let (mut served, mut refused) = (0, 0);
    let refreshed_before = world.provider.decided();
    let mut everybody = Vec::new();
    for round in 0..rounds {
        let mut crowd = Vec::new();
        for number in 0..people {
            crowd.push(world.person(round * people + number, number).await);
        }
        pass(Duration::from_millis(1050)).await;
        let races = crowd.iter().enumerate().map(async |(number, person)| {
            let (first, second, third) = (
                world.addr(number),
                world.addr(number + 1),
                world.addr(number + 2),
            );
            let sign_out = async {
                pass(Duration::from_millis((number as u64 * 37) % 250)).await;
                // It may itself find that a lost race had ended it: then it is as well.
                person.sign_out(third).await;
                Instant::now()
            };
            let (one, other, acknowledged) =
                tokio::join!(person.status(first), person.status(second), sign_out);
            (one, other, acknowledged)
        });
        for (one, other, acknowledged) in join_all(races).await {
            for status in [one, other] {
                match status {
                    200 => served += 1,
                    401 => refused += 1,
                    other => panic!("round {round}: {other}"),
                }
            }
            let rest = (acknowledged + STALENESS).saturating_duration_since(Instant::now());
            pass(rest).await;
        }
        for person in &crowd {
            for addr in world.addrs() {
                assert_eq!(person.told(addr).await, "401 session_expired");
            }
        }
        everybody.extend(crowd);
    }
    for person in everybody.iter().rev().take(200) {
        for addr in world.addrs() {
            assert_eq!(person.told(addr).await, "401 session_expired", "revived");
        }
    }
    let refreshes = world.provider.decided() - refreshed_before;
    figure!(
        "{kind:?}: {} logouts racing calls on two other nodes: {served} calls came first, {refused} were refused, {refreshes} refreshes; nobody was served beyond the bound",
        everybody.len()
    );
    world.logs_are_clean();
}

on_stores! { a_logout_wins:
    a_logout_wins_over_calls(Kind::Redis, 15, 1)(Kind::Postgres, 15, 1);
    #[ignore = "large"]
    large_logouts_on_redis(Kind::Redis, 20, 50);
    #[ignore = "large"]
    large_logouts_on_postgres(Kind::Postgres, 20, 50);
}
