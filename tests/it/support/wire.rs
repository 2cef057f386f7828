//! HTTP/1.1 as bytes: requests written and responses read by hand, so that no library smooths
//! over what `bff` really sends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use url::Url;

/// A response, parsed, with its raw bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    /// Head and body as they came.
    pub(crate) raw: Vec<u8>,
    /// Whether the body ended as its framing says it should.
    pub(crate) complete: bool,
}

impl Reply {
    /// The value of the first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The values of all fields of this name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// `Location`, resolved against the URL that was asked, as a browser reads it.
    pub(crate) fn location(&self) -> Option<Url> {
        self.header("location")
            .map(|location| self.url.join(location).unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer to {}: {self:?}", self.url))
    }

    /// Status and body, to hold against a snapshot.
    pub(crate) fn status_and_text(&self) -> String {
        format!("{}\n{}", self.status, self.text())
    }
}

/// A connection that keeps a copy of every byte received.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    /// How much of `received` was taken already.
    taken: usize,
    copy: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            received: Vec::new(),
            taken: 0,
            copy: Arc::default(),
        }
    }

    /// Everything received, also after the wire is gone.
    pub(crate) fn copy(&self) -> Arc<Mutex<Vec<u8>>> {
        Arc::clone(&self.copy)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A peer that refused already may have closed; what it said is still there to be read.
        drop(self.stream.write_all(bytes).await);
    }

    /// The stream itself and what was received but not taken yet.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received[self.taken..].to_vec())
    }

    /// Says that nothing more will come.
    pub(crate) async fn half_close(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// Takes the next response's head: the request's URL names it.
    ///
    /// `None` where the connection ends before a whole head came.
    pub(crate) async fn head(&mut self, url: &Url) -> Option<Reply> {
        let end = loop {
            if let Some(at) = find(&self.received[self.taken..], b"\r\n\r\n") {
                break self.taken + at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let raw = self.received[self.taken..end].to_vec();
        self.taken = end;
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(
            status_line.starts_with("HTTP/1."),
            "not an HTTP/1 status line: {status_line}"
        );
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_owned(), value.trim().to_owned())
            })
            .collect();
        Some(Reply {
            url: url.clone(),
            status,
            headers,
            body: Vec::new(),
            raw,
            complete: false,
        })
    }

    /// Reads the body that belongs to `reply`; `head_only` for an answer to HEAD.
    pub(crate) async fn body(&mut self, reply: &mut Reply, head_only: bool) {
        let from = self.taken;
        let no_body = head_only || reply.status < 200 || matches!(reply.status, 204 | 304);
        let length = reply
            .header("content-length")
            .map(|length| length.parse::<usize>().unwrap());
        if no_body {
            reply.complete = true;
        } else if reply.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    reply.complete = true;
                    break;
                }
                reply.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = length {
            while self.received.len() - from < length && self.fill().await {}
            let end = self.received.len().min(from + length);
            reply.body = self.received[from..end].to_vec();
            reply.complete = reply.body.len() == length;
            self.taken = end;
        } else {
            while self.fill().await {}
            reply.body = self.received[from..].to_vec();
            reply.complete = true;
            self.taken = self.received.len();
        }
        reply
            .raw
            .extend_from_slice(&self.received[from..self.taken]);
    }

    /// The next chunk of a chunked body: empty at its end, `None` where it breaks off.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            // Trailers end with an empty line.
            while !self.line().await?.is_empty() {}
            return Some(Vec::new());
        }
        while self.received.len() < self.taken + size + 2 {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.received[self.taken..self.taken + size].to_vec();
        self.taken += size + 2;
        Some(chunk)
    }

    /// Whether the peer closed, with nothing more to read.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.taken == self.received.len() && !self.fill().await
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.received[self.taken..], b"\r\n") {
                let line = self.received[self.taken..self.taken + at].to_vec();
                self.taken += at + 2;
                return String::from_utf8(line).ok();
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads once; `false` at the end, clean or not.
    async fn fill(&mut self) -> bool {
        let before = self.received.len();
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => false,
            Ok(_) => {
                let new = &self.received[before..];
                self.copy.lock().unwrap().extend_from_slice(new);
                true
            }
        }
    }
}

/// Where `needle` first stands in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// A stream that keeps a copy of every byte read from it.
#[derive(Debug)]
pub(crate) struct Tap<S> {
    inner: S,
    copy: Arc<Mutex<Vec<u8>>>,
}

impl<S> Tap<S> {
    pub(crate) fn new(inner: S, copy: Arc<Mutex<Vec<u8>>>) -> Self {
        Self { inner, copy }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(ctx, buffer);
        self.copy
            .lock()
            .unwrap()
            .extend_from_slice(&buffer.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(ctx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(ctx)
    }
}
