//! What a route lets through of a request's fields and of an answer's (sections I2, I8, I11), where
//! it has a say in it.

use serde_json::Value;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::{Call, HOST, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::SESSION_COOKIE;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;

/// A route alone, to this upstream.
fn alone<'a>(idp: &'a Idp, upstream: &Upstream, text: &str) -> BffBuilder<'a> {
    Bff::with(idp, upstream)
        .no_routes()
        .route(text.parse().unwrap(), upstream)
}

fn code(reply: &Reply) -> String {
    let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("-");
    format!("{} {code}", reply.status)
}

/// I2: an app's own fields arrive; `X-User-Timezone` and all else that begins with `X-User` used to
/// vanish without a word, and `X-MS-Client-Principal` and its like used to arrive.
#[tokio::test]
async fn only_the_fields_of_identity_proxies_are_dropped() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route("path = '/open'\nauth = 'none'".parse().unwrap(), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    let passing = ["X-User-Timezone", "X-User-Agent", "X-Auth-Token", "X-Team"];
    let dropped = [
        "X-User",
        "X-User-Roles",
        "X-Username",
        "X-Auth-User",
        "X-MS-Client-Principal",
        "X-Goog-IAP-JWT-Assertion",
        "Cf-Access-Jwt-Assertion",
        "Impersonate-User",
        "OIDC-Claim-Sub",
        "SM-User",
        "Tailscale-User-Login",
        "Client-Cert",
    ];
    for path in ["/api/x", "/open/x"] {
        let all = passing.iter().chain(&dropped);
        let call = all.fold(Call::get(path).of(&alice), |call, name| {
            call.header(name, "1")
        });
        assert_eq!(call.send(bff.public_addr).await.status, 200, "{path}");
        let seen = upstream.last();
        for name in passing {
            assert_eq!(seen.all(name), ["1"], "{path} {name}");
        }
        for name in dropped {
            assert_eq!(seen.all(name), [""; 0], "{path} {name}");
        }
    }
}

/// I2: a route that names what passes lets nothing else through, and what is ours comes in any case.
#[tokio::test]
async fn a_route_may_name_the_only_fields_that_pass() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let text = "path = '/api'\nrequest_headers = { pass = ['Accept', 'X-Remote-User'] }";
    let bff = alone(&idp, &upstream, text).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api")
        .of(&alice)
        .header("Accept", "text/plain")
        .header("Accept-Language", "en")
        .header("X-Remote-User", "alice")
        .header("X-Team", "orders")
        .header("Cookie", "theme=dark");
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let seen = upstream.the_one();
    let mut names = seen.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "host",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-remote-user",
            "x-request-id",
        ]
    );
    assert!(seen.bearer().is_some());
}

