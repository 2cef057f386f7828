//! What a provider's metadata offer, word by word.

use serde_json::{Map, Value};

/// The metadata as an offer. What is missing, empty or of another type says nothing.
pub(super) struct Offer<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Offer<'a> {
    pub(super) fn list(&self, name: &str) -> Option<Vec<&'a str>> {
        let items = self.0.get(name)?.as_array()?;
        let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
        (!items.is_empty()).then_some(items)
    }

    /// Whether `word` stands in the list of that name, or there is no such list.
    pub(super) fn may_be(&self, name: &str, word: &str) -> bool {
        self.list(name).is_none_or(|list| list.contains(&word))
    }

    pub(super) fn demands(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    pub(super) fn address(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Keycloak is known by where its token endpoint is.
    pub(super) fn is_keycloak(&self) -> bool {
        self.address("issuer")
            .zip(self.address("token_endpoint"))
            .and_then(|(issuer, endpoint)| endpoint.strip_prefix(issuer))
            .is_some_and(|path| path == "/protocol/openid-connect/token")
    }
}
