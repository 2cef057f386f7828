//! `/bff/sessions`: the user's own sessions, in this browser and in others.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::auth::answer::{json, not_stored, taken_back, with_cookies};
use crate::auth::ending::FORGOTTEN;
use crate::auth::session::{SessionEndpoints, activity};
use crate::session::cookie::Presented;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::store::{Found, StoreError, Who};
use crate::telemetry::LogoutOutcome;
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::user_agent;

/// What a session's browser is called that nobody knows.
const UNKNOWN_BROWSER: &str = "Unknown browser";

/// Sessions that are shown, the current one among them: those used last.
const MOST_SHOWN: usize = 100;

/// Why nothing is listed and nothing was ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// Nobody is signed in.
    #[error("nobody is signed in")]
    Anonymous,
    /// Nobody is signed in any more.
    #[error("the session has ended")]
    Ended(EndReason),
    /// The user has no session of this tag.
    #[error("the user has no such session")]
    NoSuchSession,
    /// The query says something else than one tag. Not taken for none, which would end all others.
    #[error("the query is neither empty nor one tag")]
    Query,
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionEndpoints {
    /// Answers `GET /bff/sessions`: the current one first, then those used last, and how many there
    /// are in all.
    ///
    /// # Errors
    ///
    /// See [`SessionsError`].
    pub async fn own_sessions(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Response<Body>, SessionsError> {
        let current = self.current(parts, presented).await?;
        let newest = self.sessions.newest_of_its_user(&current, MOST_SHOWN);
        let (mut own, total) = newest.await?;
        // One that is about to expire may be used least lately of all.
        if !own.iter().any(|listed| listed.hash == current.hash) {
            own.truncate(MOST_SHOWN - 1);
            own.extend(self.sessions.look_up(&current.hash).await?);
        }
        own.sort_by_key(|listed| {
            let is_other = listed.hash != current.hash;
            (is_other, std::cmp::Reverse(listed.times.seen))
        });
        let now = self.clock.now();
        // One whose record does not open has no tag; it is still ended with all others.
        let shown = own.iter().filter_map(|listed| {
            let session = listed.session.as_ref()?;
            let browser = session
                .details
                .user_agent
                .as_deref()
                .and_then(user_agent::in_words);
            Some(json!({
                "tag": session.details.tag,
                "current": listed.hash == current.hash,
                "browser": browser.unwrap_or_else(|| UNKNOWN_BROWSER.to_owned()),
                "created_at": listed.times.created.rfc3339(),
                "last_seen": listed.times.seen.rfc3339(),
                "expires_in": listed.times.expires.since(now).as_secs(),
            }))
        });
        let shown: Vec<Value> = shown.collect();
        let body = json!({ "sessions": shown, "total": total });
        Ok(json(StatusCode::OK, &body))
    }

    /// Answers `DELETE /bff/sessions`: ends the one that `tag` names, else all but this browser's.
    ///
    /// # Errors
    ///
    /// See [`SessionsError`].
    pub async fn end_own_sessions(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Response<Body>, SessionsError> {
        let wanted = Wanted::read(parts.uri.query().unwrap_or_default())?;
        let current = self.current(parts, presented).await?;
        let own = self.sessions.of_its_user(&current).await?;
        match wanted {
            Wanted::Tag(tag) => {
                let named = own.iter().filter_map(|listed| listed.session.as_ref());
                let named = named
                    .into_iter()
                    .find(|session| *session.details.tag == *tag);
                let named = named.ok_or(SessionsError::NoSuchSession)?;
                let mut answer = not_stored(Response::new(Body::Empty));
                *answer.status_mut() = StatusCode::NO_CONTENT;
                if named.hash == current.hash {
                    self.end_own(&named.hash, EndReason::Logout).await?;
                    return Ok(with_cookies(
                        answer,
                        taken_back(&self.session_cookie, presented),
                    ));
                }
                if !self
                    .end_own(&named.hash, EndReason::SignedOutElsewhere)
                    .await?
                {
                    return Err(SessionsError::NoSuchSession);
                }
                Ok(answer)
            }
            Wanted::AllOthers => {
                let who = Who::Subject {
                    registration: &current.registration,
                    subject: &current.subject,
                    site: Some(self.sessions.site()),
                };
                let (spared, reason) = (Some(&current.hash), EndReason::SignedOutElsewhere);
                let unseen = (self.sessions).end_unseen(who, self.clock.now(), spared, reason);
                unseen.await?;
                let mut ended = 0_usize;
                for other in own.iter().filter(|listed| listed.hash != current.hash) {
                    ended += usize::from(self.end_own(&other.hash, reason).await?);
                }
                Ok(json(StatusCode::OK, &json!({ "ended": ended })))
            }
        }
    }

    /// This browser's session.
    async fn current(
        &self,
        parts: &Parts,
        presented: Presented,
    ) -> Result<Arc<Session>, SessionsError> {
        let Presented::Session(cookie) = presented else {
            return Err(SessionsError::Anonymous);
        };
        match self.sessions.find(&cookie, activity(parts)).await? {
            Found::Live(session) => Ok(session),
            Found::Ended(reason) => Err(SessionsError::Ended(reason)),
            Found::Nothing => Err(SessionsError::Ended(FORGOTTEN)),
        }
    }

    /// Whether this call ended it.
    async fn end_own(&self, hash: &SessionHash, reason: EndReason) -> Result<bool, StoreError> {
        let ended = self.sessions.end(hash, reason).await?.is_some();
        if ended {
            self.metrics.logout(LogoutOutcome::Sessions);
        }
        Ok(ended)
    }
}

/// What a DELETE is to end.
enum Wanted {
    Tag(String),
    AllOthers,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, SessionsError> {
        let mut words = form_urlencoded::parse(query.as_bytes());
        match (words.next(), words.next()) {
            (None, _) => Ok(Self::AllOthers),
            (Some((name, tag)), None) if name == "tag" => Ok(Self::Tag(tag.into_owned())),
            (Some(_), _) => Err(SessionsError::Query),
        }
    }
}
