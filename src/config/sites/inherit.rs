//! What a site inherits: each key that it does not write, from bff.toml.
//!
//! Every value keeps the place where it was written. A table that the site itself has not, stands
//! nowhere in particular: what is missing in it is missing in the site's file.

use std::collections::BTreeMap;

use crate::config::document::{Entry, Node, Value};
use crate::config::error::Place;
use crate::config::sites::process;

/// What proves who we are. It goes to the addresses that were written beside it, and to no other: whoever
/// may write a site's file need not be one who may read it.
const SECRETS: &[&str] = &[
    "client_secret",
    "client_secret_expires",
    "client_key",
    "client_key_id",
    "client_assertion_file",
    "client_cert",
    "client_cert_key",
];

/// What leaves with a key of bff.toml where a site writes another: it would contradict the new one, or
/// would have what one provider was trusted with go to another.
const LEAVES: [(&str, &str, &[&str]); 15] = [
    ("", "providers", &["default_provider"]),
    (
        "provider",
        "issuer",
        &["internal_url", "internal_http", "endpoints", "discovery"],
    ),
    ("provider", "issuer", SECRETS),
    ("provider", "internal_url", SECRETS),
    ("provider", "internal_http", SECRETS),
    ("provider", "endpoints", SECRETS),
    ("provider", "proxy", SECRETS),
    ("provider", "ca", SECRETS),
    (
        "provider",
        "client_secret",
        &[
            "client_key",
            "client_key_id",
            "client_assertion_file",
            "client_secret_expires",
        ],
    ),
    (
        "provider",
        "client_key",
        &[
            "client_key_id",
            "client_assertion_file",
            "client_secret",
            "client_secret_expires",
        ],
    ),
    (
        "provider",
        "client_assertion_file",
        &[
            "client_key",
            "client_key_id",
            "client_secret",
            "client_secret_expires",
        ],
    ),
    ("provider", "client_cert", &["client_cert_key"]),
    ("frontend", "dir", &["upstream"]),
    ("frontend", "upstream", &["dir", "headers", "compress"]),
    ("session", "max_per_user", &["on_limit"]),
];

/// `site` laid over what it inherits of `ground`, the whole of bff.toml.
pub(super) fn over(ground: &Node, site: Node) -> Node {
    let Value::Table(ground) = &ground.value else {
        return site;
    };
    let Value::Table(site) = site.value else {
        return site;
    };
    let has_one = !site.contains_key("providers") && has_issuer(&site);
    let inherited = ground
        .iter()
        .filter(|(name, _)| !process::is_inherited_by_nobody(name))
        .filter(|(name, _)| !(has_one && OF_SEVERAL.contains(&name.as_str())))
        .map(|(name, entry)| (name.clone(), entry.clone()))
        .collect();
    Node {
        place: Place::Whole,
        value: Value::Table(merged(inherited, site, "")),
    }
}

/// What is said of several providers, which a site with one of its own has not.
const OF_SEVERAL: [&str; 3] = ["providers", "default_provider", "choose_provider_url"];

/// Whether a site names a provider of its own.
fn has_issuer(site: &Entries) -> bool {
    let provider = site.get("provider").map(|entry| &entry.node.value);
    matches!(provider, Some(Value::Table(provider)) if provider.contains_key("issuer"))
}

/// Each of several providers of a document laid over what it inherits of `[provider]`, by the same rules as
/// a site's: no secret goes to another issuer than the one it was written for.
pub(in crate::config) fn providers(root: &mut Node) {
    let Value::Table(entries) = &mut root.value else {
        return;
    };
    let ground = entries.get("provider").map(|entry| &entry.node.value);
    let Some(Value::Table(ground)) = ground.cloned() else {
        return;
    };
    let Some(Value::Table(all)) = entries.get_mut("providers").map(|all| &mut all.node.value)
    else {
        return;
    };
    for entry in all.values_mut() {
        if let Value::Table(own) = &mut entry.node.value {
            *own = merged(ground.clone(), std::mem::take(own), "provider");
        }
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
            && let Value::Table(mut below) = below.node.value
        {
            let own = std::mem::take(inner);
            if name == "providers" {
                // A site has those that it names, and no others.
                below.retain(|name, _| own.contains_key(name));
            }
            let kind = if table == "providers" {
                "provider"
            } else {
                &name
            };
            *inner = merged(below, own, kind);
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
