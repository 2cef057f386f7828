//! The token and revocation endpoints (RFC 6749 §3.2, RFC 7009): requests with our credential,
//! answers read without trust (C7–C9, E5).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::oidc::ProviderSettings;
use crate::oidc::bought::asked_for;
use crate::oidc::calls::{Calls, form_post, object};
use crate::oidc::client_auth::ClientAuthenticator;
use crate::oidc::client_key::ClientKeyFault;
use crate::oidc::error::{TokenResponseFault, Unavailable};
use crate::oidc::error_code::{ErrorAnswer, ErrorCode, says_later};
use crate::oidc::metadata::Metadata;
use crate::oidc::untrusted::ExchangeError;
use crate::secret::{AccessToken, AuthorizationCode, CodeVerifier, IdToken, RefreshToken};
use crate::web::outbound::OutboundError;
use crate::web::token_spec::TokenSpec;

const ENDPOINT: &str = "token";

/// A lifetime longer than this is a mistake in units (ten years, in seconds).
const MAX_LIFETIME: u64 = 10 * 365 * 24 * 60 * 60;

/// Speaks to the token endpoint and its neighbour as this relying party.
pub(super) struct TokenEndpoint<'a> {
    pub(super) settings: &'a ProviderSettings,
    pub(super) metadata: &'a Metadata,
    pub(super) calls: &'a Calls,
    pub(super) authenticator: &'a ClientAuthenticator,
}

impl TokenEndpoint<'_> {
    /// Redeems a code, once: it is good for one use, so a second try could only look like theft
    /// (C7, RFC 6749 §4.1.2).
    pub(super) async fn exchange_code(
        &self,
        code: &AuthorizationCode,
        code_verifier: &CodeVerifier,
    ) -> Result<TokenResponse, TokenFailure> {
        self.post(&[
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", self.settings.redirect_uri.as_str()),
            ("code_verifier", code_verifier.expose()),
        ])
        .await
    }

    /// Redeems a refresh token; once more where no one can tell whether the first try arrived,
    /// since providers allow for that (L6). Without a `spec`, `scope` is left out: as granted (L7).
    pub(super) async fn refresh(
        &self,
        refresh_token: &RefreshToken,
        spec: Option<&TokenSpec>,
    ) -> Result<TokenResponse, TokenFailure> {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        form.extend(spec.map(asked_for).unwrap_or_default());
        match self.post(&form).await {
            Err(TokenFailure::NoAnswer(error)) if error.is_ambiguous() => self.post(&form).await,
            outcome => outcome,
        }
    }

    /// Revokes a refresh token.
    pub(super) async fn revoke_refresh_token(
        &self,
        endpoint: &Url,
        token: &RefreshToken,
    ) -> Result<(), Unavailable> {
        self.revoke(endpoint, token.expose(), "refresh_token").await
    }

    /// Revokes an access token.
    pub(super) async fn revoke_access_token(
        &self,
        endpoint: &Url,
        token: &AccessToken,
    ) -> Result<(), Unavailable> {
        self.revoke(endpoint, token.expose(), "access_token").await
    }

    async fn revoke(&self, endpoint: &Url, token: &str, hint: &str) -> Result<(), Unavailable> {
        const ENDPOINT: &str = "revocation";
        let form = [("token", token), ("token_type_hint", hint)];
        let request = self
            .request(endpoint, &form)
            .map_err(Unavailable::ClientKey)?;
        let answer =
            self.calls
                .send(ENDPOINT, request)
                .await
                .map_err(|source| Unavailable::NoAnswer {
                    endpoint: ENDPOINT,
                    source,
                })?;
        // A token that the provider does not know is 200 as well (RFC 7009 §2.2).
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(Unavailable::Status {
                endpoint: ENDPOINT,
                answer: error_answer(&answer),
            })
        }
    }

    /// Buys a token by a grant that spends nothing; once more where no one can tell whether the first try
    /// arrived.
    pub(super) async fn buy(&self, form: &[(&str, &str)]) -> Result<TokenResponse, TokenFailure> {
        match self.post(form).await {
            Err(TokenFailure::NoAnswer(error)) if error.is_ambiguous() => self.post(form).await,
            outcome => outcome,
        }
    }

    async fn post(&self, form: &[(&str, &str)]) -> Result<TokenResponse, TokenFailure> {
        let request = self
            .request(&self.metadata.token_endpoint, form)
            .map_err(TokenFailure::ClientKey)?;
        let answer = self
            .calls
            .buy(ENDPOINT, request)
            .await
            .map_err(TokenFailure::NoAnswer)?;
        TokenResponse::parse(&answer)
    }

    /// A form post with our credential.
    pub(super) fn request(
        &self,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<Request<Bytes>, ClientKeyFault> {
        let mut body = Serializer::new(String::new());
        body.extend_pairs(form);
        let head =
            self.authenticator
                .apply(self.settings, self.metadata, form_post(url), &mut body)?;
        head.body(Bytes::from(body.finish()))
            // The URL was checked and the credential is a header value; there is nothing left that
            // could be refused but the credential.
            .map_err(|_| ClientKeyFault::Unreadable)
    }
}

