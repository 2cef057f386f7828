//! `bff.toml` turned into the parts' own validated types. The only place that reads the
//! environment. Loading has no other side effect.
//!
//! `document` parses, `reader`, `file` and `route_table` give types and names, `resolve` holds the rules.

mod capped;
mod error;

mod document;
mod file;
mod folder;
mod identity_table;
mod json_tables;
mod listening;
mod lists;
mod reader;
mod require_table;
mod route_table;
mod secret_source;
mod tls_table;
mod token_table;
mod unknown_key;
mod values;
mod words;

mod print;
mod reload;
mod resolve;
mod site_file;
mod sites;
mod tenants;

#[cfg_attr(
    not(feature = "dev"),
    expect(dead_code, reason = "`bff dev` alone brings sites here")
)]
mod here;
mod without;

#[cfg(feature = "dev")]
mod development;
#[cfg(feature = "dev")]
mod development_servers;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Host;

use crate::admin::AdminSettings;
use crate::auth::AuthSettings;
use crate::config::error::{Faults, Place, Source};
use crate::config::file::File;
use crate::config::folder::Folder;
use crate::config::here::Here;
use crate::config::print::ProviderPrints;
use crate::config::reader::Read as _;
use crate::config::resolve::process_secrets::ProcessSecrets;
use crate::config::resolve::{Document, Purpose, Surroundings};
use crate::config::site_file::SiteFile;
use crate::config::tenants::draft::{Draft, Of};
#[cfg(feature = "dev")]
use crate::dev::DevSettings;
use crate::frontend::{ErrorPage, FrontendSettings};
use crate::oidc::ProviderSettings;
use crate::proxy::path::PathRules;
use crate::proxy::{CsrfCheck, HeaderChanges, RouteSettings};
use crate::secret::SessionKey;
use crate::server::ServerSettings;
use crate::session::{SessionSettings, StoreSettings};
use crate::telemetry::LogSettings;
use crate::web::identity::IdentityKeys;
use crate::web::loopback::is_loopback;
use crate::web::outbound::OutboundSettings;
use crate::web::regular_file::{self, LARGEST_CONFIGURATION};
use crate::web::site_id::SiteId;

#[cfg(feature = "dev")]
pub use development::{PathInDevelopment, SiteInDevelopment};
#[cfg(feature = "dev")]
pub use development_servers::DevelopmentServers;
pub use document::Variables;
pub use error::{ConfigErrors, Warnings};
pub use print::Print;
pub use reload::{AcceptedPrints, Reload, Reread};
pub use secret_source::KeyPlace;
pub use tenants::{Template, Tenant, TenantedSite};

/// A year, as browsers want it before they remember it for good; other hosts below ours may have no
/// https.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Everything an operator decided, as the parts use it.
#[derive(Debug)]
pub struct Config {
    /// The public listener.
    pub server: ServerSettings,
    /// How long all are served as ever once the process is told to stop.
    pub drain_delay: Duration,
    /// The administration listener, where one is asked for.
    pub admin: Option<AdminSettings>,
    /// Proxies before us whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The key ring: the first seals, all open (G7). Empty: a fresh one at start.
    pub keys: Vec<SessionKey>,
    /// Where they come from, in their order.
    pub key_places: Vec<KeyPlace>,
    /// Where sessions are kept.
    pub store: StoreSettings,
    /// The store's name in the file, whether its address is known or not.
    pub store_name: &'static str,
    /// What signs the tokens that tell upstreams who calls.
    pub identity_keys: Option<Arc<IdentityKeys>>,
    /// The browser apps that are served.
    pub sites: Vec<SiteConfig>,
    /// Those that are served for each of their tenants.
    pub tenanted: Vec<TenantedSite>,
    /// Logging.
    pub log: LogSettings,
    /// `[dev]`.
    #[cfg(feature = "dev")]
    pub dev: DevSettings,
    /// The files of sites that `bff dev` has on this machine, and where each says that it is.
    pub elsewhere: Vec<(PathBuf, String)>,
}

/// Everything that an operator decided for one browser app.
#[derive(Debug)]
pub struct SiteConfig {
    /// Which one it is.
    pub id: SiteId,
    /// The file that describes it.
    pub file: PathBuf,
    /// What a path may hold where no route says otherwise (I9).
    pub path_rules: PathRules,
    /// The endpoints under the base path.
    pub auth: AuthSettings,
    /// The provider.
    pub provider: ProviderSettings,
    /// How calls to the provider go.
    pub outbound: OutboundSettings,
    /// Tells whether all that is said of the provider is what it was.
    pub provider_print: Print,
    /// The other providers at which people may sign in.
    pub others: Vec<ClientConfig>,
    /// How long sessions live, and their cookie.
    pub session: SessionSettings,
    /// The routes, in the order written, by their paths below the mount; a dev-server frontend is the last of them, on `/`, and so
    /// is the demo app of `bff dev`.
    pub routes: Vec<RouteSettings>,
    /// The app's files, where `[frontend] dir` is set.
    pub frontend: Option<FrontendSettings>,
    /// The app's own page for what goes wrong.
    pub error_page: Option<ErrorPage>,
}

