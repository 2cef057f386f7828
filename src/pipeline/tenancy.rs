//! The tenants of one site: a site of its own for each, made by the first request to it and let go once
//! nobody has asked for long, so that thousands cost little.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use crate::pipeline::site::{Neighbours, Site};
use crate::web::changes::Changes;
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

    /// Another one where the tenant at `index` has another host or other values.
    fn digest(&self, index: usize) -> u64;

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
    slots: Slots<Site>,
    maker: Box<dyn MakesSites>,
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

/// What is made for each of many, while there is one.
#[derive(Debug)]
struct Slots<S> {
    slots: Box<[Slot<S>]>,
    /// Held while one is made or let go, which is short: two workers make one only.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Slot<S> {
    made: ArcSwapOption<S>,
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
            slots: Slots::new(maker.count()),
            maker,
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

    /// The tenant whose host this is not, though it names it, and the host that it has instead.
    pub(super) fn elsewhere<'a>(&'a self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let name = self.pattern.name_in(host)?;
        let (_, own) = self.find(name)?;
        (own != host).then_some((name, own))
    }

    /// The names and hosts of all tenants, each with its index.
    pub fn tenants(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        (0..self.maker.count()).filter_map(|index| {
            let (name, host) = self.maker.tenant(index)?;
            Some((index, name, host))
        })
    }

    /// What differs of its tenants from those that it had `before`, by their names. Both are in order.
    pub(super) fn since(&self, before: Option<&Self>, changes: &mut Changes) {
        for (index, name, _) in self.tenants() {
            let known = before.and_then(|before| Some((before, before.find(name)?.0)));
            let now = || self.id.tenant(name).as_str().to_owned();
            match known {
                None => changes.came.push(now()),
                Some((before, at)) if before.maker.digest(at) != self.maker.digest(index) => {
                    changes.changed.push(now());
                }
                Some(_) => {}
            }
        }
    }

    /// The index and the host of the tenant of this name.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &str)> {
        let (mut low, mut high) = (0, self.maker.count());
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
        self.slots
            .get_or_make(index, || self.maker.make(index, neighbours()))
    }

    /// The sites that are made now.
    pub fn made(&self) -> impl Iterator<Item = Arc<Site>> {
        self.slots.made()
    }

    /// A look at who was asked for since the last one: a site that was not for many looks is let go.
    pub(super) fn let_go_of_unused(&self) {
        self.slots
            .let_go_of_unused(|sites| self.maker.let_go(sites));
    }
}

impl<S> Slots<S> {
    fn new(count: usize) -> Self {
        let slot = || Slot {
            made: ArcSwapOption::empty(),
            unused: AtomicU8::new(0),
        };
        Self {
            slots: std::iter::repeat_with(slot).take(count).collect(),
            changing: Mutex::new(()),
        }
    }

    #[inline]
    fn get_or_make(
        &self,
        index: usize,
        make: impl FnOnce() -> Result<S, String>,
    ) -> Result<Arc<S>, String> {
        let slot = self.slots.get(index);
        let slot = slot.ok_or_else(|| "there is no such tenant".to_owned())?;
        if slot.unused.load(Ordering::Relaxed) != 0 {
            slot.unused.store(0, Ordering::Relaxed);
        }
        match slot.made.load_full() {
            Some(made) => Ok(made),
            None => self.make(slot, make),
        }
    }

    #[cold]
    fn make(
        &self,
        slot: &Slot<S>,
        make: impl FnOnce() -> Result<S, String>,
    ) -> Result<Arc<S>, String> {
        let _alone = self.changing();
        if let Some(made) = slot.made.load_full() {
            return Ok(made);
        }
        let made = Arc::new(make()?);
        slot.made.store(Some(Arc::clone(&made)));
        Ok(made)
    }

    fn made(&self) -> impl Iterator<Item = Arc<S>> {
        self.slots.iter().filter_map(|slot| slot.made.load_full())
    }

    fn let_go_of_unused(&self, let_go: impl FnOnce(&[Arc<S>])) {
        let _alone = self.changing();
        let unused: Vec<_> = self.slots.iter().filter_map(Slot::take_unused).collect();
        if !unused.is_empty() {
            let_go(&unused);
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Slot<S> {
    /// What was made, where nobody has asked for it for many looks, this one among them.
    fn take_unused(&self) -> Option<Arc<S>> {
        let made = self.made.load_full()?;
        let unused = self.unused.load(Ordering::Relaxed).saturating_add(1);
        self.unused.store(unused, Ordering::Relaxed);
        // The slot has one, and this is the other: whoever has a third is being served.
        let is_unused = unused > LOOKS_UNUSED && Arc::strong_count(&made) <= 2;
        is_unused.then(|| {
            self.made.store(None);
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// However many ask at once, one is made; one that cannot be made is tried again by the next.
    #[test]
    fn one_is_made_for_all_who_ask() {
        let slots = Slots::new(2);
        let refused = slots.get_or_make(1, || Err::<usize, _>("no secret".to_owned()));
        assert_eq!(refused, Err("no secret".to_owned()));
        let (made, start) = (AtomicUsize::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    slots
                        .get_or_make(1, || Ok(made.fetch_add(1, Ordering::SeqCst)))
                        .unwrap();
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(slots.made().count(), 1);
        assert!(slots.get_or_make(2, || Ok(0)).is_err(), "there are two");
    }

    /// One is let go once nobody has asked for it for many looks, and never while somebody is served by it.
    #[test]
    fn what_nobody_asks_for_is_let_go() {
        let slots = Slots::new(3);
        let make = |index| slots.get_or_make(index, || Ok(index)).unwrap();
        let held = make(0);
        drop((make(1), make(2)));
        for look in 1..=LOOKS_UNUSED {
            slots.let_go_of_unused(|_| panic!("at look {look}"));
        }
        drop(make(2));
        let mut let_go = Vec::new();
        slots.let_go_of_unused(|unused| let_go.extend(unused.iter().map(|made| **made)));
        assert_eq!(let_go, [1]);
        assert_eq!(slots.made().count(), 2);
        drop(held);
        slots.let_go_of_unused(|unused| let_go.extend(unused.iter().map(|made| **made)));
        assert_eq!(let_go, [1, 0]);
    }
}
