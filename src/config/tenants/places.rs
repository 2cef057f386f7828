//! Where in a site's document placeholders may stand, and what each place may hold.

use crate::config::document::{Node, Value};
use crate::config::error::Place;
use crate::config::lists;
use crate::config::tenants::placeholders::Fillable;

/// What a place may hold, which is what the values are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    /// An address, without a query.
    Address,
    /// An address that may have a query of its own.
    Endpoint,
    /// A secret, or where it is.
    Secret,
    /// Text that a provider is sent.
    Plain,
    /// A scope of its own.
    Scope,
    /// A header's value.
    Header,
}

/// A step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Step {
    Key(String),
    Item(usize),
}

/// A text with placeholders, and where it stands.
#[derive(Debug, Clone)]
pub(in crate::config) struct Spot {
    pub(in crate::config) kind: Kind,
    pub(in crate::config) text: Fillable,
    /// The key's path, as in a sentence.
    pub(in crate::config) key: String,
    pub(in crate::config) place: Place,
    path: Vec<Step>,
}

/// A placeholder, or what would be one, in a place that takes none.
#[derive(Debug, Clone)]
pub(in crate::config) struct Stray {
    pub(in crate::config) name: String,
    pub(in crate::config) key: String,
    pub(in crate::config) place: Place,
}

/// All that looks like a placeholder in a document.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct Found {
    pub(in crate::config) spots: Vec<Spot>,
    pub(in crate::config) strays: Vec<Stray>,
}

impl Spot {
    /// Writes `text` in its place.
    pub(in crate::config) fn put(&self, root: &mut Node, text: String) {
        put(root, &self.path, text);
    }

    /// Whether it is said of one of several providers.
    pub(in crate::config) fn is_of_several(&self) -> bool {
        matches!(names(&self.path)[..], ["providers", ..])
    }

    /// Whether it is said of the only provider, or inherited by several.
    pub(in crate::config) fn is_of_the_only_provider(&self) -> bool {
        matches!(names(&self.path)[..], ["provider", ..])
    }

    /// Whether it says where a secret is.
    pub(in crate::config) fn names_a_secret(&self) -> bool {
        let beginning = self.text.beginning();
        self.kind == Kind::Secret
            && (beginning.starts_with("env:") || beginning.starts_with("file:"))
    }

    /// Whether `other` says where this secret is sent.
    pub(in crate::config) fn goes_to(&self, other: &Self) -> bool {
        let is_address = matches!(other.kind, Kind::Address | Kind::Endpoint);
        let table = self.key.rsplit_once('.').map(|(table, _)| table);
        let below = table.and_then(|table| other.key.strip_prefix(table));
        is_address && below.is_some_and(|below| below.starts_with('.'))
    }

    /// Whether each tenant may have the file of a secret here.
    pub(in crate::config) fn names_a_secret_file(&self) -> bool {
        self.names_a_secret() && self.text.beginning().starts_with("file:")
    }
}

/// Writes `text` where a text stands.
pub(in crate::config) fn put(root: &mut Node, path: &[Step], text: String) {
    let mut node = root;
    for step in path {
        let below = match (step, &mut node.value) {
            (Step::Key(key), Value::Table(entries)) => {
                entries.get_mut(key).map(|entry| &mut entry.node)
            }
            (Step::Item(index), Value::Array(items)) => items.get_mut(*index),
            _ => None,
        };
        let Some(below) = below else { return };
        node = below;
    }
    if let Value::Text(value) | Value::Untyped(value) = &mut node.value {
        *value = text;
    }
}

/// Looks through a document. Lists and tables that a variable of the environment writes as text become
/// what they say, so that no value can add to them.
pub(in crate::config) fn find(root: &mut Node) -> Found {
    let mut found = Found::default();
    walk(root, &mut Vec::new(), &mut found);
    found
}

fn walk(node: &mut Node, path: &mut Vec<Step>, found: &mut Found) {
    expand(node, path);
    match &mut node.value {
        Value::Text(text) | Value::Untyped(text) => {
            let kind = kind(path);
            let text = match kind {
                Some(Kind::Header) => Fillable::of_header(text),
                _ => Fillable::of(text),
            };
            if text.names().next().is_none() {
                return;
            }
            match kind {
                Some(kind) => found.spots.push(Spot {
                    kind,
                    text,
                    key: key(path),
                    place: node.place.clone(),
                    path: path.clone(),
                }),
                None => found.strays_in(&text, path, &node.place),
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(Step::Item(index));
                walk(item, path, found);
                path.pop();
            }
        }
        Value::Table(entries) => {
            for (name, entry) in entries {
                path.push(Step::Key(name.clone()));
                if !is_set_aside(path) {
                    found.strays_in(&Fillable::of(name), path, &entry.key_place);
                    walk(&mut entry.node, path, found);
                }
                path.pop();
            }
        }
        Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {}
    }
}

impl Found {
    fn strays_in(&mut self, text: &Fillable, path: &[Step], place: &Place) {
        self.strays.extend(text.names().map(|name| Stray {
            name: name.to_owned(),
            key: key(path),
            place: place.clone(),
        }));
    }
}

fn expand(node: &mut Node, path: &[Step]) {
    let (Value::Untyped(text), Some(Step::Key(_))) = (&node.value, path.last()) else {
        return;
    };
    let expanded = match of_provider(&names(path)) {
        Some(["scopes"]) => Some(Value::Array(lists::of_variable(text, &node.place))),
        Some(["authorize_params" | "logout_params"]) => lists::table_of_variable(text, &node.place),
        _ => None,
    };
    if let Some(expanded) = expanded {
        node.value = expanded;
    }
}

/// What is read by itself: the tenants, and where they are found.
fn is_set_aside(path: &[Step]) -> bool {
    matches!(
        names(path)[..],
        ["tenants" | "public_url"] | ["server", "public_url"]
    )
}

/// The keys of a path; an item of a list goes by its list.
fn names(path: &[Step]) -> Vec<&str> {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Item(_) => None,
    });
    keys.collect()
}

fn key(path: &[Step]) -> String {
    names(path).join(".")
}

/// What lies below a table that says who a provider is.
fn of_provider<'a, 'b>(names: &'b [&'a str]) -> Option<&'b [&'a str]> {
    match names {
        ["provider", below @ ..] | ["providers", _, below @ ..] => Some(below),
        _ => None,
    }
}

fn kind(path: &[Step]) -> Option<Kind> {
    let names = names(path);
    if let Some(below) = of_provider(&names) {
        return match below {
            ["issuer" | "internal_url"] => Some(Kind::Address),
            ["endpoints", _] => Some(Kind::Endpoint),
            ["client_secret" | "client_key"] => Some(Kind::Secret),
            ["client_id"] | ["authorize_params" | "logout_params", _] => Some(Kind::Plain),
            ["scopes"] => Some(Kind::Scope),
            _ => None,
        };
    }
    match names[..] {
        ["route", "request_headers", "set", _] => Some(Kind::Header),
        ["route", "upstream"] | ["route", "token", .., "resource"] => Some(Kind::Address),
        ["route", "token", .., "audience"] | ["route", "identity", "audience"] => Some(Kind::Plain),
        ["route", "token", .., "scopes"] => Some(Kind::Scope),
        _ => None,
    }
}
