//! A reverse proxy with nothing in it: hyper, hyper-util's pooled client, one header. What it costs
//! is what the engine costs when nobody has thought about it.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::{Outcome, one_thread, tell};

type Pool = Client<HttpConnector, Incoming>;

const BEARER: HeaderValue = HeaderValue::from_static("Bearer bare-proxy");

/// Listens on a free port, says which, and forwards everything to the upstream.
pub(crate) fn run(upstream_port: &str) -> Outcome {
    let upstream: Authority = format!("127.0.0.1:{upstream_port}").parse()?;
    one_thread()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        tell(listener.local_addr()?.port());
        #[expect(clippy::disallowed_methods, reason = "it is what is compared with")]
        let pool: Pool = Client::builder(TokioExecutor::new()).build_http();
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let (pool, upstream) = (pool.clone(), upstream.clone());
            let service = service_fn(move |request| {
                let (pool, upstream) = (pool.clone(), upstream.clone());
                async move { Ok::<_, Infallible>(forward(&pool, &upstream, request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    })
}

async fn forward(
    pool: &Pool,
    upstream: &Authority,
    mut request: Request<Incoming>,
) -> Response<Either<Incoming, Empty<Bytes>>> {
    let target = request.uri().path_and_query().cloned();
    let mut uri = Uri::builder().scheme("http").authority(upstream.clone());
    if let Some(target) = target {
        uri = uri.path_and_query(target);
    }
    let headers = request.headers_mut();
    headers.remove(HOST);
    headers.insert(AUTHORIZATION, BEARER);
    let answer = match uri.build() {
        Ok(uri) => {
            *request.uri_mut() = uri;
            pool.request(request).await.ok()
        }
        Err(_) => None,
    };
    if let Some(answer) = answer {
        return answer.map(Either::Left);
    }
    let mut refusal = Response::new(Either::Right(Empty::new()));
    *refusal.status_mut() = StatusCode::BAD_GATEWAY;
    refusal
}
