//! The head that a browser sees of an upstream's answer (I11, G12, J13, J14).

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, LOCATION, SET_COOKIE, TRANSFER_ENCODING, VARY,
    WWW_AUTHENTICATE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::location::Locations;
use super::set_cookie::{self, Kept};
use super::{Nominated, apply, origin, words};
use crate::proxy::message::{is_length, nominates_too_many};
use crate::proxy::{RouteAuth, SetCookie};
use crate::web::cookie_names::CookieNames;

/// What makes an upstream's answer unfit to be passed on (J14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Both lengths, or one that is no length: the end of the body is in doubt.
    #[error("its framing is ambiguous")]
    Framing,
    /// A 101 that nobody asked for, or one that does not fit the request (J10, M3).
    #[error("it switches protocols without being asked, or to another one")]
    Switch,
    /// `Connection` names more fields than there may be.
    #[error("its Connection field names too many others")]
    Nominations,
}

/// Whether the browser gets trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Trailers {
    Pass,
    Drop,
}

/// Judges an answer's framing before anything of it is believed.
///
/// # Errors
///
/// The first fault found; nothing of the answer may reach a browser then.
pub fn check(parts: &Parts) -> Result<(), AnswerFault> {
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(AnswerFault::Switch);
    }
    if nominates_too_many(&parts.headers) {
        return Err(AnswerFault::Nominations);
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|value| !is_length(value.as_bytes())) {
        return Err(AnswerFault::Framing);
    }
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    let chunked = coding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if length.is_some() || codings.next().is_some() || !chunked || parts.version == Version::HTTP_10
    {
        return Err(AnswerFault::Framing);
    }
    Ok(())
}

/// Takes from an answer's head what an upstream may not say to a browser, then adds ours and the
/// operator's changes. `ours` are the cookies that no upstream sets.
pub(in crate::proxy) fn clean(
    parts: &mut Parts,
    locations: &Locations<'_>,
    ours: &CookieNames,
    trailers: Trailers,
) {
    let settings = locations.route.settings();
    let anonymous = settings.auth == RouteAuth::None;
    let nominated = Nominated::of(&parts.headers);
    let mut doomed: Vec<HeaderName> = Vec::new();
    let mut moved: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut challenge = false;
    for (name, value) in &parts.headers {
        let text = name.as_str();
        if origin::is_kept_back(text)
            || nominated.contains(text)
            || (text == "trailer" && trailers == Trailers::Drop)
        {
            doomed.push(name.clone());
        } else if *name == LOCATION || *name == CONTENT_LOCATION {
            let value = locations.as_seen(value);
            moved.extend(value.map(|value| (name.clone(), value)));
        } else if *name == WWW_AUTHENTICATE {
            challenge = true;
        }
    }
    let cookies = doomed
        .contains(&SET_COOKIE)
        .then(|| cookies(&parts.headers, locations, ours));
    let headers = &mut parts.headers;
    for name in doomed {
        headers.remove(name);
    }
    for line in cookies.into_iter().flatten() {
        headers.append(SET_COOKIE, line);
    }
    for (name, value) in moved {
        headers.insert(name, value);
    }
    if challenge {
        keep_silent_challenges(headers);
    }
    if parts.status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    apply(&settings.response_headers, headers);
    // After the operator's changes, so that a Cache-Control of theirs shares nobody's answers.
    if !anonymous {
        make_private(headers);
    }
    // The upstream's version and reason phrase end here.
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
}

/// The cookies that pass on this route; what does not is told once.
fn cookies(headers: &HeaderMap, locations: &Locations<'_>, ours: &CookieNames) -> Vec<HeaderValue> {
    let route = locations.route;
    match route.settings().set_cookie {
        SetCookie::Drop => {
            if route.is_first_cookie_dropped() {
                tracing::warn!(
                    event = "upstream.cookie_dropped",
                    route = &**route.name(),
                    upstream = locations.upstream.origin().as_str(),
                    "an upstream's Set-Cookie was dropped, and will be without another word: cookies \
                     speak for the whole origin; set_cookie = \"keep\" on the route lets them pass"
                );
            }
            Vec::new()
        }
        SetCookie::Keep => {
            let Kept { lines, left_out } = set_cookie::kept(headers, ours, locations);
            if left_out && route.is_first_cookie_dropped() {
                tracing::warn!(
                    event = "upstream.cookie_dropped",
                    route = &**route.name(),
                    upstream = locations.upstream.origin().as_str(),
                    "an upstream's Set-Cookie was dropped though the route keeps them: its cookie has \
                     a name of bff's, or none"
                );
            }
            lines
        }
    }
}

