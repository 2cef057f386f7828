//! What reaches an upstream, and what of its answers reaches a browser (section I), through the
//! whole product.

use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::call::{Call, HOST, cookie_of, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::helper::Helper;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::{Answer, Seen, Upstream};
use crate::support::wire::Reply;

/// A `[[route]]` as it stands in bff.toml.
fn route(text: &str) -> toml::Table {
    text.parse().unwrap()
}

/// A route alone, to this upstream.
fn alone<'a>(idp: &'a Idp, upstream: &Upstream, text: &str) -> BffBuilder<'a> {
    Bff::with(idp, upstream)
        .no_routes()
        .route(route(text), upstream)
}

fn code(reply: &Reply) -> String {
    let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("-");
    format!("{} {code}", reply.status)
}

/// A request's own lines, without those that `bff` adds to all.
fn own_lines(seen: &Seen) -> Vec<String> {
    let ours = [
        "host",
        "via",
        "authorization",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "sec-fetch-site",
        "sec-fetch-mode",
        "sec-fetch-dest",
    ];
    seen.fields
        .iter()
        .filter(|(name, _)| !ours.contains(&name.to_lowercase().as_str()))
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .collect()
}

/// I1: nothing in a request chooses where it goes.
#[tokio::test]
async fn no_request_chooses_its_upstream() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let elsewhere = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let evil = elsewhere.addr().to_string();
    let authority = upstream.addr().to_string();
    let absolute = format!("{PUBLIC_URL}/api/x");
    for (name, call, target) in [
        ("plain", Call::get("/api/x"), "/api/x"),
        ("absolute, ours", Call::get(&absolute), "/api/x"),
        (
            "absolute, another Host",
            Call::get(&absolute).with("Host", &evil),
            "/api/x",
        ),
        (
            "X-Forwarded-Host",
            Call::get("/api/x").header("X-Forwarded-Host", &evil),
            "/api/x",
        ),
        (
            "Forwarded",
            Call::get("/api/x").header("Forwarded", &format!("host={evil}")),
            "/api/x",
        ),
        (
            "X-Original-URL",
            Call::get("/api/x").header("X-Original-URL", "/admin"),
            "/api/x",
        ),
        (
            "X-Rewrite-URL",
            Call::get("/api/x").header("X-Rewrite-URL", "/admin"),
            "/api/x",
        ),
        (
            "an @",
            Call::get(&format!("/api/@{evil}/x")),
            &format!("/api/@{evil}/x"),
        ),
        (
            "a URL inside",
            Call::get(&format!("/api/x?u=http://{evil}/")),
            &format!("/api/x?u=http://{evil}/"),
        ),
    ] {
        let reply = call.of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        let seen = upstream.last();
        assert_eq!(seen.target, target, "{name}");
        assert_eq!(seen.all("host"), [authority.as_str()], "{name}");
    }
    for (name, call) in [
        (
            "absolute, another",
            Call::get(&format!("http://{evil}/api/x")),
        ),
        ("Host", Call::get("/api/x").with("Host", &evil)),
    ] {
        let reply = call.of(&alice).send(bff.public_addr).await;
        assert_eq!(code(&reply), "404 no_route", "{name}");
    }
    assert!(elsewhere.seen().is_empty());
}

