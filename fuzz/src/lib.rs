//! What the fuzz targets share: a request out of any bytes, and a relying party to ask.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bff::auth::{RelyingParty, RelyingPartyParts};
use bff::clock::{SystemClock, SystemRandomness};
use bff::config::{Config, Variables};
use bff::oidc::Provider;
use bff::secret::SessionKey;
use bff::session::cookie::SessionCookie;
use bff::session::seal::Keys;
use bff::session::store::memory::MemoryStore;
use bff::session::{CookieSettings, SameSite, Sessions};
use bff::telemetry::Metrics;
use bff::web::outbound::Outbound;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use url::Url;

/// The origin that browsers see.
pub static PUBLIC_URL: LazyLock<Url> =
    LazyLock::new(|| Url::parse("https://app.example.com").expect("a URL"));

/// The keys of this run.
pub static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::of(&SessionKey::random(&SystemRandomness)));

/// The name of the session cookie.
pub const COOKIE_NAME: &str = "__Host-Http-bff";

/// The session cookie as production has it.
pub fn session_cookie() -> SessionCookie {
    let settings = CookieSettings {
        name: COOKIE_NAME.to_owned(),
        former_name: None,
        secure: true,
        same_site: SameSite::Strict,
        persistent: false,
    };
    SessionCookie::new(settings, KEYS.clone())
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

/// A relying party whose provider nobody answers for.
pub fn relying_party() -> RelyingParty {
    let text = r#"
        server.public_url = "https://app.example.com"
        provider = { issuer = "http://127.0.0.1:9", client_id = "app", client_secret = "secret" }
    "#;
    let (config, _) = Config::parse(text, Path::new("fuzz"), &Variables::default())
        .unwrap_or_else(|faults| panic!("{faults}"));
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    let metrics = Metrics::new();
    let outbound = Outbound::new(Duration::from_secs(1)).expect("a client");
    let provider = Provider::new(
        config.provider,
        outbound,
        clock.clone(),
        randomness.clone(),
        metrics.clone(),
    );
    let store = Arc::new(MemoryStore::new(1 << 20));
    RelyingParty::new(RelyingPartyParts {
        settings: config.auth,
        provider,
        sessions: Sessions::new(store, clock.clone(), &config.session),
        session_cookie: session_cookie(),
        keys: KEYS.clone(),
        clock,
        randomness,
        metrics,
    })
}
