//! What stands in the wrong place, and what people are told who put it there.

use super::files::Files;
use super::sites::{GROUND, shop};
use super::*;

/// A site of tenants, whose file is the caller's to name.
const TENANTED: &str = "public_url = \"https://{tenant}.shop.example.com\"\n";

fn said_of(site: &str) -> String {
    Files::new(GROUND, &[("shop.toml", site)]).faults()
}

/// N3: a file of tenants that no site names is told of once, not once for each tenant (it was taken for a
/// site, with a fault for each of its tables).
#[test]
fn tenants_that_no_site_names_are_told_of_once() {
    let mut tenants = String::new();
    for number in 0..3000 {
        writeln!(tenants, "[t{number}]\nidp = \"x\"").unwrap();
    }
    let files = Files::new(
        GROUND,
        &[("shop.toml", &shop("")), ("tenants.toml", &tenants)],
    );
    assert_snapshot!(files.faults(), @r#"sites/tenants.toml: holds no site; where it is meant for tenants, write tenants_file = "tenants.toml" at the top of their site's file"#);
    // What has anything of a site is one that is not whole.
    for (file, says) in [
        (
            "[acme]\n[provider]\nclient_id = \"x\"",
            "public_url is missing",
        ),
        (
            "[server]\nlisten = \"127.0.0.1:1\"",
            "public_url is missing",
        ),
        ("id = \"x\"\n[acme]", "public_url is missing"),
        ("", "public_url is missing"),
    ] {
        let said = Files::new(GROUND, &[("x.toml", file)]).faults();
        assert!(said.contains(says), "{file}: {said}");
    }
}

/// N3: of very many unknown keys as many are told as somebody reads.
#[test]
fn a_wall_of_unknown_keys_is_cut() {
    let mut site = shop("");
    for number in 0..300 {
        writeln!(site, "[t{number}]").unwrap();
    }
    let said = said_of(&site);
    assert_eq!(said.lines().count(), 11, "{said}");
    assert_snapshot!(said.lines().last().unwrap(), @"sites/shop.toml:12:2: and 290 more like the 10 before; mend those, and look again");
}

/// N3: what belongs to the top of a site's file, or into bff.toml alone, is said to (it was said to belong
/// into [server], which a site has not).
#[test]
fn a_key_in_the_wrong_table_of_a_site_is_sent_home() {
    let said = [
        "[[route]]\npath = \"/x\"\nupstream = \"http://x.internal\"\ntenants_file = \"tenants.toml\"",
        "[session]\nno_tenant = \"https://example.com\"",
        "[frontend]\npublic_url = \"https://example.com\"",
        "[provider]\ndefault_provider = \"corp\"",
        "[session]\ntenants.acme = { idp = \"x\" }",
        "[session.cookie.provider]\nclient_id = \"x\"",
        "[frontend]\nsession = 1",
        "[frontend]\nclient_id = \"x\"",
        "[frontend]\nlisten = \"127.0.0.1:1\"",
        "[frontend]\nstore_url = \"env:SECRET\"",
        "listen = \"127.0.0.1:1\"",
    ]
    .map(|more| said_of(&shop(more)));
    assert_snapshot!(said.join("\n"), @"
    sites/shop.toml:5:1: route.tenants_file is not a key of [route]; write it at the top of the file, before the first [table]
    sites/shop.toml:3:1: session.no_tenant is not a key of [session]; write it at the top of the file, before the first [table]
    sites/shop.toml:3:1: frontend.public_url is not a key of [frontend]; write it at the top of the file, before the first [table]
    sites/shop.toml:3:1: provider.default_provider is not a key of [provider]; write it at the top of the file, before the first [table]
    sites/shop.toml:3:1: session.tenants is not a key of [session]; write [tenants.acme]
    sites/shop.toml:2:17: session.cookie.provider is not a key of [session.cookie]; write [provider]
    sites/shop.toml:3:1: frontend.session is not a key of [frontend]; the keys are compress, dir, error_page, headers, upstream
    sites/shop.toml:3:1: frontend.client_id is not a key of [frontend]; client_id belongs into [provider]
    sites/shop.toml:3:1: frontend.listen is not a key of [frontend]; listen belongs into [server] of bff.toml
    sites/shop.toml:3:1: frontend.store_url is not a key of [frontend]; store_url belongs into [session] of bff.toml
    sites/shop.toml:2:1: listen is neither a key nor a table of a site; listen belongs into [server] of bff.toml
    ");
}

/// The same in bff.toml, where a site's keys stand in [server].
#[test]
fn a_key_in_the_wrong_table_of_bff_toml_is_sent_home() {
    let said = [
        "tenants_file = \"x\"",
        "default_provider = \"x\"",
        "tenants.acme = { x = 1 }",
    ]
    .map(|wrong| {
        let main = GROUND.replace("idle_timeout = \"20m\"", wrong);
        Files::new(&main, &[("shop.toml", &shop(""))]).faults()
    });
    assert_snapshot!(said.join("\n"), @"
    bff.toml:10:1: session.tenants_file is not a key of [session]; tenants_file belongs into [server]
    bff.toml:10:1: session.default_provider is not a key of [session]; write it at the top of the file, before the first [table]
    bff.toml:10:1: session.tenants is not a key of [session]; write [tenants.acme]
    ");
}

/// §7: in their own file the tenants are its tables; whoever writes them as in the site's file is told so.
#[test]
fn tenants_in_their_own_file_are_its_tables() {
    let site = format!("{TENANTED}tenants_file = \"tenants.toml\"\n");
    let said = [
        "[tenants.acme]\n[tenants.globex]",
        "[acme]\n[tenants.globex]",
    ]
    .map(|tenants| {
        let files = Files::new(GROUND, &[("shop.toml", &site)]);
        files.with("sites/tenants.toml", tenants).faults()
    });
    assert_snapshot!(said.join("\n"), @"
    sites/tenants.toml:1:2: tenants is no part of a tenant's name; leave tenants. out: the tables of this file are the tenants, as in [acme]
    sites/tenants.toml:2:2: tenants is no part of a tenant's name; leave tenants. out: the tables of this file are the tenants, as in [globex]
    ");
    // One may be called so.
    let files = Files::new(GROUND, &[("shop.toml", &site)]);
    files.with("sites/tenants.toml", "[tenants]\n").fine();
}

/// §7: one letter is missing, and the fault says which (it listed all keys of a provider).
#[test]
fn one_of_several_providers_has_a_table_of_its_own() {
    let said = said_of(&shop("[provider.corp]\nclient_id = \"x\"\nissuer = \"y\""));
    assert_snapshot!(said, @"sites/shop.toml:2:11: provider.corp is not a key of [provider]; write [providers.corp] instead");
    assert!(said_of(&shop("[provider.corp]\nzzz = 1")).contains("the keys are"));
}
