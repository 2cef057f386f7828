//! Where an upstream says that something is, as the browser must see it: `Location` and
//! `Content-Location` (I11).

use http::HeaderValue;
use http::request::Parts;

use crate::proxy::origin::Origin;
use crate::proxy::route::{Route, Upstream};
use crate::proxy::{HostSent, PathRewrite};
use crate::web::public_origin::PublicOrigin;

/// What is needed to find the way back from an upstream's address to ours.
#[derive(Debug)]
pub(in crate::proxy) struct Locations<'a> {
    pub(in crate::proxy) route: &'a Route,
    pub(in crate::proxy) upstream: &'a Upstream,
    pub(in crate::proxy) public: &'a PublicOrigin,
    /// The request as the browser made it.
    pub(in crate::proxy) asked: &'a Parts,
}

impl Locations<'_> {
    /// What becomes of an address that the upstream wrote; `None` where it stays as it is: it leads
    /// elsewhere, or is ours already.
    pub(super) fn as_seen(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let text = value.to_str().ok()?;
        let path = if text.starts_with('/') && !text.starts_with("//") {
            text
        } else {
            self.path_here(text)?
        };
        let mut seen = self.path_seen(path)?;
        // Browsers read an address without its tabs, and a backslash as a slash (WHATWG URL §4.4); two at
        // the beginning would name another host.
        seen.retain(|letter| letter != '\t');
        let seen = format!("/{}", seen.trim_start_matches(['/', '\\']));
        (seen != text).then(|| HeaderValue::try_from(seen).ok())?
    }

    /// The path of an absolute address at the upstream's own origin, by its name or by the one of
    /// ours that it was called by.
    fn path_here<'t>(&self, text: &'t str) -> Option<&'t str> {
        let origin = self.upstream.origin();
        let (scheme, rest) = text.split_once("//")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let of_scheme = |name: &str| scheme.is_empty() || scheme.eq_ignore_ascii_case(name);
        let is_upstreams = of_scheme(origin.scheme()) && names(origin, authority);
        let is_ours = || {
            let called = self.route.host_sent(self.upstream, self.public, self.asked);
            self.route.settings().host_sent == HostSent::Ours
                && (of_scheme("http:") || of_scheme("https:"))
                && called.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
        };
        (is_upstreams || is_ours()).then_some(path)
    }

    /// Whether the upstream may have another path for what the browser asks for.
    pub(super) fn moves_paths(&self) -> bool {
        self.route.settings().path_rewrite != PathRewrite::Keep
            || !self.upstream.base_path().is_empty()
    }

    /// The upstream's path as a path of ours.
    pub(super) fn path_seen(&self, path: &str) -> Option<String> {
        let settings = self.route.settings();
        let prefix = settings.path.trim_end_matches('/');
        // Whoever writes the route's own path knows where it is mounted.
        if without_segments(path, prefix).is_some() {
            return Some(path.to_owned());
        }
        let rest = without_segments(path, self.upstream.base_path())?;
        match &settings.path_rewrite {
            PathRewrite::Keep => Some(rest.to_owned()),
            PathRewrite::StripPrefix => Some(format!("{prefix}{rest}")),
            PathRewrite::ReplacePrefix(to) => {
                let rest = without_segments(rest, to.trim_end_matches('/'))?;
                Some(format!("{prefix}{rest}"))
            }
        }
    }
}

/// Whether an authority is the origin's, with its port or without one that goes without saying.
fn names(origin: &Origin, authority: &str) -> bool {
    let own = origin.authority.as_bytes();
    if own.eq_ignore_ascii_case(authority.as_bytes()) {
        return true;
    }
    let port = authority.rsplit_once(':');
    port.is_some_and(|(host, port)| {
        own.eq_ignore_ascii_case(host.as_bytes()) && port.parse() == Ok(origin.port)
    })
}

