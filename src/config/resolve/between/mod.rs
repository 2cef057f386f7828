//! What holds between sites: each has a place of its own, and its own name in the browser and in stores.

mod secrets;
mod tenants;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::config::SiteConfig;
use crate::config::error::Faults;
use crate::config::folder::Folder;
use crate::config::reader::Written;
use crate::config::resolve::described::Described;
use crate::config::resolve::process_secrets::ProcessSecrets;
use crate::config::resolve::public::{Public, host_of};
use crate::config::resolve::route::is_below;
use crate::config::resolve::site::Resolved;
use crate::config::resolve::tenancy::{self, Tenancy};
use crate::proxy::RouteSettings;
use crate::web::site_id::SiteId;

/// A site with all that the others are held against.
struct Known<'a> {
    described: &'a Described<'a>,
    public: &'a Public,
    config: Option<&'a SiteConfig>,
    tenancy: Option<&'a Tenancy>,
}

/// Judges each site against those before it.
pub(super) fn judge(
    described: &[Described<'_>],
    resolved: &[Resolved],
    own: &ProcessSecrets,
    folder: &Folder,
    faults: &mut Faults,
) {
    let known: Vec<Known<'_>> = described
        .iter()
        .zip(resolved)
        .filter_map(|(described, resolved)| {
            Some(Known {
                described,
                public: resolved.public.as_ref()?,
                config: resolved.config.as_ref(),
                tenancy: resolved.tenancy.as_ref(),
            })
        })
        .collect();
    let hosts = Hosts::of(&known);
    let mut names: HashMap<&SiteId, &Known<'_>> = HashMap::new();
    for (index, site) in known.iter().enumerate() {
        faults.turn_to(site.described.source);
        // What a site has in common with several is one fault, and told of the first of them.
        match names.entry(&site.described.id) {
            Entry::Occupied(other) => refuse_one_name(site, other.get(), faults),
            Entry::Vacant(first) => {
                first.insert(site);
            }
        }
        judge_on_host(site, &hosts.earlier(index, site), faults);
        hosts_of_routes(site, &hosts, faults);
    }
    tenants::judge(&known, &hosts, faults);
    secrets::judge(&known, own, folder, faults);
}

/// Who is at which host: there may be thousands of sites and of tenants, and none is held against all others.
struct Hosts<'a> {
    /// The sites by host, or by pattern, and the place of each in the order of all.
    sites: HashMap<&'a str, Vec<(usize, &'a Known<'a>)>>,
    /// At each host the first tenant of each site that has one there.
    tenants: HashMap<&'a str, BTreeMap<usize, &'a tenancy::Known>>,
}

impl<'a> Hosts<'a> {
    fn of(known: &'a [Known<'a>]) -> Self {
        let mut hosts = Self {
            sites: HashMap::new(),
            tenants: HashMap::new(),
        };
        for (index, site) in known.iter().enumerate() {
            let there = hosts.sites.entry(site.public.host()).or_default();
            there.push((index, site));
            let tenants = site.tenancy.into_iter();
            for tenant in tenants.flat_map(|tenancy| &tenancy.tenants) {
                let there = hosts.tenants.entry(&tenant.tenant.host).or_default();
                let first = there.entry(index).or_insert(tenant);
                if tenant.place < first.place {
                    *first = tenant;
                }
            }
        }
        hosts
    }

    /// The first that has this host for its own.
    fn site_at(&self, host: &str) -> Option<&'a Known<'a>> {
        let mut there = self.sites.get(host)?.iter().map(|(_, site)| *site);
        there.find(|site| site.tenancy.is_none())
    }

    /// Those before `site` on its host.
    fn earlier(&self, index: usize, site: &Known<'_>) -> Vec<&'a Known<'a>> {
        let there = self.sites.get(site.public.host()).into_iter();
        let earlier = there.flatten().filter(|(other, _)| *other < index);
        earlier.map(|(_, other)| *other).collect()
    }

    /// The first tenant of the site at `index` at this host.
    fn tenant_of(&self, index: usize, host: &str) -> Option<&'a tenancy::Known> {
        self.tenants.get(host)?.get(&index).copied()
    }
}

