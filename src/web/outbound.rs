//! Calls that we make ourselves, to the provider: https, or http on loopback; no redirect is
//! followed; every answer is capped and every call has a deadline (A7). They go straight or through
//! a proxy, as `way_out` says.
//!
//! What the calls mean is left to `oidc`. API traffic goes another way, through `proxy`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::client::Resumption;
use url::{Origin, Url};

use crate::clock::Timestamp;
use crate::web::key_pair::PairFault;
use crate::web::loopback::{is_loopback, is_loopback_host};
use crate::web::renewed_certificate::RenewedCertificate;
use crate::web::trust::{self, Mistrust, Roots};
use crate::web::way_out::{Connector, ProxyFault, WayOut};

/// The largest answer that is read, in bytes (A7).
pub const MAX_ANSWER: usize = 1024 * 1024;

/// Idle connections are dropped before the servers with the shortest patience (5 s) drop them: a
/// request lost on a dying connection cannot be sent again when it carries a code (C7).
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The client for calls to the provider; cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    connector: HttpsConnector<Connector>,
    pool: Arc<ArcSwap<Pool>>,
    in_clear: Option<Origin>,
    client_certificate: Option<RenewedCertificate>,
}

/// The connections that are open.
struct Pool {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
    /// The version of the certificate that they were begun with.
    of: u64,
}

impl Pool {
    fn new(connector: HttpsConnector<Connector>, of: u64) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that builds a client"
        )]
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, of }
    }
}

/// How calls of ours go.
#[derive(Debug, Clone, Default)]
pub struct OutboundSettings {
    /// Straight, or through a proxy.
    pub way_out: WayOut,
    /// The one other machine that is asked over http: the operator has said so.
    pub in_clear: Option<Origin>,
    /// Whose certificates are believed there, in place of the machine's own authorities.
    pub roots: Option<Roots>,
    /// What we show there to servers that ask who we are.
    pub client_certificate: Option<RenewedCertificate>,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// Neither https nor http on loopback, nor where the operator allows it.
    #[error("the address is neither https nor http on loopback")]
    Insecure,
    /// No connection came about: DNS, TCP or TLS. Nothing was sent.
    #[error("no connection")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// There was no TLS: the certificate may not be believed. Nothing was sent.
    #[error("{fault}{}", remedy(*fault))]
    Untrusted {
        /// What is against it.
        fault: Mistrust,
        /// How it came to light.
        source: hyper_util::client::legacy::Error,
    },
    /// The proxy cannot be reached, or gives no way to the other side. Nothing was sent there.
    #[error("no way through the proxy")]
    Proxy(#[source] hyper_util::client::legacy::Error),
    /// The connection broke off before the answer was there. The request may have arrived.
    #[error("the connection broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The deadline passed. The request may have arrived.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is larger than [`MAX_ANSWER`].
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
}

impl OutboundError {
    /// Whether the request may have been carried out although no answer came (L6).
    pub const fn is_ambiguous(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Timeout(_) => true,
            Self::Setup(_)
            | Self::Insecure
            | Self::Connect(_)
            | Self::Untrusted { .. }
            | Self::Proxy(_)
            | Self::TooLarge => false,
        }
    }

    /// The word for metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Setup(_) => "setup",
            Self::Insecure => "insecure",
            Self::Connect(_) => "connect",
            Self::Untrusted { .. } => "untrusted",
            Self::Proxy(_) => "proxy",
            Self::Broken(_) => "broken",
            Self::Timeout(_) => "timeout",
            Self::TooLarge => "too_large",
        }
    }
}

/// What helps against an authority that is not known.
const fn remedy(fault: Mistrust) -> &'static str {
    if fault.is_of_unknown_authority {
        "; write the PEM file with its roots as provider.ca, or name one for the whole process in SSL_CERT_FILE"
    } else {
        ""
    }
}

/// How servers are verified where no roots are named: as [`trust::machines_own`] says.
///
/// # Errors
///
/// [`OutboundError::Setup`] where TLS cannot be set up.
pub fn tls() -> Result<ClientConfig, OutboundError> {
    trust::machines_own().map_err(OutboundError::Setup)
}

impl Outbound {
    /// A client that verifies servers as [`tls`] does and asks everyone straight.
    ///
    /// # Errors
    ///
    /// [`OutboundError::Setup`] where TLS cannot be set up.
    pub fn new(timeout: Duration) -> Result<Self, OutboundError> {
        Ok(Self::with_tls(tls()?, timeout, OutboundSettings::default()))
    }

