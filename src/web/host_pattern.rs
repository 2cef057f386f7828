//! The hosts that one address stands for, with a tenant's name in each.

/// The hosts that `https://{tenant}.app.example.com` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: Box<str>,
    after: Box<str>,
}

impl HostPattern {
    /// Those that begin and end so, in lower case and in A-labels; the name stands between the two.
    pub fn new(before: &str, after: &str) -> Self {
        Self {
            before: before.into(),
            after: after.into(),
        }
    }

    /// What stands in the name's place, where `host`, in lower case, is one of them.
    pub fn name_in<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = host
            .strip_prefix(&*self.before)?
            .strip_suffix(&*self.after)?;
        (!name.is_empty() && !name.contains('.')).then_some(name)
    }

    /// The host of a tenant of this name.
    pub fn host_of(&self, name: &str) -> String {
        format!("{}{name}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name is one label, or a piece of one, and never empty.
    #[test]
    fn names_are_found_in_hosts() {
        let cases = [
            ("", ".app.example.com", "acme.app.example.com", Some("acme")),
            ("", ".app.example.com", "app.example.com", None),
            ("", ".app.example.com", ".app.example.com", None),
            ("", ".app.example.com", "a.b.app.example.com", None),
            ("", ".app.example.com", "acme.app.example.org", None),
            ("app-", ".example.com", "app-acme.example.com", Some("acme")),
            ("app-", ".example.com", "app-.example.com", None),
            ("app-", "-eu.example.com", "app-eu.example.com", None),
        ];
        for (before, after, host, name) in cases {
            let pattern = HostPattern::new(before, after);
            assert_eq!(pattern.name_in(host), name, "{host}");
            if let Some(name) = name {
                assert_eq!(pattern.host_of(name), host);
            }
        }
    }
}
