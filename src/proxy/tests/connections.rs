//! Which connection a request takes, and what becomes of it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::stage::{Proxy, Upstream, limits, no_roots, tls_client};
use crate::proxy::dial::SystemResolver;
use crate::proxy::route::tests::settings;
use crate::proxy::upstream::{UpstreamRoom, Upstreams};
use crate::proxy::{PathRewrite, RouteSettings};

const GET: &str = "GET /x HTTP/1.1\r\nhost: app.example\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// I1, I2, I3, I8: the upstream sees its own name, our credential, and nothing of the browser's.
#[tokio::test]
async fn a_request_is_built_anew_for_its_upstream() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser
        .send(
            "GET /a%20b/%7ec?q=%2f;x HTTP/1.1\r\nHost: app.example\r\nAuthorization: Basic x\r\n\
             Cookie: bff=secret; a=1\r\nX-Forwarded-Host: evil.example\r\nX_User: root\r\n\
             Connection: x-hop\r\nX-Hop: 1\r\nAccept: */*\r\n\r\n",
        )
        .await;
    let (_wire, head) = upstream.answer(OK).await;
    let authority = upstream.url().replace("http://", "");
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "GET /a%20b/~c?q=%2f;x HTTP/1.1",
            "",
            "accept: */*",
            "authorization: Bearer canary",
            "cookie: a=1",
            &format!("host: {authority}"),
            "via: 1.1 bff",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: app.example",
            "x-forwarded-proto: https",
            "x-request-id: r-1",
        ]
    );
    assert!(browser.until("ok").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_path_is_rewritten_as_the_route_says() {
    use PathRewrite::{Keep, ReplacePrefix, StripPrefix};
    for (rewrite, base, asked, seen) in [
        (Keep, "", "/api/x?q", "/api/x?q"),
        (Keep, "/base/", "/api/x?q", "/base/api/x?q"),
        (StripPrefix, "", "/api/x?q", "/x?q"),
        (StripPrefix, "", "/api?q", "/?q"),
        (StripPrefix, "/base", "/api", "/base"),
        (ReplacePrefix("/v2".to_owned()), "", "/api/x", "/v2/x"),
        (ReplacePrefix("/".to_owned()), "", "/api/x", "/x"),
    ] {
        let upstream = Upstream::new().await;
        let proxy = Proxy::with(RouteSettings {
            path_rewrite: rewrite,
            ..settings("/api", &format!("{}{base}", upstream.url()))
        })
        .await;
        let mut browser = proxy.browser().await;
        let request = GET.replace("/x", asked);
        browser.send(&request).await;
        let (_wire, head) = upstream.answer(OK).await;
        assert!(
            head.starts_with(&format!("GET {seen} HTTP/1.1\r\n")),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let serve = async {
        let (mut wire, _) = upstream.answer(OK).await;
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
        wire.head().await;
        wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        wire.head().await;
        wire.send(OK).await;
        wire
    };
    let ask = async {
        let mut browser = proxy.browser().await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(browser.ask(GET).await);
        }
        answers
    };
    let (_wire, answers) = tokio::join!(serve, ask);
    assert!(answers[0].ends_with("ok"), "{answers:?}");
    assert!(answers[1].ends_with("ok"), "{answers:?}");
    assert!(answers[2].starts_with("HTTP/1.1 204"), "{answers:?}");
    assert!(answers[3].ends_with("ok"), "{answers:?}");
    assert!(upstream.untouched());
}

/// I1, J6: a target in absolute form changes nothing of where the request goes.
#[tokio::test]
async fn an_absolute_target_goes_the_same_way() {
    for (target, seen) in [
        ("http://evil.example/x?q", "/x?q"),
        ("https://evil.example:1/x", "/x"),
        ("http://evil.example", "/"),
        ("http://evil.example?q", "/?q"),
    ] {
        let upstream = Upstream::new().await;
        let proxy = Proxy::to(&upstream).await;
        let mut browser = proxy.browser().await;
        let request = GET.replace("/x", target);
        browser.send(&request).await;
        let (_wire, head) = upstream.answer(OK).await;
        assert!(
            head.starts_with(&format!("GET {seen} HTTP/1.1\r\n")),
            "{head}"
        );
        assert!(!head.contains("evil"), "{head}");
    }
}

/// An idle connection is closed after a while, though no request comes by to notice.
#[tokio::test]
async fn an_idle_connection_is_not_kept_for_ever() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    let (_, (mut wire, _)) = tokio::join!(browser.ask(GET), upstream.answer(OK));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(wire.rest().await, "");
    assert!(began.elapsed() >= std::time::Duration::from_secs(25));
}

/// J8: a connection that the upstream will close is not kept.
#[tokio::test]
async fn a_closing_connection_is_not_kept() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    let closing = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let (first, _held) = tokio::join!(browser.ask(GET), upstream.answer(closing));
    assert!(first.ends_with("ok"));
    let (second, _held) = tokio::join!(browser.ask(GET), upstream.answer(OK));
    assert!(second.ends_with("ok"));
}

/// J8: bytes that nobody asked for spoil a connection: they would be the next request's answer.
#[tokio::test]
async fn a_connection_with_unread_bytes_is_not_kept() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    let double = format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
    let (first, _held) = tokio::join!(browser.ask(GET), upstream.answer(&double));
    assert!(first.ends_with("ok"));
    let (second, _held) = tokio::join!(browser.ask(GET), upstream.answer(OK));
    assert!(second.ends_with("\r\n\r\nok"), "{second}");
}

#[tokio::test]
async fn a_stale_connection_costs_a_second_try() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    let (_, (mut wire, _)) = tokio::join!(browser.ask(GET), upstream.answer(OK));
    let serve = async {
        // Hangs up with the second request in hand.
        wire.head().await;
        drop(wire);
        upstream.answer(OK).await
    };
    let (second, _held) = tokio::join!(browser.ask(GET), serve);
    assert!(second.ends_with("ok"), "{second}");
}

