//! Connections to upstreams: kept while idle, and given to one request at a time.
//!
//! Nobody drives an idle connection, so one that the upstream closed is noticed when it is taken,
//! or by a sweep that runs while any are kept.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::proxy::dial::{Dialer, Resolve, Socket, TRY_AGAIN};
use crate::proxy::origin::Origin;
use crate::proxy::route::Route;
use crate::proxy::upload::UploadLimits;
use crate::proxy::wire::Wire;
use crate::web::pace::LeastRate;
use crate::web::uniform::UniformState;

/// Idle connections kept for one origin by one worker.
const MOST_IDLE: usize = 128;
/// How long one is kept unused.
const IDLE_AGE: Duration = Duration::from_secs(30);
/// How often the kept ones are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// One worker's connections to all upstreams; cheap to clone.
#[derive(Clone)]
pub struct Upstreams(Arc<Shared>);

/// How long an upstream may take, and how long it is believed.
#[derive(Debug, Clone)]
pub struct UpstreamLimits {
    /// To reach it.
    pub connect: Duration,
    /// Between two pieces of a body, either way, where its route does not say otherwise.
    pub body_idle: Duration,
    /// The slowest that a request's body may come, where its route does not stream.
    pub least_rate: LeastRate,
    /// How long a connection is used for new requests: its name may lead elsewhere by then.
    pub age: Duration,
    /// Fields in the head of an answer.
    pub fields: usize,
}

/// How many connections to upstreams all workers may have open; cheap to clone.
#[derive(Debug, Clone)]
pub struct UpstreamRoom {
    free: Arc<Semaphore>,
    /// What one worker keeps idle: all of them together a quarter, so that no worker finds all that calls
    /// without a session leave to the rest kept idle by others.
    most_idle: usize,
    told_at: Arc<Mutex<Option<Instant>>>,
}

/// How often it is said that there is no more room.
const TOLD_EVERY: Duration = Duration::from_mins(1);

impl UpstreamRoom {
    /// Room for `most`, which so many workers share.
    pub fn new(most: usize, workers: NonZeroUsize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most_idle: (most / 4 / workers).max(1),
            told_at: Arc::default(),
        }
    }

    /// Tells the operator that calls are refused.
    fn tell(&self) {
        let now = Instant::now();
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_none_or(|at| now.duration_since(at) >= TOLD_EVERY) {
            *told_at = Some(now);
            tracing::warn!(
                event = "upstream.no_room",
                "as many connections to upstreams are open as the process may have, and calls are \
                 answered 503: an upstream is slow, or the limit on open files is low \
                 (LimitNOFILE= in systemd, ulimit -n)"
            );
        }
    }
}

struct Shared {
    limits: UpstreamLimits,
    room: UpstreamRoom,
    dialer: Dialer,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// The longest idle first.
    idle: HashMap<Arc<Origin>, Vec<Idle>, UniformState>,
    /// How many that are.
    kept: usize,
    /// Whether a sweep is on its way.
    swept: bool,
}

struct Idle {
    link: Box<Link>,
    until: Instant,
}

/// One connection, driven by whoever holds it.
pub(super) struct Link {
    pub(super) wire: Wire<Socket>,
    /// Whether it has served a request before.
    pub(super) reused: bool,
    pub(super) deadline: Deadline,
    pub(super) origin: Arc<Origin>,
    /// When it is too old for another request.
    old_at: Instant,
    /// The right to be open.
    pub(super) room: OwnedSemaphorePermit,
}

/// Whether an exchange may use a connection that has served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// An idle one, where there is one.
    Allowed,
    /// A new one, which the upstream cannot be about to close.
    Never,
}

