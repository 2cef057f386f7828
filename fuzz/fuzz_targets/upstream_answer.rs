//! J4, J5, J8, J14: any bytes as an upstream's answer, cut anywhere. What our codec takes, the engine's
//! client takes, and reads the same; how the bytes are cut changes nothing; a connection that has
//! anything unread serves nobody else.
//!
//! Ours is stricter on purpose:
//!
//! - a doubtful framing (two lengths even where they agree, a length beside a transfer coding, a coding other
//!   than `chunked`) and a 101 that nobody asked for are refused by the judge of heads, where the engine
//!   picks a reading;
//! - a line of a chunk's size has a limit of its own, not the sum of a body's alone.
#![no_main]

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bff::proxy::forward::check_answer;
use bff::proxy::wire::{Framing, Outbound, Outgoing, Wire};
use bff_fuzz::pieces::cut;
use bff_fuzz::socket::{Socket, Then};
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Method, Request};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;

/// As many fields as an answer's head may have, by default.
const MOST_FIELDS: usize = 100;
const MOST_SIZE_LINE: usize = 4 * 1024;

/// What was read of the answer.
#[derive(Debug)]
enum Outcome {
    Whole(Answer),
    /// Refused, cut, or more is waited for than will ever come.
    Broken(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    version: http::Version,
    /// In the order in which they came, as far as a map keeps that.
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

impl Answer {
    fn of(parts: &Parts) -> Self {
        Self {
            status: parts.status.as_u16(),
            version: parts.version,
            fields: fields(&parts.headers),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let own = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    headers.iter().map(own).collect()
}

fuzz_target!(|data: (u8, &[u8], &[u8])| {
    let (choice, lengths, bytes) = data;
    let method = match choice % 4 {
        0 => Method::HEAD,
        1 => Method::POST,
        _ => Method::GET,
    };
    let then = if choice & 4 == 0 { Then::Ends } else { Then::Stays };
    let pieces = cut(bytes, lengths);
    let (ours, idle) = read_by_us(pieces.clone(), then, &method);
    let (at_once, idle_at_once) = read_by_us(cut(bytes, &[]), then, &method);
    let (theirs, serves_on) = read_by_the_engine(pieces, then, &method);

    match (&ours, &at_once) {
        (Outcome::Whole(ours), Outcome::Whole(at_once)) => {
            assert_eq!(ours, at_once, "the pieces make a difference");
            assert_eq!(idle, idle_at_once, "the pieces make a difference");
        }
        (Outcome::Broken(_), Outcome::Broken(_)) => {}
        both => panic!("the pieces make a difference: {both:?}"),
    }
    match (ours, theirs) {
        (Outcome::Whole(ours), Outcome::Whole(theirs)) => {
            assert_eq!(ours, theirs);
            assert!(!idle || serves_on, "the engine would not use the connection again");
        }
        (Outcome::Broken(_), Outcome::Broken(_)) => {}
        (Outcome::Whole(ours), Outcome::Broken(why)) => {
            panic!("the engine refuses what we take ({why}): {ours:?}")
        }
        (Outcome::Broken(why), Outcome::Whole(theirs)) => {
            let long_line = bytes.split(|byte| *byte == b'\n').any(|line| line.len() >= MOST_SIZE_LINE);
            assert!(why == "doubtful" || long_line, "we refuse what the engine takes ({why}): {theirs:?}");
        }
    }
});

/// What our codec reads, and whether the connection may serve another request.
fn read_by_us(pieces: Vec<Bytes>, then: Then, method: &Method) -> (Outcome, bool) {
    let socket = Socket::new(pieces, then);
    let mut wire = Wire::new(socket.clone(), MOST_FIELDS);
    let outbound = Outbound {
        framing: if *method == Method::POST { Framing::Length(0) } else { Framing::None },
        body: Outgoing::Empty,
        is_head: *method == Method::HEAD,
    };
    wire.begin(outbound, |into| into.extend_from_slice(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    let ctx = &mut Context::from_waker(Waker::noop());
    let parts = loop {
        match wire.poll_answer(ctx) {
            Poll::Ready(Ok(parts)) => break parts,
            Poll::Ready(Err(_)) => return (Outcome::Broken("head"), false),
            Poll::Pending if socket.is_silent() => return (Outcome::Broken("no head"), false),
            Poll::Pending => {}
        }
    };
    if check_answer(&parts).is_err() {
        return (Outcome::Broken("doubtful"), false);
    }
    let mut answer = Answer::of(&parts);
    loop {
        match wire.poll_body(ctx) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty(), "a piece of nothing");
                    answer.body.extend_from_slice(&data);
                }
                Err(frame) => answer.trailers = fields(&frame.into_trailers().expect("trailers")),
            },
            Poll::Ready(Some(Err(_))) => return (Outcome::Broken("body"), false),
            Poll::Pending if socket.is_silent() => return (Outcome::Broken("no end"), false),
            Poll::Pending => {}
        }
    }
    assert!(wire.is_read(), "an end that is none");
    assert!(matches!(wire.poll_body(ctx), Poll::Ready(None)), "something after the end");
    assert_eq!(socket.heard(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    // What has not arrived is in nobody's hands yet; ask until nothing more comes.
    let mut idle = wire.is_idle();
    while idle && !socket.is_drained() {
        idle = wire.is_idle();
    }
    assert!(!idle || socket.is_silent(), "what came after the answer was overlooked");
    (Outcome::Whole(answer), idle)
}

/// The same by the engine's client.
fn read_by_the_engine(pieces: Vec<Bytes>, then: Then, method: &Method) -> (Outcome, bool) {
    let socket = Socket::new(pieces, then);
    let ctx = &mut Context::from_waker(Waker::noop());
    let mut builder = http1::Builder::new();
    builder.max_buf_size(64 * 1024).max_headers(MOST_FIELDS);
    let handshake = pin!(builder.handshake(TokioIo::new(socket.clone())));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.poll(ctx) else {
        panic!("a handshake waits for nobody");
    };
    let mut connection = pin!(connection);
    let mut over = false;
    // The engine may need to be asked twice to see what has come.
    let mut patience = 3;
    let mut drive = |ctx: &mut Context<'_>| {
        if !over {
            over = connection.as_mut().poll(ctx).is_ready();
        }
        if socket.is_silent() || over {
            patience -= 1;
        }
        (over, patience > 0)
    };
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("host", "a")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let mut asked = pin!(sender.send_request(request));
    let response = loop {
        let (_, goes_on) = drive(ctx);
        match asked.as_mut().poll(ctx) {
            Poll::Ready(Ok(response)) => break response,
            Poll::Ready(Err(_)) => return (Outcome::Broken("head"), false),
            Poll::Pending if !goes_on => return (Outcome::Broken("no head"), false),
            Poll::Pending => {}
        }
    };
    let (parts, body) = response.into_parts();
    let mut answer = Answer::of(&parts);
    let mut body = pin!(body);
    loop {
        match body.as_mut().poll_frame(ctx) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => answer.body.extend_from_slice(&data),
                Err(frame) => answer.trailers = fields(&frame.into_trailers().expect("trailers")),
            },
            Poll::Ready(Some(Err(_))) => return (Outcome::Broken("body"), false),
            Poll::Pending => {
                let (_, goes_on) = drive(ctx);
                if !goes_on {
                    // What it has at hand it hands out still.
                    match body.as_mut().poll_frame(ctx) {
                        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                            Ok(data) => answer.body.extend_from_slice(&data),
                            Err(frame) => {
                                answer.trailers = fields(&frame.into_trailers().expect("trailers"));
                            }
                        },
                        Poll::Ready(None) => break,
                        Poll::Ready(Some(Err(_))) => return (Outcome::Broken("body"), false),
                        Poll::Pending => return (Outcome::Broken("no end"), false),
                    }
                }
            }
        }
    }
    let mut over = false;
    for _ in 0..3 {
        over = drive(ctx).0;
    }
    (Outcome::Whole(answer), !over)
}
