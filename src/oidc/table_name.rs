//! Which table of the configuration describes a provider, for the sentences that name its keys.

use std::fmt;

/// `provider`, or `providers.NAME` where a site has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(Box<str>);

/// How sentences speak that are written before anybody knows which of several is meant.
const OF_ONE: &str = "provider";

impl TableName {
    /// That of one of several.
    pub fn of(name: &str) -> Self {
        Self(format!("providers.{name}").into())
    }

    /// What is said of keys of `provider`, as said of this table's.
    pub fn tell(&self, text: &str) -> String {
        if &*self.0 == OF_ONE {
            return text.to_owned();
        }
        let mut told = String::with_capacity(text.len() + self.0.len());
        let mut rest = text;
        while let Some(at) = rest.find("provider.") {
            let (before, found) = rest.split_at(at);
            let after = found.strip_prefix(OF_ONE).unwrap_or_default();
            // A sentence may end in the word, and an address may hold it.
            let is_key = after.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase)
                && before
                    .bytes()
                    .last()
                    .is_none_or(|byte| b" \"[(".contains(&byte));
            told.push_str(before);
            told.push_str(if is_key { &self.0 } else { OF_ONE });
            rest = after;
        }
        told.push_str(rest);
        told
    }
}

impl Default for TableName {
    fn default() -> Self {
        Self(OF_ONE.into())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads of a fault finds the key where it is told of.
    #[test]
    fn a_sentence_names_the_keys_of_its_table() {
        let cases = [
            ("provider.scopes asks", "providers.corp.scopes asks"),
            (
                "; write logout = \"local\", or provider.endpoints.jwks",
                "; write logout = \"local\", or providers.corp.endpoints.jwks",
            ),
            ("told by the provider. Then", "told by the provider. Then"),
            ("https://provider.example", "https://provider.example"),
            ("providers.corp.issuer is", "providers.corp.issuer is"),
        ];
        for (text, expected) in cases {
            assert_eq!(TableName::of("corp").tell(text), expected);
            assert_eq!(TableName::default().tell(text), text);
        }
    }
}
