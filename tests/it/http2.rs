//! HTTP/2 by prior knowledge, through the whole product: honest requests by an engine, dishonest
//! ones frame by frame (J15–J17).
//!
//! The engine's connections run on a thread of their own, so that they can say goodbye while a
//! test waits for the product's end.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::bff::Bff;
use crate::support::call::{cookie_of, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::find;

type Sending = BoxBody<Bytes, std::convert::Infallible>;
type Sender = http2::SendRequest<Sending>;

async fn connect(bff: &Bff<'_>) -> Sender {
    let stream = TcpStream::connect(bff.public_addr).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    // Ends with its sender; how is no news.
    tokio::spawn(async move { drop(connection.await) });
    sender
}

fn request(method: &str, path: &str, cookie: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("{PUBLIC_URL}{path}"))
        .header("x-csrf", "1")
        .header("sec-fetch-site", "same-origin")
        .header("cookie", cookie)
}

fn nothing() -> Sending {
    Full::new(Bytes::new()).boxed()
}

async fn send(sender: &mut Sender, request: Request<Sending>) -> Response<Incoming> {
    soon("an answer", sender.send_request(request))
        .await
        .unwrap()
}

async fn text(answer: Response<Incoming>) -> String {
    let body = soon("a body", answer.into_body().collect()).await.unwrap();
    String::from_utf8(body.to_bytes().into()).unwrap()
}

/// DESIGN §3, J16: the same product over HTTP/2: a session, a token, our cookie taken out of the
/// crumbs and the others joined.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_over_http_2_is_a_call() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let mut sender = connect(&bff).await;
    let call = request("POST", "/api/orders?x=1", "a=1")
        .header("cookie", cookie_of(&alice))
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"four")).boxed())
        .unwrap();
    let answer = send(&mut sender, call).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-request-id"));
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let seen = upstream.the_one();
    assert_eq!(seen.target, "/api/orders?x=1");
    assert_eq!(seen.all("host"), [upstream.addr().to_string()]);
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.all("via"), ["2.0 bff"]);
    assert_eq!(seen.all("content-length"), ["4"]);
    assert_eq!(seen.body, b"four");
    let token = idp.core.introspect(seen.bearer().unwrap()).unwrap();
    assert_eq!(token.sub, "alice");

    let forged = request("GET", "/api", &cookie_of(&alice));
    let mut forged = forged.body(nothing()).unwrap();
    forged.headers_mut().remove("x-csrf");
    assert_eq!(send(&mut sender, forged).await.status(), 403);
    let stranger = request("GET", "/api", "a=1").body(nothing()).unwrap();
    assert_eq!(send(&mut sender, stranger).await.status(), 401);
    assert_eq!(upstream.seen().len(), 1);
}

/// J15: what the engine lets through and is still no request: refused, and the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_improper_request_is_refused() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let mut sender = connect(&bff).await;
    let call = || request("GET", "/api", &cookie);
    for (name, call, status) in [
        ("another Host", call().header("host", "evil.example"), 400),
        (
            "another authority",
            call().uri("https://evil.example/api"),
            404,
        ),
        (
            "a user in the authority",
            call().uri("https://x@app.example/api"),
            400,
        ),
        (
            "Origin twice",
            call()
                .header("origin", PUBLIC_URL)
                .header("origin", PUBLIC_URL),
            400,
        ),
        ("TRACE", call().method("TRACE"), 405),
        (
            "a dot segment",
            call().uri("https://app.example/x/../api"),
            400,
        ),
        (
            "an encoded slash",
            call().uri("https://app.example/x%2fapi"),
            400,
        ),
        (
            "an unknown expectation",
            call().header("expect", "200-ok"),
            417,
        ),
        ("the same Host", call().header("host", "app.example"), 200),
    ] {
        let answer = send(&mut sender, call.body(nothing()).unwrap()).await;
        assert_eq!(answer.status(), status, "{name}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// J12, J13: trailers and bodiless answers over HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn trailers_and_empty_answers_are_told_apart() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let mut sender = connect(&bff).await;
    upstream.answers_raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=1\r\n\r\n",
    );
    let call = request("GET", "/api", &cookie).header("te", "trailers");
    let answer = send(&mut sender, call.body(nothing()).unwrap()).await;
    let whole = soon("a body", answer.into_body().collect()).await.unwrap();
    let trailers = whole.trailers().unwrap();
    assert_eq!(
        (trailers.len(), &trailers["x-sum"]),
        (1, &HeaderValue::from_static("1"))
    );

    for (method, answer, status) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
            204,
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            304,
        ),
    ] {
        upstream.answers_raw(answer);
        let call = request(method, "/api", &cookie).body(nothing()).unwrap();
        let answer = send(&mut sender, call).await;
        assert_eq!(answer.status(), status);
        assert_eq!(text(answer).await, "", "{method} {status}");
    }
    // J14: cut short is an error of the stream, never its end.
    upstream.answers(|_| Answer::cut_short("half"));
    let call = request("GET", "/api", &cookie).body(nothing()).unwrap();
    if let Ok(answer) = soon("an answer", sender.send_request(call)).await {
        soon("the end", answer.into_body().collect())
            .await
            .unwrap_err();
    }
    upstream.answers(|_| Answer::text("still here"));
    let call = request("GET", "/api", &cookie).body(nothing()).unwrap();
    assert_eq!(text(send(&mut sender, call).await).await, "still here");
}

