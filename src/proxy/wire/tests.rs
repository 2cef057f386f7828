//! The codec over a socket that gives and takes as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Framing, Outbound, Outgoing, Wire, WireError};
use crate::proxy::forward::RequestBody;
use crate::proxy::upload::UploadLimits;
use crate::web::body::Body;
use crate::web::pace::LeastRate;

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A socket in memory. Each read and each write is waited for once.
#[derive(Debug)]
struct Line {
    to_come: VecDeque<Bytes>,
    /// Whether the upstream hangs up after that.
    ends: bool,
    /// Takes so many bytes at a time.
    takes: usize,
    /// Takes so many in all, and then fails, or waits.
    room: usize,
    when_full: Full,
    heard: Vec<u8>,
    waited_to_read: bool,
    waited_to_write: bool,
}

#[derive(Debug, Clone, Copy)]
enum Full {
    Fails,
    Waits,
}

impl Line {
    fn new(answer: &[u8]) -> Self {
        Self::in_pieces(answer, usize::MAX)
    }

    fn in_pieces(answer: &[u8], length: usize) -> Self {
        Self {
            to_come: answer.chunks(length).map(Bytes::copy_from_slice).collect(),
            ends: false,
            takes: usize::MAX,
            room: usize::MAX,
            when_full: Full::Fails,
            heard: Vec::new(),
            waited_to_read: false,
            waited_to_write: false,
        }
    }