/// I2, I4, I5: what a browser says of who it is, of other proxies, or in names that another reader
/// takes for those, is not passed on, on routes with a token and without.
#[tokio::test]
async fn a_browser_cannot_speak_for_a_proxy() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(route("path = '/open'\nauth = 'none'"), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let hostile = [
        ("Authorization", "Bearer of-somebody-else"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("DPoP", "proof"),
        ("X-User", "admin"),
        ("X-User-Id", "1"),
        ("X-Auth-Request-User", "admin"),
        ("X-Remote-User", "admin"),
        ("Remote-User", "admin"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Forwarded-Uri", "/evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Server", "evil"),
        ("X-Forwarded-Access-Token", "evil"),
        ("X-Forwarded-Client-Cert", "evil"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("X-Original-URL", "/evil"),
        ("X-Original-URI", "/evil"),
        ("X-Original-Host", "evil"),
        ("X-Rewrite-URL", "/evil"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X_Forwarded_For", "10.0.0.1"),
        ("X-Forwarded_Host", "evil"),
        ("x_user", "admin"),
        ("authorization_", "evil"),
        ("X.Real.IP", "10.0.0.1"),
        ("X-Request-Id", "forged"),
        ("X-Middleware-Subrequest", "evil"),
        ("Proxy", "http://evil"),
    ];
    for path in ["/api/x", "/open/x"] {
        let call = hostile.iter().fold(
            Call::get(path).of(&alice).header("X-Team", "orders"),
            |call, (name, value)| call.header(name, value),
        );
        let reply = call.header("Accept-Language", "en").send(bff.public_addr);
        assert_eq!(reply.await.status, 200, "{path}");
        let seen = upstream.last();
        assert_eq!(own_lines(&seen), ["x-team: orders", "accept-language: en"]);
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "{path}");
        assert_eq!(seen.all("x-forwarded-proto"), ["https"], "{path}");
        assert_eq!(seen.all("x-forwarded-host"), [HOST], "{path}");
        assert_ne!(seen.header("x-request-id"), Some("forged"), "{path}");
        let token = seen
            .bearer()
            .map(|token| idp.core.introspect(token).unwrap().sub);
        let expected = (path == "/api/x").then(|| "alice".to_owned());
        assert_eq!(token, expected, "{path}");
        assert_eq!(
            seen.all("authorization").len(),
            usize::from(expected.is_some())
        );
    }
}

/// I4: what a proxy before us says counts where the operator names it, from the right.
#[tokio::test]
async fn a_trusted_proxys_word_counts() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let trusted = toml::Value::Array(vec!["127.0.0.1/32".into(), "10.0.0.0/8".into()]);
    let bff = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", trusted)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (came, sent) in [
        ("203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (
            "6.6.6.6, 203.0.113.7, 10.0.0.1",
            "203.0.113.7, 10.0.0.1, 127.0.0.1",
        ),
    ] {
        let call = Call::get("/api").of(&alice).header("X-Forwarded-For", came);
        let call = call.header("X-Forwarded-Host", "evil.example");
        assert_eq!(call.send(bff.public_addr).await.status, 200);
        let seen = upstream.last();
        assert_eq!(seen.all("x-forwarded-for"), [sent], "{came}");
        assert_eq!(seen.all("x-forwarded-host"), [HOST], "{came}");
    }
}

/// I3: our cookies stay here, the others go on in their order.
#[tokio::test]
async fn our_cookies_stay_here() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let session = cookie_of(&alice);
    // A login under way leaves a cookie of its own.
    alice.open(&format!("{PUBLIC_URL}/bff/login")).await;
    let both = cookie_of(&alice);
    assert_ne!(both, session);
    for (name, cookies, left) in [
        ("ours alone", session.clone(), None),
        ("ours, and a login's", both.clone(), None),
        (
            "between others",
            format!("a=1; {both}; b=2"),
            Some("a=1; b=2"),
        ),
        (
            "odd ones",
            format!("{session}; =; x; c=\"d; e\""),
            Some("=; x; c=\"d; e\""),
        ),
    ] {
        let call = Call::get("/api").header("Cookie", &cookies);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(upstream.last().all("cookie"), left.as_slice(), "{name}");
    }
}

/// I6: each name in `Connection` is looked for among all fields of the head: 15,000 of them cost 2 ms. More
/// than anybody has a reason to send are refused, of a browser and of an upstream.
#[tokio::test]
async fn connection_names_few_fields() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|seen| {
        let names = if seen.target == "/api/many" { 33 } else { 32 };
        Answer::text("hello").header("connection", &vec!["x-a"; names].join(","))
    });
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    for (target, names, expected) in [
        ("/api", vec!["a"; 32], 200),
        ("/api", vec!["a"; 33], 400),
        ("/api", vec!["a"; 15_000], 400),
        ("/api", vec![""; 15_000], 400),
        ("/api/many", vec!["a"], 502),
    ] {
        let connection = names.join(",");
        let call = Call::get(target)
            .of(&alice)
            .header("Connection", &connection);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, expected, "{target}: {} names", names.len());
    }
}

