//! The file as written turned into the parts' settings; every rule about values is here.
//!
//! Each function notes what it refuses and goes on. Where a fault is noted, its result no longer
//! matters: nothing with a fault leaves `config`.

mod between;
mod certificates;
mod chooser;
mod client_auth;
mod client_cert;
mod clients;
pub(super) mod described;
mod dpop_htu;
mod frontend;
mod header_templates;
mod headers;
mod identity;
mod missing_secret;
pub(super) mod process_secrets;
mod provider;
mod provider_addresses;
mod provider_login;
mod provider_logout;
mod provider_request;
mod public;
mod requirement;
mod route;
mod route_token;
mod server;
mod session;
pub(super) mod site;
mod store;
pub(super) mod surroundings;
mod tenancy;
mod tls;

#[cfg(feature = "dev")]
mod dev;
#[cfg(feature = "dev")]
pub(super) use route::{DEMO_API, DEMO_APP};
pub(super) use surroundings::{Purpose, Surroundings};
pub(super) use tenancy::secret_files;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::admin::AdminSettings;
use crate::config::error::{Faults, Place, Source};
use crate::config::file::File;
use crate::config::print::ProviderPrints;
use crate::config::reader::{Field, Written};
use crate::config::resolve::described::Described;
use crate::config::resolve::process_secrets::ProcessSecrets;
use crate::config::resolve::site::Resolved;
use crate::config::site_file::SiteFile;
use crate::config::sites::SiteDocument;
use crate::config::tenants::draft::Draft;
use crate::config::tenants::{Process, Template, TenantedSite};
use crate::config::words::Chosen;
use crate::config::{Config, SiteConfig};
use crate::telemetry::{LogFormat, LogSettings, SubjectInLog};
use crate::web::site_id::SiteId;
use crate::web::socket_url;
use crate::web::trust::Roots;

/// bff.toml as it was read.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) source: Source,
    pub(super) file: File,
    /// Tells whether what it says of its providers is what it was.
    pub(super) providers: ProviderPrints,
    /// Where bff.toml is a site of tenants: what theirs are made of.
    pub(super) draft: Option<Draft>,
}

