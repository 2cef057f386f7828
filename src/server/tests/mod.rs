//! A real listener, and clients that write bytes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::*;

mod certificates;
mod crowd;
mod drain;
mod http2;
mod slow;

use certificates::{connect_tls, trusting, write_certificate};

/// Answers by path, and remembers.
#[derive(Clone)]
struct Cast(Arc<Stage>);

#[derive(Default)]
struct Stage {
    workers: Mutex<BTreeSet<usize>>,
    shutdown: Mutex<Option<CancellationToken>>,
    waiting: Notify,
    go_on: Notify,
    let_go: Notify,
    /// What `/block` waits for, with its worker's thread.
    blocked: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

/// Tells the stage when it is dropped.
struct LetGo(Arc<Stage>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go.notify_one();
    }
}

impl Handler for Cast {
    async fn handle(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        match request.uri().path() {
            "/panic" => panic!("as asked"),
            "/wait" => {
                self.0.waiting.notify_one();
                self.0.go_on.notified().await;
                Response::new(Body::full("waited"))
            }
            "/block" => {
                let until = self.0.blocked.lock().unwrap().take().unwrap();
                self.0.waiting.notify_one();
                // Comes when the other end is dropped.
                until.recv().unwrap_err();
                Response::new(Body::Empty)
            }
            "/never" => {
                self.0.waiting.notify_one();
                std::future::pending().await
            }
            "/endless" => Response::new(Body::stream(StreamBody::new(
                futures_util::stream::repeat_with(|| {
                    Ok::<_, io::Error>(Frame::data(Bytes::from_static(&[0; 16 * 1024])))
                }),
            ))),
            "/broken" => {
                Response::new(Body::stream(StreamBody::new(futures_util::stream::iter([
                    Ok(Frame::data(Bytes::from_static(b"begun"))),
                    Err(io::Error::other("as asked")),
                ]))))
            }
            "/held" => {
                let held = LetGo(Arc::clone(&self.0));
                Response::new(Body::stream(StreamBody::new(
                    futures_util::stream::repeat_with(move || {
                        let _held = &held;
                        Ok::<_, io::Error>(Frame::data(Bytes::from_static(&[0; 1024])))
                    }),
                )))
            }
            "/echo" => {
                let body = request.into_body().collect().await;
                body.map_or_else(
                    |_| Response::new(Body::full("broken")),
                    |body| Response::new(Body::full(body.to_bytes())),
                )
            }
            "/refuse" => {
                let mut refusal = Response::new(Body::full("no"));
                *refusal.status_mut() = StatusCode::FORBIDDEN;
                refusal
            }
            "/mirror" => {
                tokio::spawn(async move {
                    let upgraded = hyper::upgrade::on(request).await.unwrap();
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                    tokio::io::copy(&mut read, &mut write).await.unwrap();
                    write.shutdown().await.unwrap();
                });
                switching_protocols()
            }
            "/upgrade" => {
                let shutdown = self.0.shutdown.lock().unwrap().clone().unwrap();
                tokio::spawn(async move {
                    let upgraded = hyper::upgrade::on(request).await.unwrap();
                    let mut upgraded = TokioIo::new(upgraded);
                    upgraded.write_all(b"up").await.unwrap();
                    shutdown.cancelled().await;
                    upgraded.write_all(b"bye").await.unwrap();
                    upgraded.shutdown().await.unwrap();
                });
                switching_protocols()
            }
            "/covers" => {
                let host = request.uri().query().unwrap_or_default();
                Response::new(Body::full(connection.covers(host).to_string()))
            }
            _ => {
                let scheme = if connection.tls { "https" } else { "http" };
                Response::new(Body::full(format!(
                    "{:?} {scheme} {}",
                    request.version(),
                    connection.peer.address()
                )))
            }
        }
    }
}

fn switching_protocols() -> Response<Body> {
    let mut switch = Response::new(Body::Empty);
    *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let protocol = HeaderValue::from_static("websocket");
    switch.headers_mut().insert(UPGRADE, protocol);
    switch
}

struct Running {
    server: Option<Server>,
    address: SocketAddr,
    shutdown: CancellationToken,
    stage: Arc<Stage>,
}

fn settings() -> ServerSettings {
    ServerSettings {
        listen: Listen::Tcp("127.0.0.1:0".parse().unwrap()),
        key: "server.listen",
        tls: None,
        site_certificates: Vec::new(),
        workers: NonZeroUsize::new(2).unwrap(),
        limits: Limits {
            head_bytes: 32 * 1024,
            head_fields: 100,
            upstream_fields: 100,
            connections: 1000,
            connections_per_address: None,
            h2_streams: 100,
            h2_resets: 20,
            least_rate: LeastRate::ANY,
        },
        timeouts: Timeouts {
            handshake: Duration::from_millis(300),
            head: Duration::from_millis(300),
            idle: Duration::from_millis(1500),
            body_idle: Duration::from_millis(300),
            connect: Duration::from_secs(5),
            websocket_ping: None,
            upstream_age: Duration::from_mins(5),
            drain: Duration::from_secs(20),
        },
    }
}

