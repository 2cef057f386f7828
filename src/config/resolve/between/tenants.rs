//! What holds between tenants and whoever else has a host: no host is two's.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use crate::config::capped::Capped;
use crate::config::error::Faults;
use crate::config::resolve::between::{Hosts, Known, routes_with_hosts, share_a_host};
use crate::config::resolve::public::host_of;
use crate::config::resolve::tenancy::Tenancy;

/// Judges the sites of tenants against all sites.
pub(super) fn judge(known: &[Known<'_>], hosts: &Hosts<'_>, faults: &mut Faults) {
    let choosers = choosers(known);
    for (index, site) in known.iter().enumerate() {
        let Some(tenancy) = site.tenancy else {
            continue;
        };
        faults.turn_to(site.described.source);
        for (other_index, other) in known.iter().enumerate() {
            match other.tenancy {
                Some(other_tenancy) if other_index < index => {
                    patterns((site, tenancy), (other, other_tenancy), faults);
                }
                Some(_) => {}
                None => {
                    route_at_a_tenant((index, site), other, hosts, faults);
                    let order = other_index.cmp(&index);
                    fixed((site, tenancy), other, order, faults);
                }
            }
        }
        domains(index, known, (hosts, &choosers), faults);
        no_tenant(site, tenancy, hosts, faults);
    }
}

/// Two patterns that are alike are two sites on each of their hosts; others may not meet.
fn patterns(
    (site, tenancy): (&Known<'_>, &Tenancy),
    (other, others): (&Known<'_>, &Tenancy),
    faults: &mut Faults,
) {
    if tenancy.pattern == others.pattern || !tenancy.pattern.overlaps(&others.pattern) {
        return;
    }
    let what = format!(
        "shares hosts with {} of {}, so that nobody knows whose tenant is meant",
        others.pattern,
        other.file()
    );
    let remedy =
        "write the same pattern with another path after it, or one that has no host in common";
    site.refuse(faults, what, remedy);
}

/// A site that has a host of its own, which may be of the pattern.
fn fixed(
    (site, tenancy): (&Known<'_>, &Tenancy),
    other: &Known<'_>,
    order: Ordering,
    faults: &mut Faults,
) {
    let host = other.public.host();
    let Some(name) = tenancy.pattern.name_in(host) else {
        return;
    };
    let Some(tenant) = tenancy.by_pattern(name) else {
        let what = format!(
            "takes the host {host} of {}, so that no tenant can be called {name}",
            other.file()
        );
        let remedy = "give one of the two another host, or see that no tenant is to be called so";
        site.warn(faults, what, remedy);
        return;
    };
    if site.public.mount == other.public.mount {
        let what = format!("is at {host}, where {} is too", other.file());
        let remedy = "give the tenant or that site another host";
        faults.refuse(&tenant.place, &tenant.key, what, remedy);
    } else if order == Ordering::Less {
        share_a_host(site, other, faults);
    } else {
        // What is wrong is wrong with the later one.
        faults.turn_to(other.described.source);
        share_a_host(other, site, faults);
        faults.turn_to(site.described.source);
    }
}

/// The first host of a route that is a tenant's.
fn route_at_a_tenant(
    (index, site): (usize, &Known<'_>),
    other: &Known<'_>,
    hosts: &Hosts<'_>,
    faults: &mut Faults,
) {
    let taken = routes_with_hosts(other)
        .into_iter()
        .find_map(|(written, host)| {
            let tenant = hosts.tenant_of(index, &host)?;
            Some((written, &tenant.tenant.name))
        });
    if let Some((written, tenant)) = taken {
        let what = format!("is the host of the tenant {tenant} in {}", site.file());
        written.refuse(faults, what, "write another host");
    }
}

/// The hosts where those are sent who are at nobody's, and the file that says so.
type Choosers = HashMap<String, String>;

fn choosers(known: &[Known<'_>]) -> Choosers {
    let choosers = known.iter().filter_map(|site| {
        let url = site.tenancy?.no_tenant.as_ref()?;
        let host = host_of(url.host_str()?)?;
        Some((host.to_string(), site.file()))
    });
    choosers.collect()
}

/// The domains of one site's tenants, each of which is a host like any other.
fn domains(
    index: usize,
    known: &[Known<'_>],
    (hosts, choosers): (&Hosts<'_>, &Choosers),
    faults: &mut Faults,
) {
    let Some(site) = known.get(index) else { return };
    let tenants = site
        .tenancy
        .into_iter()
        .flat_map(|tenancy| &tenancy.tenants);
    let mut capped = Capped::default();
    let mut sharing = BTreeSet::new();
    for tenant in tenants.filter(|tenant| !tenant.is_by_pattern) {
        let host = &*tenant.tenant.host;
        let key = format!("{}.host", tenant.key);
        let mut refuse = |what: String, faults: &mut Faults| {
            let at = (&tenant.place, key.as_str());
            capped.refuse("domain", at, what, "write another host", faults);
        };
        if let Some(file) = choosers.get(host) {
            let what = format!("is where no_tenant of {file} sends whoever is no tenant's: {host}");
            refuse(what, faults);
        }
        // On whichever path: a tenant's line must not bring an app to the origin of another.
        if let Some(whose) = whose(host, hosts) {
            refuse(format!("is where {whose} is too: {host}"), faults);
        }
        let others = hosts.tenants.get(host).into_iter().flatten();
        let mut in_its_place = None;
        for (other_index, other) in others.filter(|(_, other)| !other.is_by_pattern) {
            let is_earlier = (*other_index, &other.place) < (index, &tenant.place);
            let Some(other_site) = known.get(*other_index).filter(|_| is_earlier) else {
                continue;
            };
            if site.public.mount != other_site.public.mount {
                sharing.insert(*other_index);
            } else if in_its_place.is_none() {
                in_its_place = Some(other);
            }
        }
        if let Some(other) = in_its_place {
            let (name, place) = (&other.tenant.name, &other.place);
            refuse(
                format!("is where the tenant {name} ({place}) is too: {host}"),
                faults,
            );
        }
    }
    capped.conclude(faults);
    for other in sharing.into_iter().filter_map(|other| known.get(other)) {
        share_a_host(site, other, faults);
    }
}

/// Who is at `host`: a site, or a tenant that has no domain of its own.
fn whose(host: &str, hosts: &Hosts<'_>) -> Option<String> {
    if let Some(site) = hosts.site_at(host) {
        return Some(site.file());
    }
    let mut tenants = hosts.tenants.get(host)?.values();
    let tenant = tenants.find(|tenant| tenant.is_by_pattern)?;
    let (name, place) = (&tenant.tenant.name, &tenant.place);
    Some(format!("the tenant {name} ({place})"))
}

/// Whoever is sent to a host that is nobody's again would be sent there for ever.
fn no_tenant(site: &Known<'_>, tenancy: &Tenancy, hosts: &Hosts<'_>, faults: &mut Faults) {
    let written = site.described.file.no_tenant.written();
    let (Some(url), Some(written)) = (&tenancy.no_tenant, written) else {
        return;
    };
    let host = url.host_str().unwrap_or_default();
    if tenancy.pattern.name_in(host).is_some() && whose(host, hosts).is_none() {
        let what =
            format!("leads to {host}, where no tenant is: browsers would go round in circles");
        written.refuse(
            faults,
            what,
            "write an address of a site or of a tenant, or of another host",
        );
    }
}
