//! Tenants (DESIGN §7): a site that is one for each of them, told apart by their hosts.

use bff::dev::provider::endpoints::Endpoint;
use serde_json::json;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::Call;
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, TENANTS};
use crate::support::upstream::{Answer, Upstream};

/// What their session cookies are called.
const COOKIE: &str = "__Host-Http-bff";

/// Two tenants by the pattern, in the order of [`TENANTS`], and one on a host of its own.
const FILE: &str = r#"
    public_url = "https://{tenant}.desk.example"
    no_tenant = "https://desk.example/choose"

    [provider]
    authorize_params = { kc_idp_hint = "{idp}" }

    [tenants.acme]
    idp = "acme-saml"
    [tenants.initech]
    idp = "initech-oidc"
    [tenants.globex]
    host = "portal.globex.example"
    idp = "globex-google"
"#;

const IDPS: [&str; 3] = ["acme-saml", "initech-oidc", "globex-google"];

fn with_tenants<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let route = format!(
        r#"
        [[route]]
        path = "/api"
        upstream = "{}/of/{{tenant}}"
        [route.request_headers.set]
        x-tenant = "{{tenant}}:{{idp}}"
        "#,
        upstream.url()
    );
    Bff::with(idp, upstream)
        .administered()
        .set("server.sites", "sites")
        .file("sites/desk.toml", format!("{FILE}{route}"))
}

fn browser(bff: &Bff<'_>) -> Browser {
    let mut browser = bff.browser();
    for tenant in TENANTS {
        browser.resolve(tenant, bff.public_addr);
    }
    browser.resolve("https://nobody.desk.example", bff.public_addr);
    browser
}

fn host(tenant: &str) -> &str {
    tenant.trim_start_matches("https://")
}

/// A call of the tenant's own script, with this session cookie.
fn call(tenant: &str, method: &str, target: &str, cookie: &str) -> Call {
    Call::bare(method, target)
        .header("Host", host(tenant))
        .header("X-CSRF", "1")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Cookie", &format!("{COOKIE}={cookie}"))
}

/// Signs in at this tenant, and says what the session cookie is.
async fn cookie_of(browser: &mut Browser, tenant: &str, user: &str) -> String {
    let login = format!("{tenant}/bff/login?login_hint={user}");
    let visit = browser.visit(&login).await;
    let callback = visit.reply_of("/bff/callback");
    assert_eq!(callback.status, 303, "{tenant}: {}", callback.text());
    let lines = callback.all("set-cookie");
    let own = format!("{COOKIE}=");
    let line = lines.iter().find_map(|line| line.strip_prefix(&own));
    let value = line.unwrap_or_else(|| panic!("{tenant} sets no session cookie: {lines:?}"));
    value.split(';').next().unwrap().to_owned()
}

/// DESIGN §7, B9: each tenant has a site of its own, filled with its own variables, and nothing of one is
/// anything at another, before and after its cookie was used there on the same worker.
#[tokio::test]
async fn each_tenant_is_a_site_of_its_own() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    upstream.answers(|_| Answer::text("answered"));
    let bff = with_tenants(&idp, &upstream)
        .set("server.workers", 1)
        .start();
    let mut browser = browser(&bff);
    let mut cookies = Vec::new();
    for tenant in TENANTS {
        cookies.push(cookie_of(&mut browser, tenant, "alice").await);
    }
    let asked = idp.asked(Endpoint::Authorize);
    let hints: Vec<_> = asked
        .iter()
        .map(|asked| asked.query.value("kc_idp_hint").unwrap())
        .collect();
    assert_eq!(hints, IDPS);
    for round in ["before", "after"] {
        for (own, cookie) in TENANTS.into_iter().zip(&cookies) {
            for other in TENANTS {
                let is_own = own == other;
                let what = format!("{own} at {other}, {round} it was used");
                if is_own && round == "before" {
                    continue;
                }
                let session = call(other, "GET", "/bff/session", cookie);
                let session = session.send(bff.public_addr).await.json();
                assert_eq!(session["authenticated"], is_own, "{what}");
                let api = call(other, "GET", "/api/orders", cookie);
                let reply = api.send(bff.public_addr).await;
                assert_eq!(reply.status, if is_own { 200 } else { 401 }, "{what}");
            }
        }
    }
    let told: Vec<_> = upstream
        .seen()
        .iter()
        .map(|seen| {
            (
                seen.target.clone(),
                seen.header("x-tenant").unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "/of/acme/api/orders".to_owned(),
                "acme:acme-saml".to_owned()
            ),
            (
                "/of/initech/api/orders".to_owned(),
                "initech:initech-oidc".to_owned()
            ),
            (
                "/of/globex/api/orders".to_owned(),
                "globex:globex-google".to_owned()
            ),
        ]
    );
    let sites = bff.administer("GET", "/api/sites").await.json();
    assert_eq!(
        sites["sites"][1],
        json!({ "site": "desk", "tenants": ["acme", "globex", "initech"] })
    );
    let listed = bff
        .administer("GET", "/api/sessions?site=desk&tenant=acme")
        .await;
    assert_eq!(listed.json()["sessions"].as_array().unwrap().len(), 1);

    // A logout at one is none at the others.
    browser.stand_on(&format!("{}/", TENANTS[0]));
    let logout = browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    assert_eq!(logout.status, 200, "{logout:?}");
    for (tenant, cookie) in TENANTS.into_iter().zip(&cookies) {
        let session = call(tenant, "GET", "/bff/session", cookie);
        let session = session.send(bff.public_addr).await.json();
        assert_eq!(session["authenticated"], tenant != TENANTS[0], "{tenant}");
    }
}

