//! A second login that a call asks for: the link that begins it, and what the refused page is told of it
//! (RFC 9470 §3).

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::auth::login::{LONGEST_VALUE, is_plain};
use crate::auth::pending_login::Window;
use crate::auth::places::Places;
use crate::auth::return_to::ReturnTo;
use crate::web::challenge::Challenge;
use crate::web::requirement::Requirement;

/// `error` of an upstream that asks for another login.
const INSUFFICIENT: &str = "insufficient_user_authentication";

/// What the login must be like, and where the browser comes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// The contexts of which one will do, as the provider knows them; with a blank between them.
    pub acr_values: Option<String>,
    /// How many seconds ago the user may have signed in.
    pub max_age: Option<u64>,
    /// Where the browser comes back to.
    pub return_to: ReturnTo,
}

impl StepUp {
    /// The login that a rule of ours asks for.
    pub(super) fn asked_by(rule: &Requirement, return_to: ReturnTo) -> Self {
        Self {
            acr_values: (!rule.acr.is_empty()).then(|| rule.acr.join(" ")),
            max_age: rule.max_auth_age.map(|age| age.as_secs()),
            return_to,
        }
    }

    /// The login that an upstream asks for, if that is what its refusal says (RFC 9470 §3). What it asks in
    /// no words that a login link may carry is left out.
    pub(super) fn challenged(
        headers: &HeaderMap,
        return_to: impl FnOnce() -> ReturnTo,
    ) -> Option<Self> {
        let challenges = Challenge::all(headers);
        let challenge = challenges.iter().find(|challenge| {
            let scheme = &challenge.scheme;
            let ours = ["bearer", "dpop"]
                .iter()
                .any(|own| scheme.eq_ignore_ascii_case(own));
            ours && challenge.param("error") == Some(INSUFFICIENT)
        })?;
        let acr_values = challenge.param("acr_values");
        let acr_values = acr_values.filter(|acr| !acr.is_empty() && is_plain(acr, LONGEST_VALUE));
        Some(Self {
            acr_values: acr_values.map(str::to_owned),
            max_age: challenge
                .param("max_age")
                .and_then(|seconds| seconds.parse::<u32>().ok())
                .map(Into::into),
            return_to: return_to(),
        })
    }

    /// For the log.
    pub(super) fn asked(&self) -> String {
        let acr_values = self
            .acr_values
            .iter()
            .map(|acr| format!("acr_values={acr}"));
        let max_age = self.max_age.iter().map(|age| format!("max_age={age}"));
        let asked: Vec<String> = acr_values.chain(max_age).collect();
        if asked.is_empty() {
            return "a claim that the session does not hold".to_owned();
        }
        asked.join(", ")
    }

    /// Where it begins.
    pub(super) fn login_url(&self, places: &Places, window: Window) -> String {
        let max_age = self.max_age.map(|age| age.to_string());
        let asked = [
            ("acr_values", self.acr_values.as_deref()),
            ("max_age", max_age.as_deref()),
        ];
        let asked = asked
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        places.step_up_link(&self.return_to, window, asked)
    }

    /// The same as members of the refusal, for a page that begins the login by itself.
    pub(super) fn members(&self) -> Map<String, Value> {
        let acr_values = self.acr_values.clone().map(Value::from);
        let members = [
            ("acr_values", acr_values),
            ("max_age", self.max_age.map(Value::from)),
        ];
        members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}
