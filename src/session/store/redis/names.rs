//! What the keys in Redis are called, and how a session's hash is written in them.
//!
//! One key a session, so that each step of its life is one script on one key, as a Cluster demands.
//! The indexes are keys of their own, kept after the record; a member without a record is dropped
//! by whoever meets it.

use aws_lc_rs::digest;

use crate::session::id::SessionHash;
use crate::session::store::Cursor;

/// Where nodes tell each other of ends and changes.
pub(super) const EVENTS: &str = "bff:events";
/// What waits to be told, where there is one server.
pub(super) const TOLD: &str = "bff:told";
/// Which version of bff wrote here.
pub(super) const SCHEMA: &str = "bff:schema";
/// All sessions by the time they expire.
pub(super) const BY_EXPIRY: &str = "bff:x";
/// All sessions by name.
pub(super) const BY_NAME: &str = "bff:n";

/// Where a node hears what it says to itself.
pub(super) fn own_events(node: &str) -> String {
    format!("{EVENTS}:{node}")
}

/// What waits to be told, on the master that has this tag.
pub(super) fn told(tag: u32) -> String {
    format!("{TOLD}:{{{tag}}}")
}

/// The record of a session, or what is remembered of it.
pub(super) fn record(hash: &SessionHash) -> String {
    format!("bff:s:{}", hex(hash.as_bytes()))
}

/// The sessions of a subject, oldest first. Digested: a key's name is seen in more places than its
/// contents.
pub(super) fn by_subject(subject: &str) -> String {
    format!("bff:u:{}", digest(subject))
}

/// The sessions of a session at the provider, oldest first.
pub(super) fn by_provider_sid(sid: &str) -> String {
    format!("bff:p:{}", digest(sid))
}

/// A lease.
pub(super) fn lease(name: &str) -> String {
    format!("bff:l:{name}")
}

/// A small value.
pub(super) fn kept(key: &str) -> String {
    format!("bff:k:{key}")
}

/// A session as a member of the list by name: the name, a zero, the hash. Redis sorts members by
/// their bytes, so a name of its own may hold no zero.
pub(super) fn member(folded: &str, hash: &SessionHash) -> Vec<u8> {
    let mut member = escaped(folded);
    member.push(0);
    member.extend_from_slice(hex(hash.as_bytes()).as_bytes());
    member
}

/// The hash in a member of the list by name.
pub(super) fn hash_of_member(member: &[u8]) -> Option<SessionHash> {
    unhex(member.get(member.len().checked_sub(64)?..)?)
}

/// The folded name in a member of the list by name.
pub(super) fn name_of_member(member: &[u8]) -> String {
    let name = member.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.iter();
    while let Some(&byte) = rest.next() {
        // What follows a one stands for a zero or a one.
        bytes.push(match byte {
            1 => rest.next().map_or(0, |byte| byte.saturating_sub(1)),
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bound, as `ZRANGEBYLEX` takes it, of the members behind a cursor.
pub(super) fn behind_cursor(after: Option<&Cursor>) -> Vec<u8> {
    match after {
        Some(cursor) => behind(&member(&cursor.name, &cursor.hash)),
        None => b"-".to_vec(),
    }
}

/// The lower bound of what follows a member.
pub(super) fn behind(member: &[u8]) -> Vec<u8> {
    [b"(", member].concat()
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The hash that 64 hexadecimal digits write.
pub(super) fn unhex(text: &[u8]) -> Option<SessionHash> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes = pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    SessionHash::from_slice(&bytes)
}

/// The hashes that members of an index write.
pub(super) fn hashes(members: &[Vec<u8>]) -> impl Iterator<Item = SessionHash> {
    members.iter().filter_map(|member| unhex(member))
}

fn digest(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// Zero becomes 1 1 and one becomes 1 2: the order of names and their prefixes stay.
fn escaped(text: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len() + 65);
    for byte in text.bytes() {
        match byte {
            0 | 1 => escaped.extend_from_slice(&[1, byte + 1]),
            byte => escaped.push(byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(byte: u8) -> SessionHash {
        SessionHash::from_slice(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_hash_reads_back() {
        let text = hex(hash(0xa7).as_bytes());
        assert_eq!(unhex(text.as_bytes()), Some(hash(0xa7)));
        assert_eq!(unhex(b"a7"), None);
        assert_eq!(hash_of_member(&member("ada", &hash(3))), Some(hash(3)));
        assert_eq!(hash_of_member(b"short"), None);
    }

    proptest! {
        /// Members sort as names do, then as hashes do, whatever the names hold.
        #[test]
        fn members_sort_as_names_do(
            one in "[\0-\u{3}a-bß]{0,4}", other in "[\0-\u{3}a-bß]{0,4}", first: u8, second: u8,
        ) {
            let (first, second) = (hash(first), hash(second));
            let expected = (one.as_bytes(), first).cmp(&(other.as_bytes(), second));
            prop_assert_eq!(member(&one, &first).cmp(&member(&other, &second)), expected);
        }

        /// A member gives its name back, whatever that holds.
        #[test]
        fn a_member_holds_its_name(name in "[\0-\u{3}a-bß ]{0,6}") {
            prop_assert_eq!(name_of_member(&member(&name, &hash(0))), name);
        }
    }
}