    /// A client that verifies servers as `tls` does, where `settings` name no roots, and whose calls
    /// take about `timeout`; half of it is for connecting, so that a host
    /// that swallows packets counts as unreachable, not as one that may have acted.
    pub fn with_tls(tls: ClientConfig, timeout: Duration, settings: OutboundSettings) -> Self {
        let OutboundSettings {
            way_out,
            in_clear,
            roots,
            client_certificate,
        } = settings;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout / 2));
        let connector = Connector::new(tcp, tls.clone(), way_out, timeout / 2);
        // HTTP/1.1 alone: one silent HTTP/2 connection would hold up every call until it is
        // noticed, and these calls are few.
        let mut tls = roots.map_or(tls, |roots| roots.tls());
        if let Some(certificate) = &client_certificate {
            tls.client_auth_cert_resolver = certificate.resolver();
            // Whoever resumes a connection is who it was when that began, be the certificate renewed since.
            tls.resumption = Resumption::disabled();
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let version = client_certificate.as_ref().map(RenewedCertificate::version);
        let pool = Pool::new(connector.clone(), version.unwrap_or_default());
        Self {
            connector,
            pool: Arc::new(ArcSwap::from_pointee(pool)),
            in_clear,
            client_certificate,
        }
    }

    /// Takes a renewed client certificate into use, with connections of its own since an open one is that of
    /// who it was begun by; and says whether there is one where one is to be shown.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn ready(&self, now: Timestamp) -> Result<(), Arc<PairFault>> {
        let Some(certificate) = &self.client_certificate else {
            return Ok(());
        };
        let ready = certificate.ready(now).await;
        let version = certificate.version();
        if self.pool.load().of != version {
            let pool = Pool::new(self.connector.clone(), version);
            self.pool.store(Arc::new(pool));
        }
        ready
    }

    /// Sends `request` once and reads the whole answer, all before `deadline` has passed.
    ///
    /// # Errors
    ///
    /// Any [`OutboundError`] but `Setup`. An answer of whatever status is not an error.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Response<Bytes>, OutboundError> {
        if !uri_is_https_or_loopback(request.uri()) && !self.may_be_in_clear(request.uri()) {
            return Err(OutboundError::Insecure);
        }
        tokio::time::timeout(deadline, self.send_and_read(request.map(Full::new)))
            .await
            .unwrap_or(Err(OutboundError::Timeout(deadline)))
    }

    fn may_be_in_clear(&self, uri: &Uri) -> bool {
        let Some(in_clear) = &self.in_clear else {
            return false;
        };
        Url::parse(&uri.to_string()).is_ok_and(|url| url.origin() == *in_clear)
    }

    async fn send_and_read(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, OutboundError> {
        let asked = self.pool.load().client.request(request);
        let answer = asked.await.map_err(|error| {
            if error.source().is_some_and(<dyn Error>::is::<ProxyFault>) {
                OutboundError::Proxy(error)
            } else if let Some(fault) = Mistrust::behind(&error) {
                OutboundError::Untrusted {
                    fault,
                    source: error,
                }
            } else if error.is_connect() {
                OutboundError::Connect(error)
            } else {
                OutboundError::Broken(error.into())
            }
        })?;
        let (head, body) = answer.into_parts();
        let bytes = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    OutboundError::TooLarge
                } else {
                    OutboundError::Broken(error)
                }
            })?
            .to_bytes();
        Ok(Response::from_parts(head, bytes))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

/// Whether a call to `url` is safe from others: https, or http to this machine (A7).
pub fn is_https_or_loopback(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    }
}

