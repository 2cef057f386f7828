//! Who the provider is: its metadata, when they may be believed, and what happens without them.

use std::path::Path;
use std::time::Duration;

use bff::config::Config;
use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{login_url, parameter, refusal, with_parameter};
use crate::support::upstream::Upstream;

/// With a provider that publishes no metadata, so that all of it stands in the file.
fn without_metadata<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let nothing = Fault::Answer(Endpoint::Discovery, 404, "text/plain", Vec::new());
    idp.misbehave(nothing);
    [
        ("authorization", "/authorize"),
        ("token", "/token"),
        ("jwks", "/jwks"),
        ("userinfo", "/userinfo"),
        ("end_session", "/end_session"),
        ("revocation", "/revoke"),
    ]
    .into_iter()
    .fold(
        Bff::with(idp, upstream).set("provider.discovery", false),
        |bff, (name, path)| bff.set(&format!("provider.endpoints.{name}"), idp.url(path)),
    )
}

/// A6: login with UserInfo, refresh, back-channel logout and logout at a provider whose metadata nobody
/// asks for; the node is ready once its keys are there. Metadata were fetched whatever the file said.
#[tokio::test]
async fn a_provider_without_metadata_is_used_in_full() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = without_metadata(&idp, &upstream)
        .set("provider.userinfo", true)
        .start();
    bff.ready().await;
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    assert_eq!(idp.count(Endpoint::UserInfo), 1);
    clock.advance(Duration::from_secs(301));
    let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(call.status, 200);
    assert_eq!(idp.refreshes(), 1);

    let mut bob = bff.browser();
    bob.sign_in("bob").await;
    let told = idp.sign_out("bob", bff.public_addr).await;
    assert_eq!(told[0].status, 200);
    assert_eq!(bob.session().await["ended"], "provider_logout");

    let link = alice.session().await["logout_url"].clone();
    alice.click(link.as_str().unwrap()).await;
    assert_eq!(alice.signed_in().await, None);
    assert!(idp.core.sessions().is_empty(), "signed out there as well");
    idp.asked_times(Endpoint::Revocation, 1).await;
    assert_eq!(idp.count(Endpoint::Discovery), 0);
}

/// C4: without metadata an answer that lacks `iss` is taken, unless the file says that it never does; one
/// that names another issuer never is.
#[tokio::test]
async fn a_provider_without_metadata_may_have_to_name_itself() {
    let idp = Idp::start(&nine_o_clock());
    for (required, iss, expected) in [
        (false, None, 303),
        (false, Some("https://evil.example"), 400),
        (true, None, 400),
        (true, Some(idp.issuer.as_str()), 303),
    ] {
        let bff = without_metadata(&idp, &Upstream::start())
            .set("provider.require_response_iss", required)
            .start();
        let mut browser = bff.browser();
        let callback = browser.callback_url("login_hint=alice").await;
        let callback = with_parameter(&callback, "iss", iss);
        let reply = browser.open(callback.as_str()).await;
        assert_eq!(reply.status, expected, "{required} {iss:?}");
    }
}

/// A5: without trustworthy metadata no login is begun: 503, no redirect, no cookie.
async fn check_no_login(idp: &Idp, name: &str, fault: Fault) {
    let upstream = Upstream::start();
    idp.misbehave(fault);
    let bff = Bff::with(idp, &upstream)
        .set("provider.timeout", "300ms")
        .start();
    let reply = bff.browser().begin_login("login_hint=alice").await;
    assert_eq!(refusal(&reply), "503 provider_unavailable", "{name}");
    assert!(reply.header("retry-after").is_some(), "{name}");
    assert_eq!(reply.header("location"), None, "{name}");
    assert_eq!(reply.header("set-cookie"), None, "{name}");
    drop(bff);
    idp.behave();
}

