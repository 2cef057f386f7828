//! Where upstreams are: scheme, host and port, or a socket file; and whose certificates are believed
//! there. Routes that lead to the same share one, and its connections.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::web::client_certificate::ClientCertificate;
use crate::web::socket_url;
use crate::web::trust::Roots;

/// What a connection is made to, and may be shared by.
pub(super) struct Origin {
    url: String,
    /// Of the URL; made once, since every request looks for a connection.
    hash: u64,
    pub(super) security: Security,
    pub(super) host: String,
    pub(super) port: u16,
    /// The socket file to connect to, in place of host and port.
    pub(super) socket: Option<PathBuf>,
    pub(super) authority: HeaderValue,
    trust: Trust,
    /// The same in use, from the first connection on.
    tls: OnceLock<TlsConnector>,
    /// Whether it took no connection when it was tried last.
    away: AtomicBool,
}

/// Who is believed there, and what we show of ourselves, where either is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) roots: Option<Roots>,
    pub(super) shown: Option<ClientCertificate>,
}

/// Whether the way to an upstream is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    Tls,
}

impl Origin {
    /// `http://orders.internal:9000`, with the port where it is not the scheme's own, or
    /// `unix:/run/orders.sock`.
    pub(super) fn as_str(&self) -> &str {
        &self.url
    }

    /// How TLS is spoken there: as everywhere, unless a route says otherwise.
    pub(super) fn tls<'a>(&'a self, everywhere: &'a TlsConnector) -> &'a TlsConnector {
        let Trust { roots, shown } = &self.trust;
        if roots.is_none() && shown.is_none() {
            return everywhere;
        }
        self.tls.get_or_init(|| {
            let tls = match roots {
                Some(roots) => roots.tls(),
                None => ClientConfig::clone(everywhere.config()),
            };
            connector(match shown {
                Some(shown) => shown.shown_in(tls),
                None => tls,
            })
        })
    }

    /// Whether it could not be reached when it was tried last.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Notes that it cannot be reached; whether that is news.
    pub(super) fn note_away(&self) -> bool {
        !self.away.swap(true, Ordering::Relaxed)
    }

    /// Notes that it was reached; whether that is news.
    pub(super) fn note_back(&self) -> bool {
        self.is_away() && self.away.swap(false, Ordering::Relaxed)
    }

    /// `http:` or `https:`.
    pub(super) const fn scheme(&self) -> &'static str {
        match self.security {
            Security::Plain => "http:",
            Security::Tls => "https:",
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("url", &self.url)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url && self.trust == other.trust
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The origins seen so far, each once.
#[derive(Debug, Default)]
pub(super) struct Origins(HashMap<String, Vec<Arc<Origin>>>);

impl Origins {
    /// The origin of `url`; `None` for one that is neither http nor https nor a socket file.
    pub(super) fn get(&mut self, url: &Url, trust: &Trust) -> Option<Arc<Origin>> {
        let socket = socket_url::path_of(url);
        let security = match url.scheme() {
            "http" | socket_url::SCHEME => Security::Plain,
            "https" => Security::Tls,
            _ => return None,
        };
        // Whoever is behind a socket file is on this machine, under no other name.
        let (host, port) = match &socket {
            Some(_) => ("localhost", 80),
            None => (url.host_str()?, url.port_or_known_default()?),
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let text = match &socket {
            Some(_) => url.as_str().to_owned(),
            None => format!("{}://{authority}", url.scheme()),
        };
        let known = self.0.entry(text.clone()).or_default();
        if let Some(known) = known.iter().find(|known| known.trust == *trust) {
            return Some(Arc::clone(known));
        }
        let origin = Arc::new(Origin {
            hash: BuildHasherDefault::<DefaultHasher>::default().hash_one(&text),
            url: text,
            security,
            // An IPv6 address is written without its brackets everywhere but in URLs.
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            socket,
            authority: HeaderValue::try_from(authority).ok()?,
            trust: trust.clone(),
            tls: OnceLock::new(),
            away: AtomicBool::new(false),
        });
        known.push(Arc::clone(&origin));
        Some(origin)
    }
}

/// TLS as upstreams speak it.
pub(super) fn connector(mut tls: ClientConfig) -> TlsConnector {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(tls))
}
