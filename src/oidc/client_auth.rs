//! How we prove who we are at the token and revocation endpoints (A9, A10).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use url::form_urlencoded::{self, Serializer};
use zeroize::Zeroizing;

use crate::clock::{Clock, Randomness, Timestamp};
use crate::oidc::assertion_file::{Assertion, AssertionFile};
use crate::oidc::client_key::{ClientKeyFault, SigningKey};
use crate::oidc::credential_fault::CredentialFault;
use crate::oidc::metadata::Metadata;
use crate::oidc::{AssertionAudience, ClientAuth, ProviderSettings};
use crate::secret::{ClientSecret, random_base64url};

/// How long an assertion is good for (A10).
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

/// What kind of JWT an assertion says it is, so that it is taken for no other.
const ASSERTION_TYP: &str = "client-authentication+jwt";

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Puts our credential into requests.
pub(super) struct ClientAuthenticator {
    source: Source,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

impl ClientAuthenticator {
    pub(super) fn new(
        client_auth: &ClientAuth,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        let source = match client_auth {
            ClientAuth::PrivateKeyJwt { key, .. } => Source::Key(SigningKey::parse(key)),
            ClientAuth::SecretJwt { secret, .. } => Source::Key(Ok(SigningKey::of_secret(secret))),
            ClientAuth::AssertionFile(path) => Source::File(Arc::new(AssertionFile::new(path))),
            ClientAuth::Secret(_)
            | ClientAuth::SecretBasic(_)
            | ClientAuth::SecretPost(_)
            | ClientAuth::Certificate(_)
            | ClientAuth::Public => Source::None,
        };
        Self {
            source,
            clock,
            randomness,
        }
    }

    /// Adds the credential to the head or the form of one request. Called anew for each attempt,
    /// since an assertion of ours sent twice is a replay (A10). `written` is what others wrote.
    pub(super) fn apply(
        &self,
        written: Option<&Assertion>,
        settings: &ProviderSettings,
        metadata: &Metadata,
        headers: &mut HeaderMap,
        form: &mut Serializer<'_, String>,
    ) -> Result<(), CredentialFault> {
        let client_id = &settings.client_id;
        match &settings.client_auth {
            ClientAuth::Secret(_) if metadata.terms.secret_in_form => {}
            ClientAuth::SecretBasic(secret) | ClientAuth::Secret(secret) => {
                headers.insert(AUTHORIZATION, basic(client_id, secret));
                return Ok(());
            }
            ClientAuth::SecretPost(_)
            | ClientAuth::SecretJwt { .. }
            | ClientAuth::PrivateKeyJwt { .. }
            | ClientAuth::AssertionFile(_)
            | ClientAuth::Certificate(_)
            | ClientAuth::Public => {}
        }
        form.append_pair("client_id", client_id);
        match &settings.client_auth {
            // Whoever shows a certificate says beside it who that is (RFC 8705 §2).
            ClientAuth::SecretBasic(_) | ClientAuth::Certificate(_) | ClientAuth::Public => {}
            ClientAuth::SecretPost(secret) | ClientAuth::Secret(secret) => {
                form.append_pair("client_secret", secret.expose());
            }
            ClientAuth::SecretJwt { audience, .. } | ClientAuth::PrivateKeyJwt { audience, .. } => {
                let assertion = self.assertion(settings, metadata, *audience)?;
                append_assertion(form, &assertion);
            }
            ClientAuth::AssertionFile(_) => {
                if let Some(assertion) = written {
                    append_assertion(form, assertion.text());
                }
            }
        }
        Ok(())
    }

    /// The moment at which a credential must be good.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The assertion that others wrote, as it is now, where it is theirs to write.
    pub(super) async fn written(&self) -> Result<Option<Arc<Assertion>>, CredentialFault> {
        let Source::File(file) = &self.source else {
            return Ok(None);
        };
        let (file, now) = (Arc::clone(file), self.clock.now());
        let looked = tokio::task::spawn_blocking(move || file.look(now)).await;
        // Nothing ends the look but the end of the process.
        looked.map_or(Ok(None), |looked| Ok(Some(looked?.told())))
    }

    fn assertion(
        &self,
        settings: &ProviderSettings,
        metadata: &Metadata,
        audience: AssertionAudience,
    ) -> Result<Zeroizing<String>, ClientKeyFault> {
        let client_id = settings.client_id.as_str();
        let audience = match audience {
            AssertionAudience::Issuer => &settings.issuer,
            AssertionAudience::TokenEndpoint => &metadata.token_audience,
        };
        let now = self.clock.now();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            jti: random_base64url::<16>(self.randomness.as_ref()),
            iat: now.unix_seconds(),
            exp: (now + ASSERTION_LIFETIME).unix_seconds(),
        };
        let listed = &metadata.client_assertion_algs;
        self.sign(settings, listed, ASSERTION_TYP, &claims)
    }

