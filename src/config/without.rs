//! What a configuration for production names and a developer's machine has not: secrets that `bff dev` does
//! without.
//!
//! It is done to what is written, as in `here`, so that all that follows is as if nobody had named them.

use std::collections::BTreeMap;

use crate::config::document::{Entry, Node, Value, Variables};
use crate::config::error::{Faults, Place};
use crate::config::folder::Folder;
use crate::config::lists;
use crate::config::reader::Written;
use crate::config::secret_source::SecretSource;

/// What keeps sessions beyond this process; without one of its secrets they are kept in memory.
const OF_A_STORE: [&str; 4] = ["store", "store_url", "store_ca", "keys"];

/// Leaves out of bff.toml what is to come from a variable that is not set, or from a file that is not there.
pub(super) fn leave_out(
    root: &mut Node,
    variables: &Variables,
    folder: &Folder,
    faults: &mut Faults,
) {
    let is_missing = |node: &Node| is_missing(node, variables, folder);
    if let Some(session) = table(root, "session") {
        let mut secrets = ["store_url", "keys"].into_iter().filter_map(|key| {
            let entry = session.get(key).filter(|entry| is_missing(&entry.node))?;
            Some((key, entry.node.place.clone()))
        });
        if let Some((key, place)) = secrets.next() {
            warn_of_memory(session, key, &place, faults);
            session.retain(|key, _| !OF_A_STORE.contains(&key.as_str()));
        }
    }
    if let Some(server) = table(root, "server") {
        for name in ["admin_key", "identity_keys"] {
            if server.get(name).is_some_and(|key| is_missing(&key.node)) {
                server.remove(name);
            }
        }
        if let Some(Value::Table(keys)) = server
            .get_mut("admin_keys")
            .map(|keys| &mut keys.node.value)
        {
            keys.retain(|_, key| !is_missing(&key.node));
            if keys.is_empty() {
                server.remove("admin_keys");
            }
        }
    }
}

/// Whoever asks for a store is told that it is not used.
fn warn_of_memory(
    session: &BTreeMap<String, Entry>,
    key: &str,
    place: &Place,
    faults: &mut Faults,
) {
    let kind = session.get("store").map(|entry| &entry.node.value);
    let Some(Value::Text(kind) | Value::Untyped(kind)) = kind else {
        return;
    };
    if kind != "memory" {
        faults.warn(
            place,
            &format!("session.{key}"),
            "is not here, so bff dev keeps sessions in memory",
            format!("put it there to try store = {kind:?}"),
        );
    }
}

fn table<'a>(root: &'a mut Node, name: &str) -> Option<&'a mut BTreeMap<String, Entry>> {
    let Value::Table(entries) = &mut root.value else {
        return None;
    };
    match &mut entries.get_mut(name)?.node.value {
        Value::Table(entries) => Some(entries),
        _ => None,
    }
}

/// Whether a secret, or one of a list, is not where it is to come from.
fn is_missing(node: &Node, variables: &Variables, folder: &Folder) -> bool {
    match &node.value {
        Value::Array(items) => items.iter().any(|item| is_missing(item, variables, folder)),
        Value::Untyped(text) if text.contains(',') || text.trim_start().starts_with('[') => {
            let items = lists::of_variable(text, &node.place);
            items.iter().any(|item| is_missing(item, variables, folder))
        }
        Value::Text(text) | Value::Untyped(text) => match SecretSource::named(text) {
            Some(SecretSource::Variable(name)) => !variables.contains_key(&name),
            Some(SecretSource::File(path)) => {
                let written = Written {
                    value: (),
                    key: String::new(),
                    place: node.place.clone(),
                };
                !folder.public(&written, path).exists()
            }
            Some(SecretSource::Literal(_)) | None => false,
        },
        _ => false,
    }
}