/// I6: fields that `Connection` names go no further; nothing of ours can be named away.
#[tokio::test]
async fn connection_names_what_stays_but_nothing_of_ours() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| {
        Answer::text("hello")
            .header("connection", "x-hop, x-also")
            .header("x-hop", "1")
            .header("x-also", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("x-end", "1")
    });
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::new("POST", "/api")
        .of(&alice)
        .header(
            "Connection",
            "keep-alive, X-Hop, authorization, Host, Content-Length, cookie, X-Forwarded-For, Via",
        )
        .header("Cookie", "ours=1")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip")
        .header("X-End", "1")
        .body("four");
    let reply = call.send(bff.public_addr).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = upstream.the_one();
    assert_eq!(
        own_lines(&seen),
        ["x-end: 1", "cookie: ours=1", "content-length: 4"]
    );
    assert!(seen.bearer().is_some());
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("via"), ["1.1 bff"]);
    assert_eq!(seen.body, b"four");
    for name in ["x-hop", "x-also", "keep-alive", "proxy-authenticate"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("x-end"), Some("1"));
}

/// I7: every hop signs, and a request that goes in circles is stopped.
#[tokio::test]
async fn a_loop_is_cut() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api").of(&alice).header("Via", "1.0 other");
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_eq!(upstream.last().all("via").join(", "), "1.0 other, 1.1 bff");

    let circles = ["1.1 bff"; 8].join(", ");
    let call = Call::get("/api").of(&alice).header("Via", &circles);
    let reply = call.send(bff.public_addr).await;
    assert_eq!(code(&reply), "508 loop_detected");
    assert_eq!(upstream.seen().len(), 1);
}

/// I8: a host that is unclear is refused, and one that is not served here gets the same answer
/// with a session and without.
#[tokio::test]
async fn a_host_is_said_once_and_served_here() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            route("path = '/api'\nhost = 'eu.app.example'\nauth = 'none'"),
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/x").of(&alice);
    for (name, call, expected) in [
        ("none", call.clone().without("Host"), "400 bad_request"),
        (
            "twice",
            call.clone().header("Host", HOST),
            "400 bad_request",
        ),
        (
            "two in one",
            call.clone().with("Host", "app.example, app.example"),
            "400 bad_request",
        ),
        ("empty", call.clone().with("Host", ""), "400 bad_request"),
        (
            "a user",
            call.clone().with("Host", "x@app.example"),
            "400 bad_request",
        ),
        (
            "a path",
            call.clone().with("Host", "app.example/x"),
            "400 bad_request",
        ),
        (
            "a bad port",
            call.clone().with("Host", "app.example:port"),
            "400 bad_request",
        ),
        (
            "ours, a port",
            call.clone().with("Host", "app.example:443"),
            "200 -",
        ),
        (
            "ours, upper case",
            call.clone().with("Host", "APP.Example"),
            "200 -",
        ),
        (
            "a route's",
            call.clone().with("Host", "eu.app.example"),
            "200 -",
        ),
        (
            "longer",
            call.clone().with("Host", "app.example.evil"),
            "404 no_route",
        ),
        (
            "a sibling",
            call.clone().with("Host", "us.app.example"),
            "404 no_route",
        ),
        (
            "the address",
            call.clone().with("Host", "127.0.0.1"),
            "404 no_route",
        ),
    ] {
        let before = upstream.seen().len();
        let reply = call.send(bff.public_addr).await;
        assert_eq!(code(&reply), expected, "{name}: {}", reply.text());
        let forwarded = usize::from(expected == "200 -");
        assert_eq!(upstream.seen().len() - before, forwarded, "{name}");
    }
    for path in ["/api/x", "/nowhere", "/bff/session", "/bff/login"] {
        let stranger = Call::get(path).with("Host", "other.example");
        let answer = async |call: Call| {
            let reply = call.send(bff.public_addr).await;
            let mut body = reply.json();
            body.as_object_mut().unwrap().remove("request_id");
            let names: Vec<String> = reply.headers.into_iter().map(|(name, _)| name).collect();
            (reply.status, body, names)
        };
        let without = answer(stranger.clone()).await;
        assert_eq!(without.0, 404, "{path}");
        assert_eq!(answer(stranger.of(&alice)).await, without, "{path}");
    }
}

