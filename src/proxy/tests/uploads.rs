//! A request's body on its way, and all the ways in which it does not arrive.

use std::sync::Arc;
use std::time::Duration;

use super::stage::{Proxy, Upstream, limits, no_roots, room};
use crate::proxy::RouteSettings;
use crate::proxy::dial::SystemResolver;
use crate::proxy::route::tests::settings;
use crate::proxy::upstream::{UpstreamLimits, Upstreams};
use crate::web::pace::LeastRate;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn head(method: &str, fields: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nhost: app.example\r\n{fields}\r\n")
}

/// J7: the framing is ours, and a GET keeps its body.
#[tokio::test]
async fn a_body_arrives_in_one_framing() {
    for (method, fields, body, expected, seen) in [
        (
            "POST",
            "content-length: 3\r\n",
            "abc",
            "content-length: 3",
            "abc",
        ),
        (
            "POST",
            "transfer-encoding: Chunked\r\n",
            "3;ext=1\r\nabc\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "transfer-encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "content-length: 3\r\n",
            "abc",
            "content-length: 3",
            "abc",
        ),
        ("POST", "content-length: 0\r\n", "", "content-length: 0", ""),
        ("DELETE", "", "", "via: 1.1 bff", ""),
    ] {
        let upstream = Upstream::new().await;
        let proxy = Proxy::to(&upstream).await;
        let mut browser = proxy.browser().await;
        let request = head(method, fields) + body;
        let serve = async {
            let mut wire = upstream.accept().await;
            let head = wire.head().await;
            assert_eq!(wire.until(seen).await, seen);
            wire.send(OK).await;
            (wire, head)
        };
        let (answer, (_wire, head)) = tokio::join!(browser.ask(&request), serve);
        assert!(answer.ends_with("ok"), "{answer}");
        assert!(head.contains(expected), "{method} {fields}: {head}");
        let lengths = head.matches("content-length").count() + head.matches("transfer-enc").count();
        assert!(lengths <= 1, "{head}");
    }
}

/// J9: we say 100 when the upstream is ready to take the body, and swallow its own.
#[tokio::test]
async fn an_expectation_is_met_here() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser
        .send(&head(
            "POST",
            "content-length: 3\r\nexpect: 100-continue\r\n",
        ))
        .await;
    let mut wire = upstream.accept().await;
    assert!(browser.head().await.starts_with("HTTP/1.1 100"));
    browser.send("abc").await;
    assert!(!wire.until("abc").await.contains("expect"));
    wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        .await;
    wire.send(OK).await;
    assert!(browser.head().await.starts_with("HTTP/1.1 200"));
}

/// J5: a broken body is the browser's fault, and the upstream never sees it complete.
#[tokio::test]
async fn a_broken_body_is_the_browsers_fault() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let serve = async {
        let mut wire = upstream.accept().await;
        wire.rest().await
    };
    let request = head("POST", "transfer-encoding: chunked\r\n") + "3\r\nabc\r\nzz\r\n";
    let (answer, seen) = tokio::join!(proxy.ask(&request), serve);
    assert!(answer.ends_with("fault: BrowserBody"), "{answer}");
    assert!(!seen.contains("\r\n0\r\n"), "{seen}");
}

/// A route's limit holds for what is announced and for what is counted.
#[tokio::test]
async fn a_body_has_at_most_as_many_bytes_as_the_route_allows() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::with(RouteSettings {
        max_body: Some(4),
        ..settings("/", &upstream.url())
    })
    .await;
    let announced = head("POST", "content-length: 5\r\n");
    let answer = proxy.ask(&announced).await;
    assert!(answer.ends_with("fault: BodyTooLarge"), "{answer}");
    assert!(upstream.untouched());
    let counted = head("POST", "transfer-encoding: chunked\r\n") + "3\r\nabc\r\n2\r\nde\r\n";
    let serve = async {
        let mut wire = upstream.accept().await;
        wire.rest().await
    };
    let (answer, seen) = tokio::join!(proxy.ask(&counted), serve);
    assert!(answer.ends_with("fault: BodyTooLarge"), "{answer}");
    assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n"), "{seen}");
    let fits = head("POST", "content-length: 4\r\n") + "abcd";
    let mut browser = proxy.browser().await;
    let (answer, _) = tokio::join!(browser.ask(&fits), async {
        let (mut wire, _) = upstream.answer("").await;
        wire.until("abcd").await;
        wire.send(OK).await;
        wire
    });
    assert!(answer.ends_with("ok"), "{answer}");
}

