//! What every token of the provider says of itself: from whom, for whom, from when until when (D6
//! to D9, D11). What it says beyond that is left to the file of each kind of token.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::oidc::ProviderSettings;
use crate::oidc::claims::{ClaimFault, Claims};

/// A longer tolerance would let tokens live on after their end (D9).
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(5);

/// Holds the envelope of a token against who the provider and we are.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) settings: &'a ProviderSettings,
    pub(super) now: Timestamp,
}

/// Whether a token must say when it ends.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    Required,
    Optional,
}

impl Envelope<'_> {
    /// D6: `iss` is the issuer, byte for byte.
    pub(super) fn check_issuer(&self, claims: &Claims<'_>) -> Result<(), ClaimFault> {
        let iss = claims.text("iss")?.ok_or(ClaimFault::Missing("iss"))?;
        if iss == self.settings.issuer {
            Ok(())
        } else {
            Err(ClaimFault::Value("iss"))
        }
    }

    /// D7: for us, and for nobody whom we do not trust.
    pub(super) fn audience<'c>(&self, claims: &Claims<'c>) -> Result<Vec<&'c str>, ClaimFault> {
        let us = self.settings.client_id.as_str();
        let audiences = claims.audiences()?;
        let trusted = |audience: &str| {
            let mut others = self.settings.trusted_audiences.iter();
            audience == us || others.any(|other| other == audience)
        };
        if !audiences.contains(&us) || !audiences.iter().all(|audience| trusted(audience)) {
            return Err(ClaimFault::Value("aud"));
        }
        Ok(audiences)
    }

    /// D8: asked for by us, as it must say where it is not for us alone.
    pub(super) fn authorized_party<'c>(
        &self,
        claims: &Claims<'c>,
        audience: &[&str],
    ) -> Result<Option<&'c str>, ClaimFault> {
        match claims.text("azp")? {
            None if audience.len() > 1 => Err(ClaimFault::Missing("azp")),
            Some(azp) if azp != self.settings.client_id => Err(ClaimFault::Value("azp")),
            azp => Ok(azp),
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

    /// How far two clocks may be apart, in seconds.
    pub(super) fn skew(&self) -> i64 {
        let skew = self.settings.clock_skew.min(MAX_CLOCK_SKEW);
        i64::try_from(skew.as_secs()).unwrap_or(0)
    }
}

/// D11: a non-empty string of at most 255 ASCII characters.
pub(super) fn subject<'a>(claims: &Claims<'a>) -> Result<&'a str, ClaimFault> {
    let sub = claims.text("sub")?.ok_or(ClaimFault::Missing("sub"))?;
    if sub.is_empty() || sub.len() > 255 || !sub.is_ascii() {
        return Err(ClaimFault::Value("sub"));
    }
    Ok(sub)
}
