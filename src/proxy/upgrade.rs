//! `WebSocket`s: the handshake judged on both sides, then a tunnel (M1–M4, M6, J11).
//!
//! Nothing but `websocket` is ever upgraded; other wishes in `Upgrade` are ignored, as RFC 9110
//! §7.8 allows.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;

use crate::proxy::call::{Call, head_for, target};
use crate::proxy::error::ForwardError;
use crate::proxy::exchange::{self, Bounds, Failure};
use crate::proxy::headers::request::{self, HeadFor};
use crate::proxy::headers::response::{self, AnswerFault, Trailers};
use crate::proxy::headers::words;
use crate::proxy::proven::Proven;
use crate::proxy::route::Upstream;
use crate::proxy::tunnel::{self, Mask, Tunnel};
use crate::proxy::upload::Outgoing;
use crate::proxy::upstream::{Link, Reuse, Upstreams};
use crate::proxy::wire::{Framing, Outbound};
use crate::web::body::Body;
use crate::web::open_limits::OpenPermit;
use crate::web::strangers::Turn;

/// What every accept is made with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A WebSocket handshake that was found in order; what the upstream's answer is held against.
#[derive(Debug, Clone)]
pub struct Handshake {
    accept: String,
    mask: [u8; 4],
    protocols: Vec<String>,
    extensions: Vec<String>,
}

/// What is wrong with a handshake, by what the browser must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// Another version: 426 with `Sec-WebSocket-Version: 13`.
    #[error("the WebSocket version is not 13")]
    Version,
    /// Not a GET over HTTP/1.1, or without a proper key: 400.
    #[error("the WebSocket handshake is malformed")]
    Malformed,
}

/// Whether a request asks to become a WebSocket.
pub fn is_websocket(parts: &Parts) -> bool {
    parts.headers.contains_key(UPGRADE)
        && parts.version == Version::HTTP_11
        && has_word(&parts.headers, &UPGRADE, "websocket")
        && has_word(&parts.headers, &CONNECTION, "upgrade")
}

impl Handshake {
    /// Judges a browser's handshake (RFC 6455 §4.2.1). Whether its Origin is ours was judged
    /// before (M1).
    ///
    /// # Errors
    ///
    /// The first fault found.
    pub fn check(parts: &Parts) -> Result<Self, HandshakeFault> {
        let headers = &parts.headers;
        if parts.method != Method::GET || !is_websocket(parts) {
            return Err(HandshakeFault::Malformed);
        }
        match headers.get(SEC_WEBSOCKET_VERSION) {
            Some(version) if version == "13" => {}
            _ => return Err(HandshakeFault::Version),
        }
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .ok_or(HandshakeFault::Malformed)?;
        let random = STANDARD
            .decode(key.as_bytes())
            .map_err(|_| HandshakeFault::Malformed)?;
        let random: [u8; 16] = random.try_into().map_err(|_| HandshakeFault::Malformed)?;
        let [first, second, third, fourth, ..] = random;
        Ok(Self {
            accept: accept(key.as_bytes()),
            mask: [first, second, third, fourth],
            protocols: words(headers, &SEC_WEBSOCKET_PROTOCOL)
                .map(str::to_owned)
                .collect(),
            extensions: extensions(headers).map(str::to_owned).collect(),
        })
    }

    /// Judges an upstream's 101 (RFC 6455 §4.1).
    fn check_answer(&self, headers: &HeaderMap) -> Result<(), AnswerFault> {
        let one = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            (values.next(), values.next().is_none())
        };
        let (accept, only_accept) = one(SEC_WEBSOCKET_ACCEPT);
        let accepted =
            accept.is_some_and(|value| value.as_bytes().trim_ascii() == self.accept.as_bytes());
        let (protocol, only_protocol) = one(SEC_WEBSOCKET_PROTOCOL);
        let protocol_offered = protocol.is_none_or(|chosen| {
            self.protocols
                .iter()
                .any(|offered| offered.as_bytes() == chosen.as_bytes())
        });
        let extensions_offered = extensions(headers).all(|chosen| {
            self.extensions
                .iter()
                .any(|offered| offered.eq_ignore_ascii_case(chosen))
        });
        let fits = has_word(headers, &UPGRADE, "websocket")
            && has_word(headers, &CONNECTION, "upgrade")
            && accepted
            && only_accept
            && protocol_offered
            && only_protocol
            && extensions_offered;
        if fits {
            Ok(())
        } else {
            Err(AnswerFault::Switch)
        }
    }
}

