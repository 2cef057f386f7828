//! Tenants: who they are, where they are found, and what may be filled in where.

use tokio::time::Instant;

use super::files::{Files, certificate};
use super::*;

/// A ground for sites to stand on.
const GROUND: &str = r#"
[server]
sites = "sites"
[session]
keys = ["env:KEY"]
[frontend]
upstream = "http://localhost:5173"
"#;

/// A site of tenants that uses every place.
const SHOP: &str = r#"
public_url = "https://{tenant}.shop.example.com/app"
no_tenant = "https://shop.example.com/choose"
tenants_file = "tenants.toml"
[provider]
issuer = "https://id.example.com/realms/{tenant}"
internal_url = "https://{tenant}.id.internal/x"
client_id = "shop-{tenant}"
client_secret = "env:SECRET_{key}"
authorize_params = { kc_idp_hint = "{idp}", claims = '{"id_token": {"acr": null}, "x": "{idp}"}' }
logout_params = { tenant = "{tenant}" }
scopes = ["openid", "{tenant}:{scope}"]
endpoints = { end_session = "https://id.example.com/{tenant}/out?x=1" }
[[route]]
path = "/api"
upstream = ["http://{tenant}-1.internal:9000", "http://10.0.0.1/{tenant}/"]
request_headers = { set = { X-Tenant = "{tenant} {idp}" } }
"#;

const ACME: &str = "idp = \"acme-saml\"\nkey = \"A\"\nscope = 7\n";

fn shop(tenants: &str) -> Files {
    site(SHOP, tenants)
}

fn site(text: &str, tenants: &str) -> Files {
    Files::new(GROUND, &[("shop.toml", text)]).with("sites/tenants.toml", tenants)
}

fn with_secrets(files: &Files) -> Result<(Config, Warnings), ConfigErrors> {
    files.load_with(&[("SECRET_A", "one"), ("SECRET_B", "two")])
}

fn said(files: &Files) -> String {
    match with_secrets(files) {
        Ok((_, warnings)) => files.plain(&warnings.to_string()),
        Err(errors) => files.plain(&errors.to_string()),
    }
}

fn fine(files: &Files) -> Config {
    match with_secrets(files) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{}", files.plain(&errors.to_string())),
    }
}

fn site_of(config: &Config, name: &str) -> SiteConfig {
    let tenanted = &config.tenanted[0];
    let tenant = tenanted.tenants.iter().find(|tenant| &*tenant.name == name);
    let site = tenanted.template.site_of(tenant.unwrap());
    site.unwrap_or_else(|errors| panic!("{errors}"))
}

/// §7: a tenant has each of several providers, with its values filled in, at addresses of its own.
#[test]
fn each_tenant_has_all_of_several_providers() {
    let several = r#"
public_url = "https://{tenant}.shop.example.com"
default_provider = "own"
tenants_file = "tenants.toml"
[provider]
client_id = "shop-{tenant}"
[providers.own]
issuer = "https://id.example.com/realms/{tenant}"
client_secret = "env:SECRET_{key}"
[providers.social]
issuer = "https://social.example.com"
client_secret = "env:SECRET"
"#;
    let config = fine(&site(several, &format!("[acme]\n{ACME}")));
    let acme = site_of(&config, "acme");
    let social = &acme.others[0];
    assert_eq!(acme.provider.issuer, "https://id.example.com/realms/acme");
    assert_eq!(social.provider.issuer, "https://social.example.com");
    for provider in [&acme.provider, &social.provider] {
        assert_eq!(provider.client_id, "shop-acme");
    }
    let callbacks = [&acme.provider, &social.provider].map(|at| at.redirect_uri.as_str());
    assert_eq!(
        callbacks,
        [
            "https://acme.shop.example.com/bff/callback",
            "https://acme.shop.example.com/bff/callback/social"
        ]
    );
}

/// §7: what a tenant's site says is the site's file with the tenant's values filled in, everywhere.
#[test]
fn a_tenants_site_is_filled_with_its_values() {
    let globex = "host = \"Portal.Bücher.example\"\nidp = \"g\"\nkey = \"B\"\nscope = \"r w\"\n"
        .replace("r w", "rw");
    let files = shop(&format!("[globex]\n{globex}[acme]\n{ACME}"));
    let config = fine(&files);
    assert!(config.sites.is_empty());
    let tenanted = &config.tenanted[0];
    let known = tenanted.tenants.iter();
    let known: Vec<(&str, &str)> = known.map(|known| (&*known.name, &*known.host)).collect();
    assert_eq!(
        known,
        [
            ("acme", "acme.shop.example.com"),
            ("globex", "portal.xn--bcher-kva.example")
        ]
    );
    assert_eq!(tenanted.address(), "https://{tenant}.shop.example.com/app");
    assert_eq!(tenanted.face.id.as_str(), "shop");
    assert_eq!(
        tenanted.no_tenant.as_ref().unwrap().as_str(),
        "https://shop.example.com/choose"
    );
    let acme = site_of(&config, "acme");
    assert_eq!(acme.id.as_str(), "shop/acme");
    assert_eq!(
        acme.auth.public_url.as_str(),
        "https://acme.shop.example.com/"
    );
    assert_eq!(acme.auth.mount, "/app");
    let provider = &acme.provider;
    assert_eq!(provider.issuer, "https://id.example.com/realms/acme");
    assert_eq!(provider.client_id, "shop-acme");
    assert_eq!(
        provider.redirect_uri.as_str(),
        "https://acme.shop.example.com/app/bff/callback"
    );
    let internal = provider.internal.as_ref().unwrap().url().to_string();
    assert_eq!(internal, "https://acme.id.internal/x");
    let fixed = provider.authorize_params.iter();
    let fixed: Vec<(&str, &str)> = fixed.map(|(name, value)| (&**name, &**value)).collect();
    let claims = r#"{"id_token": {"acr": null}, "x": "acme-saml"}"#;
    assert_eq!(fixed, [("kc_idp_hint", "acme-saml"), ("claims", claims)]);
    assert_eq!(
        provider.logout.params,
        [("tenant".to_owned(), "acme".to_owned())]
    );
    assert_eq!(provider.scopes.as_ref().unwrap(), &["openid", "acme:7"]);
    assert_eq!(
        provider.endpoints[0].1.as_str(),
        "https://id.example.com/acme/out?x=1"
    );
    let upstreams = acme.routes[0].upstreams.iter().map(url::Url::as_str);
    let upstreams: Vec<&str> = upstreams.collect();
    assert_eq!(
        upstreams,
        ["http://acme-1.internal:9000/", "http://10.0.0.1/acme/"]
    );
    let (name, value) = &acme.routes[0].request_headers.set[0];
    assert_eq!(
        (name.as_str(), value.to_str().unwrap()),
        ("x-tenant", "acme acme-saml")
    );
    let globex = site_of(&config, "globex");
    assert_eq!(
        globex.auth.public_url.as_str(),
        "https://portal.xn--bcher-kva.example/"
    );
    assert_ne!(globex.provider_print, acme.provider_print);
    assert_eq!(site_of(&config, "acme").provider_print, acme.provider_print);
    assert_eq!(acme.session.cookie.name, tenanted.face.session.cookie.name);
}

