//! The pages that people see when something does not work: what they say, where they lead, and the app's
//! own page in their place.

use bff::dev::provider::endpoints::Endpoint;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::signed_in;
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{login_url, refusal, with_parameter};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// A product with an app on `/`.
fn with_app<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let builder = Bff::with(idp, upstream).file("dist/index.html", "<!doctype html>the app");
    let dir = builder.path("dist");
    builder.set("frontend.dir", dir.to_str().unwrap())
}

/// The links of a page, with what they say.
fn links(reply: &Reply) -> Vec<(String, String)> {
    let text = reply.text();
    let anchors = text.split("<a ").skip(1);
    anchors
        .map(|anchor| {
            let link = anchor.split_once("href=\"").unwrap().1;
            let (link, rest) = link.split_once("\">").unwrap();
            let label = rest.split('<').next().unwrap();
            (label.to_owned(), link.replace("&amp;", "&"))
        })
        .collect()
}

fn label_and_link(label: &str, link: &str) -> (String, String) {
    (label.to_owned(), link.to_owned())
}

/// Whoever follows a plain link to an address of the app's scripts reads what that is and where the app
/// is; it was "Anti-forgery header missing" and "X-CSRF: 1". Programs are told as ever.
#[tokio::test]
async fn a_plain_link_to_an_api_is_explained() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_app(&idp, &upstream).start();
    for user in [None, Some("alice")] {
        let mut browser = match user {
            Some(user) => signed_in(&bff, user).await,
            None => bff.browser(),
        };
        for path in ["/api/orders", "/bff/session"] {
            let reply = browser.open(&format!("{PUBLIC_URL}{path}")).await;
            assert_eq!(refusal(&reply), "403 csrf", "{path}");
            let text = reply.text();
            let (people, developers) = text.split_once("<dl>").unwrap();
            assert!(
                people.contains("<h1>This address is for the app</h1>"),
                "{people}"
            );
            assert!(!people.contains("X-CSRF"), "{people}");
            assert!(
                developers.contains("need the header X-CSRF: 1."),
                "{developers}"
            );
            assert_eq!(links(&reply), [label_and_link("Start page", "/")]);
        }
        browser.stand_on(PUBLIC_URL);
        let told = browser.fetch(Fetch::get("/api/orders")).await.json();
        assert_eq!(told["title"], "Anti-forgery header missing");
        assert_eq!(
            told["detail"],
            "Requests to this address need the header X-CSRF: 1."
        );
    }
    assert!(upstream.seen().is_empty());
}

/// Every page of ours has a way on, and a way home where there is one.
#[tokio::test]
async fn every_page_has_a_way_on_and_a_way_home() {
    let idp = Idp::start(&nine_o_clock());
    let bff = with_app(&idp, &Upstream::start()).start();
    let home = label_and_link("Start page", "/");
    let mut browser = bff.browser();

    let denied = browser
        .callback_url("login_hint=alice&return_to=/here")
        .await;
    let denied = with_parameter(&denied, "code", None);
    let denied = with_parameter(&denied, "error", Some("access_denied"));
    let page = browser.open(denied.as_str()).await;
    let sign_in = label_and_link("Sign in", "/bff/login?return_to=%2Fhere");
    assert_eq!(links(&page), [sign_in, home.clone()]);

    let page = browser.open(&login_url("return_to=//evil.example")).await;
    assert_eq!(
        links(&page),
        [label_and_link("Sign in", "/bff/login"), home.clone()]
    );

    let page = browser.open(&format!("{PUBLIC_URL}/bff/nothing")).await;
    assert_eq!((page.status, links(&page)), (404, vec![home.clone()]));

    browser.stand_on("https://mail.example/");
    let visit = browser.click(&format!("{PUBLIC_URL}/bff/login")).await;
    let go_on = label_and_link("Continue to sign in", "/bff/login?return_to=%2F");
    assert_eq!(links(visit.last()), [go_on, home.clone()]);

    let callback = browser
        .callback_url("login_hint=alice&return_to=/here")
        .await;
    idp.misbehave_once(Fault::unavailable(Endpoint::Token));
    let page = browser.open(callback.as_str()).await;
    assert_eq!(page.status, 503);
    let sign_in = label_and_link("Sign in", "/bff/login?return_to=%2Fhere");
    assert_eq!(links(&page), [sign_in, home]);
}

