//! Tokens that are bound to a key, from the login to the API that checks the proof of each call (A14).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::shown::Shown;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::Idp;
use crate::support::journey::refusal;
use crate::support::upstream::{Answer, Seen, Upstream};

/// A second after the access tokens of nine o'clock have expired.
const EXPIRED: Duration = Duration::from_secs(301);

/// What an API that checks proofs takes for its own address.
fn own_address(seen: &Seen) -> String {
    let path = seen.target.split('?').next().unwrap_or_default();
    format!("http://{}{path}", seen.header("host").unwrap_or_default())
}

/// An API that lets nobody in but those who hold the key of their token, and says whose it is.
fn checks_proofs(
    idp: &Idp,
    address: impl Fn(&Seen) -> String + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    let core = Arc::clone(&idp.core);
    move |seen| {
        let shown = Shown {
            authorization: seen.header("authorization"),
            proof: seen.header("dpop"),
        };
        let presented = core.presented(shown, &seen.method, &address(seen));
        let answer = match presented {
            Ok(token) if seen.header("upgrade").is_some() && token.thumbprint.is_some() => {
                return Answer::web_socket_echo();
            }
            Ok(token) if token.thumbprint.is_some() => Answer::text(&token.sub),
            Ok(_) => Answer::text("unbound"),
            Err(refusal) => Answer::status(401).header("WWW-Authenticate", &refusal.challenge()),
        };
        match core.fresh_nonce() {
            Some(nonce) => answer.header("DPoP-Nonce", &nonce),
            None => answer,
        }
    }
}

/// A product whose tokens are bound, before an API that checks that.
fn binding<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    upstream.answers(checks_proofs(idp, own_address));
    Bff::with(idp, upstream).set("provider.dpop", "always")
}

async fn text(browser: &mut Browser, target: &str) -> String {
    let reply = browser.fetch(Fetch::get(target).csrf()).await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.text()
}

fn claims(seen: &Seen) -> Value {
    let proof = seen.header("dpop").expect("a proof");
    jsonwebtoken::dangerous::insecure_decode_claims(proof).unwrap()
}

/// A14: a token that was stolen on its way is refused, with the proof that was stolen along and without; the
/// user's own calls go on.
#[tokio::test]
async fn a_stolen_token_is_of_no_use() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = binding(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(text(&mut alice, "/api/orders?page=2").await, "alice");
    let stolen = upstream.the_one();
    assert_eq!(stolen.all("authorization").len(), 1);
    let token = stolen.header("authorization").unwrap();
    let token = token.strip_prefix("DPoP ").unwrap().to_owned();
    let said = claims(&stolen);
    assert_eq!(said["htm"], "GET");
    assert_eq!(said["htu"], format!("{}/api/orders", upstream.url()));

    let proof = stolen.header("dpop").unwrap().to_owned();
    let own = Fetch::get("/api/orders").csrf();
    let thief = bff::web::proof::Prover::fresh().unwrap();
    let bound = format!("DPoP {token}");
    let of_thief = bff::web::proof::Proving {
        prover: &thief,
        clock: &**bff.clock(),
        randomness: &bff::clock::SystemRandomness,
    };
    let htu = format!("{}/api/orders", upstream.url());
    let made = of_thief
        .proof(&http::Method::GET, &htu, bound.parse().ok().as_ref(), None)
        .unwrap();
    let made = made.to_str().unwrap();
    for (what, authorization, proof) in [
        ("as a bearer", format!("Bearer {token}"), None),
        ("without a proof", bound.clone(), None),
        ("with the proof of before", bound.clone(), Some(&*proof)),
        ("with another key", bound.clone(), Some(made)),
    ] {
        let call = Call::bare("GET", "/api/orders").header("Host", &upstream.addr().to_string());
        let call = call.header("Authorization", &authorization);
        let call = match proof {
            Some(proof) => call.header("DPoP", proof),
            None => call,
        };
        let reply = call.send(upstream.addr()).await;
        assert_eq!(reply.status, 401, "{what}");
    }
    let reply = alice.fetch(own).await;
    assert_eq!((reply.status, reply.text()), (200, "alice".to_owned()));
    // No browser speaks to an API in our name, and none hears of proofs.
    let forged = Fetch::get("/api/orders").csrf().header("DPoP", "mine");
    let reply = alice.fetch(forged).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("dpop-nonce"), None);
    assert_eq!(upstream.last().all("dpop").len(), 1);
    assert!(
        idp.asked(Endpoint::Authorize)[0]
            .query
            .value("dpop_jkt")
            .is_some()
    );
}

