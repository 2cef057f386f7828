//! What a request spends apart from the wire: sealing, opening, finding the route and the session.
//!
//! `cargo bench --bench pieces`, to look at. What decides is `benches/compare.sh`, and for small
//! differences the instruction counts of callgrind.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock, SystemClock, SystemRandomness};
use bff::proxy::path::{PathRules, RequestPath};
use bff::proxy::route::{RouteMatch, RouteTable};
use bff::proxy::{CsrfCheck, RouteAuth, RouteSettings};
use bff::secret::{AccessToken, LogoutSid, SessionKey};
use bff::session::cookie::{Carrier, OpenedCookie, OpenedCookies, Presented, SessionCookie};
use bff::session::id::SessionId;
use bff::session::journal::{Journal, SubjectNames};
use bff::session::record::{Details, Facts, NewSession};
use bff::session::seal::Keys;
use bff::session::store::Found;
use bff::session::store::cookie::CookieStore;
use bff::session::store::memory::MemoryStore;
use bff::session::tokens::{Access, Tokens};
use bff::session::{Activity, CookieSettings, Inherited, SameSite, SessionSettings, Sessions};
use bff::telemetry::Metrics;
use bff::web::proof::{Prover, Proving};
use bff::web::registration::Registration;
use bff::web::site_id::SiteId;
use divan::Bencher;
use futures_util::FutureExt as _;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const HOUR: Duration = Duration::from_hours(1);

fn keys() -> Keys {
    Keys::of(&SessionKey::random(&SystemRandomness))
}

fn cookie_settings() -> CookieSettings {
    CookieSettings {
        name: "__Host-Http-bff".to_owned(),
        former_name: None,
        secure: true,
        same_site: SameSite::Strict,
        persistent: false,
    }
}

/// A session cookie, and the headers of a request that carries it between two others.
fn signed_in() -> (SessionCookie, HeaderMap) {
    let cookie = SessionCookie::new(cookie_settings(), keys());
    let id = SessionId::random(&SystemRandomness);
    let line = cookie.issue(&id, SystemClock.now(), HOUR, &SystemRandomness);
    let pair = line.to_str().unwrap_or_default();
    let pair = pair.split(';').next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("theme=dark; {pair}; lang=en")) {
        headers.insert(COOKIE, value);
    }
    (cookie, headers)
}

#[divan::bench]
fn seal_a_cookie(bencher: Bencher<'_, '_>) {
    let cookie = SessionCookie::new(cookie_settings(), keys());
    let id = SessionId::random(&SystemRandomness);
    let now = SystemClock.now();
    bencher.bench_local(|| cookie.issue(black_box(&id), now, HOUR, &SystemRandomness));
}

#[divan::bench]
fn open_a_cookie_for_the_first_time(bencher: Bencher<'_, '_>) {
    let (cookie, headers) = signed_in();
    bencher
        .with_inputs(OpenedCookies::default)
        .bench_local_values(|opened| {
            let presented = cookie.read(black_box(&headers), &opened);
            assert!(matches!(presented, Presented::Session(_)));
            opened
        });
}

#[divan::bench]
fn open_a_remembered_cookie(bencher: Bencher<'_, '_>) {
    let (cookie, headers) = signed_in();
    let opened = OpenedCookies::default();
    bencher.bench_local(|| cookie.read(black_box(&headers), &opened));
}

#[divan::bench]
fn refuse_a_forged_cookie(bencher: Bencher<'_, '_>) {
    let (_, headers) = signed_in();
    let (cookie, _) = signed_in();
    let opened = OpenedCookies::default();
    bencher.bench_local(|| cookie.read(black_box(&headers), &opened));
}

/// A cookie that carries a whole session with tokens of this many octets, and a request with it.
fn carried(octets: usize) -> Option<(SessionCookie, HeaderMap)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(CookieStore::new(
        1 << 20,
        Arc::clone(&clock),
        Inherited::new(registration()),
    ));
    let carrier = Carrier {
        store: Arc::clone(&store),
        idle_timeout: HOUR,
        max_lifetime: HOUR,
        room: 24 * 1024,
        id_token: true,
    };
    let cookie = SessionCookie::carrying(cookie_settings(), keys(), carrier);
    let sessions = Sessions::new(store, clock, SiteId::main(), &session_settings(), journal());
    let id = SessionId::random(&SystemRandomness);
    let session = sessions.prepare(new_session(&id, &"t".repeat(octets))?);
    let none = Presented::Nothing;
    let lines = cookie.begin(&id, &session, none, HOUR, &SystemRandomness);
    let lines = lines.ok()?;
    let pairs: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.to_str().ok()?.split(';').next())
        .collect();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::try_from(pairs.join("; ")).ok()?);
    Some((cookie, headers))
}