/// The configuration that bff.toml and the sites beside it ask for, or `None` after noting every fault.
pub(super) fn resolve(
    main: &Document,
    documents: &[SiteDocument],
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Config> {
    let file = &main.file;
    let own = ProcessSecrets::of(file, surroundings.variables, surroundings.folder);
    let surroundings = Surroundings {
        own: &own,
        ..surroundings
    };
    faults.turn_to(&main.source);
    let (server_table, server_place) = table(&file.server);
    let describe = |source, id, file, providers, draft| Described {
        source,
        is_of_bff_toml: *source == main.source,
        id,
        file,
        providers,
        server: &server_table,
        server_place: &server_place,
        ground: (*source != main.source).then_some(&main.file),
        draft,
    };
    let mut described = Vec::new();
    // Without an origin of its own it is the ground that the others stand on.
    if server_table.public_url.stands() || !server_table.sites.stands() {
        let file = Cow::Owned(SiteFile::of_main(file));
        let draft = main.draft.as_ref();
        let main = describe(&main.source, SiteId::main(), file, &main.providers, draft);
        described.push(main);
    } else {
        let of_main = SiteFile::of_main(file);
        tenancy::refuse_keys(
            &of_main,
            "write it in the file of the site whose tenants they are",
            faults,
        );
    }
    for document in documents {
        let file = Cow::Borrowed(&document.file);
        let (source, providers) = (&document.source, &document.providers);
        let (id, draft) = (document.id(), document.draft.as_ref());
        described.push(describe(source, id, file, providers, draft));
    }
    let resolved: Vec<Resolved> = described
        .iter()
        .map(|site| site::site(site, surroundings, faults))
        .collect();
    between::judge(&described, &resolved, &own, surroundings.folder, faults);
    certificates::judge(&described, &resolved, surroundings, faults);
    faults.turn_to(&main.source);
    let certificates = resolved.iter().flat_map(|site| site.certificates.clone());
    let server = server::server(&file.server, certificates.collect(), surroundings, faults);
    let admin = server::admin(&file.server, surroundings, faults);
    let identity_keys = identity::keys(&server_table, surroundings, faults);
    let keys = session::key_ring(&file.session, surroundings, faults);
    let store = store::store(&file.session, surroundings, faults);
    let log = log(&file.log, faults);
    #[cfg(feature = "dev")]
    let dev = dev::dev(&file.dev, faults);
    for site in &described {
        faults.turn_to(site.source);
        frontend::shows_nothing_private(&site.file.frontend, surroundings, faults);
    }

    let (sites, tenanted) = parted(&main.source, &described, resolved, surroundings)?;
    Some(Config {
        server,
        admin,
        trusted_proxies: server::trusted_proxies(&server_table, faults),
        drain_delay: server::drain_delay(&server_table, faults),
        keys: keys?,
        identity_keys,
        key_places: session::key_places(&file.session),
        store: store?,
        store_name: session::store_name(&file.session),
        sites,
        tenanted,
        log: log?,
        #[cfg(feature = "dev")]
        dev,
        elsewhere: Vec::new(),
    })
}

/// The sites that are served, and those that are served for each of their tenants.
fn parted(
    main: &Source,
    described: &[Described<'_>],
    resolved: Vec<Resolved>,
    surroundings: Surroundings<'_>,
) -> Option<(Vec<SiteConfig>, Vec<TenantedSite>)> {
    let (mut sites, mut tenanted) = (Vec::new(), Vec::new());
    let mut process = None;
    for (site, found) in described.iter().zip(resolved) {
        let config = found.config?;
        let Some(draft) = site.draft else {
            sites.push(config);
            continue;
        };
        let process = process.get_or_insert_with(|| {
            Arc::new(Process {
                main: main.clone(),
                server: site.server.clone(),
                server_place: site.server_place.clone(),
                variables: surroundings.variables.clone(),
                purpose: surroundings.purpose,
            })
        });
        let told = (site.id.clone(), site.source.clone());
        let template = Template::new(draft.clone(), told, &config, Arc::clone(process));
        let tenancy = found.tenancy?;
        tenanted.push(TenantedSite {
            face: config,
            pattern: tenancy.pattern,
            no_tenant: tenancy.no_tenant,
            tenants: tenancy
                .tenants
                .into_iter()
                .map(|known| known.tenant)
                .collect(),
            template: Arc::new(template),
        });
    }
    Some((sites, tenanted))
}

/// N2: the roots in the PEM file that a key names, for `whose` certificate. They are no secret, and yet
/// whoever only explains need not be able to read them.
fn roots(
    field: &Field<String>,
    whose: &str,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Roots> {
    let written = field.written()?;
    if !surroundings.purpose.needs_secrets() {
        return None;
    }
    Roots::read(&surroundings.folder.private(written, &written.value))
        .map_err(|fault| {
            let remedy =
                format!("write the path of a PEM file with the roots of {whose} certificate");
            written.refuse(faults, fault.to_string(), remedy);
        })
        .ok()
}

/// A table and its place; an absent one is an empty one at no particular place.
/// The administration listener alone.
pub(super) fn administration(
    file: &File,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<AdminSettings> {
    server::admin(&file.server, surroundings, faults)
}

fn table<T: Clone + Default>(field: &Field<T>) -> (T, Place) {
    field.written().map_or_else(
        || (T::default(), Place::Whole),
        |table| (table.value.clone(), table.place.clone()),
    )
}

fn log(field: &Field<crate::config::file::LogTable>, faults: &mut Faults) -> Option<LogSettings> {
    let (log, _) = table(field);
    let mut level = "info".to_owned();
    if let Some(written) = log.level.written() {
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&written.value) {
            written.refuse(
                faults,
                format!("is not a level or a filter ({error})"),
                "write \"error\", \"warn\", \"info\", \"debug\", \"trace\" or one such as \"bff=debug,warn\"",
            );
            return None;
        }
        level.clone_from(&written.value);
    }
    Some(LogSettings {
        level,
        format: log.format.or(Chosen(LogFormat::Text)).0,
        subject: log.subject.or(Chosen(SubjectInLog::Hash)).0,
    })
}

/// A duration that may not be zero.
fn span(field: &Field<Duration>, default: Duration, faults: &mut Faults) -> Duration {
    if let Some(written) = field.written()
        && written.value.is_zero()
    {
        written.refuse(
            faults,
            "is zero, which leaves no time at all",
            format!("write a longer one, such as {}", quoted(default)),
        );
    }
    field.or(default)
}

/// A count within `least..=most`.
fn count<N: TryFrom<u64>>(
    field: &Field<u64>,
    default: N,
    least: u64,
    most: u64,
    faults: &mut Faults,
) -> N {
    let Some(written) = field.written() else {
        return default;
    };
    if !(least..=most).contains(&written.value) {
        written.refuse(
            faults,
            format!("is {}, out of bounds", written.value),
            format!("write a number from {least} to {most}"),
        );
    }
    N::try_from(written.value).unwrap_or(default)
}

/// A duration as one would write it in the file.
fn quoted(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// An absolute http or https address without userinfo, wildcard, query or fragment; others are noted.
fn http_url(written: &Written<String>, example: &str, faults: &mut Faults) -> Option<Url> {
    let url = Url::parse(&written.value)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let Some(url) = url else {
        written.refuse(
            faults,
            format!("is not an http or https address: {:?}", written.value),
            format!("write one such as \"{example}\""),
        );
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        // The value may hold a password, so it is not repeated.
        written.refuse(
            faults,
            "holds a user name or password",
            format!("write the address alone, as in \"{example}\""),
        );
        return None;
    }
    if url.host_str().is_some_and(|host| host.contains('*')) {
        written.refuse(
            faults,
            format!("names no single host: {:?}", written.value),
            format!("write one without a wildcard, such as \"{example}\""),
        );
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        written.refuse(
            faults,
            format!("has a query or a fragment: {:?}", written.value),
            format!("write the address alone, as in \"{example}\""),
        );
        return None;
    }
    Some(url)
}

/// Where an upstream is: an http or https address, or a socket file.
fn upstream_url(written: &Written<String>, example: &str, faults: &mut Faults) -> Option<Url> {
    let Some(path) = written.value.strip_prefix("unix:") else {
        return http_url(written, example, faults);
    };
    let url = socket_url::of(Path::new(path));
    if url.is_none() {
        written.refuse(
            faults,
            format!(
                "is not the whole path of a socket file: {:?}",
                written.value
            ),
            "write one such as \"unix:/run/orders.sock\"",
        );
    }
    url
}

/// A path prefix in its normal form: a leading slash, no trailing one but for `/` itself.
///
/// Percent-encodings, dot segments, empty segments and anything beyond what a segment may hold
/// unescaped are refused, since a request's path is normalised before it is compared (I9).
fn path_prefix(written: &Written<String>, example: &str, faults: &mut Faults) -> Option<String> {
    let path = written.value.as_str();
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let fault = if !path.starts_with('/') {
        Some("does not start with a slash")
    } else if path.contains('*') {
        Some("holds a wildcard, and a path takes all that is below it anyway")
    } else if path.contains(['?', '#']) {
        Some("holds a query or a fragment")
    } else if path != "/" && trimmed.split('/').skip(1).any(str::is_empty) {
        Some("has an empty segment")
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        Some("has a dot segment")
    } else if !path.bytes().all(is_plain) {
        Some("holds a character that needs escaping")
    } else {
        None
    };
    if let Some(fault) = fault {
        written.refuse(
            faults,
            format!("{fault}: {path:?}"),
            format!("write one such as {example:?}"),
        );
        return None;
    }
    Some(if trimmed.is_empty() { "/" } else { trimmed }.to_owned())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,=:@".contains(&byte)
}
