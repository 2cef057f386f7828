//! What an operator sees (section N).

use std::sync::Arc;
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::bff::{ADMIN_KEY, Bff};
use crate::support::browser::Fetch;
use crate::support::call::{Call, HOST, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;

async fn admin(bff: &Bff<'_>, path: &str) -> Reply {
    Call::bare("GET", path)
        .header("Host", "admin")
        .send(bff.admin_addr.unwrap())
        .await
}

/// N1: health and metrics are on the second listener, and nowhere on the first; nor is anything of
/// the first on the second.
#[tokio::test]
async fn the_second_listener_is_another_house() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    bff.ready().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let inside = admin(&bff, path).await;
        assert_eq!(inside.status, 200, "{path}: {}", inside.text());
        assert_eq!(inside.header("cache-control"), Some("no-store"), "{path}");
        for host in [HOST, "admin", "127.0.0.1"] {
            let call = Call::get(path).of(&alice).with("Host", host);
            let outside = call.send(bff.public_addr).await;
            assert_eq!(outside.status, 404, "{path} as {host}");
        }
    }
    for path in ["/bff/session", "/api/orders", "/sessions", "/debug", "/"] {
        let call = Call::get(path).of(&alice).send(bff.admin_addr.unwrap());
        assert_eq!(call.await.status, 421, "{path}: the public host");
        let call = Call::get(path).of(&alice).with("Host", "admin");
        let inside = call.send(bff.admin_addr.unwrap()).await;
        assert_eq!(inside.status, 404, "{path}");
    }
    assert!(upstream.seen().is_empty());
}

/// N1: a page of another site can have its own name point at this machine (DNS rebinding): the second
/// listener answers to no name that is not its own, whoever has the key.
#[tokio::test]
async fn the_second_listener_answers_to_its_own_names() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.admin_hosts", vec!["admin", "bff.internal"])
        .administered()
        .start();
    bff.ready().await;
    let address = bff.admin_addr.unwrap();
    let ask = async |path: &str, host: &str| {
        let key = format!("Bearer {ADMIN_KEY}");
        let call = Call::bare("GET", path).header("Host", host);
        call.header("Authorization", &key).send(address).await
    };
    for path in ["/livez", "/readyz", "/metrics", "/", "/api/sessions"] {
        let by_address = address.to_string();
        let own = ["localhost", "10.1.2.3:9090", "[::1]", "bff.internal:9090"];
        for host in own.into_iter().chain([by_address.as_str()]) {
            assert_eq!(ask(path, host).await.status, 200, "{path} as {host}");
        }
        for host in [HOST, "rebound.example:9090", "127.0.0.1.rebound.example"] {
            let reply = ask(path, host).await;
            assert_eq!(refusal(&reply), "421 unknown_host", "{path} as {host}");
            assert!(
                reply.text().contains("server.admin_hosts"),
                "{}",
                reply.text()
            );
        }
    }
}

/// I8, N4: a proxy that loses `Host` loses every request, and no line said which host had come. One a
/// minute does, with the right one beside it; the answer repeats neither.
#[tokio::test]
async fn a_host_that_is_not_served_is_named_in_the_log() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let ask = async |host: &str| {
        let call = Call::get("/").with("Host", host);
        let call = call.with("Sec-Fetch-Mode", "navigate");
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 404, "{host}");
        assert!(!reply.text().contains(host), "{}", reply.text());
        assert!(!reply.text().contains(HOST), "{}", reply.text());
    };
    let told = || bff.logs().lines_with("request.elsewhere");
    ask("lost.internal").await;
    ask("127.0.0.1").await;
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("\"host\":\"lost.internal\""),
        "{lines:#?}"
    );
    assert!(lines[0].contains(PUBLIC_URL), "{lines:#?}");
    idp.clock().advance(Duration::from_mins(1));
    ask("127.0.0.1").await;
    let lines = told();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].contains("\"left_out\":1"), "{lines:#?}");
}

