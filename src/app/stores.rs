//! Which store keeps the sessions; the only file that names concrete ones.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{self, Runtime};
use tracing::dispatcher::{self, Dispatch};

use crate::app::{StartError, memory};
use crate::auth::AuthSettings;
use crate::clock::{Clock, Randomness, SystemRandomness};
use crate::config::{Config, SiteConfig};
use crate::oidc::ProviderSettings;
use crate::session::seal::Keys;
use crate::session::store::cookie::CookieStore;
use crate::session::store::memory::MemoryStore;
use crate::session::store::near_cache::{NearCache, NearCacheSettings};
use crate::session::store::record_store::RecordStore;
#[cfg(feature = "redis")]
use crate::session::store::redis::RedisStore;
#[cfg(feature = "postgres")]
use crate::session::store::sql::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::session::store::sql::sqlite::SqliteStore;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::session::store::sql::{Migrations, SqlSettings};
use crate::session::store::voice::Voice;
use crate::session::store::{SessionStore, StoreError};
use crate::session::{Inherited, StorePlace, StoreSettings};
use crate::telemetry::Metrics;
use crate::web::registration::Registration;

/// The octets of a request's head that the cookies of a session may take: other fields must have
/// room beside them.
pub(crate) const fn room_for_cookies(head_bytes: usize) -> usize {
    const FOR_OTHERS: usize = 8 * 1024;
    if head_bytes > 2 * FOR_OTHERS {
        head_bytes - FOR_OTHERS
    } else {
        head_bytes / 2
    }
}

/// What stands around a store.
pub(super) struct Around<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) keys: &'a Keys,
    /// Whose sessions are that name no registration.
    pub(super) inherited: &'a Inherited,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) randomness: &'a Arc<dyn Randomness>,
    /// Where it is spoken to.
    pub(super) care: &'a Runtime,
}

/// Where the sessions of this process are.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn SessionStore>,
    /// The clock by which they live: nodes that share a store share their time as well.
    pub(super) clock: Arc<dyn Clock>,
    /// The same store, where it is the cookie that carries them.
    pub(super) carried: Option<Arc<CookieStore>>,
}

impl Opened {
    /// Sessions in this process, none yet, and room for so many bytes.
    pub(super) fn in_memory(clock: Arc<dyn Clock>, memory: u64) -> Self {
        Self {
            store: Arc::new(MemoryStore::new(memory)),
            clock,
            carried: None,
        }
    }
}

/// Which registration sessions are of that name none: what the main site has at its own provider.
pub(super) fn inherited(sites: &[SiteConfig]) -> Inherited {
    let main = sites.iter().find(|site| site.id.is_main());
    main.map_or_else(Inherited::nobody, |main| {
        Inherited::new(inherited_at(&main.auth, &main.provider))
    })
}

/// The same of a main site with this provider: nobody's, where it has several and none of them is what it
/// had before.
pub(super) fn inherited_at(auth: &AuthSettings, provider: &ProviderSettings) -> Registration {
    if auth.choices.has_default() {
        provider.registration()
    } else {
        Registration::unnamed()
    }
}

/// The store that the configuration names, ready or on its way: one that is away at start is no
/// reason not to, since it may come. The sessions of all sites are in it.
pub(super) fn open(store: &StoreSettings, around: &Around<'_>) -> Result<Opened, StoreError> {
    let Around {
        metrics,
        keys,
        inherited,
        clock,
        randomness,
        care,
    } = *around;
    let voice = Voice::new(keys.clone(), Arc::clone(randomness));
    let memory = store.memory.unwrap_or_else(memory::for_sessions);
    if matches!(store.place, StorePlace::Cookie) {
        let clock = Arc::clone(clock);
        let inherited = inherited.clone();
        let carried = CookieStore::new(memory, Arc::clone(&clock), inherited);
        let carried = Arc::new(carried);
        return Ok(Opened {
            store: Arc::clone(&carried) as _,
            clock,
            carried: Some(carried),
        });
    }
    let Some(records) = open_records(store, voice)? else {
        return Ok(Opened::in_memory(Arc::clone(clock), memory));
    };
    let near_cache = NearCacheSettings {
        kind: store.place.kind(),
        max_staleness: store.max_staleness,
        memory,
        timeout: store.timeout,
    };
    let store = NearCache::new(
        Arc::clone(&records),
        near_cache,
        (keys.clone(), inherited.clone()),
        Arc::clone(clock),
        Arc::clone(randomness),
        care.handle().clone(),
        metrics.store(),
    );
    let prepared = on_its_own_thread(care, async {
        records.prepare().await?;
        // Before the first request: a wrong clock must end no session.
        store.compare_clocks().await.map(drop)
    });
    match prepared {
        Ok(()) => {}
        Err(error @ (StoreError::Away(_) | StoreError::Taken(_))) => {
            tracing::warn!(event = "store.away", %error, "starting without sessions; they are served once it answers");
        }
        Err(error @ StoreError::Unusable(_)) => return Err(error),
    }
    Ok(Opened {
        clock: store.clock(),
        store: Arc::new(store),
        carried: None,
    })
}