/// A successful answer of the token endpoint (RFC 6749 §5.1), nothing of it verified yet.
#[derive(Debug)]
pub(super) struct TokenResponse {
    pub(super) access_token: AccessToken,
    pub(super) refresh_token: Option<RefreshToken>,
    /// What is no string may not be believed, and need not cost the rest (D18).
    pub(super) id_token: Result<Option<IdToken>, TokenResponseFault>,
    pub(super) expires_in: Option<Duration>,
    /// None: as requested. Empty: nothing (C9).
    pub(super) scope: Option<Vec<String>>,
    /// What an exchange issued (RFC 8693 §2.2.1).
    pub(super) issued_token_type: Option<String>,
}

impl TokenResponse {
    fn parse(answer: &Response<Bytes>) -> Result<Self, TokenFailure> {
        let status = answer.status();
        if says_later(status) || status.is_client_error() {
            return Err(TokenFailure::Error(error_answer(answer)));
        }
        if status != StatusCode::OK {
            return Err(TokenResponseFault::Status(status.as_u16()).into());
        }
        let body = object(answer.body()).ok_or(TokenResponseFault::NotAnObject)?;
        Ok(Self::read(&body)?)
    }

    fn read(body: &Map<String, Value>) -> Result<Self, TokenResponseFault> {
        let text = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access_token = text("access_token").ok_or(TokenResponseFault::NoAccessToken)?;
        if !bearer {
            return Err(TokenResponseFault::TokenType);
        }
        let id_token = match body.get("id_token") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id_token)) => Ok(Some(IdToken::new(id_token.as_str()))),
            Some(_) => Err(TokenResponseFault::IdTokenType),
        };
        Ok(Self {
            access_token: AccessToken::new(access_token),
            refresh_token: text("refresh_token").map(RefreshToken::new),
            id_token,
            expires_in: body.get("expires_in").and_then(lifetime),
            scope: body
                .get("scope")
                .and_then(Value::as_str)
                .map(|scope| scope.split_ascii_whitespace().map(str::to_owned).collect()),
            issued_token_type: text("issued_token_type").map(str::to_owned),
        })
    }
}

/// What an answer that is an error says, without a word that the provider chose.
fn error_answer(answer: &Response<Bytes>) -> ErrorAnswer {
    let body = object(answer.body());
    let error = body.as_ref().and_then(|body| body.get("error")?.as_str());
    ErrorAnswer {
        status: answer.status().as_u16(),
        code: error.and_then(ErrorCode::from_text),
    }
}

/// Seconds, as a number or, from some providers, as a string; what is neither is the same as none
/// (C8).
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            Duration::try_from_secs_f64(number.as_f64()?)
                .ok()
                .map(|lifetime| lifetime.as_secs())
        })?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Some(Duration::from_secs(seconds.min(MAX_LIFETIME)))
}

/// Why the token endpoint gave nothing.
#[derive(Debug)]
pub(super) enum TokenFailure {
    NoAnswer(OutboundError),
    /// A status of 4xx or 5xx.
    Error(ErrorAnswer),
    Fault(TokenResponseFault),
    ClientKey(ClientKeyFault),
}

