//! `/bff/session/events`: what happens to a session, as it happens (server-sent events).
//!
//! `stream.rs` is the stream of a live session; here is who gets one, and what the rest are told.

mod stream;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::auth::answer::not_stored;
use crate::auth::ending::{FORGOTTEN, WITHOUT_COOKIE};
use crate::auth::session::SessionEndpoints;
use crate::clock::Timestamp;
use crate::session::Activity;
use crate::session::cookie::Presented;
use crate::session::record::Session;
use crate::session::store::{Found, StoreError};
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::open_limits::OpenLimitReached;

use stream::{EventStream, StreamParts};

/// Streams open at once, over all workers.
pub(in crate::auth) const MOST_STREAMS: usize = 20_000;
/// Streams of one session open at once: a tab has one.
pub(in crate::auth) const MOST_STREAMS_PER_SESSION: usize = 20;

/// After this long a browser connects again, in milliseconds.
const RETRY: u32 = 2000;

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

impl SessionEndpoints {
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
                    Found::Nothing => last.is_some().then_some(FORGOTTEN),
                }
            }
            Presented::Nothing => last.is_some().then_some(WITHOUT_COOKIE),
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
        let permit = self.streams.take(Some(&session.details.tag))?;
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

fn retry(millis: u32) -> String {
    format!("retry: {millis}\n\n")
}

fn push_ended(text: &mut String, reason: EndReason) {
    push_event(
        text,
        "ended",
        format_args!("{ENDED}"),
        &json!({ "reason": reason.as_str() }),
    );
}

fn push_event(text: &mut String, event: &str, id: std::fmt::Arguments<'_>, data: &Value) {
    #[expect(
        clippy::let_underscore_must_use,
        reason = "writing to a String cannot fail"
    )]
    let _ = write!(text, "event: {event}\nid: {id}\ndata: {data}\n\n");
}
