//! More connections than there is room for (J17): who is let in, and who goes for it.

use std::net::IpAddr;

use tokio::net::TcpSocket;

use super::*;
use crate::web::client_address::TrustedProxies;
use crate::web::strangers::{self, Addresses, Budget, Strangers};

const CROWD: usize = 20;
/// How long the next visitor may wait: what is idle is closed after ten times as long.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How long it takes a connection to come to rest, and a little.
const TO_REST: Duration = Duration::from_millis(800);

fn patient(settings: &mut ServerSettings) {
    settings.limits.connections = CROWD;
    settings.timeouts.head = AT_ONCE * 10;
    settings.timeouts.handshake = AT_ONCE * 10;
    settings.timeouts.idle = AT_ONCE * 10;
}

/// What a connection does before it does nothing.
#[derive(Debug, Clone, Copy)]
enum Idler {
    Nothing,
    PartOfAHead,
    Asks,
    AsksByHttp2,
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

impl Idler {
    async fn sit<S: Socket + 'static>(self, mut socket: S) -> Box<dyn Socket> {
        match self {
            Self::Nothing => {}
            Self::PartOfAHead => socket.write_all(b"GET / HTTP/1.1\r\n").await.unwrap(),
            Self::Asks => {
                socket.write_all(GET).await.unwrap();
                read_answer(&mut socket).await;
            }
            Self::AsksByHttp2 => {
                let (ours, theirs) = tokio::io::duplex(1024);
                let mut sender = http2(theirs).await;
                let (mut from, mut to) = tokio::io::split(socket);
                tokio::spawn(async move {
                    let (mut up, mut down) = tokio::io::split(ours);
                    tokio::select! {
                        _ = tokio::io::copy(&mut up, &mut to) => {}
                        _ = tokio::io::copy(&mut from, &mut down) => {}
                    }
                });
                let answer = sender.send_request(request("/")).await.unwrap();
                assert_eq!(answer.status(), 200);
                let (kept, ends) = tokio::io::duplex(1);
                // Whoever holds the sender keeps the connection; the other end tells when it is over.
                tokio::spawn(async move {
                    let _ends = ends;
                    while !sender.is_closed() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
                return Box::new(kept);
            }
        }
        Box::new(socket)
    }
}

async fn is_over(socket: &mut Box<dyn Socket>) -> bool {
    let mut byte = [0; 1];
    let read = timeout(Duration::from_millis(200), socket.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

/// J17: whatever idle connections use up the room, the next visitor is served at once, and it is the
/// idlest that goes. (It waited until one of them ran into its timeout, for 72 seconds.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_visitor_is_served_beside_idle_ones() {
    for idler in [
        Idler::Nothing,
        Idler::PartOfAHead,
        Idler::Asks,
        Idler::AsksByHttp2,
    ] {
        let running = run(patient);
        let mut idle = Vec::new();
        for _ in 0..CROWD {
            idle.push(idler.sit(running.connect().await).await);
        }
        tokio::time::sleep(TO_REST).await;
        for visitor in 0..3 {
            let begun = Instant::now();
            let text = running
                .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await;
            assert!(text.contains("200 OK"), "{idler:?}: {text}");
            let took = begun.elapsed();
            assert!(
                took < AT_ONCE,
                "{idler:?}: visitor {visitor} after {took:?}"
            );
        }
        // Those that came first have been idle for longest.
        let mut gone = 0;
        for socket in &mut idle[..CROWD / 2] {
            gone += usize::from(is_over(socket).await);
        }
        assert!(gone > 0, "{idler:?}: the idlest stayed");
        let last = idle.last_mut().unwrap();
        assert!(!is_over(last).await, "{idler:?}: the last to come went");
    }
}

/// J17: so it is with TLS, before the handshake and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_visitor_is_served_beside_idle_ones_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path(), "localhost", |_| {});
    let by_http1 = trusting(&files, &[b"http/1.1"]);
    let by_http2 = trusting(&files, &[b"h2"]);
    for (idler, shakes_hands) in [
        (Idler::Nothing, None),
        (Idler::Nothing, Some(&by_http1)),
        (Idler::PartOfAHead, Some(&by_http1)),
        (Idler::Asks, Some(&by_http1)),
        (Idler::AsksByHttp2, Some(&by_http2)),
    ] {
        let running = run(|settings| {
            patient(settings);
            settings.tls = Some(files.clone());
        });
        let mut idle = Vec::new();
        for _ in 0..CROWD {
            idle.push(match shakes_hands {
                None => idler.sit(running.connect().await).await,
                Some(connector) => {
                    let socket = connect_tls(&running, connector).await.unwrap();
                    idler.sit(socket).await
                }
            });
        }
        tokio::time::sleep(TO_REST).await;
        let begun = Instant::now();
        let mut socket = connect_tls(&running, &by_http1).await.unwrap();
        socket.write_all(GET).await.unwrap();
        let text = read_answer(&mut socket).await;
        assert!(text.contains("200 OK"), "{idler:?}: {text}");
        let took = begun.elapsed();
        assert!(took < AT_ONCE, "{idler:?}: after {took:?}");
        let last = idle.last_mut().unwrap();
        assert!(!is_over(last).await, "{idler:?}: the last to come went");
    }
}

/// J17: nobody with a request under way goes for another, who waits then; a reserve is theirs who come
/// when nobody rests.
#[tokio::test]
async fn nobody_with_a_request_under_way_goes() {
    let running = run(|settings| {
        patient(settings);
        settings.limits.connections = 5;
    });
    let mut idle = Idler::Asks.sit(running.connect().await).await;
    let mut busy = Vec::new();
    let mut streams = http2(running.connect().await).await;
    let stream = tokio::spawn(streams.send_request(request("/wait")));
    running.stage.waiting.notified().await;
    for _ in 0..2 {
        let mut socket = running.connect().await;
        socket
            .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        running.stage.waiting.notified().await;
        busy.push(socket);
    }
    tokio::time::sleep(TO_REST).await;
    // One goes, and the last fifth is free.
    for _ in 0..2 {
        let mut socket = running.connect().await;
        socket
            .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        timeout(AT_ONCE, running.stage.waiting.notified())
            .await
            .unwrap();
        busy.push(socket);
    }
    assert!(is_over(&mut idle).await);
    let mut late = running.connect().await;
    late.write_all(GET).await.unwrap();
    let early = timeout(TO_REST, late.read_u8()).await;
    assert!(early.is_err(), "answered beyond the limit");
    for _ in 0..5 {
        running.stage.go_on.notify_waiters();
        running.stage.go_on.notify_one();
        tokio::task::yield_now().await;
    }
    for socket in &mut busy {
        running.stage.go_on.notify_waiters();
        assert!(read_answer(socket).await.ends_with("waited"));
    }
    assert_eq!(stream.await.unwrap().unwrap().status(), 200);
    assert!(read_answer(&mut late).await.contains("200 OK"));
}

fn strangers(addresses: Addresses, per_address: usize) -> Callers {
    Callers::Strangers {
        account: Strangers::new(addresses, |demand| {
            let room = strangers::Room {
                connections: CROWD,
                connections_per_address: Some(per_address),
                upstreams: CROWD,
            };
            Budget::of(demand, room)
        }),
        proxies: TrustedProxies::new(vec!["127.0.0.9/32".parse().unwrap()]),
    }
}

impl Running {
    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        let from: IpAddr = address.parse().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Whether one more connection from there is served.
    async fn serves(&self, address: &str) -> Option<TcpStream> {
        let mut socket = self.connect_from(address).await;
        socket.write_all(GET).await.ok()?;
        let mut byte = [0; 1];
        match timeout(AT_ONCE, socket.read(&mut byte)).await.unwrap() {
            Ok(1) => Some(socket),
            _ => None,
        }
    }
}

/// J17: one address has so many and no more, and another is served meanwhile; proxies that were named,
/// and whoever cannot be told apart, have no cap.
#[tokio::test]
async fn one_address_has_only_so_many() {
    let running = run_for(&strangers(Addresses::TellApart, 4), patient);
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(running.serves("127.0.0.1").await.unwrap());
    }
    assert!(
        running.serves("127.0.0.1").await.is_none(),
        "beyond the cap"
    );
    assert!(running.serves("127.0.0.2").await.is_some());
    drop(open.pop());
    timeout(AT_ONCE, async {
        while running.serves("127.0.0.1").await.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("what is closed makes room");
    for _ in 0..8 {
        open.push(running.serves("127.0.0.9").await.unwrap());
    }
    let running = run_for(&strangers(Addresses::MayBeShared, 4), patient);
    for _ in 0..8 {
        open.push(running.serves("127.0.0.1").await.unwrap());
    }
}

/// Whoever has most of the idle connections makes room for others, though theirs are idle for longer.
#[tokio::test]
async fn the_address_with_most_makes_room() {
    let running = run_for(&strangers(Addresses::TellApart, CROWD), patient);
    let quiet = Idler::Asks.sit(running.connect_from("127.0.0.2").await);
    let mut quiet = quiet.await;
    let mut many = Vec::new();
    for _ in 0..CROWD - CROWD / 5 - 1 {
        let socket = running.connect_from("127.0.0.1").await;
        many.push(Idler::Asks.sit(socket).await);
    }
    tokio::time::sleep(TO_REST).await;
    assert!(running.serves("127.0.0.3").await.is_some());
    assert!(!is_over(&mut quiet).await);
    let mut gone = 0;
    for socket in &mut many {
        gone += usize::from(is_over(socket).await);
    }
    assert_eq!(gone, 1);
}

/// The attack in full: thousands of kept connections of one client, and then a visitor.
///
/// `cargo test --release --lib thousands_of -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs 20,000 open files and a minute"]
async fn thousands_of_idle_ones_keep_nobody_waiting() {
    const ALL: usize = 9_900;
    descriptors::raise();
    let running = run(|settings| {
        settings.limits.connections = ALL;
        settings.timeouts.idle = Duration::from_secs(75);
    });
    let mut idle = Vec::new();
    for n in 0..ALL {
        // From many addresses, since one has too few ports free.
        let from = format!("127.0.1.{}", n % 8 + 1);
        let socket = running.connect_from(&from).await;
        idle.push(Idler::Asks.sit(socket).await);
    }
    tokio::time::sleep(TO_REST).await;
    let mut took = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        let text = timeout(Duration::from_secs(90), async {
            running
                .ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
        })
        .await
        .unwrap();
        assert!(text.contains("200 OK"), "{text}");
        took.push(begun.elapsed());
    }
    took.sort();
    eprintln!(
        "the next visitor: median {:?}, most {:?}",
        took[50], took[99]
    );
    assert!(took[99] < AT_ONCE);
}
