//! `/bff/session/events`: the app hears what becomes of its session (M7).

use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, EventSource, Fetch};
use crate::support::call::{Call, cookie_of, home, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{SESSION_COOKIE, refusal};
use crate::support::upstream::Upstream;

const EVENTS: &str = "/bff/session/events";

/// An event as a page sees it.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// The next event; `None` when the stream has ended.
async fn next(stream: &mut EventSource) -> Option<Event> {
    loop {
        let text = stream.event().await?;
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
        };
        if let Some(name) = field("event") {
            return Some(Event {
                name: name.to_owned(),
                id: field("id").unwrap().to_owned(),
                data: serde_json::from_str(field("data").unwrap()).unwrap(),
            });
        }
    }
}

/// The next event's name and data.
async fn said(stream: &mut EventSource) -> (String, Value) {
    let event = next(stream).await.expect("the stream goes on");
    (event.name, event.data)
}

fn ended(reason: &str) -> (String, Value) {
    ("ended".to_owned(), json!({ "reason": reason }))
}

async fn tag(browser: &mut Browser) -> String {
    let session = browser.fetch(Fetch::get("/bff/session?slide=false").csrf());
    let session = session.await.json();
    session["session"]["tag"].as_str().unwrap().to_owned()
}

/// All that a page hears that connects when there is no session, in one piece.
async fn heard(browser: &mut Browser, last_event_id: Option<&str>) -> String {
    let mut fetch = Fetch::get(EVENTS);
    if let Some(id) = last_event_id {
        fetch = fetch.header("Last-Event-ID", id);
    }
    let reply = browser.fetch(fetch).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    if reply.status == 200 {
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    }
    reply.status_and_text()
}

