//! What `bff dev` has in the place of the provider, the demo API and the demo app, at whichever site.

use url::Url;

use crate::config::SiteConfig;
use crate::config::resolve::{DEMO_API, DEMO_APP};
use crate::dev::Clients;
use crate::oidc::ClientAuth;

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
        site.provider.issuer.clone_from(&self.issuer);
        site.provider.client_id = self.clients.id(&site.id);
        site.provider.client_auth = ClientAuth::SecretBasic(self.clients.secret(&site.id));
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
}
