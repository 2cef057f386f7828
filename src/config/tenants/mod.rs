//! A site that is one for each of its tenants: what they have in common, and what each is filled with.
//!
//! What may be filled in where is judged in `resolve`, as everything is.

mod template;

pub(super) mod draft;
pub(super) mod placeholders;
pub(super) mod places;
pub(super) mod written;

use std::fmt;

pub(super) use template::Process;
pub use template::{Template, TenantedSite};

/// One of those that a site is made for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// As in `acme`.
    pub name: Box<str>,
    /// Its host in lower case and in A-labels, by the pattern or of its own.
    pub host: Box<str>,
    /// Its variables' values, in the order of the template's names.
    values: Box<[Box<str>]>,
}

impl Tenant {
    pub(super) fn new(name: &str, host: &str, values: Vec<Box<str>>) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            values: values.into(),
        }
    }

    /// An address of nobody's in particular at the tenant's host.
    #[cfg(feature = "dev")]
    pub fn at_its_host(&self, mut url: url::Url) -> url::Url {
        // What was judged to be a host is one.
        _ = url.set_host(Some(&self.host));
        url
    }
}

/// A value may be a secret.
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({} at {})", self.name, self.host)
    }
}
