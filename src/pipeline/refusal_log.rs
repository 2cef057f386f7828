//! What the log says of a refused request: how loud, and how often.
//!
//! The cause is written for operators, with the request id that the browser was shown (N4); the
//! answer itself is `error`'s.

use http::StatusCode;

use crate::auth::login::LoginError;
use crate::pipeline::context::Context;
use crate::pipeline::error::{Code, Refusal, RefusedRequest};
use crate::proxy::forward::ForwardError;
use crate::telemetry::chain;
use crate::web::site_id::SiteId;

/// What a refusal is to the reader of the log.
enum Told {
    /// A warning each: an upstream or we ourselves failed, and nobody else says so.
    Warning,
    /// A line each, under the id that the page shows: the part that met the cause warns of it.
    Line,
    /// A line each, and a warning once a minute and cause: nobody else says so, and it may come in
    /// floods.
    Login,
    /// For whoever looks closely: the browser's own doing.
    Detail,
}

/// Writes why the request was refused, and with which status and code.
pub(in crate::pipeline) fn write(
    refusal: &Refusal,
    (status, code): (StatusCode, Code),
    ctx: &Context,
    request: &RefusedRequest<'_>,
) {
    let (id, cause) = (ctx.request_id(), chain(refusal));
    let site = request.site.and_then(SiteId::named);
    if let Refusal::UnknownHost(host) = refusal {
        elsewhere(host, request);
    }
    let told = told(refusal, status, code);
    let (status, code) = (status.as_u16(), code.as_str());
    match told {
        Told::Warning => {
            tracing::warn!(
                event = "request.failed",
                request.id = id,
                site_id = site,
                status,
                code,
                cause,
                "request failed"
            );
        }
        Told::Line => tracing::info!(
            event = "request.refused",
            request.id = id,
            site_id = site,
            status,
            code,
            cause,
            "request refused"
        ),
        Told::Login => {
            tracing::info!(
                event = "login.failed",
                request.id = id,
                site_id = site,
                status,
                code,
                cause,
                "login failed"
            );
            // A cause at one site is none at another.
            let kind = site.map(|site| format!("{site}: {cause}"));
            let kind = kind.as_deref().unwrap_or(&cause);
            if let Some(left_out) = request.warnings.due(kind, request.now) {
                let remedy = remedy(refusal);
                tracing::warn!(
                    event = "login.failing",
                    site_id = site,
                    cause,
                    remedy,
                    left_out,
                    "logins fail"
                );
            }
        }
        Told::Detail => tracing::debug!(
            event = "request.refused",
            request.id = id,
            site_id = site,
            status,
            code,
            cause,
            "request refused"
        ),
    }
}

/// Once a minute, both hosts: where a proxy loses `Host`, nothing is served, and nothing else says why.
/// No warning: whoever looks for open ports asks by the address.
fn elsewhere(host: &str, request: &RefusedRequest<'_>) {
    const LONGEST: usize = 255;
    if let Some(left_out) = request.warnings.due("another host", request.now) {
        let host: String = host.chars().take(LONGEST).collect();
        let public_url = request.relying_party.map(|relying_party| {
            let public_url = &relying_party.settings().public_url;
            public_url.origin().ascii_serialization()
        });
        let key = match public_url {
            Some(_) => "server.public_url",
            None => "the public_url of the site that is meant",
        };
        tracing::info!(
            event = "request.elsewhere",
            host = host.as_str(),
            public_url,
            left_out,
            "a request came for a host that is not served here; let the proxy before it leave Host as it came, or correct {key}"
        );
    }
}

fn told(refusal: &Refusal, status: StatusCode, code: Code) -> Told {
    match refusal {
        Refusal::Callback(_)
        | Refusal::CallbackForm
        | Refusal::Login(LoginError::Provider(_) | LoginError::Hopeless { .. }) => Told::Login,
        // What anybody may send is told by whoever reads it, and a want of room where it is met.
        Refusal::BackchannelLogout(_)
        | Refusal::Strangers(_)
        | Refusal::Forward(ForwardError::Busy) => Told::Detail,
        // A link of the app is wrong, and the page does not say which part of it.
        Refusal::Login(LoginError::BadParameter(_) | LoginError::UnknownProvider)
        | Refusal::Token(_) => Told::Line,
        _ if code == Code::StoreUnavailable => Told::Line,
        _ if status.is_server_error() => Told::Warning,
        _ => Told::Detail,
    }
}

fn remedy(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Callback(error) => error.cause.remedy(),
        _ => None,
    }
}
