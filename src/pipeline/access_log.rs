//! One line a request, written when its head is answered.
//!
//! Never a query (it may hold a code), a header, a subject (G14). Nothing of it is put together where
//! the level leaves the line out.

use http::Response;
use http::header::USER_AGENT;
use http::request::Parts;

use crate::pipeline::context::Context;
use crate::pipeline::error::Code;
use crate::telemetry::{RequestLine, RouteMetrics};
use crate::web::body::Body;
use crate::web::client_address::{ClientAddress, TrustedProxies};
use crate::web::navigation::Sender;
use crate::web::site_id::SiteId;
use crate::web::user_agent;

/// Writes the line and counts the request.
pub fn write(
    ctx: &Context,
    site: Option<&SiteId>,
    parts: &Parts,
    response: &Response<Body>,
    trusted: &TrustedProxies,
) {
    let elapsed = ctx.started.elapsed();
    if let Some(counted) = &ctx.counted {
        counted.answered(&parts.method, response.status(), elapsed);
    }
    if !RequestLine::is_wanted() {
        return;
    }
    let headers = &parts.headers;
    RequestLine {
        request_id: ctx.request_id(),
        method: parts.method.as_str(),
        path: parts.uri.path(),
        route: ctx.counted.as_ref().map(RouteMetrics::name),
        status: response.status().as_u16(),
        code: ctx.code.map(Code::as_str),
        elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        session: ctx.session.as_ref().map(|session| &*session.details.tag),
        site_id: site.and_then(SiteId::named),
        site: Sender::of(headers).as_str(),
        client: ClientAddress::resolve(ctx.connection.peer, headers, trusted).address(),
        browser: headers
            .get(USER_AGENT)
            .and_then(|name| user_agent::family(name.to_str().ok()?)),
    }
    .write();
}
