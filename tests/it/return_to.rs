//! Where the browser goes after a login or a logout: nowhere but here, as its own parser reads it.

use bff::dev::provider::endpoints::Endpoint;
use url::Url;

use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{login_url, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// F4: the catalogue; `own` is our host.
const ELSEWHERE: [&str; 62] = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/\u{b}/evil.example",
    "/ /evil.example",
    "/%20/evil.example",
    "/\u{3000}/evil.example",
    " /evil.example",
    "\t//evil.example",
    "\u{0}//evil.example",
    "/\u{0}/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "http:///evil.example",
    "https://evil.example",
    "HTTPS://evil.example",
    "https://app.example@evil.example",
    "https://app.example:443@evil.example",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "https://app.example%2eevil.example",
    "https://app.example%00.evil.example",
    "https://app.example\\.evil.example",
    "https://app.example:8443/",
    "https://app.example.",
    "https:app.example",
    "https:/app.example/a",
    "http://app.example/",
    "ws://app.example/",
    "https://user@app.example/",
    "https://:x@app.example/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "blob:https://app.example/x",
    "file:///etc/passwd",
    "mailto:a@app.example",
    "//evil.example%2f..",
    "/%5cevil.example",
    "/%2f%2fevil.example",
    "/%2fevil.example",
    "/%252fevil.example",
    "/%255cevil.example",
    "/%09/evil.example",
    "/%0d%0aSet-Cookie:x=1",
    "/orders%0d%0aSet-Cookie:x=1",
    "/orders\r\nSet-Cookie: x=1",
    "/./\\evil.example",
    "/..//evil.example",
    "/.//evil.example",
    "/orders/..//evil.example",
    "https://app\u{3002}example/",
    "https://\u{ff41}pp.example/",
    "https://0177.0.0.1/",
    "https://[::1]/",
];

/// F6: our own endpoints, however they are written.
const LOOPS: [&str; 10] = [
    "/bff",
    "/bff/",
    "/bff/login",
    "/bff/login?return_to=/",
    "/bff/logout?sid=x",
    "/bff/callback",
    "/bff/logout/continue",
    "/%62ff/login",
    "/a/../bff/login",
    "https://app.example/bff/logout",
];

/// Places of ours, and how they are sent.
const OURS: [(&str, &str); 13] = [
    ("/", "/"),
    ("/orders?page=2#row-7", "/orders?page=2#row-7"),
    ("/a/../b", "/b"),
    ("/caf%C3%A9", "/caf%C3%A9"),
    ("/bffalo", "/bffalo"),
    ("/search?next=//evil.example", "/search?next=//evil.example"),
    (
        "/search?next=https://evil.example",
        "/search?next=https://evil.example",
    ),
    ("https://app.example/orders", "/orders"),
    ("https://app.example/", "/"),
    // As people write them: refused once, and the login with them.
    ("/größe", "/gr%C3%B6%C3%9Fe"),
    ("/a b", "/a%20b"),
    (
        "/suche?q=größer als#erstes",
        "/suche?q=gr%C3%B6%C3%9Fer%20als#erstes",
    ),
    ("https://app.example/größe", "/gr%C3%B6%C3%9Fe"),
];

fn with_place(path: &str, name: &str, place: &str) -> String {
    let mut url = Url::parse(&format!("{PUBLIC_URL}{path}")).unwrap();
    url.query_pairs_mut().append_pair(name, place);
    url.into()
}

/// That `reply` refuses `place`, and sends the browser nowhere.
fn check_refused(place: &str, reply: &Reply) {
    assert_eq!(refusal(reply), "400 bad_return_to", "{place:?}");
    assert_eq!(reply.header("location"), None, "{place:?}");
    assert_eq!(reply.header("set-cookie"), None, "{place:?}");
    assert!(
        !reply.text().contains("evil"),
        "{place:?}: {}",
        reply.text()
    );
}

