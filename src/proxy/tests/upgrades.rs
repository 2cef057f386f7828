//! Sockets that stay open, end to end.

use tokio::io::AsyncWriteExt as _;

use super::stage::{Proxy, Upstream};
use crate::web::ending::EndReason;

const OPEN: &str = "GET /ws HTTP/1.1\r\nhost: app.example\r\norigin: https://app.example\r\n\
                    upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
                    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncookie: bff=secret\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                      connection: Upgrade\r\nset-cookie: a=1\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// M2, J11: the token goes along, our cookie does not, and bytes sent early wait for the 101.
#[tokio::test]
async fn a_socket_is_opened_and_carries_bytes() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(&format!("{OPEN}early")).await;
    let mut wire = upstream.accept().await;
    let head = wire.head().await;
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "authorization: Bearer canary",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version: 13",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    assert!(!head.contains("cookie"), "{head}");
    wire.send(&format!("{SWITCH}\u{1}\u{2}hi")).await;
    let answer = browser.head().await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(!answer.contains("set-cookie"), "{answer}");
    assert_eq!(browser.until("hi").await, "\u{1}\u{2}hi");
    assert_eq!(wire.until("early").await, "early");
    browser.send("up").await;
    assert_eq!(wire.until("up").await, "up");
    browser.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, "");
    wire.send("down").await;
    drop(wire);
    assert_eq!(browser.rest().await, "down");
}

/// M4: the end of the session closes the socket on both sides.
#[tokio::test]
async fn a_socket_closes_with_its_session() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(OPEN).await;
    let (mut wire, _) = upstream.answer(SWITCH).await;
    browser.head().await;
    proxy.ending.come(EndReason::Revoked);
    let mut frame = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut browser.stream, &mut frame)
        .await
        .unwrap();
    assert_eq!(frame, *b"\x88\x09\x03\xf0revoked");
    let mut frame = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut wire.stream, &mut frame)
        .await
        .unwrap();
    assert_eq!(frame[..2], [0x88, 0x89]);
    assert_eq!([frame[6] ^ frame[2], frame[7] ^ frame[3]], [0x03, 0xf0]);
}

/// M4: and with `bff` itself.
#[tokio::test]
async fn a_socket_closes_at_shutdown() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let mut browser = proxy.browser().await;
    browser.send(OPEN).await;
    let (_wire, _) = upstream.answer(SWITCH).await;
    browser.head().await;
    proxy.shutdown.cancel();
    let mut frame = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut browser.stream, &mut frame)
        .await
        .unwrap();
    assert_eq!(frame, [0x88, 2, 0x03, 0xe9]);
}

/// M3: a 101 that does not fit is refused; a refusal of the upstream's is passed on.
#[tokio::test]
async fn an_upstream_may_refuse_but_not_pretend() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let wrong = SWITCH.replace("s3pP", "AAAA");
    let (answer, _wire) = tokio::join!(proxy.ask(OPEN), upstream.answer(&wrong));
    assert!(answer.ends_with("fault: BadAnswer"), "{answer}");
    let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let mut browser = proxy.browser().await;
    let (answer, _wire) = tokio::join!(browser.ask(OPEN), upstream.answer(refusal));
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.ends_with("no"),
        "{answer}"
    );
}

/// J11: any other upgrade is ignored, h2c above all.
#[tokio::test]
async fn only_websockets_are_upgraded() {
    let upstream = Upstream::new().await;
    let proxy = Proxy::to(&upstream).await;
    let h2c = "GET /x HTTP/1.1\r\nhost: app.example\r\nupgrade: h2c\r\n\
               connection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let mut browser = proxy.browser().await;
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (answer, (_wire, head)) = tokio::join!(browser.ask(h2c), upstream.answer(ok));
    assert!(answer.ends_with("ok"));
    assert!(
        !head.contains("upgrade") && !head.contains("http2"),
        "{head}"
    );
}
