//! Canaries: secrets of this test that may turn up nowhere outside (G14).

use std::fmt::Write as _;

use super::wire::Reply;

/// The secrets that were issued, with a word for each.
pub(crate) type Canaries = Vec<(&'static str, String)>;

/// Where canaries sing in `text`, a line each; empty is good.
pub(crate) fn sightings(place: &str, text: &[u8], canaries: &Canaries) -> String {
    let mut found = String::new();
    for (kind, secret) in canaries {
        // An ID token's parts betray it as well as the whole.
        let whole_and_parts = std::iter::once(secret.as_str())
            .chain(secret.split('.').filter(|part| part.len() >= 32));
        for needle in whole_and_parts {
            assert!(needle.len() >= 16, "a {kind} too short to be looked for");
            if contains(text, needle.as_bytes()) {
                writeln!(found, "{place} shows the {kind}").unwrap();
                break;
            }
        }
    }
    found
}

/// Where canaries sing in what a browser received from the origin `public_url`, but for the one
/// redirect that may carry an ID token: to the provider's end-session endpoint (DESIGN §2).
pub(crate) fn sightings_in_replies(
    replies: &[Reply],
    end_session_endpoint: &str,
    canaries: &Canaries,
) -> String {
    let mut found = String::new();
    for reply in replies {
        let mut raw = reply.raw.clone();
        if let Some(location) = reply.header("location")
            && location.split('?').next() == Some(end_session_endpoint)
        {
            raw = String::from_utf8_lossy(&raw)
                .replace(location, "")
                .into_bytes();
        }
        let place = format!("the answer to {}", reply.url);
        found.push_str(&sightings(&place, &raw, canaries));
        // A chunked body's frames might cut a secret in two.
        found.push_str(&sightings(&place, &reply.body, canaries));
    }
    found
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}
