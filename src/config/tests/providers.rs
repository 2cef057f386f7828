//! Several providers at one site: what each inherits, which addresses it has, and what is refused.

use super::files::Files;
use super::sites::shop;
use super::*;

/// Two of them, on what they share.
const SEVERAL: &str = r#"
[server]
listen = "127.0.0.1:8443"
public_url = "https://app.example.com"
[provider]
scopes = ["openid"]
client_secret = "env:SECRET"
[providers.corp]
issuer = "https://id.example.com"
client_id = "app"
client_secret = "env:SHORT"
label = "Staff"
logo = "/logos/corp.svg?2"
[providers.social]
issuer = "https://social.example.com"
client_id = "app"
client_secret = "env:SECRET"
[session]
keys = ["env:KEY"]
[frontend]
upstream = "http://localhost:5173"
"#;

/// What is wrong with those two where `from` is `to`.
fn faults(from: &str, to: &str) -> String {
    assert!(SEVERAL.contains(from), "{from}");
    serve(&SEVERAL.replace(from, to)).unwrap_err().to_string()
}

/// The default first, then as written; each with where the provider sends the browser back.
fn callbacks(site: &SiteConfig) -> Vec<(&str, &str)> {
    let own = (&site.auth, &site.provider);
    let others = site.others.iter().map(|at| (&at.auth, &at.provider));
    std::iter::once(own)
        .chain(others)
        .map(|(auth, provider)| {
            let name = auth.name.as_deref().unwrap_or_default();
            (name, provider.redirect_uri.path())
        })
        .collect()
}

/// §7: each inherits what they share, and has addresses of its own; the default has those of one provider.
#[test]
fn each_has_what_they_share_and_addresses_of_its_own() {
    let (config, warnings) = serve(SEVERAL).unwrap();
    assert_eq!(warnings.to_string(), "");
    let site = &config.sites[0];
    assert_eq!(
        callbacks(site),
        [
            ("corp", "/bff/callback/corp"),
            ("social", "/bff/callback/social")
        ]
    );
    let scopes = Some(vec!["openid".to_owned()]);
    assert_eq!(site.provider.scopes, scopes);
    assert_eq!(site.others[0].provider.scopes, scopes);
    let [corp, social] = &site.auth.choices.all[..] else {
        panic!("two choices");
    };
    assert_eq!((&*corp.label, &*social.label), ("Staff", "social"));
    assert_eq!(corp.logo.as_deref(), Some("/logos/corp.svg?2"));

    let (config, _) = serve(&format!("default_provider = \"social\"\n{SEVERAL}")).unwrap();
    assert_eq!(
        callbacks(&config.sites[0]),
        [("social", "/bff/callback"), ("corp", "/bff/callback/corp")]
    );
}

