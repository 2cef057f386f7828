//! Where a secret comes from: `env:NAME`, `file:/path`, or, with a warning, the text itself.

use std::fmt;
use std::path::PathBuf;

use serde_json::json;
use zeroize::Zeroizing;

use crate::config::document::{Node, Value, Variables};
use crate::config::error::Faults;
use crate::config::folder::Folder;
use crate::config::reader::{Read, Written, text};
use crate::config::tenants::placeholders::is_of_nobody;
use crate::web::regular_file::{self, LARGEST_SECRET};

/// What is written in a secret's place.
#[derive(Clone)]
pub(super) enum SecretSource {
    /// In this environment variable.
    Variable(String),
    /// In this file.
    File(String),
    /// Right here.
    Literal(Zeroizing<String>),
}

/// Where a key of `session.keys` comes from, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// An environment variable.
    Variable(String),
    /// A file.
    File(String),
    /// It is written out.
    Literal,
}

impl SecretSource {
    /// Where it is, without what is there.
    pub(super) fn place(&self) -> KeyPlace {
        match self {
            Self::Variable(name) => KeyPlace::Variable(name.clone()),
            Self::File(path) => KeyPlace::File(path.clone()),
            Self::Literal(_) => KeyPlace::Literal,
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Literal(_) => f.write_str("(written out)"),
        }
    }
}

impl Read for SecretSource {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "a secret", "\"env:NAME\"", faults)?;
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        match kind {
            "env" | "file" if rest.trim().is_empty() => {
                faults.refuse(
                    &node.place,
                    key,
                    format!("names nothing after {kind}:"),
                    "write \"env:NAME\" or \"file:/run/secrets/name\"",
                );
                None
            }
            "env" => Some(Self::Variable(rest.to_owned())),
            "file" => Some(Self::File(rest.to_owned())),
            _ if text.trim().is_empty() => {
                faults.refuse(
                    &node.place,
                    key,
                    "is empty",
                    "write \"env:NAME\" or \"file:/run/secrets/name\"",
                );
                None
            }
            _ => {
                // A variable that overrides the key is no worse than one that `env:` names.
                if matches!(node.value, Value::Text(_)) {
                    faults.warn(
                        &node.place,
                        key,
                        "is a secret that everyone who reads this file can see",
                        "write \"env:NAME\" or \"file:/run/secrets/name\" and put it there",
                    );
                }
                Some(Self::Literal(Zeroizing::new(text.to_owned())))
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["env:NAME", "file:/run/secrets/name"] })
    }
}

/// An address that may hold a password: a secret's place, or the address itself, of which only one
/// with a password in it should not stand in the file.
#[derive(Debug, Clone)]
pub(super) struct AddressSource(SecretSource);

impl Read for AddressSource {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "an address", "\"env:NAME\"", faults)?;
        let has_scheme = text.contains("://");
        let has_password = text
            .split_once("://")
            .and_then(|(_, rest)| rest.split(['/', '?']).next())
            .and_then(|authority| authority.rsplit_once('@'))
            .is_some_and(|(user, _)| user.contains(':'))
            || text.contains("password=");
        let is_path = !has_scheme && !text.starts_with("env:") && !text.starts_with("file:");
        if (has_scheme && !has_password) || (is_path && !text.trim().is_empty()) {
            let literal = Zeroizing::new(text.to_owned());
            return Some(Self(SecretSource::Literal(literal)));
        }
        SecretSource::read(node, key, faults).map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "examples": ["env:NAME", "redis://localhost:6379"] })
    }
}

impl AddressSource {
    /// Where it is, if not here.
    pub(super) const fn source(&self) -> &SecretSource {
        &self.0
    }
}

impl Written<AddressSource> {
    /// The address; `None` after noting why there is none.
    pub(super) fn resolve(
        &self,
        places: SecretPlaces<'_>,
        faults: &mut Faults,
    ) -> Option<Zeroizing<String>> {
        let source = Written {
            value: self.value.0.clone(),
            key: self.key.clone(),
            place: self.place.clone(),
        };
        source.resolve(places, faults)
    }
}

