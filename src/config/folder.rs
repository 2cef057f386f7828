//! The folder that the paths of a configuration start from, and which files it names for bff alone.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::reader::Written;

/// The folder of the configuration's file.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    path: &'a Path,
    /// In the order in which they were asked for.
    private: RefCell<Vec<Private>>,
}

/// A file that nobody but bff has business with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Private {
    /// What it is: the key that names it.
    what: String,
    path: PathBuf,
}

impl<'a> Folder<'a> {
    /// The one that `file`, a configuration, lies in.
    pub(super) fn of(file: &'a Path) -> Self {
        let configuration = Private {
            what: "the configuration".to_owned(),
            path: file.to_owned(),
        };
        Self {
            path: file.parent().unwrap_or(Path::new("")),
            private: RefCell::new(vec![configuration]),
        }
    }

    /// Where what is meant for everybody lies.
    pub(super) fn public(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    /// Where what `written` names for bff alone lies: a key, a secret, a store.
    pub(super) fn private<T>(&self, written: &Written<T>, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path.join(path);
        self.private.borrow_mut().push(Private {
            what: written.key.clone(),
            path: path.clone(),
        });
        path
    }

    /// What of all that was named for bff alone so far lies below `dir`, links followed.
    pub(super) fn private_below(&self, dir: &Path) -> Vec<Private> {
        let Ok(dir) = dir.canonicalize() else {
            return Vec::new();
        };
        let mut below = self.private.borrow().clone();
        below.retain(|file| real(&file.path).is_ok_and(|path| path.starts_with(&dir)));
        below
    }
}

/// A path without links; of a file that is still to be made, its folder's.
fn real(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().or_else(|error| {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(error);
        };
        let here = folder.as_os_str().is_empty();
        let folder = if here { Path::new(".") } else { folder };
        Ok(folder.canonicalize()?.join(name))
    })
}

impl fmt::Display for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.path.display())
    }
}
