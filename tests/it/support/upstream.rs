//! The API behind `bff`: records every request down to its raw head, and answers as it is told.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bff::dev::Dropped;
use bff::web::body::{Body, BodyError};
use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::clock::soon;
use super::helper::Helper;
use super::wire::{Tap, find};

/// The API.
#[derive(Debug)]
pub(crate) struct Upstream {
    shared: Arc<Shared>,
    helper: Helper,
}

struct Shared {
    script: Mutex<Script>,
    seen: watch::Sender<Vec<Seen>>,
    closes: watch::Sender<Vec<Option<u16>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("seen", &*self.seen.borrow())
            .finish_non_exhaustive()
    }
}

/// What decides over the next answers.
#[derive(Clone)]
enum Script {
    /// An answer for each request, by its head.
    Http(Arc<dyn Fn(&Seen) -> Answer + Send + Sync>),
    /// These bytes for whatever comes, then the end of the connection.
    Raw(Bytes),
}

/// A request that came, as far as it has come.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The head byte for byte, up to and with the empty line.
    pub(crate) raw_head: Vec<u8>,
    pub(crate) method: String,
    /// The request target as it was written.
    pub(crate) target: String,
    /// Name and value in the order and case that they came in.
    pub(crate) fields: Vec<(String, String)>,
    /// Without its framing; grows until `complete`.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether the whole request came, so that the upstream would act on it.
    pub(crate) complete: bool,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    /// The value of the first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The values of all fields of this name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The names of the fields, in order, in lower case.
    pub(crate) fn names(&self) -> Vec<String> {
        self.fields
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect()
    }

    /// The token of `Authorization: Bearer`, if it is the one Authorization there is.
    pub(crate) fn bearer(&self) -> Option<&str> {
        match self.all("authorization").as_slice() {
            [one] => one.strip_prefix("Bearer "),
            _ => None,
        }
    }
}

/// What the upstream says.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: AnswerBody,
    /// Whether the head waits for the request's whole body.
    early: bool,
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BodyError>> + Send>>;

enum AnswerBody {
    Full(Bytes),
    Frames(Frames),
    WebSocketEcho,
    Drop,
}

impl Answer {
    /// This status and no body.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: AnswerBody::Full(Bytes::new()),
            early: false,
        }
    }

    /// 200 with this JSON.
    pub(crate) fn json(value: &Value) -> Self {
        Self::status(200)
            .header("content-type", "application/json")
            .body(value.to_string())
    }

    /// 200 with this text.
    pub(crate) fn text(text: &str) -> Self {
        Self::status(200)
            .header("content-type", "text/plain; charset=utf-8")
            .body(text.to_owned())
    }

    /// 200 with a body that comes in pieces, with a pause before each.
    pub(crate) fn slow(pieces: Vec<&'static str>, pause: Duration) -> Self {
        Self::frames(stream::iter(pieces).then(move |piece| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from_static(piece.as_bytes())))
        }))
    }

    /// 200 with `mebibytes` MiB of the letter x, made as they are taken.
    pub(crate) fn large(mebibytes: usize) -> Self {
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        Self::frames(stream::iter(
            (0..mebibytes * 16).map(move |_| Ok(Frame::data(piece.clone()))),
        ))
    }

    /// As [`Self::large`], with the bytes counted as they are taken.
    pub(crate) fn counted(mebibytes: usize, taken: Arc<AtomicUsize>) -> Self {
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        Self::frames(stream::iter((0..mebibytes * 16).map(move |_| {
            taken.fetch_add(piece.len(), Ordering::SeqCst);
            Ok(Frame::data(piece.clone()))
        })))
    }

    /// 200 with a body that breaks off after `text`.
    pub(crate) fn cut_short(text: &'static str) -> Self {
        let pieces: [Result<&[u8], &str>; 2] = [Ok(text.as_bytes()), Err("cut short")];
        Self::frames(stream::iter(pieces).then(|piece| async move {
            // A pause, in which head and text are sent: an error at once would swallow them.
            tokio::task::yield_now().await;
            Ok(Frame::data(Bytes::from_static(piece?)))
        }))
    }

    /// 200 with server-sent events: each message of the channel, until its sender is dropped.
    pub(crate) fn events(messages: mpsc::UnboundedReceiver<String>) -> Self {
        let event = |message: String| format!("data: {message}\n\n");
        Self::as_it_comes(messages, event).header("content-type", "text/event-stream")
    }

    /// 200 with a body of pieces: each text of the channel, until its sender is dropped.
    pub(crate) fn pieces(texts: mpsc::UnboundedReceiver<String>) -> Self {
        Self::as_it_comes(texts, |text| text)
    }

    fn as_it_comes(
        texts: mpsc::UnboundedReceiver<String>,
        write: impl Fn(String) -> String + Copy + Send + 'static,
    ) -> Self {
        Self::frames(stream::unfold(texts, move |mut texts| async move {
            let text = texts.recv().await?;
            Some((Ok(Frame::data(Bytes::from(write(text)))), texts))
        }))
    }

    /// Says back what is said (RFC 6455); a request that is no handshake gets 426.
    pub(crate) fn web_socket_echo() -> Self {
        Self {
            body: AnswerBody::WebSocketEcho,
            ..Self::status(101)
        }
    }

    /// Closes the connection with no answer.
    pub(crate) fn dropped() -> Self {
        Self {
            body: AnswerBody::Drop,
            ..Self::status(500)
        }
    }

    fn frames<S>(frames: S) -> Self
    where
        S: Stream<Item = Result<Frame<Bytes>, BodyError>> + Send + 'static,
    {
        Self {
            body: AnswerBody::Frames(Box::pin(frames)),
            ..Self::status(200)
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = AnswerBody::Full(body.into());
        self
    }

    /// Answers by the request's head, its body unread.
    pub(crate) fn early(mut self) -> Self {
        self.early = true;
        self
    }
}

