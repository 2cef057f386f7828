//! The folders that the paths of a configuration start from, and which files it names for bff alone.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::error::{Place, Source};
use crate::config::reader::Written;

/// Where the files of a configuration lie that it names.
#[derive(Debug)]
pub(super) struct Folder {
    /// Of bff.toml.
    path: PathBuf,
    /// In the order in which they were asked for.
    private: RefCell<Vec<Private>>,
    /// Whose content is a part of what was configured.
    counted: RefCell<BTreeSet<PathBuf>>,
}

/// A file that nobody but bff has business with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Private {
    /// What it is: the key that names it.
    what: String,
    path: PathBuf,
}

impl Folder {
    /// The one that `file`, a configuration, lies in.
    pub(super) fn of(file: &Source) -> Self {
        let folder = Self {
            path: file.folder().to_owned(),
            private: RefCell::default(),
            counted: RefCell::default(),
        };
        folder.keep_private(file);
        folder
    }

    /// Another file of the configuration is for bff alone too.
    pub(super) fn keep_private(&self, file: &Source) {
        self.private.borrow_mut().push(Private {
            what: "the configuration".to_owned(),
            path: file.path().to_owned(),
        });
    }

    /// Where what `written` names for everybody lies. A path starts from the folder of the file that it
    /// stands in; that of a variable, from bff.toml's.
    pub(super) fn public<T>(&self, written: &Written<T>, path: impl AsRef<Path>) -> PathBuf {
        match &written.place {
            Place::File { source, .. } => source.folder().join(path),
            Place::Whole | Place::Variable(_) => self.path.join(path),
        }
    }

    /// Where what `written` names for bff alone lies: a key, a secret, a store.
    pub(super) fn private<T>(&self, written: &Written<T>, path: impl AsRef<Path>) -> PathBuf {
        let path = self.public(written, path);
        let private = Private {
            what: written.key.clone(),
            path: path.clone(),
        };
        let mut known = self.private.borrow_mut();
        // Sites inherit what is written once.
        if !known.contains(&private) {
            known.push(private);
        }
        path
    }

    /// The content of this file counts as what was configured.
    pub(super) fn count(&self, path: &Path) {
        self.counted.borrow_mut().insert(path.to_owned());
    }

    /// All whose content counts.
    pub(super) fn into_counted(self) -> BTreeSet<PathBuf> {
        self.counted.into_inner()
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
