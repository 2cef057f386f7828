//! Requests that our own page did not make (section H), over the wire.

use std::time::Duration;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, cookie_of, home, sign_in, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;

const EVIL: &str = "https://evil.example/trap";
const SIBLING: &str = "https://blog.app.example/post";

/// The problem's code, or `ok`.
fn verdict(reply: &Reply) -> String {
    if reply.status < 400 {
        return "ok".to_owned();
    }
    match serde_json::from_slice::<serde_json::Value>(&reply.body) {
        Ok(problem) => format!("{} {}", reply.status, problem["code"].as_str().unwrap()),
        Err(_) => format!("{} page", reply.status),
    }
}

/// H1, H2, H3: of all that pages can make a browser send with the cookie, only our own page's
/// calls with the header reach an upstream.
#[tokio::test]
async fn only_our_own_pages_calls_reach_an_upstream() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let cookie = cookie_of(&alice);
    let call = |method: &str, fields: &[(&str, &str)]| {
        let call = Call::bare(method, "/api/orders").header("Host", "app.example");
        let call = call.header("Cookie", &cookie);
        fields
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value))
    };
    let csrf = ("X-CSRF", "1");
    let ours = ("Origin", PUBLIC_URL);
    let site = |word| ("Sec-Fetch-Site", word);
    let cases = [
        ("our fetch", call("GET", &[csrf, site("same-origin")]), "ok"),
        (
            "our POST",
            call("POST", &[csrf, ours, site("same-origin")]),
            "ok",
        ),
        ("an old browser's fetch", call("GET", &[csrf]), "ok"),
        ("a script's", call("GET", &[csrf, site("none")]), "ok"),
        ("no header", call("GET", &[site("same-origin")]), "403 csrf"),
        (
            "no header, POST",
            call("POST", &[ours, site("same-origin")]),
            "403 csrf",
        ),
        (
            "an empty header",
            call("GET", &[("X-CSRF", "")]),
            "403 csrf",
        ),
        (
            "another value",
            call("GET", &[("X-CSRF", "true")]),
            "403 csrf",
        ),
        (
            "two values in one",
            call("GET", &[("X-CSRF", "1, 1")]),
            "403 csrf",
        ),
        (
            "from another site",
            call("GET", &[csrf, site("cross-site")]),
            "403 origin_not_allowed",
        ),
        (
            "from a sibling",
            call("GET", &[csrf, site("same-site")]),
            "403 origin_not_allowed",
        ),
        (
            "an unknown word",
            call("GET", &[csrf, site("moon")]),
            "403 origin_not_allowed",
        ),
        (
            "a null origin",
            call("POST", &[csrf, ("Origin", "null")]),
            "403 origin_not_allowed",
        ),
        (
            "a foreign origin",
            call("POST", &[csrf, ("Origin", "https://evil.example")]),
            "403 origin_not_allowed",
        ),
        (
            "a foreign origin that claims to be ours",
            call(
                "DELETE",
                &[
                    csrf,
                    ("Origin", "https://evil.example"),
                    site("same-origin"),
                ],
            ),
            "403 origin_not_allowed",
        ),
        (
            "our name over http",
            call("POST", &[csrf, ("Origin", "http://app.example")]),
            "403 origin_not_allowed",
        ),
    ];
    let mut expected = 0;
    for (name, call, outcome) in cases {
        let reply = call.send(bff.public_addr).await;
        assert_eq!(verdict(&reply), outcome, "{name}: {}", reply.text());
        expected += usize::from(outcome == "ok");
        assert_eq!(upstream.seen().len(), expected, "{name}");
    }
}

/// H2: the endpoints that tell about the session, and the one that ends it, need the header too.
#[tokio::test]
async fn the_endpoints_need_the_header_as_well() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    for (method, path) in [
        ("GET", "/bff/session"),
        ("GET", "/bff/user"),
        ("POST", "/bff/logout"),
    ] {
        let call = Call::new(method, path).of(&alice);
        let reply = call.clone().without("X-CSRF").send(bff.public_addr).await;
        assert_eq!(verdict(&reply), "403 csrf", "{path}");
        for site in ["cross-site", "same-site"] {
            let foreign = call.clone().with("Sec-Fetch-Site", site);
            let reply = foreign.send(bff.public_addr).await;
            assert_eq!(verdict(&reply), "403 origin_not_allowed", "{path} {site}");
        }
    }
    let session = Call::get("/bff/session").of(&alice).send(bff.public_addr);
    assert_eq!(session.await.json()["authenticated"], true, "it lives");
}

