//! What the log and the metrics say of the lives of sessions: each beginning, each refresh and each end
//! once, by the node that brought it about, under one name for the session and one for its user.
//!
//! What the fields mean stands in docs/logs.md, which a test holds against this.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::session::record::{Facts, Session};
use crate::session::seal::Keys;
use crate::telemetry::{Metrics, RefreshOutcome};
use crate::web::ending::EndReason;
use crate::web::user_agent;

/// How a session ends: why, and by whose hand where that was a person's.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Why.
    pub reason: EndReason,
    /// Who of the administrators.
    pub by: Option<&'a str>,
    /// The request that asked for it.
    pub request_id: Option<&'a str>,
    /// Whether its tokens are left alone at the provider, whatever else is done with those of this reason.
    pub spares_tokens: bool,
}

impl End<'_> {
    /// An end for this reason that leaves the tokens alone.
    pub const fn sparing_tokens(reason: EndReason) -> Self {
        Self {
            reason,
            by: None,
            request_id: None,
            spares_tokens: true,
        }
    }
}

impl From<EndReason> for End<'_> {
    fn from(reason: EndReason) -> Self {
        Self {
            spares_tokens: false,
            ..Self::sparing_tokens(reason)
        }
    }
}

/// Told of each end that this node brought about, once, for what follows it elsewhere.
pub trait OnEnd: fmt::Debug + Send + Sync {
    /// The session ended, with these last tokens; must not take long.
    fn ended(&self, session: &Arc<Session>, end: &End<'_>);
}

/// How users are called in the log.
#[derive(Debug, Clone)]
pub enum SubjectNames {
    /// By a hash that nobody without the first of `session.keys` can make, and that is the same on
    /// every node.
    Hashed(Keys),
    /// By their subject.
    Clear,
}

/// Writes what becomes of sessions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    metrics: Metrics,
    subjects: SubjectNames,
}

impl Journal {
    /// One that counts in `metrics`.
    pub const fn new(metrics: Metrics, subjects: SubjectNames) -> Self {
        Self { metrics, subjects }
    }

    /// A login came to a session.
    pub(in crate::session) fn started(&self, session: &Session) {
        tracing::info!(
            event = "session.started",
            session = &*session.details.tag,
            session_id = ?session.hash,
            site_id = session.site.named(),
            subject = self.subject(&session.subject),
            client = session.client().map(tracing::field::display),
            browser = session.details.user_agent.as_deref().and_then(user_agent::family),
            "signed in"
        );
    }

    /// A session ended, by this node.
    pub(in crate::session) fn ended(&self, session: &Session, end: End<'_>) {
        self.metrics.at(&session.site).session_ended(end.reason);
        tracing::info!(
            event = "session.ended",
            reason = end.reason.as_str(),
            session = &*session.details.tag,
            session_id = ?session.hash,
            site_id = session.site.named(),
            subject = self.subject(&session.subject),
            by = end.by,
            request.id = end.request_id,
            "the session ended"
        );
    }

    /// A session ended whose record does not open, so that its tag is not known.
    pub fn ended_unread(&self, facts: &Facts, end: End<'_>) {
        self.metrics.at(&facts.site).session_ended(end.reason);
        tracing::info!(
            event = "session.ended",
            reason = end.reason.as_str(),
            session_id = ?facts.hash,
            site_id = facts.site.named(),
            subject = self.subject(&facts.subject),
            by = end.by,
            request.id = end.request_id,
            "the session ended"
        );
    }

    /// A session has another token than before, its own or another node's; `token` says what for, if it is not
    /// the session's own.
    pub fn refreshed(
        &self,
        session: &Session,
        token: Option<&str>,
        outcome: RefreshOutcome,
        took: Duration,
    ) {
        self.metrics.at(&session.site).refresh(outcome);
        tracing::info!(
            event = "session.refreshed",
            outcome = outcome.as_str(),
            token,
            session = &*session.details.tag,
            session_id = ?session.hash,
            site_id = session.site.named(),
            subject = self.subject(&session.subject),
            elapsed_ms = millis(took),
            "the access token was renewed"
        );
    }

    /// A refresh brought nothing.
    pub fn refresh_failed(
        &self,
        session: &Session,
        failed: &RefreshFailed<'_>,
        what: &'static str,
    ) {
        let RefreshFailed {
            outcome,
            token,
            code,
            cause,
        } = *failed;
        let code = code.unwrap_or(outcome.as_str());
        self.metrics.at(&session.site).refresh_failed(outcome, code);
        tracing::info!(
            event = "refresh.failed",
            outcome = outcome.as_str(),
            token,
            code,
            cause,
            session = &*session.details.tag,
            session_id = ?session.hash,
            site_id = session.site.named(),
            subject = self.subject(&session.subject),
            "{what}"
        );
    }

    /// What a user is called in the log.
    fn subject(&self, subject: &str) -> String {
        match &self.subjects {
            SubjectNames::Hashed(keys) => keys.pseudonym("subject in the log", subject),
            SubjectNames::Clear => subject.to_owned(),
        }
    }
}

/// Why a refresh brought nothing.
#[derive(Debug, Clone, Copy)]
pub struct RefreshFailed<'a> {
    /// What it came to.
    pub outcome: RefreshOutcome,
    /// What the token is for, if it is not the session's own.
    pub token: Option<&'a str>,
    /// The word for the cause, for the metric, where the outcome does not say it all.
    pub code: Option<&'static str>,
    /// The cause in a sentence.
    pub cause: &'a str,
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
