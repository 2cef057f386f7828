//! `/bff/session/events`: what happens to a session, as it happens (server-sent events).
//!
//! A stream is a body that is polled: no task stands behind it. It wakes for a heartbeat, for the end
//! of its session, and when the session's expiry moves or comes near; only near that does it ask the
//! store, since another node may have put it off. It never counts as use of the session.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::auth::RelyingParty;
use crate::auth::answer::not_stored;
use crate::clock::{Clock, Randomness, Timestamp};
use crate::session::cookie::Presented;
use crate::session::record::Session;
use crate::session::store::{Found, StoreError};
use crate::session::{Activity, Sessions};
use crate::web::body::{Body, BodyError};
use crate::web::ending::EndReason;
use crate::web::open_limits::{OpenLimitReached, OpenPermit};

/// Streams open at once, over all workers.
pub(in crate::auth) const MOST_STREAMS: usize = 20_000;
/// Streams of one session open at once: a tab has one.
pub(in crate::auth) const MOST_STREAMS_PER_SESSION: usize = 20;

/// How often something is sent, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After this long a browser connects again, in milliseconds.
const RETRY: u32 = 2000;
/// How long before the end a session is said to expire, at most.
const WARNING: Duration = Duration::from_mins(1);
/// How often the store is asked about a session whose time is up and that has not been ended.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Buffering proxies in front keep the events back unless they are told.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The id of an `ended` event.
const ENDED: &str = "ended";

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// As many are open as may be.
    #[error(transparent)]
    TooMany(#[from] OpenLimitReached),
    /// The store could not be asked, which is no news of the session.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RelyingParty {
    /// Answers `/bff/session/events`. `shutdown` ends the stream.
    ///
    /// # Errors
    ///
    /// See [`EventsError`].
    pub async fn events(
        &self,
        parts: &Parts,
        presented: Presented,
        shutdown: &CancellationToken,
    ) -> Result<Response<Body>, EventsError> {
        let last = LastEvent::read(&parts.headers);
        let reason = match presented {
            Presented::Session(cookie) => {
                match self.sessions.find(&cookie, Activity::Observes).await? {
                    Found::Live(session) => return self.stream(session, last.as_ref(), shutdown),
                    Found::Ended(reason) => Some(reason),
                    // Forgotten, however it ended.
                    Found::Nothing => last.is_some().then_some(EndReason::Expired),
                }
            }
            // Signed out in another tab, which took the cookie.
            Presented::Nothing | Presented::Unreadable => {
                last.is_some().then_some(EndReason::Logout)
            }
        };
        Ok(match reason {
            Some(reason) if last != Some(LastEvent::Ended) => {
                let mut text = retry(RETRY);
                push_ended(&mut text, reason);
                event_stream(Body::full(text))
            }
            // The one status that keeps an EventSource from coming back.
            Some(_) | None => {
                let mut nothing = not_stored(Response::new(Body::Empty));
                *nothing.status_mut() = StatusCode::NO_CONTENT;
                nothing
            }
        })
    }

    fn stream(
        &self,
        session: Arc<Session>,
        last: Option<&LastEvent>,
        shutdown: &CancellationToken,
    ) -> Result<Response<Body>, EventsError> {
        let permit = self.streams.take(Some(&session.tag))?;
        let stream = EventStream::new(
            StreamParts {
                sessions: self.sessions.clone(),
                clock: Arc::clone(&self.clock),
                randomness: Arc::clone(&self.randomness),
                session,
                permit,
                shutdown: shutdown.clone(),
            },
            last,
        );
        Ok(event_stream(Body::stream(stream)))
    }
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = not_stored(Response::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// What the browser heard last, by the id of that event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LastEvent {
    /// An end.
    Ended,
    /// Of a session that was told to expire at this moment, with the warning or without.
    Of {
        tag: String,
        expires: Timestamp,
        warned: bool,
    },
    /// Nothing that we ever said.
    Other,
}

impl LastEvent {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get(LAST_EVENT_ID)?.to_str().unwrap_or_default();
        Some(match id.split('.').collect::<Vec<_>>().as_slice() {
            [ENDED] => Self::Ended,
            [tag, expires, rest @ ..] => match (expires.parse(), rest) {
                (Ok(expires), [] | ["warned"]) => Self::Of {
                    tag: (*tag).to_owned(),
                    expires: Timestamp::from_unix_millis(expires),
                    warned: !rest.is_empty(),
                },
                _ => Self::Other,
            },
            _ => Self::Other,
        })
    }
}

/// What a stream is made of.
struct StreamParts {
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    session: Arc<Session>,
    permit: OpenPermit,
    shutdown: CancellationToken,
}

struct EventStream {
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
    fn new(parts: StreamParts, last: Option<&LastEvent>) -> Self {
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
            }) if **tag == *stream.session.tag => {
                stream.told = *expires;
                if *warned {
                    stream.stage = Stage::Warned { look_from: now };
                }
            }
            Some(LastEvent::Of { .. } | LastEvent::Ended | LastEvent::Other) | None => {
                let remaining = stream.sessions.remaining(&stream.session);
                let facts = json!({
                    "tag": stream.session.tag,
                    "expires_in": remaining.idle.as_secs(),
                    "ends_in": remaining.absolute.as_secs(),
                });
                stream.say("signed_in", &facts);
            }
        }
        stream
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
        let (tag, expires) = (&self.session.tag, self.told.unix_millis());
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

fn retry(millis: u32) -> String {
    format!("retry: {millis}\n\n")
}

fn push_ended(text: &mut String, reason: EndReason) {
    let word = match reason {
        // Of no difference to a person.
        EndReason::Evicted => EndReason::Expired.as_str(),
        reason => reason.as_str(),
    };
    push_event(
        text,
        "ended",
        format_args!("{ENDED}"),
        &json!({ "reason": word }),
    );
}

fn push_event(text: &mut String, event: &str, id: std::fmt::Arguments<'_>, data: &Value) {
    #[expect(
        clippy::let_underscore_must_use,
        reason = "writing to a String cannot fail"
    )]
    let _ = write!(text, "event: {event}\nid: {id}\ndata: {data}\n\n");
}

#[cfg(test)]
mod tests;
