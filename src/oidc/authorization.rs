//! The authorization request (OIDC Core §3.1.2.1): its parameters, and how they get to the provider: in the
//! browser's address, signed (RFC 9101), or past the browser (RFC 9126).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::oidc::calls::object;
use crate::oidc::error::{Misbehaviour, ProviderError, Unavailable};
use crate::oidc::hint::{LONGEST_HINT, add_id_token_hint};
use crate::oidc::metadata::Metadata;
use crate::oidc::own_parameters;
use crate::oidc::pkce::code_challenge;
use crate::oidc::provider::Provider;
use crate::oidc::token_response::error_answer;
use crate::oidc::{RequestObject, ResponseMode};
use crate::secret::{CodeVerifier, IdToken, Nonce, State, random_base64url};
use crate::web::proof::Prover;

/// The word for the endpoint in metrics and logs.
pub(super) const ENDPOINT: &str = "pushed_authorization";

/// How long a signed request is good: a person's browser may be slow to carry it, and no more (RFC 9101
/// §10.2).
const REQUEST_LIFETIME: Duration = Duration::from_mins(5);

/// `typ` of a signed request (RFC 9101 §10.8).
const REQUEST_TYP: &str = "oauth-authz-req+jwt";

/// The longest `request_uri` that is taken for one; it goes into the browser's address.
const LONGEST_REQUEST_URI: usize = 1024;

/// What one login asks for.
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    /// Ties the callback to this login.
    pub state: &'a State,
    /// Ties the ID token to this login.
    pub nonce: &'a Nonce,
    /// Ties the code to this login; only its hash travels.
    pub code_verifier: &'a CodeVerifier,
    /// `prompt`, `login_hint` and others that the caller lets through. One that is ours, or that
    /// the operator fixed, is left out (B8); a `prompt` takes the place of the operator's.
    pub extra: &'a [(&'a str, &'a str)],
    /// Whose session at the provider is meant, where nobody is to be asked; left out where it would
    /// make the address too long.
    pub id_token_hint: Option<&'a IdToken>,
    /// Ties the code to the key that the tokens are to be bound to (RFC 9449 §10).
    pub prover: Option<&'a Prover>,
}

impl Provider {
    /// Where to send the browser to sign in. Where the request is pushed, the provider is asked first, and the
    /// address says no more than who we are and which request is meant (A12).
    ///
    /// # Errors
    ///
    /// As [`Self::metadata`]; or the provider does not take the request that is pushed.
    pub async fn authorization_url(
        &self,
        request: &AuthorizationRequest<'_>,
    ) -> Result<Url, ProviderError> {
        let metadata = self.metadata().await?;
        // The endpoint's own query stays (RFC 6749 §3.1).
        let mut url = metadata.authorization_endpoint.clone();
        url.set_fragment(None);
        let settings = &self.0.settings;
        let pushes = metadata.terms.pushes;
        let mut parameters = self.parameters(&metadata, request);
        if (pushes || settings.request_object == RequestObject::Signed)
            && let Some(id_token) = request.id_token_hint
        {
            add_hint(&mut parameters, id_token, pushes);
        }
        let signed = match settings.request_object {
            RequestObject::Never => None,
            RequestObject::Signed => Some(self.request_object(&metadata, &parameters)?),
        };
        if pushes {
            let form: Vec<(Cow<'_, str>, Cow<'_, str>)> = match &signed {
                Some(signed) => vec![("request".into(), signed.as_str().into())],
                None => form_urlencoded::parse(parameters.as_bytes()).collect(),
            };
            let request_uri = self.push(&metadata, &form).await?;
            url.query_pairs_mut()
                .append_pair("client_id", &settings.client_id)
                .append_pair("request_uri", &request_uri);
            return Ok(url);
        }
        match &signed {
            None => {
                url.query_pairs_mut()
                    .extend_pairs(form_urlencoded::parse(parameters.as_bytes()));
                if let Some(id_token) = request.id_token_hint {
                    add_id_token_hint(&mut url, id_token);
                }
            }
            Some(signed) => {
                // Both that OIDC Core §6.1 wants in the address all the same, and what names us.
                url.query_pairs_mut()
                    .append_pair("client_id", &settings.client_id)
                    .append_pair("response_type", "code")
                    .append_pair("scope", &metadata.terms.scopes.join(" "))
                    .append_pair("request", signed);
            }
        }
        Ok(url)
    }

