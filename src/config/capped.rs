//! What is wrong in the same way with many keys or tenants: each is named, up to a number.

use std::collections::BTreeMap;

use crate::config::error::{Faults, MOST, Place};
use crate::web::printable::with_commas;

/// Counts what is refused or warned of, by what is wrong.
#[derive(Debug, Default)]
pub(super) struct Capped {
    refused: BTreeMap<String, Many>,
    warned: BTreeMap<String, Many>,
}

#[derive(Debug, Default)]
struct Many {
    count: usize,
    /// Of the first that is not told.
    untold: Option<Place>,
}

impl Capped {
    /// Notes a fault of a key, as long as not too many had the same: `group`.
    pub(super) fn refuse(
        &mut self,
        group: &str,
        (place, key): (&Place, &str),
        what: impl Into<String>,
        remedy: impl Into<String>,
        faults: &mut Faults,
    ) {
        if is_told(&mut self.refused, group, place) {
            faults.refuse(place, key, what, remedy);
        }
    }

    /// Notes something unwise in the same way.
    pub(super) fn warn(
        &mut self,
        group: &str,
        (place, key): (&Place, &str),
        what: impl Into<String>,
        remedy: impl Into<String>,
        faults: &mut Faults,
    ) {
        if is_told(&mut self.warned, group, place) {
            faults.warn(place, key, what, remedy);
        }
    }

    /// Says how many more there are.
    pub(super) fn conclude(self, faults: &mut Faults) {
        const REMEDY: &str = "mend those, and look again";
        for (place, what) in self.refused.into_values().filter_map(Many::rest) {
            faults.refuse(&place, "", what, REMEDY);
        }
        for (place, what) in self.warned.into_values().filter_map(Many::rest) {
            faults.warn(&place, "", what, REMEDY);
        }
    }
}

fn is_told(groups: &mut BTreeMap<String, Many>, group: &str, place: &Place) -> bool {
    let many = groups.entry(group.to_owned()).or_default();
    many.count += 1;
    if many.count > MOST && many.untold.is_none() {
        many.untold = Some(place.clone());
    }
    many.count <= MOST
}

impl Many {
    /// Those that were not told, and where they begin.
    fn rest(self) -> Option<(Place, String)> {
        let place = self.untold?;
        let more = with_commas(self.count - MOST);
        Some((place, format!("and {more} more like the {MOST} before")))
    }
}