/// A request that may have had an effect is never sent twice.
#[tokio::test]
async fn a_post_is_not_sent_twice() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    for body in ["", "x"] {
        let mut browser = proxy.browser().await;
        let (_, (mut wire, _)) = tokio::join!(browser.ask(GET), upstream.answer(OK));
        let length = body.len();
        let post = format!(
            "POST /x HTTP/1.1\r\nhost: app.example\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let serve = async {
            wire.head().await;
            drop(wire);
        };
        let (answer, ()) = tokio::join!(browser.ask(&post), serve);
        assert!(answer.ends_with("fault: Closed"), "{answer}");
        assert!(upstream.untouched());
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_noticed() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    let (_, (mut wire, _)) = tokio::join!(browser.ask(GET), upstream.answer(OK));
    tokio::io::AsyncWriteExt::shutdown(&mut wire.stream)
        .await
        .unwrap();
    let post = "POST /x HTTP/1.1\r\nhost: app.example\r\ncontent-length: 1\r\n\r\nx";
    let (answer, _held) = tokio::join!(browser.ask(post), upstream.answer(OK));
    assert!(answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn the_next_upstream_stands_in_for_one_that_is_away() {
    let upstream = Upstream::new().await;
    let away = Upstream::new().await.url();
    let mut two = settings("/", &away);
    two.upstreams.push(upstream.url().parse().unwrap());
    let proxy = Proxy::with(two).await;
    for _ in 0..2 {
        let mut browser = proxy.browser().await;
        let post = "POST /x HTTP/1.1\r\nhost: app.example\r\ncontent-length: 1\r\n\r\nx";
        let (answer, ()) = tokio::join!(browser.ask(post), async {
            let (mut wire, _) = upstream.answer("").await;
            wire.until("x").await;
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                .await;
        });
        assert!(answer.ends_with("ok"), "{answer}");
    }
    let proxy = Proxy::with(settings("/", &away)).await;
    assert!(proxy.ask(GET).await.ends_with("fault: Connect"));
}

/// J18: an upstream that does not answer in time is given up, and its connection closed.
#[tokio::test]
async fn a_silent_upstream_is_given_up() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::with(RouteSettings {
        timeout: std::time::Duration::from_millis(100),
        ..settings("/", &upstream.url())
    })
    .await;
    let serve = async {
        let mut wire = upstream.accept().await;
        wire.head().await;
        wire.rest().await
    };
    let (answer, rest) = tokio::join!(proxy.ask(GET), serve);
    assert!(answer.ends_with("fault: Timeout"), "{answer}");
    assert_eq!(rest, "");
}

/// A browser that leaves takes its request along.
#[tokio::test]
async fn a_browser_that_leaves_ends_the_call() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(GET).await;
    let mut wire = upstream.accept().await;
    wire.head().await;
    drop(browser);
    assert_eq!(wire.rest().await, "");
}

/// I7, J19: circles are cut, and the last hop answers itself.
#[tokio::test]
async fn hops_are_counted() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let circles = "1.1 bff, ".repeat(8);
    let request = format!("GET /x HTTP/1.1\r\nhost: app.example\r\nvia: {circles}\r\n\r\n");
    assert!(proxy.ask(&request).await.ends_with("fault: LoopDetected"));
    let last =
        "OPTIONS /x HTTP/1.1\r\nhost: app.example\r\nmax-forwards: 0\r\nconnection: close\r\n\r\n";
    assert!(proxy.ask(last).await.starts_with("HTTP/1.1 204"));
    assert!(upstream.untouched());
}

/// N2: an upstream's certificate is verified, with its name.
#[tokio::test]
async fn an_https_upstream_is_verified() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = key.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            }
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert).unwrap();
    let trusting = tls_client(roots);
    for (host, tls, end) in [
        ("localhost", trusting.clone(), "ok"),
        ("127.0.0.1", trusting, "fault: Connect"),
        ("localhost", no_roots(), "fault: Connect"),
    ] {
        let proxy = Proxy::start(settings("/", &format!("https://{host}:{port}")), tls).await;
        let mut browser = proxy.browser().await;
        let answer = browser.ask(GET).await;
        assert!(answer.ends_with(end), "{host}: {answer}");
    }
    serving.abort();
}

/// So many connections to upstreams and no more: a call that would need another is refused, one that
/// finds a kept one goes on, and what is over makes room.
#[tokio::test]
async fn connections_beyond_the_room_are_refused() {
    let upstream = Upstream::new().await;
    let room = UpstreamRoom::new(2, NonZeroUsize::MIN);
    let upstreams = Upstreams::new(limits(), room, no_roots(), Arc::new(SystemResolver));
    let proxy = Proxy::over(settings("/", &upstream.url()), upstreams).await;
    let mut first = proxy.browser().await;
    first.send(GET).await;
    let mut wire = upstream.accept().await;
    wire.head().await;
    let mut second = proxy.browser().await;
    second.send(GET).await;
    let mut other = upstream.accept().await;
    other.head().await;

    assert!(proxy.ask(GET).await.ends_with("fault: Busy"));
    assert!(upstream.untouched());
    wire.send(OK).await;
    first.until("ok").await;
    // The one that is kept serves the next.
    let mut third = proxy.browser().await;
    third.send(GET).await;
    wire.head().await;
    assert!(proxy.ask(GET).await.ends_with("fault: Busy"));
    // One that cannot be kept leaves its room.
    other
        .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .await;
    second.until("ok").await;
    third.send(GET).await;
    wire.send(OK).await;
    third.until("ok").await;
}
