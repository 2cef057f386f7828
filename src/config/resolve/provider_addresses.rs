//! `[provider.endpoints]` and `provider.proxy`: where the provider is asked, and which way.

use url::Url;

use crate::config::error::{Faults, Place};
use crate::config::file::ProviderTable;
use crate::config::reader::{Field, Written};
use crate::config::resolve::{Surroundings, is_loopback, table};
use crate::web::way_out::WayOut;

/// What names a proxy for https, as other programs read it; the first that is set counts.
const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// What names those that are asked past it.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

const EXAMPLE: &str = "write one such as \"http://proxy.internal:3128\"";

/// A6, A7: by their names in the metadata, and held to the same rules.
pub(super) fn endpoints(
    provider: &ProviderTable,
    issuer: Option<&str>,
    faults: &mut Faults,
) -> Vec<(&'static str, Url)> {
    let (endpoints, _) = table(&provider.endpoints);
    let only_https = issuer.is_some_and(|issuer| issuer.starts_with("https:"));
    [
        ("authorization_endpoint", endpoints.authorization),
        ("token_endpoint", endpoints.token),
        ("jwks_uri", endpoints.jwks),
        ("userinfo_endpoint", endpoints.userinfo),
        ("end_session_endpoint", endpoints.end_session),
        ("revocation_endpoint", endpoints.revocation),
    ]
    .into_iter()
    .filter_map(|(name, field)| Some((name, endpoint(field.written()?, only_https, faults)?)))
    .collect()
}

fn endpoint(written: &Written<String>, only_https: bool, faults: &mut Faults) -> Option<Url> {
    let url = Url::parse(&written.value).ok();
    let is_safe = |url: &Url| match url.scheme() {
        "https" => url.has_host(),
        "http" => !only_https && is_loopback(url),
        _ => false,
    };
    if url.as_ref().is_some_and(is_safe) {
        return url;
    }
    let what = if only_https {
        "is not an https address, as all must be that an https issuer leads to"
    } else {
        "is neither an https address nor http on this machine"
    };
    written.refuse(
        faults,
        format!("{what}: {:?}", written.value),
        "write one such as \"https://id.example.com/logout\"",
    );
    None
}

/// Which way calls to the provider go.
pub(super) fn way_out(
    field: &Field<ProviderTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> WayOut {
    let (provider, _) = table(field);
    let Some(written) = provider.proxy.written() else {
        return named_by_environment(surroundings, faults);
    };
    if !surroundings.purpose.needs_secrets() {
        return WayOut::straight();
    }
    let Some(text) = written.resolve(surroundings.secrets(), faults) else {
        return WayOut::straight();
    };
    match text.as_str() {
        "env" => named_by_environment(surroundings, faults),
        "none" => WayOut::straight(),
        address => WayOut::through(address, "", &written.key).unwrap_or_else(|| {
            // It may hold a password, so it is not repeated.
            let remedy = format!("{EXAMPLE}, or \"env\" or \"none\"");
            written.refuse(faults, "is no address of an http or https proxy", remedy);
            WayOut::straight()
        }),
    }
}

fn named_by_environment(surroundings: Surroundings<'_>, faults: &mut Faults) -> WayOut {
    let first = |names: &[&'static str]| {
        names.iter().find_map(|name| {
            let text = surroundings.variables.get(*name)?.trim();
            (!text.is_empty()).then_some((*name, text))
        })
    };
    let Some((name, address)) = first(&PROXY) else {
        return WayOut::straight();
    };
    let except = first(&NO_PROXY).map_or("", |(_, text)| text);
    WayOut::through(address, except, name).unwrap_or_else(|| {
        faults.warn(
            &Place::Variable(name.to_owned()),
            "",
            "is no address of an http or https proxy, so the provider is asked straight",
            format!("{EXAMPLE}, or say provider.proxy = \"none\""),
        );
        WayOut::straight()
    })
}