/// H1: the browser's side of it. A strict cookie does not even leave for another site's page; a
/// sibling's page has it, and gets no further.
#[tokio::test]
async fn other_pages_get_nowhere() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let target = format!("{PUBLIC_URL}/api/orders");
    for (page, name, fetch, outcome) in [
        (EVIL, "fetch", Fetch::get(&target).credentials(), "403 csrf"),
        (EVIL, "no-cors", Fetch::get(&target).no_cors(), "403 csrf"),
        (EVIL, "image", Fetch::image(&target), "403 csrf"),
        (EVIL, "frame", Fetch::frame(&target), "403 page"),
        (
            EVIL,
            "with the header",
            Fetch::get(&target).credentials().csrf(),
            "403 origin_not_allowed",
        ),
        (
            SIBLING,
            "fetch",
            Fetch::get(&target).credentials(),
            "403 csrf",
        ),
        (SIBLING, "image", Fetch::image(&target), "403 csrf"),
        (
            SIBLING,
            "POST",
            Fetch::new("POST", &target).credentials(),
            "403 csrf",
        ),
        (
            SIBLING,
            "with the header",
            Fetch::get(&target).credentials().csrf(),
            "403 origin_not_allowed",
        ),
    ] {
        alice.stand_on(page);
        let reply = alice.fetch(fetch).await;
        assert_eq!(verdict(&reply), outcome, "{name} on {page}");
    }
    alice.stand_on(EVIL);
    let visit = alice.submit(&target, &[("amount", "1000")]).await;
    assert_eq!(visit.last().status, 403, "a form");
    alice.stand_on(SIBLING);
    let visit = alice.submit(&target, &[("amount", "1000")]).await;
    assert_eq!(visit.last().status, 403, "a sibling's form");
    assert!(upstream.seen().is_empty());
}

/// H4: a preflight is answered here, without a session, with no permission, and never goes on;
/// nor do an upstream's own permissions come back.
#[tokio::test]
async fn no_other_origin_is_given_permission() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| {
        Answer::text("hello")
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "true")
            .header("access-control-expose-headers", "x-secret")
    });
    let bff = Bff::with(&idp, &upstream)
        .route(toml::toml! { path = "/open" auth = "none" }, &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let granted = |reply: &Reply| {
        let names = reply.headers.iter().map(|(name, _)| name.to_lowercase());
        names
            .filter(|name| name.starts_with("access-control"))
            .collect::<Vec<_>>()
    };
    for path in ["/api/orders", "/open/news", "/bff/session", "/nowhere"] {
        for (who, origin) in [("another", "https://evil.example"), ("ours", PUBLIC_URL)] {
            let preflight = Call::bare("OPTIONS", path)
                .header("Host", "app.example")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "DELETE")
                .header("Access-Control-Request-Headers", "x-csrf, x-bff-activity");
            let reply = preflight.send(bff.public_addr).await;
            assert_eq!(reply.status, 204, "{path} {who}");
            assert_eq!(reply.header("vary"), Some("Origin"), "{path} {who}");
            assert_eq!(granted(&reply), [""; 0], "{path} {who}");
        }
    }
    assert!(upstream.seen().is_empty());
    for call in [Call::get("/api/orders").of(&alice), Call::get("/open/news")] {
        let reply = call.send(bff.public_addr).await;
        assert_eq!((reply.status, reply.text()), (200, "hello".to_owned()));
        assert_eq!(granted(&reply), [""; 0]);
    }
    // No preflight, and so a call like any other.
    let reply = Call::new("OPTIONS", "/api/orders")
        .send(bff.public_addr)
        .await;
    assert_eq!(verdict(&reply), "401 login_required");
}

