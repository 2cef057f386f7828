//! `[server]`.

use std::fs;

use super::*;

#[test]
fn a_server_that_cannot_work_is_refused() {
    check_refused(&[
        case(
            "server",
            "base_path = \"bff\"",
            "does not start with a slash",
        ),
        case("server", "base_path = \"/\"", "is the root"),
        case("server", "base_path = \"/bff/\"", "write \"/bff\""),
        case("server", "base_path = \"/a/../b\"", "has a dot segment"),
        case("server", "base_path = \"/a//b\"", "has an empty segment"),
        case("server", "base_path = \"/a%2fb\"", "needs escaping"),
        case(
            "server",
            "admin_listen = \"127.0.0.1:8443\"",
            "is the public address too",
        ),
        case(
            "server",
            "admin_key = \"env:KEY\"",
            "is for a listener that is not there",
        ),
        case(
            "server",
            "admin_listen = \"127.0.0.1:9090\"\nadmin_key = \"env:SHORT\"",
            "which can be guessed",
        ),
        case(
            "server",
            "admin_keys = { anna = \"env:KEY\" }",
            "is for a listener that is not there",
        ),
        case(
            "server",
            "admin_listen = \"127.0.0.1:9090\"\nadmin_keys = { anna = \"env:SHORT\" }",
            "which can be guessed",
        ),
        case(
            "server",
            "admin_listen = \"127.0.0.1:9090\"\nadmin_keys = { anna = \"env:KEY\", ben = \"env:KEY\" }",
            "is the key of anna too",
        ),
        case(
            "server",
            "admin_listen = \"127.0.0.1:9090\"\nadmin_keys = { \"Anna A\" = \"env:KEY\" }",
            "is no name for the log",
        ),
    ]);
    check_refused(&[case(
        "server",
        "public_url = \"https://*.example.com\"",
        "names no single host",
    )]);
    check_warned(&[
        case(
            "server",
            "trusted_proxies = [\"0.0.0.0/0\"]",
            "trusts everyone",
        ),
        case(
            "server",
            "admin_listen = \"127.0.0.1:9090\"\nadmin_key = \"env:ZEROS\"",
            "is one character over and over",
        ),
    ]);
}

/// A key of administration is not sent in cleartext beyond this machine without a word.
#[test]
fn administration_in_cleartext_for_others_is_warned_of() {
    for (listen, key, warned) in [
        ("0.0.0.0:9090", "admin_key = \"env:KEY\"", true),
        ("10.0.0.1:9090", "admin_keys = { anna = \"env:KEY\" }", true),
        ("[::]:9090", "admin_key = \"env:KEY\"", true),
        ("127.0.0.1:9090", "admin_key = \"env:KEY\"", false),
        ("[::1]:9090", "admin_key = \"env:KEY\"", false),
        ("unix:/run/bff/admin.sock", "admin_key = \"env:KEY\"", false),
        ("0.0.0.0:9090", "", false),
    ] {
        let lines = format!("admin_listen = {listen:?}\n{key}");
        let (_, warnings) = serve(&file_with("server", &lines)).unwrap();
        let said = warnings.to_string();
        assert_eq!(said.contains("in cleartext"), warned, "{lines}: {said}");
    }
}

#[test]
fn a_public_url_on_this_machine_with_another_port_is_warned_of() {
    for (public_url, listen, warned) in [
        ("http://localhost:3000", "127.0.0.1:8080", true),
        ("http://localhost", "127.0.0.1:8080", true),
        ("http://localhost:8080", "127.0.0.1:8080", false),
        ("http://localhost:3000", "127.0.0.1:0", false),
        ("https://app.example.com", "127.0.0.1:8080", false),
    ] {
        let lines = format!("public_url = {public_url:?}\nlisten = {listen:?}");
        let (_, warnings) = serve(&file_with("server", &lines)).unwrap();
        let said = warnings.to_string();
        let names = said.contains("server.public_url names port");
        assert_eq!(names, warned, "{public_url} {listen}: {said}");
    }
}

/// N2: certificate and key are there and are of their kind.
#[test]
fn tls_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["app.example.com".to_owned()]).unwrap();
    fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(
        folder.path().join("tls.key"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let file = folder.path().join("bff.toml");
    let load = |tls: &str| {
        let lines = format!("tls = {tls}");
        fs::write(&file, file_with("server", &lines)).unwrap();
        Config::load(&file, &variables())
    };
    let (config, _) = load("{ cert = \"tls.crt\", key = \"tls.key\" }").unwrap();
    assert_eq!(
        config.server.tls.unwrap().cert,
        folder.path().join("tls.crt")
    );
    for (name, tls, says) in [
        (
            "half",
            "{ cert = \"tls.crt\" }",
            "server.tls.key is missing",
        ),
        (
            "missing",
            "{ cert = \"other.crt\", key = \"tls.key\" }",
            "other.crt, which can't be read",
        ),
        (
            "swapped",
            "{ cert = \"tls.key\", key = \"tls.key\" }",
            "-----BEGIN … CERTIFICATE-----",
        ),
    ] {
        let said = load(tls).unwrap_err().to_string();
        assert!(said.contains(says), "{name}: {said}");
    }
    let text = file_with(
        "server",
        "public_url = \"http://localhost:8443\"\ntls = { cert = \"tls.crt\", key = \"tls.key\" }",
    );
    let said = Config::parse(&text, &file, &variables())
        .unwrap_err()
        .to_string();
    assert!(said.contains("server.public_url says http"), "{said}");
}
