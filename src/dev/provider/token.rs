//! The token endpoint's decisions (RFC 6749 §4.1.3, §6): codes are good once, refresh tokens
//! rotate, and a second use of either ends all that came of it.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::client::RelyingParty;
use super::core::{
    Core, Grant, GrantId, IssuedAccess, IssuedIdToken, IssuedRefresh, JWT_BEARER, OAuthError,
    TOKEN_EXCHANGE,
};
use super::other_grants::audience;
use super::parameters::Parameters;
use super::shown::{Shown, token_type};
use super::tamper::Stage;

/// An ID token is good for five minutes.
const ID_TOKEN_SECONDS: i64 = 300;

impl Core {
    /// Answers a token request: `form`, with what its head shows.
    ///
    /// # Errors
    /// The codes of RFC 6749 §5.2 and RFC 9449 §5.
    pub fn token(&self, form: &Parameters, shown: Shown<'_>) -> Result<Value, OAuthError> {
        // A token may be for several (RFC 8707 §2, RFC 8693 §2.1).
        if form.repeated_but_for(&["resource", "audience"]).is_some() {
            return Err(OAuthError::new("invalid_request", "a repeated parameter"));
        }
        let relying_party = self.authenticate(form, shown.authorization)?;
        let key = self.key_of(shown.proof)?;
        match form.value("grant_type") {
            Some("authorization_code") => self.exchange_code(&relying_party, form, key),
            Some("refresh_token") => self.refresh(&relying_party, form, key),
            Some("client_credentials") => self.client_credentials(&relying_party, form, key),
            Some(TOKEN_EXCHANGE | JWT_BEARER) => self.exchange_token(&relying_party, form, key),
            _ => Err(OAuthError::new(
                "unsupported_grant_type",
                "authorization_code, refresh_token, client_credentials, token-exchange and jwt-bearer are",
            )),
        }
    }

    fn exchange_code(
        &self,
        relying_party: &RelyingParty,
        form: &Parameters,
        key: Option<String>,
    ) -> Result<Value, OAuthError> {
        let refused = |why| OAuthError::new("invalid_grant", why);
        let presented = form
            .value("code")
            .ok_or(OAuthError::new("invalid_request", "the code is missing"))?;
        let now = self.clock().now();
        let (id, grant) = {
            let mut state = self.state();
            let code = state
                .codes
                .get_mut(presented)
                .ok_or(refused("unknown code"))?;
            let first_use = !std::mem::replace(&mut code.spent, true);
            let code = code.clone();
            if !first_use {
                state.end_grant(code.grant);
                return Err(refused("the code was used before"));
            }
            let grant = state
                .grants
                .get(&code.grant)
                .cloned()
                .ok_or(refused("the grant was revoked"))?;
            if now >= code.expires_at {
                return Err(refused("the code is too old"));
            }
            if grant.client_id != relying_party.client_id {
                return Err(refused("the code is another client's"));
            }
            if form.value("redirect_uri") != Some(&code.redirect_uri) {
                return Err(refused("another redirect_uri"));
            }
            let challenge = form.value("code_verifier").map(s256);
            if challenge.as_deref() != Some(&code.code_challenge) {
                return Err(refused("the code_verifier does not fit"));
            }
            if code.thumbprint.is_some() && code.thumbprint != key {
                return Err(refused("the code is bound to another key"));
            }
            (code.grant, grant)
        };
        let bound = Bound {
            audience: audience(form),
            key,
        };
        let mut response = self.issue_tokens(relying_party, id, &grant, bound, Issue::Login)?;
        self.tamper(Stage::TokenResponse, &mut response);
        Ok(response)
    }

    fn refresh(
        &self,
        relying_party: &RelyingParty,
        form: &Parameters,
        key: Option<String>,
    ) -> Result<Value, OAuthError> {
        let refused = |why| OAuthError::new("invalid_grant", why);
        let presented = form.value("refresh_token").ok_or(OAuthError::new(
            "invalid_request",
            "the refresh_token is missing",
        ))?;
        let (id, mut grant) = {
            let mut state = self.state();
            let issued = state
                .refresh_tokens
                .get(presented)
                .cloned()
                .ok_or(refused("unknown refresh token"))?;
            if issued.spent {
                state.end_grant(issued.grant);
                return Err(refused("the refresh token was used before"));
            }
            let grant = state
                .grants
                .get(&issued.grant)
                .cloned()
                .ok_or(refused("the grant was revoked"))?;
            if grant.client_id != relying_party.client_id {
                return Err(refused("the refresh token is another client's"));
            }
            (issued.grant, grant)
        };
        let narrowed = form.words("scope");
        if !narrowed.is_empty() {
            // RFC 6749 §6: nothing that was not granted before.
            if !narrowed.iter().all(|scope| grant.scope.contains(scope)) {
                return Err(OAuthError::new("invalid_scope", "wider than granted"));
            }
            grant.scope = narrowed;
        }
        {
            // Only now, so that a request refused above costs the relying party nothing. Two at
            // once: the second finds it spent.
            let mut state = self.state();
            let spent = state
                .refresh_tokens
                .get_mut(presented)
                .is_none_or(|issued| std::mem::replace(&mut issued.spent, true));
            if spent {
                state.end_grant(id);
                return Err(refused("the refresh token was used before"));
            }
            for session in state.sessions.values_mut() {
                session.refreshes += u64::from(session.sid == grant.session.sid);
            }
        }
        let bound = Bound {
            audience: audience(form),
            key,
        };
        let mut response = self.issue_tokens(relying_party, id, &grant, bound, Issue::Refresh)?;
        self.tamper(Stage::RefreshResponse, &mut response);
        Ok(response)
    }

