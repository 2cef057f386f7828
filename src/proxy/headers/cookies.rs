//! Our cookies never reach an upstream (I3).

use bytes::{BufMut as _, BytesMut};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::web::cookie_line::pairs;

/// The names of the cookies that are ours.
#[derive(Debug, Clone, Default)]
pub struct StripCookies {
    /// Whole names.
    pub exact: Vec<String>,
    /// Beginnings of names: chunks, logins under way.
    pub prefix: Vec<String>,
}

impl StripCookies {
    /// The Cookie field to send on: all lines joined into one (J16), ours taken out, the others in
    /// their order. `None` where nothing is left. Any bytes at all are survived.
    pub(super) fn remaining(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut lines = headers.get_all(COOKIE).iter();
        let first = lines.next()?;
        let second = lines.next();
        if second.is_none() && !self.any_in(first.as_bytes()) {
            return Some(first.clone());
        }
        let mut joined = BytesMut::new();
        let pairs = [first]
            .into_iter()
            .chain(second)
            .chain(lines)
            .flat_map(|line| pairs(line.as_bytes()))
            .filter(|pair| !self.matches(name(pair)));
        for pair in pairs {
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

    /// Whether a cookie of this name is ours; names differ by case (G2).
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.exact.iter().any(|ours| ours.as_bytes() == name)
            || self
                .prefix
                .iter()
                .any(|ours| name.starts_with(ours.as_bytes()))
    }

    fn any_in(&self, line: &[u8]) -> bool {
        pairs(line).any(|pair| self.matches(name(pair)))
    }
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

    fn strip() -> StripCookies {
        StripCookies {
            exact: vec!["__Host-Http-bff".to_owned()],
            prefix: vec!["__Host-Http-bff-login-".to_owned()],
        }
    }

    fn remaining(lines: &[&[u8]]) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let value = strip().remaining(&headers)?;
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
