//! WebSockets through the whole product (section M).

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::call::{Call, HOST, home, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::{Answer, Seen, Upstream};
use crate::support::wire::Tap;

pub(crate) type Socket = WebSocketStream<Tap<TcpStream>>;

/// An upstream that says back what is said on sockets, and `hello` to the rest.
pub(crate) fn echo(seen: &Seen) -> Answer {
    if seen.header("upgrade").is_some() {
        Answer::web_socket_echo()
    } else {
        Answer::text("hello")
    }
}

/// Code and reason of the close that comes next.
async fn farewell(socket: &mut Socket) -> (u16, String) {
    match soon("a close", socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => {
            (u16::from(frame.code), frame.reason.as_str().to_owned())
        }
        other => panic!("{other:?} in place of a close"),
    }
}

/// The code of the close that comes next; `None` where the connection just ends.
pub(crate) async fn closed_with(socket: &mut Socket) -> Option<u16> {
    match soon("a close", socket.next()).await {
        Some(Ok(Message::Close(frame))) => frame.map(|frame| u16::from(frame.code)),
        None | Some(Err(_)) => None,
        Some(Ok(other)) => panic!("{other:?} in place of a close"),
    }
}

/// A proper handshake from our own page.
fn handshake(path: &str) -> Call {
    Call::bare("GET", path)
        .header("Host", HOST)
        .header("Origin", PUBLIC_URL)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcy4uLg==")
}

/// The status of the answer to a handshake.
async fn asked(call: &Call, bff: &Bff<'_>) -> u16 {
    let mut wire = call.begin(bff.public_addr).await;
    soon("an answer", wire.head(&home())).await.unwrap().status
}

pub(crate) async fn says_back(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let said = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(said, Message::text(text));
}

/// M1: the exact origin, before anybody is dialled, and no other page by Fetch Metadata; the header says
/// nothing here.
#[tokio::test]
async fn a_foreign_page_opens_no_socket() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .route(
            "path = '/files'\ncsrf = 'origin'".parse().unwrap(),
            &upstream,
        )
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    for path in ["/api/socket", "/files/socket"] {
        for origin in [
            Some("https://evil.example"),
            Some("https://blog.app.example"),
            Some("http://app.example"),
            Some("https://app.example:8443"),
            Some("https://app.example.evil"),
            Some("null"),
            Some(""),
            None,
        ] {
            let call = handshake(path).of(&alice).without("Origin");
            let call = match origin {
                Some(origin) => call.header("Origin", origin),
                None => call.header("X-CSRF", "1"),
            };
            let reply = call.send(bff.public_addr).await;
            assert_eq!(reply.status, 403, "{path} {origin:?}");
            assert_eq!(reply.json()["code"], "origin_not_allowed", "{origin:?}");
        }
        for site in ["cross-site", "same-site"] {
            let call = handshake(path).of(&alice).header("Sec-Fetch-Site", site);
            assert_eq!(asked(&call, &bff).await, 403, "{path} {site}");
        }
    }
    alice.stand_on("https://evil.example/trap");
    let refused = alice.web_socket("wss://app.example/api/socket").await;
    assert_eq!(refused.unwrap_err().status, 403);
    assert!(upstream.seen().is_empty());
}

/// M2: no session, no socket; with one, the token goes into the handshake and our cookie does not.
#[tokio::test]
async fn a_socket_needs_a_session_and_carries_its_token() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut stranger = alice.stranger(std::sync::Arc::clone(bff.clock()));
    stranger.stand_on(PUBLIC_URL);
    let refused = stranger.web_socket("wss://app.example/api/socket").await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["code"], "login_required");
    assert!(upstream.seen().is_empty());

    let call = handshake("/api/socket?access_token=mine")
        .of(&alice)
        .header("Authorization", "Bearer mine")
        .header("Cookie", "theme=dark")
        .header("Sec-WebSocket-Protocol", "chat, bearer.mine");
    let mut wire = call.begin(bff.public_addr).await;
    let head = soon("a head", wire.head(&home())).await.unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("sec-websocket-protocol"), Some("chat"));
    let seen = upstream.the_one();
    let token = idp.core.introspect(seen.bearer().unwrap()).unwrap();
    assert_eq!(token.sub, "alice");
    assert_eq!(seen.all("cookie"), ["theme=dark"]);
    drop(wire);

    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    says_back(&mut socket, "hello").await;
    let large = "x".repeat(3 * 1024 * 1024);
    says_back(&mut socket, &large).await;
    socket.close(None).await.unwrap();
    assert_eq!(upstream.web_sockets_closed(2).await.len(), 2);
}

