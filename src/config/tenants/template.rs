//! What the sites of tenants are made of, and how one is made.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "dev")]
use std::sync::OnceLock;

use url::Url;

use crate::config::SiteConfig;
#[cfg(feature = "dev")]
use crate::config::development_servers::DevelopmentServers;
use crate::config::document::Variables;
use crate::config::error::{ConfigErrors, Faults, Place, Source};
use crate::config::file::ServerTable;
use crate::config::folder::Folder;
use crate::config::print::ProviderPrints;
use crate::config::resolve::described::Described;
use crate::config::resolve::process_secrets::ProcessSecrets;
use crate::config::resolve::site;
use crate::config::resolve::surroundings::{Purpose, Surroundings};
use crate::config::tenants::Tenant;
use crate::config::tenants::draft::{self, Draft, Of};
use crate::config::tenants::placeholders::TENANT;
#[cfg(feature = "dev")]
use crate::config::tenants::placeholders::{stand_in, written};
use crate::web::host_pattern::HostPattern;
use crate::web::site_id::SiteId;

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
    /// Its address as an operator knows it, as in `https://{tenant}.app.example.com/shop`.
    pub fn address(&self) -> String {
        self.template.public_url(&self.pattern.to_string())
    }
}

/// A site's file, whose placeholders have yet to be filled.
pub struct Template {
    draft: Draft,
    id: SiteId,
    source: Source,
    /// The variables that a tenant's values are for, in their order.
    names: Vec<String>,
    /// What stands before and after the host in the tenants' `public_url`.
    around_host: (String, String),
    process: Arc<Process>,
    #[cfg(feature = "dev")]
    development: OnceLock<DevelopmentServers>,
}

/// What all templates of a process are filled beside.
pub(in crate::config) struct Process {
    pub(in crate::config) main: Source,
    pub(in crate::config) server: ServerTable,
    pub(in crate::config) server_place: Place,
    pub(in crate::config) variables: Variables,
    pub(in crate::config) purpose: Purpose,
}

/// It may hold secrets.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.draft)
    }
}

impl Template {
    pub(in crate::config) fn new(
        draft: Draft,
        (id, source): (SiteId, Source),
        face: &SiteConfig,
        process: Arc<Process>,
    ) -> Self {
        let url = &face.auth.public_url;
        let port = url.port().map(|port| format!(":{port}"));
        let after = format!("{}{}", port.unwrap_or_default(), face.auth.mount);
        let draft = draft.without_certificates();
        Self {
            id,
            source,
            names: draft.names().into_iter().map(str::to_owned).collect(),
            around_host: (format!("{}://", url.scheme()), after),
            draft,
            process,
            #[cfg(feature = "dev")]
            development: OnceLock::new(),
        }
    }

    /// The site of a tenant. Reads the files that it names: secrets, roots.
    ///
    /// # Errors
    ///
    /// A file is not there any more; what else could be wrong was judged when the configuration was read.
    pub fn site_of(&self, tenant: &Tenant) -> Result<SiteConfig, ConfigErrors> {
        let root = self.draft.filled(self.public_url(&tenant.host), |name| {
            if name == TENANT {
                return &tenant.name;
            }
            let at = self.names.iter().position(|known| known == name);
            at.and_then(|at| tenant.values.get(at))
                .map_or("", |value| value)
        });
        let process = &*self.process;
        let folder = Folder::of(&process.main);
        let mut faults = Faults::of(self.source.clone());
        let file = draft::read(&root, self.draft.of, &mut faults);
        let site = file.and_then(|file| {
            let described = Described {
                source: &self.source,
                is_of_bff_toml: self.draft.of == Of::BffToml,
                id: self.id.tenant(&tenant.name),
                file: Cow::Owned(file),
                providers: &ProviderPrints::of(&root, &folder),
                server: &process.server,
                server_place: &process.server_place,
                ground: None,
                draft: None,
            };
            let surroundings = Surroundings {
                purpose: process.purpose,
                variables: &process.variables,
                folder: &folder,
                here: None,
                of_nobody: false,
                own: ProcessSecrets::NONE,
            };
            site::site(&described, surroundings, &mut faults).config
        });
        let (site, _) = faults.conclude(site)?;
        #[cfg(feature = "dev")]
        let site = self.with_development_servers(site);
        Ok(site)
    }

    /// What its sites have in the place of the provider, the demo API and the demo app.
    #[cfg(feature = "dev")]
    pub(in crate::config) fn use_development_servers(&self, servers: &DevelopmentServers) {
        drop(self.development.set(servers.clone()));
    }

    #[cfg(feature = "dev")]
    fn with_development_servers(&self, mut site: SiteConfig) -> SiteConfig {
        if let Some(servers) = self.development.get() {
            servers.stand_in(&mut site);
        }
        site
    }

    /// A text of the site as it is read for nobody in particular, with its placeholders.
    #[cfg(feature = "dev")]
    pub(in crate::config) fn as_written(&self, text: &str) -> String {
        let names = self.names.iter().map(String::as_str).chain([TENANT]);
        names.fold(text.to_owned(), |text, name| {
            text.replace(&stand_in(name), &written(name))
        })
    }

    fn public_url(&self, host: &str) -> String {
        let (before, after) = &self.around_host;
        format!("{before}{host}{after}")
    }
}