fn run(change: impl FnOnce(&mut ServerSettings)) -> Running {
    run_for(&Callers::Operators, change)
}

fn run_for(callers: &Callers, change: impl FnOnce(&mut ServerSettings)) -> Running {
    let mut settings = settings();
    change(&mut settings);
    let shutdown = CancellationToken::new();
    let stage = Arc::new(Stage::default());
    let cast = Cast(Arc::clone(&stage));
    let make_handler = move |context: WorkerContext| {
        cast.0.workers.lock().unwrap().insert(context.index);
        *cast.0.shutdown.lock().unwrap() = Some(context.shutdown);
        // Inside the worker's runtime, or this panics.
        tokio::runtime::Handle::current();
        cast.clone()
    };
    let server = Server::start(
        settings,
        callers,
        make_handler,
        shutdown.clone(),
        &LogLines::default(),
    )
    .unwrap();
    Running {
        address: server.local_addr().tcp().unwrap(),
        server: Some(server),
        shutdown,
        stage,
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One exchange on a connection of its own.
    async fn ask(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut socket).await
    }

    async fn finish(mut self) {
        self.shutdown.cancel();
        let server = self.server.take().unwrap();
        timeout(PATIENCE, server.finished()).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(15);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn read_to_end(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut text)).await;
    read.expect("the connection ends").expect("without a reset");
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads one answer that has a `content-length`.
async fn read_answer(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let byte = timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap();
        text.push(char::from(byte));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() == length {
            return text;
        }
    }
}

#[tokio::test]
async fn every_worker_makes_its_handler_and_answers() {
    let running = run(|_| {});
    let text = running
        .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("HTTP/1.1 http 127.0.0.1"), "{text}");
    assert_eq!(*running.stage.workers.lock().unwrap(), [0, 1].into());
    running.finish().await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    for _ in 0..3 {
        socket.write_all(GET).await.unwrap();
        assert!(read_answer(&mut socket).await.contains("200 OK"));
    }
    socket.write_all(&[GET, GET].concat()).await.unwrap();
    assert!(read_answer(&mut socket).await.contains("200 OK"));
    assert!(read_answer(&mut socket).await.contains("200 OK"));
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_error() {
    let running = run(|_| {});
    let again = |listen| {
        let mut settings = settings();
        settings.listen = Listen::Tcp(listen);
        Server::start(
            settings,
            &Callers::Operators,
            |_| Cast(Arc::default()),
            CancellationToken::new(),
            &LogLines::default(),
        )
    };
    let error = again(running.address).unwrap_err();
    assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
    let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = again(alone.local_addr().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "server.listen: {} is in use by another program; stop it, or write another address",
            alone.local_addr().unwrap()
        )
    );
    let error = again("192.0.2.1:80".parse().unwrap()).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(
        error.to_string().contains("no address of this machine"),
        "{error}"
    );
}

/// J14, M7: an answer that breaks off is cut at once, and never looks whole.
#[tokio::test]
async fn a_broken_answer_is_cut_at_once() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    let since = Instant::now();
    socket
        .write_all(b"GET /broken HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    drop(
        timeout(PATIENCE, socket.read_to_end(&mut answer))
            .await
            .unwrap(),
    );
    assert!(since.elapsed() < Duration::from_secs(1));
    assert!(!answer.ends_with(b"0\r\n\r\n"));
}

/// J17: too many fields or bytes are 431, however they come.
#[tokio::test]
async fn a_head_too_large_is_refused() {
    let running = run(|_| {});
    let few = "x: y\r\n".repeat(99);
    let many = "x: y\r\n".repeat(100);
    let large = format!("x: {}\r\n", "y".repeat(40 * 1024));
    let larger = format!("x: {}\r\n", "y".repeat(400 * 1024));
    for (name, fields, status) in [
        ("100 fields", &few, " 200 "),
        ("101 fields", &many, " 431 "),
        ("40 KiB", &large, " 431 "),
        ("400 KiB", &larger, " 431 "),
    ] {
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        let mut socket = running.connect().await;
        socket.write_all(head.as_bytes()).await.unwrap();
        let text = read_answer(&mut socket).await;
        assert!(
            text.lines().next().unwrap().contains(status),
            "{name}: {text}"
        );
    }
    let running = run(|settings| settings.limits.head_fields = 3);
    let text = running
        .ask("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\nx: 3\r\n\r\n")
        .await;
    assert!(text.contains(" 431 "), "{text}");
}

