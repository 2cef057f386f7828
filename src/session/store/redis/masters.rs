//! The masters of a moment: where they are, which slots of a Cluster each has, and the list in which what
//! is told there waits.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use redis::Value;

use super::names;
use super::url::Address;

const SLOTS: u16 = 16384;

/// How many lists there are at the most: a Cluster of many more masters leaves some without.
const TAGS: u32 = 256;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) address: Address,
    /// The key of the list in which its events wait; empty where it has none.
    pub(super) told: String,
    slots: Vec<RangeInclusive<u16>>,
}

impl Master {
    /// The only one.
    pub(super) fn alone(address: Address) -> Self {
        Self {
            address,
            told: names::TOLD.to_owned(),
            slots: vec![0..=SLOTS - 1],
        }
    }

    fn of_slots(address: Address, slots: Vec<RangeInclusive<u16>>) -> Self {
        let has = |slot: u16| slots.iter().any(|slots| slots.contains(&slot));
        let tag = (0..TAGS).find(|tag| has(slot(tag.to_string().as_bytes())));
        Self {
            address,
            told: tag.map(names::told).unwrap_or_default(),
            slots,
        }
    }

    fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|slots| slots.contains(&slot))
    }
}

/// The list of the master that has a key, as far as is known; empty where there is none. A master that lost
/// either of them meanwhile finds that they are not both its own, and tells at once.
pub(super) fn list_of<'a>(masters: &'a [Master], key: &str) -> &'a str {
    let slot = slot(key.as_bytes());
    let of = masters.iter().find(|master| master.has(slot));
    of.map_or("", |master| &master.told)
}

/// All lists that there may be in a Cluster.
pub(super) fn all_lists() -> impl Iterator<Item = String> {
    (0..TAGS).map(names::told)
}

/// Whether these are the same servers, whatever slots each has.
pub(super) fn are_the_same(some: &[Master], others: &[Master]) -> bool {
    some.iter()
        .map(|master| &master.address)
        .eq(others.iter().map(|master| &master.address))
}

/// The masters in an answer to `CLUSTER SLOTS`, named as the Cluster's client names them, in order.
pub(super) fn read(answer: &Value, nodes: &[Address]) -> Vec<Master> {
    let mut of: BTreeMap<(Box<str>, u16), Vec<RangeInclusive<u16>>> = BTreeMap::new();
    for range in answer.as_sequence().unwrap_or_default() {
        if let Some((host, port, slots)) = read_range(range, nodes) {
            of.entry((host, port)).or_default().push(slots);
        }
    }
    of.into_iter()
        .map(|((host, port), slots)| Master::of_slots(Address { host, port }, slots))
        .collect()
}

fn read_range(range: &Value, nodes: &[Address]) -> Option<(Box<str>, u16, RangeInclusive<u16>)> {
    let [Value::Int(first), Value::Int(last), master, ..] = range.as_sequence()? else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_sequence()? else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        _ => "",
    };
    // A node that does not know its own address is where we found it.
    let host = match host {
        "" | "0.0.0.0" | "::" => &nodes.first()?.host,
        host => host,
    };
    let slots = u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?;
    Some((host.into(), u16::try_from(*port).ok()?, slots))
}

/// The slot of a key without a tag: its CRC-16 (XMODEM), as the Cluster's specification has it.
fn slot(key: &[u8]) -> u16 {
    let crc = key.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(port: u16, slots: &[RangeInclusive<u16>]) -> Master {
        let host = "a".into();
        Master::of_slots(Address { host, port }, slots.to_vec())
    }

    /// The specification's own example, and what `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_the_cluster() {
        for (key, expected) in [("123456789", 0x31c3), ("", 0), ("foo", 12182)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    /// §4: an end is told in the step that makes it true, so where that step runs.
    #[test]
    fn what_is_told_of_a_session_waits_on_its_own_master() {
        let masters = [
            master(1, &[0..=5460]),
            master(2, &[5461..=10922]),
            master(3, &[10923..=16383]),
        ];
        for number in 0..100 {
            let key = format!("bff:s:{number}");
            let list = list_of(&masters, &key);
            let tag = list.trim_start_matches("bff:told:{").trim_end_matches('}');
            let of = |key: &str| masters.iter().position(|one| one.has(slot(key.as_bytes())));
            assert_eq!(of(tag), of(&key), "{key}: {list}");
        }
        assert_eq!(list_of(&[], "bff:s:1"), "");
    }
}
