//! What to say of a provider without a secret.

use crate::config::error::{Faults, Place};

/// Nothing proves to it who we are, and why that may be.
#[derive(Debug, Default)]
pub(super) struct MissingSecret(Option<NotInherited>);

/// Another provider's, which was left behind.
#[derive(Debug)]
struct NotInherited {
    /// Where it stands.
    of: &'static str,
    /// A variable for one of this provider's own.
    variable: String,
}

impl MissingSecret {
    /// That of `of` is another issuer's; `name` is that of the site or the provider.
    pub(super) fn not_inherited(of: &'static str, name: &str) -> Self {
        let name = name.to_ascii_uppercase().replace(['-', '.', '/'], "_");
        Self(Some(NotInherited {
            of,
            variable: format!("{name}_SECRET"),
        }))
    }

    /// Notes it of the table at `place`; `what` is said where none was left behind.
    pub(super) fn refuse(&self, place: &Place, what: &str, faults: &mut Faults) {
        let (what, remedy) = match &self.0 {
            Some(NotInherited { of, variable }) => (
                format!("is missing: that of {of} is for its own issuer and is not inherited"),
                format!(
                    "write one of this provider's own, as in client_secret = \"env:{variable}\""
                ),
            ),
            None => (
                what.to_owned(),
                "write client_secret = \"env:BFF_CLIENT_SECRET\" and set that variable".to_owned(),
            ),
        };
        faults.refuse(place, "provider.client_secret", what, remedy);
    }
}
