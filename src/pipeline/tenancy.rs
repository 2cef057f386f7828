//! The tenants of one site: a site of its own for each, made by the first request to it and let go once
//! nobody has asked for long, so that thousands cost little.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use crate::pipeline::site::{Neighbours, Site};
use crate::web::cookie_names::CookieNames;
use crate::web::host_pattern::HostPattern;
use crate::web::site_id::SiteId;

/// How many [looks](Tenancy::let_go_of_unused) find a tenant unused before its site is let go.
const LOOKS_UNUSED: u8 = 15;

/// Makes the sites of tenants, and takes back what they stood on.
pub trait MakesSites: Send + Sync + fmt::Debug {
    /// How many tenants there are.
    fn count(&self) -> usize;

    /// The name and the host, in lower case, of the tenant at `index`; by name they are in order.
    fn tenant(&self, index: usize) -> Option<(&str, &str)>;

    /// The site of the tenant at `index`, beside these. Reads the secrets that it names.
    ///
    /// # Errors
    ///
    /// Why there is none, in one sentence.
    fn make(&self, index: usize, neighbours: Neighbours) -> Result<Site, String>;

    /// Nobody is served by these any more.
    fn let_go(&self, sites: &[Arc<Site>]);
}

/// One site's tenants, shared by all workers.
#[derive(Debug)]
pub struct Tenancy {
    id: SiteId,
    mount: String,
    cookies: CookieNames,
    pattern: HostPattern,
    no_tenant: Option<HeaderValue>,
    slots: Box<[Slot]>,
    maker: Box<dyn MakesSites>,
    /// Held while a site is made or let go, which is short: two workers make one site only.
    changing: Mutex<()>,
}

/// The parts that a [`Tenancy`] is made of.
#[derive(Debug)]
pub struct TenancyParts {
    /// The site's own, without a tenant.
    pub id: SiteId,
    /// The path that each tenant's site lives below, `/shop`; empty where it has the whole origin.
    pub mount: String,
    /// The names of each one's cookies.
    pub cookies: CookieNames,
    /// The hosts that are tenants' or nobody's.
    pub pattern: HostPattern,
    /// Where people are sent from a host that is no tenant's.
    pub no_tenant: Option<HeaderValue>,
    /// Makes the sites.
    pub maker: Box<dyn MakesSites>,
}

/// A tenant's site, while there is one.
#[derive(Debug, Default)]
struct Slot {
    site: ArcSwapOption<Site>,
    /// How many looks have found it unused.
    unused: AtomicU8,
}

impl Tenancy {
    /// Nobody's site is made yet.
    pub fn new(parts: TenancyParts) -> Self {
        let TenancyParts {
            id,
            mount,
            cookies,
            pattern,
            no_tenant,
            maker,
        } = parts;
        Self {
            id,
            mount,
            cookies,
            pattern,
            no_tenant,
            slots: (0..maker.count()).map(|_| Slot::default()).collect(),
            maker,
            changing: Mutex::new(()),
        }
    }

    /// Whose tenants they are.
    pub const fn id(&self) -> &SiteId {
        &self.id
    }

    /// The path that each tenant's site lives below.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// The names of each one's cookies.
    pub(super) const fn cookies(&self) -> &CookieNames {
        &self.cookies
    }

    /// Where people are sent who come to this host, if it is one of the pattern.
    pub(super) fn no_tenant(&self, host: &str) -> Option<&HeaderValue> {
        let no_tenant = self.no_tenant.as_ref()?;
        self.pattern.name_in(host).map(|_| no_tenant)
    }

    /// The names and hosts of all tenants, each with its index.
    pub fn tenants(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        (0..self.slots.len()).filter_map(|index| {
            let (name, host) = self.maker.tenant(index)?;
            Some((index, name, host))
        })
    }

    /// The index and the host of the tenant of this name.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &str)> {
        let (mut low, mut high) = (0, self.slots.len());
        while low < high {
            let middle = low.midpoint(high);
            let (found, host) = self.maker.tenant(middle)?;
            match found.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some((middle, host)),
            }
        }
        None
    }

    /// The site of the tenant at `index`, made now where there is none yet.
    ///
    /// # Errors
    ///
    /// Why there is none, in one sentence.
    #[inline]
    pub(super) fn site(
        &self,
        index: usize,
        neighbours: impl FnOnce() -> Neighbours,
    ) -> Result<Arc<Site>, String> {
        let slot = self.slots.get(index);
        let slot = slot.ok_or_else(|| "there is no such tenant".to_owned())?;
        if slot.unused.load(Ordering::Relaxed) != 0 {
            slot.unused.store(0, Ordering::Relaxed);
        }
        match slot.site.load_full() {
            Some(site) => Ok(site),
            None => self.make(index, slot, neighbours()),
        }
    }

    #[cold]
    fn make(&self, index: usize, slot: &Slot, neighbours: Neighbours) -> Result<Arc<Site>, String> {
        let _alone = self.changing();
        if let Some(site) = slot.site.load_full() {
            return Ok(site);
        }
        let site = Arc::new(self.maker.make(index, neighbours)?);
        slot.site.store(Some(Arc::clone(&site)));
        Ok(site)
    }

    /// The sites that are made now.
    pub fn made(&self) -> impl Iterator<Item = Arc<Site>> {
        self.slots.iter().filter_map(|slot| slot.site.load_full())
    }

    /// A look at who was asked for since the last one: a site that was not for many looks is let go.
    pub(super) fn let_go_of_unused(&self) {
        let _alone = self.changing();
        let unused = self.slots.iter().filter_map(Slot::take_unused);
        let unused: Vec<_> = unused.collect();
        if !unused.is_empty() {
            self.maker.let_go(&unused);
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The site, where nobody has asked for it for many looks, this one among them.
    fn take_unused(&self) -> Option<Arc<Site>> {
        let site = self.site.load_full()?;
        let unused = self.unused.load(Ordering::Relaxed).saturating_add(1);
        self.unused.store(unused, Ordering::Relaxed);
        // The slot has one, and this is the other: whoever has a third is being served.
        let is_unused = unused > LOOKS_UNUSED && Arc::strong_count(&site) <= 2;
        is_unused.then(|| {
            self.site.store(None);
            site
        })
    }
}
