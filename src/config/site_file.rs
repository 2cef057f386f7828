//! A site as written: a file of the folder that `server.sites` names, or what bff.toml says of its own.

use serde_json::json;

use crate::config::document::Node;
use crate::config::error::Faults;
use crate::config::file::{File, FrontendTable, ProviderTable, SessionTable};
use crate::config::lists::Named;
use crate::config::reader::{Read, Written, table, text};
use crate::config::route_table::RouteTable;
use crate::config::tenants::written::TenantsTable;
use crate::config::tls_table::TlsTable;

table! {
    /// One more site: what it does not say is inherited from bff.toml.
    SiteFile {
        /// Its name in stores, logs and metrics, where it is not the file's. Default the file's name.
        id: SiteName,
        /// The origin that browsers see, https or http on a loopback host, and where the app is mounted there. Required.
        public_url: String,
        /// Where the endpoints of bff live, below the path of `public_url`. Default that of bff.toml, or "/bff".
        base_path: String,
        /// Where people are sent who come to a host of the pattern that is no tenant's. Default nowhere: 404.
        no_tenant: String,
        /// A file with more tenants, a table each, relative to the folder of this file. Default none.
        tenants_file: String,
        /// Those that are served by this file, each with a site of its own, where `public_url` has {tenant} in it. Default none.
        tenants: TenantsTable,
        /// Certificate and key for the site's host. Default those of bff.toml.
        tls: TlsTable,
        /// Whether a path may hold a semicolon. Default what bff.toml says.
        allow_semicolon: bool,
        /// The OpenID provider and who we are to it.
        provider: ProviderTable,
        /// Several providers at which people sign in, in place of one, by their names; each inherits from `provider`. Default none.
        providers: Named<ProviderTable>,
        /// The one that a login link without a name means. Default none: a person chooses.
        default_provider: String,
        /// The path of the app's own page that offers them. Default none: a page of bff.
        choose_provider_url: String,
        /// Sessions; where they are kept is said in bff.toml for all sites.
        session: SessionTable,
        /// Where API calls go, one table a route, in place of all those of bff.toml.
        route: Vec<Written<RouteTable>>,
        /// The browser app: its files, or its development server.
        frontend: FrontendTable,
    }
}

impl SiteFile {
    /// The site that bff.toml itself describes.
    pub(super) fn of_main(file: &File) -> Self {
        let server = file.server.written();
        let server = server
            .map(|server| server.value.clone())
            .unwrap_or_default();
        Self {
            public_url: server.public_url,
            base_path: server.base_path,
            no_tenant: server.no_tenant,
            tenants_file: server.tenants_file,
            tenants: file.tenants.clone(),
            tls: server.tls,
            allow_semicolon: server.allow_semicolon,
            provider: file.provider.clone(),
            providers: file.providers.clone(),
            default_provider: file.default_provider.clone(),
            choose_provider_url: file.choose_provider_url.clone(),
            session: file.session.clone(),
            route: file.route.clone(),
            frontend: file.frontend.clone(),
            ..Self::default()
        }
    }
}

/// A site's name; the empty one is that of the site that bff.toml itself describes.
#[derive(Debug, Clone)]
pub(super) struct SiteName(pub(super) String);

impl SiteName {
    const LONGEST: usize = 64;

    /// Whether stores, logs and paths take `name` as it stands.
    pub(super) fn is_plain(name: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        name.len() <= Self::LONGEST && name.bytes().all(is_plain) && !name.starts_with('.')
    }
}

impl Read for SiteName {
    fn read(node: &Node, key: &str, faults: &mut Faults) -> Option<Self> {
        let text = text(node, key, "text", "\"shop\"", faults)?;
        if !Self::is_plain(text) {
            faults.refuse(
                &node.place,
                key,
                format!("is no name for a site: {text:?}"),
                "write up to 64 letters, digits and - _ . as in \"shop\"",
            );
            return None;
        }
        Some(Self(text.to_owned()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{0,64}$" })
    }
}
