//! Values of several parts: lists, and tables whose keys are the operator's own.

use std::fmt;

use serde_json::json;

use crate::config::document::{Entry, Node, Value, joined, typed};
use crate::config::error::{Faults, Place};
use crate::config::reader::{Read, Written, last, wrong_type};

/// A list; a variable writes one as TOML or with commas.
impl<T: Read> Read for Vec<Written<T>> {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let from_variable;
        let items = match &node.value {
            Value::Array(items) => items,
            Value::Untyped(text) => {
                from_variable = of_variable(text, &node.place);
                &from_variable
            }
            _ => {
                wrong_type(
                    node,
                    key,
                    "a list",
                    &format!("{} = [ … ]", last(key)),
                    faults,
                );
                return None;
            }
        };
        // Every item is read before the first unreadable one spoils the list.
        let read: Vec<Option<Written<T>>> = items
            .iter()
            .map(|item| {
                T::read(item, key, faults).map(|value| Written {
                    value,
                    key: key.to_owned(),
                    place: item.place.clone(),
                })
            })
            .collect();
        read.into_iter().collect()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn keys(key: &str) -> Vec<String> {
        T::keys(key)
    }
}

/// The items of a list that a variable writes.
pub(super) fn of_variable(text: &str, place: &Place) -> Vec<Node> {
    if text.trim_start().starts_with('[')
        && let Some(Node {
            value: Value::Array(items),
            ..
        }) = typed(text.trim(), place)
    {
        return items;
    }
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| Node {
            value: Value::Untyped(item.to_owned()),
            place: place.clone(),
        })
        .collect()
}

/// The table that a variable writes, where it is one.
pub(super) fn table_of_variable(text: &str, place: &Place) -> Option<Value> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let node = typed(text.trim(), place)?;
    matches!(node.value, Value::Table(_)).then_some(node.value)
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany<T>(pub(super) Vec<Written<T>>);

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        if matches!(node.value, Value::Array(_) | Value::Untyped(_)) {
            return Vec::read(node, key, faults).map(Self);
        }
        T::read(node, key, faults).map(|value| {
            Self(vec![Written {
                value,
                key: key.to_owned(),
                place: node.place.clone(),
            }])
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema(), "minItems": 1 }] })
    }
}

/// A table whose keys are the operator's own, in the order written.
#[derive(Clone)]
pub(super) struct Named<T>(pub(super) Vec<Written<(String, T)>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: fmt::Debug> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let from_variable;
        let entries = match &node.value {
            Value::Table(entries) => entries,
            Value::Untyped(text) if text.trim_start().starts_with('{') => {
                from_variable = typed(text.trim(), &node.place);
                let Some(Node {
                    value: Value::Table(entries),
                    ..
                }) = &from_variable
                else {
                    wrong_type(node, key, "a table", "{ name = \"value\" }", faults);
                    return None;
                };
                entries
            }
            _ => {
                let remedy = format!("{} = {{ name = \"value\" }}", last(key));
                wrong_type(node, key, "a table", &remedy, faults);
                return None;
            }
        };
        let mut in_order: Vec<(&String, &Entry)> = entries.iter().collect();
        in_order.sort_by_key(|(_, entry)| &entry.key_place);
        let read: Vec<Option<Written<(String, T)>>> = in_order
            .into_iter()
            .map(|(name, entry)| {
                let key = joined(key, name);
                T::read(&entry.node, &key, faults).map(|value| Written {
                    value: (name.clone(), value),
                    key,
                    place: entry.key_place.clone(),
                })
            })
            .collect();
        read.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}
