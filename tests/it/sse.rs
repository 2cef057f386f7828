//! Event streams and long downloads through the whole product (M7).

use std::sync::Mutex;
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, home, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::Idp;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Wire;

/// An API whose next answer is what is sent here, piece by piece; any other is `hello`.
fn streaming(
    upstream: &Upstream,
    answer: fn(tokio::sync::mpsc::UnboundedReceiver<String>) -> Answer,
) -> UnboundedSender<String> {
    let (sender, receiver) = unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    upstream.answers(move |seen| {
        let wanted = seen.target.ends_with("/stream");
        match receiver.lock().unwrap().take_if(|_| wanted) {
            Some(receiver) => answer(receiver),
            None => Answer::text("hello"),
        }
    });
    sender
}

const FILES: &str = "path = '/files'\ncsrf = 'origin'";

/// M7: events pass as they come, however long the silence between them.
#[tokio::test]
async fn events_pass_as_they_come() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let events = streaming(&upstream, Answer::events);
    let bff = Bff::with(&idp, &upstream)
        .route(FILES.parse().unwrap(), &upstream)
        .set("server.timeouts.body_idle", "100ms")
        .set("server.timeouts.idle", "100ms")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    events.send("0".to_owned()).unwrap();
    let mut stream = alice.event_source("/files/stream").await;
    assert_eq!(stream.reply.status, 200);
    assert_eq!(stream.reply.header("content-length"), None);
    assert_eq!(stream.reply.header("content-encoding"), None);
    assert_eq!(stream.event().await.as_deref(), Some("data: 0"));
    let silence = tokio::time::timeout(Duration::from_millis(500), stream.event());
    assert!(silence.await.is_err(), "nothing comes, and nothing ends");
    for number in 1..4 {
        events.send(number.to_string()).unwrap();
        assert_eq!(stream.event().await, Some(format!("data: {number}")));
    }
    drop(events);
    assert_eq!(stream.event().await, None);
}

/// How a session is brought to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    Logout,
    Idle,
    DeadGrant,
}

async fn bring(end: End, idp: &Idp, bff: &Bff<'_>, alice: &mut Browser) {
    match end {
        End::Logout => {
            let logout = alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
            assert_eq!(logout.status, 200);
        }
        End::Idle => bff.clock().advance(Duration::from_mins(30)),
        End::DeadGrant => {
            idp.misbehave(Fault::invalid_grant());
            bff.clock().advance(Duration::from_secs(301));
            let call = Call::get("/api").of(alice).send(bff.public_addr).await;
            assert_eq!(call.status, 401);
            assert_eq!(idp.count(Endpoint::Token), 2);
        }
    }
}

/// M7: an event stream, a long download and a long poll end with their session, within a second,
/// and not as if they were complete; the upstream's side ends as well.
#[tokio::test]
async fn streams_end_with_their_session() {
    for end in [End::Logout, End::Idle, End::DeadGrant] {
        for (kind, answer) in [
            ("events", Answer::events as fn(_) -> _),
            ("download", Answer::pieces),
        ] {
            let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
            let pieces = streaming(&upstream, answer);
            let bff = Bff::with(&idp, &upstream).start();
            let mut alice = signed_in(&bff, "alice").await;
            let mut wire = Call::get("/api/stream")
                .of(&alice)
                .begin(bff.public_addr)
                .await;
            pieces.send("one".to_owned()).unwrap();
            let head = soon("a head", wire.head(&home())).await.unwrap();
            assert_eq!(head.status, 200);
            assert!(soon("a piece", wire.chunk()).await.is_some());

            bring(end, &idp, &bff, &mut alice).await;
            let began = Instant::now();
            assert_eq!(soon("the end", wire.chunk()).await, None, "{end:?} {kind}");
            assert_prompt(began, &format!("{end:?} {kind}"));
            soon("the upstream's end", pieces.closed()).await;
        }
    }
}

/// M7: a call that still waits for its answer when the session ends is told that it has.
#[tokio::test]
async fn a_long_poll_ends_with_its_session() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let poll = format!("path = '/poll'\nupstream = 'http://{address}'");
    let bff = Bff::with(&idp, &upstream)
        .route(poll.parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let call = Call::get("/poll").of(&alice);
    let mut wire: Wire = call.begin(bff.public_addr).await;
    let accepted = tokio::task::spawn_blocking(move || silent.accept().unwrap().0);
    let stream = soon("the call upstream", accepted).await.unwrap();
    bring(End::Logout, &idp, &bff, &mut alice).await;
    let began = Instant::now();
    let reply = call.answer_on(&mut wire).await;
    assert_eq!(reply.json()["code"], "session_expired");
    assert_prompt(began, "a long poll");
    drop(stream);
}

/// M7: what nobody's session stands behind goes on.
#[tokio::test]
async fn an_anonymous_stream_outlives_sessions() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let pieces = streaming(&upstream, Answer::events);
    let bff = Bff::with(&idp, &upstream)
        .route("path = '/open'\nauth = 'none'".parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    pieces.send("one".to_owned()).unwrap();
    let mut stream = alice.event_source("/open/stream").await;
    assert_eq!(stream.event().await.as_deref(), Some("data: one"));
    bring(End::Logout, &idp, &bff, &mut alice).await;
    pieces.send("two".to_owned()).unwrap();
    assert_eq!(stream.event().await.as_deref(), Some("data: two"));
}

/// M4, M7: within a second.
fn assert_prompt(began: Instant, what: &str) {
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{what}: after {took:?}");
}
