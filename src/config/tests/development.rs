//! `bff dev`.

use std::num::NonZeroU16;

use tempfile::TempDir;
use url::Url;

use super::*;
use crate::clock::SystemRandomness;
use crate::dev::Clients;
use crate::oidc::ClientAuth;

const DEVELOP: Purpose = Purpose::Develop { port: None };

fn develop(text: &str) -> Result<(Config, Warnings), ConfigErrors> {
    parse(text, Path::new("bff.toml"), &variables(), DEVELOP)
}

/// A folder with this bff.toml and these sites.
fn folder_with(main: &str, sites: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sites")).unwrap();
    fs::write(folder.path().join("bff.toml"), main).unwrap();
    for (name, text) in sites {
        fs::write(folder.path().join(format!("sites/{name}.toml")), text).unwrap();
    }
    folder
}

fn dev_servers() -> DevelopmentServers {
    DevelopmentServers {
        issuer: "http://localhost:1".to_owned(),
        clients: Clients::new(&SystemRandomness),
        api: "http://localhost:2".parse().unwrap(),
        app: "http://localhost:3".parse().unwrap(),
    }
}

#[test]
fn an_empty_folder_gets_the_demo() {
    let loaded = Config::load_for_development(None, None, &Variables::new());
    let (config, warnings) = loaded.unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let [site] = &config.sites_in_development()[..] else {
        panic!("one site");
    };
    assert_eq!(site.url, "http://localhost:8080/");
    let ways = site.paths.iter();
    let leads: Vec<_> = ways.map(|way| (&*way.path, &*way.leads_to)).collect();
    assert_eq!(leads, [("/api", "the demo API"), ("/", "the demo app")]);
}

#[test]
fn a_listener_beyond_this_machine_is_refused() {
    let said = develop("[server]\nlisten = \"0.0.0.0:8080\"\n").unwrap_err();
    let remedy = "write \"127.0.0.1:8080\", or start bff dev --port 8080";
    assert!(said.to_string().contains(remedy), "{said}");
    let said = develop("[server]\npublic_url = \"https://[2001:db8::1]\"\n").unwrap_err();
    assert!(said.to_string().contains("write one of a name"), "{said}");
}

/// DESIGN §7: what is written for production was refused, so that a site took a second file to be tried. All that
/// follows from an address follows from the one that it has here.
#[test]
fn what_is_elsewhere_in_production_is_on_this_machine() {
    let sites = [
        (
            "shop",
            "public_url = \"https://Shop.example.com\"\ntls = { cert = \"gone\", key = \"gone\" }\n",
        ),
        ("team", "public_url = \"https://app.example.com/team\"\n"),
        ("desk", "public_url = \"http://desk.localhost:3000\"\n"),
    ];
    let server = "public_url = \"https://app.example.com:8443\"\ntls = { cert = \"gone\", key = \"gone\" }\n";
    let port = NonZeroU16::new(4000);
    for (listen, port, expected) in [
        (
            "127.0.0.1:9000",
            None,
            [
                "localhost:9000",
                "desk.localhost:3000",
                "shop.example.com.localhost:9000",
                "localhost:9000",
            ],
        ),
        (
            "0.0.0.0:443",
            port,
            [
                "localhost:4000",
                "desk.localhost:4000",
                "shop.example.com.localhost:4000",
                "localhost:4000",
            ],
        ),
    ] {
        let text = format!("[server]\n{server}listen = {listen:?}\nsites = \"sites\"\n");
        let folder = folder_with(&text, &sites);
        let file = folder.path().join("bff.toml");
        let loaded = Config::load_for_development(Some(&file), port, &Variables::new());
        let (config, _) = loaded.unwrap();
        let sites = config.sites_in_development();
        let urls: Vec<&str> = sites.iter().map(|site| &*site.url).collect();
        let expected = expected.map(|authority| format!("http://{authority}/"));
        let [app, desk, shop, team] = expected;
        assert_eq!(urls, [app, desk, shop, format!("{team}team/")]);
        let elsewhere = sites.iter().map(|site| site.elsewhere.as_deref());
        let written = [
            "https://app.example.com:8443",
            "https://Shop.example.com",
            "https://app.example.com/team",
        ];
        assert!(elsewhere.eq([Some(written[0]), None, Some(written[1]), Some(written[2])]));
        assert!(!config.server.speaks_tls());
        let shop = &config.sites[2];
        let listened = port.map_or(9000, NonZeroU16::get);
        assert_eq!(shop.session.cookie.name, format!("bff-{listened}"));
        assert!(!shop.session.cookie.secure);
        let callback = format!("http://shop.example.com.localhost:{listened}/bff/callback");
        assert_eq!(shop.provider.redirect_uri.as_str(), callback);
    }
}

