//! `/bff/logout`: who may sign a person out, and what is left afterwards.

use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::json;
use url::Url;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch, Visit};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::cookie_jar::CookieJar;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{
    LOOKING_AHEAD, NAVIGATION, SESSION_COOKIE, parameter, refusal, steady_fields, with_parameter,
};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// The cookie that `/bff/logout/continue` needs.
const CONTINUATION: &str = "__Host-Http-bff-logout";

/// The link that ends this browser's session, as the app is told it.
async fn logout_link(browser: &mut Browser) -> String {
    browser.session().await["logout_url"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What the app does: POST, then go where the answer says.
async fn post_logout(browser: &mut Browser, query: &str) -> (Reply, Visit) {
    let target = format!("/bff/logout{query}");
    let reply = browser.fetch(Fetch::new("POST", &target).csrf()).await;
    let onward = reply.json()["redirect_to"].as_str().unwrap().to_owned();
    let visit = browser.click(&onward).await;
    (reply, visit)
}

/// That `old` opens nothing any more.
async fn check_dead(browser: &mut Browser, old: &CookieJar) {
    browser.jar = old.clone();
    browser.stand_on(PUBLIC_URL);
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(refusal(&reply), "401 session_expired");
    assert_eq!(browser.session().await["authenticated"], false);
}

/// E1, E2, E3: the link with its sid ends the session here, then at the provider.
#[tokio::test]
async fn a_link_with_its_sid_signs_out() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let link = logout_link(&mut browser).await;
    let old = browser.jar.clone();
    let visit = browser.click(&format!("{link}&return_to=/bye")).await;
    let first = &visit.replies[0];
    assert_eq!(first.status, 303);
    insta::assert_snapshot!(steady_fields(first), @r#"
    cache-control: no-store
    content-length: 0
    nel: {"max_age":0}
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000
    "#);
    assert_eq!(
        first.all("set-cookie"),
        [format!(
            "{SESSION_COOKIE}=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0"
        )]
    );
    let end_session = first.location().unwrap();
    assert!(end_session.as_str().starts_with(&idp.url("/end_session?")));
    assert!(
        visit.url().as_str().ends_with("app.example/bye"),
        "{:?}",
        visit.paths()
    );
    assert!(browser.jar.cookie(SESSION_COOKIE).is_none());
    assert_eq!(browser.jar.refused(), &[] as &[String]);
    assert!(idp.core.sessions().is_empty(), "signed out there as well");
    check_dead(&mut browser, &old).await;
    assert!(upstream.seen().is_empty());
}

/// E3: the end-session request, to the letter.
#[tokio::test]
async fn the_provider_is_told_whose_session_ends() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let link = logout_link(&mut browser).await;
    browser.click(&link).await;
    let asked = idp.asked(Endpoint::EndSession).pop().unwrap();
    let names: Vec<&str> = asked.query.iter().map(|(name, _)| name).collect();
    insta::assert_snapshot!(names.join(" "), @"client_id post_logout_redirect_uri state id_token_hint");
    let issued = idp.issued_secrets();
    let (_, id_token) = issued.iter().find(|(kind, _)| *kind == "ID token").unwrap();
    assert_eq!(asked.query.value("id_token_hint"), Some(id_token.as_str()));
    assert_eq!(asked.query.value("client_id"), Some("app"));
    assert_eq!(
        asked.query.value("post_logout_redirect_uri"),
        Some(format!("{PUBLIC_URL}/bff/logout/callback").as_str())
    );
}

/// E3: the hint is the last ID token received, not the first.
#[tokio::test]
async fn the_hint_is_the_last_id_token() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    bff.clock().advance(Duration::from_secs(295));
    browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(idp.refreshes(), 1);
    post_logout(&mut browser, "").await;
    let issued = idp.issued_secrets();
    let last = issued
        .iter()
        .rfind(|(kind, _)| *kind == "ID token")
        .unwrap();
    let asked = idp.asked(Endpoint::EndSession).pop().unwrap();
    assert_eq!(asked.query.value("id_token_hint"), Some(last.1.as_str()));
}

