//! Which site a request is for: by its host, and on one host by its path. Behind one swap.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::pipeline::site::Site;

/// The sites of this process, on all workers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sites(Arc<ArcSwap<Table>>);

/// The sites as one configuration describes them.
#[derive(Debug)]
pub struct Table {
    /// By host in lower case; of one host the longest path first.
    hosts: HashMap<Box<str>, Vec<Arc<Site>>, HostState>,
    /// In the order of the configuration.
    all: Vec<Arc<Site>>,
}

type HostState = BuildHasherDefault<HostHasher>;

/// Hashes a host by eight octets at a time. Only the operator's hosts are in the table: with nothing of a
/// stranger's to keep, a secret in the hash would keep nobody out.
#[derive(Debug, Default)]
struct HostHasher(u64);

impl Hasher for HostHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0.rotate_left(32)
    }

    fn write(&mut self, bytes: &[u8]) {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut rest = bytes;
        while let Some((octets, further)) = rest.split_first_chunk() {
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(*octets)).wrapping_mul(SPREAD);
            rest = further;
        }
        for octet in rest {
            self.0 = (self.0.rotate_left(5) ^ u64::from(*octet)).wrapping_mul(SPREAD);
        }
    }
}

impl Table {
    /// The table of these sites.
    pub fn new(sites: Vec<Arc<Site>>) -> Self {
        let mut hosts: HashMap<Box<str>, Vec<Arc<Site>>, HostState> = HashMap::default();
        for site in &sites {
            for host in site.hosts() {
                let at = hosts.entry(host.to_ascii_lowercase().into()).or_default();
                if !at.iter().any(|known| Arc::ptr_eq(known, site)) {
                    at.push(Arc::clone(site));
                }
            }
        }
        for at in hosts.values_mut() {
            at.sort_by_key(|site| std::cmp::Reverse(site.mount().len()));
        }
        Self { hosts, all: sites }
    }

    fn on(&self, host: &str) -> &[Arc<Site>] {
        if let Some(sites) = self.hosts.get(host) {
            return sites;
        }
        // Browsers write hosts in lower case; whoever does not is understood all the same.
        let is_lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
        let found = (!is_lower).then(|| self.hosts.get(&*host.to_ascii_lowercase()));
        found.flatten().map_or(&[], Vec::as_slice)
    }

    fn at(&self, host: &str, path: &str) -> Option<&Arc<Site>> {
        let mut sites = self.on(host).iter();
        sites.find(|site| lies_below(path, site.mount()))
    }
}

impl Sites {
    /// Serves the sites of `table`.
    pub fn new(table: Table) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(table)))
    }

    /// Serves those of another table from now on; requests under way end where they began.
    pub fn replace(&self, table: Table) {
        self.0.store(Arc::new(table));
    }

    /// The site that a request for this host and path is for.
    pub fn at(&self, host: &str, path: &str) -> Option<Arc<Site>> {
        self.0.load().at(host, path).cloned()
    }

    /// Whether some site is on this host.
    pub fn serve(&self, host: &str) -> bool {
        !self.0.load().on(host).is_empty()
    }

    /// Every site.
    pub fn all(&self) -> Vec<Arc<Site>> {
        self.0.load().all.clone()
    }

    /// The one site, where there is one alone.
    pub(super) fn only(&self) -> Option<Arc<Site>> {
        match self.0.load().all.as_slice() {
            [site] => Some(Arc::clone(site)),
            _ => None,
        }
    }
}

/// Whether a path lies at or below a mount, by whole segments; as it is written, since what is written
/// otherwise than browsers write it is refused by the site that it then comes to.
fn lies_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
