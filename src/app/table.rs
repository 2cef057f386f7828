//! The sites of a configuration beside each other, and who makes those of tenants.

use std::sync::Arc;

use crate::app::StartError;
use crate::app::site::Ground;
use crate::app::tenants;
use crate::config::{SiteConfig, TenantedSite};
use crate::pipeline::site::Neighbours;
use crate::pipeline::sites::Table;

/// The table of the sites that are described so.
///
/// # Errors
///
/// What keeps one from being served, in one sentence.
pub(super) fn table(
    ground: &Arc<Ground>,
    sites: Vec<SiteConfig>,
    tenanted: Vec<TenantedSite>,
) -> Result<Table, StartError> {
    let neighbours: Vec<_> = sites
        .iter()
        .map(|config| neighbours(config, &sites, &tenanted))
        .collect();
    let built: Result<_, StartError> = sites
        .into_iter()
        .zip(neighbours)
        .map(|(config, neighbours)| Ok(Arc::new(ground.site(config, neighbours)?)))
        .collect();
    let tenancies = tenanted.into_iter();
    let tenancies = tenancies.map(|tenanted| tenants::tenancy(ground, tenanted));
    Ok(Table::new(built?, tenancies.collect::<Result<_, _>>()?))
}

/// What `config` must know of those that share its host.
fn neighbours(config: &SiteConfig, all: &[SiteConfig], tenanted: &[TenantedSite]) -> Neighbours {
    let host = config.auth.public_url.host_str();
    let others = all
        .iter()
        .filter(|other| other.id != config.id && other.auth.public_url.host_str() == host);
    let tenants = tenanted.iter().filter(|tenanted| {
        let mut tenants = tenanted.tenants.iter();
        tenants.any(|tenant| Some(&*tenant.host) == host)
    });
    let mut neighbours = Neighbours::default();
    for other in others.chain(tenants.map(|tenanted| &tenanted.face)) {
        let names = other.session.cookie.derived_names();
        neighbours.add(&config.auth.mount, &other.auth.mount, &names);
    }
    neighbours
}
