//! Text files packed on the way out, each once, and remembered: for builds that leave no `.gz`
//! beside them. Blocking.
//!
//! What is remembered has a bound. What finds no room in it is sent as it is and never packed
//! again and again, so that nobody keeps us busy by asking.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;

/// Below, an answer is one packet in any case; above, packing takes too long for whoever waits.
const SIZES: RangeInclusive<u64> = 1024..=8 * 1024 * 1024;
/// What is remembered, of all files together.
const MOST: u64 = 32 * 1024 * 1024;
/// What remembering one takes at least, even that it is not worth it.
const LEAST: u64 = 1024;
/// How often room is looked for in what the folder no longer has.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// A file as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct State<'a> {
    /// Where it really lies.
    pub(super) path: &'a Path,
    /// What changes with what it holds.
    pub(super) etag: &'a str,
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
}

/// The packed files.
#[derive(Debug)]
pub(super) struct Packed {
    kept: Mutex<Kept>,
    most: u64,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<PathBuf, File>,
    bytes: u64,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct File {
    etag: String,
    plain: u64,
    modified: Option<SystemTime>,
    /// Filled by the first who asks; `None` in it where packing does not make it smaller.
    packed: Arc<OnceLock<Option<Bytes>>>,
    room: u64,
}

impl Default for Packed {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Packed {
    fn with_room(most: u64) -> Self {
        Self {
            kept: Mutex::default(),
            most,
        }
    }

    /// The file in gzip, `None` where it is better sent as it is. `read` gives what it holds, and is
    /// called where it was not packed yet; whoever asks meanwhile waits for the first.
    pub(super) fn gzip(
        &self,
        file: State<'_>,
        read: impl FnOnce() -> io::Result<Bytes>,
    ) -> io::Result<Option<Bytes>> {
        if !SIZES.contains(&file.bytes) {
            return Ok(None);
        }
        let Some(slot) = self.slot(file) else {
            return Ok(None);
        };
        if let Some(packed) = slot.get() {
            return Ok(packed.clone());
        }
        let plain = read()?;
        if plain.len() as u64 != file.bytes {
            // It changes under our hands; the next request finds what has become of it.
            return Ok(None);
        }
        let packed = slot.get_or_init(|| pack(&plain)).clone();
        self.settle(file, packed.as_ref());
        Ok(packed)
    }

    /// Where the packed file is, or will be; `None` where there is no room for another.
    fn slot(&self, file: State<'_>) -> Option<Arc<OnceLock<Option<Bytes>>>> {
        let mut kept = self.lock();
        if let Some(known) = kept.files.get(file.path)
            && known.etag == file.etag
        {
            return Some(Arc::clone(&known.packed));
        }
        kept.forget(file.path);
        if kept.bytes + file.bytes > self.most {
            kept.sweep();
        }
        if kept.bytes + file.bytes > self.most {
            return None;
        }
        let packed = Arc::default();
        kept.bytes += file.bytes;
        kept.files.insert(
            file.path.to_owned(),
            File {
                etag: file.etag.to_owned(),
                plain: file.bytes,
                modified: file.modified,
                packed: Arc::clone(&packed),
                // Until it is known how much it takes.
                room: file.bytes,
            },
        );
        Some(packed)
    }

    /// Gives back the room that the packed file does not need.
    fn settle(&self, file: State<'_>, packed: Option<&Bytes>) {
        let mut kept = self.lock();
        let needed = packed.map_or(0, |packed| packed.len() as u64).max(LEAST);
        if let Some(known) = kept.files.get_mut(file.path)
            && known.etag == file.etag
        {
            let reserved = std::mem::replace(&mut known.room, needed);
            kept.bytes = kept.bytes - reserved + needed;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, path: &Path) {
        if let Some(file) = self.files.remove(path) {
            self.bytes -= file.room;
        }
    }

    /// Forgets what the folder no longer has: the last build's files, under other names than this
    /// one's.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self
            .swept
            .is_some_and(|swept| now.duration_since(swept) < SWEEP_INTERVAL)
        {
            return;
        }
        self.swept = Some(now);
        self.files.retain(|path, file| {
            path.metadata().is_ok_and(|found| {
                found.len() == file.plain && found.modified().ok() == file.modified
            })
        });
        self.bytes = self.files.values().map(|file| file.room).sum();
    }
}

/// `None` where it is hardly smaller: then the browser's work is for nothing.
fn pack(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).ok()?;
    let packed = encoder.finish().ok()?;
    let worth_it = packed.len() < plain.len() - plain.len() / 10;
    worth_it.then(|| packed.into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;

    fn file<'a>(path: &'a Path, etag: &'a str) -> State<'a> {
        let found = path.metadata().unwrap();
        State {
            path,
            etag,
            bytes: found.len(),
            modified: found.modified().ok(),
        }
    }

    fn hash(of: &[u8]) -> Vec<u8> {
        digest(&SHA256, of).as_ref().to_vec()
    }

    /// A file is packed once, and again when it has changed.
    #[test]
    fn each_state_of_a_file_is_packed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.js");
        fs::write(&path, "a".repeat(5_000)).unwrap();
        let packed = Packed::default();
        let reads = Cell::new(0);
        let ask = |etag: &str| {
            let gzip = packed.gzip(file(&path, etag), || {
                reads.set(reads.get() + 1);
                Ok(Bytes::from("a".repeat(5_000)))
            });
            gzip.unwrap().unwrap().len()
        };
        let size = ask("1");
        assert!(size < 100, "{size}");
        assert_eq!((ask("1"), reads.get()), (size, 1));
        assert_eq!((ask("2"), reads.get()), (size, 2));
        assert_eq!(packed.lock().files.len(), 1);
        assert_eq!(packed.lock().bytes, LEAST, "no more than it needs");
    }

    /// What packing does not make smaller, and what is too small or too large, is sent as it is.
    #[test]
    fn only_what_gets_smaller_is_packed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.js");
        let noise: Vec<u8> = (0..64_u8).flat_map(|at| hash(&[at])).collect();
        for (content, expected) in [
            (noise, false),
            (b"a".repeat(1_023), false),
            (b"a".repeat(1_024), true),
            (b"a".repeat(9 * 1024 * 1024), false),
        ] {
            fs::write(&path, &content).unwrap();
            let packed = Packed::default();
            let length = content.len();
            let gzip = packed.gzip(file(&path, "1"), || Ok(content.into()));
            assert_eq!(gzip.unwrap().is_some(), expected, "{length}");
        }
    }

    /// What is remembered is bounded, nothing is packed in turns for want of room, and what the folder
    /// no longer has makes room.
    #[test]
    fn what_is_remembered_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let content = Bytes::from("a".repeat(4_000));
        let packed = Packed::with_room(3 * LEAST + 3_000);
        let ask = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, &content).unwrap();
            let gzip = packed.gzip(file(&path, "1"), || Ok(content.clone()));
            gzip.unwrap().is_some()
        };
        let all = ["a.js", "b.js", "c.js", "d.js"];
        assert_eq!(all.map(ask), [true, true, true, false]);
        assert_eq!(packed.lock().bytes, 3 * LEAST);
        fs::remove_file(dir.path().join("a.js")).unwrap();
        assert!(!ask("d.js"), "room was looked for a moment ago");
        packed.lock().swept = None;
        assert!(ask("d.js"));
        assert_eq!(packed.lock().bytes, 3 * LEAST);
    }
}
