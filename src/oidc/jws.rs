//! The signature of a token of the provider (RFC 7515, RFC 8725). What the claims must say is left
//! to the file of each kind of token.
//!
//! The header is read by hand, since nothing in it may choose a key or an algorithm: `jwk`, `jku`,
//! `x5u` and `x5c` are never looked at (D4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::oidc::IdTokenAlg;
use crate::oidc::error::{ProviderError, Unavailable};
use crate::oidc::jwks::{FetchedBy, Jwks, KeySet, NoKeys};
use crate::oidc::key_fetches::Source;

/// What is wrong with a signed token, short of its claims.
#[derive(Debug, thiserror::Error)]
pub enum JwsFault {
    /// Not three parts of base64url, or no JSON object in them.
    #[error("it is not a signed JSON object")]
    Malformed,
    /// An algorithm that may be allowed, and is not (D1).
    #[error("it is signed with {}, which provider.id_token_algs does not list", .0.name())]
    OtherAlg(IdTokenAlg),
    /// An algorithm that is never allowed, or none (D1).
    #[error("its algorithm is none that may be allowed; let the provider sign with RS256")]
    Alg,
    /// A token of another kind (D5), or of no kind where it must say one (E8).
    #[error("its `typ` is not that of this kind of token")]
    Typ,
    /// An extension that we do not know and may not ignore (D4).
    #[error("it has a critical extension")]
    Crit,
    /// The signature is not that of the key, also after asking again: a provider may have put a new
    /// key under an old `kid` (D15).
    #[error("its signature does not verify")]
    Signature,
    /// No key of the provider made it, also after asking again (D15).
    #[error("no key of the provider made it")]
    UnknownKey,
    /// No key is known to have made it, and too many asked of late (D16).
    #[error("no key is known to have made it, and keys were fetched too often of late")]
    Throttled,
    /// The keys could not be fetched.
    #[error("the provider's keys cannot be had")]
    NoKeys(#[source] ProviderError),
}

impl JwsFault {
    /// Whether the token may yet be good: we could not look.
    pub(super) const fn could_not_look(&self) -> bool {
        matches!(self, Self::Throttled | Self::NoKeys(_))
    }

    /// That the keys cannot be had now, where that is what is wrong: it passes by itself.
    pub(super) fn or_unavailable(self) -> Result<ProviderError, Self> {
        match self {
            Self::NoKeys(error) => Ok(error),
            Self::Throttled => Ok(Unavailable::KeysThrottled.into()),
            fault => Err(fault),
        }
    }
}

impl From<NoKeys> for JwsFault {
    fn from(no_keys: NoKeys) -> Self {
        match no_keys {
            NoKeys::Throttled => Self::Throttled,
            NoKeys::Failed(error) => Self::NoKeys(error),
        }
    }
}

/// What a token must be, chosen before anything of it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The algorithms it may be signed with (D1).
    pub(super) algs: &'a [IdTokenAlg],
    /// The kinds that may stand in `typ` (D5).
    pub(super) typ: &'a [&'a str],
    /// Whether `typ` may be left out.
    pub(super) typ_optional: bool,
    /// Where it came from.
    pub(super) source: Source,
}

/// A token whose signature one of the provider's keys made.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) alg: IdTokenAlg,
    pub(super) claims: Map<String, Value>,
}

/// Verifies the signature of `token` against the provider's keys; asks for newer ones once where
/// none made it (D2, D14, D15).
pub(super) async fn verify(
    token: &str,
    expected: Expected<'_>,
    jwks: &Jwks,
) -> Result<Verified, JwsFault> {
    let jws = Jws::parse(token, expected)?;
    let keys = jwks.keys(expected.source).await?;
    match jws.verify_with(&keys) {
        // A signature that does not verify under a `kid` that we know may be of a new key under an
        // old name.
        Err(JwsFault::UnknownKey | JwsFault::Signature) if jws.may_be_signed() => {}
        verdict => return verdict,
    }
    let kid = jws.kid.as_deref();
    let newer = jwks.newer_than(&keys, expected.source, kid).await?;
    let verdict = jws.verify_with(&newer.keys);
    let in_vain = matches!(verdict, Err(JwsFault::UnknownKey | JwsFault::Signature));
    if in_vain && newer.by == FetchedBy::Us {
        jwks.looked_in_vain(expected.source, kid);
    }
    verdict
}

