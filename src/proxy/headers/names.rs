//! Lists of field names: written down in groups, each with its reason, and looked up for every
//! field of every message.
//!
//! A name is found by two of its letters: the first two, or the two after `x-`. Nearly every field
//! of a browser's or an API's is told apart by those alone.

/// Names that share a reason. One that ends in `*` stands for all that begin so.
#[derive(Debug)]
pub struct Group<R: 'static> {
    /// What they have in common.
    pub reason: R,
    /// The names, in lower case.
    pub names: &'static [&'static str],
}

/// Groups, ready to be searched; where two entries fit a name, the earlier one counts.
#[derive(Debug)]
pub(super) struct Names<R: 'static, const N: usize> {
    groups: &'static [Group<R>],
    entries: [Entry; N],
    /// The first entry of each slot.
    first: [u8; SLOTS],
    /// The entry after each, in the same slot.
    next: [u8; N],
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The name, or what it begins with.
    stem: &'static str,
    open: bool,
    group: u8,
}

const SLOTS: usize = 256;
/// No entry; there are fewer.
const END: u8 = u8::MAX;

/// How many names the groups hold.
pub(super) const fn count<R>(groups: &[Group<R>]) -> usize {
    let mut count = 0;
    let mut rest = groups;
    while let Some((group, after)) = rest.split_first() {
        count += group.names.len();
        rest = after;
    }
    count
}

impl<R: Copy, const N: usize> Names<R, N> {
    /// The names of `groups`, which are `N`. At compile time; a fault in them is one of the build.
    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a const that is out of bounds does not compile"
    )]
    pub(super) const fn of(groups: &'static [Group<R>]) -> Self {
        assert!(N < END as usize, "an entry's number is a byte");
        let mut entries = [Entry {
            stem: "",
            open: false,
            group: 0,
        }; N];
        let mut at = 0;
        let mut group = 0;
        while group < groups.len() {
            let names = groups[group].names;
            let mut index = 0;
            while index < names.len() {
                entries[at] = Entry::of(names[index], group as u8);
                at += 1;
                index += 1;
            }
            group += 1;
        }
        assert!(at == N, "count(groups) is what N must be");
        let mut first = [END; SLOTS];
        let mut next = [END; N];
        // From the last to the first, so that the earlier one comes first in its slot.
        while at > 0 {
            at -= 1;
            let slot = slot(entries[at].stem.as_bytes()) as usize;
            next[at] = first[slot];
            first[slot] = at as u8;
        }
        Self {
            groups,
            entries,
            first,
            next,
        }
    }

    /// The reason of the first entry that fits `name`, which is in lower case.
    pub(super) fn find(&self, name: &str) -> Option<R> {
        let mut at = *self.first.get(usize::from(slot(name.as_bytes())))?;
        // `END` is no entry's number.
        while let Some(entry) = self.entries.get(usize::from(at)) {
            if entry.fits(name) {
                return Some(self.groups.get(usize::from(entry.group))?.reason);
            }
            at = *self.next.get(usize::from(at))?;
        }
        None
    }
}

impl Entry {
    const fn of(pattern: &'static str, group: u8) -> Self {
        let (stem, open) = match pattern.as_bytes() {
            [.., b'*'] => (pattern.split_at(pattern.len() - 1).0, true),
            _ => (pattern, false),
        };
        let letters = match stem.as_bytes() {
            [b'x', b'-', letters @ ..] | letters => letters,
        };
        assert!(letters.len() >= 2, "two letters find an entry");
        Self { stem, open, group }
    }

    fn fits(&self, name: &str) -> bool {
        if self.open {
            name.starts_with(self.stem)
        } else {
            name == self.stem
        }
    }
}

/// Where a name is looked for; what lies together in one slot is compared in full.
const fn slot(name: &[u8]) -> u8 {
    match name {
        [b'x', b'-', one, two, ..] => mix(*one, *two) ^ 0x80,
        [one, two, ..] => mix(*one, *two),
        _ => 0,
    }
}

const fn mix(one: u8, two: u8) -> u8 {
    one.wrapping_mul(11) ^ two
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &[Group<char>] = &[
        Group {
            reason: 'a',
            names: &["sec-websocket-*", "x-accel-buffering"],
        },
        Group {
            reason: 'b',
            names: &["sec-*", "x-accel-*", "te", "nel", "x-user"],
        },
    ];
    const NAMES: &Names<char, { count(GROUPS) }> = &Names::of(GROUPS);

    #[test]
    fn a_name_is_found_whole_or_by_its_beginning() {
        for (name, expected) in [
            ("nel", Some('b')),
            ("te", Some('b')),
            ("t", None),
            ("", None),
            ("test", None),
            ("nels", None),
            ("x-user", Some('b')),
            ("x-user-zone", None),
            ("x-", None),
            ("sec-session", Some('b')),
            ("sec-websocket-accept", Some('a')),
            ("sec", None),
            ("x-accel-buffering", Some('a')),
            ("x-accel-redirect", Some('b')),
            ("x-accel-buffering-x", Some('b')),
        ] {
            assert_eq!(NAMES.find(name), expected, "{name}");
        }
    }
}
