//! The provider's keys (RFC 7517): which we take, how long they are good for, and one fetch for all
//! who want newer ones (D14–D17). How often that may be is left to `key_fetches`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::{Clock, Timestamp};
use crate::oidc::IdTokenAlg;
use crate::oidc::calls::Calls;
use crate::oidc::discovery::Discovery;
use crate::oidc::error::{Misbehaviour, ProviderError};
use crate::oidc::key_fetches::{KeyFetches, Source, Wanted};
use crate::oidc::verifying_key::VerifyingKey;

/// How long keys are used after the last fetch that succeeded (D17).
const KEEP: Duration = Duration::from_hours(24);

/// More keys than this is no key set (D17).
const MAX_KEYS: usize = 100;

/// How many keys are tried on a token that names none (D14).
const MAX_TRIES: usize = 8;

/// The keys of one successful fetch.
pub(super) struct KeySet {
    keys: Vec<Key>,
    fetched_at: Timestamp,
}

impl KeySet {
    /// The keys that may have made a signature with `alg`: those named `kid`, or, for a token that
    /// names none, a bounded number of all that fit (D3, D14).
    pub(super) fn candidates(
        &self,
        alg: IdTokenAlg,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &VerifyingKey> {
        self.keys
            .iter()
            .filter(move |key| key.fits(alg) && (kid.is_none() || key.kid.as_deref() == kid))
            .take(MAX_TRIES)
            .map(|key| &key.verifies)
    }

    pub(super) fn parse(
        document: &Map<String, Value>,
        fetched_at: Timestamp,
    ) -> Result<Self, Misbehaviour> {
        let listed = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(Misbehaviour::Missing("keys"))?;
        if listed.len() > MAX_KEYS {
            return Err(Misbehaviour::TooManyKeys(listed.len()));
        }
        // What we cannot use is skipped: a provider may publish keys for others.
        let keys = listed.iter().filter_map(Key::parse).collect();
        Ok(Self { keys, fetched_at })
    }
}

/// A public key that verifies signatures.
struct Key {
    kid: Option<String>,
    kind: KeyKind,
    /// The only algorithm that it is for, where it says so.
    alg: Option<IdTokenAlg>,
    verifies: VerifyingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Key {
    fn fits(&self, alg: IdTokenAlg) -> bool {
        self.kind == KeyKind::of(alg) && self.alg.is_none_or(|only| only == alg)
    }

    /// The key that `jwk` is, where we can verify with it: never a symmetric one (D3), never one
    /// for encryption or of an unknown kind (D17).
    fn parse(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if said(jwk, "use").is_some_and(|value| value != "sig") {
            return None;
        }
        if let Some(operations) = said(jwk, "key_ops")
            && !operations
                .as_array()?
                .iter()
                .any(|operation| operation == "verify")
        {
            return None;
        }
        let alg = match said(jwk, "alg") {
            None => None,
            Some(alg) => Some(IdTokenAlg::from_header(alg.as_str()?)?),
        };
        let kid = match jwk.get("kid") {
            None | Some(Value::Null) => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        let (kind, verifies) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (KeyKind::Rsa, VerifyingKey::rsa(text("n")?, text("e")?)),
            ("EC", Some("P-256")) => (KeyKind::P256, VerifyingKey::p256(text("x")?, text("y")?)),
            ("EC", Some("P-384")) => (KeyKind::P384, VerifyingKey::p384(text("x")?, text("y")?)),
            ("EC", Some("P-521")) => (KeyKind::P521, VerifyingKey::p521(text("x")?, text("y")?)),
            ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, VerifyingKey::ed25519(text("x")?)),
            _ => return None,
        };
        Some(Self {
            kid,
            kind,
            alg,
            verifies: verifies?,
        })
    }
}

/// What a key says of its use. Libraries write `null`, an empty list or an empty string for what
/// they leave unsaid.
fn said<'a>(jwk: &'a Value, name: &str) -> Option<&'a Value> {
    jwk.get(name).filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    })
}

impl KeyKind {
    const fn of(alg: IdTokenAlg) -> Self {
        match alg {
            IdTokenAlg::Rs256
            | IdTokenAlg::Rs384
            | IdTokenAlg::Rs512
            | IdTokenAlg::Ps256
            | IdTokenAlg::Ps384
            | IdTokenAlg::Ps512 => Self::Rsa,
            IdTokenAlg::Es256 => Self::P256,
            IdTokenAlg::Es384 => Self::P384,
            IdTokenAlg::Es512 => Self::P521,
            IdTokenAlg::EdDsa => Self::Ed25519,
        }
    }
}

/// The key set in use, and who may ask for another.
pub(super) struct Jwks {
    calls: Arc<Calls>,
    discovery: Arc<Discovery>,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<KeySet>,
    attempts: AtomicU64,
    /// Held during a fetch; holds why the last one failed.
    flight: Mutex<Option<ProviderError>>,
    fetches: std::sync::Mutex<KeyFetches>,
}

/// A newer key set.
pub(super) struct Newer {
    pub(super) keys: Arc<KeySet>,
    pub(super) by: FetchedBy,
}

