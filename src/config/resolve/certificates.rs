//! Which certificate each site's host has, where TLS ends here: its own, or the listener's.

use std::collections::{HashMap, HashSet};

use crate::config::capped::Capped;
use crate::config::error::Faults;
use crate::config::resolve::Surroundings;
use crate::config::resolve::described::Described;
use crate::config::resolve::public::Public;
use crate::config::resolve::server::listen;
use crate::config::resolve::site::Resolved;
use crate::config::resolve::tenancy::Tenancy;
use crate::config::resolve::tls::tls;
use crate::server::{CertificateNames, TlsFiles, names_in};

const REMEDY: &str = "write tls = { cert, key } with one that is";

/// A host without a certificate is one that no browser gets to, and one with two is anybody's guess.
pub(super) fn judge(
    described: &[Described<'_>],
    resolved: &[Resolved],
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) {
    let Some(server) = described.first().map(|site| site.server) else {
        return;
    };
    let certificates = || resolved.iter().flat_map(|site| &site.certificates);
    let speaks_tls = server.tls.stands()
        || described.iter().any(|site| site.file.tls.stands())
        || certificates().next().is_some();
    if !surroundings.purpose.judges_certificates() || !speaks_tls {
        return;
    }
    // What is wrong with the files themselves is said where the listener reads them.
    let mut elsewhere = faults.elsewhere();
    let of_listener = tls(&server.tls, surroundings, &mut elsewhere);
    let of_listener = of_listener.and_then(|files| names_in(&files).ok());
    if server.tls.stands() && of_listener.is_none() {
        return;
    }
    let with_one = described.iter().zip(resolved).filter_map(|(site, found)| {
        let has_one = site.file.tls.stands() && !site.is_of_bff_toml;
        Some(found.public.as_ref().filter(|_| has_one)?.host())
    });
    let shown = Shown {
        of_listener,
        of_sites: certificates()
            .map(|certificate| &*certificate.host)
            .chain(with_one)
            .collect(),
    };
    // Another may end TLS for some of them.
    let is_behind = server.trusted_proxies.stands() || listen(server).unix().is_some();
    let is_alone = described.len() == 1;
    let mut earlier: HashMap<&str, &TlsFiles> = HashMap::new();
    for (site, found) in described.iter().zip(resolved) {
        let Some(public) = &found.public else {
            continue;
        };
        faults.turn_to(site.source);
        two_for_one_host(site, found, &mut earlier, faults);
        // What its own certificate is not for is said beside that.
        let has_own = site.file.tls.stands() && !site.is_of_bff_toml;
        if has_own || is_behind || !public.is_https() {
            continue;
        }
        match &found.tenancy {
            Some(tenancy) => tenants(site, public, tenancy, &shown, faults),
            // One site alone whose certificate is another's was never refused.
            None if is_alone && site.is_of_bff_toml => {}
            None if shown.cover(public.host()) => {}
            None => refuse(site, public.host(), faults),
        }
    }
}

/// The certificates that browsers may be shown.
struct Shown<'a> {
    of_listener: Option<CertificateNames>,
    /// The hosts that sites and tenants have them for.
    of_sites: HashSet<&'a str>,
}

impl Shown<'_> {
    fn cover(&self, host: &str) -> bool {
        let by_wildcard = host
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        self.of_sites.contains(host)
            || by_wildcard.is_some_and(|wildcard| self.of_sites.contains(&*wildcard))
            || self
                .of_listener
                .as_ref()
                .is_some_and(|names| names.cover(host))
    }
}

fn refuse(site: &Described<'_>, host: &str, faults: &mut Faults) {
    let what = format!("is https, and no certificate is for {host}, so that no browser gets there");
    faults.refuse(&site.place(), site.public_url(), what, REMEDY);
}

/// One certificate may be for all of a pattern, or each tenant has its own.
fn tenants(
    site: &Described<'_>,
    public: &Public,
    tenancy: &Tenancy,
    shown: &Shown<'_>,
    faults: &mut Faults,
) {
    let is_uncovered = |host: &str| !shown.cover(host);
    let by_pattern = || tenancy.tenants.iter().filter(|known| known.is_by_pattern);
    let of_nobody = is_uncovered(public.host());
    let is_of_none = of_nobody && by_pattern().all(|known| is_uncovered(&known.tenant.host));
    if is_of_none {
        refuse(site, public.host(), faults);
    }
    let mut capped = Capped::default();
    for known in &tenancy.tenants {
        let host = &*known.tenant.host;
        let is_told = known.is_by_pattern && (is_of_none || !of_nobody);
        if !is_told && is_uncovered(host) {
            let what =
                format!("is at {host}, which no certificate is for, so that no browser gets there");
            capped.refuse(
                "certificate",
                (&known.place, &known.key),
                what,
                REMEDY,
                faults,
            );
        }
    }
    capped.conclude(faults);
}

fn two_for_one_host<'a>(
    site: &Described<'_>,
    found: &'a Resolved,
    earlier: &mut HashMap<&'a str, &'a TlsFiles>,
    faults: &mut Faults,
) {
    for certificate in &found.certificates {
        let (host, files) = (&*certificate.host, &certificate.files);
        let Some(before) = earlier
            .insert(host, files)
            .filter(|before| *before != files)
        else {
            continue;
        };
        let what = format!(
            "is another certificate for {host} than {}",
            before.cert.display()
        );
        let remedy = "write it once, in one of the sites on this host";
        match site.file.tls.written() {
            Some(written) => written.refuse(faults, what, remedy),
            None => faults.refuse(&site.place(), "tls", what, remedy),
        }
    }
}
