//! Whether a login may begin or go on, by what strangers have under way.

use std::time::Duration;

use crate::auth::login::{LoginError, Logins};
use crate::web::strangers::{Demand, Source, Turn};

/// How long a login waits for its turn to ask the provider, where strangers ask for many.
pub(in crate::auth) const TURN_WITHIN: Duration = Duration::from_secs(10);

impl Logins {
    /// Whether a login from here could be finished, before a person takes trouble with it.
    ///
    /// # Errors
    ///
    /// So many of this address have failed that its next would be refused.
    pub fn admit_login(&self, source: Source) -> Result<(), LoginError> {
        let now = self.clock.now();
        Ok(self.strangers.ask(Demand::UsedState, source, now)?)
    }

    /// The turn of a login that asks the provider before it begins: nobody can make us ask faster than it
    /// answers.
    pub(in crate::auth) async fn turn_to_push(
        &self,
        source: Source,
    ) -> Result<Option<Turn>, LoginError> {
        // What it does is not known before it was found, and those who wait for that are many.
        if !self.provider.pushes().await? {
            return Ok(None);
        }
        let turn = self
            .strangers
            .hold_soon(Demand::CodeExchange, source, TURN_WITHIN);
        Ok(Some(turn.await?))
    }
}
