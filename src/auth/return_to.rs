//! Where the browser goes after a login or logout: always to our own origin (section F).

use std::fmt;

use url::{ParseError, Position, Url};

/// A place on our own origin: path, query and fragment, as a WHATWG parser writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

/// The ground on which a place must lie.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// Our own origin.
    pub origin: &'a Url,
    /// The path that the site lives below: `/shop`, or empty for the whole origin.
    pub mount: &'a str,
    /// Where our endpoints live, from the origin's root: `/shop/bff`.
    pub base_path: &'a str,
}

/// The place asked for is not one on our origin, or would loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the place to return to is not a path on this origin")]
pub struct BadReturnTo;

/// The longest place that is taken, as it is sent (F1).
const MAX_LEN: usize = 2048;

/// Tells a page that the login which began there was not finished.
const ERROR_PARAMETER: &str = "bff_error";

impl ReturnTo {
    /// The front page of a site that lives below `mount`, which is empty for a whole origin.
    pub fn front_page(mount: &str) -> Self {
        Self(format!("{mount}/"))
    }

    /// The place that `text` names at this `site`; none where it names nothing that a browser could be
    /// sent to: too long a place, one whose letters were lost on the way, or nothing at all.
    ///
    /// Takes a path that begins with exactly one slash, or an absolute URL of our own origin, and
    /// encodes what stands in it unencoded. Returning to our endpoints would loop (F6), and what lies
    /// beside the site's own path is another's.
    ///
    /// # Errors
    ///
    /// Whatever leads elsewhere, or looks as if it should to some parser (F4).
    pub fn parse(text: &str, site: Ground<'_>) -> Result<Option<Self>, BadReturnTo> {
        let origin = site.origin;
        if text.is_empty() {
            return Ok(None);
        }
        if text.contains(|c: char| c.is_control() || c == '\\') || has_blank_edges(text) {
            return Err(BadReturnTo);
        }
        let relative = text.starts_with('/');
        let url = if relative {
            origin.join(text)
        } else {
            Url::parse(text)
        };
        let mut url = match url {
            Ok(url) => url,
            // Relative to a page that only the browser knows.
            Err(ParseError::RelativeUrlWithoutBase) => return Ok(None),
            Err(_) => return Err(BadReturnTo),
        };
        let own = url.origin() == origin.origin() && url.origin().is_tuple();
        if !own || !url.username().is_empty() || url.password().is_some() {
            return Err(BadReturnTo);
        }
        // An absolute URL must spell our origin out: `https:own` and its kin parse, but nobody
        // writes them in good faith.
        if !relative && !text.starts_with(&format!("{}/", origin.origin().ascii_serialization())) {
            return Err(BadReturnTo);
        }
        if hides_a_host(url.path()) || (relative && starts_like_a_host(text)) {
            return Err(BadReturnTo);
        }
        if loops(url.path(), site.base_path) || !lies_at_or_below(url.path(), site.mount) {
            return Err(BadReturnTo);
        }
        take_out_error(&mut url);
        let place = &url[Position::BeforePath..];
        let usable = place.len() <= MAX_LEN && !is_damaged(url.path(), place);
        Ok(usable.then(|| Self(place.to_owned())))
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

    /// The same place, told that the login which began there failed: `error` is a word of ours.
    pub(in crate::auth) fn told(&self, error: &'static str) -> String {
        let (page, fragment) = self.0.split_at(self.0.find('#').unwrap_or(self.0.len()));
        let joint = if page.contains('?') { '&' } else { '?' };
        format!("{page}{joint}{ERROR_PARAMETER}={error}{fragment}")
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
    for _ in 0..3 {
        if starts_like_a_host(&text) || text.contains(|c: char| c < ' ' || c == '\\') {
            return true;
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(&text).collect();
        text = String::from_utf8_lossy(&decoded).into_owned();
    }
    false
}

/// Whether a parser that drops blanks would read a host at the start of this path.
fn starts_like_a_host(path: &str) -> bool {
    let mut letters = path.chars().filter(|c| !c.is_whitespace());
    letters.next() == Some('/') && matches!(letters.next(), Some('/' | '\\'))
}

fn has_blank_edges(text: &str) -> bool {
    text.trim().len() != text.len()
}

/// Whether letters were lost before the place came here, or it holds a percent sign that begins no
/// encoding: such a path is served nowhere.
fn is_damaged(path: &str, place: &str) -> bool {
    let mut rest = path.split('%').skip(1);
    let is_encoding = |text: &str| {
        let digits = text.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    place.contains("%EF%BF%BD") || !rest.all(is_encoding)
}

/// What an earlier login told the page is not true of the next one.
fn take_out_error(url: &mut Url) {
    let Some(query) = url.query().filter(|query| query.contains(ERROR_PARAMETER)) else {
        return;
    };
    let told = |pair: &&str| pair.split('=').next() != Some(ERROR_PARAMETER);
    let kept: Vec<&str> = query.split('&').filter(told).collect();
    let kept = kept.join("&");
    url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
}

fn loops(path: &str, base_path: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    lies_at_or_below(&decoded, base_path)
}

fn lies_at_or_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ground(origin: &Url) -> Ground<'_> {
        Ground {
            origin,
            mount: "",
            base_path: "/bff",
        }
    }

    /// F6: a site on a path sends nobody beside it, however the path is written.
    #[test]
    fn places_beside_the_site_are_refused() {
        let origin = Url::parse("https://own.example").unwrap();
        let site = Ground {
            origin: &origin,
            mount: "/shop",
            base_path: "/shop/bff",
        };
        for (text, place) in [
            ("/shop", Ok(Some("/shop"))),
            ("/shop/", Ok(Some("/shop/"))),
            ("/shop/cart?a=1#b", Ok(Some("/shop/cart?a=1#b"))),
            ("https://own.example/shop/cart", Ok(Some("/shop/cart"))),
            ("/", Err(BadReturnTo)),
            ("/shopping", Err(BadReturnTo)),
            ("/shop/../admin", Err(BadReturnTo)),
            ("/shop/%2e%2e/admin", Err(BadReturnTo)),
            ("/%73hop/cart", Err(BadReturnTo)),
            ("/shop/bff/login", Err(BadReturnTo)),
            ("https://own.example/admin", Err(BadReturnTo)),
        ] {
            let found = ReturnTo::parse(text, site);
            let found = found.map(|place| place.map(|place| place.to_string()));
            assert_eq!(found, place.map(|place| place.map(str::to_owned)), "{text}");
        }
        assert_eq!(ReturnTo::front_page("/shop").as_str(), "/shop/");
    }

    fn check(text: &str) -> Result<Option<String>, BadReturnTo> {
        let origin = Url::parse("https://own.example").unwrap();
        let place = ReturnTo::parse(text, ground(&origin))?;
        Ok(place.map(|place| place.to_string()))
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
            assert_eq!(check(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    /// F1: what people write is encoded as a browser would. It was refused, and the login with it.
    #[test]
    fn what_can_be_encoded_is_encoded() {
        let cases = [
            ("/größe", "/gr%C3%B6%C3%9Fe"),
            ("/a b", "/a%20b"),
            ("/a /b", "/a%20/b"),
            (
                "/注文?名=山 田#行",
                "/%E6%B3%A8%E6%96%87?%E5%90%8D=%E5%B1%B1%20%E7%94%B0#%E8%A1%8C",
            ),
            ("https://own.example/größe", "/gr%C3%B6%C3%9Fe"),
            ("/a?b=\"<x>\"", "/a?b=%22%3Cx%3E%22"),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    /// F1: the length counts as it is sent, and what is too long or damaged is no place at all.
    #[test]
    fn what_is_odd_is_no_place() {
        let fits = format!("/{}", "a".repeat(MAX_LEN - 1));
        assert_eq!(check(&fits), Ok(Some(fits.clone())));
        let grows = format!("/{}", "ö".repeat(MAX_LEN / 6));
        assert!(matches!(check(&grows), Ok(Some(place)) if place.len() > MAX_LEN - 6));
        for odd in [
            String::new(),
            format!("{fits}a"),
            format!("/{}", "ö".repeat(MAX_LEN / 6 + 1)),
            "orders".to_owned(),
            "?page=2".to_owned(),
            "/gr\u{fffd}\u{fffd}e".to_owned(),
            "/100%".to_owned(),
            "/%zz".to_owned(),
        ] {
            assert_eq!(check(&odd), Ok(None), "{odd}");
        }
    }

    /// A page is told of a login that failed once, before its fragment, and never of an older one.
    #[test]
    fn a_page_is_told_of_the_last_login() {
        for (text, kept, told) in [
            ("/", "/", "/?bff_error=access_denied"),
            (
                "/a?b=1#c?d",
                "/a?b=1#c?d",
                "/a?b=1&bff_error=access_denied#c?d",
            ),
            ("/a?bff_error=x", "/a", "/a?bff_error=access_denied"),
            (
                "/a?bff_error&b=%26&bff_error=y#z",
                "/a?b=%26#z",
                "/a?b=%26&bff_error=access_denied#z",
            ),
            (
                "/a?my_bff_error=1",
                "/a?my_bff_error=1",
                "/a?my_bff_error=1&bff_error=access_denied",
            ),
        ] {
            let origin = Url::parse("https://own.example").unwrap();
            let place = ReturnTo::parse(text, ground(&origin)).unwrap().unwrap();
            assert_eq!(place.as_str(), kept);
            assert_eq!(place.told("access_denied"), told);
        }
    }

    /// F1, F4: the catalogue of open redirects.
    #[test]
    fn places_elsewhere_are_refused() {
        let cases = [
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
            "/ //evil",
            "/%20/evil",
            "/%2520/evil",
            "/\u{3000}/evil",
            " /evil",
            "/evil ",
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
        fn what_is_taken_never_leaves_the_origin(text in r"[/\\a-zö.:@%0-9#?&=\t \u{3000}]{0,24}") {
            if let Ok(Some(place)) = check(&text) {
                let origin = Url::parse("https://own.example").unwrap();
                prop_assert_eq!(origin.join(&place).unwrap().origin(), origin.origin());
                prop_assert_eq!(check(&place), Ok(Some(place)));
            }
        }
    }
}