/// I9, I10: one reading of the path, for the match and for the upstream; what has two is refused.
#[tokio::test]
async fn a_path_has_one_reading() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(route("path = '/public'\nauth = 'none'"), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let session = |path: &str| Call::get(path).of(&alice);
    for (path, target) in [
        ("/api", "/api"),
        ("/api/", "/api/"),
        ("/%61pi/x", "/api/x"),
        ("/api/%7euser", "/api/~user"),
        ("/api/a%20b?c=%2F..%2f;d", "/api/a%20b?c=%2F..%2f;d"),
        ("/api/x?", "/api/x?"),
        ("/api/100%25", "/api/100%25"),
    ] {
        let reply = session(path).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(upstream.last().target, target);
    }
    let before = upstream.seen().len();
    for path in [
        "/public/../api/x",
        "/public/..",
        "/public/%2e%2e/api",
        "/public/.%2E/api",
        "/public/./x",
        "/public%2fx",
        "/public/..%2fapi",
        "/public/..%5capi",
        "/public/%252e%252e/api",
        "/public/%25252e%25252e/api",
        "/public//x",
        "//api/x",
        "/public;/../api",
        "/public/..;/api",
        "/public%3b/api",
        "/public/%00",
        "/public/%0d%0aX-User:admin",
        "/public/%",
        "/public/%zz",
        "/public/%c0%ae%c0%ae/api",
        "/public/\u{e9}",
        "/public\\..\\api",
        "/public/#/../api",
        "/public/x?a#b",
    ] {
        let reply = session(path).send(bff.public_addr).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
    // By whole segments, in this case, and never by the query.
    for path in [
        "/publicity",
        "/public.evil",
        "/PUBLIC/x",
        "/ap",
        "/apis",
        "/x?/api",
        "/x?path=/public",
        "/bff/session/../../api",
        "/bff/api",
    ] {
        let reply = session(path).send(bff.public_addr).await;
        assert!(
            [400, 404].contains(&reply.status),
            "{path}: {}",
            reply.status
        );
    }
    assert_eq!(upstream.seen().len(), before);
    let reply = Call::get("/public/x").send(bff.public_addr).await;
    assert_eq!(reply.status, 200, "anybody");
    let reply = Call::get("/%62ff/session").send(bff.public_addr).await;
    assert_eq!(
        reply.json()["authenticated"],
        false,
        "ours, however written"
    );
}

/// I9: semicolons pass where the operator says that the upstream reads nothing into them.
#[tokio::test]
async fn semicolons_pass_where_they_are_allowed() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.allow_semicolon", true)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/a;v=1/b%3bc").of(&alice);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_eq!(upstream.the_one().target, "/api/a;v=1/b%3Bc");
    for path in ["/api/..;/b", "/api/.;x", "/api/a/..%3b"] {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 400, "{path}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// I10: no header opens a route.
#[tokio::test]
async fn no_header_opens_a_route() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    for (name, value) in [
        ("User-Agent", "kube-probe/1.29"),
        ("User-Agent", "GoogleHC/1.0"),
        ("X-Forwarded-Uri", "/bff/login"),
        ("X-Original-URL", "/bff/login"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("Authorization", "Bearer x"),
        ("Cookie", "__Host-Http-bff=AAAA"),
        ("X-Middleware-Subrequest", "middleware"),
    ] {
        let call = Call::get("/api/x").header(name, value);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(code(&reply), "401 login_required", "{name}: {value}");
    }
    let reply = Call::new("OPTIONS", "/api/x").send(bff.public_addr).await;
    assert_eq!(code(&reply), "401 login_required");
    assert!(upstream.seen().is_empty());
}

/// I11: what an upstream may not say on our origin: cookies, storage, transport, other origins'
/// permissions, password dialogues.
#[tokio::test]
async fn an_upstream_cannot_speak_for_our_origin() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| {
        Answer::text("hello")
            .header(
                "set-cookie",
                "__Host-Http-bff=evil; Path=/; Secure; HttpOnly",
            )
            .header("set-cookie", "theme=dark")
            .header("set-cookie2", "a=1")
            .header("clear-site-data", "\"*\"")
            .header("strict-transport-security", "max-age=0")
            .header("alt-svc", "h3=\":443\"")
            .header("access-control-allow-origin", "*")
            .header("public-key-pins", "x")
            .header("dpop-nonce", "n")
            .header("x-accel-redirect", "/etc/passwd")
            .header("www-authenticate", "Basic realm=\"x\"")
            .header("www-authenticate", "NTLM")
            .header("www-authenticate", "Bearer, Negotiate")
            .header("www-authenticate", "Bearer error=\"invalid_token\"")
            .header("x-kept", "1")
            .header("etag", "\"v1\"")
            .header("set-cookies", "no cookie")
    });
    let bff = Bff::with(&idp, &upstream)
        .route(route("path = '/open'\nauth = 'none'"), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for path in ["/api/x", "/open/x"] {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 200);
        for name in [
            "set-cookie",
            "set-cookie2",
            "clear-site-data",
            "alt-svc",
            "access-control-allow-origin",
            "public-key-pins",
            "dpop-nonce",
            "x-accel-redirect",
        ] {
            assert_eq!(reply.all(name), [""; 0], "{path} {name}");
        }
        let hsts = reply.all("strict-transport-security");
        assert!(!hsts.contains(&"max-age=0"), "{path}: {hsts:?}");
        let challenges = reply.all("www-authenticate");
        assert_eq!(challenges, ["Bearer error=\"invalid_token\""], "{path}");
        assert_eq!(reply.header("x-kept"), Some("1"), "{path}");
        assert_eq!(reply.header("etag"), Some("\"v1\""), "{path}");
    }
}

