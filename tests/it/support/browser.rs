//! A browser: cookies, redirects, and the headers that Chromium adds by itself. What it receives
//! is kept, raw, for the search for canaries.
//!
//! Names such as `https://app.example` lead where [`Browser::resolve`] says, as if TLS had ended
//! at a proxy in front.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bff::clock::ManualClock;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use url::Url;
use url::form_urlencoded;

use super::clock::soon;
use super::cookie_jar::{Context, CookieJar, is_trustworthy, site_of};
use super::wire::{Reply, Tap, Wire};

/// More redirects than this are a loop, as Chromium counts.
const MOST_REDIRECTS: usize = 20;

/// One browser with one profile and one tab.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) jar: CookieJar,
    /// What the tab shows; whatever it starts is started by this page.
    page: Option<Url>,
    hosts: HashMap<String, SocketAddr>,
    received: Received,
    fetch_metadata: bool,
}

/// Everything that browsers received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    replies: Arc<Mutex<Vec<Reply>>>,
    streams: Arc<Mutex<Vec<Stream>>>,
}

/// An open stream: where from, and what came so far.
type Stream = (Url, Arc<Mutex<Vec<u8>>>);

/// A navigation with all its redirects.
#[derive(Debug)]
pub(crate) struct Visit {
    /// Every answer, in order.
    pub(crate) replies: Vec<Reply>,
    /// Where the last redirect leads, if the browser knows no such host.
    pub(crate) left: Option<Url>,
}

impl Visit {
    /// The answer that is shown.
    pub(crate) fn last(&self) -> &Reply {
        self.replies.last().unwrap()
    }

    /// The address bar at the end.
    pub(crate) fn url(&self) -> &Url {
        self.left.as_ref().unwrap_or(&self.last().url)
    }

    /// The answer to the request for `path`.
    pub(crate) fn reply_of(&self, path: &str) -> &Reply {
        self.replies
            .iter()
            .find(|reply| reply.url.path() == path)
            .unwrap_or_else(|| panic!("{path} was not visited: {:?}", self.paths()))
    }

    /// What was asked, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.replies
            .iter()
            .map(|reply| {
                format!(
                    "{}{}",
                    reply.url.origin().ascii_serialization(),
                    reply.url.path()
                )
            })
            .collect()
    }
}

/// A request that a page's script or markup makes.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    mode: &'static str,
    destination: &'static str,
    /// Whether cookies go to other origins as well.
    credentials: bool,
}

