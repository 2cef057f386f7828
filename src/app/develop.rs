//! `bff dev`: the development servers, put where the configuration names them, and the product before
//! them.

use std::sync::Arc;

use crate::app::service_manager::ServiceManager;
use crate::app::signals::Signals;
use crate::app::{Environment, RunningApp, StartError};
use crate::config::{Config, DevelopmentServers, PathInDevelopment, Warnings};
use crate::dev::{self, DevPlaces};
use crate::pipeline::developer::Audience;
use crate::secret::ClientSecret;
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
    for site in &config.sites {
        site.log_exceptions();
    }
    let signals = Signals::listen()?;
    let environment = Environment::system(None);
    let site = config.sites.first().ok_or(StartError::NoSite)?;
    let (public_url, base_path) = (site.auth.public_url.clone(), site.auth.base_path.clone());
    let endpoint = |name: &str| {
        let mut url = public_url.clone();
        url.set_path(&format!("{base_path}/{name}"));
        url
    };
    let places = DevPlaces {
        redirect_uri: site.provider.redirect_uri.clone(),
        post_logout_redirect_uri: endpoint("logout/callback"),
        backchannel_logout_uri: endpoint("backchannel-logout"),
    };
    let mut servers = dev::start(
        &config.dev,
        &places,
        Arc::clone(&environment.clock),
        Arc::clone(&environment.randomness),
    )?;
    let paths = config.paths_in_development();
    config.use_development_servers(DevelopmentServers {
        issuer: servers.issuer.clone(),
        client_id: servers.client_id.clone(),
        client_secret: std::mem::replace(&mut servers.client_secret, ClientSecret::new("")),
        api: servers.api_url.clone(),
        app: servers.demo_url.clone(),
    });
    let mut endpoints = public_url.clone();
    endpoints.set_path(&base_path);
    let users = config
        .dev
        .users
        .iter()
        .map(|user| user.name.clone())
        .collect();
    let app = RunningApp::start_for(Audience::Developer, config, environment)?;
    announce(&Development {
        endpoints: endpoints.to_string(),
        public_url: public_url.to_string(),
        issuer: servers.issuer.clone(),
        control_url: servers.control_url.to_string(),
        users,
        paths,
    });
    signals.run(app, &ServiceManager::none());
    Ok(())
}

/// Where to look, while `bff dev` runs.
#[derive(Debug)]
pub struct Development {
    /// The app.
    pub public_url: String,
    /// What its endpoints' addresses begin with.
    pub endpoints: String,
    /// The development provider.
    pub issuer: String,
    /// The page that makes it misbehave.
    pub control_url: String,
    /// Who can sign in.
    pub users: Vec<String>,
    /// What stands behind the app's address.
    pub paths: Vec<PathInDevelopment>,
}