    /// `claims` as a JWT of this kind, by the key that proves who we are and with an algorithm that is listed,
    /// where one of ours is.
    ///
    /// # Errors
    ///
    /// There is no such key, or it can sign with nothing that the profile allows.
    pub(super) fn sign(
        &self,
        settings: &ProviderSettings,
        listed: &[String],
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<Zeroizing<String>, ClientKeyFault> {
        let key_id = match &settings.client_auth {
            ClientAuth::PrivateKeyJwt { key_id, .. } => key_id.as_deref(),
            _ => None,
        };
        let key = match &self.source {
            Source::Key(key) => key.as_ref().map_err(|fault| *fault)?,
            Source::File(_) | Source::None => return Err(ClientKeyFault::Unreadable),
        };
        key.jwt(
            key.algorithm(settings.profile, listed)?,
            typ,
            key_id,
            claims,
        )
    }
}

impl fmt::Debug for ClientAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthenticator")
            .finish_non_exhaustive()
    }
}

/// Where assertions come from.
enum Source {
    /// We sign them.
    Key(Result<SigningKey, ClientKeyFault>),
    /// Others write them.
    File(Arc<AssertionFile>),
    /// None is sent.
    None,
}

fn append_assertion(form: &mut Serializer<'_, String>, assertion: &str) {
    form.append_pair("client_assertion_type", JWT_BEARER)
        .append_pair("client_assertion", assertion);
}

/// The claims of a client assertion (RFC 7523 §3, OIDC Core §9). `aud` is one string, so that no
/// other server can be handed it.
#[derive(Serialize)]
struct Claims<'a> {
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

    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::clock::{ManualClock, SeededRandomness};
    use crate::oidc::IdTokenAlg;
    use crate::oidc::tests::{NOW, SigningKey, settings};
    use crate::oidc::verifying_key::VerifyingKey;
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
        let mut sent = Vec::new();
        for _ in 0..attempts {
            let mut form = Serializer::new(String::new());
            let mut headers = HeaderMap::new();
            authenticator
                .apply(None, &settings, metadata, &mut headers, &mut form)
                .unwrap();
            let form = form_urlencoded::parse(form.finish().as_bytes())
                .into_owned()
                .collect();
            sent.push((headers, form));
        }
        sent
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
            (&rsa, vec!["RS512", "PS384"], Algorithm::PS384),
            (&rsa, vec!["PS512"], Algorithm::PS512),
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

    /// A10: P-521 signs with ES512, and Ed25519 is called so where the provider lists no other name.
    #[test]
    fn an_assertion_is_signed_by_the_name_that_the_provider_lists() {
        let p521 = SigningKey::es512("k");
        let ed25519 = SigningKey::ed25519("k");
        for (key, listed, expected) in [
            (&p521, vec![], "ES512"),
            (&p521, vec!["RS256", "ES512"], "ES512"),
            (&ed25519, vec!["Ed25519"], "Ed25519"),
            (&ed25519, vec!["Ed25519", "EdDSA"], "EdDSA"),
        ] {
            let sent = apply_all(private_key_jwt(&key.pem), &metadata(&listed), 1);
            let assertion = &sent[0].1["client_assertion"];
            let header = assertion.split('.').next().unwrap();
            let header = URL_SAFE_NO_PAD.decode(header).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            let expected = json!({
                "alg": expected, "typ": "client-authentication+jwt", "kid": "client-1",
            });
            assert_eq!(header, expected);
        }
        let sent = apply_all(private_key_jwt(&p521.pem), &metadata(&[]), 1);
        let (message, signature) = sent[0].1["client_assertion"].rsplit_once('.').unwrap();
        let coordinate = |name: &str| p521.jwk[name].as_str().unwrap().to_owned();
        let verifies = VerifyingKey::p521(&coordinate("x"), &coordinate("y")).unwrap();
        assert!(verifies.made(signature, message, IdTokenAlg::Es512));
        assert!(!verifies.made(signature, "another", IdTokenAlg::Es512));
        assert!(!verifies.made(signature, message, IdTokenAlg::Es384));
    }

    /// A9, A10: with `client_secret_jwt` the secret signs and travels nowhere.
    #[test]
    fn a_secret_can_sign() {
        let secret = "a secret of more than thirty-two bytes";
        let auth = ClientAuth::SecretJwt {
            secret: ClientSecret::new(secret),
            audience: AssertionAudience::Issuer,
        };
        let sent = apply_all(auth, &metadata(&["RS256"]), 2);
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_audience(&[ISSUER]);
        let key = DecodingKey::from_secret(secret.as_bytes());
        let mut jtis = Vec::new();
        for (headers, form) in &sent {
            assert!(headers.is_empty());
            assert!(!form.contains_key("client_secret"));
            assert_eq!(form["client_id"], "app");
            let assertion = &form["client_assertion"];
            let mut assertion =
                jsonwebtoken::decode::<Value>(assertion, &key, &validation).unwrap();
            assert_eq!(assertion.header.kid, None);
            jtis.push(assertion.claims["jti"].take());
            let expected = json!({
                "iss": "app", "sub": "app", "aud": ISSUER, "jti": null,
                "iat": NOW, "exp": NOW + 60,
            });
            assert_eq!(assertion.claims, expected);
        }
        assert_ne!(jtis[0], jtis[1]);
    }
}
