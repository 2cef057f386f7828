//! What of an answer is on the account of whoever asks without a session.
//!
//! Who asks decides when an answer is over: an HTTP/2 stream whose window stays shut keeps the call to
//! its upstream, or the file, for as long as the timeouts let it. So each is a turn of its address, and
//! whoever floods is refused first.

use http::{Response, Version};

use crate::pipeline::Serving;
use crate::pipeline::Shared;
use crate::pipeline::error::Refusal;
use crate::web::body::Body;
use crate::web::strangers::{Demand, Source, Turn};

impl Serving<'_> {
    /// The right of this caller to one more of these.
    pub(super) fn turn(&self, demand: Demand, source: impl Into<Source>) -> Result<Turn, Refusal> {
        let Shared {
            strangers, clock, ..
        } = self.worker.shared();
        let turn = strangers.hold(demand, source, clock.now());
        turn.map_err(Refusal::Strangers)
    }
}

/// The answer, with its turn, if it is a stranger's, held until it is over. Bytes at hand hold nothing of ours, and over
/// HTTP/1.1 there is one answer a connection: only streams that others share one with are counted.
pub(super) fn held(answer: Response<Body>, turn: Option<Turn>, version: Version) -> Response<Body> {
    let Some(turn) = turn else {
        return answer;
    };
    if matches!(answer.body(), Body::Stream(_)) || version >= Version::HTTP_2 {
        answer.map(|body| body.holding(turn))
    } else {
        answer
    }
}
