//! Answers that strangers leave lying (J17, J18): on an account of their own, and in nobody's way.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::http2::{frame, literal};
use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::call::{Call, HOST, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::node::{Node, ask};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;

/// How long anybody else may wait.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Streams of a connection.
const STREAMS: usize = 100;
/// Who floods, as seen by whoever tells addresses apart.
const FLOODS: &str = "127.0.0.1";

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// An HTTP/2 connection whose answers all stand still: it opens no window.
struct Stalled {
    _socket: TcpStream,
    served: usize,
    refused: usize,
}

/// Asks for `path` as often as a connection may, and waits for the heads of all answers.
async fn stalled(addr: SocketAddr, path: &str) -> Stalled {
    let mut socket = connect_from(addr, FLOODS).await;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE.
    sent.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let head = [
        literal(":method", "GET"),
        literal(":scheme", "https"),
        literal(":authority", HOST),
        literal(":path", path),
    ]
    .concat();
    for at in 0..STREAMS {
        let stream = u32::try_from(2 * at + 1).unwrap();
        sent.extend(frame(HEADERS, 5, stream, &head));
    }
    socket.write_all(&sent).await.unwrap();
    let (mut served, mut refused) = (0, 0);
    while served + refused < STREAMS {
        let mut head = [0; 9];
        soon("a frame", socket.read_exact(&mut head)).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await.unwrap();
        match (head[3], payload.first()) {
            // `:status: 200`, as HPACK's static table writes it.
            (HEADERS, Some(0x88)) => served += 1,
            (HEADERS, _) => refused += 1,
            _ => {}
        }
    }
    Stalled {
        _socket: socket,
        served,
        refused,
    }
}

async fn connect_from(addr: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    socket.bind(from).unwrap();
    socket.connect(addr).await.unwrap()
}

/// Somebody else than who floods, through a proxy that was named.
async fn elsewhere(addr: SocketAddr, target: &str) -> Reply {
    let call = Call::bare("GET", target)
        .header("Host", HOST)
        .header("X-Forwarded-For", "203.0.113.5");
    timeout(AT_ONCE, call.send(addr)).await.expect("at once")
}

/// A process of its own with the app in a folder, which tells addresses apart.
fn node(idp: &Idp, limits: &str) -> Node {
    let mut environment = BTreeMap::new();
    environment.insert("BFF_CLIENT_SECRET".to_owned(), idp.client_secret.clone());
    let issuer = idp.issuer.clone();
    let node = Node::new(environment, |addr, admin| {
        format!(
            "[server]\nlisten = \"{addr}\"\nadmin_listen = \"{admin}\"\n\
             public_url = \"{PUBLIC_URL}\"\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
             {limits}\n\
             [provider]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret = \"env:BFF_CLIENT_SECRET\"\n\
             [frontend]\ndir = \"dist\"\n"
        )
    });
    node.file("dist/index.html", "<title>app</title>");
    node
}

/// Files that a process has open.
fn open_files(node: &Node) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", node.id())).unwrap();
    open.count()
}

/// J17: downloads that nobody reads hold no descriptors. (Ten connections of one stranger held one for
/// each stream, till nobody was accepted, on the second listener neither.)
#[tokio::test]
async fn downloads_that_stand_still_use_up_no_descriptors() {
    const OPEN_FILES: u32 = 300;
    let idp = Idp::start(&nine_o_clock());
    let mut node = node(&idp, "");
    node.file("dist/large.bin", &"x".repeat(200_000));
    node.open_files = Some(OPEN_FILES);
    node.start().await;
    let mut all = Vec::new();
    for _ in 0..4 {
        let one = stalled(node.addr, "/large.bin").await;
        assert_eq!(one.served, STREAMS);
        all.push(one);
    }
    assert!(open_files(&node) < 100, "{}", open_files(&node));
    let alive = timeout(AT_ONCE, node.administration("/livez")).await;
    assert_eq!(alive.expect("at once").status, 200);
    for (target, length) in [("/", 18), ("/large.bin", 200_000)] {
        let reply = elsewhere(node.addr, target).await;
        assert_eq!((reply.status, reply.body.len()), (200, length), "{target}");
    }
    let log = node.log_up_to_now().await;
    assert!(!log.contains("ERROR"), "{log}");
}

