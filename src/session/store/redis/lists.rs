//! The lists, as indexes and records make them.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::rows::{self, Values};
use super::trouble::Trouble;
use super::{RedisStore, command, names};
use crate::session::id::SessionHash;
use crate::session::store::record_store::{Lookup, Row, Rows};
use crate::session::store::{Cursor, Recency, begins_a_word};

/// How many names a search looks at in one trip.
const SEARCHED_AT_ONCE: usize = 2_000;
/// How many records it reads at once where it looks for those of a site.
const READ_AT_ONCE: usize = 256;
/// How many commands of one call are under way at a time.
const AT_ONCE: usize = 64;

impl RedisStore {
    /// The rows of an index that is sorted by age, among these. Indexes are by a word of the provider's
    /// alone, as releases before sites keep them too: whose word it is stands in the record.
    pub(super) async fn rows_of(&self, key: &str, among: &Rows) -> Result<Vec<Row>, Trouble> {
        let hashes = self.members(key).await?;
        let found = self.lookups(&hashes).await?;
        let mut rows = Vec::new();
        let mut dead = Vec::new();
        for (hash, lookup) in hashes.iter().zip(found) {
            match lookup {
                Lookup::Row(row) if among.take(&row) => rows.push(row),
                Lookup::Row(_) => {}
                Lookup::Ended(_) | Lookup::Nothing => {
                    dead.push(names::hex(hash.as_bytes()).into_bytes());
                }
            }
        }
        self.drop_members(key, dead).await;
        Ok(rows)
    }

    async fn members(&self, key: &str) -> Result<Vec<SessionHash>, Trouble> {
        let mut range = command("ZRANGE");
        range.arg(key).arg(0).arg(-1);
        let members = self.link.query::<Vec<Vec<u8>>>(&range).await?;
        Ok(names::hashes(&members).collect())
    }

    pub(super) async fn page(
        &self,
        word: &str,
        among: &Rows,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<Vec<Row>, Trouble> {
        let mut from = names::behind_cursor(after);
        let mut rows = Vec::new();
        // The members hold the names, so that a search reads no record that it does not find.
        let takes_each = word.is_empty() && *among == Rows::all();
        while rows.len() < at_most {
            let wanted = at_most - rows.len();
            let asked = if takes_each { wanted } else { SEARCHED_AT_ONCE };
            let mut range = command("ZRANGEBYLEX");
            range.arg(names::BY_NAME).arg(&from).arg("+");
            range.arg("LIMIT").arg(0).arg(asked);
            let members = self.link.query::<Vec<Vec<u8>>>(&range).await?;
            let Some(last) = members.last() else { break };
            from = names::behind(last);
            let is_last = members.len() < asked;
            let found = members
                .into_iter()
                .filter(|member| begins_a_word(&names::name_of_member(member), word))
                .filter_map(|member| names::hash_of_member(&member).map(|hash| (member, hash)));
            let (members, hashes): (Vec<_>, Vec<_>) = found.unzip();
            let mut dead = Vec::new();
            for (members, hashes) in members
                .chunks(READ_AT_ONCE)
                .zip(hashes.chunks(READ_AT_ONCE))
            {
                for (member, lookup) in members.iter().zip(self.lookups(hashes).await?) {
                    match lookup {
                        Lookup::Row(row) if among.take(&row) => rows.push(row),
                        Lookup::Row(_) => {}
                        Lookup::Ended(_) | Lookup::Nothing => dead.push(member.clone()),
                    }
                }
                if rows.len() >= at_most {
                    break;
                }
            }
            self.drop_members(names::BY_NAME, dead).await;
            if is_last {
                break;
            }
        }
        // What was found beyond is found again from where this page ends.
        rows.truncate(at_most);
        Ok(rows)
    }

    /// By when they expire, which is what Redis sorts them by: the last use and the idle timeout, or
    /// the absolute limit if that is sooner.
    pub(super) async fn latest(
        &self,
        among: &Rows,
        after: Option<Recency>,
        at_most: usize,
    ) -> Result<(Vec<Row>, Option<Recency>), Trouble> {
        let top = after.map_or_else(|| "+inf".into(), |after| after.at.unix_millis().to_string());
        let is_behind = |row: &Row| {
            after.is_none_or(|after| (row.times.expires, row.hash) < (after.at, after.hash))
        };
        let takes_each = *among == Rows::all();
        let mut rows: Vec<Row> = Vec::new();
        let mut looked_at = 0;
        while rows.len() < at_most {
            let asked = if takes_each {
                at_most - rows.len()
            } else {
                READ_AT_ONCE
            };
            let mut range = command("ZRANGE");
            range.arg(names::BY_EXPIRY).arg(&top).arg("-inf");
            range.arg("BYSCORE").arg("REV");
            range.arg("LIMIT").arg(looked_at).arg(asked);
            let members = self.link.query::<Vec<Vec<u8>>>(&range).await?;
            looked_at += members.len();
            let hashes: Vec<_> = names::hashes(&members).collect();
            for lookup in self.lookups(&hashes).await? {
                if let Lookup::Row(row) = lookup
                    && is_behind(&row)
                    && among.take(&row)
                {
                    rows.push(row);
                }
            }
            if members.len() < asked {
                break;
            }
        }
        let last = rows.get(at_most.saturating_sub(1));
        let next = last.map(|row| Recency {
            at: row.times.expires,
            hash: row.hash,
        });
        rows.truncate(at_most);
        rows.sort_by_key(|row| std::cmp::Reverse((row.times.seen, row.hash)));
        Ok((rows, next))
    }

    pub(super) async fn lookups(&self, hashes: &[SessionHash]) -> Result<Vec<Lookup>, Trouble> {
        let values = self.fields(&rows::FIELDS, hashes).await?;
        let records = hashes.iter().zip(values);
        records
            .map(|(hash, values)| rows::lookup(hash, values))
            .collect()
    }

    /// These fields of each record. The commands leave together, and come back in order.
    pub(super) async fn fields(
        &self,
        fields: &[&str],
        hashes: &[SessionHash],
    ) -> Result<Vec<Values>, Trouble> {
        let commands: Vec<_> = hashes
            .iter()
            .map(|hash| {
                let mut get = command("HMGET");
                get.arg(names::record(hash)).arg(fields);
                get
            })
            .collect();
        stream::iter(commands)
            .map(|get| async move { self.link.query::<Values>(&get).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }
}
