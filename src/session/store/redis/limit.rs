//! How many sessions a subject may have, held over all nodes.
//!
//! A record is written before the subject's index names it, so whoever meets a member of the index
//! without a record meets a dead one; and an index is changed by scripts, one after the other.
//!
//! *Ending the oldest*: one step puts the new session into the index and reads who is there, so of
//! two that come together the later sees the earlier, never both or neither. Each keeps itself and,
//! by one order that all share (when they were created, then the hash), the newest of those it saw.
//! The newest of all that entered before the last are given up by nobody, and the last keeps them
//! and itself: as many as may stay. Two may name the same session, which then ends once. If one ends
//! for another reason just then, its place may stay empty; there is never one too many.
//!
//! *Refusing*: the script lets the session in only if there is room, so of logins that come together
//! as many get in as there are places. Members that turn out dead are removed; expired ones, which may be
//! put off yet, and those of other sites or issuers, who call another user the same, are named to the
//! script as not counting, and it is asked again.

use super::RedisStore;
use super::indexes::index;
use super::names;
use super::trouble::Trouble;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::record_store::{Counted, Lookup, Row};

/// How often a full index is looked through for dead members before the login gives up.
const TRIES: usize = 16;

impl RedisStore {
    /// Puts the row into its subject's index. The sessions beyond `most`, oldest first.
    pub(super) async fn enter(
        &self,
        row: &Row,
        counted: &Counted,
        now: Timestamp,
    ) -> Result<Vec<SessionHash>, Trouble> {
        let most = counted.limit.most;
        let key = names::by_subject(&row.subject);
        let call = index(&self.link.scripts.enter, &key, row, now);
        let there = self.link.call::<Vec<Vec<u8>>>(call).await?;
        let others = names::hashes(&there).filter(|hash| *hash != row.hash);
        let others = others.collect();
        let mut live = self.living(&key, others, counted, now).await?.live;
        live.truncate((live.len() + 1).saturating_sub(most.max(1)));
        Ok(live)
    }

    /// Whether there was room for the row in its subject's index.
    pub(super) async fn admit(
        &self,
        row: &Row,
        counted: &Counted,
        now: Timestamp,
    ) -> Result<bool, Trouble> {
        let most = counted.limit.most;
        let key = names::by_subject(&row.subject);
        let mut uncounted = Vec::new();
        for _ in 0..TRIES {
            let call = index(&self.link.scripts.admit, &key, row, now).number(most.max(1));
            let call = uncounted.iter().fold(call, |call, hash: &SessionHash| {
                call.bytes(names::hex(hash.as_bytes()))
            });
            let Some(there) = self.link.call::<Option<Vec<Vec<u8>>>>(call).await? else {
                return Ok(true);
            };
            let there = names::hashes(&there).collect();
            let found = self.living(&key, there, counted, now).await?;
            if found.live.len() >= most.max(1) {
                return Ok(false);
            }
            uncounted = found.uncounted;
        }
        Err(Trouble::Restless)
    }

    /// Sorts members of an index into those that live at `now` and count and those that do not count, and
    /// removes those without a record.
    async fn living(
        &self,
        key: &str,
        members: Vec<SessionHash>,
        counted: &Counted,
        now: Timestamp,
    ) -> Result<Members, Trouble> {
        let mut found = Members::default();
        let mut dead = Vec::new();
        for (hash, lookup) in members.iter().zip(self.lookups(&members).await?) {
            match lookup {
                Lookup::Row(row) if row.times.expires > now && counted.among.take(&row) => {
                    found.live.push(*hash);
                }
                Lookup::Row(_) => found.uncounted.push(*hash),
                Lookup::Ended(_) | Lookup::Nothing => {
                    dead.push(names::hex(hash.as_bytes()).into_bytes());
                }
            }
        }
        self.drop_members(key, dead).await;
        Ok(found)
    }
}

#[derive(Debug, Default)]
struct Members {
    live: Vec<SessionHash>,
    uncounted: Vec<SessionHash>,
}