/// J17: files that one address leaves lying are counted, and cost next to nothing however many. (Each
/// stream had a copy of the file of its own: two thousand of them took 150 MB.)
#[tokio::test]
async fn files_that_stand_still_are_counted_and_shared() {
    const PER_ADDRESS: usize = 2048;
    let idp = Idp::start(&nine_o_clock());
    let mut node = node(&idp, "limits.connections = 200");
    node.file("dist/small.bin", &"x".repeat(60_000));
    node.start().await;
    assert_eq!(elsewhere(node.addr, "/small.bin").await.status, 200);
    let before = node.memory();
    let mut all = Vec::new();
    for _ in 0..PER_ADDRESS.div_ceil(STREAMS) {
        all.push(stalled(node.addr, "/small.bin").await);
    }
    let grown = node.memory().saturating_sub(before);
    assert!(grown < 60 * 1024 * 1024, "{grown}");
    let served: usize = all.iter().map(|one| one.served).sum();
    assert_eq!(served, PER_ADDRESS);
    let again = Call::bare("GET", "/").header("Host", HOST);
    let refused = ask(node.addr, &again).await;
    assert_eq!(refusal(&refused.unwrap()), "429 too_many_requests");
    assert_eq!(elsewhere(node.addr, "/").await.status, 200);
    drop(all);
    soon("room again", async {
        while ask(node.addr, &again).await.unwrap().status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// J17: calls without a session that one address leaves unread are counted, and leave room for everybody
/// else and for all who are signed in. (Six connections took every connection to upstreams: 503 `busy`
/// for all.)
#[tokio::test]
async fn calls_that_stand_still_leave_room_for_others() {
    const PER_ADDRESS: usize = 25;
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|seen| match seen.target.as_str() {
        "/open/large" => Answer::large(1),
        _ => Answer::text("hello"),
    });
    let bff = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .set("server.limits.connections", 100)
        .route(toml::toml! { path = "/open" auth = "none" }, &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(stalled(bff.public_addr, "/open/large").await);
    }
    let served: usize = all.iter().map(|one| one.served).sum();
    let refused: usize = all.iter().map(|one| one.refused).sum();
    assert_eq!((served, refused), (PER_ADDRESS, 600 - PER_ADDRESS));
    // From the same address.
    let reply = Call::bare("GET", "/open").header("Host", HOST);
    let reply = reply.send(bff.public_addr).await;
    assert_eq!(refusal(&reply), "429 too_many_requests");
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(alice.fetch(Fetch::get("/api").csrf()).await.status, 200);
    assert_eq!(elsewhere(bff.public_addr, "/open").await.status, 200);
    let counted = "bff_strangers_refused_total{demand=\"call\"}";
    soon("the figure", async {
        while !bff.metrics().unwrap().contains(counted) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// N4: a fault that each of a thousand requests meets is told once a minute. (615 lines told that nobody
/// could be accepted, 173 that a file could not be read.)
#[tokio::test]
async fn faults_of_every_request_are_told_once() {
    let idp = Idp::start(&nine_o_clock());
    let mut node = node(&idp, "");
    let beside = node.file("dist/app.js", "");
    symlink("loop.js", beside.with_file_name("loop.js")).unwrap();
    node.start().await;
    for _ in 0..5 {
        assert_eq!(elsewhere(node.addr, "/loop.js").await.status, 404);
    }
    let log = node.log_up_to_now().await;
    assert_eq!(log.matches("cannot be read").count(), 1, "{log}");

    // As if all descriptors were taken by somebody.
    let process = Pid::from_raw(i32::try_from(node.id()).unwrap());
    let few = Rlimit {
        current: Some(8),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(process, Resource::Nofile, few).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(connect_from(node.addr, FLOODS).await);
        // Accepting pauses for a tenth of a second each time.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    prlimit(process, Resource::Nofile, before).unwrap();
    assert_eq!(elsewhere(node.addr, "/").await.status, 200);
    let log = node.log_up_to_now().await;
    let told = log.matches("cannot accept connections").count();
    assert_eq!(told, 1, "{log}");
}
