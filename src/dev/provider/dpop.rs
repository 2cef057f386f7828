//! Tokens that are bound to a key, as a provider and an API judge what is shown with them (RFC 9449).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value};

use super::core::{Core, Introspection, OAuthError};
use super::shown::{ApiRefusal, PROOF_ALGS, Shown};
use super::tamper::Stage;
use super::token::s256;

/// How far the time in a proof may be off, in seconds.
const OFF_BY: i64 = 60;

/// What a proof must be of.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProofOf<'a> {
    /// The request's method.
    pub(super) method: &'a str,
    /// The address that is asked, without query.
    pub(super) htu: &'a str,
    /// The access token that goes along.
    pub(super) access_token: Option<&'a str>,
}

impl Core {
    /// Demands a nonce in every proof from now on, each good once; or none any more.
    pub fn demand_nonces(&self, demanded: bool) {
        let mut state = self.state();
        state.demands_nonces = demanded;
        state.proof_nonces.clear();
    }

    /// The nonce that the next proof must hold, where one is demanded.
    pub fn fresh_nonce(&self) -> Option<String> {
        let nonce = self.random();
        let mut state = self.state();
        if !state.demands_nonces {
            return None;
        }
        state.proof_nonces.insert(nonce.clone());
        Some(nonce)
    }

    /// The thumbprint of the key that `proof` was signed with (RFC 9449 §4.3).
    ///
    /// # Errors
    /// `use_dpop_nonce` where it lacks one that is demanded, `invalid_dpop_proof` for every other fault.
    pub(super) fn check_proof(&self, proof: &str, of: ProofOf<'_>) -> Result<String, OAuthError> {
        let invalid = |why| OAuthError::new("invalid_dpop_proof", why);
        let (jwk, claims) = read(proof).ok_or(invalid("it is not signed as it says"))?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("htm") != Some(of.method) || text("htu") != Some(of.htu) {
            return Err(invalid("it is of another request"));
        }
        let now = self.clock().now().unix_seconds();
        let issued = claims.get("iat").and_then(Value::as_i64);
        if issued.is_none_or(|issued| (now - issued).abs() > OFF_BY) {
            return Err(invalid("it is not of now"));
        }
        if text("ath") != of.access_token.map(s256).as_deref() {
            return Err(invalid("it is of another token"));
        }
        self.take_nonce(text("nonce"))?;
        // Whoever is told of a nonce tries again with another proof; only what is taken is used up.
        let fresh = text("jti").is_some_and(|jti| self.remember_assertion(jti, now + 2 * OFF_BY));
        if !fresh {
            return Err(invalid("it was shown before"));
        }
        jwk.thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| invalid("its key is none"))
    }

    /// What an API finds behind the token that it is shown: one that is bound to a key, with the proof of that.
    ///
    /// # Errors
    /// The token is unknown, over or another's, or the proof is none.
    pub fn presented(
        &self,
        shown: Shown<'_>,
        method: &str,
        htu: &str,
    ) -> Result<Introspection, ApiRefusal> {
        let bearer = |code| ApiRefusal::new("Bearer", code);
        let dpop = |code| ApiRefusal::new("DPoP", code);
        let (scheme, token) = shown
            .authorization
            .and_then(|value| value.split_once(' '))
            .ok_or(bearer("invalid_token"))?;
        let bound = self.thumbprint_of(token);
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        if !is_bearer && !scheme.eq_ignore_ascii_case("dpop") {
            return Err(bearer("invalid_token"));
        }
        match (&bound, is_bearer) {
            (None, true) => {}
            // RFC 9449 §7.2: a bound token is no bearer's.
            (Some(_), true) | (None, false) => return Err(dpop("invalid_token")),
            (Some(bound), false) => {
                let of = ProofOf {
                    method,
                    htu,
                    access_token: Some(token),
                };
                let proof = shown.proof.ok_or(dpop("invalid_dpop_proof"))?;
                let key = self.check_proof(proof, of);
                if key.map_err(|error| dpop(error.code))? != *bound {
                    return Err(dpop("invalid_token"));
                }
            }
        }
        let unknown = ApiRefusal::new(if is_bearer { "Bearer" } else { "DPoP" }, "invalid_token");
        self.introspect(token).ok_or(unknown)
    }

    /// The claims of whoever the token stands for that a request of this method shows (OIDC Core §5.3).
    ///
    /// # Errors
    /// As [`Self::presented`], or `insufficient_scope` without `openid`.
    pub fn userinfo(&self, shown: Shown<'_>, method: &str) -> Result<Value, ApiRefusal> {
        let htu = format!("{}/userinfo", self.issuer());
        let token = self.presented(shown, method, &htu)?;
        if !token.scope.iter().any(|scope| scope == "openid") {
            return Err(ApiRefusal::INSUFFICIENT_SCOPE);
        }
        let mut claims = self.claims_of(&token.sub, &token.scope);
        claims.insert("sub".to_owned(), Value::from(token.sub));
        let mut claims = Value::Object(claims);
        self.tamper(Stage::UserInfo, &mut claims);
        Ok(claims)
    }

    /// The key that a token is to be bound to, by the proof in its request (RFC 9449 §5).
    ///
    /// # Errors
    /// As [`Self::check_proof`].
    pub(super) fn key_of(&self, proof: Option<&str>) -> Result<Option<String>, OAuthError> {
        let htu = format!("{}/token", self.issuer());
        let of = ProofOf {
            method: "POST",
            htu: &htu,
            access_token: None,
        };
        proof.map(|proof| self.check_proof(proof, of)).transpose()
    }

    fn thumbprint_of(&self, token: &str) -> Option<String> {
        self.state().access_tokens.get(token)?.thumbprint.clone()
    }

    fn take_nonce(&self, shown: Option<&str>) -> Result<(), OAuthError> {
        let mut state = self.state();
        if !state.demands_nonces || shown.is_some_and(|nonce| state.proof_nonces.remove(nonce)) {
            return Ok(());
        }
        Err(OAuthError::new("use_dpop_nonce", "a nonce is needed"))
    }
}

/// The key that a proof shows, and its claims, where it is signed by that key.
fn read(proof: &str) -> Option<(Jwk, Map<String, Value>)> {
    let header = URL_SAFE_NO_PAD.decode(proof.split('.').next()?).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    let alg = header.get("alg")?.as_str()?;
    let jwk = header.get("jwk")?;
    if header.get("typ")?.as_str()? != "dpop+jwt"
        || !PROOF_ALGS.contains(&alg)
        || jwk.get("d").is_some()
    {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    let mut validation = Validation::new(Algorithm::from_str(alg).ok()?);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let claims = decode(proof, &key, &validation).ok()?.claims;
    Some((jwk, claims))
}
