//! Values that are written with a unit or in a form of their own: durations, sizes, networks, methods,
//! days, headers.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use serde_json::json;

use crate::clock::Timestamp;
use crate::config::document::{Node, Value};
use crate::config::error::Faults;
use crate::config::reader::{Read, text};

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

/// A header's value; it may be empty.
#[derive(Debug, Clone)]
pub(super) struct HeaderText(pub(super) String);

impl Read for HeaderText {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "text", "\"…\", in quotes", faults)?;
        Some(Self(text.to_owned()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string" })
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
