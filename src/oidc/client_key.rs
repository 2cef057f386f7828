//! The key that proves who we are: read, and what it can sign with (A10).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::oidc::Profile;
use crate::secret::{ClientKey, ClientSecret};

/// Why a private key cannot sign client assertions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyFault {
    /// No private key in a form that we read.
    #[error(
        "no private key in PEM (PKCS#8, or PKCS#1 for RSA) of RSA with at least 2048 bits, P-256, \
         P-384, P-521 or Ed25519"
    )]
    Unreadable,
}

/// Whether `key` can sign client assertions, for those who check a configuration.
///
/// # Errors
///
/// [`ClientKeyFault`] where it cannot.
pub fn check_client_key(key: &ClientKey) -> Result<(), ClientKeyFault> {
    SigningKey::parse(key).map(drop)
}

/// The algorithms that `key` can sign client assertions with; none where it cannot.
pub fn client_key_algs(key: &ClientKey) -> Vec<&'static str> {
    let key = SigningKey::parse(key);
    let algorithms = key.map_or(&[] as &[_], |key| key.algorithms);
    algorithms.iter().map(|alg| alg.name).collect()
}

/// An algorithm of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAlg {
    /// Its name in a header.
    pub(super) name: &'static str,
    /// What jsonwebtoken calls it; `None` for ES512, which it does not know.
    known: Option<Algorithm>,
}

impl ClientAlg {
    const fn new(name: &'static str, known: Algorithm) -> Self {
        Self {
            name,
            known: Some(known),
        }
    }
}

const HS256: &[ClientAlg] = &[ClientAlg::new("HS256", Algorithm::HS256)];
const RSA: &[ClientAlg] = &[
    ClientAlg::new("RS256", Algorithm::RS256),
    ClientAlg::new("PS256", Algorithm::PS256),
    ClientAlg::new("RS384", Algorithm::RS384),
    ClientAlg::new("PS384", Algorithm::PS384),
    ClientAlg::new("RS512", Algorithm::RS512),
    ClientAlg::new("PS512", Algorithm::PS512),
];
const P256: &[ClientAlg] = &[ClientAlg::new("ES256", Algorithm::ES256)];
const P384: &[ClientAlg] = &[ClientAlg::new("ES384", Algorithm::ES384)];
const P521: &[ClientAlg] = &[ClientAlg {
    name: "ES512",
    known: None,
}];
/// By its first name, and by that of RFC 9864 where a provider lists that alone.
const ED25519: &[ClientAlg] = &[
    ClientAlg::new("EdDSA", Algorithm::EdDSA),
    ClientAlg::new("Ed25519", Algorithm::EdDSA),
];

/// A key and the algorithms that it can sign with, the preferred one first.
#[derive(Debug)]
pub(super) struct SigningKey {
    key: Key,
    algorithms: &'static [ClientAlg],
}

#[derive(Debug)]
enum Key {
    Jwt(EncodingKey),
    P521(Box<EcdsaKeyPair>),
}

/// The header of what we sign (RFC 7515 §4.1).
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

impl SigningKey {
    pub(super) fn parse(key: &ClientKey) -> Result<Self, ClientKeyFault> {
        let pem = key.expose().as_bytes();
        let (jwt, kinds): (_, &[&'static [_]]) = EncodingKey::from_rsa_pem(pem)
            .map(|key| (key, [RSA].as_slice()))
            .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (key, [P256, P384].as_slice())))
            .or_else(|_| EncodingKey::from_ed_pem(pem).map(|key| (key, [ED25519].as_slice())))
            .map_err(|_| ClientKeyFault::Unreadable)?;
        let key = Key::Jwt(jwt);
        // The PEM does not say its curve or size in a way that we can read; signing does.
        let signs = |alg: &ClientAlg| key.sign(*alg, b"probe").is_ok();
        match kinds.iter().find(|algorithms| algorithms.iter().all(signs)) {
            Some(algorithms) => Ok(Self { key, algorithms }),
            None => Self::p521(pem),
        }
    }

    fn p521(pem: &[u8]) -> Result<Self, ClientKeyFault> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| ClientKeyFault::Unreadable)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, der.secret_pkcs8_der());
        Ok(Self {
            key: Key::P521(Box::new(pair.map_err(|_| ClientKeyFault::Unreadable)?)),
            algorithms: P521,
        })
    }

    /// The key that a client's secret is (OIDC Core §9, `client_secret_jwt`).
    pub(super) fn of_secret(secret: &ClientSecret) -> Self {
        Self {
            key: Key::Jwt(EncodingKey::from_secret(secret.expose().as_bytes())),
            algorithms: HS256,
        }
    }

    /// Of those that the profile allows, the first that the provider lists; the preferred one where it lists
    /// none of ours.
    pub(super) fn algorithm(
        &self,
        profile: Profile,
        listed: &[String],
    ) -> Result<ClientAlg, ClientKeyFault> {
        let allowed = || {
            let algs = self.algorithms.iter();
            algs.filter(|alg| profile.allows(alg.name))
        };
        let is_listed = |alg: &&ClientAlg| listed.iter().any(|listed| listed == alg.name);
        let alg = allowed().find(is_listed);
        let alg = alg.or(allowed().next()).copied();
        alg.ok_or(ClientKeyFault::Unreadable)
    }

    /// A JWT of this kind with these claims (RFC 7519 §7.1).
    pub(super) fn jwt(
        &self,
        alg: ClientAlg,
        typ: &str,
        kid: Option<&str>,
        claims: &impl Serialize,
    ) -> Result<Zeroizing<String>, ClientKeyFault> {
        let name = alg.name;
        let mut jwt = Zeroizing::new(part(&Header {
            alg: name,
            typ,
            kid,
        })?);
        jwt.push('.');
        jwt.push_str(&part(claims)?);
        let signature = self.key.sign(alg, jwt.as_bytes())?;
        jwt.push('.');
        jwt.push_str(&signature);
        Ok(jwt)
    }
}

impl Key {
    fn sign(&self, alg: ClientAlg, message: &[u8]) -> Result<String, ClientKeyFault> {
        let signed = match (self, alg.known) {
            (Self::Jwt(key), Some(algorithm)) => {
                jsonwebtoken::crypto::sign(message, key, algorithm).ok()
            }
            (Self::P521(pair), None) => pair
                .sign(&SystemRandom::new(), message)
                .ok()
                .map(|signature| URL_SAFE_NO_PAD.encode(signature)),
            (Self::Jwt(_), None) | (Self::P521(_), Some(_)) => None,
        };
        signed.ok_or(ClientKeyFault::Unreadable)
    }
}

/// A part of a JWT.
fn part(value: &impl Serialize) -> Result<String, ClientKeyFault> {
    let json = serde_json::to_vec(value).map_err(|_| ClientKeyFault::Unreadable)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::tests;

    /// A key that cannot sign is known before anybody signs in.
    #[test]
    fn a_key_that_cannot_sign_is_refused() {
        let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        for pem in ["", "secret", public] {
            let verdict = check_client_key(&ClientKey::new(pem));
            assert_eq!(verdict, Err(ClientKeyFault::Unreadable), "{pem}");
        }
        assert_eq!(
            check_client_key(&ClientKey::new(tests::SigningKey::es256("k").pem)),
            Ok(())
        );
    }
}
