//! What a session knows of its user for rules and headers: the claims that its browser may see, and those
//! beside them that were kept for us.

use serde_json::{Map, Value};

use crate::web::claims::find;

/// The member of a login's facts that holds the claims kept for us, by their paths.
const KEPT: &str = "claims";
/// The member that holds the scopes that were granted.
const SCOPE: &str = "scope";

/// The claims of one session, as they are read once.
#[derive(Debug, Default)]
pub struct HeldClaims {
    shown: Map<String, Value>,
    kept: Map<String, Value>,
    scopes: Vec<String>,
}

/// What is known of a claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Held<'a> {
    /// It says this.
    Said(&'a Value),
    /// The login was asked for it, and did not say it.
    Unsaid,
    /// Nobody asked the login for it: whoever wants it now wrote so later.
    Unknown,
}

impl HeldClaims {
    /// Those of the two objects that a session is kept with.
    pub(in crate::session) fn read(shown: &str, grant_facts: &str) -> Self {
        let object = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
        let mut facts = object(grant_facts);
        let kept = match facts.remove(KEPT) {
            Some(Value::Object(kept)) => kept,
            _ => Map::new(),
        };
        let scopes = match facts.remove(SCOPE) {
            Some(Value::Array(scopes)) => scopes
                .iter()
                .filter_map(|scope| Some(scope.as_str()?.to_owned()))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            shown: object(shown),
            kept,
            scopes,
        }
    }

    /// Those that the browser app sees.
    pub const fn shown(&self) -> &Map<String, Value> {
        &self.shown
    }

    /// The claim at this path.
    pub fn get(&self, path: &str) -> Held<'_> {
        let found = self.kept.get(path).or_else(|| find(&self.shown, path));
        match found {
            Some(Value::Null) => Held::Unsaid,
            Some(value) => Held::Said(value),
            None => Held::Unknown,
        }
    }

    /// Whether one of these scopes was granted at the login.
    pub fn has_any_scope(&self, wanted: &[String]) -> bool {
        self.scopes.iter().any(|scope| wanted.contains(scope))
    }
}

/// Lays claims for us beside the facts of a login, each by the path that it is asked by; one that the
/// login did not say is null. They travel there since the releases before take no further field of a
/// record, and read past a member that they do not know.
pub fn keep(facts: &mut Map<String, Value>, kept: Map<String, Value>) {
    if !kept.is_empty() {
        facts.insert(KEPT.to_owned(), Value::Object(kept));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// §8: what the login did not say is told from what nobody asked it for.
    #[test]
    fn a_claim_is_said_unsaid_or_unknown() {
        let mut facts = Map::new();
        facts.insert("scope".to_owned(), json!(["openid", "orders"]));
        let Value::Object(kept) = json!({ "realm_access.roles": ["a"], "groups": null }) else {
            panic!()
        };
        keep(&mut facts, kept);
        let facts = Value::Object(facts).to_string();
        let held = HeldClaims::read(r#"{"sub":"1","address":{"country":"ch"}}"#, &facts);
        assert_eq!(held.get("sub"), Held::Said(&json!("1")));
        assert_eq!(held.get("address.country"), Held::Said(&json!("ch")));
        assert_eq!(held.get("realm_access.roles"), Held::Said(&json!(["a"])));
        assert_eq!(held.get("groups"), Held::Unsaid);
        assert_eq!(held.get("realm_access"), Held::Unknown);
        assert!(held.has_any_scope(&["x".to_owned(), "orders".to_owned()]));
        assert!(!held.has_any_scope(&["order".to_owned()]));
        // One of a release that kept none.
        let held = HeldClaims::read("{}", r#"{"iat":1}"#);
        assert_eq!(held.get("groups"), Held::Unknown);
        assert!(matches!(HeldClaims::read("", "no").get("a"), Held::Unknown));
    }
}
