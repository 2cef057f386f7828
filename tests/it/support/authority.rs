//! A certificate authority of the tests' own, and servers that end TLS with a certificate of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::helper::Helper;

/// An authority that no machine knows.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server that ends TLS and passes the bytes on.
#[derive(Debug)]
pub(crate) struct Terminator {
    behind: Arc<OnceLock<SocketAddr>>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    helper: Helper,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, as an operator has it.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name` with its key, both in PEM.
    pub(crate) fn certificate_for(&self, name: &str) -> (String, String) {
        self.certificate_for_all(&[name])
    }

    /// A certificate for these names with its key, both in PEM.
    pub(crate) fn certificate_for_all(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Connects as one who trusts this authority alone, and speaks this protocol.
    pub(crate) fn connector(&self, protocol: &[u8]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem().as_bytes());
        roots.add(root.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// Passes everything on to `addr` over TLS, as a browser does that asks for `name`: where it is not
    /// shown that name's certificate, it panics.
    pub(crate) fn tunnel(&self, name: &str, addr: SocketAddr) -> Helper {
        let connector = self.connector(b"http/1.1");
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Helper::listen("a browser's TLS", move |mut near| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let far = TcpStream::connect(addr).await.unwrap();
                let mut far = connector.connect(name, far).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            }
        })
    }

    /// A server at a free port of this machine that shows a certificate for `name`.
    pub(crate) fn terminator(&self, name: &str) -> Terminator {
        self.terminator_that(name, None)
    }

    /// The same, for those alone who show a certificate of `clients`.
    pub(crate) fn strict_terminator(&self, name: &str, clients: &Self) -> Terminator {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(clients.pem().as_bytes());
        roots.add(root.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        self.terminator_that(name, Some(verifier.build().unwrap()))
    }

    fn terminator_that(
        &self,
        name: &str,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Terminator {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(
                verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth),
            )
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let behind: Arc<OnceLock<SocketAddr>> = Arc::default();
        let shown: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let helper = Helper::listen("a server that ends TLS", {
            let (behind, shown) = (Arc::clone(&behind), Arc::clone(&shown));
            move |stream| {
                let acceptor = acceptor.clone();
                let (behind, shown) = (Arc::clone(&behind), Arc::clone(&shown));
                async move {
                    // Whoever does not trust it hangs up.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    if let Some(chain) = stream.get_ref().1.peer_certificates() {
                        shown.lock().unwrap().push(chain[0].to_vec());
                    }
                    let mut inner = TcpStream::connect(behind.get().unwrap()).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut stream, &mut inner).await);
                    drop(stream.shutdown().await);
                }
            }
        });
        Terminator {
            behind,
            shown,
            helper,
        }
    }

    /// A server for `name` that lets in who is certified by this authority alone. Its answers name the
    /// certificate that the connection began with, by its digest.
    pub(crate) fn asking(&self, name: &str) -> Asking {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem().as_bytes());
        roots.add(root.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = self.certificate_for(name);
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let helper = Helper::listen("a server that asks who calls", move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let (_, session) = stream.get_ref();
                let shown = digest_of(session.peer_certificates().unwrap()[0].as_ref());
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        let length = shown.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{shown}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        head.clear();
                    }
                }
            }
        });
        Asking { helper }
    }
}

/// A server that asks in TLS who calls, and answers each request with what it was shown.
#[derive(Debug)]
pub(crate) struct Asking {
    helper: Helper,
}

impl Asking {
    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.helper.addr().port()
    }
}

impl Terminator {
    /// Passes everything on to `addr` from now on; said once.
    pub(crate) fn lead_to(&self, addr: SocketAddr) {
        self.behind.set(addr).unwrap();
    }

    /// The certificates that clients showed, one a connection.
    pub(crate) fn shown(&self) -> Vec<Vec<u8>> {
        self.shown.lock().unwrap().clone()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.helper.addr().port()
    }
}

/// By which a certificate is told from another.
pub(crate) fn digest_of(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}
