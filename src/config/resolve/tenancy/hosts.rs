//! Where each tenant is found: by the pattern, or at a domain of its own.

use crate::config::capped::Capped;
use crate::config::error::Faults;
use crate::config::resolve::public::Public;
use crate::config::resolve::tenancy::declared::{Declared, is_label};
use crate::config::resolve::tenancy::name_of;
use crate::web::host_pattern::HostPattern;
use crate::web::loopback::{is_loopback, is_loopback_host};

/// A label's, and a name's, as DNS has them.
const LONGEST: (usize, usize) = (63, 253);

/// The host of a tenant.
#[derive(Debug)]
pub(super) struct TenantHost {
    pub(super) name: String,
    pub(super) is_by_pattern: bool,
}

/// That of each, or `None` after noting why there is none.
pub(super) fn hosts(
    declared: &[Declared],
    pattern: &HostPattern,
    public: &Public,
    faults: &mut Faults,
) -> Vec<Option<TenantHost>> {
    let mut capped = Capped::default();
    let hosts = declared.iter().map(|tenant| {
        if !is_label(&tenant.name) {
            return None;
        }
        if !tenant.table.host.stands() {
            return by_pattern(tenant, pattern, &mut capped, faults);
        }
        own(tenant, pattern, public, &mut capped, faults)
    });
    let hosts = hosts.collect();
    capped.conclude(faults);
    hosts
}

fn by_pattern(
    tenant: &Declared,
    pattern: &HostPattern,
    capped: &mut Capped,
    faults: &mut Faults,
) -> Option<TenantHost> {
    let host = pattern.host_of(&tenant.name);
    let (longest_label, longest) = LONGEST;
    let is_short =
        host.len() <= longest && host.split('.').all(|label| label.len() <= longest_label);
    if !is_short || name_of(&host).as_ref() != Some(&host) {
        let what = format!("makes {host:?} of public_url, which is no host's name");
        let remedy = "give the tenant another name, or a host of its own";
        let at = (&tenant.place, tenant.key.as_str());
        capped.refuse("pattern", at, what, remedy, faults);
        return None;
    }
    Some(TenantHost {
        name: host,
        is_by_pattern: true,
    })
}

fn own(
    tenant: &Declared,
    pattern: &HostPattern,
    public: &Public,
    capped: &mut Capped,
    faults: &mut Faults,
) -> Option<TenantHost> {
    let written = tenant.table.host.written()?;
    let at = (&written.place, written.key.as_str());
    let host = name_of(&written.value);
    let is_plain = |host: &String| {
        let (longest_label, longest) = LONGEST;
        let is_label = |label: &str| {
            (1..=longest_label).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        host.len() <= longest && host.split('.').all(is_label)
    };
    let Some(host) = host.filter(is_plain) else {
        let what = format!("is no domain: {:?}", written.value);
        let remedy = "write a host's name alone, without scheme, port or path, such as \"portal.example.com\"";
        capped.refuse("host", at, what, remedy, faults);
        return None;
    };
    if is_loopback_host(&host) != is_loopback(&public.url) {
        let what = format!(
            "is {:?}, and only one of it and public_url is on this machine",
            written.value
        );
        capped.refuse(
            "loopback",
            at,
            what,
            "write a host as public_url is one",
            faults,
        );
        return None;
    }
    if pattern.name_in(&host).is_some() {
        let what = format!("is {host:?}, which is of {pattern}, and so the tenant's of that name");
        let remedy = "leave it out, and name the tenant so";
        capped.refuse("of the pattern", at, what, remedy, faults);
        return None;
    }
    Some(TenantHost {
        name: host,
        is_by_pattern: false,
    })
}
