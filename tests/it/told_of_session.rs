//! What an upstream is told of a call's session in headers of the operator's own (§8).

use bff::dev::provider::tamper::Stage;
use serde_json::json;

use crate::support::bff::Bff;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::Idp;
use crate::support::upstream::Upstream;

const ROUTE: &str = r#"
path = "/own"
auth = "optional"
[request_headers.set]
X-Who = "{claims.sub}"
X-Mail = "{raw:claims.email}"
X-Name = "{claims.name}"
X-Groups = "{claims.groups}"
X-City = "{claims.address.city}"
X-Tag = "{session.tag}"
X-None = "{claims.absent}"
X-Json = '{{"u":"{claims.sub}"}}'
X-Team = '{"plain":1}'
"#;

const TOLD: [&str; 8] = [
    "x-who", "x-mail", "x-name", "x-groups", "x-city", "x-tag", "x-none", "x-json",
];

/// §8: each header says what the login said, and no browser can say it, in a session or without one, in a
/// head or after a body.
#[tokio::test]
async fn an_upstream_is_told_what_the_operator_wants_it_told() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let set = |name, value| Fault::Set(Stage::IdTokenClaims, name, value);
    idp.misbehave(Fault::All(vec![
        set("groups", json!(["a", "b,c"])),
        set("name", json!("Zoë\r\nX-Who: root")),
        set("address", json!({ "city": "Zürich" })),
    ]));
    let bff = Bff::with(&idp, &upstream)
        .route(ROUTE.parse().unwrap(), &upstream)
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let tag = alice.session().await["session"]["tag"]
        .as_str()
        .unwrap()
        .to_owned();
    let sub = alice.signed_in().await.unwrap();

    let forged = |call: Call| {
        TOLD.iter()
            .fold(call, |call, name| call.header(name, "forged"))
    };
    let call = forged(Call::get("/own/x").of(&alice));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let seen = upstream.last();
    for (name, said) in [
        ("x-who", Some(sub.as_str())),
        ("x-mail", Some("alice@example.com")),
        ("x-name", Some("Zo%C3%AB%0D%0AX-Who:%20root")),
        ("x-groups", Some("a,b%2Cc")),
        ("x-city", Some("Z%C3%BCrich")),
        ("x-tag", Some(tag.as_str())),
        ("x-none", None),
        ("x-json", Some(format!("{{\"u\":\"{sub}\"}}").as_str())),
        ("x-team", Some("{\"plain\":1}")),
    ] {
        let expected: Vec<&str> = said.into_iter().collect();
        assert_eq!(seen.all(name), expected, "{name}");
    }

    let call = forged(Call::get("/own/x"));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let seen = upstream.last();
    for name in TOLD {
        assert_eq!(
            seen.all(name),
            Vec::<&str>::new(),
            "{name} without a session"
        );
    }

    let call = Call::new("POST", "/own/x")
        .of(&alice)
        .header("TE", "trailers")
        .header("Trailer", "X-Who, X-Free")
        .header("Transfer-Encoding", "chunked");
    let mut wire = call.begin(bff.public_addr).await;
    wire.send(b"1\r\na\r\n0\r\nX-Who: root\r\nX-Free: 1\r\n\r\n")
        .await;
    assert_eq!(call.answer_on(&mut wire).await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.trailers.get("x-free").unwrap(), "1");
    assert!(!seen.trailers.contains_key("x-who"), "{:?}", seen.trailers);
}