/// A timer that is set anew for every wait but touches the runtime's wheel only when it must: it
/// stays armed for an earlier moment and looks again then.
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Upstreams {
    /// Connections made with these limits; `tls` verifies the upstreams that are https.
    pub fn new(
        limits: UpstreamLimits,
        room: UpstreamRoom,
        tls: Arc<rustls::ClientConfig>,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let dialer = Dialer::new(limits.connect, tls, resolver);
        Self(Arc::new(Shared {
            limits,
            room,
            dialer,
            pool: Mutex::default(),
        }))
    }

    /// How long a body of this route may stand still, either way.
    pub(super) fn idle_limit(&self, route: &Route) -> Duration {
        let own = route.settings().idle_timeout;
        own.unwrap_or(self.0.limits.body_idle)
    }

    /// What a request's body on this route may be.
    pub(super) fn upload_limits(&self, route: &Route) -> UploadLimits {
        let settings = route.settings();
        UploadLimits {
            max: settings.max_body,
            idle: self.idle_limit(route),
            least_rate: if settings.streams {
                LeastRate::ANY
            } else {
                self.0.limits.least_rate
            },
        }
    }

    /// An idle connection that still looks alive.
    pub(super) fn take(&self, origin: &Arc<Origin>) -> Option<Box<Link>> {
        let now = Instant::now();
        loop {
            let Idle { mut link, until } = self.0.pop(origin)?;
            if now < until && link.wire.is_idle() {
                link.reused = true;
                return Some(link);
            }
        }
    }

    /// The right to open a connection. Where all are in use, one that is kept idle makes room.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(room) = Arc::clone(&self.0.room.free).try_acquire_owned() {
                return Some(room);
            }
            let Some(idlest) = self.0.lock().take_idlest() else {
                self.0.room.tell();
                return None;
            };
            drop(idlest);
        }
    }

    /// A new connection.
    pub(super) async fn connect(
        &self,
        origin: &Arc<Origin>,
        room: OwnedSemaphorePermit,
    ) -> io::Result<Box<Link>> {
        let socket = self.0.dialer.dial(origin).await?;
        if origin.note_back() {
            tracing::info!(
                event = "upstream.back",
                upstream = origin.as_str(),
                "an upstream is reached again"
            );
        }
        Ok(Box::new(Link {
            wire: Wire::new(socket, self.0.limits.fields),
            reused: false,
            deadline: Deadline::new(),
            origin: Arc::clone(origin),
            old_at: Instant::now() + self.0.limits.age,
            room,
        }))
    }

    /// Remembers that an upstream cannot be reached, so that requests go to the others of its routes,
    /// and tries it again beside them: one try at a time, for all workers.
    pub(super) fn give_up(&self, origin: &Arc<Origin>) {
        if origin.note_away() {
            tracing::warn!(
                event = "upstream.away",
                upstream = origin.as_str(),
                "an upstream cannot be reached; requests go to the others of their route until it can"
            );
            let shared = Arc::downgrade(&self.0);
            drop(tokio::spawn(try_again(shared, Arc::clone(origin))));
        }
    }

    /// Takes a connection back whose exchange is over. One with anything unread or unsent is closed
    /// instead (J8). Whether it is still open is looked at when it is taken again.
    pub(super) fn give_back(&self, link: Box<Link>) {
        if !link.wire.is_over() {
            return;
        }
        let until = link.old_at.min(Instant::now() + IDLE_AGE);
        let mut pool = self.0.lock();
        if pool.kept >= self.0.room.most_idle {
            return;
        }
        let idle = match pool.idle.get_mut(&link.origin) {
            Some(idle) => idle,
            None => pool.idle.entry(Arc::clone(&link.origin)).or_default(),
        };
        if idle.len() >= MOST_IDLE {
            return;
        }
        idle.push(Idle { link, until });
        pool.kept += 1;
        if !pool.swept {
            pool.swept = true;
            drop(pool);
            drop(tokio::spawn(sweep(Arc::downgrade(&self.0))));
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self, origin: &Arc<Origin>) -> Option<Idle> {
        let mut pool = self.lock();
        let idle = pool.idle.get_mut(origin)?.pop()?;
        pool.kept -= 1;
        Some(idle)
    }

    /// Closes what is too old or was closed by the upstream; says whether any are left.
    fn sweep(&self) -> Kept {
        let now = Instant::now();
        let mut pool = self.lock();
        for idle in pool.idle.values_mut() {
            idle.retain_mut(|idle| now < idle.until && idle.link.wire.is_idle());
        }
        pool.idle.retain(|_, idle| !idle.is_empty());
        pool.kept = pool.idle.values().map(Vec::len).sum();
        if pool.idle.is_empty() {
            pool.swept = false;
            Kept::None
        } else {
            Kept::Some
        }
    }
}

impl Pool {
    /// The one that would be closed first anyway.
    fn take_idlest(&mut self) -> Option<Idle> {
        let idlest = self
            .idle
            .values_mut()
            .filter(|idle| !idle.is_empty())
            .min_by_key(|idle| idle.first().map(|first| first.until))?;
        self.kept -= 1;
        Some(idlest.remove(0))
    }
}

enum Kept {
    Some,
    None,
}

async fn sweep(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Kept::None = shared.sweep() {
            return;
        }
    }
}

async fn try_again(shared: Weak<Shared>, origin: Arc<Origin>) {
    while origin.is_away() {
        tokio::time::sleep(TRY_AGAIN).await;
        let Some(upstreams) = shared.upgrade().map(Upstreams) else {
            return;
        };
        let Some(room) = upstreams.room() else {
            continue;
        };
        if let Ok(link) = upstreams.connect(&origin, room).await {
            upstreams.give_back(link);
        }
    }
}

impl Deadline {
    fn new() -> Self {
        let at = Instant::now();
        Self {
            sleep: Box::pin(tokio::time::sleep_until(at)),
            at,
        }
    }

    /// Sets the moment.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
    }

    /// Ready once the moment has come.
    pub(super) fn poll(&mut self, ctx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(ctx));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("origin", &self.origin.as_str())
            .finish_non_exhaustive()
    }
}