/// I11: redirects are the browser's to follow, and lead through us where they lead to the upstream.
#[tokio::test]
async fn a_redirect_is_passed_on_and_never_followed() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let elsewhere = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    for (to, expected) in [
        (
            format!("{}/api/y?z#w", upstream.url()),
            "/api/y?z#w".to_owned(),
        ),
        (
            format!("{}//evil.example/", upstream.url()),
            "/evil.example/".to_owned(),
        ),
        ("/api/y".to_owned(), "/api/y".to_owned()),
        (elsewhere.url(), elsewhere.url()),
    ] {
        let location = to.clone();
        upstream.answers(move |_| Answer::status(307).header("location", &location));
        let reply = Call::get("/api/x").of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 307);
        assert_eq!(reply.header("location"), Some(expected.as_str()), "{to}");
    }
    assert!(elsewhere.seen().is_empty());
    assert_eq!(upstream.seen().len(), 4);
}

/// G12: an answer made for one session is in no shared cache's store; an anonymous route's may be.
#[tokio::test]
async fn answers_are_private() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(route("path = '/open'\nauth = 'none'"), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (said, private) in [
        (None, "private"),
        (Some("public, max-age=60"), "max-age=60, private"),
        (Some("s-maxage=60"), "private"),
        (Some("no-store"), "no-store"),
        (Some("private, max-age=5"), "private, max-age=5"),
    ] {
        upstream.answers(move |_| match said {
            Some(said) => Answer::text("x").header("cache-control", said),
            None => Answer::text("x"),
        });
        let reply = Call::get("/api").of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.all("cache-control"), [private], "{said:?}");
        let varies = reply.header("vary") == Some("Cookie");
        assert_eq!(varies, said != Some("no-store"), "{said:?}");
        let reply = Call::get("/open").send(bff.public_addr).await;
        assert_eq!(reply.header("cache-control"), said);
    }
}