/// I11: what speaks for the origin stays behind on every route; all of these used to pass, the caches'
/// on anonymous routes. What speaks for the answer passes, `X-Accel-Buffering` with it, without which
/// an nginx in front holds events back.
#[tokio::test]
async fn an_upstream_speaks_for_its_answer_alone() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let dropped = [
        ("nel", r#"{"report_to":"x","max_age":31536000}"#),
        ("report-to", r#"{"group":"x","max_age":31536000}"#),
        ("reporting-endpoints", "x=\"https://evil.example/\""),
        ("service-worker-allowed", "/"),
        ("secure-session-registration", "(ES256);path=\"/x\""),
        ("set-login", "logged-in"),
        ("origin-agent-cluster", "?1"),
        ("accept-ch", "Sec-CH-UA-Model"),
        ("cdn-cache-control", "max-age=600"),
        ("cloudflare-cdn-cache-control", "max-age=600"),
        ("surrogate-control", "max-age=600"),
        ("x-sendfile", "/etc/passwd"),
        ("x-lighttpd-send-file", "/etc/passwd"),
        ("x-accel-redirect", "/internal"),
    ];
    let passing = [
        ("x-accel-buffering", "no"),
        ("content-security-policy", "default-src 'none'"),
        ("permissions-policy", "camera=()"),
        ("x-total-count", "7"),
        ("ratelimit-remaining", "9"),
    ];
    upstream.answers(move |_| {
        let all = dropped.iter().chain(&passing);
        all.fold(Answer::text("x"), |answer, (name, value)| {
            answer.header(name, value)
        })
    });
    let set = "path = '/set'\nauth = 'none'\n\
               response_headers = { set = { Origin-Agent-Cluster = '?0' } }";
    let bff = Bff::with(&idp, &upstream)
        .route("path = '/open'\nauth = 'none'".parse().unwrap(), &upstream)
        .route(set.parse().unwrap(), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for path in ["/api/x", "/open/x"] {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{path}");
        for (name, _) in dropped {
            assert_eq!(reply.all(name), [""; 0], "{path} {name}");
        }
        for (name, value) in passing {
            assert_eq!(reply.all(name), [value], "{path} {name}");
        }
    }
    let reply = Call::get("/set").send(bff.public_addr).await;
    assert_eq!(reply.all("origin-agent-cluster"), ["?0"], "the operator's");
}

/// I11: cookies of an upstream vanished, and nothing said so. A route can keep them: for our host
/// alone, and never one of our names, which would sign a browser in as somebody else, or out.
#[tokio::test]
async fn a_route_keeps_its_upstreams_cookies() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let login = format!("{SESSION_COOKIE}-login-1=x; Path=/; Secure");
    let ours = format!("{SESSION_COOKIE}=x; Path=/; Secure; HttpOnly");
    upstream.answers(move |_| {
        Answer::text("x")
            .header("set-cookie", "theme=dark; Path=/; Domain=example; HttpOnly")
            .header("set-cookie", &ours)
            .header("set-cookie", &login)
            .header("set-cookie", "=nameless")
            .header("set-cookie", "lang=en")
    });
    let kept = "path = '/kept'\nset_cookie = 'keep'".parse().unwrap();
    let open = "path = '/open'\nauth = 'none'\nset_cookie = 'keep'";
    let bff = Bff::with(&idp, &upstream)
        .route(kept, &upstream)
        .route(open.parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    for path in ["/api/x", "/api/y"] {
        let reply = alice.fetch(Fetch::get(path).csrf()).await;
        assert_eq!(reply.all("set-cookie"), [""; 0], "{path}");
    }
    let told = bff.logs().lines_with("Set-Cookie was dropped");
    let [told] = told.as_slice() else {
        panic!("once a route: {told:?}")
    };
    assert!(
        told.contains("/api") && told.contains("set_cookie"),
        "{told}"
    );
    for path in ["/kept/x", "/open/x", "/open/y"] {
        let reply = alice.fetch(Fetch::get(path).csrf()).await;
        let cookies = reply.all("set-cookie");
        let kept = ["theme=dark; Path=/; HttpOnly", "lang=en"];
        assert_eq!(cookies, kept, "{path}");
    }
    assert_eq!(bff.logs().lines_with("Set-Cookie was dropped").len(), 3);
    let session = alice.fetch(Fetch::get("/bff/session").csrf()).await;
    assert_eq!(session.json()["authenticated"], true, "as before");
    alice.fetch(Fetch::get("/kept/z").csrf()).await;
    let sent = upstream.last();
    let sent = sent.header("cookie").unwrap_or_default();
    assert!(sent.contains("theme=dark"), "{sent}");
}

/// N2: https is said to be for good on our own answers, on files and on pages of an upstream, and what
/// only scripts call goes without; another word of the operator's takes its place.
#[tokio::test]
async fn browsers_are_told_to_come_by_https() {
    const DEFAULT: &str = "max-age=31536000";
    const OWN: &str = "max-age=60; includeSubDomains";
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| Answer::text("x").header("strict-transport-security", "max-age=0"));
    let with = |files: Option<&str>, route: &str| {
        let pages = format!("path = '/pages'\ncsrf = 'origin'\n{route}");
        let builder = Bff::with(&idp, &upstream)
            .route(pages.parse().unwrap(), &upstream)
            .file("dist/index.html", "app");
        let dir = builder.path("dist");
        let builder = builder.set("frontend.dir", dir.to_str().unwrap());
        match files {
            Some(own) => builder.set("frontend.headers.Strict-Transport-Security", own),
            None => builder,
        }
    };
    let of_a_route =
        format!("response_headers = {{ set = {{ Strict-Transport-Security = '{OWN}' }} }}");
    let removed = "response_headers = { remove = ['Strict-Transport-Security'] }";
    for (files, route, expected, on_pages) in [
        (None, "", Some(DEFAULT), Some(DEFAULT)),
        (Some(OWN), "", Some(OWN), Some(OWN)),
        (Some(""), "", None, None),
        (None, of_a_route.as_str(), None, Some(OWN)),
        (None, removed, None, None),
    ] {
        let bff = with(files, route).start();
        let alice = signed_in(&bff, "alice").await;
        for (path, expected) in [
            ("/", expected),
            ("/bff/session", expected),
            ("/bff/nothing", expected),
            ("/pages/x", on_pages),
            ("/api/x", None),
        ] {
            let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
            let told = reply.header("strict-transport-security");
            assert_eq!(told, expected, "{path} {files:?} {route}");
        }
        let page = Call::get("/pages/x").with("Sec-Fetch-Mode", "navigate");
        let login = page.send(bff.public_addr).await;
        assert_eq!(login.status, 303, "to the provider");
        assert_eq!(login.header("strict-transport-security"), expected);
    }
}

/// What answers of ours say in `NEL`, an endpoint's, the app's and a refusal, and last an upstream's.
async fn nel(builder: BffBuilder<'_>, upstream: &Upstream) -> [Option<String>; 4] {
    let open = "path = '/open'\nauth = 'none'".parse().unwrap();
    let builder = builder.route(open, upstream).file("dist/index.html", "app");
    let dir = builder.path("dist");
    let bff = builder.set("frontend.dir", dir.to_str().unwrap()).start();
    let ask = async |path: &str| {
        let reply = Call::get(path).send(bff.public_addr).await;
        reply.header("nel").map(str::to_owned)
    };
    [
        ask("/bff/session").await,
        ask("/").await,
        ask("/api/x").await,
        ask("/open/x").await,
    ]
}

/// I11: our own answers take back where an upstream once made browsers report to, unless the operator
/// has a word of their own there.
#[tokio::test]
async fn our_answers_clear_what_an_upstream_once_said() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let clear = Some(r#"{"max_age":0}"#.to_owned());
    let told = nel(Bff::with(&idp, &upstream), &upstream).await;
    assert_eq!(told, [clear.clone(), clear.clone(), clear, None]);
    let text = "path = '/own'\nresponse_headers = { set = { NEL = '{}' } }";
    let own = Bff::with(&idp, &upstream).route(text.parse().unwrap(), &upstream);
    assert_eq!(nel(own, &upstream).await, [None, None, None, None]);
}

/// I11: the script of a service worker comes from the app, or from a route that says so: one below
/// an anonymous route could take over every page.
#[tokio::test]
async fn a_service_workers_script_comes_from_the_app() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| Answer::text("//").header("service-worker-allowed", "/"));
    let builder = Bff::with(&idp, &upstream)
        .route("path = '/open'\nauth = 'none'".parse().unwrap(), &upstream)
        .route(
            "path = '/next'\nauth = 'none'\nservice_worker = true"
                .parse()
                .unwrap(),
            &upstream,
        )
        .file("dist/index.html", "app")
        .file("dist/sw.js", "//");
    let dir = builder.path("dist");
    let bff = builder.set("frontend.dir", dir.to_str().unwrap()).start();
    let mut alice = signed_in(&bff, "alice").await;
    for (path, expected) in [
        ("/open/sw.js", "403 service_worker_not_allowed"),
        ("/api/sw.js", "403 service_worker_not_allowed"),
        ("/next/sw.js", "200 -"),
        ("/sw.js", "200 -"),
    ] {
        let fetch = Fetch::get(path).header("Service-Worker", "script").csrf();
        let reply = alice.fetch(fetch).await;
        assert_eq!(code(&reply), expected, "{path}");
        assert_eq!(reply.header("service-worker-allowed"), None, "{path}");
    }
    let script = alice.fetch(Fetch::get("/open/sw.js")).await;
    assert_eq!(script.status, 200, "as a plain script");
    let targets: Vec<_> = upstream
        .seen()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(targets, ["/next/sw.js", "/open/sw.js"]);
}

