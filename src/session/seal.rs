//! Sealing: what leaves for a browser or a disk is encrypted and bound to its place.
//!
//! The envelope is base64url of `version | key id | nonce | XChaCha20-Poly1305(plaintext)`, with
//! the version, the key id, the place (the cookie's name) and the site as associated data (G5, §7).
//! The nonce is 192 random bits, so no count of uses is kept.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::clock::Randomness;
use crate::secret::SessionKey;
use crate::web::site_id::SiteId;

pub use crate::session::fields::{FieldReader, FieldWriter, TokenPart, token_sizes};

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// The longest envelope worth decoding: a browser keeps no longer cookie (G8).
const MAX_TEXT_LEN: usize = 4096;

/// The keys in use, swapped whole when the configuration's keys change (G7); in the hands of one site,
/// at which alone what they seal is anything.
#[derive(Debug, Clone)]
pub struct Keys {
    ring: Arc<ArcSwap<KeyRing>>,
    site: SiteId,
}

impl Keys {
    /// The ring of these keys: the first seals, all open. `None` for no key at all.
    pub fn new(keys: &[SessionKey]) -> Option<Self> {
        Some(Self::from_ring(KeyRing::new(keys, 0)?))
    }

    /// The ring of the configured keys, or of a fresh one: sessions then end with the process.
    pub fn configured(keys: &[SessionKey], randomness: &dyn Randomness) -> Self {
        Self::new(keys).unwrap_or_else(|| Self::of(&SessionKey::random(randomness)))
    }

    /// The ring of one key.
    pub fn of(key: &SessionKey) -> Self {
        let ring = KeyRing {
            generation: 0,
            first: RingKey::new(key),
            others: Vec::new(),
        };
        Self::from_ring(ring)
    }

    fn from_ring(ring: KeyRing) -> Self {
        Self {
            ring: Arc::new(ArcSwap::from_pointee(ring)),
            site: SiteId::main(),
        }
    }

    /// The same ring in the hands of this site. In those of the main one it seals and opens as in
    /// releases before sites.
    #[must_use]
    pub fn of_site(&self, site: &SiteId) -> Self {
        Self {
            ring: Arc::clone(&self.ring),
            site: site.clone(),
        }
    }

    /// The site whose hands it is in.
    pub const fn site(&self) -> &SiteId {
        &self.site
    }

    fn binding<'a>(&'a self, place: &'a str) -> Binding<'a> {
        Binding {
            place,
            site: &self.site,
        }
    }

    /// Puts another ring in place; what was sealed under its keys still opens. Whether any key
    /// changed.
    pub fn replace(&self, keys: &[SessionKey]) -> bool {
        let current = self.ring.load();
        let Some(ring) = KeyRing::new(keys, current.generation + 1) else {
            return false;
        };
        let changed = !ring.ids().eq(current.ids());
        if changed {
            self.ring.store(Arc::new(ring));
        }
        changed
    }

    /// Counts the rings there were, for caches of opened envelopes: another ring, another number.
    pub fn generation(&self) -> u64 {
        self.ring.load().generation
    }

    /// A name for `text` that nobody makes or undoes without the first key: the same on every node,
    /// and another for each purpose.
    pub fn pseudonym(&self, purpose: &str, text: &str) -> String {
        self.ring.load().first.pseudonym(purpose, text)
    }

    /// The names that `text` may have been given, by each of the keys, the first one's first.
    pub fn pseudonyms(&self, purpose: &str, text: &str) -> Vec<String> {
        let ring = self.ring.load();
        let keys = std::iter::once(&ring.first).chain(&ring.others);
        keys.map(|key| key.pseudonym(purpose, text)).collect()
    }

    /// Seals `plaintext` for `place`.
    pub fn seal(&self, place: &str, plaintext: &[u8], randomness: &dyn Randomness) -> String {
        let mut nonce = [0_u8; NONCE_LEN];
        randomness.fill(&mut nonce);
        self.ring.load().seal(self.binding(place), plaintext, nonce)
    }