/// A provider beside which one key is tried.
fn provider(key: &str, value: &str) -> String {
    let keys = [
        ("issuer", "\"https://id.example.com\""),
        ("client_id", "\"app\""),
        ("client_secret", "\"env:SECRET\""),
    ];
    let kept = keys
        .iter()
        .filter(|(other, _)| *other != key && (key != "client_key" || *other != "client_secret"));
    let kept: Vec<String> = kept
        .map(|(key, value)| {
            format!(
                "{key} = {value}
"
            )
        })
        .collect();
    let kept = kept.concat();
    format!("[provider]\n{kept}{key} = {value}\n")
}

/// A site of one route, and a line of its tenant.
fn route(line: &str) -> String {
    format!(
        "{}[[route]]\npath = \"/api\"\n{line}\n",
        provider("client_id", "\"app\"")
    )
}

const AT: &str =
    "public_url = \"https://{tenant}.shop.example.com\"\ntenants_file = \"tenants.toml\"\n";

fn said_of(rest: &str, tenants: &str) -> String {
    let files = site(&format!("{AT}{rest}"), tenants);
    let said = said(&files);
    assert!(!said.contains("of_nobody"), "{said}");
    said
}

/// §7: what a tenant fills in leaves each place what it is; else its line is told of, once.
#[test]
fn values_are_held_against_their_places() {
    let upstream = |url: &str| route(&format!("upstream = \"{url}\""));
    let header = "upstream = \"http://x\"\nrequest_headers = { set = { X-T = \"{x}\" } }";
    let form = "an address of another form; write a value with which scheme, kind of host, port and number of segments stay the same";
    let word = "an address; write letters, digits, - and _ alone";
    let secret = |value: &str| provider("client_secret", &format!("\"{value}\""));
    let named = "may not stand in provider.client_secret, which names where a secret is; write letters, digits, - and _ alone";
    let own = "would name where provider.client_secret is, which only the site may; write provider.client_secret = \"env:{…}\" or \"file:{…}\" for all tenants, and a part of the name here";
    let long = format!("\"{}\"", "x".repeat(201));
    let cases: Vec<(String, &str, &str)> = vec![
        // Addresses.
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"a/b\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"..\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"a?b\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"a#b\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"%2f\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"a\\\\b\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\"ü\"",
            word,
        ),
        (
            provider("issuer", "\"https://id.example.com/{x}\""),
            "\" a\"",
            word,
        ),
        (
            provider("issuer", "\"https://{x}.example.com\""),
            "\"evil.test/\"",
            word,
        ),
        (
            provider("issuer", "\"https://{x}.example.com\""),
            "\"u@evil\"",
            word,
        ),
        (
            provider("issuer", "\"https://{x}.example.com\""),
            "\"a:1\"",
            word,
        ),
        (
            provider("issuer", "\"https://{x}.example.com\""),
            "\"a.b\"",
            word,
        ),
        (
            provider("issuer", "\"https://{x}\""),
            "\"2130706433\"",
            form,
        ),
        (
            provider("issuer", "\"https://{x}\""),
            "\"0x7f000001\"",
            form,
        ),
        (provider("issuer", "\"https://{x}\""), "17", form),
        (provider("issuer", "\"https://{x}\""), "\"localhost\"", form),
        (
            provider("issuer", "\"https://{x}.example.com\""),
            "\"xn--a\"",
            form,
        ),
        (
            provider("internal_url", "\"https://{x}.internal\""),
            "\"a.b\"",
            word,
        ),
        (
            provider("endpoints.token", "\"https://id.example.com/{x}\""),
            "\"a/b\"",
            word,
        ),
        (
            provider("endpoints.userinfo", "\"https://{x}/u\""),
            "\"127\"",
            form,
        ),
        (upstream("http://{x}:9000"), "\"a:1\"", word),
        (upstream("http://{x}:9000"), "\"127\"", form),
        (upstream("http://127.0.0.{x}"), "\"1\"", form),
        (upstream("http://a.{x}"), "\"localhost\"", form),
        (upstream("unix:/run/{x}.sock"), "\"../admin\"", word),
        // Secrets.
        (secret("env:SECRET_{x}"), "\"B C\"", named),
        (secret("env:SECRET_{x}"), "\"ü\"", named),
        (secret("file:s/{x}"), "\"../SECRET\"", named),
        (secret("file:s/{x}"), "\"/etc/passwd\"", named),
        (secret("{x}"), "\"env:KEY\"", own),
        (secret("{x}"), "\"file:../bff.toml\"", own),
        (secret("e{x}"), "\"nv:KEY\"", own),
        (secret("fi{x}:/etc/passwd"), "\"le\"", own),
        (
            secret("a{x}"),
            "\"a\\u0000\"",
            "holds a control character, and is a part of provider.client_secret",
        ),
        (
            secret("env:SECRET_{x}"),
            "\"C\"",
            "has no provider.client_secret: it is to come from the variable SECRET_C, which is not set; set SECRET_C for this process",
        ),
        (
            secret("file:none/{x}"),
            "\"C\"",
            "has no provider.client_secret: it is to come from sites/none/C, which can't be read",
        ),
        (
            provider("client_key", "\"env:SECRET_{x}\""),
            "\"A\"",
            "has a provider.client_key that cannot sign",
        ),
        // What the provider is sent.
        (
            provider("client_id", "\"{x}\""),
            &long,
            "makes text of provider.client_id that no provider is sent: longer than 200 characters, or with a control character; write a shorter, plain one",
        ),
        (
            provider("client_id", "\"{x}\""),
            "\"a\\nb\"",
            "makes text of provider.client_id",
        ),
        (
            provider("authorize_params", "{ p = \"{x}\" }"),
            "\"\\u0007\"",
            "makes text of provider.authorize_params.p",
        ),
        (
            provider("logout_params", "{ p = \"{x}\" }"),
            "\"a\\rb\"",
            "makes text of provider.logout_params.p",
        ),
        (
            provider("scopes", "[\"openid\", \"a:{x}\"]"),
            "\"b admin\"",
            "is \"b admin\", which may not stand in provider.scopes; write one scope without blanks, quotes and backslashes",
        ),
        (
            provider("scopes", "[\"openid\", \"a:{x}\"]"),
            "'b\"'",
            "may not stand in provider.scopes",
        ),
        (
            provider("scopes", "[\"openid\", \"a:{x}\"]"),
            "\"ü\"",
            "may not stand in provider.scopes",
        ),
        // Headers.
        (
            route(header),
            "\"a\\r\\nX-Admin: 1\"",
            "fills route.request_headers.set.X-T, which then holds a character that no header may; write visible characters and blanks on one line",
        ),
        (
            route(header),
            "\"a\\tb\"",
            "fills route.request_headers.set.X-T, which then holds a character",
        ),
        // Whatever the place.
        (
            route(header),
            "true",
            "is true or false where text belongs; write x = ",
        ),
        (route(header), "\"\"", "is empty"),
        (route(header), "[\"a\"]", "is a list where text belongs"),
    ];
    for (rest, value, says) in cases {
        let said = said_of(&rest, &format!("[acme]\nx = {value}\n"));
        let errors: Vec<&str> = said.lines().collect();
        assert_eq!(errors.len(), 1, "{rest} {value}: {said}");
        assert!(
            said.starts_with("sites/tenants.toml:2:5: acme.x "),
            "{rest} {value}: {said}"
        );
        assert!(said.contains(says), "{rest} {value}: {said}");
    }
}

