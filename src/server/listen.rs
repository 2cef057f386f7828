//! Where a listener is: an IP address and port, or a socket file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a listener is.
#[derive(Clone, PartialEq, Eq)]
pub enum Listen {
    /// On an IP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// In a socket file, which proxies on this machine connect to.
    Unix(PathBuf),
}

impl Listen {
    /// The address, where it is one.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The socket file, where it is one.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// What helps where it cannot be listened on, in parentheses.
    pub(super) fn remedy(&self, error: &io::Error) -> &'static str {
        match (self, error.kind()) {
            (Self::Tcp(_), io::ErrorKind::AddrNotAvailable) => {
                " (it is no address of this machine; write one that is, or 0.0.0.0 for all that it has)"
            }
            (Self::Tcp(_), io::ErrorKind::PermissionDenied) => {
                " (ports below 1024 take a permission; write one above, or give the process CAP_NET_BIND_SERVICE)"
            }
            (Self::Unix(_), io::ErrorKind::NotFound) => {
                " (its folder is not there; make it, as RuntimeDirectory= in systemd does)"
            }
            (Self::Unix(_), io::ErrorKind::PermissionDenied) => {
                " (its folder is not this user's to write to)"
            }
            (Self::Unix(_), io::ErrorKind::AlreadyExists) => {
                " (what is there is no socket; move it away, or write another path)"
            }
            (Self::Unix(_), io::ErrorKind::InvalidInput) => {
                " (its path may have about 100 characters)"
            }
            _ => "",
        }
    }
}

/// As it stands in bff.toml.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}
