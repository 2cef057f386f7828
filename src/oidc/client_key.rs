//! The private key that proves who we are: read, and what it can sign with (A10).

use jsonwebtoken::{Algorithm, EncodingKey};

use crate::secret::ClientKey;

/// Why a private key cannot sign client assertions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyFault {
    /// No private key in a form that we read.
    #[error(
        "no private key in PEM (PKCS#8, or PKCS#1 for RSA) of RSA with at least 2048 bits, P-256, \
         P-384 or Ed25519"
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
pub(super) fn client_key_algs(key: &ClientKey) -> Vec<&'static str> {
    let key = SigningKey::parse(key);
    let algorithms = key.map_or(&[] as &[_], |key| key.algorithms);
    algorithms.iter().map(|(_, name)| *name).collect()
}

/// A private key and the algorithms that it can sign with, the preferred one first.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub(super) key: EncodingKey,
    algorithms: &'static [(Algorithm, &'static str)],
}

impl SigningKey {
    pub(super) fn parse(key: &ClientKey) -> Result<Self, ClientKeyFault> {
        const RSA: &[(Algorithm, &str)] =
            &[(Algorithm::RS256, "RS256"), (Algorithm::PS256, "PS256")];
        const P256: &[(Algorithm, &str)] = &[(Algorithm::ES256, "ES256")];
        const P384: &[(Algorithm, &str)] = &[(Algorithm::ES384, "ES384")];
        const ED25519: &[(Algorithm, &str)] = &[(Algorithm::EdDSA, "EdDSA")];

        let pem = key.expose().as_bytes();
        let (key, kinds): (EncodingKey, &[&'static [_]]) = EncodingKey::from_rsa_pem(pem)
            .map(|key| (key, [RSA].as_slice()))
            .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (key, [P256, P384].as_slice())))
            .or_else(|_| EncodingKey::from_ed_pem(pem).map(|key| (key, [ED25519].as_slice())))
            .map_err(|_| ClientKeyFault::Unreadable)?;
        // The PEM does not say its curve or size in a way that we can read; signing does.
        let algorithms = kinds
            .iter()
            .find(|algorithms| {
                algorithms.iter().all(|(algorithm, _)| {
                    jsonwebtoken::crypto::sign(b"probe", &key, *algorithm).is_ok()
                })
            })
            .ok_or(ClientKeyFault::Unreadable)?;
        Ok(Self { key, algorithms })
    }

    /// The first that the provider lists; the preferred one where it lists none of ours.
    pub(super) fn algorithm(&self, listed: &[String]) -> Algorithm {
        self.algorithms
            .iter()
            .find(|(_, name)| listed.iter().any(|listed| listed == name))
            .or(self.algorithms.first())
            .map_or(Algorithm::RS256, |(algorithm, _)| *algorithm)
    }
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
