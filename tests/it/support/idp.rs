//! The provider of the tests: the development provider's honest core on a port of its own, which
//! lies when it is told to, and remembers everything that it was asked and that it gave out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bff::clock::{ManualClock, SystemRandomness};
use bff::dev::provider::client::{Proof, RelyingParty};
use bff::dev::provider::core::{Core, CoreSettings};
use bff::dev::provider::courier::{Answered, Courier};
use bff::dev::provider::endpoints::{Endpoint, Endpoints};
use bff::dev::provider::logout::LogoutNotice;
use bff::dev::provider::parameters::Parameters;
use bff::dev::provider::tamper::{Stage, Tamper};
use bff::dev::{DevUser, Dropped};
use bff::web::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use url::Url;

use super::call::{Call, HOST};
use super::canary::Canaries;
use super::clock::soon;
use super::faults::Fault;
use super::helper::Helper;
use super::wire::Reply;

/// Who `bff` is at this provider.
pub(crate) const CLIENT_ID: &str = "app";

/// Where `bff` is in the eyes of browsers.
pub(crate) const PUBLIC_URL: &str = "https://app.example";

/// Where browsers find a site on a host of its own.
pub(crate) const SECOND_SITE: &str = "https://shop.example";

/// Where browsers find another one.
pub(crate) const THIRD_SITE: &str = "https://desk.example";

/// Where browsers find a site on a path of the first one's host.
pub(crate) const PATH_SITE: &str = "https://app.example/team";

/// Where browsers find tenants: two by a pattern, and one on a host of its own.
pub(crate) const TENANTS: [&str; 3] = [
    "https://acme.desk.example",
    "https://initech.desk.example",
    "https://portal.globex.example",
];

/// Every site that the provider sends people back to.
const SITES: [&str; 7] = [
    PUBLIC_URL,
    SECOND_SITE,
    THIRD_SITE,
    PATH_SITE,
    TENANTS[0],
    TENANTS[1],
    TENANTS[2],
];

/// Their origins.
pub(crate) const ORIGINS: [&str; 3] = [PUBLIC_URL, SECOND_SITE, THIRD_SITE];

/// Seconds that an access token lives, until a test says otherwise.
pub(crate) const ACCESS_TOKEN_SECONDS: u64 = 300;

/// The provider.
#[derive(Debug)]
pub(crate) struct Idp {
    pub(crate) issuer: String,
    pub(crate) client_secret: String,
    pub(crate) core: Arc<Core>,
    clock: Arc<ManualClock>,
    shared: Arc<Shared>,
    messenger: Arc<Messenger>,
    // Last, so that its thread ends before what it uses.
    helper: Helper,
}

#[derive(Debug)]
struct Shared {
    endpoints: OnceLock<(Endpoints, Arc<Core>)>,
    client_secret: String,
    faults: Mutex<Vec<ActiveFault>>,
    asked: watch::Sender<Vec<Asked>>,
    issued: Mutex<Canaries>,
    held: Mutex<HashMap<Endpoint, watch::Receiver<bool>>>,
}

#[derive(Debug, Clone)]
struct ActiveFault {
    fault: Fault,
    once: bool,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Parameters,
    pub(crate) headers: HeaderMap,
    pub(crate) form: Parameters,
}

impl Asked {
    /// Whether it asks for the revocation of this token.
    pub(crate) fn revokes(&self, token: &str) -> bool {
        self.endpoint == Endpoint::Revocation && self.form.value("token") == Some(token)
    }
}

/// A logout token that the provider made because a session ended, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) uri: Url,
    pub(crate) logout_token: String,
    /// The status of the answer; `None` where there was none, or nobody to tell.
    pub(crate) status: Option<u16>,
}

/// Carries logout tokens to where `bff` really listens, and remembers each.
#[derive(Debug, Default)]
struct Messenger {
    address: Mutex<Option<SocketAddr>>,
    told: watch::Sender<Vec<Told>>,
}

/// Holds back the answers of one endpoint until dropped.
#[derive(Debug)]
pub(crate) struct Gate {
    // Dropped with the gate, which lets all that wait go on.
    _closed: watch::Sender<bool>,
}

