//! `{tenant}` in `public_url`: which hosts are tenants', who they are, and what each is filled with.
//!
//! The site itself is judged as any is, filled for nobody; here is what differs from tenant to tenant.

mod declared;
mod fits;
mod hosts;
mod values;

pub(super) use values::NamedSecret;

use std::path::PathBuf;

use url::{Host, Url};

use crate::config::capped::Capped;
use crate::config::error::{Faults, Place, Source};
use crate::config::folder::Folder;
use crate::config::reader::Field;
use crate::config::resolve::Surroundings;
use crate::config::resolve::described::Described;
use crate::config::resolve::public::{Public, host_of};
use crate::config::resolve::tls;
use crate::config::site_file::SiteFile;
use crate::config::tenants::Tenant;
use crate::config::tenants::draft::Draft;
use crate::config::tenants::placeholders::{TENANT, stand_in, written};
use crate::config::tls_table::TlsTable;
use crate::server::{SiteCertificate, names_in};
use crate::web::host_pattern::HostPattern;
use crate::web::loopback::is_loopback;

/// A site's tenants, and where browsers find them.
#[derive(Debug)]
pub(super) struct Tenancy {
    pub(super) pattern: HostPattern,
    pub(super) no_tenant: Option<Url>,
    /// In the order of their names.
    pub(super) tenants: Vec<Known>,
    /// Where their secrets are, as they are written.
    pub(super) secrets: Vec<NamedSecret>,
}

/// A tenant, and where it is written.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) tenant: Tenant,
    pub(super) key: String,
    pub(super) place: Place,
    /// Whether its host is of the pattern.
    pub(super) is_by_pattern: bool,
    tls: Field<TlsTable>,
}

