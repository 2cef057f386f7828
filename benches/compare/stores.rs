//! What `benches/stores.sh` measures of a store: the same steps that bff takes, on rows as it
//! writes them, with no browser in between.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock, SystemRandomness};
use bff::secret::{SessionKey, StoreUrl};
use bff::session::id::SessionHash;
use bff::session::journal::{Journal, SubjectNames};
use bff::session::record::Session;
use bff::session::seal::Keys;
use bff::session::store::memory::MemoryStore;
use bff::session::store::near_cache::{NearCache, NearCacheSettings};
use bff::session::store::record_store::RecordStore;
use bff::session::store::redis::RedisStore;
use bff::session::store::sql::postgres::PostgresStore;
use bff::session::store::sql::sqlite::SqliteStore;
use bff::session::store::sql::{Migrations, SqlSettings};
use bff::session::store::voice::Voice;
use bff::session::store::{Found, SessionStore, Within};
use bff::session::{Inherited, Sessions};
use bff::telemetry::Metrics;
use bff::web::ending::EndReason;
use bff::web::site_id::SiteId;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use crate::sessions::{refreshed, registration, session_of, settings};
use crate::{Outcome, one_thread, tell};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Steps under way at once: as many as a busy node has.
pub(crate) const AT_ONCE: usize = 64;
/// Sessions of one user.
const PER_USER: usize = 10;
/// Looks, writes and ends that are timed one by one.
const SAMPLES: usize = 2000;

/// Fills a store of this kind with `count` sessions of 2 KiB of tokens and tells what each step
/// costs, a line a step: its name, steps a second, median and 99th percentile in microseconds.
pub(crate) fn run(kind: &str, url: &str, count: &str) -> Outcome {
    let count: usize = count.parse()?;
    let runtime = one_thread()?;
    let keys = Keys::of(&SessionKey::random(&SystemRandomness));
    let store = open(kind, url, keys, &runtime)?;
    runtime.block_on(measure(store, count))
}

/// The store of this kind as bff has it, but for what it remembers.
pub(crate) fn open(
    kind: &str,
    url: &str,
    keys: Keys,
    runtime: &tokio::runtime::Runtime,
) -> Result<Arc<dyn SessionStore>, Box<dyn std::error::Error + Send + Sync>> {
    let voice = Voice::new(keys.clone(), Arc::new(SystemRandomness));
    let sql = SqlSettings {
        timeout: TIMEOUT,
        migrations: Migrations::Run,
    };
    let (kind, records): (&'static str, Arc<dyn RecordStore>) = match kind {
        "memory" => {
            return Ok(Arc::new(MemoryStore::new(u64::MAX)));
        }
        "sqlite" => ("sqlite", Arc::new(SqliteStore::new(Path::new(url), sql))),
        "postgres" => (
            "postgres",
            Arc::new(PostgresStore::new(url, None, sql, voice)?),
        ),
        _ => {
            let url = StoreUrl::new(url);
            (
                "redis",
                Arc::new(RedisStore::new(&url, None, TIMEOUT, voice)?),
            )
        }
    };
    runtime.block_on(records.prepare())?;
    let near_cache = NearCacheSettings {
        kind,
        // Nothing is remembered, so that each look is a miss.
        max_staleness: Duration::ZERO,
        memory: 1,
        timeout: TIMEOUT,
    };
    Ok(Arc::new(NearCache::new(
        records,
        near_cache,
        (keys, Inherited::new(registration())),
        Arc::new(SystemClock),
        Arc::new(SystemRandomness),
        runtime.handle().clone(),
        Metrics::new().store(),
    )))
}

/// The sessions of a site in a store.
pub(crate) fn sessions(store: &Arc<dyn SessionStore>) -> Sessions {
    Sessions::new(
        Arc::clone(store),
        Arc::new(SystemClock),
        SiteId::main(),
        &settings(),
        Journal::new(Metrics::new(), SubjectNames::Clear),
    )
}

async fn measure(store: Arc<dyn SessionStore>, count: usize) -> Outcome {
    let sessions = sessions(&store);
    let now = SystemClock.now();
    let subject = |at: usize| format!("user-{}", at / PER_USER);

    let began = Instant::now();
    let hashes: Vec<SessionHash> = stream::iter(0..count)
        .map(|at| {
            let sessions = &sessions;
            async move {
                let session = sessions.prepare(session_of(&subject(at), 2048)?);
                sessions.admit(&session).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(session.hash)
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    tell_rate("begin", count, began.elapsed());

    // A stride that is no factor of the count visits sessions that lie far apart.
    let some: Vec<SessionHash> = (0..SAMPLES)
        .filter_map(|at| hashes.get(at * 7919 % count).copied())
        .collect();
    let mut found: Vec<Arc<Session>> = Vec::with_capacity(some.len());
    let mut times = Times::default();
    for hash in &some {
        let began = Instant::now();
        if let Found::Live(session) = store.find(hash, now).await? {
            found.push(session);
        }
        times.add(began);
    }
    times.tell("find, a miss");
    if found.len() != some.len() {
        return Err(format!("{} of {} sessions are there", found.len(), some.len()).into());
    }

    let began = Instant::now();
    stream::iter(&found)
        .map(|session| {
            let store = &store;
            async move {
                let tokens = refreshed(session, 2048)?;
                store.save_tokens(session, Arc::new(tokens)).await?;
                Outcome::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    tell_rate("save tokens", found.len(), began.elapsed());

    let of_client = Within::of_client(&registration());
    let mut times = Times::default();
    for at in 0..100 {
        let began = Instant::now();
        let own = store
            .of_subject(&subject(at * PER_USER * 97 % count), &of_client)
            .await?;
        times.add(began);
        if own.is_empty() {
            return Err("a user has no sessions".into());
        }
    }
    times.tell("list a user's 10");

    let mut times = Times::default();
    for _ in 0..50 {
        let began = Instant::now();
        store.page("", &Within::everywhere(), None, 50).await?;
        times.add(began);
    }
    times.tell("a page of 50");

    let mut times = Times::default();
    for at in 0..100 {
        let own = store
            .of_subject(&subject(at * PER_USER * 89 % count), &of_client)
            .await?;
        let began = Instant::now();
        for listed in &own {
            store.end(&listed.hash, EndReason::Revoked).await?;
        }
        times.add(began);
    }
    times.tell("end a user's 10");
    Ok(())
}

fn tell_rate(name: &str, count: usize, elapsed: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
    let rate = count as f64 / elapsed.as_secs_f64();
    tell(format!("{name}\t{rate:.0}\t-\t-"));
}

/// How long each of some steps took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, began: Instant) {
        self.0.push(began.elapsed());
    }

    fn tell(mut self, name: &str) {
        self.0.sort_unstable();
        let at = |percent: usize| {
            let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
            self.0.get(at).map_or(0, Duration::as_micros)
        };
        tell(format!("{name}\t-\t{}\t{}", at(50), at(99)));
    }
}
