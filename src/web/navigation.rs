//! Whether a browser navigates, fetches or looks ahead, and who sent it, as it says itself (Fetch
//! Metadata). The one place that judges it.
//!
//! A browser before Fetch Metadata, and a program, say nothing: what they are taken for is up to
//! the caller, so that is an answer of its own.

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What browsers add where nobody has asked for the page yet: speculation rules and `rel=prefetch`;
/// Chromium and Safari before them; Safari's previews; Firefox before `Sec-Purpose`.
const LOOKS_AHEAD: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// How a request came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A tab on its way to a document.
    Tab,
    /// A frame on its way to a document.
    Frame,
    /// A script, an image or another part of a page.
    Part,
    /// Nobody says, and a page is asked for.
    UnsaidPage,
    /// Nobody says, and something else is asked for.
    Unsaid,
}

impl Arrival {
    /// How the request with these headers came about.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(SEC_FETCH_MODE).map(HeaderValue::as_bytes) {
            Some(b"navigate") if is_to_part_of_a_page(headers) => Self::Frame,
            Some(b"navigate") => Self::Tab,
            Some(b"same-origin") if is_passed_on(headers) => Self::Tab,
            Some(_) => Self::Part,
            None if asks_for_html(headers) && !is_to_part_of_a_page(headers) => Self::UnsaidPage,
            None => Self::Unsaid,
        }
    }

    /// Whether a person looks at the answer, who can read a page (B10).
    pub const fn is_seen(self) -> bool {
        matches!(self, Self::Tab | Self::Frame | Self::UnsaidPage)
    }

    /// Whether a whole tab goes where it is sent.
    const fn is_of_a_tab(self) -> bool {
        matches!(self, Self::Tab | Self::UnsaidPage)
    }
}

/// Whether a tab is on its way to a page, so that it may be sent to sign in (B10) and may come from
/// anywhere (H7). A HEAD is nobody's.
pub fn is_page_load(parts: &Parts) -> bool {
    parts.method == Method::GET && Arrival::of(&parts.headers).is_of_a_tab()
}

/// Whether the app's page will do where there is no such file. Of a program that says nothing, whoever
/// takes HTML gets it, so that `curl` sees what a browser sees.
pub fn takes_a_page(headers: &HeaderMap) -> bool {
    match Arrival::of(headers) {
        Arrival::Tab | Arrival::Frame | Arrival::UnsaidPage => true,
        Arrival::Part => false,
        Arrival::Unsaid => headers.get(ACCEPT).is_none_or(|accept| {
            let accept = accept.to_str().unwrap_or_default();
            accept.contains("text/html") || accept.contains("*/*")
        }),
    }
}

/// A service worker that hands a navigation on with `fetch(event.request)` makes it its own: the
/// destination is then empty, and the mode `same-origin` in some browsers. A page's own script that
/// looks like this has asked for a page as well.
fn is_passed_on(headers: &HeaderMap) -> bool {
    let destination = headers.get(SEC_FETCH_DEST).map(HeaderValue::as_bytes);
    let accepted = headers.get(ACCEPT).map(HeaderValue::as_bytes);
    destination == Some(b"empty") && accepted.is_some_and(|text| text.starts_with(b"text/html"))
}

fn is_to_part_of_a_page(headers: &HeaderMap) -> bool {
    headers
        .get(SEC_FETCH_DEST)
        .is_some_and(|destination| !matches!(destination.as_bytes(), b"document" | b"empty"))
}

fn asks_for_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("text/html"))
    })
}

/// Why something that a person sets off by opening an address was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The browser looks ahead: nobody has asked yet.
    #[error("a browser that looks ahead sets nothing off")]
    Ahead,
    /// A script or a part of a page asks.
    #[error("fetched as part of a page; it must be navigated to")]
    Fetched,
}

/// That a browser has gone to this address, or that nobody says otherwise: no request that a
/// browser makes by itself signs anybody in or out.
///
/// # Errors
///
/// See [`NotOpened`]; nothing may change.
pub fn check_opened(headers: &HeaderMap) -> Result<(), NotOpened> {
    if LOOKS_AHEAD.iter().any(|name| headers.contains_key(name)) {
        return Err(NotOpened::Ahead);
    }
    match Arrival::of(headers) {
        Arrival::Part => Err(NotOpened::Fetched),
        Arrival::Tab | Arrival::Frame | Arrival::UnsaidPage | Arrival::Unsaid => Ok(()),
    }
}

/// Who sent the browser here, by `Sec-Fetch-Site`: the farthest of all that had a part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A page of our own origin.
    Ourselves,
    /// The person: the address bar, a bookmark.
    Person,
    /// Another host of our site.
    Sibling,
    /// Another site.
    Stranger,
    /// A word that is not known here.
    Unknown,
    /// Nobody says.
    Unsaid,
}