/// A1: a client without a credential is a fault of the configuration.
#[tokio::test]
async fn a_public_client_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let text = Bff::with(&idp, &Upstream::start())
        .unset("provider.client_secret")
        .toml();
    let faults = Config::parse(
        &text,
        Path::new("bff.toml"),
        &std::collections::BTreeMap::new(),
    )
    .unwrap_err()
    .to_string();
    assert!(faults.contains("client_secret"), "{faults}");
}

/// A1: one that is allowed to be public says who it is and proves nothing.
#[tokio::test]
async fn a_public_client_that_is_allowed_signs_people_in() {
    let idp = Idp::start(&nine_o_clock());
    idp.expect_proof(Proof::Public);
    let bff = Bff::with(&idp, &Upstream::start())
        .unset("provider.client_secret")
        .set("provider.allow_public_client", true)
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let asked = idp.asked(Endpoint::Token).pop().unwrap();
    assert_eq!(asked.form.value("client_id"), Some("app"));
    assert_eq!(asked.form.value("client_secret"), None);
    assert!(!asked.headers.contains_key("authorization"));
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// A5: another issuer, however little another, is not our provider.
#[tokio::test]
async fn metadata_of_another_issuer_begin_no_login() {
    let idp = Idp::start(&nine_o_clock());
    let issuer = |value: Value| Fault::Set(Stage::Metadata, "issuer", value);
    let cases = [
        ("another issuer", issuer(json!("https://evil.example"))),
        ("a list", issuer(json!(["https://evil.example"]))),
        ("null", issuer(Value::Null)),
        ("no issuer", Fault::Remove(Stage::Metadata, "issuer")),
    ];
    for (name, fault) in cases {
        check_no_login(&idp, name, fault).await;
    }
}

/// A5: a trailing slash makes another issuer.
#[tokio::test]
async fn a_trailing_slash_makes_another_issuer() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.issuer", format!("{}/", idp.issuer))
        .start();
    let reply = bff.browser().begin_login("").await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    assert!(idp.count(Endpoint::Discovery) > 0, "metadata were fetched");
}

/// A4: a provider that knows PKCE without S256 is not used.
#[tokio::test]
async fn a_provider_without_s256_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    for methods in [json!(["plain"]), json!([])] {
        let name = methods.to_string();
        let fault = Fault::Set(Stage::Metadata, "code_challenge_methods_supported", methods);
        check_no_login(&idp, &name, fault).await;
    }
}

/// A4: one that does not say which it knows gets PKCE all the same.
#[tokio::test]
async fn pkce_is_sent_to_a_provider_that_does_not_list_its_methods() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Remove(
        Stage::Metadata,
        "code_challenge_methods_supported",
    ));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let location = bff.browser().begin_login("").await.location().unwrap();
    let method = parameter(&location, "code_challenge_method");
    assert_eq!(method.as_deref(), Some("S256"));
}

/// A7: metadata are one JSON object of a sane size, from where we asked, in time; and no
/// endpoint in it is cleartext.
#[tokio::test]
async fn metadata_that_are_no_metadata_begin_no_login() {
    let idp = Idp::start(&nine_o_clock());
    let answer =
        |body: &[u8]| Fault::Answer(Endpoint::Discovery, 200, "application/json", body.to_vec());
    let mut huge = b"{\"issuer\":\"x\",\"padding\":\"".to_vec();
    huge.resize(2 * 1024 * 1024, b'a');
    huge.extend_from_slice(b"\"}");
    let cleartext = |name| {
        Fault::Set(
            Stage::Metadata,
            name,
            json!("http://id.example.com/endpoint"),
        )
    };
    let cases = [
        ("a list", answer(b"[]")),
        ("a string", answer(b"\"metadata\"")),
        ("null", answer(b"null")),
        ("a number", answer(b"1")),
        ("nothing", answer(b"")),
        ("a page", answer(b"<!doctype html>")),
        ("half an object", answer(b"{\"issuer\":")),
        ("too much", answer(&huge)),
        (
            "404",
            Fault::Answer(Endpoint::Discovery, 404, "text/plain", Vec::new()),
        ),
        ("503", Fault::unavailable(Endpoint::Discovery)),
        ("never", Fault::never(Endpoint::Discovery)),
        ("dropped", Fault::DropUnheard(Endpoint::Discovery)),
        ("a cleartext token endpoint", cleartext("token_endpoint")),
        (
            "a cleartext authorization endpoint",
            cleartext("authorization_endpoint"),
        ),
        ("cleartext keys", cleartext("jwks_uri")),
        (
            "no token endpoint",
            Fault::Remove(Stage::Metadata, "token_endpoint"),
        ),
    ];
    for (name, fault) in cases {
        check_no_login(&idp, name, fault).await;
    }
}

