//! The upstream sees what really came, and says what it is told to.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::relying_party::get;
use crate::support::browser::Browser;
use crate::support::clock::{nine_o_clock, soon};
use crate::support::helper::Helper;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Wire;

#[tokio::test]
async fn a_request_is_recorded_as_it_was_written() {
    let upstream = Upstream::start();
    let url = Url::parse(&upstream.url()).unwrap();
    let mut wire = Wire::connect(upstream.addr()).await;
    wire.send(b"POST /one?a=%62 HTTP/1.1\r\nhost: x\r\nX-Odd:  1 \r\nx-odd: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    let mut reply = wire.head(&url).await.unwrap();
    wire.body(&mut reply, false).await;
    wire.send(b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n").await;
    wire.head(&url).await.unwrap();

    let seen = upstream.seen();
    assert_eq!(seen[0].target, "/one?a=%62");
    assert_eq!(
        seen[0].names(),
        ["host", "x-odd", "x-odd", "transfer-encoding"]
    );
    assert_eq!(seen[0].fields[1], ("X-Odd".to_owned(), "1".to_owned()));
    assert_eq!(seen[0].body, b"abc");
    assert!(seen[0].complete);
    assert!(
        seen[1]
            .raw_head
            .starts_with(b"GET /two HTTP/1.1\r\nHost: x\r\n")
    );
    assert_eq!((seen[0].connection, seen[1].connection), (0, 0));
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_complete() {
    let upstream = Upstream::start();
    let mut wire = Wire::connect(upstream.addr()).await;
    wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    upstream
        .wait("three bytes", |seen| {
            seen.first().is_some_and(|seen| seen.body == b"abc")
        })
        .await;
    wire.half_close().await;
    assert!(soon("the end", wire.is_closed()).await);
    assert!(!upstream.the_one().complete);
}

#[tokio::test]
async fn bodies_come_large_slow_cut_and_raw() {
    let upstream = Upstream::start();
    upstream.answers(|_| Answer::large(3));
    let large = get(&upstream.url(), None).await;
    assert_eq!((large.body.len(), large.complete), (3 * 1024 * 1024, true));
    upstream.answers(|_| Answer::slow(vec!["a", "b"], Duration::from_millis(1)));
    assert_eq!(get(&upstream.url(), None).await.text(), "ab");
    upstream.answers(|_| Answer::cut_short("half"));
    let cut = get(&upstream.url(), None).await;
    assert_eq!((cut.text().as_str(), cut.complete), ("half", false));
    upstream.answers_raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokSURPLUS");
    assert_eq!(get(&upstream.url(), None).await.text(), "ok");
    assert_eq!(upstream.seen().len(), 4);
}

#[tokio::test]
async fn events_and_web_sockets_reach_the_browser() {
    let upstream = Upstream::start();
    let mut browser = Browser::new(nine_o_clock());
    browser.stand_on(&upstream.url());
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = std::sync::Mutex::new(Some(receiver));
    upstream.answers(move |_| Answer::events(receiver.lock().unwrap().take().unwrap()));
    let mut events = browser.event_source("/events").await;
    for word in ["one", "two"] {
        sender.send(word.to_owned()).unwrap();
        assert_eq!(events.event().await.unwrap(), format!("data: {word}"));
    }
    drop(sender);
    assert_eq!(events.event().await, None);

    upstream.answers(|_| Answer::web_socket_echo());
    let mut socket = browser.web_socket("/ws").await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let said = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(said, Message::text("hello"));
    socket.close(None).await.unwrap();
    assert_eq!(upstream.web_sockets_closed(1).await, [None]);
    assert_eq!(
        upstream.last().header("origin"),
        Some(upstream.url().as_str())
    );

    upstream.answers(|_| Answer::status(403));
    let refused = browser.web_socket("/ws").await.unwrap_err();
    assert_eq!(refused.status, 403);
}

#[tokio::test]
#[should_panic(expected = "panicked while it served")]
async fn a_panic_of_a_helper_fails_the_test() {
    let helper = Helper::listen("the clumsy one", |stream| async move {
        drop(stream);
        panic!("as the test wants");
    });
    let mut wire = Wire::connect(helper.addr()).await;
    assert!(soon("the end", wire.is_closed()).await);
    // The end is seen before the panic is written down.
    while !helper.has_panicked() {
        tokio::task::yield_now().await;
    }
}
