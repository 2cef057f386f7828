//! Proofs of possession (RFC 9449): the key that tokens are bound to, what it signs for each request, and
//! the nonces that servers want to see in that.
//!
//! A key has nonces of its own: what a server told one user's key is nothing to another's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;
use url::Url;

use crate::clock::{Clock, Randomness, Timestamp};
use crate::secret::{ProofKey, random_base64url};
use crate::web::challenge::Challenge;

/// The header that carries a proof.
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header in which a server says which nonce the next proof is to hold (RFC 9449 §8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The `error` of a server that wants another nonce (RFC 9449 §8).
pub const USE_DPOP_NONCE: &str = "use_dpop_nonce";

/// The algorithm that we sign proofs with, which every server of FAPI 2.0 knows.
pub const PROOF_ALG: &str = "ES256";

/// The longest nonce that is believed to be one.
const LONGEST_NONCE: usize = 1024;

/// How long a nonce is taken to be good where a request with another could not follow: servers change theirs
/// every few minutes.
const YOUNG_NONCE: Duration = Duration::from_mins(1);

/// The servers that one key remembers; one more forgets the oldest.
const MOST_SERVERS: usize = 32;

/// A key pair that tokens are bound to, with what servers told it.
pub struct Prover {
    key: ProofKey,
    /// Read at its first use: most sessions that a store hands over are never asked to prove anything here.
    ready: OnceLock<Option<Ready>>,
    known: Mutex<Vec<Known>>,
}

/// The key, ready to sign.
struct Ready {
    pair: EcdsaKeyPair,
    /// Of every proof: it holds the public key and nothing else that changes.
    header: String,
    thumbprint: String,
}

/// A server that has answered a proof.
struct Known {
    origin: Box<str>,
    nonce: Option<ServerNonce>,
    /// When it gave the nonce, or answered for the first time.
    heard: Timestamp,
}

/// A nonce that a server gave; no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNonce(Arc<str>);

impl ServerNonce {
    /// The nonce that an answer gives, refusal or not (RFC 9449 §8.2). What cannot be one is passed over.
    pub fn of(answer: &HeaderMap) -> Option<Self> {
        let told = answer.get(DPOP_NONCE)?.to_str().ok()?;
        is_nonce(told).then(|| Self(told.into()))
    }
}

/// What a request is proven by, and what the proof is made of beside the key.
#[derive(Debug, Clone, Copy)]
pub struct Proving<'a> {
    /// The key.
    pub prover: &'a Prover,
    /// Says when a proof was made.
    pub clock: &'a dyn Clock,
    /// Makes each proof another.
    pub randomness: &'a dyn Randomness,
}

