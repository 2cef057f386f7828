//! Who we are at which provider: the one of `[provider]`, or each of `[providers.NAME]`.

use std::sync::Arc;

use url::{Origin, Url};

use crate::auth::choices::{Choice, Choices};
use crate::config::ClientConfig;
use crate::config::document::OF_SITES;
use crate::config::error::{Faults, Place, Source};
use crate::config::file::ProviderTable;
use crate::config::reader::{Field, Written};
use crate::config::resolve::client_auth::client_certificate;
use crate::config::resolve::described::Described;
use crate::config::resolve::missing_secret::MissingSecret;
use crate::config::resolve::public::Public;
use crate::config::resolve::{Surroundings, provider, provider_addresses, roots, table};
use crate::config::site_file::SiteFile;
use crate::oidc::{ProviderSettings, TableName};
use crate::web::outbound::OutboundSettings;

/// The longest name of a provider.
const LONGEST_NAME: usize = 32;

/// A client of its own for each provider: the default or the first, and the others.
pub(super) fn clients(
    site: &Described<'_>,
    public: Option<&Public>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<(ClientConfig, Vec<ClientConfig>)> {
    let file = &*site.file;
    let several = file.providers.written().map(|all| &*all.value.0);
    let several = several.unwrap_or_default();
    if several.is_empty() {
        warn_of_no_choice(file, faults);
    }
    if several.is_empty() {
        let only = Client {
            field: &file.provider,
            name: None,
            has_own_addresses: false,
        };
        return Some((only.of(site, public, surroundings, faults)?, Vec::new()));
    }
    let default = default(&file.default_provider, several, faults);
    let page = page(&file.choose_provider_url, default, public, faults);
    let mut clients = Vec::new();
    for written in several {
        let (name, provider) = &written.value;
        check_name(name, written, faults);
        let field = Field::Written(Written {
            value: provider.clone(),
            key: written.key.clone(),
            place: written.place.clone(),
        });
        let client = Client {
            field: &field,
            name: Some(name),
            has_own_addresses: default != Some(name),
        };
        let client = faults.of_provider(&TableName::of(name), |faults| {
            client.of(site, public, surroundings, faults)
        });
        clients.extend(client.map(|client| (written, client)));
    }
    if clients.len() != several.len() {
        return None;
    }
    if !surroundings.purpose.is_without_provider() {
        refuse_twins(&clients, faults);
    }
    let offered: Option<Vec<Choice>> = clients
        .iter()
        .map(|(written, client)| choice(written, client, public, faults))
        .collect();
    let choices = Arc::new(Choices {
        all: offered?,
        default: default.map(|name| name.as_str().into()),
        page,
    });
    let mut own = Vec::new();
    let mut others = Vec::new();
    for (written, mut client) in clients {
        let (name, _) = &written.value;
        client.auth.name = Some(name.as_str().into());
        client.auth.choices = Arc::clone(&choices);
        let is_own = default.map_or(own.is_empty(), |default| default == name);
        if is_own { &mut own } else { &mut others }.push(client);
    }
    Some((own.pop()?, others))
}

type Named = Written<(String, ProviderTable)>;

/// A provider as it is described, of which a client is to be made.
struct Client<'a> {
    field: &'a Field<ProviderTable>,
    /// What it is called, where there are several.
    name: Option<&'a str>,
    /// Whether its name stands in the addresses that it sends browsers to.
    has_own_addresses: bool,
}

impl Client<'_> {
    fn of(
        &self,
        site: &Described<'_>,
        public: Option<&Public>,
        surroundings: Surroundings<'_>,
        faults: &mut Faults,
    ) -> Option<ClientConfig> {
        let field = self.field;
        let callback = self.name.filter(|_| self.has_own_addresses);
        let missing = missing_secret(site, self.name);
        let settings = provider::provider(field, callback, &missing, public, surroundings, faults);
        let way_out = provider_addresses::way_out(field, surroundings, faults);
        let outbound = OutboundSettings {
            way_out,
            client_certificate: client_certificate(field, surroundings, faults),
            in_clear: settings.as_ref().and_then(asked_in_clear),
            roots: if surroundings.purpose.is_without_provider() {
                None
            } else {
                roots(&table(field).0.ca, "the provider's", surroundings, faults)
            },
        };
        let auth = provider::auth(field, &site.file.session, public, faults);
        let mut settings = settings?;
        settings.table = self.name.map(TableName::of).unwrap_or_default();
        let print = site.providers.get(self.name);
        Some(ClientConfig {
            auth: auth?,
            provider_print: print.with(settings.redirect_uri.as_str()),
            outbound,
            provider: settings,
        })
    }
}

