//! A request's body on its way to the upstream: counted, timed, and never held.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::proxy::headers::{Direction, clean_trailers};
use crate::proxy::message::has_blank_around;
use crate::web::body::{Body, BodyError};
use crate::web::pace::{LeastRate, Pace};

/// The body of a request to forward.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// As the browser sends it.
    Incoming(Incoming),
    /// Of our own making.
    Own(Body),
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::Incoming(body)
        }
    }
}

impl RequestBody {
    /// Its length, where that is known beforehand.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Incoming(body) => body.size_hint().exact(),
            Self::Own(body) => body.size_hint().exact(),
        }
    }

    /// Whether its head says that nothing comes, and its end has not come yet: so in HTTP/2 alone.
    pub(super) fn is_said_to_be_empty(&self) -> bool {
        matches!(self, Self::Incoming(body) if body.size_hint().exact() == Some(0))
    }

    /// J15: waits for the end of a body that is said to be empty, and leaves none. Bytes in it would
    /// make the request malformed when all of it had gone upstream already (RFC 9113 §8.1.1).
    pub(super) async fn end(&mut self, within: Duration) -> Result<(), UploadFault> {
        let mut body = std::mem::take(self);
        let ended = async {
            loop {
                match std::future::poll_fn(|ctx| body.poll_frame(ctx)).await {
                    None => return Ok(()),
                    Some(Ok(frame)) if frame.data_ref().is_none_or(Bytes::is_empty) => {}
                    Some(_) => return Err(UploadFault::Broken),
                }
            }
        };
        let ended = tokio::time::timeout(within, ended).await;
        ended.unwrap_or(Err(UploadFault::Idle))
    }

    fn poll_frame(
        &mut self,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Incoming(body) => Pin::new(body)
                .poll_frame(ctx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Self::Own(body) => Pin::new(body).poll_frame(ctx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Incoming(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }
}

/// How far an upload has come, while the connection has it.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU64);

/// Why an upload broke off; all of it is the browser's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadFault {
    /// It ended before its time, or is malformed.
    #[error("the browser's body broke off")]
    Broken,
    /// It has more bytes than the route allows.
    #[error("the body is larger than the route allows")]
    TooLarge,
    /// It stood still, or dripped.
    #[error("the browser sent nothing, or hardly anything, for too long")]
    Idle,
}

impl Progress {
    /// The bytes that went by so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a connection sends as a request's body.
#[derive(Debug, Default)]
pub enum Outgoing {
    /// Nothing.
    #[default]
    Empty,
    /// What a browser sends.
    Upload(Box<Upload>),
}

/// A browser's body, within its limits.
pub struct Upload {
    body: RequestBody,
    progress: Arc<Progress>,
    /// How many bytes may still come.
    allowed: u64,
    idle: Duration,
    pace: Pace,
    /// Made at the first wait, armed at every first one since the last bytes.
    timer: Option<Pin<Box<Sleep>>>,
    /// When the wait under way has lasted too long.
    late_at: Option<Instant>,
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadLimits {
    /// Its bytes.
    pub(super) max: Option<u64>,
    /// How long it may stand still.
    pub(super) idle: Duration,
    /// The slowest that it may go.
    pub(super) least_rate: LeastRate,
}

impl Outgoing {
    /// A body within these limits, and where to see how it fares.
    pub(super) fn new(body: RequestBody, limits: UploadLimits) -> (Self, Option<Arc<Progress>>) {
        if body.is_end_stream() {
            return (Self::Empty, None);
        }
        let progress = Arc::new(Progress::default());
        let upload = Upload {
            body,
            progress: Arc::clone(&progress),
            allowed: limits.max.unwrap_or(u64::MAX),
            idle: limits.idle,
            pace: Pace::new(limits.least_rate),
            timer: None,
            late_at: None,
        };
        (Self::Upload(Box::new(upload)), Some(progress))
    }
}

impl Upload {
    fn poll(&mut self, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let Poll::Ready(frame) = self.body.poll_frame(ctx) else {
            return self.poll_idle(ctx).map(|fault| Some(Err(fault)));
        };
        self.late_at = None;
        Poll::Ready(match frame {
            None => None,
            Some(Err(_)) => Some(Err(UploadFault::Broken)),
            Some(Ok(frame)) => Some(self.pass(frame)),
        })
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadFault> {
        match frame.into_data() {
            Ok(data) => {
                let length = data.len() as u64;
                let Some(left) = self.allowed.checked_sub(length) else {
                    return Err(UploadFault::TooLarge);
                };
                self.allowed = left;
                self.pace.moves(length);
                self.progress.0.fetch_add(length, Ordering::Relaxed);
                Ok(Frame::data(data))
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) if has_blank_around(&trailers) => Err(UploadFault::Broken),
                Ok(mut trailers) => {
                    clean_trailers(&mut trailers, Direction::ToUpstream);
                    Ok(Frame::trailers(trailers))
                }
                Err(other) => Ok(other),
            },
        }
    }

    /// J18: nothing is there, and the browser is waited for.
    fn poll_idle(&mut self, ctx: &mut Context<'_>) -> Poll<UploadFault> {
        let late_at = *self
            .late_at
            .get_or_insert_with(|| Instant::now() + self.idle);
        loop {
            let look_at = self.pace.waits().map_or(late_at, |at| at.min(late_at));
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(look_at)));
            if timer.deadline() != look_at {
                timer.as_mut().reset(look_at);
            }
            std::task::ready!(timer.as_mut().poll(ctx));
            if look_at == late_at || self.pace.is_too_slow() {
                return Poll::Ready(UploadFault::Idle);
            }
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Upload(upload) => upload.poll(ctx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload(upload) => upload
                .body
                .length()
                .map(SizeHint::with_exact)
                .unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