/// What an `EventSource` hears of a session that is over.
fn only_ended(reason: &str) -> String {
    format!("200\nretry: 2000\n\nevent: ended\nid: ended\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

async fn events(browser: &mut Browser) -> EventSource {
    browser.stand_on(PUBLIC_URL);
    let stream = browser.event_source(EVENTS).await;
    assert_eq!(stream.reply.status, 200);
    stream
}

/// The first event says whose stream it is and for how long; to listen is not to use.
#[tokio::test]
async fn a_stream_begins_with_the_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    bff.clock().advance(Duration::from_mins(20));
    let mut stream = events(&mut alice).await;
    assert_eq!(
        stream.reply.header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(stream.reply.header("cache-control"), Some("no-store"));
    assert_eq!(stream.reply.header("content-length"), None);
    assert_eq!(stream.event().await.as_deref(), Some("retry: 2000"));
    let first = next(&mut stream).await.unwrap();
    assert_eq!(first.name, "signed_in");
    assert_eq!(
        first.data,
        json!({ "tag": tag(&mut alice).await, "expires_in": 600, "ends_in": 8 * 3600 - 1200 })
    );
    // G9: ten minutes later the session is over, however the stream listens.
    bff.clock().advance(Duration::from_mins(10));
    assert_eq!(said(&mut stream).await.0, "ended");
}

/// How a session comes to its end, and what a page is told.
const ENDS: [&str; 7] = [
    "logout",
    "expired",
    "superseded",
    "refresh_refused",
    "provider_logout",
    "signed_out_elsewhere",
    "logout",
];

async fn bring(how: usize, idp: &Idp, bff: &Bff<'_>, alice: &mut Browser) {
    match how {
        0 => {
            alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
        }
        1 => bff.clock().advance(Duration::from_mins(30)),
        2 => {
            // Somebody else signs in, in this very browser.
            alice.sign_in("bob").await;
        }
        3 => {
            idp.misbehave(Fault::invalid_grant());
            bff.clock().advance(Duration::from_secs(301));
            let call = Call::get("/api").of(alice).send(bff.public_addr).await;
            assert_eq!(call.status, 401);
        }
        4 => {
            idp.sign_out("alice", bff.public_addr).await;
        }
        5 => {
            let mut other = signed_in(bff, "alice").await;
            other.stand_on(PUBLIC_URL);
            other
                .fetch(Fetch::new("DELETE", "/bff/sessions").csrf())
                .await;
        }
        _ => {
            let target = format!("/bff/sessions?tag={}", tag(alice).await);
            alice.fetch(Fetch::new("DELETE", &target).csrf()).await;
        }
    }
}

/// M4, M7: whatever ends the session, its streams say so within a second and end; whoever connects
/// afterwards with the old cookie is told the same, and once.
#[tokio::test]
async fn a_stream_tells_why_the_session_ended() {
    for (how, reason) in ENDS.into_iter().enumerate() {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut alice = signed_in(&bff, "alice").await;
        let old = alice.jar.clone();
        let mut streams = [events(&mut alice).await, events(&mut alice).await];
        let mut ids = Vec::new();
        for stream in &mut streams {
            ids.push(next(stream).await.unwrap().id);
        }
        bring(how, &idp, &bff, &mut alice).await;
        let began = Instant::now();
        for stream in &mut streams {
            let mut event = next(stream).await.unwrap();
            if event.name == "extended" {
                // Some ends come of a call, which is a use.
                event = next(stream).await.unwrap();
            }
            assert_eq!(event.id, "ended");
            assert_eq!((event.name, event.data), ended(reason));
            assert_eq!(next(stream).await, None, "{reason}");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{reason}");

        // The first answer to each kind of question says why, too: `/bff/user` said `login_required`.
        alice.jar = old.clone();
        for path in ["/api/orders", "/bff/user", "/bff/sessions"] {
            let refused = Call::get(path).of(&alice).send(bff.public_addr).await;
            assert_eq!(refused.status, 401, "{reason}: {path}");
            assert_eq!(refused.json()["ended"], reason, "{path}");
        }
        alice.jar = old;
        for last in [None, Some(ids[0].as_str()), Some("odd")] {
            assert_eq!(heard(&mut alice, last).await, only_ended(reason));
        }
        assert_eq!(heard(&mut alice, Some("ended")).await, "204\n", "{reason}");
    }
}

/// Where nobody is signed in an `EventSource` is told not to come back; one that knew a session
/// learns that it is gone.
#[tokio::test]
async fn without_a_session_there_is_no_stream() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut nobody = bff.browser();
    nobody.stand_on(PUBLIC_URL);
    for last in [None, Some("ended")] {
        assert_eq!(heard(&mut nobody, last).await, "204\n");
    }
    assert_eq!(
        heard(&mut nobody, Some("abc.1")).await,
        only_ended("logout")
    );
    // Somebody signs in anew in another tab before the page connects again.
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    let mut anew = alice.event_source_after(EVENTS, Some("ended")).await;
    assert_eq!(said(&mut anew).await.0, "signed_in");
}

/// When the session is used, in whichever tab, every stream says how long it now has.
#[tokio::test]
async fn a_stream_tells_that_the_end_was_put_off() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut stream = events(&mut alice).await;
    assert_eq!(said(&mut stream).await.0, "signed_in");
    bff.clock().advance(Duration::from_mins(5));
    alice.fetch(Fetch::get("/api/orders").csrf()).await;
    let expected = json!({ "expires_in": 1800, "ends_in": 8 * 3600 - 300 });
    assert_eq!(said(&mut stream).await, ("extended".to_owned(), expected));
}

/// Before the end comes by itself there is a warning, once; a use after it puts the end off.
#[tokio::test]
async fn a_stream_warns_before_the_end() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("session.idle_timeout", "4s")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut stream = events(&mut alice).await;
    assert_eq!(said(&mut stream).await.0, "signed_in");
    // The stream looks at the clock when, by the machine's, three seconds have passed.
    bff.clock().advance(Duration::from_millis(3100));
    let warning = next(&mut stream).await.unwrap();
    assert_eq!(warning.name, "expiring");
    assert_eq!(warning.data, json!({ "expires_in": 0 }));
    alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(said(&mut stream).await.0, "extended");
    // Who connects again after the warning is not warned once more, but told what they missed.
    let mut again = alice.event_source_after(EVENTS, Some(&warning.id)).await;
    assert_eq!(said(&mut again).await.0, "extended");
    bff.clock().advance(Duration::from_secs(4));
    assert_eq!(said(&mut stream).await, ended("expired"));
    assert_eq!(said(&mut again).await, ended("expired"));
}

