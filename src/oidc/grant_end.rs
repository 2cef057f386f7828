//! When a refresh token ends by itself, in the spellings that providers have for it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::oidc::claims::END_OF_9999;

/// How many seconds more: as Entra ID B2C, Google, GitHub and Apigee write it, as Keycloak does, as Intuit does, and
/// for how long it may lie unused and the user's consent lasts (draft-ietf-oauth-refresh-token-expiration).
const SPANS: [&str; 5] = [
    "refresh_token_expires_in",
    "refresh_expires_in",
    "x_refresh_token_expires_in",
    "refresh_token_timeout",
    "authorization_expires_in",
];

/// Until which second since the epoch.
const DATES: [&str; 2] = ["refresh_token_expires_at", "refresh_expires_at"];

/// A span longer than this is a mistake in units (ten years, in seconds).
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

/// When a refresh token ends, as one token answer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEnd {
    /// It does not say.
    Unsaid,
    /// Not by itself: Keycloak writes 0 for its offline sessions, and Apigee for what lasts.
    Never,
    /// Then.
    At(Timestamp),
}

/// What an answer says of it; the earliest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    span: Option<Duration>,
    date: Option<i64>,
    never: bool,
    /// A member that says nothing that could be meant.
    odd: Option<&'static str>,
}

impl Told {
    /// Reads an answer. Numbers may be written as text.
    pub(super) fn read(body: &Map<String, Value>) -> Self {
        let mut told = Self::default();
        for (name, value) in members(body, &SPANS) {
            match seconds(value) {
                Some(0) => told.never = true,
                Some(span) => {
                    let span = Duration::from_secs(span.min(LONGEST));
                    told.span = Some(told.span.map_or(span, |other| other.min(span)));
                }
                None => told.odd = Some(name),
            }
        }
        for (name, value) in members(body, &DATES) {
            match seconds(value).map(i64::try_from) {
                Some(Ok(0)) => told.never = true,
                Some(Ok(date)) if date <= END_OF_9999 => {
                    told.date = Some(told.date.map_or(date, |other| other.min(date)));
                }
                _ => told.odd = Some(name),
            }
        }
        told
    }

    /// What it comes to at `now`, and the member that is left out since it makes no sense: a moment that is over
    /// already is no end of what has just begun.
    pub(super) fn at(self, now: Timestamp) -> (GrantEnd, Option<&'static str>) {
        let date = self.date.map(Timestamp::from_unix_seconds);
        let (date, odd) = match date {
            Some(date) if date <= now => (None, Some("refresh_token_expires_at")),
            date => (date, self.odd),
        };
        let ends = self.span.map(|span| now + span).into_iter().chain(date);
        let end = match ends.min() {
            Some(end) => GrantEnd::At(end),
            None if self.never => GrantEnd::Never,
            None => GrantEnd::Unsaid,
        };
        (end, odd)
    }
}

fn members<'a>(
    body: &'a Map<String, Value>,
    names: &'a [&'static str],
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    let said = names.iter().map(|name| (*name, body.get(*name)));
    said.filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_null())?)))
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let seconds = Duration::try_from_secs_f64(number.as_f64()?).ok()?;
            Some(seconds.as_secs())
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// DESIGN §8: every spelling, the earliest of several, and no nonsense.
    #[test]
    fn the_end_of_a_grant_is_read_in_every_spelling() {
        let now = Timestamp::from_unix_seconds(1_795_251_600);
        let after = |seconds| GrantEnd::At(now + Duration::from_secs(seconds));
        let plain = [
            (json!({}), GrantEnd::Unsaid),
            (json!({"refresh_expires_in": null}), GrantEnd::Unsaid),
            (json!({"refresh_token_expires_in": 60}), after(60)),
            (json!({"refresh_expires_in": 1800}), after(1800)),
            (json!({"refresh_expires_in": "1800"}), after(1800)),
            (json!({"refresh_expires_in": 60.9}), after(60)),
            (json!({"x_refresh_token_expires_in": 60}), after(60)),
            (json!({"refresh_expires_in": 0}), GrantEnd::Never),
            (json!({"refresh_token_expires_in": "0"}), GrantEnd::Never),
            (
                json!({"refresh_token_expires_at": 1_795_251_660}),
                after(60),
            ),
            (
                json!({"refresh_token_timeout": 700, "authorization_expires_in": 600}),
                after(600),
            ),
            (
                json!({"refresh_token_expires_in": u64::MAX}),
                after(LONGEST),
            ),
        ];
        for (answer, end) in plain {
            let told = Told::read(answer.as_object().unwrap()).at(now);
            assert_eq!(told, (end, None), "{answer}");
        }
        for (name, value) in [
            ("refresh_expires_in", json!(-1)),
            ("refresh_expires_in", json!("soon")),
            ("refresh_expires_in", json!("-60")),
            ("refresh_expires_in", json!(1e300)),
            ("refresh_expires_in", json!([60])),
            ("refresh_expires_in", json!(true)),
            ("refresh_token_expires_at", json!(1_795_251_600)),
            ("refresh_token_expires_at", json!(60)),
            ("refresh_token_expires_at", json!(1_795_251_660_000_i64)),
            ("refresh_token_expires_at", json!("2026-12-01T00:00:00Z")),
            ("refresh_token_expires_at", json!(-1)),
        ] {
            let answer = json!({ name: value });
            let told = Told::read(answer.as_object().unwrap()).at(now);
            assert_eq!(told, (GrantEnd::Unsaid, Some(name)), "{answer}");
        }
    }
}
