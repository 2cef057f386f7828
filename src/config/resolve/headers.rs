//! Headers that an operator sets and removes.

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};

use crate::config::error::Faults;
use crate::config::lists::Named;
use crate::config::reader::{Field, Written};
use crate::config::resolve::table;
use crate::config::route_table::{HeaderTable, RequestHeaderTable};
use crate::config::values::HeaderText;
use crate::proxy::HeaderChanges;
use crate::proxy::headers::{PassedFields, kept_back};

/// Which way the headers travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the upstream.
    Request,
    /// To the browser.
    Answer,
}

/// Fields of the connection or of the message's framing; no operator may touch them (I6).
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Fields of a request that are ours to write (I2, I3, I4, I8).
const OURS_IN_REQUESTS: [&str; 8] = [
    "authorization",
    "cookie",
    "dpop",
    "forwarded",
    "host",
    "x-csrf",
    "x-real-ip",
    "x-request-id",
];

/// Fields of an answer that are ours to write (I11).
const OURS_IN_ANSWERS: [&str; 2] = ["set-cookie", "x-request-id"];

/// The start of 2024, since the epoch: a date before it was past when bff came to be, on every clock.
const LONG_GONE: Duration = Duration::from_hours(473_352);

/// The changes that a route asks for in its requests, the same for every call.
pub(super) fn request_changes(
    headers: &RequestHeaderTable,
    faults: &mut Faults,
) -> Option<HeaderChanges> {
    changes(&headers.set, &headers.remove, Direction::Request, faults)
}

/// The changes that a route asks for in its answers.
pub(super) fn answer_changes(
    field: &Field<HeaderTable>,
    faults: &mut Faults,
) -> Option<HeaderChanges> {
    let (headers, _) = table(field);
    changes(&headers.set, &headers.remove, Direction::Answer, faults)
}

/// The only fields of a request that a route lets pass; the outer `None` after a fault.
#[expect(clippy::option_option, reason = "no list, or none that can be used")]
pub(super) fn passed(
    field: &Field<RequestHeaderTable>,
    faults: &mut Faults,
) -> Option<Option<PassedFields>> {
    let (headers, _) = table(field);
    let Some(pass) = headers.pass.written() else {
        return Some(None);
    };
    let mut names = Vec::new();
    for written in &pass.value {
        let name = header_name(written, &written.value, faults)?;
        if kept_back::reason(name.as_str()) == Some(kept_back::Reason::Identity) {
            written.warn(
                faults,
                format!("lets browsers write {name}, by which proxies vouch for a user"),
                "leave it out, unless the upstream reads nothing into it",
            );
        }
        names.push(name);
    }
    match PassedFields::new(names) {
        Ok(passed) => Some(Some(passed)),
        Err((name, reason)) => {
            pass.refuse(
                faults,
                format!("lets {name} pass, and {reason}"),
                format!("leave {name} out"),
            );
            None
        }
    }
}

fn changes(
    set: &Field<Named<HeaderText>>,
    remove: &Field<Vec<Written<String>>>,
    direction: Direction,
    faults: &mut Faults,
) -> Option<HeaderChanges> {
    let set = self::set(set, direction, faults);
    let remove = remove
        .or(Vec::new())
        .iter()
        .map(|written| {
            let name = header_name(written, &written.value, faults)?;
            if FRAMING.contains(&name.as_str()) || name == "host" {
                written.refuse(
                    faults,
                    format!("takes away {name}, which the connection needs"),
                    "leave it out",
                );
                return None;
            }
            Some(name)
        })
        .collect::<Vec<_>>();
    Some(HeaderChanges {
        templates: Vec::new(),
        set: set?,
        remove: remove.into_iter().collect::<Option<_>>()?,
    })
}

/// The headers of a table of names and values.
pub(super) fn set(
    field: &Field<Named<HeaderText>>,
    direction: Direction,
    faults: &mut Faults,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let read: Vec<Option<(HeaderName, HeaderValue)>> = field
        .or(Named::default())
        .0
        .iter()
        .map(|written| {
            let (name, text) = &written.value;
            let name = name_to_set(written, name, direction, faults)?;
            match value(name.as_str(), &text.0) {
                Ok(value) => Some((name, value)),
                Err((what, remedy)) => {
                    written.refuse(faults, what, remedy);
                    None
                }
            }
        })
        .collect();
    read.into_iter().collect()
}

/// The name of a request's header that an operator may set.
pub(super) fn settable_name<T>(
    written: &Written<T>,
    name: &str,
    faults: &mut Faults,
) -> Option<HeaderName> {
    name_to_set(written, name, Direction::Request, faults)
}

fn name_to_set<T>(
    written: &Written<T>,
    name: &str,
    direction: Direction,
    faults: &mut Faults,
) -> Option<HeaderName> {
    let name = header_name(written, name, faults)?;
    if is_ours(&name, direction) {
        written.refuse(
            faults,
            format!("sets {name}, which bff alone writes"),
            "leave it out",
        );
        return None;
    }
    Some(name)
}

/// A header's value.
///
/// # Errors
///
/// Why it cannot be, and what to write.
pub(super) fn value(name: &str, text: &str) -> Result<HeaderValue, (&'static str, &'static str)> {
    if name.eq_ignore_ascii_case("access-control-allow-origin") && text.trim() == "*" {
        let remedy = "write the one origin that may read them";
        return Err(("opens the answers to every site", remedy));
    }
    HeaderValue::from_str(text).map_err(|_| {
        let remedy = "write visible characters and blanks on one line";
        ("holds a character that no header may", remedy)
    })
}

/// G12: what a session's answers may not say of themselves. A cache that others share would give
/// one user's answers to the next.
pub(super) fn keep_private(field: &Field<HeaderTable>, faults: &mut Faults) {
    let (headers, _) = table(field);
    for written in headers.set.or(Named::default()).0 {
        let (name, text) = &written.value;
        if shares(&name.to_ascii_lowercase(), text.0.trim()) {
            written.refuse(
                faults,
                "would let shared caches give one user's answers to another",
                "write Cache-Control = \"private\" alone, or auth = \"none\" where no user is asked for",
            );
        }
    }
}

/// Whether some cache between us and the browsers would keep an answer for all of them.
fn shares(name: &str, text: &str) -> bool {
    match name {
        "cache-control" => text
            .split(',')
            .map(|word| word.trim().to_ascii_lowercase())
            .any(|word| word == "public" || word.starts_with("s-maxage")),
        "expires" => httpdate::parse_http_date(text)
            .is_ok_and(|date| date >= SystemTime::UNIX_EPOCH + LONG_GONE),
        "x-accel-expires" => text != "0",
        "surrogate-control" | "edge-control" => true,
        name => name.ends_with("-cache-control"),
    }
}

fn is_ours(name: &HeaderName, direction: Direction) -> bool {
    let name = name.as_str();
    FRAMING.contains(&name)
        || match direction {
            Direction::Request => {
                // Where the app is mounted, the operator may know better.
                OURS_IN_REQUESTS.contains(&name)
                    || (name.starts_with("x-forwarded-") && name != "x-forwarded-prefix")
            }
            Direction::Answer => OURS_IN_ANSWERS.contains(&name),
        }
}

fn header_name<T>(written: &Written<T>, name: &str, faults: &mut Faults) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        written.refuse(
            faults,
            format!("is not a header's name: {name:?}"),
            "write one such as X-Team",
        );
    }
    parsed
}
