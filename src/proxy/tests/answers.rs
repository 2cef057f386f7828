//! An upstream's answer on its way back.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::stage::{Proxy, Upstream};
use crate::proxy::RouteSettings;
use crate::proxy::route::tests::settings;
use crate::web::ending::EndReason;

const GET: &str = "GET /x HTTP/1.1\r\nhost: app.example\r\nconnection: close\r\n\r\n";

/// What a browser gets for `answer`, the upstream hanging up after it.
async fn through(request: &str, answer: &str) -> String {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let serve = async {
        let (mut wire, _) = upstream.answer(answer).await;
        wire.stream.shutdown().await.unwrap();
        wire
    };
    let (answer, _wire) = tokio::join!(proxy.ask(request), serve);
    answer
}

/// J14, J10: what is no proper answer is refused before a byte of it reaches the browser.
#[tokio::test]
async fn an_improper_answer_is_refused() {
    for (answer, fault) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "BadAnswer",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
            "BadAnswer",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
            "BadAnswer",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            "BadAnswer",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "BadAnswer"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "BadAnswer",
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "BadAnswer",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "BadAnswer",
        ),
        (
            "HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\ncontent-length: 0\r\n\r\n",
            "Unreadable",
        ),
        ("nonsense\r\n\r\n", "Unreadable"),
        ("HTTP/1.1 200 OK\r\n", "Closed"),
        ("", "Closed"),
    ] {
        let got = through(GET, answer).await;
        assert!(got.ends_with(&format!("fault: {fault}")), "{answer}: {got}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "a".repeat(200_000));
    let got = through(GET, &endless).await;
    assert!(got.ends_with("fault: AnswerHead"), "{got}");
}

/// J13: these answers have no body, whatever their fields say.
#[tokio::test]
async fn answers_without_bodies_have_none() {
    let head = GET.replace("GET", "HEAD");
    for (request, answer, line) in [
        (
            head.as_str(),
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            "content-length: 5",
        ),
        (
            head.as_str(),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "200 OK",
        ),
        (
            GET,
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
            "204",
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n",
            "etag: \"1\"",
        ),
    ] {
        let got = through(request, answer).await;
        assert!(got.contains(line), "{answer}: {got}");
        assert!(got.ends_with("\r\n\r\n"), "{answer}: {got}");
    }
}

#[tokio::test]
async fn bodies_of_every_framing_arrive() {
    let long = "x".repeat(300_000);
    for body in ["hello", long.as_str()] {
        let length = body.len();
        for answer in [
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"),
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
            ),
            format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
            format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
            format!(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 Fine\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
        ] {
            let got = through(GET, &answer).await;
            let (head, got) = got.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
            let got = if head.contains("chunked") {
                unchunked(got)
            } else {
                got.to_owned()
            };
            assert!(got == body, "{head}: {} of {length} bytes", got.len());
        }
    }
}

fn unchunked(mut text: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").expect("a chunk");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, "\r\n");
            return body;
        }
        let (chunk, rest) = rest.split_at(size);
        body.push_str(chunk);
        text = rest.strip_prefix("\r\n").expect("the end of a chunk");
    }
}

/// J14: an answer cut short reaches the browser as one.
#[tokio::test]
async fn a_cut_answer_does_not_look_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let upstream = Upstream::new().await;
        let proxy = Proxy::to(&upstream).await;
        let mut browser = proxy.browser().await;
        browser.send(GET).await;
        let (wire, _) = upstream.answer(answer).await;
        browser.until("hello").await;
        drop(wire);
        let rest = browser.rest().await;
        assert!(rest.trim().is_empty(), "{answer}: {rest}");
    }
}

/// J12: trailers reach a browser that asked for them, less what belongs in a head.
#[tokio::test]
async fn trailers_reach_a_browser_that_wants_them() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, set-cookie\r\n\r\n\
                  5\r\nhello\r\n0\r\nx-sum: 7\r\nset-cookie: a=1\r\n\r\n";
    let wanting = GET.replace("connection: close", "te: trailers\r\nconnection: close, te");
    let got = through(&wanting, answer).await;
    assert!(
        got.ends_with("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{got}"
    );
    let got = through(GET, answer).await;
    assert!(got.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{got}");
    assert!(!got.contains("x-sum"), "{got}");
}

/// M7, DESIGN §4: a stream of a session that ended breaks off, and visibly so.
#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(GET).await;
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n";
    let (mut wire, _) = upstream.answer(stream).await;
    browser.until("hello\r\n").await;
    proxy.ending.come(EndReason::Logout);
    assert_eq!(browser.rest().await, "");
    assert_eq!(wire.rest().await, "");
}

/// M7: so does a long poll that has no answer yet.
#[tokio::test]
async fn a_long_poll_ends_with_its_session() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(GET).await;
    let mut wire = upstream.accept().await;
    wire.head().await;
    proxy.ending.come(EndReason::Logout);
    assert!(browser.rest().await.ends_with("fault: Ended"));
}

/// J18: an answer that stands still is cut; an event stream is not, since silence is its nature.
#[tokio::test]
async fn an_answer_that_stands_still_is_cut() {
    for kind in ["text/plain", "text/event-stream; charset=utf-8"] {
        let upstream = Upstream::new().await;
        let proxy = Proxy::to(&upstream).await;
        let mut browser = proxy.browser().await;
        browser.send(GET).await;
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 9\r\n\r\nhello");
        let (mut wire, _) = upstream.answer(&answer).await;
        browser.until("hello").await;
        if kind == "text/plain" {
            assert_eq!(browser.rest().await, "");
        } else {
            let silence = super::stage::BODY_IDLE * 3;
            assert!(tokio::time::timeout(silence, browser.rest()).await.is_err());
            wire.send("more").await;
            assert_eq!(browser.rest().await, "more");
        }
    }
}

/// J18: a route says for itself how long its answers may stand still. (`server.timeouts.body_idle` held
/// for gRPC-Web and NDJSON as well, whose nature is silence too.)
#[tokio::test]
async fn a_route_may_be_silent_for_as_long_as_it_says() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::with(RouteSettings {
        idle_timeout: Some(Duration::from_mins(1)),
        ..settings("/", &upstream.url())
    })
    .await;
    let mut browser = proxy.browser().await;
    browser.send(GET).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n";
    let (mut wire, _) = upstream.answer(answer).await;
    browser.until("{}\r\n").await;
    let silence = super::stage::BODY_IDLE * 3;
    assert!(
        tokio::time::timeout(silence, browser.until("[]"))
            .await
            .is_err()
    );
    wire.send("2\r\n[]\r\n0\r\n\r\n").await;
    assert_eq!(browser.rest().await, "2\r\n[]\r\n0\r\n\r\n");
}

/// Memory is bounded: what the browser does not take is not read.
#[tokio::test]
async fn a_slow_browser_slows_the_upstream_down() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(GET).await;
    let length = 64 * 1024 * 1024;
    let (mut wire, _) = upstream
        .answer(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    browser.head().await;
    let body = vec![b'x'; length];
    let sent = tokio::time::timeout(Duration::from_millis(300), wire.stream.write_all(&body));
    // On a busy machine the stall may be over by the timeout of the body, with nothing more taken.
    assert!(!matches!(sent.await, Ok(Ok(()))), "64 MiB went somewhere");
}
