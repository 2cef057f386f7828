//! The development identity provider, the demo app and the demo API behind `bff dev`.
//!
//! To the rest of the code it is a provider like any other, reached over HTTP.

pub mod provider;

mod apps;

mod api;
mod demo;
mod serve;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use http::Request;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use apps::{Clients, DevApp, DevClient};
pub use serve::Dropped;

use self::api::Api;
use self::apps::Apps;
use self::demo::Demo;
use self::provider::client::{Proof, RelyingParty};
use self::provider::core::{Core, CoreSettings};
use self::provider::courier::HttpCourier;
use self::provider::endpoints::Endpoints;
use self::provider::keys::KeyFault;
use self::provider::tamper::Honest;
use self::serve::{always, collect, serve};
use crate::clock::{Clock, Randomness};

/// `[dev]`: who can sign in at the development provider.
#[derive(Debug, Clone)]
pub struct DevSettings {
    /// The users, alice and bob by default.
    pub users: Vec<DevUser>,
    /// The provider's port of 127.0.0.1; 0 takes a free one.
    pub provider_port: u16,
    /// Seconds that an access token lives.
    pub access_token_seconds: u64,
}

/// A person that the development provider knows.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// What `login_hint` names, and the `sub`.
    pub name: String,
    /// Claims beside `sub`.
    pub claims: Map<String, Value>,
}

/// The development servers could not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// An address is taken or not ours.
    #[error(
        "the development servers cannot listen on {address}, which another bff dev may have taken; \
         stop it, or change dev.provider_port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A thread or its runtime could not be had.
    #[error("the development servers cannot start a thread")]
    Thread(#[source] io::Error),
    /// The signing keys could not be made.
    #[error("the development provider cannot make its keys")]
    Keys(#[from] KeyFault),
}

/// The development servers, on a thread of their own until dropped.
#[derive(Debug)]
pub struct DevServers {
    /// The provider's issuer.
    pub issuer: String,
    /// Who each app is there, and how it proves that.
    pub clients: Clients,
    /// The demo API's origin: a route `/api` goes here, unstripped.
    pub api_url: Url,
    /// The demo app's origin: `/` goes here.
    pub demo_url: Url,
    /// The page that makes the provider misbehave.
    pub control_url: Url,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Starts the provider, which `apps` sign people in at, the demo app and the demo API.
///
/// # Errors
/// Where an address is taken, or no thread or key can be had.
pub fn start(
    settings: &DevSettings,
    apps: Vec<DevApp>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
) -> Result<DevServers, DevError> {
    let (provider_listener, provider_addr) = bind(settings.provider_port)?;
    let (demo_listener, demo_addr) = bind(0)?;
    // 127.0.0.1 and not `localhost`: another site than the app, as in life, and its cookies stay
    // with it, since cookies do not know ports.
    let issuer = format!("http://127.0.0.1:{}", provider_addr.port());
    let clients = Clients::new(&*randomness);
    let core = Arc::new(Core::new(
        CoreSettings {
            issuer: issuer.clone(),
            users: settings.users.clone(),
            relying_parties: apps
                .iter()
                .flat_map(|app| registered(app, &clients))
                .collect(),
            access_token_seconds: settings.access_token_seconds,
        },
        Arc::clone(&clock),
        randomness,
        Arc::new(Honest),
    )?);
    let endpoints = Endpoints::new(
        Arc::clone(&core),
        Arc::clone(&clock),
        Arc::new(HttpCourier::default()),
    );
    let demo = Demo::new(Apps::new(apps), &issuer);
    let api = Api::new(core, clock);
    let shutdown = CancellationToken::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DevError::Thread)?;
    let (provider_listener, demo_listener) = {
        let _entered = runtime.enter();
        let listener = |listener, address| {
            tokio::net::TcpListener::from_std(listener)
                .map_err(|source| DevError::Listen { address, source })
        };
        (
            listener(provider_listener, provider_addr)?,
            listener(demo_listener, demo_addr)?,
        )
    };
    let thread = std::thread::Builder::new()
        .name("bff-dev".to_owned())
        .spawn({
            let shutdown = shutdown.clone();
            move || {
                runtime.block_on(async move {
                    let provider = serve(provider_listener, shutdown.clone(), move |request| {
                        provide(endpoints.clone(), request)
                    });
                    let demo = serve(demo_listener, shutdown, move |request| {
                        let (api, demo) = (api.clone(), demo.clone());
                        async move { always(demonstrate(&api, &demo, request).await) }
                    });
                    tokio::join!(provider, demo);
                });
            }
        })
        .map_err(DevError::Thread)?;
    let demo_url = url(demo_addr, &format!("http://localhost:{}", demo_addr.port()))?;
    let control_url = url(provider_addr, &format!("{issuer}/control"))?;
    Ok(DevServers {
        issuer,
        clients,
        api_url: demo_url.clone(),
        demo_url,
        control_url,
        shutdown,
        thread: Some(thread),
    })
}

impl Drop for DevServers {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(event = "dev.failed", "the development servers panicked");
        }
    }
}

/// What the provider knows of an app: a client, or one for each of several providers that it is to it.
fn registered(app: &DevApp, clients: &Clients) -> Vec<RelyingParty> {
    if app.providers.is_empty() {
        return vec![relying_party(app, None, "", clients)];
    }
    let each = app.providers.iter().map(|provider| {
        let own = if provider.has_own_addresses {
            format!("/{}", provider.name)
        } else {
            String::new()
        };
        relying_party(app, Some(&provider.name), &own, clients)
    });
    each.collect()
}

fn relying_party(
    app: &DevApp,
    provider: Option<&str>,
    own: &str,
    clients: &Clients,
) -> RelyingParty {
    let client_id = clients.id(&app.id, provider);
    RelyingParty {
        proof: Proof::Secret(clients.password(&client_id)),
        client_id,
        redirect_uris: vec![app.endpoint(&format!("callback{own}")).to_string()],
        post_logout_redirect_uris: vec![app.endpoint("logout/callback").to_string()],
        backchannel_logout_uri: Some(app.endpoint(&format!("backchannel-logout{own}"))),
        frontchannel_logout_uri: None,
        id_token_alg: "RS256".to_owned(),
    }
}

async fn provide(
    endpoints: Endpoints,
    request: Request<Incoming>,
) -> Result<http::Response<crate::web::body::Body>, Dropped> {
    let request = collect(request).await.map_err(|_| Dropped)?;
    endpoints.answer(request).await
}

async fn demonstrate(
    api: &Api,
    demo: &Demo,
    request: Request<Incoming>,
) -> http::Response<crate::web::body::Body> {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        api.answer(request).await
    } else {
        demo.answer(&request)
    }
}

/// This port of the loopback address; 0 takes a free one.
fn bind(port: u16) -> Result<(TcpListener, SocketAddr), DevError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let fault = |source| DevError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, bound))
}

fn url(address: SocketAddr, text: &str) -> Result<Url, DevError> {
    Url::parse(text).map_err(|error| DevError::Listen {
        address,
        source: io::Error::other(error),
    })
}
