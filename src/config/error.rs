//! What is wrong with a configuration: every fault at once, each with its place and its remedy.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::oidc::TableName;
use crate::web::printable::{self, with_commas};

/// As many of one kind as somebody reads.
pub(super) const MOST: usize = 10;

/// A file of the configuration. They are told of in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    rank: usize,
    path: Arc<Path>,
}

impl Source {
    /// The file that all others are named by.
    pub(super) fn first(path: &Path) -> Self {
        Self::nth(0, path)
    }

    /// One that is read after `rank` others.
    pub(super) fn nth(rank: usize, path: &Path) -> Self {
        Self {
            rank,
            path: path.into(),
        }
    }

    /// One that this one names, told of beside it.
    pub(super) fn beside(&self, path: &Path) -> Self {
        Self::nth(self.rank, path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What relative paths in it start from.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display().to_string();
        f.write_str(&printable::on_one_line(&path))
    }
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Nowhere in particular: the file that is looked at, as a whole.
    Whole,
    /// In this file; both count from 1, columns in characters.
    File {
        /// The file.
        source: Source,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
}

impl Place {
    /// Whether it is in a file beside bff.toml, which others may write.
    pub(super) fn is_in_a_site(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.rank > 0)
    }
}

/// As a sentence names it; a file as a whole has been named.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("this file"),
            Self::File {
                source,
                line,
                column,
            } => write!(f, "{source}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// What a fault is told of, in the order of telling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// A file, and where in it.
    File(Source, Option<(usize, usize)>),
    /// A variable.
    Variable(String),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, None) => write!(f, "{file}"),
            Self::File(file, Some((line, column))) => write!(f, "{file}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong or unwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    at: At,
    /// The key's path, such as `session.idle_timeout`.
    key: String,
    /// What it is, continuing the key: `is not a duration`.
    what: String,
    /// What to write instead.
    remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// Why a configuration is refused: at least one fault, in the order of the files.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors {
    faults: BTreeSet<Fault>,
}

impl ConfigErrors {
    /// How many faults there are.
    pub fn count(&self) -> usize {
        self.faults.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(&self.faults, f)
    }
}

/// What works and is unwise all the same, in the order of the files.
#[derive(Debug, Default)]
pub struct Warnings {
    faults: BTreeSet<Fault>,
}

impl Warnings {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Writes them into the log, in its own form: whoever collects that reads nothing else.
    pub fn log(&self) {
        for fault in &self.faults {
            tracing::warn!(event = "config.warning", key = fault.key, "{fault}");
        }
    }
}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(&self.faults, f)
    }
}

fn write_lines(faults: &BTreeSet<Fault>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, fault) in faults.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        write!(f, "{fault}")?;
    }
    Ok(())
}

/// Collects what is found while reading, so that one fault hides no other.
#[derive(Debug)]
pub(super) struct Faults {
    /// The file that is looked at.
    source: Source,
    refused: BTreeSet<Fault>,
    warned: BTreeSet<Fault>,
    /// The paths of all keys that a configuration may have.
    every_key: fn() -> Vec<String>,
    /// Which of several providers is looked at.
    provider: TableName,
    /// What is read in place of something else, and what that is as written; the longest first.
    stand_ins: Vec<(String, String)>,
}

impl Faults {
    /// Nothing found yet in `source`.
    pub(super) fn of(source: Source) -> Self {
        Self {
            source,
            refused: BTreeSet::new(),
            warned: BTreeSet::new(),
            every_key: Vec::new,
            provider: TableName::default(),
            stand_ins: Vec::new(),
        }
    }

    /// From now on files are read that may have these keys.
    pub(super) fn expect_keys(&mut self, every_key: fn() -> Vec<String>) {
        self.every_key = every_key;
    }

    /// The paths of all keys that may stand somewhere.
    pub(super) fn every_key(&self) -> Vec<String> {
        (self.every_key)()
    }

    /// For what is said at another time already.
    pub(super) fn elsewhere(&self) -> Self {
        Self::of(self.source.clone())
    }

    /// What is to be [taken in](Self::take_in_some) afterwards.
    pub(super) fn apart(&self) -> Self {
        Self {
            source: self.source.clone(),
            refused: BTreeSet::new(),
            warned: BTreeSet::new(),
            every_key: self.every_key,
            provider: self.provider.clone(),
            stand_ins: self.stand_ins.clone(),
        }
    }

    /// What was noted apart counts as well.
    pub(super) fn take_in(&mut self, apart: Self) {
        self.refused.extend(apart.refused);
        self.warned.extend(apart.warned);
    }

