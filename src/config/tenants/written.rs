//! `[tenants]` as written: names, each with its variables, and with a host of its own where it has one.

use serde_json::json;

use crate::config::document::{Node, Value, joined};
use crate::config::error::Faults;
use crate::config::lists::Named;
use crate::config::reader::{Field, Read, Written, wrong_type};
use crate::config::tenants::placeholders::{TENANT, is_name};
use crate::config::tls_table::TlsTable;

/// All tenants of one file, by name, in the order written.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct TenantsTable(
    pub(in crate::config) Vec<Written<(String, TenantTable)>>,
);

/// Of what cannot be read in thousands of them, some is told.
impl Read for TenantsTable {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let mut own = faults.apart();
        let read = Named::read(node, key, &mut own);
        faults.take_in_some(own);
        read.map(|Named(tenants)| Self(tenants))
    }

    fn schema() -> serde_json::Value {
        Named::<TenantTable>::schema()
    }
}

/// What is said of one tenant.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct TenantTable {
    /// Its domain, in place of the one that its name makes.
    pub(in crate::config) host: Field<String>,
    /// Certificate and key for that domain.
    pub(in crate::config) tls: Field<TlsTable>,
    /// All other keys; one that cannot be read is told of, and has no value.
    pub(in crate::config) variables: Vec<Written<(String, Option<Variable>)>>,
    /// Whether it is told of as a whole.
    pub(in crate::config) is_unreadable: bool,
}

/// What a variable says; it may be a secret.
#[derive(Clone)]
pub(in crate::config) struct Variable(pub(in crate::config) String);

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Variable(…)")
    }
}

impl Read for TenantTable {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            let remedy = format!("[{key}] and its variables, or {key} = {{}} for none");
            wrong_type(node, key, "a table", &remedy, faults);
            // Of the others there may be more to say.
            return Some(Self {
                is_unreadable: true,
                ..Self::default()
            });
        };
        let mut table = Self::default();
        for (name, entry) in entries {
            let key = joined(key, name);
            match name.as_str() {
                "host" => table.host = field(&entry.node, key, faults),
                "tls" => table.tls = field(&entry.node, key, faults),
                TENANT => faults.refuse(
                    &entry.key_place,
                    &key,
                    "is the tenant's own name, and no variable",
                    "leave it out, or give the variable another name",
                ),
                name if !is_name(name) => faults.refuse(
                    &entry.key_place,
                    &key,
                    format!("is no name for a variable: {name:?}"),
                    "write lower-case letters, digits and _, a letter first, as in idp",
                ),
                name => {
                    let value = Variable::read(&entry.node, &key, faults);
                    table.variables.push(Written {
                        value: (name.to_owned(), value),
                        key,
                        place: entry.node.place.clone(),
                    });
                }
            }
        }
        Some(table)
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "object",
            "properties": {
                "host": {
                    "type": "string",
                    "description": "A domain of its own, in place of the one that its name makes."
                },
                "tls": TlsTable::schema(),
            },
            "additionalProperties": { "type": ["string", "integer"] },
        })
    }
}

fn field<T: Read>(node: &Node, key: String, faults: &mut Faults) -> Field<T> {
    T::read(node, &key, faults).map_or(Field::Unreadable, |value| {
        Field::Written(Written {
            value,
            key,
            place: node.place.clone(),
        })
    })
}

impl Read for Variable {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        if let Value::Integer(number) = node.value {
            return Some(Self(number.to_string()));
        }
        String::read(node, key, faults).map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "integer"] })
    }
}
