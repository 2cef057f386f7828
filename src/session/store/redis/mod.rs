//! Sessions in Redis 7 or Valkey (6.2 at the least): one server, Sentinel or Cluster.
//!
//! Keys and indexes are explained in [`names`], the steps in [`scripts`], the limit of sessions in
//! [`limit`], the push channel in [`channel`] and [`telling`]. Times to live clean up behind us and decide nothing:
//! whether a session has expired is judged by the times in its record and the `now` of the caller.
//!
//! Redis copies to its replicas after it has answered: what was written in the last moment before a
//! failover may be lost. `min-replicas-to-write` narrows that.
//!
//! A user of its own needs no more than this (`role` with Sentinel, `cluster|slots` and `asking` with
//! a Cluster, `info` and `config|get` for the warnings at start alone):
//!
//! ```text
//! ACL SETUSER bff on >PASSWORD resetkeys ~bff:* resetchannels &bff:events &bff:events:* -@all
//!   +eval +evalsha +hget +hmget +hset +exists +del +get +getdel +set +pexpire +pttl
//!   +zadd +zrem +zrange +zrangebylex +zrangebyscore +zscore +zcard +rpush +lrange
//!   +publish +subscribe +ping +time +select +role +cluster|slots +asking +info +config|get
//! ```
//!
//! One who may not `rpush`, `lrange` or hear `bff:events:*`, which releases before did not need, tells each
//! event by itself and each heartbeat to all: enough for some tens of nodes.

pub mod url;

mod channel;
mod health;
mod indexes;
mod limit;
mod link;
mod lists;
mod masters;
mod names;
mod notes;
mod rows;
mod scripts;
mod sentinel;
mod servers;
mod telling;
mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, TlsCertificates, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use self::channel::Channel;
use self::indexes::{index, time_to_live};
use self::link::{Link, Servers};
use self::rows::Values;
use self::trouble::Trouble;
use self::url::RedisUrl;
use crate::clock::Timestamp;
use crate::secret::StoreUrl;
use crate::session::id::SessionHash;
use crate::session::store::record_store::{
    Counted, Event, Insertion, Listener, Lookup, RecordStore, Replacement, Row, Rows, Standing,
};
use crate::session::store::voice::Voice;
use crate::session::store::{Cursor, OnLimit, Recency, StoreError, StoreFuture};
use crate::web::ending::EndReason;
use crate::web::regular_file::{self, LARGEST_SECRET};

/// How much longer than its session a key lives: room for clocks that differ and for the sweep.
const GRACE: Duration = Duration::from_hours(1);
/// How often the list by expiry is read for one call, when it names sessions that are gone.
const LOOKS: usize = 8;

/// Keeps rows in Redis.
#[derive(Debug)]
pub struct RedisStore {
    link: Arc<Link>,
    channel: Channel,
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
        let link = Arc::new(Link::new(servers)?);
        Ok(Self {
            channel: Channel::new(Arc::clone(&link), voice),
            link,
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
        match self
            .link
            .query_master(&first.address, &command("TIME"))
            .await
        {
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
        limit: Option<&Counted>,
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
            Some(counted) => match counted.limit.on_limit {
                OnLimit::EndOldest => self.enter(row, counted, now).await?,
                OnLimit::Refuse if self.admit(row, counted, now).await? => Vec::new(),
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

    async fn replace(
        &self,
        hash: &SessionHash,
        version: u64,
        sealed: &[u8],
    ) -> Result<Replacement, Trouble> {
        let key = names::record(hash);
        let list = telling::list(&self.link, &key).await;
        let told = self.channel.telling(Event::Changed(*hash, version));
        let call = self.link.scripts.replace.on(key).number(version);
        let call = call.bytes(sealed).telling(&list, told);
        let answer = self.link.call::<Vec<String>>(call).await?;
        let answer: Vec<_> = answer.iter().map(String::as_str).collect();
        match answer.as_slice() {
            ["saved", waiting] => {
                telling::told(&self.link, list, waiting.parse().unwrap_or_default());
                Ok(Replacement::Saved)
            }
            ["ended"] => Ok(Replacement::Ended),
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

    /// Ends a session; one `that_expired` alone, if it has.
    async fn end(
        &self,
        hash: &SessionHash,
        reason: EndReason,
        now: Timestamp,
        that_expired: bool,
    ) -> Result<Option<Row>, Trouble> {
        let key = names::record(hash);
        let list = telling::list(&self.link, &key).await;
        let told = self.channel.telling(Event::Ended(*hash, reason));
        let call = self.link.scripts.end.on(key).number(reason as u8);
        let only = if that_expired { "expired" } else { "" };
        let call = call.number(now.unix_millis()).bytes(only);
        let call = call.telling(&list, told);
        let mut values: Values = match self.link.call::<Value>(call).await? {
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
        telling::told(&self.link, list, rows::number(values.pop().flatten())?);
        let Lookup::Row(row) = rows::lookup(hash, values)? else {
            return Err(Trouble::NoRecord);
        };
        self.forget_indexes(&row).await;
        Ok(Some(row))
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
}

fn command(name: &str) -> Cmd {
    redis::cmd(name)
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Trouble> {
    let trouble = |problem: String| Trouble::Ca {
        path: path.to_owned(),
        problem,
    };
    let pem = regular_file::read(path, LARGEST_SECRET)
        .map_err(|error| trouble(format!("cannot be read: {error}")))?;
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
        limit: Option<&'a Counted>,
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
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Row>> {
        Box::pin(async move { Ok(self.end(hash, reason, now, false).await?) })
    }

    fn end_expired<'a>(
        &'a self,
        hash: &'a SessionHash,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Row>> {
        let reason = EndReason::Expired;
        Box::pin(async move { Ok(self.end(hash, reason, now, true).await?) })
    }

    fn expired(&self, now: Timestamp, at_most: usize) -> StoreFuture<'_, Vec<SessionHash>> {
        Box::pin(async move { Ok(self.expired(now, at_most).await?) })
    }

    fn forget(&self, _now: Timestamp) -> StoreFuture<'_, ()> {
        // Redis does, but for what nobody is left to tell.
        Box::pin(async move { Ok(telling::tidy(&self.link).await?) })
    }

    fn of_subject<'a>(&'a self, subject: &'a str, among: &'a Rows) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.rows_of(&names::by_subject(subject), among).await?) })
    }

    fn of_provider_sid<'a>(&'a self, sid: &'a str, among: &'a Rows) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.rows_of(&names::by_provider_sid(sid), among).await?) })
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        among: &'a Rows,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.page(word, among, after, at_most).await?) })
    }

    fn latest<'a>(
        &'a self,
        among: &'a Rows,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Row>, Option<Recency>)> {
        Box::pin(async move { Ok(self.latest(among, after, at_most).await?) })
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
            let trouble = self.channel.listen(listener.as_ref()).await;
            Err(trouble.into())
        })
    }

    fn announce<'a>(&'a self, heartbeat: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move { Ok(self.channel.announce(heartbeat, true).await?) })
    }

    fn prove<'a>(&'a self, heartbeat: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move { Ok(self.channel.announce(heartbeat, false).await?) })
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
