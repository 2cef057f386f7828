//! What the control page sets: how late and how wrong the provider answers, so that the authors
//! of an app see what it does then.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;

/// How many requests the control page shows.
const REMEMBERED_REQUESTS: usize = 50;

/// The longest that an answer may be held back.
const LONGEST_DELAY_MS: u64 = 120_000;

/// How the provider answers at present.
#[derive(Debug, Clone, Serialize)]
pub struct Misbehaviour {
    delay_ms: u64,
    fail: Fail,
    fail_endpoints: Vec<String>,
}

/// What comes in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fail {
    /// The answer itself.
    #[serde(rename = "none")]
    None,
    /// An internal error.
    #[serde(rename = "500")]
    InternalError,
    /// An overloaded provider.
    #[serde(rename = "503")]
    Unavailable,
    /// A connection closed with no answer.
    #[serde(rename = "drop")]
    Drop,
}

/// What a `POST /control/state` may hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    delay_ms: Option<u64>,
    fail: Option<Fail>,
    fail_endpoints: Option<Vec<String>>,
    /// Seconds that the next access tokens live.
    pub(super) access_token_seconds: Option<u64>,
    /// Whose sessions end at the provider now; the relying parties are told.
    pub(super) sign_out_user: Option<String>,
    /// The `sid` of the session that ends at the provider now; the relying parties are told.
    pub(super) sign_out_session: Option<String>,
    /// Whether everything that was issued ends now, and nobody is told.
    pub(super) revoke_all: Option<bool>,
}

/// One line of the control page's list.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RequestLine {
    pub(super) at: String,
    pub(super) method: String,
    /// Without the query, which may hold codes; the whole address where the provider asked.
    pub(super) path: String,
    /// 0 where there was no answer.
    pub(super) status: u16,
    pub(super) elapsed_ms: u128,
}

/// The last requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct RequestLog(VecDeque<RequestLine>);

impl Default for Misbehaviour {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            fail: Fail::None,
            fail_endpoints: vec![Endpoint::Token.as_str().to_owned()],
        }
    }
}

impl Misbehaviour {
    /// Takes over what `change` names.
    pub(super) fn change(&mut self, change: &Change) {
        if let Some(delay_ms) = change.delay_ms {
            self.delay_ms = delay_ms.min(LONGEST_DELAY_MS);
        }
        if let Some(fail) = change.fail {
            self.fail = fail;
        }
        if let Some(fail_endpoints) = &change.fail_endpoints {
            self.fail_endpoints.clone_from(fail_endpoints);
        }
    }

    /// How long an answer is held back.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// What comes in place of the answer of `endpoint`.
    pub(super) fn failure_of(&self, endpoint: Endpoint) -> Fail {
        let named = self
            .fail_endpoints
            .iter()
            .any(|name| name == endpoint.as_str());
        if named { self.fail } else { Fail::None }
    }
}

impl RequestLog {
    pub(super) fn add(&mut self, line: RequestLine) {
        if self.0.len() == REMEMBERED_REQUESTS {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub(super) fn lines(&self) -> &VecDeque<RequestLine> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_endpoints_fail() {
        let mut misbehaviour = Misbehaviour::default();
        let change = r#"{"fail":"503","fail_endpoints":["token","jwks"],"delay_ms":999999999}"#;
        misbehaviour.change(&serde_json::from_str(change).unwrap());
        assert_eq!(misbehaviour.failure_of(Endpoint::Token), Fail::Unavailable);
        assert_eq!(misbehaviour.failure_of(Endpoint::Jwks), Fail::Unavailable);
        assert_eq!(misbehaviour.failure_of(Endpoint::UserInfo), Fail::None);
        assert_eq!(misbehaviour.delay(), Duration::from_mins(2));
    }
}
