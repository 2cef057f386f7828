//! What the whole of `config` refuses, warns of and accepts, as tables.

mod client_cert;
mod client_certificate;
#[cfg(feature = "dev")]
mod development;
mod files;
mod header_templates;
mod identity;
mod misplaced;
mod pipes;
mod provider;
mod providers;
#[cfg(feature = "dev")]
mod reference;
mod requirement;
mod route;
mod route_token;
mod server;
mod session;
mod sites;
mod tenants;
mod tenants_apart;
mod trust;

use std::fmt::Write as _;
use std::fs;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// The smallest file without a fault or a warning, table by table.
const SMALLEST: [(&str, &[(&str, &str)]); 4] = [
    (
        "server",
        &[
            ("listen", "\"127.0.0.1:8443\""),
            ("public_url", "\"https://app.example.com\""),
        ],
    ),
    (
        "provider",
        &[
            ("issuer", "\"https://id.example.com\""),
            ("client_id", "\"app\""),
            ("client_secret", "\"env:SECRET\""),
        ],
    ),
    ("session", &[("keys", "[\"env:KEY\"]")]),
    (
        "[route]",
        &[
            ("path", "\"/api\""),
            ("upstream", "\"http://orders.internal:9000\""),
        ],
    ),
];

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn variables() -> Variables {
    let zeros = "A".repeat(KEY.len());
    [
        ("SECRET", "s3cret"),
        ("KEY", KEY),
        ("SHORT", "abc"),
        ("ZEROS", &zeros),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// The smallest file with `lines` of `table` laid over it: `key = value` sets, `-key` takes away.
fn file_with(table: &str, lines: &str) -> String {
    let mut text = String::new();
    let mut tables: Vec<(&str, Vec<(&str, &str)>)> = SMALLEST
        .iter()
        .map(|(table, keys)| (*table, keys.to_vec()))
        .collect();
    if !tables.iter().any(|(name, _)| *name == table) {
        tables.push((table, Vec::new()));
    }
    for (name, mut keys) in tables {
        if name == table {
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let key = line.trim_start_matches('-').split(' ').next().unwrap();
                keys.retain(|(known, _)| *known != key);
                if let Some((key, value)) = line.split_once(" = ") {
                    keys.push((key, value));
                }
            }
        }
        writeln!(text, "[{name}]").unwrap();
        for (key, value) in keys {
            writeln!(text, "{key} = {value}").unwrap();
        }
    }
    text
}

fn serve(text: &str) -> Result<(Config, Warnings), ConfigErrors> {
    Config::parse(text, Path::new("bff.toml"), &variables())
}

/// A change to the smallest file and a piece of what is then said; nothing is said where it is
/// empty.
struct Case<'a> {
    table: &'a str,
    lines: &'a str,
    says: &'a str,
}

const fn case<'a>(table: &'a str, lines: &'a str, says: &'a str) -> Case<'a> {
    Case { table, lines, says }
}

fn check_refused(cases: &[Case<'_>]) {
    for Case { table, lines, says } in cases {
        let said = match serve(&file_with(table, lines)) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        };
        assert_eq!(said.lines().count(), 1, "[{table}] {lines}: {said}");
        assert!(said.contains(says), "[{table}] {lines}: {said}");
    }
}