#[divan::bench(args = [2_000, 8_000])]
fn open_a_carried_session_for_the_first_time(bencher: Bencher<'_, '_>, octets: usize) {
    let Some((cookie, headers)) = carried(octets) else {
        return;
    };
    bencher
        .with_inputs(OpenedCookies::default)
        .bench_local_values(|opened| {
            let presented = cookie.read(black_box(&headers), &opened);
            assert!(matches!(presented, Presented::Session(_)));
            opened
        });
}

#[divan::bench(args = [2_000, 8_000])]
fn open_a_carried_session_again(bencher: Bencher<'_, '_>, octets: usize) {
    let Some((cookie, headers)) = carried(octets) else {
        return;
    };
    let opened = OpenedCookies::default();
    bencher.bench_local(|| {
        let presented = cookie.read(black_box(&headers), &opened);
        assert!(matches!(presented, Presented::Session(_)));
    });
}

fn route(path: &str) -> Option<RouteSettings> {
    let upstream = Url::parse("http://127.0.0.1:9000").ok()?;
    Some(RouteSettings {
        auth: RouteAuth::Required,
        csrf: Some(CsrfCheck::Header),
        ..RouteSettings::open(path, upstream)
    })
}

#[divan::bench(args = [1, 1_000])]
fn match_a_route_among(bencher: Bencher<'_, '_>, routes: usize) {
    let settings: Vec<RouteSettings> = (0..routes)
        .filter_map(|index| route(&format!("/api/v1/service-{index}")))
        .collect();
    let Ok(table) = RouteTable::new(settings) else {
        return;
    };
    let raw = format!("/api/v1/service-{}/orders/4711", routes / 2);
    bencher.bench_local(|| {
        let path = RequestPath::parse(black_box(&raw), PathRules::STRICT);
        let found = path.map(|path| {
            matches!(
                table.find("app.example", &Method::GET, &path),
                RouteMatch::Found(_)
            )
        });
        assert_eq!(found, Ok(true));
    });
}

fn session_settings() -> SessionSettings {
    SessionSettings {
        idle_timeout: HOUR,
        max_lifetime: 8 * HOUR,
        limit: None,
        cookie: cookie_settings(),
    }
}

fn new_session(id: &SessionId, access_token: &str) -> Option<NewSession> {
    let access_token = AccessToken::new(access_token);
    Some(NewSession {
        facts: Facts::new(id.hash(), SiteId::main(), registration(), "alice"),
        details: Details::new("tag", LogoutSid::random(&SystemRandomness)),
        tokens: Tokens::first(Access::new(1, access_token)?),
    })
}

/// `count` sessions and the cookies that find them.
fn sessions(count: usize) -> (Sessions, Vec<OpenedCookie>) {
    let (store, clock) = (Arc::new(MemoryStore::new(u64::MAX)), Arc::new(SystemClock));
    let sessions = Sessions::new(store, clock, SiteId::main(), &session_settings(), journal());
    let cookies = (0..count)
        .filter_map(|_| {
            let new = new_session(&SessionId::random(&SystemRandomness), "at")?;
            let session = sessions.prepare(new);
            sessions.admit(&session).now_or_never()?.ok()?;
            Some(OpenedCookie::of(session.hash, session.created))
        })
        .collect();
    (sessions, cookies)
}

#[divan::bench(args = [1, 100_000])]
fn find_a_session_among(bencher: Bencher<'_, '_>, count: usize) {
    let (sessions, cookies) = sessions(count);
    // A stride that is no factor of the count visits all in an order that no cache foresees.
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 61_803) % cookies.len();
        let cookie = cookies.get(next);
        let found = cookie.and_then(|cookie| {
            sessions
                .find(black_box(cookie), Activity::Slides)
                .now_or_never()
        });
        assert!(matches!(found, Some(Ok(Found::Live(_)))));
    });
}

/// What a call with a bound token costs beyond one without (aim: under 25 µs).
#[divan::bench]
fn prove_a_request(bencher: Bencher<'_, '_>) {
    let Some(prover) = Prover::fresh() else {
        return;
    };
    let token = HeaderValue::try_from(format!("DPoP {}", "t".repeat(1_000)));
    let proving = Proving {
        prover: &prover,
        clock: &SystemClock,
        randomness: &SystemRandomness,
    };
    let htu = "https://orders.example.com/api/v1/orders/4711";
    bencher.bench_local(|| proving.proof(&Method::GET, black_box(htu), token.as_ref().ok(), None));
}

fn registration() -> Registration {
    Registration::new("https://id.example.com", "app")
}

fn journal() -> Journal {
    Journal::new(Metrics::new(), SubjectNames::Clear)
}
