//! The API behind the proxies: answers of a known size, and nothing else.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{Outcome, one_thread, tell};

const SMALL: usize = 200;
const LARGE: usize = 64 * 1024;

/// Listens on a free port, says which, and answers until it is killed. A call without a bearer
/// token is answered 401: a proxy that forgets it must not look fast.
pub(crate) fn run() -> Outcome {
    one_thread()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        tell(listener.local_addr()?.port());
        let small = Bytes::from(vec![b's'; SMALL]);
        let large = Bytes::from(vec![b'l'; LARGE]);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let (small, large) = (small.clone(), large.clone());
            let service = service_fn(move |request| {
                let (small, large) = (small.clone(), large.clone());
                async move { Ok::<_, Infallible>(answer(request, small, large).await) }
            });
            tokio::spawn(
                http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(socket), service),
            );
        }
    })
}

async fn answer(request: Request<Incoming>, small: Bytes, large: Bytes) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let authorized = parts
        .headers
        .get(http::header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
    if !authorized || body.collect().await.is_err() {
        let mut refusal = Response::new(Full::default());
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        return refusal;
    }
    let bytes = if parts.uri.path().ends_with("/large") {
        large
    } else {
        small
    };
    let mut response = Response::new(Full::new(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