/// I11: the upstream's own addresses lead back below the route's path, relative ones too, which used
/// to leave the route; it is told of that path.
#[tokio::test]
async fn addresses_of_the_upstream_stay_on_the_route() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let set = "path = '/set'\nstrip_prefix = true\n\
               request_headers = { set = { X-Forwarded-Prefix = '/outer/set' } }";
    let bff = alone(&idp, &upstream, "path = '/app'\nstrip_prefix = true")
        .route("path = '/keep'".parse().unwrap(), &upstream)
        .route("path = '/v1'\nrewrite = '/v2'".parse().unwrap(), &upstream)
        .route(set.parse().unwrap(), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (asked, said, seen) in [
        ("/app/x", "/items/", "/app/items/"),
        ("/app/x", "/app/items/", "/app/items/"),
        ("/app/x", "items/", "items/"),
        ("/app/x", "//other.example/x", "//other.example/x"),
        ("/keep/x", "/items/", "/items/"),
        ("/v1/x", "/v2/items/", "/v1/items/"),
        ("/v1/x", "/items/", "/items/"),
    ] {
        upstream.answers(move |_| {
            Answer::status(201)
                .header("location", said)
                .header("content-location", said)
        });
        let reply = Call::get(asked).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.all("location"), [seen], "{asked} {said}");
        assert_eq!(reply.all("content-location"), [seen], "{asked} {said}");
    }
    for (asked, told) in [
        ("/app/x", Some("/app")),
        ("/keep/x", None),
        ("/v1/x", None),
        ("/set/x", Some("/outer/set")),
    ] {
        let call = Call::get(asked).of(&alice);
        let call = call.header("X-Forwarded-Prefix", "/evil");
        assert_eq!(call.send(bff.public_addr).await.status, 201);
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-prefix"), told, "{asked}");
        assert_eq!(
            seen.all("x-forwarded-prefix").len(),
            usize::from(told.is_some())
        );
    }
}

