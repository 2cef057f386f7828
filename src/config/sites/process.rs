//! What only bff.toml says: the keys of the whole process, and where to write one that stands in a
//! site's file.

use std::collections::BTreeMap;

use crate::config::document::{Entry, Node, Value};
use crate::config::error::Faults;

/// Tables that are the process's.
const TABLES: [&str; 4] = ["server", "log", "metrics", "dev"];

/// Keys of `[session]` that are the process's: where sessions are kept, and what seals them.
const OF_SESSION: [&str; 9] = [
    "keys",
    "store",
    "store_url",
    "store_ca",
    "store_timeout",
    "migrate",
    "max_staleness",
    "memory",
    "near_cache",
];

/// What stands in `[server]` of bff.toml, and at the top of a site's file.
const AT_THE_TOP: [&str; 6] = [
    "public_url",
    "base_path",
    "tls",
    "allow_semicolon",
    "tenants_file",
    "no_tenant",
];

/// What bff.toml says for its own site alone.
const OF_ITS_OWN_SITE: &str = "tenants";

/// Whether this table of bff.toml is inherited by nobody.
pub(super) fn is_inherited_by_nobody(name: &str) -> bool {
    TABLES.contains(&name) || name == OF_ITS_OWN_SITE
}

/// Whether this key of `[session]` is.
pub(in crate::config) fn is_of_process(key: &str) -> bool {
    OF_SESSION.contains(&key)
}

/// Whether this key of bff.toml has no place in a site's file.
pub(in crate::config) fn is_of_bff_toml_alone(table: &str, key: &str) -> bool {
    let (root, _) = table.split_once('.').unwrap_or((table, ""));
    TABLES.contains(&root) || (table == "session" && is_of_process(key))
}

/// Takes what is the process's out of a site's document, and says of each where it belongs.
pub(super) fn refuse(root: &mut Node, faults: &mut Faults) {
    let Value::Table(entries) = &mut root.value else {
        return;
    };
    for table in TABLES {
        if let Some(entry) = entries.remove(table) {
            refuse_table(table, &entry, faults);
            let meant = entry.node.value.into_entries().unwrap_or_default();
            let meant = meant.into_iter();
            for (key, entry) in meant.filter(|(key, _)| stands_at_the_top(table, key)) {
                entries.entry(key).or_insert(entry);
            }
        }
    }
    if let Some(session) = entries.get_mut("session")
        && let Value::Table(session) = &mut session.node.value
    {
        for key in OF_SESSION {
            if let Some(entry) = session.remove(key) {
                refuse_key("session", key, &entry, faults);
            }
        }
    }
}

fn refuse_table(table: &str, entry: &Entry, faults: &mut Faults) {
    let Value::Table(entries) = &entry.node.value else {
        return refuse_whole(table, entry, faults);
    };
    if entries.is_empty() || table == "dev" {
        return refuse_whole(table, entry, faults);
    }
    refuse_keys(table, entries, faults);
}

fn refuse_keys(table: &str, entries: &BTreeMap<String, Entry>, faults: &mut Faults) {
    for (key, entry) in entries {
        if stands_at_the_top(table, key) {
            faults.refuse(
                &entry.key_place,
                &format!("{table}.{key}"),
                "stands at the top of a site's file",
                format!("write {key} = … before the first [table]"),
            );
        } else {
            refuse_key(table, key, entry, faults);
        }
    }
}

fn stands_at_the_top(table: &str, key: &str) -> bool {
    table == "server" && AT_THE_TOP.contains(&key)
}

fn refuse_whole(table: &str, entry: &Entry, faults: &mut Faults) {
    faults.refuse(
        &entry.key_place,
        table,
        "is the whole process's, and this is one of its sites",
        format!("write [{table}] in bff.toml"),
    );
}

fn refuse_key(table: &str, key: &str, entry: &Entry, faults: &mut Faults) {
    faults.refuse(
        &entry.key_place,
        &format!("{table}.{key}"),
        "is the whole process's, and this is one of its sites",
        format!("write it in [{table}] of bff.toml"),
    );
}
