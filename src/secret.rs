//! Every secret is its own type: wiped on drop, silent in `Debug`, compared in constant time.
//!
//! A secret offers its use, not its text. `expose` is for the files that put it on the wire or
//! seal it; `tests/it/architecture/mod.rs` lists them.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use subtle::ConstantTimeEq as _;
use url::form_urlencoded::{Serializer, Target};
use zeroize::Zeroizing;

use crate::clock::Randomness;

macro_rules! secret_text {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name(Zeroizing<Box<str>>);

        impl $name {
            /// Takes the secret in.
            pub fn new(text: impl Into<Box<str>>) -> Self {
                Self(Zeroizing::new(text.into()))
            }

            /// The text, for the files that send or seal it.
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// Whether it has fewer bytes than these.
            pub fn is_shorter_than(&self, bytes: usize) -> bool {
                self.0.len() < bytes
            }

            /// Compares in constant time for equal lengths.
            pub fn matches(&self, other: &str) -> bool {
                self.0.as_bytes().ct_eq(other.as_bytes()).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

secret_text! {
    /// What buys the next access token (RFC 6749 §1.5).
    RefreshToken;
    /// An ID token as the provider wrote it, byte for byte, to hand back as `id_token_hint`.
    IdToken;
    /// The one-time code of the callback (RFC 6749 §1.3.1).
    AuthorizationCode;
    /// The PKCE secret of one login (RFC 7636 §4.1). Not `Clone`: using it twice is the fault.
    CodeVerifier;
    /// Ties a callback to the login that this browser began (RFC 6749 §10.12).
    State;
    /// Ties an ID token to the login that asked for it (OIDC Core §3.1.2.1).
    Nonce;
    /// The password of this relying party at the provider (RFC 6749 §2.3.1).
    ClientSecret;
    /// A private key in PEM, for `private_key_jwt` (RFC 7523).
    ClientKey;
    /// The bearer key of the administration listener.
    AdminKey;
    /// Where sessions are kept, with the password in it.
    StoreUrl;
    /// The per-session value that a logout link carries (E1).
    LogoutSid;
}

/// What an upstream accepts as proof (RFC 6749 §1.4). Opaque to us (L9).
///
/// Kept as the header value that carries it, so that a request costs a reference count and no
/// copy; the bytes are wiped when the last such value is gone.
#[derive(Clone)]
pub struct AccessToken(Bytes);

const BEARER: &str = "Bearer ";
const DPOP: &str = "DPoP ";

impl AccessToken {
    /// Takes the token in, which whoever holds it may use.
    pub fn new(text: &str) -> Self {
        Self::of(BEARER, text)
    }

    /// Takes the token in, which is good together with a proof of our key alone (RFC 9449 §5).
    pub fn bound(text: &str) -> Self {
        Self::of(DPOP, text)
    }

    fn of(scheme: &'static str, text: &str) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(scheme.len() + text.len()));
        bytes.extend_from_slice(scheme.as_bytes());
        bytes.extend_from_slice(text.as_bytes());
        Self(Bytes::from_owner(WipedBytes(bytes)))
    }

    /// Whether it is good with a proof alone.
    pub fn is_bound(&self) -> bool {
        self.0.starts_with(DPOP.as_bytes())
    }

    /// The text, for the files that send or seal it.
    pub fn expose(&self) -> &str {
        let scheme = if self.is_bound() { DPOP } else { BEARER };
        self.0
            .get(scheme.len()..)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// Compares in constant time for equal lengths.
    pub fn matches(&self, other: &str) -> bool {
        self.expose().as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// Whether both are one token.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// `Bearer …` or `DPoP …`, marked sensitive so that no `Debug` of the headers shows it.
    ///
    /// `None` where the token holds bytes that a header may not (RFC 6750 §2.1).
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_maybe_shared(self.0.clone()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The private key by which a session proves that its access tokens are its own (RFC 9449 §4): PKCS #8.
pub struct ProofKey(Zeroizing<Box<[u8]>>);

impl ProofKey {
    /// Takes the key in.
    pub fn new(pkcs8: &[u8]) -> Self {
        Self(Zeroizing::new(pkcs8.into()))
    }

    /// The key, for the files that sign with it or seal it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(…)")
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

struct WipedBytes(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for WipedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AdminKey {
    /// `Bearer …`, marked sensitive so that no `Debug` of the headers shows it.
    ///
    /// `None` where the key holds bytes that a header may not.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("{BEARER}{}", self.0.as_ref())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Clone for StoreUrl {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl State {
    /// A fresh one that carries `count`, which is sealed.
    pub fn carrying(count: &str, randomness: &dyn Randomness) -> Self {
        Self::new(format!("{}.{count}", random_base64url::<32>(randomness)))
    }

    /// What `state` carries, if it does.
    pub fn carried_by(state: &str) -> Option<&str> {
        state.split_once('.').map(|(_, count)| count)
    }

    /// Names the cookie of the login that this state belongs to; tells nothing of the state.
    pub fn cookie_suffix(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(digest.as_ref().get(..9).unwrap_or_default())
    }
}

impl LogoutSid {
    /// The value as the logout link shows it to this session's own browser.
    pub fn in_link(&self) -> &str {
        &self.0
    }
}

macro_rules! query_parameter {
    ($($name:ident: $parameter:literal;)*) => {$(
        impl $name {
            /// Writes it into the query that sends the browser to the provider.
            pub fn append_to<T: Target>(&self, query: &mut Serializer<'_, T>) {
                query.append_pair($parameter, &self.0);
            }
        }
    )*};
}

query_parameter! {
    State: "state";
    Nonce: "nonce";
    IdToken: "id_token_hint";
}

macro_rules! random_text {
    ($($name:ident: $bytes:literal;)*) => {$(
        impl $name {
            /// A fresh one from the source of randomness given.
            pub fn random(randomness: &dyn Randomness) -> Self {
                Self::new(random_base64url::<$bytes>(randomness))
            }
        }
    )*};
}

random_text! {
    CodeVerifier: 48; // 64 characters, 384 bits (A3)
    State: 32;        // 256 bits (B2)
    Nonce: 32;        // 43 characters, so within FAPI's 64 (B2)
    LogoutSid: 16;
}

/// `N` random bytes in base64url without padding.
pub fn random_base64url<const N: usize>(randomness: &dyn Randomness) -> String {
    let mut bytes = Zeroizing::new([0_u8; N]);
    randomness.fill(bytes.as_mut());
    URL_SAFE_NO_PAD.encode(bytes.as_ref())
}

/// Whether a secret is one byte over and over, as what somebody puts in its place for a moment.
pub fn is_one_byte(secret: &[u8]) -> bool {
    let mut bytes = secret.iter();
    bytes
        .next()
        .is_some_and(|first| bytes.all(|byte| byte == first))
}

/// A 256-bit key that seals cookies and records.
#[derive(Clone)]
pub struct SessionKey(Zeroizing<[u8; 32]>);

impl SessionKey {
    /// A fresh key.
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        randomness.fill(bytes.as_mut());
        Self(bytes)
    }

    /// The key that `text` writes in base64url without padding: 43 characters, 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim()).ok()?);
        let bytes: [u8; 32] = decoded.as_slice().try_into().ok()?;
        Some(Self(Zeroizing::new(bytes)))
    }

    /// The key as `bff keygen` prints it.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_ref()))
    }

    /// Whether it is no key but a placeholder; see [`is_one_byte`].
    pub fn is_one_byte(&self) -> bool {
        is_one_byte(self.0.as_ref())
    }

    /// The bytes, for the file that seals.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SeededRandomness, SystemRandomness};

    /// G14: no `Debug` output shows a secret.
    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?}",
            AccessToken::new("canary"),
            SessionKey::random(&SystemRandomness),
            AccessToken::new("canary").authorization(),
        );
        assert_eq!(shown, "AccessToken(…) SessionKey(…) Some(Sensitive)");
    }

    /// A3: 43 to 128 unreserved characters, and no two alike.
    #[test]
    fn a_code_verifier_is_long_and_fresh() {
        let (one, two) = (
            CodeVerifier::random(&SystemRandomness),
            CodeVerifier::random(&SystemRandomness),
        );
        assert_eq!(one.expose().len(), 64);
        assert!(!one.matches(two.expose()));
    }

    #[test]
    fn a_key_reads_back_what_it_prints() {
        let key = SessionKey::random(&SeededRandomness::new(7));
        let read = SessionKey::parse(&key.to_text()).unwrap();
        assert_eq!(key.expose(), read.expose());
        assert!(SessionKey::parse("too short").is_none());
    }
}
