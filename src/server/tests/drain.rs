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

impl Running {
    /// Stops the one worker inside a request that comes over `socket`, until the result is dropped:
    /// whoever connects meanwhile stays in the kernel's queue.
    async fn stop_accepting(
        &self,
        mut socket: impl AsyncWrite + Unpin,
    ) -> std::sync::mpsc::Sender<()> {
        let (go_on, until) = std::sync::mpsc::channel();
        *self.stage.blocked.lock().unwrap() = Some(until);
        let request = b"GET /block HTTP/1.1\r\nhost: a\r\n\r\n";
        socket.write_all(request).await.unwrap();
        socket.flush().await.unwrap();
        self.stage.waiting.notified().await;
        go_on
    }
}

fn one_worker(settings: &mut ServerSettings) {
    settings.workers = NonZeroUsize::MIN;
    settings.timeouts.head = PATIENCE;
    settings.timeouts.handshake = PATIENCE;
}

/// N1: whoever is in the queue when the order to stop comes is answered, and told that it was the
/// last time. (The queue was reset with the listener.)
#[tokio::test]
async fn whoever_is_in_the_queue_is_answered() {
    let running = run(one_worker);
    let go_on = running.stop_accepting(running.connect().await).await;
    let mut queued = Vec::new();
    for _ in 0..20 {
        let mut socket = running.connect().await;
        socket.write_all(GET).await.unwrap();
        queued.push(socket);
    }
    let mut silent = running.connect().await;
    let mut streams = http2(running.connect().await).await;
    let stream = tokio::spawn(async move { streams.send_request(request("/")).await });

    running.shutdown.cancel();
    drop(go_on);
    for mut socket in queued {
        let text = read_to_end(&mut socket).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    }
    assert_eq!(stream.await.unwrap().unwrap().status(), 200);
    // Its request was still on the way.
    silent.write_all(GET).await.unwrap();
    let text = read_to_end(&mut silent).await;
    assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    let address = running.address;
    running.finish().await;
    TcpStream::connect(address).await.unwrap_err();
}

/// N1: so is whoever has not shaken hands yet.
#[tokio::test]
async fn whoever_is_in_the_queue_is_answered_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path(), "localhost", |_| {});
    let running = run(|settings| {
        one_worker(settings);
        settings.tls = Some(files.clone());
    });
    let first = connect_tls(&running, &trusting(&files, &[])).await;
    let go_on = running.stop_accepting(first.unwrap()).await;
    let mut queued = Vec::new();
    for alpn in [b"http/1.1".as_slice(), b"h2"].repeat(5) {
        queued.push((alpn, running.connect().await));
    }

    running.shutdown.cancel();
    drop(go_on);
    for (alpn, socket) in queued {
        let name = "localhost".try_into().unwrap();
        let mut socket = trusting(&files, &[alpn])
            .connect(name, socket)
            .await
            .unwrap();
        if alpn == b"h2" {
            let answer = http2(socket).await.send_request(request("/")).await;
            assert_eq!(answer.unwrap().status(), 200);
        } else {
            socket.write_all(GET).await.unwrap();
            let text = read_to_end(&mut socket).await;
            assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
        }
    }
    running.finish().await;
}

/// N1: a request that has begun to come is answered, be it the first of its connection or not.
#[tokio::test]
async fn a_head_under_way_is_answered() {
    let running = run(one_worker);
    let mut fresh = running.connect().await;
    let mut kept = running.connect().await;
    kept.write_all(GET).await.unwrap();
    read_answer(&mut kept).await;
    let (begun, rest) = GET.split_at(8);
    for socket in [&mut fresh, &mut kept] {
        socket.write_all(begun).await.unwrap();
    }
    // A request on a third connection that both heads came before.
    let mut other = running.connect().await;
    other.write_all(GET).await.unwrap();
    read_answer(&mut other).await;

    running.shutdown.cancel();
    assert_eq!(read_to_end(&mut other).await, "");
    for mut socket in [fresh, kept] {
        socket.write_all(rest).await.unwrap();
        let text = read_to_end(&mut socket).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    }
    running.finish().await;
}

/// A connection that says nothing does not hold the drain up for as long as a head may take.
#[tokio::test]
async fn the_drain_waits_a_moment_only_for_a_first_request() {
    let running = run(one_worker);
    let mut silent = running.connect().await;
    let mut other = running.connect().await;
    other.write_all(GET).await.unwrap();
    read_answer(&mut other).await;
    running.shutdown.cancel();
    let since = Instant::now();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(since.elapsed() < Duration::from_secs(5), "{since:?}");
    running.finish().await;
}

/// N1: of connections that come without a pause, each is refused or answered, none is reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_lost_while_the_door_closes() {
    for round in 0..5 {
        let running = run(|settings| settings.timeouts.head = PATIENCE);
        let address = running.address;
        let clients: Vec<_> = (0..16)
            .map(|_| tokio::spawn(async move { ask_until_refused(address).await }))
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.finish().await;
        for client in clients {
            let (answered, lost) = timeout(PATIENCE, client).await.unwrap().unwrap();
            assert!(answered > 0);
            assert_eq!(lost, None, "round {round}, after {answered} answers");
        }
    }
}

/// One connection a request, until one is refused: how many were answered, and how one was lost.
async fn ask_until_refused(address: SocketAddr) -> (usize, Option<String>) {
    let mut answered = 0;
    while let Ok(mut socket) = TcpStream::connect(address).await {
        let mut text = String::new();
        let asked = async {
            socket
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await?;
            socket.read_to_string(&mut text).await
        };
        match asked.await {
            Ok(_) if text.starts_with("HTTP/1.1 200 OK") => answered += 1,
            Ok(_) => return (answered, Some(format!("no answer: {text:?}"))),
            Err(error) => return (answered, Some(error.to_string())),
        }
    }
    (answered, None)
}
