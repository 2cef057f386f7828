//! HTTP/2 frame by frame.

use super::*;

/// Frames are written by hand: no honest client would send these.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:method: GET`, `:scheme: http`, `:path: /wait`, `:authority: a`.
const WAIT_HEAD: &[u8] = b"\x82\x86\x44\x05/wait\x41\x01a";

/// The same for `/held`.
const HELD_HEAD: &[u8] = b"\x82\x86\x44\x05/held\x41\x01a";

async fn opening(running: &Running) -> TcpStream {
    let mut socket = running.connect().await;
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
    ];
    socket.write_all(&hello.concat()).await.unwrap();
    socket
}

/// Reads frames until one of `kind`, and gives its payload.
async fn until(socket: &mut TcpStream, kind: u8) -> Vec<u8> {
    timeout(PATIENCE, async {
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            socket.read_exact(&mut payload).await.unwrap();
            if head[3] == kind {
                return payload;
            }
        }
    })
    .await
    .unwrap()
}

/// J17: a peer that opens streams only to reset them is sent away (rapid reset).
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let running = run(|_| {});
    let mut socket = opening(&running).await;
    let mut storm = Vec::new();
    for stream in (1..2000).step_by(2) {
        storm.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, WAIT_HEAD));
        storm.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    drop(socket.write_all(&storm).await);
    let goaway = until(&mut socket, GOAWAY).await;
    let code = u32::from_be_bytes(goaway[4..8].try_into().unwrap());
    assert_eq!(code, 11, "ENHANCE_YOUR_CALM");
}

/// J17: so is a peer that waits with each reset until the request is being answered.
#[tokio::test]
async fn slower_resets_end_the_connection_as_well() {
    let running = run(|settings| settings.timeouts.idle = PATIENCE * 2);
    let mut socket = opening(&running).await;
    let mut stream = 1;
    // Each reset travels with the next request, so that the one is seen before the other.
    let mut step = Vec::new();
    while stream < 200 {
        step.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, WAIT_HEAD));
        let sent = socket.write_all(&step).await;
        let begun = timeout(Duration::from_millis(500), running.stage.waiting.notified());
        if sent.is_err() || begun.await.is_err() {
            break;
        }
        step = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        stream += 2;
    }
    let served = (stream - 1) / 2;
    assert!((20..=25).contains(&served), "{served} of 100");
}

/// J17: no more streams at once than allowed.
#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let running = run(|settings| settings.limits.h2_streams = 2);
    let mut socket = opening(&running).await;
    let mut streams = Vec::new();
    for stream in [1, 3, 5] {
        streams.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, WAIT_HEAD));
    }
    socket.write_all(&streams).await.unwrap();
    let reset = until(&mut socket, RST_STREAM).await;
    assert_eq!(reset, 7_u32.to_be_bytes(), "REFUSED_STREAM");
}

/// J18: an answer behind a window that stays shut is let go, and what feeds it with it.
#[tokio::test]
async fn an_http_2_answer_that_nobody_reads_is_let_go() {
    const WINDOW_UPDATE: u8 = 8;
    let running = run(|settings| settings.timeouts.idle = PATIENCE * 2);
    let mut socket = opening(&running).await;
    let mut stream = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    stream.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, HELD_HEAD));
    socket.write_all(&stream).await.unwrap();
    timeout(PATIENCE, running.stage.let_go.notified())
        .await
        .unwrap();
    // Too late: it is not given out as if it were whole.
    let window = frame(WINDOW_UPDATE, 0, 1, &1024_u32.to_be_bytes());
    socket.write_all(&window).await.unwrap();
    let reset = until(&mut socket, RST_STREAM).await;
    assert_eq!(reset.len(), 4);
}

/// An HTTP/2 connection without streams ends like an idle one, pings or not.
#[tokio::test]
async fn an_idle_http_2_connection_is_sent_away() {
    let running = run(|_| {});
    let mut socket = opening(&running).await;
    let goaway = until(&mut socket, GOAWAY).await;
    assert_eq!(goaway[4..8], [0; 4], "NO_ERROR");
}

/// J18: a head has its time over HTTP/2 as well, and so has the preface before it. (They had as long as
/// an idle connection.)
#[tokio::test]
async fn a_slow_http_2_head_is_cut() {
    const CONTINUATION: u8 = 9;
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path(), "localhost", |_| {});
    let tls = run(|settings| {
        settings.timeouts.idle = PATIENCE * 2;
        settings.tls = Some(files.clone());
    });
    let mut silent = connect_tls(&tls, &trusting(&files, &[b"h2"]))
        .await
        .unwrap();
    // However it ends.
    drop(
        timeout(PATIENCE, silent.read_to_end(&mut Vec::new()))
            .await
            .unwrap(),
    );

    let running = run(|settings| settings.timeouts.idle = PATIENCE * 2);
    let whole = frame(HEADERS, END_STREAM | END_HEADERS, 1, HELD_HEAD);
    let open = [
        frame(HEADERS, END_STREAM, 1, HELD_HEAD),
        frame(CONTINUATION, 0, 1, &[]),
    ]
    .concat();
    let (begun, _) = whole.split_at(12);
    for (name, bytes) in [("an open block", &open[..]), ("a part of a frame", begun)] {
        let mut socket = opening(&running).await;
        socket.write_all(bytes).await.unwrap();
        let since = Instant::now();
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if name == "an open block" {
                    drop(socket.write_all(&frame(CONTINUATION, 0, 1, &[])).await);
                }
                let mut sink = [0; 1024];
                match socket.try_read(&mut sink) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return,
                }
            }
        };
        timeout(PATIENCE, drip).await.expect(name);
        assert!(since.elapsed() >= Duration::from_millis(300), "{name}");
    }

    // A connection that was opened in advance may wait for its first request.
    let mut socket = opening(&running).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    socket.write_all(&whole).await.unwrap();
    until(&mut socket, HEADERS).await;
}

/// J18: an answer whose window opens by a little now and then is let go.
#[tokio::test]
async fn an_http_2_answer_that_is_sipped_is_let_go() {
    const WINDOW_UPDATE: u8 = 8;
    let running = run(|settings| {
        settings.timeouts.idle = PATIENCE * 2;
        settings.timeouts.body_idle = PATIENCE;
        settings.limits.least_rate = LeastRate::new(64 * 1024, Duration::from_millis(500));
    });
    let mut socket = opening(&running).await;
    let mut stream = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    stream.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, HELD_HEAD));
    socket.write_all(&stream).await.unwrap();
    let sips = async {
        let window = frame(WINDOW_UPDATE, 0, 1, &1024_u32.to_be_bytes());
        while socket.write_all(&window).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = running.stage.let_go.notified() => {}
        () = sips => panic!("the connection ended"),
        () = tokio::time::sleep(PATIENCE) => panic!("still held"),
    }
}
