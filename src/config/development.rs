//! The configuration of `bff dev`: the same file, with the development provider in the
//! provider's place. Its addresses are known only once it listens, so they are filled in then.

use std::path::Path;

use url::Url;

use crate::config::error::{ConfigErrors, Warnings};
use crate::config::resolve::{DEMO_API, DEMO_APP, Purpose};
use crate::config::{Config, Variables};
use crate::oidc::ClientAuth;
use crate::secret::ClientSecret;

/// What an empty folder gets: the demo, with an API to call.
const BUILT_IN: &str = "[[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n";

/// Where the development servers listen and who we are there.
#[derive(Debug)]
pub struct DevelopmentServers {
    /// The development provider's issuer.
    pub issuer: String,
    /// Who we are at the development provider.
    pub client_id: String,
    /// How we prove it.
    pub client_secret: ClientSecret,
    /// The demo API, for routes whose upstream is `"dev:api"`.
    pub api: Url,
    /// The demo app, which takes the place of a frontend that is not configured.
    pub app: Url,
}

/// Where the calls of one route go, for a developer to read.
#[derive(Debug, PartialEq, Eq)]
pub struct PathInDevelopment {
    /// The route's name, which is its path as written; `/` for the app's files.
    pub path: String,
    /// An upstream's address, or what has none that anybody chose.
    pub leads_to: String,
}

impl Config {
    /// What stands behind the app's address, in the order written; asked before
    /// [`Config::use_development_servers`] puts addresses in the place of the demo.
    pub fn paths_in_development(&self) -> Vec<PathInDevelopment> {
        let routes = self
            .sites
            .iter()
            .flat_map(|site| &site.routes)
            .map(|route| PathInDevelopment {
                path: route.name.clone(),
                leads_to: route
                    .upstreams
                    .iter()
                    .map(|upstream| match upstream.as_str() {
                        DEMO_API => "the demo API",
                        DEMO_APP => "the demo app",
                        address => address.trim_end_matches('/'),
                    })
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        let frontends = self.sites.iter().filter_map(|site| site.frontend.as_ref());
        let files = frontends.map(|frontend| PathInDevelopment {
            path: "/".to_owned(),
            leads_to: format!("the files in {}", frontend.dir.display()),
        });
        routes.chain(files).collect()
    }

    /// The configuration for `bff dev`; without a `path`, that of the demo alone.
    ///
    /// It is complete after [`Config::use_development_servers`].
    ///
    /// # Errors
    /// As [`Config::load`]; a listener or a `public_url` beyond this machine is one of the faults.
    pub fn load_for_development(
        path: Option<&Path>,
        variables: &Variables,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        match path {
            Some(path) => super::load(path, variables, Purpose::Develop),
            None => super::parse(BUILT_IN, Path::new("bff dev"), variables, Purpose::Develop),
        }
    }

    /// Puts the development provider, the demo API and the demo app where the configuration names them.
    pub fn use_development_servers(&mut self, servers: DevelopmentServers) {
        if let Some(site) = self.sites.first_mut() {
            site.provider.issuer = servers.issuer;
            site.provider.client_id = servers.client_id;
            site.provider.client_auth = ClientAuth::SecretBasic(servers.client_secret);
        }
        let routes = self.sites.iter_mut().flat_map(|site| &mut site.routes);
        let upstreams = routes.flat_map(|route| &mut route.upstreams);
        for upstream in upstreams {
            match upstream.as_str() {
                DEMO_API => upstream.clone_from(&servers.api),
                DEMO_APP => upstream.clone_from(&servers.app),
                _ => {}
            }
        }
    }
}
