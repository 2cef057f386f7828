//! Session ids: what the cookie seals, and the hash under which a session is kept.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::clock::Randomness;

/// The secret that makes a browser the owner of a session: 256 bits (G3). Lives in the sealed
/// cookie alone; the server keeps its hash.
pub struct SessionId(Zeroizing<[u8; Self::LEN]>);

impl SessionId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// A fresh one; nothing that a browser presents is ever adopted (G4).
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = Zeroizing::new([0_u8; Self::LEN]);
        randomness.fill(bytes.as_mut());
        Self(bytes)
    }

    /// The id in an opened cookie.
    pub(in crate::session) fn from_opened(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The bytes, for sealing.
    pub(in crate::session) fn expose(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Where the session of this id is kept.
    pub fn hash(&self) -> SessionHash {
        let digest = digest::digest(&digest::SHA256, self.0.as_ref());
        let mut bytes = [0_u8; 32];
        bytes.copy_from_slice(digest.as_ref());
        SessionHash(bytes)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// SHA-256 of a session id: finds the session, and opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionHash([u8; 32]);

impl SessionHash {
    /// The first in their order.
    pub(in crate::session) const FIRST: Self = Self([0; 32]);

    /// The hash whose bytes these are: 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash as people and URLs write it: 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        const DIGITS: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
        ];
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
            .collect()
    }

    /// Reads what [`to_hex`](Self::to_hex) wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? << 4 | low?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl Hash for SessionHash {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // Uniform already; its first half is a table's hash.
        let (first, _) = self.0.split_at(8);
        hasher.write_u64(u64::from_ne_bytes(first.try_into().unwrap_or_default()));
    }
}

impl fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…")
    }
}
