//! What to say of keys that no table has: the nearest one that does exist, or where it belongs.

use std::collections::BTreeMap;

use crate::config::capped::Capped;
use crate::config::document::{Entry, Value, joined};
use crate::config::error::Faults;
use crate::config::sites::process;

/// A key that stands at the top of a site's file, and nowhere at the top of bff.toml.
const OF_A_SITE: &str = "public_url";

/// How alike two keys must be for one to be taken for the other's misspelling.
const ALIKE: f64 = 0.8;

/// Notes every key of `table` that is not among `known`, up to a number, in the order written.
pub(super) fn note_all(
    table: &str,
    entries: &BTreeMap<String, Entry>,
    known: &[&str],
    faults: &mut Faults,
) {
    let unknown = entries
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_str()));
    let mut unknown: Vec<(&String, &Entry)> = unknown.collect();
    unknown.sort_by_key(|(_, entry)| &entry.key_place);
    let mut capped = Capped::default();
    for (name, entry) in unknown {
        let (what, remedy) = told(table, (name, entry), known, faults);
        let key = joined(table, name);
        capped.refuse("unknown", (&entry.key_place, &key), what, remedy, faults);
    }
    capped.conclude(faults);
}

/// What is wrong with one, and what to do.
fn told(
    table: &str,
    (name, entry): (&str, &Entry),
    known: &[&str],
    faults: &Faults,
) -> (String, String) {
    // bff.toml has tables at its top, a site's file keys as well.
    let (is_top, has_keys) = (table.is_empty(), known.contains(&OF_A_SITE));
    let what = match (is_top, has_keys) {
        (true, true) => "is neither a key nor a table of a site".to_owned(),
        (true, false) => "is not a known table".to_owned(),
        (false, _) => format!("is not a key of [{table}]"),
    };
    let remedy = match nearest(name, known) {
        _ if table == "provider" && is_one_of_several(entry, known) => {
            format!("write [providers.{name}] instead")
        }
        Some(nearest) if is_top && !has_keys => format!("write [{nearest}] instead"),
        Some(nearest) => format!("write {nearest} instead"),
        None => elsewhere((name, entry), &faults.every_key()).unwrap_or_else(|| {
            let mut known = known.to_vec();
            known.sort_unstable();
            format!("the keys are {}", known.join(", "))
        }),
    };
    (what, remedy)
}

/// Whether it is a table with keys of a provider.
fn is_one_of_several(entry: &Entry, of_provider: &[&str]) -> bool {
    let Value::Table(entries) = &entry.node.value else {
        return false;
    };
    entries
        .keys()
        .any(|key| of_provider.contains(&key.as_str()))
}

/// Where to write the right key that stands in the wrong table.
fn elsewhere((name, entry): (&str, &Entry), every_key: &[String]) -> Option<String> {
    let is_of_a_site = every_key.iter().any(|path| path == OF_A_SITE);
    every_key.iter().find_map(|path| {
        if path == name {
            return at_the_top((name, entry), every_key);
        }
        let (table, key) = path.rsplit_once('.')?;
        let file = if is_of_a_site && process::is_of_bff_toml_alone(table, key) {
            " of bff.toml"
        } else {
            ""
        };
        (key == name).then(|| format!("{name} belongs into [{table}]{file}"))
    })
}

/// How to write a key or a table that stands in no other table.
fn at_the_top((name, entry): (&str, &Entry), every_key: &[String]) -> Option<String> {
    let inner = format!("{name}.");
    let Value::Table(entries) = &entry.node.value else {
        let is_table = every_key.iter().any(|path| path.starts_with(&inner));
        let remedy = "write it at the top of the file, before the first [table]";
        return (!is_table).then(|| remedy.to_owned());
    };
    // As in `tenants.acme = { … }` below another table.
    let of_one = entries
        .iter()
        .find(|(_, entry)| matches!(entry.node.value, Value::Table(_)));
    Some(match of_one {
        Some((one, _)) => format!("write [{name}.{one}]"),
        None => format!("write [{name}]"),
    })
}

/// The one of `known` that `name` was probably meant for.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(name, key), *key))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, key)| key)
}