/// That `reply` leads to `expected` on our own origin, as a WHATWG parser reads it.
fn check_ours(place: &str, reply: &Reply, expected: &str) {
    assert_eq!(reply.header("location"), Some(expected), "{place:?}");
    let origin = Url::parse(PUBLIC_URL).unwrap().origin();
    assert_eq!(reply.location().unwrap().origin(), origin, "{place:?}");
}

/// F2, F3, F4, F6: no login is begun that would end elsewhere, by either name of the parameter.
#[tokio::test]
async fn a_login_leads_nowhere_else() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for place in ELSEWHERE.into_iter().chain(LOOPS) {
        for name in ["return_to", "returnUrl"] {
            let reply = bff
                .browser()
                .open(&with_place("/bff/login", name, place))
                .await;
            check_refused(place, &reply);
        }
    }
    assert_eq!(idp.count(Endpoint::Authorize), 0);
}

/// F1, F3: places of ours are sent as a parser writes them, never as they came.
#[tokio::test]
async fn a_login_leads_to_our_own_places() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for (place, expected) in OURS {
        let mut browser = bff.browser();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("login_hint", "alice")
            .append_pair("return_to", place);
        let visit = browser.visit(&login_url(&query.finish())).await;
        check_ours(place, visit.reply_of("/bff/callback"), expected);
    }
}

/// Nothing that a browser could be sent to.
fn odd_places() -> [String; 6] {
    [
        String::new(),
        "orders".to_owned(),
        "/100%".to_owned(),
        "/gr\u{fffd}\u{fffd}e".to_owned(),
        format!("/{}", "a".repeat(2048)),
        // As it is sent, it is too long.
        format!("/{}", "ö".repeat(400)),
    ]
}

/// F1, F3: a place that is odd or too long stops nobody from signing in: the login ends at the page that
/// asked, if that was ours, and else at the front page. It was a dead end.
#[tokio::test]
async fn an_odd_place_is_no_dead_end() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for place in odd_places() {
        for (asks, expected) in [
            (
                Some("https://app.example/orders?page=2#row-7"),
                "/orders?page=2",
            ),
            (Some("https://app.example/bff/callback?code=x"), "/"),
            (Some("https://app.example.evil.example/"), "/"),
            (None, "/"),
        ] {
            let mut browser = bff.browser();
            let link = with_place("/bff/login?login_hint=alice", "return_to", &place);
            let fields = asks.map(|asks| ("Referer", asks.split('#').next().unwrap()));
            let begun = browser
                .curl("GET", &link, &Vec::from_iter(fields), None)
                .await;
            assert_eq!(begun.status, 303, "{place} from {asks:?}");
            let visit = browser.visit(begun.location().unwrap().as_str()).await;
            check_ours(&place, visit.reply_of("/bff/callback"), expected);
            assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        }
    }
}

/// F1: nor does it stop anybody from signing out. The page that asked may need the session that has
/// just ended, so it is the front page there.
#[tokio::test]
async fn an_odd_place_stops_no_logout() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for place in odd_places() {
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let link = browser.session().await["logout_url"]
            .as_str()
            .unwrap()
            .to_owned();
        browser.stand_on(&format!("{PUBLIC_URL}/orders"));
        let visit = browser.click(&with_place(&link, "return_to", &place)).await;
        check_ours(&place, visit.reply_of("/bff/logout/callback"), "/");
        assert_eq!(browser.signed_in().await, None);
    }
}