/// I8: an upstream that holds Host against Origin is called by our host, never by another that a
/// stranger names, and by no port of theirs.
#[tokio::test]
async fn our_host_is_kept_where_the_route_says() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = alone(&idp, &upstream, "path = '/x'\npreserve_host = true")
        .route("path = '/own'".parse().unwrap(), &upstream)
        .route(
            "path = '/eu'\nhost = 'eu.app.example'\nauth = 'none'\npreserve_host = true"
                .parse()
                .unwrap(),
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    let own = upstream.addr().to_string();
    for (path, host, told) in [
        ("/x", HOST, HOST),
        ("/x", "APP.example", HOST),
        ("/x", "app.example:1234", HOST),
        ("/x", "eu.app.example", "eu.app.example"),
        ("/eu", "eu.app.example", "eu.app.example"),
        ("/own", HOST, own.as_str()),
    ] {
        let call = Call::get(path).of(&alice).with("Host", host);
        assert_eq!(
            call.send(bff.public_addr).await.status,
            200,
            "{path} {host}"
        );
        assert_eq!(upstream.last().all("host"), [told], "{path} {host}");
    }
    let call = Call::get("/x").of(&alice).with("Host", "evil.example");
    assert_eq!(code(&call.send(bff.public_addr).await), "404 no_route");
    upstream.answers(|_| Answer::status(302).header("location", &format!("{PUBLIC_URL}/y")));
    let reply = Call::get("/x").of(&alice).send(bff.public_addr).await;
    assert_eq!(reply.header("location"), Some("/y"));
}

/// An upstream's answer may have more than a hundred fields, where the operator says so; no key
/// raised it.
#[tokio::test]
async fn an_answer_has_as_many_fields_as_are_allowed() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| {
        (0..150).fold(Answer::text("x"), |answer, index| {
            answer.header(&format!("x-field-{index}"), "1")
        })
    });
    for (fields, expected) in [(None, "502 upstream_unavailable"), (Some(200), "200 -")] {
        let open = "path = '/open'\nauth = 'none'".parse().unwrap();
        let mut builder = Bff::with(&idp, &upstream).route(open, &upstream);
        if let Some(fields) = fields {
            builder = builder.set("server.limits.upstream_fields", fields);
        }
        let bff = builder.start();
        let reply = Call::get("/open").send(bff.public_addr).await;
        assert_eq!(code(&reply), expected, "{fields:?}");
        let log = bff.logs().text();
        let told = log.contains("server.limits.upstream_fields");
        assert_eq!(told, fields.is_none(), "{log}");
    }
}
