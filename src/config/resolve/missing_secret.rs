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
    /// The key that sends it elsewhere, where that is another than the issuer.
    astray: Option<(String, Place)>,
    /// A variable for one of this provider's own.
    variable: String,
}

impl MissingSecret {
    /// That of `of` is another issuer's, or would go `astray`; `name` is that of the site or the provider.
    pub(super) fn not_inherited(
        of: &'static str,
        astray: Option<(String, Place)>,
        name: &str,
    ) -> Self {
        let name = name.to_ascii_uppercase().replace(['-', '.', '/'], "_");
        Self(Some(NotInherited {
            of,
            astray,
            variable: format!("{name}_SECRET"),
        }))
    }

    /// Notes it of the table at `place`; `what` is said where none was left behind.
    pub(super) fn refuse(&self, place: &Place, what: &str, faults: &mut Faults) {
        let (what, remedy) = match &self.0 {
            Some(NotInherited {
                of,
                astray: Some((key, place)),
                variable,
            }) => {
                let what = format!(
                    "sends the client elsewhere, so that the secret of {of} is not inherited"
                );
                let remedy = format!(
                    "write the secret beside it, as in client_secret = \"env:{variable}\", or this key in {of}"
                );
                return faults.refuse(place, key, what, remedy);
            }
            Some(NotInherited {
                of,
                astray: None,
                variable,
            }) => (
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
