//! The logout token (OIDC Back-Channel Logout 1.0 §2.4, §2.6), by which the provider says that a
//! session there has ended: E8, and E9 but for the memory of what was seen, which is the caller's.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::oidc::IdTokenAlg;
use crate::oidc::claims::{ClaimFault, Claims};
use crate::oidc::envelope::{Envelope, Expiry, subject};
use crate::oidc::jwks::Jwks;
use crate::oidc::jws::{self, Expected};
use crate::oidc::key_fetches::Source;
use crate::oidc::untrusted::LogoutTokenError;

/// The member of `events` that makes it a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The kind that a logout token should say it is (§2.4).
const TYP: &str = "logout+jwt";

/// Seconds after which a token is a replay, or was lost on the way for too long (E9).
const MAX_AGE: i64 = 300;

/// Seconds that a token lives that does not say so itself.
const AGE_WITHOUT_EXP: i64 = 120;

/// How closely a provider must keep to the specification; the defaults take what providers send.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogoutTokenRules {
    /// Whether `typ` must stand there as `logout+jwt`. Else it may be `JWT` or missing.
    pub typ_required: bool,
    /// Whether `exp` may be missing, as it could in drafts of the specification: two minutes from
    /// `iat` then stand for it.
    pub exp_optional: bool,
}

/// What a verified logout token says: these sessions have ended at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// The issuer, which is that of the settings.
    pub iss: String,
    /// Whose sessions. Where `sid` is there too, that one must belong to this user (E10).
    pub sub: Option<String>,
    /// Which session at the provider. `sub` or `sid` is there, or both.
    pub sid: Option<String>,
    /// The token's own name: it is good once (E9).
    pub jti: String,
    /// When it was made: a session that began later is none of its business.
    pub issued_at: Timestamp,
    /// From here on the token is refused for its age, so that its `jti` may be forgotten.
    pub forget_replays_after: Timestamp,
}

/// Verifies signature and claims of `text`, short of whether its `jti` was seen before.
pub(super) async fn verify(
    text: &str,
    envelope: Envelope<'_>,
    algs: &[IdTokenAlg],
    jwks: &Jwks,
) -> Result<LogoutToken, LogoutTokenError> {
    let typ_required = envelope.settings.logout_tokens.typ_required;
    let expected = Expected {
        algs,
        typ: if typ_required { &[TYP] } else { &[TYP, "JWT"] },
        typ_optional: !typ_required,
        source: Source::Stranger,
    };
    let verified = jws::verify(text, expected, jwks).await?;
    Ok(read(&verified.claims, envelope)?)
}

/// What the claims of a token with a good signature say.
pub(super) fn read(
    claims: &Map<String, Value>,
    envelope: Envelope<'_>,
) -> Result<LogoutToken, ClaimFault> {
    let claims = Claims(claims);
    check_kind(&claims)?;
    envelope.check_issuer(&claims)?;
    let audience = envelope.audience(&claims)?;
    // No claim of a logout token (§2.4), so a provider may leave it out whatever the audience.
    if claims.get("azp").is_some() {
        envelope.authorized_party(&claims, &audience)?;
    }
    let (issued_at, forget_replays_after) = lifetime(&claims, envelope)?;
    let sub = if claims.get("sub").is_some() {
        Some(subject(&claims)?.to_owned())
    } else {
        None
    };
    let sid = non_empty(&claims, "sid")?;
    if sub.is_none() && sid.is_none() {
        return Err(ClaimFault::Missing("sid"));
    }
    Ok(LogoutToken {
        iss: envelope.settings.issuer.clone(),
        sub,
        sid,
        jti: non_empty(&claims, "jti")?.ok_or(ClaimFault::Missing("jti"))?,
        issued_at,
        forget_replays_after,
    })
}

/// E8: about this event, and nothing that could be taken for a sign-in.
fn check_kind(claims: &Claims<'_>) -> Result<(), ClaimFault> {
    match claims.get("events") {
        None => return Err(ClaimFault::Missing("events")),
        Some(Value::Object(events)) if events.get(EVENT).is_some_and(Value::is_object) => {}
        Some(Value::Object(_)) => return Err(ClaimFault::Value("events")),
        Some(_) => return Err(ClaimFault::Type("events")),
    }
    // "A nonce Claim MUST NOT be present" (§2.4). One that is null is not: an ID token of ours, which
    // this keeps from being taken for a logout, always has one.
    if claims.get("nonce").is_some() {
        return Err(ClaimFault::Value("nonce"));
    }
    Ok(())
}

/// When it was made, and from when on it is refused (D9, E9).
fn lifetime(
    claims: &Claims<'_>,
    envelope: Envelope<'_>,
) -> Result<(Timestamp, Timestamp), ClaimFault> {
    let expiry = if envelope.settings.logout_tokens.exp_optional {
        Expiry::Optional
    } else {
        Expiry::Required
    };
    let iat = envelope.check_times(claims, expiry)?;
    let iat = iat.ok_or(ClaimFault::Missing("iat"))?;
    let over = match claims.date("exp")? {
        Some(exp) => exp,
        None => iat.saturating_add(AGE_WITHOUT_EXP),
    };
    let refused_from = over
        .saturating_add(envelope.skew())
        // A far `exp` must not make us remember for long. No skew: the age is ours to choose.
        .min(iat.saturating_add(MAX_AGE + 1));
    if envelope.now.unix_seconds() >= refused_from {
        return Err(ClaimFault::Value("iat"));
    }
    Ok((
        Timestamp::from_unix_seconds(iat),
        Timestamp::from_unix_seconds(refused_from),
    ))
}

/// A string with something in it, where the claim is there.
fn non_empty(claims: &Claims<'_>, name: &'static str) -> Result<Option<String>, ClaimFault> {
    match claims.text(name)? {
        Some("") => Err(ClaimFault::Value(name)),
        text => Ok(text.map(str::to_owned)),
    }
}
