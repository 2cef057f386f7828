//! Signing keys: made at start, published as a JWK set, used for ID tokens.
//!
//! A header says which algorithm signs, so that whoever shapes the header decides.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::clock::Randomness;
use crate::secret::random_base64url;

/// A key pair could not be made or used.
#[derive(Debug, thiserror::Error)]
#[error("the cryptographic library refused to make or use a key")]
pub struct KeyFault(#[from] Unspecified);

/// One RSA and one P-256 key, each with its `kid`.
#[derive(Debug)]
pub struct KeySet {
    rsa: SigningKey,
    ec: SigningKey,
}

impl KeySet {
    /// A fresh pair of keys.
    ///
    /// # Errors
    /// Where the cryptographic library cannot make a key.
    pub fn generate(randomness: &dyn Randomness) -> Result<Self, KeyFault> {
        Ok(Self {
            rsa: SigningKey::rsa(random_base64url::<6>(randomness))?,
            ec: SigningKey::p256(random_base64url::<6>(randomness))?,
        })
    }

    /// The key that signs with `alg`: P-256 for `ES256`, RSA for all else.
    pub fn signing_with(&self, alg: &str) -> &SigningKey {
        if alg == "ES256" { &self.ec } else { &self.rsa }
    }

    /// The public halves (RFC 7517 §5).
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.rsa.public_jwk(), self.ec.public_jwk()] })
    }
}

/// A key pair and its name.
pub struct SigningKey {
    kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// A fresh RSA key of 2048 bits.
    ///
    /// # Errors
    /// Where the cryptographic library cannot make a key.
    pub fn rsa(kid: impl Into<String>) -> Result<Self, KeyFault> {
        Ok(Self {
            kid: kid.into(),
            pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
        })
    }

    /// A fresh P-256 key.
    ///
    /// # Errors
    /// Where the cryptographic library cannot make a key.
    pub fn p256(kid: impl Into<String>) -> Result<Self, KeyFault> {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self {
            kid: kid.into(),
            pair: Pair::P256(pair),
        })
    }

    /// The key's name in a set.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half (RFC 7517 §4, RFC 7518 §6).
    pub fn public_jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                // No `alg`: it signs with RS256 and PS256, as each relying party registered.
                json!({
                    "kty": "RSA", "use": "sig", "kid": self.kid,
                    "n": URL_SAFE_NO_PAD.encode(public.n),
                    "e": URL_SAFE_NO_PAD.encode(public.e),
                })
            }
            Pair::P256(pair) => {
                // 0x04, then x and y of 32 bytes each (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref();
                let coordinate = |from: usize| {
                    URL_SAFE_NO_PAD.encode(point.get(from..from + 32).unwrap_or_default())
                };
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
                    "x": coordinate(1), "y": coordinate(33),
                })
            }
        }
    }

    /// The private half in PEM (PKCS #8), for a relying party that signs assertions.
    ///
    /// # Errors
    /// Where the cryptographic library cannot write the key.
    pub fn private_pem(&self) -> Result<String, KeyFault> {
        let encoded = match &self.pair {
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                STANDARD.encode(der.as_ref())
            }
            Pair::P256(pair) => STANDARD.encode(pair.to_pkcs8v1()?.as_ref()),
        };
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for (at, character) in encoded.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// A compact JWS over `claims` (RFC 7515 §7.1); `header.alg` picks the padding of an RSA key.
    ///
    /// # Errors
    /// Where the cryptographic library cannot sign.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, KeyFault> {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string()),
        );
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &dyn signature::RsaEncoding =
                    match header.get("alg").and_then(Value::as_str) {
                        Some("PS256") => &signature::RSA_PSS_SHA256,
                        _ => &signature::RSA_PKCS1_SHA256,
                    };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    encoding,
                    &SystemRandom::new(),
                    message.as_bytes(),
                    &mut signature,
                )?;
                signature
            }
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), message.as_bytes())?
                .as_ref()
                .to_vec(),
        };
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;
    use crate::clock::SystemRandomness;

    #[test]
    fn what_a_key_signs_its_published_half_verifies() {
        let keys = KeySet::generate(&SystemRandomness).unwrap();
        for (name, alg) in [
            ("RS256", Algorithm::RS256),
            ("PS256", Algorithm::PS256),
            ("ES256", Algorithm::ES256),
        ] {
            let key = keys.signing_with(name);
            let signed = key
                .sign(&json!({ "alg": name }), &json!({ "sub": "alice" }))
                .unwrap();
            let jwk = serde_json::from_value(key.public_jwk()).unwrap();
            let public = DecodingKey::from_jwk(&jwk).unwrap();
            let mut validation = Validation::new(alg);
            validation.required_spec_claims.clear();
            let read = decode::<Value>(&signed, &public, &validation).unwrap();
            assert_eq!(read.claims, json!({ "sub": "alice" }), "{name}");
        }
    }
}
