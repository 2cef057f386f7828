//! When a stream wakes and what it then says, with the time of the test.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::*;
use crate::clock::{ManualClock, SystemRandomness};
use crate::session::id::SessionId;
use crate::session::journal::{Journal, SubjectNames};
use crate::session::store::memory::MemoryStore;
use crate::session::{Sessions, fixture};
use crate::telemetry::Metrics;
use crate::web::open_limits::OpenLimits;
use crate::web::site_id::SiteId;

const MINUTE: Duration = Duration::from_mins(1);
const BEGAN: i64 = 1_000_000;

#[test]
fn the_last_event_says_what_a_browser_knows() {
    let of = |tag: &str, expires, warned| LastEvent::Of {
        tag: tag.to_owned(),
        expires: Timestamp::from_unix_millis(expires),
        warned,
    };
    for (id, expected) in [
        ("ended", LastEvent::Ended),
        (
            "abc-_9.1795253400000",
            of("abc-_9", 1_795_253_400_000, false),
        ),
        ("abc.17.warned", of("abc", 17, true)),
        ("abc.17.x", LastEvent::Other),
        ("abc.x", LastEvent::Other),
        ("abc", LastEvent::Other),
        ("", LastEvent::Other),
        ("a.1.warned.b", LastEvent::Other),
    ] {
        let mut headers = HeaderMap::new();
        assert_eq!(LastEvent::read(&headers), None);
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static(id));
        assert_eq!(LastEvent::read(&headers), Some(expected), "{id}");
    }
}

struct Stage {
    clock: Arc<ManualClock>,
    sessions: Sessions,
    session: Arc<Session>,
    shutdown: CancellationToken,
}

impl Stage {
    async fn set() -> Self {
        let began = Timestamp::from_unix_seconds(BEGAN);
        let clock = Arc::new(ManualClock::starting_at(began));
        let sessions = Sessions::new(
            Arc::new(MemoryStore::new(1 << 20)),
            clock.clone(),
            SiteId::main(),
            &fixture::settings(),
            Journal::new(Metrics::new(), SubjectNames::Clear),
        );
        let hash = SessionId::random(&SystemRandomness).hash();
        let session = sessions.prepare(fixture::new_session(hash, "alice"));
        sessions.admit(&session).await.unwrap();
        Self {
            clock,
            sessions,
            session,
            shutdown: CancellationToken::new(),
        }
    }

    fn stream(&self, last: Option<&LastEvent>) -> EventStream {
        let parts = StreamParts {
            sessions: self.sessions.clone(),
            clock: self.clock.clone(),
            randomness: Arc::new(SystemRandomness),
            session: Arc::clone(&self.session),
            permit: OpenLimits::new(1, 1).take(None).unwrap(),
            shutdown: self.shutdown.clone(),
        };
        EventStream::new(parts, last)
    }

    /// The session is used, now.
    async fn used(&self) {
        let cookie =
            crate::session::cookie::OpenedCookie::of(self.session.hash, self.session.created);
        let found = self.sessions.find(&cookie, Activity::Slides).await;
        assert!(found.unwrap().live().is_some());
    }

    /// Both clocks move.
    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        tokio::time::sleep(span).await;
    }
}

/// The next piece; `None` at the end.
async fn piece(stream: &mut EventStream) -> Option<String> {
    let frame = stream.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().into()).unwrap())
}

/// A heartbeat every 15 s, and nothing else, while nothing happens.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_beats() {
    let stage = Stage::set().await;
    let mut stream = stage.stream(None);
    assert_eq!(
        piece(&mut stream).await.unwrap(),
        "retry: 2000\n\nevent: signed_in\nid: tag.1001800000\n\
         data: {\"ends_in\":3600,\"expires_in\":1800,\"tag\":\"tag\"}\n\n"
    );
    let began = Instant::now();
    for beat in 1..=4 {
        assert_eq!(piece(&mut stream).await.unwrap(), ":\n\n");
        assert_eq!(began.elapsed(), beat * Duration::from_secs(15));
    }
}