/// Everything that an operator decided for one provider of a site, and who we are there.
#[derive(Debug)]
#[expect(missing_docs, reason = "as in SiteConfig")]
pub struct ClientConfig {
    pub auth: AuthSettings,
    pub provider: ProviderSettings,
    pub outbound: OutboundSettings,
    pub provider_print: Print,
}

/// How often the configuration's files (keys, certificates) are looked at for changes.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

impl Config {
    /// The configuration for `bff serve` that the file at `path` and `variables` describe.
    ///
    /// # Errors
    /// All faults at once, each with its place and what to write instead.
    pub fn load(path: &Path, variables: &Variables) -> Result<(Self, Warnings), ConfigErrors> {
        load(path, variables, Purpose::Serve)
    }

    /// The configuration for `bff explain`: as for `bff serve` or `bff dev`, with no provider and no
    /// keys, so that whoever asks needs no secret and none of the files that it names.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for_explanation(
        path: &Path,
        variables: &Variables,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        load(path, variables, Purpose::Explain)
    }

    /// The configuration for `bff sessions`: as for `bff explain`, with the administration key.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for_administration(
        path: &Path,
        variables: &Variables,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        load(path, variables, Purpose::Administer)
    }

    /// The administration listener that the file at `path` names, whatever else is wrong with the file: for
    /// whoever asks the process that runs, which judges it.
    pub fn listener_as_it_stands(path: &Path, variables: &Variables) -> Option<AdminSettings> {
        let text = regular_file::read_text(path, LARGEST_CONFIGURATION).ok()?;
        let main = Source::first(path);
        let mut unsaid = Faults::of(main.clone());
        let surroundings = Surroundings {
            purpose: Purpose::Administer,
            variables,
            folder: &Folder::of(&main),
            of_nobody: false,
            own: ProcessSecrets::NONE,
            here: None,
        };
        let root = document::read_what_stands(&text, &main, variables, &mut unsaid);
        let file = File::read(&root, "", &mut unsaid)?;
        resolve::administration(&file, surroundings, &mut unsaid)
    }

    /// The configuration for `bff serve` that `text` describes, as if read from `file`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        text: &str,
        file: &Path,
        variables: &Variables,
    ) -> Result<(Self, Warnings), ConfigErrors> {
        parse(text, file, variables, Purpose::Serve)
    }
}

impl Config {
    /// Takes the sites out, for whoever makes them.
    pub fn take_sites(&mut self) -> (Vec<SiteConfig>, Vec<TenantedSite>) {
        let (sites, tenanted) = (&mut self.sites, &mut self.tenanted);
        (std::mem::take(sites), std::mem::take(tenanted))
    }

    /// Where browsers find the sites.
    pub fn public_urls(&self) -> Vec<String> {
        let of_sites = self
            .sites
            .iter()
            .map(|site| site.auth.public_url.to_string());
        let of_tenants = self.tenanted.iter().map(TenantedSite::address);
        of_sites.chain(of_tenants).collect()
    }

    /// What is said of each site, and of those that tenants have as it is for one that is nobody's.
    pub fn faces(&self) -> impl Iterator<Item = &SiteConfig> {
        let of_tenants = self.tenanted.iter().map(|tenanted| &tenanted.face);
        self.sites.iter().chain(of_tenants)
    }
}

impl SiteConfig {
    /// Whether the operator sets this header on any answer.
    pub fn sets_header(&self, name: &HeaderName) -> bool {
        let of_routes = self
            .routes
            .iter()
            .flat_map(|route| &route.response_headers.set);
        let of_files = self.frontend.iter().flat_map(|files| &files.headers);
        of_routes.chain(of_files).any(|(set, _)| set == name)
    }

    /// What browsers are told of https (N2): the operator's word for the app's files holds for our own
    /// answers too, one on a route makes us silent. Nothing on loopback, and nothing by an IP address,
    /// where browsers do not listen.
    pub fn hsts(&self) -> Option<HeaderValue> {
        let public = &self.auth.public_url;
        let is_named = matches!(public.host(), Some(Host::Domain(_)));
        if public.scheme() != "https" || !is_named || is_loopback(public) {
            return None;
        }
        let is_hsts = |name: &HeaderName| *name == STRICT_TRANSPORT_SECURITY;
        let mut of_files = self.frontend.iter().flat_map(|files| &files.headers);
        if let Some((_, value)) = of_files.find(|(name, _)| is_hsts(name)) {
            return Some(value.clone()).filter(|value| !value.is_empty());
        }
        let of_a_route = self.routes.iter().any(|route| {
            let HeaderChanges { set, remove, .. } = &route.response_headers;
            set.iter().any(|(name, _)| is_hsts(name)) || remove.iter().any(is_hsts)
        });
        (!of_a_route).then_some(HSTS)
    }

