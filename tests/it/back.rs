//! A callback whose login is over: *Back* to a provider that answers at once, a form that was left open
//! for too long, the oldest of many tabs. Nobody who is signed in is told that a sign-in failed.

use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use url::Url;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Visit};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{
    SESSION_COOKIE, login_url, parameter, refusal, sign_in_link, with_parameter,
};
use crate::support::upstream::Upstream;

/// A product with a page that needs a session, `/reports`.
fn with_reports<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let reports = toml::toml! { path = "/reports"  csrf = "origin" };
    Bff::with(idp, upstream).route(reports, upstream)
}

/// Begins a login that goes to `place`: the provider's address, and what it first sends back.
async fn on_the_way(browser: &mut Browser, query: &str) -> (Url, Url) {
    let begun = browser
        .begin_login(&format!("login_hint=alice&{query}"))
        .await;
    let authorize = begun.location().unwrap();
    let callback = browser.open(authorize.as_str()).await.location().unwrap();
    (authorize, callback)
}

/// What the address bar held on the way, of ours.
fn addresses_of_ours(visit: &Visit) -> Vec<&Url> {
    let urls = visit.replies.iter().map(|reply| &reply.url);
    urls.filter(|url| url.as_str().starts_with(PUBLIC_URL))
        .collect()
}

/// C6: *Back* after a login goes to the provider, which answers at once with a new code and the old
/// state. A living session goes on to where that login was going: no new session, nothing bought. It was
/// a page that said "Sign-in failed".
#[tokio::test]
async fn back_to_the_provider_goes_on_in_the_session() {
    for says_so in [true, false] {
        let idp = Idp::start(&nine_o_clock());
        let upstream = Upstream::start();
        let bff = with_reports(&idp, &upstream).start();
        let mut browser = bff.browser();
        if !says_so {
            browser = browser.without_fetch_metadata();
        }
        let (authorize, callback) = on_the_way(&mut browser, "return_to=/reports/7%3Fa%3D1").await;
        assert_eq!(browser.open(callback.as_str()).await.status, 200, "the hop");
        let session = browser.session().await;
        let again = browser.open(authorize.as_str()).await.location().unwrap();
        assert_eq!(parameter(&again, "state"), parameter(&callback, "state"));
        assert_ne!(parameter(&again, "code"), parameter(&callback, "code"));

        browser.stand_on(&idp.issuer);
        let visit = browser.click(again.as_str()).await;
        let step = visit.last().clone();
        assert_eq!(step.status, 200);
        // Neither is in the address of the page that is shown, nor of any that follows.
        let shown = browser.go_on(&step).await;
        for address in addresses_of_ours(&shown).into_iter().chain([&step.url]) {
            assert_eq!(parameter(address, "code"), None, "{address}");
            assert_eq!(parameter(address, "state"), None, "{address}");
        }
        assert_eq!(shown.last().status, 200);
        assert_eq!(shown.url().as_str(), format!("{PUBLIC_URL}/reports/7?a=1"));
        assert!(upstream.the_one().bearer().is_some());
        assert_eq!(
            browser.session().await["session"]["tag"],
            session["session"]["tag"]
        );
        assert_eq!(idp.count(Endpoint::Token), 1);
    }
}

