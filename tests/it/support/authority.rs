//! A certificate authority of the tests' own, and servers that end TLS with a certificate of it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::helper::Helper;

/// An authority that no machine knows.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server that ends TLS and passes the bytes on.
#[derive(Debug)]
pub(crate) struct Terminator {
    behind: Arc<OnceLock<SocketAddr>>,
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
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A server at a free port of this machine that shows a certificate for `name`.
    pub(crate) fn terminator(&self, name: &str) -> Terminator {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let behind: Arc<OnceLock<SocketAddr>> = Arc::default();
        let helper = Helper::listen("a server that ends TLS", {
            let behind = Arc::clone(&behind);
            move |stream| {
                let (acceptor, behind) = (acceptor.clone(), Arc::clone(&behind));
                async move {
                    // Whoever does not trust it hangs up.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut inner = TcpStream::connect(behind.get().unwrap()).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut stream, &mut inner).await);
                    drop(stream.shutdown().await);
                }
            }
        });
        Terminator { behind, helper }
    }
}

impl Terminator {
    /// Passes everything on to `addr` from now on; said once.
    pub(crate) fn lead_to(&self, addr: SocketAddr) {
        self.behind.set(addr).unwrap();
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.helper.addr().port()
    }
}
