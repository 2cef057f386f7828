//! A configuration that changes a thousand times while everybody goes on: what it changes shows at once,
//! what is wrong with it changes nothing, and nobody loses a call, a stream, a socket, a login or a session.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::person::{Pending, Person};
use super::{Kind, Setup, World, figure, on_stores, pass};
use crate::support::call::Call;
use crate::support::clock::soon;
use crate::support::node::{Node, ask};
use crate::support::upstream::{Answer, Seen};
use crate::support::wire::{Reply, Wire};

/// Of each kind, so that 64 clients are there: those that call, each time anew or on one connection; that
/// have a stream of the API or our own events; that have a socket.
const EACH: usize = 16;

/// How long the provider takes over a refresh: longer than a reload.
const REFRESH: Duration = Duration::from_millis(400);

/// The streams of the API that are open.
type Streams = Mutex<Vec<UnboundedSender<String>>>;

/// A story under way.
struct Story<'a> {
    node: &'a Node,
    world: &'a World,
    /// The number of the configuration that was written last, and of the one that is in use.
    written: AtomicUsize,
    in_use: AtomicUsize,
    /// When another one was taken into use.
    swaps: Mutex<Vec<Instant>>,
    over: AtomicBool,
}

/// How much there was of each.
#[derive(Debug, Default)]
struct Counted {
    calls: AtomicUsize,
    events: AtomicUsize,
    echoes: AtomicUsize,
    logins: AtomicUsize,
}

/// What the process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    memory: u64,
    files: usize,
}

impl Held {
    fn by(node: &Node) -> Self {
        Self {
            memory: node.memory(),
            files: node.open_files(),
        }
    }
}

/// The configuration of this number. Each has every request of the API say it; every other one has another
/// provider object and a site more.
fn configuration(ground: &str, number: usize) -> String {
    let timeout = format!("timeout = \"{}s\"", 10 + number % 2);
    let text = ground.replace("timeout = \"10s\"", &timeout);
    format!("{text}[route.response_headers]\nset = {{ X-Config = \"{number}\" }}\n")
}

/// One that cannot be used, with the place of its fault.
fn faulty(ground: &str, round: usize) -> (String, &'static str) {
    let text = configuration(ground, round);
    let (from, to, place) = match round % 2 {
        0 => ("[provider]", "[provider]\nisuer = 1", "bff.toml:9:1: "),
        _ => ("[session]", "[session", "bff.toml:"),
    };
    (text.replacen(from, to, 1), place)
}

async fn reloads_lose_nothing(kind: Kind, reloads: usize, is_long: bool) {
    let setup = Setup {
        nodes: 1,
        access_tokens: 8,
        ..Setup::default()
    };
    let Some(world) = World::start(kind, setup).await else {
        return;
    };
    let streams = std::sync::Arc::new(Streams::default());
    let list = std::sync::Arc::clone(&streams);
    world.api.upstream.answers(move |seen| api(seen, &list));
    world.provider.take_time(REFRESH);
    let node = &world.nodes[0];
    let ground = node
        .config()
        .replace("workers = 2", "workers = 2\nsites = \"sites\"");
    node.file("sites/desk.toml", "public_url = \"https://desk.example\"\n");
    let people = world.people(EACH).await;
    let story = Story {
        node,
        world: &world,
        written: AtomicUsize::new(0),
        in_use: AtomicUsize::new(0),
        swaps: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let counted = Counted::default();
    story.change(&ground, 1).await;
    let at_rest = Held::by(node);

    let began = Instant::now();
    let clients = join_all(people.iter().enumerate().map(|(at, person)| {
        let (story, counted) = (&story, &counted);
        async move {
            tokio::join!(
                story.calls(person, at % 2 == 0, counted),
                story.streams(person, at % 2 == 0, counted),
                story.sockets(person, counted),
                story.calls(person, at % 2 == 1, counted),
            );
        }
    }));
    let logins = story.logins(&counted);
    let ticks = story.ticks(&streams);
    let (held, (), _, ()) = tokio::join!(story.reloads(&ground, reloads), ticks, clients, logins);
    let took = began.elapsed();

    for person in &people {
        assert_eq!(person.told(node.addr).await, "200", "its session is alive");
    }
    let straddled = story.refreshes_are_spent_once();
    let logouts = counted.logins.load(Ordering::Relaxed);
    story.log_tells_of_nothing(logouts).await;
    story.the_faulty_ones_are_told(reloads / 3).await;
    figure!(
        "{kind:?}: {reloads} reloads, a third of them faulty, beside {} clients in {took:?}: {} calls, {} events, {} echoes, {} logins, {} refreshes of which {straddled} straddled a swap; nothing lost; MiB at the {}th {:.1}, at the last {:.1}; open files before {}, at the {}th {}, at the last {}",
        4 * EACH,
        counted.calls.load(Ordering::Relaxed),
        counted.events.load(Ordering::Relaxed),
        counted.echoes.load(Ordering::Relaxed),
        counted.logins.load(Ordering::Relaxed),
        world.provider.decided(),
        reloads / 10,
        mebibytes(held[0].memory),
        mebibytes(held[1].memory),
        at_rest.files,
        reloads / 10,
        held[0].files,
        held[1].files,
    );
    if is_long {
        figure!(
            "open files once nobody is there: {}",
            story.rests(at_rest).await
        );
        let grown = held[1].memory.saturating_sub(held[0].memory);
        assert!(grown * 20 <= held[0].memory, "grown by {grown} bytes");
    }
    world.logs_are_clean();
}

/// Streams, sockets, and whose token it was shown.
fn api(seen: &Seen, streams: &Streams) -> Answer {
    if seen.header("upgrade").is_some() {
        return Answer::web_socket_echo();
    }
    if seen.target.ends_with("/stream") {
        let (sender, events) = unbounded_channel();
        sender.send("hello".to_owned()).unwrap();
        streams.lock().unwrap().push(sender);
        return Answer::events(events);
    }
    Answer::json(&serde_json::json!({ "of": null }))
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap()) / 1024.0
}