/// B6, C6: without a session the login starts once more by itself, in the browser that began it, and
/// ends where it was going. In any other browser the same address asks first.
#[tokio::test]
async fn a_login_that_is_over_starts_again_where_it_began() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_reports(&idp, &upstream).start();
    let mut browser = bff.browser();
    let (_, callback) = on_the_way(&mut browser, "return_to=/reports/7&max_age=60").await;
    browser.open(callback.as_str()).await;
    browser.jar.remove(SESSION_COOKIE);

    browser.stand_on(&idp.issuer);
    let step = browser.click(callback.as_str()).await.last().clone();
    let mut stranger = browser.stranger(std::sync::Arc::clone(bff.clock()));
    let asked = idp.count(Endpoint::Authorize);
    let visit = stranger.go_on(&step).await;
    assert_eq!(refusal(visit.last()), "400 login_failed");
    assert_eq!(
        idp.count(Endpoint::Authorize),
        asked,
        "nothing began by itself"
    );

    let visit = browser.go_on(&step).await;
    let begun = visit.reply_of("/bff/login/resume").location().unwrap();
    assert!(
        begun.as_str().starts_with(&idp.url("/authorize?")),
        "{begun}"
    );
    assert_eq!(parameter(&begun, "max_age").as_deref(), Some("60"));
    assert_eq!(visit.last().url.path(), "/bff/callback");
    let visit = browser.go_on(&visit.last().clone()).await;
    assert_eq!(visit.last().status, 200);
    assert_eq!(visit.url().path(), "/reports/7");
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// C6: a callback that is loaded twice, where the first answer never arrived, signs in all the same.
#[tokio::test]
async fn a_callback_that_is_loaded_twice_signs_in() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let (_, callback) = on_the_way(&mut browser, "return_to=/here").await;
    let before = browser.jar.clone();
    browser.open(callback.as_str()).await;
    browser.jar = before;
    let visit = browser.come_back(&callback).await;
    assert_eq!(visit.last().url.path(), "/here", "{:?}", visit.paths());
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// B4: the provider's form was open for longer than a login may take. Whoever is signed in by now goes
/// on, whoever is not signs in without a page in between. It was a page that said "Sign-in failed".
#[tokio::test]
async fn a_form_that_was_open_for_too_long_is_no_failure() {
    for signed_in in [true, false] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browser = bff.browser();
        let (authorize, _) = on_the_way(&mut browser, "return_to=/here").await;
        bff.clock().advance(Duration::from_hours(2));
        if signed_in {
            browser.sign_in("alice").await;
        }
        let bought = idp.count(Endpoint::Token);
        let late = browser.open(authorize.as_str()).await.location().unwrap();
        let visit = browser.come_back(&late).await;
        assert_eq!(visit.last().url.path(), "/here", "{:?}", visit.paths());
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        let expected = bought + usize::from(!signed_in);
        assert_eq!(
            idp.count(Endpoint::Token),
            expected,
            "signed in: {signed_in}"
        );
    }
}

/// B4: of seven tabs that log in, the two oldest are pushed out; each of them ends where it was going all
/// the same, be it the first to come back or the last.
#[tokio::test]
async fn the_oldest_of_seven_tabs_ends_where_it_was_going() {
    for first in [0, 6] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browser = bff.browser();
        let mut tabs = Vec::new();
        for nth in 0..7 {
            let (_, callback) = on_the_way(&mut browser, &format!("return_to=/tab/{nth}")).await;
            tabs.push((nth, callback));
            bff.clock().advance(Duration::from_secs(5));
        }
        if first == 6 {
            tabs.reverse();
        }
        for (nth, callback) in &tabs {
            let visit = browser.come_back(callback).await;
            let shown = visit.url().path();
            assert_eq!(shown, format!("/tab/{nth}"), "{:?}", visit.paths());
            assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        }
    }
}

/// What Keycloak says to whoever goes *Back* to its form and presses *Sign in* again.
fn expired(callback: &Url) -> Url {
    let callback = with_parameter(callback, "code", None);
    let callback = with_parameter(&callback, "error", Some("temporarily_unavailable"));
    with_parameter(
        &callback,
        "error_description",
        Some("authentication_expired"),
    )
}

/// C5: a provider that has let the login expire signs nobody in, and no harm is done: a living session
/// goes on, a browser without one begins again, three times within a minute and no more. It was a page
/// that said "Sign-in failed", in a living session too.
#[tokio::test]
async fn a_login_that_expired_at_the_provider_goes_on() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let (_, callback) = on_the_way(&mut browser, "return_to=/here").await;
    let bought = idp.count(Endpoint::Token);
    let visit = browser.come_back(&expired(&callback)).await;
    let place = visit.reply_of("/bff/login/resume").header("location");
    assert_eq!(place, Some("/here"));
    assert_eq!(idp.count(Endpoint::Token), bought);
    // The same word without Keycloak's reason is an outage, which one more try does not mend.
    let (_, callback) = on_the_way(&mut browser, "return_to=/here").await;
    let other = with_parameter(
        &expired(&callback),
        "error_description",
        Some("maintenance"),
    );
    let reply = browser.open(other.as_str()).await;
    assert_eq!(refusal(&reply), "400 login_failed");

    let mut browser = bff.browser();
    let (_, mut callback) = on_the_way(&mut browser, "return_to=/here").await;
    for nth in 1..=3 {
        browser.stand_on(&idp.issuer);
        let step = browser
            .click(expired(&callback).as_str())
            .await
            .last()
            .clone();
        let text = step.text();
        let link = text.split_once("content=\"0;url=").unwrap().1;
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        let reply = browser.open(&format!("{PUBLIC_URL}{link}")).await;
        if nth == 3 {
            assert_eq!(refusal(&reply), "400 login_loop");
            assert!(reply.text().contains("clocks"), "{}", reply.text());
            assert_eq!(sign_in_link(&reply), "/bff/login?return_to=%2Fhere");
            break;
        }
        let authorize = reply.location().unwrap();
        assert!(authorize.as_str().starts_with(&idp.url("/authorize?")));
        // A form asks who they are: this is no loop of redirects, and the count travels in the state.
        callback = with_parameter(
            &callback,
            "state",
            parameter(&authorize, "state").as_deref(),
        );
    }
}