    fn that_ends(answer: &[u8]) -> Self {
        Self {
            ends: true,
            ..Self::new(answer)
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waited_to_read = !self.waited_to_read;
        if self.waited_to_read && !self.to_come.is_empty() {
            return Poll::Pending;
        }
        let ends = self.ends;
        let Some(piece) = self.to_come.front_mut() else {
            return if ends {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let length = piece.len().min(room.remaining());
        room.put_slice(&piece[..length]);
        piece.advance(length);
        if piece.is_empty() {
            self.to_come.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(ctx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.room == 0 {
            return match self.when_full {
                Full::Fails => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Full::Waits => Poll::Pending,
            };
        }
        self.waited_to_write = !self.waited_to_write;
        if self.waited_to_write {
            return Poll::Pending;
        }
        let most = self.takes.min(self.room);
        let all = pieces.iter().flat_map(|piece| piece.iter());
        let taken: Vec<u8> = all.take(most).copied().collect();
        self.room -= taken.len();
        self.heard.extend_from_slice(&taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn asked(line: Line) -> Wire<Line> {
    asked_with(line, Framing::None, Outgoing::Empty)
}

fn asked_with(line: Line, framing: Framing, body: Outgoing) -> Wire<Line> {
    asked_of(line, framing, body, false)
}

fn asked_of(line: Line, framing: Framing, body: Outgoing, is_head: bool) -> Wire<Line> {
    let mut wire = Wire::new(line, 100);
    let outbound = Outbound {
        framing,
        body,
        is_head,
    };
    wire.begin(outbound, |into| into.extend_from_slice(ASKED));
    wire
}

/// Asks until there is an answer, or it is clear that none will come.
fn until_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let ctx = &mut Context::from_waker(Waker::noop());
    (0..100_000).find_map(|_| match poll(ctx) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    })
}

fn head_of(wire: &mut Wire<Line>) -> Result<Parts, WireError> {
    until_ready(|ctx| wire.poll_answer(ctx)).expect("an answer, or a fault")
}

/// The body and its trailers.
fn rest_of(wire: &mut Wire<Line>) -> Result<(Vec<u8>, HeaderMap), WireError> {
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = until_ready(|ctx| wire.poll_body(ctx)).expect("an end") {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    Ok((body, trailers))
}

/// A request's body of these pieces.
fn upload(frames: Vec<Frame<Bytes>>) -> Outgoing {
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    let stream = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
    let limits = UploadLimits {
        max: None,
        idle: Duration::from_mins(1),
        least_rate: LeastRate::ANY,
    };
    Outgoing::new(RequestBody::Own(Body::stream(stream)), limits).0
}

/// J4, J5: a chunk's line is a size in hexadecimal digits and perhaps an extension, and ends with CR
/// and LF both. Blanks of any kind stood for the two that there are, a second CR among them.
#[test]
fn a_line_of_a_chunk_has_one_reading() {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4 * 1024));
    let many = format!("1;{}\r\nx\r\n", "y".repeat(2 * 1024)).repeat(9);
    for (chunks, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("00000005\r\nhello\r\n000\r\n\r\n", Some("hello")),
        ("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", Some("hello")),
        ("A\r\n0123456789\r\n0\r\n\r\n", Some("0123456789")),
        ("5;a=b\r\nhello\r\n0;c\r\n\r\n", Some("hello")),
        ("5 \t;a\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("5 \r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("0\r\n\r\n", Some("")),
        ("5\nhello\r\n0\r\n\r\n", None),
        ("5\r\r\nhello\r\n0\r\n\r\n", None),
        ("5 \r\r\nhello\r\n0\r\n\r\n", None),
        ("5\x0c\r\nhello\r\n0\r\n\r\n", None),
        ("5\x0c;a\r\nhello\r\n0\r\n\r\n", None),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", None),
        ("5;a\n\r\nhello\r\n0\r\n\r\n", None),
        (" 5\r\nhello\r\n0\r\n\r\n", None),
        ("5 5\r\nhello\r\n0\r\n\r\n", None),
        ("5x\r\nhello\r\n0\r\n\r\n", None),
        ("0x5\r\nhello\r\n0\r\n\r\n", None),
        ("+5\r\nhello\r\n0\r\n\r\n", None),
        ("-1\r\nhello\r\n0\r\n\r\n", None),
        ("5_0\r\nhello\r\n0\r\n\r\n", None),
        ("\r\nhello\r\n0\r\n\r\n", None),
        (";a\r\nhello\r\n0\r\n\r\n", None),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", None),
        ("5\r\nhello0\r\n\r\n", None),
        ("5\r\nhello\n0\r\n\r\n", None),
        ("5\r\nhello\rx0\r\n\r\n", None),
        ("4\r\nhello\r\n0\r\n\r\n", None),
        ("6\r\nhello\r\n0\r\n\r\n", None),
        (&*long, None),
        (&*many, None),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        for length in [usize::MAX, 1] {
            let mut wire = asked(Line {
                ends: true,
                ..Line::in_pieces(answer.as_bytes(), length)
            });
            head_of(&mut wire).unwrap();
            let body = rest_of(&mut wire).map(|(body, _)| String::from_utf8(body).unwrap());
            assert_eq!(body.ok().as_deref(), expected, "{chunks:?}");
        }
    }
}

/// J4, J12: trailers come whole; a line of them that ends with LF alone ended them for one reader and
/// not for another.
#[test]
fn trailers_end_with_an_empty_line() {
    let large = format!("a: {}\r\n\r\n", "x".repeat(16 * 1024));
    let many = format!("{}\r\n", "a: b\r\n".repeat(101));
    for (section, expected) in [
        ("\r\n", Some(vec![])),
        ("a: b\r\n\r\n", Some(vec!["b"])),
        ("a: b\r\na:c \r\n\r\n", Some(vec!["b", "c"])),
        ("a: b\n\n", None),
        ("a: b\n\r\n", None),
        ("\n", None),
        ("\n\r\n\r\n", None),
        ("a: b\nc: d\r\n\r\n", None),
        ("a: b\r\n c\r\n\r\n", None),
        ("a\r\n\r\n", None),
        ("a b: c\r\n\r\n", None),
        (": c\r\n\r\n", None),
        ("a: b\r\n", None),
        (&*large, None),
        (&*many, None),
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{section}"
        );
        for length in [usize::MAX, 1] {
            let mut wire = asked(Line {
                ends: true,
                ..Line::in_pieces(answer.as_bytes(), length)
            });
            head_of(&mut wire).unwrap();
            let trailers = rest_of(&mut wire).ok().map(|(_, trailers)| {
                let values = trailers.get_all("a").iter();
                values
                    .map(|value| value.to_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            });
            let expected = expected
                .as_ref()
                .map(|values| values.iter().map(|value| (*value).to_owned()).collect());
            assert_eq!(trailers, expected, "{section:?}");
        }
    }
}

/// An answer is the same wherever the network cuts it, with interim ones before it.
#[test]
fn an_answer_is_read_however_it_is_cut() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
        HTTP/1.1 203 Fine\r\nx-a: 1\r\ntransfer-encoding: chunked\r\nX-A:  2 \r\n\r\n\
        3;x\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx-sum: 9\r\n\r\n";
    for at in 1..answer.len() {
        let (first, second) = answer.split_at(at);
        let mut line = Line::new(first);
        line.to_come.push_back(Bytes::copy_from_slice(second));
        let mut wire = asked(line);
        let parts = head_of(&mut wire).unwrap();
        assert_eq!(parts.status, 203, "cut at {at}");
        let values: Vec<_> = parts.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"], "cut at {at}");
        assert!(!parts.headers.contains_key("link"), "cut at {at}");
        let (body, trailers) = rest_of(&mut wire).unwrap();
        assert_eq!(body, b"abc0123456789abcdef", "cut at {at}");
        assert_eq!(trailers.get("x-sum").unwrap(), "9", "cut at {at}");
        assert!(wire.is_idle(), "cut at {at}");
        let mut cut = asked(Line::that_ends(first));
        let outcome = head_of(&mut cut).and_then(|_| rest_of(&mut cut));
        assert!(outcome.is_err(), "whole already at {at}");
    }
}

/// Some answers have no body, whatever their heads say of one (RFC 9112 §6.3).
#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    for (status, is_head) in [(200, true), (204, false), (304, false), (204, true)] {
        for field in ["content-length: 5", "transfer-encoding: chunked", "x: y"] {
            let answer = format!("HTTP/1.1 {status} X\r\n{field}\r\n\r\n");
            let line = Line::new(answer.as_bytes());
            let mut wire = asked_of(line, Framing::None, Outgoing::Empty, is_head);
            assert_eq!(head_of(&mut wire).unwrap().status, status);
            assert!(rest_of(&mut wire).unwrap().0.is_empty());
            assert!(wire.is_idle(), "{status} {field}");
        }
    }
}

/// J8: nobody else is served by a connection that has something unread, that its upstream will close,
/// or whose answer ended with it.
#[test]
fn a_connection_is_idle_only_when_nothing_is_left() {
    for (answer, is_idle) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n", false),
        ("HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nx",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\nconnection: keep-alive\r\n\r\nok",
            false,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
            true,
        ),
    ] {
        for length in [usize::MAX, 1] {
            let mut wire = asked(Line::in_pieces(answer.as_bytes(), length));
            head_of(&mut wire).unwrap();
            rest_of(&mut wire).unwrap();
            // The stray may still be on its way, and is met at the next look.
            let looks: Vec<bool> = (0..3).map(|_| wire.is_idle()).collect();
            assert_eq!(
                looks.iter().all(|idle| *idle),
                is_idle,
                "{answer:?} by {length}: {looks:?}"
            );
        }
    }
    let mut wire = asked(Line::that_ends(b"HTTP/1.1 200 OK\r\n\r\nall that comes"));
    head_of(&mut wire).unwrap();
    assert_eq!(rest_of(&mut wire).unwrap().0, b"all that comes");
    assert!(!wire.is_over(), "it has ended");
}

/// What ends too soon is no answer.
#[test]
fn an_answer_that_is_cut_is_told() {
    for (answer, is_in_body) in [
        ("", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", false),
        ("HTTP/1.1 103 Hints\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            true,
        ),
    ] {
        let mut wire = asked(Line::that_ends(answer.as_bytes()));
        let outcome = head_of(&mut wire).and_then(|_| rest_of(&mut wire));
        if is_in_body {
            assert!(matches!(outcome, Err(WireError::Cut)), "{answer:?}");
        } else {
            assert!(matches!(outcome, Err(WireError::Ended)), "{answer:?}");
        }
        assert!(!wire.is_idle());
    }
}

/// A head without end is given up; so is one with more fields than there may be.
#[test]
fn a_head_has_limits() {
    let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(80 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    for answer in [&*long, &*many] {
        for length in [usize::MAX, 1000] {
            let mut wire = asked(Line::in_pieces(answer.as_bytes(), length));
            let outcome = head_of(&mut wire);
            assert!(
                matches!(outcome, Err(WireError::HeadTooLarge)),
                "{outcome:?}"
            );
        }
    }
    let most = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100));
    assert!(head_of(&mut asked(Line::new(most.as_bytes()))).is_ok());
}

/// J7: a body arrives whole and in its framing, however little a socket takes at a time. What closed a
/// large chunk stood behind the next one where the socket had taken all but that.
#[tokio::test]
async fn a_body_arrives_whole_however_little_is_taken() {
    let large = Bytes::from(vec![b'x'; 8 * 1024 + 1]);
    let small = Bytes::from_static(b"hello");
    let data = [
        &small,
        &large,
        &small,
        &Bytes::new(),
        &large,
        &large,
        &small,
    ];
    let whole = data.map(Bytes::as_ref).concat();
    let mut chunks = ASKED.to_vec();
    for piece in data.iter().filter(|piece| !piece.is_empty()) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\nx-sum: 9\r\n\r\n");
    let trailers = ["x-sum: 9", "x-other: 1"];
    let trailers = crate::proxy::headers::tests::map(&trailers);
    let announced = vec![HeaderName::from_static("x-sum")];
    for takes in (1..=48).chain(8_185..=8_240).chain([20_000, usize::MAX]) {
        let line = || Line {
            takes,
            ..Line::new(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        };
        let frames = || Vec::from(data.map(|piece| Frame::data(piece.clone())));

        let mut with_trailers = frames();
        with_trailers.push(Frame::trailers(trailers.clone()));
        let framing = Framing::Chunked(announced.clone());
        let mut wire = asked_with(line(), framing, upload(with_trailers));
        until_sent(&mut wire);
        assert!(
            wire.into_parts().0.heard == chunks,
            "in chunks, {takes} at a time"
        );

        let framing = Framing::Length(whole.len() as u64);
        let mut wire = asked_with(line(), framing, upload(frames()));
        until_sent(&mut wire);
        let heard = wire.into_parts().0.heard;
        assert!(
            heard == [ASKED, &whole].concat(),
            "of known length, {takes} at a time"
        );
    }
}

/// Reads the answer, and goes on until the request has left.
fn until_sent(wire: &mut Wire<Line>) {
    assert_eq!(head_of(wire).unwrap().status, StatusCode::OK);
    until_ready(|ctx| {
        assert!(matches!(wire.poll_body(ctx), Poll::Ready(None)));
        if wire.is_over() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .expect("an end of sending");
}

/// A body that is not as long as was announced makes no request that an upstream could take for whole.
#[tokio::test]
async fn a_body_of_another_length_breaks_off() {
    for (announced, sent) in [(4, 5), (6, 5), (1, 0)] {
        let body = vec![Frame::data(Bytes::from(vec![b'x'; sent]))];
        let mut wire = asked_with(Line::new(b""), Framing::Length(announced), upload(body));
        let outcome = until_ready(|ctx| wire.poll_answer(ctx)).unwrap();
        assert!(matches!(outcome, Err(WireError::Upload(_))), "{outcome:?}");
        let heard = wire.into_parts().0.heard;
        assert!(heard.len() < ASKED.len() + usize::try_from(announced).unwrap());
    }
}

/// An upstream that answers before it has heard all is believed, and serves nobody else.
#[tokio::test]
async fn an_early_answer_is_passed_on() {
    for when_full in [Full::Fails, Full::Waits] {
        let line = Line {
            room: ASKED.len() + 3,
            when_full,
            ..Line::new(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        };
        let body = vec![Frame::data(Bytes::from_static(b"hello"))];
        let mut wire = asked_with(line, Framing::Length(5), upload(body));
        assert_eq!(head_of(&mut wire).unwrap().status, 413);
        assert_eq!(rest_of(&mut wire).unwrap().0, b"no");
        assert!(!wire.is_over() && !wire.is_idle(), "{when_full:?}");
    }
}

/// Where nothing could be sent the body is there for another connection; where a byte was, it is not.
#[tokio::test]
async fn what_was_not_sent_can_be_sent_elsewhere() {
    let nothing_yet = || {
        let never = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let body = Body::stream(http_body_util::StreamBody::new(never));
        let limits = UploadLimits {
            max: None,
            idle: Duration::from_mins(1),
            least_rate: LeastRate::ANY,
        };
        Outgoing::new(RequestBody::Own(body), limits).0
    };
    let deaf = |room| Line {
        room,
        ..Line::that_ends(b"")
    };
    let mut wire = asked_with(deaf(0), Framing::Length(5), nothing_yet());
    assert!(matches!(head_of(&mut wire), Err(WireError::Unsent(_))));
    assert!(matches!(wire.take_body(), Outgoing::Upload(_)));
    assert!(!wire.is_over());

    let mut wire = asked(deaf(0));
    assert!(matches!(head_of(&mut wire), Err(WireError::Unsent(_))));

    let mut wire = asked_with(deaf(1), Framing::Length(5), nothing_yet());
    assert!(matches!(head_of(&mut wire), Err(WireError::Ended)));

    let taken = upload(vec![Frame::data(Bytes::from_static(b"hello"))]);
    let mut wire = asked_with(deaf(0), Framing::Length(5), taken);
    assert!(matches!(head_of(&mut wire), Err(WireError::Ended)));
}
