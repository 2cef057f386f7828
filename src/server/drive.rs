//! A connection run to its end: what it may wait for and how long, and when it is asked to go.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep_until};

use super::Timeouts;
use super::room::{Rest, Resting};
use super::shutdown::{Drain, FIRST_REQUEST};
use super::stream::{Pulse, Wait};
use crate::web::body::BodyError;
use crate::web::pace::{LeastRate, Pace};

/// How long an HTTP/1.1 connection keeps its engine while nothing comes. The engine's buffers and
/// the room for a request under way are some 20 KiB, of which an idle connection needs nothing:
/// after this only the socket stays, and a new engine is made when something comes. Of any version, a
/// connection that has waited for so long rests: it may have to make room.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// How a connection ended.
pub(super) enum End {
    Done(hyper::Result<()>),
    /// It kept us waiting for this, since then.
    Late(Wait, Instant),
    /// It rested, and has to make room for another.
    GivesWay,
}

/// How long and how slowly the peer of a connection may do things.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) timeouts: &'a Timeouts,
    pub(super) least_rate: LeastRate,
    /// Where it waits when it waits for nothing of ours.
    pub(super) rest: &'a Rest,
}

/// Runs a connection to its end, its timers and the drain beside it.
pub(super) async fn drive<C: Drains>(
    mut conn: Pin<&mut C>,
    pulse: &Pulse,
    drain: &Drain,
    patience: Patience<'_>,
) -> End {
    let mut beginning = pin!(drain.beginning());
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut armed = false;
    let mut draining = Draining::Unasked;
    let mut waiting = (C::as_told(Wait::FirstHead), 0);
    let mut since = Instant::now();
    let mut repose = Repose::new();
    let mut reader = Reader::new(patience.least_rate);
    std::future::poll_fn(move |ctx| {
        if draining == Draining::Unasked {
            // Registers the task, once; then the flag tells, which costs one load.
            let begun = beginning.as_mut().poll(ctx).is_ready();
            draining = if begun { Draining::due() } else { Draining::No };
        }
        if draining == Draining::No && drain.begun() {
            draining = Draining::due();
        }
        if let Poll::Ready(result) = conn.as_mut().poll(ctx) {
            return Poll::Ready(End::Done(result));
        }
        // Only now: what lay in the socket is not lost, and a request that has begun to come is
        // waited for.
        if matches!(draining, Draining::Due(_)) && !pulse.expects_a_head() {
            draining = Draining::Asked;
            conn.as_mut().graceful_shutdown();
            if let Poll::Ready(result) = conn.as_mut().poll(ctx) {
                return Poll::Ready(End::Done(result));
            }
        }
        let (wait, turn) = pulse.wait();
        let wait = C::as_told(wait);
        if (wait, turn) != waiting {
            if waiting.0 == Wait::Write {
                reader.moves(pulse.written());
            }
            waiting = (wait, turn);
            since = Instant::now();
            repose.ends(since, pulse.written());
        } else if wait.is_rest() {
            repose.looks(pulse.written());
            if repose.poll_told(ctx).is_ready() {
                return Poll::Ready(End::GivesWay);
            }
        }
        let Some(limit) = C::limit(wait, patience.timeouts) else {
            return Poll::Pending;
        };
        let mut late_at = since + limit;
        if let Draining::Due(due) = draining
            && wait != Wait::Head
        {
            late_at = late_at.min(due + FIRST_REQUEST);
        }
        loop {
            let look_at = match wait {
                Wait::Write => reader.waits().map_or(late_at, |at| at.min(late_at)),
                _ => repose.begins_at().map_or(late_at, |at| at.min(late_at)),
            };
            if armed && timer.deadline() <= look_at && !timer.is_elapsed() {
                // A timer set for earlier stays: moving it at each request costs more than one vain
                // wake.
                return Poll::Pending;
            }
            armed = true;
            let now = Instant::now();
            let is_slow = wait == Wait::Write && now >= look_at && reader.is_too_slow();
            if now >= late_at || is_slow {
                return Poll::Ready(End::Late(wait, since));
            }
            if wait.is_rest() && now >= look_at {
                repose.begin(patience.rest, since);
                if repose.poll_told(ctx).is_ready() {
                    return Poll::Ready(End::GivesWay);
                }
                continue;
            }
            timer.as_mut().reset(look_at);
            if timer.as_mut().poll(ctx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// J18: who reads what we write, and how fast, while there is something to read.
struct Reader {
    pace: Pace,
    written: u64,
}

impl Reader {
    const fn new(least: LeastRate) -> Self {
        Self {
            pace: Pace::new(least),
            written: 0,
        }
    }

    fn waits(&mut self) -> Option<Instant> {
        self.pace.waits()
    }

    /// So much was taken over the connection's life.
    fn moves(&mut self, written: u64) {
        self.pace.moves(written.wrapping_sub(self.written));
        self.written = written;
    }

    fn is_too_slow(&mut self) -> bool {
        self.pace.is_too_slow()
    }
}

/// Whether a connection rests, which it does once nothing has moved for a while.
struct Repose {
    quiet_since: Instant,
    written: u64,
    resting: Option<Resting>,
}

impl Repose {
    fn new() -> Self {
        Self {
            quiet_since: Instant::now(),
            written: 0,
            resting: None,
        }
    }

    /// Something else is waited for now.
    fn ends(&mut self, now: Instant, written: u64) {
        self.quiet_since = now;
        self.written = written;
        self.resting = None;
    }

    /// An answer of HTTP/2 is out of our hands when its stream still takes it: who takes it does not
    /// rest.
    fn looks(&mut self, written: u64) {
        if self.written != written {
            self.ends(Instant::now(), written);
        }
    }

    /// When it begins to rest, if it does not.
    fn begins_at(&self) -> Option<Instant> {
        self.resting
            .is_none()
            .then(|| self.quiet_since + PARK_AFTER)
    }

    fn begin(&mut self, rest: &Rest, since: Instant) {
        self.resting = Some(rest.begin(since));
    }

    fn poll_told(&mut self, ctx: &mut Context<'_>) -> Poll<()> {
        match &mut self.resting {
            Some(resting) => resting.poll_told(ctx),
            None => Poll::Pending,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Draining {
    /// Nobody has looked yet.
    Unasked,
    No,
    /// Since then, and the connection still waits for a head.
    Due(Instant),
    /// The connection was asked to end.
    Asked,
}

impl Draining {
    fn due() -> Self {
        Self::Due(Instant::now())
    }
}

/// J18: how long each wait may last.
const fn limit(wait: Wait, timeouts: &Timeouts) -> Option<Duration> {
    match wait {
        Wait::FirstHead | Wait::Head => Some(timeouts.head),
        Wait::NextRequest => Some(timeouts.idle),
        Wait::Write => Some(timeouts.body_idle),
        Wait::Answer => None,
    }
}

/// A connection that can be asked to end after what it is doing.
pub(super) trait Drains: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);

    /// The wait as this protocol can tell it.
    fn as_told(wait: Wait) -> Wait;

    /// How long to wait here.
    fn limit(wait: Wait, timeouts: &Timeouts) -> Option<Duration> {
        limit(wait, timeouts)
    }
}

impl<I, S, B> Drains for http1::UpgradeableConnection<I, S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: hyper::body::Body + 'static,
    B::Error: Into<BodyError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn as_told(wait: Wait) -> Wait {
        wait
    }

    fn limit(wait: Wait, timeouts: &Timeouts) -> Option<Duration> {
        let limit = limit(wait, timeouts);
        match wait {
            Wait::NextRequest => limit.map(|limit| limit.min(PARK_AFTER)),
            _ => limit,
        }
    }
}

impl<I, S, B> Drains for http2::Connection<I, S, TokioExecutor>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BodyError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    /// Once its preface has come, a connection may be idle before its first stream, as browsers open
    /// them in advance.
    fn as_told(wait: Wait) -> Wait {
        match wait {
            Wait::FirstHead => Wait::NextRequest,
            _ => wait,
        }
    }
}