/// No buffering, and one stream that waits holds up no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_flow_side_by_side() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (events, coming) = mpsc::unbounded_channel();
    let coming = std::sync::Mutex::new(Some(coming));
    upstream.answers(move |seen| match seen.method.as_str() {
        "POST" => Answer::pieces(coming.lock().unwrap().take().unwrap()).early(),
        _ => Answer::text("quick"),
    });
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let mut sender = connect(&bff).await;
    let (pieces, body) = mpsc::unbounded_channel::<&'static str>();
    let body = futures_util::stream::unfold(body, |mut body| async move {
        let piece = body.recv().await?;
        Some((Ok(Frame::data(Bytes::from_static(piece.as_bytes()))), body))
    });
    let upload = request("POST", "/api", &cookie)
        .body(StreamBody::new(body).boxed())
        .unwrap();
    let mut answer = send(&mut sender, upload).await;
    for piece in ["one", "two"] {
        pieces.send(piece).unwrap();
        upstream
            .wait("the piece", |seen| seen[0].body.ends_with(piece.as_bytes()))
            .await;
        events.send(format!("after {piece}")).unwrap();
        let frame = soon("a piece", answer.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("after {piece}"));
        for _ in 0..20 {
            let quick = request("GET", "/api", &cookie).body(nothing()).unwrap();
            assert_eq!(text(send(&mut sender, quick).await).await, "quick");
        }
    }
    drop(pieces);
    upstream.wait("the end", |seen| seen[0].complete).await;
    drop(events);
    // Perhaps an empty frame that bears the end.
    let rest = soon("the end", answer.into_body().collect()).await.unwrap();
    assert!(rest.to_bytes().is_empty());
}

/// M7: a stream of HTTP/2 ends with the session, by an error, and the connection lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_ends_with_its_session() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (events, coming) = mpsc::unbounded_channel();
    let coming = std::sync::Mutex::new(Some(coming));
    upstream.answers(move |_| Answer::events(coming.lock().unwrap().take().unwrap()));
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let mut sender = connect(&bff).await;
    let call = request("GET", "/api", &cookie).body(nothing()).unwrap();
    events.send("one".to_owned()).unwrap();
    let mut answer = send(&mut sender, call).await;
    soon("a piece", answer.frame()).await.unwrap().unwrap();
    let logout = request("POST", "/bff/logout", &cookie)
        .body(nothing())
        .unwrap();
    assert_eq!(send(&mut sender, logout).await.status(), 200);
    soon("the end", answer.frame()).await.unwrap().unwrap_err();
    soon("the upstream's end", events.closed()).await;
    let session = request("GET", "/bff/session", &cookie)
        .body(nothing())
        .unwrap();
    assert_eq!(send(&mut sender, session).await.status(), 200);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field as HPACK writes it without any table (RFC 7541 §6.2.2).
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            field.push(u8::try_from(length).unwrap());
        } else {
            field.push(127);
            length -= 127;
            while length >= 128 {
                field.push(u8::try_from(length % 128).unwrap() | 128);
                length /= 128;
            }
            field.push(u8::try_from(length).unwrap());
        }
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// What came back for stream 1, or for the connection.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// `:status: 400`, as HPACK's static table writes it.
    BadRequest,
    /// Some other head.
    Answered,
    Reset,
    Away,
}