/// The number of the configuration that answered.
fn number(reply: &Reply) -> usize {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-config").unwrap().parse().unwrap()
}

impl Story<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn addr(&self) -> SocketAddr {
        self.node.addr
    }

    /// Takes the configuration of this number into use, as an operator does.
    async fn change(&self, ground: &str, number: usize) {
        if number % 2 == 1 {
            let shop = "public_url = \"https://shop.example\"\n";
            self.node.file("sites/shop.toml", shop);
        } else {
            self.node.without("sites/shop.toml");
        }
        self.written.store(number, Ordering::SeqCst);
        self.node.configure(&configuration(ground, number));
        let ended = self.node.run(&["reload"]).await;
        assert_eq!(ended.code, Some(0), "{number}: {}", ended.err);
        self.in_use.store(number, Ordering::SeqCst);
        self.swaps.lock().unwrap().push(Instant::now());
    }

    /// Each good one shows on whichever worker as soon as `bff reload` is back; a faulty one is told of.
    async fn reloads(&self, ground: &str, reloads: usize) -> [Held; 2] {
        let somebody = self.world.person(EACH, 0).await;
        let mut held = Vec::new();
        let mut round = 0;
        // On a quick machine until everybody's tokens have been renewed.
        while round < reloads || self.world.provider.decided() < EACH {
            if round % 3 == 2 {
                let (text, place) = faulty(ground, round);
                self.node.configure(&text);
                let ended = self.node.run(&["reload"]).await;
                assert_eq!(ended.code, Some(2), "{round}: {}{}", ended.out, ended.err);
                let says = |words: &str| assert!(ended.err.contains(words), "{}", ended.err);
                says(place);
                says("all stays as it was");
            } else {
                let next = self.in_use.load(Ordering::SeqCst) + 1;
                self.change(ground, next).await;
            }
            let in_use = self.in_use.load(Ordering::SeqCst);
            for _ in 0..4 {
                let reply = somebody.call(self.addr()).await.unwrap();
                assert_eq!(number(&reply), in_use, "{round}");
            }
            let shop = Call::get("/bff/session").with("Host", "shop.example");
            let reply = ask(self.addr(), &shop).await.unwrap();
            let expected = if in_use % 2 == 1 { 200 } else { 404 };
            assert_eq!(reply.status, expected, "{round}");
            round += 1;
            if round == reloads / 10 || round == reloads {
                held.push(Held::by(self.node));
            }
        }
        self.over.store(true, Ordering::Relaxed);
        held.try_into().unwrap()
    }

    /// Calls without a pause: no answer is of a configuration before the one that was in use when the
    /// call began.
    async fn calls(&self, person: &Person, anew: bool, counted: &Counted) {
        let call = person.calls("GET", &format!("/api/of/{}", person.name));
        let mut kept = None;
        let mut answered = 0_usize;
        while !self.is_over() {
            let least = self.in_use.load(Ordering::SeqCst);
            let reply = if anew {
                ask(self.addr(), &call).await.expect("an answer")
            } else {
                if answered.is_multiple_of(100) {
                    kept = Some(Wire::connect(self.addr()).await);
                }
                let wire = kept.as_mut().unwrap();
                wire.send(&call.bytes()).await;
                call.answer_on(wire).await
            };
            let number = number(&reply);
            let most = self.written.load(Ordering::SeqCst);
            assert!((least..=most).contains(&number), "{least} {number} {most}");
            answered += 1;
            pass(Duration::from_millis(10)).await;
        }
        counted.calls.fetch_add(answered, Ordering::Relaxed);
    }

    /// One stream, held all along: the API's, or that of our own events.
    async fn streams(&self, person: &Person, is_the_apis: bool, counted: &Counted) {
        let mut wire = if is_the_apis {
            person.stream(self.addr()).await
        } else {
            let call = person.calls("GET", "/bff/session/events");
            let mut wire = call.begin(self.addr()).await;
            let url = crate::support::call::home();
            let head = soon("a head", wire.head(&url)).await.unwrap();
            assert_eq!(head.status, 200);
            wire
        };
        while !self.is_over() {
            tokio::select! {
                chunk = wire.chunk() => {
                    let chunk = chunk.expect("a stream broke off");
                    assert!(!chunk.is_empty(), "a stream has ended");
                    counted.events.fetch_add(1, Ordering::Relaxed);
                }
                () = self.ends() => {}
            }
        }
    }

    async fn ends(&self) {
        while !self.is_over() {
            pass(Duration::from_millis(20)).await;
        }
    }

    /// Sends something to all streams of the API, time and again.
    async fn ticks(&self, streams: &Streams) {
        while !self.is_over() {
            for stream in &*streams.lock().unwrap() {
                drop(stream.send("tick".to_owned()));
            }
            pass(Duration::from_millis(100)).await;
        }
    }

    /// One socket, held all along.
    async fn sockets(&self, person: &Person, counted: &Counted) {
        let mut socket = person.socket(self.addr()).await;
        while !self.is_over() {
            let text = Message::text("are you there");
            socket.send(text.clone()).await.unwrap();
            let echo = soon("an echo", socket.next()).await;
            assert_eq!(echo.unwrap().unwrap(), text);
            counted.echoes.fetch_add(1, Ordering::Relaxed);
            pass(Duration::from_millis(50)).await;
        }
        drop(socket.close(None).await);
    }

    /// Logins that begin by one configuration and end by a later one, and then sign out.
    async fn logins(&self, counted: &Counted) {
        while !self.is_over() {
            let number = counted.logins.load(Ordering::Relaxed);
            let name = format!("user-{}", 100 + number % 1000);
            let provider = &self.world.provider;
            let pending = Pending::begin(provider, self.addr(), &name).await.unwrap();
            let begun = self.in_use.load(Ordering::SeqCst);
            while self.in_use.load(Ordering::SeqCst) == begun && !self.is_over() {
                pass(Duration::from_millis(5)).await;
            }
            let reply = pending.finish(self.addr()).await.unwrap();
            let person = pending.signed_in(&reply);
            let person = person.unwrap_or_else(|| panic!("{}", reply.text()));
            assert_eq!(person.told(self.addr()).await, "200");
            person.sign_out(self.addr()).await;
            counted.logins.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many refreshes straddled a swap; each refresh token was used once, and granted.
    fn refreshes_are_spent_once(&self) -> usize {
        let rotations = self.world.provider.rotations(0);
        let mut spent = HashSet::new();
        for rotation in &rotations {
            assert!(rotation.granted.is_some(), "{rotation:?}");
            assert!(
                spent.insert(&rotation.presented),
                "spent twice: {rotation:?}"
            );
        }
        let swaps = self.swaps.lock().unwrap();
        let straddles = |rotation: &&super::provider::Rotation| {
            let under_way = rotation.came..rotation.decided + REFRESH / 2;
            swaps.iter().any(|swap| under_way.contains(swap))
        };
        let straddled = rotations.iter().filter(straddles).count();
        assert!(straddled > 0, "of {}", rotations.len());
        straddled
    }

    /// That no session ended but by those who signed out, and that nothing failed.
    async fn log_tells_of_nothing(&self, logouts: usize) {
        let log = self.node.log_up_to_now().await;
        let lines = |needle: &str| log.lines().filter(|line| line.contains(needle)).count();
        assert_eq!(lines("session.ended"), logouts);
        for event in ["request.failed", "refresh.failed", "login.failed", "panic"] {
            assert_eq!(lines(&format!("event=\"{event}\"")), 0, "{event}");
        }
    }

    /// In the log and in the metrics: whatever the faults are, the process that runs was asked. It looks at
    /// the files by itself as well.
    async fn the_faulty_ones_are_told(&self, least: usize) {
        let log = self.node.log_up_to_now().await;
        let told = log.lines().filter(|line| line.contains("reload.refused"));
        assert!(told.count() >= least);
        let metrics = self.node.administration("/metrics").await.text();
        let refused = "bff_config_reloads_total{outcome=\"refused\"} ";
        let mut counts = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(refused));
        let count: usize = counts.next().unwrap().parse().unwrap();
        assert!(count >= least, "{count}");
    }

    /// How many files are open once everybody is gone, and connections to the API that nobody uses have been
    /// let go: no more than before anybody came.
    async fn rests(&self, before: Held) -> usize {
        let until = Instant::now() + Duration::from_mins(1);
        while self.node.open_files() > before.files {
            assert!(
                Instant::now() < until,
                "{} files are open, of {} before",
                self.node.open_files(),
                before.files
            );
            pass(Duration::from_millis(100)).await;
        }
        self.node.open_files()
    }
}

on_stores! { reloads_lose_nothing:
    reloads_lose_nothing_that_is_under_way(Kind::Memory, 30, false);
    #[ignore = "large"]
    large_reloads(Kind::Memory, 1000, true);
}
