//! Socket files in the place of addresses: of the two listeners, and of upstreams. Whoever connects to
//! ours is a proxy.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener};

use crate::support::bff::Bff;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::process::{Process, run};
use crate::support::upstream::Upstream;

/// The whole product behind a proxy that connects to a socket file: what the proxy says of who calls
/// counts, without any network being named, and its own end is no hop. The file is for user and group,
/// takes the place of one that a dead process left, and goes with the process.
#[tokio::test]
async fn a_proxy_finds_us_by_a_socket_file() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("app.sock");
    // Left behind: nobody listens there any more.
    drop(StdUnixListener::bind(&path).unwrap());
    let bff = Bff::with(&idp, &upstream)
        .set("server.listen", format!("unix:{}", path.display()))
        .start();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut alice = signed_in(&bff, "alice").await;
    let calls = [
        (Some("203.0.113.9"), "203.0.113.9"),
        (Some("198.51.100.1, 203.0.113.9"), "203.0.113.9"),
        (None, "127.0.0.1"),
    ];
    for (said, expected) in calls {
        let mut call = Call::get("/api/orders").of(&alice);
        if let Some(said) = said {
            call = call.header("X-Forwarded-For", said);
        }
        assert_eq!(call.send(bff.public_addr).await.status, 200);
        assert_eq!(upstream.last().all("x-forwarded-for"), [expected]);
    }
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    drop(bff);
    assert!(!path.exists(), "it goes with the process");
}

/// An upstream on this machine may listen on a file: it is called by the name localhost, and one that is
/// away is one that is away.
#[tokio::test]
async fn an_upstream_is_found_by_a_socket_file() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("orders.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let behind = upstream.addr();
    let passing = tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(behind).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    let bff = Bff::with(&idp, &upstream)
        .no_routes()
        .route(
            toml::toml! { path = "/orders" strip_prefix = true }
                .into_iter()
                .chain([(
                    "upstream".to_owned(),
                    format!("unix:{}", path.display()).into(),
                )])
                .collect(),
            &upstream,
        )
        .route(
            [
                ("path".to_owned(), "/away".into()),
                (
                    "upstream".to_owned(),
                    format!("unix:{}", dir.path().join("away.sock").display()).into(),
                ),
            ]
            .into_iter()
            .collect(),
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    for _ in 0..2 {
        let reply = Call::get("/orders/7")
            .of(&alice)
            .send(bff.public_addr)
            .await;
        assert_eq!(reply.status, 200);
        let seen = upstream.last();
        assert_eq!(seen.all("host"), ["localhost"]);
        assert!(seen.bearer().is_some());
    }
    let reply = Call::get("/away").of(&alice).send(bff.public_addr).await;
    assert_eq!(refusal(&reply), "502 upstream_unavailable");
    passing.abort();
}

fn configured(dir: &Path, server: &str) -> BTreeMap<String, String> {
    let config = format!(
        "[server]\npublic_url = \"{PUBLIC_URL}\"\n{server}\nadmin_key = \"env:KEY\"\n\
         [provider]\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"app\"\nclient_secret = \"env:KEY\"\n\
         [session]\nkeys = [\"env:KEY\"]\n"
    );
    std::fs::write(dir.join("bff.toml"), config).unwrap();
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    [("KEY".to_owned(), key.to_owned())].into()
}

/// The commands that ask a running `bff` find it by its file.
#[tokio::test]
async fn commands_find_the_listener_by_its_file() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().display();
    let environment = configured(
        dir.path(),
        &format!("listen = \"unix:{place}/app.sock\"\nadmin_listen = \"unix:{place}/admin.sock\""),
    );
    let mut bff = Process::start(&["serve"], dir.path(), &environment);
    bff.line("serving").await;
    let ended = run(&["check", "--live"], dir.path(), &environment).await;
    assert_eq!(
        ended.out,
        format!("unix:{place}/admin.sock is alive\n"),
        "{}",
        ended.err
    );
    let ended = run(&["sessions", "list"], dir.path(), &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    // A second one must not take the file away from the first.
    let second = run(&["serve"], dir.path(), &environment).await;
    let says = format!("server.listen: unix:{place}/app.sock is in use by another program");
    assert!(second.err.contains(&says), "{}", second.err);
    let ended = run(&["check", "--live"], dir.path(), &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    bff.terminate().await;
    assert_eq!(bff.ended().await, Some(0));
    let ended = run(&["check", "--live"], dir.path(), &environment).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
}

/// What stands in the way of a listener is told with what helps.
#[tokio::test]
async fn a_listener_that_cannot_be_says_what_helps() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().display();
    std::fs::write(dir.path().join("notes"), "dear to somebody").unwrap();
    for (listen, code, says) in [
        (
            format!("unix:{place}/notes"),
            2,
            "what is there is no socket",
        ),
        (
            format!("unix:{place}/none/app.sock"),
            2,
            "its folder is not there",
        ),
        (
            "unix:app.sock".to_owned(),
            2,
            "write one such as \"unix:/run/bff/app.sock\"",
        ),
        (
            "192.0.2.1:8080".to_owned(),
            2,
            "it is no address of this machine",
        ),
        (":8080".to_owned(), 2, "write \"0.0.0.0:8080\""),
        ("8080".to_owned(), 2, "write \"127.0.0.1:8080\""),
        (
            "http://localhost:8080".to_owned(),
            2,
            "write \"localhost:8080\"",
        ),
    ] {
        let environment = configured(
            dir.path(),
            &format!("listen = \"{listen}\"\nadmin_listen = \"127.0.0.1:0\""),
        );
        let ended = run(&["serve"], dir.path(), &environment).await;
        assert_eq!(ended.code, Some(code), "{listen}: {}", ended.err);
        assert!(ended.err.contains(says), "{listen}: {}", ended.err);
    }
    let notes = std::fs::read_to_string(dir.path().join("notes")).unwrap();
    assert_eq!(notes, "dear to somebody");
}

/// `localhost` is the one name that means the same everywhere; it was refused.
#[tokio::test]
async fn localhost_may_be_listened_on() {
    let dir = TempDir::new().unwrap();
    let environment = configured(
        dir.path(),
        "listen = \"localhost:0\"\nadmin_listen = \"localhost:0\"",
    );
    let mut bff = Process::start(&["serve"], dir.path(), &environment);
    assert!(bff.listens("listen").await.ip().is_loopback());
}
