//! TLS: which certificate a browser gets, and how they come and go while connections are open.

use std::path::Path;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup,
    SignatureScheme,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use super::*;

/// A certificate of its own and the key, for this name, at `tls.crt` and `tls.key`.
pub(super) fn write_certificate(
    dir: &Path,
    name: &str,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> TlsFiles {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    write(dir, "tls", &params)
}

/// A certificate of its own and the key, for these names, at `stem.crt` and `stem.key`.
fn issue(dir: &Path, stem: &str, names: &[&str]) -> TlsFiles {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    write(dir, stem, &rcgen::CertificateParams::new(names).unwrap())
}

fn write(dir: &Path, stem: &str, params: &rcgen::CertificateParams) -> TlsFiles {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let files = TlsFiles {
        cert: dir.join(format!("{stem}.crt")),
        key: dir.join(format!("{stem}.key")),
    };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

fn of_site(host: &str, files: &TlsFiles) -> SiteCertificate {
    SiteCertificate {
        host: host.to_owned(),
        files: files.clone(),
    }
}

/// Trusts this one alone.
pub(super) fn trusting(files: &TlsFiles, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.cert).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// A connection to `localhost`.
pub(super) async fn connect_tls(
    running: &Running,
    connector: &TlsConnector,
) -> io::Result<TlsStream<TcpStream>> {
    let name = "localhost".try_into().unwrap();
    connector.connect(name, running.connect().await).await
}

/// N2: both versions of HTTP over TLS, chosen by ALPN.
#[tokio::test]
async fn tls_speaks_what_alpn_agrees_on() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path(), "localhost", |_| {});
    let running = run(|settings| settings.tls = Some(files.clone()));

    for alpn in [&[][..], &[&b"http/1.1"[..]][..]] {
        let mut socket = connect_tls(&running, &trusting(&files, alpn))
            .await
            .unwrap();
        socket.write_all(GET).await.unwrap();
        assert!(
            read_answer(&mut socket)
                .await
                .ends_with("HTTP/1.1 https 127.0.0.1")
        );
    }
    let socket = connect_tls(&running, &trusting(&files, &[b"h2", b"http/1.1"]))
        .await
        .unwrap();
    let answer = http2(socket)
        .await
        .send_request(request("/"))
        .await
        .unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 https 127.0.0.1");
    running.finish().await;
}

/// J18: a handshake has its time.
#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path(), "localhost", |_| {});
    let running = run(|settings| settings.tls = Some(files));
    assert_eq!(running.ask("").await, "");
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let old = write_certificate(dir.path(), "localhost", |_| {});
    let trusts_old = trusting(&old, &[]);
    let running = run(|settings| settings.tls = Some(old.clone()));
    connect_tls(&running, &trusts_old).await.unwrap();

    let fresh = write_certificate(dir.path(), "localhost", |_| {});
    let trusts_fresh = trusting(&fresh, &[]);
    let taken = async {
        while connect_tls(&running, &trusts_fresh).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    connect_tls(&running, &trusts_old).await.unwrap_err();

    std::fs::write(&fresh.cert, "broken").unwrap();
    certificates(&running).look(Told::Always);
    connect_tls(&running, &trusts_fresh).await.unwrap();
}

/// A browser that takes any certificate, so that a test can say which one it got.
#[derive(Clone)]
struct Visitor(ClientConfig);

/// Says yes, once the signatures are right.
#[derive(Debug)]
struct Credulous(CryptoProvider);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Visitor {
    fn new(version: &'static rustls::SupportedProtocolVersion) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
            .with_no_client_auth();
        Self(config)
    }

    /// One that resumes what it can, whatever the name.
    fn unscrupulous(version: &'static rustls::SupportedProtocolVersion) -> Self {
        let mut visitor = Self::new(version);
        visitor.0.resumption = Resumption::store(Arc::new(Nameless::default()));
        visitor
    }

    /// A connection that asks for this name; for none where there is none.
    async fn visit(
        &self,
        running: &Running,
        name: Option<&str>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut config = self.0.clone();
        config.enable_sni = name.is_some();
        let name = ServerName::try_from(name.unwrap_or("nobody.test").to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        timeout(PATIENCE, connector.connect(name, running.connect().await)).await?
    }

    /// Asks once, which leaves time for tickets to come.
    async fn call(&self, running: &Running, name: Option<&str>) -> TlsStream<TcpStream> {
        let mut socket = self.visit(running, name).await.unwrap();
        socket.write_all(GET).await.unwrap();
        assert!(read_answer(&mut socket).await.contains("200 OK"));
        socket
    }
}

/// What was once shown to anybody.
#[derive(Debug)]
struct Nameless(ClientSessionMemoryCache);

impl Default for Nameless {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(16))
    }
}

