//! The hosts of tenants: one label, or a part of it, is the tenant's name.

use std::fmt;

/// The hosts that a `public_url` with `{tenant}` in it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: Box<str>,
    after: Box<str>,
}

impl HostPattern {
    /// Of what stands before and after the name, in lower case and in A-labels.
    pub fn new(before: &str, after: &str) -> Self {
        Self {
            before: before.into(),
            after: after.into(),
        }
    }

    /// The name in the tenant's place, where `host`, in lower case, is of this pattern.
    pub fn name_in<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = host
            .strip_prefix(&*self.before)?
            .strip_suffix(&*self.after)?;
        (!name.is_empty() && !name.contains('.')).then_some(name)
    }

    /// The host of the tenant of this name.
    pub fn host_of(&self, name: &str) -> String {
        format!("{}{name}{}", self.before, self.after)
    }

    /// The name that a certificate for all of its hosts has, where there is such a name.
    pub fn wildcard(&self) -> Option<String> {
        let (_, parent) = self.after.split_once('.')?;
        (!self.before.contains('.')).then(|| format!("*.{parent}"))
    }

    /// Whether some host could be of both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.labels(), other.labels());
        ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(one, two)| one.meets(two))
    }

    fn labels(&self) -> Vec<Label<'_>> {
        let mut before: Vec<&str> = self.before.split('.').collect();
        let mut after = self.after.split('.');
        let starts = before.pop().unwrap_or_default();
        let ends = after.next().unwrap_or_default();
        let before = before.into_iter().map(Label::Fixed);
        before
            .chain([Label::Named { starts, ends }])
            .chain(after.map(Label::Fixed))
            .collect()
    }
}

/// As an operator writes it.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host_of("{tenant}"))
    }
}

/// A label of a pattern.
enum Label<'a> {
    Fixed(&'a str),
    /// The one with the name in it.
    Named {
        starts: &'a str,
        ends: &'a str,
    },
}

impl Label<'_> {
    /// Whether some label is of both.
    fn meets(&self, other: &Self) -> bool {
        let takes = |starts: &str, ends: &str, label: &str| {
            let rest = label.strip_prefix(starts);
            let name = rest.and_then(|rest| rest.strip_suffix(ends));
            name.is_some_and(|name| !name.is_empty())
        };
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(two)) => one == two,
            (Self::Fixed(label), Self::Named { starts, ends })
            | (Self::Named { starts, ends }, Self::Fixed(label)) => takes(starts, ends, label),
            (
                Self::Named { starts, ends },
                Self::Named {
                    starts: from,
                    ends: to,
                },
            ) => {
                let one_begins = starts.starts_with(from) || from.starts_with(starts);
                let one_ends = ends.ends_with(to) || to.ends_with(ends);
                one_begins && one_ends
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        let (before, after) = text.split_once("{tenant}").unwrap();
        HostPattern::new(before, after)
    }

    /// §7: a name is one label or a part of it.
    #[test]
    fn names_are_read_off_hosts() {
        for (text, host, name) in [
            ("{tenant}.app.example", "acme.app.example", Some("acme")),
            ("{tenant}.app.example", "a.b.app.example", None),
            ("{tenant}.app.example", "app.example", None),
            ("{tenant}.app.example", ".app.example", None),
            ("{tenant}.app.example", "acme.app.example.org", None),
            ("x.{tenant}-y.example", "x.acme-y.example", Some("acme")),
            ("x.{tenant}-y.example", "x.-y.example", None),
        ] {
            assert_eq!(pattern(text).name_in(host), name, "{text} {host}");
        }
    }

    /// §7: no host is of two patterns.
    #[test]
    fn patterns_that_share_a_host_are_found() {
        for (one, two, expected) in [
            ("{tenant}.a.example", "{tenant}.a.example", true),
            ("{tenant}.a.example", "{tenant}.b.example", false),
            ("{tenant}.a.example", "{tenant}.b.a.example", false),
            ("{tenant}.a.example", "x-{tenant}.a.example", true),
            ("y-{tenant}.a.example", "x-{tenant}.a.example", false),
            ("x-{tenant}.a.example", "{tenant}-y.a.example", true),
            ("{tenant}-x.a.example", "{tenant}-y.a.example", false),
            ("{tenant}.a.example", "b.{tenant}.example", true),
            ("x-{tenant}.a.example", "b.{tenant}.example", false),
            ("{tenant}.a.example", "b.{tenant}z.example", false),
        ] {
            assert_eq!(
                pattern(one).overlaps(&pattern(two)),
                expected,
                "{one} {two}"
            );
            assert_eq!(
                pattern(two).overlaps(&pattern(one)),
                expected,
                "{two} {one}"
            );
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        for (text, expected) in [
            ("{tenant}.app.example", Some("*.app.example")),
            ("{tenant}-app.example", Some("*.example")),
            ("x.{tenant}.example", None),
            ("{tenant}", None),
        ] {
            assert_eq!(pattern(text).wildcard().as_deref(), expected, "{text}");
        }
    }
}
