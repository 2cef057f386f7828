//! Sessions that the provider says have ended: they end here as well, and a login that is just on
//! its way in is too late (E10).
//!
//! Who said so, and whether to believe it, is the business of `backchannel_logout.rs` and
//! `frontchannel_logout.rs`.

use std::time::Duration;

use crate::auth::Common;
use crate::clock::Timestamp;
use crate::oidc::GrantFacts;
use crate::session::Sessions;
use crate::session::journal::End;
use crate::session::record::Session;
use crate::session::store::{Listed, Note, StoreError, Who};
use crate::web::ending::EndReason;
use crate::web::registration::Registration;

/// How long a login may be under way between the provider's answer and the session here.
const REMEMBERED_FOR: Duration = Duration::from_mins(5);

/// How far two nodes of a provider may be apart: a login may seem that much younger than the logout
/// token that it is meant by.
const LEEWAY: i64 = 5;

/// What ended at the provider: one session there, all of a user's, or one if it is this user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct EndedThere<'a> {
    pub(in crate::auth) sid: Option<&'a str>,
    pub(in crate::auth) sub: Option<&'a str>,
}

/// When it ended, as two clocks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct EndedWhen {
    /// The provider's, in seconds since the epoch.
    pub(in crate::auth) said: i64,
    /// Our own, when we heard of it.
    pub(in crate::auth) heard: Timestamp,
}

/// When a login was made, as the same two clocks tell it.
#[derive(Debug, Clone, Copy)]
pub(in crate::auth) struct LoggedInWhen {
    /// `iat` of its ID token.
    pub(in crate::auth) issued: i64,
    /// When we set out to fetch that.
    pub(in crate::auth) asked: Timestamp,
}

impl LoggedInWhen {
    /// Whether the end is one of this login's. One that we heard of before we asked for the ID token
    /// is not: the provider knew of it, and gave the ID token all the same.
    fn is_ended_by(self, end: EndedWhen) -> bool {
        self.issued < end.said || (self.issued == end.said && self.asked < end.heard)
    }
}

/// Ends sessions that have ended at the provider.
#[derive(Debug, Clone)]
pub(in crate::auth) struct EndsAtProvider {
    sessions: Sessions,
    /// Who we are there: what its subjects and sids are names within.
    registration: Registration,
}

impl EndsAtProvider {
    pub(in crate::auth) fn new(common: &Common) -> Self {
        Self {
            sessions: common.sessions.clone(),
            registration: common.provider.settings().registration(),
        }
    }

    pub(in crate::auth) const fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Ends the sessions here; how many this call ended.
    pub(in crate::auth) async fn end_ended_there(
        &self,
        what: EndedThere<'_>,
        when: EndedWhen,
    ) -> Result<usize, StoreError> {
        // Remembered first, looked for second; a login is listed first and looks second. So of a
        // login and a logout that cross one sees the other, on whichever node.
        self.remember_end(what, when).await?;
        let (who, began_by) = match what {
            EndedThere {
                sid: Some(sid),
                sub,
            } => {
                let who = Who::ProviderSid {
                    registration: &self.registration,
                    sid,
                    subject: sub,
                };
                (Some(who), when.heard)
            }
            EndedThere { sid: None, sub } => {
                let said = Timestamp::from_unix_seconds(when.said.saturating_add(LEEWAY));
                let who = sub.map(|subject| Who::Subject {
                    registration: &self.registration,
                    subject,
                    site: None,
                });
                (who, said.min(when.heard))
            }
        };
        if let Some(who) = who {
            let reason = EndReason::ProviderLogout;
            self.sessions
                .end_unseen(who, began_by, None, reason)
                .await?;
        }
        let mut listed = self.listed_of(what).await?;
        if what.sid.is_none() {
            // A session that the user began since is none of its business.
            listed.retain(|listed| issued(listed).is_none_or(|iat| iat <= when.said + LEEWAY));
        }
        self.end_listed(&listed, EndReason::ProviderLogout.into())
            .await
    }

    /// Ends the sessions of this `sid` that can be listed, and remembers nothing: anyone may say so, and
    /// so no token is revoked either.
    pub(in crate::auth) async fn end_listed_of_sid(&self, sid: &str) -> Result<usize, StoreError> {
        let what = EndedThere {
            sid: Some(sid),
            sub: None,
        };
        let listed = self.listed_of(what).await?;
        self.end_listed(&listed, End::sparing_tokens(EndReason::ProviderLogout))
            .await
    }

