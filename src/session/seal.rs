//! Sealing: what leaves for a browser or a disk is encrypted and bound to its place.
//!
//! The envelope is base64url of `version | key id | nonce | XChaCha20-Poly1305(plaintext)`, with
//! the place (the cookie's name) and the version as associated data (G5). The nonce is 192 random
//! bits, so no count of uses is kept.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::clock::{Randomness, Timestamp};
use crate::secret::{AccessToken, CodeVerifier, IdToken, Nonce, RefreshToken, SessionKey, State};
use crate::session::id::SessionId;
use crate::session::record::Tokens;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// The longest envelope worth decoding: a browser keeps no longer cookie (G8).
const MAX_TEXT_LEN: usize = 4096;

/// The keys in use, swapped whole when the configuration's keys change (G7).
#[derive(Debug, Clone)]
pub struct Keys(Arc<ArcSwap<KeyRing>>);

impl Keys {
    /// The ring of these keys: the first seals, all open. `None` for no key at all.
    pub fn new(keys: &[SessionKey]) -> Option<Self> {
        Some(Self(Arc::new(ArcSwap::from_pointee(KeyRing::new(
            keys, 0,
        )?))))
    }

    /// The ring of one key.
    pub fn of(key: &SessionKey) -> Self {
        let ring = KeyRing {
            generation: 0,
            first: RingKey::new(key),
            others: Vec::new(),
        };
        Self(Arc::new(ArcSwap::from_pointee(ring)))
    }

    /// Puts another ring in place; what was sealed under its keys still opens. Whether any key
    /// changed.
    pub fn replace(&self, keys: &[SessionKey]) -> bool {
        let current = self.0.load();
        let Some(ring) = KeyRing::new(keys, current.generation + 1) else {
            return false;
        };
        let changed = !ring.ids().eq(current.ids());
        if changed {
            self.0.store(Arc::new(ring));
        }
        changed
    }

    /// Counts the rings there were, for caches of opened envelopes: another ring, another number.
    pub fn generation(&self) -> u64 {
        self.0.load().generation
    }

    /// A name for `text` that nobody makes or undoes without the first key: the same on every node,
    /// and another for each purpose.
    pub fn pseudonym(&self, purpose: &str, text: &str) -> String {
        self.0.load().first.pseudonym(purpose, text)
    }

    /// The names that `text` may have been given, by each of the keys, the first one's first.
    pub fn pseudonyms(&self, purpose: &str, text: &str) -> Vec<String> {
        let ring = self.0.load();
        let keys = std::iter::once(&ring.first).chain(&ring.others);
        keys.map(|key| key.pseudonym(purpose, text)).collect()
    }

    /// Seals `plaintext` for `place`.
    pub fn seal(&self, place: &str, plaintext: &[u8], randomness: &dyn Randomness) -> String {
        let mut nonce = [0_u8; NONCE_LEN];
        randomness.fill(&mut nonce);
        self.0.load().seal(place, plaintext, nonce)
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
        self.0.load().seal_bytes(place, plaintext, nonce)
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
        let ring = self.0.load();
        let key_id = envelope.get(1..=KEY_ID_LEN);
        let known = ring.ids().any(|id| Some(&id[..]) == key_id);
        match ring.open_bytes(place, envelope) {
            Some(plaintext) => Ok(plaintext),
            None if known || envelope.first() != Some(&VERSION) => Err(UnsealError::Corrupt),
            None => Err(UnsealError::UnknownKey),
        }
    }

    /// Whether `envelope` names another key than the first: it should be sealed anew while it opens
    /// (G7).
    pub fn is_outdated_bytes(&self, envelope: &[u8]) -> bool {
        envelope.get(1..=KEY_ID_LEN) != Some(&self.0.load().first.id[..])
    }

