//! `GET /api/sites`: the sites that are served, for whoever wants to pick one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::json_answer;
use crate::web::body::Body;
use crate::web::site_id::SiteId;

/// Who knows the sites of this process.
pub trait NamesSites: Send + Sync + fmt::Debug {
    /// Every site and tenant that is served now.
    fn sites(&self) -> Vec<SiteId>;
}

/// The sites by name, each with its tenants. One that is gone is not among them, though its sessions may
/// be in the store still.
pub(super) fn answer(sites: &dyn NamesSites) -> Response<Body> {
    let mut tenants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in sites.sites() {
        let of_site = tenants.entry(id.site().to_owned()).or_default();
        of_site.extend(id.tenant_name().map(str::to_owned));
    }
    let sites = tenants.into_iter();
    let sites: Vec<Value> = sites
        .map(|(site, tenants)| json!({ "site": site, "tenants": tenants }))
        .collect();
    json_answer(StatusCode::OK, &json!({ "sites": sites }))
}
