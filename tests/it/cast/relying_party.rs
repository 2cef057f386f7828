//! A relying party of a few lines, strict where section D is, to try the provider with.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bff::clock::SystemRandomness;
use bff::secret::random_base64url;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded;

use crate::support::browser::{Browser, Visit};
use crate::support::clock::soon;
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::wire::{Reply, Wire};

/// What one login remembers.
#[derive(Debug)]
pub(crate) struct RelyingParty {
    issuer: String,
    client_id: String,
    client_secret: String,
    redirect_uri: String,
    pub(crate) code_verifier: String,
    state: String,
    pub(crate) nonce: String,
}

impl RelyingParty {
    pub(crate) fn of(idp: &Idp) -> Self {
        Self::new(&idp.issuer, CLIENT_ID, &idp.client_secret)
    }

    pub(crate) fn new(issuer: &str, client_id: &str, client_secret: &str) -> Self {
        let random = || random_base64url::<32>(&SystemRandomness);
        Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            redirect_uri: format!("{PUBLIC_URL}/bff/callback"),
            code_verifier: random(),
            state: random(),
            nonce: random(),
        }
    }

    /// With the app at this origin.
    pub(crate) fn at(mut self, origin: &str) -> Self {
        self.redirect_uri = format!("{origin}/bff/callback");
        self
    }

    /// The authorization request; `extra` comes last and replaces what has its name.
    pub(crate) fn authorization_url(&self, extra: &[(&str, &str)]) -> String {
        let challenge = digest::digest(&digest::SHA256, self.code_verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        let ours = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", "openid profile email offline_access"),
            ("state", &self.state),
            ("nonce", &self.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut url = Url::parse(&format!("{}/authorize", self.issuer)).unwrap();
        url.query_pairs_mut()
            .extend_pairs(
                ours.iter()
                    .filter(|(name, _)| !extra.iter().any(|(other, _)| other == name)),
            )
            .extend_pairs(extra);
        url.to_string()
    }

    /// The code in the redirect that ended `visit`, with state and issuer checked (C3, C4).
    pub(crate) fn code(&self, visit: &Visit) -> String {
        let callback = visit.url();
        assert!(
            callback
                .as_str()
                .starts_with(&format!("{}?", self.redirect_uri))
        );
        assert_eq!(parameter(callback, "state"), Some(self.state.clone()));
        assert_eq!(parameter(callback, "iss"), Some(self.issuer.clone()));
        parameter(callback, "code").expect("a code")
    }

    /// Signs alice in with no form and exchanges the code.
    pub(crate) async fn log_in(&self, browser: &mut Browser) -> Reply {
        let url = self.authorization_url(&[("login_hint", "alice")]);
        let code = self.code(&browser.visit(&url).await);
        self.exchange(&code).await
    }

    pub(crate) async fn exchange(&self, code: &str) -> Reply {
        self.post(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", &self.redirect_uri),
                ("code_verifier", &self.code_verifier),
            ],
        )
        .await
        .unwrap()
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Reply {
        self.post(
            "/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token),
            ],
        )
        .await
        .unwrap()
    }

    /// Posts a form with `client_secret_basic`; `None` where no answer comes.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Option<Reply> {
        let credentials = format!("{}:{}", self.client_id, self.client_secret);
        let authorization = format!("Basic {}", STANDARD.encode(credentials));
        send(
            "POST",
            &format!("{}{path}", self.issuer),
            &[("Authorization", &authorization)],
            form,
        )
        .await
    }

    /// Judges a token response by sections C8 and D, strictly; the claims if it is good.
    pub(crate) async fn judge(
        &self,
        reply: &Reply,
        now: i64,
    ) -> Result<Map<String, Value>, String> {
        let response = reply.json();
        let access_token = response["access_token"].as_str().unwrap_or_default();
        ensure(!access_token.is_empty(), "access_token")?;
        let token_type = response["token_type"].as_str().unwrap_or_default();
        ensure(token_type.eq_ignore_ascii_case("bearer"), "token_type")?;
        let id_token = response["id_token"].as_str().ok_or("no id_token")?;
        let claims = self.verified(id_token, &["jwt"], now).await?;
        ensure(
            claims.get("nonce") == Some(&self.nonce.clone().into()),
            "nonce",
        )?;
        let sub = claims
            .get("sub")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure((1..=255).contains(&sub.len()), "sub")?;
        ensure(!claims.contains_key("events"), "events")?;
        let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
        let at_hash = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]);
        let at_hash_fits = |claimed: &Value| *claimed == *at_hash;
        ensure(claims.get("at_hash").is_none_or(at_hash_fits), "at_hash")?;
        Ok(claims)
    }

    /// Judges a logout token by sections D and E, strictly; the claims if it is good.
    pub(crate) async fn judge_logout_token(
        &self,
        logout_token: &str,
        now: i64,
    ) -> Result<Map<String, Value>, String> {
        let kinds = ["jwt", "logout+jwt"];
        let claims = self.verified(logout_token, &kinds, now).await?;
        let iat = claims.get("iat").and_then(Value::as_i64);
        ensure(iat.is_some_and(|iat| iat >= now - 300), "iat")?;
        let event = "http://schemas.openid.net/event/backchannel-logout";
        let event = claims.get("events").and_then(|events| events.get(event));
        ensure(event.is_some_and(Value::is_object), "events")?;
        ensure(!claims.contains_key("nonce"), "nonce")?;
        let named = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        ensure(claims.get("jti").is_some_and(named), "jti")?;
        ensure(claims.get("sub").is_none_or(named), "sub")?;
        ensure(claims.get("sid").is_none_or(named), "sid")?;
        let whom = claims.contains_key("sub") || claims.contains_key("sid");
        ensure(whom, "sub and sid")?;
        Ok(claims)
    }

    /// The claims of any token of the provider: signature, issuer, audience and times judged.
    async fn verified(
        &self,
        token: &str,
        kinds: &[&str],
        now: i64,
    ) -> Result<Map<String, Value>, String> {
        let jwks = get(&format!("{}/jwks", self.issuer), None).await.json();
        let mut claims = verify(token, kinds, &jwks)?;
        // So JSON libraries write what is not there.
        claims.retain(|_, value| !value.is_null());
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        ensure(
            claims.get("iss") == Some(&self.issuer.clone().into()),
            "iss",
        )?;
        let audiences = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        ensure(audiences == [Value::from(self.client_id.clone())], "aud")?;
        let azp_fits = |azp: &Value| *azp == *self.client_id;
        ensure(claims.get("azp").is_none_or(azp_fits), "azp")?;
        ensure(number("exp").is_some_and(|exp| exp > now - 60), "exp")?;
        ensure(number("iat").is_some_and(|iat| iat <= now + 60), "iat")?;
        let nbf_fits = |nbf: &Value| nbf.as_i64().is_some_and(|nbf| nbf <= now + 60);
        ensure(claims.get("nbf").is_none_or(nbf_fits), "nbf")?;
        Ok(claims)
    }
}

