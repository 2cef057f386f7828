//! Calls whose token is bound to a key (RFC 9449 §7): each try carries a proof of its own, and is made once
//! more where that is to hear nothing but a nonce first (A14).
//!
//! An upstream that wants a nonce says so when all of a request has been sent. A short body is kept for the
//! second try; before a long one an empty request asks what the upstream wants.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;

use crate::proxy::HostSent;
use crate::proxy::call::{Call, head_for};
use crate::proxy::error::ForwardError;
use crate::proxy::exchange::{self, Bounds, Tail};
use crate::proxy::headers::request::{self, HeadFor};
use crate::proxy::headers::response::Trailers;
use crate::proxy::route::{Route, Upstream};
use crate::proxy::upload::{Outgoing, RequestBody, UploadLimits};
use crate::proxy::upstream::{Link, Reuse, Upstreams};
use crate::proxy::wire::{Framing, Outbound};
use crate::web::body::Body;
use crate::web::ending::Ending;
use crate::web::proof::{ProofRefusal, Proving, ServerNonce};

/// The longest body that is kept for a second try.
const MOST_KEPT: u64 = 64 * 1024;

/// The proofs of one call.
pub(super) struct Proven<'a> {
    proving: &'a Proving<'a>,
    /// The call's body; `None` where it is longer than what is kept, or may be.
    kept: Option<Bytes>,
    /// How the proof of this try calls where it goes.
    htu: String,
    proof: Option<HeaderValue>,
    /// What the second try is made for.
    refused_for: Option<ServerNonce>,
}

impl<'a> Proven<'a> {
    /// Reads the body where it is to be kept.
    ///
    /// # Errors
    ///
    /// It breaks off.
    pub(super) async fn begin(
        proving: &'a Proving<'a>,
        body: &mut RequestBody,
        limits: UploadLimits,
    ) -> Result<Self, ForwardError> {
        let kept = match body.length() {
            Some(0) => Some(Bytes::new()),
            Some(length) if length <= MOST_KEPT => {
                let whole = read(std::mem::take(body), limits).await?;
                *body = RequestBody::Own(Body::full(whole.clone()));
                Some(whole)
            }
            _ => None,
        };
        Ok(Self {
            proving,
            kept,
            htu: String::new(),
            proof: None,
            refused_for: None,
        })
    }

