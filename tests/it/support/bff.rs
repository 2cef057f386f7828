//! The product, in this process, between the provider and the upstream.
//!
//! When it is dropped, the canaries are looked for: no code, token or secret in anything that a
//! browser received from it (but for the end-session redirect), in anything that an administrator
//! was told, in a log line or in a metric.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bff::app::{Environment, RunningApp};
use bff::clock::{ManualClock, SystemRandomness};
use bff::config::{Config, Reload};
use bff::server::Listen;
use bff::telemetry::LogLines;
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::browser::{Browser, Received};
use super::call::Call;
use super::canary::{self, Canaries};
use super::clock::soon;
use super::helper::Helper;
use super::idp::{CLIENT_ID, Idp, ORIGINS, PUBLIC_URL};
use super::logs::Logs;
use super::upstream::Upstream;
use super::wire::Reply;

/// The key of [`BffBuilder::administered`].
pub(crate) const ADMIN_KEY: &str = "the administrators' key of many letters";

/// A bff.toml under construction, and the files it names.
#[derive(Debug)]
pub(crate) struct BffBuilder<'a> {
    idp: &'a Idp,
    /// Where other sites sign people in.
    others: Vec<&'a Idp>,
    toml: toml::Table,
    environment: BTreeMap<String, String>,
    dir: TempDir,
}

/// What starting an app gives: everything that the tests need to know of it.
pub(crate) struct Started {
    /// The public listener.
    pub(crate) public_addr: SocketAddr,
    /// The administration listener.
    pub(crate) admin_addr: Option<SocketAddr>,
    /// Held until the app is to stop; its drop stops it.
    pub(crate) app: Box<dyn std::any::Any>,
}

/// A running product.
pub(crate) struct Bff<'a> {
    pub(crate) public_addr: SocketAddr,
    pub(crate) admin_addr: Option<SocketAddr>,
    idp: &'a Idp,
    others: Vec<&'a Idp>,
    received: Received,
    /// What an administrator was told.
    told: Mutex<Vec<Reply>>,
    is_administered: bool,
    logs: Logs,
    /// `None` once it was stopped.
    app: Option<Box<dyn std::any::Any>>,
    // The files that the configuration names.
    _dir: TempDir,
}

impl<'a> Bff<'a> {
    /// One route, `/api`, to the upstream; the shortest timeouts are the defaults.
    pub(crate) fn with(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
        let mut builder = BffBuilder {
            idp,
            others: Vec::new(),
            toml: toml::Table::new(),
            environment: BTreeMap::new(),
            dir: TempDir::new().unwrap(),
        };
        builder
            .environment
            .insert("BFF_CLIENT_SECRET".to_owned(), idp.client_secret.clone());
        builder
            .set("server.listen", "127.0.0.1:0")
            .set("server.admin_listen", "127.0.0.1:0")
            .set("server.admin_hosts", vec!["admin"])
            .set("server.public_url", PUBLIC_URL)
            .set("server.workers", 2)
            .set("server.timeouts.drain", "5s")
            .set("provider.issuer", idp.issuer.as_str())
            .set("provider.client_id", CLIENT_ID)
            .set("provider.client_secret", "env:BFF_CLIENT_SECRET")
            .route(toml::toml! { path = "/api" }, upstream)
            .in_the_store_to_try()
    }

    /// With the whole session in the browser's cookie.
    pub(crate) fn in_cookies(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
        Self::with(idp, upstream).in_cookies()
    }

    /// A browser that finds this product at its public URL.
    pub(crate) fn browser(&self) -> Browser {
        let mut browser = Browser::new(Arc::clone(self.idp.clock()));
        browser.resolve(PUBLIC_URL, self.public_addr);
        for idp in self.providers() {
            browser.resolve(&idp.issuer, idp.addr());
        }
        browser.collect_in(self.received.clone());
        browser
    }

    /// The clock that product, provider and browsers share.
    pub(crate) fn clock(&self) -> &Arc<ManualClock> {
        self.idp.clock()
    }

    /// Every log line of this product so far.
    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The metrics, as the administration listener shows them.
    pub(crate) fn metrics(&self) -> Option<String> {
        self.admin_addr.map(scrape)
    }

