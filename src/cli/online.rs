//! `bff check --online`: asks the provider, the store and the upstreams, and looks at what stands around
//! this process. All that `serve` would meet is told at once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use crate::app::{self, StartError};
use crate::cli::{Exit, sentence};
use crate::config::{Config, SiteConfig};
use crate::oidc::{Lack, Provider, ProviderError, ProviderSettings};
use crate::proxy::dial;
use crate::proxy::route::RouteTable;
use crate::server::{ServerSettings, names_in};
use crate::session::StorePlace;
use crate::session::store::StoreError;
use crate::web::outbound::{self, OutboundSettings};
use crate::web::token_spec::RouteToken;

/// What was found, in the order in which it was looked for.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<(Weight, String)>,
    /// The providers, by their names, and which way each was asked.
    providers: Vec<(String, String)>,
    /// The word of the store, where sessions are not in this process.
    store: Option<&'static str>,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It is as it may be, and whoever reads of it need not wonder.
    Told,
    /// It works, and somebody may come to regret it.
    Unwise,
    /// The configuration may be right; somebody does not answer.
    Away,
    /// The configuration, or what it names, has to be changed.
    Wrong,
}

impl Findings {
    /// Once, however many sites it is true of.
    fn note(&mut self, weight: Weight, sentence: impl Into<String>) {
        let finding = (weight, sentence.into());
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// What is well, and is not what one would have seen else.
    pub(super) fn notes(&self) -> impl Iterator<Item = &str> {
        self.of(|weight| weight == Weight::Told)
    }

    /// What works all the same.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        self.of(|weight| weight == Weight::Unwise)
    }

    /// What keeps `bff` from serving, or a login or a call from being answered.
    pub(super) fn faults(&self) -> impl Iterator<Item = &str> {
        self.of(|weight| weight > Weight::Unwise)
    }

    fn of(&self, fits: impl Fn(Weight) -> bool) -> impl Iterator<Item = &str> {
        let fitting = self.found.iter().filter(move |(weight, _)| fits(*weight));
        fitting.map(|(_, sentence)| sentence.as_str())
    }

    /// Who answers as they should, where nothing is at fault.
    pub(super) fn praise(&self) -> String {
        if let ([(name, way)], None) = (&*self.providers, self.store) {
            return format!("{name} answers as it should{way}");
        }
        let providers = self.providers.iter();
        let providers: Vec<String> = providers
            .map(|(name, way)| format!("{name}{way}"))
            .collect();
        let providers = providers.join(", ");
        match self.store {
            Some(store) => format!("{providers} and {store} answer as they should"),
            None => format!("{providers} answer as they should"),
        }
    }

    /// How a check with faults ends: what has to be changed weighs more than who is away.
    pub(super) fn exit(&self) -> Exit {
        match self.found.iter().map(|(weight, _)| *weight).max() {
            None | Some(Weight::Told | Weight::Unwise) => Exit::Done,
            Some(Weight::Away) => Exit::Failed,
            Some(Weight::Wrong) => Exit::Usage,
        }
    }
}

/// Looks at all that `config` names. `file` is the configuration as it was named.
///
/// # Errors
///
/// Nobody can be asked from here.
pub(super) fn look(mut config: Config, file: &Path) -> Result<Findings, StartError> {
    let mut findings = Findings::default();
    let asked = who_is_asked(&config, &mut findings);
    look_around(&config, file, &mut findings);
    let sites = app::judge(&mut config)?;
    ask_store(&config, &mut findings);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let tls = outbound::tls()?;
    let patience = config.server.timeouts.connect;
    for asked in asked {
        let Ok(site) = sites.at(&asked.host, &asked.path) else {
            continue;
        };
        ask_upstreams(
            &runtime,
            site.routes(),
            patience,
            tls.clone(),
            &mut findings,
        );
        for (at, asked) in site.relying_parties().zip(asked.asked) {
            asked.ask(at.provider(), &runtime, &mut findings);
        }
    }
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    Ok(findings)
}

/// The sites whose providers are asked: of those that tenants have, a few.
fn who_is_asked(config: &Config, findings: &mut Findings) -> Vec<AtSite> {
    const MOST_TENANTS: usize = 10;
    let mut asked: Vec<AtSite> = config.sites.iter().map(AtSite::of).collect();
    for tenanted in &config.tenanted {
        for tenant in tenanted.tenants.iter().take(MOST_TENANTS) {
            match tenanted.template.site_of(tenant) {
                Ok(site) => asked.push(AtSite::of(&site)),
                Err(errors) => findings.note(Weight::Wrong, errors.to_string()),
            }
        }
        let all = tenanted.tenants.len();
        if all > MOST_TENANTS {
            let sentence = format!(
                "of the {all} tenants of {} the providers and upstreams of the first {MOST_TENANTS} were asked",
                tenanted.address()
            );
            findings.note(Weight::Told, sentence);
        }
    }
    asked
}

