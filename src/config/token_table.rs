//! `route.token` as written: a word, or a table of what the token is asked for.

use serde_json::json;

use crate::config::document::{Node, Value};
use crate::config::error::Faults;
use crate::config::lists::OneOrMany;
use crate::config::reader::{Read, Written, table, wrong_type};
use crate::config::words::{Choice, Chosen};
use crate::web::token_spec::ExchangeForm;

/// Which token a route's calls carry.
#[derive(Debug, Clone)]
pub(super) enum TokenChoice {
    /// One that needs nothing more to be said.
    Word(TokenWord),
    /// One that is asked for something in particular.
    Table(Box<TokenTable>),
}

impl Read for TokenChoice {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Table(_) => {
                TokenTable::read(node, key, faults).map(|table| Self::Table(Box::new(table)))
            }
            Value::Text(_) | Value::Untyped(_) => {
                Chosen::read(node, key, faults).map(|Chosen(word)| Self::Word(word))
            }
            _ => {
                let remedy =
                    "\"user\", or a table such as { resource = \"https://orders.example.com\" }";
                wrong_type(node, key, "a word or a table", remedy, faults);
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [Chosen::<TokenWord>::schema(), TokenTable::schema()] })
    }
}

/// The tokens of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenWord {
    User,
    Client,
    UserOrClient,
    None,
}

impl Choice for TokenWord {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("user", Self::User),
            ("client", Self::Client),
            ("user_or_client", Self::UserOrClient),
            ("none", Self::None),
        ]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[
        (
            "exchange",
            "must say for what the token is exchanged",
            "write { exchange = { audience = \"orders\" } }",
        ),
        (
            "id_token",
            "is for us alone: an API that took it would take it of every other app too",
            "write \"user\", or identity = true for an upstream that takes no access token",
        ),
    ];
}

table! {
    /// An access token of the session's for this resource, or one of the other forms.
    TokenTable {
        /// Absolute addresses of the APIs that it is for (RFC 8707).
        resource: OneOrMany<String>,
        /// What it is for, in the provider's own words, where it takes no resource.
        audience: String,
        /// Its scopes. Default those that were granted.
        scopes: Vec<Written<String>>,
        /// Our own, by client credentials.
        client: ClientTokenTable,
        /// The session's own where there is a session, else ours.
        user_or_client: ClientTokenTable,
        /// Another in exchange for the session's own (RFC 8693).
        exchange: ExchangeTable,
    }
}

table! {
    /// A token of our own, by client credentials.
    ClientTokenTable {
        /// Its scopes. Default those that the provider gives unasked.
        scopes: Vec<Written<String>>,
        /// Absolute addresses of the APIs that it is for (RFC 8707).
        resource: OneOrMany<String>,
        /// What it is for, in the provider's own words.
        audience: String,
    }
}

table! {
    /// A token in exchange for the session's own.
    ExchangeTable {
        /// What it is for, in the provider's own words.
        audience: String,
        /// Absolute addresses of the APIs that it is for.
        resource: OneOrMany<String>,
        /// Its scopes.
        scopes: Vec<Written<String>>,
        /// What kind of token is asked for. Default what the provider gives.
        requested_token_type: String,
        /// Who acts for the user, by a token of its own. Default nobody.
        actor: Chosen<Actor>,
        /// The grant: that of RFC 8693, or Entra ID's on-behalf-of. Default "token-exchange".
        grant: Chosen<ExchangeForm>,
    }
}

/// Who acts for the user whose token is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    Client,
}

impl Choice for Actor {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("client", Self::Client)]
    }
}

impl Choice for ExchangeForm {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("token-exchange", Self::TokenExchange),
            ("jwt-bearer", Self::OnBehalfOf),
        ]
    }

    const REFUSED: &'static [(&'static str, &'static str, &'static str)] = &[(
        "on_behalf_of",
        "is not what the grant is called",
        "write \"jwt-bearer\"",
    )];
}
