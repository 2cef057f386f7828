//! The words that values are written in: durations, sizes, addresses and choices.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use serde_json::json;

use crate::auth::{AccessDenied, AnonymousAnswer, LogoutHint};
use crate::clock::Timestamp;
use crate::config::document::{Node, Value};
use crate::config::error::Faults;
use crate::config::reader::{Read, text, wrong_type};
use crate::oidc::{AssertionAudience, IdTokenAlg, ResponseMode};
use crate::proxy::path::EncodedSlashes;
use crate::proxy::{CsrfCheck, RouteAuth, SetCookie};
use crate::session::SameSite;
use crate::session::store::OnLimit;
use crate::telemetry::{LogFormat, SubjectInLog};

impl Read for Duration {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        if let Value::Integer(number) = node.value {
            faults.refuse(
                &node.place,
                key,
                "has no unit",
                format!("write \"{number}s\" or \"{number}m\", with its unit and in quotes"),
            );
            return None;
        }
        let text = text(node, key, "a duration", "\"30m\"", faults)?;
        let duration = humantime::parse_duration(text).ok();
        if duration.is_none() {
            faults.refuse(
                &node.place,
                key,
                format!("is not a duration: {text:?}"),
                "write a number and its unit, such as \"500ms\", \"60s\", \"30m\" or \"8h\"",
            );
        }
        duration
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["500ms", "60s", "30m", "8h"] })
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    const UNITS: [(&'static str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        // Last, since the others end in it too.
        ("B", 1),
    ];

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = Self::UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))?;
        let number: u64 = number.trim_end().parse().ok()?;
        number.checked_mul(*unit).map(Self)
    }
}

impl Read for Size {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        if let Value::Integer(number) = node.value {
            faults.refuse(
                &node.place,
                key,
                "has no unit",
                format!("write \"{number}B\" or another unit, in quotes"),
            );
            return None;
        }
        let text = text(node, key, "a size", "\"8MiB\"", faults)?;
        let size = Self::parse(text.trim());
        if size.is_none() {
            faults.refuse(
                &node.place,
                key,
                format!("is not a size: {text:?}"),
                "write a whole number and its unit, such as \"512B\", \"32KiB\" or \"8MiB\"",
            );
        }
        size
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|kB|MB|GB)$" })
    }
}

/// How many of something there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtMost {
    /// So many.
    Number(u64),
    /// "none": there is no limit.
    NoLimit,
}

impl Read for AtMost {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Text(text) | Value::Untyped(text) if text == "none" => Some(Self::NoLimit),
            Value::Text(text) => {
                faults.refuse(
                    &node.place,
                    key,
                    format!("is {text:?}, which is no number"),
                    "write a number without quotes, or \"none\" to lift the limit",
                );
                None
            }
            _ => u64::read(node, key, faults).map(Self::Number),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "none" }] })
    }
}

impl Read for IpNet {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "a network", "\"10.0.0.0/8\"", faults)?;
        let net = text
            .parse()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(Self::from));
        if net.is_none() {
            faults.refuse(
                &node.place,
                key,
                format!("holds no IP address or network: {text:?}"),
                "write one such as \"10.0.0.0/8\" or \"192.0.2.7\"",
            );
        }
        net
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["10.0.0.0/8", "192.0.2.7"] })
    }
}

impl Read for Method {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "a method", "[\"GET\"]", faults)?;
        if text == "*" {
            faults.refuse(
                &node.place,
                key,
                "holds \"*\", which is no word for all: no browser asks by that method",
                "leave the key out for all methods",
            );
            return None;
        }
        let Ok(method) = Self::from_bytes(text.as_bytes()) else {
            faults.refuse(
                &node.place,
                key,
                format!("holds no method: {text:?}"),
                "write one such as \"GET\"",
            );
            return None;
        };
        let upper = text.to_ascii_uppercase();
        if text != upper {
            faults.refuse(
                &node.place,
                key,
                format!("holds {text:?}, and methods are upper case"),
                format!("write {upper:?}"),
            );
            return None;
        }
        if matches!(method, Self::CONNECT | Self::TRACE) {
            faults.refuse(
                &node.place,
                key,
                format!("holds {text}, which is never forwarded"),
                "leave it out",
            );
            return None;
        }
        Some(method)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["GET", "POST"] })
    }
}

/// A value of few choices, each one word.
pub(super) trait Choice: Copy + 'static {
    /// The words and what they mean, in the order they are offered.
    fn words() -> Vec<(&'static str, Self)>;
    /// Words that one may expect, why they are refused and what to write.
    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[];
    /// The choices that are numbers in the file.
    const NUMBERS: bool = false;
}

/// A word read as a [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen<T>(pub(super) T);

impl<T: Choice> Read for Chosen<T> {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let all = choices::<T>();
        let text = match &node.value {
            Value::Integer(number) if T::NUMBERS => number.to_string(),
            Value::Text(text) | Value::Untyped(text) => text.clone(),
            _ => {
                wrong_type(node, key, "one of a few words", &all, faults);
                return None;
            }
        };
        if let Some((_, choice)) = T::words().into_iter().find(|(word, _)| *word == text) {
            return Some(Self(choice));
        }
        if let Some((_, what, remedy)) = T::REFUSED.iter().find(|(word, ..)| *word == text) {
            faults.refuse(
                &node.place,
                key,
                format!("is {text:?}, which {what}"),
                *remedy,
            );
        } else {
            faults.refuse(
                &node.place,
                key,
                format!("is {text:?}, which is not a choice"),
                format!("write {all}"),
            );
        }
        None
    }

    fn schema() -> serde_json::Value {
        let words: Vec<serde_json::Value> = T::words()
            .into_iter()
            .map(|(word, _)| match word.parse::<u64>() {
                Ok(number) if T::NUMBERS => number.into(),
                _ => word.into(),
            })
            .collect();
        json!({ "enum": words })
    }
}