/// What secrets are looked up in.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretPlaces<'a> {
    /// The environment.
    pub(super) variables: &'a Variables,
    /// The folder that relative paths start from.
    pub(super) folder: &'a Folder,
    /// Whether nobody's are looked up: each tenant's are its own, and are judged with its values.
    pub(super) of_nobody: bool,
}

impl Written<SecretSource> {
    /// The secret's text, without the newline that files end in; `None` after noting why not.
    pub(super) fn resolve(
        &self,
        places: SecretPlaces<'_>,
        faults: &mut Faults,
    ) -> Option<Zeroizing<String>> {
        if let Some(text) = self.value.text().filter(|_| places.of_nobody)
            && is_of_nobody(text)
        {
            return Some(Zeroizing::new(text.to_owned()));
        }
        let path = |path: &str| places.folder.private(self, path);
        match self.value.look_up(places.variables, path) {
            Ok(text) => Some(text),
            Err((what, remedy)) => {
                self.refuse(faults, what, remedy);
                None
            }
        }
    }
}

/// What to say of a variable that [`is_beyond_a_shell`].
pub(super) const NO_DASH: &str = "a shell sets no variable with a dash in its name";

/// Whether whoever writes `NAME=value` in a shell cannot mean this one.
pub(super) fn is_beyond_a_shell(variable: &str) -> bool {
    variable.contains('-')
}

impl SecretSource {
    /// What it is in, as everybody calls it; `path` makes a file's of a name.
    pub(super) fn name(&self, path: impl Fn(&str) -> PathBuf) -> Option<String> {
        match self {
            Self::Variable(name) => Some(format!("env:{name}")),
            // Without the dots that say the same.
            Self::File(name) => {
                let path: PathBuf = path(name).components().collect();
                Some(format!("file:{}", path.display()))
            }
            Self::Literal(_) => None,
        }
    }

    /// The one that `text` names, where it names one.
    pub(super) fn named(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) => Some(Self::Variable(name.to_owned())),
            ("file", path) => Some(Self::File(path.to_owned())),
            _ => None,
        }
    }

    /// Whether each tenant has one of its own.
    pub(super) fn is_of_nobody(&self) -> bool {
        self.text().is_some_and(is_of_nobody)
    }

    /// The name of what it is in.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Variable(text) | Self::File(text) => Some(text),
            Self::Literal(_) => None,
        }
    }

    /// The secret's text, which may be in the file that `path` makes of a name.
    ///
    /// # Errors
    ///
    /// Why it is not there, and what to do.
    pub(super) fn look_up(
        &self,
        variables: &Variables,
        path: impl Fn(&str) -> PathBuf,
    ) -> Result<Zeroizing<String>, (String, String)> {
        let found = match self {
            Self::Literal(text) => return Ok(text.clone()),
            Self::Variable(name) => {
                let text = variables.get(name).ok_or_else(|| {
                    let what = format!("is to come from the variable {name}, which is not set");
                    let remedy = if is_beyond_a_shell(name) {
                        format!("{NO_DASH}; write env: with _ in place of -, or file: with a path")
                    } else {
                        format!("set {name} for this process")
                    };
                    (what, remedy)
                })?;
                Zeroizing::new(text.clone())
            }
            Self::File(name) => {
                let path = path(name);
                let read = regular_file::read_text(&path, LARGEST_SECRET).map_err(|error| {
                    let path = path.display();
                    let what = format!("is to come from {path}, which can't be read ({error})");
                    let remedy = "put the secret there and let this process read it";
                    (what, remedy.to_owned())
                })?;
                Zeroizing::new(read)
            }
        };
        let trimmed = Zeroizing::new(found.trim_end_matches(['\r', '\n']).to_owned());
        if trimmed.trim().is_empty() {
            let what = format!("comes from {self:?}, which is empty");
            return Err((what, "put the secret there".to_owned()));
        }
        Ok(trimmed)
    }
}