/// The tenants of `site`, if it has `{tenant}` in its `public_url`.
pub(super) fn tenancy(
    site: &Described<'_>,
    public: Option<&Public>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Tenancy> {
    let Some(draft) = site.draft else {
        let remedy =
            "write a public_url such as \"https://{tenant}.app.example.com\", or leave it out";
        refuse_keys(&site.file, remedy, faults);
        return None;
    };
    refuse_hosts_of_routes(&site.file, faults);
    let declared = declared::declared(
        &site.file,
        site.source,
        (surroundings.folder, surroundings.here),
        faults,
    );
    let (values, secrets) = values::values(draft, &declared, surroundings, faults);
    let no_tenant = no_tenant(&site.file, faults);
    let public = public?;
    let pattern = pattern(site, draft, public, faults)?;
    if declared.is_empty() && !site.file.tenants_file.stands() && !site.file.tenants.stands() {
        let what = format!("has {} in it, and there is no tenant", written(TENANT));
        let remedy = "write [tenants.NAME] for each, or tenants_file";
        faults.warn(&site.place(), site.public_url(), what, remedy);
    }
    let hosts = hosts::hosts(&declared, &pattern, public, faults);
    let known = declared.into_iter().zip(hosts).zip(values);
    let known = known.filter_map(|((declared, host), values)| {
        let host = host?;
        Some(Known {
            tenant: Tenant::new(&declared.name, &host.name, values),
            key: declared.key,
            place: declared.place,
            is_by_pattern: host.is_by_pattern,
            tls: declared.table.tls,
        })
    });
    let mut tenants: Vec<Known> = known.collect();
    tenants.sort_by(|one, other| one.tenant.name.cmp(&other.tenant.name));
    Some(Tenancy {
        pattern,
        no_tenant,
        tenants,
        secrets,
    })
}

/// The files of all tenants' secrets, each with the key that names it.
pub(in crate::config) fn secret_files(
    draft: &Draft,
    file: &SiteFile,
    source: &Source,
    folder: &Folder,
    faults: &mut Faults,
) -> Vec<(String, PathBuf)> {
    let declared = declared::declared(file, source, (folder, None), faults);
    let spots = draft.spots.iter().filter(|spot| spot.names_a_secret_file());
    let files = spots.flat_map(|spot| values::files(spot, &declared, folder));
    files.collect()
}

/// Keys for tenants where nobody can be one.
pub(super) fn refuse_keys(file: &SiteFile, remedy: &str, faults: &mut Faults) {
    let what = format!("is for a site with {} in its public_url", written(TENANT));
    if let Some(tenants) = file.tenants.written() {
        tenants.refuse(faults, what.clone(), remedy);
    }
    for key in [&file.tenants_file, &file.no_tenant] {
        if let Some(written) = key.written() {
            written.refuse(faults, what.clone(), remedy);
        }
    }
}

/// A host that is all tenants' is nobody's.
fn refuse_hosts_of_routes(file: &SiteFile, faults: &mut Faults) {
    for route in file.route.or(Vec::new()) {
        if let Some(host) = route.value.host.written() {
            host.refuse(
                faults,
                "is one host for all tenants, so that nobody knows whose calls come there",
                "make it a site of its own (server.sites), or leave it out",
            );
        }
    }
}

/// §7: a tenant's name is one label of the host, or a part of one.
fn pattern(
    site: &Described<'_>,
    draft: &Draft,
    public: &Public,
    faults: &mut Faults,
) -> Option<HostPattern> {
    let tenant = written(TENANT);
    let parts = public.host().split_once(&stand_in(TENANT));
    let what = if draft.public_url.matches(&tenant).count() > 1 {
        format!("has {tenant} in it twice: {:?}", draft.public_url)
    } else if parts.is_none() {
        let url = &draft.public_url;
        format!("has {tenant} where no host's name is: {url:?}")
    } else if parts.is_some_and(|(before, _)| before.rsplit('.').next() == Some("xn--")) {
        // Such a label is one whole; a part of it says nothing.
        let url = &draft.public_url;
        format!("has {tenant} beside letters that DNS has not: {url:?}")
    } else {
        let (before, after) = parts?;
        return Some(HostPattern::new(before, after));
    };
    let remedy = format!("write it once, in the host, as in \"https://{tenant}.app.example.com\"");
    faults.refuse(&site.place(), site.public_url(), what, remedy);
    None
}

/// Where people are sent who come to nobody's host. A7: as safe a place as any of ours.
fn no_tenant(file: &SiteFile, faults: &mut Faults) -> Option<Url> {
    let written = file.no_tenant.written()?;
    let url = Url::parse(&written.value).ok().filter(|url| {
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
        is_safe && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    if url.is_none() {
        written.refuse(
            faults,
            "is neither an https address nor http on this machine",
            "write one such as \"https://app.example.com/choose\"",
        );
    }
    url
}

impl Tenancy {
    /// The tenant of this name, if it is found by the pattern.
    pub(super) fn by_pattern(&self, name: &str) -> Option<&Known> {
        let tenants = &self.tenants;
        let at = tenants.binary_search_by(|known| (*known.tenant.name).cmp(name));
        let known = at.ok().and_then(|at| tenants.get(at));
        known.filter(|known| known.is_by_pattern)
    }

    /// What is shown to browsers that ask for these hosts: each tenant's own, else the site's.
    pub(super) fn certificates(
        &self,
        site: &Described<'_>,
        surroundings: Surroundings<'_>,
        faults: &mut Faults,
    ) -> Vec<SiteCertificate> {
        let mut certificates = Vec::new();
        let mut without = Vec::new();
        for known in &self.tenants {
            let host = &known.tenant.host;
            match tls::certificate(&known.tls, host, surroundings, faults) {
                Some(own) => certificates.push(own),
                None if known.tls.stands() => {}
                None => without.push(known),
            }
        }
        let of_site = &site.file.tls;
        let Some(tls) = of_site.written().filter(|_| !site.is_of_bff_toml) else {
            return certificates;
        };
        let Some(files) = tls::tls(of_site, surroundings, faults) else {
            return certificates;
        };
        let names = surroundings
            .purpose
            .needs_secrets()
            .then(|| names_in(&files));
        let names = names.and_then(Result::ok);
        let covers = |host: &str| names.as_ref().is_none_or(|names| names.cover(host));
        let wildcard = self.pattern.wildcard().filter(|wildcard| covers(wildcard));
        let has_wildcard = wildcard.is_some();
        let one_by_one = without
            .into_iter()
            .filter(|known| !(known.is_by_pattern && has_wildcard));
        let mut uncovered = Capped::default();
        let mut hosts: Vec<String> = wildcard.into_iter().collect();
        for known in one_by_one {
            let host = &*known.tenant.host;
            if covers(host) {
                hosts.push(host.to_owned());
            } else {
                let key = if known.is_by_pattern {
                    known.key.clone()
                } else {
                    format!("{}.host", known.key)
                };
                let what = format!("is at {host}, which {} of the site is not for", tls.key);
                let remedy = "write tls = { cert, key } beside host, or have the site's certificate cover it";
                uncovered.refuse(&tls.key, (&known.place, &key), what, remedy, faults);
            }
        }
        uncovered.conclude(faults);
        certificates.extend(hosts.into_iter().map(|host| SiteCertificate {
            host,
            files: files.clone(),
        }));
        certificates
    }
}

/// A host in lower case and in A-labels, where it is a name.
fn name_of(host: &str) -> Option<String> {
    match host_of(host)? {
        Host::Domain(name) => Some(name),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}