/// G12: the cookie of the browser's request does not keep shared caches away, as `Authorization`
/// did on ours. And one browser may see two users.
fn make_private(headers: &mut HeaderMap) {
    if !headers.contains_key(CACHE_CONTROL) && !headers.contains_key(VARY) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        headers.append(VARY, HeaderValue::from_static("Cookie"));
        return;
    }
    let mut stored = true;
    let mut private = false;
    let mut shared = false;
    for word in words(headers, &CACHE_CONTROL) {
        let directive = word.split('=').next().unwrap_or_default().trim();
        // The bare words alone: with an argument, a cache may take them for others.
        if word.eq_ignore_ascii_case("no-store") {
            stored = false;
        } else if word.eq_ignore_ascii_case("private") {
            private = true;
        } else if is_shared(directive) {
            shared = true;
        }
    }
    if !stored && !shared {
        return;
    }
    if shared || !private {
        let mut directives: Vec<&str> = words(headers, &CACHE_CONTROL)
            .filter(|word| {
                let directive = word.split('=').next().unwrap_or_default().trim();
                !is_shared(directive) && !word.eq_ignore_ascii_case("private")
            })
            .collect();
        directives.push("private");
        match HeaderValue::try_from(directives.join(", ")) {
            Ok(value) => headers.insert(CACHE_CONTROL, value),
            Err(_) => headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store")),
        };
    }
    let varies =
        words(headers, &VARY).any(|name| name == "*" || name.eq_ignore_ascii_case("cookie"));
    if !varies {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

fn is_shared(directive: &str) -> bool {
    directive.eq_ignore_ascii_case("public") || directive.eq_ignore_ascii_case("s-maxage")
}

/// Keeps the challenges that a browser leaves to scripts; Basic and its kin would ask the user for
/// a password on our origin.
fn keep_silent_challenges(headers: &mut HeaderMap) {
    let all: Vec<HeaderValue> = headers.get_all(WWW_AUTHENTICATE).iter().cloned().collect();
    headers.remove(WWW_AUTHENTICATE);
    for challenge in all {
        if !prompts(challenge.as_bytes()) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
    }
}

/// Whether some challenge of this line is of a scheme that browsers answer with a dialogue.
fn prompts(line: &[u8]) -> bool {
    let mut quoted = false;
    let pieces = line.split(|&byte| {
        if byte == b'"' {
            quoted = !quoted;
        }
        byte == b',' && !quoted
    });
    pieces
        .map(<[u8]>::trim_ascii)
        .filter_map(|piece| piece.split(u8::is_ascii_whitespace).next())
        .any(|scheme| {
            [&b"basic"[..], b"digest", b"negotiate", b"ntlm"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::proxy::headers::tests::{lines, map};
    use crate::proxy::route::RouteTable;
    use crate::proxy::route::tests::settings;
    use crate::proxy::{HeaderChanges, RouteSettings};
    use crate::web::public_origin::PublicOrigin;

    fn parts(status: u16, fields: &[&str]) -> Parts {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = StatusCode::from_u16(status).unwrap();
        parts.headers = map(fields);
        parts
    }

    fn cleaned(settings: RouteSettings, mut parts: Parts) -> Vec<String> {
        let table = RouteTable::new(vec![settings]).unwrap();
        let route = table.routes().next().unwrap();
        let locations = Locations {
            route,
            upstream: route.upstreams_in_turn().next().unwrap(),
            public: &PublicOrigin::new(&"https://app.example".parse().unwrap()).unwrap(),
            asked: &http::Request::new(()).into_parts().0,
        };
        let ours = CookieNames::of("__Host-Http-bff", None);
        clean(&mut parts, &locations, &ours, Trailers::Drop);
        lines(&parts.headers)
    }

    /// I11: what speaks of our origin, or makes a browser ask for a password, stays behind.
    #[test]
    fn an_upstream_does_not_speak_for_our_origin() {
        let left = cleaned(
            settings("/", "http://up.example"),
            parts(
                200,
                &[
                    "content-type: text/plain",
                    "content-length: 5",
                    "set-cookie: __Host-Http-bff=x",
                    "set-cookie: other=x",
                    "clear-site-data: \"*\"",
                    "strict-transport-security: max-age=0",
                    "alt-svc: h3=\":443\"",
                    "access-control-allow-origin: *",
                    "access-control-allow-credentials: true",
                    "dpop-nonce: x",
                    "x-accel-redirect: /secret",
                    "x-accel-buffering: no",
                    "nel: {\"report_to\":\"x\",\"max_age\":9}",
                    "report-to: {}",
                    "service-worker-allowed: /",
                    "cdn-cache-control: max-age=9",
                    "x-anything: of the api",
                    "connection: close, x-internal",
                    "keep-alive: timeout=5",
                    "x-internal: 1",
                    "transfer-encoding: chunked",
                    "upgrade: h2c",
                    "proxy-authenticate: Basic",
                    "trailer: x-sum",
                    "etag: \"1\"",
                ],
            ),
        );
        assert_eq!(
            left,
            [
                "content-length: 5",
                "content-type: text/plain",
                "etag: \"1\"",
                "x-accel-buffering: no",
                "x-anything: of the api",
            ]
        );
    }

    /// I11, K1: challenges for scripts pass, those that open a dialogue do not.
    #[test]
    fn no_challenge_opens_a_dialogue() {
        for (challenge, passes) in [
            ("Bearer error=\"insufficient_user_authentication\"", true),
            ("DPoP algs=\"ES256\"", true),
            ("Bearer realm=\"basic\", error=\"x, Basic y\"", true),
            ("Basic realm=\"x\"", false),
            ("basic", false),
            ("Negotiate", false),
            ("NTLM", false),
            ("Digest realm=\"x\"", false),
            ("Bearer realm=\"x\", Basic realm=\"y\"", false),
        ] {
            let left = cleaned(
                settings("/", "http://up.example"),
                parts(401, &[&format!("www-authenticate: {challenge}")]),
            );
            assert_eq!(!left.is_empty(), passes, "{challenge}");
        }
    }

    /// G12: no shared cache keeps what a session was needed for.
    #[test]
    fn answers_of_a_session_are_private() {
        for (cache, expected) in [
            (None, "private"),
            (Some("max-age=60"), "max-age=60, private"),
            (Some("private, max-age=60"), "private, max-age=60"),
            (Some("public, max-age=60"), "max-age=60, private"),
            (Some("Public, S-Maxage=60"), "private"),
            (Some("private=\"x-a\""), "private=\"x-a\", private"),
            // With an argument it is no directive that a cache must know.
            (
                Some("no-store=\"a\", max-age=60"),
                "no-store=\"a\", max-age=60, private",
            ),
        ] {
            let route = RouteSettings {
                auth: RouteAuth::Required,
                ..settings("/", "http://up.example")
            };
            let line = cache.map(|value| format!("cache-control: {value}"));
            let mut fields = vec!["surrogate-control: max-age=9", "cdn-cache-control: public"];
            fields.extend(line.as_deref());
            let left = cleaned(route, parts(200, &fields));
            let expected = [
                format!("cache-control: {expected}"),
                "vary: Cookie".to_owned(),
            ];
            assert_eq!(left, expected, "{cache:?}");
        }
    }

    /// G12: nor does the operator's own Cache-Control, set or removed, share them.
    #[test]
    fn answers_of_a_session_stay_private_whatever_is_configured() {
        let set = vec![(CACHE_CONTROL, HeaderValue::from_static("max-age=60"))];
        for (set, remove, expected) in [
            (set, vec![], "max-age=60, private"),
            (vec![], vec![CACHE_CONTROL, VARY], "private"),
        ] {
            let route = RouteSettings {
                auth: RouteAuth::Required,
                response_headers: HeaderChanges {
                    set,
                    remove,
                    ..HeaderChanges::default()
                },
                ..settings("/", "http://up.example")
            };
            let left = cleaned(route, parts(200, &["cache-control: no-cache"]));
            let expected = [
                format!("cache-control: {expected}"),
                "vary: Cookie".to_owned(),
            ];
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn what_is_not_stored_or_not_personal_stays_as_it_is() {
        let of_a_session = RouteSettings {
            auth: RouteAuth::Optional,
            ..settings("/", "http://up.example")
        };
        let left = cleaned(of_a_session, parts(200, &["cache-control: no-store"]));
        assert_eq!(left, ["cache-control: no-store"]);
        let anonymous = settings("/", "http://up.example");
        let left = cleaned(anonymous, parts(200, &["cache-control: public"]));
        assert_eq!(left, ["cache-control: public"]);
    }

    /// J14, J10: an answer whose end is in doubt, or that switches unasked, is not passed on.
    #[test]
    fn a_doubtful_answer_is_refused() {
        let framing = Err(AnswerFault::Framing);
        for (status, fields, expected) in [
            (200, &["content-length: 5"][..], Ok(())),
            (200, &["transfer-encoding: chunked"], Ok(())),
            (200, &[], Ok(())),
            (
                200,
                &["content-length: 5", "transfer-encoding: chunked"],
                framing,
            ),
            (200, &["content-length: 5, 5"], framing),
            (200, &["content-length: 5", "content-length: 5"], framing),
            (200, &["content-length: +5"], framing),
            (200, &["transfer-encoding: gzip, chunked"], framing),
            (200, &["transfer-encoding: gzip"], framing),
            (101, &["upgrade: websocket"], Err(AnswerFault::Switch)),
        ] {
            assert_eq!(
                check(&parts(status, fields)),
                expected,
                "{status} {fields:?}"
            );
        }
    }

    /// J13: a 204 has no length.
    #[test]
    fn a_204_has_no_length() {
        let left = cleaned(
            settings("/", "http://up.example"),
            parts(204, &["content-length: 5"]),
        );
        assert!(left.is_empty(), "{left:?}");
    }
}
