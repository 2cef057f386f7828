//! What a login that succeeded leaves: the session, its cookie, and an end to the one before it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use crate::auth::callback_fault::CallbackFault;
use crate::auth::ended_at_provider::LoggedInWhen;
use crate::auth::login::Logins;
use crate::clock::Timestamp;
use crate::oidc::{Grant, Identity};
use crate::secret::{LogoutSid, random_base64url};
use crate::session::cookie::Presented;
use crate::session::id::{SessionHash, SessionId};
use crate::session::journal::End;
use crate::session::record::{Authentication, Details, Facts, NewSession, Session, facts_of_login};
use crate::session::store::{Admission, StoreError};
use crate::web::claims;
use crate::web::ending::EndReason;

impl Logins {
    /// Begins the session that `grant` allows, with the `Set-Cookie` lines that carry it.
    pub(in crate::auth) async fn begin_session(
        &self,
        grant: Grant,
        asked: Timestamp,
        (headers, client): (&HeaderMap, IpAddr),
        presented: Presented,
        previous: &[SessionHash],
    ) -> Result<(Arc<Session>, Vec<HeaderValue>), CallbackFault> {
        let randomness = &*self.randomness;
        let id = SessionId::random(randomness);
        let identity = grant.identity;
        let login = LoggedInWhen {
            issued: identity.facts.iat,
            asked,
        };
        let name = display_name(&identity);
        let email = identity.claims.get("email").and_then(Value::as_str);
        let email = email.map(str::to_owned);
        let tokens = self
            .tokens
            .tokens(grant.tokens)
            .ok_or(CallbackFault::UnusableToken)?;
        let shown = self.claims_for_browser(&identity);
        let kept = self.claims_for_us(&identity, &shown);
        let facts = Facts {
            hash: id.hash(),
            site: self.sessions.site().clone(),
            registration: self.ended_there.registration().clone(),
            subject: identity.sub.into(),
            provider_sid: identity.sid.map(Into::into),
            name: name.into(),
        };
        // The same user signed in once more: the session goes on under another id.
        let renewed = self.renewed(previous, &facts).await?;
        let (tag, logout_sid) = match &renewed {
            Some(before) => (
                before.details.tag.clone(),
                LogoutSid::new(before.details.logout_sid.in_link()),
            ),
            None => (
                random_base64url::<9>(randomness).into(),
                LogoutSid::random(randomness),
            ),
        };
        let ends_there = identity.session_expiry.map(Timestamp::from_unix_seconds);
        let new = NewSession {
            details: Details {
                tag,
                logout_sid,
                user_agent: user_agent(headers),
                claims: Value::Object(shown).to_string().into(),
                grant_facts: facts_of_login(&identity.facts, client, kept),
                authentication: Authentication {
                    acr: identity.acr.map(Into::into),
                    amr: identity.amr.into_iter().map(Into::into).collect(),
                    auth_time: identity.auth_time.map(Timestamp::from_unix_seconds),
                },
            },
            facts,
            tokens,
        };
        let session = match ends_there {
            Some(ends_there) => self.sessions.prepare_until(new, ends_there),
            None => self.sessions.prepare(new),
        };
        // Not to the end of its grant, which any refresh may put off.
        let lifetime = session.ends.since(self.clock.now());
        let begun = self
            .session_cookie
            .begin(&id, &session, presented, lifetime, randomness);
        let cookies = match begun {
            Ok(cookies) => cookies,
            Err(too_large) => {
                self.endings.revocations().begin_last(session);
                return Err(CallbackFault::TooLarge(too_large));
            }
        };
        // Before the old one ends, which a limit may bring about at once.
        if let Some(before) = &renewed {
            before.pass_to(Some(&session));
        }
        if let Err(fault) = self.admit(&session, login, previous).await {
            if let Some(before) = &renewed {
                before.pass_to(None);
            }
            return Err(fault);
        }
        if let Some(email) = email
            && let Err(error) = self.sessions.note_email(&email, &session.facts).await
        {
            // The login stands; who looks for its session finds it by name.
            tracing::debug!(%error, "an e-mail address was not noted");
        }
        Ok((session, cookies))
    }

