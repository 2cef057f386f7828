//! Which users signed in with an e-mail address, so that an administrator finds their sessions by it.
//!
//! Claims are sealed, so the store cannot be asked for one. What stands there is a name for the whole
//! address that nobody makes or undoes without `session.keys`, and sealed under it whose it is.

use std::time::Duration;

use crate::session::Sessions;
use crate::session::store::{StoreError, folded};

/// Users of one address that are remembered: it may pass from one to the next.
const MOST: usize = 16;

/// Whoever comes in between remembers as much.
const TRIES: usize = 4;

impl Sessions {
    /// Remembers whose address this is, for as long as a session that begins now can live.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn note_email(&self, email: &str, subject: &str) -> Result<(), StoreError> {
        let Some(key) = self.email_keys(email).into_iter().next() else {
            return Ok(());
        };
        let span = self.max_lifetime() + Duration::from_hours(1);
        let mut subjects = vec![subject.to_owned()];
        for _ in 0..TRIES {
            let before = self.take(&key).await?;
            for other in read(before.as_deref()) {
                if !subjects.contains(&other) {
                    subjects.push(other);
                }
            }
            subjects.truncate(MOST);
            let value = serde_json::to_vec(&subjects).unwrap_or_default();
            if self.keep(&key, &value, span).await? {
                break;
            }
        }
        Ok(())
    }

    /// The users who signed in with this address, in whichever case it is written.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn subjects_of_email(&self, email: &str) -> Result<Vec<String>, StoreError> {
        let mut subjects = Vec::new();
        for key in self.email_keys(email) {
            let kept = self.store.peek(&key, self.clock.now()).await?;
            subjects.extend(read(kept.as_deref()));
        }
        subjects.sort_unstable();
        subjects.dedup();
        Ok(subjects)
    }

    /// What an address is kept under, by each of the keys; nothing where there is no list to look in.
    fn email_keys(&self, email: &str) -> Vec<String> {
        let email = folded(email.trim());
        let keys = self.emails.as_ref().filter(|_| !email.is_empty());
        let names = keys.map_or_else(Vec::new, |keys| keys.pseudonyms("e-mail", &email));
        names.iter().map(|name| format!("e-mail {name}")).collect()
    }
}

fn read(kept: Option<&[u8]>) -> Vec<String> {
    kept.and_then(|kept| serde_json::from_slice(kept).ok())
        .unwrap_or_default()
}
