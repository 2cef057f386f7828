//! What is wrong with a configuration: every fault at once, each with its place and its remedy.

use std::collections::BTreeSet;
use std::fmt;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Nowhere in particular: the file as a whole.
    Whole,
    /// In the file; both count from 1, columns in characters.
    File {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
}

/// One thing that is wrong or unwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    place: Place,
    /// The key's path, such as `session.idle_timeout`.
    key: String,
    /// What it is, continuing the key: `is not a duration`.
    what: String,
    /// What to write instead.
    remedy: String,
}

impl Fault {
    fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Whole => write!(f, "{file}: ")?,
            Place::File { line, column } => write!(f, "{file}:{line}:{column}: ")?,
            Place::Variable(name) => write!(f, "{name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// Why a configuration is refused: at least one fault, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors {
    file: String,
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
        write_lines(&self.file, &self.faults, f)
    }
}

/// What works and is unwise all the same, in the order of the file.
#[derive(Debug, Default)]
pub struct Warnings {
    file: String,
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
            let sentence = fmt::from_fn(|f| fault.write(&self.file, f));
            tracing::warn!(event = "config.warning", key = fault.key, "{sentence}");
        }
    }
}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(&self.file, &self.faults, f)
    }
}

fn write_lines(file: &str, faults: &BTreeSet<Fault>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, fault) in faults.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        fault.write(file, f)?;
    }
    Ok(())
}

/// Collects what is found while reading, so that one fault hides no other.
#[derive(Debug)]
pub(super) struct Faults {
    file: String,
    refused: BTreeSet<Fault>,
    warned: BTreeSet<Fault>,
    /// The paths of all keys that a configuration may have.
    every_key: fn() -> Vec<String>,
}

impl Faults {
    /// Nothing found yet in `file`.
    pub(super) fn of(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            refused: BTreeSet::new(),
            warned: BTreeSet::new(),
            every_key: Vec::new,
        }
    }

    /// The same, for a file whose keys are to be read.
    pub(super) fn with_keys(self, every_key: fn() -> Vec<String>) -> Self {
        Self { every_key, ..self }
    }

    /// The paths of all keys that may stand somewhere.
    pub(super) fn every_key(&self) -> Vec<String> {
        (self.every_key)()
    }

    /// Notes a fault: `key` at `place` `what`; `remedy`.
    pub(super) fn refuse(
        &mut self,
        place: &Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.refused.insert(fault(place, key, what, remedy));
    }

    /// Notes something unwise in the same words.
    pub(super) fn warn(
        &mut self,
        place: &Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.warned.insert(fault(place, key, what, remedy));
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
                    file: self.file,
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
                    file: self.file,
                    faults: self.refused,
                })
            }
        }
    }
}

fn fault(place: &Place, key: &str, what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault {
        place: place.clone(),
        key: key.to_owned(),
        what: what.into(),
        remedy: remedy.into(),
    }
}