    /// Whether a login asks the provider before the browser does.
    ///
    /// # Errors
    ///
    /// As [`Self::metadata`].
    pub async fn pushes(&self) -> Result<bool, ProviderError> {
        Ok(self.metadata().await?.terms.pushes)
    }

    /// What the request says, however it gets there.
    fn parameters(
        &self,
        metadata: &Metadata,
        request: &AuthorizationRequest<'_>,
    ) -> Zeroizing<String> {
        let settings = &self.0.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", settings.redirect_uri.as_str())
            .append_pair("scope", &metadata.terms.scopes.join(" "));
        request.state.append_to(&mut form);
        request.nonce.append_to(&mut form);
        form.append_pair("code_challenge", &code_challenge(request.code_verifier))
            .append_pair("code_challenge_method", "S256");
        if settings.response_mode == ResponseMode::FormPost {
            form.append_pair("response_mode", "form_post");
        }
        if let Some(thumbprint) = request.prover.and_then(Prover::thumbprint) {
            form.append_pair("dpop_jkt", thumbprint);
        }
        for resource in &settings.resources {
            form.append_pair("resource", resource);
        }
        if let Some(details) = &settings.authorization_details {
            form.append_pair("authorization_details", details);
        }
        form.extend_pairs(self.extra_parameters(request.extra));
        Zeroizing::new(form.finish())
    }

    /// The operator's parameters, then those of the login whose names are not taken, each name
    /// once: what the operator fixed, a link cannot change (B8). All but `prompt`, of which the
    /// login's own counts: a page that asks in silence must not meet a person with a form.
    fn extra_parameters<'a>(&'a self, extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let settings = &self.0.settings;
        let operator = settings.authorize_params.iter();
        let operator = operator.map(|(name, value)| (name.as_str(), value.as_str()));
        let prompts = extra.iter().any(|(name, _)| *name == "prompt");
        let operator = operator.filter(|(name, _)| !prompts || *name != "prompt");
        let is_set = |name: &str| match name {
            "resource" => !settings.resources.is_empty(),
            "authorization_details" => settings.authorization_details.is_some(),
            _ => own_parameters::is_ours(name),
        };
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        for (name, value) in operator.chain(extra.iter().copied()) {
            if !is_set(name) && parameters.iter().all(|(taken, _)| *taken != name) {
                parameters.push((name, value));
            }
        }
        parameters
    }

    /// The same, signed by us for this provider alone (A13).
    fn request_object(
        &self,
        metadata: &Metadata,
        parameters: &str,
    ) -> Result<Zeroizing<String>, ProviderError> {
        let settings = &self.0.settings;
        let now = self.0.clock.now();
        let mut claims = claims_of(parameters);
        // With our own name in it this would be an assertion of who we are (RFC 9101 §10.8).
        claims.remove("sub");
        for (name, value) in [
            ("iss", Value::from(settings.client_id.as_str())),
            ("aud", settings.issuer.as_str().into()),
            ("iat", now.unix_seconds().into()),
            ("nbf", now.unix_seconds().into()),
            ("exp", (now + REQUEST_LIFETIME).unix_seconds().into()),
            ("jti", random_base64url::<16>(&*self.0.randomness).into()),
        ] {
            claims.insert(name.to_owned(), value);
        }
        let listed = &metadata.request_object_algs;
        let signed = self
            .0
            .authenticator
            .sign(settings, listed, REQUEST_TYP, &claims);
        Ok(signed.map_err(|fault| Unavailable::Credential(fault.into()))?)
    }

    /// Hands the request over and gives the name by which the browser refers to it, which is good once (RFC 9126
    /// §2).
    async fn push(
        &self,
        metadata: &Metadata,
        form: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Result<String, ProviderError> {
        const MISSING: Misbehaviour =
            Misbehaviour::Missing("pushed_authorization_request_endpoint");
        let url = metadata.pushed_endpoint.as_ref().ok_or(MISSING)?;
        // Who we are is said with the proof of it.
        let form: Vec<(&str, &str)> = form
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .filter(|(name, _)| *name != "client_id")
            .collect();
        let endpoint = self.token_endpoint(metadata, None);
        let pushed = endpoint.pushed(url, &form).await;
        let request = pushed.map_err(Unavailable::Credential)?;
        let answer = self.0.calls.send(ENDPOINT, request).await;
        let answer = answer.map_err(|source| Unavailable::NoAnswer {
            endpoint: ENDPOINT,
            source,
        })?;
        if !matches!(answer.status(), StatusCode::CREATED | StatusCode::OK) {
            return Err(Unavailable::Status {
                endpoint: ENDPOINT,
                answer: error_answer(&answer),
            }
            .into());
        }
        let request_uri = request_uri(answer.body());
        Ok(request_uri.ok_or(Unavailable::BadPushedResponse)?)
    }
}

