//! What of a request's head the HTTP engine leaves unjudged: framing, Host, the request-target,
//! duplicates. Runs before anything else looks at a request.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Version};

/// What is wrong with a request's head, by what the browser must be answered. Whatever came after
/// such a head may be misread, so its connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// The length of the body is in doubt: 400.
    #[error("the framing is ambiguous: {0}")]
    Framing(&'static str),
    /// A transfer coding that we do not speak: 501.
    #[error("an unknown transfer coding")]
    UnknownCoding,
    /// Host and target do not say, once and clearly, what is meant: 400.
    #[error("the host is missing, repeated, invalid or contradicted")]
    Host,
    /// The request-target has a form that does not go with the method: 400.
    #[error("the request-target has the wrong form")]
    Target,
    /// A field that may stand once stands twice: 400.
    #[error("{0} is repeated")]
    Repeated(&'static str),
    /// An HTTP/2 request with a field that belongs to a connection: 400.
    #[error("a connection-specific field in HTTP/2")]
    ConnectionField,
    /// An HTTP/2 field whose value begins or ends with a blank: 400.
    #[error("a blank around a field value in HTTP/2")]
    BlankAround,
    /// `Connection` names more fields than there may be: 400.
    #[error("Connection names too many fields")]
    Nominations,
    /// TRACE or CONNECT: 405.
    #[error("the method is not served")]
    Method,
    /// An expectation other than 100-continue: 417.
    #[error("an unknown expectation")]
    Expectation,
}

/// The fields that `Connection` may name. Each is looked for among all others of the head (I6).
pub(in crate::proxy) const MOST_NOMINATIONS: usize = 32;

/// Fields of which a second one would be read by one party and ignored by another (J20).
const SINGLE: [&str; 17] = [
    "host",
    "content-length",
    "content-type",
    "authorization",
    "origin",
    "referer",
    "expect",
    "max-forwards",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "sec-fetch-user",
    "x-csrf",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-accept",
    "dpop",
];

/// Judges a request's head.
///
/// # Errors
///
/// The first fault found; nothing of the request may reach an upstream then.
pub fn check_request(parts: &Parts) -> Result<(), MessageFault> {
    // TRACE, and TRACK as some servers call it, would show the session cookie; CONNECT would tunnel
    // (I15).
    if matches!(parts.method.as_str(), "TRACE" | "TRACK" | "CONNECT") {
        return Err(MessageFault::Method);
    }
    match parts.version {
        Version::HTTP_10 | Version::HTTP_11 => {
            check_framing(parts)?;
            if nominates_too_many(&parts.headers) {
                return Err(MessageFault::Nominations);
            }
        }
        _ => check_http_2_fields(&parts.headers)?,
    }
    check_target(parts)?;
    check_host(parts)?;
    check_single(&parts.headers)?;
    check_expectation(parts)
}

/// The host that the browser asked for, without its port: the target's where it names one, else
/// the Host field's (RFC 9112 §3.2.2).
pub fn external_host(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.host()),
        None => host_of(parts.headers.get(HOST)?.to_str().ok()?),
    }
}

