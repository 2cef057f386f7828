//! The hosts that a listener answers to which is no public site: the second one, and those of
//! `bff dev`.
//!
//! A page of any site can have its own name point to this machine (DNS rebinding), and is then of one
//! origin with whatever answers here. What it cannot do is ask under another name than its own.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// IP addresses, which probes and scrapes ask by; `localhost`; and the names that are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnHosts(Vec<String>);

impl OwnHosts {
    /// With these names.
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether a request asks for one of them, wherever it names its host. One that names none is no
    /// browser's.
    pub fn serve(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(HOST).iter();
        uri.authority().is_none_or(|target| self.is(target))
            && fields.all(|field| {
                let authority = Authority::try_from(field.as_bytes());
                authority.is_ok_and(|authority| self.is(&authority))
            })
    }

    /// Browsers send no userinfo, and what stands before an `@` is a host to some readers.
    fn is(&self, authority: &Authority) -> bool {
        !authority.as_str().contains('@') && self.has(authority.host())
    }

    fn has(&self, host: &str) -> bool {
        let in_brackets = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_address = match in_brackets {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok(),
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_named = |own: &String| own.eq_ignore_ascii_case(name);
        is_address || name.eq_ignore_ascii_case("localhost") || self.0.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// DNS rebinding: a page's own name is never one of ours, however it is written.
    #[test]
    fn a_strangers_name_is_not_served() {
        let own = OwnHosts::new(vec!["bff.internal".to_owned()]);
        for (target, hosts, served) in [
            ("/", &["127.0.0.1:9090"][..], true),
            ("/", &["10.2.3.4"], true),
            ("/", &["[::1]:9090"], true),
            ("/", &["localhost:9090"], true),
            ("/", &["LocalHost."], true),
            ("/", &["bff.internal:9090"], true),
            ("/", &["BFF.Internal"], true),
            ("/", &[], true),
            ("/", &["evil.example:9090"], false),
            ("/", &["localhost.evil.example"], false),
            ("/", &["127.0.0.1.evil.example"], false),
            ("/", &["bff.internal.evil.example"], false),
            ("/", &["[evil.example]"], false),
            ("/", &["::1"], false),
            ("/", &["evil.example:80@127.0.0.1"], false),
            ("/", &["evil.example@localhost:9090"], false),
            ("http://evil.example@127.0.0.1:9090/", &[], false),
            ("/", &[""], false),
            ("/", &["localhost", "evil.example"], false),
            ("http://evil.example:9090/", &["127.0.0.1:9090"], false),
            ("http://127.0.0.1:9090/", &["evil.example"], false),
            ("http://127.0.0.1:9090/", &["127.0.0.1:9090"], true),
        ] {
            let mut request = Request::builder().uri(target);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(
                own.serve(&parts.uri, &parts.headers),
                served,
                "{target} {hosts:?}"
            );
        }
        let (parts, ()) = Request::get("http://bff.internal/")
            .body(())
            .unwrap()
            .into_parts();
        assert!(!OwnHosts::default().serve(&parts.uri, &parts.headers));
    }
}
