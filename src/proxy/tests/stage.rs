//! The players: a proxy on a free port, a raw browser, a raw upstream.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::proxy::RouteSettings;
use crate::proxy::dial::SystemResolver;
use crate::proxy::error::ForwardError;
use crate::proxy::forward::{Call, RequestBody};
use crate::proxy::message::{check_request, external_host};
use crate::proxy::path::{PathRules, RequestPath};
use crate::proxy::route::{RouteMatch, RouteTable, tests::settings};
use crate::proxy::upgrade::{Handshake, Upgrade, is_websocket};
use crate::proxy::upstream::{UpstreamLimits, UpstreamRoom, Upstreams};
use crate::web::body::Body;
use crate::web::client_address::{ClientAddress, TrustedProxies};
use crate::web::cookie_names::CookieNames;
use crate::web::ending::Ending;
use crate::web::open_limits::OpenLimits;
use crate::web::pace::LeastRate;
use crate::web::public_origin::PublicOrigin;

/// How long a body may stand still here.
pub(super) const BODY_IDLE: Duration = Duration::from_millis(150);

pub(super) struct Proxy {
    pub(super) addr: SocketAddr,
    pub(super) ending: Ending,
    pub(super) shutdown: CancellationToken,
    accepting: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The upstreams' limits here; no body is too slow.
pub(super) fn limits() -> UpstreamLimits {
    UpstreamLimits {
        connect: Duration::from_secs(2),
        body_idle: BODY_IDLE,
        least_rate: LeastRate::ANY,
        age: Duration::from_mins(5),
        fields: 100,
    }
}

/// Room for any number of connections to upstreams.
pub(super) fn room() -> UpstreamRoom {
    UpstreamRoom::new(usize::MAX, NonZeroUsize::MIN)
}

struct House {
    routes: RouteTable,
    upstreams: Upstreams,
    public: PublicOrigin,
    ending: Ending,
    shutdown: CancellationToken,
    sockets: OpenLimits,
}

/// A TLS client that trusts nobody.
pub(super) fn no_roots() -> Arc<rustls::ClientConfig> {
    tls_client(rustls::RootCertStore::empty())
}

pub(super) fn tls_client(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Arc::new(
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

impl Proxy {
    pub(super) async fn to(upstream: &Upstream) -> Self {
        Self::with(settings("/", &upstream.url())).await
    }

    pub(super) async fn with(settings: RouteSettings) -> Self {
        Self::start(settings, no_roots()).await
    }

    pub(super) async fn start(settings: RouteSettings, tls: Arc<rustls::ClientConfig>) -> Self {
        let upstreams = Upstreams::new(limits(), room(), tls, Arc::new(SystemResolver));
        Self::over(settings, upstreams).await
    }

    pub(super) async fn over(settings: RouteSettings, upstreams: Upstreams) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ending = Ending::new();
        let shutdown = CancellationToken::new();
        let house = Arc::new(House {
            routes: RouteTable::new(vec![settings]).unwrap(),
            upstreams,
            public: PublicOrigin::new(&Url::parse("https://app.example").unwrap()).unwrap(),
            ending: ending.clone(),
            shutdown: shutdown.clone(),
            sockets: OpenLimits::new(10, 10),
        });
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let house = Arc::clone(&house);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let house = Arc::clone(&house);
                        async move { Ok::<_, hyper::Error>(house.handle(request, peer.ip()).await) }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await
                });
            }
        });
        Self {
            addr,
            ending,
            shutdown,
            accepting: accepting.abort_handle(),
        }
    }

    pub(super) async fn browser(&self) -> Wire {
        Wire::new(TcpStream::connect(self.addr).await.unwrap())
    }

    /// One request on a connection of its own, and all that comes back until it closes.
    pub(super) async fn ask(&self, request: &str) -> String {
        let mut browser = self.browser().await;
        browser.send(request).await;
        browser.rest().await
    }
}

impl House {
    async fn handle(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
        match self.try_handle(request, peer).await {
            Ok(answer) => answer,
            Err(fault) => Response::builder()
                .status(500)
                .header("connection", "close")
                .body(Body::full(format!("fault: {fault}")))
                .unwrap(),
        }
    }