/// Adds `id_token_hint`, where it does not make an address too long or stands in none.
fn add_hint(parameters: &mut String, id_token: &IdToken, is_pushed: bool) {
    let mut hint = form_urlencoded::Serializer::new(String::new());
    id_token.append_to(&mut hint);
    let hint = Zeroizing::new(hint.finish());
    if is_pushed || hint.len() <= LONGEST_HINT {
        parameters.push('&');
        parameters.push_str(&hint);
    }
}

/// The name of a pushed request, where the answer gives one that is good for a while.
fn request_uri(body: &Bytes) -> Option<String> {
    let mut answer = object(body)?;
    let lives = match answer.get("expires_in") {
        None => true,
        Some(seconds) => seconds.as_f64().is_some_and(|seconds| seconds > 0.0),
    };
    let Some(Value::String(name)) = answer.remove("request_uri") else {
        return None;
    };
    let is_name = (1..=LONGEST_REQUEST_URI).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    (lives && is_name).then_some(name)
}

/// Parameters as the claims of a request object: one that is repeated is a list, and what is JSON or a number
/// is so (RFC 9101 §4, RFC 9396 §3, OIDC Core §6.1).
fn claims_of(parameters: &str) -> Map<String, Value> {
    let mut claims = Map::new();
    for (name, value) in form_urlencoded::parse(parameters.as_bytes()) {
        let value = match &*name {
            "authorization_details" | "claims" | "max_age" => {
                serde_json::from_str(&value).unwrap_or_else(|_| Value::from(value.into_owned()))
            }
            _ => Value::from(value.into_owned()),
        };
        match claims.get_mut(&*name) {
            None => {
                claims.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A12: a name is a short word that lives; all else is no answer.
    #[test]
    fn an_answer_without_a_name_is_none() {
        const NAME: &str = "urn:ietf:params:oauth:request_uri:6esc";
        for (answer, expected) in [
            (json!({ "request_uri": NAME, "expires_in": 60 }), true),
            (json!({ "request_uri": NAME, "expires_in": 0.5 }), true),
            (json!({ "request_uri": NAME }), true),
            (json!({ "request_uri": NAME, "expires_in": 0 }), false),
            (json!({ "request_uri": NAME, "expires_in": -1 }), false),
            (json!({ "request_uri": NAME, "expires_in": "60" }), false),
            (json!({ "request_uri": "", "expires_in": 60 }), false),
            (json!({ "request_uri": "a b", "expires_in": 60 }), false),
            (json!({ "request_uri": "x".repeat(1025) }), false),
            (json!({ "request_uri": 1 }), false),
            (json!({ "expires_in": 60 }), false),
            (json!([NAME]), false),
        ] {
            let body = Bytes::from(answer.to_string());
            assert_eq!(request_uri(&body).is_some(), expected, "{answer}");
        }
        assert_eq!(request_uri(&Bytes::from_static(b"<html>")), None);
    }

    /// A13: what is said in words is said in words, and the rest as JSON has it.
    #[test]
    fn parameters_become_claims() {
        let claims = claims_of(
            "state=1&max_age=60&resource=https%3A%2F%2Fa&resource=https%3A%2F%2Fb\
             &authorization_details=%5B%7B%22type%22%3A%22pay%22%7D%5D&claims=no&resource=c",
        );
        let expected = json!({
            "state": "1", "max_age": 60, "resource": ["https://a", "https://b", "c"],
            "authorization_details": [{ "type": "pay" }], "claims": "no",
        });
        assert_eq!(Value::Object(claims), expected);
    }
}
