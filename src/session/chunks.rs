//! A value longer than a cookie may be: cut into chunks under names of their own, and put together
//! again (G8).
//!
//! The first chunk, under the cookie's own name, begins with a digit: how many there are. It only
//! says how many to join; what is sealed says it too, and that counts.

use std::borrow::Cow;

use http::HeaderMap;

use crate::session::seal::begins_as_sealed;
use crate::web::cookie_line::{MOST_VALUES, cookies};
use crate::web::cookie_names::{MOST_CHUNKS, chunk_index};

/// Where names stand twice, so many ways to join them are tried (G2); where there are more, none.
const MOST_WAYS: usize = MOST_VALUES;

/// `text` in chunks of `capacity` octets, the first with the count before it; `None` where that takes
/// too many.
pub(super) fn split(text: &str, capacity: usize) -> Option<Vec<String>> {
    let count = count_of(text.len(), capacity)?;
    let digit = char::from_digit(u32::try_from(count).ok()?, 10)?;
    let whole = format!("{digit}{text}");
    let mut chunks = Vec::with_capacity(count);
    let mut rest = whole.as_str();
    while let Some((chunk, others)) = rest.split_at_checked(capacity) {
        chunks.push(chunk.to_owned());
        rest = others;
    }
    if !rest.is_empty() {
        chunks.push(rest.to_owned());
    }
    Some(chunks)
}

/// How many chunks a text of `len` octets takes; `None` where those are too many.
pub(super) fn count_of(len: usize, capacity: usize) -> Option<usize> {
    let count = (len + 1).div_ceil(capacity.max(1));
    (count <= MOST_CHUNKS).then_some(count)
}

/// A whole value as it was found: how many chunks it was in, and the count and all of them in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joined<'a> {
    /// Its chunks.
    pub(super) count: usize,
    /// The digit and the text.
    pub(super) whole: Cow<'a, [u8]>,
}

impl Joined<'_> {
    /// Its chunks by their numbers, a bit each.
    pub(super) fn chunks(&self) -> u8 {
        u8::MAX >> MOST_CHUNKS.saturating_sub(self.count)
    }
}

/// The chunks that a request carries.
#[derive(Debug)]
pub(super) struct Chunks<'a>([Vec<&'a [u8]>; MOST_CHUNKS]);

impl<'a> Chunks<'a> {
    /// Those of the cookie of this name; names are compared by exact case (G2).
    pub(super) fn of(headers: &'a HeaderMap, name: &str) -> Self {
        let mut own: [Vec<&[u8]>; MOST_CHUNKS] = std::array::from_fn(|_| Vec::new());
        for (chunk, value) in cookies(headers) {
            if let Some(index) = chunk_index(chunk, name.as_bytes())
                && let Some(values) = own.get_mut(index)
                && values.len() < MOST_VALUES
            {
                values.push(value);
            }
        }
        Self(own)
    }

    /// The chunks behind those of a value that opened: what is left of a longer one under its name,
    /// and can be joined to nothing any more. A cookie that is whole by itself is another's.
    pub(super) fn left_over_behind(&self, opened: u8) -> u8 {
        let others = self.0.iter().enumerate().map(|(index, values)| {
            let left_over = !values.is_empty() && !values.iter().any(|value| is_whole(value));
            u8::from(left_over) << index
        });
        others.fold(0, |all, other| all | other) & !opened
    }

    /// Every whole value that they may stand for, all or nothing: a value with a chunk missing is
    /// none.
    pub(super) fn joined(&self) -> impl Iterator<Item = Joined<'a>> {
        let [first, ..] = &self.0;
        let ways = first.iter().flat_map(|first| self.beginning_with(first));
        ways.take(MOST_WAYS)
    }

    fn beginning_with(&self, first: &'a [u8]) -> impl Iterator<Item = Joined<'a>> {
        let count = first.first().map_or(0, |digit| digit.wrapping_sub(b'0'));
        let count = usize::from(count);
        let others = match count {
            1..=MOST_CHUNKS => self.0.get(1..count).unwrap_or_default(),
            _ => &[],
        };
        let ways: usize = others.iter().map(Vec::len).product();
        let ways = if count == 0 || count > MOST_CHUNKS || ways > MOST_WAYS {
            0
        } else {
            ways
        };
        (0..ways).map(move |way| {
            if others.is_empty() {
                return Joined {
                    count,
                    whole: Cow::Borrowed(first),
                };
            }
            let mut whole = first.to_vec();
            let mut way = way;
            for values in others {
                if let Some(value) = values.get(way % values.len()) {
                    whole.extend_from_slice(value);
                }
                way /= values.len();
            }
            Joined {
                count,
                whole: Cow::Owned(whole),
            }
        })
    }
}

