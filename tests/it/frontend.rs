//! The browser app beside routes and endpoints: from a folder, or from its development server.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::call::{Call, HOST, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::{Answer, Upstream};
use crate::websocket::echo;

const INDEX: &str = "<!doctype html><title>The app</title>";

/// A build in a folder, with the route `/api`.
fn built<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let builder = Bff::with(idp, upstream)
        .file("dist/index.html", INDEX)
        .file("dist/assets/index-BvR7k2Qe.js", "console.log('app')")
        .file("dist/robots.txt", "User-agent: *")
        .file("dist/.env", "SECRET=1")
        .file("secret.txt", "not of the app");
    let dir = builder.path("dist");
    builder.set("frontend.dir", dir.to_str().unwrap())
}

/// DESIGN §3: a page for every path that is no file, endpoint or route; and nothing but the app's
/// files.
#[tokio::test]
async fn the_app_stands_beside_routes_and_endpoints() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = built(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    for path in [
        "/",
        "/index.html",
        "/orders/7",
        "/apis",
        "/bffs",
        "/settings?tab=1",
    ] {
        let visit = alice.visit(&format!("{PUBLIC_URL}{path}")).await;
        let page = visit.last();
        assert_eq!((page.status, page.text().as_str()), (200, INDEX), "{path}");
        assert_eq!(
            page.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(page.header("x-request-id").is_some(), "{path}");
        let caching = page.header("cache-control").unwrap();
        assert!(caching.contains("no-cache"), "{path}: {caching}");
    }
    let script = alice.fetch(Fetch::get("/assets/index-BvR7k2Qe.js")).await;
    assert_eq!(
        (script.status, script.text()),
        (200, "console.log('app')".to_owned())
    );
    assert!(
        script
            .header("content-type")
            .unwrap()
            .starts_with("text/javascript")
    );
    assert!(
        script
            .header("cache-control")
            .unwrap()
            .contains("immutable")
    );

    // Under the base path and a route, what is not there is not the app.
    for (path, status, code) in [
        ("/bff", 404, "no_route"),
        ("/bff/nothing", 404, "no_route"),
        ("/api", 403, "csrf"),
        ("/assets/gone-BvR7k2Qe.js", 404, "no_route"),
        ("/.env", 404, "no_route"),
    ] {
        let reply = alice.fetch(Fetch::get(path)).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(reply.json()["code"], code, "{path}");
    }
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%5c..%5csecret.txt",
    ] {
        let reply = Call::get(path).send(bff.public_addr).await;
        assert_eq!(reply.status, 400, "{path}");
    }
    let post = Call::new("POST", "/orders/7")
        .body("x")
        .send(bff.public_addr);
    assert_eq!(post.await.status, 405);
    let session = alice.fetch(Fetch::get("/bff/session").csrf()).await;
    assert_eq!(session.json()["authenticated"], true);
    assert!(upstream.seen().is_empty());
    let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(call.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

/// DESIGN §3: files are packed on their way, and what an API answers never is: a secret in it beside a
/// stranger's text could be guessed by its length.
#[tokio::test]
async fn files_are_packed_and_answers_of_an_api_are_not() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let text = "a line of text\n".repeat(1_000);
    let answered = text.clone();
    upstream.answers(move |_| Answer::text(&answered));
    let bff = built(&idp, &upstream).file("dist/notes.txt", &text).start();
    let alice = signed_in(&bff, "alice").await;
    for (path, coding) in [("/notes.txt", Some("gzip")), ("/api/notes.txt", None)] {
        let call = Call::get(path)
            .of(&alice)
            .header("Accept-Encoding", "gzip, br");
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-encoding"), coding, "{path}");
        assert_eq!(reply.body.len() < text.len(), coding.is_some(), "{path}");
    }
}

/// The whole way of a person through an app from a folder: the return to a deep link included.
#[tokio::test]
async fn a_person_comes_back_to_the_page_they_left() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = built(&idp, &upstream).start();
    let mut alice = bff.browser();
    alice.visit(&format!("{PUBLIC_URL}/orders/7")).await;
    let visit = alice
        .click("/bff/login?login_hint=alice&return_to=/orders/7%3Ftab=2%23lines")
        .await;
    assert_eq!(
        visit.url().as_str(),
        format!("{PUBLIC_URL}/orders/7?tab=2#lines")
    );
    assert_eq!(visit.last().text(), INDEX);
    let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(call.status, 200);
}

/// DESIGN §3: the app's development server: its pages, its answers as they are, its hot-reload
/// socket, and none of our credentials.
#[tokio::test]
async fn a_development_server_stands_in_for_the_folder() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let vite = Upstream::start();
    vite.answers(|seen| match seen.header("upgrade") {
        Some(_) => echo(seen),
        None => Answer::text(INDEX)
            .header("access-control-allow-origin", "*")
            .header("cache-control", "no-cache"),
    });
    let bff = Bff::with(&idp, &upstream)
        .set("frontend.upstream", vite.url())
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let before = vite.seen().len();
    for path in [
        "/",
        "/src/main.tsx?t=1",
        "/@vite/client",
        "/node_modules/.vite/deps/react.js",
    ] {
        let reply = alice.fetch(Fetch::get(path)).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, INDEX),
            "{path}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-cache"), "{path}");
    }
    let targets: Vec<String> = vite.seen()[before..]
        .iter()
        .map(|seen| seen.target.clone())
        .collect();
    assert_eq!(
        targets,
        [
            "/",
            "/src/main.tsx?t=1",
            "/@vite/client",
            "/node_modules/.vite/deps/react.js"
        ]
    );

    let mut socket = alice.web_socket(&format!("wss://{HOST}/")).await.unwrap();
    socket.send(Message::text("ping")).await.unwrap();
    let said = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(said, Message::text("ping"));

    let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(call.status, 200);
    assert!(upstream.the_one().bearer().is_some());
    for seen in vite.seen() {
        assert_eq!(seen.header("authorization"), None, "{}", seen.target);
        assert_eq!(seen.header("cookie"), None, "{}", seen.target);
        assert!(!seen.target.starts_with("/bff"), "{}", seen.target);
    }
    drop(vite);
    let reply = alice.fetch(Fetch::get("/")).await;
    assert_eq!(reply.json()["code"], "upstream_unavailable");
}