/// What an upgrade needs beside the call.
#[derive(Debug)]
pub struct Upgrade<'a> {
    /// The browser's handshake.
    pub handshake: &'a Handshake,
    /// The browser's connection, once it is free.
    pub browser: OnUpgrade,
    /// Held for as long as the socket is open.
    pub permit: OpenPermit,
    /// Held as long, where it is open without a session: a socket's and a call's.
    pub stranger: Option<[Turn; 2]>,
    /// How long the browser may be silent before it is pinged, and again before it is let go.
    pub ping: Option<Duration>,
    /// Comes when `bff` stops.
    pub shutdown: CancellationToken,
}

impl Upstreams {
    /// Opens a WebSocket to the upstream and answers the browser's handshake; the tunnel runs in a
    /// task of its own. An upstream that refuses has its answer passed on.
    ///
    /// # Errors
    ///
    /// As [`Upstreams::forward`], and where a 101 does not fit the handshake.
    pub async fn upgrade(
        &self,
        mut call: Call<'_>,
        upgrade: Upgrade<'_>,
    ) -> Result<Response<Body>, ForwardError> {
        if request::is_loop(&call.parts.headers) {
            return Err(ForwardError::LoopDetected);
        }
        let bounds = Bounds {
            timeout: call.route.settings().timeout,
            progress: None,
            ending: call.ending.as_ref(),
        };
        let mut proven = match call.proving {
            None => None,
            Some(proving) => {
                let limits = self.upload_limits(call.route);
                Some(Proven::begin(proving, &mut call.body, limits).await?)
            }
        };
        let mut unreached = None;
        for upstream in call.route.upstreams_in_turn() {
            loop {
                // Never a used connection: this one will not come back, and must not be stale.
                let mut link = match self.link(call.route, upstream, Reuse::Never).await {
                    Ok(link) => link,
                    Err(ForwardError::Busy) => return Err(ForwardError::Busy),
                    Err(error) => {
                        self.pass_over(call.route, upstream);
                        unreached = Some(error);
                        break;
                    }
                };
                let target = target(&call, upstream)?;
                if let Some(proven) = &mut proven {
                    proven.make_ready(self, &call, upstream, &target).await;
                }
                let head = HeadFor {
                    becomes_websocket: true,
                    proof: proven.as_ref().and_then(Proven::proof),
                    ..head_for(&call, upstream, &target, &Framing::None)
                };
                let outbound = Outbound {
                    framing: Framing::None,
                    body: Outgoing::Empty,
                    is_head: false,
                };
                link.wire
                    .begin(outbound, |into| request::write(into, call.parts, &head));
                let parts = match exchange::exchange(&mut link, &bounds).await {
                    Ok(answer) => answer,
                    Err(Failure::Final(error)) => return Err(error),
                    Err(Failure::Unsent(_, error) | Failure::Lost(error)) => {
                        return Err(ForwardError::Closed(error));
                    }
                };
                if let Some(proven) = &mut proven
                    && proven.hear(upstream, &parts)?.is_some()
                {
                    self.let_go(call.route, link);
                    continue;
                }
                if parts.status != StatusCode::SWITCHING_PROTOCOLS {
                    let answer = self.answer(call, upstream, link, parts)?;
                    return Ok(answer.map(|body| body.holding(upgrade.stranger)));
                }
                upgrade
                    .handshake
                    .check_answer(&parts.headers)
                    .map_err(ForwardError::BadAnswer)?;
                let answer = switched(parts, &call, upstream);
                open_tunnel(call, upgrade, link);
                return Ok(answer);
            }
        }
        Err(unreached.unwrap_or(ForwardError::Timeout))
    }
}

