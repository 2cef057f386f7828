//! What one request carries through the steps: who asks, as what, and under which id.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::time::Instant;

use crate::clock::Randomness;
use crate::secret::random_base64url;
use crate::server::Connection;
use crate::telemetry::RouteMetrics;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The facts of one request that every step may look at.
#[derive(Debug)]
pub struct Context {
    /// Joins the answer and the log line.
    pub request_id: HeaderValue,
    /// Who will read the answer.
    pub reader: Reader,
    /// The connection it came on.
    pub connection: Connection,
    /// When its head was complete.
    pub started: Instant,
    /// Where it is counted, once that is known.
    pub counted: Option<RouteMetrics>,
    /// Whether its answer is made in the session that it presents, if any.
    pub in_session: bool,
}

/// Who will read the answer: this decides between a problem document and a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person, whose browser navigates.
    Person,
    /// A script.
    Script,
}

impl Context {
    /// The context of a request that has just come in.
    pub fn new(parts: &Parts, connection: Connection, request_id: HeaderValue) -> Self {
        Self {
            request_id,
            reader: Reader::of(&parts.headers),
            connection,
            started: Instant::now(),
            counted: None,
            in_session: false,
        }
    }

    /// The id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

impl Reader {
    /// `Sec-Fetch-Mode` decides where a browser sends it (B10), else `Accept`.
    fn of(headers: &HeaderMap) -> Self {
        let person = match headers.get(SEC_FETCH_MODE) {
            Some(mode) => mode.as_bytes() == b"navigate",
            None => headers.get(ACCEPT).is_some_and(|accept| {
                accept
                    .to_str()
                    .is_ok_and(|accept| accept.contains("text/html"))
            }),
        };
        if person { Self::Person } else { Self::Script }
    }
}

/// Whether this is a person's browser on its way to a document, which may be sent to login.
pub fn is_document_navigation(parts: &Parts) -> bool {
    let to_document = parts
        .headers
        .get(SEC_FETCH_DEST)
        .is_none_or(|dest| dest.as_bytes() == b"document");
    parts.method == Method::GET && to_document && Reader::of(&parts.headers) == Reader::Person
}

/// Names requests: a random word for the worker and a count, so that an id costs no system call.
#[derive(Debug)]
pub struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that no other worker gives.
    pub fn new(randomness: &dyn Randomness) -> Self {
        Self {
            prefix: random_base64url::<6>(randomness),
            next: AtomicU64::new(0),
        }
    }

    /// The next id.
    pub fn next(&self) -> HeaderValue {
        const MOST_DIGITS: usize = 16;
        let mut count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = Vec::with_capacity(self.prefix.len() + 1 + MOST_DIGITS);
        id.extend_from_slice(self.prefix.as_bytes());
        id.push(b'-');
        // The lowest digit first: it is a name, and `format!` costs a thousand instructions.
        loop {
            let digit = char::from_digit((count & 0xf) as u32, 16);
            id.push(digit.map_or(b'-', |digit| digit as u8));
            count >>= 4;
            if count == 0 {
                break;
            }
        }
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandomness;

    #[test]
    fn no_two_requests_have_one_id() {
        let ids = RequestIds::new(&SeededRandomness::new(1));
        let given: std::collections::HashSet<_> = (0..5000).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 5000);
    }
}
