//! Who is this browser: session ids, records, the sealed cookie, the key ring and the stores.

pub mod cookie;
pub mod id;
pub mod record;
pub mod seal;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::secret::SessionKey;
use crate::web::ending::EndReason;

use cookie::OpenedCookie;
use id::SessionHash;
use record::{NewSession, Session, Tokens};
use store::{SaveOutcome, SessionStore, StoreError};

/// `[session]`.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The key ring: the first seals, all open (G7). Empty: a fresh one at start.
    pub keys: Vec<SessionKey>,
    /// Without a call for this long, a session ends.
    pub idle_timeout: Duration,
    /// However active, a session ends after this long (G9).
    pub max_lifetime: Duration,
    /// How the cookie is written.
    pub cookie: CookieSettings,
}

/// `[session.cookie]`, checked against the rules of its prefix (G1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// The name, `__Host-Http-bff`, or `bff` on http loopback.
    pub name: String,
    /// `Secure`; left out only on http loopback.
    pub secure: bool,
    /// `SameSite`.
    pub same_site: SameSite,
    /// Whether the cookie outlives the browser's closing (`Max-Age`).
    pub persistent: bool,
}

/// The `SameSite` attribute of the session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Not sent on any cross-site request.
    Strict,
    /// Sent on top-level cross-site navigations.
    Lax,
}

/// The sessions, with the rules of their life: idle and absolute expiry, sliding, ending.
#[derive(Debug, Clone)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    idle_timeout: Duration,
    max_lifetime: Duration,
}

/// Whether looking at a session counts as using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Puts the idle timeout off.
    Slides,
    /// Only looks (`?slide=false`).
    Observes,
}

/// How long a session has, as the browser is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Until the idle timeout, or the absolute one if that is sooner.
    pub idle: Duration,
    /// Until the absolute timeout.
    pub absolute: Duration,
}

impl Sessions {
    /// Sessions kept in `store`.
    pub fn new(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        settings: &SessionSettings,
    ) -> Self {
        Self {
            store,
            clock,
            idle_timeout: settings.idle_timeout,
            max_lifetime: settings.max_lifetime,
        }
    }

    /// The longest that a session can live.
    pub const fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// Begins a session.
    ///
    /// # Errors
    ///
    /// The store could not take it; the login has failed.
    pub async fn begin(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
        let session = Arc::new(Session::new(new, self.clock.now(), self.max_lifetime));
        self.store.insert(Arc::clone(&session)).await?;
        Ok(session)
    }

    /// The live session of an opened cookie; `None` where it has ended.
    ///
    /// # Errors
    ///
    /// The store could not be asked, which is no logout.
    pub async fn find(
        &self,
        cookie: &OpenedCookie,
        activity: Activity,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let now = self.clock.now();
        // A cookie that no session can have survived costs the store nothing.
        if now >= cookie.issued + self.max_lifetime {
            return Ok(None);
        }
        let session = match self.store.at_hand(&cookie.hash) {
            Some(session) => session,
            None => match self.store.load(&cookie.hash).await? {
                Some(session) => session,
                None => return Ok(None),
            },
        };
        if session.ending.reason().is_some() {
            return Ok(None);
        }
        if now >= session.expires(self.idle_timeout) {
            self.store.end(&session.hash, EndReason::Expired).await?;
            return Ok(None);
        }
        if activity == Activity::Slides && self.slide_is_due(&session, now) {
            match self.store.slide(&session, now).await? {
                SaveOutcome::Saved => {}
                SaveOutcome::Ended => return Ok(None),
            }
        }
        Ok(Some(session))
    }

    /// At most one write in a tenth of the idle timeout (G9).
    fn slide_is_due(&self, session: &Session, now: Timestamp) -> bool {
        now.since(session.last_seen()) >= self.idle_timeout / 10
    }

