//! `[session]`.

use insta::assert_snapshot;

use crate::session::store::{LimitScope, OnLimit};

use super::{case, check_refused, check_warned, file_with, serve};

/// G1: what the prefix of the cookie's name promises must hold.
#[test]
fn a_cookie_that_breaks_its_prefix_is_refused() {
    check_refused(&[
        case(
            "session.cookie",
            "name = \"__host-bff\"",
            "write it as __Host-",
        ),
        case(
            "session.cookie",
            "name = \"__HOST-HTTP-bff\"",
            "write it as __Host-Http-",
        ),
        case("session.cookie", "name = \"__Host-\"", "is a prefix alone"),
        case(
            "session.cookie",
            "name = \"my session\"",
            "is not a cookie's name",
        ),
        case("session.cookie", "name = \"a=b\"", "is not a cookie's name"),
        case(
            "session.cookie",
            "same_site = \"None\"",
            "with every site's requests",
        ),
        case(
            "session.cookie",
            "same_site = \"lax\"",
            "write \"Strict\" or \"Lax\"",
        ),
    ]);
    check_warned(&[
        case(
            "session.cookie",
            "name = \"app\"",
            "write \"__Host-Http-app\"",
        ),
        case(
            "session.cookie",
            "name = \"__Secure-app\"",
            "write \"__Host-Http-app\"",
        ),
    ]);
    let on_loopback = file_with("server", "public_url = \"http://localhost:8080\"");
    let (config, _) = serve(&on_loopback).unwrap();
    assert_eq!(config.sites[0].session.cookie.name, "bff-8080");
    assert!(!config.sites[0].session.cookie.secure);
    let errors = serve(&format!(
        "{on_loopback}[session.cookie]\nname = \"__Host-x\"\n"
    ));
    assert_snapshot!(errors.unwrap_err(), @r#"bff.toml:14:8: session.cookie.name has a prefix that browsers refuse without https; write "bff" or leave the key out while public_url is http"#);
}

/// G1: cookies know no ports, so on this machine the default name has the port in it; the name without is
/// still read. What is written stays as it is written.
#[test]
fn the_default_name_has_the_port_on_loopback() {
    for (public_url, name, former) in [
        ("https://app.example.com", "__Host-Http-bff", None),
        ("https://app.example.com:8443", "__Host-Http-bff", None),
        ("http://localhost:8080", "bff-8080", Some("bff")),
        ("http://127.0.0.1", "bff-80", Some("bff")),
        // bff-7 is a chunk of bff.
        ("http://localhost:7", "bff-07", Some("bff")),
        ("http://[::1]:3000", "bff-3000", Some("bff")),
        (
            "https://localhost:8443",
            "__Host-Http-bff-8443",
            Some("__Host-Http-bff"),
        ),
    ] {
        let file = file_with("server", &format!("public_url = \"{public_url}\""));
        let (config, _) = serve(&file).unwrap();
        let cookie = &config.sites[0].session.cookie;
        assert_eq!(cookie.name, name, "{public_url}");
        assert_eq!(cookie.former_name.as_deref(), former, "{public_url}");
        let (config, _) = serve(&format!("{file}[session.cookie]\nname = \"app\"\n")).unwrap();
        assert_eq!(config.sites[0].session.cookie.name, "app");
        assert_eq!(config.sites[0].session.cookie.former_name, None);
    }
}

/// A user's sessions are few enough to list and to end at once, unless the file says otherwise.
#[test]
fn a_user_has_64_sessions_at_most_by_default() {
    let most = |session: &str| {
        let file = file_with("session", session);
        let limit = serve(&file).unwrap().0.sites[0].session.limit;
        limit.map(|limit| (limit.most, limit.on_limit))
    };
    assert_eq!(most(""), Some((64, OnLimit::EndOldest)));
    let refuse = "on_limit = \"refuse\"";
    assert_eq!(most(refuse), Some((64, OnLimit::Refuse)));
    assert_eq!(most("max_per_user = 3"), Some((3, OnLimit::EndOldest)));
    assert_eq!(most("max_per_user = \"none\""), None);
    assert_eq!(most("store = \"cookie\""), None);
    assert_eq!(most("store = \"cookie\"\nmax_per_user = \"none\""), None);
}

/// §4: sessions take so much memory; what 0.2.0 counted in sessions stays good, and bounds what it bounded.
#[test]
fn sessions_have_so_much_memory() {
    let memory = |session: &str| {
        let file = file_with("session", session);
        serve(&file).unwrap().0.store.memory
    };
    assert_eq!(memory(""), None);
    assert_eq!(memory("memory = \"512MiB\""), Some(512 << 20));
    let in_cookies = "store = \"cookie\"\n";
    for (session, expected) in [
        ("near_cache = 100000", 400_000 << 10),
        ("near_cache = 1", 1 << 20),
        ("memory = \"1GiB\"", 1 << 30),
    ] {
        assert_eq!(memory(&format!("{in_cookies}{session}")), Some(expected));
    }
    // It ends nobody's session that it let live.
    assert_eq!(memory("near_cache = 1000"), None);
}

/// §7: a user's sessions count at each site for themselves, unless the file says otherwise.
#[test]
fn sessions_count_at_each_site_or_at_all_of_an_issuer() {
    let scope = |session: &str| {
        let file = file_with("session", session);
        let limit = serve(&file).unwrap().0.sites[0].session.limit;
        limit.map(|limit| limit.scope)
    };
    assert_eq!(scope(""), Some(LimitScope::Site));
    for (word, expected) in [("site", LimitScope::Site), ("issuer", LimitScope::Issuer)] {
        let written = format!("max_per_user_scope = \"{word}\"");
        assert_eq!(scope(&written), Some(expected));
    }
}

/// G7, G9.
#[test]
fn keys_and_lifetimes_that_cannot_work_are_refused() {
    check_refused(&[
        case(
            "session",
            "keys = [\"env:SHORT\"]",
            "session.keys env:SHORT holds no key of 32 bytes; put what bff keygen prints there",
        ),
        case("session", "keys = []", "session.keys is empty"),
        case(
            "session",
            "keys = [\"env:KEY\", \"env:KEY\"]",
            "stands in the list already",
        ),
        case("session", "idle_timeout = \"0s\"", "is zero"),
        case(
            "session",
            "idle_timeout = \"10ms\"",
            "is shorter than a second",
        ),
        case(
            "session",
            "idle_timeout = \"9h\"",
            "is longer than session.max_lifetime, \"8h\"",
        ),
        case(
            "session",
            "max_lifetime = \"5m\"",
            "is shorter than session.idle_timeout, \"30m\"",
        ),
    ]);
    check_warned(&[
        case("session", "-keys", "a restart signs everyone out"),
        case(
            "session",
            "keys = [\"env:KEY\", \"env:ZEROS\"]",
            "session.keys env:ZEROS holds one byte 32 times",
        ),
        case(
            "session",
            "idle_timeout = \"25h\"\nmax_lifetime = \"26h\"",
            "that nobody used for more than a day",
        ),
        case(
            "session",
            "max_lifetime = \"30days\"",
            "for more than a week",
        ),
    ]);
}

/// N3: what a store needs is asked for before anything starts, and no password is repeated.
#[test]
fn a_store_that_cannot_work_is_refused() {
    check_refused(&[
        case(
            "session",
            "store = \"redis\"",
            "session.store_url is missing",
        ),
        case("session", "store = \"valkey\"", "write \"redis\""),
        case(
            "session",
            "store = \"redis\"\nstore_url = \"postgres://h/db\"",
            "is no address of the store that session.store names",
        ),
        case(
            "session",
            "store = \"sqlite\"\nstore_url = \"sqlite::memory:\"",
            "a session store is a file",
        ),
        case(
            "session",
            "store_url = \"redis://h:6379\"",
            "session.store does not ask for",
        ),
        case(
            "session",
            "store = \"redis\"\nstore_url = \"env:NOWHERE\"",
            "the variable NOWHERE, which is not set",
        ),
        case("session", "max_per_user = 0", "session.max_per_user"),
        case("session", "memory = \"1000KiB\"", "write \"1MiB\" or more"),
        case(
            "session",
            "memory = \"1GiB\"\nnear_cache = 5000",
            "leave near_cache out",
        ),
        case(
            "session",
            "on_limit = \"refuse\"\nmax_per_user = \"none\"",
            "says what happens at a limit, and there is none",
        ),
        case(
            "session",
            "max_per_user_scope = \"issuer\"\nmax_per_user = \"none\"",
            "says what counts against a limit, and there is none",
        ),
        case(
            "session",
            "max_per_user_scope = \"client\"",
            "max_per_user_scope",
        ),
        case(
            "session",
            "max_per_user = \"64\"",
            "write a number without quotes, or \"none\"",
        ),
        case(
            "session",
            "max_per_user = 10001",
            "\"none\" to lift the limit",
        ),
        case(
            "session",
            "store = \"cookie\"\nmax_per_user = 1",
            "limits sessions that nobody counts",
        ),
        case(
            "session",
            "store = \"redis\"\nstore_url = \"redis://h\"\nstore_ca = \"none.crt\"",
            "can't be read",
        ),
    ]);
    check_warned(&[
        case(
            "session",
            "store = \"redis\"\nstore_url = \"redis://u:secret@h:6379\"",
            "is a secret that everyone who reads this file can see",
        ),
        case(
            "session",
            "store = \"cookie\"",
            "in this process alone and while it runs",
        ),
        case(
            "session",
            "store = \"cookie\"",
            "no two processes share a refresh",
        ),
        case("session", "store = \"cookie\"", "keeps no list of sessions"),
        case(
            "session",
            "store = \"redis\"\nstore_url = \"redis://h:6379\"",
            "write rediss://",
        ),
        case(
            "session",
            "store = \"redis\"\nstore_url = \"redis://localhost.example.com:6379\"",
            "write rediss://",
        ),
        case(
            "session",
            "store = \"postgres\"\nstore_url = \"postgres://h/bff?sslmode=require\"",
            "sslmode=verify-full",
        ),
        case(
            "session",
            "store = \"redis\"\nstore_url = \"redis://h:6379\"\nmax_staleness = \"5m\"",
            "live on for more than a minute",
        ),
    ]);
    let harmless = "store = \"redis\"\nstore_url = \"redis://localhost:6379\"";
    let (_, warnings) = serve(&file_with("session", harmless)).unwrap();
    assert!(!warnings.to_string().contains("store_url"), "{warnings}");
    let without_keys = file_with("session", "store = \"sqlite\"\nstore_url = \"s.db\"")
        .lines()
        .filter(|line| !line.starts_with("keys"))
        .collect::<Vec<_>>()
        .join("\n");
    let errors = serve(&without_keys).unwrap_err().to_string();
    assert!(errors.contains("must last as well"), "{errors}");
}
