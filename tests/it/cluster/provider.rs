//! The honest provider with a ledger: which rotation it answered on which connection, what became
//! of its tokens, and when connections ended. Its clock is the machine's, as the nodes' is.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bff::clock::{SystemClock, SystemRandomness};
use bff::dev::provider::client::{Proof, RelyingParty};
use bff::dev::provider::core::{Core, CoreSettings};
use bff::dev::provider::courier::HttpCourier;
use bff::dev::provider::endpoints::{Endpoint, Endpoints};
use bff::dev::provider::parameters::Parameters;
use bff::dev::provider::tamper::{Stage, Tamper};
use bff::dev::{DevUser, Dropped};
use bff::web::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::canary::Canaries;
use crate::support::clock::soon;
use crate::support::helper::Helper;
use crate::support::idp::{CLIENT_ID, PUBLIC_URL};

/// The provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) client_secret: String,
    pub(super) core: Arc<Core>,
    ledger: Arc<Ledger>,
    // Last, so that its thread ends before what it uses.
    _helper: Helper,
}

/// One use of a refresh token.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    pub(super) subject: String,
    pub(super) presented: String,
    pub(super) connection: u64,
    pub(super) came: Instant,
    pub(super) decided: Instant,
    /// `None` where it was refused.
    pub(super) granted: Option<Granted>,
}

/// What a rotation gave.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
}

/// A token that was bought otherwise than by a login.
#[derive(Debug, Clone)]
pub(super) struct Purchase {
    /// `grant_type`.
    pub(super) grant: String,
    /// For whom.
    pub(super) audience: Option<String>,
    pub(super) access_token: String,
}

#[derive(Debug)]
struct Ledger {
    endpoints: OnceLock<Endpoints>,
    rotations: Mutex<Vec<Rotation>>,
    purchases: Mutex<Vec<Purchase>>,
    /// The tokens that were revoked by those who had them.
    revoked: Mutex<HashSet<String>>,
    /// Whose refresh token it is.
    owners: Mutex<HashMap<String, String>>,
    closed: Mutex<HashMap<u64, Instant>>,
    secrets: Mutex<Canaries>,
    /// How many refreshes and exchanges have come.
    came: watch::Sender<usize>,
    /// Whether they are answered.
    open: watch::Sender<bool>,
    /// How long one takes before it is decided, and again before its answer leaves.
    pause: Mutex<Duration>,
}

impl Provider {
    /// A provider that knows `user-0` and so on, and takes as long as it has to.
    pub(super) fn start(users: usize, access_token_seconds: u64) -> Self {
        let client_secret = bff::secret::random_base64url::<24>(&SystemRandomness);
        let ledger = Arc::new(Ledger {
            endpoints: OnceLock::new(),
            rotations: Mutex::default(),
            purchases: Mutex::default(),
            revoked: Mutex::default(),
            owners: Mutex::default(),
            closed: Mutex::default(),
            secrets: Mutex::new(vec![("client secret", client_secret.clone())]),
            came: watch::Sender::default(),
            open: watch::Sender::new(true),
            pause: Mutex::default(),
        });
        let connections = AtomicU64::new(0);
        let helper = Helper::listen("the provider", {
            let ledger = Arc::clone(&ledger);
            move |stream| {
                let connection = connections.fetch_add(1, Ordering::Relaxed);
                serve(Arc::clone(&ledger), stream, connection)
            }
        });
        let issuer = format!("http://{}", helper.addr());
        let settings = CoreSettings {
            issuer: issuer.clone(),
            users: (0..users).map(user).collect(),
            relying_parties: vec![RelyingParty {
                client_id: CLIENT_ID.to_owned(),
                proof: Proof::Secret(client_secret.clone()),
                redirect_uris: vec![format!("{PUBLIC_URL}/bff/callback")],
                post_logout_redirect_uris: vec![format!("{PUBLIC_URL}/bff/logout/callback")],
                backchannel_logout_uri: None,
                frontchannel_logout_uri: None,
                id_token_alg: "ES256".to_owned(),
            }],
            access_token_seconds,
        };
        let core = Core::new(
            settings,
            Arc::new(SystemClock),
            Arc::new(SystemRandomness),
            Arc::new(Recorder(Arc::clone(&ledger))),
        );
        let core = Arc::new(core.unwrap());
        let courier = Arc::new(HttpCourier::default());
        let endpoints = Endpoints::new(Arc::clone(&core), Arc::new(SystemClock), courier);
        ledger.endpoints.set(endpoints).unwrap();
        Self {
            issuer,
            client_secret,
            core,
            ledger,
            _helper: helper,
        }
    }

    /// The host and port.
    pub(super) fn authority(&self) -> &str {
        self.issuer.strip_prefix("http://").unwrap()
    }

    /// Takes this long over each refresh, half of it after the decision.
    pub(super) fn take_time(&self, span: Duration) {
        *self.ledger.pause.lock().unwrap() = span / 2;
    }

    /// Keeps refreshes and exchanges waiting, undecided, or lets all go on.
    pub(super) fn hold(&self, hold: bool) {
        self.ledger.open.send_replace(!hold);
    }

    /// How many refreshes and exchanges have come, decided or not.
    pub(super) fn came(&self) -> usize {
        *self.ledger.came.borrow()
    }

    /// Waits until so many of them have come.
    pub(super) async fn came_times(&self, count: usize) {
        let mut came = self.ledger.came.subscribe();
        let what = format!("{count} refreshes");
        let waited = soon(&what, came.wait_for(|came| *came >= count)).await;
        waited.unwrap();
    }