/// The choices as a person would list them.
fn choices<T: Choice>() -> String {
    let quoted: Vec<String> = T::words()
        .into_iter()
        .map(|(word, _)| {
            if T::NUMBERS {
                word.to_owned()
            } else {
                format!("{word:?}")
            }
        })
        .collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// `provider.client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuthMethod {
    SecretBasic,
    SecretPost,
    PrivateKeyJwt,
}

impl Choice for ClientAuthMethod {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("client_secret_basic", Self::SecretBasic),
            ("client_secret_post", Self::SecretPost),
            ("private_key_jwt", Self::PrivateKeyJwt),
        ]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[
        (
            "tls_client_auth",
            "is not available in this version",
            "write \"private_key_jwt\", which is as strong",
        ),
        (
            "none",
            "would make this a public client",
            "leave client_auth out and write allow_public_client = true if you must",
        ),
    ];
}

impl Choice for AssertionAudience {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("issuer", Self::Issuer),
            ("token_endpoint", Self::TokenEndpoint),
        ]
    }
}

/// `provider.logout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogoutPlace {
    Provider,
    Local,
}

impl Choice for LogoutPlace {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("provider", Self::Provider), ("local", Self::Local)]
    }
}

/// `session.store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Memory,
    Sqlite,
    Redis,
    Postgres,
    Cookie,
}

impl Choice for Store {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("memory", Self::Memory),
            ("sqlite", Self::Sqlite),
            ("redis", Self::Redis),
            ("postgres", Self::Postgres),
            ("cookie", Self::Cookie),
        ]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[
        ("valkey", "is spoken to as Redis", "write \"redis\""),
        (
            "postgresql",
            "is called by its short name",
            "write \"postgres\"",
        ),
    ];
}

impl Choice for EncodedSlashes {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("refuse", Self::Refuse), ("pass", Self::Pass)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "decode",
        "would make two paths of one, for the routes and for the upstream",
        "write \"pass\", which leaves them as they are",
    )];
}

impl Choice for OnLimit {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("end_oldest", Self::EndOldest), ("refuse", Self::Refuse)]
    }
}

impl Choice for SameSite {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("Strict", Self::Strict), ("Lax", Self::Lax)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "None",
        "would send the session with every site's requests",
        "write \"Strict\", or \"Lax\" if links from other sites must arrive signed in",
    )];
}

impl Choice for ResponseMode {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("query", Self::Query), ("form_post", Self::FormPost)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "fragment",
        "never reaches a server",
        "write \"query\" or \"form_post\"",
    )];
}

impl Choice for LogoutHint {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("id_token", Self::IdToken), ("none", Self::None)]
    }
}

impl Choice for AccessDenied {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("page", Self::Page), ("return_to", Self::ReturnTo)]
    }
}

impl Choice for AnonymousAnswer {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("200", Self::Ok), ("401", Self::Unauthorized)]
    }

    const NUMBERS: bool = true;
}

impl Choice for RouteAuth {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("required", Self::Required),
            ("optional", Self::Optional),
            ("none", Self::None),
        ]
    }
}

impl Choice for CsrfCheck {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("header", Self::Header), ("origin", Self::Origin)]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "none",
        "would let any site call this route as the user",
        "write \"origin\" for what cannot send a header, or auth = \"none\"",
    )];
}

impl Choice for SetCookie {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("drop", Self::Drop), ("keep", Self::Keep)]
    }
}

/// The beginning of a day in UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(pub(super) Timestamp);

impl Day {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits);
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
        let date = time::Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?);
        let seconds = date.ok()?.midnight().assume_utc().unix_timestamp();
        Some(Self(Timestamp::from_unix_seconds(seconds)))
    }
}

impl Read for Day {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "a day", "\"2027-01-31\", in quotes", faults)?;
        let day = Self::parse(text);
        if day.is_none() {
            faults.refuse(
                &node.place,
                key,
                format!("is not a day: {text:?}"),
                "write year, month and day, as in \"2027-01-31\"",
            );
        }
        day
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "format": "date" })
    }
}

impl Choice for LogFormat {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("text", Self::Text), ("json", Self::Json)]
    }
}

impl Choice for SubjectInLog {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("hash", Self::Hash), ("clear", Self::Clear)]
    }
}

impl Choice for IdTokenAlg {
    fn words() -> Vec<(&'static str, Self)> {
        Self::ALL.map(|(alg, name)| (name, alg)).to_vec()
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[
        ("none", "accepts forged ID tokens", ASYMMETRIC),
        (
            "HS256",
            "would make the client secret a signing key",
            ASYMMETRIC,
        ),
        (
            "HS384",
            "would make the client secret a signing key",
            ASYMMETRIC,
        ),
        (
            "HS512",
            "would make the client secret a signing key",
            ASYMMETRIC,
        ),
    ];
}

const ASYMMETRIC: &str = "write \"RS256\", \"PS256\", \"ES256\" or \"EdDSA\"";
