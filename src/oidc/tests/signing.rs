//! Keys that sign tokens, with the JWK that a provider publishes for each.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use super::NOW;

/// A private key.
pub(in crate::oidc) struct SigningKey {
    pub(in crate::oidc) kid: String,
    pub(in crate::oidc) pem: String,
    pub(in crate::oidc) jwk: Value,
    alg: String,
    signs: Signs,
}

/// By what a key signs: jsonwebtoken knows no ES512.
enum Signs {
    Jwt(Algorithm, EncodingKey),
    P521(EcdsaKeyPair),
}

impl SigningKey {
    pub(in crate::oidc) fn es256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, &pair, Algorithm::ES256, key)
    }

    pub(in crate::oidc) fn es384(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, &pair, Algorithm::ES384, key)
    }

    pub(in crate::oidc) fn es512(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let own = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, pair.serialized_der());
        let (x, y) = pair.der_bytes()[1..].split_at(66);
        Self {
            kid: kid.to_owned(),
            pem: pair.serialize_pem(),
            jwk: json!({
                "kty": "EC", "crv": "P-521", "x": encode(x), "y": encode(y), "kid": kid, "use": "sig",
            }),
            alg: "ES512".to_owned(),
            signs: Signs::P521(own.unwrap()),
        }
    }

    pub(in crate::oidc) fn ed25519(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, &pair, Algorithm::EdDSA, key)
    }

    pub(in crate::oidc) fn rsa(kid: &str, algorithm: Algorithm) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, &pair, algorithm, key)
    }

    fn new(kid: &str, pair: &KeyPair, algorithm: Algorithm, key: EncodingKey) -> Self {
        let mut jwk = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                let point = pair.der_bytes();
                let (x, y) = point[1..].split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "x": encode(x), "y": encode(y)})
            }
            Algorithm::EdDSA => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.der_bytes())})
            }
            _ => serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap(),
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        Self {
            kid: kid.to_owned(),
            pem: pair.serialize_pem(),
            jwk,
            alg: format!("{algorithm:?}"),
            signs: Signs::Jwt(algorithm, key),
        }
    }

    /// A token with the header that a provider would write.
    pub(in crate::oidc) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    /// `alg` and `kid`.
    pub(in crate::oidc) fn header(&self) -> Value {
        json!({"alg": self.alg, "kid": self.kid})
    }

    /// A token with any header, signed by this key whatever the header says.
    pub(in crate::oidc) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = match &self.signs {
            Signs::Jwt(algorithm, key) => {
                jsonwebtoken::crypto::sign(message.as_bytes(), key, *algorithm).unwrap()
            }
            Signs::P521(pair) => encode(
                pair.sign(&SystemRandom::new(), message.as_bytes())
                    .unwrap()
                    .as_ref(),
            ),
        };
        format!("{message}.{signature}")
    }
}

/// Claims that a login with the nonce `n-1` at `issuer` accepts.
pub(in crate::oidc) fn login_claims(issuer: &str) -> Value {
    json!({
        "iss": issuer,
        "aud": "app",
        "sub": "alice",
        "iat": NOW,
        "exp": NOW + 300,
        "nonce": "n-1",
    })
}

pub(in crate::oidc) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
