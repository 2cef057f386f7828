//! The signed token that tells an upstream who calls, made once for a session and a route in half its life.

use bytes::Bytes;
use http::HeaderValue;
use moka::sync::Cache;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::proxy::RouteSettings;
use crate::proxy::route::Route;
use crate::session::claims::Held;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::web::identity::{IdentitySettings, KeysInUse, LIFETIME};

/// Tokens that are remembered at once; they take some 600 bytes each.
const MOST_KEPT: u64 = 20_000;

/// Makes the tokens of one site.
#[derive(Debug)]
pub struct Identities {
    keys: KeysInUse,
    issuer: String,
    /// Until when each is used again. The cache's own clock only sweeps.
    made: Cache<(SessionHash, usize), (HeaderValue, Timestamp)>,
}

impl Identities {
    /// Those that this origin signs.
    pub fn new(keys: KeysInUse, issuer: String) -> Self {
        let made = Cache::builder()
            .max_capacity(MOST_KEPT)
            .time_to_live(LIFETIME)
            .build();
        Self { keys, issuer, made }
    }

    /// The keys that upstreams hold the tokens against.
    pub(super) fn published(&self) -> Option<Bytes> {
        Some(self.keys.now()?.published())
    }

    /// The token for a call of this session to this route.
    pub(super) fn token(
        &self,
        route: &Route,
        settings: &IdentitySettings,
        session: &Session,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let key = (session.facts.hash, route.index());
        if let Some((token, until)) = self.made.get(&key)
            && now < until
        {
            return Some(token);
        }
        let claims = self.claims(route.settings(), settings, session, now);
        let mut token = HeaderValue::try_from(self.keys.now()?.sign(&claims)?).ok()?;
        token.set_sensitive(true);
        self.made.insert(key, (token.clone(), now + LIFETIME / 2));
        Some(token)
    }

    /// What the provider said, and over it what we say.
    fn claims(
        &self,
        route: &RouteSettings,
        settings: &IdentitySettings,
        session: &Session,
        now: Timestamp,
    ) -> Map<String, Value> {
        let held = session.claims();
        let mut claims = match &settings.claims {
            None => held.shown().clone(),
            Some(paths) => paths
                .iter()
                .filter_map(|path| match held.get(path) {
                    Held::Said(claim) => Some((path.clone(), claim.clone())),
                    Held::Unsaid | Held::Unknown => None,
                })
                .collect(),
        };
        let ours = [
            ("iss", self.issuer.as_str().into()),
            ("aud", audience(route, settings)),
            ("sub", (*session.facts.subject).into()),
            ("iat", now.unix_seconds().into()),
            ("exp", (now + LIFETIME).unix_seconds().into()),
        ];
        claims.extend(ours.map(|(name, value): (_, Value)| (name.to_owned(), value)));
        claims
    }
}

/// As the operator says; else the origins that the call may reach.
fn audience(route: &RouteSettings, settings: &IdentitySettings) -> Value {
    if let Some(audience) = &settings.audience {
        return audience.as_str().into();
    }
    let mut origins: Vec<String> = route
        .upstreams
        .iter()
        .map(|url| url.origin().ascii_serialization())
        .collect();
    origins.dedup();
    match <[String; 1]>::try_from(origins) {
        Ok([origin]) => origin.into(),
        Err(origins) => origins.into(),
    }
}
