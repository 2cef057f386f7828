//! A request to its upstream, and the answer back.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::proxy::call::{head_for, target};
use crate::proxy::exchange::{self, Bounds, Failure, Tail};
use crate::proxy::headers::request::{self, HeadFor, MaxForwards};
use crate::proxy::headers::response::{self, Trailers};
use crate::proxy::proven::Proven;
use crate::proxy::route::{Route, Upstream};
use crate::proxy::upload::Outgoing;
use crate::proxy::upstream::{Link, Reuse, Upstreams};
use crate::proxy::wire::{Framing, Outbound};
use crate::web::body::Body;

pub use crate::proxy::call::Call;
pub use crate::proxy::error::ForwardError;
pub use crate::proxy::headers::response::{AnswerFault, check as check_answer};
pub use crate::proxy::upload::{RequestBody, UploadFault};

impl Upstreams {
    /// Forwards one request and gives the answer, its body streaming.
    ///
    /// A connection that turns out stale costs one more try, where that cannot make the upstream
    /// act twice; an upstream that cannot be reached passes the request to the next of its route.
    ///
    /// # Errors
    ///
    /// Where no answer came that may be passed on.
    pub async fn forward(&self, mut call: Call<'_>) -> Result<Response<Body>, ForwardError> {
        if request::is_loop(&call.parts.headers) {
            return Err(ForwardError::LoopDetected);
        }
        if request::max_forwards(call.parts) == MaxForwards::Ends {
            let mut answer = Response::new(Body::Empty);
            *answer.status_mut() = StatusCode::NO_CONTENT;
            return Ok(answer);
        }
        let settings = call.route.settings();
        if call.body.is_said_to_be_empty() {
            Box::pin(call.body.end(self.idle_limit(call.route))).await?;
        }
        let length = call.body.length();
        if let (Some(max), Some(length)) = (settings.max_body, length)
            && length > max
        {
            return Err(ForwardError::BodyTooLarge);
        }
        let framing = framing(&call, length);
        let mut proven = match call.proving {
            None => None,
            Some(proving) => {
                let limits = self.upload_limits(call.route);
                let begun = Proven::begin(proving, &mut call.body, limits);
                Some(Box::new(Box::pin(begun).await?))
            }
        };
        let body = std::mem::take(&mut call.body);
        let (mut body, mut progress) = Outgoing::new(body, self.upload_limits(call.route));
        let mut unreached = None;
        for upstream in call.route.upstreams_in_turn() {
            let mut reuse = Reuse::Allowed;
            loop {
                let mut link = match self.link(call.route, upstream, reuse).await {
                    Ok(link) => link,
                    // No fault of the upstream's, and no other would fare better.
                    Err(ForwardError::Busy) => return Err(ForwardError::Busy),
                    Err(error) => {
                        self.pass_over(call.route, upstream);
                        unreached = Some(error);
                        break;
                    }
                };
                let target = target(&call, upstream)?;
                if let Some(proven) = &mut proven {
                    proven.make_ready(self, &call, upstream, &target).await;
                }
                let head = HeadFor {
                    proof: proven.as_deref().and_then(Proven::proof),
                    ..head_for(&call, upstream, &target, &framing)
                };
                let outbound = Outbound {
                    framing: framing.clone(),
                    body,
                    is_head: call.parts.method == Method::HEAD,
                };
                link.wire
                    .begin(outbound, |into| request::write(into, call.parts, &head));
                let bounds = Bounds {
                    timeout: settings.timeout,
                    progress: progress.as_ref(),
                    ending: call.ending.as_ref(),
                };
                match exchange::exchange(&mut link, &bounds).await {
                    Ok(answer) => {
                        if let Some(proven) = &mut proven
                            && let Some(kept) = proven.hear(upstream, &answer)?
                        {
                            let limits = self.upload_limits(call.route);
                            (body, progress) = Outgoing::new(kept, limits);
                            self.let_go(call.route, link);
                            continue;
                        }
                        return self.answer(call, upstream, link, answer);
                    }
                    Err(Failure::Final(error)) => return Err(error),
                    Err(Failure::Unsent(unsent, _)) if reuse == Reuse::Allowed => body = unsent,
                    // The upstream hung up as the request set out: it cannot have begun it twice
                    // to any effect, and nothing of a body is lost.
                    Err(Failure::Lost(_))
                        if link.reused
                            && progress.is_none()
                            && call.parts.method.is_idempotent() =>
                    {
                        body = Outgoing::Empty;
                    }
                    Err(Failure::Unsent(_, error) | Failure::Lost(error)) => {
                        return Err(ForwardError::Closed(error));
                    }
                }
                reuse = Reuse::Never;
            }
        }
        Err(unreached.unwrap_or(ForwardError::Timeout))
    }

    /// A connection to this upstream of the route.
    pub(super) async fn link(
        &self,
        route: &Route,
        upstream: &Upstream,
        reuse: Reuse,
    ) -> Result<Box<Link>, ForwardError> {
        let origin = upstream.origin();
        if reuse == Reuse::Allowed
            && let Some(link) = self.take(origin)
        {
            return Ok(link);
        }
        let room = self.room().ok_or(ForwardError::Busy)?;
        // Boxed: it is large, rare, and would make every request's future as large.
        Box::pin(self.connect(origin, room))
            .await
            .map_err(|source| ForwardError::Connect {
                route: Arc::clone(route.name()),
                upstream: origin.as_str().to_owned(),
                source,
            })
    }

    /// The next upstream of the route stands in for this one, and goes on to.
    pub(super) fn pass_over(&self, route: &Route, upstream: &Upstream) {
        if route.has_others() {
            self.give_up(upstream.origin());
        }
    }

    /// Judges and cleans the answer's head and attaches its body.
    pub(super) fn answer(
        &self,
        call: Call<'_>,
        upstream: &Upstream,
        link: Box<Link>,
        mut parts: http::response::Parts,
    ) -> Result<Response<Body>, ForwardError> {
        check_answer(&parts).map_err(ForwardError::BadAnswer)?;
        let trailers = if request::wants_trailers(&call.parts.headers) {
            Trailers::Pass
        } else {
            Trailers::Drop
        };
        let idle = (!is_event_stream(&parts)).then(|| self.idle_limit(call.route));
        response::clean(&mut parts, &call.locations(upstream), call.strip, trailers);
        let tail = Tail {
            upstreams: self.clone(),
            link,
            trailers,
            route: Arc::clone(call.route.name()),
            idle,
            ending: call.ending,
        };
        let body = exchange::body(tail);
        Ok(Response::from_parts(parts, body))
    }
}

/// J7: one framing of our choosing.
fn framing(call: &Call<'_>, length: Option<u64>) -> Framing {
    let parts = call.parts;
    match (&call.body, length) {
        (RequestBody::Empty, _) => {
            let expected = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
            if expected || parts.headers.contains_key(CONTENT_LENGTH) {
                Framing::Length(0)
            } else {
                Framing::None
            }
        }
        (_, Some(length)) => Framing::Length(length),
        // Those trailers that are not announced stay here.
        (_, None) if call.route.settings().passed_fields.is_some() => Framing::Chunked(Vec::new()),
        (_, None) => {
            let changes = &call.route.settings().request_headers;
            Framing::Chunked(request::announced_trailers(&parts.headers, changes))
        }
    }
}

/// An event stream is silent for as long as nothing happens; anything else that is has a fault.
fn is_event_stream(parts: &http::response::Parts) -> bool {
    let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.and_then(|kind| kind.get(..17))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}
