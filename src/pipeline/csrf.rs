//! Whether our own page made the request (section H). Runs before the body is read, before the
//! session is looked for, before anything is sent upstream (H5).

use http::header::{ORIGIN, REFERER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

use crate::proxy::CsrfCheck;
use crate::web::navigation::{Sender, is_page_load};
use crate::web::public_origin::PublicOrigin;

const X_CSRF: HeaderName = HeaderName::from_static("x-csrf");

/// Why a request is taken for a forged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrfFault {
    /// `X-CSRF: 1` is missing.
    Header,
    /// It comes from another origin, or does not say from where.
    Origin,
}

/// Checks a request against what its route or endpoint demands.
///
/// # Errors
///
/// The fault; nothing of the request may take effect.
pub fn check(check: CsrfCheck, parts: &Parts, public: &PublicOrigin) -> Result<(), CsrfFault> {
    match check {
        CsrfCheck::Header => check_header(&parts.headers, public),
        CsrfCheck::Origin => check_origin(parts, public),
    }
}

/// H2, H3: the static header that no other origin may send without a preflight, and in addition
/// nothing foreign in what the browser says of itself.
fn check_header(headers: &HeaderMap, public: &PublicOrigin) -> Result<(), CsrfFault> {
    if headers
        .get(X_CSRF)
        .is_none_or(|value| value.as_bytes() != b"1")
    {
        return Err(CsrfFault::Header);
    }
    let sender = Sender::of(headers);
    if sender.is_somebody_else() || is_foreign_origin(headers, sender, public) {
        return Err(CsrfFault::Origin);
    }
    Ok(())
}

/// H7: for what cannot send a header. The browser itself must say that our page made it; only
/// a navigation to a document may come from anywhere.
fn check_origin(parts: &Parts, public: &PublicOrigin) -> Result<(), CsrfFault> {
    let headers = &parts.headers;
    let sender = Sender::of(headers);
    if is_foreign_origin(headers, sender, public) {
        return Err(CsrfFault::Origin);
    }
    let is_ours = match sender {
        Sender::Ourselves => true,
        Sender::Unsaid => headers.contains_key(ORIGIN) || comes_from_our_page(headers, public),
        Sender::Person | Sender::Sibling | Sender::Stranger | Sender::Unknown => false,
    };
    if is_ours || is_page_load(parts) {
        Ok(())
    } else {
        Err(CsrfFault::Origin)
    }
}

/// Whether this asks for something and does not say which page made it, as no page of today's browsers
/// does.
pub(super) fn reads_and_says_nothing(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && Sender::of(&parts.headers) == Sender::Unsaid
        && !parts.headers.contains_key(ORIGIN)
}

/// Whether an `Origin` is there that is not ours. `null` is what a page with
/// `Referrer-Policy: no-referrer` sends with its own forms; then Fetch Metadata decides, which no
/// script can set, and to which a sandboxed page of ours is a stranger (H3).
fn is_foreign_origin(headers: &HeaderMap, sender: Sender, public: &PublicOrigin) -> bool {
    headers
        .get(ORIGIN)
        .is_some_and(|origin| match origin.as_bytes() {
            b"null" => sender != Sender::Ourselves,
            origin => origin != public.as_str().as_bytes(),
        })
}

fn comes_from_our_page(headers: &HeaderMap, public: &PublicOrigin) -> bool {
    headers
        .get(REFERER)
        .is_some_and(|referer| is_below(referer.as_bytes(), public.as_str()))
}

/// M1: a page cannot add a header to a WebSocket; the Origin must be there and be ours, and the
/// browser must not say of itself that somebody else is behind it.
///
/// # Errors
///
/// The Origin is missing or another, or Fetch Metadata names another page.
pub fn check_websocket(headers: &HeaderMap, public: &PublicOrigin) -> Result<(), CsrfFault> {
    let ours = headers
        .get(ORIGIN)
        .is_some_and(|origin| origin.as_bytes() == public.as_str().as_bytes());
    if ours && !Sender::of(headers).is_somebody_else() {
        Ok(())
    } else {
        Err(CsrfFault::Origin)
    }
}

/// Whether this is a CORS preflight, which is answered here and never reaches an upstream (H4).
pub fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key("access-control-request-method")
}

