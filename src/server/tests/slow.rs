//! Peers that take their time (J18).

use super::*;

/// J18: a head that comes too slowly is answered 408 and cut.
#[tokio::test]
async fn a_slow_head_is_cut() {
    let running = run(|_| {});
    for begun in ["GET / HTTP/1.1\r\nhost: a\r\n", "G", "PRI"] {
        let text = running.ask(begun).await;
        assert!(
            text.starts_with("HTTP/1.1 408 Request Timeout\r\n") || begun == "PRI",
            "{begun}: {text}"
        );
    }
    // A byte now and then does not help: the time runs from the first.
    let mut socket = running.connect().await;
    let begun = Instant::now();
    let (mut read, mut write) = socket.split();
    let drip = async {
        while write.write_all(b"G").await.is_ok() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        text = read_to_end(&mut read) => assert!(text.contains(" 408 "), "{text}"),
        () = drip => panic!("not cut after {:?}", begun.elapsed()),
    }
}

/// J18: who connects and says nothing is let go without a word.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    let running = run(|_| {});
    assert_eq!(running.ask("").await, "");
}

/// The time between requests is its own, longer than a head may take.
#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout_and_ends_silently() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    // Longer than a head may take; longer than a connection keeps its engine.
    for pause in [400, 900, 900] {
        socket.write_all(GET).await.unwrap();
        assert!(read_answer(&mut socket).await.contains("200 OK"));
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    socket.write_all(GET).await.unwrap();
    read_answer(&mut socket).await;
    let since = Instant::now();
    assert_eq!(read_to_end(&mut socket).await, "");
    assert!(since.elapsed() >= Duration::from_millis(1400));
    assert!(since.elapsed() < Duration::from_secs(5));
    // A slow second head is a slow head again.
    for pause in [0, 900] {
        let mut socket = running.connect().await;
        socket.write_all(GET).await.unwrap();
        read_answer(&mut socket).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        socket.write_all(b"GET").await.unwrap();
        assert!(read_to_end(&mut socket).await.contains(" 408 "), "{pause}");
    }
}

/// J18: a slow answer is no slow head, and no idleness.
#[tokio::test]
async fn an_answer_may_take_its_time() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    socket
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.stage.waiting.notified().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    running.stage.go_on.notify_one();
    assert!(read_answer(&mut socket).await.ends_with("waited"));
}

/// J18: a browser that does not take its answer is cut.
#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut() {
    let running = run(|_| {});
    let mut socket = running.connect().await;
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mut sink = vec![0; 1 << 20];
    let end = timeout(PATIENCE, async {
        while let Ok(1..) = socket.read(&mut sink).await {}
    });
    end.await.expect("cut, or this reads for ever");
}

/// J18: so is one that takes a sip now and then. (Each sip began the time anew.)
#[tokio::test]
async fn an_answer_that_is_sipped_is_cut() {
    const WINDOW: Duration = Duration::from_secs(1);
    let running = run(|settings| {
        settings.timeouts.body_idle = PATIENCE;
        settings.limits.least_rate = LeastRate::new(64 << 20, WINDOW);
    });
    // A sip must free room that the other side hears of, so the buffers are small.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut socket = socket.connect(running.address).await.unwrap();
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut sip = vec![0; 64 * 1024];
    while let Ok(1..) = socket.read(&mut sip).await {
        assert!(begun.elapsed() < PATIENCE, "still served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= WINDOW);
}

/// J18: whoever reads fast enough is not cut, however long the answer goes on.
#[tokio::test]
async fn an_answer_that_is_read_goes_on() {
    const WINDOW: Duration = Duration::from_secs(1);
    let running = run(|settings| settings.limits.least_rate = LeastRate::new(1024, WINDOW));
    let mut socket = running.connect().await;
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut sink = vec![0; 1 << 20];
    while begun.elapsed() < WINDOW * 3 {
        assert!(socket.read(&mut sink).await.unwrap() > 0);
        tokio::time::sleep(WINDOW / 10).await;
    }
}

/// An upstream that has nothing to say is no slow reader.
#[tokio::test]
async fn an_answer_that_waits_for_us_is_not_cut() {
    let running = run(|settings| {
        settings.limits.least_rate = LeastRate::new(1 << 20, Duration::from_millis(100));
    });
    let mut socket = running.connect().await;
    socket
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.stage.waiting.notified().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    running.stage.go_on.notify_one();
    assert!(read_answer(&mut socket).await.ends_with("waited"));
}
