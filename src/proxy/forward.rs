//! A request to its upstream, and the answer back.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::proxy::PathRewrite;
use crate::proxy::exchange::{self, Bounds, Failure, Tail};
use crate::proxy::headers::location::Locations;
use crate::proxy::headers::request::{self, HeadFor, MaxForwards};
use crate::proxy::headers::response::{self, Trailers};
use crate::proxy::path::RequestPath;
use crate::proxy::route::{Route, Upstream};
use crate::proxy::upload::Outgoing;
use crate::proxy::upstream::{Link, Upstreams};
use crate::proxy::wire::{Framing, Outbound};
use crate::web::body::Body;
use crate::web::client_address::ClientAddress;
use crate::web::cookie_names::CookieNames;
use crate::web::ending::Ending;
use crate::web::public_origin::PublicOrigin;

pub use crate::proxy::error::ForwardError;
pub use crate::proxy::headers::response::{AnswerFault, check as check_answer};
pub use crate::proxy::upload::{RequestBody, UploadFault};

/// One request to forward.
#[derive(Debug)]
pub struct Call<'a> {
    /// Where it goes.
    pub route: &'a Route,
    /// Its head, as the browser sent it.
    pub parts: &'a Parts,
    /// Its body.
    pub body: RequestBody,
    /// Its path, as it was matched.
    pub path: &'a RequestPath,
    /// The credential to add, if there is one.
    pub authorization: Option<&'a HeaderValue>,
    /// What the operator has it told of its session.
    pub told: &'a [(HeaderName, HeaderValue)],
    /// Who calls.
    pub client: &'a ClientAddress,
    /// The origin that the browser sees.
    pub public: &'a PublicOrigin,
    /// The id that joins the log lines of this request.
    pub request_id: &'a HeaderValue,
    /// The cookies that stay here.
    pub strip: &'a CookieNames,
    /// The end of the session that this answer belongs to.
    pub ending: Option<Ending>,
}

impl<'a> Call<'a> {
    /// How the upstream's addresses look from here.
    pub(super) fn locations(&self, upstream: &'a Upstream) -> Locations<'a> {
        Locations {
            route: self.route,
            upstream,
            public: self.public,
            asked: self.parts,
        }
    }
}

/// Whether an exchange may use a connection that has served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// An idle one, where there is one.
    Allowed,
    /// A new one, which the upstream cannot be about to close.
    Never,
}

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
        let body = std::mem::take(&mut call.body);
        let (mut body, progress) = Outgoing::new(body, self.upload_limits(call.route));
        let bounds = Bounds {
            timeout: settings.timeout,
            progress: progress.as_ref(),
            ending: call.ending.as_ref(),
        };
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
                let head = head_for(&call, upstream, &target, &framing);
                let outbound = Outbound {
                    framing: framing.clone(),
                    body,
                    is_head: call.parts.method == Method::HEAD,
                };
                link.wire
                    .begin(outbound, |into| request::write(into, call.parts, &head));
                match exchange::exchange(&mut link, &bounds).await {
                    Ok(answer) => return self.answer(call, upstream, link, answer),
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

pub(super) fn head_for<'a>(
    call: &Call<'a>,
    upstream: &'a Upstream,
    target: &'a PathAndQuery,
    framing: &'a Framing,
) -> HeadFor<'a> {
    HeadFor {
        target,
        host: call.route.host_sent(upstream, call.public, call.parts),
        prefix: upstream.forwarded_prefix(),
        framing,
        becomes_websocket: false,
        authorization: call.authorization,
        told: call.told,
        client: call.client,
        public: call.public,
        request_id: call.request_id,
        strip: call.strip,
        passed: call.route.settings().passed_fields.as_ref(),
        changes: &call.route.settings().request_headers,
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

/// The request-target for this upstream: its base path, the path as the route rewrites it, and the
/// query as it came.
pub(super) fn target(call: &Call<'_>, upstream: &Upstream) -> Result<PathAndQuery, ForwardError> {
    let rewrite = &call.route.settings().path_rewrite;
    if *rewrite == PathRewrite::Keep
        && upstream.base_path().is_empty()
        && call.path.is_as_it_came()
        && let Some(came) = call.parts.uri.path_and_query()
        // One in absolute form may begin with its query.
        && !came.as_str().starts_with('?')
    {
        return Ok(came.clone());
    }
    let path = call.path.as_str();
    let prefix = call.route.settings().path.trim_end_matches('/');
    let below = path.strip_prefix(prefix).unwrap_or(path);
    let (front, rest) = match rewrite {
        PathRewrite::Keep => ("", path),
        PathRewrite::StripPrefix => ("", below),
        PathRewrite::ReplacePrefix(to) => (to.trim_end_matches('/'), below),
    };
    let mut text = format!("{}{front}{rest}", upstream.base_path());
    if text.is_empty() {
        text.push('/');
    }
    if let Some(query) = call.parts.uri.query() {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(text))
        .map_err(|error| ForwardError::Unbuildable(error.into()))
}