/// I1, I15: a route's methods are its own; TRACE and CONNECT are nobody's.
#[tokio::test]
async fn methods_are_limited() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = alone(&idp, &upstream, "path = '/api'\nmethods = ['GET', 'PUT']")
        .route(route("path = '/all'"), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (method, target, expected) in [
        ("GET", "/api", 200),
        ("PUT", "/api", 200),
        ("POST", "/api", 405),
        ("DELETE", "/api", 405),
        ("DELETE", "/all", 200),
        ("REPORT", "/all", 200),
        ("TRACE", "/all", 405),
        ("CONNECT", "app.example:443", 405),
    ] {
        let before = upstream.seen().len();
        let call = Call::new(method, target).of(&alice);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, expected, "{method}");
        if target == "/api" && expected == 405 {
            let allow = reply.header("allow").unwrap();
            assert!(allow.contains("GET") && allow.contains("PUT"), "{allow}");
        }
        let forwarded = upstream.seen().len() - before;
        assert_eq!(forwarded, usize::from(expected == 200), "{method}");
    }
}

/// A path on its way: as it is, without the route's prefix, or with another, below the upstream's
/// own path.
#[tokio::test]
async fn a_path_is_rewritten_as_the_route_says() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let base = format!("upstream = '{}/base'", upstream.url());
    let bff = alone(&idp, &upstream, "path = '/keep'")
        .route(route("path = '/strip'\nstrip_prefix = true"), &upstream)
        .route(route("path = '/v1'\nrewrite = '/v2'"), &upstream)
        .route(route(&format!("path = '/under'\n{base}")), &upstream)
        .route(route("path = '/keep/deeper'\nrewrite = '/deep'"), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (asked, target) in [
        ("/keep/a?b=1", "/keep/a?b=1"),
        ("/strip/a?b=1", "/a?b=1"),
        ("/strip", "/"),
        ("/strip?b", "/?b"),
        ("/strip/", "/"),
        ("/v1/a", "/v2/a"),
        ("/v1", "/v2"),
        ("/under/a", "/base/under/a"),
        ("/keep/deeper/a", "/deep/a"),
    ] {
        let reply = Call::get(asked).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{asked}");
        assert_eq!(upstream.last().target, target, "{asked}");
    }
}

/// DESIGN §3: an operator's own headers, both ways.
#[tokio::test]
async fn headers_are_set_and_removed_as_the_route_says() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| Answer::text("x").header("server", "secret/1.0"));
    let text = "path = '/api'\n\
                request_headers = { set = { X-Team = 'orders' }, remove = ['Accept-Language'] }\n\
                response_headers = { set = { X-Frame-Options = 'DENY' }, remove = ['Server'] }";
    let bff = alone(&idp, &upstream, text).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api").of(&alice);
    let call = call
        .header("X-Team", "mine")
        .header("Accept-Language", "en");
    let reply = call.send(bff.public_addr).await;
    assert_eq!(own_lines(&upstream.the_one()), ["x-team: orders"]);
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("server"), None);
}

/// DESIGN §3: a body larger than the route takes is refused, said beforehand or found on the way.
#[tokio::test]
async fn a_body_has_at_most_what_the_route_takes() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = alone(&idp, &upstream, "path = '/api'\nmax_body = '1KiB'").start();
    let alice = signed_in(&bff, "alice").await;
    let post = || Call::new("POST", "/api").of(&alice);
    let chunked = |size: usize| {
        let body = format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
        let mut bytes = post().header("Transfer-Encoding", "chunked").bytes();
        bytes.extend_from_slice(body.as_bytes());
        bytes
    };
    for (name, bytes, status) in [
        ("as much", post().body("x".repeat(1024)).bytes(), 200),
        ("more", post().body("x".repeat(1025)).bytes(), 413),
        ("as much, chunked", chunked(1024), 200),
        ("more, chunked", chunked(1025), 413),
    ] {
        let mut wire = crate::support::wire::Wire::connect(bff.public_addr).await;
        wire.send(&bytes).await;
        let reply = post().answer_on(&mut wire).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        if status == 413 {
            assert_eq!(code(&reply), "413 body_too_large", "{name}");
        }
    }
    let complete = upstream.seen().iter().filter(|seen| seen.complete).count();
    assert_eq!(complete, 2);
}

