//! The browser's manners: cookies, Fetch Metadata, redirects.

use std::time::Duration;

use url::Url;

use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::cookie_jar::{Context, CookieJar};
use crate::support::upstream::{Answer, Upstream};

const APP: &str = "https://app.example/bff/login";

/// G1: what Chromium refuses to keep, and what it keeps.
#[test]
fn the_jar_keeps_only_what_a_browser_would() {
    struct Case {
        name: &'static str,
        url: &'static str,
        context: Context,
        set_cookie: String,
        kept: bool,
    }
    let case = |name, set_cookie: &str, kept| Case {
        name,
        url: APP,
        context: Context::SameSite,
        set_cookie: set_cookie.to_owned(),
        kept,
    };
    let at = |url, case: Case| Case { url, ..case };
    let cases = [
        case("plain", "a=1", true),
        case("no name", "a", false),
        case("Host", "__Host-a=1; Secure; Path=/", true),
        case("Host without Secure", "__Host-a=1; Path=/", false),
        case("Host without Path", "__Host-a=1; Secure", false),
        case(
            "Host with another Path",
            "__Host-a=1; Secure; Path=/bff",
            false,
        ),
        case(
            "Host with Domain",
            "__Host-a=1; Secure; Path=/; Domain=app.example",
            false,
        ),
        case("HoSt is the same prefix", "__HoSt-a=1; Path=/", false),
        case(
            "Host-Http",
            "__Host-Http-a=1; Secure; HttpOnly; Path=/",
            true,
        ),
        case(
            "Host-Http without HttpOnly",
            "__Host-Http-a=1; Secure; Path=/",
            false,
        ),
        case("Http without HttpOnly", "__Http-a=1; Secure", false),
        case("Secure prefix without Secure", "__Secure-a=1", false),
        case("None without Secure", "a=1; SameSite=None", false),
        case("None with Secure", "a=1; SameSite=None; Secure", true),
        case("a parent domain", "a=1; Domain=example", false),
        case("a foreign domain", "a=1; Domain=evil.example", false),
        case("its own domain", "a=1; Domain=app.example", true),
        case("4096 bytes", &format!("a={}", "x".repeat(4095)), true),
        case("4097 bytes", &format!("a={}", "x".repeat(4096)), false),
        case("a control character", "a=\u{1}", false),
        at(
            "http://app.example/",
            case("Secure over http", "a=1; Secure", false),
        ),
        at(
            "http://localhost:80/",
            case("Secure on loopback", "a=1; Secure", true),
        ),
        Case {
            context: Context::CrossSiteSubresource,
            ..case("Strict from a foreign frame", "a=1; SameSite=Strict", false)
        },
        Case {
            context: Context::CrossSiteSubresource,
            ..case(
                "None from a foreign frame",
                "a=1; SameSite=None; Secure",
                true,
            )
        },
    ];
    for case in cases {
        let mut jar = CookieJar::new(nine_o_clock());
        let url = Url::parse(case.url).unwrap();
        jar.set(&url, case.context, &case.set_cookie);
        assert_eq!(!jar.cookies().is_empty(), case.kept, "{}", case.name);
        assert_eq!(jar.refused().is_empty(), case.kept, "{}", case.name);
    }
}

#[test]
fn the_jar_sends_only_what_fits() {
    let set = [
        "strict=1; Path=/; SameSite=Strict; Secure",
        "lax=1; Path=/; SameSite=Lax",
        "none=1; Path=/; SameSite=None; Secure",
        "unsaid=1; Path=/",
        "deep=1; Path=/bff",
        "short=1; Path=/; Max-Age=60",
    ];
    let everywhere = "strict=1; lax=1; none=1; unsaid=1; short=1";
    let cases = [
        (
            "own page",
            "https://app.example/",
            Context::SameSite,
            Some(everywhere.to_owned()),
        ),
        (
            "longer paths first",
            "https://app.example/bff/session",
            Context::SameSite,
            Some(format!("deep=1; {everywhere}")),
        ),
        (
            "a path is whole segments",
            "https://app.example/bffx",
            Context::SameSite,
            Some(everywhere.to_owned()),
        ),
        (
            "a link elsewhere",
            "https://app.example/",
            Context::CrossSiteNavigation,
            Some("lax=1; none=1; unsaid=1; short=1".to_owned()),
        ),
        (
            "a form elsewhere",
            "https://app.example/",
            Context::CrossSitePost,
            Some("none=1".to_owned()),
        ),
        (
            "an image elsewhere",
            "https://app.example/",
            Context::CrossSiteSubresource,
            Some("none=1".to_owned()),
        ),
        (
            "another host",
            "https://sub.app.example/",
            Context::SameSite,
            None,
        ),
        (
            "in the clear",
            "http://app.example/",
            Context::SameSite,
            Some("lax=1; unsaid=1; short=1".to_owned()),
        ),
    ];
    let clock = nine_o_clock();
    let mut jar = CookieJar::new(clock.clone());
    for set_cookie in set {
        jar.set(&Url::parse(APP).unwrap(), Context::SameSite, set_cookie);
    }
    for (name, url, context, expected) in cases {
        let sent = jar.header(&Url::parse(url).unwrap(), context);
        assert_eq!(sent, expected, "{name}");
    }
    clock.advance(Duration::from_mins(1));
    let later = jar.header(&Url::parse(APP).unwrap(), Context::CrossSitePost);
    assert_eq!(later.as_deref(), Some("none=1"));
    assert!(
        jar.cookie("short")
            .is_some_and(|cookie| cookie.expires_at.is_some())
    );
    let sent = jar.header(&Url::parse(APP).unwrap(), Context::SameSite);
    assert!(!sent.unwrap().contains("short"), "an aged cookie was sent");
}

