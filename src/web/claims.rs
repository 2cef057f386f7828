//! Claims as rules and headers read them: found by a path, and told as text.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The claim at a path: of this very name, or of the name before some dot and within it. Names may have
/// dots of their own, as `https://example.com/roles` has, so the longest that is there is tried first.
pub fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        let within = claims.get(name)?.as_object()?;
        find(within, rest.strip_prefix('.')?)
    })
}

/// What a claim says: one text, or that of each item of a list. What is nested deeper is told as JSON.
pub fn texts(value: &Value) -> impl Iterator<Item = Cow<'_, str>> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        one => std::slice::from_ref(one),
    };
    items.iter().map(|item| match item {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// §8: a claim is found by its name or by a dotted path, whichever dots its names have.
    #[test]
    fn a_claim_is_found_by_name_or_path() {
        let Value::Object(claims) = json!({
            "roles": ["a", "b"],
            "a.b": 1,
            "a": { "b": 2, "c": { "d": 3 } },
            "https://example.com/roles": "x",
            "resource_access": { "my.app": { "roles": ["r"] } },
            "email_verified": true,
            "nothing": null,
        }) else {
            panic!()
        };
        for (path, says) in [
            ("roles", Some("a,b")),
            ("a.b", Some("1")),
            ("a.c.d", Some("3")),
            ("a.c", Some("{\"d\":3}")),
            ("https://example.com/roles", Some("x")),
            ("resource_access.my.app.roles", Some("r")),
            ("email_verified", Some("true")),
            ("nothing", Some("")),
            ("roles.a", None),
            ("a.", None),
            (".a", None),
            ("", None),
            ("a.c.e", None),
        ] {
            let found = find(&claims, path);
            let said = found.map(|value| texts(value).collect::<Vec<_>>().join(","));
            assert_eq!(said.as_deref(), says, "{path}");
        }
    }
}
