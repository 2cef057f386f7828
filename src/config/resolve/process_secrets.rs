//! The secrets of the process itself, which nobody else is to be told: what a provider is shown is named by
//! sites and by tenants' lines, and neither may name one of these.

use std::fmt;

use zeroize::Zeroizing;

use crate::config::document::Variables;
use crate::config::file::File;
use crate::config::folder::Folder;
use crate::config::lists::Named;
use crate::config::reader::Written;
use crate::config::resolve::table;
use crate::config::secret_source::SecretSource;

/// What the session keys and the keys of administration are, each with the key that says so.
pub(in crate::config) struct ProcessSecrets {
    said: Vec<(String, Zeroizing<String>)>,
    /// What they are in, and the store's address as well.
    named: Vec<(String, String)>,
}

impl fmt::Debug for ProcessSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessSecrets({} of them)", self.said.len())
    }
}

impl ProcessSecrets {
    /// Where nothing is judged.
    pub(in crate::config) const NONE: &'static Self = &Self {
        said: Vec::new(),
        named: Vec::new(),
    };

    /// Those that `file` names; what is wrong with one is said where it is used.
    pub(super) fn of(file: &File, variables: &Variables, folder: &Folder) -> Self {
        let (server, _) = table(&file.server);
        let (session, _) = table(&file.session);
        let named = server.admin_keys.or(Named::default()).0;
        let named = named.into_iter().map(|written| Written {
            key: written.key,
            place: written.place,
            value: written.value.1,
        });
        let all = session.keys.or(Vec::new()).into_iter();
        let all = all.chain(server.identity_keys.or(Vec::new()));
        let all = all.chain(server.admin_key.written().cloned()).chain(named);
        let all: Vec<Written<SecretSource>> = all.collect();
        let said = all.iter().filter_map(|written| {
            let path = |name: &str| folder.public(written, name);
            let found = written.value.look_up(variables, path);
            Some((written.key.clone(), found.ok()?))
        });
        let said = said.collect();
        let store = session.store_url.written().map(|written| Written {
            key: written.key.clone(),
            place: written.place.clone(),
            value: written.value.source().clone(),
        });
        let named = all.iter().chain(&store).filter_map(|written| {
            let name = written.value.name(|path| folder.public(written, path));
            Some((name?, written.key.clone()))
        });
        let named = named.collect();
        Self { said, named }
    }

    /// The key that says this as well.
    pub(super) fn name_of(&self, secret: &str) -> Option<&str> {
        let mut all = self.said.iter();
        let found = all.find(|(_, own)| own.as_str() == secret);
        found.map(|(key, _)| key.as_str())
    }

    /// What they are in, each with the key that says so.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.named.iter();
        named.map(|(name, key)| (name.as_str(), key.as_str()))
    }
}
