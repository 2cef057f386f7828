//! The `bff.toml` at the root: complete, true, and what `bff dev` runs with.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::*;

const REFERENCE: &str = include_str!("../../../bff.toml");

/// The reference with the commented keys that `wanted` picks by the comment above them.
fn uncommented(wanted: impl Fn(&str) -> bool) -> String {
    let mut comment = String::new();
    REFERENCE
        .lines()
        .map(|line| {
            let key = line
                .strip_prefix('#')
                .filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()));
            match key {
                Some(key) if wanted(&comment) => format!("{key}\n"),
                Some(_) => String::from("\n"),
                None => {
                    if line.starts_with("# ") {
                        comment.push_str(line);
                    } else {
                        comment.clear();
                    }
                    format!("{line}\n")
                }
            }
        })
        .collect()
}

fn develop(text: &str) -> Config {
    let file = Path::new("bff.toml");
    parse(
        text,
        file,
        &Variables::new(),
        Purpose::Develop { port: None },
    )
    .unwrap_or_else(|errors| panic!("{errors}"))
    .0
}

fn paths(table: &DeTable<'_>, above: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = document::joined(above, key.get_ref());
        found.insert(path.clone());
        match value.get_ref() {
            DeValue::Table(table) => paths(table, &path, found),
            DeValue::Array(items) => {
                for item in items {
                    if let DeValue::Table(table) = item.get_ref() {
                        paths(table, &path, found);
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn it_holds_every_key() {
    let text = uncommented(|_| true);
    let mut found = BTreeSet::new();
    paths(DeTable::parse(&text).unwrap().get_ref(), "", &mut found);
    let missing: Vec<String> = File::keys("")
        .into_iter()
        .filter(|key| !key.is_empty() && !found.contains(key))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// A commented key is the default, unless the comment above it says "Default:".
#[test]
fn its_commented_values_are_the_defaults() {
    let written = develop(&uncommented(|comment| !comment.contains("Default:")));
    let left_out = develop(REFERENCE);
    assert_alike(&format!("{written:#?}"), &format!("{left_out:#?}"));
}

fn assert_alike(written: &str, left_out: &str) {
    for (one, other) in written.lines().zip(left_out.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(written, left_out);
}

#[test]
fn its_examples_are_read() {
    let text = uncommented(|comment| comment.contains("Default:"));
    let errors = parse(&text, Path::new("bff.toml"), &variables(), Purpose::Serve).unwrap_err();
    // Faults of this machine and of keys that exclude each other, none of a value's form.
    let messages: Vec<String> = errors
        .to_string()
        .lines()
        .filter_map(|line| Some(line.splitn(4, ':').last()?.trim().to_owned()))
        .collect();
    assert_snapshot!(messages.join("\n"), @r#"
    providers.corp.client_secret is to come from the variable BFF_CORP_SECRET, which is not set; set BFF_CORP_SECRET for this process
    tenants is for a site with {tenant} in its public_url; write a public_url such as "https://{tenant}.app.example.com", or leave it out
    server.sites names sites, which is no folder that can be read (No such file or directory (os error 2)); write the path of the folder that holds a NAME.toml for each site
    server.tenants_file is for a site with {tenant} in its public_url; write a public_url such as "https://{tenant}.app.example.com", or leave it out
    server.no_tenant is for a site with {tenant} in its public_url; write a public_url such as "https://{tenant}.app.example.com", or leave it out
    server.tls serves https, and server.public_url says http; write public_url = "https://localhost:8080", or leave tls out
    server.tls.cert names tls.crt, which can't be read (No such file or directory (os error 2)); write the path of a PEM file that this process may read
    server.tls.key names tls.key, which can't be read (No such file or directory (os error 2)); write the path of a PEM file that this process may read
    server.admin_key is to come from the variable BFF_ADMIN_KEY, which is not set; set BFF_ADMIN_KEY for this process
    server.admin_keys.anna is to come from the variable BFF_ADMIN_KEY_ANNA, which is not set; set BFF_ADMIN_KEY_ANNA for this process
    server.identity_keys is to come from /run/secrets/identity.pem, which can't be read (No such file or directory (os error 2)); put the secret there and let this process read it
    providers.corp.ca names ca.crt, which can't be read (No such file or directory (os error 2)); write the path of a PEM file with the roots of the provider's certificate
    session.keys is to come from the variable BFF_SESSION_KEY, which is not set; set BFF_SESSION_KEY for this process
    session.store_url names a store, which session.store does not ask for; write store = "redis", "postgres" or "sqlite", or leave store_url out
    session.store_ca names ca.crt, which can't be read (No such file or directory (os error 2)); write the path of a PEM file with the roots of the store's certificate
    route.upstream is "dev:api", which is there under bff dev only; write the address of your API, such as "http://orders.internal:9000"
    route.ca names ca.crt, which can't be read (No such file or directory (os error 2)); write the path of a PEM file with the roots of the upstream's certificate
    route.client_cert.cert names bff.crt, which can't be read (No such file or directory (os error 2)); write the path of a PEM file that this process may read
    route.client_cert.key names bff.key, which can't be read (No such file or directory (os error 2)); write the path of a PEM file that this process may read
    frontend.upstream stands beside dir, and the app can come from one place only; leave one of the two out
    frontend.error_page names error.html, which can't be read (No such file or directory (os error 2)); write the path of an HTML file, or leave error_page out for the page of bff
    "#);
}
