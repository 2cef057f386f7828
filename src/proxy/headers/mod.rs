//! What of a head is ours, the connection's, or passes: both directions, and trailers.

mod names;

mod cookies;
pub mod kept_back;
mod passed;
pub(super) mod request;

pub(super) mod location;
pub mod origin;
pub(super) mod response;
mod set_cookie;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};

pub use passed::PassedFields;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The fields that a head's `Connection` lines name as meant for the next hop alone (I6).
#[derive(Debug, Default)]
pub(super) struct Nominated<'a>(Vec<&'a str>);

impl<'a> Nominated<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers.get_all(CONNECTION).iter();
        let names = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(str::trim)
            // Named in nearly every head, and dropped in any case.
            .filter(|name| {
                !name.is_empty()
                    && !name.eq_ignore_ascii_case("keep-alive")
                    && !name.eq_ignore_ascii_case("close")
                    && !name.eq_ignore_ascii_case("upgrade")
                    // A browser may not talk us out of what we set or need.
                    && !name.eq_ignore_ascii_case("host")
                    && !name.eq_ignore_ascii_case("content-length")
                    && !name.eq_ignore_ascii_case("authorization")
                    && !name.eq_ignore_ascii_case("cookie")
            });
        Self(names.collect())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.iter().any(|named| named.eq_ignore_ascii_case(name))
    }
}

/// RFC 9110 §7.6.1, and what older software invented.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Which way trailers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToUpstream,
    ToBrowser,
}

/// Takes from trailers what may not come so late: framing, routing, credentials, `Content-*`, and
/// all that would be taken from a head (J12, RFC 9110 §6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap, direction: Direction) {
    let doomed: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_forbidden_trailer(name.as_str(), direction))
        .cloned()
        .collect();
    for name in doomed {
        trailers.remove(name);
    }
}

fn is_forbidden_trailer(name: &str, direction: Direction) -> bool {
    let in_a_head = match direction {
        Direction::ToUpstream => kept_back::reason(name).is_some(),
        Direction::ToBrowser => origin::is_kept_back(name),
    };
    in_a_head
        || is_hop_by_hop(name)
        || name.starts_with("content-")
        || matches!(
            name,
            "age"
                | "authorization"
                | "cache-control"
                | "cookie"
                | "date"
                | "expect"
                | "expires"
                | "host"
                | "location"
                | "max-forwards"
                | "pragma"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "trailer"
                | "vary"
                | "via"
                | "warning"
                | "www-authenticate"
        )
        || name.starts_with("if-")
}

/// The operator's changes, after all of ours; the framing of a message stays ours.
pub(super) fn apply(changes: &super::HeaderChanges, headers: &mut HeaderMap) {
    for name in &changes.remove {
        if !is_framing(name) {
            headers.remove(name);
        }
    }
    for (name, value) in &changes.set {
        if !is_framing(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn is_framing(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str()) || matches!(name.as_str(), "content-length" | "trailer")
}

/// The words of a comma-separated field, over all its lines.
pub(super) fn words<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line: &HeaderValue| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `Name: value` lines as a map, and back.
    pub(in crate::proxy) fn map(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.trim().as_bytes()).unwrap(),
            );
        }
        headers
    }

    pub(in crate::proxy) fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        lines.sort();
        lines
    }

    /// docs/headers.md shows people both lists, whole.
    #[test]
    fn the_documentation_holds_every_name() {
        let text = include_str!("../../../docs/headers.md");
        let requests = kept_back::groups().iter().flat_map(|group| group.names);
        let answers = origin::groups().iter().flat_map(|group| group.names);
        let missing: Vec<_> = requests
            .chain(answers)
            .filter(|name| !text.contains(&format!("`{name}`")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// J12: trailers carry no framing, no routing, no credential and no cookie.
    #[test]
    fn trailers_lose_what_belongs_in_a_head() {
        let all = [
            "x-checksum: 1",
            "server-timing: a",
            "content-length: 1",
            "content-type: a/b",
            "transfer-encoding: chunked",
            "set-cookie: a=1",
            "authorization: Bearer x",
            "cookie: a=1",
            "host: x",
            "location: /x",
            "cache-control: public",
            "access-control-allow-origin: *",
        ];
        let mut answer = map(&all);
        clean_trailers(&mut answer, Direction::ToBrowser);
        assert_eq!(lines(&answer), ["server-timing: a", "x-checksum: 1"]);
        let mut request = map(&all);
        request.insert("x_forwarded_for", HeaderValue::from_static("1"));
        request.insert("x-forwarded-for", HeaderValue::from_static("1"));
        request.remove("access-control-allow-origin");
        clean_trailers(&mut request, Direction::ToUpstream);
        assert_eq!(lines(&request), ["server-timing: a", "x-checksum: 1"]);
    }

    /// The operator changes fields, never the framing.
    #[test]
    fn the_operators_changes_leave_the_framing_alone() {
        let mut headers = map(&["content-length: 5", "x-old: 1", "x-kept: 1", "x-set: 1"]);
        let name = HeaderName::from_static;
        let changes = crate::proxy::HeaderChanges {
            set: vec![
                (name("x-set"), HeaderValue::from_static("2")),
                (
                    name("transfer-encoding"),
                    HeaderValue::from_static("chunked"),
                ),
            ],
            remove: vec![name("x-old"), name("content-length")],
            ..crate::proxy::HeaderChanges::default()
        };
        apply(&changes, &mut headers);
        assert_eq!(
            lines(&headers),
            ["content-length: 5", "x-kept: 1", "x-set: 2"]
        );
    }
}
