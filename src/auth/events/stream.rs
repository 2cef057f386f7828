//! The stream of events of a live session: a body that is polled, with no task behind it.
//!
//! It wakes for a heartbeat, for the end of its session, and when the session's expiry moves or comes
//! near; only near that does it ask the store, since another node may have put it off. It never
//! counts as use of the session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::auth::events::{LastEvent, RETRY, push_ended, push_event, retry};
use crate::clock::{Clock, Randomness, Timestamp};
use crate::session::Sessions;
use crate::session::record::Session;
use crate::web::body::BodyError;
use crate::web::ending::EndReason;
use crate::web::open_limits::OpenPermit;

/// How often something is sent, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long before the end a session is said to expire, at most.
const WARNING: Duration = Duration::from_mins(1);
/// How often the store is asked about a session whose time is up and that has not been ended.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a stream is made of.
pub(super) struct StreamParts {
    pub(super) sessions: Sessions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
    pub(super) session: Arc<Session>,
    pub(super) permit: OpenPermit,
    pub(super) shutdown: CancellationToken,
}

pub(super) struct EventStream {
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    session: Arc<Session>,
    _permit: OpenPermit,
    /// Said, and not sent yet.
    text: String,
    over: bool,
    /// The expiry that the browser knows of.
    told: Timestamp,
    stage: Stage,
    end: Pin<Box<dyn Future<Output = EndReason> + Send>>,
    change: Change,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    look: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    timer: Pin<Box<Sleep>>,
    heartbeat: Instant,
}

type Change = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How near the expiry is that the browser knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not near.
    Calm,
    /// Near, and the store is asked whether it was put off elsewhere.
    Looking,
    /// The browser was warned. Past the expiry, the store is asked again from then on.
    Warned { look_from: Instant },
}

impl EventStream {
    pub(super) fn new(parts: StreamParts, last: Option<&LastEvent>) -> Self {
        let StreamParts {
            sessions,
            clock,
            randomness,
            session,
            permit,
            shutdown,
        } = parts;
        let now = Instant::now();
        let ending = session.ending.clone();
        let mut stream = Self {
            text: retry(RETRY),
            over: false,
            told: sessions.expires(&session),
            stage: Stage::Calm,
            end: Box::pin(async move { ending.wait().await }),
            change: change_of(&session),
            shutdown: Box::pin(shutdown.cancelled_owned()),
            look: None,
            timer: Box::pin(sleep_until(now + HEARTBEAT)),
            heartbeat: now + HEARTBEAT,
            sessions,
            clock,
            randomness,
            session,
            _permit: permit,
        };
        match last {
            // It goes on where it broke off: what was missed is told, what was told is not repeated.
            Some(LastEvent::Of {
                tag,
                expires,
                warned,
            }) if **tag == *stream.session.details.tag => {
                stream.told = *expires;
                if *warned {
                    stream.stage = Stage::Warned { look_from: now };
                }
            }
            Some(LastEvent::Of { .. } | LastEvent::Ended | LastEvent::Other) | None => {
                stream.say("signed_in", &stream.standing());
            }
        }
        stream
    }

    /// Whether the session was renewed, and the stream is of the new one from here on.
    fn goes_on_in_another(&mut self) -> bool {
        // Not before the old one is over: until then the login that renews it may come to nothing.
        let Some(successor) = self.session.successor() else {
            return false;
        };
        if self.session.ending.reason().is_none() {
            return false;
        }
        self.change = change_of(&successor);
        self.session = successor;
        self.told = self.sessions.expires(&self.session);
        self.stage = Stage::Calm;
        self.look = None;
        self.say("renewed", &self.standing());
        true
    }

    /// Whose stream it is, and for how long.
    fn standing(&self) -> Value {
        let remaining = self.sessions.remaining(&self.session);
        json!({
            "tag": self.session.details.tag,
            "expires_in": remaining.idle.as_secs(),
            "ends_in": remaining.absolute.as_secs(),
        })
    }

