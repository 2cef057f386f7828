//! One call to the provider: sent with its deadline, timed and counted. What the answers mean is
//! left to the file of each endpoint.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use crate::oidc::error::{Misbehaviour, ProviderError, Unavailable};
use crate::oidc::error_code::ErrorAnswer;
use crate::telemetry::Metrics;
use crate::web::outbound::{Outbound, OutboundError};

/// How many deadlines the token endpoint has. A call that is cut short has perhaps used up a code or
/// a one-time refresh token, and nobody can ask for the answer again.
const TOKEN_PATIENCE: u32 = 4;

/// The way to the provider.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) outbound: Outbound,
    pub(super) timeout: Duration,
    pub(super) metrics: Metrics,
}

impl Calls {
    /// Sends `request` once. `endpoint` is the word for metrics and logs.
    pub(super) async fn send(
        &self,
        endpoint: &'static str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, OutboundError> {
        self.send_within(endpoint, request, self.timeout).await
    }

    /// Sends a request that buys tokens once, with more time than others have.
    pub(super) async fn buy(
        &self,
        endpoint: &'static str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, OutboundError> {
        let deadline = self.timeout.saturating_mul(TOKEN_PATIENCE);
        self.send_within(endpoint, request, deadline).await
    }

    async fn send_within(
        &self,
        endpoint: &'static str,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Response<Bytes>, OutboundError> {
        let started = Instant::now();
        let answer = self.outbound.send(request, deadline).await;
        let outcome = match &answer {
            Ok(answer) if answer.status().is_success() => "ok",
            Ok(answer) if answer.status().is_client_error() => "refused",
            Ok(_) => "failed",
            Err(error) => error.as_str(),
        };
        self.metrics
            .provider_call(endpoint, outcome, started.elapsed());
        answer
    }

    /// Fetches a JSON object.
    pub(super) async fn get_object(
        &self,
        endpoint: &'static str,
        url: &Url,
    ) -> Result<Map<String, Value>, ProviderError> {
        let answer = self
            .send(endpoint, json_request(endpoint, url)?)
            .await
            .map_err(|source| Unavailable::NoAnswer { endpoint, source })?;
        json_object(endpoint, &answer)
    }
}

/// A question for a JSON object.
pub(super) fn json_request(
    endpoint: &'static str,
    url: &Url,
) -> Result<Request<Bytes>, Misbehaviour> {
    request(Method::GET, url)
        .header(ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| Misbehaviour::Insecure(endpoint))
}

/// The JSON object that an answer holds.
pub(super) fn json_object(
    endpoint: &'static str,
    answer: &Response<Bytes>,
) -> Result<Map<String, Value>, ProviderError> {
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        let answer = ErrorAnswer { status, code: None };
        return Err(Unavailable::Status { endpoint, answer }.into());
    }
    object(answer.body()).ok_or_else(|| Misbehaviour::NotAnObject(endpoint).into())
}

/// The JSON object that `bytes` write, where the top level is one (A7).
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

/// The start of a request to `url`.
pub(super) fn request(method: Method, url: &Url) -> http::request::Builder {
    let mut url = url.clone();
    url.set_fragment(None);
    Request::builder().method(method).uri(url.as_str())
}

/// The start of a form post to `url`.
pub(super) fn form_post(url: &Url) -> http::request::Builder {
    request(Method::POST, url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
}