/// A7: too large is too large, even where all of it is right.
#[tokio::test]
async fn oversized_metadata_are_refused_though_they_are_right() {
    let idp = Idp::start(&nine_o_clock());
    let padding = json!("a".repeat(2 * 1024 * 1024));
    check_no_login(
        &idp,
        "padded",
        Fault::Set(Stage::Metadata, "padding", padding),
    )
    .await;
}

/// A7: no redirect is followed, be it of metadata, keys or the token endpoint.
#[tokio::test]
async fn redirects_of_the_provider_are_not_followed() {
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token] {
        let idp = Idp::start(&nine_o_clock());
        let elsewhere = Upstream::start();
        let trap = format!("{}/trap", elsewhere.url());
        idp.misbehave(Fault::Redirect(endpoint, trap));
        let bff = Bff::with(&idp, &elsewhere).start();
        let mut browser = bff.browser();
        let visit = browser.visit(&login_url("login_hint=alice")).await;
        assert!(visit.last().status >= 400, "{endpoint:?}: {visit:?}");
        assert!(elsewhere.seen().is_empty(), "{endpoint:?} was followed");
        assert_eq!(browser.signed_in().await, None, "{endpoint:?}");
    }
}

/// A6: endpoints come from the metadata, with their own query kept, and from nowhere else.
#[tokio::test]
async fn endpoints_come_from_the_metadata_alone() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Set(
        Stage::Metadata,
        "authorization_endpoint",
        json!("https://login.id.example/start?tenant=7"),
    ));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for query in [
        "",
        "authorization_endpoint=https://evil.example/&issuer=https://evil.example",
        "iss=https://evil.example&request_uri=https://evil.example/r&tenant=8",
    ] {
        let location = bff.browser().begin_login(query).await.location().unwrap();
        assert_eq!(location.host_str(), Some("login.id.example"), "{query}");
        assert_eq!(location.path(), "/start", "{query}");
        assert_eq!(parameter(&location, "tenant").as_deref(), Some("7"));
    }
}

/// E6: an endpoint that is offered by an empty name is not offered: logins were 503 for it, and a logout
/// ends here.
#[tokio::test]
async fn an_empty_endpoint_is_not_offered() {
    for nothing in [json!(""), json!(null)] {
        let idp = Idp::start(&nine_o_clock());
        for name in ["end_session_endpoint", "revocation_endpoint"] {
            idp.misbehave(Fault::Set(Stage::Metadata, name, nothing.clone()));
        }
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut alice = bff.browser();
        alice.sign_in("alice").await;
        let logout_url = alice.session().await["logout_url"].clone();
        let target = format!("{PUBLIC_URL}{}", logout_url.as_str().unwrap());
        let reply = alice.open(&target).await;
        assert_eq!(reply.header("location"), Some("/"), "{nothing}");
        assert_eq!(alice.signed_in().await, None);
    }
}

