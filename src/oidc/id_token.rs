//! The ID token's claims (OIDC Core §3.1.3.7, §12.2), every one checked by hand: D5 to D13, D18.
//! Its signature is left to `jws`, what it has in common with other tokens to `envelope`.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::oidc::IdTokenAlg;
use crate::oidc::claims::{ClaimFault, Claims, END_OF_9999};
use crate::oidc::envelope::{Envelope, Expiry, subject};
use crate::oidc::grant::{GrantFacts, Identity};
use crate::oidc::jwks::Jwks;
use crate::oidc::jws::{self, Expected, Verified};
use crate::oidc::key_fetches::Source;
use crate::oidc::untrusted::IdTokenFault;
use crate::secret::{AccessToken, IdToken, Nonce};

/// The kinds that an ID token may say it is; a logout or access token says another (D5).
const TYP: &[&str] = &["JWT"];

/// Claims that serve the protocol and say nothing of the user.
pub(super) const PROTOCOL_CLAIMS: [&str; 12] = [
    "iss", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "s_hash", "azp", "sid", "jti",
];

/// When the user's session at the provider ends.
pub(super) const SESSION_EXPIRY: &str = "session_expiry";

/// Seconds that a provider's own dates may be apart: it rounds them, and its nodes differ.
const LEEWAY: i64 = 5;

/// What the ID token of one login must say.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedIdToken<'a> {
    /// The nonce that was sent.
    pub nonce: &'a Nonce,
    /// When the login began.
    pub begun: Timestamp,
    /// The `max_age` that was sent, in seconds (D13).
    pub max_age: Option<u64>,
    /// One of these must be the `acr`, where there are any (D13).
    pub essential_acr: &'a [String],
}

/// Verifies the signature of an ID token.
pub(super) async fn verify_signature(
    id_token: &IdToken,
    algs: &[IdTokenAlg],
    jwks: &Jwks,
) -> Result<Verified, IdTokenFault> {
    let expected = Expected {
        algs,
        typ: TYP,
        typ_optional: true,
        source: Source::Provider,
    };
    Ok(jws::verify(id_token.expose(), expected, jwks).await?)
}

/// The claim by which an ID token is about another login than `granted`, whether or not its
/// signature holds: a doubt about the signature must not hide that it is somebody else's (D18).
/// What cannot be read says nothing.
pub(super) fn about_another(id_token: &IdToken, granted: &GrantFacts) -> Option<&'static str> {
    let claims = unverified_claims(id_token)?;
    let says_another = |name: &str, known: &str| {
        let said = claims.get(name).and_then(Value::as_str);
        said.is_some_and(|said| !said.is_empty() && said != known)
    };
    [("iss", &granted.iss), ("sub", &granted.sub)]
        .into_iter()
        .find_map(|(name, known)| says_another(name, known).then_some(name))
}

/// A claim of an ID token that was verified when it came, where it is a text.
pub(super) fn text_claim(id_token: &IdToken, name: &str) -> Option<String> {
    let claims = unverified_claims(id_token)?;
    Some(claims.get(name)?.as_str()?.to_owned())
}

fn unverified_claims(id_token: &IdToken) -> Option<Map<String, Value>> {
    let payload = id_token.expose().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Holds the claims of an ID token against what we expect of it.
pub(super) struct Verifier<'a> {
    pub(super) envelope: Envelope<'a>,
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
        self.check_auth_time(&claims, identity.facts.iat, expected)?;
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
        if claims.get("events").is_some() {
            return Err(ClaimFault::Value("events"));
        }
        self.envelope.check_issuer(&claims)?;
        let aud = self.envelope.audience(&claims)?;
        let azp = self.envelope.authorized_party(&claims, &aud)?;
        let iat = self.envelope.check_times(&claims, Expiry::Required)?;
        let sub = subject(&claims)?;
        check_at_hash(&claims, verified.alg, self.access_token)?;
        // Where nobody asked for it, one that says nothing condemns no login.
        let auth_time = auth_time(&claims).unwrap_or_default();
        Ok(Identity {
            sub: sub.to_owned(),
            sid: claims.text("sid")?.map(str::to_owned),
            acr: claims.text("acr")?.map(str::to_owned),
            amr: methods(&verified.claims),
            auth_time,
            session_expiry: session_expiry(&claims, self.envelope.now),
            facts: GrantFacts {
                sub: sub.to_owned(),
                iss: self.envelope.settings.issuer.clone(),
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

    /// D13: recently enough signed in when the login began. A `max_age` of the operator's own was
    /// sent in place of the login's, so it counts in its place.
    ///
    /// The provider's two dates are told by one clock, so they are held against each other: how far
    /// our clock may be off is more than a short `max_age`.
    fn check_auth_time(
        &self,
        claims: &Claims<'_>,
        iat: i64,
        expected: &ExpectedIdToken<'_>,
    ) -> Result<(), ClaimFault> {
        let mut own = self.envelope.settings.authorize_params.iter();
        let own = own.find(|(name, _)| name == "max_age");
        let own = own.and_then(|(_, seconds)| seconds.parse().ok());
        let Some(max_age) = own.or(expected.max_age) else {
            return Ok(());
        };
        let auth_time = auth_time(claims)?.ok_or(ClaimFault::Missing("auth_time"))?;
        let (now, skew) = (self.envelope.now, self.envelope.skew());
        let under_way = i64::try_from(now.since(expected.begun).as_secs()).unwrap_or(i64::MAX);
        let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
        let limit = max_age.saturating_add(under_way);
        let age_here = now.unix_seconds().saturating_sub(auth_time);
        let age_there = iat.saturating_sub(auth_time);
        let is_old = age_here > limit.saturating_add(skew)
            || age_there > limit.saturating_add(skew.min(max_age).max(LEEWAY));
        // In the future it says nothing of how long ago the user was there.
        if is_old || age_here < -skew {
            return Err(ClaimFault::Value("auth_time"));
        }
        Ok(())
    }
}

/// `auth_time`, where it is a date. Some providers write milliseconds, or 0 for "not known": what is
/// no moment of an age that clocks can show is none.
fn auth_time(claims: &Claims<'_>) -> Result<Option<i64>, ClaimFault> {
    match claims.date("auth_time")? {
        Some(seconds) if !(1..=END_OF_9999).contains(&seconds) => {
            Err(ClaimFault::Value("auth_time"))
        }
        date => Ok(date),
    }
}

/// `session_expiry`, where it is a moment to come.
fn session_expiry(claims: &Claims<'_>, now: Timestamp) -> Option<i64> {
    let said = claims.date(SESSION_EXPIRY).ok()??;
    (now.unix_seconds() < said && said <= END_OF_9999).then_some(said)
}

/// Whether the ID token has an `auth_time` that is no date, and so was left out.
pub(super) fn auth_time_is_odd(verified: &Verified) -> bool {
    auth_time(&Claims(&verified.claims)).is_err()
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
        IdTokenAlg::Rs512 | IdTokenAlg::Ps512 | IdTokenAlg::Es512 | IdTokenAlg::EdDsa => {
            &digest::SHA512
        }
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