/// E3: `logout_hint = "none"` sends the `client_id` alone.
#[tokio::test]
async fn the_hint_may_be_left_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.logout_hint", "none")
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let (_, visit) = post_logout(&mut browser, "?return_to=/bye").await;
    let asked = idp.asked(Endpoint::EndSession).pop().unwrap();
    assert_eq!(asked.query.value("id_token_hint"), None);
    assert_eq!(asked.query.value("client_id"), Some("app"));
    assert_eq!(visit.url().path(), "/bye");
}

/// E3: with roles and groups in it, an ID token made an address of 11 KB, which providers and proxies
/// refuse. It is left out, the `client_id` stays, and a claim may take its place.
#[tokio::test]
async fn a_long_hint_is_left_out() {
    for (claim, expected) in [
        (None, None),
        (Some("sub"), Some("alice")),
        (Some("email"), Some("alice@example.com")),
        (Some("login_hint"), Some("opaque-alice")),
        (Some("groups"), None),
        (Some("nothing"), None),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let groups: Vec<String> = (0..300)
            .map(|group| format!("group number {group}"))
            .collect();
        idp.misbehave(Fault::claim("groups", groups));
        idp.misbehave(Fault::claim("login_hint", "opaque-alice"));
        let mut bff = Bff::with(&idp, &Upstream::start());
        if let Some(claim) = claim {
            bff = bff.set("provider.logout_hint_claim", claim);
        }
        let bff = bff.start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let (_, visit) = post_logout(&mut browser, "?return_to=/bye").await;
        let asked = idp.asked(Endpoint::EndSession).pop().unwrap();
        assert_eq!(asked.query.value("id_token_hint"), None, "{claim:?}");
        assert_eq!(asked.query.value("client_id"), Some("app"), "{claim:?}");
        assert_eq!(asked.query.value("logout_hint"), expected, "{claim:?}");
        assert_eq!(visit.url().path(), "/bye", "{claim:?}");
    }
}

/// E3: a provider that wants other parameters is sent those, at the address that the configuration
/// knows of, as Cognito's `logout_uri`.
#[tokio::test]
async fn a_provider_may_want_other_parameters() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Remove(Stage::Metadata, "end_session_endpoint"));
    let elsewhere = Upstream::start();
    let bff = Bff::with(&idp, &Upstream::start())
        .set(
            "provider.endpoints.end_session",
            format!("{}/logout?pool=7", elsewhere.url()),
        )
        .set(
            "provider.logout_params.logout_uri",
            format!("{PUBLIC_URL}/bff/logout/callback"),
        )
        .set("provider.logout_params.post_logout_redirect_uri", "")
        .set("provider.logout_params.state", "")
        .set("provider.logout_params.id_token_hint", "")
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    post_logout(&mut browser, "").await;
    let asked = elsewhere.seen().pop().unwrap();
    assert_eq!(
        asked.target,
        "/logout?pool=7&client_id=app&logout_uri=https%3A%2F%2Fapp.example%2Fbff%2Flogout%2Fcallback"
    );
    assert_eq!(idp.count(Endpoint::EndSession), 0);
}

/// E6: a logout may be meant to end here, whatever the provider offers.
#[tokio::test]
async fn a_logout_may_end_here() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.logout", "local")
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let old = browser.jar.clone();
    let (_, visit) = post_logout(&mut browser, "?return_to=/bye").await;
    assert_eq!(visit.url().path(), "/bye");
    assert_eq!(idp.count(Endpoint::EndSession), 0);
    assert_eq!(idp.core.sessions().len(), 1, "signed in there as before");
    idp.asked_times(Endpoint::Revocation, 2).await;
    check_dead(&mut browser, &old).await;
}

/// E1, E2: a script posts and is told where to go; it sees neither token nor provider.
#[tokio::test]
async fn a_script_signs_out_and_sees_no_token() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let old = browser.jar.clone();
    let (reply, visit) = post_logout(&mut browser, "?return_to=/bye").await;
    assert_eq!(
        reply.status_and_text(),
        "200\n{\"redirect_to\":\"/bff/logout/continue\"}"
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(!reply.text().contains(&idp.issuer));
    let lines = reply.all("set-cookie");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        lines[0],
        format!("{SESSION_COOKIE}=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0")
    );
    assert!(lines[1].starts_with(&format!("{CONTINUATION}=")));
    assert!(lines[1].ends_with("; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=120"));
    assert_eq!(visit.url().path(), "/bye");
    assert!(idp.core.sessions().is_empty());
    assert!(browser.jar.cookie(CONTINUATION).is_none(), "used up");
    check_dead(&mut browser, &old).await;
}