/// J18: a browser that stops sending is cut.
#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let serve = async {
        let mut wire = upstream.accept().await;
        wire.rest().await
    };
    let request = head("POST", "content-length: 5\r\n") + "abc";
    let (answer, seen) = tokio::join!(proxy.ask(&request), serve);
    assert!(answer.ends_with("fault: BodyIdle"), "{answer}");
    assert!(seen.ends_with("abc"), "{seen}");
}

/// J18: so is one that drips, unless its route takes streams. A slow line is no drip. (A byte now and
/// then kept a body, and a connection to an upstream with it, for ever.)
#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    const WINDOW: Duration = Duration::from_millis(600);
    const STEP: Duration = Duration::from_millis(50);
    // Each step brings less than the window asks for, or more.
    for (name, streams, piece, cut) in [
        ("a drip", false, "a", true),
        ("a drip in a stream", true, "a", false),
        ("a slow line", false, "0123456789", false),
    ] {
        let upstream = Upstream::new().await;
        let limits = UpstreamLimits {
            least_rate: LeastRate::new(100, WINDOW),
            body_idle: WINDOW * 10,
            ..limits()
        };
        let upstreams = Upstreams::new(limits, room(), no_roots(), Arc::new(SystemResolver));
        let route = RouteSettings {
            streams,
            ..settings("/", &upstream.url())
        };
        let proxy = Proxy::over(route, upstreams).await;
        let serve = async {
            let mut wire = upstream.accept().await;
            if wire.try_until("0\r\n\r\n").await.is_some() {
                wire.send(OK).await;
            }
            wire
        };
        let ask = async {
            let mut browser = proxy.browser().await;
            let fields = "transfer-encoding: chunked\r\nconnection: close\r\n";
            browser.send(&head("POST", fields)).await;
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            for _ in 0..30 {
                drop(browser.try_send(&chunk).await);
                tokio::time::sleep(STEP).await;
            }
            drop(browser.try_send("0\r\n\r\n").await);
            browser.rest().await
        };
        let ask = tokio::time::timeout(Duration::from_secs(10), ask);
        let (answer, _wire) = tokio::join!(ask, serve);
        let answer = answer.expect("an end");
        let end = if cut { "fault: BodyIdle" } else { "ok" };
        assert!(answer.ends_with(end), "{name}: {answer}");
    }
}

/// J8: an answer that comes before the body is sent costs the connection.
#[tokio::test]
async fn a_connection_with_an_unsent_body_is_not_kept() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser
        .send(&(head("POST", "content-length: 9\r\n") + "abc"))
        .await;
    let mut wire = upstream.accept().await;
    wire.until("abc").await;
    wire.send(OK).await;
    assert!(browser.until("ok").await.starts_with("HTTP/1.1 200"));
    assert_eq!(wire.rest().await, "");
    let mut browser = proxy.browser().await;
    let get = head("GET", "");
    let (answer, _held) = tokio::join!(browser.ask(&get), upstream.answer(OK));
    assert!(answer.ends_with("ok"));
}

/// J12: trailers go through, less those that belong in a head.
#[tokio::test]
async fn trailers_of_a_request_arrive() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    let fields = "transfer-encoding: chunked\r\ntrailer: x-sum, authorization\r\n";
    let trailers = "x-sum: 7\r\nauthorization: Basic x\r\n\r\n";
    browser
        .send(&format!(
            "{}3\r\nabc\r\n0\r\n{trailers}",
            head("POST", fields)
        ))
        .await;
    let mut wire = upstream.accept().await;
    wire.head().await;
    assert_eq!(wire.head().await, "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
}