/// What to say where a provider has no secret. One that was written for another issuer is not inherited,
/// and whoever sent it to this one would give it away.
fn missing_secret(site: &Described<'_>, name: Option<&str>) -> MissingSecret {
    let has_secret = |table: &ProviderTable| {
        table.client_secret.stands()
            || table.client_key.stands()
            || table.client_assertion_file.stands()
            || table.client_cert.stands()
    };
    let ground = site.ground.and_then(|ground| match name {
        Some(name) => {
            let several = ground.providers.written()?;
            let mut several = several.value.0.iter();
            several
                .find(|of_ground| of_ground.value.0 == name)
                .map(|of_ground| &of_ground.value.1)
        }
        None => ground.provider.written().map(|provider| &provider.value),
    });
    let shared = site.file.provider.written();
    let shared = shared.filter(|_| name.is_some());
    let of = if ground.is_some_and(has_secret) {
        "bff.toml"
    } else if shared.is_some_and(|shared| has_secret(&shared.value)) {
        "[provider]"
    } else {
        return MissingSecret::default();
    };
    let own = match name {
        Some(name) => {
            let several = site.file.providers.written().map(|all| &all.value.0);
            let mut several = several.into_iter().flatten();
            let own = several.find(|own| own.value.0 == name);
            own.map(|own| &own.value.1)
        }
        None => site.file.provider.written().map(|own| &own.value),
    };
    let astray = own.and_then(|own| astray(own, site.source));
    MissingSecret::not_inherited(of, astray, name.unwrap_or(site.id.as_str()))
}

/// The first key of a provider that stands in `source` and says where the client's secret goes, be the issuer
/// inherited.
fn astray(provider: &ProviderTable, source: &Source) -> Option<(String, Place)> {
    fn at<T>(field: &Field<T>) -> Option<(String, Place)> {
        let written = field.written()?;
        Some((written.key.clone(), written.place.clone()))
    }
    let is_own = |place: &Place| match place {
        Place::File { source: own, .. } => own == source,
        Place::Variable(name) => name.starts_with(OF_SITES),
        Place::Whole => false,
    };
    if at(&provider.issuer).is_some_and(|(_, place)| is_own(&place)) {
        return None;
    }
    let ProviderTable {
        internal_url,
        internal_http,
        endpoints,
        proxy,
        ca,
        ..
    } = provider;
    let keys = [
        at(internal_url),
        at(internal_http),
        at(endpoints),
        at(proxy),
        at(ca),
    ];
    keys.into_iter().flatten().find(|(_, place)| is_own(place))
}

/// A7: the one address beyond this machine where the operator has us ask over http.
fn asked_in_clear(provider: &ProviderSettings) -> Option<Origin> {
    let url = provider.internal.as_ref()?.url();
    (url.scheme() == "http").then(|| url.origin())
}

/// How people see it; `None` where its picture may not be shown.
fn choice(
    written: &Named,
    client: &ClientConfig,
    public: Option<&Public>,
    faults: &mut Faults,
) -> Option<Choice> {
    let (name, table) = &written.value;
    let logo = match table.logo.written() {
        Some(logo) => Some(page_of(logo, public?, "/logos/corp.svg", faults)?),
        None => None,
    };
    Some(Choice {
        name: name.as_str().into(),
        label: table.label.or(name.clone()).into(),
        logo: logo.map(|logo| match logo.query() {
            Some(query) => format!("{}?{query}", logo.path()).into(),
            None => logo.path().into(),
        }),
        registration: client.provider.registration(),
    })
}

fn default<'a>(
    field: &'a Field<String>,
    several: &[Named],
    faults: &mut Faults,
) -> Option<&'a String> {
    let written = field.written()?;
    if !several.iter().any(|at| at.value.0 == written.value) {
        written.refuse(
            faults,
            format!("names no provider: {:?}", written.value),
            "write the NAME of one of [providers.NAME], or leave it out to have people choose",
        );
    }
    Some(&written.value)
}

fn page(
    field: &Field<String>,
    default: Option<&String>,
    public: Option<&Public>,
    faults: &mut Faults,
) -> Option<Url> {
    let written = field.written()?;
    if default.is_some() {
        let what = "is never shown, since default_provider is chosen";
        written.warn(faults, what, "leave one of the two out");
    }
    page_of(written, public?, "/sign-in", faults)
}

/// An address below the site's own origin: our page shows nothing else, and sends nobody elsewhere.
fn page_of(
    written: &Written<String>,
    public: &Public,
    example: &str,
    faults: &mut Faults,
) -> Option<Url> {
    let page = public.url.join(&written.value).ok();
    let page = page.filter(|page| page.origin() == public.url.origin());
    if page.is_none() {
        written.refuse(
            faults,
            format!("is not on this site: {:?}", written.value),
            format!("write a path, as in {example:?}"),
        );
    }
    page
}

fn check_name(name: &str, written: &Named, faults: &mut Faults) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
        written.refuse(
            faults,
            "is no name that an address can hold",
            "write up to 32 letters, digits, - and _, as in [providers.google]",
        );
    }
}

/// Sessions know their client, so no two names may have one.
fn refuse_twins(clients: &[(&Named, ClientConfig)], faults: &mut Faults) {
    let mut seen = Vec::new();
    for (written, client) in clients {
        let registration = client.provider.registration();
        if seen.contains(&registration) {
            written.refuse(
                faults,
                "is the same client at the same issuer as another",
                "write one of them, with login_params for what differs",
            );
        }
        seen.push(registration);
    }
}

fn warn_of_no_choice(file: &SiteFile, faults: &mut Faults) {
    for field in [&file.default_provider, &file.choose_provider_url] {
        if let Some(written) = field.written() {
            written.warn(
                faults,
                "changes nothing, since there is one provider",
                "write [providers.NAME] for each of several, or leave it out",
            );
        }
    }
}