impl Prover {
    /// A fresh key; `None` where no randomness is to be had.
    pub fn fresh() -> Option<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        let der = pair.to_pkcs8v1().ok()?;
        Some(Self::of(ProofKey::new(der.as_ref())))
    }

    /// This key.
    pub fn of(key: ProofKey) -> Self {
        Self {
            key,
            ready: OnceLock::new(),
            known: Mutex::default(),
        }
    }

    /// The key, for those who seal it.
    pub const fn key(&self) -> &ProofKey {
        &self.key
    }

    /// The thumbprint of the public key, by which a server knows it (RFC 7638); `None` where the key is none.
    pub fn thumbprint(&self) -> Option<&str> {
        Some(&self.ready()?.thumbprint)
    }

    fn nonce(&self, htu: &str) -> Option<ServerNonce> {
        let origin = origin_of(htu);
        let known = self.lock();
        let known = known.iter().find(|known| *known.origin == *origin)?;
        known.nonce.clone()
    }

    fn ready(&self) -> Option<&Ready> {
        let ready = self.ready.get_or_init(|| Ready::of(&self.key));
        ready.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proving<'_> {
    /// Whether a request that cannot be sent twice may go to the server that `htu` is at: it answered a proof
    /// of this key before, and the nonce that it gave, if any, is young enough to be still good.
    pub fn is_fresh(&self, htu: &str) -> bool {
        let origin = origin_of(htu);
        let now = self.clock.now();
        let known = self.prover.lock();
        let known = known.iter().find(|known| *known.origin == *origin);
        known.is_some_and(|known| known.nonce.is_none() || now.since(known.heard) < YOUNG_NONCE)
    }

    /// Remembers that the server answered, and the nonce that the next proof is to hold. One that came with a
    /// refusal belongs to the request that was refused, until that was answered: a server may take each once
    /// alone, and another request must not spend it.
    pub fn note(&self, htu: &str, told: Option<ServerNonce>) {
        let origin = origin_of(htu);
        let heard = self.clock.now();
        let mut known = self.prover.lock();
        if let Some(known) = known.iter_mut().find(|known| *known.origin == *origin) {
            if told.is_some() {
                known.heard = heard;
                known.nonce = told;
            }
            return;
        }
        if known.len() >= MOST_SERVERS {
            known.remove(0);
        }
        known.push(Known {
            origin: origin.into(),
            nonce: told,
            heard,
        });
    }

    /// The proof for one request: of this method to this address, with the token in `authorization` where
    /// there is one. No two are alike. It holds the nonce that its refusal gave, else the last one known.
    /// `None` where the key can sign nothing.
    pub fn proof(
        &self,
        method: &Method,
        htu: &str,
        authorization: Option<&HeaderValue>,
        refused_for: Option<&ServerNonce>,
    ) -> Option<HeaderValue> {
        let ready = self.prover.ready()?;
        let ath = authorization.map(token_hash);
        let nonce = refused_for.cloned().or_else(|| self.prover.nonce(htu));
        let claims = Claims {
            jti: &random_base64url::<16>(self.randomness),
            htm: method.as_str(),
            htu,
            iat: self.clock.now().unix_seconds(),
            ath: ath.as_deref(),
            nonce: nonce.as_ref().map(|nonce| &*nonce.0),
        };
        let claims = serde_json::to_vec(&claims).ok()?;
        // Both parts, and the signature with a dot before it.
        let mut proof = String::with_capacity(ready.header.len() + claims.len() * 4 / 3 + 90);
        proof.push_str(&ready.header);
        proof.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut proof);
        let signature = ready.pair.sign(&SystemRandom::new(), proof.as_bytes());
        proof.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.ok()?, &mut proof);
        let mut proof = HeaderValue::try_from(proof).ok()?;
        proof.set_sensitive(true);
        Some(proof)
    }
}

impl Ready {
    fn of(key: &ProofKey) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose()).ok()?;
        // Uncompressed: 4, then both coordinates.
        let point = pair.public_key().as_ref().strip_prefix(&[4])?;
        let (x, y) = point.split_at_checked(32)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // In the order, and with the members, that a thumbprint is made of (RFC 7638 §3.2).
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"{PROOF_ALG}","jwk":{jwk}}}"#);
        Some(Self {
            pair,
            header: URL_SAFE_NO_PAD.encode(header),
            thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes())),
        })
    }
}

/// The claims of a proof (RFC 9449 §4.2).
#[derive(Serialize)]
struct Claims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

/// How a proof calls an address: without query and fragment (RFC 9449 §4.2).
pub fn htu(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What a resource server says of a proof with 401 (RFC 9449 §7.1, §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofRefusal {
    /// It wants the nonce that comes along.
    Nonce,
    /// It takes the proof for none, and no other token would change that.
    Proof,
}

impl ProofRefusal {
    /// What the challenges of an answer say, among which another scheme's may stand.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let challenges = Challenge::all(headers);
        let of_proofs = challenges
            .iter()
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("dpop"));
        of_proofs
            .filter_map(|challenge| challenge.param("error"))
            .find_map(|error| match error {
                USE_DPOP_NONCE => Some(Self::Nonce),
                "invalid_dpop_proof" => Some(Self::Proof),
                _ => None,
            })
    }
}

/// The hash of the token that a proof goes along with (RFC 9449 §4.2, `ath`).
fn token_hash(authorization: &HeaderValue) -> String {
    let value = authorization.as_bytes();
    let blank = value.iter().position(|byte| *byte == b' ');
    let token = blank.and_then(|blank| value.get(blank + 1..));
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.unwrap_or_default()))
}

/// Scheme, host and port of an address: nonces are the servers', whatever is asked there.
fn origin_of(htu: &str) -> &str {
    let host = htu.find("://").map_or(0, |at| at + 3);
    let path = htu.get(host..).and_then(|rest| rest.find('/'));
    path.and_then(|path| htu.get(..host + path)).unwrap_or(htu)
}

