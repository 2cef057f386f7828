//! `[dev]`: who can sign in at the development provider.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::error::Faults;
use crate::config::file::DevTable;
use crate::config::reader::Field;
use crate::config::resolve::{count, span, table};
use crate::dev::{DevSettings, DevUser};

/// What stands for it where an address is bound.
const ANY_FREE_PORT: u16 = 0;

/// `[dev]`.
pub(super) fn dev(field: &Field<DevTable>, faults: &mut Faults) -> DevSettings {
    let (dev, _) = table(field);
    let lifetime = span(&dev.access_token_lifetime, Duration::from_mins(5), faults);
    let users = match dev.users.written() {
        Some(users) if !users.value.0.is_empty() => users
            .value
            .0
            .iter()
            .map(|user| DevUser {
                name: user.value.0.clone(),
                claims: user.value.1.0.clone(),
            })
            .collect(),
        _ => alice_and_bob(),
    };
    DevSettings {
        users,
        provider_port: count(&dev.provider_port, ANY_FREE_PORT, 1, 65_535, faults),
        access_token_seconds: lifetime.as_secs().max(1),
    }
}

fn alice_and_bob() -> Vec<DevUser> {
    let user = |name: &str, full: &str| DevUser {
        name: name.to_owned(),
        claims: Map::from_iter([
            ("name".to_owned(), json!(full)),
            ("email".to_owned(), json!(format!("{name}@example.com"))),
            ("email_verified".to_owned(), Value::Bool(true)),
        ]),
    };
    vec![user("alice", "Alice Adams"), user("bob", "Bob Brown")]
}
