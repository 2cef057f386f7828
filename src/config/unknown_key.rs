//! What to say of a key that no table has: the nearest one that does exist.

use crate::config::document::joined;
use crate::config::error::{Faults, Place};

/// Keys that are planned and that this version does not have.
const LATER: &[&str] = &["provider.pushed_authorization", "metrics"];

/// How alike two keys must be for one to be taken for the other's misspelling.
const ALIKE: f64 = 0.8;

/// Notes the unknown key `name` in `table`, whose keys are `known`.
pub(super) fn note(table: &str, name: &str, known: &[&str], place: &Place, faults: &mut Faults) {
    let key = joined(table, name);
    if LATER.contains(&key.as_str()) {
        faults.refuse(
            place,
            &key,
            "is not available in this version",
            "leave it out",
        );
        return;
    }
    let what = if table.is_empty() {
        "is not a known table".to_owned()
    } else {
        format!("is not a key of [{table}]")
    };
    faults.refuse(
        place,
        &key,
        what,
        remedy(table, name, known, &faults.every_key()),
    );
}

fn remedy(table: &str, name: &str, known: &[&str], every_key: &[String]) -> String {
    if let Some(nearest) = nearest(name, known) {
        return if table.is_empty() {
            format!("write [{nearest}] instead")
        } else {
            format!("write {nearest} instead")
        };
    }
    // The right key in the wrong table.
    let elsewhere = every_key.iter().find_map(|path| {
        let (table, key) = path.rsplit_once('.')?;
        (key == name).then(|| format!("{name} belongs into [{table}]"))
    });
    elsewhere.unwrap_or_else(|| {
        let mut known = known.to_vec();
        known.sort_unstable();
        format!("the keys are {}", known.join(", "))
    })
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(name, key), *key))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, key)| key)
}
