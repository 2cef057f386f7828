//! The parameters of a login link that are passed on to the provider (B8): five that every login may
//! carry, and those that the operator names, with the values listed for them. What is ours is neither.

use crate::oidc::own_parameters;

/// Those that every login may carry, by their name at the provider.
pub(in crate::auth) const PASSED_ON: [&str; 5] = [
    "prompt",
    "login_hint",
    "ui_locales",
    "acr_values",
    "max_age",
];

/// What `/bff/login` itself reads.
const READ_HERE: [&str; 7] = [
    "return_to",
    "returnUrl",
    "mode",
    "tried",
    "iss",
    "target_link_uri",
    "provider",
];

/// The longest value of the operator's parameters, in characters.
const LONGEST_VALUE: usize = 200;

/// The operator's own, by their name at the provider.
#[derive(Debug, Clone, Default)]
pub struct LoginParams(Vec<(String, LoginValues)>);

/// What a link may say for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginValues {
    /// Any plain text of at most 200 characters.
    Any,
    /// One of these, as written.
    Listed(Vec<String>),
}

impl LoginParams {
    /// Those of the file.
    pub const fn new(params: Vec<(String, LoginValues)>) -> Self {
        Self(params)
    }

    /// The parameter of this name, with what a link may say for it.
    pub(in crate::auth) fn find(&self, name: &str) -> Option<(&str, &LoginValues)> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(own, values)| (own.as_str(), values))
    }
}

impl LoginValues {
    /// Whether a link may say `value`.
    pub fn allow(&self, value: &str) -> bool {
        match self {
            Self::Any => is_plain(value, LONGEST_VALUE),
            Self::Listed(values) => values.iter().any(|listed| listed == value),
        }
    }
}

/// Why the operator cannot name this parameter, and what to do about it.
pub fn why_not(name: &str) -> Option<(&'static str, &'static str)> {
    if PASSED_ON.contains(&name) {
        let remedy = "leave it out, or fix its value in provider.authorize_params";
        return Some(("is a parameter that every login link may carry", remedy));
    }
    if READ_HERE.contains(&name) {
        let remedy = "leave it out; the provider is never sent it";
        return Some(("is a parameter of /bff/login itself", remedy));
    }
    own_parameters::remedy(name).map(|remedy| ("is a parameter that bff sets itself", remedy))
}

/// Whether this is text of at most so many characters, as a person could have written it.
pub fn is_plain(value: &str, longest: usize) -> bool {
    value.chars().count() <= longest && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B8: a listed value byte for byte; any value as long as it is short and plain.
    #[test]
    fn only_what_is_listed_is_said() {
        let listed = LoginValues::Listed(vec!["google".to_owned(), "saml".to_owned()]);
        let longest = "ü".repeat(200);
        let too_long = "a".repeat(201);
        for (values, value, expected) in [
            (&listed, "google", true),
            (&listed, "saml", true),
            (&listed, "Google", false),
            (&listed, "google ", false),
            (&listed, "", false),
            (&listed, "*", false),
            (&LoginValues::Any, "acme & sons", true),
            (&LoginValues::Any, &longest, true),
            (&LoginValues::Any, &too_long, false),
            (&LoginValues::Any, "acme\r\nx", false),
            (&LoginValues::Any, "acme\0", false),
        ] {
            assert_eq!(values.allow(value), expected, "{values:?} {value:?}");
        }
    }
}