fn is_below(referer: &[u8], origin: &str) -> bool {
    referer
        .strip_prefix(origin.as_bytes())
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?' | b'#')))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use url::Url;

    use super::*;

    /// M1: the exact origin, and never none.
    #[test]
    fn a_foreign_origin_opens_no_socket() {
        let public = PublicOrigin::new(&Url::parse("https://app.example").unwrap()).unwrap();
        let check = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(origin.map(|origin| (ORIGIN, origin.parse().unwrap())));
            check_websocket(&headers, &public)
        };
        assert_eq!(check(Some("https://app.example")), OK);
        for origin in [
            None,
            Some("null"),
            Some("http://app.example"),
            Some("https://app.example:444"),
            Some("https://app.example.evil"),
            Some("https://APP.example"),
            Some("https://app.example/"),
        ] {
            assert_eq!(check(origin), FOREIGN, "{origin:?}");
        }
    }

    /// M1, H3: what the browser says of itself counts for a handshake as for any call; an Origin of ours
    /// beside `cross-site` was let in.
    #[test]
    fn fetch_metadata_speaks_for_a_socket_too() {
        let public = PublicOrigin::new(&Url::parse("https://app.example").unwrap()).unwrap();
        for (site, expected) in [
            ("same-origin", OK),
            ("none", OK),
            ("same-site", FOREIGN),
            ("cross-site", FOREIGN),
            ("odd", FOREIGN),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, "https://app.example".parse().unwrap());
            headers.insert("sec-fetch-site", site.parse().unwrap());
            assert_eq!(check_websocket(&headers, &public), expected, "{site}");
        }
    }

    struct Case {
        name: &'static str,
        method: &'static str,
        headers: &'static [(&'static str, &'static str)],
        header: Result<(), CsrfFault>,
        origin: Result<(), CsrfFault>,
    }

    const OK: Result<(), CsrfFault> = Ok(());
    const NO_HEADER: Result<(), CsrfFault> = Err(CsrfFault::Header);
    const FOREIGN: Result<(), CsrfFault> = Err(CsrfFault::Origin);

    /// H2, H3, H7: what each kind of route makes of each kind of request.
    #[test]
    fn forged_requests_are_told_from_our_own() {
        let cases = [
            Case {
                name: "our fetch",
                method: "POST",
                headers: &[
                    ("x-csrf", "1"),
                    ("origin", "https://app.example"),
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-mode", "cors"),
                ],
                header: OK,
                origin: OK,
            },
            Case {
                name: "a script without Fetch Metadata",
                method: "GET",
                headers: &[("x-csrf", "1")],
                header: OK,
                origin: FOREIGN,
            },
            Case {
                name: "nothing",
                method: "GET",
                headers: &[],
                header: NO_HEADER,
                origin: FOREIGN,
            },
            Case {
                name: "another value",
                method: "GET",
                headers: &[("x-csrf", "true"), ("sec-fetch-site", "same-origin")],
                header: NO_HEADER,
                origin: OK,
            },
            Case {
                name: "a sibling's fetch",
                method: "GET",
                headers: &[("x-csrf", "1"), ("sec-fetch-site", "same-site")],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "a stranger's fetch",
                method: "GET",
                headers: &[("x-csrf", "1"), ("sec-fetch-site", "cross-site")],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "an unknown site",
                method: "GET",
                headers: &[("x-csrf", "1"), ("sec-fetch-site", "odd")],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "a null origin",
                method: "POST",
                headers: &[("x-csrf", "1"), ("origin", "null")],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "our form, on a page that sends no referrer",
                method: "POST",
                headers: &[
                    ("origin", "null"),
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                header: NO_HEADER,
                origin: OK,
            },
            Case {
                name: "our fetch in mode same-origin, on such a page",
                method: "POST",
                headers: &[
                    ("x-csrf", "1"),
                    ("origin", "null"),
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-mode", "same-origin"),
                ],
                header: OK,
                origin: OK,
            },
            Case {
                name: "a sandboxed page",
                method: "POST",
                headers: &[
                    ("x-csrf", "1"),
                    ("origin", "null"),
                    ("sec-fetch-site", "cross-site"),
                ],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "a null origin of a sibling",
                method: "POST",
                headers: &[
                    ("x-csrf", "1"),
                    ("origin", "null"),
                    ("sec-fetch-site", "same-site"),
                ],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "a foreign origin that claims to be ours",
                method: "POST",
                headers: &[
                    ("x-csrf", "1"),
                    ("origin", "https://evil.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "a navigation that our service worker passed on",
                method: "GET",
                headers: &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-mode", "same-origin"),
                    ("sec-fetch-dest", "empty"),
                    ("accept", "text/html,*/*;q=0.8"),
                ],
                header: NO_HEADER,
                origin: OK,
            },
            Case {
                name: "another port",
                method: "GET",
                headers: &[("x-csrf", "1"), ("origin", "https://app.example:8443")],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "an origin that begins like ours",
                method: "POST",
                headers: &[("x-csrf", "1"), ("origin", "https://app.example.evil")],
                header: FOREIGN,
                origin: FOREIGN,
            },
            Case {
                name: "our image",
                method: "GET",
                headers: &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-mode", "no-cors"),
                ],
                header: NO_HEADER,
                origin: OK,
            },
            Case {
                name: "a stranger's image",
                method: "GET",
                headers: &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                ],
                header: NO_HEADER,
                origin: FOREIGN,
            },
            Case {
                name: "a link on another site",
                method: "GET",
                headers: &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                header: NO_HEADER,
                origin: OK,
            },
            Case {
                name: "a stranger's frame",
                method: "GET",
                headers: &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                header: NO_HEADER,
                origin: FOREIGN,
            },
            Case {
                name: "a stranger's form",
                method: "POST",
                headers: &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                    ("origin", "https://evil.example"),
                ],
                header: NO_HEADER,
                origin: FOREIGN,
            },
            Case {
                name: "our form, in a browser without Fetch Metadata",
                method: "POST",
                headers: &[("referer", "https://app.example/form")],
                header: NO_HEADER,
                origin: OK,
            },
            Case {
                name: "a referer that begins like ours",
                method: "POST",
                headers: &[("referer", "https://app.example.evil/form")],
                header: NO_HEADER,
                origin: FOREIGN,
            },
        ];
        let public = PublicOrigin::new(&Url::parse("https://app.example").unwrap()).unwrap();
        for case in cases {
            let mut request = Request::builder().method(case.method).uri("/api");
            for (name, value) in case.headers {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            assert_eq!(
                check(CsrfCheck::Header, &parts, &public),
                case.header,
                "{}",
                case.name
            );
            assert_eq!(
                check(CsrfCheck::Origin, &parts, &public),
                case.origin,
                "{}",
                case.name
            );
        }
    }
}
