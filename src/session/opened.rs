//! What an opened cookie says, and the memory of a worker, so that it opens each once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::session::carried::Carries;
use crate::session::id::SessionHash;
use crate::web::cookie_names::MOST_CHUNKS;
use crate::web::site_id::SiteId;

/// What an opened cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedCookie {
    /// Where its session is kept.
    pub hash: SessionHash,
    /// When it was written.
    pub issued: Timestamp,
    /// Which of our names it stood under.
    pub under: Name,
    /// Whether another key than the first sealed it (G7).
    pub outdated: bool,
    /// What it says of the session, where it carries the whole of it.
    pub carries: Option<Carries>,
}

/// A name that the session cookie is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The one that it is written under.
    Current,
    /// The one of an older release, which is read and no longer written.
    Former,
}

impl OpenedCookie {
    /// A cookie that holds an id alone, sealed by the first key.
    pub const fn of(hash: SessionHash, issued: Timestamp) -> Self {
        Self {
            hash,
            issued,
            under: Name::Current,
            outdated: false,
            carries: None,
        }
    }

    /// Whether the same should be written anew: under the name or by the key of today.
    pub fn is_to_be_replaced(&self) -> bool {
        self.outdated || self.under == Name::Former
    }

    /// The numbers of its chunks, and of those that are left over behind them.
    pub(super) fn chunks(&self) -> impl Iterator<Item = usize> {
        let own = self
            .carries
            .map_or(1, |carries| carries.chunks | carries.left_over);
        (0..MOST_CHUNKS).filter(move |index| own & (1 << index) != 0)
    }
}

/// The cookies that one worker opened lately, so that a busy browser's cookie is decrypted once
/// and not with each call. A cookie that is remembered of one site is not opened by that at another.
/// Bounded; empties itself when the keys change.
#[derive(Debug, Default)]
pub struct OpenedCookies(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    keys: u64,
    /// Octets of the young.
    octets: usize,
    /// Entries of this and of the last generation; a full generation pushes the older one out.
    young: HashMap<Box<[u8]>, Entry, TailState>,
    old: HashMap<Box<[u8]>, Entry, TailState>,
}

/// A cookie as it opened, and where.
struct Entry {
    cookie: OpenedCookie,
    site: SiteId,
}

/// Where a cookie is presented: at which site, and under which of its names. It opens at that and under
/// that alone for which it was sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) site: &'a SiteId,
    pub(super) under: Name,
}

type TailState = BuildHasherDefault<TailHasher>;

/// Hashes a cookie by its last characters. They are of the seal, which nobody can choose for a
/// cookie that opens, and no other is remembered; so a hash of the whole, with a secret in it, would
/// keep nobody out.
#[derive(Debug, Default)]
struct TailHasher(u64);

impl Hasher for TailHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Characters of base64 leave bits unused; a multiplication spreads the others.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        if let Some(tail) = bytes.last_chunk() {
            let product = u64::from_le_bytes(*tail).wrapping_mul(SPREAD);
            self.0 = product ^ product.rotate_left(32);
        }
    }

    /// The length tells no two of them apart.
    fn write_usize(&mut self, _: usize) {}
}

/// Entries a generation: two of them at about 200 bytes an entry, where it holds an id alone.
const GENERATION: usize = 4096;

/// The octets of cookies a generation, which matter where cookies carry whole sessions.
const GENERATION_OCTETS: usize = 8 << 20;

impl OpenedCookies {
    pub(super) fn remembered(
        &self,
        keys: u64,
        presented: At<'_>,
        value: &[u8],
    ) -> Option<OpenedCookie> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.keys != keys {
            *memory = Memory {
                keys,
                ..Memory::default()
            };
        }
        if let Some(entry) = memory.young.get(value) {
            return entry.presented(presented);
        }
        let (value, entry) = memory.old.remove_entry(value)?;
        let cookie = entry.presented(presented);
        memory.remember(value, entry);
        cookie
    }

    /// `keys` are those that it was opened with.
    pub(super) fn remember(
        &self,
        keys: u64,
        presented: At<'_>,
        value: Box<[u8]>,
        cookie: OpenedCookie,
    ) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.keys == keys {
            let site = presented.site.clone();
            memory.remember(value, Entry { cookie, site });
        }
    }
}

impl Entry {
    /// The cookie, if it is presented where it opened. Both sites are one object as a rule, and compared
    /// as such.
    fn presented(&self, at: At<'_>) -> Option<OpenedCookie> {
        (self.cookie.under == at.under && self.site == *at.site).then_some(self.cookie)
    }
}

impl Memory {
    fn remember(&mut self, value: Box<[u8]>, entry: Entry) {
        if self.young.len() >= GENERATION || self.octets >= GENERATION_OCTETS {
            self.old = std::mem::take(&mut self.young);
            self.octets = 0;
        }
        self.octets += value.len();
        self.young.insert(value, entry);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cookies", self.young.len() + self.old.len())
    }
}
