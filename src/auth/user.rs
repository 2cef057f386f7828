//! `/bff/user`: the facts of `/bff/session` as the list of claims that Duende's frontends read.

use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::auth::answer::json;
use crate::auth::session::{SessionEndpoints, activity, claims};
use crate::session::cookie::Presented;
use crate::session::store::{Found, StoreError};
use crate::web::body::Body;
use crate::web::ending::EndReason;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody is signed in.
    #[error("nobody is signed in")]
    Anonymous,
    /// Nobody is signed in any more.
    #[error("the session has ended")]
    Ended(EndReason),
    /// The store could not be asked, which is no logout.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionEndpoints {
    /// Answers `/bff/user`.
    ///
    /// # Errors
    ///
    /// See [`UserError`].
    pub async fn user(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Response<Body>, UserError> {
        let Presented::Session(cookie) = presented else {
            return Err(UserError::Anonymous);
        };
        let session = match self.sessions.find(&cookie, activity(parts)).await? {
            Found::Live(session) => session,
            Found::Ended(reason) => return Err(UserError::Ended(reason)),
            Found::Nothing => return Err(UserError::Anonymous),
        };
        let mut list = Vec::new();
        if let Value::Object(claims) = claims(&session) {
            for (name, value) in claims {
                match value {
                    Value::Array(values) => {
                        list.extend(values.iter().map(|value| claim(&name, value)));
                    }
                    value => list.push(claim(&name, &value)),
                }
            }
        }
        let expires_in = self.sessions.remaining(&session).idle.as_secs();
        list.push(claim(
            "bff:logout_url",
            &self.places.logout_url(&session).into(),
        ));
        list.push(claim("bff:session_expires_in", &expires_in.into()));
        list.push(claim(
            "bff:session_state",
            &Value::String(session.details.tag.to_string()),
        ));
        Ok(json(StatusCode::OK, &Value::Array(list)))
    }
}

fn claim(name: &str, value: &Value) -> Value {
    json!({ "type": name, "value": value })
}
