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
use crate::secret::AccessToken;
use crate::web::proof::{DPOP, ProofRefusal, Proving, ServerNonce};

const ENDPOINT: &str = "userinfo";

/// Said of the sign-in, not of the user: only the ID token says it.
const SIGN_IN_CLAIMS: [&str; 4] = ["acr", "amr", "auth_time", "events"];

/// Where UserInfo is, and how it is asked.
pub(super) struct UserInfo<'a> {
    pub(super) url: &'a Url,
    /// How a proof calls that.
    pub(super) htu: &'a str,
    /// What the access token is bound to, if to anything.
    pub(super) proving: Option<Proving<'a>>,
    pub(super) calls: &'a Calls,
}

impl UserInfo<'_> {
    /// Asks; once more where that is to hear nothing but a nonce first (A14).
    async fn answer(&self, access_token: &AccessToken) -> Result<Response<Bytes>, ExchangeError> {
        let mut answer = self.ask(access_token, None).await?;
        let mut nonce = ServerNonce::of(answer.headers());
        let wants_nonce = answer.status() == StatusCode::UNAUTHORIZED
            && ProofRefusal::of(answer.headers()) == Some(ProofRefusal::Nonce);
        let Some(proving) = &self.proving else {
            return Ok(answer);
        };
        if nonce.is_some() && wants_nonce {
            answer = self.ask(access_token, nonce.as_ref()).await?;
            nonce = ServerNonce::of(answer.headers()).or(nonce);
        }
        proving.note(self.htu, nonce);
        Ok(answer)
    }

    /// Asks once; after a refusal, with the nonce that it gave.
    async fn ask(
        &self,
        access_token: &AccessToken,
        refused_for: Option<&ServerNonce>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let unusable = || ExchangeError::Untrusted(UserInfoFault::AccessToken.into());
        let authorization = access_token.authorization().ok_or_else(unusable)?;
        let proving = self.proving.as_ref();
        let proof = proving.and_then(|proving| {
            proving.proof(&Method::GET, self.htu, Some(&authorization), refused_for)
        });
        let mut request = request(Method::GET, self.url)
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json, application/jwt")
            .body(Bytes::new())
            .map_err(|_| unusable())?;
        let headers = request.headers_mut();
        headers.extend(proof.map(|proof| (DPOP, proof)));
        self.calls.send(ENDPOINT, request).await.map_err(|source| {
            unavailable(Unavailable::NoAnswer {
                endpoint: ENDPOINT,
                source,
            })
        })
    }
}

/// The claims that UserInfo has about `sub`.
pub(super) async fn fetch(
    asked: &UserInfo<'_>,
    sub: &str,
    verifier: &Verifier<'_>,
    algs: &[IdTokenAlg],
    jwks: &Jwks,
) -> Result<Map<String, Value>, ExchangeError> {
    let untrusted = |fault: UserInfoFault| ExchangeError::Untrusted(fault.into());
    let answer = asked.answer(verifier.access_token).await?;
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
