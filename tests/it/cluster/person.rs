//! A person with a browser that survives the death of the node it talks to: requests by hand, each
//! to the node that the test says.

use std::net::SocketAddr;

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use url::Url;

use super::provider::Provider;
use crate::support::call::{Call, HOST, home};
use crate::support::clock::soon;
use crate::support::idp::PUBLIC_URL;
use crate::support::journey::SESSION_COOKIE;
use crate::support::node::ask;
use crate::support::wire::{Reply, Tap, Wire};
use crate::websocket::Socket;

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) name: String,
    /// The value of the session cookie.
    pub(super) cookie: String,
}

/// A login that lacks but its last step.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    name: String,
    cookies: Vec<String>,
    callback: String,
}

impl Pending {
    /// Begins a login at `node` and passes the provider; `None` where the node did not answer.
    pub(super) async fn begin(provider: &Provider, node: SocketAddr, name: &str) -> Option<Self> {
        let begun = navigate(node, &format!("/bff/login?login_hint={name}"), &[]).await?;
        if begun.status == 503 {
            return None;
        }
        assert_eq!(begun.status, 303, "{}", begun.text());
        let authorize = begun.location().unwrap();
        let at = &authorize[url::Position::BeforePath..];
        let call = Call::bare("GET", at).header("Host", provider.authority());
        let onward = ask(provider.authority().parse().unwrap(), &call).await;
        let onward = onward.expect("the provider answers");
        let callback = Url::parse(onward.header("location").unwrap()).unwrap();
        Some(Self {
            name: name.to_owned(),
            cookies: cookies_of(&begun),
            callback: callback[url::Position::BeforePath..].to_owned(),
        })
    }

    /// The last step, at `node`.
    pub(super) async fn finish(&self, node: SocketAddr) -> Option<Reply> {
        navigate(node, &self.callback, &self.cookies).await
    }

    /// Whoever `reply` to the last step signed in.
    pub(super) fn signed_in(&self, reply: &Reply) -> Option<Person> {
        let prefix = format!("{SESSION_COOKIE}=");
        let cookies = cookies_of(reply);
        let cookie = cookies
            .iter()
            .find_map(|cookie| cookie.strip_prefix(&prefix))?;
        Some(Person {
            name: self.name.clone(),
            cookie: cookie.to_owned(),
        })
    }
}

impl Person {
    /// Signs `name` in at one node.
    pub(super) async fn sign_in(provider: &Provider, node: SocketAddr, name: &str) -> Self {
        let pending = Pending::begin(provider, node, name).await.unwrap();
        let reply = pending.finish(node).await.unwrap();
        let signed_in = pending.signed_in(&reply);
        signed_in.unwrap_or_else(|| panic!("{}", reply.text()))
    }

    /// As [`Self::sign_in`], where the node may die; `None` where no session was given.
    pub(super) async fn try_to_sign_in(
        provider: &Provider,
        node: SocketAddr,
        name: &str,
    ) -> Option<Self> {
        let pending = Pending::begin(provider, node, name).await?;
        let reply = pending.finish(node).await?;
        pending.signed_in(&reply)
    }

    /// A call of this person's app.
    pub(super) fn calls(&self, method: &str, target: &str) -> Call {
        Call::new(method, target).header("Cookie", &format!("{SESSION_COOKIE}={}", self.cookie))
    }

    /// A call to the API, which answers with whose token it was shown.
    pub(super) async fn call(&self, node: SocketAddr) -> Option<Reply> {
        let call = self.calls("GET", &format!("/api/of/{}", self.name));
        let reply = ask(node, &call).await?;
        if reply.status == 200 {
            // Nobody's is a token that the logout revoked, which another node has yet to hear of.
            let of = &reply.json()["of"];
            assert!(of.is_null() || *of == *self.name, "another's token");
        }
        Some(reply)
    }

    /// A call that must be answered: its status.
    pub(super) async fn status(&self, node: SocketAddr) -> u16 {
        self.call(node).await.expect("an answer").status
    }

    /// Status and code of a call that must be answered.
    pub(super) async fn told(&self, node: SocketAddr) -> String {
        told(&self.call(node).await.expect("an answer"))
    }

    /// Signs out at a node.
    pub(super) async fn sign_out(&self, node: SocketAddr) {
        let reply = ask(node, &self.calls("POST", "/bff/logout")).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// An open socket to the API.
    pub(super) async fn socket(&self, node: SocketAddr) -> Socket {
        let call = Call::bare("GET", "/api/socket")
            .header("Host", HOST)
            .header("Origin", PUBLIC_URL)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcy4uLg==")
            .header("Cookie", &format!("{SESSION_COOKIE}={}", self.cookie));
        let mut wire = call.begin(node).await;
        let head = soon("a handshake", wire.head(&home())).await.unwrap();
        assert_eq!(head.status, 101);
        let (stream, rest) = wire.into_parts();
        let tap = Tap::new(stream, std::sync::Arc::default());
        WebSocketStream::from_partially_read(tap, rest, Role::Client, None).await
    }

    /// An open event stream of the API, with its first event read.
    pub(super) async fn stream(&self, node: SocketAddr) -> Wire {
        let mut wire = self.calls("GET", "/api/stream").begin(node).await;
        let head = soon("a head", wire.head(&home())).await.unwrap();
        assert_eq!(head.status, 200);
        assert!(soon("an event", wire.chunk()).await.is_some());
        wire
    }
}

/// Status and code.
pub(super) fn told(reply: &Reply) -> String {
    let code = serde_json::from_slice::<serde_json::Value>(&reply.body)
        .ok()
        .and_then(|problem| problem["code"].as_str().map(str::to_owned));
    match code {
        Some(code) => format!("{} {code}", reply.status),
        None => reply.status.to_string(),
    }
}

/// Whether an answer takes the session cookie away.
pub(super) fn takes_cookie(reply: &Reply) -> bool {
    let prefix = format!("{SESSION_COOKIE}=");
    let is_empty = |line: &&str| {
        let value = line.strip_prefix(&prefix);
        value.is_some_and(|value| value.starts_with(';') || value.contains("Max-Age=0"))
    };
    reply.all("set-cookie").iter().any(is_empty)
}

async fn navigate(node: SocketAddr, target: &str, cookies: &[String]) -> Option<Reply> {
    let mut call = Call::bare("GET", target).header("Host", HOST);
    if !cookies.is_empty() {
        call = call.header("Cookie", &cookies.join("; "));
    }
    ask(node, &call).await
}

/// The cookies that an answer sets, without their attributes.
fn cookies_of(reply: &Reply) -> Vec<String> {
    reply
        .all("set-cookie")
        .iter()
        .filter(|line| !line.contains("Max-Age=0"))
        .map(|line| line.split(';').next().unwrap().to_owned())
        .collect()
}
