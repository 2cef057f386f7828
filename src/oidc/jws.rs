//! The signature of a token of the provider (RFC 7515, RFC 8725). What the claims must say is left
//! to the file of each kind of token.
//!
//! The header is read by hand, since nothing in it may choose a key or an algorithm: `jwk`, `jku`,
//! `x5u` and `x5c` are never looked at (D4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::oidc::IdTokenAlg;
use crate::oidc::error::ProviderError;
use crate::oidc::jwks::{Jwks, KeySet, NoKeys};

/// What is wrong with a signed token, short of its claims.
#[derive(Debug, thiserror::Error)]
pub enum JwsFault {
    /// Not three parts of base64url, or no JSON object in them.
    #[error("it is not a signed JSON object")]
    Malformed,
    /// An algorithm that is not allowed, or none (D1).
    #[error("its algorithm is not allowed")]
    Alg,
    /// A token of another kind (D5).
    #[error("its `typ` is that of another kind of token")]
    Typ,
    /// An extension that we do not know and may not ignore (D4).
    #[error("it has a critical extension")]
    Crit,
    /// The signature is not that of the key.
    #[error("its signature does not verify")]
    Signature,
    /// No key of the provider made it, also after asking again (D15).
    #[error("no key of the provider made it")]
    UnknownKey,
    /// No key is known to have made it, and too many asked of late (D16).
    #[error("no key is known to have made it, and keys were fetched too often of late")]
    Throttled,
    /// The keys could not be fetched.
    #[error("the provider's keys cannot be had")]
    NoKeys(#[source] ProviderError),
}

impl JwsFault {
    /// Whether the token may yet be good: we could not look.
    pub(super) const fn could_not_look(&self) -> bool {
        matches!(self, Self::Throttled | Self::NoKeys(_))
    }
}

impl From<NoKeys> for JwsFault {
    fn from(no_keys: NoKeys) -> Self {
        match no_keys {
            NoKeys::Throttled => Self::Throttled,
            NoKeys::Failed(error) => Self::NoKeys(error),
        }
    }
}

/// A token whose signature one of the provider's keys made.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) alg: IdTokenAlg,
    pub(super) claims: Map<String, Value>,
}

/// Verifies the signature of `token` against the provider's keys; asks for newer ones once where
/// none fits (D2, D14, D15). `allowed` was chosen before anything of the token was read (D1), and
/// so was `typ`: the kinds that may stand in the header, where one does.
pub(super) async fn verify(
    token: &str,
    allowed: &[IdTokenAlg],
    typ: &[&str],
    jwks: &Jwks,
) -> Result<Verified, JwsFault> {
    let jws = Jws::parse(token, allowed, typ)?;
    let keys = jwks.keys().await?;
    match jws.verify_with(&keys) {
        Err(JwsFault::UnknownKey) => jws.verify_with(&*jwks.newer_than(Some(&keys)).await?),
        verdict => verdict,
    }
}

/// A token in parts, its header checked, its signature not yet.
#[derive(Debug)]
struct Jws<'a> {
    alg: IdTokenAlg,
    kid: Option<String>,
    /// Header and payload as they were signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    fn parse(token: &'a str, allowed: &[IdTokenAlg], typ: &[&str]) -> Result<Self, JwsFault> {
        let (message, signature) = token.rsplit_once('.').ok_or(JwsFault::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(JwsFault::Malformed)?;
        if payload.contains('.') {
            return Err(JwsFault::Malformed);
        }
        let header = object(header)?;
        let alg = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(IdTokenAlg::from_header)
            .filter(|alg| allowed.contains(alg))
            .ok_or(JwsFault::Alg)?;
        match header.get("typ") {
            None => {}
            Some(Value::String(said)) if typ.iter().any(|typ| said.eq_ignore_ascii_case(typ)) => {}
            Some(_) => return Err(JwsFault::Typ),
        }
        // We know no extension, so every critical one is unknown (RFC 7515 §4.1.11).
        let unencoded = header
            .get("b64")
            .is_some_and(|b64| *b64 != Value::Bool(true));
        if header.contains_key("crit") || unencoded {
            return Err(JwsFault::Crit);
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(JwsFault::Malformed),
        };
        Ok(Self {
            alg,
            kid,
            message,
            payload,
            signature,
        })
    }

    fn verify_with(&self, keys: &KeySet) -> Result<Verified, JwsFault> {
        let mut candidates = keys.candidates(self.alg, self.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err(JwsFault::UnknownKey);
        }
        let algorithm = algorithm(self.alg);
        let made_it = candidates.any(|key| {
            jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), key, algorithm)
                .unwrap_or(false)
        });
        match (made_it, &self.kid) {
            (true, _) => Ok(Verified {
                alg: self.alg,
                claims: object(self.payload)?,
            }),
            (false, Some(_)) => Err(JwsFault::Signature),
            // A provider that names no keys may have changed them.
            (false, None) => Err(JwsFault::UnknownKey),
        }
    }
}

impl IdTokenAlg {
    /// The algorithm that a header or a key names. `Ed25519` is the newer name of what we know of
    /// `EdDSA` (RFC 9864).
    pub(super) fn from_header(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL
            .into_iter()
            .find_map(|(alg, known)| (known == name).then_some(alg))
    }
}

const fn algorithm(alg: IdTokenAlg) -> Algorithm {
    match alg {
        IdTokenAlg::Rs256 => Algorithm::RS256,
        IdTokenAlg::Rs384 => Algorithm::RS384,
        IdTokenAlg::Rs512 => Algorithm::RS512,
        IdTokenAlg::Ps256 => Algorithm::PS256,
        IdTokenAlg::Ps384 => Algorithm::PS384,
        IdTokenAlg::Ps512 => Algorithm::PS512,
        IdTokenAlg::Es256 => Algorithm::ES256,
        IdTokenAlg::Es384 => Algorithm::ES384,
        IdTokenAlg::EdDsa => Algorithm::EdDSA,
    }
}

fn object(part: &str) -> Result<Map<String, Value>, JwsFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwsFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwsFault::Malformed)
}
