//! What the fuzz targets share: a request out of any bytes, and a relying party to ask.

pub mod pieces;
pub mod socket;
pub mod stage;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bff::auth::ending::Endings;
use bff::auth::{RelyingParty, RelyingPartyParts, Shared};
use bff::clock::{SystemClock, SystemRandomness};
use bff::config::{Config, Variables};
use bff::oidc::Provider;
use bff::secret::SessionKey;
use bff::session::cookie::SessionCookie;
use bff::session::journal::{Journal, SubjectNames};
use bff::session::seal::Keys;
use bff::session::store::memory::MemoryStore;
use bff::session::{CookieSettings, SameSite, Sessions};
use bff::telemetry::Metrics;
use bff::web::background::Background;
use bff::web::outbound::Outbound;
use bff::web::strangers::{Addresses, Budget, Room, Strangers};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use tokio::runtime::Runtime;
use url::Url;

/// The origin that browsers see.
pub static PUBLIC_URL: LazyLock<Url> =
    LazyLock::new(|| Url::parse("https://app.example.com").expect("a URL"));

/// The keys of this run.
pub static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::of(&SessionKey::random(&SystemRandomness)));

/// The name of the session cookie.
pub const COOKIE_NAME: &str = "__Host-Http-bff";

/// The session cookie's settings as production has them.
pub fn cookie_settings() -> CookieSettings {
    CookieSettings {
        name: COOKIE_NAME.to_owned(),
        former_name: None,
        secure: true,
        same_site: SameSite::Strict,
        persistent: false,
    }
}

/// The session cookie as production has it.
pub fn session_cookie() -> SessionCookie {
    SessionCookie::new(cookie_settings(), KEYS.clone())
}

/// Fields out of any bytes: a line each, the name before the colon. What no engine would let
/// through is left out.
pub fn headers(data: &[u8]) -> HeaderMap {
    data.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..at]).ok()?;
            let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
            Some((name, value))
        })
        .collect()
}

/// A request's head out of any bytes: method, target and version on the first line, then fields.
pub fn head(data: &[u8]) -> Option<Parts> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let mut words = data[..end].split(|byte| *byte == b' ');
    let request = Request::builder()
        .method(words.next()?)
        .uri(words.next()?)
        .version(match words.next() {
            Some(b"2") => Version::HTTP_2,
            Some(b"0") => Version::HTTP_10,
            _ => Version::HTTP_11,
        });
    let (mut parts, ()) = request.body(()).ok()?.into_parts();
    parts.headers = headers(&data[end + 1..]);
    Some(parts)
}

/// A relying party whose provider nobody answers for, and the runtime that its work beside requests needs.
pub fn relying_party() -> (RelyingParty, Runtime) {
    let text = r#"
        server.public_url = "https://app.example.com"
        provider = { issuer = "http://127.0.0.1:9", client_id = "app", client_secret = "secret" }
    "#;
    let (mut config, _) = Config::parse(text, Path::new("fuzz"), &Variables::default())
        .unwrap_or_else(|faults| panic!("{faults}"));
    let (mut sites, _) = config.take_sites();
    let site = sites.pop().expect("a site");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    let metrics = Metrics::new();
    let provider = Provider::new(
        site.provider,
        Outbound::new(Duration::from_secs(1)).expect("a client"),
        clock.clone(),
        randomness.clone(),
        metrics.clone(),
    );
    let sessions = Sessions::new(
        Arc::new(MemoryStore::new(1 << 20)),
        clock.clone(),
        site.id,
        &site.session,
        Journal::new(metrics.clone(), SubjectNames::Clear),
    );
    let background = Background::on(runtime.handle().clone());
    let room = Room {
        connections: 1_000_000,
        connections_per_address: None,
        upstreams: 1_000_000,
    };
    let party = RelyingParty::new(RelyingPartyParts {
        endings: Endings::new(
            provider.clone(),
            clock.clone(),
            background.clone(),
            site.auth.revocation,
        ),
        settings: site.auth,
        provider,
        sessions,
        session_cookie: session_cookie(),
        keys: KEYS.clone(),
        clock,
        randomness,
        metrics,
        background,
        strangers: Strangers::new(Addresses::TellApart, |demand| Budget::of(demand, room)),
        shared: Shared::new(),
    });
    (party, runtime)
}
