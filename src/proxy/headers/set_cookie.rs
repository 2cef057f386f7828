//! The cookies that an upstream sets, as the browser gets them where a route keeps them (I11).
//!
//! A cookie speaks for the whole origin and is sent along to everything below it, so that a route
//! has to say that it wants this. Even then none has a name of ours, and none reaches other hosts.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::location::Locations;
use crate::proxy::message::external_host;
use crate::web::cookie_names::CookieNames;

/// What has become of the lines of one answer.
#[derive(Debug)]
pub(super) struct Kept {
    /// Those that pass, in their order.
    pub(super) lines: Vec<HeaderValue>,
    /// Whether one was left out: of a name of ours, or of none.
    pub(super) left_out: bool,
}

/// The `Set-Cookie` lines that pass.
pub(super) fn kept(headers: &HeaderMap, ours: &CookieNames, locations: &Locations<'_>) -> Kept {
    let all = headers.get_all(SET_COOKIE).iter();
    let mut kept = Kept {
        lines: Vec::new(),
        left_out: false,
    };
    for line in all {
        match as_seen(line, ours, locations) {
            Some(line) => kept.lines.push(line),
            None => kept.left_out = true,
        }
    }
    kept
}

/// One line as the browser gets it; `None` for one that must not reach it.
fn as_seen(
    line: &HeaderValue,
    ours: &CookieNames,
    locations: &Locations<'_>,
) -> Option<HeaderValue> {
    let mut pieces = line.as_bytes().split(|&byte| byte == b';');
    let pair = pieces.next()?;
    let name = name(pair)?;
    if ours.contains(name) {
        return None;
    }
    let mut seen = pair.to_vec();
    for attribute in pieces {
        let (key, value) = halves(attribute);
        if key.eq_ignore_ascii_case(b"domain") {
            // Without it a cookie is for the host alone that set it: ours.
            if !names_our_host(value, locations) {
                continue;
            }
        } else if key.eq_ignore_ascii_case(b"path")
            && !is_bound_to_the_root(name)
            && let Some(path) = path_seen(value, locations)
        {
            seen.extend_from_slice(b"; Path=");
            seen.extend_from_slice(path.as_bytes());
            continue;
        }
        seen.push(b';');
        seen.extend_from_slice(attribute);
    }
    HeaderValue::from_bytes(&seen).ok()
}

/// The name of a pair, as a browser reads it. One without a name is refused: browsers send back its
/// value alone, which then reads as another cookie, one of ours perhaps.
fn name(pair: &[u8]) -> Option<&[u8]> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    let name = pair.get(..at)?.trim_ascii();
    (!name.is_empty()).then_some(name)
}

fn halves(attribute: &[u8]) -> (&[u8], &[u8]) {
    let at = attribute.iter().position(|&byte| byte == b'=');
    let (key, value) = at
        .and_then(|at| attribute.split_at_checked(at))
        .unwrap_or((attribute, b""));
    let value = value.strip_prefix(b"=").unwrap_or(value);
    (key.trim_ascii(), value.trim_ascii())
}

/// A domain above our host would give the cookie to its neighbours, and any other is one of the
/// upstream's own, which browsers refuse.
fn names_our_host(domain: &[u8], locations: &Locations<'_>) -> bool {
    let domain = domain.strip_prefix(b".").unwrap_or(domain);
    let host = external_host(locations.asked).unwrap_or_default();
    !host.is_empty() && domain.eq_ignore_ascii_case(host.as_bytes())
}

/// `__Host-` demands `Path=/`.
fn is_bound_to_the_root(name: &[u8]) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"__Host-"))
}

