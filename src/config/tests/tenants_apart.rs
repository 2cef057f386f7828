//! What a tenant's line may not reach of others, and what thousands of them cost to judge.

use super::files::Files;
use super::*;

const GROUND: &str = r#"
[server]
sites = "sites"
[session]
keys = ["env:KEY"]
[frontend]
upstream = "http://localhost:5173"
"#;

fn site(provider: &str, tenants: &str) -> Files {
    let text = format!(
        "public_url = \"https://{{tenant}}.shop.example.com\"\ntenants_file = \"tenants.toml\"\n[provider]\n{provider}\n"
    );
    Files::new(GROUND, &[("shop.toml", &text)]).with("sites/tenants.toml", tenants)
}

fn warnings(files: &Files, variables: &[(&str, &str)]) -> String {
    let loaded = files.load_with(variables);
    let (_, warnings) =
        loaded.unwrap_or_else(|errors| panic!("{}", files.plain(&errors.to_string())));
    files.plain(&warnings.to_string())
}

/// §7: where a secret was named by what tenants write, one could name another's and have it sent to its own
/// provider, and nobody was told.
#[test]
fn two_tenants_that_name_one_secret_are_told_of() {
    let variables = [
        ("SECRET_A", "one"),
        ("SECRET_B", "two"),
        ("SECRET_A_B", "three"),
    ];
    let of_each = "issuer = \"https://{idp}.example.com\"\nclient_id = \"a\"\nclient_secret = \"env:SECRET_{secret}\"";
    let tenants = "a = { idp = \"a\", secret = \"A\" }\nb = { idp = \"b\", secret = \"A\" }\nc = { idp = \"c\", secret = \"B\" }\nd = { idp = \"a\", secret = \"A\" }\n";
    let others = warnings(&site(of_each, tenants), &variables);
    // One provider knows what it is sent, whoever's site it is for.
    let of_all =
        of_each.replace("https://{idp}.", "https://id.") + "\nauthorize_params = { x = \"{idp}\" }";
    assert_eq!(warnings(&site(&of_all, tenants), &variables), "");
    // Two texts may make one name.
    let joined = of_each.replace("_{secret}", "_{secret}{more}");
    let tenants = "a = { idp = \"a\", secret = \"A_B\", more = \"\" }\nb = { idp = \"b\", secret = \"A\", more = \"_B\" }\n";
    let tenants = tenants
        .replace("more = \"\"", "more = \"B\"")
        .replace("\"A_B\"", "\"A_\"");
    let made = warnings(&site(&joined, &tenants), &variables);
    assert_snapshot!(format!("{others}\n{made}"), @r#"
    sites/tenants.toml:2:27: b.secret makes env:SECRET_A of provider.client_secret, which the tenant a (sites/tenants.toml:1:1) names too: this tenant's provider would be sent that secret; write {tenant} into provider.client_secret, as in "env:SECRET_{tenant}"
    sites/tenants.toml:2:27: b.secret makes env:SECRET_A_B of provider.client_secret, which the tenant a (sites/tenants.toml:1:1) names too: this tenant's provider would be sent that secret; write {tenant} into provider.client_secret, as in "env:SECRET_{tenant}"
    "#);
}

/// §7: nor may one name a secret of the process or of a site.
#[test]
fn a_tenant_that_names_a_secret_of_others_is_told_of() {
    let of_each = "issuer = \"https://{idp}.example.com\"\nclient_id = \"a\"\nclient_secret = \"env:S{secret}\"";
    let main = format!(
        "{GROUND}[provider]\nissuer = \"https://id.example.com\"\nclient_id = \"m\"\nclient_secret = \"env:SECRET\"\n"
    );
    let main = main.replace("sites =", "public_url = \"https://app.example.com\"\nadmin_listen = \"127.0.0.1:9\"\nadmin_key = \"env:SADMIN\"\nsites =");
    let text = format!(
        "public_url = \"https://{{tenant}}.shop.example.com\"\n[provider]\n{of_each}\n[tenants]\na = {{ idp = \"a\", secret = \"ECRET\" }}\n"
    );
    let files = Files::new(&main, &[("shop.toml", &text)]);
    assert_snapshot!(warnings(&files, &[("SADMIN", "an administration key of some length")]), @r#"sites/shop.toml:7:27: tenants.a.secret makes env:SECRET of provider.client_secret, which provider.client_secret (bff.toml:14:17) names too: this tenant's provider would be sent that secret; write {tenant} into provider.client_secret, as in "env:SECRET_{tenant}""#);
}

/// §7: no tenant's line brings an app to the host where all are sent who are at nobody's.
#[test]
fn nobodys_host_is_no_tenants() {
    let plain =
        "issuer = \"https://id.example.com\"\nclient_id = \"a\"\nclient_secret = \"env:SECRET\"";
    let text = format!(
        "public_url = \"https://{{tenant}}.shop.example.com\"\nno_tenant = \"https://choose.example./x\"\n[provider]\n{plain}\n[tenants]\na = {{ host = \"Choose.example\" }}\n"
    );
    let files = Files::new(GROUND, &[("shop.toml", &text)]);
    assert_snapshot!(files.faults(), @"sites/shop.toml:8:1: tenants.a.host is where no_tenant of sites/shop.toml sends whoever is no tenant's: choose.example; write another host");
}

/// §7: each of ten thousand lines with one host was held against all before it, and each pair was a fault: fifty
/// million of them.
#[test]
fn many_that_clash_are_each_told_of_once() {
    let plain =
        "issuer = \"https://id.example.com\"\nclient_id = \"a\"\nclient_secret = \"env:SECRET\"";
    let tenants: Vec<String> = (0..10_000)
        .map(|number| format!("t{number} = {{ host = \"portal.example\" }}\n"))
        .collect();
    let tenants = tenants.concat();
    let said = site(plain, &tenants).faults();
    assert_eq!(said.lines().count(), 11);
    assert_snapshot!(said.lines().last().unwrap(), @"sites/tenants.toml:1008:1: and 9,989 more like the 10 before; mend those, and look again");
}

/// Nobody reads twenty thousand lines of one warning, or of one fault.
#[test]
fn what_is_wrong_with_thousands_is_told_of_ten() {
    let plain =
        "issuer = \"https://id.example.com\"\nclient_id = \"a\"\nclient_secret = \"env:SECRET\"";
    let unused: Vec<String> = (0..20_000)
        .map(|number| format!("v{number} = 1\n"))
        .collect();
    let unused = unused.concat();
    let unused = warnings(&site(plain, &format!("[acme]\n{unused}")), &[]);
    assert_eq!(unused.lines().count(), 11);
    let wrong: Vec<String> = (0..2_000)
        .map(|number| format!("t{number} = {{ Upper = 1, x = [] }}\n"))
        .collect();
    let wrong = wrong.concat();
    let wrong = site(plain, &wrong).faults();
    assert_eq!(wrong.lines().count(), 11, "{wrong}");
    let last = |said: &str| said.lines().last().unwrap_or_default().to_owned();
    assert_snapshot!(format!("{}\n{}", last(&unused), last(&wrong)), @r"
    sites/tenants.toml:12:7: and 19,990 more like the 10 before; mend those, and look again
    sites/tenants.toml:6:8: and 3,990 more after the 10 before; mend those, and look again
    ");
}
