//! What is sealed together, as a list of fields that reads in one way alone.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::secret::{AccessToken, CodeVerifier, IdToken, Nonce, ProofKey, RefreshToken, State};
use crate::session::id::SessionId;
use crate::session::tokens::{Access, Other, Tokens};
use crate::web::proof::Prover;

/// Which of a session's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPart<'a> {
    /// Its own access token.
    AccessToken,
    /// The refresh token.
    RefreshToken,
    /// The ID token.
    IdToken,
    /// The access token for something else.
    For(&'a str),
    /// What proves that they are ours.
    ProofKey,
}

impl fmt::Display for TokenPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessToken => f.write_str("access_token"),
            Self::RefreshToken => f.write_str("refresh_token"),
            Self::IdToken => f.write_str("id_token"),
            Self::For(key) => write!(f, "access_token ({key})"),
            Self::ProofKey => f.write_str("proof key"),
        }
    }
}

/// How long each of the tokens is, with what it is called by.
pub fn token_sizes(tokens: &Tokens) -> impl Iterator<Item = (TokenPart<'_>, usize)> {
    let refresh_token = tokens.refresh_token.as_deref().map(RefreshToken::expose);
    let id_token = tokens.id_token.as_deref().map(IdToken::expose);
    let proof_key = tokens.prover.as_deref().map(|prover| prover.key().expose());
    let own = [
        (TokenPart::AccessToken, tokens.own.token.expose().len()),
        (TokenPart::RefreshToken, refresh_token.map_or(0, str::len)),
        (TokenPart::IdToken, id_token.map_or(0, str::len)),
        (TokenPart::ProofKey, proof_key.map_or(0, <[u8]>::len)),
    ];
    let others = tokens.others.iter().map(|Other { key, access }| {
        let size = key.len() + access.token.expose().len();
        (TokenPart::For(key), size)
    });
    own.into_iter().chain(others)
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

    /// Adds a session's tokens, with this ID token or none in the place of its own: what every release
    /// knows of them.
    #[must_use]
    pub fn tokens_and_hint(self, tokens: &Tokens, id_token: Option<&IdToken>) -> Self {
        let refresh_token = tokens.refresh_token.as_deref().map(RefreshToken::expose);
        let id_token = id_token.map(IdToken::expose);
        self.count(tokens.version)
            .text(tokens.own.token.expose())
            .optional_text(refresh_token)
            .optional_text(id_token)
            .optional_moment(tokens.own.expires)
            .optional_moment(tokens.own.refresh_at)
    }

    /// Adds what makes a set of a session's tokens, behind those that every release knows.
    #[must_use]
    pub fn set_of_tokens(self, tokens: &Tokens) -> Self {
        let mut writer = self
            .number(i64::from(tokens.own.token.is_bound()))
            .count(tokens.own.version)
            .count(tokens.spent)
            .optional_proof_key(tokens.prover.as_deref())
            .count(tokens.others.len() as u64);
        for Other { key, access } in &tokens.others {
            writer = writer
                .text(key)
                .number(i64::from(access.token.is_bound()))
                .count(access.version)
                .text(access.token.expose())
                .optional_moment(access.expires)
                .optional_moment(access.refresh_at);
        }
        writer
    }

    /// Adds a key that tokens are bound to.
    #[must_use]
    pub fn proof_key(self, prover: &Prover) -> Self {
        self.bytes(prover.key().expose())
    }

    /// Adds a key that tokens are bound to, which may be missing.
    #[must_use]
    pub fn optional_proof_key(self, prover: Option<&Prover>) -> Self {
        self.optional(prover.map(|prover| prover.key().expose()))
    }

    fn count(self, count: u64) -> Self {
        self.number(i64::try_from(count).unwrap_or(i64::MAX))
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

    /// A session's tokens, as every release knows them.
    pub fn tokens(&mut self) -> Option<Tokens> {
        let version = self.count()?;
        let mut own = Access::new(version, AccessToken::new(self.text()?))?;
        let refresh_token = self.optional_text()?.map(RefreshToken::new).map(Arc::new);
        let id_token = self.optional_text()?.map(IdToken::new).map(Arc::new);
        own.expires = self.optional_moment()?;
        own.refresh_at = self.optional_moment()?;
        Some(Tokens {
            refresh_token,
            id_token,
            ..Tokens::first(own)
        })
    }

    /// What makes a set of them.
    pub fn set_of_tokens(&mut self, tokens: &mut Tokens) -> Option<()> {
        if self.is_bound()? {
            let own = AccessToken::bound(tokens.own.token.expose());
            tokens.own.authorization = own.authorization()?;
            tokens.own.token = own;
        }
        tokens.own.version = self.count()?;
        tokens.spent = self.count()?;
        tokens.prover = self.optional_proof_key()?;
        for _ in 0..self.count()? {
            let key = self.text()?.into();
            let is_bound = self.is_bound()?;
            let (version, text) = (self.count()?, self.text()?);
            let token = if is_bound {
                AccessToken::bound(text)
            } else {
                AccessToken::new(text)
            };
            let mut access = Access::new(version, token)?;
            access.expires = self.optional_moment()?;
            access.refresh_at = self.optional_moment()?;
            tokens.others.push(Other { key, access });
        }
        Some(())
    }

    /// A key that tokens are bound to, which may be missing.
    pub fn optional_proof_key(&mut self) -> Option<Option<Arc<Prover>>> {
        let key = self.optional()?.map(ProofKey::new);
        Some(key.map(Prover::of).map(Arc::new))
    }

    fn is_bound(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn count(&mut self) -> Option<u64> {
        u64::try_from(self.number()?).ok()
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
    use super::*;

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
