//! The connection to Redis: one, shared by all calls, made when it is first needed and made anew
//! when it broke. Whoever meets the break is answered with an error; whoever comes after it finds a
//! new connection, to the master of that moment.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, select_ok};
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Client, Cmd, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::{Instant, timeout};

use super::masters::{self, Master};
use super::names::SCHEMA;
use super::scripts::{Call, Scripts};
use super::sentinel::Sentinel;
use super::servers::Credentials;
use super::trouble::Trouble;
use super::url::{Address, Place};

pub(super) use super::servers::Servers;

/// The version of what is written; a higher one in the store is not ours to touch.
const VERSION: u64 = 1;

/// A Cluster's client is made anew no more often than this: it heals most things by itself, and
/// one dead node is no reason to leave the others.
const CLUSTER_REST: Duration = Duration::from_secs(1);

/// The way to Redis.
pub(super) struct Link {
    servers: Servers,
    pub(super) scripts: Scripts,
    live: tokio::sync::Mutex<Option<Live>>,
    masters: Mutex<Option<Arc<[Master]>>>,
    sentinels: Vec<Sentinel>,
}

/// What is asked, and of whom.
enum Request<'a> {
    /// Of the node that has the key.
    Command(&'a Cmd),
    /// As a script.
    Script(&'a Call<'a>),
    /// Of this node.
    Node(&'a Address, &'a Cmd),
    /// As a script, on this node.
    NodeScript(&'a Address, &'a Call<'a>),
    /// Of some node.
    AnyNode(&'a Cmd),
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    well: Arc<AtomicBool>,
    since: Instant,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) fn new(servers: Servers) -> Result<Self, Trouble> {
        let sentinels = match &servers.url.place {
            Place::Sentinel { sentinels, .. } => sentinels
                .iter()
                .map(|address| Sentinel::new(&servers, address))
                .collect::<Result<_, _>>()?,
            Place::One { .. } | Place::Cluster { .. } => Vec::new(),
        };
        Ok(Self {
            servers,
            scripts: Scripts::new(),
            live: tokio::sync::Mutex::default(),
            masters: Mutex::default(),
            sentinels,
        })
    }

    /// How long a call may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.servers.timeout
    }

    /// The store, as the operator knows it, without the password.
    pub(super) fn place(&self) -> String {
        self.servers.place()
    }

    /// Whether keys are spread over several masters.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.servers.url.place, Place::Cluster { .. })
    }

    /// Asks the node that has the key.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let value = self.ask(Request::Command(command)).await?;
        Ok(redis::from_redis_value(value)?)
    }

    /// Runs a script.
    pub(super) async fn call<T: FromRedisValue>(&self, call: Call<'_>) -> Result<T, Trouble> {
        let value = self.ask(Request::Script(&call)).await?;
        Ok(redis::from_redis_value(value)?)
    }

    /// Asks some node, whichever.
    pub(super) async fn query_any<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let value = self.ask(Request::AnyNode(command)).await?;
        Ok(redis::from_redis_value(value)?)
    }

    /// Asks one of the [`masters`](Self::masters).
    pub(super) async fn query_master<T: FromRedisValue>(
        &self,
        at: &Address,
        command: &Cmd,
    ) -> Result<T, Trouble> {
        let value = self.ask(Request::Node(at, command)).await?;
        Ok(redis::from_redis_value(value)?)
    }

    /// Runs a script on one of the [`masters`](Self::masters).
    pub(super) async fn call_master<T: FromRedisValue>(
        &self,
        at: &Address,
        call: Call<'_>,
    ) -> Result<T, Trouble> {
        let value = self.ask(Request::NodeScript(at, &call)).await?;
        Ok(redis::from_redis_value(value)?)
    }

    /// The masters of this moment, in order.
    pub(super) async fn masters(&self) -> Result<Arc<[Master]>, Trouble> {
        let masters: Arc<[Master]> = match &self.servers.url.place {
            Place::One { address, .. } => Arc::new([Master::alone(address.clone())]),
            Place::Sentinel { .. } => Arc::new([Master::alone(self.ask_sentinels().await?)]),
            Place::Cluster { nodes } => {
                let mut question = redis::cmd("CLUSTER");
                let slots: Value = self.query_any(question.arg("SLOTS")).await?;
                masters::read(&slots, nodes).into()
            }
        };
        let mut known = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(&masters));
        Ok(masters)
    }

    /// The masters, as they were when last asked for.
    pub(super) async fn known_masters(&self) -> Result<Arc<[Master]>, Trouble> {
        let known = {
            let known = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
            known.clone()
        };
        match known {
            Some(masters) => Ok(masters),
            None => self.masters().await,
        }
    }

    /// Looks for the masters anew before the next call.
    pub(super) async fn leave(&self) {
        self.forget_masters();
        *self.live.lock().await = None;
    }

    /// Asks for the masters before they are used again.
    pub(super) fn forget_masters(&self) {
        *self.masters.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A client for a connection of the channel's own.
    pub(super) fn client(&self, address: &Address) -> Result<Client, Trouble> {
        self.servers.client(address, 0, Credentials::Ours)
    }

    async fn ask(&self, request: Request<'_>) -> Result<Value, Trouble> {
        let mut used = None;
        let asking = async {
            let live = self.live().await?;
            let live = used.insert(live);
            let answer = live.connection.send(request).await;
            answer.map_err(|error| self.trouble(error))
        };
        let outcome = timeout(self.timeout(), asking)
            .await
            .unwrap_or_else(|_| Err(Trouble::Slow(self.place(), self.timeout())));
        if let (Err(trouble), Some(live)) = (&outcome, used) {
            live.met(trouble, self.timeout());
        }
        outcome
    }

    /// A Cluster whose slots move faster than its client follows is no wrong address.
    fn trouble(&self, error: RedisError) -> Trouble {
        match (Trouble::from(error), &self.servers.url.place) {
            (Trouble::IsCluster(error), Place::Cluster { .. }) => Trouble::NotReady(error),
            (trouble, _) => trouble,
        }
    }

    async fn live(&self) -> Result<Live, Trouble> {
        // Held over the await, so that one connects and the others use it.
        let mut slot = self.live.lock().await;
        if let Some(live) = slot.as_ref().filter(|live| live.is_well()) {
            return Ok(live.clone());
        }
        *slot = None;
        let mut live = self.connect().await?;
        self.check_schema(&mut live.connection).await?;
        Ok(slot.insert(live).clone())
    }

    async fn connect(&self) -> Result<Live, Trouble> {
        let well = Arc::new(AtomicBool::new(true));
        let connection = match &self.servers.url.place {
            Place::One { address, database } => {
                let client = self.servers.client(address, *database, Credentials::Ours)?;
                Connection::One(self.servers.connect(&client, Arc::clone(&well)).await?)
            }
            Place::Sentinel { database, .. } => {
                let master = self.ask_sentinels().await?;
                let client = self.servers.client(&master, *database, Credentials::Ours)?;
                let mut connection = self.servers.connect(&client, Arc::clone(&well)).await?;
                is_master(&mut connection).await?;
                Connection::One(connection)
            }
            Place::Cluster { nodes } => {
                let client = self.servers.cluster(nodes)?;
                let connected = client.get_async_connection().await;
                let unreached = |error| Trouble::connecting_to(self.place(), error);
                Connection::Cluster(connected.map_err(unreached)?)
            }
        };
        Ok(Live {
            connection,
            well,
            since: Instant::now(),
        })
    }

    async fn check_schema(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let call = schema(&self.scripts);
        let there = connection.send(Request::Script(&call)).await;
        let there = there.map_err(|error| self.trouble(error))?;
        judge_schema(redis::from_redis_value(there)?)
    }

    /// The first answer of a Sentinel that knows.
    async fn ask_sentinels(&self) -> Result<Address, Trouble> {
        let Place::Sentinel { master, .. } = &self.servers.url.place else {
            return Err(Trouble::NoMaster);
        };
        let asked: Vec<BoxFuture<'_, _>> = self
            .sentinels
            .iter()
            .map(|sentinel| -> BoxFuture<'_, _> {
                Box::pin(sentinel.master(&self.servers, master))
            })
            .collect();
        Ok(select_ok(asked).await?.0)
    }
}

