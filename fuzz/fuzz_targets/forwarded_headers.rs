//! I2–I6, I8, I11, J7, J14: any head to an upstream, and any head back. What the upstream reads is
//! framed once, carries our credential alone and no cookie of ours; what the browser gets does not
//! speak for our origin.
#![no_main]

use std::cell::{LazyCell, RefCell};
use std::net::{IpAddr, Ipv4Addr};

use bff::proxy::forward::{Call, RequestBody};
use bff::proxy::path::{PathRules, RequestPath};
use bff::proxy::route::RouteMatch;
use bff::web::client_address::{ClientAddress, TrustedProxies};
use bff_fuzz::stage::Stage;
use bff_fuzz::{COOKIE_NAME, head};
use http::{HeaderMap, HeaderValue, Method, Version};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

thread_local! {
    static STAGE: LazyCell<Stage> = const { LazyCell::new(|| Stage::new(answer_all)) };
    /// The head that the upstream reads, and the one that it answers.
    static HEARD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An upstream that writes down what it hears and answers what it was told, then hangs up.
async fn answer_all(listener: TcpListener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut heard = Vec::new();
        while !heard.windows(4).any(|window| window == b"\r\n\r\n") {
            if !matches!(socket.read_buf(&mut heard).await, Ok(1..)) {
                break;
            }
        }
        HEARD.replace(heard);
        let answer = ANSWER.take();
        drop(socket.write_all(&answer).await);
    }
}

fuzz_target!(|data: (&[u8], &[u8])| {
    let (request, answer) = data;
    let Some(parts) = head(request) else { return };
    STAGE.with(|stage| check(stage, &parts, answer));
});

fn check(stage: &Stage, parts: &http::request::Parts, answer: &[u8]) {
    let Ok(path) = RequestPath::parse(parts.uri.path(), PathRules::STRICT) else {
        return;
    };
    let RouteMatch::Found(route) = stage.routes.find("", &Method::GET, &path) else {
        panic!("the one route takes everything");
    };
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    bytes.extend_from_slice(answer);
    bytes.extend_from_slice(b"\r\n\r\n");
    ANSWER.replace(bytes);
    HEARD.take();
    let bearer = HeaderValue::from_static("Bearer ours");
    let request_id = HeaderValue::from_static("id-1");
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let client = ClientAddress::resolve(peer, &parts.headers, &TrustedProxies::default());
    let forwarded = stage.run(async {
        let answer = stage
            .upstreams
            .forward(Call {
                route,
                parts,
                body: RequestBody::Empty,
                path: &path,
                authorization: Some(&bearer),
                proving: None,
                told: &[],
                client: &client,
                public: &stage.public,
                request_id: &request_id,
                strip: &stage.strip,
                ending: None,
            })
            .await;
        match answer {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                drop(body.collect().await);
                Some(parts)
            }
            Err(_) => None,
        }
    });
    let heard = HEARD.take();
    if !heard.is_empty() {
        judge_request(&heard, &stage.authority);
    }
    if let Some(answer) = forwarded.filter(|_| !heard.is_empty()) {
        judge_answer(&answer.headers, answer.version);
    }
}

fn judge_request(heard: &[u8], authority: &str) {
    let text = String::from_utf8_lossy(heard);
    let (head, rest) = text.split_once("\r\n\r\n").expect("a whole head");
    assert!(rest.is_empty(), "bytes after the head: {rest:?}");
    let fields: Vec<(String, &str)> = head
        .split("\r\n")
        .skip(1)
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            (name.to_ascii_lowercase(), value.trim())
        })
        .collect();
    let all = |name: &str| -> Vec<&str> {
        let own = fields.iter().filter(|(own, _)| own == name);
        own.map(|(_, value)| *value).collect()
    };
    assert_eq!(all("host"), [authority], "{head}");
    assert_eq!(all("authorization"), ["Bearer ours"], "{head}");
    assert_eq!(all("x-forwarded-for"), ["192.0.2.1"], "{head}");
    assert_eq!(all("x-forwarded-host"), ["app.example.com"], "{head}");
    assert_eq!(all("x-forwarded-proto"), ["https"], "{head}");
    assert_eq!(all("x-request-id"), ["id-1"], "{head}");
    assert!(all("cookie").len() <= 1, "{head}");
    assert!(all("transfer-encoding").is_empty(), "{head}");
    assert!(all("content-length").iter().all(|length| *length == "0"), "{head}");
    let ours = format!("{COOKIE_NAME}=");
    for cookie in all("cookie").iter().flat_map(|line| line.split(';')) {
        assert!(!cookie.trim().starts_with(&ours), "{head}");
    }
    for (name, _) in &fields {
        let kept_back = name.contains('_')
            || name.contains('.')
            || (name.starts_with("x-forwarded-")
                && !matches!(&**name, "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto"))
            || matches!(
                &**name,
                "x-csrf"
                    | "proxy-authorization"
                    | "forwarded"
                    | "upgrade"
                    | "expect"
                    | "dpop"
                    | "remote-user"
                    | "x-user-id"
            );
        assert!(!kept_back, "{name} in {head}");
    }
}

fn judge_answer(headers: &HeaderMap, version: Version) {
    assert_eq!(version, Version::HTTP_11);
    for name in headers.keys() {
        let name = name.as_str();
        let kept_back = name.starts_with("access-control-")
            || name.starts_with("service-worker")
            || matches!(
                name,
                "set-cookie"
                    | "clear-site-data"
                    | "strict-transport-security"
                    | "alt-svc"
                    | "connection"
                    | "transfer-encoding"
                    | "keep-alive"
                    | "upgrade"
                    | "proxy-authenticate"
                    | "nel"
                    | "cdn-cache-control"
            );
        assert!(!kept_back, "{name} in {headers:?}");
    }
    assert!(headers.contains_key("cache-control"), "an answer of a session says who may keep it");
}
