//! Where the browser goes after a login or logout: always to our own origin (section F).

use std::fmt;

use url::Url;

/// A place on our own origin: path, query and fragment, as a WHATWG parser writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

/// The place asked for is not one on our origin, or would loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the place to return to is not a path on this origin")]
pub struct BadReturnTo;

/// The longest place that is taken (F1).
const MAX_LEN: usize = 2048;

impl ReturnTo {
    /// The front page.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The place that `text` names on `origin`.
    ///
    /// Takes a path that begins with exactly one slash, or an absolute URL of our own origin.
    /// `base_path` is where our endpoints live: returning there would loop (F6).
    ///
    /// # Errors
    ///
    /// Everything else, whatever it looks like (F4).
    pub fn parse(text: &str, origin: &Url, base_path: &str) -> Result<Self, BadReturnTo> {
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(BadReturnTo);
        }
        let odd = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'\\' || !byte.is_ascii();
        if text.bytes().any(odd) {
            return Err(BadReturnTo);
        }
        let relative = text.starts_with('/');
        if relative && text.starts_with("//") {
            return Err(BadReturnTo);
        }
        let url = if relative {
            origin.join(text)
        } else {
            Url::parse(text)
        };
        let url = url.map_err(|_| BadReturnTo)?;
        let own = url.origin() == origin.origin() && url.origin().is_tuple();
        if !own || !url.username().is_empty() || url.password().is_some() {
            return Err(BadReturnTo);
        }
        // An absolute URL must spell our origin out: `https:own` and its kin parse, but nobody
        // writes them in good faith.
        if !relative && !text.starts_with(&format!("{}/", origin.origin().ascii_serialization())) {
            return Err(BadReturnTo);
        }
        let path = url.path();
        if path.starts_with("//") || hides_a_host(path) || loops(path, base_path) {
            return Err(BadReturnTo);
        }
        Ok(Self(url[url::Position::BeforePath..].to_owned()))
    }

    /// A place that was parsed once and came back sealed; looked at again all the same (F1).
    pub(in crate::auth) fn sealed(text: &str) -> Option<Self> {
        let fits = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
        fits.then(|| Self(text.to_owned()))
    }

    /// The place as `Location` and links carry it: begins with one slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its path alone.
    pub fn path(&self) -> &str {
        self.0.split(['?', '#']).next().unwrap_or("/")
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether decoding the path, once or twice, makes a network path or a break of the line of it.
fn hides_a_host(path: &str) -> bool {
    let mut text = path.to_owned();
    for _ in 0..2 {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(&text).collect();
        let starts_like_a_host = matches!(decoded.as_slice(), [b'/', b'/' | b'\\', ..]);
        if starts_like_a_host || decoded.iter().any(|byte| *byte < b' ' || *byte == b'\\') {
            return true;
        }
        text = String::from_utf8_lossy(&decoded).into_owned();
    }
    false
}

fn loops(path: &str, base_path: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    decoded
        .strip_prefix(base_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<String, BadReturnTo> {
        let origin = Url::parse("https://own.example").unwrap();
        ReturnTo::parse(text, &origin, "/bff").map(|place| place.to_string())
    }

    #[test]
    fn places_on_our_origin_are_taken() {
        let cases = [
            ("/", "/"),
            ("/orders?page=2#row-7", "/orders?page=2#row-7"),
            ("/a/../b", "/b"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("https://own.example/orders", "/orders"),
            ("https://own.example/", "/"),
            ("/bffalo", "/bffalo"),
            ("/search?next=//evil.example", "/search?next=//evil.example"),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text).as_deref(), Ok(expected), "{text}");
        }
    }

    /// F1, F4: the catalogue of open redirects.
    #[test]
    fn places_elsewhere_are_refused() {
        let cases = [
            "",
            "orders",
            "//evil",
            "///evil",
            "////evil",
            "/\\evil",
            "\\/evil",
            "\\\\evil",
            "/\t/evil",
            "/\n/evil",
            "/\r/evil",
            "/\u{b}/evil",
            "/ /evil",
            " /evil",
            "https:evil",
            "https:/evil",
            "http:///evil",
            "https://own.example@evil",
            "https://own.example:443@evil",
            "https://own.example.evil",
            "https://evilown.example",
            "https://own.example%2eevil",
            "https://own.example%00.evil",
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil%2f..",
            "/%5cevil",
            "/%2f%2fevil",
            "/%2fevil",
            "https://own。example/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https:own.example",
            "https:/own.example/a",
            "http://own.example/",
            "/%252fevil",
            "/%0d%0aSet-Cookie:x=1",
            "/./\\evil",
            "/..//evil",
            "/.//evil",
            "https://user@own.example/",
            "blob:https://own.example/x",
        ];
        for text in cases {
            assert_eq!(check(text), Err(BadReturnTo), "{text:?}");
        }
        assert_eq!(
            check(&format!("/{}", "a".repeat(MAX_LEN))),
            Err(BadReturnTo)
        );
    }

    /// F6: nowhere that would loop.
    #[test]
    fn our_own_endpoints_are_refused() {
        for text in [
            "/bff",
            "/bff/",
            "/bff/login",
            "/bff/logout?x",
            "/%62ff/login",
            "/a/../bff/login",
        ] {
            assert_eq!(check(text), Err(BadReturnTo), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// F3: whatever is taken, a WHATWG parser reads our origin in it, and it is its own
        /// normal form.
        #[test]
        fn what_is_taken_never_leaves_the_origin(text in r"[/\\a-z.:@%0-9#?\t ]{0,24}") {
            if let Ok(place) = check(&text) {
                let origin = Url::parse("https://own.example").unwrap();
                prop_assert_eq!(origin.join(&place).unwrap().origin(), origin.origin());
                prop_assert_eq!(check(&place), Ok(place));
            }
        }
    }
}
