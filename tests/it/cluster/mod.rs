//! Several `bff serve` of one house on one store, as processes that are killed, cut off and asked
//! at once. Each story is told twice: small, with every run of the tests, and large, by
//! `tests/cluster.sh`, which prints its figures.

mod channel;
mod clock;
mod crash;
mod keys;
mod limit;
mod outage;
mod person;
mod provider;
mod race;
mod refresh;
mod relay;
mod reload;
mod revoke;
mod tokens;
mod upgrade;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bff::clock::SystemRandomness;
use bff::secret::SessionKey;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::person::Person;
use self::provider::Provider;
use self::relay::Relay;
use crate::support::canary::{Canaries, sightings};
use crate::support::idp::{CLIENT_ID, PUBLIC_URL};
use crate::support::node::Node;
use crate::support::servers::postgres::Postgres;
use crate::support::servers::redis::{Redis, is_here};
use crate::support::upstream::{Answer, Seen, Upstream};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Sqlite,
    Redis,
    Postgres,
}

/// The store, running.
#[derive(Debug)]
enum Store {
    Memory,
    Sqlite(TempDir),
    Redis(Redis),
    Postgres(Postgres, String),
}

impl Store {
    /// Starts one; `None` where it is not installed.
    async fn start(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Memory => Self::Memory,
            Kind::Sqlite => Self::Sqlite(tempfile::tempdir().unwrap()),
            Kind::Redis => {
                if !is_here() {
                    return None;
                }
                let on_disk = ["--appendonly", "yes", "--appendfsync", "always"];
                let plain = ["--rdbcompression", "no", "--key-load-delay", "0"];
                let heard = ["--loading-process-events-interval-bytes", "2097152"];
                let options = [on_disk.as_slice(), &plain, &heard].concat();
                Self::Redis(Redis::start(&options).await)
            }
            Kind::Postgres => {
                let server = Postgres::start().await?;
                let url = server.fresh_database().await;
                Self::Postgres(server, url)
            }
        })
    }

    /// `session.store`.
    fn word(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "sqlite",
            Self::Redis(_) => "redis",
            Self::Postgres(..) => "postgres",
        }
    }

    /// `session.store_url`.
    fn url(&self) -> Option<String> {
        match self {
            Self::Memory => None,
            Self::Sqlite(dir) => Some(format!("sqlite://{}", sqlite_file(dir).display())),
            Self::Redis(redis) => Some(redis.url()),
            Self::Postgres(_, url) => Some(url.clone()),
        }
    }

    /// Where it listens, and what a node says on its push channel alone.
    fn wire(&self) -> Option<(SocketAddr, &'static [u8])> {
        match self {
            Self::Memory | Self::Sqlite(_) => None,
            Self::Redis(redis) => Some((redis.address().parse().unwrap(), b"SUBSCRIBE")),
            Self::Postgres(_, url) => {
                let url = url::Url::parse(url).unwrap();
                let addr = format!("127.0.0.1:{}", url.port().unwrap());
                Some((addr.parse().unwrap(), b"LISTEN "))
            }
        }
    }

    fn redis(&mut self) -> &mut Redis {
        match self {
            Self::Redis(redis) => redis,
            other => panic!("{other:?}"),
        }
    }
}

fn sqlite_file(dir: &TempDir) -> PathBuf {
    dir.path().join("sessions.db")
}

/// How a world is set up.
#[derive(Debug, Clone, Copy)]
struct Setup {
    nodes: usize,
    /// Lines of `[session]`.
    session: &'static str,
    /// Lines of `[provider]`.
    provider: &'static str,
    /// Routes to the API beside `/api`: the path, and the token that its calls carry.
    routes: &'static [(&'static str, &'static str)],
    /// Whether nodes find the store by way of a relay.
    relays: bool,
    /// `session.store_timeout`: long, for a story that is not about it on a busy machine.
    store_timeout: &'static str,
    /// Seconds that an access token lives.
    access_tokens: u64,
}