    /// Says what there is to say of the expiry; else, when there will be something.
    fn look_at_expiry(&mut self) -> Option<Instant> {
        let expires = self.sessions.expires(&self.session);
        let (now, instant) = (self.clock.now(), Instant::now());
        if expires > self.told {
            self.told = expires;
            self.stage = Stage::Calm;
            let remaining = self.sessions.remaining(&self.session);
            let facts = json!({
                "expires_in": remaining.idle.as_secs(),
                "ends_in": remaining.absolute.as_secs(),
            });
            self.say("extended", &facts);
            return None;
        }
        let warning = WARNING.min(self.sessions.idle_timeout() / 4);
        match self.stage {
            Stage::Calm if now < expires - warning => {
                Some(instant + (expires - warning).since(now))
            }
            Stage::Calm => {
                self.stage = Stage::Looking;
                self.ask_store();
                None
            }
            Stage::Looking if self.look.is_some() => None,
            Stage::Looking => {
                self.stage = Stage::Warned { look_from: instant };
                // Past its expiry the end itself is on its way.
                if now < expires {
                    let facts = json!({ "expires_in": expires.since(now).as_secs() });
                    self.say("expiring", &facts);
                }
                Some(instant)
            }
            Stage::Warned { .. } if now < expires => Some(instant + expires.since(now)),
            Stage::Warned { .. } if self.look.is_some() => None,
            Stage::Warned { look_from } if instant < look_from => Some(look_from),
            Stage::Warned { .. } => {
                let look_from = instant + LOOK_AGAIN_AFTER;
                self.stage = Stage::Warned { look_from };
                self.ask_store();
                Some(look_from)
            }
        }
    }

    /// Brings the session up to date, whose end then comes as any end does.
    fn ask_store(&mut self) {
        let (sessions, session) = (self.sessions.clone(), Arc::clone(&self.session));
        self.look = Some(Box::pin(async move {
            // A store that is away ends nobody's session: what is known here is said.
            drop(sessions.reload(&session).await);
        }));
    }

    fn say(&mut self, event: &str, data: &Value) {
        let (tag, expires) = (&self.session.details.tag, self.told.unix_millis());
        let warned = match self.stage {
            Stage::Warned { .. } => ".warned",
            Stage::Calm | Stage::Looking => "",
        };
        push_event(
            &mut self.text,
            event,
            format_args!("{tag}.{expires}{warned}"),
            data,
        );
    }

    fn say_farewell(&mut self) {
        // Those who come back to the next process do not come at once.
        let mut chance = [0_u8; 1];
        self.randomness.fill(&mut chance);
        let [chance] = chance;
        self.text = retry(RETRY / 2 + u32::from(chance) * 10);
        self.over = true;
    }
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if !this.text.is_empty() {
                let text = std::mem::take(&mut this.text);
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            if let Poll::Ready(reason) = this.end.as_mut().poll(ctx) {
                push_ended(&mut this.text, reason);
                this.over = true;
                continue;
            }
            if this.shutdown.as_mut().poll(ctx).is_ready() {
                this.say_farewell();
                continue;
            }
            if let Some(look) = &mut this.look
                && look.as_mut().poll(ctx).is_ready()
            {
                this.look = None;
                // Its end may have come with the answer.
                continue;
            }
            // Registered before the look, so that a change between the two is not missed.
            while this.change.as_mut().poll(ctx).is_ready() {
                this.change = change_of(&this.session);
            }
            if this.goes_on_in_another() {
                continue;
            }
            let looked = this.look.is_some();
            let next = this.look_at_expiry();
            if !this.text.is_empty() || this.look.is_some() != looked {
                continue;
            }
            let now = Instant::now();
            if now >= this.heartbeat {
                this.heartbeat = now + HEARTBEAT;
                this.text.push_str(":\n\n");
                continue;
            }
            let wake = next.map_or(this.heartbeat, |next| next.min(this.heartbeat));
            if this.timer.deadline() != wake {
                this.timer.as_mut().reset(wake);
            }
            if this.timer.as_mut().poll(ctx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.text.is_empty()
    }
}

fn change_of(session: &Arc<Session>) -> Change {
    let session = Arc::clone(session);
    Box::pin(async move { session.changes.notified().await })
}