impl Idp {
    /// An honest provider that knows alice and bob, and `bff` by a secret.
    pub(crate) fn start(clock: &Arc<ManualClock>) -> Self {
        Self::with_users(clock, users())
    }

    /// An honest provider that knows a crowd, who sign in as user-0 and so on.
    pub(crate) fn with_crowd(clock: &Arc<ManualClock>, count: usize) -> Self {
        let crowd = (0..count).map(|at| user(&format!("user-{at}"), "One Of Many"));
        Self::with_users(clock, crowd.collect())
    }

    /// An honest one that browsers know by another name than its address.
    pub(crate) fn known_as(issuer: &str, clock: &Arc<ManualClock>) -> Self {
        Self::with_issuer(clock, users(), |_| issuer.to_owned())
    }

    fn with_users(clock: &Arc<ManualClock>, users: Vec<DevUser>) -> Self {
        Self::with_issuer(clock, users, |addr| format!("http://{addr}"))
    }

    fn with_issuer(
        clock: &Arc<ManualClock>,
        users: Vec<DevUser>,
        issuer: impl FnOnce(SocketAddr) -> String,
    ) -> Self {
        let client_secret = bff::secret::random_base64url::<24>(&SystemRandomness);
        let shared = Arc::new(Shared {
            endpoints: OnceLock::new(),
            client_secret: client_secret.clone(),
            faults: Mutex::default(),
            asked: watch::Sender::default(),
            issued: Mutex::default(),
            held: Mutex::default(),
        });
        let helper = Helper::listen("the provider", {
            let shared = Arc::clone(&shared);
            move |stream| serve(Arc::clone(&shared), stream)
        });
        let issuer = issuer(helper.addr());
        let core = Core::new(
            CoreSettings {
                issuer: issuer.clone(),
                users,
                relying_parties: vec![relying_party(Proof::Secret(client_secret.clone()))],
                access_token_seconds: ACCESS_TOKEN_SECONDS,
            },
            Arc::clone(clock) as _,
            Arc::new(SystemRandomness),
            Arc::new(Liar(Arc::clone(&shared))),
        );
        let core = Arc::new(core.unwrap());
        let messenger = Arc::new(Messenger::default());
        let endpoints = Endpoints::new(
            Arc::clone(&core),
            Arc::clone(clock) as _,
            Arc::clone(&messenger) as _,
        );
        shared
            .endpoints
            .set((endpoints, Arc::clone(&core)))
            .unwrap();
        Self {
            issuer,
            client_secret,
            core,
            clock: Arc::clone(clock),
            shared,
            messenger,
            helper,
        }
    }