impl Sender {
    /// Who is behind the request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(b"same-origin") => Self::Ourselves,
            Some(b"none") => Self::Person,
            Some(b"same-site") => Self::Sibling,
            Some(b"cross-site") => Self::Stranger,
            Some(_) => Self::Unknown,
            None => Self::Unsaid,
        }
    }

    /// The word of `Sec-Fetch-Site`, if it is one that is known; never a stranger's own.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Ourselves => Some("same-origin"),
            Self::Person => Some("none"),
            Self::Sibling => Some("same-site"),
            Self::Stranger => Some("cross-site"),
            Self::Unknown => Some("unknown"),
            Self::Unsaid => None,
        }
    }

    /// Whether the browser says, in whichever word, that it was somebody else.
    pub const fn is_somebody_else(self) -> bool {
        matches!(self, Self::Sibling | Self::Stranger | Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// B10: what counts as a navigation, in one table. Of a service worker's the last two were taken
    /// for a script's calls, and their pages were told to sign in instead of being sent there.
    #[test]
    fn a_navigation_is_told_from_a_fetch() {
        let mode = |value| ("sec-fetch-mode", value);
        let dest = |value| ("sec-fetch-dest", value);
        let accept = |value| ("accept", value);
        let cases = [
            (
                "a tab",
                vec![mode("navigate"), dest("document")],
                Arrival::Tab,
            ),
            ("a tab that says less", vec![mode("navigate")], Arrival::Tab),
            (
                "a frame",
                vec![mode("navigate"), dest("iframe")],
                Arrival::Frame,
            ),
            (
                "an object",
                vec![mode("navigate"), dest("object")],
                Arrival::Frame,
            ),
            (
                "a fetch",
                vec![mode("cors"), dest("empty"), accept("*/*")],
                Arrival::Part,
            ),
            (
                "a fetch that asks for a page",
                vec![mode("cors"), dest("empty"), accept(CHROMIUM)],
                Arrival::Part,
            ),
            (
                "an image",
                vec![mode("no-cors"), dest("image")],
                Arrival::Part,
            ),
            (
                "a worker's script",
                vec![mode("same-origin"), dest("worker")],
                Arrival::Part,
            ),
            (
                "an own fetch",
                vec![mode("same-origin"), dest("empty"), accept("*/*")],
                Arrival::Part,
            ),
            (
                "an own fetch that takes pages too",
                vec![
                    mode("same-origin"),
                    dest("empty"),
                    accept("application/json, text/html"),
                ],
                Arrival::Part,
            ),
            (
                "a socket",
                vec![mode("websocket"), dest("websocket")],
                Arrival::Part,
            ),
            (
                "an older browser",
                vec![accept(CHROMIUM)],
                Arrival::UnsaidPage,
            ),
            ("curl", vec![accept("*/*")], Arrival::Unsaid),
            ("nothing", vec![], Arrival::Unsaid),
            (
                "passed on by a service worker",
                vec![mode("navigate"), dest("empty"), accept(CHROMIUM)],
                Arrival::Tab,
            ),
            (
                "passed on by another browser's",
                vec![mode("same-origin"), dest("empty"), accept(CHROMIUM)],
                Arrival::Tab,
            ),
        ];
        for (name, fields, expected) in cases {
            let headers = headers(&fields);
            assert_eq!(Arrival::of(&headers), expected, "{name}");
            let (loads, takes) = match expected {
                Arrival::Tab | Arrival::UnsaidPage => (true, true),
                Arrival::Frame | Arrival::Unsaid => (false, true),
                Arrival::Part => (false, false),
            };
            assert_eq!(takes_a_page(&headers), takes, "{name}");
            for (method, is_read) in [(Method::GET, true), (Method::HEAD, false)] {
                let (mut parts, ()) = http::Request::new(()).into_parts();
                (parts.method, parts.headers) = (method, headers.clone());
                assert_eq!(is_page_load(&parts), loads && is_read, "{name}");
            }
        }
        assert!(!takes_a_page(&headers(&[accept("application/json")])));
    }

    /// B10: whatever looks ahead has opened nothing, however it says so.
    #[test]
    fn looking_ahead_is_not_opening() {
        let navigation = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        for ahead in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
        ] {
            let mut fields = navigation.to_vec();
            fields.push(ahead);
            assert_eq!(
                check_opened(&headers(&fields)),
                Err(NotOpened::Ahead),
                "{ahead:?}"
            );
            assert_eq!(
                check_opened(&headers(&[ahead])),
                Err(NotOpened::Ahead),
                "{ahead:?}"
            );
        }
        assert_eq!(check_opened(&headers(&navigation)), Ok(()));
        assert_eq!(check_opened(&headers(&[])), Ok(()));
        let fetched = headers(&[("sec-fetch-mode", "cors")]);
        assert_eq!(check_opened(&fetched), Err(NotOpened::Fetched));
    }
}
