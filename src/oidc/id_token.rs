//! The ID token's claims (OIDC Core §3.1.3.7, §12.2), every one checked by hand: D5 to D13, D18.
//! Its signature is left to `jws`.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::oidc::claims::{ClaimFault, Claims};
use crate::oidc::error::IdTokenFault;
use crate::oidc::grant::{GrantFacts, Identity};
use crate::oidc::jwks::Jwks;
use crate::oidc::jws::{self, Verified};
use crate::oidc::{ExpectedIdToken, IdTokenAlg, ProviderSettings};
use crate::secret::{AccessToken, IdToken};

/// The kinds that an ID token may say it is; a logout or access token says another (D5).
const TYP: &[&str] = &["JWT"];

/// A longer tolerance would let tokens live on after their end (D9).
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(5);

/// Claims that serve the protocol and say nothing of the user.
pub(super) const PROTOCOL_CLAIMS: [&str; 12] = [
    "iss", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "s_hash", "azp", "sid", "jti",
];

/// Verifies the signature of an ID token.
pub(super) async fn verify_signature(
    id_token: &IdToken,
    settings: &ProviderSettings,
    jwks: &Jwks,
) -> Result<Verified, IdTokenFault> {
    Ok(jws::verify(id_token.expose(), &settings.id_token_algs, TYP, jwks).await?)
}

/// Holds the claims of a token of the provider against what we expect of it.
pub(super) struct Verifier<'a> {
    pub(super) settings: &'a ProviderSettings,
    pub(super) now: Timestamp,
    /// The access token that came with it (D12).
    pub(super) access_token: &'a AccessToken,
}

impl Verifier<'_> {
    /// The identity in the ID token of a login, whose `scope` was granted.
    pub(super) fn login(
        &self,
        verified: &Verified,
        expected: &ExpectedIdToken<'_>,
        scope: &[String],
    ) -> Result<Identity, ClaimFault> {
        let claims = Claims(&verified.claims);
        let nonce = claims.text("nonce")?.ok_or(ClaimFault::Missing("nonce"))?;
        if !expected.nonce.matches(nonce) {
            return Err(ClaimFault::Value("nonce"));
        }
        let identity = self.identity(verified, scope)?;
        self.check_auth_time(identity.auth_time, expected.max_age)?;
        if !expected.essential_acr.is_empty() {
            let acr = identity.acr.as_ref().ok_or(ClaimFault::Missing("acr"))?;
            if !expected.essential_acr.contains(acr) {
                return Err(ClaimFault::Value("acr"));
            }
        }
        Ok(identity)
    }

    /// The identity in the ID token of a refresh, held against that of the login (D18).
    pub(super) fn refreshed(
        &self,
        verified: &Verified,
        granted: &GrantFacts,
    ) -> Result<Identity, ClaimFault> {
        let mut identity = self.identity(verified, &granted.scope)?;
        let facts = &identity.facts;
        let same = [
            ("iss", facts.iss == granted.iss),
            ("sub", facts.sub == granted.sub),
            ("aud", granted.aud.iter().all(|aud| facts.aud.contains(aud))),
            ("azp", facts.azp == granted.azp),
            ("iat", facts.iat >= granted.iat),
            (
                "auth_time",
                unchanged(facts.auth_time.as_ref(), granted.auth_time.as_ref()),
            ),
            (
                "nonce",
                unchanged(facts.nonce.as_ref(), granted.nonce.as_ref()),
            ),
        ];
        if let Some((name, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(ClaimFault::Value(name));
        }
        // What this token leaves unsaid still holds for the next.
        identity.auth_time = identity.auth_time.or(granted.auth_time);
        identity.facts = GrantFacts {
            iat: identity.facts.iat,
            ..granted.clone()
        };
        Ok(identity)
    }

    /// All that holds for every ID token, whatever it answers.
    fn identity(&self, verified: &Verified, scope: &[String]) -> Result<Identity, ClaimFault> {
        let claims = Claims(&verified.claims);
        if verified.claims.contains_key("events") {
            return Err(ClaimFault::Value("events"));
        }
        self.check_issuer(&claims)?;
        let (aud, azp) = self.audience(&claims)?;
        let iat = self.check_times(&claims, Expiry::Required)?;
        let sub = subject(&claims)?;
        check_at_hash(&claims, verified.alg, self.access_token)?;
        let auth_time = claims.date("auth_time")?;
        Ok(Identity {
            sub: sub.to_owned(),
            sid: claims.text("sid")?.map(str::to_owned),
            acr: claims.text("acr")?.map(str::to_owned),
            amr: methods(&verified.claims),
            auth_time,
            facts: GrantFacts {
                sub: sub.to_owned(),
                iss: self.settings.issuer.clone(),
                aud: aud.into_iter().map(str::to_owned).collect(),
                azp: azp.map(str::to_owned),
                auth_time,
                iat: iat.ok_or(ClaimFault::Missing("iat"))?,
                nonce: claims.text("nonce")?.map(hash),
                scope: scope.to_vec(),
            },
            claims: without_protocol_claims(&verified.claims),
        })
    }

    /// D6: `iss` is the issuer, byte for byte.
    pub(super) fn check_issuer(&self, claims: &Claims<'_>) -> Result<(), ClaimFault> {
        let iss = claims.text("iss")?.ok_or(ClaimFault::Missing("iss"))?;
        if iss == self.settings.issuer {
            Ok(())
        } else {
            Err(ClaimFault::Value("iss"))
        }
    }

    /// D7, D8: for us, and for nobody whom we do not trust; asked for by us.
    pub(super) fn audience<'c>(
        &self,
        claims: &Claims<'c>,
    ) -> Result<(Vec<&'c str>, Option<&'c str>), ClaimFault> {
        let us = self.settings.client_id.as_str();
        let audiences = claims.audiences()?;
        let trusted = |audience: &str| {
            let mut others = self.settings.trusted_audiences.iter();
            audience == us || others.any(|other| other == audience)
        };
        if !audiences.contains(&us) || !audiences.iter().all(|audience| trusted(audience)) {
            return Err(ClaimFault::Value("aud"));
        }
        let azp = claims.text("azp")?;
        match azp {
            None if audiences.len() > 1 => Err(ClaimFault::Missing("azp")),
            Some(azp) if azp != us => Err(ClaimFault::Value("azp")),
            _ => Ok((audiences, azp)),
        }
    }

    /// D9: issued, begun and not over, as far as two clocks can agree. Gives `iat`.
    pub(super) fn check_times(
        &self,
        claims: &Claims<'_>,
        expiry: Expiry,
    ) -> Result<Option<i64>, ClaimFault> {
        let (now, skew) = (self.now.unix_seconds(), self.skew());
        match (claims.date("exp")?, expiry) {
            (Some(exp), _) if exp <= now.saturating_sub(skew) => {
                return Err(ClaimFault::Value("exp"));
            }
            (None, Expiry::Required) => return Err(ClaimFault::Missing("exp")),
            (Some(_), _) | (None, Expiry::Optional) => {}
        }
        let iat = claims.date("iat")?;
        let latest = now.saturating_add(skew);
        for (name, date) in [("iat", iat), ("nbf", claims.date("nbf")?)] {
            if date.is_some_and(|date| date > latest) {
                return Err(ClaimFault::Value(name));
            }
        }
        Ok(iat)
    }

    /// D13: signed in recently enough. A `max_age` of the operator's own was sent in place of the
    /// login's, so it counts in its place.
    fn check_auth_time(
        &self,
        auth_time: Option<i64>,
        max_age: Option<u64>,
    ) -> Result<(), ClaimFault> {
        let mut own = self.settings.authorize_params.iter();
        let own = own.find(|(name, _)| name == "max_age");
        let own = own.and_then(|(_, seconds)| seconds.parse().ok());
        let Some(max_age) = own.or(max_age) else {
            return Ok(());
        };
        let auth_time = auth_time.ok_or(ClaimFault::Missing("auth_time"))?;
        let age = self.now.unix_seconds().saturating_sub(auth_time);
        let limit = i64::try_from(max_age).unwrap_or(i64::MAX);
        // In the future it says nothing of how long ago the user was there.
        if age > limit.saturating_add(self.skew()) || age < -self.skew() {
            return Err(ClaimFault::Value("auth_time"));
        }
        Ok(())
    }

    fn skew(&self) -> i64 {
        let skew = self.settings.clock_skew.min(MAX_CLOCK_SKEW);
        i64::try_from(skew.as_secs()).unwrap_or(0)
    }
}

