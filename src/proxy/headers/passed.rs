//! The only fields of a request that pass, where a route names them.

use http::HeaderName;

use super::kept_back::{self, Reason};

/// Names of fields that an operator lets through, each of a kind that may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedFields(Vec<HeaderName>);

impl PassedFields {
    /// These and no others; a WebSocket's handshake and what is ours to write go with them.
    ///
    /// # Errors
    ///
    /// The first name of a field that is not the browser's to say.
    pub fn new(names: Vec<HeaderName>) -> Result<Self, (HeaderName, Reason)> {
        for name in &names {
            match kept_back::reason(name.as_str()) {
                // Whether any cookie passes; ours are taken out of it in any case.
                Some(_) if name == http::header::COOKIE => {}
                Some(reason) if !reason.may_be_passed() => return Err((name.clone(), reason)),
                Some(_) | None => {}
            }
        }
        Ok(Self(names))
    }

    /// Whether a field of the browser's passes.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.0.contains(name) || name.as_str().starts_with("sec-websocket-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I2: an operator may trust a browser with an identity, never with what is ours to say.
    #[test]
    fn what_is_not_the_browsers_to_say_cannot_be_named() {
        for (name, expected) in [
            ("accept", None),
            ("content-type", None),
            ("cookie", None),
            ("x-user-id", None),
            ("x-http-method-override", None),
            ("authorization", Some(Reason::Ours)),
            ("host", Some(Reason::Ours)),
            ("x-forwarded-for", Some(Reason::Forwarding)),
            ("transfer-encoding", Some(Reason::Connection)),
            ("x_user", Some(Reason::TwoReadings)),
        ] {
            let name = HeaderName::from_static(name);
            let refused = PassedFields::new(vec![name.clone()]).err();
            assert_eq!(refused.map(|(_, reason)| reason), expected, "{name}");
        }
    }
}