impl TokenFailure {
    /// Why the provider cannot be asked now, or else its refusal.
    pub(super) fn later(self) -> Result<Unavailable, ErrorAnswer> {
        Ok(match self {
            Self::Error(answer) if !answer.says_later() => return Err(answer),
            Self::Error(answer) => Unavailable::Status {
                endpoint: ENDPOINT,
                answer,
            },
            Self::NoAnswer(source) => Unavailable::NoAnswer {
                endpoint: ENDPOINT,
                source,
            },
            Self::Fault(fault) => Unavailable::BadTokenResponse(fault),
            Self::ClientKey(fault) => Unavailable::ClientKey(fault),
        })
    }
}

impl From<TokenResponseFault> for TokenFailure {
    fn from(fault: TokenResponseFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TokenFailure> for ExchangeError {
    fn from(failure: TokenFailure) -> Self {
        if let TokenFailure::Fault(fault) = failure {
            return Self::Untrusted(fault.into());
        }
        match failure.later() {
            Ok(unavailable) => Self::Unavailable(unavailable.into()),
            Err(answer) => Self::Refused(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: &Value) -> Result<TokenResponse, TokenResponseFault> {
        let mut body = json!({"access_token": "at", "token_type": "Bearer"});
        let body = body.as_object_mut().unwrap();
        body.extend(change.as_object().unwrap().clone());
        TokenResponse::read(body)
    }

    /// C8: what a token response must have, in the types that it must have.
    #[test]
    fn a_token_response_is_checked() {
        use TokenResponseFault::{IdTokenType, NoAccessToken, TokenType};
        let cases = [
            ("plain", json!({}), None),
            ("lower case", json!({"token_type": "bearer"}), None),
            ("upper case", json!({"token_type": "BEARER"}), None),
            (
                "no access token",
                json!({"access_token": null}),
                Some(NoAccessToken),
            ),
            (
                "an empty one",
                json!({"access_token": ""}),
                Some(NoAccessToken),
            ),
            (
                "one that is a number",
                json!({"access_token": 1}),
                Some(NoAccessToken),
            ),
            ("no type", json!({"token_type": null}), Some(TokenType)),
            ("MAC", json!({"token_type": "mac"}), Some(TokenType)),
            ("DPoP", json!({"token_type": "DPoP"}), Some(TokenType)),
            ("ID token a number", json!({"id_token": 1}), None),
            ("ID token null", json!({"id_token": null}), None),
            ("refresh token a number", json!({"refresh_token": 1}), None),
        ];
        for (name, change, expected) in cases {
            assert_eq!(read(&change).err(), expected, "{name}");
        }
        let id_token = |value| read(&json!({"id_token": value})).unwrap().id_token;
        assert_eq!(id_token(json!(1)).err(), Some(IdTokenType));
        assert!(id_token(json!(null)).unwrap().is_none());
    }

    /// C8: a lifetime may be missing or a string; what makes no sense is the same as missing.
    #[test]
    fn a_lifetime_is_read_leniently() {
        let cases = [
            (json!(null), None),
            (json!(300), Some(300)),
            (json!("300"), Some(300)),
            (json!(299.9), Some(299)),
            (json!(0), Some(0)),
            (json!(u64::MAX), Some(MAX_LIFETIME)),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("soon"), None),
            (json!(true), None),
            (json!([300]), None),
        ];
        for (value, expected) in cases {
            let response = read(&json!({"expires_in": value})).unwrap();
            assert_eq!(
                response.expires_in.map(|span| span.as_secs()),
                expected,
                "{value}"
            );
        }
    }

    /// C9: absent is as requested, empty is nothing.
    #[test]
    fn an_empty_scope_is_not_an_absent_one() {
        let cases = [
            (json!(null), None),
            (json!(""), Some(vec![])),
            (json!(" "), Some(vec![])),
            (json!("openid  api"), Some(vec!["openid", "api"])),
        ];
        for (value, expected) in cases {
            let response = read(&json!({"scope": value})).unwrap();
            let scope = response.scope.as_deref();
            let scope = scope.map(|scope| scope.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(scope, expected, "{value}");
        }
    }
}
