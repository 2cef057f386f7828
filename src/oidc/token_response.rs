//! What the token endpoint answers, read without trust and as real providers write it (C8, C9).

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use oauth2::Scope;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::oidc::calls::object;
use crate::oidc::error::TokenResponseFault;
use crate::oidc::error_code::{ErrorAnswer, ErrorCode, says_later};
use crate::oidc::grant_end::Told;
use crate::oidc::token_failure::TokenFailure;
use crate::secret::{AccessToken, IdToken, RefreshToken};

/// A lifetime longer than this is a mistake in units (ten years, in seconds).
const MAX_LIFETIME: u64 = 10 * 365 * 24 * 60 * 60;

/// A successful answer of the token endpoint (RFC 6749 §5.1), nothing of it verified yet.
#[derive(Debug)]
pub(super) struct TokenResponse {
    pub(super) access_token: AccessToken,
    pub(super) refresh_token: Option<RefreshToken>,
    /// What is no string may not be believed, and need not cost the rest (D18).
    pub(super) id_token: Result<Option<IdToken>, TokenResponseFault>,
    pub(super) expires_in: Option<Duration>,
    /// When the refresh token ends by itself.
    pub(super) grant_end: Told,
    /// None: as requested. Empty: nothing (C9).
    pub(super) scope: Option<Vec<String>>,
    /// What an exchange issued (RFC 8693 §2.2.1).
    pub(super) issued_token_type: Option<String>,
}

/// The same, as oauth2 carries it.
#[derive(Debug)]
pub(super) struct Answer {
    access_token: oauth2::AccessToken,
    token_type: TokenType,
    refresh_token: Option<oauth2::RefreshToken>,
    expires_in: Option<Duration>,
    grant_end: Told,
    scopes: Option<Vec<Scope>>,
    id_token: Result<Option<IdToken>, TokenResponseFault>,
    issued_token_type: Option<String>,
}

/// How the access token is shown to upstreams (RFC 6749 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TokenType {
    Bearer,
    Dpop,
}

/// Whether a token was asked for that is bound to a key of ours (RFC 9449 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// It was not, and we could show no such token to anybody.
    Unasked,
    /// It was, and a plain one will do.
    Asked,
    /// It was, and nothing else will do.
    Demanded,
}

impl oauth2::TokenType for TokenType {}

impl TokenType {
    fn from_text(text: &str) -> Option<Self> {
        let types = [("bearer", Self::Bearer), ("dpop", Self::Dpop)];
        let mut types = types.into_iter();
        let found = types.find(|(name, _)| text.eq_ignore_ascii_case(name));
        found.map(|(_, own)| own)
    }
}

impl Answer {
    /// What was answered, where it is a success that may be used.
    pub(super) fn parse(answer: &Response<Bytes>, binding: Binding) -> Result<Self, TokenFailure> {
        let status = answer.status();
        if says_later(status) || status.is_client_error() {
            return Err(TokenFailure::Error(error_answer(answer)));
        }
        if status != StatusCode::OK {
            return Err(TokenResponseFault::Status(status.as_u16()).into());
        }
        let body = object(answer.body()).ok_or(TokenResponseFault::NotAnObject)?;
        let answer = Self::read(&body)?;
        match (answer.token_type, binding) {
            (TokenType::Dpop, Binding::Unasked) => Err(TokenResponseFault::TokenType.into()),
            (TokenType::Bearer, Binding::Demanded) => Err(TokenResponseFault::NotBound.into()),
            (TokenType::Dpop, Binding::Asked | Binding::Demanded)
            | (TokenType::Bearer, Binding::Unasked | Binding::Asked) => Ok(answer),
        }
    }

