//! Claims as the JSON gives them, read without trust: whatever their type, nothing panics or wraps
//! (D9).

use serde_json::{Map, Value};

/// The last second that a date of four digits can say.
pub(super) const END_OF_9999: i64 = 253_402_300_799;

/// What is wrong with which claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// It must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// It is of another type than its specification says.
    #[error("`{0}` has a wrong type")]
    Type(&'static str),
    /// It says something else than it must.
    #[error("`{0}` has a wrong value")]
    Value(&'static str),
}

/// The claims of a token whose signature was verified.
pub(super) struct Claims<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Claims<'a> {
    /// A claim that says something: JSON libraries write `null` for what is not there.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A claim that is a string, where it is there.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'a str>, ClaimFault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimFault::Type(name)),
        }
    }

    /// A `NumericDate` (RFC 7519 §2) in whole seconds, where it is there. It may have a fraction;
    /// it may not be negative, beyond an `i64`, or anything but a number.
    pub(super) fn date(&self, name: &'static str) -> Result<Option<i64>, ClaimFault> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(ClaimFault::Type(name));
        };
        let seconds = number.as_i64().or_else(|| whole_seconds(number.as_f64()?));
        match seconds {
            Some(seconds) if seconds >= 0 => Ok(Some(seconds)),
            _ => Err(ClaimFault::Value(name)),
        }
    }

    /// `aud`: a string or an array of strings, never empty (D7).
    pub(super) fn audiences(&self) -> Result<Vec<&'a str>, ClaimFault> {
        let audiences = match self.get("aud") {
            None => return Err(ClaimFault::Missing("aud")),
            Some(Value::String(audience)) => vec![audience.as_str()],
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or(ClaimFault::Type("aud")))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(ClaimFault::Type("aud")),
        };
        if audiences.is_empty() {
            return Err(ClaimFault::Missing("aud"));
        }
        Ok(audiences)
    }
}

/// Beyond 2^53 a float no longer tells one second from the next.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked on the line above"
)]
fn whole_seconds(seconds: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (0.0..EXACT)
        .contains(&seconds)
        .then(|| seconds.floor() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn date(value: Value) -> Result<Option<i64>, ClaimFault> {
        let claims = Map::from_iter([("exp".to_owned(), value)]);
        Claims(&claims).date("exp")
    }

    /// D9: a date is a number within i64; anything else is refused, without panic or wrap.
    #[test]
    fn a_date_is_a_number_in_range() {
        let wrong_type = Err(ClaimFault::Type("exp"));
        let wrong_value = Err(ClaimFault::Value("exp"));
        let cases = [
            ("whole", json!(1_795_251_600), Ok(Some(1_795_251_600))),
            ("fraction", json!(1_795_251_600.75), Ok(Some(1_795_251_600))),
            ("zero", json!(0), Ok(Some(0))),
            ("the largest", json!(i64::MAX), Ok(Some(i64::MAX))),
            ("beyond i64", json!(u64::MAX), wrong_value),
            ("beyond floats", json!(1e300), wrong_value),
            ("negative", json!(-1), wrong_value),
            ("negative fraction", json!(-0.5), wrong_value),
            ("string", json!("1795251600"), wrong_type),
            ("null", json!(null), Ok(None)),
            ("bool", json!(true), wrong_type),
            ("array", json!([1]), wrong_type),
        ];
        for (name, value, expected) in cases {
            assert_eq!(date(value), expected, "{name}");
        }
    }

    /// D7: `aud` is a string or an array of strings.
    #[test]
    fn audiences_are_strings() {
        let cases = [
            ("string", json!("app"), Ok(vec!["app"])),
            ("array of one", json!(["app"]), Ok(vec!["app"])),
            ("array", json!(["app", "api"]), Ok(vec!["app", "api"])),
            ("empty", json!([]), Err(ClaimFault::Missing("aud"))),
            ("null", json!(null), Err(ClaimFault::Missing("aud"))),
            ("number", json!(1), Err(ClaimFault::Type("aud"))),
            ("mixed", json!(["app", 1]), Err(ClaimFault::Type("aud"))),
            ("object", json!({"app": 1}), Err(ClaimFault::Type("aud"))),
        ];
        for (name, value, expected) in cases {
            let claims = Map::from_iter([("aud".to_owned(), value)]);
            assert_eq!(Claims(&claims).audiences(), expected, "{name}");
        }
    }
}
