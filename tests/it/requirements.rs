//! Who may call a route, beside whoever has a session (§8).

use std::time::Duration;

use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};
use url::Url;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{home, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{parameter, refusal, sign_in_link};
use crate::support::upstream::Upstream;

/// A route at `/own` with this rule, beside `/api`, which has none.
fn ruled<'a>(idp: &'a Idp, upstream: &Upstream, rule: &str) -> BffBuilder<'a> {
    let route = format!("path = '/own'\nrequire = {rule}");
    Bff::with(idp, upstream).route(route.parse().unwrap(), upstream)
}

async fn answer(browser: &mut Browser, path: &str) -> String {
    let reply = browser.fetch(Fetch::get(path).csrf()).await;
    if reply.status == 200 {
        return "200".to_owned();
    }
    refusal(&reply)
}

fn says(claims: &[(&'static str, Value)]) -> Fault {
    let set = |(name, value): &(&'static str, Value)| {
        Fault::Set(Stage::IdTokenClaims, name, value.clone())
    };
    Fault::All(claims.iter().map(set).collect())
}

/// §8: every entry must hold, a list is any of; claims by name or dotted path, whichever dots their names
/// have. Whoever fails is told 403, and nothing goes upstream.
#[tokio::test]
async fn only_those_may_call_whom_the_rule_allows() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(says(&[
        ("roles", json!(["admin", "staff"])),
        ("realm_access", json!({ "roles": ["b"] })),
        ("https://example.com/roles", json!("owner")),
        ("resource_access", json!({ "my.app": { "roles": ["r"] } })),
        ("level", json!(3)),
    ]));
    for (rule, allowed) in [
        ("{ roles = 'admin' }", true),
        ("{ roles = ['root', 'staff'] }", true),
        ("{ roles = 'root' }", false),
        ("{ roles = 'adm' }", false),
        ("{ 'realm_access.roles' = ['a', 'b'] }", true),
        ("{ realm_access.roles = 'b' }", true),
        ("{ realm_access.roles = 'a' }", false),
        ("{ 'https://example.com/roles' = 'owner' }", true),
        ("{ 'resource_access.my.app.roles' = 'r' }", true),
        ("{ email_verified = true, level = 3 }", true),
        ("{ email_verified = false }", false),
        ("{ roles = 'admin', level = 4 }", false),
        ("{ groups = 'admin' }", false),
        ("{ scope = 'openid' }", true),
        ("{ scope = ['orders', 'profile'] }", true),
        ("{ scope = 'orders' }", false),
    ] {
        let upstream = Upstream::start();
        let bff = ruled(&idp, &upstream, rule).start();
        let mut alice = signed_in(&bff, "alice").await;
        let expected = if allowed { "200" } else { "403 forbidden" };
        assert_eq!(answer(&mut alice, "/own/x").await, expected, "{rule}");
        assert_eq!(upstream.seen().len(), usize::from(allowed), "{rule}");
        assert_eq!(answer(&mut alice, "/api/x").await, "200", "{rule}");
        let mut nobody = bff.browser();
        nobody.visit(PUBLIC_URL).await;
        assert_eq!(answer(&mut nobody, "/own/x").await, "401 login_required");
    }
}

/// §8: what a rule asks is kept though the browser does not see it, wherever sessions are.
#[tokio::test]
async fn a_claim_of_a_rule_is_not_the_browsers_to_see() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(says(&[("roles", json!(["a-secret-role"]))]));
    let upstream = Upstream::start();
    let rule = "{ roles = 'a-secret-role' }";
    for builder in [
        ruled(&idp, &upstream, rule),
        Bff::in_cookies(&idp, &upstream).route(
            format!("path = '/own'\nrequire = {rule}").parse().unwrap(),
            &upstream,
        ),
    ] {
        let bff = builder.start();
        let mut alice = signed_in(&bff, "alice").await;
        assert_eq!(answer(&mut alice, "/own/x").await, "200");
        let session = alice.session().await.to_string();
        assert!(!session.contains("a-secret-role"), "{session}");
    }
}