    /// Seals `plaintext` for `place`, as bytes.
    pub fn seal_bytes(
        &self,
        place: &str,
        plaintext: &[u8],
        randomness: &dyn Randomness,
    ) -> Vec<u8> {
        let mut nonce = [0_u8; NONCE_LEN];
        randomness.fill(&mut nonce);
        self.ring
            .load()
            .seal_bytes(self.binding(place), plaintext, nonce)
    }

    /// What `envelope` holds, as [`seal_bytes`](Self::seal_bytes) made it.
    ///
    /// # Errors
    ///
    /// It was sealed by a key that is not in the ring, or is not what was sealed for this place.
    pub fn open_bytes(
        &self,
        place: &str,
        envelope: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let ring = self.ring.load();
        let key_id = envelope.get(1..=KEY_ID_LEN);
        let known = ring.ids().any(|id| Some(&id[..]) == key_id);
        match ring.open_bytes(self.binding(place), envelope) {
            Some(plaintext) => Ok(plaintext),
            None if known || envelope.first() != Some(&VERSION) => Err(UnsealError::Corrupt),
            None => Err(UnsealError::UnknownKey),
        }
    }

    /// Whether `envelope` names another key than the first: it should be sealed anew while it opens
    /// (G7).
    pub fn is_outdated_bytes(&self, envelope: &[u8]) -> bool {
        envelope.get(1..=KEY_ID_LEN) != Some(&self.ring.load().first.id[..])
    }

    /// Whether `text` names another key than the first: it should be sealed anew while it opens (G7).
    pub fn is_outdated(&self, text: &[u8]) -> bool {
        // As much of the text as has the key's id.
        const FRONT: usize = (1 + KEY_ID_LEN).div_ceil(3);
        let mut front = [0; 3 * FRONT];
        let text = text.get(..4 * FRONT).unwrap_or(text);
        let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut front);
        decoded.is_ok_and(|length| self.is_outdated_bytes(front.get(..length).unwrap_or_default()))
    }

    /// What `text` holds, if one of the keys sealed it for `place`.
    pub fn open(&self, place: &str, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.open_within(place, text, MAX_TEXT_LEN)
    }

    /// As [`open`](Self::open), of a text that may have `longest` octets: several cookies together.
    pub fn open_within(
        &self,
        place: &str,
        text: &[u8],
        longest: usize,
    ) -> Option<Zeroizing<Vec<u8>>> {
        if text.len() > longest {
            return None;
        }
        self.ring.load().open(self.binding(place), text)
    }
}

/// Whether a text begins as each sealed one does, with the version; of any others one in 256 does.
pub fn begins_as_sealed(text: &[u8]) -> bool {
    matches!(text, [b'A', b'Q'..=b'Z' | b'a'..=b'f', ..])
}

/// How long the text is that `len` octets are sealed into.
pub const fn sealed_len(len: usize) -> usize {
    ((1 + KEY_ID_LEN + NONCE_LEN + len + TAG_LEN) * 4).div_ceil(3)
}

/// Why something sealed does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// The key that sealed it is not in the ring.
    #[error("it was sealed by a key that is not in session.keys")]
    UnknownKey,
    /// It is not what was sealed, or not for this place.
    #[error("it is damaged")]
    Corrupt,
    /// A later release wrote it, in a form that this one does not know.
    #[error("a later release of bff wrote it")]
    NewerForm,
}

struct KeyRing {
    generation: u64,
    first: RingKey,
    others: Vec<RingKey>,
}

struct RingKey {
    id: [u8; KEY_ID_LEN],
    cipher: XChaCha20Poly1305,
    /// For pseudonyms: a key of its own, of which the other says nothing.
    names: hmac::Key,
}

/// Octets of a pseudonym: 96 bits, so that no two of millions are alike by chance.
const PSEUDONYM_LEN: usize = 12;

impl KeyRing {
    fn new(keys: &[SessionKey], generation: u64) -> Option<Self> {
        let (first, others) = keys.split_first()?;
        Some(Self {
            generation,
            first: RingKey::new(first),
            others: others.iter().map(RingKey::new).collect(),
        })
    }