async fn outcome(socket: &mut TcpStream) -> Outcome {
    loop {
        let mut head = [0; 9];
        if soon("a frame", socket.read_exact(&mut head)).await.is_err() {
            return Outcome::Away;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await.unwrap();
        match head[3] {
            HEADERS if payload.first() == Some(&0x8c) => return Outcome::BadRequest,
            HEADERS => return Outcome::Answered,
            RST_STREAM => return Outcome::Reset,
            GOAWAY => return Outcome::Away,
            _ => {}
        }
    }
}

/// J15: what no honest client would write reaches no upstream, or never as a whole request. (A length of
/// 0 sent the whole request upstream before its bytes came and made it malformed; blanks around a value
/// were passed on.)
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_malformed_head_or_body_is_no_request() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let pseudo = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "app.example"),
        (":path", "/api"),
    ];
    let own = [("cookie", &*cookie), ("x-csrf", "1")];
    let with = |more: &[(&'static str, &'static str)]| {
        let fields = pseudo.iter().chain(&own).chain(more);
        fields
            .map(|(name, value)| literal(name, value))
            .collect::<Vec<_>>()
            .concat()
    };
    let without = |gone: &str| {
        let fields = pseudo.iter().chain(&own).filter(|(name, _)| *name != gone);
        fields
            .map(|(name, value)| literal(name, value))
            .collect::<Vec<_>>()
            .concat()
    };
    let all = END_STREAM | END_HEADERS;
    let head = |block: Vec<u8>| frame(HEADERS, all, 1, &block);
    let body = |block: Vec<u8>, pieces: &[&[u8]]| {
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block);
        for (at, piece) in pieces.iter().enumerate() {
            let last = if at + 1 == pieces.len() {
                END_STREAM
            } else {
                0
            };
            bytes.extend(frame(DATA, last, 1, piece));
        }
        bytes
    };
    for (name, bytes) in [
        ("an upper-case name", head(with(&[("X-Upper", "1")]))),
        ("connection", head(with(&[("connection", "close")]))),
        ("keep-alive", head(with(&[("keep-alive", "1")]))),
        (
            "proxy-connection",
            head(with(&[("proxy-connection", "close")])),
        ),
        (
            "transfer-encoding",
            head(with(&[("transfer-encoding", "chunked")])),
        ),
        ("upgrade", head(with(&[("upgrade", "websocket")]))),
        ("te: gzip", head(with(&[("te", "gzip")]))),
        (
            "a CR LF in a value",
            head(with(&[("x-a", "b\r\nx-user: admin")])),
        ),
        ("an LF in a value", head(with(&[("x-a", "b\nc")]))),
        ("a NUL in a value", head(with(&[("x-a", "b\0c")]))),
        ("a colon in a name", head(with(&[("x:a", "b")]))),
        ("a blank in a name", head(with(&[("x a", "b")]))),
        ("an empty name", head(with(&[("", "b")]))),
        (
            "a pseudo-header after a field",
            head(with(&[(":path", "/other")])),
        ),
        (
            "an unknown pseudo-header",
            head([literal(":evil", "1"), with(&[])].concat()),
        ),
        (
            "a pseudo-header of answers",
            head([literal(":status", "200"), with(&[])].concat()),
        ),
        (
            "two paths",
            head([literal(":path", "/api"), with(&[])].concat()),
        ),
        (
            "two methods",
            head([literal(":method", "GET"), with(&[])].concat()),
        ),
        (
            "two authorities",
            head([literal(":authority", "app.example"), with(&[])].concat()),
        ),
        ("no method", head(without(":method"))),
        ("no path", head(without(":path"))),
        ("no scheme", head(without(":scheme"))),
        ("no authority and no Host", head(without(":authority"))),
        (
            "a length and no body",
            head(with(&[("content-length", "5")])),
        ),
        (
            "two lengths",
            head(with(&[("content-length", "0"), ("content-length", "5")])),
        ),
        ("a signed length", head(with(&[("content-length", "+0")]))),
        (
            "more than the length",
            body(with(&[("content-length", "3")]), &[b"fo", b"ur"]),
        ),
        (
            "less than the length",
            body(with(&[("content-length", "5")]), &[b"fo", b"ur"]),
        ),
        (
            "something where nothing is said to come",
            body(with(&[("content-length", "0")]), &[b"four"]),
        ),
        ("a blank before a value", head(with(&[("x-a", " b")]))),
        ("a tab after a value", head(with(&[("x-a", "b\t")]))),
        ("a blank as a value", head(with(&[("x-a", " ")]))),
        (
            "a blank around a value in trailers",
            [
                frame(HEADERS, END_HEADERS, 1, &with(&[])),
                frame(DATA, 0, 1, b"four"),
                frame(HEADERS, all, 1, &literal("x-a", "b ")),
            ]
            .concat(),
        ),
    ] {
        let mut socket = TcpStream::connect(bff.public_addr).await.unwrap();
        let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let bytes = [hello, frame(SETTINGS, 0, 0, &[]), bytes].concat();
        socket.write_all(&bytes).await.unwrap();
        let outcome = outcome(&mut socket).await;
        assert_ne!(outcome, Outcome::Answered, "{name}");
        let whole = upstream.seen().into_iter().find(|seen| seen.complete);
        assert!(whole.is_none(), "{name}: {whole:?}");
    }
    // An end that comes later than the head it belongs to is in order.
    let mut socket = TcpStream::connect(bff.public_addr).await.unwrap();
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let empty = body(with(&[("content-length", "0")]), &[b""]);
    let bytes = [hello, frame(SETTINGS, 0, 0, &[]), empty].concat();
    socket.write_all(&bytes).await.unwrap();
    assert_eq!(outcome(&mut socket).await, Outcome::Answered);
    let seen = upstream.last();
    assert_eq!(seen.all("content-length"), ["0"]);
    // The frames themselves are in order: this one arrives.
    let mut socket = TcpStream::connect(bff.public_addr).await.unwrap();
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let proper = body(with(&[("content-length", "4")]), &[b"fo", b"ur"]);
    let bytes = [hello, frame(SETTINGS, 0, 0, &[]), proper].concat();
    socket.write_all(&bytes).await.unwrap();
    assert_eq!(outcome(&mut socket).await, Outcome::Answered);
    let seen = upstream.last();
    assert_eq!((seen.complete, &*seen.body), (true, &b"four"[..]));
    assert!(find(&seen.raw_head, b"admin").is_none());
    assert_eq!(seen.trailers, HeaderMap::new());
}