/// The browser's 101.
fn switched(
    mut parts: http::response::Parts,
    call: &Call<'_>,
    upstream: &Upstream,
) -> Response<Body> {
    let locations = call.locations(upstream);
    response::clean(&mut parts, &locations, call.strip, Trailers::Drop);
    let headers = &mut parts.headers;
    headers.remove(http::header::CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Response::from_parts(parts, Body::Empty)
}

/// Joins the two connections. The browser's is free only after it was sent our 101, so all the
/// bytes it sent before are still unread (J11).
fn open_tunnel(call: Call<'_>, upgrade: Upgrade<'_>, link: Box<Link>) {
    let ending = call.ending;
    let mask = Mask::new(upgrade.handshake.mask);
    let Upgrade {
        handshake: _,
        browser,
        permit,
        stranger,
        ping,
        shutdown,
    } = upgrade;
    drop(tokio::spawn(async move {
        let Ok(browser) = browser.await else {
            return;
        };
        let Link { wire, room, .. } = *link;
        let (upstream, early) = wire.into_parts();
        let tunnel = Tunnel {
            browser: hyper_util::rt::TokioIo::new(browser),
            upstream,
            early,
            mask,
            ping,
        };
        tunnel::run(tunnel, ending, shutdown).await;
        drop((permit, stranger, room));
    }));
}

fn accept(key: &[u8]) -> String {
    use aws_lc_rs::digest;
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}

/// The names of the extensions, without their parameters.
fn extensions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    words(headers, &SEC_WEBSOCKET_EXTENSIONS)
        .filter_map(|word| word.split(';').next())
        .map(str::trim)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy::headers::tests::map;

    /// RFC 6455 §1.3's own example.
    const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const GOOD: [&str; 4] = [
        "upgrade: websocket",
        "connection: keep-alive, Upgrade",
        "sec-websocket-version: 13",
        KEY,
    ];

    fn check(method: &str, fields: &[&str]) -> Result<Handshake, HandshakeFault> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method.parse().unwrap();
        parts.headers = map(fields);
        Handshake::check(&parts)
    }

    /// The good handshake with the field of this name replaced, or left out.
    fn with(field: &'static str) -> Vec<&'static str> {
        let (name, value) = field.split_once(':').unwrap();
        let mut fields: Vec<&str> = GOOD
            .into_iter()
            .filter(|line| !line.starts_with(name))
            .collect();
        if !value.is_empty() {
            fields.push(field);
        }
        fields
    }

    /// M3: GET, version 13, a key of 16 bytes, and the two tokens.
    #[test]
    fn a_malformed_handshake_is_refused() {
        use HandshakeFault::{Malformed, Version};
        for (field, fault) in [
            ("upgrade:", Malformed),
            ("upgrade: h2c", Malformed),
            ("connection:", Malformed),
            ("connection: close", Malformed),
            ("sec-websocket-version:", Version),
            ("sec-websocket-version: 8", Version),
            ("sec-websocket-key:", Malformed),
            ("sec-websocket-key: dGhlIHNhbXBsZQ==", Malformed),
            ("sec-websocket-key: !", Malformed),
        ] {
            let outcome = check("GET", &with(field)).map(|_| ());
            assert_eq!(outcome, Err(fault), "{field}");
        }
        assert_eq!(check("POST", &GOOD).map(|_| ()), Err(Malformed));
    }

    /// M3: the upstream accepts this handshake, and chooses from what was offered.
    #[test]
    fn an_answer_that_does_not_fit_is_refused() {
        let mut offer = GOOD.to_vec();
        offer.push("sec-websocket-protocol: chat, superchat");
        offer.push("sec-websocket-extensions: permessage-deflate; client_max_window_bits");
        let handshake = check("GET", &offer).unwrap();
        let switch = ["upgrade: WebSocket", "connection: Upgrade"];
        for (fields, fits) in [
            (&[ACCEPT][..], true),
            (&[ACCEPT, "sec-websocket-protocol: chat"], true),
            (
                &[
                    ACCEPT,
                    "sec-websocket-extensions: permessage-deflate; server_no_context_takeover",
                ],
                true,
            ),
            (&[], false),
            (&[ACCEPT, ACCEPT], false),
            (&["sec-websocket-accept: c3RhbGU="], false),
            (&[ACCEPT, "sec-websocket-protocol: other"], false),
            (&[ACCEPT, "sec-websocket-protocol: chat, superchat"], false),
            (&[ACCEPT, "sec-websocket-extensions: x-frame"], false),
        ] {
            let fields = [&switch, fields].concat();
            assert_eq!(
                handshake.check_answer(&map(&fields)).is_ok(),
                fits,
                "{fields:?}"
            );
        }
        assert!(handshake.check_answer(&map(&[ACCEPT])).is_err());
    }
}
