//! How a file that a configuration names is read: a regular one alone, and so much of it. What is none
//! (a pipe, a device) may have no end, or hold up for ever whoever opens it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The largest secret, key, certificate or list of roots that is taken, in bytes.
pub const LARGEST_SECRET: u64 = 1024 * KIB;

/// The largest file of a configuration that is taken, in bytes: tens of thousands of tenants fit in.
pub const LARGEST_CONFIGURATION: u64 = 64 * 1024 * KIB;

const KIB: u64 = 1024;

/// What is in the file at `path`, which links may lead to. Blocking.
///
/// # Errors
///
/// What the operating system said; or that it is no regular file, or has more than `at_most` bytes.
pub fn read(path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
    // Before it is opened too, since that alone does something to some devices.
    judge(&fs::metadata(path)?, at_most)?;
    let file = open_at_once(path)?;
    let found = file.metadata()?;
    judge(&found, at_most)?;
    // All at once, so that no copy of a secret is left behind where more room was made.
    let room = usize::try_from(found.len()).unwrap_or_default();
    let mut all = Vec::with_capacity(room.saturating_add(1));
    // Files that the kernel makes up say that they are empty, and others grow meanwhile.
    file.take(at_most.saturating_add(1)).read_to_end(&mut all)?;
    judge_length(all.len() as u64, at_most)?;
    Ok(all)
}

/// The text in the file at `path`, in UTF-8. Blocking.
///
/// # Errors
///
/// As [`read`]; or that it is no such text.
pub fn read_text(path: &Path, at_most: u64) -> io::Result<String> {
    String::from_utf8(read(path, at_most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// Should a pipe have come in its place, this waits for nobody who writes to it.
fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn judge(found: &Metadata, at_most: u64) -> io::Result<()> {
    if found.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    judge_length(found.len(), at_most)
}

fn judge_length(bytes: u64, at_most: u64) -> io::Result<()> {
    if bytes <= at_most {
        return Ok(());
    }
    let kib = at_most / KIB;
    Err(io::Error::other(match kib / KIB {
        0 => format!("it has more than {kib} KiB"),
        mib => format!("it has more than {mib} MiB"),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    /// What is no regular file is refused, and nobody waits for it: reading such a one had no end.
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let link = folder.path().join("link");
        symlink(&pipe, &link).unwrap();
        for path in [&*pipe, &*link, Path::new("/dev/zero")] {
            let fault = read(path, KIB).unwrap_err().to_string();
            assert_eq!(fault, "it is no regular file", "{}", path.display());
        }
        let fault = read(folder.path(), KIB).unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::IsADirectory);
        // It came after the first look.
        assert!(!open_at_once(&pipe).unwrap().metadata().unwrap().is_file());
    }

    /// So much is read and no more, of files that do not say how long they are too.
    #[test]
    fn so_much_is_read_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "a".repeat(1024)).unwrap();
        assert_eq!(read(&path, KIB).unwrap().len(), 1024);
        fs::write(&path, "a".repeat(1025)).unwrap();
        let fault = |path: &Path, at_most| read(path, at_most).unwrap_err().to_string();
        assert_eq!(fault(&path, KIB), "it has more than 1 KiB");
        // Where it would have no room, were it read.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(fault(&path, LARGEST_SECRET), "it has more than 1 MiB");
        let made_up = Path::new("/proc/self/status");
        if made_up.exists() {
            assert_eq!(fault(made_up, 10), "it has more than 0 KiB");
            assert!(read_text(made_up, LARGEST_SECRET).unwrap().len() > 10);
        }
    }

    /// Orchestrators lay a link to a link where a secret is to be.
    #[test]
    fn links_lead_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("..2026")).unwrap();
        fs::write(at("..2026/secret"), "s3cret\n").unwrap();
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/secret", at("secret")).unwrap();
        assert_eq!(read_text(&at("secret"), KIB).unwrap(), "s3cret\n");
        fs::write(at("latin"), b"caf\xe9").unwrap();
        let fault = read_text(&at("latin"), KIB).unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::InvalidData);
    }
}
