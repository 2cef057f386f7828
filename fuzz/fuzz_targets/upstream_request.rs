//! I6, J7, J8, J12: any head in order with any body, however that comes, reaches an upstream as exactly one
//! request, with the fields meant, all of the body and no trailer that was not announced. One connection
//! serves one after another, so that a word too many or too few falls out of the next.
#![no_main]

use std::cell::{LazyCell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bff::proxy::forward::{Call, RequestBody};
use bff::proxy::message::check_request;
use bff::proxy::path::{PathRules, RequestPath};
use bff::proxy::route::RouteMatch;
use bff::web::body::Body;
use bff::web::client_address::{ClientAddress, TrustedProxies};
use bff_fuzz::stage::Stage;
use bff_fuzz::{head, headers};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::net::TcpListener;

thread_local! {
    static STAGE: LazyCell<Stage> = const { LazyCell::new(|| Stage::new(hear_all)) };
    /// What the upstream has read.
    static HEARD: RefCell<Vec<Heard>> = const { RefCell::new(Vec::new()) };
}

struct Heard {
    parts: Parts,
    body: Bytes,
    trailers: HeaderMap,
}

/// The engine's server, which reads by the book.
async fn hear_all(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service_fn(async |request: Request<Incoming>| {
            let (parts, body) = request.into_parts();
            let collected = body.collect().await.expect("a body that ends");
            let trailers = collected.trailers().cloned().unwrap_or_default();
            let body = collected.to_bytes();
            HEARD.with_borrow_mut(|heard| heard.push(Heard { parts, body, trailers }));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"heard"))))
        });
        // A browser's head may have a hundred fields, and ours come on top.
        let connection = http1::Builder::new()
            .max_headers(200)
            .serve_connection(TokioIo::new(socket), service);
        tokio::task::spawn_local(async move { connection.await.expect("a request in order") });
    }
}

/// A body in pieces, each of which is waited for once.
struct Pieces {
    pieces: VecDeque<Frame<Bytes>>,
    length: Option<u64>,
    waited: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waited = !self.waited;
        if self.waited && self.pieces.len() % 2 == 0 {
            ctx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.pop_front().map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

fuzz_target!(|data: (&[u8], Vec<&[u8]>, &[u8], bool)| {
    let (request, pieces, trailers, is_long) = data;
    let Some(parts) = head(request) else { return };
    if check_request(&parts).is_err() {
        return;
    }
    // Long ones are not copied behind the head.
    let times = if is_long { 3_000 } else { 1 };
    let pieces: Vec<Bytes> = pieces.into_iter().map(|piece| piece.repeat(times).into()).collect();
    STAGE.with(|stage| check(stage, &parts, pieces, headers(trailers)));
});

fn check(stage: &Stage, parts: &Parts, pieces: Vec<Bytes>, trailers: HeaderMap) {
    let Ok(path) = RequestPath::parse(parts.uri.path(), PathRules::STRICT) else {
        return;
    };
    let RouteMatch::Found(route) = stage.routes.find("", &Method::GET, &path) else {
        panic!("the one route takes everything");
    };
    let whole = pieces.concat();
    let is_chunked = parts.headers.contains_key("transfer-encoding");
    let body = if pieces.is_empty() {
        RequestBody::Empty
    } else {
        let mut pieces: VecDeque<_> = pieces.into_iter().map(Frame::data).collect();
        if is_chunked {
            pieces.push_back(Frame::trailers(trailers.clone()));
        }
        RequestBody::Own(Body::stream(Pieces {
            pieces,
            length: (!is_chunked).then_some(whole.len() as u64),
            waited: false,
        }))
    };
    let bearer = HeaderValue::from_static("Bearer ours");
    let request_id = HeaderValue::from_static("id-1");
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let client = ClientAddress::resolve(peer, &parts.headers, &TrustedProxies::default());
    HEARD.take();
    let answer = stage.run(async {
        let call = Call {
            route,
            parts,
            body,
            path: &path,
            proving: None,
            authorization: Some(&bearer),
            told: &[],
            client: &client,
            public: &stage.public,
            request_id: &request_id,
            strip: &stage.strip,
            ending: None,
        };
        let answer = stage.upstreams.forward(call).await;
        match answer {
            Ok(answer) => Some(answer.into_body().collect().await.expect("an answer").to_bytes()),
            Err(error) => {
                assert!(error.to_string().contains("circle") || HEARD.with_borrow(Vec::is_empty), "{error}");
                None
            }
        }
    });
    let heard = HEARD.take();
    let Some(answer) = answer.filter(|_| !heard.is_empty()) else {
        return;
    };
    let [heard] = &heard[..] else {
        panic!("{} requests of one", heard.len());
    };
    assert!(parts.method == Method::HEAD || answer == "heard", "the answer is another's");
    assert_eq!(heard.parts.method, parts.method);
    assert_eq!(heard.parts.headers.get("host").expect("a host"), &*stage.authority);
    assert_eq!(heard.body, whole, "the body is not what was sent");
    let announced = words(&parts.headers, "trailer");
    for (name, value) in &heard.trailers {
        assert!(announced.contains(&name.as_str().to_owned()), "{name} was not announced");
        assert!(trailers.get_all(name).iter().any(|sent| sent == value), "{name} is not what was sent");
    }
    if !words(&parts.headers, "connection").contains(&"accept".to_owned()) {
        let sent: Vec<_> = parts.headers.get_all("accept").iter().collect();
        let came: Vec<_> = heard.parts.headers.get_all("accept").iter().collect();
        assert_eq!(sent, came, "a field is not what was sent");
    }
}

/// The words of a field, in lower case.
fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let words = lines.flat_map(|line| line.split(','));
    words.map(|word| word.trim().to_ascii_lowercase()).collect()
}