/// §7: a tenant's name is held against each place, as its variables are.
#[test]
fn names_are_held_against_their_places() {
    for (rest, name, says) in [
        (
            provider("issuer", "\"https://{tenant}\""),
            "127",
            "\"127\" makes \"https://127\" of provider.issuer, an address of another form",
        ),
        (
            route("upstream = \"http://10.0.0.{tenant}\""),
            "7",
            "makes \"http://10.0.0.7\" of route.upstream",
        ),
        (
            provider("client_secret", "\"env:SECRET_{tenant}\""),
            "c",
            "has no provider.client_secret: it is to come from the variable SECRET_c",
        ),
    ] {
        let said = said_of(&rest, &format!("[{name}]\n"));
        assert_eq!(said.lines().count(), 1, "{said}");
        let says = says.replace(&format!("\"{name}\" "), "");
        assert!(
            said.starts_with(&format!("sites/tenants.toml:1:2: {name} ")) && said.contains(&says),
            "{said}"
        );
    }
}

/// What a provider is sent is none of the process's own secrets, whoever names it and by whichever name.
#[test]
fn no_provider_is_sent_a_secret_of_the_process() {
    let key = variables()["KEY"].clone();
    let plain = format!(
        "{AT}{}",
        provider("client_secret", "\"env:SECRET_{tenant}\"")
    );
    let alone = format!(
        "public_url = \"https://a.example.com\"\n{}",
        provider("client_secret", "\"file:../key\"")
    );
    for (files, says) in [
        (
            site(&plain, "acme = {}"),
            "acme has a provider.client_secret that session.keys says as well, and its provider would be sent it; name the secret that this tenant's provider gave",
        ),
        (
            Files::new(GROUND, &[("shop.toml", &alone)]),
            "provider.client_secret is what session.keys says as well, and the provider is sent it; write the secret that this provider gave you",
        ),
    ] {
        let files = files.with("key", &key);
        let told = files.load_with(&[("SECRET_acme", &key)]);
        let told = files.plain(&told.unwrap_err().to_string());
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.ends_with(says), "{told}");
    }
}