/// As the product has it.
const PROMPT: &str = "2s";

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 3,
            session: "",
            // Calls are as patient as it takes for the lease of a dead node to run out, and for a
            // machine that does much else.
            provider: "timeout = \"10s\"",
            routes: &[],
            relays: false,
            store_timeout: "10s",
            access_tokens: 300,
        }
    }
}

/// Everything there is: people, provider, nodes, API and store.
struct World {
    // First, so that they are gone before what they talk to.
    nodes: Vec<Node>,
    provider: Provider,
    api: Api,
    relays: Vec<Relay>,
    store: Store,
    keys: Vec<String>,
    admin_key: String,
    setup: Setup,
    people: Mutex<Vec<Person>>,
}

impl World {
    /// A world whose nodes serve; `None` where the store is not installed.
    async fn start(kind: Kind, setup: Setup) -> Option<Self> {
        let store = Store::start(kind).await?;
        let provider = Provider::start(USERS, setup.access_tokens);
        let api = Api::start(&provider);
        let mut world = Self {
            nodes: Vec::new(),
            provider,
            api,
            relays: Vec::new(),
            store,
            keys: vec![new_key()],
            admin_key: new_key(),
            setup,
            people: Mutex::default(),
        };
        for number in 0..setup.nodes {
            if setup.relays
                && let Some((addr, marker)) = world.store.wire()
            {
                world.relays.push(Relay::to(addr, marker));
            }
            let mut environment = BTreeMap::new();
            let secret = world.provider.client_secret.clone();
            environment.insert("BFF_CLIENT_SECRET".to_owned(), secret);
            environment.insert("BFF_ADMIN_KEY".to_owned(), world.admin_key.clone());
            if let Some(url) = world.store_url(number) {
                environment.insert("BFF_STORE_URL".to_owned(), url);
            }
            let mut node = Node::new(environment, |addr, admin| world.config(addr, admin));
            if number == 0
                && let Some(older) = older()
            {
                node.runs(older);
            }
            world.nodes.push(node);
        }
        // The first one makes the schema; that several may, is a test of the store's.
        for node in &mut world.nodes {
            node.launch();
        }
        for node in &mut world.nodes {
            node.serves().await;
        }
        Some(world)
    }

    fn store_url(&self, node: usize) -> Option<String> {
        let mut url = self.store.url()?;
        if let (Some(relay), Some((addr, _))) = (self.relays.get(node), self.store.wire()) {
            url = url.replace(&addr.to_string(), &relay.addr().to_string());
        }
        Some(url)
    }

    fn config(&self, addr: SocketAddr, admin: SocketAddr) -> String {
        let keys = format!("{:?}", self.keys);
        let store_url = match self.store {
            Store::Memory => String::new(),
            _ => format!(
                "store_url = \"env:BFF_STORE_URL\"\nstore_timeout = \"{}\"\n",
                self.setup.store_timeout
            ),
        };
        let upstream = self.api.upstream.url();
        let route =
            |path: &str| format!("[[route]]\npath = \"{path}\"\nupstream = \"{upstream}\"\n");
        // Releases before this one know no `token`.
        let others = self.setup.routes.iter();
        let others = others.map(|(path, token)| format!("{}token = {token}\n", route(path)));
        let routes: String = std::iter::once(route("/api")).chain(others).collect();
        format!(
            "[server]\nlisten = \"{addr}\"\nadmin_listen = \"{admin}\"\n\
             admin_key = \"env:BFF_ADMIN_KEY\"\n\
             public_url = \"{PUBLIC_URL}\"\nworkers = 2\n\
             [provider]\nissuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret = \"env:BFF_CLIENT_SECRET\"\nid_token_algs = [\"ES256\"]\n{}\n\
             [session]\nkeys = {keys}\nstore = \"{}\"\n{store_url}{}\n\
             {routes}",
            self.provider.issuer,
            self.setup.provider,
            self.store.word(),
            self.setup.session,
        )
    }

    /// Gives all nodes this key ring; they read it by themselves, or with the next start.
    fn ring(&mut self, keys: &[String]) {
        self.keys = keys.to_vec();
        for node in &self.nodes {
            node.configure(&self.config(node.addr, node.admin));
        }
    }

    fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node % self.nodes.len()].addr
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.addr).collect()
    }

    /// Signs `user-<number>` in at a node.
    async fn person(&self, number: usize, node: usize) -> Person {
        let name = format!("user-{number}");
        let person = Person::sign_in(&self.provider, self.addr(node), &name).await;
        self.people.lock().unwrap().push(person.clone());
        person
    }

    /// Signs so many people in, each at another node.
    async fn people(&self, count: usize) -> Vec<Person> {
        let mut people = Vec::new();
        for number in 0..count {
            people.push(self.person(number, number).await);
        }
        people
    }

    /// Everything that may turn up nowhere: what the provider gave out, cookies, session ids.
    fn canaries(&self) -> Canaries {
        let mut canaries = self.provider.secrets();
        canaries.push(("administration key", self.admin_key.clone()));
        for person in &*self.people.lock().unwrap() {
            canaries.push(("cookie", person.cookie.clone()));
        }
        canaries
    }

    /// That no secret stands in any node's log.
    fn logs_are_clean(&self) {
        let canaries = self.canaries();
        for node in &self.nodes {
            let found = sightings("the log", node.log().as_bytes(), &canaries);
            assert!(found.is_empty(), "a canary sang:\n{found}");
        }
    }
}

/// Another build of `bff` for the first node: the release before must live beside this one.
#[expect(
    clippy::disallowed_methods,
    reason = "a choice of whoever runs the tests"
)]
fn older() -> Option<PathBuf> {
    std::env::var_os("BFF_TEST_OLDER").map(PathBuf::from)
}

/// How many people the provider knows.
const USERS: usize = 4000;

/// A key as `bff keygen` prints it.
fn new_key() -> String {
    SessionKey::random(&SystemRandomness).to_text().to_string()
}

/// What the API was shown: the target and the token, in order.
type Shown = Arc<Mutex<Vec<(String, String)>>>;

/// The API: says whose token it was shown, and writes down which.
struct Api {
    upstream: Upstream,
    shown: Shown,
}

impl Api {
    fn start(provider: &Provider) -> Self {
        let upstream = Upstream::start();
        let shown = Shown::default();
        let (core, list) = (Arc::clone(&provider.core), Arc::clone(&shown));
        let streams = Mutex::new(Vec::<UnboundedSender<String>>::new());
        upstream.answers(move |seen: &Seen| {
            let bearer = seen.bearer().unwrap_or_default().to_owned();
            let of = core.introspect(&bearer).map(|token| token.sub);
            list.lock().unwrap().push((seen.target.clone(), bearer));
            if seen.header("upgrade").is_some() {
                return Answer::web_socket_echo();
            }
            if seen.target.ends_with("/stream") {
                let (sender, events) = unbounded_channel();
                sender.send("hello".to_owned()).unwrap();
                let mut streams = streams.lock().unwrap();
                streams.retain(|sender| !sender.is_closed());
                streams.push(sender);
                return Answer::events(events);
            }
            Answer::json(&json!({ "of": of }))
        });
        Self { upstream, shown }
    }

    /// What it was shown from the `from`th call on.
    fn shown(&self, from: usize) -> Vec<(String, String)> {
        self.shown.lock().unwrap()[from..].to_vec()
    }

    fn count(&self) -> usize {
        self.shown.lock().unwrap().len()
    }
}

/// Lets real time pass: what expires by the machine's clock expires no sooner.
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Prints a figure of a large run; `cargo test` shows it with `--nocapture`.
macro_rules! figure {
    ($($arguments:tt)*) => {
        eprintln!("figure: {}", format_args!($($arguments)*))
    };
}
pub(crate) use figure;

/// The same story on each store, small; and large, for the script. Where several are told in one test,
/// they are told side by side: most of a story is waiting.
macro_rules! on_stores {
    ($story:ident: $($(#[$attribute:meta])* $name:ident $(($($argument:expr),* $(,)?))+;)*) => {
        $(
            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                tokio::join!($(Box::pin($story($($argument),*))),+);
            }
        )*
    };
}
pub(crate) use on_stores;