/// H3, H7: a page with `Referrer-Policy: no-referrer`, as helmet sets it, sends its own forms with
/// `Origin: null`. Where the browser says that the page is ours, that decides; it was refused.
#[tokio::test]
async fn a_form_of_a_page_that_sends_no_referrer_arrives() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(toml::toml! { path = "/forms"  csrf = "origin" }, &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let form = |origin: &str, site: Option<&str>| {
        let form = Call::bare("POST", "/forms/new")
            .header("Host", "app.example")
            .header("Origin", origin)
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .of(&alice)
            .body("amount=1");
        site.map_or(form.clone(), |site| form.header("Sec-Fetch-Site", site))
    };
    let ours = form("null", Some("same-origin"))
        .send(bff.public_addr)
        .await;
    assert_eq!(ours.status, 200, "{}", ours.text());
    assert!(upstream.the_one().bearer().is_some());
    for (origin, site) in [
        ("null", None),
        ("null", Some("none")),
        ("null", Some("cross-site")),
        ("null", Some("same-site")),
        ("https://evil.example", Some("same-origin")),
        ("https://evil.example", None),
        ("http://app.example", Some("same-origin")),
        ("NULL", Some("same-origin")),
    ] {
        let reply = form(origin, site).send(bff.public_addr).await;
        assert_eq!(reply.status, 403, "{origin} {site:?}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// H5: the check comes before the body is read, the session looked for and the token refreshed.
#[tokio::test]
async fn a_forged_request_sets_nothing_in_motion() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    clock.advance(Duration::from_secs(301));
    let forged = Call::new("POST", "/api/orders")
        .of(&alice)
        .without("X-CSRF")
        .header("Content-Length", "1000000");
    let mut wire = forged.begin(bff.public_addr).await;
    // Not a byte of the body was sent, and the answer is there.
    let head = soon("a refusal", wire.head(&home())).await.unwrap();
    assert_eq!(head.status, 403);
    assert_eq!(idp.refreshes(), 0);
    assert!(upstream.seen().is_empty());

    // Nor does it keep the session alive.
    clock.advance(Duration::from_mins(20));
    let forged = Call::get("/api/orders").of(&alice).without("X-CSRF");
    assert_eq!(forged.send(bff.public_addr).await.status, 403);
    clock.advance(Duration::from_mins(9));
    let reply = Call::get("/api/orders").of(&alice).send(bff.public_addr);
    assert_eq!(verdict(&reply.await), "401 session_expired");
}

/// H6: a refusal that a person reads is a page that frames nothing and runs nothing.
#[tokio::test]
async fn a_refusal_for_a_person_is_a_page_of_our_own() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let page = alice.open(&format!("{PUBLIC_URL}/api/orders")).await;
    assert_eq!(page.status, 403);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let id = page.header("x-request-id").unwrap();
    assert!(page.text().contains(id), "{}", page.text());
}

/// H7: a route with `csrf = "origin"` takes what cannot send the header from our own pages, a
/// document from anywhere, and nothing else.
#[tokio::test]
async fn a_route_without_the_header_takes_our_own_pages() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(toml::toml! { path = "/files" csrf = "origin" }, &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let target = format!("{PUBLIC_URL}/files/report");
    let home = format!("{PUBLIC_URL}/");
    let foreign = "403 origin_not_allowed";
    let mut taken = 0;
    for (page, name, fetch, outcome) in [
        (&*home, "image", Fetch::image(&target), "ok"),
        (&home, "fetch", Fetch::get(&target), "ok"),
        (&home, "POST", Fetch::new("POST", &target), "ok"),
        (&home, "frame", Fetch::frame(&target), "ok"),
        (EVIL, "image", Fetch::image(&target), foreign),
        (EVIL, "frame", Fetch::frame(&target), "403 page"),
        (EVIL, "fetch", Fetch::get(&target).credentials(), foreign),
        (SIBLING, "image", Fetch::image(&target), foreign),
        (
            SIBLING,
            "POST",
            Fetch::new("POST", &target).credentials(),
            foreign,
        ),
    ] {
        alice.stand_on(page);
        let reply = alice.fetch(fetch).await;
        assert_eq!(verdict(&reply), outcome, "{name} on {page}");
        taken += usize::from(outcome == "ok");
        assert_eq!(upstream.seen().len(), taken, "{name} on {page}");
    }
    for (page, status) in [(EVIL, 403), (SIBLING, 403), (&home, 200)] {
        alice.stand_on(page);
        let visit = alice.submit(&target, &[("a", "1")]).await;
        assert_eq!(visit.last().status, status, "a form on {page}");
    }
    // A document: typed, and by a sibling's link, which both bring the strict cookie.
    assert_eq!(alice.visit(&target).await.last().status, 200);
    alice.stand_on(SIBLING);
    assert_eq!(alice.click(&target).await.last().status, 200);
    assert_eq!(upstream.last().header("cookie"), None);
}

/// H7: in a browser that sends no Fetch Metadata, Origin or Referer must be ours.
#[tokio::test]
async fn without_fetch_metadata_origin_or_referer_speak() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(toml::toml! { path = "/files" csrf = "origin" }, &upstream)
        .start();
    let mut old: Browser = bff.browser().without_fetch_metadata();
    sign_in(&mut old, "alice").await;
    let target = format!("{PUBLIC_URL}/files/report");
    for (page, fetch, outcome) in [
        (PUBLIC_URL, Fetch::image(&target), "ok"),
        (PUBLIC_URL, Fetch::new("POST", &target), "ok"),
        (EVIL, Fetch::image(&target), "403 origin_not_allowed"),
        (SIBLING, Fetch::image(&target), "403 origin_not_allowed"),
        (
            SIBLING,
            Fetch::new("POST", &target).credentials(),
            "403 origin_not_allowed",
        ),
    ] {
        old.stand_on(page);
        assert_eq!(verdict(&old.fetch(fetch).await), outcome, "{page}");
    }
    assert_eq!(upstream.seen().len(), 2);
    let bare = Call::bare("GET", "/files/report").header("Host", "app.example");
    let reply = bare.of(&old).send(bff.public_addr).await;
    assert_eq!(
        verdict(&reply),
        "403 origin_not_allowed",
        "who says nothing"
    );
}