/// A14: provider and API demand a nonce in every proof, each good once. Nobody notices: not the login, nor a
/// refresh, nor a hundred calls at once, nor one with a body.
#[tokio::test]
async fn nonces_are_nobodys_business() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = binding(&idp, &upstream)
        .set("provider.userinfo", true)
        .start();
    idp.core.demand_nonces(true);
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(text(&mut alice, "/api/first").await, "alice");
    assert_eq!(upstream.seen().len(), 2, "once for the nonce");
    assert_eq!(text(&mut alice, "/api/second").await, "alice");
    assert_eq!(upstream.seen().len(), 3, "the nonce of the answer before");
    bff.clock().advance(EXPIRED);
    assert_eq!(text(&mut alice, "/api/third").await, "alice");
    assert_eq!(upstream.seen().len(), 4);

    let post = Call::new("POST", "/api/orders")
        .of(&alice)
        .body("{\"n\":1}");
    let calls: Vec<_> = (0..100).map(|_| post.send(bff.public_addr)).collect();
    for reply in join_all(calls).await {
        assert_eq!((reply.status, reply.text()), (200, "alice".to_owned()));
    }
    let acted: Vec<Seen> = upstream.seen();
    let posts = acted.iter().filter(|seen| seen.method == "POST");
    assert!(posts.clone().all(|seen| seen.body == b"{\"n\":1}"));
    assert!(
        (101..=200).contains(&posts.count()),
        "each once more at most"
    );
    let mut shown: Vec<Value> = acted
        .iter()
        .map(|seen| claims(seen)["jti"].clone())
        .collect();
    shown.sort_by_key(ToString::to_string);
    shown.dedup();
    assert_eq!(shown.len(), acted.len(), "each try has a proof of its own");
}

/// A14: a body of up to 64 KiB is sent again; before a longer one, or one of unknown length, an empty request
/// asks for the nonce, so that it is sent once. Where that brings none, the call is refused, and the next one
/// passes.
#[tokio::test]
async fn a_long_body_is_sent_once() {
    const KEPT: usize = 64 * 1024;
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = binding(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(text(&mut alice, "/api/first").await, "alice");
    idp.core.demand_nonces(true);
    let posts = |length: usize| {
        let seen = upstream.seen();
        let posts = seen.iter().filter(|seen| seen.body.len() == length);
        posts.filter(|seen| seen.method == "POST").count()
    };
    let post = |length| {
        Call::new("POST", "/api/files")
            .of(&alice)
            .body(vec![b'x'; length])
    };
    // It is known that no nonce is wanted, which was true a moment ago.
    let reply = post(KEPT + 1).send(bff.public_addr).await;
    assert_eq!(refusal(&reply), "503 busy");
    assert!(reply.header("retry-after").is_some());
    assert_eq!(post(KEPT + 1).send(bff.public_addr).await.status, 200);
    assert_eq!(posts(KEPT + 1), 2);
    // The nonce of the last answer is used up by somebody else.
    idp.core.demand_nonces(true);
    assert_eq!(post(KEPT).send(bff.public_addr).await.status, 200);
    assert_eq!(posts(KEPT), 2);

    bff.clock().advance(Duration::from_secs(61));
    idp.core.demand_nonces(true);
    let before = upstream.seen().len();
    assert_eq!(post(KEPT + 2).send(bff.public_addr).await.status, 200);
    let seen = upstream.seen().split_off(before);
    let asked: Vec<_> = seen.iter().map(|seen| &*seen.method).collect();
    assert_eq!(asked, ["HEAD", "POST"]);
    assert_eq!(seen[0].target, "/api/files");
    assert!(seen[0].header("cookie").is_none() && seen[0].header("content-length").is_none());
    assert_eq!(posts(KEPT + 2), 1);

    bff.clock().advance(Duration::from_secs(61));
    idp.core.demand_nonces(true);
    let chunked = Call::new("POST", "/api/files").of(&alice);
    let chunked = chunked.header("Transfer-Encoding", "chunked");
    let mut wire = chunked.begin(bff.public_addr).await;
    wire.send(b"5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(chunked.answer_on(&mut wire).await.status, 200);
    assert_eq!(upstream.last().body, b"hello");
    assert_eq!(posts(5), 1);
}

/// A14, M3: the handshake of a socket carries a proof as well, and is made once more for a nonce.
#[tokio::test]
async fn a_socket_is_opened_with_a_proof() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = binding(&idp, &upstream).start();
    idp.core.demand_nonces(true);
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let said = socket.next().await.unwrap().unwrap();
    assert_eq!(said.into_text().unwrap().as_str(), "hello");
    assert_eq!(upstream.seen().len(), 2);
}

/// A14: an API that takes no proof of ours for one, or wants a nonce each time again, is a fault of the
/// operator's or its own: nobody is signed out, no refresh is spent, and the log says what to look at.
#[tokio::test]
async fn a_proof_that_is_refused_signs_nobody_out() {
    for (challenge, tries) in [
        ("DPoP error=\"invalid_dpop_proof\"", 1),
        ("DPoP error=\"use_dpop_nonce\", algs=\"ES256\"", 2),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        let bff = binding(&idp, &upstream).start();
        let mut alice = signed_in(&bff, "alice").await;
        upstream.answers(move |_| {
            let answer = Answer::status(401).header("WWW-Authenticate", challenge);
            answer.header("DPoP-Nonce", "n-1")
        });
        let reply = alice.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(refusal(&reply), "502 upstream_unavailable", "{challenge}");
        assert_eq!(upstream.seen().len(), tries, "{challenge}");
        assert_eq!(idp.refreshes(), 0, "{challenge}");
        let told = bff.logs().lines_with("route.dpop_htu");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    }
}

/// A14, I13: an API that refuses the token itself is shown another one, of the same key, once.
#[tokio::test]
async fn a_refused_token_is_refreshed_once() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = binding(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(text(&mut alice, "/api/orders").await, "alice");
    let first = upstream.last().header("authorization").map(str::to_owned);
    let check = checks_proofs(&idp, own_address);
    upstream.answers(move |seen| {
        if seen.header("authorization") == first.as_deref() {
            let challenge = "DPoP error=\"invalid_token\"";
            return Answer::status(401).header("WWW-Authenticate", challenge);
        }
        check(seen)
    });
    assert_eq!(text(&mut alice, "/api/orders").await, "alice");
    assert_eq!(idp.refreshes(), 1);
    let keys: Vec<_> = upstream.seen().iter().map(thumbprint).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

fn thumbprint(seen: &Seen) -> String {
    let header = jsonwebtoken::decode_header(seen.header("dpop").unwrap()).unwrap();
    let jwk = header.jwk.unwrap();
    jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256)
        .unwrap()
}

/// A14: the other tokens of a session are bound to its key, and ours to one of the process.
#[tokio::test]
async fn every_token_is_bound() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let routes = [
        "path = '/orders'\ntoken = { resource = 'https://orders.example.com' }",
        "path = '/mail'\ntoken = { exchange = { audience = 'mail' } }",
        "path = '/clock'\ntoken = 'client'",
    ];
    let bff = routes
        .into_iter()
        .fold(binding(&idp, &upstream), |bff, route| {
            bff.route(route.parse().unwrap(), &upstream)
        });
    let bff = bff.start();
    let (mut alice, mut bob) = (signed_in(&bff, "alice").await, signed_in(&bff, "bob").await);
    let mut keys = Vec::new();
    for browser in [&mut alice, &mut bob] {
        for path in ["/api/a", "/orders/a", "/mail/a", "/clock/a"] {
            let whose = text(browser, path).await;
            keys.push((whose, thumbprint(&upstream.last())));
        }
    }
    let of = |name: &str| -> Vec<&String> {
        let of = keys.iter().filter(|(whose, _)| whose == name);
        let mut of: Vec<_> = of.map(|(_, key)| key).collect();
        of.dedup();
        of
    };
    let (alices, bobs, ours) = (of("alice"), of("bob"), of("app"));
    assert_eq!(
        [alices.len(), bobs.len(), ours.len()],
        [1, 1, 1],
        "{keys:?}"
    );
    assert!(alices != bobs && alices != ours && bobs != ours);
}

