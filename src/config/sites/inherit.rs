//! What a site inherits: each key that it does not write, from bff.toml.
//!
//! Every value keeps the place where it was written. A table that the site itself has not, stands
//! nowhere in particular: what is missing in it is missing in the site's file.

use std::collections::BTreeMap;

use crate::config::document::{Entry, Node, Value};
use crate::config::error::Place;
use crate::config::sites::process;

/// What leaves with a key of bff.toml where a site writes another: it would contradict the new one, or
/// would have what one provider was trusted with go to another.
const LEAVES: [(&str, &str, &[&str]); 6] = [
    (
        "provider",
        "issuer",
        &[
            "internal_url",
            "internal_http",
            "endpoints",
            "discovery",
            "client_secret",
            "client_key",
            "client_secret_expires",
        ],
    ),
    (
        "provider",
        "client_secret",
        &["client_key", "client_secret_expires"],
    ),
    (
        "provider",
        "client_key",
        &["client_secret", "client_secret_expires"],
    ),
    ("frontend", "dir", &["upstream"]),
    ("frontend", "upstream", &["dir", "headers", "compress"]),
    ("session", "max_per_user", &["on_limit"]),
];

/// `site` laid over what it inherits of `ground`, the whole of bff.toml.
pub(super) fn over(ground: &Node, site: Node) -> Node {
    let Value::Table(ground) = &ground.value else {
        return site;
    };
    let inherited = ground
        .iter()
        .filter(|(name, _)| !process::is_inherited_by_nobody(name))
        .map(|(name, entry)| (name.clone(), entry.clone()))
        .collect();
    Node {
        place: Place::Whole,
        value: match site.value {
            Value::Table(site) => Value::Table(merged(inherited, site, "")),
            other => other,
        },
    }
}

type Entries = BTreeMap<String, Entry>;

fn merged(mut ground: Entries, site: Entries, table: &str) -> Entries {
    for (of, written, leaving) in LEAVES {
        if of == table && site.contains_key(written) {
            ground.retain(|name, _| !leaving.contains(&name.as_str()));
        }
    }
    for entry in ground.values_mut() {
        stands_nowhere(&mut entry.node);
    }
    for (name, mut entry) in site {
        if let Value::Table(inner) = &mut entry.node.value
            && let Some(below) = ground.remove(&name)
            && let Value::Table(below) = below.node.value
        {
            *inner = merged(below, std::mem::take(inner), &name);
        }
        ground.insert(name, entry);
    }
    ground
}

/// Takes the places of tables away, and leaves those of values.
fn stands_nowhere(node: &mut Node) {
    if let Value::Table(entries) = &mut node.value {
        node.place = Place::Whole;
        for entry in entries.values_mut() {
            stands_nowhere(&mut entry.node);
        }
    }
}
