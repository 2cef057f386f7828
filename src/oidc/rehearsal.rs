//! A login without a user, for `check --online`: what is demanded of this client alone stands in no
//! metadata, but the provider's answers tell. Nobody is signed in, and nothing is kept anywhere.

use bytes::Bytes;
use http::header::{ACCEPT, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::oidc::authorization::ENDPOINT as PUSHED;
use crate::oidc::calls::{object, request};
use crate::oidc::error::{ProviderError, Unavailable};
use crate::oidc::error_code::ErrorCode;
use crate::oidc::terms::Lack;
use crate::oidc::{AuthorizationRequest, ClientAuth, Provider, ProviderSettings};
use crate::secret::{CodeVerifier, Nonce, State};
use crate::web::proof::{Prover, USE_DPOP_NONCE};

/// Said in the place of what is random in a login: it is never compared with anything.
const NOBODY: &str = "a-rehearsal-of-bff-check-that-signs-nobody-in";

/// What it may be where the provider says no more than `invalid_request`.
const DEMANDS: &str = "look whether it demands DPoP, for which write provider.dpop = \"always\"; pushed requests (PAR), for which write provider.pushed_authorization = \"always\"; signed ones (JAR), for which write provider.request_object = \"signed\"; or a certificate of this client";

impl Provider {
    /// Sends the browser's request with `prompt=none` and ours with a code that nobody gave. What is
    /// refused of them for another reason than that is lacking.
    ///
    /// # Errors
    ///
    /// As [`Provider::metadata`]. An endpoint that does not answer lacks nothing.
    pub async fn rehearse(&self) -> Result<Vec<Lack>, ProviderError> {
        let metadata = self.metadata().await?;
        let settings = self.settings();
        let (state, nonce) = (State::new(NOBODY), Nonce::new(NOBODY));
        let prover = self.new_prover().await?;
        let code_verifier = CodeVerifier::new(NOBODY);
        let authorization = AuthorizationRequest {
            state: &state,
            nonce: &nonce,
            code_verifier: &code_verifier,
            extra: &[("prompt", "none")],
            id_token_hint: None,
            prover: prover.as_deref(),
        };
        let mut lacks = Vec::new();
        match self.authorization_url(&authorization).await {
            Ok(url) => lacks.extend(self.rehearse_authorization(url).await),
            Err(error) => lacks.push(judge_pushed(&error).ok_or(error)?),
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", NOBODY),
            ("redirect_uri", settings.redirect_uri.as_str()),
            ("code_verifier", NOBODY),
        ];
        let endpoint = self.token_endpoint(&metadata, self.proving(prover.as_deref()));
        if let Ok(answer) = endpoint.answer_to(&form).await
            && answer.status().is_client_error()
        {
            let body = object(answer.body()).unwrap_or_default();
            let word = |name: &str| body.get(name).and_then(Value::as_str);
            let description = word("error_description").unwrap_or_default();
            let lack = word("error")
                .and_then(|error| judge_token((error, description), prover.as_deref(), settings));
            lacks.extend(lack);
        }
        Ok(lacks)
    }

    /// Sends the browser's request. An endpoint that does not answer lacks nothing.
    async fn rehearse_authorization(&self, url: Url) -> Option<Lack> {
        let settings = self.settings();
        // The name that browsers have for it may lead nowhere from here.
        let url = match &settings.internal {
            Some(internal) => internal.inward(url),
            None => url,
        };
        let browsers = request(Method::GET, &url)
            .header(ACCEPT, "text/html")
            .body(Bytes::new());
        let answer = self.0.calls.send("authorization", browsers.ok()?).await;
        let answer = answer.ok()?;
        judge_authorization(answer.status(), answer.headers(), &settings.redirect_uri)
    }
}

/// What is not taken of a request that is handed over past the browser (A12).
fn judge_pushed(error: &ProviderError) -> Option<Lack> {
    const KEY: &str = "provider.pushed_authorization";
    let ProviderError::Unavailable(unavailable) = error else {
        return None;
    };
    match &**unavailable {
        Unavailable::Status { endpoint, answer } if *endpoint == PUSHED && !answer.says_later() => {
            let code = answer.code.map_or("no code", ErrorCode::as_str);
            Some(Lack::refused(
                KEY,
                format!(
                    "hands over what the provider does not take: it answers {} ({code})",
                    answer.status
                ),
                "see that the client_id, its credential, the scopes and the redirect URI are as they are registered there",
            ))
        }
        Unavailable::BadPushedResponse => Some(Lack::refused(
            KEY,
            "is answered with no request_uri",
            "see what stands at the provider's pushed_authorization_request_endpoint",
        )),
        _ => None,
    }
}

/// What the authorization endpoint does not take of us. That nobody is signed in is as it should be.
fn judge_authorization(
    status: StatusCode,
    headers: &HeaderMap,
    redirect_uri: &Url,
) -> Option<Lack> {
    if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND
    ) {
        return Some(Lack::refused(
            "provider.client_id",
            format!(
                "is no client there that may come back to {redirect_uri}: the authorization endpoint answers {}",
                status.as_u16()
            ),
            "register that redirect URI with this client",
        ));
    }
    let location = Url::parse(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    let comes_back =
        location.origin() == redirect_uri.origin() && location.path() == redirect_uri.path();
    if !status.is_redirection() || !comes_back {
        return None;
    }
    let word = |name: &str| location.query_pairs().find(|(known, _)| known == name);
    let (_, error) = word("error")?;
    let description = word("error_description").map_or_else(Default::default, |(_, text)| text);
    match &*error {
        "invalid_scope" => Some(Lack::refused(
            "provider.scopes",
            "asks for what this client may not have (invalid_scope)",
            "leave out what the provider does not give this client",
        )),
        "invalid_request" => Some(demanded(&description).unwrap_or_else(|| {
            Lack::refused(
                "provider.issuer",
                "refuses the authorization request (invalid_request)",
                DEMANDS,
            )
        })),
        word @ ("unauthorized_client" | "unsupported_response_type") => Some(Lack::refused(
            "provider.client_id",
            format!("may not use the authorization code flow ({word})"),
            "let the provider offer this client the response type code",
        )),
        _ => None,
    }
}

/// What the token endpoint does not take of us. That there is no such code is as it should be.
fn judge_token(
    (error, description): (&str, &str),
    prover: Option<&Prover>,
    settings: &ProviderSettings,
) -> Option<Lack> {
    let (key, remedy) = match &settings.client_auth {
        ClientAuth::PrivateKeyJwt { .. } => (
            "provider.client_key",
            "register its public half with this client; some providers want client_assertion_audience = \"token_endpoint\"",
        ),
        ClientAuth::AssertionFile(_) => (
            "provider.client_assertion_file",
            "let the client trust who signs these assertions, with the `sub` and the `aud` that they have",
        ),
        ClientAuth::Certificate(_) => (
            "provider.client_cert",
            "register with this client the subject of this certificate, or the certificate itself",
        ),
        ClientAuth::SecretJwt { .. } => (
            "provider.client_secret",
            "put the secret of this client there; some providers want client_assertion_audience = \"token_endpoint\"",
        ),
        ClientAuth::Public => (
            "provider.client_id",
            "write the client_secret of this client",
        ),
        ClientAuth::Secret(_) | ClientAuth::SecretBasic(_) | ClientAuth::SecretPost(_) => (
            "provider.client_secret",
            "put the secret of this client there and see that the client is enabled; some clients want client_auth = \"client_secret_post\"",
        ),
    };
    match error {
        word @ ("invalid_client" | "unauthorized_client") => {
            let what = format!("is refused by the token endpoint ({word})");
            Some(Lack::refused(key, what, remedy))
        }
        // Some say so of the code that nobody gave.
        "invalid_request" => Some(demanded(description).unwrap_or_else(|| {
            Lack::unwise(
                "provider.issuer",
                "refuses the token request (invalid_request)",
                DEMANDS,
            )
        })),
        word @ ("invalid_dpop_proof" | USE_DPOP_NONCE) if prover.is_some() => {
            let what = format!("sends proofs that the token endpoint refuses ({word})");
            let remedy = "set the clock of this machine, and see that the provider is asked at the address by which it knows itself";
            Some(Lack::refused("provider.dpop", what, remedy))
        }
        "invalid_dpop_proof" | USE_DPOP_NONCE => demanded("DPoP"),
        _ => None,
    }
}

/// What is demanded of this client that we cannot do, where the provider's own words name it
/// (Keycloak: "`DPoP` proof is missing", "Pushed Authorization Request is only allowed."). Its words
/// themselves go nowhere.
fn demanded(description: &str) -> Option<Lack> {
    let description = description.to_ascii_lowercase();
    let (_, what, remedy) = [
        (
            "dpop",
            "demands DPoP of this client",
            "write provider.dpop = \"always\"",
        ),
        (
            "pushed",
            "demands pushed authorization requests (PAR) of this client",
            "write provider.pushed_authorization = \"always\"",
        ),
    ]
    .into_iter()
    .find(|(word, ..)| description.contains(word))?;
    Some(Lack::refused("provider.issuer", what, remedy))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::oidc::tests::settings;

    /// What is refused of a request without a user, and what is only the lack of one.
    #[test]
    fn a_refusal_is_told_from_nobody() {
        let redirect_uri = Url::parse("https://app.example.com/bff/callback").unwrap();
        let back = |error: &str| Some(format!("{redirect_uri}?error={error}&state=s"));
        let cases = [
            (303, back("login_required"), None),
            (302, back("interaction_required"), None),
            (302, back("temporarily_unavailable"), None),
            (302, back("invalid_scope"), Some("provider.scopes")),
            (302, back("invalid_request"), Some("provider.issuer")),
            (
                302,
                back(
                    "invalid_request&error_description=Pushed+Authorization+Request+is+only+allowed.",
                ),
                Some("provider.issuer demands pushed authorization requests"),
            ),
            (302, back("unauthorized_client"), Some("provider.client_id")),
            (
                302,
                Some("https://id.example.com/login?error=invalid_scope".to_owned()),
                None,
            ),
            (302, Some("/login".to_owned()), None),
            (200, None, None),
            (400, None, Some("provider.client_id")),
            (403, None, None),
            (503, None, None),
        ];
        for (status, location, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(location) = &location {
                headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            let lack = judge_authorization(status, &headers, &redirect_uri);
            assert_eq!(lack.is_some(), expected.is_some(), "{status} {location:?}");
            let said = lack.map(|lack| lack.to_string()).unwrap_or_default();
            assert!(said.starts_with(expected.unwrap_or_default()), "{said}");
        }
        let settings = settings("https://id.example.com");
        for (error, description, expected) in [
            ("invalid_grant", "", None),
            ("invalid_client", "", Some(("provider.client_secret", true))),
            ("invalid_request", "", Some(("provider.issuer", false))),
            (
                "invalid_request",
                "DPoP proof is missing",
                Some(("provider.issuer demands DPoP", true)),
            ),
            ("invalid_dpop_proof", "", Some(("provider.issuer", true))),
            ("<b>", "DPoP", None),
        ] {
            let lack = judge_token((error, description), None, &settings);
            let prevents = lack.as_ref().map(Lack::prevents_login);
            assert_eq!(prevents, expected.map(|(_, prevents)| prevents), "{error}");
            let said = lack.map(|lack| lack.to_string()).unwrap_or_default();
            assert!(
                said.starts_with(expected.map_or("", |(key, _)| key)),
                "{said}"
            );
        }
        // Where we sent a proof, it is that which does not please.
        let prover = Prover::fresh();
        for error in ["invalid_dpop_proof", "use_dpop_nonce"] {
            let lack = judge_token((error, ""), prover.as_ref(), &settings).unwrap();
            assert!(
                lack.to_string().starts_with("provider.dpop sends"),
                "{lack}"
            );
        }
    }
}