impl Nameless {
    fn name() -> ServerName<'static> {
        "whoever.test".try_into().unwrap()
    }
}

impl ClientSessionStore for Nameless {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

/// Whether the connection shows what stands in this file.
fn shows(socket: &TlsStream<TcpStream>, files: &TlsFiles) -> bool {
    let shown = socket.get_ref().1.peer_certificates().unwrap();
    shown[0] == CertificateDer::from_pem_file(&files.cert).unwrap()
}

fn handshake(socket: &TlsStream<TcpStream>) -> HandshakeKind {
    socket.get_ref().1.handshake_kind().unwrap()
}

/// The alert that a handshake was refused with.
fn alert(refused: &io::Error) -> Option<AlertDescription> {
    match refused.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn certificates(running: &Running) -> Certificates {
    running.server.as_ref().unwrap().certificates().unwrap()
}

const TLS12: &rustls::SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &rustls::SupportedProtocolVersion = &rustls::version::TLS13;

/// DESIGN §7: the certificate is picked by the name that the browser asks for, exact before wildcard,
/// and that of `server.tls` is for every other name and for none.
#[tokio::test]
async fn the_certificate_is_picked_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let otherwise = issue(dir.path(), "otherwise", &["bff.internal"]);
    let shop = issue(dir.path(), "shop", &["shop.example.com"]);
    let below = issue(dir.path(), "below", &["*.example.com", "example.com"]);
    let running = run(|settings| {
        settings.tls = Some(otherwise.clone());
        settings.site_certificates = vec![
            of_site("*.example.com", &below),
            of_site("Shop.Example.com", &shop),
        ];
    });
    for (name, expected) in [
        (Some("shop.example.com"), &shop),
        (Some("SHOP.example.COM"), &shop),
        (Some("www.example.com"), &below),
        (Some("xn--bcher-kva.example.com"), &below),
        // The certificate covers it, and no site is there.
        (Some("example.com"), &otherwise),
        (Some("a.shop.example.com"), &otherwise),
        (Some("bff.internal"), &otherwise),
        (Some("evil.test"), &otherwise),
        (None, &otherwise),
    ] {
        for version in [TLS12, TLS13] {
            let visitor = Visitor::new(version);
            let socket = visitor.visit(&running, name).await.unwrap();
            assert!(shows(&socket, expected), "{name:?} {version:?}");
        }
    }
    // An address is no name: whoever opens one asks for none.
    let visitor = Visitor::new(TLS13);
    let socket = visitor.visit(&running, Some("127.0.0.1")).await.unwrap();
    assert!(shows(&socket, &otherwise));
    running.finish().await;
}

/// DESIGN §7: where there is no certificate for other names, the handshake is refused, and says why.
#[tokio::test]
async fn without_a_certificate_the_handshake_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shop = issue(dir.path(), "shop", &["shop.example.com", "www.example.com"]);
    let running = run(|settings| {
        settings.site_certificates = vec![of_site("shop.example.com", &shop)];
    });
    for version in [TLS12, TLS13] {
        let visitor = Visitor::new(version);
        for (name, expected) in [
            (Some("evil.test"), AlertDescription::UnrecognisedName),
            (Some("www.example.com"), AlertDescription::UnrecognisedName),
            (None, AlertDescription::MissingExtension),
        ] {
            let refused = visitor.visit(&running, name).await.unwrap_err();
            assert_eq!(alert(&refused), Some(expected), "{name:?}: {refused}");
        }
        let socket = visitor.call(&running, Some("shop.example.com")).await;
        assert!(shows(&socket, &shop));
    }
    // What is no handshake at all ends as before.
    let mut socket = running.connect().await;
    socket.write_all(GET).await.unwrap();
    let mut text = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text[0], 21, "an alert");
    running.finish().await;
}

