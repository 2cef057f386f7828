//! `bff dev`: the development servers, put where the configuration names them, and the product before
//! them.

use std::sync::Arc;

use crate::app::service_manager::ServiceManager;
use crate::app::signals::Signals;
use crate::app::{Environment, RunningApp, StartError};
use crate::config::{Config, DevelopmentServers, SiteConfig, SiteInDevelopment, Warnings};
use crate::dev::{self, DevApp, DevClient};
use crate::pipeline::developer::Audience;
use crate::telemetry;

/// Starts the development servers, puts them where `config` names them, and serves. `announce` is
/// told, once all listen, where to look.
///
/// # Errors
///
/// As [`serve`](super::serve), and where the development servers cannot start.
pub fn develop(
    mut config: Config,
    warnings: &Warnings,
    announce: impl FnOnce(&Development),
) -> Result<(), StartError> {
    let _log = telemetry::init(&config.log)?;
    warnings.log();
    for site in config.faces() {
        site.log_exceptions();
    }
    let signals = Signals::listen()?;
    let environment = Environment::system(None);
    let apps = apps(&config);
    let endpoints = apps.first().ok_or(StartError::NoSite)?.endpoints();
    let choice = config.faces().next().and_then(|site| {
        let choices = &site.auth.choices;
        let first = choices.all.first().filter(|_| choices.must_be_made());
        first.map(|choice| choice.name.to_string())
    });
    let servers = dev::start(
        &config.dev,
        apps,
        Arc::clone(&environment.clock),
        Arc::clone(&environment.randomness),
    )?;
    let sites = config.sites_in_development();
    config.use_development_servers(&DevelopmentServers {
        issuer: servers.issuer.clone(),
        clients: servers.clients.clone(),
        api: servers.api_url.clone(),
        app: servers.demo_url.clone(),
    });
    let users = config.dev.users.iter();
    let users = users.map(|user| user.name.clone()).collect();
    let app = RunningApp::start_for(Audience::Developer, config, environment)?;
    announce(&Development {
        sites,
        endpoints: endpoints.to_string(),
        provider: choice,
        issuer: servers.issuer.clone(),
        control_url: servers.control_url.to_string(),
        users,
    });
    signals.run(app, &ServiceManager::none());
    Ok(())
}

/// The sites as the development servers know them, each tenant's among them.
fn apps(config: &Config) -> Vec<DevApp> {
    let sites = config.sites.iter().map(app);
    let tenants = config.tenanted.iter().flat_map(|site| {
        let tenants = site.tenants.iter();
        tenants.map(|tenant| {
            let mut own = app(&site.face);
            own.id = site.face.id.tenant(&tenant.name);
            own.origin = tenant.at_its_host(own.origin);
            own
        })
    });
    sites.chain(tenants).collect()
}

fn app(site: &SiteConfig) -> DevApp {
    let choices = &site.auth.choices;
    let providers = choices.all.iter().map(|choice| DevClient {
        name: choice.name.to_string(),
        has_own_addresses: choices.default.as_ref() != Some(&choice.name),
    });
    DevApp {
        providers: providers.collect(),
        id: site.id.clone(),
        origin: site.auth.public_url.clone(),
        mount: site.auth.mount.clone(),
        base_path: site.auth.base_path.clone(),
    }
}

/// Where to look, while `bff dev` runs.
#[derive(Debug)]
pub struct Development {
    /// The sites, in the order of the configuration.
    pub sites: Vec<SiteInDevelopment>,
    /// What the addresses of the first one's endpoints begin with.
    pub endpoints: String,
    /// What a login link there has to name, where a person would have to choose.
    pub provider: Option<String>,
    /// The development provider.
    pub issuer: String,
    /// The page that makes it misbehave.
    pub control_url: String,
    /// Who can sign in.
    pub users: Vec<String>,
}