/// E3: the way on to the provider is this browser's alone, and good once.
#[tokio::test]
async fn the_way_on_to_the_provider_is_good_once() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    let before = browser.jar.clone();
    let onward = format!("{PUBLIC_URL}/bff/logout/continue");
    let reply = bff.browser().open(&onward).await;
    assert_eq!(reply.header("location"), Some("/"), "a stranger");
    assert_eq!(reply.header("set-cookie"), None, "nothing to take back");
    let reply = browser.open(&onward).await;
    let location = reply.location().unwrap();
    assert!(location.as_str().starts_with(&idp.url("/end_session?")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    browser.jar = before;
    let reply = browser.open(&onward).await;
    assert_eq!(reply.header("location"), Some("/"), "a second time");
}

/// E1: nobody else's page and no guessed link signs a person out.
#[tokio::test]
async fn another_site_signs_nobody_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut attacker = bff.browser();
    attacker.sign_in("bob").await;
    let of_bob = logout_link(&mut attacker).await;
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let own = logout_link(&mut browser).await;
    let cut = own[..own.len() - 1].to_owned();
    let links = ["/bff/logout", "/bff/logout?sid=", &of_bob, &cut];
    for link in links {
        // On our own site, as a link in a forum might be.
        browser.stand_on(PUBLIC_URL);
        let visit = browser.click(link).await;
        assert_eq!(refusal(visit.last()), "403 csrf", "{link}");
        assert_eq!(visit.last().header("set-cookie"), None, "{link}");
        browser.stand_on(PUBLIC_URL);
        let framed = browser.fetch(Fetch::frame(link)).await;
        assert_eq!(refusal(&framed), "403 csrf", "{link}");
        for fetch in [Fetch::image(link), Fetch::get(link)] {
            let reply = browser.fetch(fetch).await;
            assert_eq!(refusal(&reply), "400 not_a_navigation", "{link}");
        }
        // From another site no Strict cookie comes along; nothing happens and nothing is said.
        browser.stand_on("https://evil.example/");
        let visit = browser.click(&format!("{PUBLIC_URL}{link}")).await;
        assert_eq!(visit.replies[0].status, 303, "{link}");
        assert_eq!(visit.replies[0].header("set-cookie"), None, "{link}");
        assert_eq!(
            browser.signed_in().await.as_deref(),
            Some("alice"),
            "{link}"
        );
    }
    assert_eq!(idp.count(Endpoint::EndSession), 0);
    assert_eq!(idp.count(Endpoint::Revocation), 0);
}

/// E1: with a Lax cookie another site's link arrives with the session, and is refused.
#[tokio::test]
async fn another_sites_link_is_refused_with_a_lax_cookie_too() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("session.cookie.same_site", "Lax")
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    browser.stand_on("https://evil.example/");
    let visit = browser.click(&format!("{PUBLIC_URL}/bff/logout")).await;
    assert_eq!(refusal(visit.last()), "403 csrf");
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// E1: what a browser does by itself signs nobody out: it fetches the session's own link ahead, or
/// a script or an image has it. Each used to, so that a page with speculation rules signed its user
/// out without a click. The way on to the provider is not used up by it either.
#[tokio::test]
async fn what_a_browser_does_by_itself_signs_nobody_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let link = logout_link(&mut browser).await;
    let check_unasked = async |browser: &mut Browser, target: &str| {
        let address = format!("{PUBLIC_URL}{target}");
        for ahead in LOOKING_AHEAD {
            let mut fields = NAVIGATION.to_vec();
            fields.push(ahead);
            let reply = browser.curl("GET", &address, &fields, None).await;
            assert_eq!(
                refusal(&reply),
                "403 prefetch_refused",
                "{ahead:?} {target}"
            );
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.header("set-cookie"), None, "{ahead:?} {target}");
        }
        browser.stand_on(PUBLIC_URL);
        for fetch in [
            Fetch::get(target),
            Fetch::get(target).csrf(),
            Fetch::get(target).no_cors(),
            Fetch::image(target),
        ] {
            let reply = browser.fetch(fetch.clone()).await;
            assert_eq!(refusal(&reply), "400 not_a_navigation", "{fetch:?}");
            assert_eq!(reply.header("set-cookie"), None, "{fetch:?}");
        }
    };
    check_unasked(&mut browser, &link).await;
    check_unasked(&mut browser, "/bff/logout/callback?state=x").await;
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(idp.count(Endpoint::Revocation), 0);

    let posted = Fetch::new("POST", "/bff/logout").csrf();
    let onward = browser.fetch(posted).await.json()["redirect_to"].clone();
    check_unasked(&mut browser, onward.as_str().unwrap()).await;
    browser.stand_on(PUBLIC_URL);
    let visit = browser.click(onward.as_str().unwrap()).await;
    let location = visit.replies[0].location().unwrap();
    assert!(location.as_str().starts_with(&idp.url("/end_session?")));
}

