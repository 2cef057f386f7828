//! The one body type of every answer that leaves `bff`.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Why a body broke off.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// The body of an answer: nothing, bytes at hand, or a stream that somebody else feeds.
pub enum Body {
    /// No bytes at all.
    Empty,
    /// Bytes at hand; `None` once they were given out.
    Full(Option<Bytes>),
    /// A stream: a file, an upstream's answer, server-sent events.
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// A body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(Some(bytes))
        }
    }

    /// A body that `stream` feeds.
    pub fn stream<B>(stream: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        use http_body_util::BodyExt as _;
        Self::Stream(Box::pin(stream.map_err(Into::into)))
    }
}

impl Body {
    /// The same; what is held goes once the body is over, however that comes.
    #[must_use]
    pub fn holding(self, held: impl Send + 'static) -> Self {
        match self {
            Self::Empty | Self::Full(None) => Self::Empty,
            body => Self::Stream(Box::pin(Holding { body, _held: held })),
        }
    }
}

struct Holding<H> {
    body: Body,
    _held: H,
}

// Nothing is pinned by way of it.
impl<H> Unpin for Holding<H> {}

impl<H> HttpBody for Holding<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(ctx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.as_mut().poll_frame(ctx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Full(None) => true,
            Self::Full(Some(_)) => false,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Full(None) => SizeHint::with_exact(0),
            Self::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Body(empty)",
            Self::Full(_) => "Body(full)",
            Self::Stream(_) => "Body(stream)",
        })
    }
}