/// A14, E13: the key of a session is sealed into it: where sessions outlive the process, so does the proof.
#[tokio::test]
async fn a_key_outlives_the_process() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(checks_proofs(&idp, own_address));
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let start = |dpop: &str| {
        Bff::with(&idp, &upstream)
            .set("provider.dpop", dpop)
            .set("session.store", "cookie")
            .set("session.keys", vec!["env:KEY".to_owned()])
            .variable("KEY", &key)
            .start()
    };
    let first = start("auto");
    let mut alice = signed_in(&first, "alice").await;
    assert_eq!(text(&mut alice, "/api/orders").await, "alice");
    drop(first);
    // Turned off, a session that is bound stays so, and a new one is not.
    let second = start("never");
    alice.resolve(crate::support::idp::PUBLIC_URL, second.public_addr);
    assert_eq!(text(&mut alice, "/api/orders").await, "alice");
    second.clock().advance(EXPIRED);
    assert_eq!(text(&mut alice, "/api/orders").await, "alice");
    let mut bob = signed_in(&second, "bob").await;
    assert_eq!(text(&mut bob, "/api/orders").await, "unbound");
    let keys: Vec<_> = upstream.seen()[..3].iter().map(thumbprint).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

/// A14: an API behind a gateway takes proofs for the address that it knows itself by.
#[tokio::test]
async fn a_proof_is_for_the_address_that_the_api_knows() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let bff = binding(&idp, &upstream)
        .no_routes()
        .route(
            format!(
                "path = '/orders'\nupstream = '{}/internal'\nstrip_prefix = true\n\
                 dpop_htu = 'https://orders.example.com/v1/'",
                upstream.url()
            )
            .parse()
            .unwrap(),
            &upstream,
        )
        .route(
            "path = '/ours'\npreserve_host = true".parse().unwrap(),
            &upstream,
        )
        .start();
    let known = Arc::clone(&asked);
    upstream.answers(checks_proofs(&idp, move |seen| {
        let below = seen.target.strip_prefix("/internal");
        let address = match below {
            Some(below) => format!("https://orders.example.com/v1{below}"),
            None => format!("https://app.example{}", seen.target),
        };
        known.lock().unwrap().push(address.clone());
        address
    }));
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(text(&mut alice, "/orders/7").await, "alice");
    assert_eq!(text(&mut alice, "/ours/7").await, "alice");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [
            "https://orders.example.com/v1/7",
            "https://app.example/ours/7"
        ]
    );
}