impl Fetch {
    /// `fetch(target)`; the target may be relative to the page.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `fetch(target, {method})`.
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
            mode: "cors",
            destination: "empty",
            credentials: false,
        }
    }

    /// `<img src=target>`: no header can be added, and cookies go along.
    pub(crate) fn image(target: &str) -> Self {
        Self {
            mode: "no-cors",
            destination: "image",
            credentials: true,
            ..Self::new("GET", target)
        }
    }

    /// `<iframe src=target>`.
    pub(crate) fn frame(target: &str) -> Self {
        Self {
            mode: "navigate",
            destination: "iframe",
            credentials: true,
            ..Self::new("GET", target)
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With `X-CSRF: 1`.
    pub(crate) fn csrf(self) -> Self {
        self.header("X-CSRF", "1")
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    pub(crate) fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// `{mode: 'no-cors', credentials: 'include'}`: what a hostile page would use.
    pub(crate) fn no_cors(mut self) -> Self {
        self.mode = "no-cors";
        self.credentials = true;
        self
    }

    /// `{credentials: 'include'}`.
    pub(crate) fn credentials(mut self) -> Self {
        self.credentials = true;
        self
    }
}

/// Who starts a navigation.
#[derive(Debug, Clone)]
enum Initiator {
    /// The person, at the address bar.
    Person,
    /// A page: a link, a form, a script.
    Page(Url),
}

/// One navigation under way.
#[derive(Debug)]
struct Navigation {
    initiator: Initiator,
    method: &'static str,
    form: Option<Vec<u8>>,
    /// Every URL so far, the present one last.
    chain: Vec<Url>,
}

impl Browser {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            jar: CookieJar::new(clock),
            page: None,
            hosts: HashMap::new(),
            received: Received::default(),
            fetch_metadata: true,
        }
    }

    /// From now on `origin` is at `addr`.
    pub(crate) fn resolve(&mut self, origin: &str, addr: SocketAddr) {
        let origin = Url::parse(origin).unwrap().origin().ascii_serialization();
        self.hosts.insert(origin, addr);
    }

    /// Collects what is received in `received`, together with others.
    pub(crate) fn collect_in(&mut self, received: Received) {
        self.received = received;
    }

    /// As browsers before Fetch Metadata, and scripts, do.
    pub(crate) fn without_fetch_metadata(mut self) -> Self {
        self.fetch_metadata = false;
        self
    }

    /// Another browser of another person: the same world, no cookies.
    pub(crate) fn stranger(&self, clock: Arc<ManualClock>) -> Self {
        Self {
            jar: CookieJar::new(clock),
            page: None,
            hosts: self.hosts.clone(),
            received: self.received.clone(),
            fetch_metadata: self.fetch_metadata,
        }
    }

    /// The tab shows `url`, with nothing asked of anybody: a page of another site, say.
    pub(crate) fn stand_on(&mut self, url: &str) {
        self.page = Some(Url::parse(url).unwrap());
    }

    /// What the tab shows.
    pub(crate) fn page(&self) -> &Url {
        self.page.as_ref().expect("the tab shows a page")
    }

    /// The person types `url`; redirects are followed.
    pub(crate) async fn visit(&mut self, url: &str) -> Visit {
        let url = Url::parse(url).unwrap();
        self.follow(Initiator::Person, "GET", url, None, MOST_REDIRECTS)
            .await
    }

    /// The person types `url`; a redirect is looked at, not followed.
    pub(crate) async fn open(&mut self, url: &str) -> Reply {
        let url = Url::parse(url).unwrap();
        let visit = self.follow(Initiator::Person, "GET", url, None, 0).await;
        visit.last().clone()
    }

    /// The person follows a link of the page; redirects are followed.
    pub(crate) async fn click(&mut self, target: &str) -> Visit {
        let url = self.page().join(target).unwrap();
        let initiator = Initiator::Page(self.page().clone());
        self.follow(initiator, "GET", url, None, MOST_REDIRECTS)
            .await
    }

    /// The page posts a form; redirects are followed.
    pub(crate) async fn submit(&mut self, target: &str, fields: &[(&str, &str)]) -> Visit {
        let url = self.page().join(target).unwrap();
        let initiator = Initiator::Page(self.page().clone());
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.follow(
            initiator,
            "POST",
            url,
            Some(form.into_bytes()),
            MOST_REDIRECTS,
        )
        .await
    }

    /// Posts the first form of the page `reply`, with `pressed` as the button's name and value.
    pub(crate) async fn submit_form_of(
        &mut self,
        reply: &Reply,
        pressed: Option<(&str, &str)>,
    ) -> Visit {
        self.fill_form_of(reply, pressed.as_slice()).await
    }

    /// Posts the first form of the page `reply`, with these fields in place of what stands there.
    pub(crate) async fn fill_form_of(&mut self, reply: &Reply, filled: &[(&str, &str)]) -> Visit {
        let (action, mut fields) = form_of(&reply.text());
        fields.retain(|(name, _)| filled.iter().all(|(own, _)| own != name));
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(filled.iter().copied())
            .collect();
        self.page = Some(reply.url.clone());
        let action = action.unwrap_or_else(|| reply.url.to_string());
        self.submit(&action, &fields).await
    }

    /// A script or an element of the page asks for something; a redirect is not followed.
    pub(crate) async fn fetch(&mut self, fetch: Fetch) -> Reply {
        let page = self.page().clone();
        let url = page.join(&fetch.target).unwrap();
        let same_origin = page.origin() == url.origin();
        let context = subresource_context(&page, &url);
        let mut head = Head::new(fetch.method, &url);
        for (name, value) in &fetch.headers {
            head.field(name, value);
        }
        head.field("Accept", "*/*");
        let cors = fetch.mode == "cors" && !same_origin;
        if cors || !matches!(fetch.method, "GET" | "HEAD") {
            head.field("Origin", &page.origin().ascii_serialization());
        }
        if self.fetch_metadata && is_trustworthy(&url) {
            head.field(
                "Sec-Fetch-Site",
                site_word(&page, std::slice::from_ref(&url)),
            );
            head.field("Sec-Fetch-Mode", fetch.mode);
            head.field("Sec-Fetch-Dest", fetch.destination);
        }
        head.referer(&page, &url);
        if same_origin || fetch.credentials {
            head.cookies(&self.jar, &url, context);
        }
        let reply = self.send(&url, head, fetch.body.as_deref()).await;
        if same_origin || fetch.credentials {
            self.keep_cookies(&reply, context);
        }
        reply
    }

    /// `curl -b jar -c jar`: the cookies and these fields, and nothing that a browser would add.
    /// A `Host` or `Cookie` among them takes the place of our own.
    pub(crate) async fn curl(
        &mut self,
        method: &'static str,
        url: &str,
        fields: &[(&str, &str)],
        body: Option<&str>,
    ) -> Reply {
        let url = Url::parse(url).unwrap();
        let mut head = Head::new(method, &url);
        let said = |name: &str| fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        head.fields
            .retain(|(name, _)| matches!(&**name, "Host" | "Connection") && !said(name));
        for (name, value) in fields {
            head.field(name, value);
        }
        if !said("Cookie") {
            head.cookies(&self.jar, &url, Context::SameSite);
        }
        let reply = self.send(&url, head, body.map(str::as_bytes)).await;
        self.keep_cookies(&reply, Context::SameSite);
        reply
    }

    /// `new EventSource(target)`, or a streamed `fetch`: the answer's head and its coming body.
    pub(crate) async fn event_source(&mut self, target: &str) -> EventSource {
        self.event_source_after(target, None).await
    }

    /// As an `EventSource` connects again, with the id of the last event it heard.
    pub(crate) async fn event_source_after(
        &mut self,
        target: &str,
        last_event_id: Option<&str>,
    ) -> EventSource {
        let page = self.page().clone();
        let url = page.join(target).unwrap();
        let context = subresource_context(&page, &url);
        let mut head = Head::new("GET", &url);
        head.field("Accept", "text/event-stream");
        head.field("Cache-Control", "no-cache");
        if let Some(id) = last_event_id {
            head.field("Last-Event-ID", id);
        }
        if self.fetch_metadata && is_trustworthy(&url) {
            head.field(
                "Sec-Fetch-Site",
                site_word(&page, std::slice::from_ref(&url)),
            );
            head.field("Sec-Fetch-Mode", "cors");
            head.field("Sec-Fetch-Dest", "empty");
        }
        head.referer(&page, &url);
        head.cookies(&self.jar, &url, context);
        let mut wire = self.dial(&url).await;
        self.received.add_stream(&url, wire.copy());
        wire.send(&head.finish(None)).await;
        let mut reply = soon("the head of a stream", wire.head(&url))
            .await
            .unwrap_or_else(|| panic!("{url} closed the connection with no answer"));
        if reply.header("content-type") != Some("text/event-stream") {
            wire.body(&mut reply, false).await;
        }
        self.keep_cookies(&reply, context);
        EventSource {
            reply,
            wire,
            pending: String::new(),
        }
    }

    /// `new WebSocket(target)`: the socket, or the answer that refused it.
    pub(crate) async fn web_socket(
        &mut self,
        target: &str,
    ) -> Result<WebSocketStream<Tap<TcpStream>>, Reply> {
        let page = self.page().clone();
        let url = page.join(target).unwrap();
        let context = subresource_context(&page, &url);
        let key = STANDARD.encode(b"sixteen bytes...");
        let mut head = Head::new("GET", &url);
        head.fields.retain(|(name, _)| name != "Connection");
        head.field("Connection", "Upgrade");
        head.field("Upgrade", "websocket");
        // Chromium sends Origin here, and no Fetch Metadata.
        head.field("Origin", &page.origin().ascii_serialization());
        head.field("Sec-WebSocket-Version", "13");
        head.field("Sec-WebSocket-Key", &key);
        head.cookies(&self.jar, &url, context);
        let mut wire = self.dial(&url).await;
        wire.send(&head.finish(None)).await;
        let mut reply = soon("the answer to a handshake", wire.head(&url))
            .await
            .unwrap_or_else(|| panic!("{url} closed the connection with no answer"));
        if reply.status != 101 {
            soon("the refusal's body", wire.body(&mut reply, false)).await;
            self.received.add(&reply);
            self.keep_cookies(&reply, context);
            return Err(reply);
        }
        self.received.add(&reply);
        assert_eq!(
            reply.header("sec-websocket-accept"),
            Some(derive_accept_key(key.as_bytes()).as_str())
        );
        let copy = Arc::default();
        self.received.add_stream(&url, Arc::clone(&copy));
        let (stream, rest) = wire.into_parts();
        copy.lock().unwrap().extend_from_slice(&rest);
        let tap = Tap::new(stream, copy);
        Ok(WebSocketStream::from_partially_read(tap, rest, Role::Client, None).await)
    }

    async fn follow(
        &mut self,
        initiator: Initiator,
        method: &'static str,
        url: Url,
        form: Option<Vec<u8>>,
        most_redirects: usize,
    ) -> Visit {
        let mut navigation = Navigation {
            initiator,
            method,
            form,
            chain: vec![url],
        };
        let mut replies = Vec::new();
        let mut left = None;
        loop {
            let reply = self.hop(&navigation).await;
            let next = matches!(reply.status, 301 | 302 | 303 | 307 | 308)
                .then(|| reply.location())
                .flatten();
            let keeps_method = matches!(reply.status, 307 | 308);
            replies.push(reply);
            let Some(mut next) = next.filter(|_| replies.len() <= most_redirects) else {
                assert!(
                    most_redirects == 0 || replies.len() <= most_redirects,
                    "a redirect loop: {replies:?}"
                );
                break;
            };
            if next.fragment().is_none() {
                // A redirect without a fragment inherits the last one (Fetch, RFC 9110 §10.2.2).
                let inherited = navigation.chain.last().and_then(Url::fragment);
                next.set_fragment(inherited);
            }
            if !keeps_method {
                navigation.method = "GET";
                navigation.form = None;
            }
            if self.address_of(&next).is_none() {
                left = Some(next);
                break;
            }
            navigation.chain.push(next);
        }
        let visit = Visit { replies, left };
        if visit.left.is_none() {
            self.page = Some(visit.url().clone());
        }
        visit
    }

    async fn hop(&mut self, navigation: &Navigation) -> Reply {
        let url = navigation.chain.last().unwrap().clone();
        let context = navigation.context();
        let mut head = Head::new(navigation.method, &url);
        head.field("Upgrade-Insecure-Requests", "1");
        head.field(
            "Accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        );
        if navigation.form.is_some() {
            head.field("Content-Type", "application/x-www-form-urlencoded");
            head.field("Origin", &navigation.origin());
        }
        if self.fetch_metadata && is_trustworthy(&url) {
            head.field("Sec-Fetch-Site", navigation.site_word());
            head.field("Sec-Fetch-Mode", "navigate");
            head.field("Sec-Fetch-User", "?1");
            head.field("Sec-Fetch-Dest", "document");
        }
        if let Initiator::Page(page) = &navigation.initiator {
            head.referer(page, &url);
        }
        head.cookies(&self.jar, &url, context);
        let reply = self.send(&url, head, navigation.form.as_deref()).await;
        // A top-level navigation may set any cookie, wherever it started.
        self.keep_cookies(&reply, Context::SameSite);
        reply
    }

    async fn send(&mut self, url: &Url, head: Head, body: Option<&[u8]>) -> Reply {
        let head_only = head.method == "HEAD";
        let mut wire = self.dial(url).await;
        wire.send(&head.finish(body)).await;
        let mut reply = soon("an answer", wire.head(url))
            .await
            .unwrap_or_else(|| panic!("{url} closed the connection with no answer"));
        while (100..200).contains(&reply.status) {
            self.received.add(&reply);
            reply = soon("the final answer", wire.head(url)).await.unwrap();
        }
        soon("the answer's body", wire.body(&mut reply, head_only)).await;
        self.received.add(&reply);
        reply
    }

    async fn dial(&self, url: &Url) -> Wire {
        let addr = self
            .address_of(url)
            .unwrap_or_else(|| panic!("no host is known for {url}"));
        Wire::connect(addr).await
    }

    /// Loopback addresses lead where they say, names where the test said.
    fn address_of(&self, url: &Url) -> Option<SocketAddr> {
        let scheme = match url.scheme() {
            "ws" => "http",
            "wss" => "https",
            other => other,
        };
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        if let Some(addr) = self.hosts.get(&format!("{scheme}://{authority}")) {
            return Some(*addr);
        }
        (scheme == "http" && is_trustworthy(url))
            .then(|| SocketAddr::from(([127, 0, 0, 1], url.port_or_known_default().unwrap_or(80))))
    }

    fn keep_cookies(&mut self, reply: &Reply, context: Context) {
        for set_cookie in reply.all("set-cookie") {
            self.jar.set(&reply.url, context, set_cookie);
        }
    }
}

impl Navigation {
    fn context(&self) -> Context {
        let target = site_of(self.chain.last().unwrap());
        // The stricter reading of RFC 6265bis: every hop of the redirect chain counts.
        let foreign_hop = self.chain.iter().any(|url| site_of(url) != target);
        let foreign_start =
            matches!(&self.initiator, Initiator::Page(page) if site_of(page) != target);
        match (foreign_hop || foreign_start, self.method) {
            (false, _) => Context::SameSite,
            (true, "GET" | "HEAD") => Context::CrossSiteNavigation,
            (true, _) => Context::CrossSitePost,
        }
    }

    fn site_word(&self) -> &'static str {
        match &self.initiator {
            Initiator::Person => "none",
            Initiator::Page(page) => site_word(page, &self.chain),
        }
    }

    /// The initiator's origin; `null` once a redirect crossed origins (Fetch, "taint").
    fn origin(&self) -> String {
        let tainted = self.chain.windows(2).any(|pair| match pair {
            [from, to] => from.origin() != to.origin(),
            _ => false,
        });
        match &self.initiator {
            Initiator::Page(page) if !tainted => page.origin().ascii_serialization(),
            _ => "null".to_owned(),
        }
    }
}