/// DESIGN §7: a site comes here whole, with the hosts that routes of its have.
#[test]
fn hosts_of_routes_come_along() {
    let text = "[server]\npublic_url = \"https://app.example.com\"\n\
        [[route]]\npath = \"/\"\nhost = \"static.example.com\"\nauth = \"none\"\n\
        upstream = \"http://localhost:1\"\n\
        [[route]]\npath = \"/api\"\nhost = \"app.example.com\"\nupstream = \"dev:api\"\n";
    let (config, _) = develop(text).unwrap();
    let hosts = config.sites[0]
        .routes
        .iter()
        .map(|route| route.host.as_deref());
    assert!(hosts.eq([
        Some("static.example.com.localhost"),
        Some("localhost"),
        None
    ]));
}

/// DESIGN §7: each site has a client of its own, so that what ends at one ends there alone; it was the first alone that
/// had any.
#[test]
fn the_development_servers_stand_in_at_every_site() {
    let route = "[[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n";
    let sites = [("shop", "public_url = \"http://shop.localhost:8080\"\n")];
    let folder = folder_with(
        &format!("[server]\npublic_url = \"http://localhost:8080\"\nsites = \"sites\"\n{route}"),
        &sites,
    );
    let file = folder.path().join("bff.toml");
    let loaded = Config::load_for_development(Some(&file), None, &Variables::new());
    let (mut config, _) = loaded.unwrap();
    let servers = dev_servers();
    config.use_development_servers(&servers);
    let ids = ["bff-dev", "bff-dev/shop"];
    for (site, client_id) in config.sites.iter().zip(ids) {
        assert_eq!(site.provider.issuer, "http://localhost:1");
        assert_eq!(site.provider.client_id, client_id);
        assert!(matches!(
            site.provider.client_auth,
            ClientAuth::SecretBasic(_)
        ));
        let places: Vec<(&str, &str)> = site
            .routes
            .iter()
            .map(|route| (route.path.as_str(), route.upstreams[0].as_str()))
            .collect();
        let expected = [
            ("/api", "http://localhost:2/"),
            ("/", "http://localhost:3/"),
        ];
        assert_eq!(places, expected);
    }
}