    async fn try_handle(
        &self,
        mut request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Response<Body>, String> {
        let browser = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        check_request(&parts).map_err(|fault| format!("{fault:?}"))?;
        let path = RequestPath::parse(parts.uri.path(), PathRules::STRICT)
            .map_err(|fault| format!("{fault:?}"))?;
        let host = external_host(&parts).unwrap();
        let RouteMatch::Found(route) = self.routes.find(host, &parts.method, &path) else {
            return Err("NoRoute".to_owned());
        };
        let client = ClientAddress::resolve(peer, &parts.headers, &TrustedProxies::default());
        let call = Call {
            route,
            parts: &parts,
            body: RequestBody::from(body),
            path: &path,
            authorization: Some(&HeaderValue::from_static("Bearer canary")),
            proving: None,
            told: &[],
            client: &client,
            public: &self.public,
            request_id: &HeaderValue::from_static("r-1"),
            strip: &CookieNames::of("bff", None),
            ending: Some(self.ending.clone()),
        };
        let outcome = if is_websocket(&parts) {
            let handshake = Handshake::check(&parts).map_err(|fault| format!("{fault:?}"))?;
            let upgrade = Upgrade {
                handshake: &handshake,
                browser,
                permit: self.sockets.take(None).unwrap(),
                stranger: None,
                ping: None,
                shutdown: self.shutdown.clone(),
            };
            self.upstreams.upgrade(call, upgrade).await
        } else {
            self.upstreams.forward(call).await
        };
        outcome.map_err(|error| variant(&error))
    }
}

/// The name of an error's variant.
fn variant(error: &ForwardError) -> String {
    let text = format!("{error:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    text.split_at(end).0.to_owned()
}

pub(super) struct Upstream {
    listener: TcpListener,
    /// The same socket, asked without the runtime's view of what is ready.
    direct: std::net::TcpListener,
}

impl Upstream {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let direct = listener.into_std().unwrap();
        let listener = TcpListener::from_std(direct.try_clone().unwrap()).unwrap();
        Self { listener, direct }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Lets nothing through any more: a connection to it is neither taken nor refused.
    pub(super) fn falls_mute(&self) {
        // Classic BPF: keep no byte of any segment.
        let drop_all = [socket2::SockFilter::new(0x06, 0, 0, 0)];
        SockRef::from(&self.direct)
            .attach_filter(&drop_all)
            .unwrap();
    }

    pub(super) fn speaks_again(&self) {
        SockRef::from(&self.direct).detach_filter().unwrap();
    }

    pub(super) async fn accept(&self) -> Wire {
        Wire::new(self.listener.accept().await.unwrap().0)
    }

    /// Whether nobody has dialled so far.
    pub(super) fn untouched(&self) -> bool {
        let accepted = self.direct.accept();
        accepted.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Takes one connection, reads a request's head, answers; gives both back.
    pub(super) async fn answer(&self, answer: &str) -> (Wire, String) {
        let mut wire = self.accept().await;
        let head = wire.head().await;
        wire.send(answer).await;
        (wire, head)
    }
}

/// A connection, byte by byte.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What can be sent to a peer that may have hung up.
    pub(super) async fn try_send(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    /// Up to and with `end`; panics where the connection ends before.
    pub(super) async fn until(&mut self, end: &str) -> String {
        let found = self.try_until(end).await;
        found.unwrap_or_else(|| panic!("closed after {:?}", self.read))
    }

    /// Up to and with `end`, unless the connection ends before.
    pub(super) async fn try_until(&mut self, end: &str) -> Option<String> {
        if end.is_empty() {
            return Some(String::new());
        }
        loop {
            let found = self
                .read
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                let bytes = std::mem::replace(&mut self.read, rest);
                return Some(String::from_utf8(bytes).unwrap());
            }
            let read = self.stream.read_buf(&mut self.read).await;
            read.ok().filter(|&count| count > 0)?;
        }
    }

    pub(super) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// All that comes until the connection closes, however it does.
    pub(super) async fn rest(&mut self) -> String {
        while let Ok(1..) = self.stream.read_buf(&mut self.read).await {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Sends a request and reads an answer of known length, leaving the connection open.
    pub(super) async fn ask(&mut self, request: &str) -> String {
        self.send(request).await;
        let head = self.head().await;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0);
        }
        let body: Vec<u8> = self.read.drain(..length).collect();
        head + str::from_utf8(&body).unwrap()
    }
}