    fn issue_tokens(
        &self,
        relying_party: &RelyingParty,
        id: GrantId,
        grant: &Grant,
        Bound { audience, key }: Bound,
        issue: Issue,
    ) -> Result<Value, OAuthError> {
        let has = |name: &str| grant.scope.iter().any(|scope| scope == name);
        let now = self.clock().now();
        let access_token = self.random();
        // A narrowed refresh still renews the family that may ask for more again.
        let refresh_token =
            (issue == Issue::Refresh || has("offline_access")).then(|| self.random());
        let id_token = if has("openid") {
            Some(self.id_token(relying_party, grant, &access_token, issue)?)
        } else {
            None
        };
        let token_type = token_type(key.as_deref());
        let mut state = self.state();
        state.forget_expired(now);
        let seconds = state.access_token_seconds;
        state.access_tokens.insert(
            access_token.clone(),
            IssuedAccess {
                grant: Some(id),
                client_id: grant.client_id.clone(),
                scope: grant.scope.clone(),
                audience: if audience.is_empty() {
                    grant.audience.clone()
                } else {
                    audience
                },
                actor: None,
                thumbprint: key,
                expires_at: now + Duration::from_secs(seconds),
            },
        );
        if let Some(refresh_token) = &refresh_token {
            let issued = IssuedRefresh {
                grant: id,
                spent: false,
            };
            state.refresh_tokens.insert(refresh_token.clone(), issued);
        }
        if let Some(id_token) = &id_token {
            let issued = IssuedIdToken {
                client_id: grant.client_id.clone(),
                sid: grant.session.sid.clone(),
                issued_at: now,
            };
            state.id_tokens.insert(id_token.clone(), issued);
        }
        drop(state);
        let mut response = json!({
            "access_token": access_token,
            "token_type": token_type,
            "expires_in": seconds,
            "scope": grant.scope.join(" "),
        });
        if let Some(members) = response.as_object_mut() {
            for (name, token) in [("refresh_token", refresh_token), ("id_token", id_token)] {
                if let Some(token) = token {
                    members.insert(name.to_owned(), Value::from(token));
                }
            }
        }
        Ok(response)
    }

    /// The ID token (OIDC Core §2); a refreshed one carries no nonce (§12.2).
    fn id_token(
        &self,
        relying_party: &RelyingParty,
        grant: &Grant,
        access_token: &str,
        issue: Issue,
    ) -> Result<String, OAuthError> {
        let now = self.clock().now().unix_seconds();
        let session = &grant.session;
        let mut claims: Map<String, Value> = self.claims_of(&session.sub, &grant.scope);
        let amr: &[&str] = if session.acr == "mfa" {
            &["pwd", "otp"]
        } else {
            &["pwd"]
        };
        let protocol = json!({
            "iss": self.issuer(),
            "sub": session.sub,
            "aud": relying_party.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_SECONDS,
            "auth_time": session.auth_time.unix_seconds(),
            "sid": session.sid,
            "acr": session.acr,
            "amr": amr,
            "at_hash": left_half_hash(access_token),
        });
        if let Value::Object(protocol) = protocol {
            claims.extend(protocol);
        }
        let stage = match issue {
            Issue::Login => {
                if let Some(nonce) = &grant.nonce {
                    claims.insert("nonce".to_owned(), Value::from(nonce.clone()));
                }
                Stage::IdTokenClaims
            }
            Issue::Refresh => Stage::RefreshedIdTokenClaims,
        };
        let keys = self.keys();
        let key = keys.signing_with(&relying_party.id_token_alg);
        let mut header = json!({ "alg": relying_party.id_token_alg, "kid": key.kid() });
        let mut claims = Value::Object(claims);
        self.tamper(Stage::IdTokenHeader, &mut header);
        self.tamper(stage, &mut claims);
        Ok(key.sign(&header, &claims)?)
    }
}

/// What the tokens are issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Issue {
    Login,
    Refresh,
}

/// What an access token is good for: with whom, and in whose hands.
struct Bound {
    audience: Vec<String>,
    /// The thumbprint of the key that it is bound to.
    key: Option<String>,
}

/// `BASE64URL(SHA256(text))`: a challenge (RFC 7636 §4.6), and what a proof says of a token (RFC 9449 §4.2).
pub(super) fn s256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// `at_hash` for the algorithms that end in 256 (OIDC Core §3.1.3.6).
fn left_half_hash(access_token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..16).unwrap_or_default())
}
