//! How we prove who we are at the token and revocation endpoints (A9, A10).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Builder;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use url::form_urlencoded::{self, Serializer};
use zeroize::Zeroizing;

use crate::clock::{Clock, Randomness};
use crate::oidc::discovery::Metadata;
use crate::oidc::{ClientAuth, ProviderSettings};
use crate::secret::{ClientKey, ClientSecret, random_base64url};

/// How long an assertion is good for (A10).
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

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

/// Puts our credential into requests.
#[derive(Debug)]
pub(super) struct ClientAuthenticator {
    signing_key: Result<SigningKey, ClientKeyFault>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

impl ClientAuthenticator {
    pub(super) fn new(
        client_auth: &ClientAuth,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        let signing_key = match client_auth {
            ClientAuth::PrivateKeyJwt { key, .. } => SigningKey::parse(key),
            // Never asked for, since only `PrivateKeyJwt` signs.
            ClientAuth::SecretBasic(_) | ClientAuth::SecretPost(_) | ClientAuth::Public => {
                Err(ClientKeyFault::Unreadable)
            }
        };
        Self {
            signing_key,
            clock,
            randomness,
        }
    }

    /// Adds the credential to the head or the form of one request. Called anew for each attempt,
    /// since an assertion sent twice is a replay (A10).
    pub(super) fn apply(
        &self,
        settings: &ProviderSettings,
        metadata: &Metadata,
        request: Builder,
        form: &mut Serializer<'_, String>,
    ) -> Result<Builder, ClientKeyFault> {
        let client_id = &settings.client_id;
        if let ClientAuth::SecretBasic(secret) = &settings.client_auth {
            return Ok(request.header(AUTHORIZATION, basic(client_id, secret)));
        }
        form.append_pair("client_id", client_id);
        match &settings.client_auth {
            ClientAuth::SecretBasic(_) | ClientAuth::Public => {}
            ClientAuth::SecretPost(secret) => {
                form.append_pair("client_secret", secret.expose());
            }
            ClientAuth::PrivateKeyJwt { key_id, .. } => {
                let assertion = self.assertion(settings, metadata, key_id.as_deref())?;
                form.append_pair("client_assertion_type", JWT_BEARER)
                    .append_pair("client_assertion", &assertion);
            }
        }
        Ok(request)
    }

    fn assertion(
        &self,
        settings: &ProviderSettings,
        metadata: &Metadata,
        key_id: Option<&str>,
    ) -> Result<Zeroizing<String>, ClientKeyFault> {
        let signing_key = self.signing_key.as_ref().map_err(|fault| *fault)?;
        let mut header = Header::new(signing_key.algorithm(&metadata.client_assertion_algs));
        header.typ = Some("client-authentication+jwt".to_owned());
        header.kid = key_id.map(str::to_owned);
        let now = self.clock.now();
        let assertion = Assertion {
            iss: &settings.client_id,
            sub: &settings.client_id,
            aud: &settings.issuer,
            jti: random_base64url::<16>(self.randomness.as_ref()),
            iat: now.unix_seconds(),
            exp: (now + ASSERTION_LIFETIME).unix_seconds(),
        };
        jsonwebtoken::encode(&header, &assertion, &signing_key.key)
            .map(Zeroizing::new)
            .map_err(|_| ClientKeyFault::Unreadable)
    }
}

/// The claims of a client assertion (RFC 7523 §3, OIDC Core §9). `aud` is one string, the issuer,
/// so that no other server can be handed it.
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

/// A private key and the algorithms that it can sign with, the preferred one first.
#[derive(Debug)]
struct SigningKey {
    key: EncodingKey,
    algorithms: &'static [(Algorithm, &'static str)],
}

impl SigningKey {
    fn parse(key: &ClientKey) -> Result<Self, ClientKeyFault> {
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
    fn algorithm(&self, listed: &[String]) -> Algorithm {
        self.algorithms
            .iter()
            .find(|(_, name)| listed.iter().any(|listed| listed == name))
            .or(self.algorithms.first())
            .map_or(Algorithm::RS256, |(algorithm, _)| *algorithm)
    }
}

/// `Basic` with both halves form-encoded first, as RFC 6749 §2.3.1 asks and most forget: a `:` or
/// `%` in a secret would otherwise be read as something else.
fn basic(client_id: &str, secret: &ClientSecret) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!(
        "{}:{}",
        encode(client_id),
        &*Zeroizing::new(encode(secret.expose()))
    ));
    let text = Zeroizing::new(format!(
        "Basic {}",
        &*Zeroizing::new(STANDARD.encode(&*pair))
    ));
    let mut value =
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}
