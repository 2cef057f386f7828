//! Who calls, told to an upstream in a token of our own: the keys that sign it, and what it says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderName;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

/// How long a token is good for.
pub const LIFETIME: Duration = Duration::from_mins(1);

/// What a route tells its upstream of who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Whom it is for, where that is not the upstream's own origin.
    pub audience: Option<String>,
    /// The claims that it has, by their paths; `None` has those that the browser app sees.
    pub claims: Option<Vec<String>>,
    /// The header that it travels in.
    pub header: HeaderName,
}

/// The keys of a process: the first signs, and upstreams are told of all.
pub struct IdentityKeys {
    signing: EcdsaKeyPair,
    header: String,
    published: Bytes,
}

/// Why a key can sign nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holds no private key of P-256 in PEM")]
pub struct IdentityKeyFault;

impl IdentityKeys {
    /// Those in these PEM texts; `None` where there are none.
    ///
    /// # Errors
    ///
    /// The place of the first that cannot sign.
    pub fn read(pems: &[impl AsRef<str>]) -> Result<Option<Self>, (usize, IdentityKeyFault)> {
        let pairs = pems.iter().enumerate();
        let pairs: Result<Vec<_>, _> = pairs
            .map(|(at, pem)| key_pair(pem.as_ref()).ok_or((at, IdentityKeyFault)))
            .collect();
        Ok(Self::of(pairs?))
    }

    fn of(pairs: Vec<EcdsaKeyPair>) -> Option<Self> {
        let keys: Option<Vec<PublicKey>> = pairs.iter().map(public_key).collect();
        let keys = keys?;
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": keys.first()?.id });
        let published: Vec<Value> = keys.into_iter().map(|key| key.jwk).collect();
        Some(Self {
            signing: pairs.into_iter().next()?,
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            published: json!({ "keys": published }).to_string().into(),
        })
    }

    /// Those of a process that nobody gave any; `None` where no randomness is to be had.
    pub fn fresh() -> Option<Self> {
        Self::of([EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?].into())
    }

    /// A JWT of these claims; `None` where no randomness is to be had.
    pub fn sign(&self, claims: &Map<String, Value>) -> Option<String> {
        let claims = serde_json::to_vec(claims).ok()?;
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .signing
            .sign(&SystemRandom::new(), token.as_bytes())
            .ok()?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }

    /// The public keys as a key set (RFC 7517 §5).
    pub fn published(&self) -> Bytes {
        self.published.clone()
    }
}

/// The keys in use, which a reload replaces; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct KeysInUse(Arc<ArcSwapOption<IdentityKeys>>);

impl KeysInUse {
    /// Those of a configuration.
    pub fn new(keys: Option<Arc<IdentityKeys>>) -> Self {
        Self(Arc::new(ArcSwapOption::new(keys)))
    }

    /// From now on those of another.
    pub fn replace(&self, keys: Option<Arc<IdentityKeys>>) {
        self.0.store(keys);
    }

    /// Those of now.
    pub fn now(&self) -> Option<Arc<IdentityKeys>> {
        self.0.load_full()
    }
}

impl fmt::Debug for IdentityKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKeys(…)")
    }
}

fn key_pair(pem: &str) -> Option<EcdsaKeyPair> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der()).ok()
}

struct PublicKey {
    id: String,
    jwk: Value,
}

/// A public key as upstreams are told it, called by its thumbprint (RFC 7638 §3).
fn public_key(pair: &EcdsaKeyPair) -> Option<PublicKey> {
    // Uncompressed: 4, then both coordinates.
    let point = pair.public_key().as_ref().strip_prefix(&[4])?;
    let (x, y) = point.split_at_checked(32)?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "alg": "ES256", "use": "sig",
    });
    Some(PublicKey { id, jwk })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn pem() -> String {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        key.serialize_pem()
    }

    /// §8: the first key signs, all are published, each by its thumbprint.
    #[test]
    fn the_first_key_signs_and_all_are_published() {
        assert!(IdentityKeys::read(&[] as &[String]).unwrap().is_none());
        let pems = [pem(), pem()];
        let keys = IdentityKeys::read(&pems).unwrap().unwrap();
        let set: Value = serde_json::from_slice(&keys.published()).unwrap();
        let ids: Vec<&str> = (0..2)
            .map(|at| set["keys"][at]["kid"].as_str().unwrap())
            .collect();
        assert_ne!(ids[0], ids[1]);
        let token = keys.sign(&Map::new()).unwrap();
        let header = token.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        assert_eq!(header["kid"], ids[0]);
        assert_eq!(header["alg"], "ES256");
        let reversed = [pems[1].clone(), pems[0].clone()];
        let other = IdentityKeys::read(&reversed).unwrap().unwrap();
        let set: Value = serde_json::from_slice(&other.published()).unwrap();
        assert_eq!(set["keys"][0]["kid"], ids[1]);
    }

    /// §8: a key of another kind is told at the start.
    #[test]
    fn a_key_of_another_kind_is_none() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let p384 = p384.serialize_pem();
        for text in ["", "secret", p384.as_str()] {
            let pems = [pem(), text.to_owned()];
            let fault = IdentityKeys::read(&pems).unwrap_err();
            assert_eq!(fault, (1, IdentityKeyFault), "{text}");
        }
    }

    /// §8: what a token costs where none can be used again.
    #[test]
    #[ignore = "a figure, not a rule: cargo test --lib --release what_an_identity_costs -- --ignored --nocapture"]
    #[expect(
        clippy::disallowed_methods,
        reason = "a figure is taken by the clock on the wall"
    )]
    fn what_an_identity_costs() {
        let keys = IdentityKeys::read(&[pem()]).unwrap().unwrap();
        let Value::Object(claims) = json!({ "iss": "https://app.example", "sub": "alice" }) else {
            panic!()
        };
        let started = Instant::now();
        for _ in 0..1000 {
            std::hint::black_box(keys.sign(&claims).unwrap());
        }
        println!("{:?} a token", started.elapsed() / 1000);
    }
}
