//! The line that each request writes. It is the log's most frequent by far, so it is put together here
//! without a detour; it looks as `tracing` would write it, and a test holds the one against the other.

use std::io::Write as _;
use std::net::IpAddr;

use time::OffsetDateTime;
use tracing::{Level, Subscriber, dispatcher};
use tracing_subscriber::Layer;

use super::log_queue::{LogQueue, REQUESTS, Worth};
use crate::clock::unix_micros;
use crate::web::plain_text::{push_address, push_number};

/// A field's name as each format writes it, with what stands around it.
#[derive(Debug, Clone, Copy)]
struct Name {
    json: &'static str,
    text: &'static str,
}

macro_rules! name {
    ($name:literal) => {
        Name {
            json: concat!(",\"", $name, "\":"),
            text: concat!(" ", $name, "="),
        }
    };
}
/// What the line says of a request; docs/logs.md lists it.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "docs/logs.md says what they are")]
pub struct RequestLine<'a> {
    pub request_id: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub route: Option<&'a str>,
    pub status: u16,
    pub code: Option<&'static str>,
    pub elapsed_us: u64,
    pub session: Option<&'a str>,
    pub site_id: Option<&'a str>,
    pub site: Option<&'static str>,
    pub client: IpAddr,
    pub browser: Option<&'static str>,
}

impl RequestLine<'_> {
    /// Whether the level lets the line through.
    pub fn is_wanted() -> bool {
        tracing::enabled!(target: REQUESTS, Level::INFO)
    }

    /// Writes it.
    pub fn write(&self) {
        let written = dispatcher::get_default(|to| {
            let lines = to.downcast_ref::<RequestLines>();
            lines.map(|lines| lines.write(self)).is_some()
        });
        if !written {
            self.tell();
        }
    }

    /// Says the same to whoever else listens.
    fn tell(&self) {
        tracing::info!(
            target: REQUESTS,
            {
                event = "request",
                request.id = self.request_id,
                method = self.method,
                path = self.path,
                route = self.route,
                status = self.status,
                code = self.code,
                elapsed_us = self.elapsed_us,
                session = self.session,
                site_id = self.site_id,
                site = self.site,
                client = %self.client,
                browser = self.browser,
            },
            "request"
        );
    }

    fn fields(&self) -> [(Name, Option<Value<'_>>); 12] {
        let text = |text| Some(Value::Text(text));
        [
            (name!("request.id"), text(self.request_id)),
            (name!("method"), text(self.method)),
            (name!("path"), text(self.path)),
            (name!("route"), self.route.map(Value::Text)),
            (name!("status"), Some(Value::Number(self.status.into()))),
            (name!("code"), self.code.map(Value::Text)),
            (name!("elapsed_us"), Some(Value::Number(self.elapsed_us))),
            (name!("session"), self.session.map(Value::Text)),
            (name!("site_id"), self.site_id.map(Value::Text)),
            (name!("site"), self.site.map(Value::Text)),
            (name!("client"), Some(Value::Address(self.client))),
            (name!("browser"), self.browser.map(Value::Text)),
        ]
    }
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Number(u64),
    Address(IpAddr),
}

/// Where the process' lines go, for this line alone: the subscriber of the log has it with it.
#[derive(Debug)]
pub(super) struct RequestLines {
    format: Format,
    queue: LogQueue,
}

/// Adds a line, written at this moment in microseconds since 1970.
type Format = fn(&RequestLine<'_>, u64, &mut Vec<u8>);

impl<S: Subscriber> Layer<S> for RequestLines {}

/// What a line takes, but for a long path.
const USUAL_LENGTH: usize = 512;

impl RequestLines {
    /// As objects of JSON.
    pub(super) const fn json(queue: LogQueue) -> Self {
        Self {
            format: json,
            queue,
        }
    }

    /// As text without colours.
    pub(super) const fn text(queue: LogQueue) -> Self {
        Self {
            format: text,
            queue,
        }
    }

    fn write(&self, line: &RequestLine<'_>) {
        let mut out = Vec::with_capacity(USUAL_LENGTH);
        (self.format)(line, unix_micros(), &mut out);
        self.queue.put(&out, Worth::Little);
    }
}

fn json(line: &RequestLine<'_>, now: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    push_moment(now, out);
    out.extend_from_slice(b"\",\"level\":\"INFO\",\"message\":\"request\",\"event\":\"request\"");
    for (name, value) in line.fields() {
        let Some(value) = value else { continue };
        out.extend_from_slice(name.json.as_bytes());
        match value {
            Value::Number(number) => push_number(out, number),
            Value::Text(text) if is_plain(text) => push_quoted(text, out),
            // Into memory: nothing can fail.
            Value::Text(text) => drop(serde_json::to_writer(&mut *out, text)),
            Value::Address(address) => {
                out.push(b'"');
                push_address(out, address);
                out.push(b'"');
            }
        }
    }
    out.extend_from_slice(b",\"target\":\"bff::access\"}\n");
}

fn text(line: &RequestLine<'_>, now: u64, out: &mut Vec<u8>) {
    push_moment(now, out);
    out.extend_from_slice(b"  INFO bff::access: request event=\"request\"");
    for (name, value) in line.fields() {
        let Some(value) = value else { continue };
        out.extend_from_slice(name.text.as_bytes());
        match value {
            Value::Number(number) => push_number(out, number),
            Value::Text(text) if is_plain(text) => push_quoted(text, out),
            Value::Text(text) => drop(write!(out, "{text:?}")),
            Value::Address(address) => push_address(out, address),
        }
    }
    out.push(b'\n');
}

/// Whether it stands between quotes as it is.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    // Without a way out before the end, which lets several bytes be looked at at once.
    text.bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
}