    /// Logs what an operator should see at each start: the routes that ask for no `X-CSRF` (H7).
    pub fn log_exceptions(&self) {
        for route in &self.routes {
            if route.csrf == Some(CsrfCheck::Origin) {
                tracing::info!(
                    event = "config.route_without_csrf_header",
                    route = route.name,
                    "route takes calls without X-CSRF; Fetch Metadata or Origin must show our own page"
                );
            }
        }
    }
}

/// The process's environment.
///
/// Variables that are not Unicode are left out: none of ours can be one of them.
pub fn environment() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The JSON Schema of `bff.toml`.
pub fn schema() -> serde_json::Value {
    titled("bff.toml", File::schema())
}

/// The JSON Schema of a site's file.
pub fn schema_of_site() -> serde_json::Value {
    let mut schema = SiteFile::schema();
    if let Some(session) = schema.pointer_mut("/properties/session/properties")
        && let Some(session) = session.as_object_mut()
    {
        session.retain(|key, _| !sites::is_of_process(key));
    }
    titled("a site of bff", schema)
}

fn titled(title: &str, mut schema: serde_json::Value) -> serde_json::Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        schema.insert("title".to_owned(), title.into());
    }
    schema
}

fn load(
    path: &Path,
    variables: &Variables,
    purpose: Purpose,
) -> Result<(Config, Warnings), ConfigErrors> {
    match regular_file::read_text(path, LARGEST_CONFIGURATION) {
        Ok(text) => parse(&text, path, variables, purpose),
        Err(error) => {
            let mut faults = Faults::of(Source::first(path));
            let (what, remedy) = unreadable(&error);
            faults.refuse(&Place::Whole, "", what, remedy);
            faults.conclude(None)
        }
    }
}

/// Why a configuration cannot be read, and what helps.
fn unreadable(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => (
            "is not there".to_owned(),
            "go to the folder that holds it, or name it with --config FILE",
        ),
        io::ErrorKind::IsADirectory => (
            "is a folder".to_owned(),
            "name the file with --config FILE; where Docker was to mount a file that was not there, it has made this folder",
        ),
        io::ErrorKind::PermissionDenied => (
            "is not for this user to read".to_owned(),
            "give the user that bff runs as the right to read it (chmod, chown)",
        ),
        io::ErrorKind::InvalidData => (
            "is no text in UTF-8".to_owned(),
            "save it as UTF-8, or name the configuration with --config FILE",
        ),
        _ => (
            format!("can't be read ({error})"),
            "name the configuration with --config FILE",
        ),
    }
}

fn parse(
    text: &str,
    file: &Path,
    variables: &Variables,
    purpose: Purpose,
) -> Result<(Config, Warnings), ConfigErrors> {
    let main = Source::first(file);
    let mut faults = Faults::of(main.clone());
    faults.expect_keys(|| File::keys(""));
    let folder = Folder::of(&main);
    let config = document::read(text, &main, variables, &mut faults).and_then(|mut root| {
        let here = purpose.here(&root);
        if let Some(here) = &here {
            here.bring_main(&mut root, file);
            without::leave_out(&mut root, variables, &folder, &mut faults);
        }
        let surroundings = Surroundings {
            purpose,
            variables,
            folder: &folder,
            here: here.as_ref(),
            of_nobody: false,
            own: ProcessSecrets::NONE,
        };
        let ground = root.clone();
        sites::inherit::providers(&mut root);
        let draft = Draft::of(&mut root, Of::BffToml, &mut faults);
        let mut described = Document {
            draft,
            providers: ProviderPrints::of(&root, &folder),
            file: File::read(&root, "", &mut faults)?,
            source: main,
        };
        let sites = sites::read(&described.file, &ground, surroundings, &mut faults);
        if here.is_some() {
            let files = sites.iter().map(|site| &site.file);
            Here::leave_certificate(&mut described.file, files);
        }
        let config = resolve::resolve(&described, &sites, surroundings, &mut faults)?;
        Some(Config {
            elsewhere: here.map(Here::into_elsewhere).unwrap_or_default(),
            ..config
        })
    });
    faults.conclude(config)
}

#[cfg(test)]
mod tests;
