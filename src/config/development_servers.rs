//! What `bff dev` has in the place of the provider, the demo API and the demo app, at whichever site.

use std::sync::Arc;

use url::Url;

use crate::auth::AuthSettings;
use crate::auth::choices::Choices;
use crate::config::SiteConfig;
use crate::config::resolve::{DEMO_API, DEMO_APP};
use crate::dev::Clients;
use crate::oidc::{ClientAuth, ProviderSettings};
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// Where the development servers listen and who each site is there; cheap to clone.
#[derive(Debug, Clone)]
pub struct DevelopmentServers {
    /// The development provider's issuer.
    pub issuer: String,
    /// Who each site is at the development provider.
    pub clients: Clients,
    /// The demo API, for routes whose upstream is `"dev:api"`.
    pub api: Url,
    /// The demo app, which takes the place of a frontend that is not configured.
    pub app: Url,
}

impl DevelopmentServers {
    /// Puts the development provider, the demo API and the demo app where `site` names them.
    pub(super) fn stand_in(&self, site: &mut SiteConfig) {
        let mut choices = (*site.auth.choices).clone();
        for choice in &mut choices.all {
            let client_id = self.clients.id(&site.id, Some(&choice.name));
            choice.registration = Registration::new(&self.issuer, &client_id);
        }
        let choices = Arc::new(choices);
        self.stand_in_for(&site.id, &mut site.auth, &mut site.provider, &choices);
        for other in &mut site.others {
            self.stand_in_for(&site.id, &mut other.auth, &mut other.provider, &choices);
        }
        let upstreams = site
            .routes
            .iter_mut()
            .flat_map(|route| &mut route.upstreams);
        for upstream in upstreams {
            match upstream.as_str() {
                DEMO_API => upstream.clone_from(&self.api),
                DEMO_APP => upstream.clone_from(&self.app),
                _ => {}
            }
        }
    }
    /// Puts the development provider in the place of one, which it is by another client than the others.
    fn stand_in_for(
        &self,
        site: &SiteId,
        auth: &mut AuthSettings,
        provider: &mut ProviderSettings,
        choices: &Arc<Choices>,
    ) {
        auth.choices = Arc::clone(choices);
        provider.issuer.clone_from(&self.issuer);
        provider.client_id = self.clients.id(site, auth.name.as_deref());
        provider.client_auth = ClientAuth::SecretBasic(self.clients.secret(&provider.client_id));
    }
}