fn uri_is_https_or_loopback(uri: &Uri) -> bool {
    let Some(host) = uri.host() else {
        return false;
    };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback_host(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustls::RootCertStore;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// Answers one connection with these bytes and closes it, or says nothing at all.
    async fn server(answer: Option<Vec<u8>>) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            match answer {
                // The client may hang up on an answer that is too large.
                Some(answer) => drop(stream.write_all(&answer).await),
                None => std::future::pending().await,
            }
        });
        (url, task)
    }

    async fn send(url: &str, deadline: Duration) -> Result<Response<Bytes>, OutboundError> {
        let outbound = Outbound::new(Duration::from_secs(10)).unwrap();
        let request = Request::get(url).body(Bytes::new()).unwrap();
        outbound.send(request, deadline).await
    }

    fn answer(length: usize, body: usize) -> Vec<u8> {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + body, b'x');
        answer
    }

    /// A7: a cap on the answer and a deadline on the call; what is ambiguous says so (L6).
    #[tokio::test]
    async fn a_call_is_bounded() {
        let unframed = |body: usize| {
            let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            answer.resize(answer.len() + body, b'x');
            answer
        };
        let cases = [
            ("small", Some(answer(5, 5)), "ok", false),
            (
                "as large as may be",
                Some(answer(MAX_ANSWER, MAX_ANSWER)),
                "ok",
                false,
            ),
            (
                "too large",
                Some(answer(MAX_ANSWER + 1, MAX_ANSWER + 1)),
                "too_large",
                false,
            ),
            (
                "too large, unannounced",
                Some(unframed(MAX_ANSWER + 1)),
                "too_large",
                false,
            ),
            ("cut short", Some(answer(5, 4)), "broken", true),
            ("closed", Some(Vec::new()), "broken", true),
            ("silent", None, "timeout", true),
        ];
        for (name, bytes, expected, ambiguous) in cases {
            // Only silence waits for the deadline, so only there it is short.
            let deadline = if bytes.is_some() { 30_000 } else { 200 };
            let (url, task) = server(bytes).await;
            let outcome = send(&url, Duration::from_millis(deadline)).await;
            task.abort();
            let word = outcome
                .as_ref()
                .map_or_else(OutboundError::as_str, |_| "ok");
            assert_eq!(word, expected, "{name}: {outcome:?}");
            let said = outcome.is_err_and(|error| error.is_ambiguous());
            assert_eq!(said, ambiguous, "{name}");
        }
    }

    /// A7: nothing is sent in the clear to another machine, and a refused connection is no riddle.
    #[tokio::test]
    async fn only_safe_addresses_are_called() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let closed = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let cases = [
            ("http://192.0.2.1/", "insecure"),
            ("http://localhost.example.com/", "insecure"),
            ("http://127.0.0.1.example.com/", "insecure"),
            ("ftp://127.0.0.1/", "insecure"),
            (closed.as_str(), "connect"),
        ];
        for (url, expected) in cases {
            let error = send(url, Duration::from_secs(30)).await.unwrap_err();
            assert_eq!(error.as_str(), expected, "{url}");
            assert!(!error.is_ambiguous(), "{url}");
        }
    }

    /// N2: the certificate is verified, and the name in it.
    #[tokio::test]
    async fn a_certificate_is_verified() {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let key =
            rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut request = [0; 1024];
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    stream.write_all(&answer(2, 2)).await.unwrap();
                }
            }
        });

        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let trusting = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let settings = OutboundSettings::default();
        let trusting = Outbound::with_tls(trusting, Duration::from_secs(30), settings);
        let plain = Outbound::new(Duration::from_secs(30)).unwrap();
        let cases = [
            ("trusted", &trusting, "localhost", "ok"),
            ("another name", &trusting, "127.0.0.1", "untrusted"),
            ("not trusted", &plain, "localhost", "untrusted"),
        ];
        for (name, outbound, host, expected) in cases {
            let request = Request::get(format!("https://{host}:{port}/"));
            let request = request.body(Bytes::new()).unwrap();
            let outcome = outbound.send(request, Duration::from_secs(30)).await;
            let word = outcome
                .as_ref()
                .map_or_else(OutboundError::as_str, |_| "ok");
            assert_eq!(word, expected, "{name}: {outcome:?}");
        }
        task.abort();
    }

    /// A7: https anywhere, http on this machine.
    #[test]
    fn https_or_loopback() {
        let cases = [
            ("https://id.example.com/", true),
            ("http://localhost:8080/", true),
            ("http://LOCALHOST/", true),
            ("http://id.localhost:8180/", true),
            ("http://127.0.0.1/", true),
            ("http://127.1/", true),
            ("http://[::1]:9/", true),
            ("http://id.example.com/", false),
            ("http://0.0.0.0/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost@evil.example/", false),
            ("ws://localhost/", false),
            ("data:text/plain,x", false),
        ];
        for (text, expected) in cases {
            let url = Url::parse(text).unwrap();
            assert_eq!(is_https_or_loopback(&url), expected, "{text}");
            if url.has_host() {
                let uri: Uri = url.as_str().parse().unwrap();
                assert_eq!(uri_is_https_or_loopback(&uri), expected, "{text}");
            }
        }
    }
}
