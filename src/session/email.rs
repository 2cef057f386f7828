//! Which users signed in with an e-mail address, so that an administrator finds their sessions by it.
//!
//! Claims are sealed, so the store cannot be asked for one. What stands there is a name for the whole
//! address that nobody makes or undoes without `session.keys`, and sealed under it whose it is: at the main
//! site as releases before sites write it, at the others with the registration whose user it is.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::session::Sessions;
use crate::session::everywhere::KnownUser;
use crate::session::record::Facts;
use crate::session::store::{Note, SiteFilter, StoreError, Within, folded};
use crate::web::registration::Registration;
use crate::web::site_id::SiteId;

/// Users of one address that are remembered: it may pass from one to the next.
const MOST: usize = 16;

/// Whoever comes in between remembers as much.
const TRIES: usize = 4;

/// A user of another site: issuer, `client_id`, subject.
type Elsewhere = (String, String, String);

impl Sessions {
    /// Remembers whose address this is, for as long as a session that begins now can live.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn note_email(&self, email: &str, facts: &Facts) -> Result<(), StoreError> {
        let Some(name) = self.email_names(email).into_iter().next() else {
            return Ok(());
        };
        let subject = facts.subject.to_string();
        if facts.site.is_main() {
            return self.note_user(Note::Email(&name), subject).await;
        }
        let Registration { issuer, client_id } = &facts.registration;
        let user: Elsewhere = (issuer.to_string(), client_id.to_string(), subject);
        self.note_user(Note::EmailAtSites(&name), user).await
    }

    async fn note_user<T>(&self, note: Note<'_>, user: T) -> Result<(), StoreError>
    where
        T: Serialize + DeserializeOwned + PartialEq + Send + Sync,
    {
        let span = self.max_lifetime() + Duration::from_hours(1);
        let mut users = vec![user];
        for _ in 0..TRIES {
            let before = self.take(note).await?;
            for other in read(before.as_deref()) {
                if !users.contains(&other) {
                    users.push(other);
                }
            }
            users.truncate(MOST);
            let value = serde_json::to_vec(&users).unwrap_or_default();
            if self.keep(note, &value, span).await? {
                break;
            }
        }
        Ok(())
    }

    /// The users who signed in with this address, in whichever case it is written.
    pub(super) async fn users_of_email(&self, email: &str) -> Result<Vec<KnownUser>, StoreError> {
        let mut users: Vec<KnownUser> = Vec::new();
        for name in self.email_names(email) {
            let now = self.clock.now();
            let here = self.store.peek(Note::Email(&name), now).await?;
            let here = read(here.as_deref()).into_iter().map(|subject| KnownUser {
                within: Within::everywhere().at(SiteFilter::Only(SiteId::main())),
                subject,
            });
            let elsewhere = self.store.peek(Note::EmailAtSites(&name), now).await?;
            let elsewhere = read::<Elsewhere>(elsewhere.as_deref()).into_iter();
            let elsewhere = elsewhere.map(|(issuer, client_id, subject)| KnownUser {
                within: Within::of_client(&Registration::new(&issuer, &client_id)),
                subject,
            });
            for user in here.chain(elsewhere) {
                if !users.contains(&user) {
                    users.push(user);
                }
            }
        }
        Ok(users)
    }

    /// What an address is kept under, by each of the keys; nothing where there is no list to look in.
    fn email_names(&self, email: &str) -> Vec<String> {
        let email = folded(email.trim());
        let keys = self.emails.as_ref().filter(|_| !email.is_empty());
        keys.map_or_else(Vec::new, |keys| keys.pseudonyms("e-mail", &email))
    }
}

fn read<T: DeserializeOwned>(kept: Option<&[u8]>) -> Vec<T> {
    kept.and_then(|kept| serde_json::from_slice(kept).ok())
        .unwrap_or_default()
}
