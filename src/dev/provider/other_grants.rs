//! Tokens that no login brings: a client's own (RFC 6749 §4.4), and those that a user's is exchanged for
//! (RFC 8693; RFC 7523 §2.1 in the form of Entra ID).

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Proof, RelyingParty};
use super::core::{Core, IssuedAccess, JWT_BEARER, OAuthError};
use super::parameters::Parameters;
use super::shown::token_type;
use super::tamper::Stage;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

impl Core {
    /// A token of the client's own.
    pub(super) fn client_credentials(
        &self,
        relying_party: &RelyingParty,
        form: &Parameters,
        key: Option<String>,
    ) -> Result<Value, OAuthError> {
        if matches!(relying_party.proof, Proof::Public) {
            let why = "a public client proves nothing of itself";
            return Err(OAuthError::new("unauthorized_client", why));
        }
        let issued = IssuedAccess {
            grant: None,
            client_id: relying_party.client_id.clone(),
            scope: form.words("scope"),
            audience: audience(form),
            actor: None,
            thumbprint: key,
            expires_at: self.clock().now(),
        };
        let mut response = self.bought(issued)?;
        self.tamper(Stage::ClientToken, &mut response);
        Ok(response)
    }

    /// Another token for the user of the one presented.
    pub(super) fn exchange_token(
        &self,
        relying_party: &RelyingParty,
        form: &Parameters,
        key: Option<String>,
    ) -> Result<Value, OAuthError> {
        let refused = |why| OAuthError::new("invalid_request", why);
        let on_behalf_of = form.value("grant_type") == Some(JWT_BEARER);
        let subject = if on_behalf_of {
            if form.value("requested_token_use") != Some("on_behalf_of") {
                return Err(refused("requested_token_use must be on_behalf_of"));
            }
            form.value("assertion")
        } else {
            if form.value("subject_token_type") != Some(ACCESS_TOKEN) {
                return Err(refused(
                    "subject_token_type must be that of an access token",
                ));
            }
            form.value("subject_token")
        };
        let requested = form.value("requested_token_type").unwrap_or(ACCESS_TOKEN);
        if !matches!(requested, ACCESS_TOKEN | JWT) {
            return Err(refused("no such token is issued"));
        }
        if let Some(code) = self.exchange_refusal() {
            return Err(OAuthError::new(code, "exchanges are refused for now"));
        }
        let actor = match form.value("actor_token") {
            None => None,
            Some(token) => {
                let actor = self
                    .introspect(token)
                    .ok_or(refused("unknown actor_token"))?;
                Some(actor.client_id)
            }
        };
        let now = self.clock().now();
        let subject = {
            let state = self.state();
            subject
                .and_then(|token| state.access_tokens.get(token))
                .filter(|issued| now < issued.expires_at && issued.grant.is_some())
                .cloned()
                .ok_or(refused("unknown subject"))?
        };
        if subject.client_id != relying_party.client_id {
            return Err(refused("the subject token is another client's"));
        }
        let issued = IssuedAccess {
            scope: form.words("scope"),
            audience: audience(form),
            actor,
            thumbprint: key,
            ..subject
        };
        let mut response = self.bought(issued)?;
        if !on_behalf_of && let Some(members) = response.as_object_mut() {
            members.insert("issued_token_type".to_owned(), Value::from(requested));
        }
        self.tamper(Stage::ExchangedToken, &mut response);
        Ok(response)
    }

    fn bought(&self, issued: IssuedAccess) -> Result<Value, OAuthError> {
        if issued
            .audience
            .iter()
            .any(|audience| audience.contains('#'))
        {
            return Err(OAuthError::new(
                "invalid_target",
                "a resource has a fragment",
            ));
        }
        let now = self.clock().now();
        let access_token = self.random();
        let mut state = self.state();
        state.forget_expired(now);
        let seconds = state.access_token_seconds;
        let scope = issued.scope.join(" ");
        let token_type = token_type(issued.thumbprint.as_deref());
        let expires_at = now + Duration::from_secs(seconds);
        let issued = IssuedAccess {
            expires_at,
            ..issued
        };
        state.access_tokens.insert(access_token.clone(), issued);
        drop(state);
        Ok(json!({
            "access_token": access_token,
            "token_type": token_type,
            "expires_in": seconds,
            "scope": scope,
        }))
    }

    /// Refuses every exchange with this code, until told otherwise.
    pub fn refuse_exchanges(&self, code: Option<&'static str>) {
        self.state().exchange_refusal = code;
    }

    fn exchange_refusal(&self) -> Option<&'static str> {
        self.state().exchange_refusal
    }
}

/// For whom a token is asked for: `resource` (RFC 8707) and `audience` (RFC 8693), each as often as it is
/// written.
pub(super) fn audience(form: &Parameters) -> Vec<String> {
    form.iter()
        .filter(|(name, value)| matches!(*name, "resource" | "audience") && !value.is_empty())
        .map(|(_, value)| value.to_owned())
        .collect()
}
