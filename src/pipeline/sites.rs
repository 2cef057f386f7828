//! Which site a request is for: by its host, and on one host by its path. Behind one swap.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use http::HeaderValue;

use crate::pipeline::site::{Neighbours, Site};
use crate::pipeline::tenancy::Tenancy;
use crate::web::changes::Changes;
use crate::web::cookie_names::CookieNames;
use crate::web::site_id::SiteId;

/// The sites of this process, on all workers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sites(Arc<ArcSwap<Table>>);

/// The same, for what they are made of themselves.
#[derive(Debug, Clone)]
pub struct WeakSites(Weak<ArcSwap<Table>>);

/// The sites as one configuration describes them.
#[derive(Debug)]
pub struct Table {
    /// By host in lower case; of one host the longest path first.
    hosts: HashMap<Box<str>, Vec<Occupant>, HostState>,
    /// In the order of the configuration.
    all: Vec<Arc<Site>>,
    tenancies: Vec<Arc<Tenancy>>,
}

/// Who is on a host.
#[derive(Debug)]
enum Occupant {
    Site(Arc<Site>),
    /// The tenant of this index.
    Tenant(Arc<Tenancy>, usize),
}

/// Why there is no site for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Absence {
    /// The host is nobody's, or nobody's at this path.
    Nobody,
    /// The host would be a tenant's, and is none's; people are sent there.
    NoTenant(HeaderValue),
    /// It is a tenant's whose site cannot be made, for this reason.
    Unmade(String),
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
    /// The table of these sites, and of those that tenants have.
    pub fn new(sites: Vec<Arc<Site>>, tenancies: Vec<Arc<Tenancy>>) -> Self {
        let mut hosts: HashMap<Box<str>, Vec<Occupant>, HostState> = HashMap::default();
        for site in &sites {
            for host in site.hosts() {
                let at = hosts.entry(host.to_ascii_lowercase().into()).or_default();
                if !at.iter().any(|known| known.is(site)) {
                    at.push(Occupant::Site(Arc::clone(site)));
                }
            }
        }
        for tenancy in &tenancies {
            for (index, _, host) in tenancy.tenants() {
                let at = hosts.entry(host.into()).or_default();
                at.push(Occupant::Tenant(Arc::clone(tenancy), index));
            }
        }
        for at in hosts.values_mut() {
            at.sort_by_key(|occupant| std::cmp::Reverse(occupant.mount().len()));
            at.shrink_to_fit();
        }
        Self {
            hosts,
            all: sites,
            tenancies,
        }
    }

    /// Makes the sites of the tenants that had one before, so that none of them waits for another.
    ///
    /// # Errors
    ///
    /// Why one cannot be made, in one sentence.
    pub fn take_up(&self, before: &Self) -> Result<(), String> {
        let ids = before.tenancies.iter().flat_map(|tenancy| tenancy.made());
        for id in ids.map(|site| site.id().clone()) {
            if let Some((tenancy, index, host)) = self.tenant(&id) {
                tenancy.site(index, || self.neighbours(host, tenancy.mount()))?;
            }
        }
        Ok(())
    }

    /// What differs of the tenants from those of `before`.
    pub fn tenants_since(&self, before: &Self) -> Changes {
        let mut changes = Changes::default();
        for tenancy in &self.tenancies {
            tenancy.since(before.tenancy(tenancy.id()), &mut changes);
        }
        for tenancy in &before.tenancies {
            let now = self.tenancy(tenancy.id());
            let names = tenancy.tenants().map(|(_, name, _)| name);
            let gone = names.filter(|name| now.and_then(|now| now.find(name)).is_none());
            let gone = gone.map(|name| tenancy.id().tenant(name).as_str().to_owned());
            changes.went.extend(gone);
        }
        changes
    }

    fn tenancy(&self, id: &SiteId) -> Option<&Tenancy> {
        let mut all = self.tenancies.iter();
        let found = all.find(|tenancy| tenancy.id() == id);
        found.map(AsRef::as_ref)
    }

    /// Every site but those of tenants.
    pub fn all(&self) -> &[Arc<Site>] {
        &self.all
    }

    /// The tenants of each site that has some.
    pub(super) fn tenancies(&self) -> &[Arc<Tenancy>] {
        &self.tenancies
    }

    /// Every site that there is now: those of tenants as they were asked for.
    pub fn made(&self) -> impl Iterator<Item = Arc<Site>> {
        let of_tenants = self.tenancies.iter().flat_map(|tenancy| tenancy.made());
        self.all.iter().cloned().chain(of_tenants)
    }

    fn on(&self, host: &str) -> &[Occupant] {
        if let Some(sites) = self.hosts.get(host) {
            return sites;
        }
        // Browsers write hosts in lower case; whoever does not is understood all the same.
        let is_lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
        let found = (!is_lower).then(|| self.hosts.get(&*host.to_ascii_lowercase()));
        found.flatten().map_or(&[], Vec::as_slice)
    }

    #[inline]
    fn at(&self, host: &str, path: &str) -> Result<Arc<Site>, Absence> {
        let mut occupants = self.on(host).iter();
        match occupants.find(|occupant| lies_below(path, occupant.mount())) {
            Some(Occupant::Site(site)) => Ok(Arc::clone(site)),
            Some(Occupant::Tenant(tenancy, index)) => tenancy
                .site(*index, || self.neighbours(host, tenancy.mount()))
                .map_err(Absence::Unmade),
            None => Err(self.absence(host, path)),
        }
    }

    #[cold]
    fn absence(&self, host: &str, path: &str) -> Absence {
        let host = host.to_ascii_lowercase();
        if !self.on(&host).is_empty() {
            return Absence::Nobody;
        }
        let mut tenancies = self.tenancies.iter();
        let address = tenancies.find_map(|tenancy| {
            let address = tenancy.no_tenant(&host)?;
            lies_below(path, tenancy.mount()).then(|| address.clone())
        });
        address.map_or(Absence::Nobody, Absence::NoTenant)
    }

    /// The tenant of this id: whose, which, and at which host.
    fn tenant(&self, id: &SiteId) -> Option<(&Arc<Tenancy>, usize, &str)> {
        let name = id.tenant_name()?;
        let mut tenancies = self.tenancies.iter();
        let tenancy = tenancies.find(|tenancy| tenancy.id().as_str() == id.site())?;
        let (index, host) = tenancy.find(name)?;
        Some((tenancy, index, host))
    }

    /// What a tenant's site on this host, below `mount`, must know of the others there.
    fn neighbours(&self, host: &str, mount: &str) -> Neighbours {
        let mut neighbours = Neighbours::default();
        for other in self.on(host) {
            if other.mount() != mount {
                neighbours.add(mount, other.mount(), other.cookies());
            }
        }
        neighbours
    }
}

