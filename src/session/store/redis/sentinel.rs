//! One Sentinel, and the question for the master.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::Mutex;

use super::servers::{Credentials, Servers};
use super::trouble::Trouble;
use super::url::Address;

/// A Sentinel, with a connection that is kept for the next question.
pub(super) struct Sentinel {
    /// Sentinels mostly ask for no password; ours is told to one that does.
    without: Client,
    with: Client,
    kept: Mutex<Option<(MultiplexedConnection, Arc<AtomicBool>)>>,
}

impl Sentinel {
    pub(super) fn new(servers: &Servers, address: &Address) -> Result<Self, Trouble> {
        Ok(Self {
            without: servers.client(address, 0, Credentials::None)?,
            with: servers.client(address, 0, Credentials::Ours)?,
            kept: Mutex::default(),
        })
    }

    /// Where the master is, as this Sentinel knows it.
    pub(super) async fn master(&self, servers: &Servers, name: &str) -> Result<Address, Trouble> {
        let asking = async {
            let mut connection = self.connection(servers).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            let answer: RedisResult<Option<(String, u16)>> =
                question.query_async(&mut connection).await;
            if answer.is_err() {
                *self.kept.lock().await = None;
            }
            let answer = answer?;
            let (host, port) = answer.ok_or_else(|| Trouble::UnknownMaster(name.into()))?;
            let host = host.into();
            Ok(Address { host, port })
        };
        tokio::time::timeout(servers.timeout, asking)
            .await
            .unwrap_or_else(|_| Err(Trouble::Slow(servers.place(), servers.timeout)))
    }

    /// The connection that is kept, or a new one. Whoever asks may stop listening to the answer, as
    /// another Sentinel was faster; so it is never taken out of its place.
    async fn connection(&self, servers: &Servers) -> Result<MultiplexedConnection, Trouble> {
        let mut kept = self.kept.lock().await;
        if let Some((connection, well)) = kept.as_ref()
            && well.load(Ordering::Acquire)
        {
            return Ok(connection.clone());
        }
        let well = Arc::new(AtomicBool::new(true));
        let connection = match servers.connect(&self.without, Arc::clone(&well)).await {
            Err(trouble) if trouble.asks_for_credentials() && servers.has_credentials() => {
                servers.connect(&self.with, Arc::clone(&well)).await?
            }
            outcome => outcome?,
        };
        *kept = Some((connection.clone(), well));
        Ok(connection)
    }
}