    /// As [`take_in`](Self::take_in), but no more than somebody reads.
    pub(super) fn take_in_some(&mut self, apart: Self) {
        self.refused.extend(some_of(apart.refused));
        self.warned.extend(some_of(apart.warned));
    }

    /// `stand_in` is read in place of what is `written`, and nobody is to see it.
    pub(super) fn take_for_written(&mut self, stand_in: String, written: String) {
        self.stand_ins.push((stand_in, written));
        // One may be the end of another.
        self.stand_ins
            .sort_by_key(|(stand_in, _)| Reverse(stand_in.len()));
        self.stand_ins.dedup();
    }

    fn as_written(&self, said: String) -> String {
        let stand_ins = self.stand_ins.iter();
        stand_ins.fold(said, |said, (stand_in, written)| {
            if said.contains(stand_in.as_str()) {
                said.replace(stand_in, written)
            } else {
                said
            }
        })
    }

    /// From now on `source` is looked at.
    pub(super) fn turn_to(&mut self, source: &Source) {
        self.source = source.clone();
    }

    /// Looks at the provider that this table describes: what is found meanwhile of keys of `provider` is
    /// told of its own.
    pub(super) fn of_provider<T>(
        &mut self,
        table: &TableName,
        look: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = std::mem::replace(&mut self.provider, table.clone());
        let found = look(self);
        self.provider = before;
        found
    }

    /// Notes a fault: `key` at `place` `what`; `remedy`.
    pub(super) fn refuse(
        &mut self,
        place: &Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let fault = self.fault(place, key, &what.into(), &remedy.into());
        note(&mut self.refused, fault);
    }

    /// Notes something unwise in the same words.
    pub(super) fn warn(
        &mut self,
        place: &Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let fault = self.fault(place, key, &what.into(), &remedy.into());
        note(&mut self.warned, fault);
    }

    fn fault(&self, place: &Place, key: &str, what: &str, remedy: &str) -> Fault {
        let at = match place {
            Place::Whole => At::File(self.source.clone(), None),
            Place::File {
                source,
                line,
                column,
            } => At::File(source.clone(), Some((*line, *column))),
            Place::Variable(name) => At::Variable(name.clone()),
        };
        // A key may be any text, and so may a file's name.
        let tell = |said: String| printable::on_one_line(&said).into_owned();
        Fault {
            at,
            key: tell(self.provider.tell(key)),
            what: tell(self.as_written(self.provider.tell(what))),
            remedy: tell(self.as_written(self.provider.tell(remedy))),
        }
    }

    /// `value` with the warnings if no fault was noted, else all faults.
    ///
    /// `None` without a fault cannot happen where every `None` comes with its fault; it is
    /// reported as a fault of the file all the same.
    pub(super) fn conclude<T>(mut self, value: Option<T>) -> Result<(T, Warnings), ConfigErrors> {
        match value {
            Some(value) if self.refused.is_empty() => Ok((
                value,
                Warnings {
                    faults: self.warned,
                },
            )),
            _ => {
                if self.refused.is_empty() {
                    self.refuse(
                        &Place::Whole,
                        "",
                        "cannot be used, and no single key is at fault",
                        "compare it with the reference bff.toml",
                    );
                }
                Err(ConfigErrors {
                    faults: self.refused,
                })
            }
        }
    }
}

/// The first of many, and how many more there are.
fn some_of(faults: BTreeSet<Fault>) -> impl Iterator<Item = Fault> {
    let more = faults.len().saturating_sub(MOST);
    let mut rest = faults.iter().skip(MOST);
    let rest = rest.next().map(|first| Fault {
        at: first.at.clone(),
        key: String::new(),
        what: format!("and {} more after the {MOST} before", with_commas(more)),
        remedy: "mend those, and look again".to_owned(),
    });
    faults.into_iter().take(MOST).chain(rest)
}

/// Once for what stands in one place, however many inherit it.
fn note(faults: &mut BTreeSet<Fault>, fault: Fault) {
    let first = Fault {
        at: fault.at.clone(),
        key: String::new(),
        what: String::new(),
        remedy: String::new(),
    };
    let is_somewhere = matches!(fault.at, At::File(_, Some(_)));
    let mut there = faults
        .range(first..)
        .take_while(|known| known.at == fault.at);
    let is_same = |known: &Fault| known.what == fault.what && last(&known.key) == last(&fault.key);
    if !(is_somewhere && there.any(is_same)) {
        faults.insert(fault);
    }
}

/// The last part of a key's path: what stands on the line.
pub(super) fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
