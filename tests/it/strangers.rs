//! What strangers can make us keep and send is bounded, and pushes out nothing that matters.

use std::net::SocketAddr;
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use futures_util::future::join_all;
use url::Url;

use crate::support::bff::Bff;
use crate::support::call::{Call, HOST};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::Idp;
use crate::support::journey::{parameter, refusal, with_parameter};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// As much as one address may have failed within the time of a login, and at once.
const FAILED_PER_ADDRESS: usize = 1024;
const AT_ONCE_PER_ADDRESS: usize = 64;
/// Code calls at once, over all addresses.
const AT_ONCE: usize = 128;

/// A login that is begun and never meant to be finished well.
struct Begun {
    cookie: String,
    state: String,
}

/// A navigation from this address, seen through a proxy that was named.
fn navigation(target: &str, from: &str) -> Call {
    Call::bare("GET", target)
        .header("Host", HOST)
        .header("Sec-Fetch-Site", "none")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document")
        .header("X-Forwarded-For", from)
}

async fn begin(addr: SocketAddr, from: &str) -> Result<Begun, Reply> {
    let reply = navigation("/bff/login", from).send(addr).await;
    if reply.status != 303 {
        return Err(reply);
    }
    let line = reply.header("set-cookie").unwrap();
    Ok(Begun {
        cookie: line.split(';').next().unwrap().to_owned(),
        state: parameter(&reply.location().unwrap(), "state").unwrap(),
    })
}

impl Begun {
    fn call_back(&self, answer: &str, iss: &str, from: &str) -> Call {
        let iss: String = url::form_urlencoded::byte_serialize(iss.as_bytes()).collect();
        let target = format!("/bff/callback?state={}&iss={iss}&{answer}", self.state);
        navigation(&target, from).header("Cookie", &self.cookie)
    }
}

fn used_states(bff: &Bff<'_>) -> String {
    let metrics = bff.metrics().unwrap();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("bff_strangers{demand=\"used_state\"}"));
    line.unwrap_or_default().to_owned()
}

/// C5, C6: an answer that carries an error leaves nothing behind: a stranger could have 3,000 of
/// them kept a second.
#[tokio::test]
async fn an_answer_with_an_error_is_not_remembered() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    let before = browser.jar.clone();
    let refused = with_parameter(&callback, "code", None);
    let refused = with_parameter(&refused, "error", Some("access_denied"));
    let reply = browser.open(refused.as_str()).await;
    assert_eq!(refusal(&reply), "400 login_failed");
    assert_eq!(browser.login_cookies(), Vec::<String>::new());
    // Whoever keeps the cookie that was taken back has the login still, since nothing was written down.
    browser.jar = before;
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(reply.status, 303);
    assert_eq!(idp.count(Endpoint::Token), 1);
}

/// C6: what failed logins leave behind is bounded for each address; the next login of the noisiest is
/// refused before a person takes trouble, and nobody else's is.
#[tokio::test]
async fn failed_logins_of_one_address_have_a_budget() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .start();
    let noisy = "198.51.100.7";
    let fail = async |_| {
        let begun = begin(bff.public_addr, noisy).await.ok()?;
        let call = begun.call_back("code=made-up", &idp.issuer, noisy);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(refusal(&reply), "400 login_failed");
        Some(())
    };
    for round in 0..FAILED_PER_ADDRESS / 32 {
        let failed = join_all((0..32).map(fail)).await;
        assert!(failed.iter().all(Option::is_some), "round {round}");
    }
    let reply = begin(bff.public_addr, noisy).await.err().unwrap();
    assert_eq!(refusal(&reply), "429 too_many_requests");
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert!(reply.all("set-cookie").is_empty());
    assert!(begin(bff.public_addr, "203.0.113.5").await.is_ok());
    let asked = idp.count(Endpoint::Token);
    assert_eq!(asked, FAILED_PER_ADDRESS);
    // All of it is forgotten when those logins would be over.
    bff.clock().advance(Duration::from_hours(1));
    assert!(begin(bff.public_addr, noisy).await.is_ok());
}

/// Logins that succeed are no burden of strangers: an office behind one address may have any number.
#[tokio::test]
async fn logins_that_succeed_use_up_no_budget() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for _ in 0..3 {
        bff.browser().sign_in("alice").await;
    }
    // The figure is brought up to date by a clock of its own, which may have struck during a login.
    let settled = async {
        while used_states(&bff) != "bff_strangers{demand=\"used_state\"} 0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("no budget to be in use", settled).await;
}

/// Made-up codes are not turned into any number of calls with our credential; whoever finds no turn
/// loses nothing by it.
#[tokio::test]
async fn made_up_codes_reach_the_provider_a_few_at_a_time() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .set("provider.timeout", "20s")
        .start();
    let mut alice = bff.browser();
    let callback: Url = alice.callback_url("login_hint=alice").await;
    let gate = idp.hold(Endpoint::Token);
    let addresses: Vec<String> = (1..=4).map(|n| format!("198.51.100.{n}")).collect();
    let mut waiting = Vec::new();
    for from in &addresses {
        for _ in 0..AT_ONCE_PER_ADDRESS + 8 {
            let begun = begin(bff.public_addr, from).await.ok().unwrap();
            let call = begun.call_back("code=made-up", &idp.issuer, from);
            waiting.push(tokio::spawn(call.send(bff.public_addr)));
        }
    }
    idp.asked_times(Endpoint::Token, AT_ONCE).await;
    let alice_signs_in = tokio::spawn(async move {
        let reply = alice.open(callback.as_str()).await;
        (alice, reply)
    });
    // Each address has as many in hand and waiting as one may; the rest is refused meanwhile.
    let mut refused = 0;
    while refused < 4 * 8 {
        refused = waiting.iter().filter(|one| one.is_finished()).count();
        tokio::task::yield_now().await;
    }
    assert_eq!(idp.count(Endpoint::Token), AT_ONCE);
    drop(gate);
    let (_alice, reply) = alice_signs_in.await.unwrap();
    assert_eq!(reply.status, 303, "{}", reply.text());
    refused = 0;
    for reply in waiting {
        let reply = reply.await.unwrap();
        match refusal(&reply).as_str() {
            "400 login_failed" => {}
            "429 too_many_requests" => {
                assert!(reply.all("set-cookie").is_empty(), "its login lives");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, 4 * 8);
    assert_eq!(idp.count(Endpoint::Token), 4 * AT_ONCE_PER_ADDRESS + 1);
}

/// A callback that found no turn can be loaded again: its state was not used up.
#[tokio::test]
async fn a_callback_without_a_turn_loses_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .set("provider.timeout", "20s")
        .start();
    let mut alice = bff.browser();
    let callback = alice.callback_url("login_hint=alice").await;
    let gate = idp.hold(Endpoint::Token);
    let mut waiting = Vec::new();
    // From where alice is: her browser comes without the field of a proxy.
    let from = "127.0.0.1";
    for _ in 0..AT_ONCE_PER_ADDRESS {
        let begun = begin(bff.public_addr, from).await.ok().unwrap();
        let call = begun.call_back("code=made-up", &idp.issuer, from);
        waiting.push(tokio::spawn(call.send(bff.public_addr)));
    }
    idp.asked_times(Endpoint::Token, AT_ONCE_PER_ADDRESS).await;
    let reply = alice.open(callback.as_str()).await;
    assert_eq!(refusal(&reply), "429 too_many_requests");
    drop(gate);
    for reply in waiting {
        assert_eq!(refusal(&reply.await.unwrap()), "400 login_failed");
    }
    let reply = alice.open(callback.as_str()).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
}
