//! `bff dev`.

use super::*;
use crate::secret::ClientSecret;

fn develop(text: &str) -> Result<(Config, Warnings), ConfigErrors> {
    parse(text, Path::new("bff.toml"), &variables(), Purpose::Develop)
}

#[test]
fn an_empty_folder_gets_the_demo() {
    let (mut config, warnings) = Config::load_for_development(None, &Variables::new()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(
        config.sites[0].auth.public_url.as_str(),
        "http://localhost:8080/"
    );
    config.use_development_servers(DevelopmentServers {
        issuer: "http://localhost:1".to_owned(),
        client_id: "dev".to_owned(),
        client_secret: ClientSecret::new("x"),
        api: "http://localhost:2".parse().unwrap(),
        app: "http://localhost:3".parse().unwrap(),
    });
    assert_eq!(config.sites[0].provider.issuer, "http://localhost:1");
    let places: Vec<(&str, &str)> = config.sites[0]
        .routes
        .iter()
        .map(|route| (route.path.as_str(), route.upstreams[0].as_str()))
        .collect();
    assert_eq!(
        places,
        [
            ("/api", "http://localhost:2/"),
            ("/", "http://localhost:3/")
        ]
    );
}

#[test]
fn nothing_beyond_this_machine_is_served() {
    for (lines, says) in [
        ("listen = \"0.0.0.0:8080\"", "write \"127.0.0.1:8080\""),
        (
            "public_url = \"https://app.example.com\"",
            "set BFF_SERVER__PUBLIC_URL",
        ),
    ] {
        let text = format!("[server]\n{lines}\n");
        let said = develop(&text).unwrap_err().to_string();
        assert!(said.contains(says), "{lines}: {said}");
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
