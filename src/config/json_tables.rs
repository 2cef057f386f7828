//! Tables whose members are somebody else's words: they become JSON as they stand.

use serde_json::{Map, Value as Json, json};

use crate::config::document::{Node, Value, joined, typed};
use crate::config::error::Faults;
use crate::config::reader::{Read, wrong_type};

/// A list of tables, as JSON objects.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonTables(pub(super) Vec<Map<String, Json>>);

impl Read for JsonTables {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let from_variable;
        let node = match &node.value {
            Value::Untyped(text) => match typed(text.trim(), &node.place) {
                Some(read) => {
                    from_variable = read;
                    &from_variable
                }
                None => node,
            },
            _ => node,
        };
        let items = match &node.value {
            Value::Array(items) => items.iter().collect(),
            Value::Table(_) => vec![node],
            _ => Vec::new(),
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in &items {
            let Json::Object(members) = json_of(item, key, faults)? else {
                refuse(item, key, faults);
                return None;
            };
            tables.push(members);
        }
        if tables.is_empty() {
            refuse(node, key, faults);
            return None;
        }
        Some(Self(tables))
    }

    fn schema() -> Json {
        let item = json!({ "type": "object", "required": ["type"] });
        json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
    }
}

fn refuse(node: &Node, key: &str, faults: &mut Faults) {
    let remedy = "[{ type = \"account_information\", actions = [\"read\"] }]";
    wrong_type(node, key, "a list of tables", remedy, faults);
}

/// The same in JSON; dates and fractions have no form of their own there that all agree on.
fn json_of(node: &Node, key: &str, faults: &mut Faults) -> Option<Json> {
    Some(match &node.value {
        Value::Text(text) | Value::Untyped(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Array(items) => {
            let items: Option<Vec<Json>> = items
                .iter()
                .map(|item| json_of(item, key, faults))
                .collect();
            Json::Array(items?)
        }
        Value::Table(entries) => {
            let mut members = Map::new();
            for (name, entry) in entries {
                let value = json_of(&entry.node, &joined(key, name), faults)?;
                members.insert(name.clone(), value);
            }
            Json::Object(members)
        }
        Value::Other(_) => {
            wrong_type(node, key, "text", "\"10.50\"", faults);
            return None;
        }
    })
}