/// M2, L: a socket that is opened with an expired token gets a fresh one.
#[tokio::test]
async fn a_handshake_refreshes_the_token() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    bff.clock().advance(Duration::from_secs(301));
    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    says_back(&mut socket, "hello").await;
    assert_eq!(idp.refreshes(), 1);
    let bearer = upstream.the_one().bearer().unwrap().to_owned();
    assert!(idp.core.introspect(&bearer).is_some());
}

/// M3: a handshake that is none is refused here.
#[tokio::test]
async fn a_handshake_is_judged() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let proper = handshake("/api/socket").of(&alice);
    let version = proper.clone().with("Sec-WebSocket-Version", "8");
    let reply = version.send(bff.public_addr).await;
    assert_eq!(reply.status, 426);
    assert_eq!(reply.header("sec-websocket-version"), Some("13"));
    let with = |name: &str, value: &str| proper.clone().with(name, value);
    for (name, call, status) in [
        (
            "no version",
            proper.clone().without("Sec-WebSocket-Version"),
            426,
        ),
        ("no key", proper.clone().without("Sec-WebSocket-Key"), 400),
        ("a short key", with("Sec-WebSocket-Key", "c2hvcnQ="), 400),
        (
            "no Base64",
            with("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!!!"),
            400,
        ),
        (
            "two keys",
            proper
                .clone()
                .header("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcy4uLg=="),
            400,
        ),
    ] {
        assert_eq!(asked(&call, &bff).await, status, "{name}");
    }
    let post = Call::new("POST", "/api/socket").of(&alice);
    let post = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==",
        "Origin: https://app.example",
    ]
    .iter()
    .filter_map(|line| line.split_once(": "))
    .fold(post, |call, (name, value)| call.header(name, value));
    assert_eq!(asked(&post, &bff).await, 400, "POST");
    assert!(upstream.seen().is_empty());
    assert_eq!(asked(&proper, &bff).await, 101);
}

