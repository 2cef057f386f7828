//! Canaries: secrets of this test that may turn up nowhere outside (G14).

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use super::wire::Reply;

/// The secrets that were issued, with a word for each.
pub(crate) type Canaries = Vec<(&'static str, String)>;

/// Where canaries sing in `text`, a line each; empty is good.
pub(crate) fn sightings(place: &str, text: &[u8], canaries: &Canaries) -> String {
    Ear::new(canaries).sightings(place, text)
}

/// The shortest secret that can be looked for: what is shorter turns up by chance.
const SHORTEST: usize = 16;

/// Listens for all canaries at once, so that a test may issue thousands.
struct Ear<'a> {
    canaries: &'a Canaries,
    /// By their first bytes: which canary, and the whole of what is looked for.
    needles: HashMap<&'a [u8], Vec<(usize, &'a [u8])>>,
    /// Whether any begins with four bytes of this hash: no, for nearly every place in a text.
    starts: Vec<bool>,
}

impl<'a> Ear<'a> {
    fn new(canaries: &'a Canaries) -> Self {
        let mut ear = Self {
            canaries,
            needles: HashMap::new(),
            starts: vec![false; 1 << 20],
        };
        for (at, (kind, secret)) in canaries.iter().enumerate() {
            // An ID token's parts betray it as well as the whole.
            let whole_and_parts = std::iter::once(secret.as_str())
                .chain(secret.split('.').filter(|part| part.len() >= 32))
                .map(str::as_bytes);
            for needle in whole_and_parts {
                assert!(
                    needle.len() >= SHORTEST,
                    "a {kind} too short to be looked for"
                );
                ear.starts[hash_of_start(needle)] = true;
                let start = &needle[..SHORTEST];
                ear.needles.entry(start).or_default().push((at, needle));
            }
        }
        ear
    }

    fn sightings(&self, place: &str, text: &[u8]) -> String {
        let mut heard = BTreeSet::new();
        for (at, window) in text.windows(SHORTEST).enumerate() {
            if !self.starts[hash_of_start(window)] {
                continue;
            }
            for (canary, needle) in self.needles.get(window).into_iter().flatten() {
                if text[at..].starts_with(needle) {
                    heard.insert(*canary);
                }
            }
        }
        heard.into_iter().fold(String::new(), |mut found, canary| {
            writeln!(found, "{place} shows the {}", self.canaries[canary].0).unwrap();
            found
        })
    }
}

/// The first four bytes, as one of 2^20 numbers.
fn hash_of_start(text: &[u8]) -> usize {
    let start = u32::from_le_bytes([text[0], text[1], text[2], text[3]]);
    (start.wrapping_mul(0x9E37_79B1) >> 12) as usize
}

/// Where canaries sing in what a browser received from the origin `public_url`, but for the
/// redirects that may carry an ID token: to the provider, to end a session there, and to ask in
/// silence whether one lives.
pub(crate) fn sightings_in_replies(
    replies: &[Reply],
    take_hints: &[String],
    canaries: &Canaries,
) -> String {
    let ear = Ear::new(canaries);
    let mut found = String::new();
    for reply in replies {
        let mut raw = reply.raw.clone();
        if let Some(location) = reply.header("location")
            && let Some((address, _)) = location.split_once('?')
            && take_hints.iter().any(|takes| takes == address)
        {
            raw = String::from_utf8_lossy(&raw)
                .replace(location, "")
                .into_bytes();
        }
        let place = format!("the answer to {}", reply.url);
        found.push_str(&ear.sightings(&place, &raw));
        // A chunked body's frames might cut a secret in two.
        found.push_str(&ear.sightings(&place, &reply.body));
    }
    found
}