/// J1–J3: one `chunked`, or one length, never both.
fn check_framing(parts: &Parts) -> Result<(), MessageFault> {
    let headers = &parts.headers;
    let length = headers.get(CONTENT_LENGTH);
    if length.is_some_and(|value| !is_length(value.as_bytes())) {
        return Err(MessageFault::Framing("an invalid Content-Length"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if parts.version == Version::HTTP_10 {
        return Err(MessageFault::Framing("a Transfer-Encoding in HTTP/1.0"));
    }
    if length.is_some() {
        return Err(MessageFault::Framing("both lengths"));
    }
    if codings.next().is_some() {
        return Err(MessageFault::Framing("several Transfer-Encoding fields"));
    }
    let coding = coding.as_bytes().trim_ascii();
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let names = || coding.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let unknown = |name: &[u8]| !name.eq_ignore_ascii_case(b"chunked");
    if names().all(is_token) && names().any(unknown) {
        Err(MessageFault::UnknownCoding)
    } else {
        Err(MessageFault::Framing("an invalid Transfer-Encoding"))
    }
}

/// Whether `Connection` names more fields than any sender has a reason to.
pub(in crate::proxy) fn nominates_too_many(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.take(MOST_NOMINATIONS + 1).count() > MOST_NOMINATIONS
}

/// J15: RFC 9113 §8.2.1, §8.2.2.
fn check_http_2_fields(headers: &HeaderMap) -> Result<(), MessageFault> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let forbidden = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    if forbidden.iter().any(|name| headers.contains_key(name)) {
        return Err(MessageFault::ConnectionField);
    }
    if has_blank_around(headers) {
        return Err(MessageFault::BlankAround);
    }
    let odd = |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"trailers");
    if headers.get_all(TE).iter().any(odd) {
        return Err(MessageFault::ConnectionField);
    }
    let length = headers.get(CONTENT_LENGTH);
    if length.is_some_and(|value| !is_length(value.as_bytes())) {
        return Err(MessageFault::Framing("an invalid Content-Length"));
    }
    Ok(())
}

/// Whether some value begins or ends with a blank. In HTTP/1.1 they are no part of it, and gone.
pub(super) fn has_blank_around(headers: &HeaderMap) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let around = |value: &[u8]| is_blank(value.first()) || is_blank(value.last());
    headers.values().any(|value| around(value.as_bytes()))
}

/// J6: origin-form, absolute-form, or `*` with OPTIONS.
fn check_target(parts: &Parts) -> Result<(), MessageFault> {
    let uri = &parts.uri;
    if uri
        .scheme_str()
        .is_some_and(|scheme| scheme != "http" && scheme != "https")
    {
        return Err(MessageFault::Target);
    }
    // Authority-form goes with CONNECT alone.
    if uri.scheme().is_none() && uri.authority().is_some() {
        return Err(MessageFault::Target);
    }
    match uri.path() {
        "*" if parts.method == Method::OPTIONS => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err(MessageFault::Target),
    }
}

/// I8: RFC 9112 §3.2, RFC 9113 §8.3.1.
fn check_host(parts: &Parts) -> Result<(), MessageFault> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(MessageFault::Host);
    }
    let host = match host {
        Some(value) => {
            let text = value.to_str().map_err(|_| MessageFault::Host)?;
            host_of(text).ok_or(MessageFault::Host)?;
            Some(text)
        }
        None => None,
    };
    let authority = parts.uri.authority().map(Authority::as_str);
    if authority.is_some_and(|text| host_of(text).is_none()) {
        return Err(MessageFault::Host);
    }
    match (parts.version, authority, host) {
        (Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11, _, None) | (_, None, None) => {
            Err(MessageFault::Host)
        }
        // In HTTP/1.1 the target wins without a word (RFC 9112 §3.2.2).
        (Version::HTTP_2, Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(MessageFault::Host)
        }
        _ => Ok(()),
    }
}

fn check_single(headers: &HeaderMap) -> Result<(), MessageFault> {
    // Nothing is repeated in nearly every request.
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    for name in SINGLE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(MessageFault::Repeated(name));
        }
    }
    Ok(())
}

/// J9: an expectation over HTTP/1.0 is ignored (RFC 9110 §10.1.1).
fn check_expectation(parts: &Parts) -> Result<(), MessageFault> {
    match parts.headers.get(EXPECT) {
        Some(value)
            if parts.version != Version::HTTP_10
                && !value.as_bytes().eq_ignore_ascii_case(b"100-continue") =>
        {
            Err(MessageFault::Expectation)
        }
        _ => Ok(()),
    }
}

/// The host of `host[:port]`, where both are well-formed.
fn host_of(text: &str) -> Option<&str> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')? + 1;
        (text.get(..end)?, text.get(end..)?)
    } else {
        memchr::memchr(b':', text.as_bytes())
            .map_or(Some((text, "")), |at| text.split_at_checked(at))?
    };
    let port_fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        // A colon alone is allowed (RFC 3986 §3.2.3).
        Some("") => true,
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    };
    let well_formed = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')?
            .parse::<std::net::Ipv6Addr>()
            .is_ok(),
        // Percent-encoded and international names come as A-labels from every browser.
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    };
    (port_fits && well_formed).then_some(host)
}