/// What leads to another provider is not the development one's; its logins went there.
#[test]
fn addresses_of_the_provider_are_not_those_of_ours() {
    let text = file_with(
        "provider",
        "internal_url = \"http://keycloak:8080\"\ninternal_http = true\n\
         endpoints = { end_session = \"https://id.example.com/logout\" }",
    );
    let text = text.replace("public_url = \"https://app.example.com\"", "");
    let (config, warnings) = develop(&text).unwrap();
    assert_eq!(config.sites[0].provider.endpoints, []);
    assert_eq!(config.sites[0].provider.internal, None);
    assert!(config.sites[0].outbound.in_clear.is_none());
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn production_secrets_are_not_needed() {
    let text = file_with("server", "-public_url\nlisten = \"127.0.0.1:0\"");
    let text = text
        .replace("env:SECRET", "env:MISSING")
        .replace("env:KEY", "env:MISSING");
    let (config, _) = develop(&text).unwrap();
    assert!(config.keys.is_empty());
}

/// What `bff dev` does without need not be set: it asked for the store of production, its keys and those of its
/// administration.
#[test]
fn what_is_not_used_here_need_not_be_here() {
    let text = file_with(
        "session",
        "store = \"redis\"\nstore_url = \"env:MISSING_URL\"\nstore_ca = \"missing.pem\"",
    );
    let admin = "[server]\nadmin_listen = \"127.0.0.1:0\"\nadmin_key = \"env:MISSING\"\nadmin_keys = { ops = \"file:missing\" }";
    let text = text.replacen("[server]", admin, 1);
    let text = text.replace(
        "[provider]",
        "[provider]\nproxy = \"env:MISSING\"\nca = \"missing.pem\"",
    );
    let (config, warnings) = develop(&text).unwrap();
    assert_eq!(config.store_name, "memory");
    assert!(config.admin.is_some());
    assert_snapshot!(warnings, @r#"bff.toml:16:13: session.store_url is not here, so bff dev keeps sessions in memory; put it there to try store = "redis""#);
    let mut variables = variables();
    let url = (
        "MISSING_URL".to_owned(),
        "redis://localhost:6379".to_owned(),
    );
    variables.extend([url]);
    let text = text.replace("store_ca = \"missing.pem\"", "");
    let (config, _) = parse(&text, Path::new("bff.toml"), &variables, DEVELOP).unwrap();
    assert_eq!(config.store_name, "redis", "where it is there it is used");
}

/// DESIGN §7: the choice of a provider could not be seen here, since all of several were one.
#[test]
fn each_of_several_providers_is_here() {
    let several = r#"
[provider]
client_id = "app"
[providers.corp]
issuer = "https://id.example.com"
client_secret = "env:MISSING"
label = "Staff"
[providers.social]
issuer = "https://social.example.com"
"#;
    let (mut config, warnings) = develop(several).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let servers = dev_servers();
    config.use_development_servers(&servers);
    let site = &config.sites[0];
    let all = [
        (&site.auth, &site.provider),
        (&site.others[0].auth, &site.others[0].provider),
    ];
    let ids = all.map(|(_, provider)| provider.client_id.as_str());
    assert_eq!(ids, ["bff-dev:corp", "bff-dev:social"]);
    for (auth, provider) in all {
        assert_eq!(provider.issuer, servers.issuer);
        let name = auth.choices.name_of(&provider.registration());
        assert_eq!(name, auth.name.as_deref());
    }
    assert!(site.auth.choices.must_be_made());
    assert_eq!(&*site.auth.choices.all[0].label, "Staff");
}

/// It was another at each start, so that no API could be told where to ask.
#[test]
fn the_provider_may_keep_its_port() {
    let (config, _) = develop("[dev]\nprovider_port = 9100\n").unwrap();
    assert_eq!(config.dev.provider_port, 9100);
    let (config, _) = develop("").unwrap();
    assert_eq!(config.dev.provider_port, 0, "any that is free");
    let said = develop("[dev]\nprovider_port = 65536\n").unwrap_err();
    assert!(said.to_string().contains("from 1 to 65535"), "{said}");
}

#[test]
fn users_keep_their_order_and_their_claims() {
    let text =
        "[dev.users]\nzoe = { roles = [\"admin\"], level = 3 }\nalice = { name = \"Alice\" }\n";
    let (config, _) = develop(text).unwrap();
    let users: Vec<String> = config
        .dev
        .users
        .iter()
        .map(|user| format!("{} {}", user.name, serde_json::json!(user.claims)))
        .collect();
    assert_eq!(
        users,
        [
            "zoe {\"level\":3,\"roles\":[\"admin\"]}",
            "alice {\"name\":\"Alice\"}"
        ]
    );
}

/// DESIGN §7: each tenant is a site of its own here too: by the pattern, or at the domain that it has of its
/// own, wherever that is written; and the development servers stand in at each.
#[test]
fn tenants_are_on_this_machine() {
    let desk = "public_url = \"https://{tenant}.desk.example.com\"\n\
                no_tenant = \"https://desk.example.com/choose\"\n\
                tenants_file = \"../tenants.toml\"\n\
                [[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n\
                [[route]]\npath = \"/own\"\nupstream = \"http://{tenant}.internal:9000\"\n\
                [tenants.acme]\n\
                [tenants.globex]\nhost = \"support.globex.example\"\n\
                tls = { cert = \"gone\", key = \"gone\" }\n";
    let folder = folder_with("[server]\nsites = \"sites\"\n", &[("desk", desk)]);
    let more =
        "[initech]\nhost = \"help.initech.localhost\"\n[umbrella]\nhost = \"umbrella.example\"\n";
    fs::write(folder.path().join("tenants.toml"), more).unwrap();
    let file = folder.path().join("bff.toml");
    let loaded = Config::load_for_development(Some(&file), None, &Variables::new());
    let (mut config, _) = loaded.unwrap();
    let no_tenant = config.tenanted[0].no_tenant.as_ref().map(Url::as_str);
    let choose = "http://desk.example.com.localhost:8080/choose";
    assert_eq!(no_tenant, Some(choose));
    let sites = config.sites_in_development();
    let desk = &sites[0];
    assert_eq!(desk.url, "http://{tenant}.desk.example.com.localhost:8080/");
    let written = "https://{tenant}.desk.example.com";
    assert_eq!(desk.elsewhere.as_deref(), Some(written));
    assert_eq!(desk.paths[1].leads_to, "http://{tenant}.internal:9000");
    let tenants = desk.tenants.iter();
    let tenants: Vec<(&str, &str)> = tenants.map(|(name, url)| (&**name, url.as_str())).collect();
    let expected = [
        ("acme", "http://acme.desk.example.com.localhost:8080/"),
        ("globex", "http://support.globex.example.localhost:8080/"),
        ("initech", "http://help.initech.localhost:8080/"),
        ("umbrella", "http://umbrella.example.localhost:8080/"),
    ];
    assert_eq!(tenants, expected);

    config.use_development_servers(&dev_servers());
    let tenanted = &config.tenanted[0];
    let globex = tenanted.template.site_of(&tenanted.tenants[1]).unwrap();
    assert_eq!(globex.auth.app_url().as_str(), expected[1].1);
    assert_eq!(globex.provider.issuer, "http://localhost:1");
    assert_eq!(globex.provider.client_id, "bff-dev/desk/globex");
    let upstreams = globex
        .routes
        .iter()
        .map(|route| route.upstreams[0].as_str());
    let expected = [
        "http://localhost:2/",
        "http://globex.internal:9000/",
        "http://localhost:3/",
    ];
    assert!(upstreams.eq(expected));
}
