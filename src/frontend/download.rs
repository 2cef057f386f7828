//! A large file on its way to a browser, a chunk at a time.
//!
//! A stream that stands still may hold no descriptor, or a few connections of a stranger would use up
//! all that the process may have. A few keep their file open, so that a new build cuts no download off;
//! the others open it for each chunk, and break off where it is another file by then.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::web::body::Body;

/// What a stream reads at a time, and holds where its browser reads nothing: a frame's worth.
const CHUNK: usize = 16 * 1024;

/// How many files of the app may be open at once; cheap to clone.
#[derive(Debug, Clone)]
pub struct FileRoom {
    /// For as long as it takes to look one up, or to read a chunk.
    briefly: Arc<Semaphore>,
    /// For as long as a browser takes.
    for_long: Arc<Semaphore>,
}

impl FileRoom {
    /// Room for so many, half of them for as long as a download lasts.
    pub fn new(most: usize) -> Self {
        let for_long = most / 2;
        Self {
            briefly: Arc::new(Semaphore::new((most - for_long).max(1))),
            for_long: Arc::new(Semaphore::new(for_long)),
        }
    }

    /// The right to have one open for a moment; each comes in turn.
    pub(super) async fn briefly(&self) -> io::Result<OwnedSemaphorePermit> {
        let briefly = Arc::clone(&self.briefly);
        briefly.acquire_owned().await.map_err(io::Error::other)
    }

    fn for_long(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.for_long).try_acquire_owned().ok()
    }
}

/// A file in the state in which it was found.
#[derive(Debug)]
pub(super) struct Named {
    path: PathBuf,
    state: State,
}

/// What tells whether a file is still the same.
#[derive(Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl State {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

impl Named {
    pub(super) fn new(path: &Path, found: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            state: State::of(found),
        }
    }

    /// All of it. Blocking.
    pub(super) fn read(&self) -> io::Result<Bytes> {
        let mut all = vec![0; usize::try_from(self.state.bytes).unwrap_or(usize::MAX)];
        self.open()?.read_exact_at(&mut all, 0)?;
        Ok(all.into())
    }

    /// The same file again. Blocking.
    fn open(&self) -> io::Result<File> {
        // Before it is opened, since it may have become a pipe, where that would wait.
        self.is_still(&fs::metadata(&self.path)?)?;
        let file = File::open(&self.path)?;
        self.is_still(&file.metadata()?)?;
        Ok(file)
    }

    fn is_still(&self, found: &Metadata) -> io::Result<()> {
        if State::of(found) == self.state {
            Ok(())
        } else {
            Err(io::Error::other("the file has changed since it was found"))
        }
    }
}

/// One file on its way.
struct Download {
    file: Named,
    room: FileRoom,
    kept: Option<(File, OwnedSemaphorePermit)>,
    at: u64,
    left: u64,
}

/// The part of `file` that begins at `start`.
pub(super) fn body(file: Named, room: FileRoom, start: u64, length: u64) -> Body {
    let download = Download {
        file,
        room,
        kept: None,
        at: start,
        left: length,
    };
    let chunks = stream::try_unfold(download, Download::next);
    Body::stream(StreamBody::new(chunks.map_ok(Frame::data)))
}

impl Download {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let turn = match &self.kept {
            Some(_) => None,
            None => Some(self.room.briefly().await?),
        };
        let read = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let chunk = self.read()?;
            drop(turn);
            Ok(Some((chunk, self)))
        });
        read.await.map_err(io::Error::other)?
    }

    fn read(&mut self) -> io::Result<Bytes> {
        if self.kept.is_none()
            && let Some(room) = self.room.for_long()
        {
            self.kept = Some((self.file.open()?, room));
        }
        let mut chunk = vec![0; usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK)];
        match &self.kept {
            Some((file, _)) => file.read_exact_at(&mut chunk, self.at)?,
            None => self.file.open()?.read_exact_at(&mut chunk, self.at)?,
        }
        self.at += chunk.len() as u64;
        self.left -= chunk.len() as u64;
        Ok(chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const SIZE: usize = 5 * CHUNK;

    fn large() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let content: Vec<u8> = (0..SIZE)
            .map(|at| u8::try_from(at / 1000).unwrap())
            .collect();
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    fn download(path: &Path, room: &FileRoom) -> Body {
        let named = Named::new(path, &path.metadata().unwrap());
        body(named, room.clone(), 0, SIZE as u64)
    }

    /// Files of this name that the process has open.
    fn open(path: &Path) -> usize {
        let all = fs::read_dir("/proc/self/fd").unwrap();
        all.filter_map(|one| fs::read_link(one.ok()?.path()).ok())
            .filter(|one| one == path)
            .count()
    }

    /// However many stand still, so many are open and no more; all of them end well.
    #[tokio::test]
    async fn a_download_that_stands_still_holds_no_descriptor() {
        let (_dir, path) = large();
        let room = FileRoom::new(4);
        let mut downloads: Vec<Body> = (0..20).map(|_| download(&path, &room)).collect();
        for one in &mut downloads {
            let first = one.frame().await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap().len(), CHUNK);
        }
        assert_eq!(open(&path), 2);
        let expected = fs::read(&path).unwrap();
        for one in downloads {
            let rest = one.collect().await.unwrap().to_bytes();
            assert_eq!(rest, expected[CHUNK..]);
        }
        assert_eq!(open(&path), 0);
    }

    /// A new build cuts off no download that keeps its file open, and lets no other go on with the
    /// bytes of another file.
    #[tokio::test]
    async fn a_changed_file_is_never_mixed_with_what_it_was() {
        let (dir, path) = large();
        let expected = fs::read(&path).unwrap();
        let room = FileRoom::new(2);
        let (mut kept, mut named) = (download(&path, &room), download(&path, &room));
        for one in [&mut kept, &mut named] {
            one.frame().await.unwrap().unwrap();
        }
        let new = dir.path().join("new");
        fs::write(&new, vec![0; SIZE]).unwrap();
        fs::rename(&new, &path).unwrap();
        let rest = kept.collect().await.unwrap().to_bytes();
        assert_eq!(rest, expected[CHUNK..]);
        assert!(named.frame().await.unwrap().is_err());
    }
}
