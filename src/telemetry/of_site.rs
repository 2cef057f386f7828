//! By which labels the numbers of one site are told from those of the others.
//!
//! The site that bff.toml itself describes has none: what a process with one site tells of stays what it
//! was, also once others come beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::Label;

use crate::web::site_id::SiteId;

/// Tenants that have series of their own. Those that come after them share one, so that ten thousand do
/// not make ten thousand of each.
const MOST_TENANTS: usize = 100;
/// What they share is called.
const OTHER: &str = "other";

/// The labels of one site; cheap to clone.
pub(super) type SiteLabels = Arc<[Label]>;

/// The labels of every site that was asked for.
#[derive(Debug, Default)]
pub(super) struct EverySite(Mutex<HashMap<SiteId, SiteLabels>>);

/// The labels of a site, and whether they are asked for the first time.
pub(super) struct Labelled {
    pub(super) labels: SiteLabels,
    pub(super) is_new: bool,
}

impl EverySite {
    pub(super) fn of(&self, site: &SiteId) -> Labelled {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = known.get(site) {
            return Labelled {
                labels: Arc::clone(labels),
                is_new: false,
            };
        }
        let is_tenant = |site: &SiteId| site.tenant_name().is_some();
        let is_one_of_many = is_tenant(site)
            && known.keys().filter(|known| is_tenant(known)).count() >= MOST_TENANTS;
        let tenant = site.tenant_name();
        let tenant = tenant.map(|name| if is_one_of_many { OTHER } else { name });
        let name = Some(site.site()).filter(|name| !name.is_empty());
        let labels: SiteLabels = name
            .map(|name| Label::new("site", name.to_owned()))
            .into_iter()
            .chain(tenant.map(|name| Label::new("tenant", name.to_owned())))
            .collect();
        if !is_one_of_many {
            known.insert(site.clone(), Arc::clone(&labels));
        }
        Labelled {
            labels,
            is_new: !is_one_of_many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(every: &EverySite, site: &SiteId) -> String {
        let labels = every.of(site).labels;
        let texts = labels
            .iter()
            .map(|label| format!("{}={}", label.key(), label.value()));
        texts.collect::<Vec<_>>().join(",")
    }

    /// DESIGN §7: a site is told by its name, that of bff.toml by none; a tenant by its own, up to a hundred.
    #[test]
    fn the_first_hundred_tenants_are_told_apart() {
        let every = EverySite::default();
        let shop = SiteId::new("shop");
        assert_eq!(text(&every, &SiteId::main()), "");
        assert_eq!(text(&every, &shop), "site=shop");
        for number in 0..MOST_TENANTS {
            let tenant = shop.tenant(&format!("t{number}"));
            assert_eq!(text(&every, &tenant), format!("site=shop,tenant=t{number}"));
        }
        assert_eq!(text(&every, &shop.tenant("late")), "site=shop,tenant=other");
        assert_eq!(text(&every, &shop.tenant("t0")), "site=shop,tenant=t0");
        let desk = SiteId::new("desk");
        assert_eq!(text(&every, &desk), "site=desk", "sites are the operator's");
        assert_eq!(text(&every, &SiteId::main().tenant("x")), "tenant=other");
    }

    /// What a site shares with nobody begins once.
    #[test]
    fn labels_are_new_once() {
        let every = EverySite::default();
        let shop = SiteId::new("shop");
        assert!(every.of(&shop).is_new);
        assert!(!every.of(&shop).is_new);
    }
}
