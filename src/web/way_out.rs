//! Which way a call of ours goes: straight, or through a proxy that opens a tunnel (RFC 9110
//! §9.3.6). What is on this machine is always asked straight.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::web::loopback::{self, is_loopback_host};

/// The proxy that calls go through, and where they do not. By default there is none.
#[derive(Debug, Clone, Default)]
pub struct WayOut(Option<Arc<Proxy>>);

#[derive(Debug)]
struct Proxy {
    matcher: Matcher,
    /// What named it: a variable or a key.
    named_by: String,
}

impl WayOut {
    /// Straight to everyone.
    pub const fn straight() -> Self {
        Self(None)
    }

    /// Through the proxy at `address`, which `named_by` named and which may hold a user and password;
    /// but straight to the hosts, domains and networks that `except` lists with commas. `None` where
    /// that is no address of an http or https proxy.
    pub fn through(address: &str, except: &str, named_by: &str) -> Option<Self> {
        let any = Uri::from_static("https://id.example.com/");
        let everywhere = Matcher::builder().https(address.to_owned()).build();
        let usable = everywhere.intercept(&any).is_some_and(|proxy| {
            let scheme = proxy.uri().scheme_str();
            matches!(scheme, Some("http" | "https"))
        });
        usable.then(|| {
            Self(Some(Arc::new(Proxy {
                matcher: Matcher::builder()
                    .https(address.to_owned())
                    .no(except.to_owned())
                    .build(),
                named_by: named_by.to_owned(),
            })))
        })
    }

    /// Which way a call to `address` goes, for people; `None` where no proxy is named.
    pub fn describe(&self, address: &str) -> Option<String> {
        let proxy = self.0.as_ref()?;
        let uri: Uri = address.parse().ok()?;
        Some(match self.proxy_for(&uri) {
            Some(intercept) => format!("through {}", name(&intercept, &proxy.named_by)),
            None => format!("past the proxy of {}", proxy.named_by),
        })
    }

    fn proxy_for(&self, uri: &Uri) -> Option<Intercept> {
        let is_here = uri.host().is_some_and(is_loopback_host);
        let proxy = self.0.as_ref().filter(|_| !is_here)?;
        proxy.matcher.intercept(uri)
    }
}

/// A proxy in the words of a person, without its credentials.
fn name(intercept: &Intercept, named_by: &str) -> String {
    let uri = intercept.uri().to_string();
    format!("the proxy {} of {named_by}", uri.trim_end_matches('/'))
}

/// The proxy gave no way to the other side; nothing was sent there.
#[derive(Debug, thiserror::Error)]
#[error("{proxy} opens no connection")]
pub(super) struct ProxyFault {
    proxy: String,
    source: Box<dyn Error + Send + Sync>,
}

/// Connects as a [`WayOut`] says.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    way_out: WayOut,
    /// A proxy that takes the connection and then says nothing has failed too.
    patience: Duration,
}

impl Connector {
    pub(super) fn new(
        tcp: HttpConnector,
        tls: ClientConfig,
        way_out: WayOut,
        patience: Duration,
    ) -> Self {
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp.clone());
        Self {
            tcp,
            to_proxy,
            way_out,
            patience,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proxy = self.way_out.0.as_deref().zip(self.way_out.proxy_for(&uri));
        let Some((proxy, intercept)) = proxy else {
            let connecting = self.tcp.call(loopback::dialled(uri));
            return Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) });
        };
        let mut tunnel = Tunnel::new(intercept.uri().clone(), self.to_proxy.clone());
        if let Some(credentials) = intercept.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let name = name(&intercept, &proxy.named_by);
        let opening = tokio::time::timeout(self.patience, tunnel.call(uri));
        Box::pin(async move {
            let outcome = match opening.await {
                Ok(outcome) => outcome.map_err(Into::into),
                Err(late) => Err(late.into()),
            };
            outcome.map_err(|source| {
                ProxyFault {
                    proxy: name,
                    source,
                }
                .into()
            })
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("way_out", &self.way_out)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator of a proxy writes decides, and this machine is always asked straight.
    #[test]
    fn the_way_follows_the_names() {
        const THROUGH: &str = "through the proxy http://proxy.internal:3128 of HTTPS_PROXY";
        const PAST: &str = "past the proxy of HTTPS_PROXY";
        let cases = [
            ("", "https://id.example.com/x", THROUGH),
            ("other.example.com", "https://id.example.com/", THROUGH),
            ("d.example.com", "https://id.example.com/", THROUGH),
            ("example.com", "https://id.example.com/", PAST),
            (".example.com, other", "https://id.example.com/", PAST),
            ("*", "https://id.example.com/", PAST),
            ("10.0.0.0/8", "https://10.1.2.3:8443/", PAST),
            ("10.0.0.0/8", "https://11.1.2.3/", THROUGH),
            ("", "https://localhost:8443/", PAST),
            ("", "https://127.0.0.1/", PAST),
            ("", "https://[::1]/", PAST),
            ("", "http://localhost:8180/realms/main", PAST),
        ];
        let proxy = "http://user:pa%40ss@proxy.internal:3128";
        for (except, address, expected) in cases {
            let way_out = WayOut::through(proxy, except, "HTTPS_PROXY").unwrap();
            let described = way_out.describe(address);
            assert_eq!(described.as_deref(), Some(expected), "{address} {except:?}");
            assert!(!format!("{way_out:?}").contains("pa"), "{way_out:?}");
        }
        assert_eq!(WayOut::straight().describe("https://id.example.com"), None);
    }

    /// Only what we can speak to is a proxy; an address may do without its scheme.
    #[test]
    fn a_proxy_is_http_or_https() {
        for (address, expected) in [
            ("http://proxy:3128", true),
            ("https://proxy:3129/", true),
            ("proxy:3128", true),
            ("socks5://proxy:1080", false),
            ("ftp://proxy", false),
            ("", false),
            ("not an address", false),
        ] {
            let way_out = WayOut::through(address, "", "HTTPS_PROXY");
            assert_eq!(way_out.is_some(), expected, "{address:?}");
        }
    }
}