    fn read(body: &Map<String, Value>) -> Result<Self, TokenResponseFault> {
        let text = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let access_token = text("access_token").ok_or(TokenResponseFault::NoAccessToken)?;
        let token_type = text("token_type").and_then(TokenType::from_text);
        let id_token = match body.get("id_token") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id_token)) => Ok(Some(IdToken::new(id_token.as_str()))),
            Some(_) => Err(TokenResponseFault::IdTokenType),
        };
        let scopes = body.get("scope").and_then(Value::as_str).map(|scope| {
            let each = scope.split_ascii_whitespace();
            each.map(|scope| Scope::new(scope.to_owned())).collect()
        });
        Ok(Self {
            access_token: oauth2::AccessToken::new(access_token.to_owned()),
            token_type: token_type.ok_or(TokenResponseFault::TokenType)?,
            refresh_token: text("refresh_token")
                .map(|token| oauth2::RefreshToken::new(token.to_owned())),
            expires_in: body.get("expires_in").and_then(lifetime),
            grant_end: Told::read(body),
            scopes,
            id_token,
            issued_token_type: text("issued_token_type").map(str::to_owned),
        })
    }
}

impl oauth2::TokenResponse for Answer {
    type TokenType = TokenType;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &TokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&oauth2::RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scopes.as_ref()
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = Map::deserialize(deserializer)?;
        Self::read(&body).map_err(D::Error::custom)
    }
}

/// oauth2 asks for it; tokens are written nowhere but sealed.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("a token response is not written down"))
    }
}

impl From<Answer> for TokenResponse {
    fn from(answer: Answer) -> Self {
        Self {
            access_token: match answer.token_type {
                TokenType::Bearer => AccessToken::new(answer.access_token.secret()),
                TokenType::Dpop => AccessToken::bound(answer.access_token.secret()),
            },
            refresh_token: answer
                .refresh_token
                .map(|token| RefreshToken::new(token.into_secret())),
            id_token: answer.id_token,
            expires_in: answer.expires_in,
            grant_end: answer.grant_end,
            scope: answer
                .scopes
                .map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
            issued_token_type: answer.issued_token_type,
        }
    }
}

/// What an answer that is an error says, without a word that the provider chose.
pub(super) fn error_answer(answer: &Response<Bytes>) -> ErrorAnswer {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: &Value) -> Result<TokenResponse, TokenResponseFault> {
        let mut body = json!({"access_token": "at", "token_type": "Bearer"});
        let body = body.as_object_mut().unwrap();
        body.extend(change.as_object().unwrap().clone());
        Answer::read(body).map(TokenResponse::from)
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
            ("DPoP", json!({"token_type": "DPoP"}), None),
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

    /// A14, C8: a bound token only where one was asked for, in any case; a plain one unless only a bound one
    /// will do; any other never.
    #[test]
    fn the_type_of_a_token_is_as_it_was_asked_for() {
        use TokenResponseFault::{NotBound, TokenType};
        let none = Some(TokenType);
        for (token_type, unasked, asked, demanded) in [
            (json!("Bearer"), None, None, Some(NotBound)),
            (json!("bEARER"), None, None, Some(NotBound)),
            (json!("DPoP"), none, None, None),
            (json!("dpop"), none, None, None),
            (json!("DPOP"), none, None, None),
            (json!("mac"), none, none, none),
            (json!("N_A"), none, none, none),
            (json!("DPoP Bearer"), none, none, none),
            (json!(["DPoP"]), none, none, none),
            (json!(""), none, none, none),
            (json!(null), none, none, none),
        ] {
            let body = json!({"access_token": "at", "token_type": token_type}).to_string();
            let answer = Response::new(Bytes::from(body));
            for (binding, expected) in [
                (Binding::Unasked, unasked),
                (Binding::Asked, asked),
                (Binding::Demanded, demanded),
            ] {
                let fault = match Answer::parse(&answer, binding) {
                    Ok(answer) => {
                        let is_bound = TokenResponse::from(answer).access_token.is_bound();
                        let said = token_type.as_str().unwrap_or_default();
                        assert_eq!(is_bound, said.eq_ignore_ascii_case("dpop"));
                        None
                    }
                    Err(TokenFailure::Fault(fault)) => Some(fault),
                    Err(failure) => panic!("{failure}"),
                };
                assert_eq!(fault, expected, "{token_type} {binding:?}");
            }
        }
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