/// E1: the link works through a service worker that passes it on.
#[tokio::test]
async fn a_link_that_a_service_worker_passes_on_signs_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let link = format!("{PUBLIC_URL}{}", logout_link(&mut browser).await);
    let passed_on = [
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "same-origin"),
        ("Sec-Fetch-Dest", "empty"),
        ("Accept", "text/html,*/*;q=0.8"),
    ];
    assert_eq!(
        browser.curl("GET", &link, &passed_on, None).await.status,
        303
    );
    assert_eq!(browser.signed_in().await, None);
}

/// E1, H2, H3: a POST needs the header, and must not come from elsewhere.
#[tokio::test]
async fn a_forged_post_signs_nobody_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let logout = format!("{PUBLIC_URL}/bff/logout");
    let reply = browser.fetch(Fetch::new("POST", "/bff/logout")).await;
    assert_eq!(refusal(&reply), "403 csrf");
    let forged = Fetch::new("POST", "/bff/logout").header("X-CSRF", "0");
    assert_eq!(refusal(&browser.fetch(forged).await), "403 csrf");
    for site in ["https://evil.example/", "https://sibling.app.example/"] {
        browser.stand_on(site);
        let forged = Fetch::new("POST", &logout).csrf().credentials();
        let reply = browser.fetch(forged).await;
        assert_eq!(refusal(&reply), "403 origin_not_allowed", "{site}");
        let visit = browser.submit(&logout, &[("sid", "x")]).await;
        assert_eq!(visit.last().status, 403, "{site}");
    }
    for method in ["PUT", "DELETE", "HEAD"] {
        let reply = browser
            .curl(method, &logout, &[("X-CSRF", "1")], None)
            .await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("GET, POST"), "{method}");
    }
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// E1: without a session there is nothing to end: no error, and no cookie of ours to take back.
#[tokio::test]
async fn without_a_session_a_logout_is_no_error() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for cookie in [
        None,
        Some(format!("{SESSION_COOKIE}=garbage")),
        Some("theme=dark".to_owned()),
    ] {
        let mut fields = vec![("X-CSRF", "1")];
        fields.extend(cookie.as_deref().map(|cookie| ("Cookie", cookie)));
        let url = format!("{PUBLIC_URL}/bff/logout?return_to=/bye&sid=x");
        let mut browser = bff.browser();
        let linked = browser.curl("GET", &url, &fields, None).await;
        assert_eq!(linked.status, 303, "{cookie:?}");
        assert_eq!(linked.header("location"), Some("/bye"), "{cookie:?}");
        let posted = browser.curl("POST", &url, &fields, None).await;
        assert_eq!(posted.status, 200, "{cookie:?}");
        assert_eq!(posted.json(), json!({ "redirect_to": "/bye" }));
        for reply in [linked, posted] {
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.header("set-cookie"), None, "{cookie:?}");
        }
    }
    assert_eq!(idp.count(Endpoint::EndSession), 0);
}