/// DESIGN §3: several upstreams are taken in turn, and one that is away is passed over.
#[tokio::test]
async fn upstreams_are_taken_in_turn() {
    let (idp, first, second) = (
        Idp::start(&nine_o_clock()),
        Upstream::start(),
        Upstream::start(),
    );
    let nobody = dead_port();
    let both = format!("upstream = ['{}', '{}']", first.url(), second.url());
    let one_dead = format!("upstream = ['http://{nobody}', '{}']", second.url());
    let bff = alone(&idp, &first, &format!("path = '/both'\n{both}"))
        .route(route(&format!("path = '/half'\n{one_dead}")), &first)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for _ in 0..8 {
        let reply = Call::get("/both").of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!((first.seen().len(), second.seen().len()), (4, 4));
    for method in ["GET", "POST"] {
        let call = Call::new(method, "/half").of(&alice).body("a body");
        assert_eq!(call.send(bff.public_addr).await.status, 200, "{method}");
        assert_eq!(second.last().body, b"a body");
    }
}

/// A port of this machine where nothing listens.
fn dead_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// DESIGN §3: an upstream that cannot be reached or speaks nonsense is 502, one that is silent 504.
#[tokio::test]
async fn an_upstream_that_fails_is_told_from_one_that_is_slow() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = |path: &str, addr: &str| {
        route(&format!(
            "path = '{path}'\nupstream = 'http://{addr}'\ntimeout = '300ms'"
        ))
    };
    let bff = Bff::with(&idp, &upstream)
        .route(to("/dead", &dead_port()), &upstream)
        .route(
            to("/silent", &silent.local_addr().unwrap().to_string()),
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    let ask = async |path: &str| {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        (code(&reply), reply.json()["detail"].to_string())
    };
    let (unreachable, _) = ask("/dead").await;
    assert_eq!(unreachable, "502 upstream_unavailable");
    assert_eq!(ask("/silent").await.0, "504 upstream_timeout");
    upstream.answers(|_| Answer::dropped());
    assert_eq!(ask("/api").await.0, "502 upstream_unavailable");
    upstream.answers_raw("220 smtp.example ESMTP\r\n\r\n");
    let (garbage, detail) = ask("/api").await;
    assert_eq!(garbage, "502 upstream_unavailable");
    // N4: no address, no cause.
    assert!(
        !detail.contains("127.0.0.1") && !detail.contains("parse"),
        "{detail}"
    );
}

/// N2: an https upstream whose certificate nobody vouches for is not spoken to.
#[tokio::test]
async fn an_https_upstream_is_verified() {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(pair.cert)], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (said, heard) = std::sync::mpsc::channel();
    let helper = Helper::listen("an https upstream", move |stream| {
        let (acceptor, said) = (acceptor.clone(), said.clone());
        async move {
            let mut bytes = Vec::new();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                drop(stream.read_to_end(&mut bytes).await);
            }
            said.send(bytes).unwrap();
        }
    });
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let address = format!("https://localhost:{}", helper.addr().port());
    let bff = Bff::with(&idp, &upstream)
        .route(
            route(&format!("path = '/tls'\nupstream = '{address}'")),
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    let reply = Call::get("/tls").of(&alice).send(bff.public_addr).await;
    assert_eq!(code(&reply), "502 upstream_unavailable");
    let bytes = heard.recv_timeout(crate::support::clock::PATIENCE).unwrap();
    assert!(bytes.is_empty(), "not a byte after the handshake");
}

/// DESIGN §3: a token where there is a session, none where there is not.
#[tokio::test]
async fn an_optional_route_carries_a_token_where_there_is_one() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = alone(&idp, &upstream, "path = '/news'\nauth = 'optional'").start();
    let alice = signed_in(&bff, "alice").await;
    assert_eq!(Call::get("/news").send(bff.public_addr).await.status, 200);
    assert_eq!(upstream.last().header("authorization"), None);
    let call = Call::get("/news").of(&alice);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert!(upstream.last().bearer().is_some());
}
