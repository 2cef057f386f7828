//! Sessions in Redis 7 or Valkey (6.2 at the least): one server, Sentinel or Cluster.
//!
//! Keys and indexes are explained in [`names`], the steps in [`scripts`], the limit of sessions in
//! [`limit`], the push channel in [`channel`]. Times to live clean up behind us and decide nothing:
//! whether a session has expired is judged by the times in its record and the `now` of the caller.
//!
//! Redis copies to its replicas after it has answered: what was written in the last moment before a
//! failover may be lost. `min-replicas-to-write` narrows that.
//!
//! A user of its own needs no more than this (`role` with Sentinel, `cluster|slots` and `asking` with
//! a Cluster, `info` and `config|get` for the warnings at start alone):
//!
//! ```text
//! ACL SETUSER bff on >PASSWORD resetkeys ~bff:* resetchannels &bff:events -@all
//!   +eval +evalsha +hget +hmget +hset +exists +del +get +getdel +set +pexpire +pttl
//!   +zadd +zrem +zrange +zrangebylex +zrangebyscore +zscore +zcard
//!   +publish +subscribe +ping +time +select +role +cluster|slots +asking +info +config|get
//! ```

pub mod url;

mod channel;
mod health;
mod limit;
mod link;
mod names;
mod rows;
mod scripts;
mod sentinel;
mod trouble;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::{Cmd, TlsCertificates, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use self::link::{Link, Servers};
use self::rows::Values;
use self::scripts::{Call, Script};
use self::trouble::Trouble;
use self::url::RedisUrl;
use crate::clock::Timestamp;
use crate::secret::StoreUrl;
use crate::session::id::SessionHash;
use crate::session::store::record_store::{
    Event, Insertion, Listener, Lookup, RecordStore, Replacement, Row, Standing,
};
use crate::session::store::voice::Voice;
use crate::session::store::{
    Cursor, Limit, OnLimit, Recency, StoreError, StoreFuture, begins_a_word, folded,
};
use crate::web::ending::EndReason;

/// How much longer than its session a key lives: room for clocks that differ and for the sweep.
const GRACE: Duration = Duration::from_hours(1);
/// How much longer than its span a kept value lives, which is judged by the caller's clock.
const KEPT_GRACE: Duration = Duration::from_mins(1);
/// How often the list by expiry is read for one call, when it names sessions that are gone.
const LOOKS: usize = 8;
/// How many names a search looks at in one trip.
const SEARCHED_AT_ONCE: usize = 2_000;
/// How many commands of one call are under way at a time.
const AT_ONCE: usize = 64;

/// Keeps rows in Redis.
#[derive(Debug)]
pub struct RedisStore {
    link: Link,
    voice: Voice,
    /// Whether its clock may be asked.
    shows_time: AtomicBool,
}

impl RedisStore {
    /// A store that connects when it is first asked. `ca` is a PEM file with the roots for its TLS,
    /// `None` for the system's; each call answers within `timeout`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] where the address cannot be meant or the roots cannot be read.
    pub fn new(
        url: &StoreUrl,
        ca: Option<&Path>,
        timeout: Duration,
        voice: Voice,
    ) -> Result<Self, StoreError> {
        let url = RedisUrl::read(url).map_err(Trouble::from)?;
        let certificates = ca.map(read_ca).transpose()?.map(|ca| TlsCertificates {
            client_tls: None,
            root_cert: Some(ca),
        });
        let servers = Servers::new(url, certificates, timeout);
        Ok(Self {
            link: Link::new(servers)?,
            voice,
            shows_time: AtomicBool::new(true),
        })
    }

    /// The time of the first master. A user who may not ask is told once what that costs.
    async fn time(&self) -> Result<Option<Timestamp>, Trouble> {
        if !self.shows_time.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let masters = self.link.known_masters().await?;
        let first = masters.first().ok_or(Trouble::NoMaster)?;
        match self.link.query_master(first, &command("TIME")).await {
            Ok((seconds, micros)) => {
                let (seconds, micros): (i64, i64) = (seconds, micros);
                let millis = seconds.saturating_mul(1000).saturating_add(micros / 1000);
                Ok(Some(Timestamp::from_unix_millis(millis)))
            }
            Err(Trouble::Permission(_)) => {
                self.shows_time.store(false, Ordering::Relaxed);
                tracing::warn!(
                    event = "store.no_time",
                    "the Redis user in session.store_url may not ask for TIME, so a node whose \
                     clock is wrong goes unnoticed; grant it +time"
                );
                Ok(None)
            }
            Err(trouble) => {
                self.link.forget_masters();
                Err(trouble)
            }
        }
    }

