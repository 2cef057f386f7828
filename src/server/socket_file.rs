//! A socket file: made for proxies on this machine, and taken away when the listener ends.
//!
//! User and group of the process may connect, nobody else: who may is trusted like a proxy.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};

/// Reading and writing, which is what connecting takes, for user and group.
const MODE: u32 = 0o660;

/// The file of a listener that runs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SocketFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Device and inode, by which a successor's file is told from ours.
    made: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`. What a process that is gone left there gives way.
    pub(super) fn bind(path: &Path, backlog: i32) -> io::Result<(Self, UnixListener)> {
        clear(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before anybody can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        socket.listen(backlog)?;
        let file = Self(Arc::new(Inner {
            path: path.to_owned(),
            made: identity(path)?,
        }));
        Ok((file, socket.into()))
    }

    /// Lets nobody more find it; whoever has connected is still to be accepted.
    pub(super) fn remove(&self) {
        let Inner { path, made } = &*self.0;
        if identity(path).is_ok_and(|found| found == *made) {
            // Somebody else may have taken it away, which is as good.
            drop(fs::remove_file(path));
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Removes a socket file that nobody listens at; anything else stays.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}