/// Digits alone, within 64 bits.
pub(super) fn is_length(value: &[u8]) -> bool {
    !value.is_empty()
        && value.iter().all(u8::is_ascii_digit)
        && str::from_utf8(value).is_ok_and(|text| text.parse::<u64>().is_ok())
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// A head of `method`, `target` and fields, over HTTP/1.1 with a Host unless the fields name one.
    fn check(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> String {
        let mut request = Request::builder()
            .version(version)
            .method(method)
            .uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match check_request(&parts) {
            Ok(()) => "ok".to_owned(),
            Err(fault) => format!("{fault:?}"),
        }
    }

    const OURS: (&str, &str) = ("host", "app.example");

    /// J1, J2, J3: one framing, and no doubt about it.
    #[test]
    fn ambiguous_framing_is_refused() {
        for (name, fields, expected) in [
            ("none", &[OURS][..], "ok"),
            ("chunked", &[OURS, ("transfer-encoding", "chunked")], "ok"),
            ("case", &[OURS, ("transfer-encoding", "Chunked")], "ok"),
            ("length", &[OURS, ("content-length", "5")], "ok"),
            (
                "both",
                &[
                    OURS,
                    ("content-length", "5"),
                    ("transfer-encoding", "chunked"),
                ],
                "Framing",
            ),
            (
                "unknown",
                &[OURS, ("transfer-encoding", "cow, chunked")],
                "UnknownCoding",
            ),
            (
                "gzip",
                &[OURS, ("transfer-encoding", "gzip")],
                "UnknownCoding",
            ),
            (
                "twice",
                &[OURS, ("transfer-encoding", "chunked, chunked")],
                "Framing",
            ),
            (
                "comma",
                &[OURS, ("transfer-encoding", ",chunked")],
                "Framing",
            ),
            (
                "junk",
                &[OURS, ("transfer-encoding", "chunked x")],
                "Framing",
            ),
            ("empty", &[OURS, ("transfer-encoding", "")], "Framing"),
            (
                "two fields",
                &[
                    OURS,
                    ("transfer-encoding", "cow"),
                    ("transfer-encoding", "chunked"),
                ],
                "Framing",
            ),
            ("plus", &[OURS, ("content-length", "+5")], "Framing"),
            ("list", &[OURS, ("content-length", "5, 5")], "Framing"),
            (
                "huge",
                &[OURS, ("content-length", "99999999999999999999")],
                "Framing",
            ),
            (
                "two lengths",
                &[OURS, ("content-length", "5"), ("content-length", "5")],
                "Repeated",
            ),
        ] {
            let outcome = check(Version::HTTP_11, "POST", "/x", fields);
            assert!(outcome.starts_with(expected), "{name}: {outcome}");
        }
        let old = &[OURS, ("transfer-encoding", "chunked")];
        assert!(check(Version::HTTP_10, "POST", "/x", old).starts_with("Framing"));
    }

    /// I8: Host is there once, is a host, and agrees with `:authority`.
    #[test]
    fn a_doubtful_host_is_refused() {
        for (host, expected) in [
            ("app.example", "ok"),
            ("app.example:8443", "ok"),
            ("127.0.0.1:80", "ok"),
            ("[::1]", "ok"),
            ("[::1]:80", "ok"),
            ("localhost", "ok"),
            ("app.example:", "ok"),
            ("", "Host"),
            ("app.example:http", "Host"),
            ("app.example:99999", "Host"),
            ("app.example:+1", "Host"),
            ("user@app.example", "Host"),
            ("app.example/x", "Host"),
            ("app.example, b.example", "Host"),
            ("app example", "Host"),
            ("[::1", "Host"),
            ("[::1]x", "Host"),
            ("a%2eb", "Host"),
            ("\u{e9}.example", "Host"),
        ] {
            let outcome = check(Version::HTTP_11, "GET", "/x", &[("host", host)]);
            assert_eq!(outcome, expected, "{host}");
        }
        assert_eq!(check(Version::HTTP_11, "GET", "/x", &[]), "Host");
        assert_eq!(check(Version::HTTP_10, "GET", "/x", &[]), "Host");
        assert_eq!(check(Version::HTTP_11, "GET", "/x", &[OURS, OURS]), "Host");
        let other = "https://b.example/x";
        assert_eq!(check(Version::HTTP_11, "GET", other, &[OURS]), "ok");
        assert_eq!(check(Version::HTTP_2, "GET", other, &[OURS]), "Host");
        assert_eq!(check(Version::HTTP_2, "GET", other, &[]), "ok");
        assert_eq!(
            check(Version::HTTP_2, "GET", "https://u@b.example/x", &[]),
            "Host"
        );
    }

    /// I8: the target's authority is the host asked for, else the Host field's.
    #[test]
    fn the_target_names_the_host_before_the_field_does() {
        for (target, host, expected) in [
            ("/x", "app.example:8443", "app.example"),
            ("http://b.example:1/x", "app.example", "b.example"),
            ("/x", "[::1]:80", "[::1]"),
        ] {
            let request = Request::builder().uri(target).header("host", host);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(external_host(&parts), Some(expected), "{target} {host}");
        }
    }

    /// J6, I15: the target's form goes with the method; TRACE and CONNECT are not served.
    #[test]
    fn a_target_of_the_wrong_form_is_refused() {
        for (method, target, expected) in [
            ("GET", "/", "ok"),
            ("GET", "http://app.example/x", "ok"),
            ("OPTIONS", "*", "ok"),
            ("GET", "*", "Target"),
            ("GET", "app.example:80", "Target"),
            ("GET", "ftp://app.example/x", "Target"),
            ("TRACE", "/", "Method"),
            ("TRACK", "/", "Method"),
            ("CONNECT", "app.example:443", "Method"),
        ] {
            let outcome = check(Version::HTTP_11, method, target, &[OURS]);
            assert_eq!(outcome, expected, "{method} {target}");
        }
    }

    /// J20: a second copy of a field that stands once would be read by one party alone.
    #[test]
    fn a_repeated_single_field_is_refused() {
        for name in [
            "content-type",
            "authorization",
            "origin",
            "sec-fetch-site",
            "x-csrf",
        ] {
            let outcome = check(
                Version::HTTP_11,
                "GET",
                "/",
                &[OURS, (name, "a"), (name, "a")],
            );
            assert!(outcome.starts_with("Repeated"), "{name}: {outcome}");
        }
        let lists = &[
            OURS,
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ];
        assert_eq!(check(Version::HTTP_11, "GET", "/", lists), "ok");
    }

    /// J9: only 100-continue is expected of us, and HTTP/1.0 expects nothing.
    #[test]
    fn an_unknown_expectation_fails() {
        let fields = |value| [OURS, ("expect", value)];
        assert_eq!(
            check(Version::HTTP_11, "POST", "/", &fields("100-Continue")),
            "ok"
        );
        assert_eq!(
            check(Version::HTTP_11, "POST", "/", &fields("200-ok")),
            "Expectation"
        );
        assert_eq!(
            check(Version::HTTP_10, "POST", "/", &fields("200-ok")),
            "ok"
        );
    }

    /// J15: fields of a connection do not belong in HTTP/2, and blanks not around a value.
    #[test]
    fn connection_fields_in_http_2_are_refused() {
        let target = "https://app.example/";
        for (name, value, expected) in [
            ("connection", "close", "ConnectionField"),
            ("keep-alive", "1", "ConnectionField"),
            ("proxy-connection", "close", "ConnectionField"),
            ("transfer-encoding", "chunked", "ConnectionField"),
            ("upgrade", "websocket", "ConnectionField"),
            ("te", "gzip", "ConnectionField"),
            ("te", "trailers", "ok"),
            ("x", " a", "BlankAround"),
            ("x", "a\t", "BlankAround"),
            ("x", "", "ok"),
            ("x", "a b", "ok"),
        ] {
            let outcome = check(Version::HTTP_2, "GET", target, &[(name, value)]);
            assert_eq!(outcome, expected, "{name}: {value}");
        }
    }
}