/// Server-sent events as they come.
#[derive(Debug)]
pub(crate) struct EventSource {
    /// The head of the answer; with its body, where it is no event stream.
    pub(crate) reply: Reply,
    wire: Wire,
    pending: String,
}

impl EventSource {
    /// The next event's lines; `None` when the stream has ended.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.pending.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.pending = rest;
                return Some(event);
            }
            let chunk = soon("an event", self.wire.chunk()).await?;
            if chunk.is_empty() {
                return None;
            }
            self.pending.push_str(&String::from_utf8(chunk).unwrap());
        }
    }
}

impl Received {
    /// The answers that came from the origin `public_url`.
    pub(crate) fn replies_from(&self, public_url: &str) -> Vec<Reply> {
        let origin = Url::parse(public_url).unwrap().origin();
        self.replies
            .lock()
            .unwrap()
            .iter()
            .filter(|reply| reply.url.origin() == origin)
            .cloned()
            .collect()
    }

    /// The bytes of the streams that came from the host of `public_url`.
    pub(crate) fn streams_from(&self, public_url: &str) -> Vec<(Url, Vec<u8>)> {
        let host = Url::parse(public_url).unwrap();
        self.streams
            .lock()
            .unwrap()
            .iter()
            .filter(|(url, _)| {
                url.host() == host.host()
                    && url.port_or_known_default() == host.port_or_known_default()
            })
            .map(|(url, bytes)| (url.clone(), bytes.lock().unwrap().clone()))
            .collect()
    }