    /// The session of this user that this browser had before, if it had one: it goes on under another id.
    async fn renewed(
        &self,
        previous: &[SessionHash],
        facts: &Facts,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        for hash in previous {
            let mut session = self.sessions.at_hand(hash);
            if session.is_none() {
                let listed = self.sessions.look_up(hash).await?;
                session = listed.and_then(|listed| listed.session);
            }
            if let Some(session) = session
                && session.are_of_one_user(facts)
            {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Takes the session in, if there is room for it and its user has not signed out at the provider
    /// meanwhile.
    async fn admit(
        &self,
        session: &Arc<Session>,
        login: LoggedInWhen,
        previous: &[SessionHash],
    ) -> Result<(), CallbackFault> {
        let mut admission = self.sessions.admit(session).await?;
        // This browser's own session makes room for the one that takes its place, if it is of the
        // same user: a login that is refused ends nobody else's.
        if matches!(admission, Admission::Refused)
            && self
                .end_previous(&self.of_user(previous, session).await?)
                .await
        {
            admission = self.sessions.admit(session).await?;
        }
        if matches!(admission, Admission::Refused) {
            self.endings.revocations().begin_last(Arc::clone(session));
            return Err(CallbackFault::SessionLimit);
        }
        self.check_not_ended_there(session, login).await
    }

    /// A logout token that came while the login was on its way found no session to end.
    async fn check_not_ended_there(
        &self,
        session: &Arc<Session>,
        login: LoggedInWhen,
    ) -> Result<(), CallbackFault> {
        let fault = match self.ended_there.ended_on_its_way(session, login).await {
            Ok(false) => return Ok(()),
            Ok(true) => CallbackFault::EndedThere,
            Err(error) => {
                // Nobody gets its cookie; where it cannot be ended, it runs into its limits.
                let end = End::sparing_tokens(EndReason::ProviderLogout);
                drop(self.sessions.end(&session.hash, end).await);
                CallbackFault::Store(error)
            }
        };
        self.endings.revocations().begin_last(Arc::clone(session));
        Err(fault)
    }

    /// The claims that the configuration lets out; always with `sub`.
    fn claims_for_browser(&self, identity: &Identity) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("sub".to_owned(), Value::String(identity.sub.clone()));
        for name in &self.settings.claims {
            if let Some(value) = identity.claims.get(name) {
                shown.insert(name.clone(), value.clone());
            }
        }
        shown
    }

    /// What routes ask of the user beside that, by the paths that they ask by; null where the login did
    /// not say it, so that a rule which is newer than a login is told from one that the user fails.
    fn claims_for_us(&self, identity: &Identity, shown: &Map<String, Value>) -> Map<String, Value> {
        let wanted = self.settings.kept_claims.iter();
        let wanted = wanted.filter(|path| claims::find(shown, path).is_none());
        wanted
            .map(|path| {
                let said = claims::find(&identity.claims, path);
                (path.clone(), said.cloned().unwrap_or_default())
            })
            .collect()
    }

    /// Those of these sessions that are of this one's user.
    async fn of_user(
        &self,
        hashes: &[SessionHash],
        session: &Session,
    ) -> Result<Vec<SessionHash>, StoreError> {
        let mut own = Vec::new();
        for hash in hashes {
            let listed = self.sessions.look_up(hash).await?;
            if listed.is_some_and(|listed| listed.are_of_one_user(session)) {
                own.push(*hash);
            }
        }
        Ok(own)
    }

    /// Ends the sessions that this browser had before; whether there were any.
    pub(in crate::auth) async fn end_previous(&self, previous: &[SessionHash]) -> bool {
        let mut any = false;
        for hash in previous {
            match self.sessions.end(hash, EndReason::Superseded).await {
                Ok(ended) => any |= ended.is_some(),
                // The new session stands; the old one runs into its limits by itself.
                Err(error) => {
                    tracing::warn!(event = "session.not_ended", %error, "the session before this login could not be ended");
                }
            }
        }
        any
    }
}

/// The session that this browser had when the login began, and the one it presents now.
pub(in crate::auth) fn previous_sessions(
    at_start: Option<SessionHash>,
    presented: Presented,
) -> Vec<SessionHash> {
    let now = match presented {
        Presented::Session(cookie) => Some(cookie.hash),
        Presented::Nothing => None,
    };
    let mut previous: Vec<_> = at_start.into_iter().chain(now).collect();
    previous.dedup();
    previous
}

/// What people call the user: the first of the usual claims that says something.
fn display_name(identity: &Identity) -> String {
    let said = ["name", "preferred_username", "email"]
        .into_iter()
        .filter_map(|claim| identity.claims.get(claim)?.as_str())
        .map(str::trim)
        .find(|name| !name.is_empty());
    said.unwrap_or(&identity.sub)
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect()
}

/// Characters of a name that are kept.
const LONGEST_NAME: usize = 200;

/// What the browser calls itself, shortened.
fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    const LONGEST: usize = 400;
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(LONGEST).collect())
}
