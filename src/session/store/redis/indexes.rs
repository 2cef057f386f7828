//! What finds records otherwise than by their hashes: kept after the record, and corrected by whoever meets
//! what is left over.

use redis::Value;

use super::scripts::{Call, Script};
use super::trouble::Trouble;
use super::{GRACE, RedisStore, command, names};
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::folded;
use crate::session::store::record_store::Row;

impl RedisStore {
    pub(super) async fn write_other_indexes(
        &self,
        row: &Row,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let script = &self.link.scripts.index;
        let hash = names::hex(row.hash.as_bytes());
        let lives = time_to_live(row, now);
        let by_expiry = script
            .on(names::BY_EXPIRY)
            .number(row.times.expires.unix_millis());
        let by_expiry = by_expiry.bytes(hash).number(lives);
        let member = names::member(&folded(&row.name), &row.hash);
        let by_name = script.on(names::BY_NAME).number(0).bytes(member);
        let by_name = by_name.number(lives);
        let by_sid = async {
            let Some(sid) = &row.provider_sid else {
                return Ok(());
            };
            let call = index(script, &names::by_provider_sid(sid), row, now);
            self.link.call::<Value>(call).await.map(drop)
        };
        tokio::try_join!(
            self.link.call::<Value>(by_expiry),
            self.link.call::<Value>(by_name),
            by_sid,
        )?;
        Ok(())
    }

    /// Moves a session in the list by expiry, if it is there. Should that fail, the list names it
    /// too early, and whoever looks at its record corrects it.
    pub(super) async fn put_off(&self, hash: &SessionHash, expires: Timestamp) {
        let mut add = command("ZADD");
        add.arg(names::BY_EXPIRY).arg("XX").arg("GT");
        add.arg(expires.unix_millis());
        add.arg(names::hex(hash.as_bytes()));
        let outcome = self.link.query::<Value>(&add).await;
        log(outcome);
    }

    /// Removes an ended session from all indexes. The end stands: should this fail, whoever meets
    /// what is left drops it.
    pub(super) async fn forget_indexes(&self, row: &Row) {
        let hash = || vec![names::hex(row.hash.as_bytes()).into_bytes()];
        let member = vec![names::member(&folded(&row.name), &row.hash)];
        let by_subject = names::by_subject(&row.subject);
        let by_sid = async {
            if let Some(sid) = &row.provider_sid {
                self.drop_members(&names::by_provider_sid(sid), hash())
                    .await;
            }
        };
        tokio::join!(
            self.drop_members(names::BY_EXPIRY, hash()),
            self.drop_members(names::BY_NAME, member),
            self.drop_members(&by_subject, hash()),
            by_sid,
        );
    }

    /// Removes members that have no record. What remains is met again.
    pub(super) async fn drop_members(&self, key: &str, members: Vec<Vec<u8>>) {
        if members.is_empty() {
            return;
        }
        let outcome = self
            .link
            .query::<Value>(command("ZREM").arg(key).arg(members))
            .await;
        log(outcome);
    }
}

/// The call that puts a row into an index that is sorted by age.
pub(super) fn index<'a>(script: &'a Script, key: &str, row: &Row, now: Timestamp) -> Call<'a> {
    script
        .on(key)
        .number(row.times.created.unix_millis())
        .bytes(names::hex(row.hash.as_bytes()))
        .number(time_to_live(row, now))
}

/// How long the keys of a session may be needed, in milliseconds. Never by Redis' clock.
pub(super) fn time_to_live(row: &Row, now: Timestamp) -> u128 {
    row.times.ends.since(now).saturating_add(GRACE).as_millis()
}

fn log(outcome: Result<Value, Trouble>) {
    if let Err(trouble) = outcome {
        tracing::debug!(
            error = &trouble as &dyn std::error::Error,
            "an index of sessions was not brought up to date"
        );
    }
}
