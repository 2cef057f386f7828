//! Whether a browser has the file already, and which part of it is wanted (RFC 9110 §13, §14).

use std::time::{Duration, SystemTime};

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What tells one state of a file from another.
#[derive(Debug)]
pub(super) struct Validators {
    /// Strong, with its quotes.
    pub(super) etag: String,
    pub(super) modified: Option<SystemTime>,
}

/// What the request's conditions come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Send,
    /// The browser has it already.
    Unchanged,
    /// It is not the state that the browser wants to go on with.
    Failed,
}

/// What of the file is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// `length` is never 0.
    Range {
        start: u64,
        length: u64,
    },
    /// The file ends before it begins.
    Outside,
}

impl Validators {
    /// `Last-Modified`.
    pub(super) fn date(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&httpdate::fmt_http_date(self.modified?)).ok()
    }

    /// In the order of RFC 9110 §13.2.2: first whether this is still the state that is meant, by
    /// tag, else by date; then whether the browser has it, by tag, else by date. A date counts only
    /// where no tag is there.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Condition {
        let meant = if headers.contains_key(IF_MATCH) {
            // Strongly: all our tags are.
            tags(headers, IF_MATCH).any(|tag| tag == "*" || tag == self.etag)
        } else {
            self.modified_since(headers, IF_UNMODIFIED_SINCE) != Some(true)
        };
        if !meant {
            return Condition::Failed;
        }
        let unchanged = if headers.contains_key(IF_NONE_MATCH) {
            tags(headers, IF_NONE_MATCH)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
        } else {
            self.modified_since(headers, IF_MODIFIED_SINCE) == Some(false)
        };
        if unchanged {
            Condition::Unchanged
        } else {
            Condition::Send
        }
    }

    /// Whether the file was changed after the one date that this field holds; `None` without one.
    fn modified_since(&self, headers: &HeaderMap, name: HeaderName) -> Option<bool> {
        let mut dates = headers.get_all(name).iter();
        let date = parse_date(dates.next()?)?;
        if dates.next().is_some() {
            return None;
        }
        Some(whole_seconds(self.modified?) > date)
    }

    /// `If-Range`: a range counts only for the state that the browser has begun with.
    fn still_as(&self, if_range: &HeaderValue) -> bool {
        if if_range.as_bytes().starts_with(b"\"") {
            return if_range == self.etag.as_str();
        }
        let modified = self.modified.map(whole_seconds);
        parse_date(if_range).is_some_and(|date| Some(date) == modified)
    }
}

/// One range of bytes is honoured; several at once are not worth their answer's format, and
/// whatever cannot be read is no range (RFC 9110 §14.2: "MAY ignore").
pub(super) fn part(parts: &Parts, validators: &Validators, bytes: u64) -> Part {
    let headers = &parts.headers;
    let range = headers
        .get(RANGE)
        .filter(|_| parts.method == Method::GET)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
        return Part::Whole;
    };
    if headers
        .get(IF_RANGE)
        .is_some_and(|if_range| !validators.still_as(if_range))
    {
        return Part::Whole;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(bytes)),
        (Some(first), None) if last.is_empty() => (first, bytes),
        (None, Some(0)) if first.is_empty() => return Part::Outside,
        (None, Some(suffix)) if first.is_empty() => (bytes.saturating_sub(suffix), bytes),
        _ => return Part::Whole,
    };
    if start >= bytes {
        return Part::Outside;
    }
    Part::Range {
        start,
        length: end - start,
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// As a date in a header can say it.
fn whole_seconds(moment: SystemTime) -> SystemTime {
    moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(moment, |since| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validators() -> Validators {
        Validators {
            etag: "\"abc\"".into(),
            modified: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500)),
        }
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        request.into_parts().0
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        for (name, value, expected) in [
            ("if-none-match", "\"abc\"", Condition::Unchanged),
            ("if-none-match", "W/\"abc\"", Condition::Unchanged),
            ("if-none-match", "\"x\", \"abc\"", Condition::Unchanged),
            ("if-none-match", "*", Condition::Unchanged),
            ("if-none-match", "\"x\"", Condition::Send),
            ("if-none-match", "abc", Condition::Send),
            (
                "if-modified-since",
                "Sun, 06 Nov 1994 08:49:37 GMT",
                Condition::Unchanged,
            ),
            (
                "if-modified-since",
                "Sun, 06 Nov 1994 08:49:36 GMT",
                Condition::Send,
            ),
            ("if-modified-since", "yesterday", Condition::Send),
            ("x-none", "", Condition::Send),
        ] {
            let parts = request(&[(name, value)]);
            assert_eq!(
                validators().judge(&parts.headers),
                expected,
                "{name}: {value}"
            );
        }
        let parts = request(&[
            ("if-none-match", "\"x\""),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        assert_eq!(validators().judge(&parts.headers), Condition::Send);
    }

    /// RFC 9110 §13.1.1, §13.1.4, §13.2.2: a state that is not the one meant is 412, before anything
    /// else is judged.
    #[test]
    fn another_state_than_the_one_meant_is_not_sent() {
        const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        for (headers, expected) in [
            (&[("if-match", "\"abc\"")][..], Condition::Send),
            (&[("if-match", "\"x\", \"abc\"")], Condition::Send),
            (&[("if-match", "*")], Condition::Send),
            (&[("if-match", "\"x\"")], Condition::Failed),
            (&[("if-match", "W/\"abc\"")], Condition::Failed),
            (&[("if-match", "")], Condition::Failed),
            (&[("if-unmodified-since", NOW)], Condition::Send),
            (&[("if-unmodified-since", BEFORE)], Condition::Failed),
            (&[("if-unmodified-since", "yesterday")], Condition::Send),
            (
                &[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)],
                Condition::Send,
            ),
            (
                &[("if-match", "\"x\""), ("if-none-match", "\"x\"")],
                Condition::Failed,
            ),
            (
                &[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")],
                Condition::Unchanged,
            ),
            (
                &[("if-unmodified-since", NOW), ("if-modified-since", NOW)],
                Condition::Unchanged,
            ),
            (
                &[("if-modified-since", NOW), ("if-modified-since", NOW)],
                Condition::Send,
            ),
        ] {
            let parts = request(headers);
            assert_eq!(validators().judge(&parts.headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn one_range_is_honoured() {
        let range = |start, length| Part::Range { start, length };
        for (value, expected) in [
            ("bytes=0-4", range(0, 5)),
            ("bytes=5-", range(5, 5)),
            ("bytes=-3", range(7, 3)),
            ("bytes=-30", range(0, 10)),
            ("bytes=8-99", range(8, 2)),
            ("bytes=9-9", range(9, 1)),
            ("bytes=10-", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=4-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=1-2", Part::Whole),
        ] {
            let found = part(&request(&[("range", value)]), &validators(), 10);
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(
            part(&request(&[("range", "bytes=0-")]), &validators(), 0),
            Part::Outside
        );
    }

    #[test]
    fn a_range_of_another_state_is_the_whole_file() {
        for (value, expected) in [
            (
                "\"abc\"",
                Part::Range {
                    start: 0,
                    length: 1,
                },
            ),
            (
                "Sun, 06 Nov 1994 08:49:37 GMT",
                Part::Range {
                    start: 0,
                    length: 1,
                },
            ),
            ("\"x\"", Part::Whole),
            ("W/\"abc\"", Part::Whole),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Part::Whole),
        ] {
            let parts = request(&[("range", "bytes=0-0"), ("if-range", value)]);
            assert_eq!(part(&parts, &validators(), 10), expected, "{value}");
        }
    }
}