/// §7, N3: a fault names the key where it stands, and what several inherit is told once.
#[test]
fn what_is_wrong_names_its_own_table() {
    let said = [
        ("issuer = \"https://id.example.com\"\n", ""),
        (
            "\"https://social.example.com\"",
            "\"http://social.example.com\"",
        ),
        ("client_secret = \"env:SECRET\"\n[session]", "[session]"),
        (
            "scopes = [\"openid\"]",
            "scopes = [\"openid\"]\nclock_skew = \"10m\"",
        ),
        ("[providers.social]", "[providers.\"so cial\"]"),
        (
            "\"https://social.example.com\"",
            "\"https://id.example.com\"",
        ),
        (
            "\"/logos/corp.svg?2\"",
            "\"https://elsewhere.example/a.svg\"",
        ),
        ("[server]", "default_provider = \"none\"\n[server]"),
        (
            "[server]",
            "choose_provider_url = \"https://elsewhere.example\"\n[server]",
        ),
        ("label =", "lable ="),
    ]
    .map(|(from, to)| faults(from, to));
    assert_snapshot!(said.join("\n"), @r#"
    bff.toml:8:12: providers.corp.issuer is missing; write issuer = "https://id.example.com", as the provider's metadata says it
    bff.toml:15:10: providers.social.issuer is http, so that anyone on the way can sign in as anyone: "http://social.example.com"; write "https://social.example.com"; where this is bff's own name for the provider, write the browsers' as issuer and this one as providers.social.internal_url
    bff.toml:14:12: providers.social.client_secret is missing: that of [provider] is for its own issuer and is not inherited; write one of this provider's own, as in client_secret = "env:SOCIAL_SECRET"
    bff.toml:7:14: providers.corp.clock_skew would accept tokens that ended long ago; write "5m" or less, and set the clocks
    bff.toml:14:12: providers.so cial is no name that an address can hold; write up to 32 letters, digits, - and _, as in [providers.google]
    bff.toml:14:12: providers.social is the same client at the same issuer as another; write one of them, with login_params for what differs
    bff.toml:13:8: providers.corp.logo is not on this site: "https://elsewhere.example/a.svg"; write a path, as in "/logos/corp.svg"
    bff.toml:2:20: default_provider names no provider: "none"; write the NAME of one of [providers.NAME], or leave it out to have people choose
    bff.toml:2:23: choose_provider_url is not on this site: "https://elsewhere.example"; write a path, as in "/sign-in"
    bff.toml:12:1: providers.corp.lable is not a key of [providers.corp]; write label instead
    "#);
}

/// Keys of a choice where there is none change nothing, and say so.
#[test]
fn a_choice_that_nobody_has_is_warned_of() {
    let (_, warnings) = serve(&format!(
        "default_provider = \"app\"\nchoose_provider_url = \"/sign-in\"\n{}",
        file_with("frontend", "upstream = \"http://localhost:5173\"")
    ))
    .unwrap();
    let default = format!("default_provider = \"corp\"\nchoose_provider_url = \"/a\"\n{SEVERAL}");
    let (_, both) = serve(&default).unwrap();
    assert_snapshot!(format!("{warnings}\n{both}"), @r"
    bff.toml:1:20: default_provider changes nothing, since there is one provider; write [providers.NAME] for each of several, or leave it out
    bff.toml:2:23: choose_provider_url changes nothing, since there is one provider; write [providers.NAME] for each of several, or leave it out
    bff.toml:2:23: choose_provider_url is never shown, since default_provider is chosen; leave one of the two out
    ");
}

/// §7: a site inherits the providers of bff.toml, picks some of them by naming them, or has one of its own.
#[test]
fn a_site_inherits_providers_or_has_its_own() {
    let several = SEVERAL.replace(
        "public_url = \"https://app.example.com\"",
        "sites = \"sites\"",
    );
    let several = format!("default_provider = \"corp\"\n{several}");
    let issuer = "issuer = \"https://other.example.com\"\nclient_id = \"shop\"\nclient_secret = \"env:SECRET\"";
    let names = |own: &str| {
        let files = Files::new(&several, &[("shop.toml", &shop(own))]);
        let config = files.fine();
        let site = &config.sites[0];
        let names = callbacks(site).into_iter().map(|(name, _)| name.to_owned());
        (names.collect::<Vec<_>>(), site.provider.issuer.clone())
    };
    let id = "https://id.example.com".to_owned();
    for (own, expected) in [
        ("", (vec!["corp", "social"], id.clone())),
        ("[providers.corp]\nlabel = \"Us\"", (vec!["corp"], id)),
        (
            &*format!("[provider]\n{issuer}"),
            (vec![""], "https://other.example.com".to_owned()),
        ),
        (
            &*format!("[providers.own]\n{issuer}\n[providers.corp]"),
            (vec!["own", "corp"], "https://other.example.com".to_owned()),
        ),
    ] {
        let (expected, at) = expected;
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(names(own), (expected, at), "{own}");
    }
    // No secret goes to an issuer that it was not written for.
    let other = "[providers.corp]\nissuer = \"https://other.example.com\"";
    let files = Files::new(&several, &[("shop.toml", &shop(other))]);
    assert!(
        files
            .faults()
            .contains("providers.corp.client_secret is missing")
    );
}