/// What holds between two sites on one host, each at a path of its own.
fn share_a_host(site: &Known<'_>, other: &Known<'_>, faults: &mut Faults) {
    paths(site, other, faults);
    if let Some(what) = cookies_clash(site, other) {
        refuse_one_cookie(site, other, what, faults);
    }
}

/// What holds between sites that share a host.
fn judge_on_host(site: &Known<'_>, earlier: &[&Known<'_>], faults: &mut Faults) {
    let neighbours = earlier.iter();
    let mut in_its_place = neighbours
        .clone()
        .filter(|other| site.public.mount == other.public.mount);
    if let Some(other) = in_its_place.next() {
        refuse_one_place(site, other, faults);
        return;
    }
    for other in neighbours.clone() {
        paths(site, other, faults);
    }
    let mut clashes = neighbours.filter_map(|other| Some((other, cookies_clash(site, other)?)));
    if let Some((other, what)) = clashes.next() {
        refuse_one_cookie(site, other, what, faults);
    }
}

impl Known<'_> {
    fn refuse(&self, faults: &mut Faults, what: String, remedy: &str) {
        let (place, key) = (self.described.place(), self.described.public_url());
        faults.refuse(&place, key, what, remedy);
    }

    fn warn(&self, faults: &mut Faults, what: String, remedy: &str) {
        let (place, key) = (self.described.place(), self.described.public_url());
        faults.warn(&place, key, what, remedy);
    }

    /// The file that describes it.
    fn file(&self) -> String {
        self.described.source.to_string()
    }

    /// What lies at the root, or the path.
    fn mount(&self) -> &str {
        if self.public.mount.is_empty() {
            "/"
        } else {
            &self.public.mount
        }
    }

    fn routes(&self) -> &[RouteSettings] {
        self.config.map_or(&[], |config| &config.routes)
    }
}

/// Stores, seals and logs tell sites apart by their names alone.
fn refuse_one_name(site: &Known<'_>, other: &Known<'_>, faults: &mut Faults) {
    let what = format!("is the name of {} too", other.file());
    let remedy = "give each site a name of its own: the file's, or id";
    if let Some(id) = site.described.file.id.written() {
        id.refuse(faults, what, remedy);
    } else {
        let place = site.described.place();
        faults.refuse(&place, "id", what, remedy);
    }
}

fn refuse_one_place(site: &Known<'_>, other: &Known<'_>, faults: &mut Faults) {
    let what = format!(
        "is where {} is too: {}{} (a port tells no sites apart)",
        other.file(),
        site.public.host(),
        site.mount()
    );
    let remedy = "write another host, or a path such as \"/shop\" after it";
    site.refuse(faults, what, remedy);
}

/// Two sites on one host are told apart by their paths; the longer one is looked for first.
fn paths(site: &Known<'_>, other: &Known<'_>, faults: &mut Faults) {
    let (outer, inner) = match (&*site.public.mount, &*other.public.mount) {
        (mount, below) if is_within(below, mount) => (site, other),
        (below, mount) if is_within(below, mount) => (other, site),
        _ => return,
    };
    let endpoints = outer.public.whole_base_path();
    let mount = &inner.public.mount;
    if is_below(&endpoints, mount) || is_below(mount, &endpoints) {
        let what = format!(
            "takes {}, where the endpoints of {} are",
            inner.public.mount,
            outer.file()
        );
        inner.refuse(faults, what, "write another path");
    }
    for route in outer.routes() {
        let path = format!("{}{}", outer.public.mount, route.path);
        if is_below(&path, &inner.public.mount) && route.path != "/" {
            let what = format!(
                "takes {}, so that the route {} of {} is never reached",
                inner.public.mount,
                route.name,
                outer.file()
            );
            inner.warn(faults, what, "write another path, or leave that route out");
        }
    }
    let what = format!(
        "has {}{} of {} below it: a service worker of this site covers that one too",
        site.public.host(),
        inner.public.mount,
        inner.file()
    );
    let remedy = "see that this app has no service worker, or give the other a host of its own";
    outer.warn(faults, what, remedy);
}

