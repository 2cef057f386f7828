//! Whose login a sealed one is, where a site has several providers: it says so for the client and not the name that links call it by, so that no rename leads a code to another client.

use crate::web::registration::Registration;

/// The client whose logins a relying party takes for its own.
#[derive(Debug, Clone)]
pub struct LoginOwner {
    registration: Registration,
    /// Whether the site has other clients.
    has_others: bool,
}

impl LoginOwner {
    /// The client of this registration, at a site with others or with none.
    pub const fn new(registration: Registration, has_others: bool) -> Self {
        Self {
            registration,
            has_others,
        }
    }

    /// What its logins say of it: nothing where there is one client, so that nodes of the release before
    /// read them.
    pub(in crate::auth) fn written(&self) -> Option<Registration> {
        self.has_others.then(|| self.registration.clone())
    }

    /// Whether a login that says this is its own.
    pub(in crate::auth) fn takes(&self, written: Option<&Registration>) -> bool {
        written.map_or(!self.has_others, |written| *written == self.registration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §7: what comes of one is never taken for another's; a login that says nothing is the only client's.
    #[test]
    fn a_login_is_its_own_clients_alone() {
        let (corp, social) = (
            Registration::new("https://corp", "app"),
            Registration::new("https://social", "app"),
        );
        let one = LoginOwner::new(corp.clone(), false);
        assert_eq!(one.written(), None);
        assert!(one.takes(None) && one.takes(Some(&corp)) && !one.takes(Some(&social)));
        let several = LoginOwner::new(corp.clone(), true);
        assert_eq!(several.written().as_ref(), Some(&corp));
        assert!(
            !several.takes(None) && several.takes(Some(&corp)) && !several.takes(Some(&social))
        );
    }
}
