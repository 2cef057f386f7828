//! `route.identity` as written: true, or a table of what the token says.

use serde_json::json;

use crate::config::document::{Node, Value};
use crate::config::error::Faults;
use crate::config::reader::{Read, Written, table, wrong_type};

/// Whether upstreams are told who calls, and how.
#[derive(Debug, Clone)]
pub(super) enum IdentityChoice {
    /// In the usual way, or not.
    Plain(bool),
    /// In this way.
    Table(Box<IdentityTable>),
}

impl Read for IdentityChoice {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Table(_) => {
                IdentityTable::read(node, key, faults).map(|table| Self::Table(Box::new(table)))
            }
            Value::Boolean(_) => bool::read(node, key, faults).map(Self::Plain),
            _ => {
                let remedy = "true, or a table such as { audience = \"orders\" }";
                wrong_type(node, key, "true or a table", remedy, faults);
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [bool::schema(), IdentityTable::schema()] })
    }
}

table! {
    /// A signed token that tells the upstream who calls.
    IdentityTable {
        /// Whom it is for. Default the upstream's origin.
        audience: String,
        /// The claims that it has, by name or dotted path. Default those that the browser app sees.
        claims: Vec<Written<String>>,
        /// The header that it travels in. Default "X-BFF-Identity".
        header: String,
    }
}
