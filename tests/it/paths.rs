//! Paths that two readers could take for two (I9): refused, unless the one reader there is says that
//! they are plain to it.

use crate::support::bff::Bff;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::Idp;
use crate::support::upstream::Upstream;

const INDEX: &str = "<!doctype html><title>The app</title>";

/// A page of the app has the path that the app gives it, matrix parameters and encoded slashes too,
/// which were 400; but no odd spelling of a route's or an endpoint's path is one.
#[tokio::test]
async fn the_app_names_its_pages_as_it_likes() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let builder = Bff::with(&idp, &upstream)
        .route(
            "path = '/hidden'\nhost = 'eu.app.example'\nauth = 'none'\nmethods = ['POST']"
                .parse()
                .unwrap(),
            &upstream,
        )
        .file("dist/index.html", INDEX)
        .file("dist/secret.txt", "a file");
    let dir = builder.path("dist");
    let bff = builder.set("frontend.dir", dir.to_str().unwrap()).start();
    let page = |path: &str| Call::get(path).with("Sec-Fetch-Mode", "navigate");
    for path in [
        "/heroes;id=15",
        "/heroes;id=15/powers;x=a%2Fb",
        "/files/a%2Fb",
        "/files/a%5Cb",
        "/files/100%",
        "/search/%252F",
        "//",
        "//elsewhere//x",
        "/secret.txt;x",
        "/apis;x",
    ] {
        let reply = page(path).send(bff.public_addr).await;
        assert_eq!(
            (reply.status, reply.text()),
            (200, INDEX.to_owned()),
            "{path}"
        );
        let fetched = Call::get(path).with("Sec-Fetch-Mode", "cors");
        assert_eq!(fetched.send(bff.public_addr).await.status, 400, "{path}");
        let mut post = page(path);
        post = Call::new("POST", path)
            .with("Sec-Fetch-Mode", "navigate")
            .body(post.bytes());
        assert_eq!(post.send(bff.public_addr).await.status, 400, "{path}");
    }
    for path in [
        "/api;x/y",
        "//api/x",
        "/API%2Fx",
        "/%2561pi;/x",
        "/x;/../api",
        "/x/..;/api",
        "/x%2F..%2Fapi",
        "/x%5C..%5Capi",
        "/x;%00",
        "/x;%0d%0aSet-Cookie:a=1",
        "/x;%c0%af",
        "/hidden;x",
        "//HIDDEN",
        "/bff;x/session",
        "//bff/login",
        "/BFF%2Flogin",
        "/%62ff%2flogout",
    ] {
        let reply = page(path).send(bff.public_addr).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
    assert!(upstream.seen().is_empty());
}

/// I9: a route may let such paths pass to its upstream; never to where another route has its own
/// rules, and no dot segment, `..;` and `.;` included, which passed with `allow_semicolon`.
#[tokio::test]
async fn a_route_may_let_odd_paths_pass() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let files = "path = '/files'\nencoded_slashes = 'pass'\nallow_semicolon = true";
    let bff = Bff::with(&idp, &upstream)
        .route(files.parse().unwrap(), &upstream)
        .route("path = '/files/admin'".parse().unwrap(), &upstream)
        .start();
    let alice = signed_in(&bff, "alice").await;
    for (path, target) in [
        ("/files/a%2fb", "/files/a%2Fb"),
        ("/files/a;v=1/b%3bc", "/files/a;v=1/b%3Bc"),
        ("/files/https%3A%2F%2Fx", "/files/https%3A%2F%2Fx"),
        ("/files/x%2Fadmin", "/files/x%2Fadmin"),
    ] {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(upstream.last().target, target);
    }
    let before = upstream.seen().len();
    for path in [
        "/files/..;/api",
        "/files/.;/x",
        "/files/..%3B/api",
        "/files/..%253b/api",
        "/files/..%2Fapi",
        "/files/%2e%2e%2Fapi",
        "/files/a%252Fb",
        "/files/a%5Cb",
        "/files/admin%2Fusers",
        "/files/ADMIN%2Fusers",
        "/files/admin;x/users",
        "/files/;/admin/users",
        "/files/admin/a%2Fb",
        "/files/admin/a;b",
        "/api/a%2Fb",
        "/api/a;b",
    ] {
        let reply = Call::get(path).of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
    assert_eq!(upstream.seen().len(), before);
}