impl Upstream {
    /// An API that says which method and target it was asked, and nothing of any header.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::new(Script::Http(Arc::new(describe))),
            seen: watch::Sender::default(),
            closes: watch::Sender::default(),
        });
        let connections = Mutex::new(0);
        let helper = Helper::listen("the upstream", {
            let shared = Arc::clone(&shared);
            move |stream| {
                let mut next = connections.lock().unwrap();
                let connection = *next;
                *next += 1;
                serve(Arc::clone(&shared), stream, connection)
            }
        });
        Self { shared, helper }
    }

    /// Its origin.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.helper.addr())
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.helper.addr()
    }

    /// Answers like this from now on.
    pub(crate) fn answers(&self, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Script::Http(Arc::new(answer));
    }

    /// Sends these bytes for whatever comes on a new connection, and closes it.
    pub(crate) fn answers_raw(&self, bytes: impl Into<Bytes>) {
        *self.shared.script.lock().unwrap() = Script::Raw(bytes.into());
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// The one request that came.
    pub(crate) fn the_one(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "one request was expected: {seen:?}");
        seen[0].clone()
    }

    /// The last request that came.
    pub(crate) fn last(&self) -> Seen {
        self.seen().last().expect("a request came").clone()
    }

    /// Waits until `count` requests have come, at least their heads.
    pub(crate) async fn seen_times(&self, count: usize) {
        let what = format!("{count} requests upstream");
        self.wait(&what, |seen| seen.len() >= count).await;
    }

    /// Waits until what was seen is as `fits` wants it.
    pub(crate) async fn wait(&self, what: &str, fits: impl Fn(&[Seen]) -> bool) {
        let mut seen = self.shared.seen.subscribe();
        drop(soon(what, seen.wait_for(|seen| fits(seen))).await.unwrap());
    }

    /// Waits until `count` sockets were closed; gives their close codes.
    pub(crate) async fn web_sockets_closed(&self, count: usize) -> Vec<Option<u16>> {
        let mut closes = self.shared.closes.subscribe();
        soon(
            "WebSockets to be closed",
            closes.wait_for(|closes| closes.len() >= count),
        )
        .await
        .unwrap()
        .clone()
    }
}