/// M3: an upstream may refuse, and its word passes; what it may not do is to pretend.
#[tokio::test]
async fn an_upstreams_answer_is_judged() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let call = handshake("/api/socket").of(&alice);
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    // SHA-1 of the key above and the GUID of RFC 6455.
    let accept =
        tokio_tungstenite::tungstenite::handshake::derive_accept_key(b"c2l4dGVlbiBieXRlcy4uLg==");
    for (name, answer, status) in [
        (
            "refused",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
            403,
        ),
        (
            "not found",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            404,
        ),
        (
            "no accept",
            format!("{switch}Upgrade: websocket\r\n\r\n"),
            502,
        ),
        (
            "a wrong accept",
            format!("{switch}Upgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"),
            502,
        ),
        (
            "another protocol",
            format!("{switch}Upgrade: h2c\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"),
            502,
        ),
        (
            "a subprotocol nobody asked for",
            format!(
                "{switch}Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            ),
            502,
        ),
        (
            "an extension nobody asked for",
            format!(
                "{switch}Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            ),
            502,
        ),
        (
            "proper",
            format!("{switch}Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"),
            101,
        ),
    ] {
        upstream.answers_raw(answer);
        assert_eq!(asked(&call, &bff).await, status, "{name}");
    }
}

/// M4: whatever ends a session closes its sockets within a second, with 1008, both ways, and
/// nobody else's.
#[tokio::test]
async fn sockets_close_with_their_session() {
    for end in ["logout", "provider_logout", "idle", "absolute"] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        upstream.answers(echo);
        let bff = Bff::with(&idp, &upstream)
            .set("session.idle_timeout", "10m")
            .set("session.max_lifetime", "25m")
            .start();
        let mut alice = signed_in(&bff, "alice").await;
        let mut sockets = Vec::new();
        for _ in 0..3 {
            sockets.push(
                alice
                    .web_socket("wss://app.example/api/socket")
                    .await
                    .unwrap(),
            );
        }
        for socket in &mut sockets {
            says_back(socket, "hello").await;
        }
        let mut bob = alice.stranger(std::sync::Arc::clone(bff.clock()));
        let mut bobs = None;
        match end {
            "logout" => {
                crate::support::call::sign_in(&mut bob, "bob").await;
                bobs = Some(
                    bob.web_socket("wss://app.example/api/socket")
                        .await
                        .unwrap(),
                );
                alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
            }
            "provider_logout" => {
                idp.sign_out("alice", bff.public_addr).await;
            }
            "idle" => bff.clock().advance(Duration::from_mins(10)),
            _ => {
                for _ in 0..3 {
                    bff.clock().advance(Duration::from_mins(8));
                    let call = Call::get("/api").of(&alice);
                    assert_eq!(call.send(bff.public_addr).await.status, 200);
                    says_back(&mut sockets[0], "still here").await;
                }
                bff.clock().advance(Duration::from_mins(1));
            }
        }
        let began = Instant::now();
        let reason = match end {
            "idle" | "absolute" => "expired",
            said => said,
        };
        for socket in &mut sockets {
            assert_eq!(farewell(socket).await, (1008, reason.to_owned()), "{end}");
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{end}: after {took:?}");
        let closes = upstream.web_sockets_closed(3).await;
        assert_eq!(closes, [Some(1008); 3], "{end}");
        if let Some(bobs) = &mut bobs {
            says_back(bobs, "still here").await;
        }
    }
}

/// M4: what is said on a socket is no sign of life of the person: the session ends all the same.
#[tokio::test]
async fn a_talkative_socket_does_not_keep_a_session() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    bff.clock().advance(Duration::from_mins(9));
    says_back(&mut socket, "hello").await;
    bff.clock().advance(Duration::from_mins(1));
    assert_eq!(closed_with(&mut socket).await, Some(1008));
}

/// M4: a stop of `bff` says so, with 1001.
#[tokio::test]
async fn a_shutdown_says_goodbye() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    says_back(&mut socket, "hello").await;
    drop(bff);
    assert_eq!(closed_with(&mut socket).await, Some(1001));
    assert_eq!(upstream.web_sockets_closed(1).await, [Some(1001)]);
}

/// M2: a route with `auth = "none"` carries a socket with no credential: a development server's.
#[tokio::test]
async fn an_anonymous_route_carries_a_bare_socket() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .route("path = '/hmr'\nauth = 'none'".parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice.web_socket("wss://app.example/hmr").await.unwrap();
    says_back(&mut socket, "hello").await;
    let seen = upstream.the_one();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("cookie"), None);
    alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    says_back(&mut socket, "no session of mine").await;
}

