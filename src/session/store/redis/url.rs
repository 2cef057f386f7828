//! `session.store_url` for Redis, read into a type: one server, Sentinel or Cluster, with TLS or
//! without. The password stays inside.

use std::fmt;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::secret::StoreUrl;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is and who we are to it. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) place: Place,
    pub(super) tls: bool,
    pub(super) user: Option<Box<str>>,
    pub(super) password: Option<Zeroizing<String>>,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// One server, for better or worse.
    One { address: Address, database: u16 },
    /// Sentinels, who know which server is the master just now.
    Sentinel {
        sentinels: Vec<Address>,
        master: Box<str>,
        database: u16,
    },
    /// Some nodes of a cluster; the others are heard of from them.
    Cluster { nodes: Vec<Address> },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, addresses) = match self {
            Self::One { address, .. } => ("Redis at", std::slice::from_ref(address)),
            Self::Sentinel { sentinels, .. } => ("the Sentinels at", &**sentinels),
            Self::Cluster { nodes } => ("the Redis Cluster at", &**nodes),
        };
        f.write_str(what)?;
        for (index, Address { host, port }) in addresses.iter().enumerate() {
            let between = if index == 0 { "" } else { "," };
            write!(f, "{between} {host}:{port}")?;
        }
        Ok(())
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// What is wrong with the address of a Redis. Repeats nothing of it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme, or none.
    #[error(
        "does not begin with redis://, rediss://, redis+sentinel://, rediss+sentinel://, \
         redis+cluster:// or rediss+cluster://"
    )]
    Scheme,
    /// No host, or an empty one in a list.
    #[error("names no host; write redis://host:6379")]
    Host,
    /// More than one host without a scheme for them.
    #[error(
        "names several hosts; write redis+cluster:// for a Cluster, redis+sentinel:// for Sentinel"
    )]
    SeveralHosts,
    /// No port number.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// No database number.
    #[error("has a database that is no number; write redis://host:6379/0")]
    Database,
    /// A database where there is but one.
    #[error("names a database, and a Cluster has none but 0; leave it out")]
    DatabaseOfCluster,
    /// Sentinel without the name of the master.
    #[error("does not name the master; write redis+sentinel://host:26379/mymaster")]
    Master,
    /// `?…` or `#…`.
    #[error(
        "has options behind ? or #, which are unknown here; a password writes them %3F and %23"
    )]
    Options,
    /// `%` and no two hex digits, or no UTF-8.
    #[error("has a user or password that is not percent-encoded UTF-8; write % as %25")]
    Encoding,
}

impl RedisUrl {
    /// Reads `session.store_url`.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn read(url: &StoreUrl) -> Result<Self, RedisUrlError> {
        Self::parse(url.expose())
    }

    /// Reads an address.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a sentence that goes on from `session.store_url`.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (tls, kind) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => (false, Kind::One),
            "rediss" => (true, Kind::One),
            "redis+sentinel" => (false, Kind::Sentinel),
            "rediss+sentinel" => (true, Kind::Sentinel),
            "redis+cluster" => (false, Kind::Cluster),
            "rediss+cluster" => (true, Kind::Cluster),
            _ => return Err(RedisUrlError::Scheme),
        };
        // The last one: a password that was not encoded may hold an `@`.
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        if place.contains(['?', '#']) {
            return Err(RedisUrlError::Options);
        }
        let (user, password) = credentials.map_or(Ok((None, None)), read_credentials)?;
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        Ok(Self {
            place: kind.read(hosts, path.trim_end_matches('/'))?,
            tls,
            user,
            password,
        })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl")
            .field("place", &self.place)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    One,
    Sentinel,
    Cluster,
}

impl Kind {
    fn read(self, hosts: &str, path: &str) -> Result<Place, RedisUrlError> {
        let port = match self {
            Self::Sentinel => SENTINEL_PORT,
            Self::One | Self::Cluster => REDIS_PORT,
        };
        let mut addresses = hosts
            .split(',')
            .map(|host| read_address(host, port))
            .collect::<Result<Vec<_>, _>>()?;
        match self {
            Self::One => {
                let address = addresses.pop().ok_or(RedisUrlError::Host)?;
                if !addresses.is_empty() {
                    return Err(RedisUrlError::SeveralHosts);
                }
                let database = read_database(path)?;
                Ok(Place::One { address, database })
            }
            Self::Sentinel => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(RedisUrlError::Master);
                }
                Ok(Place::Sentinel {
                    sentinels: addresses,
                    master: decode(master)?.as_str().into(),
                    database: read_database(database)?,
                })
            }
            Self::Cluster if matches!(path, "" | "0") => Ok(Place::Cluster { nodes: addresses }),
            Self::Cluster => Err(RedisUrlError::DatabaseOfCluster),
        }
    }
}

