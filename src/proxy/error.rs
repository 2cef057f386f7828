//! Why a call brought no answer to pass on.

use std::io;
use std::sync::Arc;

use crate::proxy::headers::response::AnswerFault;
use crate::proxy::upload::UploadFault;
use crate::proxy::wire::WireError;
use crate::web::ending::EndReason;

/// Why there is no answer to pass on, by whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No upstream of the route could be reached: 502.
    #[error("{upstream} cannot be reached")]
    Connect {
        /// The route's name.
        route: Arc<str>,
        /// The one tried last.
        upstream: String,
        /// What the network said.
        source: io::Error,
    },
    /// As many connections to upstreams are open as may be, all of them in use: 503.
    #[error("no more connections to upstreams may be opened")]
    Busy,
    /// The upstream took too long to answer: 504.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The upstream hung up without an answer: 502.
    #[error("the upstream closed the connection without an answer")]
    Closed(#[source] WireError),
    /// What the upstream sent is not HTTP/1.1: 502.
    #[error("the upstream's answer cannot be read")]
    Unreadable(#[source] WireError),
    /// The head of the upstream's answer has no end within our limits: 502.
    #[error(
        "the head of the upstream's answer has more fields than server.limits.upstream_fields, or more than 64 KiB"
    )]
    AnswerHead(#[source] WireError),
    /// What the upstream sent may not be passed on: 502.
    #[error("the upstream's answer is refused")]
    BadAnswer(#[source] AnswerFault),
    /// The upstream wants a nonce in the proof of a request too long to be sent twice; the next will hold
    /// one: 503.
    #[error(
        "the upstream wants a nonce in the proof of possession, and the body is too long to be kept"
    )]
    NonceWanted,
    /// The upstream takes the proof for none: 502.
    #[error(
        "{upstream} refuses the proof of possession, which calls its address {htu}: route.dpop_htu says how it knows itself; or its clock is not ours"
    )]
    ProofRefused {
        /// The upstream.
        upstream: String,
        /// The address that the proof was made for.
        htu: String,
    },
    /// The browser's body broke off or was malformed: 400.
    #[error("the request's body broke off")]
    BrowserBody,
    /// The body is larger than the route allows: 413.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// The browser stopped sending: 408.
    #[error("the request's body did not come in time")]
    BodyIdle,
    /// The request has come through us before, again and again: 508.
    #[error("the request goes in circles")]
    LoopDetected,
    /// The session ended while the upstream was thinking: as if there were none.
    #[error("whoever called may call no more: {}", .0.as_str())]
    Ended(EndReason),
    /// The request cannot be put into words for this upstream; our fault: 500.
    #[error("the request to the upstream cannot be built")]
    Unbuildable(#[source] http::Error),
}

impl From<UploadFault> for ForwardError {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::Broken => Self::BrowserBody,
            UploadFault::TooLarge => Self::BodyTooLarge,
            UploadFault::Idle => Self::BodyIdle,
        }
    }
}