/// A token in parts, its header checked, its signature not yet.
#[derive(Debug)]
struct Jws<'a> {
    alg: IdTokenAlg,
    kid: Option<String>,
    /// Header and payload as they were signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    fn parse(token: &'a str, expected: Expected<'_>) -> Result<Self, JwsFault> {
        let (message, signature) = token.rsplit_once('.').ok_or(JwsFault::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(JwsFault::Malformed)?;
        if payload.contains('.') {
            return Err(JwsFault::Malformed);
        }
        let header = object(header)?;
        let alg = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(IdTokenAlg::from_header)
            .ok_or(JwsFault::Alg)?;
        if !expected.algs.contains(&alg) {
            return Err(JwsFault::OtherAlg(alg));
        }
        let typ_fits = match header.get("typ") {
            None | Some(Value::Null) => expected.typ_optional,
            Some(Value::String(said)) => {
                let mut kinds = expected.typ.iter();
                kinds.any(|kind| said.eq_ignore_ascii_case(kind))
            }
            Some(_) => false,
        };
        if !typ_fits {
            return Err(JwsFault::Typ);
        }
        // We know no extension, so every critical one is unknown (RFC 7515 §4.1.11).
        let unencoded = header
            .get("b64")
            .is_some_and(|b64| *b64 != Value::Bool(true));
        if header.contains_key("crit") || unencoded {
            return Err(JwsFault::Crit);
        }
        let kid = match header.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(JwsFault::Malformed),
        };
        Ok(Self {
            alg,
            kid,
            message,
            payload,
            signature,
        })
    }

    /// Whether there is a signature at all, which some key may have made.
    fn may_be_signed(&self) -> bool {
        URL_SAFE_NO_PAD
            .decode(self.signature)
            .is_ok_and(|signature| !signature.is_empty())
    }

    fn verify_with(&self, keys: &KeySet) -> Result<Verified, JwsFault> {
        let mut candidates = keys.candidates(self.alg, self.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err(JwsFault::UnknownKey);
        }
        let made_it = candidates.any(|key| key.made(self.signature, self.message, self.alg));
        match (made_it, &self.kid) {
            (true, _) => Ok(Verified {
                alg: self.alg,
                claims: object(self.payload)?,
            }),
            (false, Some(_)) => Err(JwsFault::Signature),
            // A provider that names no keys may have changed them.
            (false, None) => Err(JwsFault::UnknownKey),
        }
    }
}

impl IdTokenAlg {
    /// The algorithm that a header or a key names. `Ed25519` is the newer name of what we know of
    /// `EdDSA` (RFC 9864).
    pub(super) fn from_header(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL
            .into_iter()
            .find_map(|(alg, known)| (known == name).then_some(alg))
    }

    /// The name in a header.
    fn name(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find_map(|(alg, name)| (alg == self).then_some(name))
            .unwrap_or_default()
    }
}