/// E1: a second logout with the dead cookie is no error either.
#[tokio::test]
async fn a_second_logout_is_no_error() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let old = browser.jar.clone();
    post_logout(&mut browser, "").await;
    browser.jar = old;
    browser.stand_on(PUBLIC_URL);
    let reply = browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    assert_eq!(reply.json(), json!({ "redirect_to": "/" }));
    assert!(browser.jar.cookie(SESSION_COOKIE).is_none());
}

/// E4: the landing page takes the right state, another one and none, and does nothing else.
#[tokio::test]
async fn the_landing_page_takes_any_state() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let link = logout_link(&mut browser).await;
    let first = browser
        .open(&format!("{PUBLIC_URL}{link}&return_to=/bye%3Fa%3D1"))
        .await;
    let state = parameter(&first.location().unwrap(), "state").unwrap();
    browser.sign_in("bob").await;
    let landing = Url::parse(&format!("{PUBLIC_URL}/bff/logout/callback")).unwrap();
    let mut changed = state.clone().into_bytes();
    let at = changed.len() / 2;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (name, state, expected) in [
        ("right", Some(state.as_str()), "/bye?a=1"),
        ("again", Some(state.as_str()), "/bye?a=1"),
        ("other", Some("something-else"), "/"),
        ("changed", Some(changed.as_str()), "/"),
        ("a place", Some("https://evil.example/"), "/"),
        ("empty", Some(""), "/"),
        ("none", None, "/"),
    ] {
        let url = with_parameter(&landing, "state", state);
        let reply = browser.open(url.as_str()).await;
        assert_eq!(reply.status, 303, "{name}");
        assert_eq!(reply.header("location"), Some(expected), "{name}");
        assert_eq!(reply.header("set-cookie"), None, "{name}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
    }
    // Whoever is signed in meanwhile stays so.
    assert_eq!(browser.signed_in().await.as_deref(), Some("bob"));
}

/// E5: the refresh token is revoked, then the access token.
#[tokio::test]
async fn both_tokens_are_revoked() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    post_logout(&mut browser, "").await;
    idp.asked_times(Endpoint::Revocation, 2).await;
    let asked = idp.asked(Endpoint::Revocation);
    let issued = idp.issued_secrets();
    for (asked, kind) in asked.iter().zip(["refresh token", "access token"]) {
        let (_, token) = issued.iter().find(|(own, _)| *own == kind).unwrap();
        assert_eq!(asked.form.value("token"), Some(token.as_str()), "{kind}");
        let hint = kind.replace(' ', "_");
        assert_eq!(asked.form.value("token_type_hint"), Some(hint.as_str()));
    }
}

/// E5: a provider that is down, or hangs, holds up no logout.
#[tokio::test]
async fn a_logout_waits_for_no_provider() {
    let revocation = Endpoint::Revocation;
    for fault in [
        Fault::unavailable(revocation),
        Fault::DropUnheard(revocation),
        Fault::never(revocation),
        Fault::Error(revocation, 400, "unsupported_token_type"),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let old = browser.jar.clone();
        idp.misbehave(fault.clone());
        let gate = idp.hold(revocation);
        let (reply, _) = post_logout(&mut browser, "").await;
        assert_eq!(reply.status, 200, "{fault:?}");
        idp.asked_times(revocation, 1).await;
        drop(gate);
        check_dead(&mut browser, &old).await;
    }
}

