//! Our cookies never reach an upstream (I3).

use bytes::{BufMut as _, BytesMut};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::web::cookie_line::pairs;
use crate::web::cookie_names::CookieNames;

/// The Cookie field to send on: all lines joined into one (J16), ours taken out, the others in
/// their order. `None` where nothing is left. Any bytes at all are survived; what no browser would
/// send any more, behind its first few hundred cookies, is left out.
pub(super) fn remaining(headers: &HeaderMap, ours: &CookieNames) -> Option<HeaderValue> {
    let mut lines = headers.get_all(COOKIE).iter();
    let first = lines.next()?;
    if lines.next().is_none() && !any_in(headers, ours) {
        return Some(first.clone());
    }
    let mut joined = BytesMut::new();
    for pair in pairs(headers).filter(|pair| !ours.contains(name(pair))) {
        if !joined.is_empty() {
            joined.put_slice(b"; ");
        }
        joined.put_slice(pair);
    }
    if joined.is_empty() {
        return None;
    }
    // Pieces of valid values are valid; were they not, no cookie is the safe answer.
    HeaderValue::from_maybe_shared(joined.freeze()).ok()
}

/// Whether one of ours is among them, or may be.
fn any_in(headers: &HeaderMap, ours: &CookieNames) -> bool {
    let mut pairs = pairs(headers);
    pairs.any(|pair| ours.contains(name(pair))) || pairs.is_cut()
}

/// What stands before the first `=`; some upstreams read a pair without one as a name.
fn name(pair: &[u8]) -> &[u8] {
    let end = pair.iter().position(|&byte| byte == b'=');
    let name = end.and_then(|end| pair.get(..end)).unwrap_or(pair);
    name.trim_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn remaining(lines: &[&[u8]]) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let value = super::remaining(&headers, &CookieNames::of("__Host-Http-bff", None))?;
        Some(value.as_bytes().to_vec())
    }

    /// I3, J16: ours go, the others stay in order, on one line.
    #[test]
    fn our_cookies_are_taken_out() {
        for (lines, expected) in [
            (&[][..], None),
            (&["a=1"][..], Some("a=1")),
            (&["a=1;b=2"], Some("a=1;b=2")),
            (&["__Host-Http-bff=x"], None),
            (&["__Host-Http-bff=x; a=1"], Some("a=1")),
            (&["a=1; __Host-Http-bff=x; b=2"], Some("a=1; b=2")),
            (&["a=1;  __Host-Http-bff = x ;b=2"], Some("a=1; b=2")),
            (&["__Host-Http-bff-login-7=x; a=1"], Some("a=1")),
            (
                &["__Host-Http-bff-other=x"],
                Some("__Host-Http-bff-other=x"),
            ),
            (&["__HoSt-Http-bff=x"], Some("__HoSt-Http-bff=x")),
            (&["a=1", "__Host-Http-bff=x", "b=2"], Some("a=1; b=2")),
            (&["a=1", "b=2"], Some("a=1; b=2")),
            (&["__Host-Http-bff"], None),
            (&["a=\"x; __Host-Http-bff=y\""], Some("a=\"x")),
            (&[";;; ;"], Some(";;; ;")),
            (&["", "__Host-Http-bff=x;"], None),
            (&["=__Host-Http-bff; a"], Some("=__Host-Http-bff; a")),
        ] {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let left = remaining(&lines).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(left.as_deref(), expected, "{lines:?}");
        }
    }

    /// I3: nobody's cookie is what begins as ours does and goes on otherwise; what is not looked at any
    /// more does not pass.
    #[test]
    fn a_flood_of_cookies_carries_none_of_ours_through() {
        let strangers = "bff=1; __Host-Http=2; __Host-Http-bf=3".as_bytes();
        assert_eq!(remaining(&[strangers]).as_deref(), Some(strangers));
        let flood = format!("{}__Host-Http-bff=canary", "a=1;".repeat(10_000));
        let left = String::from_utf8(remaining(&[flood.as_bytes()]).unwrap()).unwrap();
        assert!(left.starts_with("a=1; a=1; ") && !left.contains("canary"));
        assert!(left.len() < 3_000, "{}", left.len());
    }

    proptest! {
        /// I3: whatever bytes a cookie line has, ours does not get through.
        #[test]
        fn no_bytes_carry_our_cookie_through(
            before in proptest::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..12),
            after in proptest::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..12),
        ) {
            let line = [&before[..], b";__Host-Http-bff=canary;", &after[..]].concat();
            let left = remaining(&[&line]).unwrap_or_default();
            prop_assert!(!left.windows(6).any(|window| window == b"canary"));
        }
    }
}