/// N2: of two certificates one is renewed, and the other is left alone; a broken one stays what it was.
#[tokio::test]
async fn one_of_two_is_renewed_alone() {
    let dir = tempfile::tempdir().unwrap();
    let shop = issue(dir.path(), "shop", &["shop.example.com"]);
    let blog = issue(dir.path(), "blog", &["blog.example.com"]);
    let running = run(|settings| {
        settings.timeouts.idle = PATIENCE;
        settings.site_certificates = vec![
            of_site("shop.example.com", &shop),
            of_site("blog.example.com", &blog),
        ];
    });
    let visitor = Visitor::new(TLS13);
    let (at_shop, at_blog) = (Some("shop.example.com"), Some("blog.example.com"));
    let mut old = visitor.call(&running, at_shop).await;
    issue(dir.path(), "shop", &["shop.example.com"]);
    let renewed = async {
        while !shows(&visitor.visit(&running, at_shop).await.unwrap(), &shop) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, renewed).await.unwrap();
    assert!(shows(
        &visitor.visit(&running, at_blog).await.unwrap(),
        &blog
    ));
    // Open connections go on.
    old.write_all(GET).await.unwrap();
    assert!(read_answer(&mut old).await.contains("200 OK"));

    let before = std::fs::read(&blog.cert).unwrap();
    std::fs::write(&blog.cert, "broken").unwrap();
    certificates(&running).look(Told::Always);
    std::fs::write(&blog.cert, before).unwrap();
    assert!(shows(
        &visitor.visit(&running, at_blog).await.unwrap(),
        &blog
    ));
    assert!(shows(
        &visitor.visit(&running, at_shop).await.unwrap(),
        &shop
    ));
    running.finish().await;
}

/// DESIGN §7: sites come and go while others are served; a faulty set changes nothing.
#[tokio::test]
async fn the_certificates_are_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let shop = issue(dir.path(), "shop", &["shop.example.com"]);
    let blog = issue(dir.path(), "blog", &["blog.example.com"]);
    let wiki = issue(dir.path(), "wiki", &["wiki.example.com"]);
    let running = run(|settings| {
        settings.timeouts.idle = PATIENCE;
        settings.site_certificates = vec![
            of_site("shop.example.com", &shop),
            of_site("blog.example.com", &blog),
        ];
    });
    let visitor = Visitor::new(TLS13);
    let mut at_shop = visitor.call(&running, Some("shop.example.com")).await;
    let certificates = certificates(&running);

    let faulty = [
        of_site("wiki.example.com", &wiki),
        of_site("news.example.com", &blog),
    ];
    let error = certificates.replace(None, &faulty, now).unwrap_err();
    assert!(matches!(error, TlsError::DoesNotCover { .. }), "{error}");
    let error = certificates.replace(None, &[], now).unwrap_err();
    assert!(matches!(error, TlsError::NothingLeft), "{error}");
    for (name, files) in [("shop.example.com", &shop), ("blog.example.com", &blog)] {
        let socket = visitor.visit(&running, Some(name)).await.unwrap();
        assert!(shows(&socket, files), "{name}");
    }
    let refused = visitor.visit(&running, Some("wiki.example.com")).await;
    refused.unwrap_err();

    let next = [
        of_site("blog.example.com", &blog),
        of_site("wiki.example.com", &wiki),
    ];
    certificates.replace(None, &next, now).unwrap();
    let refused = visitor.visit(&running, Some("shop.example.com")).await;
    refused.unwrap_err();
    for (name, files) in [("wiki.example.com", &wiki), ("blog.example.com", &blog)] {
        let socket = visitor.visit(&running, Some(name)).await.unwrap();
        assert!(shows(&socket, files), "{name}");
    }
    at_shop.write_all(GET).await.unwrap();
    assert!(read_answer(&mut at_shop).await.contains("200 OK"));
    // What came with the new set is looked at as well.
    issue(dir.path(), "wiki", &["wiki.example.com"]);
    let renewed = async {
        let name = Some("wiki.example.com");
        while !shows(&visitor.visit(&running, name).await.unwrap(), &wiki) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, renewed).await.unwrap();
    running.finish().await;
}