fn check_warned(cases: &[Case<'_>]) {
    for Case { table, lines, says } in cases {
        let (_, warnings) = serve(&file_with(table, lines))
            .unwrap_or_else(|errors| panic!("[{table}] {lines}: {errors}"));
        let said = warnings.to_string();
        if says.is_empty() {
            assert_eq!(said, "", "[{table}] {lines}");
        } else {
            assert!(said.contains(says), "[{table}] {lines}: {said}");
        }
    }
}

/// Nothing is wrong with `lines` of `table`, and nothing is unwise.
fn check_fine(table: &str, lines: &str) {
    let (_, warnings) = serve(&file_with(table, lines))
        .unwrap_or_else(|errors| panic!("[{table}] {lines}: {errors}"));
    let warnings = warnings.to_string();
    let said: Vec<&str> = warnings
        .lines()
        .filter(|line| line.contains(table))
        .collect();
    assert_eq!(said, [] as [&str; 0], "[{table}] {lines}");
}

#[test]
fn the_smallest_file_is_fine() {
    let (config, warnings) = serve(&file_with("frontend", "")).unwrap();
    assert_eq!(config.sites[0].session.cookie.name, "__Host-Http-bff");
    assert_eq!(
        config.sites[0].provider.redirect_uri.as_str(),
        "https://app.example.com/bff/callback"
    );
    assert_snapshot!(warnings, @r#"bff.toml:13:1: frontend is missing, so that only the routes and endpoints answer; write [frontend] with dir = "dist" to serve the app"#);
}

/// N3: ten faults, ten messages, each with its line and its remedy.
#[test]
fn every_fault_is_told_at_once() {
    let text = r#"# A file with ten faults.
[server]
listen = "here:8080"
public_url = "http://app.example.com"
base_pth = "/auth"

[provider]
issuer = "https://id.example.com/.well-known/openid-configuration"
client_id = "app"
client_secret = "env:MISSING"
clock_skew = "10m"

[session]
keys = ["env:SHORT"]
idle_timeout = 30
cookie = { same_site = "None" }

[[route]]
path = "api"
upstream = "orders.internal:9000"
"#;
    let errors = serve(text).unwrap_err();
    assert_eq!(errors.count(), 11);
    assert_snapshot!(errors, @r#"
    bff.toml:3:10: server.listen is not an IP address with a port: "here:8080"; write one such as "127.0.0.1:8080", "0.0.0.0:8443", "[::1]:8080" or "unix:/run/bff/app.sock"
    bff.toml:4:14: server.public_url is http, so that anyone on the way can take over sessions; write "https://app.example.com"
    bff.toml:5:1: server.base_pth is not a key of [server]; write base_path instead
    bff.toml:8:10: provider.issuer is the address of the provider's metadata; write the part before it: "https://id.example.com"
    bff.toml:10:17: provider.client_secret is to come from the variable MISSING, which is not set; set MISSING for this process
    bff.toml:11:14: provider.clock_skew would accept tokens that ended long ago; write "5m" or less, and set the clocks
    bff.toml:14:9: session.keys env:SHORT holds no key of 32 bytes; put what bff keygen prints there
    bff.toml:15:16: session.idle_timeout has no unit; write "30s" or "30m", with its unit and in quotes
    bff.toml:16:24: session.cookie.same_site is "None", which would send the session with every site's requests; write "Strict", or "Lax" if links from other sites must arrive signed in
    bff.toml:19:8: route.path does not start with a slash: "api"; write one such as "/api"
    bff.toml:20:12: route.upstream is not an http or https address: "orders.internal:9000"; write one such as "http://orders.internal:9000"
    "#);
}

#[test]
fn a_syntax_error_is_told_alone_and_with_a_remedy() {
    let cases = [
        "[server]\nlisten = 127.0.0.1:8080\n",
        "[server]\nlisten = \"127.0.0.1:8080\n",
        "[server\nlisten = \"127.0.0.1:8080\"\n",
        "[server]\nlisten = \"a\"\nlisten = \"b\"\n",
        "[server]\nlisten\n",
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|text| serve(text).unwrap_err().to_string())
        .collect();
    assert_snapshot!(said.join("\n"), @r#"
    bff.toml:2:15: is not TOML here: invalid float; write text in quotes, as in key = "value"
    bff.toml:2:25: is not TOML here: invalid basic string, expected `"`; write the closing quote
    bff.toml:1:8: is not TOML here: unclosed table, expected `]`; write key = "value" lines under a [table] line
    bff.toml:3:1: is not TOML here: duplicate key; write each key and table once
    bff.toml:2:7: is not TOML here: key with no value, expected `=`; write key = "value" lines under a [table] line
    "#);
}

#[test]
fn a_file_that_is_not_there_is_one_sentence() {
    let errors = Config::load(Path::new("/nowhere/bff.toml"), &variables()).unwrap_err();
    assert_snapshot!(errors, @"/nowhere/bff.toml: is not there; go to the folder that holds it, or name it with --config FILE");
}

/// Whoever has the file of `bff dev` was told of three keys, and not that `bff dev` needs none of them.
#[cfg(feature = "dev")]
#[test]
fn an_empty_file_names_what_is_missing() {
    assert_snapshot!(serve("").unwrap_err(), @r#"
    bff.toml: provider is missing; write [provider] with issuer = "https://id.example.com", client_id = "…" and client_secret = "env:BFF_CLIENT_SECRET"; for development start bff dev, which brings one
    bff.toml: server.public_url is missing; write public_url = "https://app.example.com", the origin that browsers see
    "#);
}

#[test]
fn an_empty_table_names_what_is_missing() {
    assert_snapshot!(serve("[provider]\n[server]").unwrap_err(), @r#"
    bff.toml:1:1: provider.client_id is missing; write client_id = "…", as registered at the provider
    bff.toml:1:1: provider.client_secret is missing, and so is client_key: nothing proves to the provider who we are; write client_secret = "env:BFF_CLIENT_SECRET" and set that variable
    bff.toml:1:1: provider.issuer is missing; write issuer = "https://id.example.com", as the provider's metadata says it
    bff.toml:2:1: server.public_url is missing; write public_url = "https://app.example.com", the origin that browsers see
    "#);
}

/// N3: an unknown key names the nearest known one and its table.
#[test]
fn an_unknown_key_is_refused() {
    check_refused(&[
        case(
            "server",
            "listn = \"x\"",
            "bff.toml:4:1: server.listn is not a key of [server]; write listen instead",
        ),
        case(
            "session",
            "idle_timout = \"1m\"",
            "write idle_timeout instead",
        ),
        case(
            "sesion",
            "store = \"memory\"",
            "sesion is not a known table; write [session] instead",
        ),
        case(
            "session",
            "issuer = \"x\"",
            "issuer belongs into [provider]",
        ),
        case(
            "session.cookie",
            "samesite = \"Lax\"",
            "session.cookie.samesite is not a key of [session.cookie]; write same_site instead",
        ),
        case(
            "server.limits",
            "zzz = 1",
            "the keys are connections, connections_per_address, h2_resets",
        ),
        case(
            "provider",
            "pushed_authorisation = \"auto\"",
            "write pushed_authorization instead",
        ),
    ]);
}

#[test]
fn a_wrong_type_is_refused() {
    check_refused(&[
        case(
            "server",
            "listen = 8080",
            "server.listen is a number where an address belongs; write listen = \"127.0.0.1:8080\"",
        ),
        case(
            "server",
            "workers = \"two\"",
            "server.workers is text where a whole number belongs",
        ),
        case("server", "workers = -1", "server.workers is not a count"),
        case(
            "server",
            "tls = true",
            "server.tls is true or false where a table belongs",
        ),
        case(
            "server",
            "allow_semicolon = \"yes\"",
            "write true or false, without quotes",
        ),
        case(
            "server.limits",
            "head = 32",
            "write \"32B\" or another unit",
        ),
        case("server.limits", "head = \"32 kilo\"", "is not a size"),
        case("server.timeouts", "idle = 75", "write \"75s\" or \"75m\""),
        case(
            "server.timeouts",
            "idle = \"75\"",
            "is not a duration: \"75\"",
        ),
        case(
            "provider",
            "scopes = \"openid\"",
            "provider.scopes is text where a list belongs",
        ),
        case(
            "provider",
            "scopes = [\"openid\", 1]",
            "provider.scopes is a number where text belongs",
        ),
        case(
            "provider",
            "client_id = \"\"",
            "provider.client_id is empty",
        ),
        case("session", "anonymous = 403", "write 200 or 401"),
        case("log", "format = \"xml\"", "write \"text\" or \"json\""),
        case(
            "log",
            "level = \"bff=loud\"",
            "log.level is not a level or a filter",
        ),
        case("server", "workers = 0", "write a number from 1 to 1024"),
        case(
            "server.limits",
            "head = \"4KiB\"",
            "write a size from \"8KiB\" to \"1MiB\"",
        ),
        case("server.timeouts", "head = \"0s\"", "is zero"),
        case(
            "server",
            "trusted_proxies = [\"proxy\"]",
            "holds no IP address or network",
        ),
    ]);
}

#[test]
fn a_variable_overrides_a_key() {
    let load = |name: &str, value: &str| {
        let mut variables = variables();
        variables.insert(name.to_owned(), value.to_owned());
        let text = file_with("frontend", "");
        match Config::parse(&text, Path::new("bff.toml"), &variables) {
            Ok((config, warnings)) => format!("{config:?} {warnings}"),
            Err(errors) => errors.to_string(),
        }
    };
    for (name, value, says) in [
        ("BFF_SERVER__LISTEN", "0.0.0.0:1234", "listen: 0.0.0.0:1234"),
        ("BFF_SERVER__WORKERS", "3", "workers: 3"),
        ("BFF_SERVER__ALLOW_SEMICOLON", "true", "semicolons: Allow"),
        (
            "BFF_SERVER__TRUSTED_PROXIES",
            "10.0.0.0/8, 192.0.2.1",
            "trusted_proxies: [10.0.0.0/8, 192.0.2.1/32]",
        ),
        ("BFF_SERVER__LIMITS__HEAD", "64KiB", "head_bytes: 65536"),
        ("BFF_SESSION__COOKIE__SAME_SITE", "Lax", "same_site: Lax"),
        ("BFF_SESSION__ANONYMOUS", "401", "anonymous: Unauthorized"),
        ("BFF_SESSION__IDLE_TIMEOUT", "10m", "idle_timeout: 600s"),
        (
            "BFF_PROVIDER__SCOPES",
            "[\"openid\", \"x\"]",
            "scopes: Some([\"openid\", \"x\"])",
        ),
        (
            "BFF_PROVIDER__AUTHORIZE_PARAMS__AUDIENCE",
            "x",
            "(\"audience\", \"x\")",
        ),
        // A variable holds a secret as well as one that `env:` names.
        ("BFF_PROVIDER__CLIENT_SECRET", "s3cret", "ClientSecret(…)"),
        // One underscore is not ours.
        ("BFF_CLIENT_SECRET", "x", "listen: 127.0.0.1:8443"),
        (
            "BFF_SERVER__LISTN",
            "x",
            "BFF_SERVER__LISTN: server.listn is not a key of [server]; write listen instead",
        ),
        (
            "BFF_SERVR__LISTEN",
            "x",
            "BFF_SERVR__LISTEN: servr is not a known table; write [server] instead",
        ),
        (
            "BFF_SERVER__LISTEN",
            "x",
            "BFF_SERVER__LISTEN: server.listen is not an IP address with a port",
        ),
        (
            "BFF_ROUTE__0__PATH",
            "/x",
            "BFF_ROUTE__0__PATH: route is a list of tables",
        ),
        (
            "BFF_SERVER__LISTEN__PORT",
            "1",
            "BFF_SERVER__LISTEN__PORT: server.listen.port reaches into something that is not a table",
        ),
    ] {
        let said = load(name, value);
        assert!(said.contains(says), "{name}: {said}");
        assert!(!said.contains("can see"), "{name}: {said}");
    }
}

#[test]
fn a_secret_file_is_found_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    let text = file_with("session", "keys = [\"file:key\"]");
    let (config, _) = Config::parse(&text, &folder.path().join("bff.toml"), &variables()).unwrap();
    assert_eq!(config.keys.len(), 1);
}

/// G14: no message and no `Debug` repeats a secret.
#[test]
fn no_secret_is_repeated() {
    let text = file_with("session", "keys = [\"canary-key\"]\nidle_timeout = \"0s\"")
        .replace("env:SECRET", "canary-secret");
    let errors = serve(&text).unwrap_err();
    assert!(
        !format!("{errors} {errors:?}").contains("canary"),
        "{errors}"
    );
    let text = file_with("provider", "client_secret = \"canary-secret\"");
    let (config, warnings) = serve(&text).unwrap();
    assert!(!format!("{config:?} {warnings}").contains("canary"));
}

#[test]
fn the_schema_knows_every_key() {
    let schema = schema();
    for key in File::keys("").iter().filter(|key| !key.is_empty()) {
        let mut here = &schema;
        for part in key.split('.') {
            here = here.get("items").unwrap_or(here);
            here = &here["properties"][part];
        }
        assert!(here["description"].is_string(), "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,80}", key in "[a-z_.]{1,20}", value in "\\PC{0,20}") {
        drop(serve(&text));
        drop(serve(&format!("[server]\n{key} = {value}\n")));
        drop(serve(&format!("[[route]]\n{key} = {value:?}\n")));
    }
}

/// Whoever starts from an example starts.
#[cfg(feature = "dev")]
#[test]
fn the_examples_are_without_a_fault() {
    let mut seen = 0;
    for example in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        for file in fs::read_dir(example.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let variables = [
                ("BFF_CLIENT_SECRET", "s3cret"),
                ("BFF_SESSION_KEY", KEY),
                ("BFF_ADMIN_KEY", KEY),
                ("BFF_STORE_URL", "redis://127.0.0.1:6379"),
                // Where the nodes of a compose file listen.
                ("BFF_SERVER__ADMIN_LISTEN", "127.0.0.1:9090"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
            // What names the demo API is for `bff dev` alone.
            let purpose = if fs::read_to_string(&path).unwrap().contains("\"dev:api\"") {
                Purpose::Develop { port: None }
            } else {
                Purpose::Serve
            };
            let loaded = load(&path, &variables.into(), purpose);
            let errors = loaded.err().map(|errors| errors.to_string());
            assert_eq!(errors, None, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}
