//! The pairs of `Cookie` lines, whatever their bytes.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;

/// The pieces of a request's lines that are looked at. Browsers keep fewer than two hundred cookies for
/// a host; HTTP/2 lets a stranger repeat a line full of them for three octets.
const MOST_PIECES: usize = 500;

/// What stands between the semicolons of all lines, in order, without the blanks around it; what is
/// empty is left out.
pub fn pairs(headers: &HeaderMap) -> Pairs<'_, impl Iterator<Item = &HeaderValue>> {
    Pairs {
        lines: headers.get_all(COOKIE).iter(),
        rest: None,
        left: MOST_PIECES,
    }
}

/// The pairs of some lines.
#[derive(Debug)]
pub struct Pairs<'a, L> {
    lines: L,
    rest: Option<&'a [u8]>,
    left: usize,
}

impl<L> Pairs<'_, L> {
    /// Whether there may be more that is not looked at.
    pub const fn is_cut(&self) -> bool {
        self.left == 0
    }
}

impl<'a, L: Iterator<Item = &'a HeaderValue>> Iterator for Pairs<'a, L> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = match self.rest {
                Some(rest) => rest,
                None => self.lines.next()?.as_bytes(),
            };
            self.left = self.left.checked_sub(1)?;
            let end = memchr(b';', line).unwrap_or(line.len());
            let (pair, after) = line.split_at_checked(end)?;
            self.rest = after.get(1..);
            let pair = pair.trim_ascii();
            if !pair.is_empty() {
                return Some(pair);
            }
        }
    }
}

/// Of one name, so many values are tried and no more: each costs a decryption, and HTTP/2 lets a
/// stranger repeat a field full of them for three octets (G2).
pub const MOST_VALUES: usize = 4;

/// The cookies of the request, in order, as bytes; names are compared by exact case (G2). Of a head
/// full of them, as many as a browser might send.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(headers).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        Some((name, value.get(1..)?))
    })
}

/// The values of the cookies of this name.
pub fn values_of<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    cookies(headers)
        .filter(move |(own, _)| *own == name.as_bytes())
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    #[test]
    fn any_lines_fall_into_their_pairs() {
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&[&b""[..]], &[]),
            (&[b";"], &[]),
            (&[b" ; ;; "], &[]),
            (&[b"a=b"], &[&b"a=b"[..]]),
            (&[b"a=b;"], &[b"a=b"]),
            (&[b"a=b; c=d ;e"], &[b"a=b", b"c=d", b"e"]),
            (&[b"\xff=;="], &[b"\xff=", b"="]),
            (&[b"a=b", b"", b"c=d; e"], &[b"a=b", b"c=d", b"e"]),
        ] {
            let headers = request(lines);
            let mut found = pairs(&headers);
            assert_eq!(found.by_ref().collect::<Vec<_>>(), expected, "{lines:?}");
            assert!(!found.is_cut());
        }
    }

    /// A head full of cookies, or of nothing between semicolons, costs no more than a browser's.
    #[test]
    fn a_flood_is_cut() {
        let many = "a=1;".repeat(MOST_PIECES / 2);
        let headers = request(&[many.as_bytes(); 7]);
        let mut found = pairs(&headers);
        // Of each line, one piece is what stands behind its last semicolon.
        assert_eq!(found.by_ref().count(), MOST_PIECES - 1);
        assert!(found.is_cut());
        let headers = request(&[&b";".repeat(MOST_PIECES), b"a=1"]);
        let mut found = pairs(&headers);
        assert_eq!(found.next(), None);
        assert!(found.is_cut());
    }
}