    /// What `/readyz` says once it says yes: at first the provider has not been looked at.
    pub(crate) async fn ready(&self) -> Reply {
        let call = Call::bare("GET", "/readyz").header("Host", "127.0.0.1");
        soon("the product to be ready", async {
            loop {
                let reply = call.clone().send(self.admin_addr.unwrap()).await;
                if reply.status == 200 {
                    return reply;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// What the administration listener answers to whoever has the key.
    pub(crate) async fn administer(&self, method: &str, path: &str) -> Reply {
        let authorization = format!("Bearer {ADMIN_KEY}");
        let call = Call::bare(method, path)
            .header("Host", "admin")
            .header("Authorization", &authorization);
        let reply = call.send(self.admin_addr.unwrap()).await;
        self.told.lock().unwrap().push(reply.clone());
        reply
    }

    fn providers(&self) -> impl Iterator<Item = &Idp> {
        std::iter::once(self.idp).chain(self.others.iter().copied())
    }

    fn canaries(&self) -> Canaries {
        self.providers().flat_map(Idp::issued_secrets).collect()
    }

    /// Where canaries sing, a line each.
    pub(crate) fn sightings(&self) -> String {
        let canaries = self.canaries();
        let leads = |idp: &Idp| ["/end_session", "/authorize"].map(|path| idp.url(path));
        let leads: Vec<String> = self.providers().flat_map(leads).collect();
        let mut found = String::new();
        for origin in ORIGINS {
            let replies = self.received.replies_from(origin);
            found += &canary::sightings_in_replies(&replies, &leads, &canaries);
            for (url, bytes) in self.received.streams_from(origin) {
                found += &canary::sightings(&format!("the stream of {url}"), &bytes, &canaries);
            }
        }
        found += &canary::sightings("the log", self.logs.text().as_bytes(), &canaries);
        found += &canary::sightings("a stray line", Logs::strays().as_bytes(), &canaries);
        if let Some(metrics) = self.metrics() {
            found += &canary::sightings("the metrics", metrics.as_bytes(), &canaries);
        }
        for reply in &*self.told.lock().unwrap() {
            let place = format!("the administration's answer to {}", reply.url.path());
            found += &canary::sightings(&place, &reply.raw, &canaries);
        }
        if let (true, Some(addr)) = (self.is_administered, self.admin_addr) {
            for path in ["/api/sessions?limit=200", "/api/stats", "/"] {
                let told = ask_admin(addr, path);
                let place = format!("the administration's answer to {path}");
                found += &canary::sightings(&place, told.as_bytes(), &canaries);
            }
        }
        found
    }
}

impl Drop for Bff<'_> {
    fn drop(&mut self) {
        // A second panic would abort and hide the first.
        if std::thread::panicking() {
            return;
        }
        let mut found = self.sightings();
        drop(self.app.take());
        // What stopping logged.
        let canaries = self.canaries();
        found += &canary::sightings("the log", self.logs.text().as_bytes(), &canaries);
        assert!(found.is_empty(), "a canary sang:\n{found}");
    }
}

impl<'a> BffBuilder<'a> {
    /// Sets a key, `session.cookie.same_site` for example.
    pub(crate) fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        let mut path: Vec<&str> = key.split('.').collect();
        let name = path.pop().unwrap();
        let mut table = &mut self.toml;
        for part in path {
            table = table
                .entry(part)
                .or_insert_with(|| toml::Table::new().into())
                .as_table_mut()
                .unwrap();
        }
        table.insert(name.to_owned(), value.into());
        self
    }

    /// The whole session travels in the browser's cookie.
    fn in_cookies(self) -> Self {
        let key = bff::secret::random_base64url::<32>(&SystemRandomness);
        self.set("session.store", "cookie")
            .set("session.keys", vec!["env:BFF_SESSION_KEY"])
            .variable("BFF_SESSION_KEY", &key)
    }

    /// Any story can be tried with `BFF_TEST_STORE=cookie`; some tell of what the cookie alone cannot
    /// do, or write their own.
    #[expect(
        clippy::disallowed_methods,
        reason = "a choice of whoever runs the tests"
    )]
    fn in_the_store_to_try(self) -> Self {
        match std::env::var("BFF_TEST_STORE").as_deref() {
            Ok("cookie") => self.in_cookies(),
            Ok(other) => panic!("BFF_TEST_STORE={other} is not known"),
            Err(_) => self,
        }
    }

    /// Other sites sign people in there: its secret is in `BFF_OTHER_SECRET`.
    pub(crate) fn beside(mut self, idp: &'a Idp) -> Self {
        self.others.push(idp);
        self.variable("BFF_OTHER_SECRET", &idp.client_secret)
    }

    /// Takes a key out again.
    pub(crate) fn unset(mut self, key: &str) -> Self {
        let mut path: Vec<&str> = key.split('.').collect();
        let name = path.pop().unwrap();
        let mut table = &mut self.toml;
        for part in path {
            table = table[part].as_table_mut().unwrap();
        }
        table.remove(name);
        self
    }

    /// With a key for administration: [`ADMIN_KEY`].
    pub(crate) fn administered(self) -> Self {
        self.variable("BFF_ADMIN_KEY", ADMIN_KEY)
            .set("server.admin_key", "env:BFF_ADMIN_KEY")
    }

    /// Adds a route to `upstream`, after those there are.
    pub(crate) fn route(mut self, mut route: toml::Table, upstream: &Upstream) -> Self {
        route
            .entry("upstream")
            .or_insert_with(|| upstream.url().into());
        self.toml
            .entry("route")
            .or_insert_with(|| toml::Value::Array(Vec::new()))
            .as_array_mut()
            .unwrap()
            .push(route.into());
        self
    }

    /// Leaves out every route so far.
    pub(crate) fn no_routes(mut self) -> Self {
        self.toml.remove("route");
        self
    }

    /// A variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A file beside bff.toml; the configuration may name it by this path.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let full = self.dir.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, content).unwrap();
        self
    }

