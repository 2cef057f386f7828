//! The cookie that carries a whole session, written anew where the session has moved on.

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Response};

use crate::auth::session::SessionEndpoints;
use crate::session::cookie::Presented;
use crate::web::body::Body;

impl SessionEndpoints {
    /// Adds the session as it is now to the answer to a request that presented an older state of it:
    /// its tokens were refreshed, it was used, or its key is to be retired (G7). Such an answer is
    /// never kept (G11).
    pub fn renew_cookie(&self, parts: &Parts, presented: Presented, response: &mut Response<Body>) {
        let Presented::Session(cookie) = presented else {
            return;
        };
        let Some(session) = self.sessions.at_hand(&cookie.hash) else {
            return;
        };
        // Not to the end of its grant, which any refresh may put off.
        let lifetime = session.ends.since(self.clock.now());
        let renewed = self.session_cookie.bring_up_to_date(
            &cookie,
            &session,
            &parts.headers,
            lifetime,
            &*self.randomness,
        );
        match renewed {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => {
                let headers = response.headers_mut();
                for line in lines {
                    headers.append(SET_COOKIE, line);
                }
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            // It goes on for as long as this process has it at hand.
            Err(too_large) => {
                tracing::warn!(
                    event = "session.too_large",
                    session = &*session.details.tag,
                    session_id = ?session.hash,
                    "the session has outgrown its cookie: {too_large}"
                );
            }
        }
    }
}