/// What an upstream that is away leaves a person with: the same page once more, and the way home.
#[tokio::test]
async fn a_page_that_cannot_be_had_may_be_tried_again() {
    let idp = Idp::start(&nine_o_clock());
    let away = Upstream::start();
    let bff = with_app(&idp, &Upstream::start())
        .route(toml::toml! { path = "/away"  auth = "none" }, &away)
        .start();
    drop(away);
    let page = bff
        .browser()
        .open(&format!("{PUBLIC_URL}/away/7?a=1&b=%22"))
        .await;
    assert_eq!(page.status, 502);
    let again = label_and_link("Try again", "/away/7?a=1&b=%22");
    assert_eq!(links(&page), [again, label_and_link("Start page", "/")]);
}

const OWN_PAGE: &str = "<!doctype html><title>%bff.title%</title><p>%bff.detail% %bff.nothing% 100%</p>\
                        <a href=\"%bff.link%\">%bff.link_text%</a> %bff.status% %bff.code% %bff.request_id%";

/// `[frontend] error_page` takes the place of our pages, for people alone, with the status and the
/// headers of the app's files.
#[tokio::test]
async fn the_app_shows_its_own_page() {
    let idp = Idp::start(&nine_o_clock());
    let builder = with_app(&idp, &Upstream::start()).file("error.html", OWN_PAGE);
    let page = builder.path("error.html");
    let bff = builder
        .set("frontend.error_page", page.to_str().unwrap())
        .start();
    let mut browser = bff.browser();
    let reply = browser
        .open(&format!("{PUBLIC_URL}/api/orders?%3Cscript%3E"))
        .await;
    assert_eq!(reply.status, 403);
    let id = reply.header("x-request-id").unwrap();
    let text = reply.text().replace(id, "[id]");
    insta::assert_snapshot!(text, @r#"<!doctype html><title>This address is for the app</title><p>The app gets its data here; opened by itself, the address shows nothing. Open the app instead. %bff.nothing% 100%</p><a href="/">Start page</a> 403 csrf [id]"#);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(
        reply.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    // A login that failed leads on from there as well.
    let reply = browser.open(&login_url("return_to=//evil.example")).await;
    assert!(
        reply
            .text()
            .contains("<a href=\"/bff/login\">Sign in</a> 400 bad_return_to")
    );
    // Programs are told as ever.
    browser.stand_on(PUBLIC_URL);
    let reply = browser.fetch(Fetch::get("/api/orders")).await;
    assert_eq!(reply.json()["code"], "csrf");
}

/// An app's page that leads nowhere gives way where a person has to sign in, and where a window is to
/// tell who opened it.
#[tokio::test]
async fn a_page_that_leads_nowhere_gives_way() {
    let idp = Idp::start(&nine_o_clock());
    let builder = with_app(&idp, &Upstream::start()).file("error.html", "<p>Oh no.</p>");
    let page = builder.path("error.html");
    let bff = builder
        .set("frontend.error_page", page.to_str().unwrap())
        .start();
    let mut browser = bff.browser();
    let reply = browser.open(&format!("{PUBLIC_URL}/api/orders")).await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (403, "<p>Oh no.</p>")
    );
    for query in [
        "return_to=//evil.example",
        "mode=popup&return_to=//evil.example",
    ] {
        let reply = browser.open(&login_url(query)).await;
        assert!(reply.text().contains(">Sign in</a>"), "{query}");
    }
}