/// Whether a value seems to be whole by itself, with a count in front or without: then it is nobody's
/// chunk. A chunk that seems so by chance stays where it is, and does no harm.
fn is_whole(value: &[u8]) -> bool {
    let counted = value
        .split_first()
        .is_some_and(|(count, text)| (b'1'..=b'8').contains(count) && begins_as_sealed(text));
    counted || begins_as_sealed(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::COOKIE;
    use proptest::prelude::*;

    use super::*;

    fn request(pairs: &[(&str, &str)]) -> HeaderMap {
        let line: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(line.join("; ")).unwrap());
        headers
    }

    fn joined(pairs: &[(&str, &str)]) -> Vec<String> {
        let headers = request(pairs);
        let joined = Chunks::of(&headers, "s");
        joined
            .joined()
            .map(|joined| String::from_utf8(joined.whole.into_owned()).unwrap())
            .collect()
    }

    /// G8: a head full of chunks costs a few decryptions, not one for each pair of them.
    #[test]
    fn a_flood_of_chunks_is_tried_a_few_times() {
        let values: Vec<String> = (0..2000).map(|at| format!("2x{at}")).collect();
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for value in &values {
            pairs.extend([("s", value.as_str()), ("s-1", value.as_str())]);
        }
        assert_eq!(joined(&pairs).len(), MOST_WAYS);
    }

    /// G8: sizes around each multiple of a chunk, the count in front included.
    #[test]
    fn a_text_is_cut_where_a_cookie_is_full() {
        for (len, expected) in [
            (0, Some(vec![1])),
            (8, Some(vec![9])),
            (9, Some(vec![10])),
            (10, Some(vec![10, 1])),
            (19, Some(vec![10, 10])),
            (20, Some(vec![10, 10, 1])),
            (79, Some(vec![10; 8])),
            (80, None),
        ] {
            let chunks = split(&"x".repeat(len), 10);
            let sizes = chunks.as_ref().map(|chunks| {
                let sizes = chunks.iter().map(String::len);
                sizes.collect::<Vec<_>>()
            });
            assert_eq!(sizes, expected, "{len}");
            assert_eq!(count_of(len, 10), expected.map(|sizes| sizes.len()));
            if let Some(chunks) = chunks {
                assert!(chunks[0].starts_with(&chunks.len().to_string()));
            }
        }
    }

    /// G8, G2: all or nothing, in the order of their numbers and not of the line; where a name stands
    /// twice, each way.
    #[test]
    fn chunks_are_joined_all_or_nothing() {
        for (name, pairs, expected) in [
            ("one", &[("s", "1a")][..], &["1a"][..]),
            ("in any order", &[("s-1", "b"), ("s", "2a")], &["2ab"]),
            (
                "among others",
                &[("S", "1x"), ("s", "1a"), ("s-x", "1y"), ("s-8", "z")],
                &["1a"],
            ),
            ("one missing", &[("s", "3a"), ("s-2", "c")], &[]),
            ("the first missing", &[("s-1", "b")], &[]),
            ("one too many", &[("s", "1a"), ("s-1", "b")], &["1a"]),
            ("nine", &[("s", "9a"), ("s-1", "b")], &[]),
            ("none", &[("s", "0a"), ("s", ""), ("s", "xa")], &[]),
            (
                "twice the same",
                &[("s", "2a"), ("s-1", "b"), ("s-1", "b")],
                &["2ab", "2ab"],
            ),
            (
                "twice",
                &[("s", "2a"), ("s", "1c"), ("s-1", "b"), ("s-1", "d")],
                &["2ab", "2ad", "1c"],
            ),
            (
                "more ways than are tried",
                &[
                    ("s", "4a"),
                    ("s-1", "b"),
                    ("s-1", "c"),
                    ("s-1", "d"),
                    ("s-2", "b"),
                    ("s-2", "c"),
                    ("s-2", "d"),
                    ("s-3", "b"),
                    ("s-3", "c"),
                ],
                &[],
            ),
        ] {
            assert_eq!(joined(pairs), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_was_cut_is_joined_again(text in "[a-zA-Z0-9_-]{0,79}", capacity in 10_usize..40) {
            let chunks = split(&text, capacity).unwrap();
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= capacity && !chunk.is_empty()));
            let names: Vec<String> = (0..chunks.len()).map(|at| crate::web::cookie_names::chunk("s", at)).collect();
            let pairs: Vec<(&str, &str)> = names
                .iter()
                .zip(&chunks)
                .map(|(name, chunk)| (name.as_str(), chunk.as_str()))
                .collect();
            prop_assert_eq!(joined(&pairs), [format!("{}{text}", chunks.len())]);
        }
    }
}
