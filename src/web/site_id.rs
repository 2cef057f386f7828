//! Which of a process's sites something belongs to.

use std::fmt;
use std::sync::Arc;

/// A site's name in stores, seals, logs and commands.
///
/// The site that bff.toml itself describes has the empty one, so that what releases before sites wrote
/// is its own. A tenant's is its site's and its own, as in `shop/acme`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(Arc<str>);

impl SiteId {
    /// The site that bff.toml itself describes.
    pub fn main() -> Self {
        Self(Arc::from(""))
    }

    /// A site of this name.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// A tenant of this site.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Self {
        Self(Arc::from(format!("{}/{name}", self.0)))
    }

    /// The name; empty for the site of bff.toml.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, of a site that has one: as it stands in the log.
    pub fn named(&self) -> Option<&str> {
        (!self.is_main()).then_some(&*self.0)
    }

    /// Whether this is the site that bff.toml itself describes.
    pub fn is_main(&self) -> bool {
        self.0.is_empty()
    }

    /// Without the tenant.
    pub fn site(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(site, _)| site)
    }

    /// The tenant's name, of a tenant.
    pub fn tenant_name(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, tenant)| tenant)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