impl Occupant {
    fn is(&self, site: &Arc<Site>) -> bool {
        matches!(self, Self::Site(known) if Arc::ptr_eq(known, site))
    }

    #[inline]
    fn mount(&self) -> &str {
        match self {
            Self::Site(site) => site.mount(),
            Self::Tenant(tenancy, _) => tenancy.mount(),
        }
    }

    fn cookies(&self) -> &CookieNames {
        match self {
            Self::Site(site) => site.cookies(),
            Self::Tenant(tenancy, _) => tenancy.cookies(),
        }
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

    /// The table in use.
    pub fn table(&self) -> Arc<Table> {
        self.0.load_full()
    }

    /// The site that a request for this host and path is for; a tenant's is made by the first one.
    ///
    /// # Errors
    ///
    /// There is none.
    #[inline]
    pub fn at(&self, host: &str, path: &str) -> Result<Arc<Site>, Absence> {
        self.0.load().at(host, path)
    }

    /// Whether some site is on this host.
    pub fn serve(&self, host: &str) -> bool {
        !self.0.load().on(host).is_empty()
    }

    /// The tenant that this host of nobody's names, and the host that it has of its own.
    pub fn tenant_elsewhere(&self, host: &str) -> Option<(String, String)> {
        let table = self.0.load();
        let mut tenancies = table.tenancies.iter();
        let found = tenancies.find_map(|tenancy| tenancy.elsewhere(host));
        found.map(|(name, own)| (name.to_owned(), own.to_owned()))
    }

    /// Every site but those of tenants.
    pub fn all(&self) -> Vec<Arc<Site>> {
        self.0.load().all.clone()
    }

    /// The names of all sites, those of tenants among them.
    pub fn ids(&self) -> Vec<SiteId> {
        let table = self.0.load();
        let of_tenants = table.tenancies.iter().flat_map(|tenancy| {
            let names = tenancy.tenants();
            names.map(|(_, name, _)| tenancy.id().tenant(name))
        });
        let all = table.all.iter().map(|site| site.id().clone());
        all.chain(of_tenants).collect()
    }

    /// Lets go of the sites of tenants whom nobody has asked for for many such calls.
    pub fn let_go_of_unused(&self) {
        for tenancy in &self.0.load().tenancies {
            tenancy.let_go_of_unused();
        }
    }

    /// These sites, and no reason to keep them.
    pub fn downgrade(&self) -> WeakSites {
        WeakSites(Arc::downgrade(&self.0))
    }

    /// The one site, where there is one alone.
    pub(super) fn only(&self) -> Option<Arc<Site>> {
        let table = self.0.load();
        match table.all.as_slice() {
            [site] if table.tenancies.is_empty() => Some(Arc::clone(site)),
            _ => None,
        }
    }
}

impl WeakSites {
    /// The site of this tenant, made now where there is none yet; `None` where there is no such tenant, or
    /// none can be made.
    pub fn of_tenant(&self, id: &SiteId) -> Option<Arc<Site>> {
        let table = self.0.upgrade()?.load_full();
        let (tenancy, index, host) = table.tenant(id)?;
        let neighbours = || table.neighbours(host, tenancy.mount());
        tenancy.site(index, neighbours).ok()
    }
}

/// Whether a path lies at or below a mount, by whole segments; as it is written, since what is written
/// otherwise than browsers write it is refused by the site that it then comes to.
fn lies_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