    /// Makes the proof of the next try, with this upstream. Where no try could follow it and what the upstream wants
    /// is not known well enough, that is asked first. Holds nothing of the call's body while it waits.
    pub(super) fn make_ready<'s>(
        &'s mut self,
        upstreams: &'s Upstreams,
        call: &Call<'s>,
        upstream: &'s Upstream,
        target: &PathAndQuery,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 's>> {
        let htu = htu(call, upstream, target);
        if htu != self.htu {
            // It was another's.
            self.refused_for = None;
            self.htu = htu;
        }
        let must_ask = self.kept.is_none() && !self.proving.is_fresh(&self.htu);
        let question = must_ask.then(|| self.question(call, upstream, target));
        let ending = question.as_ref().and(call.ending.clone());
        let (route, method, authorization) = (call.route, &call.parts.method, call.authorization);
        Box::pin(async move {
            if let Some(question) = question {
                self.ask(question, upstreams, (route, upstream), ending.as_ref())
                    .await;
            }
            self.proof = self.proof_of(method, authorization);
        })
    }

    /// Asks the upstream. Whatever else comes of it than a nonce, the call itself will hear.
    async fn ask(
        &self,
        question: Vec<u8>,
        upstreams: &Upstreams,
        (route, upstream): (&Route, &Upstream),
        ending: Option<&Ending>,
    ) {
        let Ok(mut link) = upstreams.link(route, upstream, Reuse::Never).await else {
            return;
        };
        let outbound = Outbound {
            framing: Framing::None,
            body: Outgoing::Empty,
            is_head: true,
        };
        let bounds = Bounds {
            timeout: route.settings().timeout,
            progress: None,
            ending,
        };
        link.wire.begin(outbound, |into| into.extend(question));
        if let Ok(answer) = exchange::exchange(&mut link, &bounds).await {
            let nonce = ServerNonce::of(&answer.headers);
            self.proving.note(&self.htu, nonce);
            upstreams.let_go(route, link);
        }
    }

    /// The proof that was made last.
    pub(super) const fn proof(&self) -> Option<&HeaderValue> {
        self.proof.as_ref()
    }

    /// Hears what an answer says of the proof; gives the call's body where it is to be sent once more.
    ///
    /// # Errors
    ///
    /// The answer is none to pass on: it speaks of what the browser knows nothing of.
    pub(super) fn hear(
        &mut self,
        upstream: &Upstream,
        answer: &http::response::Parts,
    ) -> Result<Option<RequestBody>, ForwardError> {
        let nonce = ServerNonce::of(&answer.headers);
        let refusal = (answer.status == StatusCode::UNAUTHORIZED)
            .then(|| ProofRefusal::of(&answer.headers))
            .flatten();
        let wants_nonce = refusal == Some(ProofRefusal::Nonce) && nonce.is_some();
        if wants_nonce
            && self.refused_for.is_none()
            && let Some(kept) = &self.kept
        {
            self.refused_for = nonce;
            return Ok(Some(RequestBody::Own(Body::full(kept.clone()))));
        }
        let nonce = nonce.or_else(|| self.refused_for.clone());
        self.proving.note(&self.htu, nonce);
        match refusal {
            None => Ok(None),
            Some(_) if wants_nonce && self.kept.is_none() => Err(ForwardError::NonceWanted),
            Some(_) => Err(ForwardError::ProofRefused {
                upstream: upstream.origin().as_str().to_owned(),
                htu: self.htu.clone(),
            }),
        }
    }

    /// The head of what is called, with the credential and nothing of the browser's, so that a nonce comes if
    /// one is wanted.
    fn question(&self, call: &Call<'_>, upstream: &Upstream, target: &PathAndQuery) -> Vec<u8> {
        let mut parts: Parts = call.parts.clone();
        parts.method = Method::HEAD;
        parts.headers = HeaderMap::new();
        let proof = self.proof_of(&parts.method, call.authorization);
        let head = HeadFor {
            told: &[],
            proof: proof.as_ref(),
            ..head_for(call, upstream, target, &Framing::None)
        };
        let mut written = Vec::new();
        request::write(&mut written, &parts, &head);
        written
    }

    fn proof_of(
        &self,
        method: &Method,
        authorization: Option<&HeaderValue>,
    ) -> Option<HeaderValue> {
        let nonce = self.refused_for.as_ref();
        self.proving.proof(method, &self.htu, authorization, nonce)
    }
}

impl Upstreams {
    /// Leaves an answer whose head says enough; its connection serves on where no more of it is to come.
    pub(super) fn let_go(&self, route: &Route, link: Box<Link>) {
        drop(exchange::body(Tail {
            upstreams: self.clone(),
            link,
            trailers: Trailers::Drop,
            route: Arc::clone(route.name()),
            idle: None,
            ending: None,
        }));
    }
}

/// All of a body that is within its limits.
async fn read(body: RequestBody, limits: UploadLimits) -> Result<Bytes, ForwardError> {
    let (mut body, _) = Outgoing::new(body, limits);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// How an upstream knows the address of a call (RFC 9449 §4.3): by its own name, or by ours where it is called
/// so, or as the operator says that it does.
fn htu(call: &Call<'_>, upstream: &Upstream, target: &PathAndQuery) -> String {
    let settings = call.route.settings();
    let path = target.path();
    if let Some(base) = &settings.dpop_htu {
        let below = path.strip_prefix(upstream.base_path()).unwrap_or(path);
        return format!("{base}{below}");
    }
    let host = call.route.host_sent(upstream, call.public, call.parts);
    let scheme = match settings.host_sent {
        HostSent::Upstreams => upstream.origin().scheme(),
        HostSent::Ours if call.public.scheme() == "https" => "https:",
        HostSent::Ours => "http:",
    };
    format!("{scheme}//{}{path}", host.to_str().unwrap_or_default())
}
