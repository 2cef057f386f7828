//! The sessions of a site: how they begin, live and end.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::session::cookie::OpenedCookie;
use crate::session::id::SessionHash;
use crate::session::journal::{End, Journal, OnEnd};
use crate::session::record::{NewSession, Session, Times};
use crate::session::seal::Keys;
use crate::session::settings::SessionSettings;
use crate::session::store::{
    Admission, Condition, Found, Leased, Limit, Listed, Lookups, Memory, Note, Over, SaveOutcome,
    SessionStore, SiteFilter, StoreError, Who, Within,
};
use crate::session::tokens::Tokens;
use crate::web::activity::Activity;
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// The sessions of a site, with the rules of their life: idle and absolute expiry, sliding, ending. Those
/// of all sites are kept in one store.
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(super) store: Arc<dyn SessionStore>,
    journal: Journal,
    /// Does what follows an end.
    on_end: Option<Arc<dyn OnEnd>>,
    /// What names e-mail addresses in the store, where sessions may be looked for by them.
    pub(super) emails: Option<Keys>,
    pub(super) clock: Arc<dyn Clock>,
    site: SiteId,
    idle_timeout: Duration,
    max_lifetime: Duration,
    limit: Option<Limit>,
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
    /// The sessions of a site, kept in `store`.
    pub fn new(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        site: SiteId,
        settings: &SessionSettings,
        journal: Journal,
    ) -> Self {
        Self {
            store,
            journal,
            on_end: None,
            emails: None,
            clock,
            site,
            idle_timeout: settings.idle_timeout,
            max_lifetime: settings.max_lifetime,
            limit: settings.limit,
        }
    }

    /// These sessions, which can be looked for by e-mail address as well.
    #[must_use]
    pub fn found_by_email(self, keys: Keys) -> Self {
        Self {
            emails: Some(keys),
            ..self
        }
    }

    /// These sessions, whose ends are told to `on_end`.
    #[must_use]
    pub fn telling(self, on_end: Arc<dyn OnEnd>) -> Self {
        Self {
            on_end: Some(on_end),
            ..self
        }
    }

    /// Whose they are.
    pub const fn site(&self) -> &SiteId {
        &self.site
    }

    /// Where it is written down what becomes of them.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The longest that a session can live.
    pub const fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// A session as it begins now; it is kept once it is [`admit`](Self::admit)ted.
    pub fn prepare(&self, new: NewSession) -> Arc<Session> {
        self.prepare_for(new, self.max_lifetime)
    }

    /// The same of one that ends no later than the user's session at the provider. It lives for a minute, since
    /// the clock there may not be ours.
    pub fn prepare_until(&self, new: NewSession, ends_there: Timestamp) -> Arc<Session> {
        const SHORTEST: Duration = Duration::from_mins(1);
        let lifetime = ends_there.since(self.clock.now()).max(SHORTEST);
        self.prepare_for(new, lifetime.min(self.max_lifetime))
    }

    fn prepare_for(&self, new: NewSession, lifetime: Duration) -> Arc<Session> {
        let times = Times::beginning(self.clock.now(), self.idle_timeout, lifetime);
        Arc::new(Session::new(new, times))
    }

    /// Takes a session in, in the place of older ones of its user where there may not be so many.
    ///
    /// # Errors
    ///
    /// The store could not take it; the login has failed.
    pub async fn admit(&self, session: &Arc<Session>) -> Result<Admission, StoreError> {
        let now = self.clock.now();
        let inserted = self.store.insert(Arc::clone(session), self.limit, now);
        let admission = inserted.await?;
        if let Admission::Admitted(over) = &admission {
            self.journal.started(session);
            self.follow_all(over);
        }
        Ok(admission)
    }

    /// The session of an opened cookie, or why it ended.
    ///
    /// # Errors
    ///
    /// The store could not be asked, which is no logout.
    pub async fn find(
        &self,
        cookie: &OpenedCookie,
        activity: Activity,
    ) -> Result<Found, StoreError> {
        self.find_for(cookie, || activity).await
    }

    /// As [`find`](Self::find); what kind of look it is, is asked only where a use would be written
    /// down, which is seldom.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub async fn find_for(
        &self,
        cookie: &OpenedCookie,
        activity: impl FnOnce() -> Activity,
    ) -> Result<Found, StoreError> {
        let now = self.clock.now();
        // A cookie that no session can have survived costs the store nothing.
        if now >= cookie.issued + self.max_lifetime {
            return Ok(Found::Ended(EndReason::Expired));
        }
        let session = match self.store.at_hand(&cookie.hash, now) {
            Some(session) => session,
            None => match self.store.find(&cookie.hash, now).await? {
                Found::Live(session) if session.site == self.site => session,
                // Another site's is nothing here, whoever put it there.
                Found::Live(_) => return Ok(Found::Nothing),
                // It carried a session, whose time was up.
                Found::Nothing if cookie.carries.is_some() => {
                    return Ok(Found::Ended(EndReason::Expired));
                }
                over @ (Found::Ended(_) | Found::Nothing) => return Ok(over),
            },
        };
        if let Some(reason) = session.ending.reason() {
            return Ok(Found::Ended(reason));
        }
        session.look_at(now);
        if now >= session.expires_within(self.idle_timeout)
            && let Some(over) = Box::pin(self.expire(&session, now)).await?
        {
            return Ok(over);
        }
        if self.slide_is_due(&session, now) && activity() == Activity::Slides {
            // The store may have put our clock right.
            let now = self.clock.now();
            // Not the end of its grant, which any refresh may put off.
            let expires = session.ends.min(now + self.idle_timeout);
            self.store.slide(&session, now, expires);
        }
        Ok(Found::Live(session))
    }

    /// The session, if it lives and this process has it at hand.
    pub fn at_hand(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        let session = self.store.at_hand(hash, self.clock.now())?;
        let is_ours = session.site == self.site;
        (is_ours && session.ending.reason().is_none()).then_some(session)
    }

    /// Ends a session that ran into a limit as this process knows it; `None` where it turns out to
    /// have been used elsewhere.
    async fn expire(
        &self,
        session: &Arc<Session>,
        now: Timestamp,
    ) -> Result<Option<Found>, StoreError> {
        let over = Some(Found::Ended(EndReason::Expired));
        if self.store.expire(&session.hash, now).await? {
            self.follow(session, EndReason::Expired.into());
            return Ok(over);
        }
        // The store may have put our clock right.
        let now = self.clock.now();
        match self.store.find(&session.hash, now).await? {
            Found::Live(_) if now < session.expires_within(self.idle_timeout) => Ok(None),
            // It was stored under a longer limit than ours.
            Found::Live(_) => {
                self.end(&session.hash, EndReason::Expired).await?;
                Ok(over)
            }
            gone @ (Found::Ended(_) | Found::Nothing) => Ok(Some(gone)),
        }
    }

    /// Brings a session up to date with the store; what has become of it.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn reload(&self, session: &Session) -> Result<Found, StoreError> {
        self.store.find(&session.hash, self.clock.now()).await
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
        tokens: &Arc<Tokens>,
    ) -> Result<SaveOutcome, StoreError> {
        self.store.save_tokens(session, Arc::clone(tokens)).await
    }

    /// Ends a session and whatever is open on its behalf, on every node; the session as it was last
    /// stored, to the one caller who ended it.
    ///
    /// # Errors
    ///
    /// The store could not be asked; the session lives.
    pub async fn end(
        &self,
        hash: &SessionHash,
        end: impl Into<End<'_>>,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let end = end.into();
        let ended = self.store.end(hash, end.reason).await?;
        if let Some(session) = &ended {
            self.follow(session, end);
        }
        Ok(ended)
    }

    /// What follows every end that this node brought about.
    fn follow(&self, session: &Arc<Session>, end: End<'_>) {
        self.journal.ended(session, end);
        if let Some(on_end) = &self.on_end {
            on_end.ended(session, &end);
        }
    }

    fn follow_all(&self, over: &[Over]) {
        for Over { session, reason } in over {
            self.follow(session, (*reason).into());
        }
    }

    /// Ends those of these sessions that no store can list, and that began by then, but for one: they
    /// travel in cookies, which were not seen yet (E13). To be called before the others are listed and
    /// ended, so that none slips through between.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn end_unseen(
        &self,
        who: Who<'_>,
        began_by: Timestamp,
        except: Option<&SessionHash>,
        reason: EndReason,
    ) -> Result<(), StoreError> {
        self.store.end_unseen(who, began_by, except, reason).await
    }

    /// The live sessions of the user of this one at this site, oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn of_its_user(&self, session: &Session) -> Result<Vec<Listed>, StoreError> {
        let own = self.of_client_here(&session.registration);
        let listed = self.store.of_subject(&session.subject, &own).await?;
        Ok(self.living(listed))
    }

    /// Those of them that were used last, at most so many, the last one first; and how many there are in
    /// all.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn newest_of_its_user(
        &self,
        session: &Session,
        at_most: usize,
    ) -> Result<(Vec<Listed>, usize), StoreError> {
        let (own, now) = (self.of_client_here(&session.registration), self.clock.now());
        let store = &self.store;
        let newest = store.newest_of_subject(&session.subject, &own, at_most, now);
        newest.await
    }

    fn of_client_here(&self, registration: &Registration) -> Within {
        Within::of_client(registration).at(SiteFilter::Only(self.site.clone()))
    }

    /// The live sessions of a user whom this registration's provider names so, at all sites, oldest
    /// first.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn of_subject(
        &self,
        registration: &Registration,
        subject: &str,
    ) -> Result<Vec<Listed>, StoreError> {
        let own = Within::of_client(registration);
        Ok(self.living(self.store.of_subject(subject, &own).await?))
    }

    /// The live sessions that came of one session at this registration's provider, at all sites, oldest
    /// first (E10).
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn of_provider_sid(
        &self,
        registration: &Registration,
        sid: &str,
    ) -> Result<Vec<Listed>, StoreError> {
        let own = Within::of_client(registration);
        Ok(self.living(self.store.of_provider_sid(sid, &own).await?))
    }

    /// One session of this site as it is listed, even where its record does not open.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn look_up(&self, hash: &SessionHash) -> Result<Option<Listed>, StoreError> {
        let found = self.store.inspect(hash).await?;
        let own = found.filter(|listed| listed.site == self.site);
        Ok(self.living(own.into_iter().collect()).pop())
    }

    pub(super) fn living(&self, mut listed: Vec<Listed>) -> Vec<Listed> {
        let now = self.clock.now();
        listed.retain(|listed| now < listed.times.expires);
        listed
    }

    /// Takes or renews what lets one node alone fetch a token of a session (L2).
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn lease(&self, what: Leased<'_>, owner: &str) -> Result<bool, StoreError> {
        self.store.lease(what, owner).await
    }

    /// How long to wait, with the lease in hand, for what another node could not write down while the
    /// store was away.
    pub fn unsettled(&self) -> Duration {
        self.store.unsettled()
    }

    /// Gives it back; who cannot lets it run out.
    pub async fn release(&self, what: Leased<'_>, owner: &str) {
        if let Err(error) = self.store.release(what, owner).await {
            tracing::debug!(session_id = ?what.hash, %error, "a lease runs out by itself");
        }
    }

    /// Keeps a small value for `span` where every node finds it, if there is none under `note`:
    /// whether this was the first.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn keep(
        &self,
        note: Note<'_>,
        value: &[u8],
        span: Duration,
    ) -> Result<bool, StoreError> {
        self.store.keep(note, value, span, self.clock.now()).await
    }

    /// Takes a kept value out: it comes to one caller alone.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn take(&self, note: Note<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.take(note, self.clock.now()).await
    }

    /// How long a session has.
    pub fn remaining(&self, session: &Session) -> Remaining {
        let now = self.clock.now();
        Remaining {
            idle: session.expires_within(self.idle_timeout).since(now),
            absolute: session.bounds().since(now),
        }
    }

    /// Without a call for this long, a session ends.
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The moment at which a session ends if nothing more is heard of it.
    pub fn expires(&self, session: &Session) -> Timestamp {
        session.expires_within(self.idle_timeout)
    }

    /// Ends what has expired, and what there is no room for; what this process ended. To be called a few times a second.
    ///
    /// # Errors
    ///
    /// The store could not be asked; the next call goes on.
    pub async fn sweep(&self) -> Result<Vec<Over>, StoreError> {
        let over = self.store.sweep(self.clock.now()).await?;
        self.follow_all(&over);
        Ok(over)
    }

    /// Does what no request waits for; runs for ever.
    pub async fn tend(&self) {
        self.store.tend().await;
    }

    /// Which store keeps them, in the word of `session.store`.
    pub fn store_kind(&self) -> &'static str {
        self.store.kind()
    }

    /// How the store is.
    pub async fn condition(&self) -> Condition {
        self.store.condition().await
    }

    /// How many sessions there are, about.
    pub fn count(&self) -> u64 {
        self.store.count()
    }

    /// How looks at sessions were answered, where some go further than this process.
    pub fn lookups(&self) -> Option<Lookups> {
        self.store.lookups()
    }

    /// The memory of this process that sessions take, where they have a bound.
    pub fn memory(&self) -> Option<Memory> {
        self.store.memory()
    }

    /// How far this node's clock is ahead of the store's, in milliseconds, where the store has one of
    /// its own.
    pub fn clock_skew(&self) -> Option<i64> {
        self.store.clock_skew()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::{ManualClock, SystemRandomness};
    use crate::session::fixture::{self, tokens};
    use crate::session::id::SessionId;
    use crate::session::journal::SubjectNames;
    use crate::session::store::memory::MemoryStore;
    use crate::session::store::{LimitScope, OnLimit};
    use crate::telemetry::Metrics;

    const MINUTE: Duration = Duration::from_mins(1);

    fn sessions() -> (Sessions, Arc<ManualClock>) {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let clock = Arc::new(ManualClock::starting_at(now));
        let store = Arc::new(MemoryStore::new(1 << 20));
        let sessions = of_site(store, &clock, "", &fixture::settings());
        (sessions, clock)
    }

    fn of_site(
        store: Arc<MemoryStore>,
        clock: &Arc<ManualClock>,
        site: &str,
        settings: &SessionSettings,
    ) -> Sessions {
        let journal = Journal::new(Metrics::new(), SubjectNames::Clear);
        let clock = Arc::clone(clock);
        Sessions::new(store, clock, SiteId::new(site), settings, journal)
    }

    async fn begin(sessions: &Sessions) -> (Arc<Session>, OpenedCookie) {
        let hash = SessionId::random(&SystemRandomness).hash();
        let mut new = fixture::new_session(hash, "alice");
        new.facts.site = sessions.site().clone();
        let session = sessions.prepare(new);
        let admission = sessions.admit(&session).await.unwrap();
        assert!(matches!(admission, Admission::Admitted(_)));
        let cookie = OpenedCookie::of(session.hash, session.created);
        (session, cookie)
    }

    async fn lives(sessions: &Sessions, cookie: &OpenedCookie, activity: Activity) -> bool {
        matches!(
            sessions.find(cookie, activity).await.unwrap(),
            Found::Live(_)
        )
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
        assert_eq!(sessions.sweep().await.unwrap().len(), 1);
        assert_eq!(idle.ending.reason(), Some(EndReason::Expired));
        assert_eq!(active.ending.reason(), None);
        assert_eq!(sessions.count(), 1);
        clock.advance(20 * MINUTE);
        assert_eq!(sessions.sweep().await.unwrap().len(), 1);
        assert_eq!(sessions.count(), 0);
    }

    /// What was told of ends, in their order.
    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<(SessionHash, EndReason)>>);

    impl OnEnd for Told {
        fn ended(&self, session: &Arc<Session>, end: &End<'_>) {
            let told = (session.hash, end.reason);
            self.0.lock().unwrap().push(told);
        }
    }

    /// E5: what follows an end follows each, once, whoever found it. An end that a request came upon
    /// was told to nobody, so its tokens lived on where `session.revoke_abandoned` was asked for.
    #[tokio::test]
    async fn every_end_is_told_once() {
        let (sessions, clock) = sessions();
        let told = Arc::new(Told::default());
        let sessions = Sessions {
            limit: Some(Limit {
                most: 1,
                on_limit: OnLimit::EndOldest,
                scope: LimitScope::Site,
            }),
            ..sessions.telling(told.clone())
        };
        let (replaced, _) = begin(&sessions).await;
        let (signed_out, _) = begin(&sessions).await;
        for _ in 0..2 {
            let end = sessions.end(&signed_out.hash, EndReason::Logout);
            drop(end.await.unwrap());
        }
        let (met, cookie) = begin(&sessions).await;
        clock.advance(31 * MINUTE);
        assert!(!lives(&sessions, &cookie, Activity::Slides).await);
        drop(sessions.sweep().await.unwrap());
        let (swept, cookie) = begin(&sessions).await;
        clock.advance(31 * MINUTE);
        drop(sessions.sweep().await.unwrap());
        assert!(!lives(&sessions, &cookie, Activity::Slides).await);
        let expected = [
            (replaced.hash, EndReason::Superseded),
            (signed_out.hash, EndReason::Logout),
            (met.hash, EndReason::Expired),
            (swept.hash, EndReason::Expired),
        ];
        assert_eq!(*told.0.lock().unwrap(), expected);
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
        let outcome = sessions
            .save_tokens(&session, &Arc::new(tokens(2)))
            .await
            .unwrap();
        assert_eq!(outcome, SaveOutcome::Ended);
        assert!(!lives(&sessions, &cookie, Activity::Slides).await);
    }

    /// §7: over one store each session lives by its own site's settings.
    #[tokio::test]
    async fn each_session_lives_by_its_own_sites_limits() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let clock = Arc::new(ManualClock::starting_at(now));
        let store = Arc::new(MemoryStore::new(1 << 20));
        let short = SessionSettings {
            idle_timeout: 5 * MINUTE,
            max_lifetime: 10 * MINUTE,
            ..fixture::settings()
        };
        let shop = of_site(Arc::clone(&store), &clock, "shop", &short);
        let main = of_site(store, &clock, "", &fixture::settings());
        let (of_shop, _) = begin(&shop).await;
        let (of_main, cookie) = begin(&main).await;
        clock.advance(5 * MINUTE);
        let ended = main.sweep().await.unwrap();
        let hashes: Vec<_> = ended.iter().map(|over| over.session.hash).collect();
        assert_eq!(hashes, [of_shop.hash], "whoever sweeps");
        assert!(lives(&main, &cookie, Activity::Slides).await);
        clock.advance(25 * MINUTE);
        assert!(main.sweep().await.unwrap().is_empty());
        assert_eq!(of_main.expires(), of_main.created + 35 * MINUTE);
    }

    /// §7: a session is nothing at another site, even by its hash.
    #[tokio::test]
    async fn a_session_is_its_own_sites() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let clock = Arc::new(ManualClock::starting_at(now));
        let store = Arc::new(MemoryStore::new(1 << 20));
        let settings = fixture::settings();
        let shop = of_site(Arc::clone(&store), &clock, "shop", &settings);
        let main = of_site(store, &clock, "", &settings);
        let (session, _) = begin(&shop).await;
        let (own, _) = begin(&main).await;
        assert!(main.at_hand(&session.hash).is_none());
        assert!(main.look_up(&session.hash).await.unwrap().is_none());
        let seen = |listed: Vec<Listed>| listed.iter().map(|one| one.hash).collect::<Vec<_>>();
        assert_eq!(seen(main.of_its_user(&own).await.unwrap()), [own.hash]);
        assert_eq!(
            seen(shop.of_its_user(&session).await.unwrap()),
            [session.hash]
        );
        // The client is one, and its logout is at both.
        let registration = fixture::registration();
        let all = main.of_subject(&registration, "alice").await.unwrap();
        assert_eq!(all.len(), 2);
        let other = Registration::new("https://other", "app");
        let none = main.of_subject(&other, "alice").await.unwrap();
        assert!(none.is_empty());
    }

    /// §7: the end of all sessions of a site is one call, and spares the others.
    #[tokio::test]
    async fn all_sessions_of_a_site_end_together() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let clock = Arc::new(ManualClock::starting_at(now));
        let store = Arc::new(MemoryStore::new(1 << 20));
        let settings = fixture::settings();
        let [main, shop, acme] = ["", "shop", "shop/acme"]
            .map(|site| of_site(Arc::clone(&store), &clock, site, &settings));
        for sessions in [&main, &shop, &acme] {
            begin(sessions).await;
            begin(sessions).await;
        }
        let end = End::from(EndReason::Revoked);
        for (site, ends) in [
            (SiteFilter::Only(SiteId::new("shop/acme")), 2),
            (SiteFilter::Only(SiteId::new("shop/acme")), 0),
            (SiteFilter::WithTenants(SiteId::new("shop")), 2),
        ] {
            let these = main.everywhere().at(Some(site));
            assert_eq!(these.end_all(end).await.unwrap(), ends);
        }
        assert_eq!(main.count(), 2);
    }
}