/// Signature and header; RS256 alone.
fn verify(token: &str, kinds: &[&str], jwks: &Value) -> Result<Map<String, Value>, String> {
    let raw_header: Value = token
        .split('.')
        .next()
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or("header")?;
    ensure(raw_header.get("crit").is_none(), "crit")?;
    let typ = raw_header.get("typ").and_then(Value::as_str);
    let of_kind = |typ: &str| kinds.contains(&typ.to_ascii_lowercase().as_str());
    ensure(typ.is_none_or(of_kind), "typ")?;
    let header = decode_header(token).map_err(|error| format!("header: {error}"))?;
    ensure(header.alg == Algorithm::RS256, "alg")?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jwks["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|jwk| jwk["kty"] == "RSA" && jwk["use"] != "enc")
        .filter(|jwk| header.kid.is_none() || jwk["kid"].as_str() == header.kid.as_deref())
        .filter_map(|jwk| {
            DecodingKey::from_rsa_components(jwk["n"].as_str()?, jwk["e"].as_str()?).ok()
        })
        .find_map(|key| decode(token, &key, &validation).ok())
        .map(|read| read.claims)
        .ok_or_else(|| "signature".to_owned())
}

fn ensure(fits: bool, what: &str) -> Result<(), String> {
    fits.then_some(()).ok_or_else(|| what.to_owned())
}

/// The value of a query parameter.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// A GET, with a bearer token if one is given.
pub(crate) async fn get(url: &str, bearer: Option<&str>) -> Reply {
    let authorization = bearer.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = authorization
        .iter()
        .map(|value| ("Authorization", value.as_str()))
        .collect();
    send("GET", url, &headers, &[]).await.unwrap()
}

/// One request on a connection of its own; `None` where no answer comes.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    form: &[(&str, &str)],
) -> Option<Reply> {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let content_type = "application/x-www-form-urlencoded";
    send_body(method, url, headers, content_type, &body).await
}

/// One request with any body.
pub(crate) async fn send_body(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &str,
) -> Option<Reply> {
    let url = Url::parse(url).unwrap();
    let addr = url.socket_addrs(|| None).unwrap();
    let addr = addr.iter().find(|addr| addr.is_ipv4()).unwrap();
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\n",
        &url[url::Position::BeforePath..],
        &url[url::Position::BeforeHost..url::Position::AfterPort],
    );
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if method != "GET" {
        let length = body.len();
        write!(
            head,
            "Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
        )
        .unwrap();
    }
    let mut wire = Wire::connect(*addr).await;
    wire.send(format!("{head}\r\n{body}").as_bytes()).await;
    let mut reply = soon("an answer", wire.head(&url)).await?;
    soon("a body", wire.body(&mut reply, false)).await;
    Some(reply)
}