/// I4: behind a proxy that `trusted_proxies` does not name every visitor has its address, and nothing
/// said so.
#[tokio::test]
async fn a_proxy_that_is_not_named_is_warned_of() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let forgotten = Bff::with(&idp, &upstream).start();
    let named = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", vec!["127.0.0.1/32"])
        .start();
    for (name, bff, forwarded, times) in [
        ("nobody speaks", &forgotten, None, 0),
        ("forgotten", &forgotten, Some("203.0.113.7"), 1),
        ("once a minute", &forgotten, Some("203.0.113.8"), 1),
        ("named", &named, Some("203.0.113.7"), 0),
    ] {
        let call = Call::bare("GET", "/bff/login").header("Host", HOST);
        let call = match forwarded {
            Some(address) => call.with("X-Forwarded-For", address),
            None => call,
        };
        assert_eq!(call.send(bff.public_addr).await.status, 303, "{name}");
        let lines = bff.logs().lines_with("proxy.unnamed");
        assert_eq!(lines.len(), times, "{name}: {lines:#?}");
        let client = "\"client\":\"127.0.0.1\"";
        assert!(lines.iter().all(|line| line.contains(client)), "{lines:#?}");
    }
}

/// N4: an id tells a stranger nothing of the traffic: not how many requests came before it, nor which of
/// them one worker answered. It was the worker's word and a count.
#[tokio::test]
async fn a_request_id_tells_nothing_of_the_traffic() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).set("server.workers", 1).start();
    let mut ids = Vec::new();
    for _ in 0..300 {
        let reply = Call::get("/api/x").send(bff.public_addr).await;
        ids.push(reply.header("x-request-id").unwrap().to_owned());
    }
    let distinct = |part: fn(&str) -> &str| {
        let parts: std::collections::HashSet<&str> = ids.iter().map(|id| part(id)).collect();
        parts.len()
    };
    // Neither half repeats: six characters of each are 36 random bits.
    assert_eq!(distinct(|id| &id[..6]), ids.len());
    assert_eq!(distinct(|id| &id[id.len() - 6..]), ids.len());
    assert!(ids.iter().all(|id| id.len() == ids[0].len()));
}

/// N1: with a key, whoever lacks it learns nothing of what else there is.
#[tokio::test]
async fn without_the_key_nothing_is_told() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    assert_eq!(admin(&bff, "/livez").await.status, 200);
    let refused = admin(&bff, "/nothing").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
}

/// What `/readyz` says now: its status, its word, and what it says of the provider.
async fn readiness(bff: &Bff<'_>) -> (u16, String, String) {
    let reply = admin(bff, "/readyz").await;
    let told: Value = reply.json();
    let of_provider = &told["checks"]["provider"];
    let detail = of_provider["detail"].as_str().unwrap_or_default();
    let state = of_provider["state"].as_str().unwrap();
    let status = told["status"].as_str().unwrap();
    (
        reply.status,
        status.to_owned(),
        format!("state:{state} {detail}"),
    )
}

