//! Texts with placeholders: `{tenant}`, and `{name}` for a variable that each tenant has.
//!
//! Other braces are text, such as those of JSON.

use std::fmt;

/// What stands for a tenant's own name.
pub(in crate::config) const TENANT: &str = "tenant";

/// What stands for a site in the headers of its calls, which no tenant fills.
pub(in crate::config) const SITE: &str = "site";

const OF_NOBODY: &str = "_of_nobody_";

/// A text, cut where something is to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Fillable(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A placeholder of this name.
    Gap(String),
}

impl Fillable {
    pub(in crate::config) fn of(text: &str) -> Self {
        Self::read(text, is_name)
    }

    /// That of a header's value, where `{site}` is filled in for each call.
    pub(in crate::config) fn of_header(text: &str) -> Self {
        Self::read(text, |name| is_name(name) && name != SITE)
    }

    fn read(text: &str, is_gap: impl Fn(&str) -> bool) -> Self {
        let mut pieces = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match after.split_once('}') {
                Some((name, behind)) if is_gap(name) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Gap(name.to_owned()));
                    rest = behind;
                }
                _ => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self(pieces)
    }

    /// The names of its placeholders.
    pub(in crate::config) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Gap(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// What stands before the first placeholder.
    pub(in crate::config) fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Gap(_)) | None => "",
        }
    }

    /// The texts that a placeholder follows.
    pub(in crate::config) fn before_gaps(&self) -> impl Iterator<Item = &str> {
        self.0.windows(2).filter_map(|two| match two {
            [Piece::Text(text), Piece::Gap(_)] => Some(text.as_str()),
            _ => None,
        })
    }

    /// The whole, with what `value` says in each place.
    pub(in crate::config) fn fill<'a>(&'a self, value: impl Fn(&'a str) -> &'a str) -> String {
        let parts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Gap(name) => value(name),
        });
        parts.collect()
    }

    /// As for a tenant that is nobody's.
    pub(in crate::config) fn of_nobody(&self) -> String {
        let parts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Gap(name) => stand_in(name),
        });
        parts.collect()
    }
}

/// As it is written.
impl fmt::Display for Fillable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Gap(name) => f.write_str(&written(name)),
        })
    }
}

/// Whether a variable may be called so.
pub(in crate::config) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What stands for `{name}` where a text is read for nobody in particular. It may stand wherever a value
/// may, and with an underscore it is no tenant's name.
pub(in crate::config) fn stand_in(name: &str) -> String {
    format!("_{name}{OF_NOBODY}")
}

/// Whether something stands in for a value in `text`.
pub(in crate::config) fn is_of_nobody(text: &str) -> bool {
    text.contains(OF_NOBODY)
}

/// How `{name}` is written.
pub(in crate::config) fn written(name: &str) -> String {
    format!("{{{name}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §7: only `{name}` is a placeholder.
    #[test]
    fn placeholders_are_told_from_braces() {
        for (text, names, filled) in [
            ("", "", ""),
            ("{tenant}", "tenant", "<tenant>"),
            ("a{tenant}b{idp}", "tenant idp", "a<tenant>b<idp>"),
            ("{a_1}{b}", "a_1 b", "<a_1><b>"),
            ("{\"a\": {\"b\": 1}}", "", "{\"a\": {\"b\": 1}}"),
            ("{\"a\": \"{idp}\"}", "idp", "{\"a\": \"<idp>\"}"),
            ("{ tenant }", "", "{ tenant }"),
            ("{Tenant}{1a}{_a}{}{a-b}", "", "{Tenant}{1a}{_a}{}{a-b}"),
            ("{{tenant}}", "tenant", "{<tenant>}"),
            ("}{tenant", "", "}{tenant"),
        ] {
            let fillable = Fillable::of(text);
            let found: Vec<&str> = fillable.names().collect();
            assert_eq!(found.join(" "), names, "{text}");
            let mut expected = filled.to_owned();
            for name in found {
                expected = expected.replace(&format!("<{name}>"), &stand_in(name));
            }
            assert_eq!(fillable.of_nobody(), expected, "{text}");
            assert_eq!(fillable.to_string(), text);
        }
        let fillable = Fillable::of("env:{a}_{tenant}");
        assert_eq!(fillable.beginning(), "env:");
        assert_eq!(fillable.before_gaps().collect::<Vec<_>>(), ["env:", "_"]);
        assert_eq!(
            fillable.fill(|name| if name == TENANT { "acme" } else { "x" }),
            "env:x_acme"
        );
    }
}
