//! One request to forward, as each of its tries sees it.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use crate::proxy::PathRewrite;
use crate::proxy::error::ForwardError;
use crate::proxy::headers::location::Locations;
use crate::proxy::headers::request::HeadFor;
use crate::proxy::path::RequestPath;
use crate::proxy::route::{Route, Upstream};
use crate::proxy::upload::RequestBody;
use crate::proxy::wire::Framing;
use crate::web::client_address::ClientAddress;
use crate::web::cookie_names::CookieNames;
use crate::web::ending::Ending;
use crate::web::proof::Proving;
use crate::web::public_origin::PublicOrigin;

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
    /// What that is bound to, if to anything (RFC 9449).
    pub proving: Option<&'a Proving<'a>>,
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
        proof: None,
        told: call.told,
        client: call.client,
        public: call.public,
        request_id: call.request_id,
        strip: call.strip,
        passed: call.route.settings().passed_fields.as_ref(),
        changes: &call.route.settings().request_headers,
    }
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
