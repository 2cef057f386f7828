//! What holds between tenants and whoever else has a host: no host is two's.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::config::capped::Capped;
use crate::config::error::Faults;
use crate::config::reader::Written;
use crate::config::resolve::between::{Known, share_a_host};
use crate::config::resolve::tenancy::{self, Tenancy};

/// Judges the sites of tenants against all sites.
pub(super) fn judge(known: &[Known<'_>], faults: &mut Faults) {
    let domains = Domains::of(known);
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
                    let order = other_index.cmp(&index);
                    fixed((site, tenancy), other, order, faults);
                }
            }
        }
        domains_of(index, known, &domains, faults);
        no_tenant(site, tenancy, known, faults);
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
    if let Some((written, tenant)) = route_at_a_tenant(tenancy, other) {
        let what = format!("is the host of the tenant {tenant} in {}", site.file());
        written.refuse(faults, what, "write another host");
    }
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

/// A route's host that is a tenant's.
fn route_at_a_tenant<'a>(
    tenancy: &'a Tenancy,
    other: &Known<'_>,
) -> Option<(Written<String>, &'a str)> {
    let routes = other.described.file.route.or(Vec::new());
    routes.iter().find_map(|route| {
        let written = route.value.host.written()?;
        let host = written.value.to_ascii_lowercase();
        let tenant = tenancy.at(&host)?;
        Some((written.clone(), &*tenant.tenant.name))
    })
}

/// Domains that tenants have of their own, and whose they are.
struct Domains<'a>(HashMap<&'a str, Vec<(usize, &'a tenancy::Known)>>);

impl<'a> Domains<'a> {
    fn of(known: &[Known<'a>]) -> Self {
        let mut domains: HashMap<_, Vec<_>> = HashMap::new();
        for (index, site) in known.iter().enumerate() {
            let tenants = site
                .tenancy
                .into_iter()
                .flat_map(|tenancy| &tenancy.tenants);
            for tenant in tenants.filter(|tenant| !tenant.is_by_pattern) {
                let host = &*tenant.tenant.host;
                domains.entry(host).or_default().push((index, tenant));
            }
        }
        Self(domains)
    }
}

/// The domains of one site's tenants, each of which is a host like any other.
fn domains_of(index: usize, known: &[Known<'_>], domains: &Domains<'_>, faults: &mut Faults) {
    let Some(site) = known.get(index) else { return };
    let tenants = site
        .tenancy
        .into_iter()
        .flat_map(|tenancy| &tenancy.tenants);
    let mut capped = Capped::default();
    let mut sharing = Vec::new();
    for tenant in tenants.filter(|tenant| !tenant.is_by_pattern) {
        let host = &*tenant.tenant.host;
        let key = format!("{}.host", tenant.key);
        let mut refuse = |whose: String, faults: &mut Faults| {
            let what = format!("is where {whose} is too: {host}");
            capped.refuse(
                "domain",
                (&tenant.place, &key),
                what,
                "write another host",
                faults,
            );
        };
        let others = domains.0.get(host).into_iter().flatten();
        for (other_index, other) in others {
            let is_earlier = (*other_index, &other.place) < (index, &tenant.place);
            let Some(other_site) = known.get(*other_index).filter(|_| is_earlier) else {
                continue;
            };
            if site.public.mount == other_site.public.mount {
                refuse(
                    format!("the tenant {} ({})", other.tenant.name, other.place),
                    faults,
                );
            } else {
                sharing.push(*other_index);
            }
        }
        for (other_index, other) in known.iter().enumerate() {
            let Some(whose) = whose(host, other).filter(|_| other_index != index) else {
                continue;
            };
            // On whichever path: a tenant's line must not bring an app to the origin of another.
            refuse(whose, faults);
        }
    }
    capped.conclude(faults);
    sharing.sort_unstable();
    sharing.dedup();
    for other in sharing.into_iter().filter_map(|other| known.get(other)) {
        share_a_host(site, other, faults);
    }
}

/// Who is at `host` in another site: the site itself, or a tenant that has no domain of its own.
fn whose(host: &str, other: &Known<'_>) -> Option<String> {
    let Some(tenancy) = other.tenancy else {
        return (other.public.host() == host).then(|| other.file());
    };
    let tenant = tenancy.by_pattern(tenancy.pattern.name_in(host)?)?;
    Some(format!(
        "the tenant {} ({})",
        tenant.tenant.name, tenant.place
    ))
}

/// Whoever is sent to a host that is nobody's again would be sent there for ever.
fn no_tenant(site: &Known<'_>, tenancy: &Tenancy, known: &[Known<'_>], faults: &mut Faults) {
    let written = site.described.file.no_tenant.written();
    let (Some(url), Some(written)) = (&tenancy.no_tenant, written) else {
        return;
    };
    let host = url.host_str().unwrap_or_default();
    let is_known = || known.iter().any(|other| whose(host, other).is_some());
    if tenancy.pattern.name_in(host).is_some() && !is_known() {
        let what =
            format!("leads to {host}, where no tenant is: browsers would go round in circles");
        written.refuse(
            faults,
            what,
            "write an address of a site or of a tenant, or of another host",
        );
    }
}
