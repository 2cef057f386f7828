//! The product before real providers, told by `tests/providers.sh`, which installs them: the binary,
//! their processes and the machine's clock. Nothing here runs with the other tests.

mod certified;
mod hydra;
mod hydra_server;
mod keycloak;
mod keycloak_own;
mod keycloak_server;
mod several;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock as _, ManualClock, SystemClock};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::support::browser::{Browser, EventSource, Fetch, Visit};
use crate::support::call::Call;
use crate::support::cookie_jar::Context;
use crate::support::node::Node;
use crate::support::process::{Ended, run};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;

/// How long a real server may take to do what it was asked: they are large, and machines are busy.
const LONG: Duration = Duration::from_mins(5);

/// How long an access token of theirs lives in these stories.
const TOKEN_LIFE: Duration = Duration::from_secs(6);

/// The product before an API, as a process.
struct House {
    node: Node,
    api: Upstream,
    environment: BTreeMap<String, String>,
    /// `bff.toml` without its `[provider]`.
    rest: String,
    /// Where people begin, of several providers.
    provider: Option<String>,
}

impl House {
    /// A house that does not serve yet: its address has to be registered at the provider.
    fn new(environment: &[(&str, &str)]) -> Self {
        let environment: BTreeMap<String, String> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let api = Upstream::start();
        api.answers(|_| Answer::text("for everybody"));
        let mut rest = String::new();
        let node = Node::new(environment.clone(), |addr, admin| {
            let (port, api) = (addr.port(), api.url());
            rest = format!(
                "[server]\nlisten = \"{addr}\"\npublic_url = \"http://localhost:{port}\"\n\
                 admin_listen = \"{admin}\"\nworkers = 2\n\
                 [[route]]\npath = \"/api\"\nupstream = \"{api}\"\n\
                 [frontend]\nupstream = \"{api}\"\n"
            );
            String::new()
        });
        Self {
            node,
            api,
            environment,
            rest,
            provider: None,
        }
    }

    /// The origin that browsers see.
    fn origin(&self) -> String {
        format!("http://localhost:{}", self.node.addr.port())
    }

    /// The address of a page or an endpoint.
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// Has people begin at this one of several providers.
    fn begin_at(&mut self, provider: &str) {
        self.provider = Some(provider.to_owned());
    }

    /// Where people begin to sign in, on their way to a page.
    fn login(&self) -> String {
        let provider = self.provider.iter().map(|name| format!("&provider={name}"));
        let provider: String = provider.collect();
        self.at(&format!("/bff/login?return_to=/{provider}"))
    }

    /// The configuration with these lines of `[provider]`.
    fn config(&self, provider: &str) -> String {
        format!("[provider]\n{provider}\n{}", self.rest)
    }

    /// Serves with these lines of `[provider]`, ready for logins.
    async fn serve(&mut self, provider: &str) {
        self.serve_as(&self.config(provider)).await;
    }

    /// Serves with this configuration.
    async fn serve_as(&mut self, config: &str) {
        self.node.configure(config);
        self.node.start().await;
        eventually("the node is ready", async || {
            self.node.ready().await.status == 200
        })
        .await;
    }

    /// Serves anew with other lines.
    async fn serve_anew(&mut self, provider: &str) {
        self.node.stop().await;
        self.serve(provider).await;
    }

