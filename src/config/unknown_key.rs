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
    // bff.toml has tables at its top, a site's file keys as well.
    let (is_top, has_keys) = (table.is_empty(), known.contains(&"public_url"));
    let what = match (is_top, has_keys) {
        (true, true) => "is neither a key nor a table of a site".to_owned(),
        (true, false) => "is not a known table".to_owned(),
        (false, _) => format!("is not a key of [{table}]"),
    };
    let remedy = match nearest(name, known) {
        Some(nearest) if is_top && !has_keys => format!("write [{nearest}] instead"),
        Some(nearest) => format!("write {nearest} instead"),
        None => elsewhere(name, known, &faults.every_key()),
    };
    faults.refuse(place, &key, what, remedy);
}

fn elsewhere(name: &str, known: &[&str], every_key: &[String]) -> String {
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

/// The one of `known` that `name` was probably meant for.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(name, key), *key))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, key)| key)
}
