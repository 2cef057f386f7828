//! The sessions of several sites and tenants, seen and ended by site.

use super::shelf::{at, readable, unreadable};
use super::*;

/// Sessions of four sites, two of them tenants; ada is at each.
fn several() -> Running {
    let running = run(Some("k"), vec![]);
    let store = &running.store;
    store.put(readable("ada", "u-1", Some("p-1")));
    store.put(at("shop", readable("ada of the shop", "u-1", Some("p-1"))));
    store.put(at("shop/acme", readable("ada of acme", "u-1", Some("p-1"))));
    store.put(at("shop/acme", unreadable("bob of acme", "u-2", None)));
    store.put(at("shop/globex", readable("ada of globex", "u-1", None)));
    store.put(at("shopping", readable("ada of shopping", "u-1", None)));
    running
}

/// §7: a session says at which site it is, as which tenant's, and where its user signed in.
#[test]
fn a_session_says_its_site() {
    let running = several();
    let page = running.json("GET", "/api/sessions?limit=200").1;
    let told = page["sessions"].as_array().unwrap().iter();
    let told: Vec<String> = told
        .map(|one| {
            assert_eq!(one["issuer"], "https://id.example.com");
            assert_eq!(one["client_id"], "app");
            format!("{} {} {}", one["name"], one["site"], one["tenant"])
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    "ada" "" null
    "ada of acme" "shop" "acme"
    "ada of globex" "shop" "globex"
    "ada of shopping" "shopping" null
    "ada of the shop" "shop" null
    "bob of acme" "shop" "acme"
    "#);
}

/// §7: a list is of one site with its tenants, or of one tenant, whatever else it is asked for.
#[test]
fn a_list_is_of_a_site() {
    let running = several();
    let tenants = ["ada of acme", "ada of globex"];
    let shop = [&tenants[..], &["ada of the shop", "bob of acme"]].concat();
    let adas = [&tenants[..], &["ada of the shop"]].concat();
    for (query, names) in [
        ("site=", &["ada"][..]),
        ("site=shop", &shop),
        ("site=shop&tenant=acme", &["ada of acme", "bob of acme"]),
        ("site=shopping", &["ada of shopping"]),
        ("site=shop&tenant=initech", &[]),
        ("site=nowhere", &[]),
        ("site=shop&q=ada", &adas),
        ("site=shop&name=ada", &adas),
        ("site=shop&subject=u-1", &adas),
        ("site=shop&q=u-1", &adas),
        ("site=shop&tenant=acme&q=u-1", &["ada of acme"]),
        ("site=shop&sid=p-1", &["ada of acme", "ada of the shop"]),
        ("site=&sid=p-1", &["ada"]),
    ] {
        for limit in ["", "&limit=1", "&limit=2"] {
            let found = running.all(&format!("{query}{limit}"));
            assert_eq!(found, names, "{query}{limit}");
        }
    }
    let mut found = running.all("site=shop&sort=last_seen&limit=1");
    found.sort();
    assert_eq!(found, shop, "by last use");
}

/// §7: ending all sessions of a site or of a tenant is one action, which spares the others; of a subject
/// there, too.
#[test]
fn the_sessions_of_a_site_end_together() {
    for (query, ended, left) in [
        (
            "site=shop&tenant=acme",
            2,
            &["ada", "ada of globex", "ada of shopping", "ada of the shop"][..],
        ),
        ("site=shop", 4, &["ada", "ada of shopping"]),
        (
            "site=",
            1,
            &[
                "ada of acme",
                "ada of globex",
                "ada of shopping",
                "ada of the shop",
                "bob of acme",
            ],
        ),
        (
            "site=shop&subject=u-1",
            3,
            &["ada", "ada of shopping", "bob of acme"],
        ),
        (
            "site=shop&tenant=acme&subject=u-1",
            1,
            &[
                "ada",
                "ada of globex",
                "ada of shopping",
                "ada of the shop",
                "bob of acme",
            ],
        ),
    ] {
        let running = several();
        let path = format!("/api/sessions?{query}");
        let (status, told) = running.json("DELETE", &path);
        assert_eq!((status, &told["ended"]), (200, &ended.into()), "{query}");
        assert_eq!(running.store.names(), left, "{query}");
        let (_, again) = running.json("DELETE", &path);
        assert_eq!(again["ended"], 0, "{query}");
    }
}

/// §7: a subject that somebody's variable left empty stands for nobody, and not for all of the site.
#[test]
fn an_empty_subject_ends_nobody() {
    let running = several();
    let before = running.store.names();
    for query in [
        "site=shop&subject=",
        "subject=",
        "subject=&site=shop&tenant=acme",
    ] {
        let (status, told) = running.json("DELETE", &format!("/api/sessions?{query}"));
        assert_eq!(status, 400, "{query}: {told}");
        assert_eq!(running.store.names(), before, "{query}");
    }
}

/// What follows an end follows that of a whole site as well, and whoever asked may go away.
#[test]
fn the_end_of_a_site_goes_on_alone() {
    let running = several();
    let head = format!("DELETE /api/sessions?site=shop HTTP/1.1\r\nhost: a\r\n{KEY}\r\n");
    // Whoever leaves before the request was read has not asked.
    for _ in 0..100 {
        let mut socket = TcpStream::connect(running.server.local_addr().tcp().unwrap()).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        drop(socket);
        std::thread::sleep(Duration::from_millis(50));
        if running.store.names().len() <= 2 {
            break;
        }
    }
    assert_eq!(running.store.names(), ["ada", "ada of shopping"]);
}

/// The sites to pick from are those that are served, each with its tenants.
#[test]
fn the_sites_are_listed() {
    let running = run(Some("k"), vec![]);
    let (status, body) = running.ask("GET", "/api/sites", KEY);
    assert_eq!(status, 200);
    insta::assert_snapshot!(body, @r#"{"sites":[{"site":"","tenants":[]},{"site":"shop","tenants":["acme","globex"]}]}"#);
    assert_eq!(running.ask("POST", "/api/sites", KEY).0, 405);
}
