//! How release 0.2.0 reads what is sealed, written once more and by itself: whoever changes what is
//! written meets a node that still runs it.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

/// A row, by the columns and fields of that release.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) hash: Vec<u8>,
    pub(super) version: i64,
    pub(super) subject: String,
    pub(super) provider_sid: Option<String>,
    pub(super) created: i64,
    pub(super) ends: i64,
    pub(super) sealed: Vec<u8>,
}

/// What it takes of the contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) created: i64,
    pub(super) ends: i64,
    pub(super) tag: String,
    pub(super) subject: String,
    pub(super) provider_sid: Option<String>,
    pub(super) version: i64,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
}

/// A login under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PendingLogin {
    pub(super) state: String,
    pub(super) return_to: String,
}

impl Record {
    /// The contents, held against the columns as that release holds them.
    pub(super) fn contents(&self, key: &str) -> Contents {
        let place = format!("session record {}", hex(&self.hash));
        let plaintext = open(key, &place, &self.sealed);
        let contents = session(Fields(&plaintext));
        assert_eq!(contents.version, self.version, "old contents, new version");
        assert_eq!(contents.subject, self.subject);
        assert_eq!(contents.provider_sid, self.provider_sid);
        assert_eq!((contents.created, contents.ends), (self.created, self.ends));
        contents
    }
}

/// The contents of a session that a cookie of this name carries whole, chunks together.
pub(super) fn carried(key: &str, name: &str, chunks: &[&str]) -> Contents {
    let whole = chunks.concat();
    let (count, text) = whole.split_at(1);
    assert_eq!(count, chunks.len().to_string());
    let plaintext = open(key, name, &URL_SAFE_NO_PAD.decode(text).unwrap());
    let mut fields = Fields(&plaintext);
    assert_eq!(fields.number(), 1, "the form");
    assert_eq!(fields.bytes().len(), 32, "the id");
    assert_eq!(fields.number(), i64::try_from(chunks.len()).unwrap());
    fields.number();
    let contents = session(Fields(fields.bytes()));
    fields.are_all();
    contents
}

/// The id that a session cookie of this name holds, where a store has the rest: its hash.
pub(super) fn session_hash(key: &str, name: &str, value: &str) -> Vec<u8> {
    let plaintext = open(key, name, &URL_SAFE_NO_PAD.decode(value).unwrap());
    let mut fields = Fields(&plaintext);
    let id = fields.bytes();
    assert_eq!(id.len(), 32, "the id");
    fields.number();
    fields.are_all();
    digest::digest(&digest::SHA256, id).as_ref().to_vec()
}

/// The login under way in a cookie of this name.
pub(super) fn pending_login(key: &str, name: &str, value: &str) -> PendingLogin {
    let plaintext = open(key, name, &URL_SAFE_NO_PAD.decode(value).unwrap());
    let mut fields = Fields(&plaintext);
    let (state, _nonce, _verifier) = (fields.text(), fields.text(), fields.text());
    let return_to = fields.text();
    let (_max_age, _prompt, _previous) = (fields.number(), fields.number(), fields.bytes());
    fields.number();
    fields.are_all();
    PendingLogin { state, return_to }
}

fn session(mut fields: Fields<'_>) -> Contents {
    assert_eq!(fields.number(), 1, "the form");
    let (created, ends) = (fields.number(), fields.number());
    let (tag, _logout_sid) = (fields.text(), fields.text());
    let (subject, provider_sid) = (fields.text(), fields.optional());
    let (_name, _user_agent) = (fields.text(), fields.optional());
    let (_claims, _grant_facts) = (fields.text(), fields.text());
    let (_acr, _auth_time) = (fields.optional(), fields.optional());
    for _ in 0..fields.number() {
        fields.text();
    }
    let contents = Contents {
        created,
        ends,
        tag,
        subject,
        provider_sid: provider_sid.map(in_words),
        version: fields.number(),
        access_token: fields.text(),
        refresh_token: fields.optional().map(in_words),
    };
    let (_id_token, _expires, _refresh_at) =
        (fields.optional(), fields.optional(), fields.optional());
    fields.are_all();
    contents
}

/// `version | key id | nonce | ciphertext`, bound to its place.
fn open(key: &str, place: &str, envelope: &[u8]) -> Vec<u8> {
    let key: [u8; 32] = URL_SAFE_NO_PAD.decode(key).unwrap().try_into().unwrap();
    let id = digest::digest(&digest::SHA256, &[b"bff key id".as_slice(), &key].concat());
    let (head, sealed) = envelope.split_at(1 + 4 + 24);
    assert_eq!(head[0], 1, "the envelope's version");
    assert_eq!(head[1..5], id.as_ref()[..4], "the id of the key");
    let nonce: [u8; 24] = head[5..].try_into().unwrap();
    let aad = [&head[..5], place.as_bytes()].concat();
    let payload = Payload {
        msg: sealed,
        aad: &aad,
    };
    let cipher = XChaCha20Poly1305::new(&key.into());
    let opened = cipher.decrypt(&XNonce::from(nonce), payload);
    opened.unwrap_or_else(|_| panic!("release 0.2.0 does not open what is sealed for {place:?}"))
}

/// Fields, each behind its length.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self) -> &'a [u8] {
        let (len, rest) = self.0.split_at(4);
        let len = u32::from_be_bytes(len.try_into().unwrap());
        let (field, rest) = rest.split_at(usize::try_from(len).unwrap());
        self.0 = rest;
        field
    }

    fn text(&mut self) -> String {
        in_words(self.bytes().to_vec())
    }

    fn number(&mut self) -> i64 {
        i64::from_be_bytes(self.bytes().try_into().unwrap())
    }

    fn optional(&mut self) -> Option<Vec<u8>> {
        (self.bytes() == [1]).then(|| self.bytes().to_vec())
    }

    /// That release refuses what has more behind it.
    fn are_all(&self) {
        assert!(self.0.is_empty(), "fields that release 0.2.0 does not know");
    }
}

fn in_words(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(digits[usize::from(nibble)]);
    let of_byte = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(of_byte).collect()
}
