//! A request as bytes, in the session of a browser: for what no browser would send, or not two
//! hundred times at once.

use std::net::SocketAddr;

use url::Url;

use super::bff::Bff;
use super::browser::Browser;
use super::clock::soon;
use super::cookie_jar::Context;
use super::idp::PUBLIC_URL;
use super::wire::{Reply, Wire};

/// The host of [`PUBLIC_URL`].
pub(crate) const HOST: &str = "app.example";

/// A browser in which `user` has just signed in; it shows a page of the app.
pub(crate) async fn signed_in(bff: &Bff<'_>, user: &str) -> Browser {
    let mut browser = bff.browser();
    sign_in(&mut browser, user).await;
    browser
}

/// Signs `user` in.
pub(crate) async fn sign_in(browser: &mut Browser, user: &str) {
    let visit = browser
        .visit(&format!("{PUBLIC_URL}/bff/login?login_hint={user}"))
        .await;
    let callback = visit.reply_of("/bff/callback");
    assert_eq!(callback.status, 303, "{}", callback.text());
}

/// The app's origin as a URL.
pub(crate) fn home() -> Url {
    Url::parse(PUBLIC_URL).unwrap()
}

/// One request, written by hand.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// What the app's own script would send: Host, `X-CSRF: 1`, same-origin.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self::bare(method, target)
            .header("Host", HOST)
            .header("X-CSRF", "1")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Dest", "empty")
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// With no field at all.
    pub(crate) fn bare(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
            body: Vec::new(),
        }
    }

    /// In the session of this browser.
    pub(crate) fn of(self, browser: &Browser) -> Self {
        let cookie = cookie_of(browser);
        self.header("Cookie", &cookie)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In place of what stands there.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// With this body and its length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// The request as it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Opens a connection and sends; the answer is still to be read.
    pub(crate) async fn begin(&self, addr: SocketAddr) -> Wire {
        let mut wire = Wire::connect(addr).await;
        wire.send(&self.bytes()).await;
        wire
    }

    /// The answer, on a connection of its own.
    pub(crate) fn send(&self, addr: SocketAddr) -> impl Future<Output = Reply> + use<> {
        let call = self.clone();
        async move { call.answer_on(&mut call.begin(addr).await).await }
    }

    /// The final answer that comes next on `wire`.
    pub(crate) async fn answer_on(&self, wire: &mut Wire) -> Reply {
        let mut reply = soon("an answer", wire.head(&home()))
            .await
            .unwrap_or_else(|| panic!("no answer to {} {}", self.method, self.target));
        while (100..200).contains(&reply.status) {
            reply = soon("the final answer", wire.head(&home())).await.unwrap();
        }
        let head_only = self.method == "HEAD";
        soon("the answer's body", wire.body(&mut reply, head_only)).await;
        reply
    }
}

/// The session cookie of this browser, as a `Cookie` line.
pub(crate) fn cookie_of(browser: &Browser) -> String {
    browser.jar.header(&home(), Context::SameSite).unwrap()
}
