//! The configuration of `bff dev`: the same file, with the development provider in the
//! provider's place. Its addresses are known only once it listens, so they are filled in then.

use std::num::NonZeroU16;
use std::path::Path;

use url::Url;

use crate::config::error::{ConfigErrors, Warnings};
use crate::config::resolve::{DEMO_API, DEMO_APP, Purpose};
use crate::config::tenants::TenantedSite;
use crate::config::{Config, DevelopmentServers, SiteConfig, Variables};
use crate::proxy::RouteSettings;
use crate::web::site_id::SiteId;

/// What an empty folder gets: the demo, with an API to call.
const BUILT_IN: &str = "[[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n";

/// A site, for a developer to read.
#[derive(Debug, PartialEq, Eq)]
pub struct SiteInDevelopment {
    /// Which one it is.
    pub id: SiteId,
    /// Where it begins.
    pub url: String,
    /// Where its file says that it is, where that is not on this machine.
    pub elsewhere: Option<String>,
    /// What stands behind its address, in the order written.
    pub paths: Vec<PathInDevelopment>,
    /// The names of its tenants and where each one's begins, where it has any.
    pub tenants: Vec<(String, Url)>,
}

/// Where the calls of one route go.
#[derive(Debug, PartialEq, Eq)]
pub struct PathInDevelopment {
    /// The route's name, which is its path as written; `/` for the app's files.
    pub path: String,
    /// An upstream's address, or what has none that anybody chose.
    pub leads_to: String,
}

impl SiteInDevelopment {
    fn of(site: &SiteConfig, elsewhere: Option<String>) -> Self {
        let routes = site.routes.iter().map(PathInDevelopment::of_route);
        let files = site.frontend.iter().map(|frontend| {
            // Without the way that its file goes to it.
            let dir = frontend.dir.canonicalize();
            let dir = dir.unwrap_or_else(|_| frontend.dir.clone());
            PathInDevelopment {
                path: "/".to_owned(),
                leads_to: format!("the files in {}", dir.display()),
            }
        });
        Self {
            id: site.id.clone(),
            url: site.auth.app_url().into(),
            elsewhere,
            paths: routes.chain(files).collect(),
            tenants: Vec::new(),
        }
    }

    fn of_tenants(site: &TenantedSite, elsewhere: Option<String>) -> Self {
        let mut face = Self::of(&site.face, elsewhere);
        face.url = format!("{}/", site.address());
        for way in &mut face.paths {
            way.path = site.template.as_written(&way.path);
            way.leads_to = site.template.as_written(&way.leads_to);
        }
        let tenants = site.tenants.iter().map(|tenant| {
            let url = tenant.at_its_host(site.face.auth.app_url());
            (tenant.name.to_string(), url)
        });
        face.tenants = tenants.collect();
        face
    }
}

impl PathInDevelopment {
    fn of_route(route: &RouteSettings) -> Self {
        let upstreams = route.upstreams.iter();
        let names = upstreams.map(|upstream| match upstream.as_str() {
            DEMO_API => "the demo API",
            DEMO_APP => "the demo app",
            address => address.trim_end_matches('/'),
        });
        Self {
            path: route.name.clone(),
            leads_to: names.collect::<Vec<_>>().join(", "),
        }
    }
}

impl Config {
    /// The sites and what stands behind the address of each; asked before
    /// [`Config::use_development_servers`] puts addresses in the place of the demo.
    pub fn sites_in_development(&self) -> Vec<SiteInDevelopment> {
        let elsewhere = |site: &SiteConfig| {
            let mut moved = self.elsewhere.iter();
            let (_, url) = moved.find(|(file, _)| *file == site.file)?;
            Some(url.trim_end_matches('/').to_owned())
        };
        let sites = self.sites.iter();
        let sites = sites.map(|site| SiteInDevelopment::of(site, elsewhere(site)));
        let tenanted = self.tenanted.iter();
        let tenanted =
            tenanted.map(|site| SiteInDevelopment::of_tenants(site, elsewhere(&site.face)));
        sites.chain(tenanted).collect()
    }

    /// The configuration for `bff dev`; without a `path`, that of the demo alone. Where a `port` is named,
    /// all is there, whatever the file says.
    ///
    /// It is complete after [`Config::use_development_servers`].
    ///
    /// # Errors
    /// As [`Config::load`]; a listener beyond this machine is one of the faults.
    pub fn load_for_development(
        path: Option<&Path>,
        port: Option<NonZeroU16>,
        variables: &Variables,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        let mut variables = variables.clone();
        if let Some(port) = port {
            // A variable wins over the file.
            let listen = ("BFF_SERVER__LISTEN".to_owned(), format!("127.0.0.1:{port}"));
            variables.extend([listen]);
        }
        let purpose = Purpose::Develop { port };
        match path {
            Some(path) => super::load(path, &variables, purpose),
            None => super::parse(BUILT_IN, Path::new("bff dev"), &variables, purpose),
        }
    }

    /// Puts the development servers where the configuration names them, at every site.
    pub fn use_development_servers(&mut self, servers: &DevelopmentServers) {
        for site in &mut self.sites {
            servers.stand_in(site);
        }
        for site in &mut self.tenanted {
            servers.stand_in(&mut site.face);
            site.template.use_development_servers(servers);
        }
    }
}
