//! Behind nginx: which answers pass through the buffers that it has by default, and that the lines we
//! ship let all of them through.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bff::dev::provider::tamper::Stage;
use serde_json::json;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::login_url;
use crate::support::servers::nginx::{self, Nginx};
use crate::support::upstream::Upstream;

/// The buffer lines of the `at`-th block of a file that we ship.
fn shipped(file: &str, at: usize) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let names = [
        "large_client_header_buffers",
        "proxy_buffer_size",
        "proxy_buffers",
        "proxy_busy_buffers_size",
    ];
    let lines_of = |name: &str| {
        let lines = text.lines().map(str::trim);
        let mut own = lines.filter(|line| line.split_whitespace().next() == Some(name));
        let line = own
            .nth(at)
            .unwrap_or_else(|| panic!("{file} says nothing of {name}"));
        line.split('#').next().unwrap().to_owned()
    };
    names.map(lines_of).join("\n")
}

fn through(bff: &Bff<'_>, nginx: &Nginx) -> Browser {
    let mut browser = bff.browser();
    browser.resolve(PUBLIC_URL, nginx.addr);
    browser
}

/// With nginx's 4 KiB a logout that brings the ID token to the provider, and goes on to a long address
/// afterwards, ends here and is 502 on its way: everything else passes. The lines that we ship let it
/// through.
#[tokio::test]
async fn a_logout_fits_into_the_buffers_that_we_ship() {
    if !nginx::is_here() {
        return;
    }
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.store", "memory")
        .start();
    let long = format!("/{}", "a".repeat(1_290));
    for (lines, passes) in [
        (String::new(), false),
        (shipped("examples/cluster/nginx.conf", 0), true),
        (shipped("docs/proxies.md", 0), true),
    ] {
        let nginx = Nginx::before(bff.public_addr, &lines).await;
        let mut alice = through(&bff, &nginx);
        idp.misbehave_once(Fault::claim("groups", "g".repeat(850)));
        let begun = alice.begin_login("login_hint=alice&return_to=/here").await;
        assert_eq!(begun.status, 303, "a login begins");
        let callback = alice.open(begun.location().unwrap().as_str()).await;
        let signed_in = alice.open(callback.location().unwrap().as_str()).await;
        assert_eq!(signed_in.status, 303, "a login ends");
        alice.stand_on(PUBLIC_URL);
        let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(call.status, 200, "a call");
        let target = format!("/bff/logout?return_to={long}");
        let logout = alice.fetch(Fetch::new("POST", &target).csrf()).await;
        assert_eq!(logout.json()["redirect_to"], "/bff/logout/continue");
        let onward = alice
            .open(&format!("{PUBLIC_URL}/bff/logout/continue"))
            .await;
        assert_eq!(onward.status, if passes { 303 } else { 502 }, "{lines}");
        if passes {
            let address = onward.header("location").unwrap();
            assert!(address.contains("id_token_hint="), "{address}");
            assert!(address.len() > 3_900, "{}", address.len());
        }
        assert_eq!(alice.signed_in().await, None, "the session here is over");
    }
}

/// With `store = "cookie"` the session is in the head: nginx's own buffers hold neither the login's answer
/// nor the calls that follow.
#[tokio::test]
async fn sessions_in_cookies_fit_into_the_buffers_that_we_ship() {
    if !nginx::is_here() {
        return;
    }
    let clock = nine_o_clock();
    let idp = Idp::start(&clock);
    let upstream = Upstream::start();
    let bff = Bff::in_cookies(&idp, &upstream).start();
    idp.misbehave(Fault::no_claim("at_hash"));
    idp.misbehave(Fault::token("access_token", "large".repeat(2_400)));
    idp.misbehave(Fault::Set(
        Stage::RefreshResponse,
        "access_token",
        json!("other".repeat(2_400)),
    ));
    idp.misbehave(Fault::Remove(Stage::RefreshedIdTokenClaims, "at_hash"));
    for (lines, passes) in [
        (String::new(), false),
        (shipped("docs/proxies.md", 1), true),
    ] {
        let nginx = Nginx::before(bff.public_addr, &lines).await;
        let mut alice = through(&bff, &nginx);
        let visit = alice
            .visit(&login_url("login_hint=alice&return_to=/here"))
            .await;
        let callback = visit.reply_of("/bff/callback");
        assert_eq!(callback.status, if passes { 303 } else { 502 }, "{lines}");
        if !passes {
            continue;
        }
        alice.stand_on(PUBLIC_URL);
        let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(call.status, 200);
        // The refreshed tokens travel back in as many chunks.
        clock.advance(Duration::from_secs(301));
        let call = alice.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(call.status, 200);
        assert!(call.all("set-cookie").len() >= 4);
    }
}
