//! Makes the sites of tenants as they are asked for, from what their site says of all of them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use http::HeaderValue;

use crate::app::StartError;
use crate::app::site::{Face, Ground, providers_of};
use crate::auth::ending::{Endings, FindsEndings};
use crate::config::{Template, Tenant, TenantedSite};
use crate::pipeline::site::{Neighbours, Site};
use crate::pipeline::sites::WeakSites;
use crate::pipeline::tenancy::{MakesSites, Tenancy, TenancyParts};
use crate::telemetry::chain;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// The tenants of a site, none of whose sites is made yet.
///
/// # Errors
///
/// What keeps all of them from being served, in one sentence.
pub(super) fn tenancy(
    ground: &Arc<Ground>,
    tenanted: TenantedSite,
) -> Result<Arc<Tenancy>, StartError> {
    let TenantedSite {
        face,
        pattern,
        no_tenant,
        tenants,
        template,
    } = tenanted;
    let (id, mount) = (SiteId::new(face.id.site()), face.auth.mount.clone());
    let cookies = face.session.cookie.derived_names();
    let maker = Maker {
        face: ground.face(face)?,
        ground: Arc::clone(ground),
        template,
        tenants,
    };
    Ok(Arc::new(Tenancy::new(TenancyParts {
        id,
        mount,
        cookies,
        pattern,
        no_tenant: no_tenant.and_then(|url| HeaderValue::try_from(String::from(url)).ok()),
        maker: Box::new(maker),
    })))
}

/// Makes the sites of one site's tenants.
#[derive(Debug)]
struct Maker {
    ground: Arc<Ground>,
    face: Face,
    template: Arc<Template>,
    tenants: Vec<Tenant>,
}

impl MakesSites for Maker {
    fn count(&self) -> usize {
        self.tenants.len()
    }

    fn tenant(&self, index: usize) -> Option<(&str, &str)> {
        let tenant = self.tenants.get(index)?;
        Some((&tenant.name, &tenant.host))
    }

    fn digest(&self, index: usize) -> u64 {
        let mut digest = DefaultHasher::new();
        self.tenants.get(index).hash(&mut digest);
        digest.finish()
    }

    fn make(&self, index: usize, neighbours: Neighbours) -> Result<Site, String> {
        let tenant = self.tenants.get(index);
        let tenant = tenant.ok_or_else(|| "there is no such tenant".to_owned())?;
        let config = self.template.site_of(tenant);
        let config = config.map_err(|errors| errors.to_string())?;
        let site = self.ground.tenants_site(config, neighbours, &self.face);
        site.map_err(|error| chain(&error))
    }

    fn let_go(&self, sites: &[Arc<Site>]) {
        let providers = sites.iter().flat_map(|site| providers_of(site));
        self.ground.providers.let_go(providers);
    }
}

/// What follows the ends of tenants' sessions: those end too whose sites nobody has asked for.
#[derive(Debug)]
pub(super) struct TenantsEndings(pub(super) WeakSites);

impl FindsEndings for TenantsEndings {
    fn of(&self, site: &SiteId, registration: &Registration) -> Option<Endings> {
        let site = self.0.of_tenant(site)?;
        let mut all = site.relying_parties();
        let its = all.find(|at| at.provider().settings().registration() == *registration);
        its.map(|at| at.endings().clone())
    }
}
