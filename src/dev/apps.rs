//! The browser apps that sign people in at the development provider: which client each one is there, and
//! where it is.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::clock::Randomness;
use crate::secret::ClientSecret;
use crate::web::site_id::SiteId;

/// The `client_id` of the site that bff.toml itself describes; those of others begin with it.
const CLIENT_ID: &str = "bff-dev";

/// A browser app that signs people in: a site, or a tenant of one.
#[derive(Debug, Clone)]
pub struct DevApp {
    /// Which one it is.
    pub id: SiteId,
    /// The origin that browsers see.
    pub origin: Url,
    /// The path of it that is the app's: empty, or as in `/shop`.
    pub mount: String,
    /// The path of its endpoints.
    pub base_path: String,
    /// Those that people choose among, where there are several: the development provider is each of them.
    pub providers: Vec<DevClient>,
}

/// One of several providers, as an app has it.
#[derive(Debug, Clone)]
pub struct DevClient {
    /// What the app calls it.
    pub name: String,
    /// Whether its name stands in the addresses that it sends browsers to.
    pub has_own_addresses: bool,
}

impl DevApp {
    /// Where it begins.
    pub fn url(&self) -> Url {
        self.at(&format!("{}/", self.mount))
    }

    /// What the addresses of its endpoints begin with.
    pub fn endpoints(&self) -> Url {
        self.at(&self.base_path)
    }

    /// The address of one of its endpoints.
    pub fn endpoint(&self, name: &str) -> Url {
        self.at(&format!("{}/{name}", self.base_path))
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.origin.clone();
        url.set_path(path);
        url
    }
}

/// Who each app is at the development provider, and how it proves that: one client an app, so that what
/// ends at one ends there alone. Cheap to clone.
#[derive(Clone)]
pub struct Clients(hmac::Key);

impl Clients {
    /// With secrets that are good for this run.
    pub fn new(randomness: &dyn Randomness) -> Self {
        let mut key = [0; 32];
        randomness.fill(&mut key);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The `client_id` of an app, at the provider of this name where it has several.
    pub fn id(&self, app: &SiteId, provider: Option<&str>) -> String {
        let id = if app.is_main() {
            CLIENT_ID.to_owned()
        } else {
            format!("{CLIENT_ID}/{app}")
        };
        match provider {
            Some(name) => format!("{id}:{name}"),
            None => id,
        }
    }

    /// The secret of this client.
    pub fn secret(&self, client_id: &str) -> ClientSecret {
        ClientSecret::new(self.password(client_id))
    }

    /// The same, as the provider keeps it.
    pub(super) fn password(&self, client_id: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, client_id.as_bytes()))
    }
}

/// Without the key.
impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients(…)")
    }
}

/// What people call the app that is this client: the site's name, and the tenant's after it.
pub(super) fn name_of(client_id: &str) -> &str {
    let rest = client_id.strip_prefix(CLIENT_ID);
    match rest.map(|rest| rest.strip_prefix('/')) {
        Some(Some(name)) => name,
        Some(None) => "app",
        None => client_id,
    }
}

/// All apps of the process, by where they are.
#[derive(Debug)]
pub(super) struct Apps {
    all: Vec<DevApp>,
    /// By host and mount.
    places: HashMap<(String, String), usize>,
}

impl Apps {
    pub(super) fn new(all: Vec<DevApp>) -> Self {
        let place = |app: &DevApp| {
            let host = app.origin.host_str().unwrap_or_default();
            (host.to_owned(), app.mount.clone())
        };
        let places = all.iter().map(place).zip(0..).collect();
        Self { all, places }
    }

    pub(super) fn all(&self) -> &[DevApp] {
        &self.all
    }

    /// The app at this host, whatever port it names, below this mount.
    pub(super) fn at(&self, host: &str, mount: &str) -> Option<&DevApp> {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let place = (host.to_ascii_lowercase(), mount.to_owned());
        self.all.get(*self.places.get(&place)?)
    }

    /// Those whose name or address has `text` in it.
    pub(super) fn find(&self, text: &str) -> Vec<&DevApp> {
        let text = text.trim().to_lowercase();
        let has = |app: &&DevApp| {
            app.id.as_str().to_lowercase().contains(&text) || app.url().as_str().contains(&text)
        };
        self.all.iter().filter(has).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;

    /// DESIGN §7: what ends at one app is nothing to another, as it is where each is registered by itself.
    #[test]
    fn each_app_is_a_client_of_its_own() {
        let clients = Clients::new(&SystemRandomness);
        let (main, shop) = (SiteId::main(), SiteId::new("shop"));
        let acme = shop.tenant("acme");
        let ids = [&main, &shop, &acme].map(|app| clients.id(app, None));
        assert_eq!(ids, ["bff-dev", "bff-dev/shop", "bff-dev/shop/acme"]);
        assert_ne!(clients.password(&ids[1]), clients.password(&ids[2]));
        let corp = clients.id(&shop, Some("corp"));
        assert_ne!(clients.password(&ids[1]), clients.password(&corp));
        let names = ids.each_ref().map(|id| name_of(id));
        assert_eq!(names, ["app", "shop", "shop/acme"]);
        assert_eq!(name_of("somebody"), "somebody");
    }

    #[test]
    fn an_app_is_found_by_its_place_and_by_what_people_type() {
        let app = |id: SiteId, origin: &str, mount: &str| DevApp {
            id,
            origin: origin.parse().unwrap(),
            mount: mount.to_owned(),
            base_path: format!("{mount}/bff"),
            providers: Vec::new(),
        };
        let desk = SiteId::new("desk");
        let apps = Apps::new(vec![
            app(SiteId::main(), "http://localhost:8080", ""),
            app(SiteId::new("shop"), "http://localhost:8080", "/shop"),
            app(desk.tenant("acme"), "http://acme.desk.localhost:8080", ""),
        ]);
        for (host, mount, expected) in [
            ("localhost:8080", "", Some("http://localhost:8080/")),
            ("LocalHost", "/shop", Some("http://localhost:8080/shop/")),
            (
                "acme.desk.localhost:9",
                "",
                Some("http://acme.desk.localhost:8080/"),
            ),
            ("localhost", "/desk", None),
            ("elsewhere.localhost", "", None),
        ] {
            let url = apps.at(host, mount).map(DevApp::url);
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{host} {mount}");
        }
        for (text, expected) in [
            ("", 3),
            ("SHOP", 1),
            ("acme.desk", 1),
            (" desk/ac ", 1),
            ("x", 0),
        ] {
            assert_eq!(apps.find(text).len(), expected, "{text:?}");
        }
    }
}
