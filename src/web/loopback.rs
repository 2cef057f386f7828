//! What counts as this machine, so that http is as good as https: `localhost`, any name under it
//! (RFC 6761 §6.3), 127.0.0.0/8 and `::1`.
//!
//! Some resolvers ask others for the names under `localhost`, so calls of ours never do: what is meant
//! for this machine in the clear goes nowhere else.

use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;
use url::Url;

/// Whether `url` stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// Whether the host of an address is this machine; an IPv6 address may stand in brackets.
pub fn is_loopback_host(host: &str) -> bool {
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = in_brackets.unwrap_or(host).parse::<IpAddr>();
    address.map_or_else(
        |_| is_under_localhost(host),
        |address| address.is_loopback(),
    )
}

fn is_under_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// The address that is dialled for `uri`: in the clear, a name under `localhost` is `localhost` itself.
/// With https the certificate says who is there, whatever the resolver does.
pub(super) fn dialled(uri: Uri) -> Uri {
    let is_in_the_clear = uri.scheme() == Some(&Scheme::HTTP);
    if !is_in_the_clear || !uri.host().is_some_and(is_under_localhost) {
        return uri;
    }
    let authority = match uri.port() {
        Some(port) => format!("localhost:{port}"),
        None => "localhost".to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.authority = authority.parse().ok();
    Uri::from_parts(parts).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A7, B9: one answer for what is written in the configuration, what is called and what passes the
    /// proxy.
    #[test]
    fn this_machine_is_told_from_others() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost", true),
            ("localhost.", true),
            ("app.localhost", true),
            ("acme.app.localhost", true),
            ("127.0.0.1", true),
            ("127.9.8.7", true),
            ("[::1]", true),
            ("::1", true),
            ("0.0.0.0", false),
            ("[::]", false),
            ("10.0.0.1", false),
            ("notlocalhost", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("[localhost]", false),
            ("localhost..", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_host(host), expected, "{host}");
        }
        for (url, expected) in [
            ("http://127.1/", true),
            ("http://[0:0::1]:9/", true),
            ("http://localhost@evil.example/", false),
            ("data:text/plain,localhost", false),
            ("unix:/run/localhost", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    /// A7: no resolver is asked where this machine is.
    #[test]
    fn what_is_in_the_clear_is_dialled_here() {
        for (uri, expected) in [
            ("http://id.localhost:8180/a?b", "http://localhost:8180/a?b"),
            ("http://id.localhost/", "http://localhost/"),
            ("http://localhost:1/", "http://localhost:1/"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1/"),
            ("https://id.localhost:8443/", "https://id.localhost:8443/"),
            ("http://id.example.com/", "http://id.example.com/"),
        ] {
            assert_eq!(dialled(uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