    /// Replaces the tokens of a session.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn save_tokens(
        &self,
        session: &Arc<Session>,
        tokens: Tokens,
    ) -> Result<SaveOutcome, StoreError> {
        self.store.save_tokens(session, tokens).await
    }

    /// Ends a session and whatever is open on its behalf; the session, if there was one.
    ///
    /// # Errors
    ///
    /// The store could not be asked; the session lives.
    pub async fn end(
        &self,
        hash: &SessionHash,
        reason: EndReason,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.store.end(hash, reason).await
    }

    /// How long a session has.
    pub fn remaining(&self, session: &Session) -> Remaining {
        let now = self.clock.now();
        Remaining {
            idle: session.expires(self.idle_timeout).since(now),
            absolute: session.ends.since(now),
        }
    }

    /// Ends what has expired; how many. To be called about once a second.
    pub fn sweep(&self) -> usize {
        self.store.sweep(self.clock.now())
    }

    /// How many sessions there are, about.
    pub fn count(&self) -> u64 {
        self.store.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SystemRandomness};
    use crate::secret::{AccessToken, LogoutSid};
    use id::SessionId;
    use store::memory::MemoryStore;

    const MINUTE: Duration = Duration::from_mins(1);

    fn settings() -> SessionSettings {
        SessionSettings {
            keys: Vec::new(),
            idle_timeout: 30 * MINUTE,
            max_lifetime: 60 * MINUTE,
            cookie: CookieSettings {
                name: "bff".to_owned(),
                secure: false,
                same_site: SameSite::Strict,
                persistent: false,
            },
        }
    }

    fn sessions() -> (Sessions, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(
            1_000_000,
        )));
        let store = Arc::new(MemoryStore::new(settings().idle_timeout));
        (Sessions::new(store, clock.clone(), &settings()), clock)
    }

    fn tokens() -> Tokens {
        let access_token = AccessToken::new("at");
        let bearer = access_token.bearer().unwrap();
        Tokens {
            access_token,
            bearer,
            refresh_token: None,
            id_token: None,
            expires: None,
            refresh_at: None,
        }
    }

    async fn begin(sessions: &Sessions) -> (Arc<Session>, OpenedCookie) {
        let new = NewSession {
            hash: SessionId::random(&SystemRandomness).hash(),
            tag: "tag".into(),
            logout_sid: LogoutSid::random(&SystemRandomness),
            subject: "alice".into(),
            provider_sid: None,
            claims: "{}".into(),
            authentication: record::Authentication::default(),
            grant_facts: "{}".into(),
            tokens: tokens(),
        };
        let session = sessions.begin(new).await.unwrap();
        let cookie = OpenedCookie {
            hash: session.hash,
            issued: session.created,
        };
        (session, cookie)
    }

    async fn lives(sessions: &Sessions, cookie: &OpenedCookie, activity: Activity) -> bool {
        sessions.find(cookie, activity).await.unwrap().is_some()
    }

    /// G9: the idle limit, to the second.
    #[tokio::test]
    async fn an_idle_session_ends() {
        let (sessions, clock) = sessions();
        let (session, cookie) = begin(&sessions).await;
        clock.advance(30 * MINUTE - Duration::from_secs(1));
        assert!(lives(&sessions, &cookie, Activity::Observes).await);
        clock.advance(Duration::from_secs(1));
        assert!(!lives(&sessions, &cookie, Activity::Observes).await);
        assert_eq!(session.ending.reason(), Some(EndReason::Expired));
    }

    /// G9: however active, past the absolute limit it is over.
    #[tokio::test]
    async fn an_active_session_ends_at_its_absolute_limit() {
        let (sessions, clock) = sessions();
        let (_, cookie) = begin(&sessions).await;
        for _ in 0..5 {
            clock.advance(10 * MINUTE);
            assert!(lives(&sessions, &cookie, Activity::Slides).await);
        }
        clock.advance(10 * MINUTE);
        assert!(!lives(&sessions, &cookie, Activity::Slides).await);
    }

    /// G9: a look with `slide=false` puts nothing off.
    #[tokio::test]
    async fn observing_does_not_slide() {
        let (sessions, clock) = sessions();
        let (_, cookie) = begin(&sessions).await;
        for _ in 0..2 {
            clock.advance(14 * MINUTE);
            assert!(lives(&sessions, &cookie, Activity::Observes).await);
        }
        clock.advance(2 * MINUTE);
        assert!(!lives(&sessions, &cookie, Activity::Observes).await);
    }

    /// M4: the sweep ends what nobody asks for any more, and only that.
    #[tokio::test]
    async fn the_sweep_ends_the_expired_and_spares_the_active() {
        let (sessions, clock) = sessions();
        let (idle, _) = begin(&sessions).await;
        let (active, cookie) = begin(&sessions).await;
        clock.advance(20 * MINUTE);
        sessions.find(&cookie, Activity::Slides).await.unwrap();
        clock.advance(10 * MINUTE);
        assert_eq!(sessions.sweep(), 1);
        assert_eq!(idle.ending.reason(), Some(EndReason::Expired));
        assert_eq!(active.ending.reason(), None);
        assert_eq!(sessions.count(), 1);
        clock.advance(20 * MINUTE);
        assert_eq!(sessions.sweep(), 1);
        assert_eq!(sessions.count(), 0);
    }

    /// L8: what a late refresh brings is not stored as live.
    #[tokio::test]
    async fn saving_tokens_never_revives_a_session() {
        let (sessions, _) = sessions();
        let (session, cookie) = begin(&sessions).await;
        sessions
            .end(&session.hash, EndReason::Logout)
            .await
            .unwrap();
        let outcome = sessions.save_tokens(&session, tokens()).await.unwrap();
        assert_eq!(outcome, SaveOutcome::Ended);
        assert!(!lives(&sessions, &cookie, Activity::Slides).await);
    }
}