#[test]
fn a_cookie_is_deleted_by_the_same_name_and_path_alone() {
    let url = Url::parse(APP).unwrap();
    for (deletion, gone) in [
        ("a=; Path=/; Max-Age=0", true),
        ("a=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", true),
        ("a=; Path=/bff; Max-Age=0", false),
        ("A=; Path=/; Max-Age=0", false),
    ] {
        let mut jar = CookieJar::new(nine_o_clock());
        jar.set(&url, Context::SameSite, "a=1; Path=/");
        jar.set(&url, Context::SameSite, deletion);
        assert_eq!(jar.cookie("a").is_none(), gone, "{deletion}");
    }
}

/// H3: what Chromium says of a request's origin.
#[tokio::test]
async fn fetch_metadata_and_origin_are_chromiums() {
    struct Case {
        name: &'static str,
        page: &'static str,
        fetch: Fetch,
        /// Site, mode, destination, Origin, and whether the Strict cookie goes along.
        expected: (
            &'static str,
            &'static str,
            &'static str,
            Option<&'static str>,
            bool,
        ),
    }
    let own = "https://app.example/orders";
    let foreign = "https://evil.example/";
    let sibling = "https://www.app.example/";
    let target = "https://app.example/api/x";
    let cases = [
        Case {
            name: "own GET",
            page: own,
            fetch: Fetch::get("/api/x"),
            expected: ("same-origin", "cors", "empty", None, true),
        },
        Case {
            name: "own POST",
            page: own,
            fetch: Fetch::new("POST", "/api/x"),
            expected: (
                "same-origin",
                "cors",
                "empty",
                Some("https://app.example"),
                true,
            ),
        },
        Case {
            name: "foreign GET with credentials",
            page: foreign,
            fetch: Fetch::get(target).credentials(),
            expected: (
                "cross-site",
                "cors",
                "empty",
                Some("https://evil.example"),
                false,
            ),
        },
        Case {
            name: "foreign image",
            page: foreign,
            fetch: Fetch::image(target),
            expected: ("cross-site", "no-cors", "image", None, false),
        },
        Case {
            name: "sibling GET with credentials",
            page: sibling,
            fetch: Fetch::get(target).credentials(),
            expected: (
                "same-site",
                "cors",
                "empty",
                Some("https://www.app.example"),
                true,
            ),
        },
    ];
    let app = Upstream::start();
    let mut browser = Browser::new(nine_o_clock());
    browser.resolve("https://app.example", app.addr());
    let set_cookie = "s=1; Path=/; Secure; SameSite=Strict";
    browser
        .jar
        .set(&Url::parse(APP).unwrap(), Context::SameSite, set_cookie);
    for case in cases {
        browser.stand_on(case.page);
        browser.fetch(case.fetch).await;
        let seen = app.last();
        let (site, mode, destination, origin, cookie) = case.expected;
        assert_eq!(seen.header("sec-fetch-site"), Some(site), "{}", case.name);
        assert_eq!(seen.header("sec-fetch-mode"), Some(mode), "{}", case.name);
        assert_eq!(
            seen.header("sec-fetch-dest"),
            Some(destination),
            "{}",
            case.name
        );
        assert_eq!(seen.header("origin"), origin, "{}", case.name);
        assert_eq!(seen.header("cookie").is_some(), cookie, "{}", case.name);
    }
}

/// C13: a Strict cookie set on the way back from another site is not sent on the next hop.
#[tokio::test]
async fn a_strict_cookie_misses_the_next_hop_of_a_foreign_redirect() {
    let (app, other) = (Upstream::start(), Upstream::start());
    other.answers(|_| Answer::status(303).header("location", "https://app.example/callback"));
    app.answers(|seen| match seen.target.as_str() {
        "/login" => Answer::status(303).header("location", "https://other.test/authorize"),
        "/callback" => Answer::status(303)
            .header("location", "/home")
            .header("set-cookie", "strict=1; Path=/; Secure; SameSite=Strict")
            .header("set-cookie", "lax=1; Path=/; Secure; SameSite=Lax"),
        _ => Answer::text("home"),
    });
    let mut browser = Browser::new(nine_o_clock());
    browser.resolve("https://app.example", app.addr());
    browser.resolve("https://other.test", other.addr());
    let visit = browser.visit("https://app.example/login").await;

    assert_eq!(visit.url().as_str(), "https://app.example/home");
    assert_eq!(
        visit.paths(),
        [
            "https://app.example/login",
            "https://other.test/authorize",
            "https://app.example/callback",
            "https://app.example/home",
        ]
    );
    assert_eq!(app.last().header("cookie"), Some("lax=1"));
    assert_eq!(app.last().header("sec-fetch-mode"), Some("navigate"));
    browser.click("/next").await;
    assert_eq!(app.last().header("cookie"), Some("strict=1; lax=1"));
    assert_eq!(app.last().header("sec-fetch-site"), Some("same-origin"));
}

/// F3: a redirect to a host that nobody knows is seen, not followed.
#[tokio::test]
async fn the_browser_tells_where_it_would_have_gone() {
    let app = Upstream::start();
    app.answers(|_| Answer::status(302).header("location", "//evil.example/x"));
    let mut browser = Browser::new(nine_o_clock());
    browser.resolve("https://app.example", app.addr());
    let visit = browser.visit("https://app.example/#part").await;
    assert_eq!(visit.left.unwrap().as_str(), "https://evil.example/x#part");
}