/// RFC 6066 §3, DESIGN §7: what began under one name is resumed under no other, be it another
/// certificate's or the same one's; and no longer once the site has another certificate.
#[tokio::test]
async fn no_connection_is_resumed_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let otherwise = issue(dir.path(), "otherwise", &["bff.internal"]);
    let shop = issue(dir.path(), "shop", &["shop.example.com"]);
    let below = issue(dir.path(), "below", &["*.example.com"]);
    let sites = [
        of_site("shop.example.com", &shop),
        of_site("*.example.com", &below),
    ];
    let running = run(|settings| {
        settings.tls = Some(otherwise.clone());
        settings.site_certificates = sites.to_vec();
    });
    let names = [
        Some("shop.example.com"),
        Some("a.example.com"),
        Some("b.example.com"),
        Some("evil.test"),
        None,
    ];
    for version in [TLS12, TLS13] {
        for first in names {
            for then in names {
                let visitor = Visitor::unscrupulous(version);
                let began = visitor.call(&running, first).await;
                assert_eq!(handshake(&began), HandshakeKind::Full);
                let again = visitor.call(&running, then).await;
                let is_resumed = handshake(&again) == HandshakeKind::Resumed;
                assert_eq!(is_resumed, first == then, "{version:?} {first:?} {then:?}");
            }
        }
    }

    let at_shop = Some("shop.example.com");
    for version in [TLS12, TLS13] {
        let visitor = Visitor::unscrupulous(version);
        visitor.call(&running, at_shop).await;
        // A renewal, and a change to other sites, cost nobody a handshake.
        let renewed = issue(dir.path(), "shop", &["shop.example.com"]);
        let more = [&sites[..], &[of_site("c.example.com", &below)]].concat();
        certificates(&running)
            .replace(Some(&otherwise), &more, SystemClock.now())
            .unwrap();
        let again = visitor.call(&running, at_shop).await;
        assert_eq!(handshake(&again), HandshakeKind::Resumed, "{version:?}");

        let other = [of_site("shop.example.com", &below)];
        certificates(&running)
            .replace(Some(&otherwise), &other, SystemClock.now())
            .unwrap();
        let again = visitor.call(&running, at_shop).await;
        assert_eq!(handshake(&again), HandshakeKind::Full, "{version:?}");
        assert!(shows(&again, &below));

        certificates(&running)
            .replace(Some(&otherwise), &sites, SystemClock.now())
            .unwrap();
        let fresh = Visitor::new(version).call(&running, at_shop).await;
        assert!(shows(&fresh, &renewed));
    }
    running.finish().await;
}

/// RFC 9110 §15.5.20: what a connection's certificate is for is known to whoever answers on it, where
/// there is more than one.
#[tokio::test]
async fn a_connection_knows_its_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let shop = issue(dir.path(), "shop", &["shop.example.com", "192.0.2.1"]);
    let below = issue(dir.path(), "below", &["*.example.com"]);
    let running = run(|settings| {
        settings.tls = Some(shop.clone());
        settings.site_certificates = vec![of_site("*.example.com", &below)];
    });
    let cases = [
        ("shop.example.com", "true", "true"),
        ("SHOP.example.com", "true", "true"),
        ("blog.example.com", "false", "true"),
        ("192.0.2.1", "true", "false"),
        ("evil.test", "false", "false"),
    ];
    let visitor = Visitor::new(TLS13);
    let mut by_address = visitor.call(&running, None).await;
    let mut by_name = Visitor::new(TLS13);
    by_name.0.alpn_protocols = vec![b"h2".to_vec()];
    let socket = by_name.visit(&running, Some("blog.example.com")).await;
    let mut by_name = http2(socket.unwrap()).await;
    for (host, on_shop, on_below) in cases {
        let call = format!("GET /covers?{host} HTTP/1.1\r\nhost: a\r\n\r\n");
        by_address.write_all(call.as_bytes()).await.unwrap();
        let answer = read_answer(&mut by_address).await;
        assert!(
            answer.ends_with(&format!("\r\n{on_shop}")),
            "{host}: {answer}"
        );
        let answer = by_name.send_request(request(&format!("/covers?{host}")));
        assert_eq!(text(answer.await.unwrap()).await, on_below, "{host}");
    }
    running.finish().await;

    // One alone has always answered for whatever host.
    let running =
        run(|settings| settings.site_certificates = vec![of_site("*.example.com", &below)]);
    let mut socket = visitor.call(&running, Some("a.example.com")).await;
    socket
        .write_all(b"GET /covers?evil.test HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(read_answer(&mut socket).await.ends_with("true"));
    running.finish().await;
}
