//! The development provider in a process of its own, so that signing in costs the measured one
//! nothing.

use std::sync::Arc;

use bff::clock::{SystemClock, SystemRandomness};
use bff::dev::{self, DevApp, DevSettings, DevUser};
use bff::web::site_id::SiteId;
use serde_json::Map;
use url::Url;

use crate::{Outcome, tell, until_left_alone};

/// Starts the provider for the app at `public_url` and says its issuer, the client id and the
/// client secret, one a line. Its access tokens outlive any measurement.
pub(crate) fn run(public_url: &str) -> Outcome {
    let public_url = Url::parse(public_url)?;
    let settings = DevSettings {
        users: vec![DevUser {
            name: "alice".to_owned(),
            claims: Map::new(),
        }],
        provider_port: 0,
        access_token_seconds: 24 * 60 * 60,
    };
    let app = DevApp {
        id: SiteId::main(),
        origin: public_url,
        mount: String::new(),
        base_path: "/bff".to_owned(),
        providers: Vec::new(),
    };
    let servers = dev::start(
        &settings,
        vec![app],
        Arc::new(SystemClock),
        Arc::new(SystemRandomness),
    )?;
    tell(&servers.issuer);
    let client_id = servers.clients.id(&SiteId::main(), None);
    tell(&client_id);
    tell(servers.clients.secret(&client_id).expose());
    until_left_alone()
}
