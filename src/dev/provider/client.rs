//! The relying parties that a provider knows, and how each proves who it is (RFC 6749 §2.3).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

use super::core::{Core, OAuthError};
use super::parameters::Parameters;

pub use super::relying_party::{Proof, RelyingParty};

/// The name of an assertion's type in a token request (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest that an assertion may live (A10).
const ASSERTION_SECONDS: i64 = 60;

impl Core {
    /// Who sent `form`, with `authorization` in its head.
    ///
    /// # Errors
    /// `invalid_client` where the proof is missing or wrong, `invalid_request` where there are
    /// two (RFC 6749 §2.3: "MUST NOT use more than one authentication method").
    pub(super) fn authenticate(
        &self,
        form: &Parameters,
        authorization: Option<&str>,
    ) -> Result<RelyingParty, OAuthError> {
        let wrong = || OAuthError::new("invalid_client", "client authentication failed");
        let basic = authorization.map(read_basic);
        let posted = form.value("client_secret");
        let assertion = form.value("client_assertion");
        let proofs = usize::from(basic.is_some())
            + usize::from(posted.is_some())
            + usize::from(assertion.is_some());
        if proofs > 1 {
            return Err(OAuthError::new(
                "invalid_request",
                "more than one client authentication method",
            ));
        }
        let client_id = match (&basic, assertion) {
            (Some(credentials), _) => credentials.as_ref().map(|(id, _)| id.clone()),
            (None, Some(assertion)) => assertion_subject(assertion),
            (None, None) => form.value("client_id").map(str::to_owned),
        };
        let relying_party = client_id
            .and_then(|id| self.relying_party(&id))
            .ok_or_else(wrong)?;
        if form
            .value("client_id")
            .is_some_and(|said| said != relying_party.client_id)
        {
            return Err(wrong());
        }
        let proven = match &relying_party.proof {
            Proof::Secret(secret) => basic
                .flatten()
                .map(|(_, secret)| secret)
                .as_deref()
                .or(posted)
                .is_some_and(|said| said.as_bytes().ct_eq(secret.as_bytes()).into()),
            Proof::PrivateKeyJwt(jwk) => {
                form.value("client_assertion_type") == Some(ASSERTION_TYPE)
                    && assertion
                        .is_some_and(|assertion| self.verify_assertion(assertion, jwk).is_some())
            }
            Proof::Public => proofs == 0,
        };
        proven.then_some(relying_party).ok_or_else(wrong)
    }

    /// A10: typ, alg, signature, `iss` = `sub`, one audience, a short life and a `jti` not seen.
    fn verify_assertion(&self, assertion: &str, jwk: &Value) -> Option<()> {
        let claims = verify_signed(assertion, jwk, "client-authentication+jwt")?;
        let now = self.clock().now().unix_seconds();
        let exp = claims.get("exp")?.as_i64()?;
        let iat = claims.get("iat")?.as_i64()?;
        let fits = claims.get("iss")? == claims.get("sub")?
            && claims.get("aud")?.as_str()? == self.issuer()
            && exp > now
            && exp - iat <= ASSERTION_SECONDS
            && iat <= now + 5;
        let fresh = self.remember_assertion(claims.get("jti")?.as_str()?, exp);
        (fits && fresh).then_some(())
    }
}

/// The claims of a JWT of this kind that the owner of `jwk` signed. Time and audience are the caller's to
/// judge: the clock is the provider's, and one audience means a string.
pub(super) fn verify_signed(jwt: &str, jwk: &Value, typ: &str) -> Option<Map<String, Value>> {
    let header = decode_header(jwt).ok()?;
    let expected_alg = Algorithm::from_str(jwk.get("alg")?.as_str()?).ok()?;
    if header.typ.as_deref() != Some(typ) || header.alg != expected_alg {
        return None;
    }
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).ok()?).ok()?;
    let mut validation = Validation::new(expected_alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    Some(decode(jwt, &key, &validation).ok()?.claims)
}

/// Both halves, form-decoded (RFC 6749 §2.3.1).
fn read_basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let form_decoded = |text: &str| {
        form_urlencoded::parse(format!("v={text}").as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((form_decoded(id)?, form_decoded(secret)?))
}

/// Whom an assertion speaks for, before it is verified.
fn assertion_subject(assertion: &str) -> Option<String> {
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(assertion).ok()?;
    claims.get("sub")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A9: both halves are form-encoded before Base64.
    #[test]
    fn basic_credentials_are_form_decoded() {
        let cases = [
            ("app", "s3cret", Some(("app", "s3cret"))),
            ("a%3Ab", "p%25+%2B", Some(("a:b", "p% +"))),
        ];
        for (id, secret, expected) in cases {
            let header = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
            let read = read_basic(&header);
            let read = read.as_ref().map(|(id, secret)| (&**id, &**secret));
            assert_eq!(read, expected, "{id}:{secret}");
        }
        assert_eq!(read_basic("Bearer x"), None);
    }
}
