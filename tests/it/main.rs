//! The black-box tests: one binary, one file a feature. `support` is the cast: a browser, a
//! provider that can lie, an upstream that records, and `bff` between them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a panic is how a test fails"
)]

mod support;
mod tenants;

mod administration;
mod answers;
mod architecture;
mod back;
mod backchannel_logout;
mod behind_nginx;
mod callback;
mod cast;
mod certificates;
mod check_online;
mod check_sites;
mod cli;
mod client_auth;
mod client_cert;
#[cfg(all(feature = "sqlite", feature = "redis", feature = "postgres"))]
mod cluster;
mod connections;
mod cookie_store;
mod cookies;
mod csrf;
#[cfg(feature = "redis")]
mod damaged_records;
mod dev_sites;
mod discovery;
mod dpop;
mod events;
mod first_light;
mod frontchannel_logout;
mod frontend;
mod headers;
mod http1;
mod http2;
mod id_token;
mod identity;
mod internal_provider;
mod login;
mod logout;
mod logs;
mod metrics;
mod mutual_tls;
mod operations;
mod packaging;
mod pages;
mod paths;
mod popup;
mod private_authority;
mod provider_ends;
mod proxied_provider;
mod proxy;
mod pushed;
mod real_providers;
mod refresh;
mod reload;
mod requirements;
mod return_to;
mod route_tokens;
mod rules;
mod session;
mod session_memory;
mod sessions_endpoint;
mod several_providers;
mod site_journey;
mod sites;
mod socket_files;
mod sse;
mod step_up;
mod stores;
mod strangers;
#[cfg(all(feature = "sqlite", feature = "redis", feature = "postgres"))]
mod told_of_session;
mod upgrade;
mod upstream_401;
mod user_guard;
mod websocket;