/// Whether a token must say when it ends.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    Required,
    Optional,
}

/// D11: a non-empty string of at most 255 ASCII characters.
pub(super) fn subject<'a>(claims: &Claims<'a>) -> Result<&'a str, ClaimFault> {
    let sub = claims.text("sub")?.ok_or(ClaimFault::Missing("sub"))?;
    if sub.is_empty() || sub.len() > 255 || !sub.is_ascii() {
        return Err(ClaimFault::Value("sub"));
    }
    Ok(sub)
}

/// D12: the left half of the access token's hash, where it is there (OIDC Core §3.1.3.8).
fn check_at_hash(
    claims: &Claims<'_>,
    alg: IdTokenAlg,
    access_token: &AccessToken,
) -> Result<(), ClaimFault> {
    let Some(at_hash) = claims.text("at_hash")? else {
        return Ok(());
    };
    let hash = digest::digest(digest_of(alg), access_token.expose().as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    if at_hash == URL_SAFE_NO_PAD.encode(left) {
        Ok(())
    } else {
        Err(ClaimFault::Value("at_hash"))
    }
}

/// The hash that belongs to a signature algorithm; Ed25519 has SHA-512 inside.
fn digest_of(alg: IdTokenAlg) -> &'static digest::Algorithm {
    match alg {
        IdTokenAlg::Rs256 | IdTokenAlg::Ps256 | IdTokenAlg::Es256 => &digest::SHA256,
        IdTokenAlg::Rs384 | IdTokenAlg::Ps384 | IdTokenAlg::Es384 => &digest::SHA384,
        IdTokenAlg::Rs512 | IdTokenAlg::Ps512 | IdTokenAlg::EdDsa => &digest::SHA512,
    }
}

/// The nonce as it is kept: enough to compare, nothing to use.
fn hash(nonce: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, nonce.as_bytes()))
}

/// A claim that may be left out of a later token, but not changed. One that is new is no change.
fn unchanged<T: PartialEq>(now: Option<&T>, then: Option<&T>) -> bool {
    match (now, then) {
        (Some(now), Some(then)) => now == then,
        _ => true,
    }
}

/// `amr` (RFC 8176): an array of strings, which some providers write as one string.
fn methods(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("amr") {
        Some(Value::String(method)) => vec![method.clone()],
        Some(Value::Array(methods)) => methods
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// What the claims say of the user.
pub(super) fn without_protocol_claims(claims: &Map<String, Value>) -> Map<String, Value> {
    claims
        .iter()
        .filter(|(name, _)| !PROTOCOL_CLAIMS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