    /// The time, which `bff` and the browser share.
    pub(crate) fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.helper.addr()
    }

    /// The URL of `path` here, as browsers know it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// `bff` calls this one so, among several: its answers go to addresses of their own.
    pub(crate) fn called(self, name: &str) -> Self {
        self.called_at(PUBLIC_URL, name);
        self
    }

    /// The same, for a `bff` that browsers know at this origin.
    pub(crate) fn called_at(&self, origin: &str, name: &str) {
        let address = |path: &str| format!("{origin}/bff/{path}");
        let own = |path: &str| Url::parse(&address(&format!("{path}/{name}"))).unwrap();
        self.core.register(RelyingParty {
            redirect_uris: vec![address(&format!("callback/{name}"))],
            post_logout_redirect_uris: vec![address("logout/callback")],
            backchannel_logout_uri: Some(own("backchannel-logout")),
            frontchannel_logout_uri: Some(own("frontchannel-logout")),
            ..relying_party(Proof::Secret(self.client_secret.clone()))
        });
    }

    /// Expects another proof of `bff` from now on.
    pub(crate) fn expect_proof(&self, proof: Proof) {
        self.core.register(relying_party(proof));
    }

    /// Signs `bff`'s ID tokens with another algorithm from now on.
    pub(crate) fn sign_with(&self, alg: &str) {
        self.core.register(RelyingParty {
            id_token_alg: alg.to_owned(),
            ..relying_party(Proof::Secret(self.client_secret.clone()))
        });
    }

    /// Has signed-out pages load `bff`'s front channel from now on.
    pub(crate) fn use_front_channel(&self) {
        self.core.register(RelyingParty {
            frontchannel_logout_uri: Some(public_url("/bff/frontchannel-logout")),
            ..relying_party(Proof::Secret(self.client_secret.clone()))
        });
    }

    /// Carries logout tokens to `bff` from now on, which listens at `address`. Until then they are
    /// made and go nowhere.
    pub(crate) fn deliver_to(&self, address: SocketAddr) {
        *self.messenger.address.lock().unwrap() = Some(address);
    }

    /// Every logout token that the end of a session brought about so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.messenger.told.borrow().clone()
    }

    /// Waits until `count` logout tokens have been delivered, or found nobody.
    pub(crate) async fn told_times(&self, count: usize) -> Vec<Told> {
        let mut told = self.messenger.told.subscribe();
        let what = format!("{count} logout tokens");
        let enough = told.wait_for(|told| told.len() >= count);
        soon(&what, enough).await.unwrap().clone()
    }

    /// The sessions of `user` here, by the `sid` of their ID tokens, oldest first.
    pub(crate) fn sids(&self, user: &str) -> Vec<String> {
        let sessions = self.core.sessions().into_iter();
        let of_user = sessions.filter(|session| session.sub == user);
        of_user.map(|session| session.sid).collect()
    }

    /// A logout token for `bff`, as the active faults shape it. An honest one names one or both.
    pub(crate) fn logout_token(&self, sub: Option<&str>, sid: Option<&str>) -> String {
        self.core.logout_token(CLIENT_ID, sub, sid).unwrap()
    }

    /// Signs `user` out of every session here and tells `bff`, which listens at `address`: its
    /// answers, one a relying party.
    pub(crate) async fn sign_out(&self, user: &str, address: SocketAddr) -> Vec<Reply> {
        deliver_all(self.core.sign_out_user(user), address).await
    }

    /// Ends the session `sid` here and tells `bff`, which listens at `address`.
    pub(crate) async fn end_session(&self, sid: &str, address: SocketAddr) -> Vec<Reply> {
        deliver_all(self.core.sign_out_session(sid), address).await
    }

    /// Goes wrong like this from now on.
    pub(crate) fn misbehave(&self, fault: Fault) {
        self.add_fault(fault, false);
    }

    /// Goes wrong like this the next time that there is an occasion.
    pub(crate) fn misbehave_once(&self, fault: Fault) {
        self.add_fault(fault, true);
    }

    /// Is honest again.
    pub(crate) fn behave(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// Keeps requests to `endpoint` waiting, after they were counted, until the gate is dropped.
    pub(crate) fn hold(&self, endpoint: Endpoint) -> Gate {
        let (closed, opened) = watch::channel(false);
        self.shared.held.lock().unwrap().insert(endpoint, opened);
        Gate { _closed: closed }
    }

    /// Every request to `endpoint` so far.
    pub(crate) fn asked(&self, endpoint: Endpoint) -> Vec<Asked> {
        self.shared
            .asked
            .borrow()
            .iter()
            .filter(|asked| asked.endpoint == endpoint)
            .cloned()
            .collect()
    }

    /// How many requests came to `endpoint`.
    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.asked(endpoint).len()
    }

    /// The refreshes among the token requests.
    pub(crate) fn refreshes(&self) -> usize {
        self.asked(Endpoint::Token)
            .iter()
            .filter(|asked| asked.form.value("grant_type") == Some("refresh_token"))
            .count()
    }

    /// Waits until `endpoint` was asked `count` times.
    pub(crate) async fn asked_times(&self, endpoint: Endpoint, count: usize) {
        let what = format!("{count} requests to {endpoint:?}");
        self.asked_until(&what, |asked| {
            asked.iter().filter(|one| one.endpoint == endpoint).count() >= count
        })
        .await;
    }

    /// Waits until what was asked is so.
    pub(crate) async fn asked_until(&self, what: &str, is_so: impl Fn(&[Asked]) -> bool) {
        let mut asked = self.shared.asked.subscribe();
        let is_so = |asked: &Vec<Asked>| is_so(asked);
        drop(soon(what, asked.wait_for(is_so)).await.unwrap());
    }

    /// Every code and token that was given out, and the client secret (G14).
    pub(crate) fn issued_secrets(&self) -> Canaries {
        let mut secrets = self.shared.issued.lock().unwrap().clone();
        secrets.push(("client secret", self.client_secret.clone()));
        secrets
    }

    fn add_fault(&self, fault: Fault, once: bool) {
        let active = ActiveFault { fault, once };
        self.shared.faults.lock().unwrap().push(active);
    }
}

