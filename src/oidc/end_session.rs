//! Where the browser signs out at the provider (RP-Initiated Logout 1.0), as it must be told or as the
//! operator says that it wants to be told.

use url::Url;

use crate::oidc::Provider;
use crate::oidc::hint::add_id_token_hint;
use crate::oidc::id_token;
use crate::secret::IdToken;

/// What one logout tells the provider.
#[derive(Debug, Clone, Copy)]
pub struct EndSessionRequest<'a> {
    /// The last ID token. Left out where the address would be too long with it.
    pub id_token_hint: Option<&'a IdToken>,
    /// Who is meant, in a word that the provider knows.
    pub logout_hint: Option<&'a str>,
    /// Where the browser comes back to.
    pub post_logout_redirect_uri: &'a Url,
    /// Comes back with it.
    pub state: &'a str,
}

impl Provider {
    /// Where to send the browser to sign out (RP-Initiated Logout §2, E3). None where the logout is
    /// to end here, the provider offers no such place or was never reached (E6).
    pub fn end_session_url(&self, request: &EndSessionRequest<'_>) -> Option<Url> {
        let settings = &self.0.settings;
        if !settings.logout.at_provider {
            return None;
        }
        let mut url = self.0.discovery.cached()?.end_session_endpoint.clone()?;
        let operator = &settings.logout.params;
        let is_ours = |name: &str| operator.iter().all(|(own, _)| own != name);
        let landing = request.post_logout_redirect_uri.as_str();
        let ours = [
            ("client_id", Some(settings.client_id.as_str())),
            ("logout_hint", request.logout_hint),
            ("post_logout_redirect_uri", Some(landing)),
            ("state", Some(request.state)),
        ];
        let ours = ours.into_iter().filter(|(name, _)| is_ours(name));
        let ours = ours.filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut()
            .extend_pairs(ours)
            .extend_pairs(operator.iter().filter(|(_, value)| !value.is_empty()));
        if let Some(id_token) = request.id_token_hint
            && is_ours("id_token_hint")
            && !add_id_token_hint(&mut url, id_token)
        {
            tracing::info!(
                event = "logout.without_hint",
                "the ID token is too long for an address: the logout goes without it"
            );
        }
        Some(url)
    }

    /// What an ID token that was kept says in its claim `name`, where that is a text.
    pub fn text_claim(id_token: &IdToken, name: &str) -> Option<String> {
        id_token::text_claim(id_token, name)
    }
}
