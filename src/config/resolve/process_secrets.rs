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
pub(in crate::config) struct ProcessSecrets(Vec<(String, Zeroizing<String>)>);

impl fmt::Debug for ProcessSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessSecrets({} of them)", self.0.len())
    }
}

impl ProcessSecrets {
    /// Where nothing is judged.
    pub(in crate::config) const NONE: &'static Self = &Self(Vec::new());

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
        let all = all.chain(server.admin_key.written().cloned()).chain(named);
        let found = all.filter_map(|written: Written<SecretSource>| {
            let path = |name: &str| folder.public(&written, name);
            let found = written.value.look_up(variables, path);
            Some((written.key.clone(), found.ok()?))
        });
        Self(found.collect())
    }

    /// The key that says this as well.
    pub(super) fn name_of(&self, secret: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let found = all.find(|(_, own)| own.as_str() == secret);
        found.map(|(key, _)| key.as_str())
    }
}