/// What follows `prefix`, where that ends with a segment.
fn without_segments<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy::RouteSettings;
    use crate::proxy::route::RouteTable;
    use crate::proxy::route::tests::settings;

    fn check(route: RouteSettings, cases: &[(&str, &str)]) {
        let table = RouteTable::new(vec![route]).unwrap();
        let route = table.routes().next().unwrap();
        let asked = Request::builder().header("host", "App.example:9");
        let (asked, ()) = asked.body(()).unwrap().into_parts();
        let locations = Locations {
            route,
            upstream: route.upstreams_in_turn().next().unwrap(),
            public: &PublicOrigin::new(&"https://app.example".parse().unwrap()).unwrap(),
            asked: &asked,
        };
        for (location, expected) in cases {
            let seen = locations.as_seen(&HeaderValue::from_str(location).unwrap());
            let seen = seen
                .as_ref()
                .map_or(*location, |seen| seen.to_str().unwrap());
            assert_eq!(seen, *expected, "{location} {:?}", route.settings());
        }
    }

    fn route(path: &str, path_rewrite: PathRewrite, upstream: &str) -> RouteSettings {
        RouteSettings {
            path_rewrite,
            ..settings(path, upstream)
        }
    }

    /// I11: an address that leads to the upstream for every browser leads to nobody else behind us.
    #[test]
    fn an_address_of_the_upstream_leads_to_no_other_origin() {
        let route = || route("/api", PathRewrite::Keep, "http://up.example:9000");
        let table = RouteTable::new(vec![route()]).unwrap();
        let asked = Request::builder().header("host", "app.example");
        let (asked, ()) = asked.body(()).unwrap().into_parts();
        let found = table.routes().next().unwrap();
        let locations = Locations {
            route: found,
            upstream: found.upstreams_in_turn().next().unwrap(),
            public: &PublicOrigin::new(&"https://app.example".parse().unwrap()).unwrap(),
            asked: &asked,
        };
        let ours: url::Url = "https://app.example/api/a".parse().unwrap();
        for path in [
            "/\\evil.example",
            "/\t/evil.example",
            "/\t\\evil.example",
            "/\\\t/evil.example",
            "//evil.example",
            "/\\/\\evil.example",
            "///\t///evil.example",
        ] {
            for front in ["http://up.example:9000", "//up.example:9000"] {
                let value = HeaderValue::from_str(&format!("{front}{path}")).unwrap();
                let seen = locations.as_seen(&value).unwrap();
                let read = ours.join(seen.to_str().unwrap()).unwrap();
                assert_eq!(
                    read.as_str(),
                    "https://app.example/evil.example",
                    "{value:?}"
                );
            }
        }
        // Nor does one that begins with a single slash, which means a place of its own.
        check(route(), &[("/\\evil.example", "/evil.example")]);
    }

    /// I11: an address at the upstream's own origin leads back through us.
    #[test]
    fn an_address_of_the_upstream_leads_through_us() {
        use PathRewrite::{Keep, ReplacePrefix, StripPrefix};
        check(
            route("/api", Keep, "http://up.example:9000"),
            &[
                ("http://up.example:9000/api/x?y#z", "/api/x?y#z"),
                ("HTTP://UP.example:9000", "/"),
                ("//up.example:9000/api/x", "/api/x"),
                ("https://other.example/", "https://other.example/"),
                ("https://up.example:9000/api", "https://up.example:9000/api"),
                ("http://app.example/api", "http://app.example/api"),
            ],
        );
        check(
            route("/api", Keep, "http://up.example"),
            &[
                ("http://up.example:80/api/x", "/api/x"),
                ("http://up.example.evil/x", "http://up.example.evil/x"),
                ("http://up.example@evil/x", "http://up.example@evil/x"),
                ("http://up.example//evil/x", "/evil/x"),
            ],
        );
        check(
            route("/api", Keep, "http://up.example/base"),
            &[
                ("http://up.example/base/api", "/api"),
                ("http://up.example/x", "http://up.example/x"),
                ("/base/api/x", "/api/x"),
            ],
        );
        let strip = route("/api", StripPrefix, "http://up.example");
        check(strip, &[("http://up.example/x", "/api/x")]);
        let replace = ReplacePrefix("/v2".to_owned());
        check(
            route("/api", replace, "http://up.example"),
            &[
                ("http://up.example/v2/x", "/api/x"),
                ("/v2/x", "/api/x"),
                ("/v1/x", "/v1/x"),
            ],
        );
    }

    /// I11: so does one without an origin, which left the route before; what begins with the
    /// route's own path was written by an upstream that knows it.
    #[test]
    fn a_relative_address_stays_on_its_route() {
        let strip = PathRewrite::StripPrefix;
        check(
            route("/api", strip, "http://up.example"),
            &[
                ("/items/", "/api/items/"),
                ("/", "/api/"),
                ("/?page=2", "/api/?page=2"),
                ("/apis/x", "/api/apis/x"),
                ("/api/items/7", "/api/items/7"),
                ("/api?x", "/api?x"),
                ("items/7", "items/7"),
                ("?page=2", "?page=2"),
                ("../x", "../x"),
                ("//evil.example/x", "//evil.example/x"),
                ("https://elsewhere.example/x", "https://elsewhere.example/x"),
            ],
        );
        let keep = route("/api", PathRewrite::Keep, "http://up.example");
        check(keep, &[("/login", "/login"), ("/api/x", "/api/x")]);
    }

    /// I8, I11: an upstream that is called by our name writes it down.
    #[test]
    fn an_address_of_ours_is_the_upstreams_where_it_is_called_so() {
        let mut route = route("/api", PathRewrite::StripPrefix, "http://up.example");
        route.host_sent = HostSent::Ours;
        check(
            route,
            &[
                ("https://app.example/items", "/api/items"),
                ("http://app.example/items", "/api/items"),
                ("http://app.example/api/items", "/api/items"),
                ("http://app.example:9/items", "http://app.example:9/items"),
                ("http://up.example/items", "/api/items"),
            ],
        );
    }
}
