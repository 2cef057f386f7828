//! `route.require` as written: claims by their paths, each with what it may say.

use serde_json::json;

use crate::config::document::{Entry, Node, Value, joined};
use crate::config::error::Faults;
use crate::config::reader::{Read, Written, wrong_type};

/// The entries in the order written, each by its path below the table.
#[derive(Debug, Clone, Default)]
pub(super) struct RequireTable(pub(super) Vec<Written<RequireEntry>>);

/// One entry: its path, and the texts of which one must be said.
#[derive(Debug, Clone)]
pub(super) struct RequireEntry {
    pub(super) path: String,
    pub(super) texts: Vec<String>,
}

impl Read for RequireTable {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Table(_) = &node.value else {
            let remedy = "{ roles = \"admin\" }";
            wrong_type(node, key, "a table of claims", remedy, faults);
            return None;
        };
        let mut entries = Vec::new();
        let whole = gather(node, "", key, &mut entries, faults);
        whole.then_some(Self(entries))
    }

    fn schema() -> serde_json::Value {
        let text = json!({ "type": ["string", "boolean", "integer"] });
        let any = json!({ "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }, { "type": "object" }] });
        json!({ "type": "object", "additionalProperties": any })
    }
}

/// Goes down into tables, which `realm_access.roles = "a"` makes as well; whether all could be read.
fn gather(
    node: &Node,
    above: &str,
    key: &str,
    into: &mut Vec<Written<RequireEntry>>,
    faults: &mut Faults,
) -> bool {
    let Value::Table(entries) = &node.value else {
        return false;
    };
    let mut in_order: Vec<(&String, &Entry)> = entries.iter().collect();
    in_order.sort_by_key(|(_, entry)| &entry.key_place);
    let mut whole = true;
    for (name, entry) in in_order {
        let (path, key) = (joined(above, name), joined(key, name));
        whole &= match &entry.node.value {
            Value::Table(_) => gather(&entry.node, &path, &key, into, faults),
            Value::Array(items) => {
                let texts: Option<Vec<_>> =
                    items.iter().map(|item| text(item, &key, faults)).collect();
                put(path, key, texts, entry, into)
            }
            _ => {
                let texts = text(&entry.node, &key, faults).map(|text| vec![text]);
                put(path, key, texts, entry, into)
            }
        };
    }
    whole
}

fn put(
    path: String,
    key: String,
    texts: Option<Vec<String>>,
    entry: &Entry,
    into: &mut Vec<Written<RequireEntry>>,
) -> bool {
    let Some(texts) = texts else { return false };
    into.push(Written {
        value: RequireEntry { path, texts },
        key,
        place: entry.node.place.clone(),
    });
    true
}

/// What a claim is to say; numbers and truths are compared as text.
fn text(node: &Node, key: &str, faults: &mut Faults) -> Option<String> {
    match &node.value {
        Value::Text(text) | Value::Untyped(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(_) | Value::Table(_) | Value::Other(_) => {
            wrong_type(node, key, "text", "\"admin\", or a list of such", faults);
            None
        }
    }
}