/// E5: an access token that the provider does not revoke is no warning once the refresh token is
/// (RFC 7009 §2.2.1); a refresh token that lives on is. Both say how the provider answered. Every
/// logout at such a provider warned that it could not be asked.
#[tokio::test]
async fn a_revocation_warns_where_the_refresh_token_lives_on() {
    let revocation = Endpoint::Revocation;
    let refused = Fault::Error(revocation, 400, "unsupported_token_type");
    // The first call is about the refresh token.
    let good = Fault::Late(revocation, Duration::ZERO);
    for (first, then, warns) in [
        (good.clone(), refused.clone(), false),
        (refused, good, true),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        idp.misbehave_once(first);
        idp.misbehave_once(then);
        post_logout(&mut browser, "").await;
        let said = "status 400, unsupported_token_type";
        soon("a line in the log", async {
            while bff.logs().lines_with(said).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        idp.asked_times(revocation, 2).await;
        drop(bff.browser().sign_in("bob").await);
        let lines = bff.logs().lines_with(said);
        let warned = lines.iter().any(|line| line.contains("\"level\":\"WARN\""));
        assert_eq!(warned, warns, "{lines:?}");
    }
}

/// E5: the tokens of a session that a second login in the same browser replaced are revoked where
/// the operator asks for it; some providers end their whole sign-on with them.
#[tokio::test]
async fn tokens_of_a_replaced_session_are_revoked_on_request() {
    // In the same browser; and in another, where the user may have one session.
    for (asked_for, same) in [(false, true), (true, true), (true, false)] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start())
            .set("session.revoke_superseded", asked_for)
            .set("session.max_per_user", if same { 9 } else { 1 })
            .start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let of_first: Vec<_> = idp.issued_secrets();
        if !same {
            browser = bff.browser();
        }
        browser.sign_in("alice").await;
        if asked_for {
            idp.asked_times(Endpoint::Revocation, 2).await;
            for asked in idp.asked(Endpoint::Revocation) {
                let token = asked.form.value("token").unwrap();
                assert!(of_first.iter().any(|(_, known)| known == token));
            }
        } else {
            // What a login sets off comes before a whole login that follows it.
            bff.browser().sign_in("bob").await;
            assert_eq!(idp.count(Endpoint::Revocation), 0);
        }
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    }
}

/// E5: the tokens of a session that ran into a limit are revoked where the operator asks for it, also
/// where a request is the first to come upon its end.
#[tokio::test]
async fn tokens_of_an_expired_session_are_revoked_on_request() {
    for asked_for in [false, true] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start())
            .set("session.revoke_abandoned", asked_for)
            .start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let of_first: Vec<_> = idp.issued_secrets();
        bff.clock().advance(Duration::from_hours(9));
        assert_eq!(browser.signed_in().await, None);
        if asked_for {
            idp.asked_times(Endpoint::Revocation, 2).await;
            for asked in idp.asked(Endpoint::Revocation) {
                let token = asked.form.value("token").unwrap();
                assert!(of_first.iter().any(|(_, known)| known == token));
            }
        } else {
            bff.browser().sign_in("bob").await;
            assert_eq!(idp.count(Endpoint::Revocation), 0);
        }
    }
}

/// E5: `revoke_on_logout = false` leaves the tokens to the provider.
#[tokio::test]
async fn revocation_can_be_left_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.revoke_on_logout", false)
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let old = browser.jar.clone();
    post_logout(&mut browser, "").await;
    check_dead(&mut browser, &old).await;
    // What a logout sets off comes before a whole login that follows it.
    bff.browser().sign_in("bob").await;
    assert_eq!(idp.count(Endpoint::Revocation), 0);
}

/// E6: a provider without an end-session endpoint: the logout is ours alone.
#[tokio::test]
async fn without_an_end_session_endpoint_the_logout_is_local() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Remove(Stage::Metadata, "end_session_endpoint"));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let old = browser.jar.clone();
    let link = logout_link(&mut browser).await;
    let reply = browser
        .open(&format!("{PUBLIC_URL}{link}&return_to=/bye"))
        .await;
    assert_eq!(reply.status, 303);
    assert_eq!(reply.header("location"), Some("/bye"));
    check_dead(&mut browser, &old).await;

    browser.sign_in("alice").await;
    let posted = Fetch::new("POST", "/bff/logout?return_to=/bye").csrf();
    let reply = browser.fetch(posted).await;
    assert_eq!(reply.json(), json!({ "redirect_to": "/bye" }));
    assert_eq!(reply.all("set-cookie").len(), 1, "no way on to remember");
    assert_eq!(browser.signed_in().await, None);
}

/// E2: of two browsers of one person, one is signed out.
#[tokio::test]
async fn the_other_browser_stays_signed_in() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let (mut one, mut other) = (bff.browser(), bff.browser());
    one.sign_in("alice").await;
    other.sign_in("alice").await;
    post_logout(&mut one, "").await;
    assert_eq!(one.signed_in().await, None);
    assert_eq!(other.signed_in().await.as_deref(), Some("alice"));
}