    /// Whether a session that was just taken in had ended at the provider before; then it is over.
    pub(in crate::auth) async fn ended_on_its_way(
        &self,
        session: &Session,
        login: LoggedInWhen,
    ) -> Result<bool, StoreError> {
        let sub = Some(&*session.subject);
        let sid = session.provider_sid.as_deref();
        let mut ends = vec![EndedThere { sid: None, sub }];
        if sid.is_some() {
            ends.extend([EndedThere { sid, sub: None }, EndedThere { sid, sub }]);
        }
        for what in ends {
            if let Some(when) = self.remembered_end(what).await?
                && login.is_ended_by(when)
            {
                // Another login of the same kind may have looked while this one held the memory in
                // its hands; if that one is no younger, it is over as well.
                let mut listed = self.listed_of(what).await?;
                listed.retain(|listed| {
                    listed.hash == session.hash
                        || issued(listed).is_some_and(|iat| iat <= login.issued)
                });
                self.end_listed(&listed, End::sparing_tokens(EndReason::ProviderLogout))
                    .await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn listed_of(&self, what: EndedThere<'_>) -> Result<Vec<Listed>, StoreError> {
        let (sessions, client) = (&self.sessions, &self.registration);
        let mut listed = match what {
            EndedThere { sid: Some(sid), .. } => sessions.of_provider_sid(client, sid).await?,
            EndedThere { sub: Some(sub), .. } => sessions.of_subject(client, sub).await?,
            EndedThere { .. } => Vec::new(),
        };
        // E10: a session of somebody else is not meant, whatever it is called.
        if let Some(sub) = what.sub {
            listed.retain(|listed| *listed.subject == *sub);
        }
        Ok(listed)
    }

    async fn end_listed(&self, listed: &[Listed], end: End<'_>) -> Result<usize, StoreError> {
        let mut ended = 0;
        for listed in listed {
            ended += usize::from(self.sessions.end(&listed.hash, end).await?.is_some());
        }
        Ok(ended)
    }

    async fn remember_end(
        &self,
        what: EndedThere<'_>,
        mut when: EndedWhen,
    ) -> Result<(), StoreError> {
        /// Whoever comes in between remembers an end that is as late.
        const TRIES: usize = 4;
        let note = self.note(what);
        for _ in 0..TRIES {
            let value = when.written();
            if self.sessions.keep(note, &value, REMEMBERED_FOR).await? {
                break;
            }
            if let Some(before) = self.sessions.take(note).await? {
                when = when.later(EndedWhen::read(&before));
            }
        }
        Ok(())
    }

    async fn remembered_end(&self, what: EndedThere<'_>) -> Result<Option<EndedWhen>, StoreError> {
        let note = self.note(what);
        let Some(kept) = self.sessions.take(note).await? else {
            return Ok(None);
        };
        self.sessions.keep(note, &kept, REMEMBERED_FOR).await?;
        Ok(EndedWhen::read(&kept))
    }

    const fn note<'a>(&'a self, EndedThere { sid, sub }: EndedThere<'a>) -> Note<'a> {
        Note::EndedThere {
            registration: &self.registration,
            sid,
            sub,
        }
    }
}

impl EndedWhen {
    fn written(self) -> Vec<u8> {
        format!("{} {}", self.said, self.heard.unix_millis()).into_bytes()
    }

    fn read(written: &[u8]) -> Option<Self> {
        let (said, heard) = std::str::from_utf8(written).ok()?.split_once(' ')?;
        Some(Self {
            said: said.parse().ok()?,
            heard: Timestamp::from_unix_millis(heard.parse().ok()?),
        })
    }

    fn later(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| Self {
            said: self.said.max(other.said),
            heard: self.heard.max(other.heard),
        })
    }
}

/// When the ID token of its login was issued; `None` where the record does not open.
fn issued(listed: &Listed) -> Option<i64> {
    let session = listed.session.as_ref()?;
    let facts: GrantFacts = serde_json::from_str(&session.details.grant_facts).ok()?;
    Some(facts.iat)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E10: an end concerns the logins that were made before it, by the provider's clock; within one
    /// second of that, by ours.
    #[test]
    fn an_end_concerns_what_was_before_it() {
        let at = Timestamp::from_unix_millis;
        let end = EndedWhen {
            said: 100,
            heard: at(100_500),
        };
        for (issued, asked, ended) in [
            (99, 100_900, true),
            (100, 100_499, true),
            (100, 100_500, false),
            (101, 100_400, false),
        ] {
            let login = LoggedInWhen {
                issued,
                asked: at(asked),
            };
            assert_eq!(login.is_ended_by(end), ended, "{login:?}");
        }
        assert_eq!(EndedWhen::read(&end.written()), Some(end));
        assert_eq!(EndedWhen::read(b"100"), None);
    }
}
