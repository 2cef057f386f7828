//! A store that is a list: its records open or not as the test likes, and it may go away.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{ManualClock, SystemRandomness, Timestamp};
use crate::secret::{AccessToken, IdToken, LogoutSid, RefreshToken};
use crate::session::id::{SessionHash, SessionId};
use crate::session::journal::{Journal, SubjectNames};
use crate::session::record::{Authentication, Details, Facts, NewSession, Session, Times};
use crate::session::store::{
    Admission, Condition, Cursor, Directory, Found, Lease, Leased, Limit, Listed, Memory, Note,
    Notes, Over, Recency, SaveOutcome, SessionStore, StoreError, StoreFuture, Within,
    begins_a_word, folded,
};
use crate::session::tokens::{Access, Tokens};
use crate::session::{SessionSettings, Sessions, fixture};
use crate::telemetry::Metrics;
use crate::web::ending::EndReason;
use crate::web::site_id::SiteId;

/// 2026-11-21T09:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_251_600);

/// The sessions on it.
#[derive(Debug)]
pub(super) struct Shelf {
    rows: Mutex<Vec<Listed>>,
    away: AtomicBool,
    kind: Mutex<&'static str>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            rows: Mutex::default(),
            away: AtomicBool::new(false),
            kind: Mutex::new("memory"),
        }
    }
}

/// The sessions that `shelf` keeps.
pub(super) fn sessions(shelf: Arc<Shelf>) -> Sessions {
    let settings = SessionSettings {
        max_lifetime: Duration::from_hours(8),
        ..fixture::settings()
    };
    let journal = Journal::new(Metrics::new(), SubjectNames::Clear);
    let clock = Arc::new(ManualClock::starting_at(NOW));
    Sessions::new(shelf, clock, SiteId::main(), &settings, journal)
}

/// A session whose record opens, full of canaries.
pub(super) fn readable(name: &str, subject: &str, sid: Option<&str>) -> Listed {
    let unread = unreadable(name, subject, sid);
    let session = sessions(Arc::default()).prepare(NewSession {
        facts: unread.facts.clone(),
        details: Details {
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0".into()),
            claims: r#"{"email":"canary-claim"}"#.into(),
            authentication: Authentication {
                acr: Some("gold".into()),
                amr: vec!["pwd".into(), "otp".into()],
                auth_time: None,
            },
            grant_facts: "canary-facts".into(),
            ..Details::new("tag", LogoutSid::new("canary-logout-sid"))
        },
        tokens: tokens(),
    });
    Listed {
        session: Some(session),
        ..unread
    }
}

/// A session whose record does not open.
pub(super) fn unreadable(name: &str, subject: &str, sid: Option<&str>) -> Listed {
    let hash = SessionId::random(&SystemRandomness).hash();
    Listed {
        facts: Facts {
            provider_sid: sid.map(Into::into),
            name: name.into(),
            ..Facts::new(hash, SiteId::main(), fixture::registration(), subject)
        },
        times: Times::beginning(NOW, Duration::from_mins(30), Duration::from_hours(8)),
        session: None,
    }
}

/// The same at another site.
pub(super) fn at(site: &str, listed: Listed) -> Listed {
    let facts = Facts {
        site: SiteId::new(site),
        ..listed.facts.clone()
    };
    Listed { facts, ..listed }
}

fn tokens() -> Tokens {
    let access_token = AccessToken::new("canary-access-token");
    let mut own = Access::new(1, access_token).unwrap();
    own.expires = Some(NOW + Duration::from_mins(5));
    Tokens {
        refresh_token: Some(Arc::new(RefreshToken::new("canary-refresh-token"))),
        id_token: Some(Arc::new(IdToken::new("canary-id-token"))),
        ..Tokens::first(own)
    }
}

impl Shelf {
    pub(super) fn put(&self, listed: Listed) -> SessionHash {
        let hash = listed.hash;
        let mut rows = self.rows.lock().unwrap();
        rows.push(listed);
        rows.sort_by_cached_key(Listed::cursor);
        hash
    }

    pub(super) fn take(&self, hash: &SessionHash) -> Option<Listed> {
        let mut rows = self.rows.lock().unwrap();
        let at = rows.iter().position(|row| row.hash == *hash)?;
        Some(rows.remove(at))
    }

