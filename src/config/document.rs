//! A file and the environment laid over it, as one tree that remembers where each value stands.
//!
//! What the values mean is left to `reader` and above.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{Faults, Place, Source};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

impl Node {
    /// The text that stands at this path of keys.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        let mut node = self;
        for key in path {
            let Value::Table(entries) = &node.value else {
                return None;
            };
            node = &entries.get(*key)?.node;
        }
        match &node.value {
            Value::Text(text) | Value::Untyped(text) => Some(text),
            _ => None,
        }
    }
}

/// A value as TOML knows it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// From an environment variable: whatever its reader can make of it.
    Untyped(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(BTreeMap<String, Entry>),
    /// A number with a fraction or a date, which no key takes; its name.
    Other(&'static str),
}

impl Value {
    /// The entries of a table.
    pub(super) fn into_entries(self) -> Option<BTreeMap<String, Entry>> {
        match self {
            Self::Table(entries) => Some(entries),
            _ => None,
        }
    }
}

/// A key's place and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key_place: Place,
    pub(super) node: Node,
}

/// The environment, as a map that tests can make up.
pub type Variables = BTreeMap<String, String>;

/// Reads `text`, which stands in `source`, as TOML.
///
/// `None` after a syntax error, which is then the only fault of that file.
pub(super) fn parse(text: &str, source: &Source, faults: &mut Faults) -> Option<Node> {
    let lines = Lines::of(text, source);
    match DeTable::parse(text) {
        Ok(table) => Some(Node {
            place: Place::Whole,
            value: Value::Table(entries(table.into_inner(), &lines)),
        }),
        Err(error) => {
            let span = error.span();
            let line = span.as_ref().map_or("", |span| lines.line_at(span));
            faults.refuse(
                &span.map_or(Place::Whole, |span| lines.locate(&span)),
                "",
                format!(
                    "is not TOML here: {}",
                    error.message().trim_end_matches(", expected nothing")
                ),
                syntax_remedy(error.message(), line),
            );
            None
        }
    }
}

/// How the variables of sites beside bff.toml's own begin: `BFF_SITES__SHOP__PROVIDER__CLIENT_ID`.
pub(super) const OF_SITES: &str = "BFF_SITES__";

/// bff.toml with the environment laid over it: all of `BFF_TABLE__KEY` but what is for other sites.
pub(super) fn read(
    text: &str,
    source: &Source,
    variables: &Variables,
    faults: &mut Faults,
) -> Option<Node> {
    let mut root = parse(text, source, faults)?;
    overlay_own(&mut root, variables, faults);
    Some(root)
}

/// As [`read`], but what of it can be understood where it is no TOML.
pub(super) fn read_what_stands(
    text: &str,
    source: &Source,
    variables: &Variables,
    faults: &mut Faults,
) -> Node {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut root = Node {
        place: Place::Whole,
        value: Value::Table(entries(table.into_inner(), &Lines::of(text, source))),
    };
    overlay_own(&mut root, variables, faults);
    root
}

fn overlay_own(root: &mut Node, variables: &Variables, faults: &mut Faults) {
    let own = |(name, _): &(&String, &String)| {
        let path = name.strip_prefix("BFF_");
        path.is_some_and(|path| path.contains("__")) && !name.starts_with(OF_SITES)
    };
    overlay(root, variables.iter().filter(own), "BFF_", faults);
}

/// Lays the variables over the tree whose names begin with `prefix`: `BFF_TABLE__KEY`.
pub(super) fn overlay<'a>(
    root: &mut Node,
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
    prefix: &str,
    faults: &mut Faults,
) {
    for (name, value) in variables {
        if let Some(path) = name.strip_prefix(prefix) {
            overlay_one(root, name, path, value, faults);
        }
    }
}

