//! Reads a tree into typed tables, notes every fault and goes on.
//!
//! A table is declared once, with [`table!`]: its fields are its known keys, their docs the
//! schema's descriptions. What a key's absence means is left to `resolve`.

use serde_json::{Map, json};

use crate::config::document::{Entry, Node, Value, joined};
use crate::config::error::{Faults, Place};

pub(super) use crate::config::error::last;

/// Something that a value in the file can be read as.
pub(super) trait Read: Sized {
    /// What is written, or `None` after noting why it cannot be read. `key` is the key's path.
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self>;

    /// The JSON Schema of what can be written.
    fn schema() -> serde_json::Value;

    /// The paths of all keys at and below `key`.
    fn keys(key: &str) -> Vec<String> {
        vec![key.to_owned()]
    }
}

/// A value that was written, with its key and place for the faults found later.
#[derive(Debug, Clone)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) key: String,
    pub(super) place: Place,
}

impl<T> Written<T> {
    /// Notes that this value is refused.
    pub(super) fn refuse(
        &self,
        faults: &mut Faults,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        faults.refuse(&self.place, &self.key, what, remedy);
    }

    /// Notes that this value is unwise.
    pub(super) fn warn(
        &self,
        faults: &mut Faults,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        faults.warn(&self.place, &self.key, what, remedy);
    }
}

/// A key of a table: absent, unreadable (and noted so), or written.
#[derive(Debug, Clone, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Unreadable,
    Written(Written<T>),
}

impl<T> Field<T> {
    /// What was written, if it could be read.
    pub(super) fn written(&self) -> Option<&Written<T>> {
        match self {
            Self::Written(written) => Some(written),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// Whether the key stands in the file at all, readable or not.
    pub(super) fn stands(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The value, or `default` where there is none to use.
    pub(super) fn or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.written()
            .map_or(default, |written| written.value.clone())
    }

    /// The value of a key that must stand in the table at `place`; its absence is noted.
    pub(super) fn required(
        &self,
        table: &Place,
        key: &str,
        example: &str,
        faults: &mut Faults,
    ) -> Option<&Written<T>> {
        if !self.stands() {
            faults.refuse(table, key, "is missing", format!("write {example}"));
        }
        self.written()
    }
}

/// A table's entries, while its fields are read.
pub(super) struct TableReader<'a> {
    entries: &'a std::collections::BTreeMap<String, Entry>,
    key: &'a str,
}

impl<'a> TableReader<'a> {
    /// Opens the table in `node` and notes every key that is not among `known`.
    pub(super) fn open(
        node: &'a Node,
        key: &'a str,
        known: &[&str],
        faults: &mut Faults,
    ) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            wrong_type(
                node,
                key,
                "a table",
                &format!("[{key}] and its keys"),
                faults,
            );
            return None;
        };
        super::unknown_key::note_all(key, entries, known, faults);
        Some(Self { entries, key })
    }

    /// Reads one field.
    pub(super) fn field<T: Read>(&self, name: &str, faults: &mut Faults) -> Field<T> {
        let Some(entry) = self.entries.get(name) else {
            return Field::Absent;
        };
        let key = joined(self.key, name);
        T::read(&entry.node, &key, faults).map_or(Field::Unreadable, |value| {
            Field::Written(Written {
                value,
                key,
                place: entry.node.place.clone(),
            })
        })
    }
}

/// Declares a table as written: the one place where its keys are named.
macro_rules! table {
    ($(#[doc = $table_doc:literal])* $(#[cfg_attr $table_attr:tt])? $name:ident {
        $($(#[doc = $doc:literal])* $(#[cfg_attr $attr:tt])? $key:ident: $kind:ty,)*
    }) => {
        $(#[doc = $table_doc])*
        $(#[cfg_attr $table_attr])?
        #[derive(Debug, Clone, Default)]
        pub(super) struct $name {
            $($(#[doc = $doc])* $(#[cfg_attr $attr])? pub(super) $key: $crate::config::reader::Field<$kind>,)*
        }

        impl $crate::config::reader::Read for $name {
            fn read(
                node: &$crate::config::document::Node,
                key: &str,
                faults: &mut $crate::config::error::Faults,
            ) -> Option<Self> {
                let table = $crate::config::reader::TableReader::open(
                    node, key, &[$(stringify!($key)),*], faults,
                )?;
                Some(Self { $($key: table.field(stringify!($key), faults),)* })
            }

            fn schema() -> serde_json::Value {
                $crate::config::reader::table_schema(
                    &[$($table_doc),*],
                    vec![$((stringify!($key), &[$($doc),*], <$kind>::schema())),*],
                )
            }

            fn keys(key: &str) -> Vec<String> {
                let mut keys = vec![key.to_owned()];
                $(keys.extend(<$kind>::keys(
                    &$crate::config::document::joined(key, stringify!($key)),
                ));)*
                keys
            }
        }
    };
}
pub(super) use table;

/// The schema of a table whose keys are all known.
pub(super) fn table_schema(
    doc: &[&str],
    fields: Vec<(&str, &[&str], serde_json::Value)>,
) -> serde_json::Value {
    let properties: Map<String, serde_json::Value> = fields
        .into_iter()
        .map(|(key, doc, mut schema)| {
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".to_owned(), sentence(doc).into());
            }
            (key.to_owned(), schema)
        })
        .collect();
    json!({
        "type": "object",
        "description": sentence(doc),
        "properties": properties,
        "additionalProperties": false,
    })
}

fn sentence(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

/// Notes that `node` holds something else than `expected`.
pub(super) fn wrong_type(
    node: &Node,
    key: &str,
    expected: &str,
    remedy: &str,
    faults: &mut Faults,
) {
    let found = match &node.value {
        Value::Text(_) | Value::Untyped(_) => "text",
        Value::Integer(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
        Value::Other(name) => name,
    };
    faults.refuse(
        &node.place,
        key,
        format!("is {found} where {expected} belongs"),
        format!("write {remedy}"),
    );
}

/// The text in `node`, if it is text at all.
pub(super) fn text<'a>(
    node: &'a Node,
    key: &str,
    expected: &str,
    example: &str,
    faults: &mut Faults,
) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) | Value::Untyped(text) => Some(text),
        Value::Integer(_)
        | Value::Boolean(_)
        | Value::Array(_)
        | Value::Table(_)
        | Value::Other(_) => {
            wrong_type(
                node,
                key,
                expected,
                &format!("{} = {example}", last(key)),
                faults,
            );
            None
        }
    }
}

impl Read for bool {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Untyped(text) if text == "true" => Some(true),
            Value::Untyped(text) if text == "false" => Some(false),
            _ => {
                wrong_type(
                    node,
                    key,
                    "true or false",
                    "true or false, without quotes",
                    faults,
                );
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }
}

/// A whole number, zero or more.
impl Read for u64 {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let number = match &node.value {
            Value::Integer(integer) => Self::try_from(*integer).ok(),
            Value::Untyped(text) => text.parse().ok(),
            _ => {
                wrong_type(node, key, "a whole number", "digits without quotes", faults);
                return None;
            }
        };
        if number.is_none() {
            faults.refuse(
                &node.place,
                key,
                "is not a count",
                "write a whole number from 0 up",
            );
        }
        number
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

/// Text that says something; empty text is refused.
impl Read for String {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "text", "\"…\", in quotes", faults)?;
        if text.trim().is_empty() {
            faults.refuse(
                &node.place,
                key,
                "is empty",
                "write a value or leave the key out",
            );
            return None;
        }
        Some(text.to_owned())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}