/// What no answer tells: who can read our key, and what browsers will think of us.
fn look_around(config: &Config, file: &Path, findings: &mut Findings) {
    let file = file.display();
    let server = &config.server;
    let is_named = !config.trusted_proxies.is_empty() || server.listen.unix().is_some();
    if !server.speaks_tls() {
        let mut public = config.faces().map(|site| &site.auth.public_url);
        if public.any(|public| public.scheme() == "https") && !is_named {
            findings.note(
                Weight::Unwise,
                format!(
                    "{file}: server.public_url is https, and nothing is known of who ends TLS, whose address every visitor then has; write tls = {{ cert, key }}, or the network of whoever ends it as trusted_proxies"
                ),
            );
        }
        return;
    }
    for key in keys_that_others_read(server) {
        findings.note(
            Weight::Unwise,
            format!(
                "{file}: {key}, which every user of this machine can read; run chmod o-r on it"
            ),
        );
    }
    let names = server.tls.as_ref().and_then(|tls| names_in(tls).ok());
    for site in &config.sites {
        let host = site.auth.public_url.host_str().unwrap_or_default();
        match server.certificate_for(host) {
            // Another ends TLS for it.
            None if is_named => {}
            None => findings.note(
                Weight::Unwise,
                format!(
                    "{file}: no certificate is for {host}, so every browser that comes there is refused; write tls = {{ cert, key }} where its public_url stands, or under [server] one that covers it"
                ),
            ),
            // That a site's own certificate covers it was judged before.
            Some(files) => {
                if server.tls.as_ref() == Some(files)
                    && names.as_ref().is_some_and(|names| !names.cover(host))
                {
                    findings.note(
                        Weight::Unwise,
                        format!(
                            "{file}: server.tls.cert names {}, which is not for {host}, the host of server.public_url: a browser that comes here goes no further; write the certificate of that host",
                            files.cert.display()
                        ),
                    );
                }
            }
        }
    }
}

/// The keys of certificates that more than their owner can read, each as a sentence begins.
fn keys_that_others_read(server: &ServerSettings) -> Vec<String> {
    let can_be_read = |path: &Path| {
        let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
        mode & 0o004 != 0
    };
    let own = server.tls.iter().map(|tls| {
        let key = &tls.key;
        (key, format!("server.tls.key names {}", key.display()))
    });
    let of_sites = server.site_certificates.iter().map(|site| {
        let key = &site.files.key;
        (
            key,
            format!("tls.key of {} names {}", site.host, key.display()),
        )
    });
    own.chain(of_sites)
        .filter(|(key, _)| can_be_read(key))
        .map(|(_, sentence)| sentence)
        .collect()
}

fn ask_store(config: &Config, findings: &mut Findings) {
    if let StorePlace::Sqlite(path) = &config.store.place
        && let Some(folder) = path.parent().map(or_here)
        && !path.exists()
        && let Some(fault) = no_room_in(folder)
    {
        let file = path.display();
        let sentence = format!(
            "the session store cannot be used: {file} cannot be made, since {} {fault}",
            folder.display()
        );
        return findings.note(Weight::Wrong, sentence);
    }
    match app::ask_store(config) {
        Ok(store) => findings.store = store,
        // Beside the one that serves, as before each upgrade, all is as it should be.
        Err(StartError::Store(StoreError::Taken(_))) => findings.note(
            Weight::Told,
            "the SQLite file of session.store_url is in use, as by the bff that serves, and was not looked into; it serves one at a time",
        ),
        Err(error) => {
            let weight = match &error {
                StartError::Store(StoreError::Away(_)) => Weight::Away,
                _ => Weight::Wrong,
            };
            findings.note(weight, sentence(&error));
        }
    }
}

/// The folder that a path without one starts from.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// Why no file could be made in `folder`.
fn no_room_in(folder: &Path) -> Option<&'static str> {
    match fs::metadata(folder) {
        Err(_) => Some("is not there: create that folder"),
        Ok(found) if !found.is_dir() => Some("is no folder: write another store_url"),
        Ok(found) if found.permissions().readonly() => {
            Some("may not be written to: let bff own that folder")
        }
        Ok(_) => None,
    }
}

/// An upstream may well come later than `bff`; whoever looks before a release wants to know.
fn ask_upstreams(
    runtime: &Runtime,
    routes: &RouteTable,
    patience: Duration,
    tls: rustls::ClientConfig,
    findings: &mut Findings,
) {
    let tried = runtime.block_on(dial::try_all(routes, patience, Arc::new(tls)));
    for (upstream, error) in tried {
        let sentence = format!(
            "the upstream {upstream} cannot be reached ({error}): calls to it are answered 502 until it can"
        );
        findings.note(Weight::Unwise, sentence);
    }
}

/// A site and its providers.
struct AtSite {
    /// Where browsers find it.
    host: String,
    path: String,
    /// At its own, then at the others.
    asked: Vec<Asked>,
}