/// The call that answers with the version that wrote here, and shows that writes are taken.
pub(super) fn schema(scripts: &Scripts) -> Call<'_> {
    scripts.schema.on(SCHEMA).number(VERSION)
}

/// What the answer to [`schema`] means.
pub(super) fn judge_schema(version: u64) -> Result<(), Trouble> {
    if version > VERSION {
        return Err(Trouble::Newer);
    }
    Ok(())
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("url", &self.servers.url)
            .field("timeout", &self.servers.timeout)
            .finish_non_exhaustive()
    }
}

impl Live {
    fn is_well(&self) -> bool {
        self.well.load(Ordering::Acquire)
    }

    /// Decides whether others shall use the connection that brought this.
    fn met(&self, trouble: &Trouble, patience: Duration) {
        let rest = match self.connection {
            Connection::One(_) => Duration::ZERO,
            // A node that hangs is found to have lost its slots by asking the others anew.
            Connection::Cluster(_) => CLUSTER_REST.max(patience),
        };
        if trouble.is_of_connection() && self.since.elapsed() >= rest {
            self.well.store(false, Ordering::Release);
        }
    }
}

impl Connection {
    async fn send(&mut self, request: Request<'_>) -> RedisResult<Value> {
        match request {
            Request::Command(command) => self.command(command).await,
            Request::Script(call) => match self.command(&call.by_digest()).await {
                Err(error) if is_unseen(&error) => self.command(&call.written_out()).await,
                outcome => outcome,
            },
            Request::Node(address, command) => self.routed(command, route(address)).await,
            Request::NodeScript(at, call) => {
                match self.routed(&call.by_digest(), route(at)).await {
                    Err(error) if is_unseen(&error) => {
                        self.routed(&call.written_out(), route(at)).await
                    }
                    outcome => outcome,
                }
            }
            Request::AnyNode(command) => self.routed(command, SingleNodeRoutingInfo::Random).await,
        }
    }

    async fn command(&mut self, command: &Cmd) -> RedisResult<Value> {
        let value = match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        value?.extract_error()
    }

    async fn routed(&mut self, command: &Cmd, node: SingleNodeRoutingInfo) -> RedisResult<Value> {
        match self {
            Self::One(_) => self.command(command).await,
            Self::Cluster(connection) => {
                let route = RoutingInfo::SingleNode(node);
                let value = connection.route_command(command.clone(), route).await;
                value?.extract_error()
            }
        }
    }
}

/// Whether a server has not seen a script yet, or has been restarted since.
fn is_unseen(error: &RedisError) -> bool {
    error.kind() == ServerErrorKind::NoScript.into()
}

fn route(address: &Address) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::ByAddress {
        host: address.host.to_string(),
        port: address.port,
    }
}

async fn is_master(connection: &mut MultiplexedConnection) -> Result<(), Trouble> {
    let role = connection.req_packed_command(&redis::cmd("ROLE")).await;
    let role = role.and_then(Value::extract_error)?;
    let word = role.as_sequence().and_then(<[Value]>::first);
    match word {
        Some(Value::BulkString(word)) if word == b"master" => Ok(()),
        _ => Err(Trouble::NoMaster),
    }
}