    fn add(&self, reply: &Reply) {
        self.replies.lock().unwrap().push(reply.clone());
    }

    fn add_stream(&self, url: &Url, bytes: Arc<Mutex<Vec<u8>>>) {
        self.streams.lock().unwrap().push((url.clone(), bytes));
    }
}

/// A request's head under construction.
#[derive(Debug)]
struct Head {
    method: &'static str,
    target: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn new(method: &'static str, url: &Url) -> Self {
        let mut head = Self {
            method,
            target: url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
            fields: Vec::new(),
        };
        head.field(
            "Host",
            &url[url::Position::BeforeHost..url::Position::AfterPort],
        );
        head.field("Connection", "keep-alive");
        head.field("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Browser/1.0");
        head.field("Accept-Language", "en");
        head
    }

    fn field(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    /// `strict-origin-when-cross-origin`, the default of browsers.
    fn referer(&mut self, page: &Url, url: &Url) {
        if page.origin() == url.origin() {
            let mut page = page.clone();
            page.set_fragment(None);
            self.field("Referer", page.as_str());
        } else if is_trustworthy(url) || !is_trustworthy(page) {
            self.field(
                "Referer",
                &format!("{}/", page.origin().ascii_serialization()),
            );
        }
    }

    fn cookies(&mut self, jar: &CookieJar, url: &Url, context: Context) {
        if let Some(cookies) = jar.header(url, context) {
            self.field("Cookie", &cookies);
        }
    }

    fn finish(mut self, body: Option<&[u8]>) -> Vec<u8> {
        let empty_post = matches!(self.method, "POST" | "PUT" | "PATCH");
        if let Some(length) = body.map(<[u8]>::len).or(empty_post.then_some(0)) {
            self.field("Content-Length", &length.to_string());
        }
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body.unwrap_or_default());
        bytes
    }
}