/// Whose fetch brought a key set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchedBy {
    /// Made for this token.
    Us,
    /// Made for another, or on schedule.
    Another,
}

/// Why there is no newer key set.
#[derive(Debug)]
pub(super) enum NoKeys {
    /// Too many asked of late; the answer is no, at once (D16).
    Throttled,
    /// The provider did not give them.
    Failed(ProviderError),
}

impl Jwks {
    pub(super) fn new(calls: Arc<Calls>, discovery: Arc<Discovery>, clock: Arc<dyn Clock>) -> Self {
        let fetches = std::sync::Mutex::new(KeyFetches::new(clock.now()));
        Self {
            calls,
            discovery,
            clock,
            current: ArcSwapOption::empty(),
            attempts: AtomicU64::new(0),
            flight: Mutex::new(None),
            fetches,
        }
    }

    /// The keys in use, where there are any that are not too old.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.current
            .load_full()
            .filter(|set| self.clock.now().since(set.fetched_at) <= KEEP)
    }

    /// The keys in use, or a forced fetch where there are none.
    pub(super) async fn keys(&self, source: Source) -> Result<Arc<KeySet>, NoKeys> {
        match self.current() {
            Some(set) => Ok(set),
            None => Ok(self.forced(None, source, Wanted::Any).await?.keys),
        }
    }

    /// A key set newer than `seen`, in which no key named `kid` made the signature: what another
    /// fetch brought meanwhile, or else one forced fetch (D15, D16).
    pub(super) async fn newer_than(
        &self,
        seen: &Arc<KeySet>,
        source: Source,
        kid: Option<&str>,
    ) -> Result<Newer, NoKeys> {
        self.forced(Some(seen), source, Wanted::Key(kid)).await
    }

    /// A set fetched for this key's sake had it not either: for a while nobody fetches for it again.
    pub(super) fn looked_in_vain(&self, source: Source, kid: Option<&str>) {
        if let Ok(mut fetches) = self.fetches.lock() {
            fetches.remember(source, kid, self.clock.now());
        }
    }

    async fn forced(
        &self,
        seen: Option<&Arc<KeySet>>,
        source: Source,
        wanted: Wanted<'_>,
    ) -> Result<Newer, NoKeys> {
        let attempts = self.attempts.load(Ordering::SeqCst);
        let flight = self.flight.lock().await;
        if let Some(current) = self.current()
            && seen.is_none_or(|seen| !Arc::ptr_eq(seen, &current))
        {
            return Ok(Newer {
                keys: current,
                by: FetchedBy::Another,
            });
        }
        if self.attempts.load(Ordering::SeqCst) != attempts
            && let Some(failure) = &*flight
        {
            return Err(NoKeys::Failed(failure.clone()));
        }
        // A panic while it was locked leaves it unknown how much was taken: nothing is given.
        let taken = self
            .fetches
            .lock()
            .is_ok_and(|mut fetches| fetches.take(source, wanted, self.clock.now()));
        if !taken {
            return Err(NoKeys::Throttled);
        }
        let keys = self.fetch(flight).await.map_err(NoKeys::Failed)?;
        Ok(Newer {
            keys,
            by: FetchedBy::Us,
        })
    }

    /// Fetches anew, on the schedule of our own that D16 does not count. A failure leaves the keys
    /// in place until they are too old (D17).
    pub(super) async fn refresh(&self) -> Result<(), ProviderError> {
        let flight = self.flight.lock().await;
        self.fetch(flight).await.map(drop)
    }

    async fn fetch(
        &self,
        mut flight: MutexGuard<'_, Option<ProviderError>>,
    ) -> Result<Arc<KeySet>, ProviderError> {
        let outcome = self.fetch_document().await;
        match &outcome {
            Ok(set) => {
                self.current.store(Some(Arc::clone(set)));
                *flight = None;
            }
            Err(failure) => *flight = Some(failure.clone()),
        }
        self.attempts.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    async fn fetch_document(&self) -> Result<Arc<KeySet>, ProviderError> {
        let metadata = self.discovery.metadata().await?;
        let document = self.calls.get_object("jwks", &metadata.jwks_uri).await?;
        Ok(Arc::new(KeySet::parse(&document, self.clock.now())?))
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::Algorithm;
    use serde_json::json;

    use super::*;
    use crate::oidc::tests::SigningKey;

    fn usable(jwk: &Value, alg: IdTokenAlg, kid: Option<&str>) -> usize {
        let document = Map::from_iter([("keys".to_owned(), json!([jwk]))]);
        let set = KeySet::parse(&document, Timestamp::from_unix_seconds(0)).unwrap();
        set.candidates(alg, kid).count()
    }

    fn with(jwk: &Value, name: &str, value: Value) -> Value {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    }

    /// D3, D17: what cannot verify with this algorithm is skipped, whatever it calls itself. What a
    /// key leaves unsaid, in whichever way, does not count against it.
    #[test]
    fn only_keys_that_fit_are_used() {
        use IdTokenAlg::{EdDsa, Es256, Es384, Es512, Ps256, Rs256};
        let p256 = SigningKey::es256("k").jwk;
        let p384 = SigningKey::es384("k").jwk;
        let p521 = SigningKey::es512("k").jwk;
        let ed = SigningKey::ed25519("k").jwk;
        let mut rsa = SigningKey::rsa("k", Algorithm::RS256).jwk;
        rsa.as_object_mut().unwrap().remove("alg");
        let small = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let huge = URL_SAFE_NO_PAD.encode([0xff; 1025]);
        let padded = URL_SAFE_NO_PAD.encode([&[0; 128][..], &[0xff; 128][..]].concat());
        let cases = [
            ("P-256", p256.clone(), Es256, 1),
            ("P-256 for ES384", p256.clone(), Es384, 0),
            ("P-256 for RS256", p256.clone(), Rs256, 0),
            ("P-384", p384, Es384, 1),
            ("P-521", p521.clone(), Es512, 1),
            ("P-521 for ES256", p521.clone(), Es256, 0),
            (
                "a short P-521",
                with(&p521, "y", p256["y"].clone()),
                Es512,
                0,
            ),
            ("Ed25519", ed.clone(), EdDsa, 1),
            (
                "Ed25519 by its own name",
                with(&ed, "alg", json!("Ed25519")),
                EdDsa,
                1,
            ),
            ("RSA for RS256", rsa.clone(), Rs256, 1),
            ("RSA for PS256", rsa.clone(), Ps256, 1),
            (
                "RSA that is for RS256",
                with(&rsa, "alg", json!("RS256")),
                Ps256,
                0,
            ),
            (
                "RSA for encryption",
                with(&rsa, "alg", json!("RSA-OAEP")),
                Rs256,
                0,
            ),
            ("use: enc", with(&p256, "use", json!("enc")), Es256, 0),
            ("use: null", with(&p256, "use", json!(null)), Es256, 1),
            ("use: empty", with(&p256, "use", json!("")), Es256, 1),
            ("alg: null", with(&p256, "alg", json!(null)), Es256, 1),
            ("alg: empty", with(&p256, "alg", json!("")), Es256, 1),
            ("use: number", with(&p256, "use", json!(1)), Es256, 0),
            (
                "key_ops: verify",
                with(&p256, "key_ops", json!(["verify"])),
                Es256,
                1,
            ),
            (
                "key_ops: sign",
                with(&p256, "key_ops", json!(["sign"])),
                Es256,
                0,
            ),
            (
                "key_ops: null",
                with(&p256, "key_ops", json!(null)),
                Es256,
                1,
            ),
            (
                "key_ops: empty",
                with(&p256, "key_ops", json!([])),
                Es256,
                1,
            ),
            (
                "key_ops: no array",
                with(&p256, "key_ops", json!("verify")),
                Es256,
                0,
            ),
            ("kid: number", with(&p256, "kid", json!(1)), Es256, 0),
            (
                "secp256k1",
                with(&p256, "crv", json!("secp256k1")),
                Es256,
                0,
            ),
            ("Ed448", with(&ed, "crv", json!("Ed448")), EdDsa, 0),
            ("unknown kty", with(&p256, "kty", json!("PQC")), Es256, 0),
            ("short x", with(&p256, "x", json!("AA")), Es256, 0),
            ("no base64", with(&p256, "x", json!("!")), Es256, 0),
            ("RSA of 1024 bits", with(&rsa, "n", json!(small)), Rs256, 0),
            (
                "the same with zeros before",
                with(&rsa, "n", json!(padded)),
                Rs256,
                0,
            ),
            ("RSA of 8200 bits", with(&rsa, "n", json!(huge)), Rs256, 0),
            ("RSA of no bits", with(&rsa, "n", json!("")), Rs256, 0),
            ("exponent 1", with(&rsa, "e", json!("AQ")), Rs256, 0),
            ("even exponent", with(&rsa, "e", json!("AQAA")), Rs256, 0),
            ("no exponent", with(&rsa, "e", json!("")), Rs256, 0),
            (
                "oct",
                json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
                Rs256,
                0,
            ),
            ("no object", json!(1), Es256, 0),
        ];
        for (name, jwk, alg, expected) in cases {
            assert_eq!(usable(&jwk, alg, Some("k")), expected, "{name}");
        }
        assert_eq!(usable(&p256, Es256, None), 1, "a token without kid");
        assert_eq!(usable(&p256, Es256, Some("other")), 0, "another kid");
    }

    /// D14, D17: tries and keys are bounded, and a kid that stands twice is no reason to panic.
    #[test]
    fn the_set_is_bounded() {
        let jwk = SigningKey::es256("k").jwk;
        let set = |count: usize| {
            let document = Map::from_iter([("keys".to_owned(), json!(vec![&jwk; count]))]);
            KeySet::parse(&document, Timestamp::from_unix_seconds(0))
        };
        let many = set(MAX_KEYS).unwrap();
        assert_eq!(
            many.candidates(IdTokenAlg::Es256, Some("k")).count(),
            MAX_TRIES
        );
        assert_eq!(many.candidates(IdTokenAlg::Es256, None).count(), MAX_TRIES);
        assert!(set(MAX_KEYS + 1).is_err());
    }
}