    fn ids(&self) -> impl Iterator<Item = [u8; KEY_ID_LEN]> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .map(|key| key.id)
    }

    fn seal(&self, binding: Binding<'_>, plaintext: &[u8], nonce: [u8; NONCE_LEN]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal_bytes(binding, plaintext, nonce))
    }

    fn seal_bytes(
        &self,
        binding: Binding<'_>,
        plaintext: &[u8],
        nonce: [u8; NONCE_LEN],
    ) -> Vec<u8> {
        let aad = binding.associated_data(self.first.id);
        let payload = Payload {
            msg: plaintext,
            aad: &aad,
        };
        // Fails only past 256 GiB; an empty envelope opens nowhere.
        let sealed = self
            .first
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .unwrap_or_default();
        let mut envelope = Vec::with_capacity(1 + KEY_ID_LEN + NONCE_LEN + sealed.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&self.first.id);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&sealed);
        envelope
    }

    fn open(&self, binding: Binding<'_>, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.open_bytes(binding, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    fn open_bytes(&self, binding: Binding<'_>, envelope: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&version, rest) = envelope.split_first()?;
        let (key_id, rest) = rest.split_at_checked(KEY_ID_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if version != VERSION || sealed.len() < TAG_LEN {
            return None;
        }
        let aad = binding.associated_data(key_id.try_into().ok()?);
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        // An unknown key id is tried with the first key all the same: it fails as late as a
        // forged tag does (G6).
        let key = std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| key.id == key_id)
            .unwrap_or(&self.first);
        let payload = Payload {
            msg: sealed,
            aad: &aad,
        };
        key.cipher
            .decrypt(&XNonce::from(nonce), payload)
            .ok()
            .map(Zeroizing::new)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", 1 + self.others.len())
    }
}

impl RingKey {
    fn new(key: &SessionKey) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"bff key id");
        context.update(key.expose());
        let digest = context.finish();
        let mut id = [0_u8; KEY_ID_LEN];
        for (byte, from) in id.iter_mut().zip(digest.as_ref()) {
            *byte = *from;
        }
        let names = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let names = hmac::sign(&names, b"bff names");
        Self {
            id,
            cipher: XChaCha20Poly1305::new(key.expose().into()),
            names: hmac::Key::new(hmac::HMAC_SHA256, names.as_ref()),
        }
    }

    fn pseudonym(&self, purpose: &str, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        let tag = context.sign();
        let (name, _) = tag.as_ref().split_at(PSEUDONYM_LEN);
        URL_SAFE_NO_PAD.encode(name)
    }
}

/// What an envelope is bound to.
#[derive(Debug, Clone, Copy)]
struct Binding<'a> {
    place: &'a str,
    site: &'a SiteId,
}

