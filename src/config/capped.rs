//! What is wrong in the same way with many keys or tenants: each is named, up to a number.

use std::collections::BTreeMap;

use crate::config::error::{Faults, Place};

/// As many as somebody reads.
const MOST: usize = 20;

/// Counts what is refused, by what is wrong.
#[derive(Debug, Default)]
pub(super) struct Capped(BTreeMap<String, Many>);

#[derive(Debug)]
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
        let many = self.0.entry(group.to_owned()).or_insert(Many {
            count: 0,
            untold: None,
        });
        many.count += 1;
        if many.count <= MOST {
            faults.refuse(place, key, what, remedy);
        } else if many.untold.is_none() {
            many.untold = Some(place.clone());
        }
    }

    /// Says how many more there are.
    pub(super) fn conclude(self, faults: &mut Faults) {
        for many in self.0.into_values() {
            if let Some(place) = many.untold {
                let more = many.count - MOST;
                let what = format!("and {more} more like the {MOST} before");
                faults.refuse(&place, "", what, "mend those, and look again");
            }
        }
    }
}
