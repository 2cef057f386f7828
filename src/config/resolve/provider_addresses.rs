//! `provider.internal_url`, `discovery`, `[provider.endpoints]` and `provider.proxy`: where the provider
//! is asked, and which way.

use url::Url;

use crate::config::error::{Faults, Place};
use crate::config::file::ProviderTable;
use crate::config::reader::{Field, Written};
use crate::config::resolve::{Surroundings, http_url, table};
use crate::oidc::InternalAddress;
use crate::web::loopback::is_loopback;
use crate::web::way_out::WayOut;

/// What names a proxy for https, as other programs read it; the first that is set counts.
const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// What names those that are asked past it.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

const EXAMPLE: &str = "write one such as \"http://proxy.internal:3128\"";

/// The provider's address, from which that of its metadata is made.
pub(super) fn provider_url(
    written: &Written<String>,
    example: &str,
    faults: &mut Faults,
) -> Option<Url> {
    let url = http_url(written, example, faults)?;
    if let Some((address, _)) = written.value.split_once("/.well-known/") {
        written.refuse(
            faults,
            "is the address of the provider's metadata",
            format!("write the part before it: {address:?}"),
        );
        return None;
    }
    Some(url)
}

/// A7: where we ask the provider, if not where browsers do; over http by a word of its own alone.
pub(super) fn internal(
    provider: &ProviderTable,
    issuer: Option<&str>,
    faults: &mut Faults,
) -> Option<InternalAddress> {
    let written = provider.internal_url.written();
    let url = written.and_then(|written| {
        let url = provider_url(written, "http://keycloak:8080/realms/main", faults)?;
        Some((written, url))
    });
    let is_http = url.as_ref().is_some_and(|(_, url)| url.scheme() == "http");
    let allowed = provider.internal_http.written();
    match (&url, allowed.filter(|allowed| allowed.value)) {
        (Some((written, url)), None) if is_http => {
            written.refuse(
                faults,
                format!("is http, so that whoever stands between reads the client secret and every token: {:?}", url.as_str()),
                "write an https address, or internal_http = true where nobody else is on that network",
            );
            return None;
        }
        (_, Some(allowed)) if is_http => allowed.warn(
            faults,
            "sends the client secret and every token in the clear",
            "see that nobody else is on the network between bff and the provider, or write an https internal_url",
        ),
        (Some(_), Some(allowed)) => {
            allowed.warn(faults, "changes nothing, since internal_url is not http", "leave it out");
        }
        (None, Some(allowed)) if !provider.internal_url.stands() => {
            let what = "changes nothing, since there is no internal_url";
            allowed.warn(faults, what, "leave it out, or write internal_url");
        }
        _ => {}
    }
    let (written, url) = url?;
    if issuer == Some(written.value.as_str()) {
        written.warn(
            faults,
            "is the issuer itself, and changes nothing",
            "leave it out",
        );
    }
    InternalAddress::new(issuer?, url)
}

/// A6, A7: by their names in the metadata, and held to the same rules.
pub(super) fn endpoints(
    provider: &ProviderTable,
    issuer: Option<&str>,
    internal: Option<&InternalAddress>,
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
        (
            "pushed_authorization_request_endpoint",
            endpoints.pushed_authorization,
        ),
    ]
    .into_iter()
    .filter_map(|(name, field)| {
        Some((
            name,
            endpoint(field.written()?, only_https, internal, faults)?,
        ))
    })
    .collect()
}

/// Whether the provider is asked for its metadata. Where it is not, what no login goes without has to be
/// written.
pub(super) fn discovery(provider: &ProviderTable, faults: &mut Faults) -> bool {
    let off = provider.discovery.written().filter(|asks| !asks.value);
    let Some(off) = off else {
        return true;
    };
    let (endpoints, _) = table(&provider.endpoints);
    let missing: Vec<&str> = [
        ("authorization", &endpoints.authorization),
        ("token", &endpoints.token),
        ("jwks", &endpoints.jwks),
    ]
    .into_iter()
    .filter(|(_, field)| !field.stands())
    .map(|(name, _)| name)
    .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        off.refuse(
            faults,
            format!("is false, and provider.endpoints lacks {missing}, so that nobody says where that is"),
            "write its address there, or leave discovery out",
        );
    }
    let userinfo = provider.userinfo.written().filter(|fetched| fetched.value);
    if let Some(userinfo) = userinfo
        && !endpoints.userinfo.stands()
    {
        userinfo.refuse(
            faults,
            "is true, and with discovery = false nobody says where it is fetched",
            "write its address as provider.endpoints.userinfo, or leave userinfo out",
        );
    }
    false
}

fn endpoint(
    written: &Written<String>,
    only_https: bool,
    internal: Option<&InternalAddress>,
    faults: &mut Faults,
) -> Option<Url> {
    let url = Url::parse(&written.value).ok();
    // As browsers know it, which is how those of metadata are judged.
    let url = match internal {
        Some(internal) => url.map(|url| internal.outward(url)),
        None => url,
    };
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
    // The development provider is on this machine.
    if surroundings.purpose.is_without_provider() {
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
