//! The ends: end-session (OIDC RP-Initiated Logout 1.0) and revocation (RFC 7009).

use url::Url;

use super::core::{Core, OAuthError};
use super::parameters::Parameters;

impl Core {
    /// Ends the session at the provider, by the browser's `session` and by the `id_token_hint`.
    ///
    /// Gives where the browser goes next; `None` where the page of the provider is the end of
    /// the road, since an address that is not registered is never followed.
    pub fn end_session(&self, request: &Parameters, session: Option<&str>) -> Option<Url> {
        let hinted = {
            let mut state = self.state();
            let hinted = request
                .value("id_token_hint")
                .and_then(|hint| state.id_tokens.get(hint))
                .cloned();
            if let Some(session) = session {
                state.sessions.remove(session);
            }
            if let Some(hinted) = &hinted {
                state
                    .sessions
                    .retain(|_, session| session.sid != hinted.sid);
            }
            hinted
        };
        let said = request.value("client_id");
        let client_id = match (&hinted, said) {
            // The two must name the same relying party (RP-Initiated Logout §2).
            (Some(hinted), Some(said)) if hinted.client_id != said => return None,
            (Some(hinted), _) => hinted.client_id.as_str(),
            (None, said) => said?,
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
        let access = state.access_tokens.get(token).map(|issued| issued.grant);
        let owned = refresh
            .or(access)
            .and_then(|grant| state.grants.get(&grant))
            .is_some_and(|grant| grant.client_id == relying_party.client_id);
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