/// F2, F4, F6: a logout that would end elsewhere ends nothing, as a link or as a POST.
#[tokio::test]
async fn a_logout_leads_nowhere_else() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let link = browser.session().await["logout_url"]
        .as_str()
        .unwrap()
        .to_owned();
    for place in ELSEWHERE.into_iter().chain(LOOPS) {
        let reply = browser.open(&with_place(&link, "return_to", place)).await;
        check_refused(place, &reply);
        browser.stand_on(PUBLIC_URL);
        let target = with_place("/bff/logout", "returnUrl", place);
        let reply = browser.fetch(Fetch::new("POST", &target).csrf()).await;
        check_refused(place, &reply);
        // The same for whom there is nothing to end.
        let target = with_place("/bff/logout", "return_to", place);
        check_refused(place, &bff.browser().open(&target).await);
    }
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// F2, F3: after the provider's part, a logout comes back to a place of ours.
#[tokio::test]
async fn a_logout_leads_to_our_own_places() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for (place, expected) in OURS {
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let link = browser.session().await["logout_url"]
            .as_str()
            .unwrap()
            .to_owned();
        let visit = browser.click(&with_place(&link, "return_to", place)).await;
        check_ours(place, visit.reply_of("/bff/logout/callback"), expected);
        // Without a session there is no way round over the provider.
        let target = with_place("/bff/logout", "return_to", place);
        check_ours(place, &bff.browser().open(&target).await, expected);
    }
}

/// B7, F2, F4, F6: a third party's target is held to the same.
#[tokio::test]
async fn a_third_partys_target_leads_nowhere_else() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.third_party_login", true)
        .start();
    for place in ELSEWHERE.into_iter().chain(LOOPS) {
        let fields = [("iss", idp.issuer.as_str()), ("target_link_uri", place)];
        let mut link = Url::parse(&login_url("")).unwrap();
        link.query_pairs_mut().clear().extend_pairs(fields);
        let mut browser = bff.browser();
        browser.stand_on("https://portal.example/");
        let visit = browser.click(link.as_str()).await;
        check_refused(place, visit.last());
        browser.stand_on("https://portal.example/");
        let visit = browser.submit(&login_url(""), &fields).await;
        check_refused(place, visit.last());
    }
    for (place, expected) in OURS {
        let fields = [
            ("iss", idp.issuer.as_str()),
            ("login_hint", "alice"),
            ("target_link_uri", place),
        ];
        let mut browser = bff.browser();
        browser.stand_on("https://portal.example/");
        let visit = browser.submit(&login_url(""), &fields).await;
        let step = visit.last().clone();
        let visit = browser.go_on(&step).await;
        check_ours(place, visit.reply_of("/bff/callback"), expected);
    }
}

/// F5: a host that only ends in ours, or that ours only ends in, is not ours.
#[tokio::test]
async fn a_host_that_looks_like_ours_is_not_ours() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for place in [
        "https://badapp.example/",
        "https://sub.app.example/",
        "https://example/",
        "https://app.example.evil/",
        "https://app-example/",
    ] {
        let reply = bff
            .browser()
            .open(&with_place("/bff/login", "return_to", place))
            .await;
        check_refused(place, &reply);
    }
}

/// F2, F6: the page that a login comes back to by itself is never another site's: odd paths end
/// at the front page or are refused.
#[tokio::test]
async fn a_page_that_begins_a_login_is_one_of_ours() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .no_routes()
        .route(toml::toml! { path = "/"  csrf = "origin" }, &upstream)
        .start();
    let origin = Url::parse(PUBLIC_URL).unwrap().origin();
    for path in [
        "/a?next=//evil.example",
        "//evil.example/",
        "/%2fevil.example",
        "/%5cevil.example",
        "/a/..//evil.example",
        "/.//evil.example",
    ] {
        let mut browser = bff.browser();
        let fields = [("Accept", "text/html")];
        let url = format!("{PUBLIC_URL}{path}");
        let reply = browser.curl("GET", &url, &fields, None).await;
        if !path.starts_with("/a?") {
            // Two readers could take such a path for two.
            assert_eq!(refusal(&reply), "400 bad_request", "{path}");
            continue;
        }
        let mut authorize = reply.location().unwrap();
        authorize
            .query_pairs_mut()
            .append_pair("login_hint", "alice");
        let visit = browser.visit(authorize.as_str()).await;
        let hop = visit.reply_of("/bff/callback").text();
        let link = hop.split("href=\"").nth(1).unwrap();
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        let place = Url::parse(PUBLIC_URL).unwrap().join(&link).unwrap();
        assert_eq!(place.origin(), origin, "{path}");
    }
}