/// DESIGN §7: nobody is asked on behalf of a tenant before somebody signs in there: ten thousand of them cost
/// their providers nothing.
#[tokio::test]
async fn a_tenants_provider_is_asked_once_somebody_needs_it() {
    let idp = Idp::start(&nine_o_clock());
    let bff = with_tenants(&idp, &Upstream::start()).start();
    bff.ready().await;
    // That of bff.toml's own site.
    idp.asked_times(Endpoint::Jwks, 1).await;
    let asked = idp.count(Endpoint::Discovery);
    for target in ["/", "/nothing", "/api/orders", "/bff/session"] {
        for tenant in TENANTS {
            let reply = call(tenant, "GET", target, "none")
                .send(bff.public_addr)
                .await;
            assert!(
                matches!(reply.status, 200 | 401 | 404),
                "{target}: {reply:?}"
            );
        }
    }
    assert_eq!(idp.count(Endpoint::Discovery), asked, "nobody signs in yet");
    cookie_of(&mut browser(&bff), TENANTS[0], "alice").await;
    assert_eq!(
        idp.count(Endpoint::Discovery),
        asked + 1,
        "and one did, once"
    );
}

/// DESIGN §7: a person at a host that would be a tenant's is sent to where tenants are chosen; a script, and
/// whoever comes to any other host, is told that nothing is there, with a session of a tenant's and without.
#[tokio::test]
async fn who_comes_to_nobodys_host_is_sent_to_choose() {
    let idp = Idp::start(&nine_o_clock());
    let bff = with_tenants(&idp, &Upstream::start()).start();
    let mut browser = browser(&bff);
    let cookie = cookie_of(&mut browser, TENANTS[0], "alice").await;
    let reply = browser.open("https://nobody.desk.example/a?b=c").await;
    assert_eq!(reply.status, 302);
    assert_eq!(
        reply.header("location"),
        Some("https://desk.example/choose")
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    for host in [
        "nobody.desk.example",
        "desk.example",
        "a.b.desk.example",
        "globex.desk.example",
    ] {
        for cookie in [cookie.as_str(), "none"] {
            let reply = call(host, "GET", "/bff/session", cookie)
                .send(bff.public_addr)
                .await;
            assert_eq!(
                (reply.status, reply.json()["code"].as_str()),
                (404, Some("no_route")),
                "{host}"
            );
        }
    }
}

/// DESIGN §7: tenants come and go with a reload; whoever is signed in at another stays so, and so is whoever
/// was signed in at one that comes back. The answer says who came and went; it named the file alone.
#[tokio::test]
async fn tenants_come_and_go_with_a_reload() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let builder = Bff::with(&idp, &upstream)
        .administered()
        .set("server.sites", "sites")
        .file(
            "sites/desk.toml",
            "public_url = \"https://{tenant}.desk.example\"\ntenants_file = \"../tenants.toml\"\n",
        )
        .file("tenants.toml", "acme = {}\ninitech = {}\n");
    let file = builder.path("tenants.toml");
    let bff = builder.start();
    let mut browser = browser(&bff);
    let (acme, initech) = (TENANTS[0], TENANTS[1]);
    let of_acme = cookie_of(&mut browser, acme, "alice").await;
    let of_initech = cookie_of(&mut browser, initech, "bob").await;
    let asked = idp.count(Endpoint::Discovery);
    let is_signed_in = async |tenant, cookie: &str| {
        let reply = call(tenant, "GET", "/bff/session", cookie)
            .send(bff.public_addr)
            .await;
        (reply.status == 200).then(|| reply.json()["authenticated"] == true)
    };
    for (content, acmes, initechs, told) in [
        (
            "initech = {}\nanother = {}\n",
            None,
            Some(true),
            "1 came (desk/another), 1 went (desk/acme)",
        ),
        (
            "acme = {}\n",
            Some(true),
            None,
            "1 came (desk/acme), 2 went (desk/another, desk/initech)",
        ),
        (
            "acme = { host = \"acme.example\" }\ninitech = {}\n",
            None,
            Some(true),
            "1 came (desk/initech), 1 changed (desk/acme)",
        ),
        (
            "acme = {}\ninitech = {}\n",
            Some(true),
            Some(true),
            "1 changed (desk/acme)",
        ),
    ] {
        std::fs::write(&file, content).unwrap();
        let reply = bff.administer("POST", "/reload").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["changed"], json!(["sites.desk.tenants_file"]));
        assert_eq!(reply.json()["tenants"]["told"], json!(told));
        assert_eq!(reply.json()["sites"]["told"], json!("1 changed (desk)"));
        assert_eq!(is_signed_in(acme, &of_acme).await, acmes, "acme: {content}");
        assert_eq!(
            is_signed_in(initech, &of_initech).await,
            initechs,
            "initech: {content}"
        );
    }
    assert_eq!(
        idp.count(Endpoint::Discovery),
        asked,
        "no session needs its provider for that"
    );
}
