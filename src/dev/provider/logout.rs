//! The ends: end-session (OIDC RP-Initiated Logout 1.0), what the relying parties hear of it (OIDC
//! Back-Channel and Front-Channel Logout 1.0) and revocation (RFC 7009).

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};
use url::Url;

use super::core::{Core, OAuthError, ProviderSession};
use super::parameters::Parameters;
use super::tamper::Stage;

/// A logout token is good for two minutes (Back-Channel Logout §2.4: "preferably at most two").
const LOGOUT_TOKEN_SECONDS: i64 = 120;

/// What a logout token is about.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What is left to do when sessions have ended.
#[derive(Debug, Default)]
pub struct Farewell {
    /// Where the browser goes next; `None` where the page of the provider is the end of the road,
    /// since an address that is not registered is never followed.
    pub next: Option<Url>,
    /// Whether the browser's own session goes on.
    pub browser_stays: bool,
    /// What is to be posted.
    pub notices: Vec<LogoutNotice>,
    /// What is to be loaded in frames before the browser goes on.
    pub frames: Vec<Url>,
}

/// A logout token and whom it is for.
#[derive(Clone)]
pub struct LogoutNotice {
    /// The relying party's back-channel logout URI.
    pub uri: Url,
    /// What it is to be told.
    pub logout_token: String,
}

/// Without the token.
impl fmt::Debug for LogoutNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogoutNotice({})", self.uri)
    }
}

impl Core {
    /// Ends the session at the provider that the `id_token_hint` is of, else the browser's `session`: who
    /// has signed in to another app meanwhile, as somebody else, stays there (RP-Initiated Logout §2).
    pub fn end_session(&self, request: &Parameters, session: Option<&str>) -> Farewell {
        let hinted = request
            .value("id_token_hint")
            .and_then(|hint| self.state().id_tokens.get(hint).cloned());
        let ended = self.end_sessions(|id, live| match &hinted {
            Some(hint) => hint.sid == live.sid,
            None => session == Some(id),
        });
        let is_live = |id: &str| self.state().sessions.contains_key(id);
        Farewell {
            browser_stays: session.is_some_and(is_live),
            next: self.after_end_session(request, hinted.as_ref().map(|hint| &*hint.client_id)),
            notices: ended.iter().flat_map(|live| self.notices(live)).collect(),
            frames: ended.iter().flat_map(|live| self.frames(live)).collect(),
        }
    }

    /// Ends every session of `user`, wherever it began. Each relying party is told once, of the
    /// user alone: all sessions there end.
    pub fn sign_out_user(&self, user: &str) -> Vec<LogoutNotice> {
        let ended = self.end_sessions(|_, live| live.sub == user);
        let client_ids: BTreeSet<&String> =
            ended.iter().flat_map(|live| &live.client_ids).collect();
        client_ids
            .into_iter()
            .filter_map(|client_id| self.notice(client_id, Some(user), None))
            .collect()
    }

    /// Ends the session that ID tokens call `sid`, and that one alone.
    pub fn sign_out_session(&self, sid: &str) -> Vec<LogoutNotice> {
        let ended = self.end_sessions(|_, live| live.sid == sid);
        ended.iter().flat_map(|live| self.notices(live)).collect()
    }

    /// A logout token for a relying party (Back-Channel Logout §2.4). An honest one names a user,
    /// a session or both.
    ///
    /// # Errors
    /// `invalid_client` where it is not known here, `server_error` where no key can sign.
    pub fn logout_token(
        &self,
        client_id: &str,
        sub: Option<&str>,
        sid: Option<&str>,
    ) -> Result<String, OAuthError> {
        let unknown = OAuthError::new("invalid_client", "no such relying party");
        let relying_party = self.relying_party(client_id).ok_or(unknown)?;
        let now = self.clock().now().unix_seconds();
        let mut claims = json!({
            "iss": self.issuer(),
            "aud": client_id,
            "iat": now,
            "exp": now + LOGOUT_TOKEN_SECONDS,
            "jti": self.random(),
            "events": { EVENT: {} },
        });
        if let Some(members) = claims.as_object_mut() {
            for (name, value) in [("sub", sub), ("sid", sid)] {
                if let Some(value) = value {
                    members.insert(name.to_owned(), Value::from(value));
                }
            }
        }
        let keys = self.keys();
        let alg = relying_party.id_token_alg;
        let key = keys.signing_with(&alg);
        let mut header = json!({ "alg": alg, "kid": key.kid(), "typ": "logout+jwt" });
        self.tamper(Stage::LogoutTokenHeader, &mut header);
        self.tamper(Stage::LogoutTokenClaims, &mut claims);
        let mut signed = json!({ "logout_token": key.sign(&header, &claims)? });
        self.tamper(Stage::LogoutToken, &mut signed);
        let text = signed.get("logout_token").and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }

    /// The sessions that `ends` picks by their cookie and their content, no longer live.
    fn end_sessions(&self, ends: impl Fn(&str, &ProviderSession) -> bool) -> Vec<ProviderSession> {
        let mut state = self.state();
        let mut ended = Vec::new();
        state.sessions.retain(|id, live| {
            let stays = !ends(id, live);
            if !stays {
                ended.push(live.clone());
            }
            stays
        });
        ended
    }

    /// What the relying parties of a session that ended are to be told.
    fn notices(&self, ended: &ProviderSession) -> Vec<LogoutNotice> {
        let (sub, sid) = (Some(ended.sub.as_str()), Some(ended.sid.as_str()));
        ended
            .client_ids
            .iter()
            .filter_map(|client_id| self.notice(client_id, sub, sid))
            .collect()
    }

    /// None where the relying party did not register for it.
    fn notice(
        &self,
        client_id: &str,
        sub: Option<&str>,
        sid: Option<&str>,
    ) -> Option<LogoutNotice> {
        let uri = self.relying_party(client_id)?.backchannel_logout_uri?;
        match self.logout_token(client_id, sub, sid) {
            Ok(logout_token) => Some(LogoutNotice { uri, logout_token }),
            Err(error) => {
                tracing::error!(event = "dev.failed", %error, "a logout token could not be made");
                None
            }
        }
    }

    /// What a browser is to load of the relying parties of a session that ended: each one's URI
    /// with issuer and session (Front-Channel Logout §2).
    fn frames(&self, ended: &ProviderSession) -> Vec<Url> {
        let registered = ended
            .client_ids
            .iter()
            .filter_map(|client_id| self.relying_party(client_id)?.frontchannel_logout_uri);
        registered
            .map(|mut uri| {
                uri.query_pairs_mut()
                    .append_pair("iss", self.issuer())
                    .append_pair("sid", &ended.sid);
                uri
            })
            .collect()
    }

    /// Where a browser may go once its session has ended.
    fn after_end_session(&self, request: &Parameters, hinted: Option<&str>) -> Option<Url> {
        let said = request.value("client_id");
        let client_id = match (hinted, said) {
            // The two must name the same relying party (RP-Initiated Logout §2).
            (Some(hinted), Some(said)) if hinted != said => return None,
            (hinted, said) => hinted.or(said)?,
        };
        let relying_party = self.relying_party(client_id)?;
        let target = request.value("post_logout_redirect_uri")?;
        let registered = relying_party
            .post_logout_redirect_uris
            .iter()
            .any(|known| known == target);
        let mut url = Url::parse(target).ok().filter(|_| registered)?;
        if let Some(state) = request.value("state") {
            url.query_pairs_mut().append_pair("state", state);
        }
        Some(url)
    }

    /// Revokes a token of the relying party that asks; a refresh token takes its grant along.
    ///
    /// # Errors
    /// `invalid_client` and `invalid_request`; an unknown token is no error (RFC 7009 §2.2).
    pub fn revoke(&self, form: &Parameters, authorization: Option<&str>) -> Result<(), OAuthError> {
        let relying_party = self.authenticate(form, authorization)?;
        let token = form
            .value("token")
            .ok_or(OAuthError::new("invalid_request", "the token is missing"))?;
        let mut state = self.state();
        let refresh = state.refresh_tokens.get(token).map(|issued| issued.grant);
        let owner = if let Some(grant) = refresh {
            state.grants.get(&grant).map(|grant| &grant.client_id)
        } else {
            let access = state.access_tokens.get(token);
            access.map(|issued| &issued.client_id)
        };
        let owned = owner == Some(&relying_party.client_id);
        if !owned {
            return Ok(());
        }
        if let Some(grant) = refresh {
            state.end_grant(grant);
        } else {
            state.access_tokens.remove(token);
        }
        Ok(())
    }
}