/// The upstream's path as the browser knows it, where the route's is another one.
fn path_seen(path: &[u8], locations: &Locations<'_>) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    if !path.starts_with('/') || !locations.moves_paths() {
        return None;
    }
    let seen = locations.path_seen(path)?;
    // With a slash at its end it would not hold for the route's own address.
    let seen = seen.trim_end_matches('/');
    Some(if seen.is_empty() { "/" } else { seen }.to_owned())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy::headers::tests::map;
    use crate::proxy::route::RouteTable;
    use crate::proxy::route::tests::settings;
    use crate::proxy::{PathRewrite, RouteSettings};
    use crate::web::public_origin::PublicOrigin;

    fn check(route: RouteSettings, cases: &[(&str, Option<&str>)]) {
        let table = RouteTable::new(vec![route]).unwrap();
        let route = table.routes().next().unwrap();
        let asked = Request::builder().header("host", "App.example:8443");
        let (asked, ()) = asked.body(()).unwrap().into_parts();
        let locations = Locations {
            route,
            upstream: route.upstreams_in_turn().next().unwrap(),
            public: &PublicOrigin::new(&"https://app.example:8443".parse().unwrap()).unwrap(),
            asked: &asked,
        };
        let ours = CookieNames::of("bff-8080", Some("__Host-Http-bff"));
        for (line, expected) in cases {
            let kept = kept(&map(&[&format!("set-cookie: {line}")]), &ours, &locations);
            let lines: Vec<_> = kept
                .lines
                .iter()
                .map(|line| line.to_str().unwrap())
                .collect();
            let expected: Vec<&str> = expected.iter().copied().collect();
            assert_eq!(lines, expected, "{line}");
            assert_eq!(kept.left_out, lines.is_empty(), "{line}");
        }
    }

    /// I11, I3: a cookie of the upstream's passes as it is; one of a name of ours never does, however
    /// it is written, and none without a name.
    #[test]
    fn a_kept_cookie_has_no_name_of_ours() {
        check(
            settings("/app", "http://up.example"),
            &[
                ("theme=dark", Some("theme=dark")),
                (
                    "sid=1; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60",
                    Some("sid=1; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60"),
                ),
                ("sid=; Max-Age=0", Some("sid=; Max-Age=0")),
                ("a=b=c; Path=/", Some("a=b=c; Path=/")),
                (
                    "__Host-sid=1; Path=/; Secure",
                    Some("__Host-sid=1; Path=/; Secure"),
                ),
                ("__Host-Http-bff=x; Path=/; Secure", None),
                ("__Host-Http-bff =x", None),
                ("__Host-Http-bff-login-7=x", None),
                ("bff-8080=x", None),
                ("bff-8081=x", Some("bff-8081=x")),
                ("=bff-8080=x", None),
                ("=x", None),
                ("bff-8080", None),
                ("", None),
                ("; Path=/", None),
            ],
        );
    }

    /// I11: never for more than our host; a domain of the upstream's own falls away with it.
    #[test]
    fn a_kept_cookie_is_for_our_host_alone() {
        check(
            settings("/app", "http://up.example"),
            &[
                ("a=1; Domain=example; Path=/", Some("a=1; Path=/")),
                ("a=1;DOMAIN = .example;Secure", Some("a=1;Secure")),
                ("a=1; Domain=up.example", Some("a=1")),
                ("a=1; Domain=evil.example", Some("a=1")),
                ("a=1; Domain=xapp.example", Some("a=1")),
                ("a=1; Domain=sub.app.example", Some("a=1")),
                ("a=1; Domain=", Some("a=1")),
                ("a=1; Domain", Some("a=1")),
                ("a=1; Domain=.", Some("a=1")),
                ("a=1; Domain=..app.example", Some("a=1")),
                ("a=1; Domain=APP.example", Some("a=1; Domain=APP.example")),
                ("a=1; Domain=.app.example", Some("a=1; Domain=.app.example")),
                (
                    "a=1; Domain=app.example; Domain=example",
                    Some("a=1; Domain=app.example"),
                ),
            ],
        );
    }

    /// I11: where the browser has another path than the upstream, so has the cookie; it was never sent
    /// back else.
    #[test]
    fn a_kept_cookie_stays_below_its_route() {
        let moved = |path_rewrite| RouteSettings {
            path_rewrite,
            ..settings("/app", "http://up.example")
        };
        check(
            moved(PathRewrite::StripPrefix),
            &[
                ("a=1; Path=/", Some("a=1; Path=/app")),
                (
                    "a=1; Path=/admin; Secure",
                    Some("a=1; Path=/app/admin; Secure"),
                ),
                ("a=1; Path=/app/x", Some("a=1; Path=/app/x")),
                ("a=1; path=/admin/", Some("a=1; Path=/app/admin")),
                ("a=1; Path=admin", Some("a=1; Path=admin")),
                ("a=1", Some("a=1")),
                (
                    "__Host-a=1; Path=/; Secure",
                    Some("__Host-a=1; Path=/; Secure"),
                ),
            ],
        );
        check(
            moved(PathRewrite::ReplacePrefix("/v2".to_owned())),
            &[
                ("a=1; Path=/v2", Some("a=1; Path=/app")),
                ("a=1; Path=/v2/x", Some("a=1; Path=/app/x")),
                ("a=1; Path=/other", Some("a=1; Path=/other")),
            ],
        );
        check(
            settings("/app", "http://up.example/base"),
            &[("a=1; Path=/base/app", Some("a=1; Path=/app"))],
        );
        check(
            settings("/app", "http://up.example"),
            &[("a=1; Path=/", Some("a=1; Path=/"))],
        );
    }
}