fn object(part: &str) -> Result<Map<String, Value>, JwsFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwsFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwsFault::Malformed)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::oidc::tests::SigningKey;

    fn keys(keys: &[&SigningKey]) -> KeySet {
        let jwks: Vec<_> = keys.iter().map(|key| key.jwk.clone()).collect();
        let document = Map::from_iter([("keys".to_owned(), json!(jwks))]);
        KeySet::parse(&document, Timestamp::from_unix_seconds(0)).unwrap()
    }

    fn expected(algs: &[IdTokenAlg]) -> Expected<'_> {
        Expected {
            algs,
            typ: &["JWT"],
            typ_optional: true,
            source: Source::Provider,
        }
    }

    fn check(token: &str, allowed: &[IdTokenAlg], keys: &KeySet) -> &'static str {
        let verdict = Jws::parse(token, expected(allowed)).and_then(|jws| jws.verify_with(keys));
        match verdict {
            Ok(_) => "ok",
            Err(JwsFault::Malformed) => "malformed",
            Err(JwsFault::Alg | JwsFault::OtherAlg(_)) => "alg",
            Err(JwsFault::Typ) => "typ",
            Err(JwsFault::Crit) => "crit",
            Err(JwsFault::Signature) => "signature",
            Err(JwsFault::UnknownKey) => "unknown key",
            Err(JwsFault::Throttled | JwsFault::NoKeys(_)) => "could not look",
        }
    }

    /// D1, D4, D5: the header chooses neither algorithm nor key nor kind.
    #[test]
    fn the_header_decides_nothing() {
        let key = SigningKey::es256("k");
        let stranger = SigningKey::es256("k");
        let keys = keys(&[&key]);
        let cases = [
            ("plain", json!({}), "ok"),
            ("typ JWT", json!({"typ": "JWT"}), "ok"),
            ("typ jwt", json!({"typ": "jwt"}), "ok"),
            ("typ at+jwt", json!({"typ": "at+jwt"}), "typ"),
            ("typ logout+jwt", json!({"typ": "logout+jwt"}), "typ"),
            ("typ dpop+jwt", json!({"typ": "dpop+jwt"}), "typ"),
            (
                "typ oauth-authz-req+jwt",
                json!({"typ": "oauth-authz-req+jwt"}),
                "typ",
            ),
            (
                "typ client-authentication+jwt",
                json!({"typ": "client-authentication+jwt"}),
                "typ",
            ),
            ("typ secevent+jwt", json!({"typ": "secevent+jwt"}), "typ"),
            ("typ null", json!({"typ": null}), "ok"),
            ("typ number", json!({"typ": 1}), "typ"),
            ("alg none", json!({"alg": "none"}), "alg"),
            ("alg None", json!({"alg": "None"}), "alg"),
            ("alg empty", json!({"alg": ""}), "alg"),
            ("alg null", json!({"alg": null}), "alg"),
            ("alg HS256", json!({"alg": "HS256"}), "alg"),
            ("alg not allowed", json!({"alg": "ES384"}), "alg"),
            ("alg in other case", json!({"alg": "es256"}), "alg"),
            ("crit", json!({"crit": ["exp"], "exp": 1}), "crit"),
            ("crit empty", json!({"crit": []}), "crit"),
            ("crit b64", json!({"crit": ["b64"], "b64": false}), "crit"),
            ("b64 false", json!({"b64": false}), "crit"),
            ("b64 null", json!({"b64": null}), "crit"),
            ("kid null", json!({"kid": null}), "ok"),
            ("kid number", json!({"kid": 1}), "malformed"),
            ("kid of nobody", json!({"kid": "other"}), "unknown key"),
            ("its own jwk", json!({"jwk": stranger.jwk}), "ok"),
            (
                "jku, x5u, x5c",
                json!({"jku": "https://evil.example", "x5u": 1, "x5c": {}}),
                "ok",
            ),
        ];
        for (name, extra, expected) in cases {
            let mut header = key.header();
            header
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            let token = key.sign_with(&header, &json!({}));
            assert_eq!(
                check(&token, &[IdTokenAlg::Es256], &keys),
                expected,
                "{name}"
            );
        }
        let mut header = stranger.header();
        header["jwk"] = stranger.jwk.clone();
        let token = stranger.sign_with(&header, &json!({}));
        assert_eq!(
            check(&token, &[IdTokenAlg::Es256], &keys),
            "signature",
            "a key of its own"
        );
    }

    /// D2: every part is covered by the signature, and nothing but three parts of base64url passes.
    #[test]
    fn every_part_is_verified() {
        let key = SigningKey::es256("k");
        let other = key.sign(&json!({"sub": "bob"}));
        let token = key.sign(&json!({"sub": "alice"}));
        let parts: Vec<&str> = token.split('.').collect();
        let others: Vec<&str> = other.split('.').collect();
        let (header, payload, signature) = (parts[0], parts[1], parts[2]);
        let cases = [
            ("whole", token.clone(), "ok"),
            (
                "another payload",
                format!("{header}.{}.{signature}", others[1]),
                "signature",
            ),
            (
                "another signature",
                format!("{header}.{payload}.{}", others[2]),
                "signature",
            ),
            ("no signature", format!("{header}.{payload}."), "signature"),
            (
                "signature no base64",
                format!("{header}.{payload}.!!"),
                "signature",
            ),
            ("two parts", format!("{header}.{payload}"), "malformed"),
            ("four parts", format!("{token}.x"), "malformed"),
            ("five parts", format!("{token}.x.y"), "malformed"),
            ("a space", format!(" {token}"), "malformed"),
            (
                "padding",
                format!("{header}=.{payload}.{signature}"),
                "malformed",
            ),
            ("empty", String::new(), "malformed"),
            ("dots", "..".to_owned(), "malformed"),
            (
                "header an array",
                key.sign_with(&json!([]), &json!({})),
                "malformed",
            ),
            ("payload an array", key.sign(&json!(["sub"])), "malformed"),
        ];
        for (name, token, expected) in cases {
            assert_eq!(
                check(&token, &[IdTokenAlg::Es256], &keys(&[&key])),
                expected,
                "{name}"
            );
        }
    }

    /// D1: each algorithm verifies with its own kind of key, and only where it is allowed.
    #[test]
    fn each_algorithm_verifies() {
        let rsa = |alg| SigningKey::rsa("k", alg);
        let cases = [
            (SigningKey::es256("k"), IdTokenAlg::Es256),
            (SigningKey::es384("k"), IdTokenAlg::Es384),
            (SigningKey::es512("k"), IdTokenAlg::Es512),
            (SigningKey::ed25519("k"), IdTokenAlg::EdDsa),
            (rsa(Algorithm::RS256), IdTokenAlg::Rs256),
            (rsa(Algorithm::RS384), IdTokenAlg::Rs384),
            (rsa(Algorithm::RS512), IdTokenAlg::Rs512),
            (rsa(Algorithm::PS256), IdTokenAlg::Ps256),
            (rsa(Algorithm::PS384), IdTokenAlg::Ps384),
            (rsa(Algorithm::PS512), IdTokenAlg::Ps512),
        ];
        for (key, alg) in cases {
            let token = key.sign(&json!({}));
            assert_eq!(check(&token, &[alg], &keys(&[&key])), "ok", "{alg:?}");
            let others: Vec<_> = IdTokenAlg::ALL.map(|(other, _)| other).to_vec();
            let others: Vec<_> = others.into_iter().filter(|other| *other != alg).collect();
            assert_eq!(check(&token, &others, &keys(&[&key])), "alg", "{alg:?}");
        }
    }

    /// D3: the public key of the provider is no HMAC key, however the token asks for it.
    #[test]
    fn a_public_key_is_no_hmac_key() {
        let key = SigningKey::rsa("k", Algorithm::RS256);
        let message = key.sign_with(&json!({"alg": "HS256", "kid": "k"}), &json!({}));
        let (message, _) = message.rsplit_once('.').unwrap();
        let hmac = EncodingKey::from_secret(key.jwk["n"].as_str().unwrap().as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &hmac, Algorithm::HS256).unwrap();
        let token = format!("{message}.{signature}");
        assert_eq!(check(&token, &[IdTokenAlg::Rs256], &keys(&[&key])), "alg");
    }

    /// D14: without a kid, those that fit are tried; of the same kid, both are.
    #[test]
    fn several_keys_are_tried() {
        let fitting = [
            SigningKey::es256("a"),
            SigningKey::es256("a"),
            SigningKey::es256("b"),
        ];
        let others = [SigningKey::ed25519("a"), SigningKey::es384("a")];
        let all: Vec<_> = others.iter().chain(&fitting).collect();
        let allowed = [IdTokenAlg::Es256];
        for key in &fitting {
            let token = key.sign_with(&json!({"alg": "ES256"}), &json!({}));
            assert_eq!(check(&token, &allowed, &keys(&all)), "ok");
            assert_eq!(check(&key.sign(&json!({})), &allowed, &keys(&all)), "ok");
        }
        let stranger = SigningKey::es256("a");
        let token = stranger.sign_with(&json!({"alg": "ES256"}), &json!({}));
        assert_eq!(check(&token, &allowed, &keys(&all)), "unknown key");
        assert_eq!(
            check(&stranger.sign(&json!({})), &allowed, &keys(&all)),
            "signature"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// No bytes that a browser or a provider sends make it panic.
        #[test]
        fn no_token_panics(token in "[ -~]{0,40}(\\.[ -~]{0,40}){0,4}", header in "\\PC{0,60}") {
            let whole = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
            for token in [token, whole] {
                prop_assert!(Jws::parse(&token, expected(&[IdTokenAlg::Es256])).is_err());
            }
        }
    }
}
