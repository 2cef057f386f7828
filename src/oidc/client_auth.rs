//! How we prove who we are at the token and revocation endpoints (A9, A10).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::Header;
use serde::Serialize;
use url::form_urlencoded::{self, Serializer};
use zeroize::Zeroizing;

use crate::clock::{Clock, Randomness};
use crate::oidc::client_key::{ClientKeyFault, SigningKey};
use crate::oidc::metadata::Metadata;
use crate::oidc::{AssertionAudience, ClientAuth, ProviderSettings};
use crate::secret::{ClientSecret, random_base64url};

/// How long an assertion is good for (A10).
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

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
            ClientAuth::Secret(_)
            | ClientAuth::SecretBasic(_)
            | ClientAuth::SecretPost(_)
            | ClientAuth::Public => Err(ClientKeyFault::Unreadable),
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
        headers: &mut HeaderMap,
        form: &mut Serializer<'_, String>,
    ) -> Result<(), ClientKeyFault> {
        let client_id = &settings.client_id;
        match &settings.client_auth {
            ClientAuth::Secret(_) if metadata.terms.secret_in_form => {}
            ClientAuth::SecretBasic(secret) | ClientAuth::Secret(secret) => {
                headers.insert(AUTHORIZATION, basic(client_id, secret));
                return Ok(());
            }
            ClientAuth::SecretPost(_) | ClientAuth::PrivateKeyJwt { .. } | ClientAuth::Public => {}
        }
        form.append_pair("client_id", client_id);
        match &settings.client_auth {
            ClientAuth::SecretBasic(_) | ClientAuth::Public => {}
            ClientAuth::SecretPost(secret) | ClientAuth::Secret(secret) => {
                form.append_pair("client_secret", secret.expose());
            }
            ClientAuth::PrivateKeyJwt {
                key_id, audience, ..
            } => {
                let audience = match audience {
                    AssertionAudience::Issuer => &settings.issuer,
                    AssertionAudience::TokenEndpoint => &metadata.token_audience,
                };
                let assertion = self.assertion(client_id, audience, metadata, key_id.as_deref())?;
                form.append_pair("client_assertion_type", JWT_BEARER)
                    .append_pair("client_assertion", &assertion);
            }
        }
        Ok(())
    }

    fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        metadata: &Metadata,
        key_id: Option<&str>,
    ) -> Result<Zeroizing<String>, ClientKeyFault> {
        let signing_key = self.signing_key.as_ref().map_err(|fault| *fault)?;
        let mut header = Header::new(signing_key.algorithm(&metadata.client_assertion_algs));
        header.typ = Some("client-authentication+jwt".to_owned());
        header.kid = key_id.map(str::to_owned);
        let now = self.clock.now();
        let assertion = Assertion {
            iss: client_id,
            sub: client_id,
            aud: audience,
            jti: random_base64url::<16>(self.randomness.as_ref()),
            iat: now.unix_seconds(),
            exp: (now + ASSERTION_LIFETIME).unix_seconds(),
        };
        jsonwebtoken::encode(&header, &assertion, &signing_key.key)
            .map(Zeroizing::new)
            .map_err(|_| ClientKeyFault::Unreadable)
    }
}