/// Asks until the provider is told of with this word.
async fn told(bff: &Bff<'_>, word: &str) -> (u16, String, String) {
    soon(word, async {
        loop {
            let found = readiness(bff).await;
            if found.2.contains(word) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// N1, A8: a provider that answers wrongly since the start keeps work away, however long it does, and
/// the reason is told. (A deploy with a wrong issuer was ready, and took the place of one that worked.)
#[tokio::test]
async fn a_wrong_provider_keeps_work_away() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let other = Fault::Set(Stage::Metadata, "issuer", "https://other.example".into());
    let unknown = Fault::Error(Endpoint::Discovery, 404, "not_found");
    for (fault, word) in [(other, "another issuer"), (unknown, "404")] {
        idp.misbehave(fault);
        let bff = Bff::with(&idp, &upstream).start();
        let (status, ready, reason) = told(&bff, word).await;
        assert_eq!((status, ready.as_str()), (503, "unready"), "{reason}");
        idp.clock().advance(Duration::from_hours(1));
        let (status, _, reason) = readiness(&bff).await;
        assert!(
            status == 503 && reason.starts_with("state:failed"),
            "{reason}"
        );
        idp.behave();
        let (status, ready, _) = told(&bff, "state:ok").await;
        assert_eq!((status, ready.as_str()), (200, "ready"), "{word}");
    }
}

/// N1, A8: a provider that says nothing delays readiness by a minute at most, so that a restart during
/// its outage takes no node out of service. (One that hung kept the node out for as long.)
#[tokio::test]
async fn a_silent_provider_delays_readiness_by_a_minute() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let hangs = Fault::Late(Endpoint::Discovery, Duration::from_hours(1));
    for (fault, word) in [
        (Fault::unavailable(Endpoint::Discovery), "503"),
        (Fault::DropUnheard(Endpoint::Discovery), "broke off"),
        (hangs, "no answer within"),
    ] {
        idp.misbehave(fault);
        let bff = Bff::with(&idp, &upstream)
            .set("provider.timeout", "100ms")
            .start();
        let (status, ready, reason) = told(&bff, word).await;
        assert_eq!((status, ready.as_str()), (503, "unready"), "{reason}");
        idp.clock().advance(Duration::from_secs(59));
        assert_eq!(readiness(&bff).await.0, 503, "{word}");
        idp.clock().advance(Duration::from_secs(1));
        let (status, ready, reason) = readiness(&bff).await;
        assert_eq!((status, ready.as_str()), (200, "ready"), "{reason}");
        assert!(reason.starts_with("state:degraded"), "{reason}");
        idp.behave();
        assert_eq!(told(&bff, "state:ok").await.0, 200, "{word}");
    }
}

/// N1: what happened is counted, by route and never by anything that a stranger chooses.
#[tokio::test]
async fn metrics_count_what_happened() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    for path in ["/api/a", "/api/b", "/canary-of-a-path"] {
        Call::get(path).of(&alice).send(bff.public_addr).await;
    }
    let metrics = admin(&bff, "/metrics").await.text();
    let count: Vec<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains("route=\"/api\""))
        .collect();
    assert!(count.iter().any(|line| line.ends_with(" 2")), "{metrics}");
    assert!(!metrics.contains("canary-of-a-path"), "{metrics}");
    assert!(!metrics.contains("alice"), "{metrics}");
}

/// N4: the browser gets a code and a sentence, the log the cause; the request id joins them.
#[tokio::test]
async fn a_request_id_joins_answer_and_log() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let route = format!("path = '/dead'\nupstream = 'http://{address}'");
    let bff = Bff::with(&idp, &upstream)
        .route(route.parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let reply = alice
        .fetch(Fetch::get("/dead?secret=canary-of-a-query").csrf())
        .await;
    assert_eq!(reply.status, 502);
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let id = reply.header("x-request-id").unwrap();
    let problem = reply.json();
    assert_eq!(problem["request_id"], id);
    for member in ["type", "title", "status", "code", "detail"] {
        assert!(!problem[member].is_null(), "{member}");
    }
    assert!(
        !reply.text().contains(&address.to_string()),
        "{}",
        reply.text()
    );
    let lines = bff.logs().lines_with(id);
    let cause = lines
        .iter()
        .find(|line| line.contains(&address.to_string()));
    assert!(cause.is_some(), "{lines:#?}");
    let access = lines
        .iter()
        .find(|line| line.contains("bff::access"))
        .unwrap();
    assert!(
        access.contains("502") && access.contains("/dead"),
        "{access}"
    );
    assert!(!bff.logs().text().contains("canary-of-a-query"));

    // The upstream has the same id, and each answer its own.
    let reply = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    let id = reply.header("x-request-id").unwrap();
    assert_eq!(upstream.the_one().header("x-request-id"), Some(id));
    for path in ["/", "/bff/session", "/api/orders"] {
        let call = Call::get(path).with("X-Request-Id", "mine");
        let other = call.send(bff.public_addr).await;
        let other = other.header("x-request-id").unwrap();
        assert!(other != id && other != "mine", "{path}");
    }
}

/// N4: a person gets a page, a script a problem document, by what their browser says.
#[tokio::test]
async fn an_error_is_written_for_its_reader() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let navigate = ("Sec-Fetch-Mode", "navigate");
    let html = ("Accept", "text/html,*/*;q=0.8");
    for (name, fields, page) in [
        ("a navigation", &[navigate][..], true),
        ("an old browser", &[html], true),
        (
            "a fetch that takes HTML",
            &[("Sec-Fetch-Mode", "cors"), html],
            false,
        ),
        ("a script", &[("Accept", "*/*")], false),
        ("nothing", &[], false),
    ] {
        let call = Call::bare("GET", "/nowhere").header("Host", HOST);
        let call = fields
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 404, "{name}");
        let kind = if page {
            "text/html; charset=utf-8"
        } else {
            "application/problem+json"
        };
        assert_eq!(reply.header("content-type"), Some(kind), "{name}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
    }
}