fn push_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// A moment as RFC 3339 writes it, in UTC and to the microsecond.
fn push_moment(unix_micros: u64, out: &mut Vec<u8>) {
    let (seconds, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second) = moment.to_hms();
    push_digits::<4>(u32::try_from(year).unwrap_or_default(), out);
    for (mark, number) in [
        (b'-', u8::from(month)),
        (b'-', day),
        (b'T', hour),
        (b':', minute),
        (b':', second),
    ] {
        out.push(mark);
        push_digits::<2>(number.into(), out);
    }
    out.push(b'.');
    push_digits::<6>(u32::try_from(micros).unwrap_or_default(), out);
    out.push(b'Z');
}

/// The last `N` digits, with zeros before them.
fn push_digits<const N: usize>(mut number: u32, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::{Arc, Mutex};

    use tracing::Dispatch;

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `tracing` makes of the line, as JSON and as text, at a moment of ours.
    fn by_tracing(line: &RequestLine<'_>) -> [String; 2] {
        let heard = [Heard::default(), Heard::default()];
        let [json, text] = heard.clone();
        let json = tracing_subscriber::fmt().with_writer(move || json.clone());
        let json = json.json().flatten_event(true);
        let json = json.with_current_span(false).with_span_list(false);
        let text = tracing_subscriber::fmt().with_writer(move || text.clone());
        for subscriber in [
            Dispatch::from(json.finish()),
            text.with_ansi(false).finish().into(),
        ] {
            dispatcher::with_default(&subscriber, || line.tell());
        }
        heard.map(|Heard(heard)| {
            let heard = String::from_utf8(heard.lock().unwrap().clone()).unwrap();
            let (before, after) = heard.split_once('Z').unwrap();
            let (before, _) = before.split_at(before.len() + 1 - MOMENT.len());
            format!("{before}{MOMENT}{after}")
        })
    }

    /// N4: the line looks as all others do, in both formats, whatever a stranger writes into it.
    #[test]
    fn it_looks_as_any_other_line() {
        let usual = RequestLine {
            request_id: "gq0wXb-_",
            method: "GET",
            path: "/api/orders",
            route: Some("/api"),
            status: 200,
            code: None,
            elapsed_us: 1843,
            session: Some("ttTR5lDBd_JX"),
            site_id: None,
            site: Some("same-origin"),
            client: Ipv4Addr::new(203, 0, 113, 7).into(),
            browser: Some("Firefox"),
        };
        let cases = [
            ("usual", usual),
            (
                "nothing known",
                RequestLine {
                    route: None,
                    session: None,
                    site: None,
                    browser: None,
                    elapsed_us: 0,
                    ..usual
                },
            ),
            (
                "all known",
                RequestLine {
                    code: Some("login_required"),
                    site_id: Some("shop"),
                    elapsed_us: u64::MAX,
                    client: Ipv6Addr::LOCALHOST.into(),
                    ..usual
                },
            ),
            (
                "odd",
                RequestLine {
                    path: "/a\"b\\c\u{1b}[31m\u{7f}\n\t{é}\u{200b}'",
                    method: "M'!#",
                    route: Some("/\u{1}\"ö"),
                    ..usual
                },
            ),
        ];
        for (name, line) in cases {
            for (own, expected) in [json as Format, text].iter().zip(by_tracing(&line)) {
                let mut out = Vec::new();
                own(&line, MICROS, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{name}");
            }
        }
    }

    const MOMENT: &str = "2026-11-30T09:05:07.000042Z";
    const MICROS: u64 = 1_796_029_507_000_042;
}