    /// Every decided use of a refresh token from the `from`th on.
    pub(super) fn rotations(&self, from: usize) -> Vec<Rotation> {
        self.ledger.rotations.lock().unwrap()[from..].to_vec()
    }

    /// Every token that was bought otherwise than by a login from the `from`th on.
    pub(super) fn purchases(&self, from: usize) -> Vec<Purchase> {
        self.ledger.purchases.lock().unwrap()[from..].to_vec()
    }

    /// Whether this token was revoked by whoever had it.
    pub(super) fn was_revoked(&self, token: &str) -> bool {
        self.ledger.revoked.lock().unwrap().contains(token)
    }

    /// How many uses of refresh tokens were decided.
    pub(super) fn decided(&self) -> usize {
        self.ledger.rotations.lock().unwrap().len()
    }

    /// When a connection ended, if it has.
    pub(super) fn closed(&self, connection: u64) -> Option<Instant> {
        self.ledger.closed.lock().unwrap().get(&connection).copied()
    }

    /// Every code and token that was given out, and the client secret.
    pub(super) fn secrets(&self) -> Canaries {
        self.ledger.secrets.lock().unwrap().clone()
    }
}

fn user(number: usize) -> DevUser {
    let name = format!("user-{number}");
    let claims = json!({ "name": name, "email": format!("{name}@example.com") });
    DevUser {
        claims: claims.as_object().unwrap().clone(),
        name,
    }
}

/// Tells no lie, and writes down what is given out.
#[derive(Debug)]
struct Recorder(Arc<Ledger>);

impl Tamper for Recorder {
    fn tamper(&self, stage: Stage, value: &mut Value) {
        let members: &[(&'static str, &str)] = match stage {
            Stage::TokenResponse
            | Stage::RefreshResponse
            | Stage::ExchangedToken
            | Stage::ClientToken => &[
                ("access token", "access_token"),
                ("refresh token", "refresh_token"),
                ("ID token", "id_token"),
            ],
            Stage::AuthorizationResponse => &[("code", "code")],
            _ => &[],
        };
        let mut secrets = self.0.secrets.lock().unwrap();
        for (kind, member) in members {
            if let Some(secret) = value.get(member).and_then(Value::as_str) {
                secrets.push((kind, secret.to_owned()));
            }
        }
    }
}

impl Ledger {
    async fn answer(
        &self,
        request: Request<Bytes>,
        connection: u64,
    ) -> Result<Response<Body>, Dropped> {
        let endpoints = self.endpoints.get().unwrap();
        let endpoint = Endpoint::at(request.uri().path());
        if endpoint == Endpoint::Revocation {
            let form = Parameters::parse(request.body());
            let token = form.value("token").unwrap_or_default().to_owned();
            self.revoked.lock().unwrap().insert(token);
        }
        if endpoint != Endpoint::Token {
            return endpoints.answer(request).await;
        }
        let came = Instant::now();
        let form = Parameters::parse(request.body());
        let presented = form.value("refresh_token").map(str::to_owned);
        let pause = *self.pause.lock().unwrap();
        let is_held = presented.is_some() || form.value("subject_token").is_some();
        if is_held {
            self.came.send_modify(|came| *came += 1);
            drop(self.open.subscribe().wait_for(|open| *open).await);
            tokio::time::sleep(pause).await;
        }
        let (parts, body) = endpoints.answer(request).await?.into_parts();
        let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        self.write_down(&body, presented, connection, came);
        self.write_down_purchase(&body, &form);
        if is_held {
            tokio::time::sleep(pause).await;
        }
        Ok(Response::from_parts(parts, Body::full(body)))
    }

    fn write_down(&self, body: &[u8], presented: Option<String>, connection: u64, came: Instant) {
        let answer: Value = serde_json::from_slice(body).unwrap();
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let granted = text("access_token").zip(text("refresh_token"));
        let granted = granted.map(|(access_token, refresh_token)| Granted {
            access_token,
            refresh_token,
        });
        let mut owners = self.owners.lock().unwrap();
        if let Some(granted) = &granted {
            let subject = subject_of(&text("id_token").unwrap());
            owners.insert(granted.refresh_token.clone(), subject);
        }
        let Some(presented) = presented else { return };
        let rotation = Rotation {
            subject: owners.get(&presented).cloned().unwrap_or_default(),
            presented,
            connection,
            came,
            decided: Instant::now(),
            granted,
        };
        drop(owners);
        self.rotations.lock().unwrap().push(rotation);
    }
}

impl Ledger {
    fn write_down_purchase(&self, body: &[u8], form: &Parameters) {
        let answer: Value = serde_json::from_slice(body).unwrap();
        let grant = form.value("grant_type").unwrap_or_default();
        let Some(access_token) = answer["access_token"].as_str() else {
            return;
        };
        if grant == "authorization_code" {
            return;
        }
        let audience = form.value("resource").or_else(|| form.value("audience"));
        self.purchases.lock().unwrap().push(Purchase {
            grant: grant.to_owned(),
            audience: audience.map(str::to_owned),
            access_token: access_token.to_owned(),
        });
    }
}

fn subject_of(id_token: &str) -> String {
    let payload = id_token.split('.').nth(1).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

async fn serve(ledger: Arc<Ledger>, stream: TcpStream, connection: u64) {
    let service = service_fn(|request: Request<Incoming>| {
        let ledger = Arc::clone(&ledger);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
            let request = Request::from_parts(parts, body);
            ledger.answer(request, connection).await
        }
    });
    // However it ended, it did.
    let ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(ended);
    let now = Instant::now();
    ledger.closed.lock().unwrap().insert(connection, now);
}
