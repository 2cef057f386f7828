//! A small HTTP/1.1 listener for the development servers: loopback, no limits worth naming.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::web::body::Body;
use crate::web::own_hosts::OwnHosts;

/// The most that a request's body may hold.
const BODY_BYTES: usize = 1024 * 1024;

/// The connection is to be closed with no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed with no answer")]
pub struct Dropped;

/// Answers what comes to `listener` until `shutdown`; a page of another site that has its name point
/// here is told nothing.
pub(super) async fn serve<F, Fut>(listener: TcpListener, shutdown: CancellationToken, answer: F)
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<Body>, Dropped>> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely; others may be freed meanwhile.
            tokio::task::yield_now().await;
            continue;
        };
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let own = OwnHosts::default().serve(request.uri(), request.headers());
            let answer = own.then(|| answer(request));
            async move {
                match answer {
                    Some(answer) => answer.await,
                    None => Ok(unknown_host()),
                }
            }
        });
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the development servers broke off");
            }
        });
    }
}

fn unknown_host() -> Response<Body> {
    let sentence = "The development servers answer to IP addresses and to localhost.\n";
    let kind = "text/plain; charset=utf-8";
    reply(StatusCode::MISDIRECTED_REQUEST, kind, sentence)
}

/// The request with its body read.
///
/// # Errors
/// Where the body breaks off or is too large.
pub(super) async fn collect(
    request: Request<Incoming>,
) -> Result<Request<Bytes>, Box<dyn Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES).collect().await?.to_bytes();
    Ok(Request::from_parts(parts, body))
}

/// An answer of these parts, never stored by a cache.
pub(super) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// JSON, never stored by a cache.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    reply(status, "application/json", value.to_string())
}

/// Gives an infallible answer the type that [`serve`] takes.
pub(super) fn always(answer: Response<Body>) -> Result<Response<Body>, Dropped> {
    let answer: Result<_, Infallible> = Ok(answer);
    answer.map_err(|never| match never {})
}