    /// Whether `text` names another key than the first: it should be sealed anew while it opens (G7).
    pub fn is_outdated(&self, text: &[u8]) -> bool {
        let ring = self.0.load();
        URL_SAFE_NO_PAD
            .decode(text)
            .is_ok_and(|envelope| envelope.get(1..=KEY_ID_LEN) != Some(&ring.first.id[..]))
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
        self.0.load().open(place, text)
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

/// How long the tokens are, by their names.
pub fn token_sizes(tokens: &Tokens) -> [(&'static str, usize); 3] {
    let refresh_token = tokens.refresh_token.as_deref().map(RefreshToken::expose);
    let id_token = tokens.id_token.as_deref().map(IdToken::expose);
    [
        ("access_token", tokens.access_token.expose().len()),
        ("refresh_token", refresh_token.map_or(0, str::len)),
        ("id_token", id_token.map_or(0, str::len)),
    ]
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

    fn seal(&self, place: &str, plaintext: &[u8], nonce: [u8; NONCE_LEN]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal_bytes(place, plaintext, nonce))
    }

    fn seal_bytes(&self, place: &str, plaintext: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let aad = associated_data(self.first.id, place);
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

    fn open(&self, place: &str, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.open_bytes(place, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    fn open_bytes(&self, place: &str, envelope: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&version, rest) = envelope.split_first()?;
        let (key_id, rest) = rest.split_at_checked(KEY_ID_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if version != VERSION || sealed.len() < TAG_LEN {
            return None;
        }
        let aad = associated_data(key_id.try_into().ok()?, place);
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

fn associated_data(key_id: [u8; KEY_ID_LEN], place: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(1 + KEY_ID_LEN + place.len());
    aad.push(VERSION);
    aad.extend_from_slice(&key_id);
    aad.extend_from_slice(place.as_bytes());
    aad
}

/// Fields to be sealed together, each with its length before it, so that no two lists of fields
/// ever look alike (Envoy CVE-2023-35941).
#[derive(Default)]
pub struct FieldWriter(Zeroizing<Vec<u8>>);

impl FieldWriter {
    /// Adds bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds a session id.
    #[must_use]
    pub fn session_id(self, id: &SessionId) -> Self {
        self.bytes(id.expose())
    }

    /// Adds the three secrets of a login.
    #[must_use]
    pub fn login_secrets(self, state: &State, nonce: &Nonce, verifier: &CodeVerifier) -> Self {
        self.text(state.expose())
            .text(nonce.expose())
            .text(verifier.expose())
    }

    /// Adds bytes that may be missing.
    #[must_use]
    pub fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.bytes(&[1]).bytes(bytes),
            None => self.bytes(&[0]),
        }
    }

    /// Adds text that may be missing.
    #[must_use]
    pub fn optional_text(self, text: Option<&str>) -> Self {
        self.optional(text.map(str::as_bytes))
    }

    /// Adds a moment that may be missing.
    #[must_use]
    pub fn optional_moment(self, moment: Option<Timestamp>) -> Self {
        let millis = moment.map(|moment| moment.unix_millis().to_be_bytes());
        self.optional(millis.as_ref().map(<[u8; 8]>::as_slice))
    }

    /// Adds a session's tokens.
    #[must_use]
    pub fn tokens(self, tokens: &Tokens) -> Self {
        self.tokens_and_hint(tokens, tokens.id_token.as_deref())
    }

    /// Adds a session's tokens, with this ID token or none in the place of its own.
    #[must_use]
    pub fn tokens_and_hint(self, tokens: &Tokens, id_token: Option<&IdToken>) -> Self {
        let refresh_token = tokens.refresh_token.as_deref().map(RefreshToken::expose);
        let id_token = id_token.map(IdToken::expose);
        self.number(i64::try_from(tokens.version).unwrap_or(i64::MAX))
            .text(tokens.access_token.expose())
            .optional_text(refresh_token)
            .optional_text(id_token)
            .optional_moment(tokens.expires)
            .optional_moment(tokens.refresh_at)
    }

    /// All fields, ready to be sealed.
    pub fn finish(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FieldWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldWriter(…)")
    }
}

/// Reads what a [`FieldWriter`] wrote, in the same order.
pub struct FieldReader<'a>(&'a [u8]);

impl<'a> FieldReader<'a> {
    /// Reads from an opened plaintext.
    pub const fn new(plaintext: &'a [u8]) -> Self {
        Self(plaintext)
    }

    /// The next field's bytes; `None` where there is none.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_at_checked(4)?;
        let len = usize::try_from(u32::from_be_bytes(len.try_into().ok()?)).ok()?;
        let (field, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }

    /// The next field as text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The next field as a number.
    pub fn number(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.bytes()?.try_into().ok()?))
    }

    /// The three secrets of a login.
    pub fn login_secrets(&mut self) -> Option<(State, Nonce, CodeVerifier)> {
        Some((
            State::new(self.text()?),
            Nonce::new(self.text()?),
            CodeVerifier::new(self.text()?),
        ))
    }

    /// The next field, which may be missing: `Some(None)` where it is.
    pub fn optional(&mut self) -> Option<Option<&'a [u8]>> {
        match self.bytes()? {
            [0] => Some(None),
            [1] => self.bytes().map(Some),
            _ => None,
        }
    }

    /// The next text, which may be missing.
    pub fn optional_text(&mut self) -> Option<Option<&'a str>> {
        match self.optional()? {
            Some(bytes) => std::str::from_utf8(bytes).ok().map(Some),
            None => Some(None),
        }
    }

    /// The next moment, which may be missing.
    pub fn optional_moment(&mut self) -> Option<Option<Timestamp>> {
        match self.optional()? {
            Some(bytes) => {
                let millis = i64::from_be_bytes(bytes.try_into().ok()?);
                Some(Some(Timestamp::from_unix_millis(millis)))
            }
            None => Some(None),
        }
    }

    /// A session's tokens.
    pub fn tokens(&mut self) -> Option<Tokens> {
        let version = u64::try_from(self.number()?).ok()?;
        let access_token = AccessToken::new(self.text()?);
        Some(Tokens {
            version,
            bearer: access_token.bearer()?,
            access_token,
            refresh_token: self.optional_text()?.map(RefreshToken::new).map(Arc::new),
            id_token: self.optional_text()?.map(IdToken::new).map(Arc::new),
            expires: self.optional_moment()?,
            refresh_at: self.optional_moment()?,
        })
    }

    /// Whether every field was read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for FieldReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldReader(…)")
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

    #[test]
    fn fields_read_back_in_order() {
        let writer = FieldWriter::default()
            .text("a")
            .number(-7)
            .bytes(b"")
            .text("é");
        let mut reader = FieldReader::new(writer.finish());
        assert_eq!(reader.text(), Some("a"));
        assert_eq!(reader.number(), Some(-7));
        assert_eq!(reader.bytes(), Some(&b""[..]));
        assert_eq!(reader.text(), Some("é"));
        assert!(reader.is_empty());
        assert_eq!(reader.bytes(), None);
    }
}