/// A page that connects again is not told what it knows.
#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut stream = events(&mut alice).await;
    let known = next(&mut stream).await.unwrap().id;
    drop(stream);
    let mut again = alice.event_source_after(EVENTS, Some(&known)).await;
    assert_eq!(again.event().await.as_deref(), Some("retry: 2000"));
    bff.clock().advance(Duration::from_mins(5));
    alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(said(&mut again).await.0, "extended");
    drop(again);
    let mut again = alice.event_source_after(EVENTS, Some(&known)).await;
    assert_eq!(said(&mut again).await.0, "extended", "it was missed");
    // Another session in the meantime: all is new.
    alice.sign_in("bob").await;
    let mut again = alice.event_source_after(EVENTS, Some(&known)).await;
    let (name, data) = said(&mut again).await;
    assert_eq!(name, "signed_in");
    assert_eq!(data["tag"], tag(&mut alice).await);
}

/// H7: our own pages listen; nobody else's.
#[tokio::test]
async fn another_site_hears_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    let cookie = alice.jar.cookie(SESSION_COOKIE).unwrap().value.clone();
    let target = format!("{PUBLIC_URL}{EVENTS}");
    for fields in [
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Origin", "https://evil.example")],
        vec![("Sec-Fetch-Site", "cross-site"), ("Origin", "null")],
        vec![("Origin", "null")],
        vec![],
    ] {
        let cookie = format!("{SESSION_COOKIE}={cookie}");
        let mut fields = fields;
        fields.push(("Cookie", &cookie));
        let reply = alice.curl("GET", &target, &fields, None).await;
        assert_eq!(refusal(&reply), "403 origin_not_allowed", "{fields:?}");
    }
    let posted = alice.fetch(Fetch::new("POST", EVENTS).csrf()).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
}

/// A session has so many streams and no more; one that closes makes room, and others' do not count.
#[tokio::test]
async fn a_session_has_only_so_many_streams() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(events(&mut alice).await);
    }
    let one_more = alice.event_source(EVENTS).await;
    assert_eq!(refusal(&one_more.reply), "429 too_many_requests");
    let mut bob = signed_in(&bff, "bob").await;
    events(&mut bob).await;
    drop(open.pop());
    let until = Instant::now() + Duration::from_secs(10);
    while alice.event_source(EVENTS).await.reply.status != 200 {
        assert!(Instant::now() < until, "the room is not given back");
        tokio::task::yield_now().await;
    }
}

/// N: at a stop the stream ends properly, so that its page connects to what comes next.
#[tokio::test]
async fn a_stop_sends_pages_elsewhere() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut stream = events(&mut alice).await;
    assert_eq!(said(&mut stream).await.0, "signed_in");
    drop(bff);
    let farewell = stream.event().await.unwrap();
    let retry: u32 = farewell.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1000..=3600).contains(&retry));
    assert_eq!(stream.event().await, None);
}

/// A silent stream is nobody's idle body; the connection goes on.
#[tokio::test]
async fn a_silent_stream_is_left_alone() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("server.timeouts.body_idle", "100ms")
        .set("server.timeouts.idle", "100ms")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut stream = events(&mut alice).await;
    assert_eq!(said(&mut stream).await.0, "signed_in");
    let silence = tokio::time::timeout(Duration::from_millis(500), stream.event());
    assert!(silence.await.is_err(), "nothing comes, and nothing ends");
    alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    assert_eq!(said(&mut stream).await, ended("logout"));
}

/// Over HTTP/2, several streams on one connection: they end, and the connection does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_share_a_connection_over_http_2() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("server.timeouts.body_idle", "100ms")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let stream = TcpStream::connect(bff.public_addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = |path: &str| {
        Request::builder()
            .uri(format!("{}{}", home().origin().ascii_serialization(), path))
            .header("cookie", &cookie)
            .header("sec-fetch-site", "same-origin")
            .body(Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..3 {
        let answer = soon("a stream", sender.send_request(request(EVENTS))).await;
        streams.push(answer.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    alice.stand_on(PUBLIC_URL);
    alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    for answer in streams {
        assert_eq!(answer.status(), 200);
        let body = soon("the end", answer.into_body().collect()).await.unwrap();
        let text = String::from_utf8(body.to_bytes().into()).unwrap();
        assert!(text.contains("event: signed_in"), "{text}");
        assert!(
            text.ends_with("data: {\"reason\":\"logout\"}\n\n"),
            "{text}"
        );
    }
    let after = soon("an answer", sender.send_request(request(EVENTS))).await;
    assert_eq!(after.unwrap().status(), 200);
    assert_eq!(idp.count(Endpoint::EndSession), 0);
}
