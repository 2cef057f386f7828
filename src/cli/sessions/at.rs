//! At which sites: how the command line says it, and what is said where there is no such site.

use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::SessionsError;
use super::shown::{MAIN_SITE, place, visible};
use crate::cli::admin_client::AdminClient;

/// Names that a sentence lists at most.
const LISTED: usize = 10;

/// At which sites, as it was written.
#[derive(Debug, Args)]
pub(super) struct AtSite {
    /// Only at this site, with all its tenants; "" is that of bff.toml itself
    #[arg(long, value_name = "SITE")]
    pub(super) site: Option<String>,
    /// Only of this tenant of it
    #[arg(long, value_name = "TENANT", requires = "site")]
    tenant: Option<String>,
}

/// A site with all its tenants, or one tenant.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    site: &'a str,
    tenant: Option<&'a str>,
}

/// What the API tells of a site that is served.
#[derive(Debug, Deserialize)]
struct Served {
    site: String,
    tenants: Vec<String>,
}

impl AtSite {
    /// What is meant; `None` for all sites. As the column SITE writes it will do as well: `shop/acme` for
    /// a tenant, `(bff.toml)` for the site without a name.
    pub(super) fn meant(&self) -> Result<Option<At<'_>>, SessionsError> {
        let Some(written) = self.site.as_deref() else {
            return Ok(None);
        };
        let (site, tenant) = match (written.split_once('/'), self.tenant.as_deref()) {
            (Some(_), Some(_)) => return Err(SessionsError::TwoTenants(written.to_owned())),
            (Some((site, tenant)), None) => (site, Some(tenant)),
            (None, tenant) => (written, tenant),
        };
        let site = if site == MAIN_SITE { "" } else { site };
        Ok(Some(At { site, tenant }))
    }
}

impl<'a> At<'a> {
    /// As the API is asked for it.
    pub(super) fn parameters(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let tenant = self.tenant.map(|tenant| ("tenant", tenant));
        [("site", self.site)].into_iter().chain(tenant)
    }

    /// As people read it.
    pub(super) fn shown(self) -> String {
        place(self.site, self.tenant)
    }

    /// Why nothing is found there, where that is because the process serves no such site.
    pub(super) fn absence(self, client: &AdminClient) -> Result<Option<String>, SessionsError> {
        let mut answer = client.ask(Method::GET, "/api/sites")?;
        let served = answer.get_mut("sites").map(Value::take);
        let served: Vec<Served> = serde_json::from_value(served.unwrap_or_default())?;
        Ok(self.absent_from(&served))
    }

    fn absent_from(self, served: &[Served]) -> Option<String> {
        let name = place(self.site, None);
        let Some(site) = served.iter().find(|served| served.site == self.site) else {
            let known = served.iter().map(|served| place(&served.site, None));
            return Some(format!("there is no site {name}; {}", listed(known)));
        };
        let tenant = self.tenant?;
        if site.tenants.iter().any(|served| served == tenant) {
            return None;
        }
        if site.tenants.is_empty() {
            return Some(format!("{name} has no tenants"));
        }
        let known = listed(site.tenants.iter().map(|name| visible(name)));
        Some(format!("{name} has no tenant {}; {known}", visible(tenant)))
    }
}

/// Which there are, the first of them by name.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    let more = match names.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first: Vec<String> = names.take(LISTED).collect();
    format!("there {verb} {}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(site: &'a str, tenant: Option<&'a str>) -> At<'a> {
        At { site, tenant }
    }

    /// §7: whoever mistypes a site or a tenant reads which there are, at most ten.
    #[test]
    fn a_site_that_is_not_there_is_told_from_those_that_are() {
        let site = |site: &str, tenants: &[&str]| Served {
            site: site.to_owned(),
            tenants: tenants.iter().map(|name| (*name).to_owned()).collect(),
        };
        let served = [site("", &[]), site("desk", &["acme", "initech"])];
        for (at, says) in [
            (at("", None), None),
            (at("desk", None), None),
            (at("desk", Some("acme")), None),
            (
                at("deks", None),
                Some("there is no site deks; there are (bff.toml), desk"),
            ),
            (
                at("deks", Some("acme")),
                Some("there is no site deks; there are (bff.toml), desk"),
            ),
            (
                at("desk", Some("acne")),
                Some("desk has no tenant acne; there are acme, initech"),
            ),
            (at("", Some("acme")), Some("(bff.toml) has no tenants")),
        ] {
            assert_eq!(at.absent_from(&served).as_deref(), says, "{at:?}");
        }
        let many: Vec<Served> = (10..22).map(|n| site(&format!("s{n}"), &[])).collect();
        assert_eq!(
            at("s", None).absent_from(&many).as_deref(),
            Some(
                "there is no site s; there are s10, s11, s12, s13, s14, s15, s16, s17, s18, s19 and 2 more"
            )
        );
    }
}
