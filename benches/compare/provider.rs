//! The development provider in a process of its own, so that signing in costs the measured one
//! nothing.

use std::sync::Arc;

use bff::clock::{SystemClock, SystemRandomness};
use bff::dev::{self, DevPlaces, DevSettings, DevUser};
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
    let places = DevPlaces {
        redirect_uri: public_url.join("/bff/callback")?,
        post_logout_redirect_uri: public_url.join("/bff/logout/callback")?,
        backchannel_logout_uri: public_url.join("/bff/backchannel-logout")?,
    };
    let servers = dev::start(
        &settings,
        &places,
        Arc::new(SystemClock),
        Arc::new(SystemRandomness),
    )?;
    tell(&servers.issuer);
    tell(&servers.client_id);
    tell(servers.client_secret.expose());
    until_left_alone()
}