    /// What `bff check --online` says of these lines.
    async fn check(&self, provider: &str) -> Ended {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("bff.toml"), self.config(provider)).unwrap();
        run(&["check", "--online"], dir.path(), &self.environment).await
    }

    /// Somebody's browser, which shows a page of the app.
    fn browser(&self) -> Browser {
        let clock = ManualClock::starting_at(SystemClock.now());
        let mut browser = Browser::new(Arc::new(clock));
        browser.stand_on(&self.origin());
        browser
    }

    /// What `/bff/session` tells this browser.
    async fn session(&self, browser: &mut Browser) -> Value {
        browser.stand_on(&self.origin());
        let reply = browser.fetch(Fetch::get("/bff/session").csrf()).await;
        reply.json()
    }

    /// Whether somebody is signed in in this browser.
    async fn is_signed_in(&self, browser: &mut Browser) -> bool {
        self.session(browser).await["authenticated"] == true
    }

    /// Hears how the session ends.
    async fn hear(&self, browser: &mut Browser) -> EventSource {
        browser.stand_on(&self.origin());
        let mut events = browser.event_source("/bff/session/events").await;
        while !events.event().await.unwrap().contains("signed_in") {}
        events
    }

    /// A call of the app in this browser.
    fn api_call(&self, browser: &Browser) -> Call {
        self.call_to("/api/orders", browser)
    }

    /// The same, for something else.
    fn call_to(&self, target: &str, browser: &Browser) -> Call {
        let origin = Url::parse(&self.origin()).unwrap();
        let cookies = browser.jar.header(&origin, Context::SameSite);
        Call::get(target)
            .with("Host", &format!("localhost:{}", self.node.addr.port()))
            .with("Cookie", &cookies.unwrap_or_default())
    }

    /// Status and code of a call of the app.
    async fn call(&self, browser: &Browser) -> String {
        let reply = self.api_call(browser).send(self.node.addr).await;
        told(&reply)
    }

    /// Fifty calls at once, all to be answered by the API.
    async fn storm(&self, browser: &Browser) {
        let before = self.api.seen().len();
        let calls = (0..50).map(|_| self.api_call(browser).send(self.node.addr));
        let replies = futures_util::future::join_all(calls).await;
        let told: Vec<String> = replies.iter().map(told).collect();
        assert!(told.iter().all(|told| told == "200 "), "{told:?}");
        let seen = &self.api.seen()[before..];
        let mut tokens: Vec<_> = seen.iter().map(|seen| seen.bearer().unwrap()).collect();
        tokens.dedup();
        assert_eq!(tokens.len(), 1, "one token for all");
    }

    /// The token that the API was shown last.
    fn token(&self) -> String {
        self.api.last().bearer().unwrap().to_owned()
    }

    /// How many refreshes the node counts with this outcome.
    async fn refreshes(&self, outcome: &str) -> u64 {
        let metrics = self.node.administration("/metrics").await.text();
        let of_it = |line: &&str| {
            line.starts_with("bff_token_refreshes_total")
                && line.contains(&format!("outcome=\"{outcome}\""))
        };
        let counts = metrics.lines().filter(of_it);
        counts
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// That the log says it, by now or in a moment.
    async fn logs(&self, needle: &str) {
        eventually(&format!("{needle:?} in the log"), async || {
            self.node.log().contains(needle)
        })
        .await;
    }
}

/// Status and code.
fn told(reply: &Reply) -> String {
    let problem = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    format!("{} {code}", reply.status)
}

/// Where a browser went, with what it was answered, for whoever reads a failure.
fn trail(visit: &Visit) -> String {
    let mut trail = String::new();
    for reply in &visit.replies {
        writeln!(trail, "{} {}", reply.status, reply.url).unwrap();
    }
    let left = visit.left.as_ref().map(Url::as_str);
    writeln!(trail, "left for {left:?}\n{}", visit.last().text()).unwrap();
    trail
}

/// The reason that the stream ends with.
async fn end_of(events: &mut EventSource) -> String {
    loop {
        let event = events.event().await.expect("an end with its reason");
        if let Some((_, data)) = event
            .split_once("event: ended")
            .and_then(|(_, rest)| rest.split_once("data: "))
        {
            let data: Value = serde_json::from_str(data.trim()).unwrap();
            return data["reason"].as_str().unwrap().to_owned();
        }
    }
}

/// Waits until it is so.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(
            began.elapsed() < LONG,
            "waited {LONG:?} in vain until {what}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// Lets access tokens end.
async fn tokens_end() {
    sleep(TOKEN_LIFE + Duration::from_millis(200)).await;
}

/// A provider's process, which ends with the tests, however they end.
#[derive(Debug)]
struct Server {
    child: Child,
}

impl Server {
    /// Runs `command` in `dir`; what it says is written into its file `log`.
    fn start(command: &[&str], dir: &Path, environment: &[(&str, &str)]) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .unwrap();
        // The shell hears the end of these tests as the end of its input.
        let child = Command::new("/bin/sh")
            .args(["-c", "\"$@\" & id=$!; cat >/dev/null; kill $id; wait $id"])
            .arg("sh")
            .args(command)
            .current_dir(dir)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self {
            child: child.unwrap(),
        }
    }

    /// Waits until somebody listens at `addr`.
    async fn listens(addr: SocketAddr) {
        eventually(&format!("{addr} listens"), async || {
            TcpStream::connect(addr).is_ok()
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// A variable that `tests/providers.sh` sets.
#[expect(clippy::disallowed_methods, reason = "said by whoever runs the tests")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/providers.sh"))
}

/// Asks a provider's administration, and expects success.
async fn administer(addr: SocketAddr, call: &Call) -> Value {
    let host = addr.to_string();
    let reply = call.clone().with("Host", &host).send(addr).await;
    assert!(
        (200..300).contains(&reply.status),
        "{call:?}: {} {}",
        reply.status,
        reply.text()
    );
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

/// With a JSON body.
fn json_call(method: &str, path: &str, body: &Value) -> Call {
    Call::bare(method, path)
        .header("Content-Type", "application/json")
        .body(body.to_string())
}