/// The answer that shows no header, so that no token leaks through the test itself.
fn describe(seen: &Seen) -> Answer {
    Answer::json(&json!({ "method": seen.method, "target": seen.target }))
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream, connection: usize) {
    let script = shared.script.lock().unwrap().clone();
    if let Script::Raw(bytes) = script {
        let mut raw = Vec::new();
        while find(&raw, b"\r\n\r\n").is_none() {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(count) => raw.extend_from_slice(&piece[..count]),
            }
        }
        shared
            .seen
            .send_modify(|seen| seen.push(parse(&raw, connection)));
        // The peer may refuse the bytes halfway, as it should.
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        return;
    }
    let copy = Arc::default();
    let io = TokioIo::new(Tap::new(stream, Arc::clone(&copy)));
    let service = service_fn(move |request| {
        let (shared, copy) = (Arc::clone(&shared), Arc::clone(&copy));
        async move { answer(&shared, &copy, connection, request).await }
    });
    // The connection ends as the peer or the script wants it; neither is news.
    let ended = http1::Builder::new()
        .serve_connection(io, service)
        .with_upgrades()
        .await;
    drop(ended);
}

async fn answer(
    shared: &Arc<Shared>,
    copy: &Mutex<Vec<u8>>,
    connection: usize,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let start_line = format!("{} {} HTTP/1.", request.method(), request.uri());
    let raw = {
        let mut received = copy.lock().unwrap();
        // Before it stands what was left of the last body on this connection.
        let at = received
            .windows(start_line.len())
            .rposition(|window| window == start_line.as_bytes())
            .unwrap_or_else(|| panic!("{start_line} is not among the bytes received"));
        received.drain(..at);
        received.clone()
    };
    let seen = parse(&raw, connection);
    let index = shared.seen.borrow().len();
    shared.seen.send_modify(|all| all.push(seen.clone()));
    let script = shared.script.lock().unwrap().clone();
    let Script::Http(script) = script else {
        return Err(Dropped);
    };
    let answer = script(&seen);
    if let AnswerBody::WebSocketEcho = answer.body {
        return Ok(web_socket(shared, &mut request));
    }
    let body = request.into_body();
    if answer.early {
        tokio::spawn(read_body(Arc::clone(shared), index, body));
    } else if !read_body(Arc::clone(shared), index, body).await {
        return Err(Dropped);
    }
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap());
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = match answer.body {
        AnswerBody::Full(bytes) => Body::full(bytes),
        AnswerBody::Frames(frames) => Body::stream(StreamBody::new(frames)),
        AnswerBody::Drop | AnswerBody::WebSocketEcho => return Err(Dropped),
    };
    Ok(response.body(body).unwrap())
}

/// Whether the whole body came.
async fn read_body(shared: Arc<Shared>, index: usize, mut body: Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        // Broken off: `complete` stays unset, and that is what the tests look at.
        let Ok(frame) = frame else { return false };
        match frame.into_data() {
            Ok(data) => shared
                .seen
                .send_modify(|seen| seen[index].body.extend_from_slice(&data)),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    shared
                        .seen
                        .send_modify(|seen| seen[index].trailers = trailers);
                }
            }
        }
    }
    shared.seen.send_modify(|seen| seen[index].complete = true);
    true
}

fn web_socket(shared: &Arc<Shared>, request: &mut Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        return Response::builder().status(426).body(Body::Empty).unwrap();
    };
    let protocol = request.headers().get("sec-websocket-protocol").cloned();
    let upgrade = hyper::upgrade::on(request);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut code = None;
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(_) | Message::Binary(_)
                    if socket.send(message.clone()).await.is_err() =>
                {
                    break;
                }
                Message::Close(frame) => code = frame.map(|frame| u16::from(frame.code)),
                _ => {}
            }
        }
        shared.closes.send_modify(|closes| closes.push(code));
    });
    let mut response = Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", derive_accept_key(key.as_bytes()));
    let first_protocol = protocol
        .as_ref()
        .and_then(|protocols| protocols.to_str().ok()?.split(',').next());
    if let Some(first) = first_protocol {
        response = response.header("sec-websocket-protocol", first.trim());
    }
    response.body(Body::Empty).unwrap()
}

/// The head as it was written, before any library tidied it up.
fn parse(raw: &[u8], connection: usize) -> Seen {
    let end = find(raw, b"\r\n\r\n").expect("a whole head") + 4;
    let raw_head = raw[..end].to_vec();
    let text = String::from_utf8_lossy(&raw_head).into_owned();
    let mut lines = text.split("\r\n");
    let mut start_line = lines.next().unwrap().split(' ');
    let method = start_line.next().unwrap().to_owned();
    let target = start_line.next().unwrap().to_owned();
    let fields = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    Seen {
        raw_head,
        method,
        target,
        fields,
        body: Vec::new(),
        trailers: HeaderMap::new(),
        complete: false,
        connection,
    }
}
