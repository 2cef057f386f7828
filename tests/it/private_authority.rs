//! Provider and upstreams whose certificates are of an authority that the machine does not know: named
//! by a key each, and told of where they are not (N2).

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::bff::Bff;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::process::run;
use crate::support::upstream::Upstream;

/// A provider whose certificate is the organisation's own is believed where `provider.ca` says so: nothing
/// could be written, and no login worked. Where it is not, the log names the key.
#[tokio::test]
async fn the_provider_is_held_against_its_ca() {
    let authority = Authority::new();
    let terminator = authority.terminator("localhost");
    let issuer = format!("https://localhost:{}", terminator.port());
    let idp = Idp::known_as(&issuer, &nine_o_clock());
    terminator.lead_to(idp.addr());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .file("ca.pem", authority.pem())
        .set("provider.ca", "ca.pem")
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    drop(bff);
    // Another authority's roots are as good as none.
    for ca in [None, Some(Authority::new().pem())] {
        let mut builder = Bff::with(&idp, &upstream);
        if let Some(ca) = ca {
            builder = builder.file("ca.pem", ca).set("provider.ca", "ca.pem");
        }
        let bff = builder.start();
        let reply = bff.browser().begin_login("").await;
        assert_eq!(refusal(&reply), "503 provider_unavailable");
        let told = bff
            .logs()
            .lines_with("write the PEM file with its roots as provider.ca");
        assert!(!told.is_empty(), "{}", bff.logs().text());
        assert!(
            told[0].contains("its authority is not known here"),
            "{told:?}"
        );
    }
}

/// An https upstream is believed on the route whose `ca` says so, and on no other: connections of one
/// route are no use to the other.
#[tokio::test]
async fn an_upstream_is_held_against_its_routes_ca() {
    let authority = Authority::new();
    let terminator = authority.terminator("localhost");
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    terminator.lead_to(upstream.addr());
    let address = format!("https://localhost:{}", terminator.port());
    let route = |path: &str, ca: Option<&str>| {
        let mut route = toml::Table::new();
        route.insert("path".to_owned(), path.into());
        route.insert("upstream".to_owned(), address.clone().into());
        if let Some(ca) = ca {
            route.insert("ca".to_owned(), ca.into());
        }
        route
    };
    let bff = Bff::with(&idp, &upstream)
        .no_routes()
        .file("ca.pem", authority.pem())
        .file("other.pem", Authority::new().pem())
        .route(route("/ours", Some("ca.pem")), &upstream)
        .route(route("/others", Some("other.pem")), &upstream)
        .route(route("/none", None), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (path, expected) in [
        ("/ours", "200"),
        ("/others", "502 upstream_unavailable"),
        ("/none", "502 upstream_unavailable"),
        ("/ours", "200"),
    ] {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        if reply.status == 200 {
            assert_eq!(expected, "200", "{path}");
        } else {
            assert_eq!(refusal(&reply), expected, "{path}");
        }
    }
    let told = bff
        .logs()
        .lines_with("write the PEM file with its roots as the route's ca");
    assert_eq!(told.len(), 2, "{}", bff.logs().text());
}

/// `check --online` says what `serve` would meet; a file that holds no roots is a fault with its line.
#[tokio::test]
async fn check_names_the_key_of_an_authority() {
    let authority = Authority::new();
    let terminator = authority.terminator("localhost");
    let issuer = format!("https://localhost:{}", terminator.port());
    let idp = Idp::known_as(&issuer, &nine_o_clock());
    terminator.lead_to(idp.addr());
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.path().join("empty.pem"), "nothing").unwrap();
    let mut environment: BTreeMap<String, String> = [
        ("SECRET", idp.client_secret.as_str()),
        ("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let mut check = async |ca: &str, variable: Option<&str>| {
        let text = format!(
            "[server]\npublic_url = \"{PUBLIC_URL}\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [provider]\nissuer = \"{issuer}\"\nclient_id = \"app\"\nclient_secret = \"env:SECRET\"\n{ca}\n\
             [session]\nkeys = [\"env:KEY\"]\n"
        );
        std::fs::write(dir.path().join("bff.toml"), text).unwrap();
        environment.remove("SSL_CERT_FILE");
        if let Some(file) = variable {
            let path = dir.path().join(file);
            environment.insert("SSL_CERT_FILE".to_owned(), path.display().to_string());
        }
        run(&["check", "--online"], dir.path(), &environment).await
    };
    let ended = check("ca = \"ca.pem\"", None).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let ended = check("", Some("ca.pem")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let ended = check("", None).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let says = "its authority is not known here; write the PEM file with its roots as provider.ca, or \
                name one for the whole process in SSL_CERT_FILE";
    assert!(ended.err.contains(says), "{}", ended.err);
    for (file, says) in [
        ("empty.pem", "bff.toml:8:6: provider.ca names "),
        ("nowhere.pem", "which can't be read"),
    ] {
        let ended = check(&format!("ca = \"{file}\""), None).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains(says), "{}", ended.err);
    }
}