/// §7: what stands for everybody may stand there, and what does not is told of the site's line, as it
/// is written.
#[test]
fn placeholders_stand_where_they_may() {
    let tenants = "[acme]\nidp = \"a\"\n";
    let used = "authorize_params = { p = \"{idp}\" }\n";
    let cases: Vec<(String, &str)> = vec![
        (
            provider("issuer", "\"{tenant}://id.example.com\""),
            "provider.issuer is not an http or https address: \"{tenant}://id.example.com\"",
        ),
        (
            provider("issuer", "\"https://id.example.com:{tenant}\""),
            "provider.issuer is not an http or https address: \"https://id.example.com:{tenant}\"",
        ),
        (
            provider("issuer", "\"https://{tenant}@id.example.com\""),
            "provider.issuer holds a user name or password",
        ),
        (
            provider("issuer", "\"https://id.example.com?x={tenant}\""),
            "provider.issuer has a query or a fragment: \"https://id.example.com?x={tenant}\"",
        ),
        (
            provider("issuer", "\"https://id.example.com/%2{tenant}\""),
            "provider.issuer has {tenant} in what a percent sign begins; write placeholders as labels of the host or as segments of the path",
        ),
        (
            provider("issuer", "\"http://{tenant}.example.com\""),
            "provider.issuer is http, so that anyone on the way can sign in as anyone: \"http://{tenant}.example.com\"; write \"https://{tenant}.example.com\"",
        ),
        (
            provider("client_secret", "\"env:{idp}\""),
            "provider.client_secret lets a tenant name any secret of this process: \"env:{idp}\"; write a part of the name that is the same for all, as in \"env:SECRET_{tenant}\" or \"file:secrets/{tenant}\"",
        ),
        (
            provider("client_key", "\"file:{tenant}{idp}\""),
            "provider.client_key lets a tenant name any secret of this process: \"file:{tenant}{idp}\"",
        ),
        (
            provider(
                "endpoints.end_session",
                "\"https://id.example.com/out?x={tenant}\"",
            ),
            "provider.endpoints.end_session has {tenant} beside host and path",
        ),
        (
            provider(
                "endpoints.end_session",
                "\"https://id.example.com/out#{tenant}\"",
            ),
            "provider.endpoints.end_session has {tenant} beside host and path",
        ),
        (
            provider(
                "endpoints.end_session",
                "\"https://u:{tenant}@id.example.com/out\"",
            ),
            "provider.endpoints.end_session has {tenant} beside host and path",
        ),
        (
            provider(
                "endpoints.end_session",
                "\"http://{tenant}.example.com/out\"",
            ),
            "provider.endpoints.end_session is not an https address",
        ),
        (
            provider("authorize_params", "{ p = \"{idq}\" }"),
            "provider.authorize_params.p holds {idq}, and no tenant has such a variable; write {idp}",
        ),
        (
            provider("authorize_params", "{ p = \"{colour}\" }"),
            "provider.authorize_params.p holds {colour}, and no tenant has such a variable; write colour = \"…\" for each tenant, or leave it out",
        ),
        (
            provider("ca", "\"{tenant}.pem\""),
            "provider.ca holds {tenant}, and no variable may stand here; write what is the same for all tenants; docs/sites.md says where variables may stand",
        ),
        (
            provider("trusted_audiences", "[\"{tenant}\"]"),
            "provider.trusted_audiences holds {tenant}, and",
        ),
        (
            provider("proxy", "\"http://{tenant}:1\""),
            "provider.proxy holds {tenant}, and",
        ),
        (
            provider("authorize_params", "{ \"{tenant}\" = \"a\" }"),
            "provider.authorize_params.{tenant} holds {tenant}, and",
        ),
        (
            format!(
                "{}[session.cookie]\nname = \"{{idp}}\"\n",
                provider("client_id", "\"a\"")
            ),
            "session.cookie.name holds {idp}, and",
        ),
        (
            format!(
                "{}[frontend]\ndir = \"{{tenant}}/dist\"\n",
                provider("client_id", "\"a\"")
            ),
            "frontend.dir holds {tenant}, and",
        ),
        (
            format!(
                "no_tenant = \"https://x.example/{{tenant}}\"\n{}",
                provider("client_id", "\"a\"")
            ),
            "no_tenant holds {tenant}, and",
        ),
        (
            route("upstream = \"http://x\"\nrewrite = \"/{tenant}\""),
            "route.rewrite holds {tenant}, and",
        ),
        (
            route("upstream = \"http://x\"\nresponse_headers = { set = { X-T = \"{tenant}\" } }"),
            "route.response_headers.set.X-T holds {tenant}, and",
        ),
        (
            route("upstream = \"http://x\"\nauth = \"none\"\nhost = \"docs.example.com\""),
            "route.host is one host for all tenants, so that nobody knows whose calls come there; make it a site of its own (server.sites), or leave it out",
        ),
    ];
    for (rest, says) in cases {
        let is_used = rest.contains("{idp}") || rest.contains("{idq}");
        let rest = if is_used {
            rest
        } else {
            rest.replacen("[provider]\n", &format!("[provider]\n{used}"), 1)
        };
        let rest = if rest.matches("authorize_params").count() > 1 {
            rest.replacen(used, "logout_params = { p = \"{idp}\" }\n", 1)
        } else {
            rest
        };
        let said = said_of(&rest, tenants);
        let said: Vec<&str> = said.lines().filter(|line| line.contains(says)).collect();
        assert_eq!(said.len(), 1, "{rest}: {:?}", said_of(&rest, tenants));
        assert!(said[0].starts_with("sites/shop.toml:"), "{said:?}");
    }
}

/// A site without `{tenant}` in its `public_url` reads braces as it ever did.
#[test]
fn braces_are_text_in_other_sites() {
    let own = "public_url = \"https://shop.example.com\"\n".to_owned()
        + &provider("authorize_params", "{ p = \"{tenant} {idp}\" }");
    let config = Files::new(GROUND, &[("shop.toml", &own)]).fine();
    assert!(config.tenanted.is_empty());
    let params = &config.sites[0].provider.authorize_params;
    assert_eq!(params, &[("p".to_owned(), "{tenant} {idp}".to_owned())]);
}

/// §7: the name is one label of the host, or a part of one.
#[test]
fn a_pattern_is_a_host() {
    for (url, address) in [
        (
            "https://{tenant}.example.com",
            "https://{tenant}.example.com",
        ),
        (
            "https://App-{tenant}.Bücher.example:8443/x/",
            "https://app-{tenant}.xn--bcher-kva.example:8443/x",
        ),
        (
            "https://a.{tenant}.example.com",
            "https://a.{tenant}.example.com",
        ),
        (
            "http://{tenant}.localhost:8080",
            "http://{tenant}.localhost:8080",
        ),
    ] {
        let text = format!("public_url = \"{url}\"\n{}", provider("client_id", "\"a\""));
        let config = Files::new(GROUND, &[("shop.toml", &text)]).fine();
        assert_eq!(config.tenanted[0].address(), address);
    }
    for (url, says) in [
        (
            "https://{tenant}.{tenant}.example",
            "public_url has {tenant} in it twice: \"https://{tenant}.{tenant}.example\"; write it once, in the host, as in \"https://{tenant}.app.example.com\"",
        ),
        (
            "https://{tenant}.example/{tenant}",
            "public_url has {tenant} in it twice",
        ),
        (
            "https://app.example/{tenant}",
            "public_url has {tenant} where no host's name is",
        ),
        (
            "https://ü{tenant}.example",
            "public_url has {tenant} beside letters that DNS has not: \"https://ü{tenant}.example\"; write it once",
        ),
        (
            "https://{tenant}@app.example",
            "public_url holds a user name or password",
        ),
        (
            "https://app.example:{tenant}",
            "public_url is not an http or https address: \"https://app.example:{tenant}\"",
        ),
        (
            "{tenant}://app.example",
            "public_url is not an http or https address: \"{tenant}://app.example\"",
        ),
        (
            "http://{tenant}.example.com",
            "public_url is http, so that anyone on the way can take over sessions; write \"https://{tenant}.example.com\"",
        ),
        (
            "https://{tenant}.{idp}.example",
            "public_url has braces in its host: \"https://{tenant}.{idp}.example\"; write {tenant} alone in it, or none",
        ),
        (
            "https://{tenent}.example",
            "public_url has braces in its host",
        ),
    ] {
        let text = format!("public_url = \"{url}\"\n{}", provider("client_id", "\"a\""));
        let files = Files::new(GROUND, &[("shop.toml", &text)]);
        let said = files.faults();
        assert_eq!(said.lines().count(), 1, "{url}: {said}");
        assert!(
            said.starts_with("sites/shop.toml:1:14: ") && said.contains(says),
            "{url}: {said}"
        );
        assert!(!said.contains("of_nobody"), "{said}");
    }
}

