//! What goes wrong with Redis: what heals by itself, and what somebody has to mend.

use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::url::RedisUrlError;
use crate::session::store::StoreError;

/// What went wrong, in a sentence for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The time that a call may take is over.
    #[error("{0}: no answer within {1:?}")]
    Slow(String, Duration),
    /// Nobody is there, or nobody who speaks with us just now.
    #[error("{at}: {error}")]
    Unreached {
        /// Where, as the operator knows it.
        at: String,
        /// What happened instead.
        #[source]
        error: RedisError,
    },
    /// The connection broke, or the server is not ready: it loads, it is a replica, its Cluster is
    /// finding itself.
    #[error("{0}")]
    NotReady(#[source] RedisError),
    /// Sentinel knows of a failover before the server does.
    #[error("the server that Sentinel names is no master")]
    NoMaster,
    /// The push channel broke.
    #[error("the push channel was cut")]
    Cut,
    /// The push channel leads to servers that are not the masters any more.
    #[error("other servers are masters now")]
    OtherMasters,
    /// Sessions of this subject begin and end too fast.
    #[error("the sessions of one subject change too fast to be counted")]
    Restless,
    /// Wrong credentials.
    #[error("wrong user or password in session.store_url")]
    Credentials(#[source] RedisError),
    /// The ACL is too narrow.
    #[error(
        "the Redis user in session.store_url lacks a permission ({}); ACL LOG says which",
        .0.detail().unwrap_or("no details")
    )]
    Permission(#[source] RedisError),
    /// `maxmemory`.
    #[error("Redis has reached its maxmemory; give it more")]
    Full(#[source] RedisError),
    /// `stop-writes-on-bgsave-error`.
    #[error("Redis takes no writes because it cannot save to disk; its log says why")]
    CannotSave(#[source] RedisError),
    /// TLS.
    #[error("the TLS certificate of Redis is not trusted; session.store_ca names its root: {0}")]
    Certificate(#[source] RedisError),
    /// No HELLO, no GETDEL.
    #[error("this Redis is too old; version 6.2 or later is needed, or Valkey")]
    Old,
    /// A Cluster behind `redis://`.
    #[error("this Redis is a Cluster; session.store_url has to begin with redis+cluster://")]
    IsCluster(#[source] RedisError),
    /// No Cluster behind `redis+cluster://`.
    #[error("this Redis is no Cluster; session.store_url has to begin with redis://")]
    IsNoCluster(#[source] RedisError),
    /// Another name than the Sentinels know.
    #[error("the Sentinels know no master named {0:?}")]
    UnknownMaster(Box<str>),
    /// The schema's version is not ours.
    #[error("the sessions in this Redis were written by a newer bff")]
    Newer,
    /// Another program's key, or a damaged one.
    #[error("a key of bff holds something that bff did not write")]
    NoRecord,
    /// `session.store_url`.
    #[error("session.store_url {0}")]
    Url(#[from] RedisUrlError),
    /// `session.store_ca`.
    #[error("session.store_ca, {}, {problem}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(#[source] RedisError),
}

impl Trouble {
    /// Whether it heals by itself.
    const fn heals(&self) -> bool {
        matches!(
            self,
            Self::Slow(..)
                | Self::Unreached { .. }
                | Self::NotReady(_)
                | Self::NoMaster
                | Self::Cut
                | Self::OtherMasters
                | Self::Restless
        )
    }

    /// What came of connecting to `place`.
    pub(super) fn connecting_to(place: String, error: RedisError) -> Self {
        match Self::from(error) {
            Self::NotReady(error) => Self::Unreached { at: place, error },
            trouble => trouble,
        }
    }

    /// Whether another connection may do better than the one that brought this.
    pub(super) const fn is_of_connection(&self) -> bool {
        self.heals() || matches!(self, Self::Credentials(_))
    }

    /// Whether a server asked for credentials.
    pub(super) fn asks_for_credentials(&self) -> bool {
        matches!(self, Self::Credentials(error) if error.code() == Some("NOAUTH"))
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        if trouble.heals() {
            Self::Away(Box::new(trouble))
        } else {
            Self::Unusable(Box::new(trouble))
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::Ask,
            ) => Self::NotReady(error),
            ErrorKind::Server(ServerErrorKind::Moved) => Self::IsCluster(error),
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::Permission(error),
            ErrorKind::RESP3NotSupported => Self::Old,
            // A Cluster's client has but the text of what its nodes said, so that is looked at.
            _ => said(error),
        }
    }
}

/// Where the kind of an error tells too little, its words do.
fn said(error: RedisError) -> Trouble {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["WRONGPASS", "NOAUTH"]) {
        Trouble::Credentials(error)
    } else if says(&[
        "NoPerm",
        "can't run this command",
        "can't access at least one of the keys",
        "can't publish to the channel",
    ]) {
        Trouble::Permission(error)
    } else if says(&["OOM", "maxmemory"]) {
        Trouble::Full(error)
    } else if says(&["MISCONF"]) {
        Trouble::CannotSave(error)
    } else if says(&["cluster support disabled"]) {
        Trouble::IsNoCluster(error)
    } else if says(&["invalid peer certificate"]) {
        Trouble::Certificate(error)
    } else if says(&["unknown command", "Unknown command"]) {
        Trouble::Old
    } else if says(&["max number of clients", "BUSY ", "NOREPLICAS", "LOADING"])
        || matches!(
            error.kind(),
            ErrorKind::Io
                | ErrorKind::Parse
                | ErrorKind::Client
                | ErrorKind::ClusterConnectionNotFound
        )
    {
        Trouble::NotReady(error)
    } else {
        Trouble::Other(error)
    }
}

impl From<redis::ParsingError> for Trouble {
    fn from(_: redis::ParsingError) -> Self {
        Self::NoRecord
    }
}