/// Whether `text` may stand in a proof (RFC 9449 §8.1).
fn is_nonce(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=LONGEST_NONCE).contains(&text.len()) && text.bytes().all(may)
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prover(…)")
    }
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::{ManualClock, SeededRandomness, Timestamp};

    const NOW: i64 = 1_780_000_000;
    const HTU: &str = "https://api.example.com/orders/7";

    fn proof_of(
        prover: &Prover,
        method: &Method,
        htu: &str,
        token: Option<&str>,
    ) -> (Value, Value) {
        let token = token.map(|token| HeaderValue::from_str(token).unwrap());
        let proving = Proving {
            prover,
            clock: &at_noon(),
            randomness: &SeededRandomness::new(7),
        };
        let proof = proving.proof(method, htu, token.as_ref(), None).unwrap();
        assert_eq!(format!("{proof:?}"), "Sensitive");
        let proof = proof.to_str().unwrap();
        let header = proof.split('.').next().unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let jwk = serde_json::from_value(header["jwk"].clone()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let read = jsonwebtoken::decode::<Value>(proof, &key, &validation).unwrap();
        (header, read.claims)
    }

    fn at_noon() -> ManualClock {
        ManualClock::starting_at(Timestamp::from_unix_seconds(NOW))
    }

    fn answered(nonce: &str) -> HeaderMap {
        let nonce = HeaderValue::from_str(nonce).unwrap();
        [(DPOP_NONCE, nonce)].into_iter().collect()
    }

    /// A14: what a proof says, signed by the key that it shows.
    #[test]
    fn a_proof_says_of_which_request_it_is() {
        let prover = Prover::fresh().unwrap();
        let (header, mut claims) = proof_of(&prover, &Method::POST, HTU, None);
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&json!("dpop+jwt"), &json!("ES256"))
        );
        let mut members: Vec<_> = header["jwk"].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["crv", "kty", "x", "y"], "and nothing private");
        assert_eq!(claims["jti"].take().as_str().map(str::len), Some(22));
        let expected = json!({ "jti": null, "htm": "POST", "htu": HTU, "iat": NOW });
        assert_eq!(claims, expected);
        // RFC 9449 §4.3: the figure of its own example.
        let token = "DPoP Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let (_, claims) = proof_of(&prover, &Method::GET, HTU, Some(token));
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }

    /// A14: no two proofs are alike, and no two keys; a key is known by its thumbprint before and after it
    /// was kept.
    #[test]
    fn a_key_is_kept_and_read_again() {
        let randomness = SeededRandomness::new(7);
        let prover = Prover::fresh().unwrap();
        let clock = at_noon();
        let kept = Prover::of(ProofKey::new(prover.key().expose()));
        assert_eq!(kept.thumbprint().unwrap().len(), 43);
        assert_eq!(kept.thumbprint(), prover.thumbprint());
        assert_ne!(Prover::fresh().unwrap().thumbprint(), prover.thumbprint());
        let proving = Proving {
            prover: &kept,
            clock: &clock,
            randomness: &randomness,
        };
        let proof = || proving.proof(&Method::GET, HTU, None, None).unwrap();
        let jti = |proof: &HeaderValue| {
            let claims =
                jsonwebtoken::dangerous::insecure_decode_claims::<Value>(proof.to_str().unwrap());
            claims.unwrap()["jti"].clone()
        };
        assert_ne!(jti(&proof()), jti(&proof()));
        let none = Prover::of(ProofKey::new(b"no key"));
        assert_eq!(none.thumbprint(), None);
        let proving = Proving {
            prover: &none,
            ..proving
        };
        assert!(proving.proof(&Method::GET, HTU, None, None).is_none());
        assert_eq!(format!("{prover:?}"), "Prover(…)");
    }

    /// A14: a nonce is a server's own and the key's own, the last one counts, and what is none is passed over
    /// (CVE-2026-40155: nonces of one user's answers stood in another's proofs).
    #[test]
    fn nonces_are_kept_by_key_and_by_server() {
        let (alice, bob) = (Prover::fresh().unwrap(), Prover::fresh().unwrap());
        let (clock, randomness) = (at_noon(), SeededRandomness::new(7));
        let by = |prover| Proving {
            prover,
            clock: &clock,
            randomness: &randomness,
        };
        let hear = |prover, nonce: &str| by(prover).note(HTU, ServerNonce::of(&answered(nonce)));
        let nonce = |prover: &Prover, htu: &str| {
            let (_, claims) = proof_of(prover, &Method::GET, htu, None);
            claims["nonce"].as_str().map(str::to_owned)
        };
        assert!(!by(&alice).is_fresh(HTU));
        hear(&alice, "n1");
        assert!(by(&alice).is_fresh("https://api.example.com/"));
        assert_eq!(
            nonce(&alice, "https://api.example.com/else").as_deref(),
            Some("n1")
        );
        assert_eq!(
            nonce(&alice, "https://api.example.com").as_deref(),
            Some("n1")
        );
        for other in [
            "https://api.example.com:8443/orders/7",
            "http://api.example.com/orders/7",
            "https://api.example.com.evil/",
        ] {
            assert_eq!(nonce(&alice, other), None, "{other}");
            assert!(!by(&alice).is_fresh(other), "{other}");
        }
        assert_eq!(nonce(&bob, HTU), None);
        hear(&alice, "n2");
        for silent in [
            HeaderMap::new(),
            answered(""),
            answered("a b"),
            answered("\""),
            answered(&"x".repeat(1025)),
        ] {
            assert_eq!(ServerNonce::of(&silent), None, "{silent:?}");
            by(&alice).note(HTU, None);
            assert_eq!(nonce(&alice, HTU).as_deref(), Some("n2"));
        }
        for server in 0..2 * MOST_SERVERS {
            let htu = format!("https://a{server}.example/x");
            by(&alice).note(&htu, None);
        }
        assert_eq!(alice.lock().len(), MOST_SERVERS);
        assert!(!by(&alice).is_fresh(HTU));
    }

    /// A14: what cannot be sent twice waits for a nonce that is young; a server that wants none is known by
    /// its first answer.
    #[test]
    fn a_nonce_is_young_for_a_minute() {
        let prover = Prover::fresh().unwrap();
        let (clock, randomness) = (at_noon(), SeededRandomness::new(7));
        let proving = Proving {
            prover: &prover,
            clock: &clock,
            randomness: &randomness,
        };
        let plain = "https://plain.example.com/";
        let told = ServerNonce::of(&answered("n1"));
        proving.note(HTU, told.clone());
        proving.note(plain, None);
        clock.advance(YOUNG_NONCE - Duration::from_secs(1));
        assert!(proving.is_fresh(HTU));
        clock.advance(Duration::from_secs(1));
        assert!(!proving.is_fresh(HTU));
        assert!(proving.is_fresh(plain));
        // The same one, said again: the server still takes it.
        proving.note(HTU, told);
        assert!(proving.is_fresh(HTU));
    }

    /// A14, RFC 9449 §4.2: an address without its query and fragment.
    #[test]
    fn an_address_is_named_without_its_query() {
        for (url, expected) in [
            (
                "https://id.example.com/token?x=1#y",
                "https://id.example.com/token",
            ),
            ("https://id.example.com:443", "https://id.example.com/"),
            ("http://127.0.0.1:9/a%2Fb", "http://127.0.0.1:9/a%2Fb"),
        ] {
            assert_eq!(htu(&Url::parse(url).unwrap()), expected);
        }
    }

    /// A14: the scheme is compared without case, and several challenges may stand in one field.
    #[test]
    fn a_refused_proof_is_told_from_a_refused_token() {
        use ProofRefusal::{Nonce, Proof};
        for (challenge, expected) in [
            ("DPoP error=\"use_dpop_nonce\", algs=\"ES256\"", Some(Nonce)),
            ("dpop error=use_dpop_nonce", Some(Nonce)),
            (
                "Bearer realm=\"a, b\", DPOP algs=\"ES256\", error=\"use_dpop_nonce\"",
                Some(Nonce),
            ),
            ("DPoP error=\"invalid_dpop_proof\"", Some(Proof)),
            ("DPoP error=\"invalid_token\", algs=\"ES256\"", None),
            ("Bearer error=\"use_dpop_nonce\"", None),
            ("DPoP algs=\"ES256\"", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            assert_eq!(ProofRefusal::of(&headers), expected, "{challenge}");
        }
    }
}
