//! Authorization requests that do not stand in the browser's address: handed over before (RFC 9126), or signed
//! (RFC 9101).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::authorize::check;
use super::client::{Proof, RelyingParty, verify_signed};
use super::core::{Core, OAuthError, PushedRequest};
use super::parameters::Parameters;
use super::shown::Shown;
use super::tamper::Stage;

/// How long a request that was handed over waits for its browser.
const LIFETIME: Duration = Duration::from_mins(1);

/// What every name of one begins with (RFC 9126 §2.2).
const NAME: &str = "urn:ietf:params:oauth:request_uri:";

/// `typ` of a request object (RFC 9101 §10.8).
const REQUEST_TYP: &str = "oauth-authz-req+jwt";

/// The longest that one may live, in seconds (FAPI 2.0 Message Signing §5.3.1).
const LONGEST_LIFE: i64 = 3600;

impl Core {
    /// Demands that requests are pushed from now on; or takes others too.
    pub fn demand_pushed(&self, demanded: bool) {
        self.state().demands_pushed = demanded;
    }

    /// Keeps an authorization request for the browser to name (RFC 9126 §2.1).
    ///
    /// # Errors
    /// Those of the authorization endpoint, and `invalid_client`.
    pub fn push(&self, form: &Parameters, shown: Shown<'_>) -> Result<Value, OAuthError> {
        let refused = |code| OAuthError::new(code, "the pushed request is refused");
        let relying_party = self.authenticate(form, shown.authorization)?;
        if form.value("request_uri").is_some() {
            return Err(refused("invalid_request"));
        }
        if form.value("client_id") != Some(&relying_party.client_id) {
            return Err(refused("invalid_request"));
        }
        let parameters = match form.value("request") {
            Some(object) => self
                .read_object(object, &relying_party)
                .ok_or(refused("invalid_request_object"))?,
            None => form.clone(),
        };
        check(&parameters).map_err(refused)?;
        let is_registered = |uri| relying_party.redirect_uris.iter().any(|known| known == uri);
        if !parameters.value("redirect_uri").is_some_and(is_registered) {
            return Err(refused("invalid_request"));
        }
        let request_uri = format!("{NAME}{}", self.random());
        let now = self.clock().now();
        let pushed = PushedRequest {
            client_id: relying_party.client_id,
            parameters,
            expires_at: now + LIFETIME,
        };
        let mut state = self.state();
        state.pushed.retain(|_, pushed| now < pushed.expires_at);
        state.pushed.insert(request_uri.clone(), pushed);
        drop(state);
        let mut answer = json!({ "request_uri": request_uri, "expires_in": LIFETIME.as_secs() });
        self.tamper(Stage::PushedResponse, &mut answer);
        Ok(answer)
    }

    /// What a browser's request asks for, whichever way that came.
    ///
    /// # Errors
    /// Nobody trustworthy asks for it.
    pub(super) fn asked_for(&self, request: &Parameters) -> Result<Parameters, &'static str> {
        let client = request
            .value("client_id")
            .and_then(|id| self.relying_party(id));
        let client = client.ok_or("The client_id is not known here.")?;
        if let Some(name) = request.value("request_uri") {
            let now = self.clock().now();
            let state = self.state();
            let pushed = state.pushed.get(name);
            let live = pushed
                .filter(|pushed| now < pushed.expires_at && pushed.client_id == client.client_id);
            let live = live.ok_or("The request_uri is not known here, or was used before.")?;
            return Ok(live.parameters.clone());
        }
        if self.state().demands_pushed {
            return Err("Only pushed requests are taken here.");
        }
        match request.value("request") {
            Some(object) => self
                .read_object(object, &client)
                .ok_or("The request object is not signed by this client for this provider."),
            None => Ok(request.clone()),
        }
    }

    /// The browser was answered: the name of its request is good no more.
    pub(super) fn use_up(&self, request: &Parameters) {
        if let Some(name) = request.value("request_uri") {
            self.state().pushed.remove(name);
        }
    }

    /// A13: signed by the client for us alone, for a short time, once.
    fn read_object(&self, object: &str, client: &RelyingParty) -> Option<Parameters> {
        let Proof::PrivateKeyJwt(jwk) = &client.proof else {
            return None;
        };
        let claims = verify_signed(object, jwk, REQUEST_TYP)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        let now = self.clock().now().unix_seconds();
        let (nbf, exp) = (number("nbf")?, number("exp")?);
        let fits = text("iss")? == client.client_id
            && text("aud")? == self.issuer()
            && text("client_id")? == client.client_id
            && !claims.contains_key("sub")
            && !claims.contains_key("request")
            && !claims.contains_key("request_uri")
            && nbf <= now
            && exp > now
            && exp - nbf <= LONGEST_LIFE;
        let is_new = fits && self.remember_assertion(text("jti")?, exp);
        is_new.then(|| parameters_of(&claims))
    }
}

/// The claims as the parameters that they stand for.
fn parameters_of(claims: &Map<String, Value>) -> Parameters {
    const OF_THE_TOKEN: [&str; 6] = ["iss", "aud", "iat", "nbf", "exp", "jti"];
    let mut parameters = Parameters::default();
    for (name, value) in claims {
        if OF_THE_TOKEN.contains(&name.as_str()) {
            continue;
        }
        match value {
            Value::String(text) => parameters.push(name, text.as_str()),
            Value::Array(values) if name == "resource" => {
                for text in values.iter().filter_map(Value::as_str) {
                    parameters.push(name, text);
                }
            }
            other => parameters.push(name, other.to_string()),
        }
    }
    parameters
}
