//! Digests of what was configured: whether it is what it was can be told, and nothing else, since some
//! of it is secret. The files that it names count as part of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::document::{Entry, Node, Value, joined};
use crate::config::folder::Folder;
use crate::config::reader::{Written, last};
use crate::web::regular_file::{self, LARGEST_CONFIGURATION, LARGEST_SECRET};

/// Tells whether what was configured somewhere is what it was, and nothing more: a digest.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Print(Vec<u8>);

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print(…)")
    }
}

impl Print {
    /// Of a value that `key` has.
    pub(super) fn of(node: &Node, key: &str, folder: &Folder) -> Self {
        let mut digest = Context::new(&SHA256);
        feed(&mut digest, node, key, folder);
        Self(digest.finish().as_ref().to_vec())
    }

    /// Of this and a text.
    #[must_use]
    pub(super) fn with(&self, text: &str) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(&self.0);
        digest.update(text.as_bytes());
        Self(digest.finish().as_ref().to_vec())
    }

    /// Of the content of files, with their paths; of one that cannot be read, that it cannot.
    pub(super) fn of_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut digest = Context::new(&SHA256);
        for path in paths {
            let content = regular_file::read(path, LARGEST_CONFIGURATION).ok();
            let length = content.as_ref().map(Vec::len);
            digest.update(format!("{} {length:?}", path.display()).as_bytes());
            digest.update(&content.unwrap_or_default());
        }
        Self(digest.finish().as_ref().to_vec())
    }

    /// Of many with their names.
    pub(super) fn of_all<'a>(prints: impl IntoIterator<Item = (&'a String, &'a Self)>) -> Self {
        let mut digest = Context::new(&SHA256);
        for (name, print) in prints {
            digest.update(format!("{} {name}", name.len()).as_bytes());
            digest.update(&print.0);
        }
        Self(digest.finish().as_ref().to_vec())
    }
}

/// Of all that a document says of each of its providers.
#[derive(Debug, Default)]
pub(super) struct ProviderPrints {
    /// `[provider]`.
    one: Print,
    /// `[providers.NAME]`, by its name, with what it inherits.
    named: BTreeMap<String, Print>,
}

impl ProviderPrints {
    pub(super) fn of(root: &Node, folder: &Folder) -> Self {
        let Value::Table(entries) = &root.value else {
            return Self::default();
        };
        let print = |entry: &Entry| Print::of(&entry.node, "provider", folder);
        let named = match entries.get("providers").map(|all| &all.node.value) {
            Some(Value::Table(all)) => all
                .iter()
                .map(|(name, entry)| (name.clone(), print(entry)))
                .collect(),
            _ => BTreeMap::new(),
        };
        Self {
            one: entries.get("provider").map(print).unwrap_or_default(),
            named,
        }
    }

    /// Of the one of this name, or of the only one.
    pub(super) fn get(&self, name: Option<&str>) -> Print {
        let named = name.and_then(|name| self.named.get(name));
        named.unwrap_or(&self.one).clone()
    }
}

/// Lengths go before texts, so that no two values read alike.
fn feed(digest: &mut Context, node: &Node, key: &str, folder: &Folder) {
    let mut text = |kind: &str, text: &str| {
        digest.update(format!("{kind} {} {text}", text.len()).as_bytes());
    };
    match &node.value {
        Value::Text(value) | Value::Untyped(value) => {
            text("text", value);
            if let Some(file) = file_in(node, key, value, folder) {
                folder.count(&file);
                if let Ok(content) = regular_file::read(&file, largest(key)) {
                    digest.update(&content);
                }
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
                feed(digest, &entry.node, &joined(key, name), folder);
            }
        }
    }
}

/// What more is refused, so that a digest need not tell of it.
fn largest(key: &str) -> u64 {
    match last(key) {
        "tenants_file" => LARGEST_CONFIGURATION,
        _ => LARGEST_SECRET,
    }
}

/// The file whose content is read at a start: that of a secret, the roots of a private authority, what a
/// route shows its upstream, or tenants.
/// The files of `tls` are looked at all the time, and those of the app as they are asked for.
fn file_in(node: &Node, key: &str, value: &str, folder: &Folder) -> Option<PathBuf> {
    let is_path = matches!(last(key), "ca" | "store_ca" | "tenants_file")
        || key.ends_with("client_cert.cert")
        || key.ends_with("client_cert.key");
    let file = value.strip_prefix("file:");
    let file = file.or_else(|| is_path.then_some(value))?;
    let written = Written {
        value: (),
        key: String::new(),
        place: node.place.clone(),
    };
    Some(folder.public(&written, file))
}
