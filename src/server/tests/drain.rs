//! The end of a worker: nobody who was let in is sent away unheard (N1).

use super::*;

#[tokio::test]
async fn a_drain_lets_requests_finish_and_idle_connections_go() {
    let running = run(|settings| settings.timeouts.idle = PATIENCE * 2);
    let mut parked = running.connect().await;
    parked.write_all(GET).await.unwrap();
    read_answer(&mut parked).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut idle = running.connect().await;
    idle.write_all(GET).await.unwrap();
    read_answer(&mut idle).await;
    let mut fresh = running.connect().await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.stage.waiting.notified().await;
    let mut streams = http2(running.connect().await).await;
    let stream = tokio::spawn(streams.send_request(request("/wait")));
    running.stage.waiting.notified().await;

    running.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut parked).await, "");
    // Accepted or still in the kernel's queue: it ends either way.
    let mut rest = Vec::new();
    drop(
        timeout(PATIENCE, fresh.read_to_end(&mut rest))
            .await
            .unwrap(),
    );
    assert_eq!(rest, b"");
    running.stage.go_on.notify_one();
    running.stage.go_on.notify_waiters();
    let text = read_to_end(&mut busy).await;
    assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    assert!(text.ends_with("waited"), "{text}");
    assert_eq!(stream.await.unwrap().unwrap().status(), 200);
    let address = running.address;
    running.finish().await;
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut() {
    let running = run(|settings| settings.timeouts.drain = Duration::from_millis(300));
    let mut stuck = running.connect().await;
    stuck
        .write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.stage.waiting.notified().await;
    let since = Instant::now();
    running.finish().await;
    assert!(since.elapsed() >= Duration::from_millis(300));
    let mut rest = Vec::new();
    drop(
        timeout(PATIENCE, stuck.read_to_end(&mut rest))
            .await
            .unwrap(),
    );
    assert_eq!(rest, b"");
}

/// M4: a WebSocket learns of the drain, and the drain waits for its last words.
#[tokio::test]
async fn an_upgraded_socket_says_goodbye_within_the_drain() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    socket
        .write_all(b"GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    let mut up = Vec::new();
    while !up.ends_with(b"\r\n\r\nup") {
        up.push(socket.read_u8().await.unwrap());
    }
    running.finish().await;
    assert_eq!(read_to_end(&mut socket).await, "bye");
}
