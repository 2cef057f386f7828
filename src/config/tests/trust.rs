//! Whoever may write a site's file, and what that lets them do with what they may not read.

use super::files::Files;
use super::sites::{GROUND, shop};
use super::*;

/// §7: a site that said where its provider is asked had the secret of bff.toml sent there.
#[test]
fn no_secret_goes_to_addresses_that_a_site_writes() {
    let pem = rcgen::generate_simple_self_signed(["id".to_owned()]).unwrap();
    let pem = pem.cert.pem();
    let said = [
        "internal_url = \"https://elsewhere.example\"",
        "endpoints = { token = \"https://id.example.com/token\" }",
        "proxy = \"http://elsewhere.example:3128\"",
        "ca = \"ca.pem\"",
    ]
    .map(|line| {
        let with = |more: &str| {
            let own = shop(&format!("[provider]\n{line}\n{more}"));
            Files::new(GROUND, &[("shop.toml", &own)]).with("sites/ca.pem", &pem)
        };
        // With one of its own it may.
        with("client_secret = \"env:SHORT\"").fine();
        with("").faults()
    });
    assert_snapshot!(said.join("\n"), @r#"
    sites/shop.toml:3:16: provider.internal_url sends the client elsewhere, so that the secret of bff.toml is not inherited; write the secret beside it, as in client_secret = "env:SHOP_SECRET", or this key in bff.toml
    sites/shop.toml:3:13: provider.endpoints sends the client elsewhere, so that the secret of bff.toml is not inherited; write the secret beside it, as in client_secret = "env:SHOP_SECRET", or this key in bff.toml
    sites/shop.toml:3:9: provider.proxy sends the client elsewhere, so that the secret of bff.toml is not inherited; write the secret beside it, as in client_secret = "env:SHOP_SECRET", or this key in bff.toml
    sites/shop.toml:3:6: provider.ca sends the client elsewhere, so that the secret of bff.toml is not inherited; write the secret beside it, as in client_secret = "env:SHOP_SECRET", or this key in bff.toml
    "#);

    // A secret by another key is one too, and what bff.toml itself says of its provider is its own affair.
    let main = GROUND.replace(
        "client_secret = \"env:SECRET\"",
        "client_secret = \"env:SECRET\"\ninternal_url = \"https://id.internal\"",
    );
    Files::new(&main, &[("shop.toml", &shop(""))]).fine();
    let key = GROUND.replace(
        "client_secret = \"env:SECRET\"",
        "client_key = \"file:key.pem\"",
    );
    let own = shop("[provider]\nproxy = \"http://elsewhere.example:3128\"\n");
    let files = Files::new(&key, &[("shop.toml", &own)]);
    assert!(
        files
            .faults()
            .contains("sites/shop.toml:3:9: provider.proxy"),
        "{}",
        files.faults()
    );
}

/// §7: two files whose names differ by what no variable can have were both filled by one.
#[test]
fn a_variable_is_for_one_site() {
    let sites = ["shop-x", "shop_x"].map(|name| {
        let text = format!(
            "public_url = \"https://{}.example.com\"",
            name.replace('_', ".")
        );
        (format!("{name}.toml"), text)
    });
    let [one, two] = &sites;
    let files = Files::new(GROUND, &[(&one.0, &one.1), (&two.0, &two.1)]);
    files.fine();
    let loaded = files.load_with(&[("BFF_SITES__SHOP_X__PROVIDER__CLIENT_ID", "x")]);
    assert_snapshot!(loaded.unwrap_err(), @"BFF_SITES__SHOP_X__PROVIDER__CLIENT_ID: is for shop-x.toml and shop_x.toml alike; give one of the files another name, or write the key in the file that is meant");
}

/// §7: a page to choose that leads to the choice sent people round in circles.
#[test]
fn the_page_to_choose_is_a_page() {
    let several = |page: &str, more: &str| {
        let provider = |name: &str| {
            format!(
                "[providers.{name}]\nissuer = \"https://{name}.example.com\"\nclient_id = \"a\"\nclient_secret = \"env:SECRET\"\n"
            )
        };
        let text = format!(
            "choose_provider_url = \"{page}\"\n[server]\nlisten = \"127.0.0.1:8443\"\npublic_url = \"https://app.example.com\"\n{}{}[session]\nkeys = [\"env:KEY\"]\n{more}",
            provider("a"),
            provider("b")
        );
        serve(&text).map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    let files = "[frontend]\nupstream = \"http://localhost:5173\"\n";
    let api = "[[route]]\npath = \"/\"\nupstream = \"http://x.internal\"\n";
    let own = "[[route]]\npath = \"/sign-in\"\nupstream = \"http://x.internal\"\nauth = \"none\"\n";
    let said = [
        several("/bff/login", files),
        several("/x/../bff/%6cogin?a=1", files),
        several("/bff", files),
        several("/sign-in", api),
        several("/sign-in", &format!("{api}{own}")),
        several("/sign-in", files),
        several("/bffs", files),
    ];
    assert_snapshot!(said.join("\n"), @r#"
    bff.toml:1:23: choose_provider_url is below /bff, where the endpoints of bff are: whoever is to choose would go round in circles; write the path of a page of the app, as in "/sign-in"
    bff.toml:1:23: choose_provider_url is below /bff, where the endpoints of bff are: whoever is to choose would go round in circles; write the path of a page of the app, as in "/sign-in"
    bff.toml:1:23: choose_provider_url is below /bff, where the endpoints of bff are: whoever is to choose would go round in circles; write the path of a page of the app, as in "/sign-in"
    bff.toml:1:23: choose_provider_url is at the route /, which nobody opens without a session: whoever is to choose would go round in circles; give the page a [[route]] of its own with auth = "none", or write another page
    "#);
}

/// §7: a host has one form, whoever writes it.
#[test]
fn a_dot_at_the_end_of_a_host_makes_no_other() {
    let main = GROUND.replace(
        "sites =",
        "public_url = \"https://app.example.com\"\nsites =",
    );
    let main = format!(
        "{main}[[route]]\npath = \"/x\"\nupstream = \"http://x.internal\"\nauth = \"none\"\nhost = \"Bücher.example.\"\n"
    );
    let main = main.replace("[frontend]\nupstream = \"http://localhost:5173\"\n", "");
    let other = "public_url = \"https://xn--bcher-kva.example\"\n[[route]]\npath = \"/\"\nupstream = \"http://y.internal\"";
    let files = Files::new(&main, &[("other.toml", other)]);
    let dotted = Files::new(
        GROUND,
        &[("shop.toml", "public_url = \"https://shop.example.com.\"")],
    );
    assert_snapshot!(format!("{}\n{}", files.faults(), dotted.faults()), @r#"
    bff.toml:21:8: route.host is the host of the site in sites/other.toml; move the route there, or write another host
    sites/shop.toml:1:14: public_url has a dot at the end of its host, which makes another origin of it: "https://shop.example.com."; write the host as people do: shop.example.com
    "#);
}