impl Binding<'_> {
    fn associated_data(&self, key_id: [u8; KEY_ID_LEN]) -> Vec<u8> {
        let site = self.site.as_str();
        let mut data = Vec::with_capacity(1 + KEY_ID_LEN + self.place.len() + 1 + site.len());
        data.push(VERSION);
        data.extend_from_slice(&key_id);
        data.extend_from_slice(self.place.as_bytes());
        // The main site's is that of releases before sites; a place holds no NUL.
        if !self.site.is_main() {
            data.push(0);
            data.extend_from_slice(site.as_bytes());
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{SeededRandomness, SystemRandomness};

    fn key(seed: u64) -> SessionKey {
        SessionKey::random(&SeededRandomness::new(seed))
    }

    fn ring(seeds: &[u64]) -> Keys {
        Keys::new(&seeds.iter().map(|seed| key(*seed)).collect::<Vec<_>>()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens_in_its_place_alone(
            plaintext in proptest::collection::vec(any::<u8>(), 0..300),
            place in "[a-zA-Z_-]{1,30}",
        ) {
            let keys = ring(&[1]);
            let sealed = keys.seal(&place, &plaintext, &SystemRandomness);
            let opened = keys.open(&place, sealed.as_bytes()).unwrap();
            prop_assert_eq!(opened.as_slice(), &plaintext[..]);
            let elsewhere = format!("{place}x");
            prop_assert!(keys.open(&elsewhere, sealed.as_bytes()).is_none());
        }

        /// G6: no bytes of a browser's panic, and none open.
        #[test]
        fn arbitrary_bytes_never_open(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ring(&[1]).open("bff", &text).is_none());
        }
    }

    /// G5: each bit of the envelope counts.
    #[test]
    fn a_flipped_bit_anywhere_opens_nothing() {
        let keys = ring(&[1]);
        let sealed = URL_SAFE_NO_PAD
            .decode(keys.seal("bff", b"who", &SystemRandomness))
            .unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let text = URL_SAFE_NO_PAD.encode(forged);
            assert!(keys.open("bff", text.as_bytes()).is_none(), "bit {bit}");
        }
    }

    /// G7: the first key seals, all open; a removed key opens nothing more.
    #[test]
    fn keys_rotate() {
        let keys = ring(&[1]);
        let old = keys.seal("bff", b"who", &SystemRandomness);
        assert!(keys.replace(&[key(2), key(1)]));
        let new = keys.seal("bff", b"who", &SystemRandomness);
        assert!(keys.open("bff", old.as_bytes()).is_some());
        assert!(
            !keys.replace(&[key(2), key(1)]),
            "the same keys are no change"
        );
        assert!(keys.replace(&[key(2)]));
        assert!(keys.open("bff", old.as_bytes()).is_none());
        assert!(keys.open("bff", new.as_bytes()).is_some());
    }

    /// §7: what one site sealed is nothing at another, with the same key and in the same place; no name of
    /// a site makes it another place's.
    #[test]
    fn what_a_site_sealed_opens_there_alone() {
        let main = ring(&[1]);
        let sites = ["", "shop", "shop/acme", "shop-2"].map(SiteId::new);
        for own in &sites {
            let sealed = main.of_site(own).seal("bff", b"who", &SystemRandomness);
            for other in &sites {
                let opened = main.of_site(other).open("bff", sealed.as_bytes());
                assert_eq!(opened.is_some(), own == other, "{own:?} at {other:?}");
            }
            let place = format!("bff{own}");
            let elsewhere = main.open(&place, sealed.as_bytes());
            assert_eq!(elsewhere.is_some(), own.is_main());
        }
    }

    /// §7: at the main site all is sealed as 0.2.0 seals it, which knows no site.
    #[test]
    fn the_main_site_seals_as_releases_before_sites_do() {
        let site = SiteId::main();
        let binding = Binding {
            place: "bff",
            site: &site,
        };
        assert_eq!(
            binding.associated_data([1, 2, 3, 4]),
            b"\x01\x01\x02\x03\x04bff"
        );
    }

    /// G5: two sealings of one text share no nonce.
    #[test]
    fn every_sealing_is_another() {
        let keys = ring(&[1]);
        let (one, two) = (
            keys.seal("bff", b"who", &SystemRandomness),
            keys.seal("bff", b"who", &SystemRandomness),
        );
        assert_ne!(one, two);
    }

    /// A name is the key's and the purpose's, and each key of the ring has its own: so that a search
    /// finds what was written before the keys changed.
    #[test]
    fn a_pseudonym_is_of_its_key_and_purpose() {
        let (old, new) = (ring(&[1]), ring(&[2, 1]));
        let name = old.pseudonym("log", "alice");
        assert_eq!(name, ring(&[1]).pseudonym("log", "alice"));
        assert_eq!(name.len(), 16);
        for other in [
            old.pseudonym("log", "bob"),
            old.pseudonym("search", "alice"),
            new.pseudonym("log", "alice"),
        ] {
            assert_ne!(name, other);
        }
        let both = new.pseudonyms("log", "alice");
        assert_eq!(both, [new.pseudonym("log", "alice"), name]);
    }
}
