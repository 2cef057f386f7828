//! What one request carries through the steps: over which connection it came, and under which id.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::clock::Randomness;
use crate::pipeline::error::Code;
use crate::secret::random_base64url;
use crate::server::Connection;
use crate::session::cookie::Presented;
use crate::session::record::Session;
use crate::telemetry::RouteMetrics;

/// The facts of one request that every step may look at.
#[derive(Debug)]
pub struct Context {
    /// Joins the answer and the log line.
    pub request_id: HeaderValue,
    /// The connection it came on.
    pub connection: Connection,
    /// When its head was complete.
    pub started: Instant,
    /// Where it is counted, once that is known.
    pub counted: Option<RouteMetrics>,
    /// Whether its answer is made in the session that it presents, if any.
    pub in_session: bool,
    /// The session that it is made in, or that it began, once that is known.
    pub session: Option<Arc<Session>>,
    /// The code of its refusal, where it was refused.
    pub code: Option<Code>,
    /// The session cookie that it presents, once that was asked: it is read once a request.
    pub presented: Option<Presented>,
}

impl Context {
    /// The context of a request that has just come in.
    pub fn new(connection: Connection, request_id: HeaderValue) -> Self {
        Self {
            request_id,
            connection,
            started: Instant::now(),
            counted: None,
            in_session: false,
            session: None,
            code: None,
            presented: None,
        }
    }

    /// The id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

/// What joins a request's log lines, ours and those of whoever stands around us.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id that a proxy before us gave a request, if it is one that may stand in a log and a header.
/// Whether the proxy is believed is up to the caller.
pub fn given_id(headers: &HeaderMap) -> Option<HeaderValue> {
    const LONGEST: usize = 128;
    let mut given = headers.get_all(X_REQUEST_ID).iter();
    let (Some(id), None) = (given.next(), given.next()) else {
        return None;
    };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let fits = (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
    fits.then(|| id.clone())
}

/// Names requests at random, so that an id tells a stranger nothing of the traffic, nor of the worker
/// that gave it. They are drawn by the heap: an id costs no system call.
#[derive(Debug)]
pub struct RequestIds {
    randomness: Arc<dyn Randomness>,
    drawn: Mutex<Bytes>,
}

/// Characters of an id: 96 bits.
const ID_LENGTH: usize = 16;
/// Ids in a heap.
const HEAP: usize = 256;

impl RequestIds {
    /// Ids that nobody else gives.
    pub fn new(randomness: Arc<dyn Randomness>) -> Self {
        Self {
            randomness,
            drawn: Mutex::default(),
        }
    }

    /// The next id.
    pub fn next(&self) -> HeaderValue {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.is_empty() {
            const OCTETS: usize = HEAP * ID_LENGTH / 4 * 3;
            *drawn = random_base64url::<OCTETS>(&*self.randomness).into();
        }
        let end = ID_LENGTH.min(drawn.len());
        let id = drawn.split_to(end);
        HeaderValue::from_maybe_shared(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandomness;

    /// N4: what a proxy calls a request is taken if it can do no harm in a log, a header or a page.
    #[test]
    fn a_given_id_is_short_and_plain() {
        let longest = "a".repeat(128);
        let too_long = "a".repeat(129);
        for (lines, taken) in [
            (&["7f3c.AZ_09-x"][..], true),
            (&[&*longest], true),
            (&[&*too_long], false),
            (&[""], false),
            (&["a b"], false),
            (&["a;b"], false),
            (&["<script>"], false),
            (&["é"], false),
            (&["one", "two"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
                headers.append(X_REQUEST_ID, line);
            }
            let given = given_id(&headers);
            assert_eq!(given.is_some(), taken, "{lines:?}");
            assert!(given.is_none_or(|given| given == *lines[0]));
        }
    }

    /// N4: an id is one request's alone, over heaps as well.
    #[test]
    fn no_two_requests_have_one_id() {
        let ids = RequestIds::new(Arc::new(SeededRandomness::new(1)));
        let given: std::collections::HashSet<_> = (0..5000).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 5000);
        assert!(given.iter().all(|id| id.len() == ID_LENGTH));
    }
}