/// §7: faults of tenants are told at their lines, in the file that they stand in.
#[test]
fn who_is_no_tenant_is_told_of() {
    let rest = provider("authorize_params", "{ p = \"{idp}\", q = \"{tenant}\" }")
        + "[tenants]\nacme = { idp = \"a\" }\n";
    let tenants = r#"
acme = { idp = "b" }
Acme = { idp = "b" }
a_b = { idp = "b" }
-a = { idp = "b" }
"a.b" = { idp = "b" }
lacking = {}
own = { idp = "b", host = "https://x.example" }
address = { idp = "b", host = "127.0.0.1" }
port = { idp = "b", host = "x.example:1" }
named = { idp = "b", host = "acme.shop.example.com" }
twice = { idp = "b", host = "x.example" }
again = { idp = "b", host = "X.example." }
local = { idp = "b", host = "x.localhost" }
none = "b"
mixed = { idp = "b", tenant = "x", Idp = "c", idq = "unused" }
"#;
    assert_snapshot!(said_of(&rest, tenants), @r#"
    sites/tenants.toml:2:1: acme is a tenant of sites/shop.toml:9:1 too; leave one of the two out
    sites/tenants.toml:3:1: Acme is no name for a tenant: "Acme"; write up to 63 lower-case letters, digits and - between them, as in acme
    sites/tenants.toml:4:1: a_b is no name for a tenant: "a_b"; write up to 63 lower-case letters, digits and - between them, as in acme
    sites/tenants.toml:5:1: -a is no name for a tenant: "-a"; write up to 63 lower-case letters, digits and - between them, as in acme
    sites/tenants.toml:6:1: a.b is no name for a tenant: "a.b"; write up to 63 lower-case letters, digits and - between them, as in acme
    sites/tenants.toml:7:1: lacking lacks idp, which provider.authorize_params.p holds; write idp = "…" there
    sites/tenants.toml:8:27: own.host is no domain: "https://x.example"; write a host's name alone, without scheme, port or path, such as "portal.example.com"
    sites/tenants.toml:9:31: address.host is no domain: "127.0.0.1"; write a host's name alone, without scheme, port or path, such as "portal.example.com"
    sites/tenants.toml:10:28: port.host is no domain: "x.example:1"; write a host's name alone, without scheme, port or path, such as "portal.example.com"
    sites/tenants.toml:11:29: named.host is "acme.shop.example.com", which is of {tenant}.shop.example.com, and so the tenant's of that name; leave it out, and name the tenant so
    sites/tenants.toml:13:1: again.host is where the tenant twice (sites/tenants.toml:12:1) is too: x.example; write another host
    sites/tenants.toml:14:29: local.host is "x.localhost", and only one of it and public_url is on this machine; write a host as public_url is one
    sites/tenants.toml:15:8: none is text where a table belongs; write [none] and its variables, or none = {} for none
    sites/tenants.toml:16:22: mixed.tenant is the tenant's own name, and no variable; leave it out, or give the variable another name
    sites/tenants.toml:16:36: mixed.Idp is no name for a variable: "Idp"; write lower-case letters, digits and _, a letter first, as in idp
    "#);
    let said = said_of(&rest, "acme = [\n");
    assert_snapshot!(said, @r#"sites/tenants.toml:1:9: is not TOML here: unclosed array, expected `]`; write key = "value" lines under a [table] line"#);
    let nowhere = Files::new(GROUND, &[("shop.toml", &format!("{AT}{rest}"))]);
    assert_snapshot!(nowhere.faults(), @"sites/shop.toml:2:16: tenants_file names sites/tenants.toml, which can't be read (No such file or directory (os error 2)); write the path of a TOML file with a table for each tenant");
}

/// Nobody reads ten thousand lines of one fault.
#[test]
fn a_fault_of_many_tenants_is_told_of_some() {
    let tenants: Vec<String> = (0..1_000)
        .map(|number| format!("t{number} = {{ x = \"a.b\" }}\n"))
        .collect();
    let said = said_of(
        &provider("issuer", "\"https://id.example.com/{x}\""),
        &tenants.concat(),
    );
    assert_eq!(said.lines().count(), 11);
    assert_snapshot!(said.lines().last().unwrap(), @"sites/tenants.toml:11:13: and 990 more like the 10 before; mend those, and look again");
}

/// §7: what is used nowhere is told once, and a site may wait for its tenants.
#[test]
fn what_is_unwise_of_tenants_is_warned_of() {
    let plain = provider("client_id", "\"app\"");
    assert_snapshot!(said_of(&plain, "a = { idp = \"x\" }\nb = { idp = \"x\", hue = 1 }\n"), @r#"
    sites/tenants.toml:1:13: a.idp is a variable that is used nowhere: no key of the site holds {idp}; use it, or leave it out for all tenants
    sites/tenants.toml:2:24: b.hue is a variable that is used nowhere: no key of the site holds {hue}; use it, or leave it out for all tenants
    "#);
    let alone = Files::new(
        GROUND,
        &[(
            "shop.toml",
            &format!("public_url = \"https://{{tenant}}.shop.example.com\"\n{plain}"),
        )],
    );
    assert_snapshot!(alone.warnings(), @"sites/shop.toml:1:14: public_url has {tenant} in it, and there is no tenant; write [tenants.NAME] for each, or tenants_file");
}

/// Keys for tenants in a site that has none were meant for one.
#[test]
fn keys_for_tenants_are_for_sites_of_tenants() {
    let own = "public_url = \"https://shop.example.com\"\ntenants_file = \"t.toml\"\nno_tenant = \"https://x.example\"\n"
        .to_owned()
        + &provider("client_id", "\"app\"")
        + "[tenants.acme]\n";
    assert_snapshot!(Files::new(GROUND, &[("shop.toml", &own)]).faults(), @r#"
    sites/shop.toml:2:16: tenants_file is for a site with {tenant} in its public_url; write a public_url such as "https://{tenant}.app.example.com", or leave it out
    sites/shop.toml:3:13: no_tenant is for a site with {tenant} in its public_url; write a public_url such as "https://{tenant}.app.example.com", or leave it out
    sites/shop.toml:8:2: tenants is for a site with {tenant} in its public_url; write a public_url such as "https://{tenant}.app.example.com", or leave it out
    "#);
    let ground =
        GROUND.replace("sites =", "tenants_file = \"t.toml\"\nsites =") + "[tenants.acme]\n";
    let own = AT.to_owned() + &provider("client_id", "\"app\"");
    let files = Files::new(&ground, &[("shop.toml", &own)]).with("sites/tenants.toml", "");
    assert_snapshot!(files.faults(), @r#"
    bff.toml:3:16: server.tenants_file is for a site with {tenant} in its public_url; write it in the file of the site whose tenants they are
    bff.toml:9:2: tenants is for a site with {tenant} in its public_url; write it in the file of the site whose tenants they are
    "#);
    let own = own.replace("tenants_file", "server.tenants_file");
    let files = Files::new(GROUND, &[("shop.toml", &own)]);
    assert_snapshot!(files.faults(), @r#"
    sites/shop.toml:2:8: server.tenants_file stands at the top of a site's file; write tenants_file = … before the first [table]
    sites/shop.toml:2:23: tenants_file names sites/tenants.toml, which can't be read (No such file or directory (os error 2)); write the path of a TOML file with a table for each tenant
    "#);
}

/// bff.toml may be a site of tenants itself, and none of it is inherited.
#[test]
fn bff_toml_may_have_tenants() {
    let main = GROUND.replace(
        "sites =",
        "public_url = \"https://{tenant}.example.com\"\nno_tenant = \"https://example.com\"\nsites =",
    ) + &provider("issuer", "\"https://id.example.com/{tenant}\"")
        + "[tenants]\nacme = {}\n";
    let files = Files::new(
        &main,
        &[(
            "shop.toml",
            "public_url = \"https://shop.example.org\"\nprovider.issuer = \"https://id.example.com\"\nprovider.client_secret = \"env:SECRET\"",
        )],
    );
    let config = files.fine();
    assert_eq!(config.sites.len(), 1);
    let acme = site_of(&config, "acme");
    assert_eq!(acme.id.as_str(), "/acme");
    assert_eq!(acme.provider.issuer, "https://id.example.com/acme");
    assert_eq!(acme.auth.public_url.as_str(), "https://acme.example.com/");
    assert!(config.tenanted[0].face.id.is_main());
}

/// §7: no host is two's, and what shares one gets along.
#[test]
fn hosts_of_tenants_are_nobody_elses() {
    let plain = provider("client_id", "\"app\"");
    let shop = format!("{AT}{plain}");
    let cases: [(&str, &str, String, &str); 11] = [
        (
            "a tenant's host",
            "acme = {}",
            format!("public_url = \"https://acme.shop.example.com\"\n{plain}"),
            "",
        ),
        (
            "a tenant's domain",
            "acme = { host = \"portal.example\" }",
            format!("public_url = \"https://portal.example\"\n{plain}"),
            "",
        ),
        (
            "a host of the pattern",
            "acme = {}",
            format!("public_url = \"https://z.shop.example.com\"\n{plain}"),
            "",
        ),
        (
            "a path below a tenant",
            "acme = {}",
            format!(
                "public_url = \"https://acme.shop.example.com/z\"\nsession.cookie.name = \"__Host-Http-bff\"\n{plain}"
            ),
            "",
        ),
        (
            "the same pattern",
            "acme = {}",
            format!("public_url = \"https://{{tenant}}.shop.example.com\"\n{plain}"),
            "",
        ),
        (
            "a pattern that meets it",
            "acme = {}",
            format!("public_url = \"https://z-{{tenant}}.shop.example.com/z\"\n{plain}"),
            "",
        ),
        (
            "a path below the pattern, with its cookie",
            "acme = {}",
            format!(
                "public_url = \"https://{{tenant}}.shop.example.com/z\"\nsession.cookie.name = \"__Host-Http-bff\"\n{plain}[tenants.b]\n"
            ),
            "",
        ),
        (
            "another's domain",
            "acme = { host = \"portal.example\" }",
            format!(
                "public_url = \"https://{{tenant}}.z.example\"\n{plain}[tenants.b]\nhost = \"portal.example\"\n"
            ),
            "",
        ),
        (
            "a host of another pattern",
            "acme = { host = \"b.z.example\" }",
            format!("public_url = \"https://{{tenant}}.z.example\"\n{plain}[tenants.b]\n"),
            "",
        ),
        (
            "a route's host",
            "acme = {}",
            format!(
                "public_url = \"https://z.example\"\n{plain}[[route]]\npath = \"/x\"\nupstream = \"http://x\"\nauth = \"none\"\nhost = \"acme.shop.example.com\"\n"
            ),
            "",
        ),
        (
            "neither",
            "acme = { host = \"a.example\" }",
            format!(
                "public_url = \"https://{{tenant}}.z.example\"\n{plain}[tenants.b]\nhost = \"b.example\"\n"
            ),
            "",
        ),
    ];
    let mut all = String::new();
    for (name, tenants, other, _) in cases {
        let files = Files::new(GROUND, &[("shop.toml", &shop), ("z.toml", &other)])
            .with("sites/tenants.toml", tenants);
        let said = said(&files);
        writeln!(all, "{name}: {said}").unwrap();
    }
    assert_snapshot!(all, @r#"
    a tenant's host: sites/tenants.toml:1:1: acme is at acme.shop.example.com, where sites/z.toml is too; give the tenant or that site another host
    a tenant's domain: sites/tenants.toml:1:1: acme.host is where sites/z.toml is too: portal.example; write another host
    a host of the pattern: sites/shop.toml:1:14: public_url takes the host z.shop.example.com of sites/z.toml, so that no tenant can be called z; give one of the two another host, or see that no tenant is to be called so
    a path below a tenant: sites/z.toml:2:23: session.cookie.name is the name of the cookie of sites/shop.toml, which is on this host as well; write another session.cookie.name
    the same pattern: sites/z.toml:1:14: public_url is where sites/shop.toml is too: {tenant}.shop.example.com/ (a port tells no sites apart); write another host, or a path such as "/shop" after it
    a pattern that meets it: sites/z.toml:1:14: public_url shares hosts with {tenant}.shop.example.com of sites/shop.toml, so that nobody knows whose tenant is meant; write the same pattern with another path after it, or one that has no host in common
    a path below the pattern, with its cookie: sites/z.toml:2:23: session.cookie.name is the name of the cookie of sites/shop.toml, which is on this host as well; write another session.cookie.name
    another's domain: sites/z.toml:6:10: tenants.b.host is where the tenant acme (sites/tenants.toml:1:1) is too: portal.example; write another host
    a host of another pattern: sites/tenants.toml:1:1: acme.host is where the tenant b (sites/z.toml:6:10) is too: b.z.example; write another host
    a route's host: sites/z.toml:10:8: route.host is the host of the tenant acme in sites/shop.toml; write another host
    neither:
    "#);
}

/// A browser that nobody is at home for is sent somewhere, and not back.
#[test]
fn who_has_no_tenant_is_sent_elsewhere() {
    let plain = provider("client_id", "\"app\"");
    for (url, says) in [
        ("https://example.com/choose?x=1", ""),
        ("http://localhost:8080", ""),
        ("https://acme.shop.example.com/welcome", ""),
        (
            "https://z.shop.example.com",
            "sites/shop.toml:3:13: no_tenant leads to z.shop.example.com, where no tenant is: browsers would go round in circles; write an address of a site or of a tenant, or of another host",
        ),
        (
            "http://example.com",
            "sites/shop.toml:3:13: no_tenant is neither an https address nor http on this machine; write one such as \"https://app.example.com/choose\"",
        ),
        ("/choose", "no_tenant is neither"),
        ("https://u:p@example.com", "no_tenant is neither"),
        ("javascript:alert(1)", "no_tenant is neither"),
    ] {
        let said = said_of(&format!("no_tenant = \"{url}\"\n{plain}"), "acme = {}");
        assert!(
            said.contains(says) && said.is_empty() == says.is_empty(),
            "{url}: {said}"
        );
    }
}

/// N2: where TLS ends here, the hosts of all tenants have a certificate.
#[test]
fn hosts_of_tenants_have_certificates() {
    let tls =
        |name: &str| format!("tls = {{ cert = \"../{name}.crt\", key = \"../{name}.key\" }}\n");
    let plain = provider("client_id", "\"app\"");
    let of_listener = GROUND.replace(
        "sites =",
        "tls = { cert = \"wild.crt\", key = \"wild.key\" }\nsites =",
    );
    let cases: [(&str, &str, String, String); 8] = [
        (
            "the listener's",
            &of_listener,
            String::new(),
            "acme = {}".to_owned(),
        ),
        (
            "the listener's, but for a domain",
            &of_listener,
            String::new(),
            "acme = {}\nb = { host = \"b.example\" }".to_owned(),
        ),
        ("the site's", GROUND, tls("wild"), "acme = {}".to_owned()),
        (
            "the site's, but for a domain",
            GROUND,
            tls("wild"),
            "acme = {}\nb = { host = \"b.example\" }".to_owned(),
        ),
        (
            "the site's, and one of a tenant's own",
            GROUND,
            tls("wild"),
            "acme = {}\n[b]\nhost = \"b.example\"\n".to_owned() + &tls("b"),
        ),
        (
            "another tenant's",
            GROUND,
            tls("wild"),
            "acme = {}\n[c]\nhost = \"c.example\"\n".to_owned() + &tls("b"),
        ),
        (
            "each tenant's in one",
            GROUND,
            tls("listed"),
            "acme = {}\n".to_owned(),
        ),
        (
            "one that lacks a tenant",
            GROUND,
            tls("listed"),
            "acme = {}\nb = {}\n".to_owned(),
        ),
    ];
    let mut all = String::new();
    for (name, main, own, tenants) in cases {
        let text = AT.replace("tenants_file", &format!("{own}tenants_file")) + &plain;
        let files = Files::new(main, &[("shop.toml", &text)]).with("sites/tenants.toml", &tenants);
        certificate(&files, "wild", &["*.shop.example.com"]);
        certificate(&files, "b", &["b.example"]);
        certificate(&files, "listed", &["acme.shop.example.com"]);
        let hosts = match with_secrets(&files) {
            Ok((config, _)) => {
                let shown = config.server.site_certificates.iter();
                shown
                    .map(|shown| shown.host.clone())
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            Err(errors) => files.plain(&errors.to_string()),
        };
        writeln!(all, "{name}: {hosts}").unwrap();
    }
    assert_snapshot!(all, @r#"
    the listener's: 
    the listener's, but for a domain: sites/tenants.toml:2:1: b is at b.example, which no certificate is for, so that no browser gets there; write tls = { cert, key } with one that is
    the site's: *.shop.example.com
    the site's, but for a domain: sites/tenants.toml:2:1: b.host is at b.example, which tls of the site is not for; write tls = { cert, key } beside host, or have the site's certificate cover it
    the site's, and one of a tenant's own: b.example *.shop.example.com
    another tenant's: sites/tenants.toml:4:16: c.tls.cert the certificate sites/../b.crt does not cover c.example; it is for b.example; write the certificate of that host
    each tenant's in one: acme.shop.example.com
    one that lacks a tenant: sites/tenants.toml:2:1: b is at b.shop.example.com, which tls of the site is not for; write tls = { cert, key } beside host, or have the site's certificate cover it
    "#);
}

/// What each tenant has of its own may lie in files, and those lie where nobody reads them.
#[test]
fn secrets_of_tenants_may_be_files() {
    let rest = provider("client_secret", "\"file:secrets/{tenant}.{x}\"");
    let files =
        site(&format!("{AT}{rest}"), "acme = { x = \"a\" }").with("sites/secrets/acme.a", "one\n");
    let config = fine(&files);
    let before = site_of(&config, "acme").provider_print;
    assert_eq!(site_of(&config, "acme").provider_print, before);
    let _files = files.with("sites/secrets/acme.a", "another\n");
    assert_ne!(site_of(&config, "acme").provider_print, before);
    let shown = rest + "[frontend]\ndir = \"secrets\"\n";
    let files = site(&format!("{AT}{shown}"), "acme = { x = \"a\" }")
        .with("sites/secrets/acme.a", "one\n")
        .with("sites/secrets/index.html", "");
    let said = said(&files);
    assert!(said.contains("frontend.dir serves everybody"), "{said}");
}

/// No value of a tenant can write a list or a table that a variable of the environment holds.
#[test]
fn variables_of_the_environment_are_filled_as_the_file_is() {
    let files = site(
        &format!("{AT}{}", provider("client_id", "\"a\"")),
        "acme = { x = \"a,b\" }",
    );
    let (config, _) = files
        .load_with(&[
            ("BFF_SITES__SHOP__PROVIDER__SCOPES", "openid,{x}"),
            (
                "BFF_SITES__SHOP__PROVIDER__AUTHORIZE_PARAMS",
                "{ p = \"{x}\" }",
            ),
            (
                "BFF_SITES__SHOP__PROVIDER__ISSUER",
                "https://{tenant}.example.com",
            ),
        ])
        .unwrap_or_else(|errors| panic!("{errors}"));
    let provider = site_of(&config, "acme").provider;
    assert_eq!(provider.scopes.unwrap(), ["openid", "a,b"]);
    assert_eq!(
        provider.authorize_params,
        [("p".to_owned(), "a,b".to_owned())]
    );
    assert_eq!(provider.issuer, "https://acme.example.com");
}

/// Ten thousand tenants are read in a moment, and cost little each.
#[test]
fn ten_thousand_tenants_are_few() {
    let tenants: Vec<String> = (0..10_000)
        .map(|number| {
            format!("[tenant-{number}]\nidp = \"saml-{number}\"\nkey = \"A\"\nscope = \"read\"\n")
        })
        .collect();
    let files = shop(&tenants.concat());
    let start = Instant::now();
    let config = fine(&files);
    let read = start.elapsed();
    let start = Instant::now();
    for number in 0..100 {
        let site = site_of(&config, &format!("tenant-{number}"));
        assert_eq!(
            site.provider.issuer,
            format!("https://id.example.com/realms/tenant-{number}")
        );
    }
    let made = start.elapsed() / 100;
    println!("10,000 tenants in {read:?}, a site in {made:?}");
    assert!(read < Duration::from_secs(30) && made < Duration::from_millis(50));
}

/// Each of several providers is filled, and what they only inherit is judged where it is used.
#[test]
fn each_of_several_providers_is_filled() {
    let rest = r#"
[provider]
client_secret = "env:SECRET_{key}"
scopes = ["openid", "{tenant}"]
[providers.corp]
issuer = "https://{tenant}.corp.example"
client_id = "corp-{tenant}"
client_secret = "env:SECRET"
[providers.main]
issuer = "https://id.example.com/{tenant}"
client_id = "main"
client_secret = "env:SECRET_{other}"
"#;
    let config = fine(&site(
        &format!("{AT}{rest}"),
        "acme = { key = \"none\", other = \"B\" }",
    ));
    let acme = site_of(&config, "acme");
    assert_eq!(acme.provider.issuer, "https://acme.corp.example");
    assert_eq!(acme.provider.client_id, "corp-acme");
    assert_eq!(acme.provider.scopes.unwrap(), ["openid", "acme"]);
    assert_eq!(
        acme.others[0].provider.issuer,
        "https://id.example.com/acme"
    );
    let said = said_of(rest, "acme = { key = \"none\", other = \"C\" }");
    assert_snapshot!(said, @"sites/tenants.toml:1:32: acme.other has no providers.main.client_secret: it is to come from the variable SECRET_C, which is not set; set SECRET_C for this process");
}

/// What bff.toml says for its tenants is nobody else's, and a site that inherits it is told so.
#[test]
fn what_is_inherited_with_braces_is_told_of() {
    let main = GROUND.replace(
        "sites =",
        "public_url = \"https://{tenant}.example.com\"\nsites =",
    ) + &provider("issuer", "\"https://id.example.com/{tenant}\"")
        + "[tenants.acme]\n";
    let files = Files::new(
        &main,
        &[("shop.toml", "public_url = \"https://shop.example.org\"")],
    );
    assert_snapshot!(files.warnings(), @"sites/shop.toml: provider.issuer is inherited with {tenant} in it, which is text in a site without tenants; write the key in this file");
}

/// §7: tenants are one key, the file that they are in is another, and so is that of a secret.
#[test]
fn what_changes_of_tenants_is_named() {
    let text = AT.to_owned()
        + &provider("client_secret", "\"file:secrets/{tenant}\"")
        + "[tenants.acme]\n";
    let files = site(&text, "globex = {}")
        .with("sites/secrets/acme", "one")
        .with("sites/secrets/globex", "two");
    let reload = Reload::new(files.0.path().join("bff.toml"), variables());
    let changed = || {
        let reread = reload.read().unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(reread.needs_restart, [""; 0]);
        let changed = reread.changed.join(" ");
        reload.accept(reread.into_parts().2);
        changed
    };
    assert_eq!(changed(), "");
    let files = files.with(
        "sites/tenants.toml",
        "globex = { host = \"globex.example\" }",
    );
    assert_eq!(changed(), "sites.shop.tenants_file");
    let files = files.with(
        "sites/shop.toml",
        &text.replace("[tenants.acme]", "[tenants.acme]\nhost = \"acme.example\""),
    );
    assert_eq!(changed(), "sites.shop.tenants");
    let files = files.with("sites/secrets/globex", "another");
    assert_eq!(changed(), "sites.shop.provider.client_secret");
    let _files = files.with("sites/secrets/acme", "longer than before");
    assert_eq!(changed(), "sites.shop.provider.client_secret");
    assert_eq!(changed(), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a tenant's line says: it is refused, or the address is one of those that the site means.
    #[test]
    fn no_value_leads_an_address_elsewhere(value in "[a-zA-Z0-9_.:/@?#%\\\\\\[\\]{}ü -]{1,12}") {
        let text = format!("{AT}{}", provider("issuer", "\"https://{x}.example.com:8443/a/{x}/b\""));
        let escaped = value.replace('\\', "\\\\");
        let files = site(&text, &format!("acme = {{ x = \"{escaped}\" }}"));
        if let Ok((config, _)) = files.load() {
            let issuer = url::Url::parse(&site_of(&config, "acme").provider.issuer).unwrap();
            let host = issuer.host_str().unwrap();
            prop_assert!(host.ends_with(".example.com") && host.split('.').count() == 3);
            prop_assert_eq!(issuer.port(), Some(8443));
            let segments: Vec<&str> = issuer.path_segments().unwrap().collect();
            prop_assert_eq!(segments, ["a", &*value, "b"]);
            prop_assert!(issuer.query().is_none() && issuer.fragment().is_none());
            prop_assert!(issuer.username().is_empty() && issuer.password().is_none());
        }
    }
}

/// N3: no shell sets a variable with a dash, so that setting it is no remedy.
#[test]
fn a_variable_with_a_dash_is_told_of() {
    let written = |secret: &str| SHOP.replace("env:SECRET_{key}", secret);
    let tenants = "[acme]\nidp = \"i\"\nkey = \"a-b\"\nscope = \"s\"\n";
    let said = ["env:SECRET_{key}", "env:THE-SECRET_{key}"]
        .map(|secret| said(&site(&written(secret), tenants)));
    assert_snapshot!(said.join("\n"), @"
    sites/tenants.toml:3:7: acme.key has no provider.client_secret: it is to come from the variable SECRET_a-b, which is not set; a shell sets no variable with a dash in its name; use file:secrets/{key}, or a variable of the tenant with _ in place of -
    sites/tenants.toml:3:7: acme.key has no provider.client_secret: it is to come from the variable THE-SECRET_a-b, which is not set; a shell sets no variable with a dash in its name; write env: with _ in place of -, or file: with a path
    ");
}
