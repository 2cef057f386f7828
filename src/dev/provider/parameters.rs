//! The parameters of a request or a response, in order, as a query or a form carries them.

use url::form_urlencoded;

/// Names and values in the order written; a name may stand twice, which OAuth forbids.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// What a query or an `application/x-www-form-urlencoded` body holds.
    pub fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value of `name`; an empty one counts as left out (RFC 6749 §3.1).
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, value)| *known == name && !value.is_empty())
            .map(|(_, value)| value)
    }

    /// The space-separated words of `name`.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.value(name)
            .map(|value| value.split_ascii_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// The first name that stands twice (RFC 6749 §3.1: "MUST NOT be included more than once").
    pub fn repeated(&self) -> Option<&str> {
        self.repeated_but_for(&[])
    }

    /// The same, where these may stand as often as they like.
    pub fn repeated_but_for(&self, free: &[&str]) -> Option<&str> {
        self.0.iter().enumerate().find_map(|(at, (name, _))| {
            let seen = self.0.iter().take(at).any(|(earlier, _)| earlier == name);
            (seen && !free.contains(&name.as_str())).then_some(name.as_str())
        })
    }

    /// Adds one at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Every pair, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Names alone: the values may be codes and secrets.
impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C2: a parameter that stands twice is seen.
    #[test]
    fn a_repeated_name_is_found() {
        let cases: [(&str, Option<&str>); 4] = [
            ("", None),
            ("a=1&b=2", None),
            ("a=1&b=2&a=1", Some("a")),
            ("a=&a=", Some("a")),
        ];
        for (encoded, expected) in cases {
            let parameters = Parameters::parse(encoded.as_bytes());
            assert_eq!(parameters.repeated(), expected, "{encoded}");
        }
    }

    #[test]
    fn an_empty_value_counts_as_left_out() {
        let parameters = Parameters::parse(b"a=&b=x+y");
        assert_eq!(parameters.value("a"), None);
        assert_eq!(parameters.words("b"), ["x", "y"]);
    }
}
