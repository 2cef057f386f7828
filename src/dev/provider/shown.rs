//! What a request shows of who sends it, and how an API says that it will not do.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::web::proof::{DPOP, DPOP_NONCE};

/// The algorithms that a proof may be signed with.
pub(super) const PROOF_ALGS: [&str; 2] = ["ES256", "PS256"];

/// What a request shows beside its parameters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `DPoP`.
    pub proof: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// What a head shows.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            authorization: text(AUTHORIZATION),
            proof: text(DPOP),
        }
    }
}

/// Why an API refuses what it is shown (RFC 6750 §3.1, RFC 9449 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRefusal {
    scheme: &'static str,
    /// The code of the error.
    pub code: &'static str,
}

impl ApiRefusal {
    pub(super) const fn new(scheme: &'static str, code: &'static str) -> Self {
        Self { scheme, code }
    }

    /// The token is good, for something else.
    pub(super) const INSUFFICIENT_SCOPE: Self = Self {
        scheme: "Bearer",
        code: "insufficient_scope",
    };

    /// `WWW-Authenticate` of its answer.
    pub fn challenge(self) -> String {
        let Self { scheme, code } = self;
        match scheme {
            "DPoP" => format!("DPoP error=\"{code}\", algs=\"{}\"", PROOF_ALGS.join(" ")),
            scheme => format!("{scheme} error=\"{code}\""),
        }
    }
}

/// Says which nonce the next proof must hold, where one is demanded (RFC 9449 §8.2).
pub fn say_nonce(headers: &mut HeaderMap, nonce: Option<String>) {
    let nonce = nonce.and_then(|nonce| HeaderValue::from_str(&nonce).ok());
    headers.extend(nonce.map(|nonce| (DPOP_NONCE, nonce)));
}

/// How a token is presented (RFC 9449 §5).
pub(super) const fn token_type(key: Option<&str>) -> &'static str {
    match key {
        Some(_) => "DPoP",
        None => "Bearer",
    }
}