/// `Sec-Fetch-Site`: the farthest that any hop is from the page (Fetch Metadata §2.4).
fn site_word(page: &Url, chain: &[Url]) -> &'static str {
    if chain.iter().any(|url| site_of(url) != site_of(page)) {
        "cross-site"
    } else if chain.iter().any(|url| url.origin() != page.origin()) {
        "same-site"
    } else {
        "same-origin"
    }
}

fn subresource_context(page: &Url, url: &Url) -> Context {
    let as_http = |url: &Url| {
        let (scheme, domain) = site_of(url);
        (scheme.replace("ws", "http"), domain)
    };
    if as_http(page) == as_http(url) {
        Context::SameSite
    } else {
        Context::CrossSiteSubresource
    }
}

/// Where the first form of `html` goes, and its hidden fields.
fn form_of(html: &str) -> (Option<String>, Vec<(String, String)>) {
    let (_, form) = split_tag(html, "<form").unwrap_or_else(|| panic!("no form in {html}"));
    let action = attribute(form.split('>').next().unwrap(), "action");
    let mut rest = split_tag(form, "</form").map_or(form, |(form, _)| form);
    let mut fields = Vec::new();
    while let Some((_, input)) = split_tag(rest, "<input") {
        let tag = input.split('>').next().unwrap();
        fields.extend(attribute(tag, "name").zip(attribute(tag, "value")));
        rest = input;
    }
    (action, fields)
}

/// What stands before and behind the first `name`, in whichever letters a page writes it.
fn split_tag<'a>(html: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let at = html.to_ascii_lowercase().find(name)?;
    Some((&html[..at], &html[at + name.len()..]))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = split_tag(tag, &format!("{name}=\""))?;
    let value = rest.split('"').next()?;
    Some(
        value
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}