/// The claims of a client assertion (RFC 7523 §3, OIDC Core §9). `aud` is one string, so that no
/// other server can be handed it.
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::{ManualClock, SeededRandomness, Timestamp};
    use crate::oidc::tests::{NOW, SigningKey, settings};
    use crate::secret::ClientKey;

    const ISSUER: &str = "https://id.example.com";

    fn metadata(algs: &[&str]) -> Metadata {
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/a",
            "token_endpoint": "https://id.example.com/t",
            "jwks_uri": "https://id.example.com/j",
            "token_endpoint_auth_signing_alg_values_supported": algs,
        });
        Metadata::parse(&settings(ISSUER), document.as_object().unwrap().clone()).unwrap()
    }

    fn apply_all(
        client_auth: ClientAuth,
        metadata: &Metadata,
        attempts: usize,
    ) -> Vec<(HeaderMap, HashMap<String, String>)> {
        let mut settings = settings(ISSUER);
        settings.client_auth = client_auth;
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(NOW)));
        let authenticator = ClientAuthenticator::new(
            &settings.client_auth,
            clock,
            Arc::new(SeededRandomness::new(1)),
        );
        (0..attempts)
            .map(|_| {
                let mut form = Serializer::new(String::new());
                let mut headers = HeaderMap::new();
                authenticator
                    .apply(&settings, metadata, &mut headers, &mut form)
                    .unwrap();
                let form = form_urlencoded::parse(form.finish().as_bytes())
                    .into_owned()
                    .collect();
                (headers, form)
            })
            .collect()
    }

    /// A9: both halves are form-encoded before Base64.
    #[test]
    fn basic_is_form_encoded() {
        let cases = [
            ("app", "s3cret", "app:s3cret"),
            ("a:b", "p%q r+s", "a%3Ab:p%25q+r%2Bs"),
            ("https://app", "ü", "https%3A%2F%2Fapp:%C3%BC"),
        ];
        for (client_id, secret, expected) in cases {
            let value = basic(client_id, &ClientSecret::new(secret));
            assert!(value.is_sensitive());
            let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            let decoded = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
            assert_eq!(decoded, expected);
        }
    }

    fn private_key_jwt(pem: &str) -> ClientAuth {
        ClientAuth::PrivateKeyJwt {
            key: ClientKey::new(pem),
            key_id: Some("client-1".to_owned()),
            audience: AssertionAudience::Issuer,
        }
    }

    /// A10: some providers take the address of their token endpoint alone, as the metadata write it.
    #[test]
    fn an_assertion_can_name_the_token_endpoint() {
        let key = SigningKey::es256("k");
        let auth = ClientAuth::PrivateKeyJwt {
            key: ClientKey::new(key.pem.as_str()),
            key_id: None,
            audience: AssertionAudience::TokenEndpoint,
        };
        let sent = apply_all(auth, &metadata(&[]), 1);
        let assertion = &sent[0].1["client_assertion"];
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(assertion).unwrap();
        assert_eq!(claims["aud"], "https://id.example.com/t");
    }

    /// A10: what an assertion says, signed by each kind of key; no two alike.
    #[test]
    fn an_assertion_says_who_to_whom_and_for_how_long() {
        let rsa = SigningKey::rsa("k", Algorithm::RS256);
        let cases = [
            (&rsa, vec![], Algorithm::RS256),
            (&rsa, vec!["PS256", "ES256"], Algorithm::PS256),
            (&rsa, vec!["PS256", "RS256"], Algorithm::RS256),
            (&SigningKey::es256("k"), vec!["RS256"], Algorithm::ES256),
            (&SigningKey::es384("k"), vec![], Algorithm::ES384),
            (&SigningKey::ed25519("k"), vec![], Algorithm::EdDSA),
        ];
        for (key, listed, expected) in cases {
            let sent = apply_all(private_key_jwt(&key.pem), &metadata(&listed), 2);
            let mut jtis = Vec::new();
            for (_, form) in &sent {
                assert_eq!(form["client_assertion_type"], JWT_BEARER);
                assert_eq!(form["client_id"], "app");
                let mut jwk = key.jwk.clone();
                jwk.as_object_mut().unwrap().remove("alg");
                let jwk: Jwk = serde_json::from_value(jwk).unwrap();
                let mut validation = Validation::new(expected);
                validation.validate_exp = false;
                validation.set_audience(&[ISSUER]);
                let assertion = jsonwebtoken::decode::<Value>(
                    &form["client_assertion"],
                    &DecodingKey::from_jwk(&jwk).unwrap(),
                    &validation,
                )
                .unwrap();
                assert_eq!(
                    assertion.header.typ.as_deref(),
                    Some("client-authentication+jwt")
                );
                assert_eq!(assertion.header.kid.as_deref(), Some("client-1"));
                let mut claims = assertion.claims;
                jtis.push(claims["jti"].take());
                let expected = json!({
                    "iss": "app", "sub": "app", "aud": ISSUER, "jti": null,
                    "iat": NOW, "exp": NOW + 60,
                });
                assert_eq!(claims, expected);
            }
            assert_ne!(jtis[0], jtis[1], "{expected:?}");
        }
    }
}