/// One warning, a minute before; then the end as soon as it comes.
#[tokio::test(start_paused = true)]
async fn a_stream_warns_once() {
    let stage = Stage::set().await;
    let mut stream = stage.stream(None);
    piece(&mut stream).await.unwrap();
    stage.pass(29 * MINUTE).await;
    assert_eq!(
        piece(&mut stream).await.unwrap(),
        "event: expiring\nid: tag.1001800000.warned\ndata: {\"expires_in\":60}\n\n"
    );
    stage.clock.advance(MINUTE - Duration::from_secs(1));
    for _ in 0..4 {
        assert_eq!(piece(&mut stream).await.unwrap(), ":\n\n");
    }
    stage.clock.advance(Duration::from_secs(1));
    stage.sessions.sweep().await.unwrap();
    assert_eq!(
        piece(&mut stream).await.unwrap(),
        "event: ended\nid: ended\ndata: {\"reason\":\"expired\"}\n\n"
    );
    assert_eq!(piece(&mut stream).await, None);
}

/// A use puts the end off, which is told at once; at the absolute limit none does any more.
#[tokio::test(start_paused = true)]
async fn a_stream_follows_the_expiry() {
    let stage = Stage::set().await;
    let mut stream = stage.stream(None);
    piece(&mut stream).await.unwrap();
    stage.pass(29 * MINUTE).await;
    assert!(piece(&mut stream).await.unwrap().contains("expiring"));
    stage.used().await;
    assert_eq!(
        piece(&mut stream).await.unwrap(),
        "event: extended\nid: tag.1003540000\ndata: {\"ends_in\":1860,\"expires_in\":1800}\n\n"
    );
    stage.pass(29 * MINUTE).await;
    assert!(piece(&mut stream).await.unwrap().contains("expiring"));
    stage.used().await;
    // Another 30 minutes are more than the absolute limit leaves.
    assert_eq!(
        piece(&mut stream).await.unwrap(),
        "event: extended\nid: tag.1003600000\ndata: {\"ends_in\":120,\"expires_in\":120}\n\n"
    );
    stage.pass(MINUTE).await;
    assert!(piece(&mut stream).await.unwrap().contains("expiring"));
    stage.used().await;
    assert_eq!(
        piece(&mut stream).await.unwrap(),
        ":\n\n",
        "nothing changed"
    );
}

/// Who comes back with the id of a warning is not warned again, and hears of what they missed.
#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed() {
    let stage = Stage::set().await;
    let known = |expires, warned| LastEvent::Of {
        tag: "tag".to_owned(),
        expires: Timestamp::from_unix_millis(expires),
        warned,
    };
    stage.clock.advance(29 * MINUTE);
    let mut warned = stage.stream(Some(&known(1_001_800_000, true)));
    assert_eq!(piece(&mut warned).await.unwrap(), "retry: 2000\n\n");
    assert_eq!(piece(&mut warned).await.unwrap(), ":\n\n");
    let mut unwarned = stage.stream(Some(&known(1_001_800_000, false)));
    assert_eq!(piece(&mut unwarned).await.unwrap(), "retry: 2000\n\n");
    assert!(piece(&mut unwarned).await.unwrap().contains("expiring"));
    let mut behind = stage.stream(Some(&known(1_001_000_000, true)));
    assert_eq!(piece(&mut behind).await.unwrap(), "retry: 2000\n\n");
    assert!(piece(&mut behind).await.unwrap().contains("extended"));
}

/// The end of the process sends the browser elsewhere.
#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_stream() {
    let stage = Stage::set().await;
    let mut stream = stage.stream(None);
    piece(&mut stream).await.unwrap();
    stage.shutdown.cancel();
    assert!(piece(&mut stream).await.unwrap().starts_with("retry: "));
    assert_eq!(piece(&mut stream).await, None);
}
