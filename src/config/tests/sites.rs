//! Sites: what a file of the folder says and inherits, and what holds between two of them.

use super::files::{Files, certificate};
use super::*;

/// A ground for sites to stand on.
pub(super) const GROUND: &str = r#"
[server]
sites = "sites"
[provider]
issuer = "https://id.example.com"
client_id = "app"
client_secret = "env:SECRET"
[session]
keys = ["env:KEY"]
idle_timeout = "20m"
[session.cookie]
same_site = "Lax"
[[route]]
path = "/api"
upstream = "http://orders.internal:9000"
[frontend]
upstream = "http://localhost:5173"
"#;

pub(super) fn shop(more: &str) -> String {
    format!("public_url = \"https://shop.example.com\"\n{more}")
}

fn ids(config: &Config) -> Vec<&str> {
    config.sites.iter().map(|site| site.id.as_str()).collect()
}

/// §7: what a site does not say it inherits, table by table and key by key; its routes are its own.
#[test]
fn a_site_inherits_what_it_does_not_say() {
    let own = shop(
        r#"
[provider]
client_id = "shop"
[session.cookie]
persistent = true
[[route]]
path = "/v2"
upstream = "http://shop.internal:9000"
"#,
    );
    let files = Files::new(
        GROUND,
        &[
            ("shop.toml", &own),
            ("blog.toml", "public_url = \"https://blog.example.com\""),
        ],
    );
    let config = files.fine();
    assert_eq!(ids(&config), ["blog", "shop"]);
    let [blog, shop] = &config.sites[..] else {
        panic!("two sites");
    };
    assert_eq!(
        (&*blog.provider.client_id, &*shop.provider.client_id),
        ("app", "shop")
    );
    assert_eq!(shop.provider.issuer, "https://id.example.com");
    assert_eq!(
        shop.provider.redirect_uri.as_str(),
        "https://shop.example.com/bff/callback"
    );
    assert_eq!(shop.session.idle_timeout, Duration::from_mins(20));
    assert_eq!(shop.session.cookie.same_site, crate::session::SameSite::Lax);
    assert!(shop.session.cookie.persistent && !blog.session.cookie.persistent);
    let paths = |site: &SiteConfig| {
        site.routes
            .iter()
            .map(|route| route.path.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(blog), ["/api", "/"]);
    assert_eq!(paths(shop), ["/v2", "/"]);
}

/// §7: today's bff.toml is a site of its own beside the others, and the first.
#[test]
fn bff_toml_may_be_a_site_itself() {
    let main = GROUND.replace(
        "sites =",
        "public_url = \"https://app.example.com\"\nsites =",
    );
    let config = Files::new(&main, &[("shop.toml", &shop(""))]).fine();
    assert_eq!(ids(&config), ["", "shop"]);
}

/// What one provider was trusted with goes to no other, and what excludes another key is no reason to
/// refuse a site that chose.
#[test]
fn what_a_site_chose_takes_the_place_of_what_contradicts_it() {
    let main = GROUND.replace(
        "client_id = \"app\"",
        "client_id = \"app\"\ninternal_url = \"https://keycloak.internal\"\n\
         endpoints = { token = \"https://id.example.com/token\" }",
    );
    let own = |secret: &str| {
        shop(&format!(
            "provider = {{ issuer = \"https://other.example.com\"{secret} }}\nfrontend = {{ dir = \"dist\" }}"
        ))
    };
    // The secret is what the other provider knows us by.
    let files = Files::new(&main, &[("shop.toml", &own(""))]).with("sites/dist/index.html", "<p>");
    let faults = files.load().unwrap_err().to_string();
    assert!(faults.contains("client_secret"), "{faults}");
    let own = own(", client_secret = \"env:SECRET\"");
    let files = Files::new(&main, &[("shop.toml", &own)]).with("sites/dist/index.html", "<p>");
    let config = files.fine();
    let site = &config.sites[0];
    assert_eq!(site.provider.issuer, "https://other.example.com");
    assert!(site.provider.internal.is_none() && site.provider.endpoints.is_empty());
    // Relative to the file that says so.
    let dir = &site.frontend.as_ref().unwrap().dir;
    assert_eq!(*dir, files.0.path().join("sites/dist"));
}

/// N3: whoever lacks a secret is not sent to give one provider that of another (the remedy named the variable
/// of the first).
#[test]
fn a_secret_that_is_not_inherited_is_told_of() {
    let issuer = "issuer = \"https://other.example.com\"\n";
    let said = [
        shop(&format!("[provider]\n{issuer}")),
        shop(&format!(
            "[provider]\n{issuer}client_auth = \"client_secret_basic\""
        )),
        shop(&format!("[providers.help-desk]\n{issuer}client_id = \"x\"")),
        // That of a key says nothing of a secret.
        shop(&format!(
            "[provider]\n{issuer}client_key = \"file:key.pem\""
        )),
    ]
    .map(|desk| {
        let files = Files::new(GROUND, &[("desk.1.toml", &desk)]);
        files.faults()
    });
    assert_snapshot!(said.join("\n"), @r#"
    sites/desk.1.toml:2:1: provider.client_secret is missing: that of bff.toml is for its own issuer and is not inherited; write one of this provider's own, as in client_secret = "env:DESK_1_SECRET"
    sites/desk.1.toml:2:1: provider.client_secret is missing: that of bff.toml is for its own issuer and is not inherited; write one of this provider's own, as in client_secret = "env:DESK_1_SECRET"
    sites/desk.1.toml:2:12: providers.help-desk.client_secret is missing: that of [provider] is for its own issuer and is not inherited; write one of this provider's own, as in client_secret = "env:HELP_DESK_SECRET"
    sites/desk.1.toml:4:14: provider.client_key is to come from sites/key.pem, which can't be read (No such file or directory (os error 2)); put the secret there and let this process read it
    "#);
}

/// N3: faults in five files are told at once, each with its file, line, column and remedy, in order;
/// what all inherit is told once.
#[test]
fn faults_in_five_files_are_told_at_once() {
    let main = GROUND.replace("\"20m\"", "20");
    let files = Files::new(
        &main,
        &[
            (
                "a.toml",
                "public_url = \"http://a.example.com\"\n[log]\nlevel = \"info\"\n",
            ),
            (
                "b.toml",
                "public_url = \"https://b.example.com\"\n[session]\nstore = \"redis\"\nidle_timout = \"1m\"\n",
            ),
            ("c.toml", "[provider\n"),
            (
                "d.toml",
                "[server]\npublic_url = \"https://d.example.com\"\nlisten = \"x\"\n",
            ),
        ],
    );
    assert_snapshot!(files.faults(), @r#"
    bff.toml:10:16: session.idle_timeout has no unit; write "20s" or "20m", with its unit and in quotes
    sites/a.toml:1:14: public_url is http, so that anyone on the way can take over sessions; write "https://a.example.com"
    sites/a.toml:3:1: log.level is the whole process's, and this is one of its sites; write it in [log] of bff.toml
    sites/b.toml:3:1: session.store is the whole process's, and this is one of its sites; write it in [session] of bff.toml
    sites/b.toml:4:1: session.idle_timout is not a key of [session]; write idle_timeout instead
    sites/c.toml:1:10: is not TOML here: unclosed table, expected `]`; write key = "value" lines under a [table] line
    sites/d.toml:2:1: server.public_url stands at the top of a site's file; write public_url = … before the first [table]
    sites/d.toml:3:1: server.listen is the whole process's, and this is one of its sites; write it in [server] of bff.toml
    "#);
}

/// §7: two sites have two places, and two names.
#[test]
fn two_sites_that_are_one_are_refused() {
    let cases: [(&str, &str, &str); 8] = [
        (
            "below the endpoints",
            "public_url = \"https://shop.example.com/bff/callback\"",
            "sites/z.toml:1:14: public_url takes /bff/callback, where the endpoints of sites/shop.toml are; write another path",
        ),
        (
            "the same place",
            "public_url = \"https://SHOP.example.com:8443/\"",
            "sites/z.toml:1:14: public_url is where sites/shop.toml is too: shop.example.com/ (a port tells no sites apart); write another host, or a path such as \"/shop\" after it",
        ),
        (
            "the same name",
            "id = \"shop\"\npublic_url = \"https://z.example.com\"",
            "sites/z.toml:1:6: id is the name of sites/shop.toml too; give each site a name of its own: the file's, or id",
        ),
        (
            "one cookie",
            "public_url = \"https://shop.example.com/z\"\nsession.cookie.name = \"__Host-Http-bff\"",
            "sites/z.toml:2:23: session.cookie.name is the name of the cookie of sites/shop.toml, which is on this host as well; write another session.cookie.name",
        ),
        (
            "a chunk's name",
            "public_url = \"https://shop.example.com/z\"\nsession.cookie.name = \"__Host-Http-bff-1\"",
            "session.cookie.name is what a chunk, a login or a logout is called beside the cookie of sites/shop.toml, which is on this host as well; write another session.cookie.name, which is not the other with a dash and more at its end",
        ),
        (
            "a logout's name",
            "public_url = \"https://shop.example.com/z\"\nsession.cookie.name = \"__Host-Http-bff-logout\"",
            "is what a chunk",
        ),
        (
            "the endpoints' path",
            "public_url = \"https://shop.example.com/bff\"",
            "sites/z.toml:1:14: public_url takes /bff, where the endpoints of sites/shop.toml are; write another path",
        ),
        (
            "a route's host",
            "public_url = \"https://z.example.com\"\nroute = [{ path = \"/x\", upstream = \"http://x\", host = \"shop.example.com\", auth = \"none\" }]",
            "sites/z.toml:2:55: route.host is the host of the site in sites/shop.toml; move the route there, or write another host",
        ),
    ];
    for (name, other, says) in cases {
        let said = Files::new(GROUND, &[("shop.toml", &shop("")), ("z.toml", other)]).faults();
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert!(said.contains(says), "{name}: {said}");
    }
}

/// The same host in another script is the same host.
#[test]
fn hosts_are_compared_as_browsers_ask_for_them() {
    let two = [
        ("a.toml", "public_url = \"https://Bücher.example\""),
        ("b.toml", "public_url = \"https://xn--bcher-kva.example\""),
    ];
    let said = Files::new(GROUND, &two).faults();
    assert!(
        said.contains("is where sites/a.toml is too: xn--bcher-kva.example/"),
        "{said}"
    );
}

/// §7: a site on a path has its endpoints there, and a cookie's name that is no part of another's.
#[test]
fn a_site_on_a_path_has_a_place_and_a_cookie_of_its_own() {
    let root = "public_url = \"https://example.com\"";
    for (mount, cookie) in [
        ("/shop", "__Host-Http-bff.shop"),
        ("/1", "__Host-Http-bff.1"),
        ("/logout", "__Host-Http-bff.logout"),
        ("/shop-1/b_c", "__Host-Http-bff.shop.1.b.c"),
    ] {
        let own = format!("public_url = \"https://example.com{mount}/\"");
        let config = Files::new(GROUND, &[("root.toml", root), ("z.toml", &own)]).fine();
        let site = &config.sites[1];
        assert_eq!(site.auth.mount, mount);
        assert_eq!(site.auth.public_url.as_str(), "https://example.com/");
        assert_eq!(site.auth.base_path, format!("{mount}/bff"));
        assert_eq!(
            site.provider.redirect_uri.as_str(),
            format!("https://example.com{mount}/bff/callback")
        );
        assert_eq!(site.session.cookie.name, cookie);
        assert_eq!(site.routes[0].path, "/api");
    }
    let on_loopback = Files::new(
        GROUND,
        &[("z.toml", "public_url = \"http://localhost:8080/shop\"")],
    );
    assert_eq!(
        on_loopback.fine().sites[0].session.cookie.name,
        "bff.shop-8080"
    );
    for path in ["/a//b", "/a/../b", "/a%20b", "/a/./b"] {
        let own = format!("public_url = \"https://example.com{path}\"");
        let said = Files::new(GROUND, &[("z.toml", &own)]).faults();
        assert!(
            said.starts_with("sites/z.toml:1:14: public_url h"),
            "{path}: {said}"
        );
    }
}

/// §7: a service worker of the root covers what lies below, and one of a path may cover no more.
#[test]
fn service_workers_stay_where_their_site_is() {
    let root = ("root.toml", "public_url = \"https://example.com\"");
    let below = "public_url = \"https://example.com/shop\"\n";
    let said = Files::new(GROUND, &[root, ("shop.toml", below)]).warnings();
    assert_eq!(
        said,
        "sites/root.toml:1:14: public_url has example.com/shop of sites/shop.toml below it: a service worker of this site covers that one too; see that this app has no service worker, or give the other a host of its own"
    );
    for (scope, is_refused) in [
        ("/shop/", false),
        ("/shop/a", false),
        ("/shop", true),
        ("/", true),
        ("/shop/../", true),
    ] {
        let own = format!(
            "{below}[frontend]\ndir = \"d\"\nheaders = {{ Service-Worker-Allowed = \"{scope}\" }}"
        );
        let files = Files::new(GROUND, &[("shop.toml", &own)]).with("sites/d/index.html", "");
        match files.load() {
            Ok(_) => assert!(!is_refused, "{scope}"),
            Err(errors) => {
                let said = files.plain(&errors.to_string());
                assert!(is_refused, "{scope}: {said}");
                assert_eq!(
                    said,
                    "sites/shop.toml:4:13: frontend.headers.Service-Worker-Allowed lets a service worker of this site stand before pages of its neighbours; write \"/shop/\" or what lies below, or leave it out"
                );
            }
        }
    }
}

/// A variable reaches into a site by its file's name; one for nobody was meant for somebody.
#[test]
fn variables_reach_the_files_of_sites() {
    let files = Files::new(GROUND, &[("my-shop.toml", &shop(""))]);
    let load = |name| files.load_with(&[(name, "x")]);
    let (config, _) = load("BFF_SITES__MY_SHOP__PROVIDER__CLIENT_ID").unwrap();
    assert_eq!(config.sites[0].provider.client_id, "x");
    let (config, _) = load("BFF_PROVIDER__CLIENT_ID").unwrap();
    assert_eq!(config.sites[0].provider.client_id, "x");
    for (name, says) in [
        (
            "BFF_SITES__SHOP__PROVIDER__CLIENT_ID",
            "BFF_SITES__SHOP__PROVIDER__CLIENT_ID: is for a site whose file is not there",
        ),
        (
            "BFF_SITES__MY_SHOP__PROVIDER__CLINT_ID",
            "BFF_SITES__MY_SHOP__PROVIDER__CLINT_ID: provider.clint_id is not a key of [provider]; write client_id instead",
        ),
        (
            "BFF_SITES__MY_SHOP__SESSION__STORE",
            "session.store is the whole process's, and this is one of its sites; write it in [session] of bff.toml",
        ),
        (
            "BFF_SITES__MY_SHOP__PUBLIC_URL",
            "public_url is not an http or https address",
        ),
    ] {
        let said = load(name).unwrap_err().to_string();
        assert!(said.contains(says), "{name}: {said}");
    }
}

/// What looks like a site's file, and is none, is told of.
#[test]
fn files_that_look_meant_are_told_of() {
    let files = Files::new(
        GROUND,
        &[
            ("shop.toml", &shop("")),
            ("blog.TOML", ""),
            ("shop.toml~", ""),
            (".shop.toml.swp", ""),
            ("README", ""),
        ],
    );
    assert_snapshot!(files.warnings(), @r#"
    bff.toml:3:9: server.sites has sites/blog.TOML in it, which is no site; name the file NAME.toml if it is meant for one, or move it elsewhere
    bff.toml:3:9: server.sites has sites/shop.toml~ in it, which is no site; name the file NAME.toml if it is meant for one, or move it elsewhere
    "#);
    let empty = Files::new(GROUND, &[]);
    assert_snapshot!(empty.faults(), @"bff.toml:3:9: server.sites names sites, which holds no site; put a NAME.toml for each site there, or write public_url here");
    let nowhere = Files::new(&GROUND.replace("\"sites\"", "\"nowhere\""), &[]);
    assert_snapshot!(nowhere.faults(), @"bff.toml:3:9: server.sites names nowhere, which is no folder that can be read (No such file or directory (os error 2)); write the path of the folder that holds a NAME.toml for each site");
}

/// What a site lacks is said of the site's file, not of the ground that it stands on.
#[test]
fn what_is_missing_is_missing_in_the_sites_file() {
    let main = GROUND.replace("client_id = \"app\"\n", "");
    let files = Files::new(
        &main,
        &[
            ("a.toml", "[frontend]\nupstream = \"http://localhost:1\""),
            ("shop.toml", &shop("")),
        ],
    );
    assert_snapshot!(files.faults(), @r#"
    sites/a.toml: provider.client_id is missing; write client_id = "…", as registered at the provider
    sites/a.toml: public_url is missing; write public_url = "https://app.example.com", the origin that browsers see
    sites/shop.toml: provider.client_id is missing; write client_id = "…", as registered at the provider
    "#);
}

/// N2: no site shows the files that another keeps for itself.
#[test]
fn a_sites_files_hold_nothing_private_of_another() {
    let own = shop("[frontend]\ndir = \"..\"");
    let files = Files::new(GROUND, &[("shop.toml", &own)]).with("index.html", "");
    let said = files.faults();
    assert!(
        said.starts_with("sites/shop.toml:3:7: frontend.dir serves everybody "),
        "{said}"
    );
    assert!(said.contains("sites/shop.toml)"), "{said}");
}

/// The login on a second host ended in 400, and check was silent.
#[test]
fn a_routes_host_is_no_second_home_for_sessions() {
    check_refused(&[case(
        "[route]",
        "host = \"docs.example.com\"",
        "route.host is a host where nobody is signed in: a session's cookie goes to app.example.com alone; make it a site of its own (server.sites), or write auth = \"none\"",
    )]);
    check_fine("[route]", "host = \"docs.example.com\"\nauth = \"none\"");
    check_fine("[route]", "host = \"App.example.com\"");
}

/// What `bff schema --site` lets an editor complete is what a site's file takes.
#[test]
fn the_schema_of_a_site_is_what_its_file_takes() {
    let schema = schema_of_site();
    let has = |pointer: &str| schema.pointer(pointer).is_some();
    assert!(has(
        "/properties/tenants/additionalProperties/properties/host"
    ));
    assert!(has("/properties/tenants_file") && has("/properties/no_tenant"));
    assert!(has("/properties/public_url") && has("/properties/session/properties/idle_timeout"));
    assert!(!has("/properties/server") && !has("/properties/session/properties/store"));
}

/// N2: where TLS ends here, each host has one certificate, and it is for that host.
#[test]
fn a_host_without_a_certificate_is_refused() {
    let tls =
        |name: &str| format!("tls = {{ cert = \"../{name}.crt\", key = \"../{name}.key\" }}\n");
    let of_listener = GROUND.replace(
        "sites =",
        "tls = { cert = \"wild.crt\", key = \"wild.key\" }\nsites =",
    );
    let at = |host: &str| format!("public_url = \"https://{host}\"\n");
    let cases: [(&str, &str, String, &str); 6] = [
        ("the listener's", &of_listener, at("z.example.com"), ""),
        ("its own", GROUND, at("z.example.org") + &tls("z"), ""),
        ("that of its host", GROUND, at("shop.example.com/z"), ""),
        (
            "none",
            GROUND,
            at("z.example.org"),
            "sites/z.toml:1:14: public_url is https, and no certificate is for z.example.org, so that no browser gets there; write tls = { cert, key } with one that is",
        ),
        (
            "another's",
            GROUND,
            at("y.example.org") + &tls("z"),
            "sites/z.toml:2:16: tls.cert ",
        ),
        (
            "two",
            GROUND,
            at("shop.example.com/z") + &tls("shop2"),
            "sites/z.toml:2:7: tls is another certificate for shop.example.com than ",
        ),
    ];
    for (name, main, text, says) in cases {
        let shop = shop(&tls("shop"));
        let files = Files::new(main, &[("shop.toml", &shop), ("z.toml", &text)]);
        certificate(&files, "shop", &["shop.example.com"]);
        certificate(&files, "shop2", &["shop.example.com"]);
        certificate(&files, "z", &["z.example.org"]);
        certificate(&files, "wild", &["*.example.com"]);
        match files.load() {
            Ok(_) => assert_eq!(says, "", "{name}"),
            Err(errors) => {
                let said = files.plain(&errors.to_string());
                assert_eq!(said.lines().count(), 1, "{name}: {said}");
                assert!(!says.is_empty() && said.starts_with(says), "{name}: {said}");
            }
        }
    }
}