/// A certificate for the app's host, and its key, in PEM and as a root to trust.
fn certificate() -> (String, String, CertificateDer<'static>) {
    let pair = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
    let der = CertificateDer::from(pair.cert.der().to_vec());
    (pair.cert.pem(), pair.signing_key.serialize_pem(), der)
}

async fn tls(
    bff: &Bff<'_>,
    root: &CertificateDer<'static>,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(bff.public_addr).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

const BOTH: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

/// N2: TLS 1.2 and 1.3, both protocols by ALPN; a renewed certificate is taken up by itself, and a
/// broken one is not.
#[tokio::test]
async fn tls_is_spoken_and_certificates_are_renewed() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (cert, key, first) = certificate();
    let builder = Bff::with(&idp, &upstream)
        .file("tls.crt", cert)
        .file("tls.key", key);
    let (cert_file, key_file) = (builder.path("tls.crt"), builder.path("tls.key"));
    let bff = builder
        .set("server.tls.cert", cert_file.to_str().unwrap())
        .set("server.tls.key", key_file.to_str().unwrap())
        .start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = tls(&bff, &first, &[b"http/1.1"], &[version]).await.unwrap();
        let call = Call::get("/bff/session").header("Connection", "close");
        stream.write_all(&call.bytes()).await.unwrap();
        let mut text = String::new();
        soon("an answer", stream.read_to_string(&mut text))
            .await
            .unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains("\"authenticated\":false"), "{text}");
    }
    let stream = tls(&bff, &first, &[b"h2", b"http/1.1"], BOTH)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

    let (cert, key, second) = certificate();
    tls(&bff, &second, &[], BOTH).await.unwrap_err();
    std::fs::write(&cert_file, "broken").unwrap();
    assert!(
        tls(&bff, &first, &[], BOTH).await.is_ok(),
        "the old one serves"
    );
    std::fs::write(&cert_file, cert).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let renewed = async {
        while tls(&bff, &second, &[], BOTH).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // It is looked for every few seconds.
    tokio::time::timeout(Duration::from_mins(1), renewed)
        .await
        .unwrap();
}

/// DESIGN §2: `bff` can stand under another path.
#[tokio::test]
async fn the_base_path_moves_every_endpoint() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.base_path", "/_auth")
        .start();
    let session = Call::get("/_auth/session").send(bff.public_addr).await;
    assert_eq!(session.json()["login_url"], "/_auth/login");
    let before = Call::get("/bff/session").send(bff.public_addr).await;
    assert_eq!(before.status, 404);
    let refused = Call::get("/api/x").send(bff.public_addr).await;
    assert_eq!(refused.json()["login_url"], "/_auth/login");
    let mut browser = bff.browser();
    let reply = browser.open(&format!("{PUBLIC_URL}/_auth/login")).await;
    let location = reply.location().unwrap();
    let (_, redirect_uri) = location
        .query_pairs()
        .find(|(name, _)| name == "redirect_uri")
        .unwrap();
    assert_eq!(redirect_uri, format!("{PUBLIC_URL}/_auth/callback"));
}

/// A slow upstream's answer goes on while others come and go: one worker, many calls.
#[tokio::test]
async fn a_slow_answer_holds_up_nobody() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let (pieces, coming) = tokio::sync::mpsc::unbounded_channel();
    let coming = std::sync::Mutex::new(Some(coming));
    upstream.answers(move |seen| match seen.target.as_str() {
        "/api/slow" => Answer::pieces(coming.lock().unwrap().take().unwrap()),
        _ => Answer::text("quick"),
    });
    let bff = Bff::with(&idp, &upstream).set("server.workers", 1).start();
    let alice = signed_in(&bff, "alice").await;
    let slow = Call::get("/api/slow").of(&alice);
    let mut waiting = slow.begin(bff.public_addr).await;
    for piece in ["a", "b"] {
        pieces.send(piece.to_owned()).unwrap();
        for _ in 0..20 {
            let quick = Call::get("/api/quick").of(&alice).send(bff.public_addr);
            assert_eq!(quick.await.text(), "quick");
        }
    }
    drop(pieces);
    assert_eq!(slow.answer_on(&mut waiting).await.text(), "ab");
}
