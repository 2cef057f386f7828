//! The demo API: shows its caller what arrived, so that one sees what `bff` adds and takes away.
//!
//! No part of a token is ever shown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::provider::core::{ACR_VALUES, Core, Introspection};
use super::provider::shown::{Shown, say_nonce};
use super::serve::{collect, json as json_reply, reply};
use crate::clock::Clock;
use crate::web::body::{Body, BodyError};
use crate::web::proof::DPOP;

/// The sign-in that a payment asks for, as the development provider knows it.
const STRONG: &str = ACR_VALUES[1];

/// The demo API; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Api {
    core: Arc<Core>,
    clock: Arc<dyn Clock>,
}

impl Api {
    pub(super) fn new(core: Arc<Core>, clock: Arc<dyn Clock>) -> Self {
        Self { core, clock }
    }

    /// Answers a request to `/api/…`.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let shown = Shown::of(request.headers());
        let htu = address(&request);
        let caller = self.core.presented(shown, request.method().as_str(), &htu);
        let mut answer = match caller {
            Ok(caller) => self.answer_to(request, &caller).await,
            Err(refusal) => refused(refusal.code, &refusal.challenge()),
        };
        say_nonce(answer.headers_mut(), self.core.fresh_nonce());
        answer
    }

    async fn answer_to(
        &self,
        mut request: Request<Incoming>,
        caller: &Introspection,
    ) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/hello") => json_reply(StatusCode::OK, &received(&request, caller)),
            (&Method::POST, "/api/pay") if caller.acr != Some(STRONG) => ask_for_more(),
            (&Method::POST, "/api/echo" | "/api/pay") => echo(request, caller).await,
            (&Method::GET, "/api/events") => self.events(),
            (&Method::GET, "/api/ws") => web_socket(&mut request),
            _ => json_reply(StatusCode::NOT_FOUND, &json!({ "error": "not_found" })),
        }
    }

    /// The time, once a second, as server-sent events.
    fn events(&self) -> Response<Body> {
        let clock = Arc::clone(&self.clock);
        let interval = tokio::time::interval(Duration::from_secs(1));
        let frames = stream::unfold((clock, interval), |(clock, mut interval)| async move {
            interval.tick().await;
            let event = format!("event: time\ndata: {}\n\n", clock.now().rfc3339());
            Some((
                Ok::<_, BodyError>(Frame::data(Bytes::from(event))),
                (clock, interval),
            ))
        });
        let mut response = reply(StatusCode::OK, "text/event-stream", "");
        *response.body_mut() = Body::stream(StreamBody::new(frames));
        response
    }
}

/// What the API saw of a request.
fn received<B>(request: &Request<B>, caller: &Introspection) -> Value {
    let mut headers = Map::new();
    for name in request.headers().keys() {
        let shown = if name == header::AUTHORIZATION {
            blanked(request.headers())
        } else if name == DPOP {
            "(blanked)".to_owned()
        } else {
            let values: Vec<_> = request
                .headers()
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            values.join(", ")
        };
        headers.insert(name.to_string(), Value::from(shown));
    }
    json!({
        "method": request.method().as_str(),
        "path": request.uri().path_and_query().map(ToString::to_string),
        "headers": headers,
        "bearer": true,
        "token": "(blanked)",
        "sub": caller.sub,
        "scope": caller.scope.join(" "),
        "acr": caller.acr,
    })
}

/// The scheme of the credential, and nothing of the token.
fn blanked(headers: &HeaderMap) -> String {
    let scheme = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '));
    format!("{} (blanked)", scheme.map_or("", |(scheme, _)| scheme))
}

async fn echo(request: Request<Incoming>, caller: &Introspection) -> Response<Body> {
    let Ok(request) = collect(request).await else {
        return json_reply(StatusCode::BAD_REQUEST, &json!({ "error": "bad_body" }));
    };
    let mut seen = received(&request, caller);
    let body = serde_json::from_slice(request.body())
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(request.body()).into_owned()));
    if let Some(seen) = seen.as_object_mut() {
        seen.insert("body".to_owned(), body);
    }
    json_reply(StatusCode::OK, &seen)
}

/// Says everything back (RFC 6455).
fn web_socket(request: &mut Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut *request);
    let headers = request.headers();
    let asked = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asked);
    let accept = key
        .map(|key| derive_accept_key(key.as_bytes()))
        .and_then(|accept| HeaderValue::from_str(&accept).ok());
    let Some(accept) = accept else {
        return reply(StatusCode::UPGRADE_REQUIRED, "text/plain", "A WebSocket.");
    };
    tokio::spawn(say_back(upgrade));
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn say_back(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// How a proof calls the address of a request: as it was called.
fn address<B>(request: &Request<B>) -> String {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}{}", request.uri().path())
}

/// Asks for a stronger sign-in (RFC 9470 §3).
fn ask_for_more() -> Response<Body> {
    let error = "insufficient_user_authentication";
    refused(
        error,
        &format!("Bearer error=\"{error}\", acr_values=\"{STRONG}\""),
    )
}

fn refused(error: &str, challenge: &str) -> Response<Body> {
    let mut response = json_reply(StatusCode::UNAUTHORIZED, &json!({ "error": error }));
    if let Ok(challenge) = HeaderValue::from_str(challenge) {
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