type Credentials = (Option<Box<str>>, Option<Zeroizing<String>>);

/// `user:password`, `:password`, or `user` alone, which is a user without a password.
fn read_credentials(text: &str) -> Result<Credentials, RedisUrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let user = Some(user).filter(|user| !user.is_empty());
    let password = Some(password).filter(|password| !password.is_empty());
    Ok((
        user.map(|user| Ok(decode(user)?.as_str().into()))
            .transpose()?,
        password.map(decode).transpose()?,
    ))
}

fn decode(text: &str) -> Result<Zeroizing<String>, RedisUrlError> {
    let escapes = text.split('%').skip(1);
    for escape in escapes {
        let digits = escape.as_bytes().get(..2).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(RedisUrlError::Encoding);
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| RedisUrlError::Encoding)?;
    Ok(Zeroizing::new(decoded.into_owned()))
}

fn read_address(text: &str, default_port: u16) -> Result<Address, RedisUrlError> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(RedisUrlError::Host)?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if host.is_empty() || host.chars().any(char::is_whitespace) {
        return Err(RedisUrlError::Host);
    }
    let port = match port {
        "" => default_port,
        digits => digits.parse().map_err(|_| RedisUrlError::Port)?,
    };
    if port == 0 {
        return Err(RedisUrlError::Port);
    }
    let host = host.into();
    Ok(Address { host, port })
}

fn read_database(text: &str) -> Result<u16, RedisUrlError> {
    match text {
        "" => Ok(0),
        digits => digits.parse().map_err(|_| RedisUrlError::Database),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        let host = host.into();
        Address { host, port }
    }

    #[test]
    fn each_form_is_read() {
        let cases = [
            (
                "redis://cache",
                Place::One {
                    address: address("cache", 6379),
                    database: 0,
                },
            ),
            (
                "redis://[::1]:7000/3",
                Place::One {
                    address: address("::1", 7000),
                    database: 3,
                },
            ),
            (
                "redis+sentinel://a,b:5000/mymaster/2",
                Place::Sentinel {
                    sentinels: vec![address("a", 26379), address("b", 5000)],
                    master: "mymaster".into(),
                    database: 2,
                },
            ),
            (
                "rediss+cluster://user:secret@a:1,b:2",
                Place::Cluster {
                    nodes: vec![address("a", 1), address("b", 2)],
                },
            ),
        ];
        for (text, place) in cases {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.place, place, "{text}");
            assert_eq!(url.tls, text.starts_with("rediss"), "{text}");
        }
    }

    #[test]
    fn credentials_are_read_kindly() {
        let cases = [
            ("redis://h", None, None),
            ("redis://:p%40ss@h", None, Some("p@ss")),
            ("redis://u:p@ss/w:o@h/1", Some("u"), Some("p@ss/w:o")),
            ("redis://u@h", Some("u"), None),
        ];
        for (text, user, password) in cases {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.user.as_deref(), user, "{text}");
            assert_eq!(
                url.password.as_ref().map(|password| password.as_str()),
                password,
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("cache:6379", RedisUrlError::Scheme),
            ("postgres://h", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Host),
            ("redis://u:p@/0", RedisUrlError::Host),
            ("redis://a,b", RedisUrlError::SeveralHosts),
            ("redis://a:0", RedisUrlError::Port),
            ("redis://a:port", RedisUrlError::Port),
            ("redis://a/b", RedisUrlError::Database),
            ("redis+cluster://a,b/1", RedisUrlError::DatabaseOfCluster),
            ("redis+cluster://a,,b", RedisUrlError::Host),
            ("redis+sentinel://a:26379", RedisUrlError::Master),
            ("redis://a?timeout=1", RedisUrlError::Options),
            ("redis://u:100%@a", RedisUrlError::Encoding),
            ("redis://u:%ff@a", RedisUrlError::Encoding),
        ];
        for (text, error) in cases {
            assert_eq!(RedisUrl::parse(text), Err(error), "{text}");
        }
    }

    /// G14: no `Debug` output shows a secret.
    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", RedisUrl::parse("redis://me:canary@h").unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
