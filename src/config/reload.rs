//! The configuration read again while running: the keys that are taken into use, and the names of
//! what has changed since the start and needs another one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::Variables;
use crate::config::document::{self, Entry, Node, Value};
use crate::config::error::{ConfigErrors, Faults};
use crate::config::resolve::Purpose;
use crate::secret::SessionKey;

/// What is taken into use without a restart: it counts as no change.
const TAKEN: [&str; 1] = ["session.keys"];

/// A file and its environment, which can be read again.
#[derive(Debug, Clone)]
pub struct Reload {
    path: PathBuf,
    variables: Variables,
    /// As they were at the start.
    prints: Prints,
}

/// What another reading found.
#[derive(Debug)]
pub struct Reread {
    /// `session.keys` as they stand now.
    pub keys: Vec<SessionKey>,
    /// The keys of the file that say something else than at the start, and are read only there.
    pub changed: Vec<String>,
}

/// What each key says, as a digest: some say secrets.
type Prints = BTreeMap<String, Vec<u8>>;

impl Reload {
    /// Of the configuration at `path` as it stands now, with these variables.
    pub fn new(path: PathBuf, variables: Variables) -> Self {
        let prints = prints(&path, &variables);
        Self {
            path,
            variables,
            prints,
        }
    }

    /// Reads it again.
    ///
    /// # Errors
    /// As [`Config::load`](crate::config::Config::load).
    pub fn read(&self) -> Result<Reread, ConfigErrors> {
        let (config, _) = super::load(&self.path, &self.variables, Purpose::Reload)?;
        let now = prints(&self.path, &self.variables);
        let names = self.prints.keys().chain(now.keys());
        let mut changed: Vec<String> = names
            .filter(|name| self.prints.get(*name) != now.get(*name))
            .cloned()
            .collect();
        changed.sort_unstable();
        changed.dedup();
        Ok(Reread {
            keys: config.keys,
            changed,
        })
    }
}

/// The prints of all keys, the files that they name included. Empty where the file is no TOML.
fn prints(path: &Path, variables: &Variables) -> Prints {
    let mut faults = Faults::of("");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut prints = Prints::new();
    if let Some(root) = document::parse(&text, variables, &mut faults)
        && let Value::Table(entries) = &root.value
    {
        let folder = path.parent().unwrap_or(Path::new(""));
        take_down(entries, "", folder, &mut prints);
    }
    prints
}

fn take_down(entries: &BTreeMap<String, Entry>, table: &str, folder: &Path, prints: &mut Prints) {
    for (name, entry) in entries {
        let key = document::joined(table, name);
        if TAKEN.contains(&key.as_str()) {
            continue;
        }
        if let Value::Table(entries) = &entry.node.value {
            take_down(entries, &key, folder, prints);
        } else {
            let mut digest = Context::new(&SHA256);
            feed(&mut digest, &entry.node, &key, folder);
            prints.insert(key, digest.finish().as_ref().to_vec());
        }
    }
}

/// Lengths go before texts, so that no two values read alike.
fn feed(digest: &mut Context, node: &Node, key: &str, folder: &Path) {
    let mut text = |kind: &str, text: &str| {
        digest.update(format!("{kind} {} {text}", text.len()).as_bytes());
    };
    match &node.value {
        Value::Text(value) | Value::Untyped(value) => {
            text("text", value);
            if let Some(file) = file_in(key, value)
                && let Ok(content) = std::fs::read(folder.join(file))
            {
                digest.update(&content);
            }
        }
        Value::Integer(value) => text("number", &value.to_string()),
        Value::Boolean(value) => text("boolean", &value.to_string()),
        Value::Other(value) => text("other", value),
        Value::Array(items) => {
            text("list", &items.len().to_string());
            for item in items {
                feed(digest, item, key, folder);
            }
        }
        Value::Table(entries) => {
            text("table", &entries.len().to_string());
            for (name, entry) in entries {
                digest.update(format!("key {} {name}", name.len()).as_bytes());
                feed(digest, &entry.node, name, folder);
            }
        }
    }
}

/// The file whose content is read at a start: that of a secret, or the roots of a private authority.
/// The files of `tls` are looked at all the time, and those of the app as they are asked for.
fn file_in<'a>(key: &str, value: &'a str) -> Option<&'a str> {
    let is_roots = matches!(super::reader::last(key), "ca" | "store_ca");
    value
        .strip_prefix("file:")
        .or_else(|| is_roots.then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
        [server]
        public_url = "https://app.example.com"
        [provider]
        issuer = "https://id.example.com"
        client_id = "app"
        client_secret = "file:secret"
        [session]
        keys = ["env:KEY"]
        idle_timeout = "30m"
        [[route]]
        path = "/api"
        upstream = "http://localhost:9000"
    "#;

    /// Each key whose value, or whose file, is another one is named; those that are taken into use are
    /// not, and what only looks different is no change.
    #[test]
    fn what_takes_a_restart_is_named() {
        let cases: [(&str, &str, &str, &[&str]); 6] = [
            ("nothing", "", "", &[]),
            ("a comment", "[server]", "# said\n[server]", &[]),
            ("a value", "\"30m\"", "\"20m\"", &["session.idle_timeout"]),
            (
                "a key less",
                "idle_timeout = \"30m\"",
                "",
                &["session.idle_timeout"],
            ),
            (
                "the keys",
                "[\"env:KEY\"]",
                "[\"env:KEY\", \"env:KEY2\"]",
                &[],
            ),
            (
                "a route and the rest",
                "localhost:9000\"",
                "localhost:9001\"\n[log]\nlevel = \"warn\"",
                &["log.level", "route"],
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let (file, secret) = (folder.path().join("bff.toml"), folder.path().join("secret"));
        std::fs::write(&secret, "a client secret of some length").unwrap();
        let variables = [("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")];
        let second = ("KEY2", "HRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEAAAE");
        let variables = variables.into_iter().chain([second]);
        let variables: Variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let start = || {
            std::fs::write(&file, BEFORE).unwrap();
            Reload::new(file.clone(), variables.clone())
        };
        for (name, from, to, changed) in cases {
            let reload = start();
            std::fs::write(&file, BEFORE.replacen(from, to, 1)).unwrap();
            assert_eq!(reload.read().unwrap().changed, changed, "{name}");
        }
        let reload = start();
        std::fs::write(&secret, "another client secret").unwrap();
        let changed = reload.read().unwrap().changed;
        assert_eq!(changed, ["provider.client_secret"], "the file of a secret");
        std::fs::write(&file, "[server").unwrap();
        assert!(reload.read().is_err());
    }
}
