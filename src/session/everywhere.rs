//! The sessions of all sites, or of some, as an administrator sees and ends them.

use std::sync::Arc;

use crate::session::id::SessionHash;
use crate::session::journal::{End, Journal};
use crate::session::record::{Facts, Session};
use crate::session::sessions::Sessions;
use crate::session::store::{Cursor, Listed, Recency, SiteFilter, StoreError, Who, Within};

/// How many sessions are looked at for each step of the end of many.
const ENDED_AT_ONCE: usize = 200;

/// The sessions of all sites; cheap to clone.
#[derive(Debug, Clone)]
pub struct Everywhere {
    sessions: Sessions,
    site: Option<SiteFilter>,
}

/// A user, as a registration's provider names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// Whose name it is.
    pub within: Within,
    /// The name.
    pub subject: String,
}

impl KnownUser {
    /// Whether a session is this user's.
    pub fn has(&self, facts: &Facts) -> bool {
        *self.subject == *facts.subject && self.within.takes(facts)
    }
}

impl Sessions {
    /// Those of all sites, for who administers them.
    pub fn everywhere(&self) -> Everywhere {
        Everywhere {
            sessions: self.clone(),
            site: None,
        }
    }
}

impl Everywhere {
    /// Of these, those at these sites alone.
    #[must_use]
    pub fn at(self, site: Option<SiteFilter>) -> Self {
        Self { site, ..self }
    }

    fn within(&self) -> Within {
        Within {
            site: self.site.clone(),
            ..Within::everywhere()
        }
    }

    /// Where it is written down what becomes of them.
    pub const fn journal(&self) -> &Journal {
        self.sessions.journal()
    }

    /// Which store keeps them, in the word of `session.store`.
    pub fn store_kind(&self) -> &'static str {
        self.sessions.store_kind()
    }

    /// The live sessions of whoever some provider names so, oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn of_subject(&self, subject: &str) -> Result<Vec<Listed>, StoreError> {
        let store = &self.sessions.store;
        let listed = store.of_subject(subject, &self.within()).await?;
        Ok(self.sessions.living(listed))
    }

    /// The live sessions of a user whom one provider names so, oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn of_user(&self, user: &KnownUser) -> Result<Vec<Listed>, StoreError> {
        let store = &self.sessions.store;
        let mut listed = store.of_subject(&user.subject, &user.within).await?;
        listed.retain(|listed| self.takes(listed));
        Ok(self.sessions.living(listed))
    }

    /// The live sessions that came of one session that some provider names so, oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn of_provider_sid(&self, sid: &str) -> Result<Vec<Listed>, StoreError> {
        let store = &self.sessions.store;
        let listed = store.of_provider_sid(sid, &self.within()).await?;
        Ok(self.sessions.living(listed))
    }

    /// Live sessions by their last use, the last one first, behind a place in that order; and the place
    /// behind them, if there may be more.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn latest(
        &self,
        after: Option<Recency>,
        at_most: usize,
    ) -> Result<(Vec<Listed>, Option<Recency>), StoreError> {
        let store = &self.sessions.store;
        let (listed, next) = store.latest(&self.within(), after, at_most).await?;
        Ok((self.sessions.living(listed), next))
    }

    /// Live sessions by name, those after `after` of whose folded name a word begins with `word`. Fewer
    /// than `at_most` do not mean that there are no more; the cursor behind the last one looked at
    /// does.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn page(
        &self,
        word: &str,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<(Vec<Listed>, Option<Cursor>), StoreError> {
        let store = &self.sessions.store;
        let page = store.page(word, &self.within(), after, at_most).await?;
        let next = page.get(at_most.saturating_sub(1)).map(Listed::cursor);
        Ok((self.sessions.living(page), next))
    }

    /// One session as it is listed, even where its record does not open.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn look_up(&self, hash: &SessionHash) -> Result<Option<Listed>, StoreError> {
        let found = self.sessions.store.inspect(hash).await?;
        let own = found.filter(|listed| self.takes(listed));
        Ok(self.sessions.living(own.into_iter().collect()).pop())
    }

    /// Ends a session; as it was last stored, to the one caller who ended it.
    ///
    /// # Errors
    ///
    /// The store could not be asked; the session lives.
    pub async fn end(
        &self,
        hash: &SessionHash,
        end: impl Into<End<'_>>,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.sessions.end(hash, end).await
    }

    /// Ends all sessions of these sites that began by now, also those that no store can list. How many
    /// this ended of those that can.
    ///
    /// # Errors
    ///
    /// The store could not be asked; some may have ended.
    pub async fn end_all(&self, end: End<'_>) -> Result<usize, StoreError> {
        let (store, now) = (&self.sessions.store, self.sessions.clock.now());
        if let Some(site) = &self.site {
            let who = Who::Site(site);
            store.end_unseen(who, now, None, end.reason).await?;
        }
        let (within, mut after, mut ended) = (self.within(), None, 0);
        loop {
            let (listed, next) = store.latest(&within, after, ENDED_AT_ONCE).await?;
            for one in listed.iter().filter(|one| one.times.created <= now) {
                match self.end(&one.hash, end).await? {
                    Some(_) => {}
                    // A record that does not open comes back to nobody, whoever ended it.
                    None if one.session.is_none() => {
                        self.journal().ended_unread(one, end);
                    }
                    None => continue,
                }
                ended += 1;
            }
            if next.is_none() {
                return Ok(ended);
            }
            after = next;
        }
    }

    fn takes(&self, listed: &Listed) -> bool {
        (self.site.as_ref()).is_none_or(|site| site.takes(&listed.site))
    }

    /// The users who signed in with this address, in whichever case it is written.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn users_of_email(&self, email: &str) -> Result<Vec<KnownUser>, StoreError> {
        self.sessions.users_of_email(email).await
    }
}