/// §8, RFC 9470 §3: a sign-in that was too weak or too long ago is mended by another, at the address that
/// the refusal names; the session stays meanwhile.
#[tokio::test]
async fn a_second_sign_in_mends_what_the_first_lacked() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = ruled(&idp, &upstream, "{ acr = 'mfa', max_auth_age = '15m' }").start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(&format!("{PUBLIC_URL}/app/orders"));

    let mended = async |alice: &mut Browser| {
        let refused = alice.fetch(Fetch::get("/own/x").csrf()).await;
        assert_eq!(refusal(&refused), "401 step_up_required");
        assert!(refused.all("set-cookie").is_empty(), "{refused:?}");
        let problem = refused.json();
        assert_eq!(problem["acr_values"], "mfa");
        assert_eq!(problem["max_age"], 900);
        let link = problem["login_url"].as_str().unwrap();
        let url = home().join(link).unwrap();
        let asked = |name| parameter(&url, name);
        assert_eq!(asked("acr_values").as_deref(), Some("mfa"));
        assert_eq!(asked("max_age").as_deref(), Some("900"));
        assert_eq!(asked("return_to").as_deref(), Some("/app/orders"));
        assert_eq!(answer(alice, "/api/x").await, "200", "the session stays");
        alice.visit(&format!("{url}&login_hint=alice")).await;
        alice.stand_on(&format!("{PUBLIC_URL}/app/orders"));
        assert_eq!(answer(alice, "/own/x").await, "200");
    };
    mended(&mut alice).await;
    bff.clock().advance(Duration::from_mins(15));
    assert_eq!(answer(&mut alice, "/own/x").await, "200");
    bff.clock().advance(Duration::from_secs(1));
    mended(&mut alice).await;
}

/// §8: a person gets a page with the way on; nobody is sent to a second sign-in by itself, which might
/// come back as weak as the first, again and again.
#[tokio::test]
async fn a_page_offers_the_second_sign_in() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let route = "path = '/desk'\ncsrf = 'origin'\nrequire = { acr = 'mfa' }";
    let bff = Bff::with(&idp, &upstream)
        .route(route.parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let page = alice.open(&format!("{PUBLIC_URL}/desk/7?a=b")).await;
    assert_eq!(refusal(&page), "401 step_up_required");
    let url: Url = home().join(&sign_in_link(&page)).unwrap();
    assert_eq!(parameter(&url, "acr_values").as_deref(), Some("mfa"));
    assert_eq!(parameter(&url, "return_to").as_deref(), Some("/desk/7?a=b"));
    alice.visit(&format!("{url}&login_hint=alice")).await;
    let page = alice.open(&format!("{PUBLIC_URL}/desk/7?a=b")).await;
    assert_eq!(page.status, 200);
}

/// §8: a rule that is newer than the login asks for another, and knows after it.
#[tokio::test]
async fn a_rule_that_is_newer_than_the_login_asks_for_another() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    idp.misbehave(says(&[("roles", json!(["admin"]))]));
    let builder = Bff::with(&idp, &upstream).administered();
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let mut alice = signed_in(&bff, "alice").await;
    let rule = "path = \"/api\"\nrequire = { roles = \"root\" }";
    for (rule, after) in [
        (rule.to_owned(), "403 forbidden"),
        (rule.replace("root", "admin"), "200"),
    ] {
        let mut new = bff.browser();
        new.sign_in("bob").await;
        std::fs::write(&path, toml.replacen("path = \"/api\"", &rule, 1)).unwrap();
        let reloaded = bff.administer("POST", "/reload").await;
        assert_eq!(reloaded.status, 200, "{reloaded:?}");
        let before = answer(&mut alice, "/api/x").await;
        assert_eq!(before, "401 step_up_required", "{rule}");
        new.visit(&format!(
            "{PUBLIC_URL}/bff/login?prompt=login&login_hint=bob"
        ))
        .await;
        assert_eq!(answer(&mut new, "/api/x").await, after, "{rule}");
    }
}

/// §8: a WebSocket is a call as any other.
#[tokio::test]
async fn no_socket_is_opened_past_a_rule() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = ruled(&idp, &upstream, "{ roles = 'admin' }").start();
    let mut alice = signed_in(&bff, "alice").await;
    let refused = alice.web_socket("/own/socket").await.unwrap_err();
    assert_eq!(refusal(&refused), "403 forbidden");
    assert!(upstream.seen().is_empty());
}