/// What one probably meant.
fn syntax_remedy(message: &str, line: &str) -> String {
    let value = line.split_once('=').map(|(_, value)| value.trim());
    if message.contains("duplicate") {
        "write each key and table once".to_owned()
    } else if value
        .is_some_and(|value| value.starts_with('"') && !value.get(1..).unwrap_or("").contains('"'))
    {
        "write the closing quote".to_owned()
    } else if value.is_some_and(|value| !value.starts_with(['"', '\'', '[', '{'])) {
        "write text in quotes, as in key = \"value\"".to_owned()
    } else {
        "write key = \"value\" lines under a [table] line".to_owned()
    }
}

fn entries(table: DeTable<'_>, lines: &Lines<'_>) -> BTreeMap<String, Entry> {
    table
        .into_iter()
        .map(|(key, value)| {
            let key_place = lines.locate(&key.span());
            let entry = Entry {
                key_place,
                node: node(value, lines),
            };
            (key.into_inner().into_owned(), entry)
        })
        .collect()
}

fn node(value: Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let place = lines.locate(&value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("a number beyond 64 bits"), Value::Integer),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(array) => {
            Value::Array(array.into_iter().map(|item| node(item, lines)).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, lines)),
    };
    Node { value, place }
}

/// Lays one variable over the tree at `path`, as in `TABLE__KEY`.
///
/// Whether such a key exists is for the reader to say, as for a key of the file.
fn overlay_one(root: &mut Node, name: &str, path: &str, value: &str, faults: &mut Faults) {
    let path = path.to_ascii_lowercase();
    let place = Place::Variable(name.to_owned());
    if path.starts_with("route__") {
        faults.refuse(
            &place,
            "route",
            "is a list of tables, which the environment cannot reach into",
            "change the file instead",
        );
        return;
    }
    let mut here = root;
    for key in path.split("__") {
        if !matches!(here.value, Value::Table(_)) {
            faults.refuse(
                &place,
                &path.replace("__", "."),
                "reaches into something that is not a table",
                "name a key of a table, as in BFF_SERVER__LISTEN",
            );
            return;
        }
        let Value::Table(entries) = &mut here.value else {
            return;
        };
        here = &mut entries
            .entry(key.to_owned())
            .or_insert_with(|| Entry {
                key_place: place.clone(),
                node: Node {
                    place: place.clone(),
                    value: Value::Table(BTreeMap::new()),
                },
            })
            .node;
    }
    *here = Node {
        value: Value::Untyped(value.to_owned()),
        place,
    };
}

/// What an untyped value says as TOML, every part of it placed where the variable is.
pub(super) fn typed(text: &str, place: &Place) -> Option<Node> {
    let nowhere = Source::first(Path::new(""));
    let lines = Lines::of(text, &nowhere);
    let mut parsed = node(DeValue::parse(text).ok()?, &lines);
    moved(&mut parsed, place);
    Some(parsed)
}

fn moved(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| moved(item, place)),
        Value::Table(entries) => entries.values_mut().for_each(|entry| {
            entry.key_place = place.clone();
            moved(&mut entry.node, place);
        }),
        Value::Text(_)
        | Value::Untyped(_)
        | Value::Integer(_)
        | Value::Boolean(_)
        | Value::Other(_) => {}
    }
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    text: &'a str,
    source: &'a Source,
    /// Where each line starts. A file may have tens of thousands, and each value asks.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str, source: &'a Source) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            source,
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// The number of a span's first line, from 1, and where it starts.
    fn line_of(&self, span: &Range<usize>) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= span.start);
        let start = self.starts.get(line.saturating_sub(1));
        (line, start.copied().unwrap_or_default())
    }

    /// The place of a span's start.
    fn locate(&self, span: &Range<usize>) -> Place {
        let (line, start) = self.line_of(span);
        let before = self.text.get(start..span.start).unwrap_or("");
        Place::File {
            source: self.source.clone(),
            line,
            column: before.chars().count() + 1,
        }
    }

    /// The text of a span's first line.
    fn line_at(&self, span: &Range<usize>) -> &'a str {
        let (_, start) = self.line_of(span);
        let rest = self.text.get(start..).unwrap_or("");
        rest.lines().next().unwrap_or("")
    }
}

/// `table.key`, or the key alone at the root.
pub(super) fn joined(table: &str, key: &str) -> String {
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}
