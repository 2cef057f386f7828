//! A site that is one for each of its tenants: what they have in common, and what each is filled with.

use std::sync::Arc;

use url::Url;

use crate::config::SiteConfig;
use crate::config::error::ConfigErrors;
use crate::web::host_pattern::HostPattern;

/// A site with `{tenant}` in its `public_url`: each tenant has a site of its own.
#[derive(Debug)]
pub struct TenantedSite {
    /// What is the same for all tenants, as it is for one that is nobody's; never served.
    pub face: SiteConfig,
    /// The hosts that are tenants' or nobody's.
    pub pattern: HostPattern,
    /// Where people are sent who come to a host of the pattern that is no tenant's.
    pub no_tenant: Option<Url>,
    /// In the order of their names.
    pub tenants: Vec<Tenant>,
    /// What a tenant's site is made of.
    pub template: Arc<Template>,
}

impl TenantedSite {
    /// Its public URL with `{tenant}` in it, as an operator writes it.
    pub fn public_url(&self) -> String {
        let url = &self.face.auth.public_url;
        let host = self.pattern.host_of("{tenant}");
        let port = url.port().map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        format!("{}://{host}{port}{}", url.scheme(), self.face.auth.mount)
    }
}

/// One of those that a site is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// As in `acme`.
    pub name: Box<str>,
    /// Its host in lower case and in A-labels, by the pattern or of its own.
    pub host: Box<str>,
    /// Its variables' values, in the order of the template's names.
    values: Box<[Box<str>]>,
}

/// A site's file, whose placeholders have yet to be filled.
#[derive(Debug)]
pub struct Template {}

impl Template {
    /// The site of a tenant. Reads the files that it names: secrets, roots.
    ///
    /// # Errors
    ///
    /// A file is not there any more; what else could be wrong was judged when the configuration was read.
    pub fn site_of(&self, _tenant: &Tenant) -> Result<SiteConfig, ConfigErrors> {
        unimplemented!()
    }
}