/// J18, J14: an answer that its upstream leaves unfinished for longer than its route allows is reset,
/// never ended, and the log names the route. (One anonymous line for debugging told of it.)
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_stands_still_is_reset() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (pieces, coming) = mpsc::unbounded_channel();
    let coming = std::sync::Mutex::new(Some(coming));
    upstream.answers(move |_| Answer::pieces(coming.lock().unwrap().take().unwrap()));
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/ticks-that-stop" idle_timeout = "300ms" auth = "none" },
            &upstream,
        )
        .start();
    pieces.send("{}".to_owned()).unwrap();
    let mut sender = connect(&bff).await;
    let call = request("GET", "/ticks-that-stop", "")
        .body(nothing())
        .unwrap();
    let answer = send(&mut sender, call).await;
    assert_eq!(answer.status(), 200);
    let cut = soon("the end", answer.into_body().collect()).await;
    let cut = format!("{:?}", cut.unwrap_err());
    assert!(cut.contains("Reset"), "{cut}");
    let lines = bff.logs().lines_with("an answer was cut");
    let of_route = lines.iter().find(|line| line.contains("/ticks-that-stop"));
    assert!(of_route.unwrap().contains("WARN"), "{of_route:?}");
}

/// J17: streams opened only to be reset end the connection, and its sessions' calls on others go
/// on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rapid_resets_end_their_connection_alone() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.limits.h2_resets", 20)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let mut honest = connect(&bff).await;
    let block = [
        literal(":method", "GET"),
        literal(":scheme", "https"),
        literal(":authority", "app.example"),
        literal(":path", "/api"),
        literal("x-csrf", "1"),
        literal("cookie", &cookie),
    ]
    .concat();
    let mut socket = TcpStream::connect(bff.public_addr).await.unwrap();
    let mut storm = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    storm.extend(frame(SETTINGS, 0, 0, &[]));
    for stream in (1..2000).step_by(2) {
        storm.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
        storm.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    drop(socket.write_all(&storm).await);
    soon("to be sent away", async {
        while outcome(&mut socket).await != Outcome::Away {}
    })
    .await;
    let call = request("GET", "/api", &cookie).body(nothing()).unwrap();
    assert_eq!(send(&mut honest, call).await.status(), 200);
}
