//! A public key of the provider: what it must be like (D17), and whether it made a signature.

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::oidc::IdTokenAlg;

/// The bytes of a coordinate on P-521.
const P521_SIZE: usize = 66;

/// A key that verifies signatures.
pub(super) enum VerifyingKey {
    /// Of a kind that jsonwebtoken knows.
    Jwt(DecodingKey),
    /// P-521, which it does not: the point, uncompressed.
    P521(UnparsedPublicKey<Vec<u8>>),
}

impl VerifyingKey {
    /// RSA of 2048 to 8192 bits with an odd exponent above 1 (D17).
    pub(super) fn rsa(modulus: &str, exponent: &str) -> Option<Self> {
        let modulus = unsigned(modulus)?;
        let exponent = unsigned(exponent)?;
        let bits = modulus.len().checked_mul(8)? - modulus.first()?.leading_zeros() as usize;
        let odd = exponent.last()? & 1 == 1;
        let sane_exponent = odd && exponent != [1] && exponent.len() <= 8;
        ((2048..=8192).contains(&bits) && sane_exponent)
            .then(|| Self::Jwt(DecodingKey::from_rsa_raw_components(&modulus, &exponent)))
    }

    /// A point on P-256. That it lies on the curve is checked when it verifies.
    pub(super) fn p256(x: &str, y: &str) -> Option<Self> {
        Self::ec(x, y, 32)
    }

    /// A point on P-384.
    pub(super) fn p384(x: &str, y: &str) -> Option<Self> {
        Self::ec(x, y, 48)
    }

    /// A point on P-521.
    pub(super) fn p521(x: &str, y: &str) -> Option<Self> {
        const UNCOMPRESSED: u8 = 4;
        let x = sized(x, P521_SIZE)?;
        let y = sized(y, P521_SIZE)?;
        let point = [&[UNCOMPRESSED][..], &x, &y].concat();
        Some(Self::P521(UnparsedPublicKey::new(
            &ECDSA_P521_SHA512_FIXED,
            point,
        )))
    }

    fn ec(x: &str, y: &str, size: usize) -> Option<Self> {
        sized(x, size)?;
        sized(y, size)?;
        DecodingKey::from_ec_components(x, y).ok().map(Self::Jwt)
    }

    pub(super) fn ed25519(x: &str) -> Option<Self> {
        let public_key = sized(x, 32)?;
        Some(Self::Jwt(DecodingKey::from_ed_der(&public_key)))
    }

    /// Whether it made `signature`, in base64url, of `message` with `alg`.
    pub(super) fn made(&self, signature: &str, message: &str, alg: IdTokenAlg) -> bool {
        let message = message.as_bytes();
        match (self, algorithm(alg)) {
            (Self::Jwt(key), Some(algorithm)) => {
                jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap_or(false)
            }
            (Self::P521(key), None) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::Jwt(_), None) | (Self::P521(_), Some(_)) => false,
        }
    }
}

/// What jsonwebtoken calls it; `None` for ES512, which it does not know.
const fn algorithm(alg: IdTokenAlg) -> Option<Algorithm> {
    Some(match alg {
        IdTokenAlg::Rs256 => Algorithm::RS256,
        IdTokenAlg::Rs384 => Algorithm::RS384,
        IdTokenAlg::Rs512 => Algorithm::RS512,
        IdTokenAlg::Ps256 => Algorithm::PS256,
        IdTokenAlg::Ps384 => Algorithm::PS384,
        IdTokenAlg::Ps512 => Algorithm::PS512,
        IdTokenAlg::Es256 => Algorithm::ES256,
        IdTokenAlg::Es384 => Algorithm::ES384,
        IdTokenAlg::EdDsa => Algorithm::EdDSA,
        IdTokenAlg::Es512 => return None,
    })
}

/// A big-endian number without its leading zeros.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes.split_off(zeros))
}

/// Bytes of this number.
fn sized(text: &str, size: usize) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() == size).then_some(bytes)
}