/// DESIGN §2: a route with `auth = "none"` carries no credential, so any page may call it.
#[tokio::test]
async fn a_route_that_carries_nothing_needs_no_proof() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(toml::toml! { path = "/open" auth = "none" }, &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::bare("POST", "/open/form")
        .header("Host", "app.example")
        .header("Origin", "https://evil.example")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Authorization", "Bearer of-the-caller")
        .of(&alice)
        .body("a=1");
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let seen = upstream.the_one();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("cookie"), None);
    assert_eq!(seen.body, b"a=1");
}

/// H7: a page that is for whoever comes is for crawlers, link previews and curl as well, which say
/// nothing of where they come from: they were refused with a word on a header. Only where nothing can be
/// forged: reading, without a session.
#[tokio::test]
async fn a_page_for_everybody_is_for_programs_too() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/pages" auth = "optional" csrf = "origin" },
            &upstream,
        )
        .route(toml::toml! { path = "/members" csrf = "origin" }, &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let bare = |method: &str, path: &str| Call::bare(method, path).header("Host", "app.example");
    let site = |site: &str| bare("GET", "/pages/x").header("Sec-Fetch-Site", site);
    for (name, call, status) in [
        ("curl", bare("GET", "/pages/x"), 200),
        ("a look at the head", bare("HEAD", "/pages/x"), 200),
        (
            "a cookie of another",
            bare("GET", "/pages/x").header("Cookie", "a=1"),
            200,
        ),
        ("a form", bare("POST", "/pages/x"), 403),
        ("a session", bare("GET", "/pages/x").of(&alice), 403),
        ("a stranger's image", site("cross-site"), 403),
        (
            "a stranger's origin",
            bare("GET", "/pages/x").header("Origin", "https://evil.example"),
            403,
        ),
        ("for members", bare("GET", "/members/x"), 403),
        ("a script's route", bare("GET", "/api/x"), 403),
    ] {
        let before = upstream.seen().len();
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let arrived = upstream.seen().split_off(before);
        assert_eq!(arrived.len(), usize::from(status == 200), "{name}");
        assert!(arrived.iter().all(|seen| seen.bearer().is_none()), "{name}");
    }
}