/// Alice and bob, as `bff dev` knows them.
fn users() -> Vec<DevUser> {
    vec![user("alice", "Alice Adams"), user("bob", "Bob Brown")]
}

fn user(name: &str, full_name: &str) -> DevUser {
    let claims = json!({
        "name": full_name,
        "email": format!("{name}@example.com"),
        "email_verified": true,
    });
    DevUser {
        name: name.to_owned(),
        claims: claims.as_object().unwrap().clone(),
    }
}

fn relying_party(proof: Proof) -> RelyingParty {
    RelyingParty {
        client_id: CLIENT_ID.to_owned(),
        proof,
        redirect_uris: SITES.map(|site| format!("{site}/bff/callback")).into(),
        post_logout_redirect_uris: SITES
            .map(|site| format!("{site}/bff/logout/callback"))
            .into(),
        backchannel_logout_uri: Some(public_url("/bff/backchannel-logout")),
        frontchannel_logout_uri: None,
        id_token_alg: "RS256".to_owned(),
    }
}

fn public_url(path: &str) -> Url {
    Url::parse(&format!("{PUBLIC_URL}{path}")).unwrap()
}

/// The request by which a provider hands a logout token over (Back-Channel Logout §2.5).
pub(crate) fn logout_call(logout_token: &str) -> Call {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("logout_token", logout_token)
        .finish();
    Call::bare("POST", "/bff/backchannel-logout")
        .header("Host", HOST)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form)
}

async fn deliver_all(notices: Vec<LogoutNotice>, address: SocketAddr) -> Vec<Reply> {
    let mut replies = Vec::new();
    for notice in notices {
        replies.push(logout_call(&notice.logout_token).send(address).await);
    }
    replies
}

impl Courier for Messenger {
    fn post(&self, notice: LogoutNotice) -> Answered {
        let address = *self.address.lock().unwrap();
        let told = self.told.clone();
        Box::pin(async move {
            let LogoutNotice { uri, logout_token } = notice;
            let status = match address {
                Some(address) => Some(logout_call(&logout_token).send(address).await.status),
                None => None,
            };
            told.send_modify(|told| {
                told.push(Told {
                    uri,
                    logout_token,
                    status,
                });
            });
            status
        })
    }
}

/// Lies as the active faults say, and remembers what is given out, before and after.
#[derive(Debug)]
struct Liar(Arc<Shared>);

impl Tamper for Liar {
    fn tamper(&self, stage: Stage, value: &mut Value) {
        self.0.remember(stage, value);
        // The core is set before the first request comes.
        let (_, core) = self.0.endpoints.get().unwrap();
        // Not held while a fault is applied: that may make keys.
        let active = self.0.faults.lock().unwrap().clone();
        for fault in active {
            let applied = fault.fault.apply(stage, value, core, &self.0.client_secret);
            if applied && fault.once {
                self.0.use_up(&fault.fault);
            }
        }
        self.0.remember(stage, value);
    }
}