    pub(super) fn names(&self) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.iter().map(|row| row.name.to_string()).collect()
    }

    pub(super) fn hashes(&self) -> Vec<SessionHash> {
        let rows = self.rows.lock().unwrap();
        rows.iter().map(|row| row.hash).collect()
    }

    pub(super) fn leave(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(super) fn is(&self, kind: &'static str) {
        *self.kind.lock().unwrap() = kind;
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        step: impl FnOnce() -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Away("gone fishing".into()));
            }
            Ok(step())
        })
    }

    fn those(&self, mut wanted: impl FnMut(&Listed) -> bool) -> Vec<Listed> {
        let rows = self.rows.lock().unwrap();
        rows.iter().filter(|row| wanted(row)).cloned().collect()
    }
}

impl SessionStore for Shelf {
    fn at_hand(&self, _: &SessionHash, _: Timestamp) -> Option<Arc<Session>> {
        None
    }

    fn find<'a>(&'a self, _: &'a SessionHash, _: Timestamp) -> StoreFuture<'a, Found> {
        self.answer(|| Found::Nothing)
    }

    fn insert(
        &self,
        _: Arc<Session>,
        _: Option<Limit>,
        _: Timestamp,
    ) -> StoreFuture<'_, Admission> {
        self.answer(|| Admission::Refused)
    }

    fn save_tokens<'a>(
        &'a self,
        _: &'a Arc<Session>,
        _: Arc<Tokens>,
    ) -> StoreFuture<'a, SaveOutcome> {
        self.answer(|| SaveOutcome::Ended)
    }

    fn slide(&self, _: &Arc<Session>, _: Timestamp, _: Timestamp) {}

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>> {
        assert_eq!(reason, EndReason::Revoked);
        self.answer(move || self.take(hash)?.session)
    }

    fn expire<'a>(&'a self, _: &'a SessionHash, _: Timestamp) -> StoreFuture<'a, bool> {
        self.answer(|| false)
    }

    fn sweep(&self, _: Timestamp) -> StoreFuture<'_, Vec<Over>> {
        self.answer(Vec::new)
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn count(&self) -> u64 {
        self.rows.lock().unwrap().len() as u64
    }

    fn memory(&self) -> Option<Memory> {
        None
    }

    fn kind(&self) -> &'static str {
        *self.kind.lock().unwrap()
    }

    fn condition(&self) -> Pin<Box<dyn Future<Output = Condition> + Send + '_>> {
        Box::pin(async {
            if self.away.load(Ordering::SeqCst) {
                Condition::Unwell("gone fishing".to_owned())
            } else {
                Condition::Well
            }
        })
    }
}

impl Directory for Shelf {
    fn of_subject<'a>(
        &'a self,
        subject: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.answer(move || self.those(|row| *row.subject == *subject && within.takes(row)))
    }

    fn of_provider_sid<'a>(
        &'a self,
        sid: &'a str,
        within: &'a Within,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.answer(move || {
            self.those(|row| row.provider_sid.as_deref() == Some(sid) && within.takes(row))
        })
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        within: &'a Within,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.answer(move || {
            let mut page = self.those(|row| {
                begins_a_word(&folded(&row.name), word)
                    && within.takes(row)
                    && after.is_none_or(|after| row.cursor() > *after)
            });
            page.truncate(at_most);
            page
        })
    }

    fn latest<'a>(
        &'a self,
        within: &'a Within,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Listed>, Option<Recency>)> {
        self.answer(move || {
            let place = |row: &Listed| (row.times.seen, row.hash);
            let mut rows = self.those(|row| {
                within.takes(row) && after.is_none_or(|after| place(row) < (after.at, after.hash))
            });
            rows.sort_by_key(|row| std::cmp::Reverse(place(row)));
            let more = rows.len() > at_most;
            rows.truncate(at_most);
            let next = rows.last().filter(|_| more).map(|row| Recency {
                at: row.times.seen,
                hash: row.hash,
            });
            (rows, next)
        })
    }

    fn inspect<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Listed>> {
        self.answer(move || self.those(|row| row.hash == *hash).pop())
    }
}

impl Lease for Shelf {
    fn lease<'a>(&'a self, _: Leased<'a>, _: &'a str) -> StoreFuture<'a, bool> {
        self.answer(|| false)
    }

    fn release<'a>(&'a self, _: Leased<'a>, _: &'a str) -> StoreFuture<'a, ()> {
        self.answer(|| ())
    }
}

impl Notes for Shelf {
    fn keep<'a>(
        &'a self,
        _: Note<'a>,
        _: &'a [u8],
        _: Duration,
        _: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.answer(|| false)
    }

    fn peek<'a>(&'a self, _: Note<'a>, _: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.answer(|| None)
    }

    fn take<'a>(&'a self, _: Note<'a>, _: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.answer(|| None)
    }
}
