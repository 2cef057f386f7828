//! How a refusal is answered: the body its reader understands, and the header fields that go with it.

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use serde_json::{Map, Value, json};

use crate::auth::pending_login::Window;
use crate::pipeline::context::Context;
use crate::pipeline::csrf::CsrfFault;
use crate::pipeline::error::verdict::Verdict;
use crate::pipeline::error::{Code, Refusal, RefusedRequest};
use crate::pipeline::{developer, pages, refusal_log};
use crate::proxy::upgrade::HandshakeFault;
use crate::session::cookie::Presented;
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::problem::{ForPeople, Problem};

/// What a person reads who opens an address that is for scripts.
const FOR_THE_APP: ForPeople = ForPeople {
    title: "This address is for the app",
    detail: "The app gets its data here; opened by itself, the address shows nothing. Open the app instead.",
};

/// Seconds after which an outage is worth another try: the pace of our own retries (L5).
const RETRY_IN: HeaderValue = HeaderValue::from_static("5");

/// The answer to a refused request, in the shape its reader understands.
pub fn answer(refusal: &Refusal, ctx: &Context, request: &RefusedRequest<'_>) -> Response<Body> {
    let verdict = refusal.verdict();
    refusal_log::write(refusal, (verdict.status, verdict.code), ctx, request);
    let mut response = body(refusal, &verdict, ctx, request);
    let headers = response.headers_mut();
    add_fields(headers, refusal, &verdict, request.version);
    if verdict.code.deletes_cookie()
        && let Some(relying_party) = request.relying_party
        && let Some(Presented::Session(cookie)) = &ctx.presented
    {
        for line in relying_party.session_cookie().delete(cookie) {
            headers.append(SET_COOKIE, line);
        }
    }
    response
}

/// A problem document, a page, or an error of OAuth's: what its reader understands.
fn body(
    refusal: &Refusal,
    verdict: &Verdict,
    ctx: &Context,
    request: &RefusedRequest<'_>,
) -> Response<Body> {
    let offers_login = verdict.code.offers_login();
    let problem = Problem {
        status: verdict.status,
        code: verdict.code.as_str(),
        title: verdict.title,
        detail: developer::told(refusal, request.audience)
            .unwrap_or_else(|| verdict.detail.clone().into_owned()),
        request_id: ctx.request_id().to_owned(),
        login_url: (offers_login.then(|| request.login_url(refusal))).flatten(),
        for_people: for_people(refusal),
        on: request.way_on(refusal, verdict),
        home: request.way_home(refusal),
        extra: extra(refusal),
    };
    if verdict.code == Code::InvalidRequest {
        oauth_error(verdict)
    } else if !request.arrival.is_seen() {
        problem.json()
    } else if request.window(refusal) == Window::Popup {
        pages::failed_window(&problem, reason_in_window(refusal, verdict.code))
    } else {
        let own = request.error_page.and_then(|page| page.fill(&problem));
        own.unwrap_or_else(|| problem.page())
    }
}

/// The header fields that a refusal brings along.
fn add_fields(headers: &mut HeaderMap, refusal: &Refusal, verdict: &Verdict, version: Version) {
    if matches!(
        verdict.status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        headers.insert(RETRY_AFTER, RETRY_IN);
    }
    match refusal {
        Refusal::MethodNotAllowed(allow) => {
            let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                headers.insert(ALLOW, names);
            }
        }
        // What follows such a head may be misread (J1–J5).
        Refusal::Message(_) if version <= Version::HTTP_11 => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::Handshake(HandshakeFault::Version) => {
            headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        }
        Refusal::Callback(error) => {
            headers.extend(error.cookie.clone().map(|line| (SET_COOKIE, line)));
        }
        _ => {}
    }
}

/// In the words of people, what is otherwise told to those who write programs.
fn for_people(refusal: &Refusal) -> Option<ForPeople> {
    match refusal {
        Refusal::Csrf(CsrfFault::Header) | Refusal::MethodNotAllowed(_) => Some(FOR_THE_APP),
        Refusal::Csrf(CsrfFault::Origin) => Some(ForPeople {
            detail: "Another site sent you here, and this address answers to pages of this site alone. Open the app instead.",
            ..FOR_THE_APP
        }),
        _ => None,
    }
}

/// Why a login in a window of its own failed, as the page that opened it is told.
fn reason_in_window(refusal: &Refusal, code: Code) -> &'static str {
    match refusal {
        Refusal::Callback(error) => error.word_of_the_provider().unwrap_or(code.as_str()),
        _ => code.as_str(),
    }
}

/// An error as OAuth writes it (RFC 6749 §5.2).
fn oauth_error(verdict: &Verdict) -> Response<Body> {
    let body = json!({ "error": verdict.code.as_str() }).to_string();
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = verdict.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why the session ended, in the words of `/bff/session`: the next request brings no cookie any more. And
/// what another login must be like.
fn extra(refusal: &Refusal) -> Map<String, Value> {
    if let Refusal::StepUp(step_up) = refusal {
        return step_up.members();
    }
    let member = |reason: EndReason| ("ended".to_owned(), Value::from(reason.as_str()));
    refusal.end_reason().map(member).into_iter().collect()
}