/// Only scopes that the provider lists are asked for; what is configured stays.
#[tokio::test]
async fn only_scopes_that_are_offered_are_asked_for() {
    let idp = Idp::start(&nine_o_clock());
    let listed = json!(["openid", "email", "phone"]);
    idp.misbehave(Fault::Set(Stage::Metadata, "scopes_supported", listed));
    for (configured, expected) in [
        (None, "openid email"),
        (Some("openid profile api"), "openid profile api"),
    ] {
        let mut bff = Bff::with(&idp, &Upstream::start());
        if let Some(scopes) = configured {
            let scopes: Vec<String> = scopes.split(' ').map(str::to_owned).collect();
            bff = bff.set("provider.scopes", scopes);
        }
        let bff = bff.start();
        let location = bff.browser().begin_login("").await.location().unwrap();
        assert_eq!(parameter(&location, "scope").as_deref(), Some(expected));
    }
}

/// What does not fit is said in the log by itself, with what to write: a login told nothing of it.
#[tokio::test]
async fn what_does_not_fit_is_logged() {
    let idp = Idp::start(&nine_o_clock());
    let demand = "require_signed_request_object";
    idp.misbehave(Fault::Set(Stage::Metadata, demand, json!(true)));
    let list = "token_endpoint_auth_methods_supported";
    idp.misbehave(Fault::Set(
        Stage::Metadata,
        list,
        json!(["client_secret_post"]),
    ));
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.client_auth", "client_secret_basic")
        .start();
    bff.browser().begin_login("").await;
    for says in [
        "no login can work: provider.request_object is \\\"never\\\", and the provider demands signed request objects (JAR)",
        "no login can work: provider.client_auth is \\\"client_secret_basic\\\", which the provider does not take; write client_auth = \\\"client_secret_post\\\"",
    ] {
        let lines = bff.logs().lines_with(says);
        assert!(!lines.is_empty(), "{says}");
        assert!(lines[0].contains("ERROR"), "{lines:?}");
    }
}

/// A6: nothing that a token's header points at is fetched.
#[tokio::test]
async fn no_address_in_a_token_is_asked() {
    for name in ["jku", "x5u"] {
        let idp = Idp::start(&nine_o_clock());
        let elsewhere = Upstream::start();
        let trap = json!(format!("{}/keys", elsewhere.url()));
        idp.misbehave(Fault::Set(Stage::IdTokenHeader, name, trap));
        let bff = Bff::with(&idp, &elsewhere).start();
        bff.browser().visit(&login_url("login_hint=alice")).await;
        assert!(elsewhere.seen().is_empty(), "{name} was followed");
    }
}

/// A8: a provider that was never reached begins no login, and is found without a restart.
#[tokio::test]
async fn a_provider_that_starts_late_is_found() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::unavailable(Endpoint::Discovery));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let reply = browser.begin_login("login_hint=alice").await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    idp.behave();
    browser.sign_in("alice").await;
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// A8: a provider that goes down later costs no session its life, and logins are still begun.
#[tokio::test]
async fn a_provider_that_goes_down_leaves_sessions_alone() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token] {
        idp.misbehave(Fault::unavailable(endpoint));
    }
    bff.clock().advance(Duration::from_mins(1));
    let reply = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(reply.status, 200);
    let begun = bff.browser().begin_login("").await;
    assert_eq!(begun.status, 303);
    // The way back needs the token endpoint.
    let mut bob = bff.browser();
    let visit = bob.visit(&login_url("login_hint=bob")).await;
    assert_eq!(refusal(visit.last()), "503 provider_unavailable");
    idp.behave();
    bob.sign_in("bob").await;
    assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
}

/// A5: the page that a person sees then.
#[tokio::test]
async fn a_person_is_told_that_the_provider_is_away() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::unavailable(Endpoint::Discovery));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let reply = bff.browser().open(&format!("{PUBLIC_URL}/bff/login")).await;
    let text = reply.text();
    assert!(text.contains("Sign-in unavailable"), "{text}");
    assert!(
        !text.contains(&idp.issuer),
        "the page names no inner address"
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}
