//! How any server of Redis is reached: under which name, with which credentials, over which TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, TlsCertificates, TlsMode,
};

use super::trouble::Trouble;
use super::url::{Address, RedisUrl};

/// How any server is reached.
pub(super) struct Servers {
    pub(super) url: RedisUrl,
    certificates: Option<TlsCertificates>,
    pub(super) timeout: Duration,
}

/// Who we are to a server.
#[derive(Clone, Copy)]
pub(super) enum Credentials {
    /// Nobody.
    None,
    /// Those in the address.
    Ours,
}

impl Servers {
    pub(super) const fn new(
        url: RedisUrl,
        certificates: Option<TlsCertificates>,
        timeout: Duration,
    ) -> Self {
        Self {
            url,
            certificates,
            timeout,
        }
    }

    /// Whether there are any credentials.
    pub(super) const fn has_credentials(&self) -> bool {
        self.url.user.is_some() || self.url.password.is_some()
    }

    pub(super) fn client(
        &self,
        address: &Address,
        database: u16,
        credentials: Credentials,
    ) -> Result<Client, Trouble> {
        let info = self.info(address, database, credentials)?;
        Ok(match &self.certificates {
            Some(certificates) if self.url.tls => {
                Client::build_with_tls(info, certificates.clone())?
            }
            _ => Client::open(info)?,
        })
    }

    /// A connection that says `false` in `well` once it broke.
    pub(super) async fn connect(
        &self,
        client: &Client,
        well: Arc<AtomicBool>,
    ) -> Result<MultiplexedConnection, Trouble> {
        let watch = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                well.store(false, Ordering::Release);
            }
            Ok::<(), std::convert::Infallible>(())
        };
        // Every call has its deadline around all that it does.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None)
            .set_push_sender(watch);
        let place = || format!("Redis at {}", client.get_connection_info().addr());
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| Trouble::connecting_to(place(), error))
    }

    /// Those that are named, as the operator knows them.
    pub(super) fn place(&self) -> String {
        self.url.place.to_string()
    }

    /// The client of a Cluster that is found by any of these nodes.
    pub(super) fn cluster(&self, nodes: &[Address]) -> Result<ClusterClient, Trouble> {
        let infos = nodes
            .iter()
            .map(|node| self.info(node, 0, Credentials::Ours))
            .collect::<Result<Vec<_>, _>>()?;
        let mut builder = ClusterClientBuilder::new(infos)
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(self.tcp())
            // A node that hangs holds up the others no longer than this.
            .connection_timeout(self.timeout / 4)
            .response_timeout(self.timeout)
            .overall_response_timeout(None)
            .retries(3)
            .min_retry_wait(10)
            .max_retry_wait(200);
        if self.url.tls {
            builder = builder.tls(TlsMode::Secure);
            if let Some(certificates) = &self.certificates {
                builder = builder.certs(certificates.clone());
            }
        }
        Ok(builder.build()?)
    }

    fn info(
        &self,
        address: &Address,
        database: u16,
        credentials: Credentials,
    ) -> Result<ConnectionInfo, Trouble> {
        let host = address.host.to_string();
        let addr = if self.url.tls {
            ConnectionAddr::TcpTls {
                host,
                port: address.port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, address.port)
        };
        // RESP3 tells of a broken connection before the next call meets it.
        let mut redis = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(database.into());
        if matches!(credentials, Credentials::Ours) && self.has_credentials() {
            if let Some(user) = &self.url.user {
                redis = redis.set_username(user);
            }
            let password = self.url.password.as_ref();
            redis = redis.set_password(password.map_or("", |password| password.as_str()));
        }
        Ok(addr
            .into_connection_info()?
            .set_redis_settings(redis)
            .set_tcp_settings(self.tcp()))
    }

    fn tcp(&self) -> TcpSettings {
        let settings = TcpSettings::default().set_nodelay(true);
        // A network that swallows packets breaks the connection, rather than every call on it.
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(self.timeout * 2);
        settings
    }
}