/// B4, B6: a browser that keeps no cookie of ours is never sent round in circles, and after three
/// sign-ins within a minute it is told why they come to nothing. The count is in the `state`, since there
/// is no cookie to keep it.
#[tokio::test]
async fn a_browser_without_cookies_is_told_so() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for (pause, expected) in [(5, "400 login_loop"), (90, "400 login_failed")] {
        let mut browser = bff.browser();
        let nothing = browser.jar.clone();
        let mut link = "/bff/login?return_to=/here".to_owned();
        let mut said = Vec::new();
        for _ in 0..3 {
            browser.jar = nothing.clone();
            browser.stand_on(PUBLIC_URL);
            let begun = browser.open(&format!("{PUBLIC_URL}{link}")).await;
            browser.jar = nothing.clone();
            let authorize = format!("{}&login_hint=alice", begun.location().unwrap());
            let callback = browser.open(&authorize).await.location().unwrap();
            let page = browser.come_back(&callback).await.last().clone();
            said.push(refusal(&page));
            link = sign_in_link(&page);
            if said.last().is_some_and(|said| said.ends_with("login_loop")) {
                assert!(page.text().contains("cookie"), "{}", page.text());
                // Whoever tries all the same begins to count anew.
                assert!(!link.contains("tried="), "{link}");
            }
            bff.clock().advance(Duration::from_secs(pause));
        }
        assert_eq!(said, ["400 login_failed", "400 login_failed", expected]);
        assert_eq!(idp.count(Endpoint::Token), 0);
    }
}

/// B10: a page that needs a session begins a login by itself, but not for ever: where the browser keeps
/// the cookie of a login and not the session's, the provider answered at once and the browser went round
/// until it gave up.
#[tokio::test]
async fn a_session_that_the_browser_does_not_keep_is_no_loop() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_reports(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    bff.clock().advance(Duration::from_mins(2));
    for nth in 1..=4 {
        browser.jar.remove(SESSION_COOKIE);
        let visit = browser.visit(&format!("{PUBLIC_URL}/reports/7")).await;
        if nth < 4 {
            assert_eq!(visit.last().url.path(), "/bff/callback", "{nth}");
            continue;
        }
        let page = visit.last();
        assert_eq!(refusal(page), "400 login_loop");
        assert!(page.text().contains("has not kept its session"));
        assert_eq!(sign_in_link(page), "/bff/login?return_to=%2Freports%2F7");
    }
    // A link of our own page is the person's own will.
    assert_eq!(
        browser
            .open(&login_url("return_to=/reports/7"))
            .await
            .status,
        303
    );
    bff.clock().advance(Duration::from_mins(1));
    browser.jar.remove(SESSION_COOKIE);
    let reply = browser.open(&format!("{PUBLIC_URL}/reports/7")).await;
    assert_eq!(reply.status, 303, "a minute later it may work");
}

/// B6: nothing that a stranger writes into the address begins a login or leads off our origin.
#[tokio::test]
async fn a_made_up_address_resumes_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let (_, callback) = on_the_way(&mut browser, "").await;
    for query in [
        "",
        "step=1",
        "login=aaaaaaaaaaaa&step=1",
        "login=..%2F..%2F..%2F..&step=1&tried=x",
        "login=aaaaaaaaaaaa&login=bbbbbbbbbbbb&step=1&return_to=//evil.example",
    ] {
        browser.stand_on("https://evil.example/");
        let visit = browser
            .click(&format!("{PUBLIC_URL}/bff/login/resume?{query}"))
            .await;
        let reply = visit.last();
        assert!(!reply.text().contains("evil"), "{query}");
        if query.is_empty() {
            assert_eq!(reply.status, 200, "a step of our own");
        } else {
            assert_eq!(refusal(reply), "400 login_failed", "{query}");
        }
        assert_eq!(reply.header("set-cookie"), None, "{query}");
    }
    // The login that is under way is not spoilt.
    assert_eq!(
        browser.open(callback.as_str()).await.header("location"),
        Some("/")
    );
}