/// Waits for a step on a thread of its own, which logs where this one does: whoever starts an app may
/// stand in a runtime already.
fn on_its_own_thread(
    care: &Runtime,
    step: impl Future<Output = Result<(), StoreError>> + Send,
) -> Result<(), StoreError> {
    let log = dispatcher::get_default(Dispatch::clone);
    std::thread::scope(|scope| {
        let step = || dispatcher::with_default(&log, || care.block_on(step));
        let broken = || Err(StoreError::Away("its thread broke".into()));
        scope.spawn(step).join().unwrap_or_else(|_| broken())
    })
}

/// What keeps sessions outside this process; `None` where nothing does.
fn open_records(
    settings: &StoreSettings,
    #[cfg_attr(
        not(any(feature = "redis", feature = "postgres")),
        expect(unused_variables, reason = "a store of one process has no channel")
    )]
    voice: Voice,
) -> Result<Option<Arc<dyn RecordStore>>, StoreError> {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    let sql = SqlSettings {
        timeout: settings.timeout,
        migrations: if settings.migrate {
            Migrations::Run
        } else {
            Migrations::Check
        },
    };
    Ok(match &settings.place {
        StorePlace::Memory | StorePlace::Cookie => None,
        #[cfg(feature = "sqlite")]
        StorePlace::Sqlite(path) => Some(Arc::new(SqliteStore::new(path, sql))),
        #[cfg(feature = "postgres")]
        StorePlace::Postgres(url) => {
            let store = PostgresStore::new(url.expose(), settings.ca.as_deref(), sql, voice)?;
            Some(Arc::new(store))
        }
        #[cfg(feature = "redis")]
        StorePlace::Redis(url) => {
            let store = RedisStore::new(url, settings.ca.as_deref(), settings.timeout, voice)?;
            Some(Arc::new(store))
        }
        #[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "redis")))]
        other => {
            let what = format!("this bff was built without the store \"{}\"", other.kind());
            return Err(StoreError::Unusable(what.into()));
        }
    })
}

/// The voice of who asks a store and tells nobody anything.
fn silent_voice(config: &Config) -> Voice {
    let randomness = SystemRandomness;
    Voice::new(
        Keys::configured(&config.keys, &randomness),
        Arc::new(randomness),
    )
}

/// Makes what would speak to the configured store, and lets it go: its address is read to the end.
pub(super) fn judge(config: &Config) -> Result<(), StoreError> {
    open_records(&config.store, silent_voice(config)).map(drop)
}

/// Asks the configured store whether it would serve, and changes nothing in it; its word, `None` where
/// sessions stay in the process.
///
/// # Errors
///
/// The store is away, or cannot be used; one sentence.
pub fn ask_store(config: &Config) -> Result<Option<&'static str>, StartError> {
    let settings = StoreSettings {
        migrate: false,
        ..config.store.clone()
    };
    // Looking would make the file, and for whoever looks.
    if let StorePlace::Sqlite(path) = &settings.place
        && !path.exists()
    {
        return Ok(Some("a new SQLite file"));
    }
    let Some(records) = open_records(&settings, silent_voice(config))? else {
        return Ok(None);
    };
    let care = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    care.block_on(async {
        records.prepare().await?;
        records.check().await
    })?;
    Ok(Some(settings.place.kind()))
}

/// Brings the schema of the configured store up to date; the word of the store.
///
/// # Errors
///
/// The store is away, or cannot be used; one sentence.
pub fn migrate(config: &Config) -> Result<&'static str, StartError> {
    let settings = StoreSettings {
        migrate: true,
        ..config.store.clone()
    };
    let care = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    if let Some(records) = open_records(&settings, silent_voice(config))? {
        care.block_on(records.prepare())?;
    }
    Ok(settings.place.kind())
}
