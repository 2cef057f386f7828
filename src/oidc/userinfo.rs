//! UserInfo (OIDC Core §5.3): asked at login where it is configured, in JSON or signed, and
//! believed only about the subject of the ID token (C12).

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use crate::oidc::IdTokenAlg;
use crate::oidc::calls::{Calls, object, request};
use crate::oidc::claims::Claims;
use crate::oidc::envelope::Expiry;
use crate::oidc::error::{ProviderError, Unavailable};
use crate::oidc::error_code::{ErrorAnswer, says_later};
use crate::oidc::id_token::{Verifier, without_protocol_claims};
use crate::oidc::jwks::Jwks;
use crate::oidc::jws::{self, Expected};
use crate::oidc::key_fetches::Source;
use crate::oidc::untrusted::{ExchangeError, UserInfoFault};

const ENDPOINT: &str = "userinfo";

/// Said of the sign-in, not of the user: only the ID token says it.
const SIGN_IN_CLAIMS: [&str; 4] = ["acr", "amr", "auth_time", "events"];

/// The claims that UserInfo has about `sub`.
pub(super) async fn fetch(
    url: &Url,
    sub: &str,
    verifier: &Verifier<'_>,
    algs: &[IdTokenAlg],
    calls: &Calls,
    jwks: &Jwks,
) -> Result<Map<String, Value>, ExchangeError> {
    let untrusted = |fault: UserInfoFault| ExchangeError::Untrusted(fault.into());
    let bearer = verifier
        .access_token
        .authorization()
        .ok_or_else(|| untrusted(UserInfoFault::AccessToken))?;
    let request = request(Method::GET, url)
        .header(AUTHORIZATION, bearer)
        .header(ACCEPT, "application/json, application/jwt")
        .body(Bytes::new())
        .map_err(|_| untrusted(UserInfoFault::AccessToken))?;
    let answer = calls.send(ENDPOINT, request).await.map_err(|source| {
        unavailable(Unavailable::NoAnswer {
            endpoint: ENDPOINT,
            source,
        })
    })?;
    let status = answer.status();
    if says_later(status) {
        return Err(unavailable(Unavailable::Status {
            endpoint: ENDPOINT,
            answer: ErrorAnswer {
                status: status.as_u16(),
                code: None,
            },
        }));
    }
    read(&answer, sub, verifier, algs, jwks)
        .await
        .map_err(|fault| match fault {
            UserInfoFault::Jws(fault) => fault
                .or_unavailable()
                .map_or_else(|fault| untrusted(fault.into()), ExchangeError::Unavailable),
            fault => untrusted(fault),
        })
}

async fn read(
    answer: &Response<Bytes>,
    sub: &str,
    verifier: &Verifier<'_>,
    algs: &[IdTokenAlg],
    jwks: &Jwks,
) -> Result<Map<String, Value>, UserInfoFault> {
    if answer.status() != StatusCode::OK {
        return Err(UserInfoFault::Status(answer.status().as_u16()));
    }
    let claims = if is_signed(answer) {
        let token = std::str::from_utf8(answer.body()).map_err(|_| UserInfoFault::NotAnObject)?;
        let envelope = &verifier.envelope;
        let expected = Expected {
            algs,
            typ: &["JWT"],
            typ_optional: true,
            source: Source::Provider,
        };
        let verified = jws::verify(token.trim(), expected, jwks).await?;
        let claims = Claims(&verified.claims);
        envelope.check_issuer(&claims)?;
        let audience = envelope.audience(&claims)?;
        envelope.authorized_party(&claims, &audience)?;
        envelope.check_times(&claims, Expiry::Optional)?;
        verified.claims
    } else {
        object(answer.body()).ok_or(UserInfoFault::NotAnObject)?
    };
    if claims.get("sub").and_then(Value::as_str) != Some(sub) {
        return Err(UserInfoFault::OtherSubject);
    }
    let mut claims = without_protocol_claims(&claims);
    // "It SHOULD NOT be present with a null" (§5.3.2): that says nothing against the ID token's.
    claims.retain(|name, value| !SIGN_IN_CLAIMS.contains(&name.as_str()) && !value.is_null());
    Ok(claims)
}

fn is_signed(answer: &Response<Bytes>) -> bool {
    answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/jwt"))
}

fn unavailable(unavailable: Unavailable) -> ExchangeError {
    ExchangeError::Unavailable(ProviderError::from(unavailable))
}
