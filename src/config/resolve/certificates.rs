//! Which certificate each site's host has, where TLS ends here: its own, or the listener's.

use crate::config::error::Faults;
use crate::config::resolve::Surroundings;
use crate::config::resolve::described::Described;
use crate::config::resolve::public::Public;
use crate::config::resolve::server::listen;
use crate::config::resolve::site::Resolved;
use crate::config::resolve::tls::tls;

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
    let speaks_tls = server.tls.stands() || described.iter().any(|site| site.file.tls.stands());
    if !surroundings.purpose.judges_certificates() || !speaks_tls {
        return;
    }
    // What is wrong with the files themselves is said where the listener reads them.
    let mut elsewhere = faults.elsewhere();
    let of_listener = tls(&server.tls, surroundings, &mut elsewhere);
    let of_listener = of_listener.and_then(|files| files.names().ok());
    let is_anybodys_guess = server.tls.stands() && of_listener.is_none();
    // Another may end TLS for some of them.
    let is_behind = server.trusted_proxies.stands() || listen(server).unix().is_some();
    let is_alone = described.len() == 1;
    for (index, (site, found)) in described.iter().zip(resolved).enumerate() {
        let Some(public) = &found.public else {
            continue;
        };
        faults.turn_to(site.source);
        let host = public.host();
        let certificates = |sites: &[Resolved]| {
            let mut certificates = sites.iter().filter_map(|site| site.certificate.clone());
            certificates.find(|certificate| certificate.host == host)
        };
        let earlier = certificates(resolved.get(..index).unwrap_or_default());
        if let (Some(own), Some(earlier)) = (&found.certificate, earlier)
            && own.files != earlier.files
            && let Some(written) = site.file.tls.written()
        {
            let what = format!(
                "is another certificate for {host} than {}",
                earlier.files.cert.display()
            );
            written.refuse(
                faults,
                what,
                "write it once, in one of the sites on this host",
            );
        }
        let is_covered = of_listener.as_ref().is_some_and(|names| names.cover(host));
        let is_named = described.iter().zip(resolved).any(|(other, found)| {
            let on_this_host = found.public.as_ref().map(Public::host) == Some(host);
            on_this_host && other.file.tls.stands() && !other.is_of_bff_toml
        });
        // One site alone whose certificate is another's was never refused.
        let is_excused = is_alone && site.is_of_bff_toml || is_behind || !public.is_https();
        if !is_named && !is_covered && !is_anybodys_guess && !is_excused {
            faults.refuse(
                &site.place(),
                site.public_url(),
                format!(
                    "is https, and no certificate is for {host}, so that no browser gets there"
                ),
                "write tls = { cert, key } with one that is",
            );
        }
    }
}