/// Whether a mount lies below another; all do below the root.
fn is_within(below: &str, mount: &str) -> bool {
    below != mount && is_below(below, mount)
}

/// All cookies of a host come to each of its sites, which tell them apart by name.
fn cookies_clash(site: &Known<'_>, other: &Known<'_>) -> Option<Clash> {
    let before = &other.config?.session.cookie;
    site.config?.session.cookie.names().find_map(|name| {
        let mut others = before.names();
        others.find_map(|other| clash(name, other))
    })
}

fn refuse_one_cookie(site: &Known<'_>, other: &Known<'_>, clash: Clash, faults: &mut Faults) {
    let what = clash.what();
    let what = format!("{what} of {}, which is on this host as well", other.file());
    let remedy = clash.remedy();
    let cookie = site.described.file.session.written();
    let cookie = cookie.and_then(|session| session.value.cookie.written());
    if let Some(name) = cookie.and_then(|cookie| cookie.value.name.written()) {
        name.refuse(faults, what, remedy);
    } else {
        let own = site.config.map(|config| &*config.session.cookie.name);
        let what = format!("{} {what}", own.unwrap_or_default());
        let place = site.described.place();
        faults.refuse(&place, "session.cookie.name", what, remedy);
    }
}

/// How one cookie's name would be taken for the other's.
#[derive(Debug, Clone, Copy)]
enum Clash {
    Same,
    /// The cookie of before has this one as one of its own.
    Derived,
    /// This cookie has the one of before as one of its own.
    Begins,
}

impl Clash {
    const fn what(self) -> &'static str {
        match self {
            Self::Same => "is the name of the cookie",
            Self::Derived => "is what a chunk, a login or a logout is called beside the cookie",
            Self::Begins => "begins the name of the cookie",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Same => "write another session.cookie.name",
            Self::Derived | Self::Begins => {
                "write another session.cookie.name, which is not the other with a dash and more at its end"
            }
        }
    }
}

fn clash(name: &str, other: &str) -> Option<Clash> {
    if name == other {
        return Some(Clash::Same);
    }
    if is_derived(name, other) {
        return Some(Clash::Derived);
    }
    is_derived(other, name).then_some(Clash::Begins)
}

/// Whether `name` is one that belongs to the cookie `of`: of a chunk, a login or a logout.
fn is_derived(name: &str, of: &str) -> bool {
    let Some(rest) = name
        .strip_prefix(of)
        .and_then(|rest| rest.strip_prefix('-'))
    else {
        return false;
    };
    let is_chunk = rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit());
    is_chunk || rest.starts_with("login-") || rest.starts_with("logout")
}

/// A host that a route names is nobody else's.
fn hosts_of_routes(site: &Known<'_>, hosts: &Hosts<'_>, faults: &mut Faults) {
    for (written, host) in routes_with_hosts(site) {
        let elsewhere = host != site.public.host();
        if let Some(other) = hosts.site_at(&host).filter(|_| elsewhere) {
            written.refuse(
                faults,
                format!("is the host of the site in {}", other.file()),
                "move the route there, or write another host",
            );
        }
    }
}

/// The hosts that a site's routes name, as they are written and as they are compared.
fn routes_with_hosts(site: &Known<'_>) -> Vec<(Written<String>, String)> {
    let routes = site.described.file.route.written();
    let routes = routes.into_iter().flat_map(|routes| &routes.value);
    let named = routes.filter_map(|route| {
        let written = route.value.host.written()?;
        Some((written.clone(), host_of(&written.value)?.to_string()))
    });
    named.collect()
}