/// What an upgraded connection carries is no head, and passes as it is.
#[tokio::test]
async fn an_upgraded_connection_is_left_alone() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    socket
        .write_all(
            b"GET /mirror HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    for piece in ["#", "a#b\n#", "\r\n#\n"] {
        socket.write_all(piece.as_bytes()).await.unwrap();
        let mut back = vec![0; piece.len()];
        socket.read_exact(&mut back).await.unwrap();
        assert_eq!(back, piece.as_bytes());
    }
    // Longer than a head may take.
    tokio::time::sleep(Duration::from_millis(600)).await;
    socket.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut socket).await, "");
}

/// A `#` in a body is the body's own, however it comes.
#[tokio::test]
async fn a_body_with_a_fragment_in_it_passes() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    for body in ["#", "a#b\r\n#c"] {
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        socket.write_all(body.as_bytes()).await.unwrap();
        assert!(read_answer(&mut socket).await.ends_with(body));
    }
}

/// J8: an answer before the body was read arrives all the same.
#[tokio::test]
async fn an_early_refusal_reaches_a_browser_that_still_sends() {
    let running = run(|_| {});
    let piece = vec![b'x'; 20 * 1024];
    let head = b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 409600\r\n\r\n";
    let mut socket = running.connect().await;
    socket.write_all(head).await.unwrap();
    assert!(read_answer(&mut socket).await.contains(" 403 "));
    // A slow upload. A reset would fail it, and browsers then show no answer at all.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        socket.write_all(&piece).await.unwrap();
    }
    assert_eq!(read_to_end(&mut socket).await, "");
}

#[tokio::test]
async fn a_head_that_does_not_parse_is_400() {
    let running = run(|_| {});
    for head in [
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET\r\n\r\n",
        "\0\0\0\0",
    ] {
        let text = running.ask(head).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{head:?}: {text}");
    }
}

#[tokio::test]
async fn a_panic_ends_its_request_and_no_more() {
    let running = run(|settings| settings.workers = NonZeroUsize::MIN);
    let mut socket = running.connect().await;
    socket
        .write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut socket).await, "");
    let mut socket = running.connect().await;
    socket.write_all(GET).await.unwrap();
    assert!(read_answer(&mut socket).await.contains("200 OK"));
}

/// One worker gone is a fault that whoever watches the process must see.
#[tokio::test]
async fn a_worker_that_cannot_make_its_handler_ends_them_all() {
    let shutdown = CancellationToken::new();
    let make_handler = |context: WorkerContext| match context.index {
        0 => Cast(Arc::default()),
        _ => panic!("as asked"),
    };
    let error = Server::start(
        settings(),
        &Callers::Operators,
        make_handler,
        shutdown.clone(),
        &LogLines::default(),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "cannot start a worker: the worker broke");
    assert!(shutdown.is_cancelled());
}

/// J17: beyond the limit a connection waits its turn; every worker can use the last place.
#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let running = run(|settings| settings.limits.connections = 1);
    let mut first = running.connect().await;
    first
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.stage.waiting.notified().await;
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut socket = running.connect().await;
        socket
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        others.push(socket);
    }
    let early = timeout(Duration::from_millis(200), others[0].read_u8()).await;
    assert!(early.is_err(), "answered beyond the limit");
    running.stage.go_on.notify_one();
    read_answer(&mut first).await;
    drop(first);
    for mut socket in others {
        assert!(read_to_end(&mut socket).await.contains("200 OK"));
    }
}

async fn http2<S>(socket: S) -> hyper::client::conn::http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .uri(format!("http://a{path}"))
        .body(Full::default())
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn http_2_is_spoken_by_prior_knowledge() {
    let running = run(|_| {});
    let mut sender = http2(running.connect().await).await;
    let answer = sender.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 http 127.0.0.1");

    // A panic ends one stream; the others go on.
    sender.send_request(request("/panic")).await.unwrap_err();
    let answer = sender.send_request(request("/")).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// J17: what holds for the fields of HTTP/1.1 holds for HTTP/2.
#[tokio::test]
async fn http_2_heads_are_limited_as_well() {
    let running = run(|_| {});
    let mut sender = http2(running.connect().await).await;
    let with = |count: usize, value: &str| {
        let mut request = request("/");
        for _ in 0..count {
            request
                .headers_mut()
                .append("x", HeaderValue::from_str(value).unwrap());
        }
        request
    };
    for (name, request, status) in [
        ("100 fields", with(100, "y"), 200),
        ("101 fields", with(101, "y"), 431),
        ("40 KiB", with(4, &"y".repeat(10 * 1024)), 431),
    ] {
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{name}");
    }
}
