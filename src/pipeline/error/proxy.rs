//! What the faults of a request's head and the failures on the way upstream come to.

use http::StatusCode;

use crate::pipeline::error::verdict::{TOO_BUSY, Verdict, bad_request, verdict};
use crate::pipeline::error::{Code, auth};
use crate::proxy::forward::ForwardError;
use crate::proxy::message::MessageFault;
use crate::proxy::upgrade::HandshakeFault;

pub(super) fn message(fault: MessageFault) -> Verdict {
    match fault {
        MessageFault::Framing(_)
        | MessageFault::Host
        | MessageFault::Target
        | MessageFault::Repeated(_)
        | MessageFault::ConnectionField
        | MessageFault::BlankAround
        | MessageFault::Nominations => bad_request("The request is malformed."),
        MessageFault::UnknownCoding => verdict(
            Code::NotImplemented,
            "Not implemented",
            "The transfer coding of the request is not known here.",
        ),
        MessageFault::Method => verdict(
            Code::MethodNotAllowed,
            "Method not allowed",
            "This method is not served here.",
        ),
        MessageFault::Expectation => verdict(
            Code::ExpectationFailed,
            "Expectation failed",
            "The request expects something that is not known here.",
        ),
    }
}

pub(super) fn handshake(fault: HandshakeFault) -> Verdict {
    match fault {
        // The one status that is not its code's: it goes with the version that is spoken.
        HandshakeFault::Version => Verdict {
            status: StatusCode::UPGRADE_REQUIRED,
            ..verdict(
                Code::BadRequest,
                "WebSocket version not supported",
                "Version 13 of the WebSocket protocol is spoken here.",
            )
        },
        HandshakeFault::Malformed => bad_request("The WebSocket handshake is malformed."),
    }
}

pub(super) fn forward(error: &ForwardError) -> Verdict {
    match error {
        ForwardError::Connect { .. }
        | ForwardError::Closed(_)
        | ForwardError::Unreadable(_)
        | ForwardError::AnswerHead(_)
        | ForwardError::BadAnswer(_)
        | ForwardError::ProofRefused { .. } => verdict(
            Code::UpstreamUnavailable,
            "Service unavailable",
            "The service behind this address cannot be reached or does not answer properly.",
        ),
        ForwardError::Busy | ForwardError::NonceWanted => TOO_BUSY,
        ForwardError::Timeout => verdict(
            Code::UpstreamTimeout,
            "Service too slow",
            "The service behind this address did not answer in time.",
        ),
        ForwardError::BrowserBody => bad_request("The body of the request broke off."),
        ForwardError::BodyTooLarge => verdict(
            Code::BodyTooLarge,
            "Body too large",
            "The body of the request is larger than this address takes.",
        ),
        ForwardError::BodyIdle => verdict(
            Code::BodyTimeout,
            "Body too slow",
            "The body of the request did not come in time.",
        ),
        ForwardError::LoopDetected => verdict(
            Code::LoopDetected,
            "Loop detected",
            "The request has been here before, again and again.",
        ),
        ForwardError::Ended(reason) => auth::ended(Some(*reason)),
        ForwardError::Unbuildable(_) => verdict(
            Code::Internal,
            "Internal error",
            "The request could not be forwarded.",
        ),
    }
}
