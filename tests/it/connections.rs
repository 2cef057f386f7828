//! More connections than there may be, from browsers and to upstreams (J17): the node goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::bff::Bff;
use crate::support::call::Call;
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::node::{Node, ask};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Wire;

/// How long the next visitor may wait.
const AT_ONCE: Duration = Duration::from_secs(3);

/// J17: a client that keeps as many connections as there may be keeps nobody out. (The next visitor
/// waited until the first of them had been idle for 75 seconds.)
#[tokio::test]
async fn kept_connections_of_one_client_keep_nobody_out() {
    const ALL: usize = 40;
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.limits.connections", i64::try_from(ALL).unwrap())
        .start();
    let call = Call::get("/bff/session");
    let mut kept: Vec<Wire> = Vec::new();
    for _ in 0..ALL {
        let mut wire = call.begin(bff.public_addr).await;
        assert_eq!(call.answer_on(&mut wire).await.status, 200);
        kept.push(wire);
    }
    for _ in 0..5 {
        let reply = timeout(AT_ONCE, call.send(bff.public_addr)).await;
        assert_eq!(reply.expect("at once").status, 200);
    }
    // Whoever of them comes back is served, on the last one at least.
    let last = kept.last_mut().unwrap();
    last.send(&call.bytes()).await;
    assert_eq!(call.answer_on(last).await.status, 200);
}

async fn serves(addr: SocketAddr, from: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::new(from.parse().unwrap(), 0))
        .unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let call = Call::get("/bff/session").bytes();
    stream.write_all(&call).await.ok()?;
    let mut byte = [0; 1];
    match soon("an answer or the end", stream.read(&mut byte)).await {
        Ok(1) => Some(stream),
        _ => None,
    }
}

/// J17: one address has so many connections and no more, where addresses tell clients apart; what it is
/// refused is counted.
#[tokio::test]
async fn one_address_has_only_so_many_connections() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", vec!["127.0.0.9/32"])
        .set("server.limits.connections_per_address", 3)
        .start();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(serves(bff.public_addr, "127.0.0.1").await.unwrap());
    }
    assert!(serves(bff.public_addr, "127.0.0.1").await.is_none());
    assert!(serves(bff.public_addr, "127.0.0.2").await.is_some());
    for _ in 0..5 {
        open.push(serves(bff.public_addr, "127.0.0.9").await.unwrap());
    }
    let refused = "bff_strangers_refused_total{demand=\"connection\"} 1";
    soon("the figure", async {
        while !bff.metrics().unwrap().contains(refused) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Twelve HTTP/2 connections with a hundred calls each, in small: what would open more connections to
/// upstreams than strangers may have is refused, and everybody else is served. (The node could accept
/// nobody any more.)
#[tokio::test]
async fn a_few_http_2_connections_do_not_stop_the_node() {
    const OPEN_FILES: u32 = 300;
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|seen| match seen.target.as_str() {
        "/open/slow" => Answer::slow(vec!["late"], Duration::from_mins(1)),
        _ => Answer::text("hello"),
    });
    let mut environment = BTreeMap::new();
    environment.insert("BFF_CLIENT_SECRET".to_owned(), idp.client_secret.clone());
    let (issuer, url) = (idp.issuer.clone(), upstream.url());
    let mut node = Node::new(environment, |addr, admin| {
        format!(
            "[server]\nlisten = \"{addr}\"\nadmin_listen = \"{admin}\"\n\
             public_url = \"{PUBLIC_URL}\"\nworkers = 2\n\
             [provider]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret = \"env:BFF_CLIENT_SECRET\"\n\
             [[route]]\npath = \"/open\"\nupstream = \"{url}\"\nauth = \"none\"\n"
        )
    });
    node.open_files = Some(OPEN_FILES);
    node.start().await;
    node.until_ready().await;

    let mut senders = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..4 {
        let stream = TcpStream::connect(node.addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(async move { drop(connection.await) });
        for _ in 0..100 {
            let request = Request::builder()
                .uri(format!("{PUBLIC_URL}/open/slow"))
                .body(Full::new(Bytes::new()))
                .unwrap();
            calls.push(sender.clone().send_request(request));
        }
        senders.push(sender);
    }
    let answers = soon("the answers", join_all(calls)).await;
    let mut refused = 0;
    for answer in &answers {
        let answer = answer.as_ref().unwrap();
        if answer.status() == 503 {
            assert_eq!(answer.headers()["retry-after"], "5");
            refused += 1;
        } else {
            assert_eq!(answer.status(), 200);
        }
    }
    // Of 75 connections to upstreams, half are for those who are signed in.
    assert_eq!(answers.len() - refused, 37, "of 400");

    let session = Call::get("/bff/session");
    let reply = timeout(AT_ONCE, ask(node.addr, &session)).await;
    assert_eq!(reply.expect("at once").unwrap().status, 200);
    assert_eq!(node.ready().await.status, 200);
    let reply = ask(node.addr, &Call::get("/open")).await.unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (503, &"busy".into()));
    drop((answers, senders));
    soon("room again", async {
        while ask(node.addr, &Call::get("/open")).await.unwrap().status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