/// M6: a session has so many sockets and no more; one that closes makes room, and others' do not
/// count.
#[tokio::test]
async fn a_session_has_only_so_many_sockets() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut sockets = Vec::new();
    let refused = loop {
        match alice.web_socket("wss://app.example/api/socket").await {
            Ok(socket) => sockets.push(socket),
            Err(refused) => break refused,
        }
        assert!(sockets.len() <= 200, "no limit");
    };
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["code"], "too_many_requests");
    assert_eq!(upstream.seen().len(), sockets.len());
    let mut bob = alice.stranger(std::sync::Arc::clone(bff.clock()));
    crate::support::call::sign_in(&mut bob, "bob").await;
    let mut bobs = bob
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    says_back(&mut bobs, "hello").await;

    let mut first = sockets.swap_remove(0);
    first.close(None).await.unwrap();
    // The close is answered, then the connection ends, and with it the right to it.
    while soon("the end", first.next())
        .await
        .is_some_and(|said| said.is_ok())
    {}
    drop(first);
    soon("room for one more", async {
        while alice
            .web_socket("wss://app.example/api/socket")
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// M6: each side may finish by itself, and a side that breaks off ends the other.
#[tokio::test]
async fn a_socket_that_breaks_off_ends_on_both_sides() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    says_back(&mut socket, "hello").await;
    drop(socket);
    assert_eq!(upstream.web_sockets_closed(1).await, [None]);
}

/// DESIGN §2: where a route takes no WebSockets, a handshake is a call like any other, and nothing is
/// upgraded.
#[tokio::test]
async fn a_route_may_take_no_sockets() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .no_routes()
        .route(
            "path = '/api'\nwebsocket = false".parse().unwrap(),
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = handshake("/api/socket").of(&alice);
    assert_eq!(asked(&call, &bff).await, 403, "no X-CSRF");
    assert!(upstream.seen().is_empty());
    let reply = call.header("X-CSRF", "1").send(bff.public_addr).await;
    assert_eq!((reply.status, reply.text()), (200, "hello".to_owned()));
    assert_eq!(upstream.the_one().header("upgrade"), None);
}

/// M6: a browser that answers no ping is let go, and its upstream with it. (Three hundred silent sockets
/// on an anonymous route lived for ever.)
#[tokio::test]
async fn a_silent_socket_is_let_go() {
    const SILENT: usize = 30;
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .set("server.timeouts.websocket_ping", "200ms")
        .route("path = '/hmr'\nauth = 'none'".parse().unwrap(), &upstream)
        .start();
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let mut wire = handshake("/hmr").begin(bff.public_addr).await;
        let head = soon("a head", wire.head(&home())).await.unwrap();
        assert_eq!(head.status, 101);
        silent.push(wire);
    }
    let closes = upstream.web_sockets_closed(SILENT).await;
    assert_eq!(closes, [Some(1001); SILENT]);
}

/// M6: one that answers lives, however little either side has to say.
#[tokio::test]
async fn a_socket_that_answers_pings_lives() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .set("server.timeouts.websocket_ping", "200ms")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    for _ in 0..5 {
        let said = soon("a ping", socket.next()).await.unwrap().unwrap();
        assert!(matches!(said, Message::Ping(_)), "{said:?}");
    }
    socket.send(Message::text("still here")).await.unwrap();
    loop {
        match soon("an echo", socket.next()).await.unwrap().unwrap() {
            Message::Ping(_) => {}
            said => return assert_eq!(said, Message::text("still here")),
        }
    }
}

/// M6: whoever has no session has only so many sockets an address; sessions are not counted with them.
#[tokio::test]
async fn one_address_has_only_so_many_sockets_without_a_session() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        // A fortieth of them is an address's.
        .set("server.limits.connections", 120)
        .route("path = '/hmr'\nauth = 'none'".parse().unwrap(), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let from = |address: &str| handshake("/hmr").header("X-Forwarded-For", address);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut wire = from("198.51.100.7").begin(bff.public_addr).await;
        let head = soon("a head", wire.head(&home())).await.unwrap();
        assert_eq!(head.status, 101);
        open.push(wire);
    }
    let refused = from("198.51.100.7").send(bff.public_addr).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["code"], "too_many_requests");
    assert_eq!(asked(&from("203.0.113.5"), &bff).await, 101);
    let own = handshake("/api/socket")
        .of(&alice)
        .header("X-Forwarded-For", "198.51.100.7");
    assert_eq!(asked(&own, &bff).await, 101);
    drop(open.pop());
    soon("room for one more", async {
        while asked(&from("198.51.100.7"), &bff).await != 101 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