impl Shared {
    fn remember(&self, stage: Stage, value: &Value) {
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
            Stage::LogoutToken => &[("logout token", "logout_token")],
            _ => &[],
        };
        let mut issued = self.issued.lock().unwrap();
        for (kind, member) in members {
            if let Some(secret) = value.get(member).and_then(Value::as_str)
                // What a fault put there may be short or empty: no secret, and found everywhere.
                && secret.len() >= 16
                && !issued.iter().any(|(_, known)| known == secret)
            {
                issued.push((kind, secret.to_owned()));
            }
        }
    }

    /// The first active fault that `choose` takes; used up if it was for once.
    fn transport_fault(&self, choose: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|active| choose(&active.fault))?;
        let fault = faults[at].fault.clone();
        if faults[at].once {
            faults.remove(at);
        }
        Some(fault)
    }

    fn use_up(&self, fault: &Fault) {
        let mut faults = self.faults.lock().unwrap();
        if let Some(at) = faults
            .iter()
            .position(|active| active.once && active.fault == *fault)
        {
            faults.remove(at);
        }
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Dropped> {
        let endpoint = Endpoint::at(request.uri().path());
        let held = self.held.lock().unwrap().get(&endpoint).cloned();
        self.asked
            .send_modify(|asked| asked.push(Asked::read(endpoint, &request)));
        if let Some(mut opened) = held {
            // An error means that the gate was dropped.
            drop(opened.wait_for(|open| *open).await);
        }
        let (endpoints, core) = self.endpoints.get().unwrap();
        let fault = self.transport_fault(|fault| fault.concerns(endpoint));
        match fault {
            Some(Fault::RotateBeforeSigning) => core.rotate_keys().unwrap(),
            Some(Fault::Late(_, delay)) => tokio::time::sleep(delay).await,
            Some(Fault::DropUnheard(_)) => return Err(Dropped),
            Some(Fault::DropAfterwards(_)) => {
                endpoints.answer(request).await?;
                return Err(Dropped);
            }
            Some(Fault::Error(_, status, code)) => {
                let body = json!({ "error": code, "error_description": "as the test asked" });
                let body = body.to_string().into_bytes();
                return Ok(written(status, ("content-type", "application/json"), body));
            }
            Some(Fault::Answer(_, status, content_type, body)) => {
                return Ok(written(status, ("content-type", content_type), body));
            }
            Some(Fault::Redirect(_, location)) => {
                return Ok(written(302, ("location", &location), Vec::new()));
            }
            _ => {}
        }
        endpoints.answer(request).await
    }
}

impl Fault {
    /// Whether this is a matter of the transport at `endpoint`.
    fn concerns(&self, endpoint: Endpoint) -> bool {
        match self {
            Self::RotateBeforeSigning => endpoint == Endpoint::Token,
            Self::Error(at, ..)
            | Self::Answer(at, ..)
            | Self::Redirect(at, _)
            | Self::Late(at, _)
            | Self::DropUnheard(at)
            | Self::DropAfterwards(at) => *at == endpoint,
            _ => false,
        }
    }

    /// The token endpoint says that the grant is dead (L4).
    pub(crate) const fn invalid_grant() -> Self {
        Self::Error(Endpoint::Token, 400, "invalid_grant")
    }

    /// The endpoint is overloaded (L5).
    pub(crate) fn unavailable(endpoint: Endpoint) -> Self {
        Self::Answer(endpoint, 503, "text/plain", b"overloaded".to_vec())
    }

    /// The endpoint is slower than anyone waits.
    pub(crate) const fn never(endpoint: Endpoint) -> Self {
        Self::Late(endpoint, Duration::from_hours(1))
    }
}

impl Asked {
    fn read(endpoint: Endpoint, request: &Request<Bytes>) -> Self {
        Self {
            endpoint,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: Parameters::parse(request.uri().query().unwrap_or_default().as_bytes()),
            headers: request.headers().clone(),
            form: Parameters::parse(request.body()),
        }
    }
}

fn written(status: u16, field: (&str, &str), body: Vec<u8>) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(field.0, field.1)
        .body(Body::full(body))
        .unwrap()
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            // A relying party that hangs up halfway is dropped in turn.
            let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
            shared.answer(Request::from_parts(parts, body)).await
        }
    });
    // The connection ends as the peer or a fault wants it; neither is news.
    let ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(ended);
}