impl AtSite {
    fn of(site: &SiteConfig) -> Self {
        let own = (&site.provider, &site.outbound);
        let others = site.others.iter().map(|at| (&at.provider, &at.outbound));
        let host = site.auth.public_url.host_str();
        Self {
            host: host.unwrap_or_default().to_owned(),
            path: format!("{}/", site.auth.mount),
            asked: std::iter::once(own)
                .chain(others)
                .enumerate()
                .map(|(at, (provider, outbound))| Asked {
                    grants: grants(site, at == 0),
                    ..Asked::of(&site.file, provider, outbound)
                })
                .collect(),
        }
    }
}

/// The grants that a site's routes need of a provider, each with the routes: tokens of our own are the first
/// one's, those of a user come from whichever signed them in.
fn grants(site: &SiteConfig, is_first: bool) -> BTreeMap<&'static str, Vec<String>> {
    let mut grants: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for route in &site.routes {
        let spec = match &route.token {
            RouteToken::UserFor(spec) => spec,
            RouteToken::Client(spec) | RouteToken::UserOrClient(spec) if is_first => spec,
            _ => continue,
        };
        let routes = grants.entry(spec.grant_type()).or_default();
        routes.push(format!("{:?}", route.path));
    }
    grants
}

/// How a site's provider is called, and where it is asked. Each site asks for itself, since its redirect
/// address is its own.
struct Asked {
    file: PathBuf,
    name: String,
    key: String,
    address: String,
    way: Option<String>,
    /// What its routes need of it.
    grants: BTreeMap<&'static str, Vec<String>>,
}

impl Asked {
    fn of(file: &Path, provider: &ProviderSettings, outbound: &OutboundSettings) -> Self {
        let (key, address) = asked_at(provider);
        Self {
            file: file.to_owned(),
            name: provider_name(provider),
            key: provider.table.tell(key),
            way: outbound.way_out.describe(&address),
            address,
            grants: BTreeMap::new(),
        }
    }

    /// Asks the provider for its metadata, whether they fit the issuer (A5), for its keys, and for a login
    /// of nobody where they promise one.
    fn ask(self, provider: &Provider, runtime: &Runtime, findings: &mut Findings) {
        let found = runtime.block_on(async {
            let metadata = provider.look().await?;
            let mut lacks = metadata.lacks().to_vec();
            let is_missing = |grant: &&&str| !metadata.may_offer(grant);
            let missing: Vec<&str> = self.grants.keys().filter(is_missing).copied().collect();
            if !lacks.iter().any(Lack::prevents_login) {
                lacks.extend(provider.rehearse().await?);
            }
            Ok::<_, ProviderError>((lacks, missing))
        });
        let (lacks, missing) = match found {
            Ok(found) => found,
            Err(error) => {
                let weight = match &error {
                    ProviderError::Misbehaved(_) => Weight::Wrong,
                    ProviderError::Unavailable(_) => Weight::Away,
                };
                let said = format!("{} {}: {}", self.key, self.address, sentence(&error));
                return findings.note(weight, said);
            }
        };
        let file = self.file.display();
        for lack in &lacks {
            let weight = if lack.prevents_login() {
                Weight::Wrong
            } else {
                Weight::Unwise
            };
            let lack = provider.settings().table.tell(&lack.to_string());
            findings.note(weight, format!("{file}: {lack}"));
        }
        for grant in missing {
            let routes = self.grants.get(grant).map(|routes| routes.join(", "));
            let sentence = format!(
                "{file}: token of the route {} is bought by the grant {grant}, which {} does not offer: its calls are answered 403; allow that grant there, or write another token",
                routes.unwrap_or_default(),
                provider.settings().issuer
            );
            findings.note(Weight::Unwise, sentence);
        }
        let way = self.way.map(|way| format!(", {way}")).unwrap_or_default();
        let provider = (self.name, way);
        if !findings.providers.contains(&provider) {
            findings.providers.push(provider);
        }
    }
}

/// Where the provider is asked first, and by which key.
fn asked_at(settings: &ProviderSettings) -> (&'static str, String) {
    let mut endpoints = settings.endpoints.iter();
    let keys = endpoints.find(|(name, _)| *name == "jwks_uri");
    if let (false, Some((_, keys))) = (settings.discovery, keys) {
        return ("provider.endpoints.jwks", keys.to_string());
    }
    match &settings.internal {
        Some(internal) => ("provider.internal_url", internal.url().to_string()),
        None => ("provider.issuer", settings.issuer.clone()),
    }
}

/// The provider by the names that are configured for it.
fn provider_name(settings: &ProviderSettings) -> String {
    let issuer = &settings.issuer;
    match &settings.internal {
        Some(internal) => format!("{issuer}, asked at {},", internal.url()),
        None => issuer.clone(),
    }
}