    async fn insert(
        &self,
        row: &Row,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> Result<Insertion, Trouble> {
        let key = names::record(&row.hash);
        let call = self.link.scripts.insert.on(key.clone());
        let call = rows::write(call.number(time_to_live(row, now)), row);
        self.link.call::<Value>(call).await?;
        let beyond = match limit {
            None => {
                let key = names::by_subject(&row.subject);
                let call = index(&self.link.scripts.index, &key, row, now);
                self.link.call::<Value>(call).await?;
                Vec::new()
            }
            Some(limit) => match limit.on_limit {
                OnLimit::EndOldest => self.enter(row, limit.most, now).await?,
                OnLimit::Refuse if self.admit(row, limit.most, now).await? => Vec::new(),
                OnLimit::Refuse => {
                    // Nobody knows its hash, so nobody has to be told.
                    self.link.query::<Value>(command("DEL").arg(key)).await?;
                    return Ok(Insertion::Refused);
                }
            },
        };
        self.write_other_indexes(row, now).await?;
        Ok(Insertion::Stored { beyond })
    }

    async fn write_other_indexes(&self, row: &Row, now: Timestamp) -> Result<(), Trouble> {
        let script = &self.link.scripts.index;
        let hash = names::hex(row.hash.as_bytes());
        let lives = time_to_live(row, now);
        let by_expiry = script
            .on(names::BY_EXPIRY)
            .number(row.expires.unix_millis());
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

    async fn replace(
        &self,
        hash: &SessionHash,
        version: u64,
        sealed: &[u8],
    ) -> Result<Replacement, Trouble> {
        let call = self.link.scripts.replace.on(names::record(hash));
        let told = channel::tellings(&self.voice, Event::Changed(*hash, version));
        let call = call.number(version).bytes(sealed).telling(told);
        match self.link.call::<String>(call).await?.as_str() {
            "saved" => Ok(Replacement::Saved),
            "ended" => Ok(Replacement::Ended),
            _ => Ok(Replacement::Overtaken),
        }
    }

    async fn slide(
        &self,
        hash: &SessionHash,
        seen: Timestamp,
        expires: Timestamp,
    ) -> Result<bool, Trouble> {
        let call = self.link.scripts.slide.on(names::record(hash));
        let call = call
            .number(seen.unix_millis())
            .number(expires.unix_millis());
        let Some(expires) = self.link.call::<Option<Vec<u8>>>(call).await? else {
            return Ok(false);
        };
        self.put_off(hash, rows::time(Some(expires))?).await;
        Ok(true)
    }

    /// Moves a session in the list by expiry, if it is there. Should that fail, the list names it
    /// too early, and whoever looks at its record corrects it.
    async fn put_off(&self, hash: &SessionHash, expires: Timestamp) {
        let mut add = command("ZADD");
        add.arg(names::BY_EXPIRY).arg("XX").arg("GT");
        add.arg(expires.unix_millis());
        add.arg(names::hex(hash.as_bytes()));
        let outcome = self.link.query::<Value>(&add).await;
        log(outcome);
    }

    /// Ends a session, only if it has expired where `now` is given.
    async fn end(
        &self,
        hash: &SessionHash,
        reason: EndReason,
        remember: Duration,
        now: Option<Timestamp>,
    ) -> Result<Option<Row>, Trouble> {
        let call = self.link.scripts.end.on(names::record(hash));
        let now = now.map(|now| now.unix_millis().to_string());
        let told = channel::tellings(&self.voice, Event::Ended(*hash, reason));
        let call = call.number(reason as u8).number(remember.as_millis());
        let call = call.bytes(now.unwrap_or_default()).telling(told);
        let values: Values = match self.link.call::<Value>(call).await? {
            Value::Array(values) => redis::from_redis_value(Value::Array(values))?,
            Value::BulkString(expires) => {
                self.put_off(hash, rows::time(Some(expires))?).await;
                return Ok(None);
            }
            _ => {
                let hash = names::hex(hash.as_bytes()).into_bytes();
                self.drop_members(names::BY_EXPIRY, vec![hash]).await;
                return Ok(None);
            }
        };
        let Lookup::Row(row) = rows::lookup(hash, values)? else {
            return Err(Trouble::NoRecord);
        };
        self.forget_indexes(&row).await;
        Ok(Some(row))
    }

    /// Removes an ended session from all indexes. The end stands: should this fail, whoever meets
    /// what is left drops it.
    async fn forget_indexes(&self, row: &Row) {
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
    async fn drop_members(&self, key: &str, members: Vec<Vec<u8>>) {
        if members.is_empty() {
            return;
        }
        let outcome = self
            .link
            .query::<Value>(command("ZREM").arg(key).arg(members))
            .await;
        log(outcome);
    }

    async fn expired(&self, now: Timestamp, at_most: usize) -> Result<Vec<SessionHash>, Trouble> {
        let mut expired = Vec::new();
        for _ in 0..LOOKS {
            let asked = at_most - expired.len();
            let mut range = command("ZRANGEBYSCORE");
            range.arg(names::BY_EXPIRY).arg("-inf");
            range.arg(now.unix_millis());
            range.arg("LIMIT").arg(expired.len()).arg(asked);
            let members = self.link.query::<Vec<Vec<u8>>>(&range).await?;
            let hashes: Vec<_> = names::hashes(&members).collect();
            let standings = self.fields(&rows::STANDING, &hashes).await?;
            let mut dead = Vec::new();
            for (hash, values) in hashes.iter().zip(standings) {
                match rows::expires(&values)? {
                    Some(expires) if expires > now => self.put_off(hash, expires).await,
                    Some(_) => expired.push(*hash),
                    None => dead.push(names::hex(hash.as_bytes()).into_bytes()),
                }
            }
            self.drop_members(names::BY_EXPIRY, dead).await;
            if members.len() < asked || expired.len() >= at_most {
                break;
            }
        }
        Ok(expired)
    }

    /// The rows of an index that is sorted by age.
    async fn rows_of(&self, key: &str) -> Result<Vec<Row>, Trouble> {
        let hashes = self.members(key).await?;
        let found = self.lookups(&hashes).await?;
        let mut rows = Vec::new();
        let mut dead = Vec::new();
        for (hash, lookup) in hashes.iter().zip(found) {
            match lookup {
                Lookup::Row(row) => rows.push(row),
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

    async fn page(
        &self,
        word: &str,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<Vec<Row>, Trouble> {
        let mut from = names::behind_cursor(after);
        let mut rows = Vec::new();
        while rows.len() < at_most {
            let wanted = at_most - rows.len();
            // The members hold the names, so that a search reads no record that it does not find.
            let asked = if word.is_empty() {
                wanted
            } else {
                SEARCHED_AT_ONCE
            };
            let mut range = command("ZRANGEBYLEX");
            range.arg(names::BY_NAME).arg(&from).arg("+");
            range.arg("LIMIT").arg(0).arg(asked);
            let members = self.link.query::<Vec<Vec<u8>>>(&range).await?;
            let Some(last) = members.last() else { break };
            from = names::behind(last);
            let is_last = members.len() < asked;
            let found: Vec<_> = members
                .into_iter()
                .filter(|member| begins_a_word(&names::name_of_member(member), word))
                .filter_map(|member| names::hash_of_member(&member).map(|hash| (member, hash)))
                .collect();
            let (mut members, mut hashes): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            // What is found beyond is found again from where this page ends.
            let is_last = is_last && members.len() <= wanted;
            members.truncate(wanted);
            hashes.truncate(wanted);
            if let Some(last) = members.last()
                && !word.is_empty()
                && members.len() == wanted
            {
                from = names::behind(last);
            }
            let mut dead = Vec::new();
            for (member, lookup) in members.into_iter().zip(self.lookups(&hashes).await?) {
                match lookup {
                    Lookup::Row(row) => rows.push(row),
                    Lookup::Ended(_) | Lookup::Nothing => dead.push(member),
                }
            }
            self.drop_members(names::BY_NAME, dead).await;
            if is_last {
                break;
            }
        }
        Ok(rows)
    }

    /// By when they expire, which is what Redis sorts them by: the last use and the idle timeout, or
    /// the absolute limit if that is sooner.
    async fn latest(
        &self,
        after: Option<Recency>,
        at_most: usize,
    ) -> Result<(Vec<Row>, Option<Recency>), Trouble> {
        let top = after.map_or_else(|| "+inf".into(), |after| after.at.unix_millis().to_string());
        let is_behind =
            |row: &Row| after.is_none_or(|after| (row.expires, row.hash) < (after.at, after.hash));
        let mut rows: Vec<Row> = Vec::new();
        let mut looked_at = 0;
        while rows.len() < at_most {
            let asked = at_most - rows.len();
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
                {
                    rows.push(row);
                }
            }
            if members.len() < asked {
                break;
            }
        }
        let last = rows.last().filter(|_| rows.len() >= at_most);
        let next = last.map(|row| Recency {
            at: row.expires,
            hash: row.hash,
        });
        rows.sort_by_key(|row| std::cmp::Reverse((row.seen, row.hash)));
        Ok((rows, next))
    }

    async fn lookups(&self, hashes: &[SessionHash]) -> Result<Vec<Lookup>, Trouble> {
        let values = self.fields(&rows::FIELDS, hashes).await?;
        let records = hashes.iter().zip(values);
        records
            .map(|(hash, values)| rows::lookup(hash, values))
            .collect()
    }

    /// These fields of each record. The commands leave together, and come back in order.
    async fn fields(
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

    async fn keep(
        &self,
        key: &str,
        value: &[u8],
        span: Duration,
        now: Timestamp,
    ) -> Result<bool, Trouble> {
        let until = (now + span).unix_millis().to_string();
        let value = [until.as_bytes(), b" ", value].concat();
        let call = self.link.scripts.keep.on(names::kept(key)).bytes(value);
        let call = call.number(span.saturating_add(KEPT_GRACE).as_millis());
        self.link.call(call.number(now.unix_millis())).await
    }

    /// A kept value, by `GET`, or by `GETDEL`, which takes it out.
    async fn kept(&self, get: &str, key: &str, now: Timestamp) -> Result<Option<Vec<u8>>, Trouble> {
        let mut get = command(get);
        get.arg(names::kept(key));
        let Some(mut value) = self.link.query::<Option<Vec<u8>>>(&get).await? else {
            return Ok(None);
        };
        let space = value.iter().position(|byte| *byte == b' ');
        let space = space.ok_or(Trouble::NoRecord)?;
        let rest = value.split_off(space + 1);
        value.truncate(space);
        Ok((rows::time(Some(value))? > now).then_some(rest))
    }
}

/// The call that puts a row into an index that is sorted by age.
fn index<'a>(script: &'a Script, key: &str, row: &Row, now: Timestamp) -> Call<'a> {
    script
        .on(key)
        .number(row.created.unix_millis())
        .bytes(names::hex(row.hash.as_bytes()))
        .number(time_to_live(row, now))
}

/// How long the keys of a session may be needed, in milliseconds. Never by Redis' clock.
fn time_to_live(row: &Row, now: Timestamp) -> u128 {
    row.ends.since(now).saturating_add(GRACE).as_millis()
}

fn command(name: &str) -> Cmd {
    redis::cmd(name)
}

fn log(outcome: Result<Value, Trouble>) {
    if let Err(trouble) = outcome {
        tracing::debug!(
            error = &trouble as &dyn std::error::Error,
            "an index of sessions was not brought up to date"
        );
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Trouble> {
    let trouble = |problem: String| Trouble::Ca {
        path: path.to_owned(),
        problem,
    };
    let pem = fs::read(path).map_err(|error| trouble(format!("cannot be read: {error}")))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(trouble("holds no certificate".to_owned()))
        }
        Ok(_) => Ok(pem),
        Err(error) => Err(trouble(format!("is no PEM file: {error}"))),
    }
}

impl RecordStore for RedisStore {
    fn place(&self) -> String {
        self.link.place()
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(health::prepare(&self.link).await?) })
    }

    fn insert<'a>(
        &'a self,
        row: &'a Row,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> StoreFuture<'a, Insertion> {
        Box::pin(async move { Ok(self.insert(row, limit, now).await?) })
    }

    fn load<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Lookup> {
        Box::pin(async move {
            let mut get = command("HMGET");
            get.arg(names::record(hash)).arg(&rows::FIELDS);
            let values = self.link.query(&get).await?;
            Ok(rows::lookup(hash, values)?)
        })
    }

    fn standings<'a>(&'a self, hashes: &'a [SessionHash]) -> StoreFuture<'a, Vec<Standing>> {
        Box::pin(async move {
            let values = self.fields(&rows::STANDING, hashes).await?;
            let standings = values.iter().map(|values| rows::standing(values));
            Ok(standings.collect::<Result<_, _>>()?)
        })
    }

    fn replace<'a>(
        &'a self,
        hash: &'a SessionHash,
        version: u64,
        sealed: &'a [u8],
    ) -> StoreFuture<'a, Replacement> {
        Box::pin(async move { Ok(self.replace(hash, version, sealed).await?) })
    }

    fn reseal<'a>(
        &'a self,
        hash: &'a SessionHash,
        version: u64,
        sealed: &'a [u8],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let call = self.link.scripts.reseal.on(names::record(hash));
            let call = call.number(version).bytes(sealed);
            self.link.call::<Value>(call).await?;
            Ok(())
        })
    }

    fn slide<'a>(
        &'a self,
        hash: &'a SessionHash,
        seen: Timestamp,
        expires: Timestamp,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move { Ok(self.slide(hash, seen, expires).await?) })
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
        remember: Duration,
    ) -> StoreFuture<'a, Option<Row>> {
        Box::pin(async move { Ok(self.end(hash, reason, remember, None).await?) })
    }

    fn end_expired<'a>(
        &'a self,
        hash: &'a SessionHash,
        now: Timestamp,
        remember: Duration,
    ) -> StoreFuture<'a, Option<Row>> {
        let reason = EndReason::Expired;
        Box::pin(async move { Ok(self.end(hash, reason, remember, Some(now)).await?) })
    }

    fn expired(&self, now: Timestamp, at_most: usize) -> StoreFuture<'_, Vec<SessionHash>> {
        Box::pin(async move { Ok(self.expired(now, at_most).await?) })
    }

    fn forget(&self, _now: Timestamp) -> StoreFuture<'_, ()> {
        // Redis does.
        Box::pin(std::future::ready(Ok(())))
    }

    fn of_subject<'a>(&'a self, subject: &'a str) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.rows_of(&names::by_subject(subject)).await?) })
    }

    fn of_provider_sid<'a>(&'a self, sid: &'a str) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.rows_of(&names::by_provider_sid(sid)).await?) })
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.page(word, after, at_most).await?) })
    }

    fn latest(
        &self,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'_, (Vec<Row>, Option<Recency>)> {
        Box::pin(async move { Ok(self.latest(after, at_most).await?) })
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let mut count = command("ZCARD");
            count.arg(names::BY_EXPIRY);
            Ok(self.link.query(&count).await?)
        })
    }

    fn lease<'a>(&'a self, name: &'a str, owner: &'a str, span: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let call = self.link.scripts.lease.on(names::lease(name));
            // Redis knows no span of nothing.
            let call = call.bytes(owner).number(span.as_millis().max(1));
            Ok(self.link.call(call).await?)
        })
    }

    fn release<'a>(&'a self, name: &'a str, owner: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let call = self.link.scripts.release.on(names::lease(name));
            self.link.call::<Value>(call.bytes(owner)).await?;
            Ok(())
        })
    }

    fn keep<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move { Ok(self.keep(key, value, span, now).await?) })
    }

    fn peek<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.kept("GET", key, now).await?) })
    }

    fn take<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.kept("GETDEL", key, now).await?) })
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            Err(channel::listen(&self.link, &self.voice, listener.as_ref())
                .await
                .into())
        })
    }

    fn announce<'a>(&'a self, word: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move { Ok(channel::announce(&self.link, &self.voice, word).await?) })
    }

    fn time(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move { Ok(self.time().await?) })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(health::check(&self.link).await?) })
    }
}