    /// The path of a file beside bff.toml.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The configuration as a person would write it.
    pub(crate) fn toml(&self) -> String {
        toml::to_string(&self.toml).unwrap()
    }

    /// Starts the product.
    pub(crate) fn start(self) -> Bff<'a> {
        self.start_changed(|_| {})
    }

    /// Starts it with a configuration that is not as it was read.
    pub(crate) fn start_changed(self, change: impl FnOnce(&mut Config)) -> Bff<'a> {
        self.start_with(|path, environment, clock, log| {
            let (mut config, _) = Config::load(&path, &environment)
                .unwrap_or_else(|faults| panic!("the configuration of this test:\n{faults}"));
            change(&mut config);
            let reload = Reload::new(path, environment);
            let surroundings = Environment {
                clock,
                randomness: Arc::new(SystemRandomness),
                reload: Some(Arc::new(reload)),
                log: log.clone(),
            };
            let app = RunningApp::start(config, surroundings).unwrap();
            let (public_addr, relay) = reach(app.public_addr());
            Started {
                public_addr,
                admin_addr: app.admin_addr().and_then(Listen::tcp),
                app: Box::new((Stop(Some(app), log), relay)),
            }
        })
    }

    /// Writes bff.toml and hands it to `start` with the environment, the clock and where to log: the
    /// one seam to the product's wiring.
    pub(crate) fn start_with(
        self,
        start: impl FnOnce(PathBuf, BTreeMap<String, String>, Arc<ManualClock>, LogLines) -> Started,
    ) -> Bff<'a> {
        let logs = Logs::capture();
        let path = self.path("bff.toml");
        std::fs::write(&path, self.toml()).unwrap();
        let is_administered = self.environment.contains_key("BFF_ADMIN_KEY");
        let clock = Arc::clone(self.idp.clock());
        let started = start(path, self.environment, clock, logs.destination());
        Bff {
            public_addr: started.public_addr,
            admin_addr: started.admin_addr,
            idp: self.idp,
            others: self.others,
            received: Received::default(),
            told: Mutex::default(),
            is_administered,
            logs,
            app: Some(started.app),
            _dir: self.dir,
        }
    }
}

/// Where the listener is met; before a socket file stands a proxy that adds nothing.
fn reach(listen: &Listen) -> (SocketAddr, Option<Helper>) {
    let path = match listen {
        Listen::Tcp(address) => return (*address, None),
        Listen::Unix(path) => path.clone(),
    };
    let relay = Helper::listen("a proxy before a socket file", move |mut near| {
        let path = path.clone();
        async move {
            let mut far = UnixStream::connect(path).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        }
    });
    (relay.addr(), Some(relay))
}

/// Stops the app when dropped, and waits until every thread of it has ended.
struct Stop(Option<RunningApp>, LogLines);

impl Drop for Stop {
    fn drop(&mut self) {
        let Some(app) = self.0.take() else {
            return;
        };
        app.shutdown().cancel();
        let log = self.1.clone();
        // A runtime of its own: the drop may run inside the test's.
        let ended = std::thread::spawn(move || {
            let _lines = log.enter();
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(app.finished());
        });
        ended.join().unwrap();
    }
}

fn scrape(addr: SocketAddr) -> String {
    ask_admin(addr, "/metrics")
}

/// Asks the administration listener without a runtime, since a drop has none.
fn ask_admin(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\
         Authorization: Bearer {ADMIN_KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
