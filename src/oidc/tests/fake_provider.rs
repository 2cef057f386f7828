//! A server on a free port of loopback that answers as it is told and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::SigningKey;

/// What the server does when it is asked.
#[derive(Clone)]
pub(in crate::oidc) enum Answer {
    Body(u16, &'static str, Bytes),
    /// With these fields as well.
    With(Box<Self>, Vec<(&'static str, String)>),
    Redirect(String),
    /// Reads the request and closes the connection.
    BreakOff,
    /// Reads the request and says nothing.
    Silence,
}

impl Answer {
    pub(in crate::oidc) fn json(status: u16, body: &Value) -> Self {
        Self::Body(status, "application/json", body.to_string().into())
    }

    /// JSON, and the nonce that the next proof is to hold.
    pub(in crate::oidc) fn with_nonce(status: u16, nonce: &str, body: &'static str) -> Self {
        Self::Body(status, "application/json", body.into()).and_nonce(nonce)
    }

    /// The same answer with a nonce.
    pub(in crate::oidc) fn and_nonce(self, nonce: &str) -> Self {
        Self::With(Box::new(self), vec![("dpop-nonce", nonce.to_owned())])
    }

    /// 401 with this challenge and this nonce.
    pub(in crate::oidc) fn challenge(challenge: &str, nonce: &str) -> Self {
        let fields = vec![
            ("www-authenticate", challenge.to_owned()),
            ("dpop-nonce", nonce.to_owned()),
        ];
        Self::With(
            Box::new(Self::Body(401, "text/plain", Bytes::new())),
            fields,
        )
    }
}

/// One request as it came.
#[derive(Clone)]
pub(in crate::oidc) struct Asked {
    pub(in crate::oidc) headers: HeaderMap,
    pub(in crate::oidc) form: HashMap<String, String>,
}

pub(in crate::oidc) struct FakeProvider {
    issuer: String,
    script: Arc<Script>,
    _server: JoinSet<()>,
}

struct Script {
    always: Mutex<HashMap<String, Answer>>,
    next: Mutex<HashMap<String, VecDeque<Answer>>>,
    asked: Mutex<HashMap<String, Vec<Asked>>>,
    /// Requests wait here for a permit before they are answered.
    gate: Semaphore,
}

impl FakeProvider {
    /// A provider with metadata and no keys.
    pub(in crate::oidc) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Script {
            always: Mutex::default(),
            next: Mutex::default(),
            asked: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&script)));
        let fake = Self {
            issuer,
            script,
            _server: server,
        };
        fake.publish_metadata(&fake.metadata());
        fake.publish(&[]);
        fake
    }

    pub(in crate::oidc) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(in crate::oidc) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Metadata with all that we use.
    pub(in crate::oidc) fn metadata(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "jwks_uri": self.url("/jwks"),
            "userinfo_endpoint": self.url("/userinfo"),
            "end_session_endpoint": self.url("/end"),
            "revocation_endpoint": self.url("/revoke"),
        })
    }

    pub(in crate::oidc) fn publish_metadata(&self, metadata: &Value) {
        self.answer(METADATA, Answer::json(200, metadata));
    }

    pub(in crate::oidc) fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| &key.jwk).collect();
        self.answer("/jwks", Answer::json(200, &json!({ "keys": keys })));
    }

    /// Answers `path` so from now on.
    pub(in crate::oidc) fn answer(&self, path: &str, answer: Answer) {
        let mut always = self.script.always.lock().unwrap();
        always.insert(path.to_owned(), answer);
    }

    /// Answers `path` so once.
    pub(in crate::oidc) fn answer_once(&self, path: &str, answer: Answer) {
        let mut next = self.script.next.lock().unwrap();
        next.entry(path.to_owned()).or_default().push_back(answer);
    }

    /// What `path` was asked so far.
    pub(in crate::oidc) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.script.asked.lock().unwrap();
        asked.get(path).cloned().unwrap_or_default()
    }

    /// Holds every answer back until [`Self::open`].
    pub(in crate::oidc) fn hold(&self) {
        self.script.gate.forget_permits(usize::MAX);
    }

    pub(in crate::oidc) fn open(&self) {
        self.script.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

pub(in crate::oidc) const METADATA: &str = "/.well-known/openid-configuration";

async fn serve(listener: TcpListener, script: Arc<Script>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let script = Arc::clone(&script);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &script));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            // A client that gives up, or a break-off, ends the connection here.
            drop(connection);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: &Script,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?;
    let path = head.uri.path().to_owned();
    let asked = Asked {
        headers: head.headers,
        form: url::form_urlencoded::parse(&body.to_bytes())
            .into_owned()
            .collect(),
    };
    {
        let mut all = script.asked.lock().unwrap();
        all.entry(path.clone()).or_default().push(asked);
    }
    drop(script.gate.acquire().await.unwrap());
    let next = {
        let mut next = script.next.lock().unwrap();
        next.get_mut(&path).and_then(VecDeque::pop_front)
    };
    let always = || script.always.lock().unwrap().get(&path).cloned();
    let missing = Answer::Body(404, "text/plain", Bytes::new());
    written(next.or_else(always).unwrap_or(missing)).await
}

async fn written(answer: Answer) -> Result<Response<Full<Bytes>>, std::io::Error> {
    match answer {
        Answer::With(inner, fields) => {
            let mut answer = Box::pin(written(*inner)).await?;
            for (name, value) in fields {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            Ok(answer)
        }
        Answer::Body(status, kind, body) => Ok(Response::builder()
            .status(status)
            .header(CONTENT_TYPE, kind)
            .body(Full::new(body))
            .unwrap()),
        Answer::Redirect(location) => Ok(Response::builder()
            .status(302)
            .header(LOCATION, location)
            .body(Full::default())
            .unwrap()),
        Answer::BreakOff => Err(std::io::Error::other("told to break off")),
        Answer::Silence => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
    }
}
