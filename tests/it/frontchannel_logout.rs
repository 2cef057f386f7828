//! `/bff/frontchannel-logout`: a page of the provider signs somebody out in a frame (E15).

use bff::dev::provider::endpoints::Endpoint;
use url::form_urlencoded::byte_serialize;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{LOOKING_AHEAD, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// The frame on a page of the provider.
async fn framed(browser: &mut Browser, idp: &Idp, query: &str) -> Reply {
    browser.stand_on(&idp.url("/signed_out"));
    let target = format!("{PUBLIC_URL}/bff/frontchannel-logout{query}");
    browser.fetch(Fetch::frame(&target)).await
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// E15: by issuer and sid, with no cookie; the page may be framed by the provider alone and is never
/// kept; nothing is revoked.
#[tokio::test]
async fn a_frame_of_the_provider_ends_the_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    let sid = idp.sids("alice")[0].clone();
    let mut other = bff.browser();
    other.sign_in("alice").await;
    let query = format!("?iss={}&sid={}", encoded(&idp.issuer), encoded(&sid));
    let reply = framed(&mut alice, &idp, &query).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(
        reply.header("content-security-policy"),
        Some(format!("default-src 'none'; frame-ancestors {}", idp.issuer).as_str())
    );
    assert_eq!(reply.header("x-frame-options"), None);
    assert_eq!(alice.session().await["ended"], "provider_logout");
    assert_eq!(other.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(idp.count(Endpoint::Revocation), 0);
    // Once more, and for a session that never was: the same answer, and nobody else is gone.
    for query in [query, format!("?iss={}&sid=x", encoded(&idp.issuer))] {
        assert_eq!(framed(&mut alice, &idp, &query).await.status, 200);
    }
    assert_eq!(other.signed_in().await.as_deref(), Some("alice"));
    let metrics = bff.metrics().unwrap();
    assert!(metrics.contains("bff_logouts_total{outcome=\"frontchannel\"} 3"));
}

/// E15: where ID tokens carry no `sid`, no front-channel logout ever finds its session, and the log says
/// so; it says nothing where the session had merely ended.
#[tokio::test]
async fn sessions_without_a_sid_are_warned_of() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let told = || bff.logs().lines_with("carry no `sid`").len();
    let before = told();
    let query = format!("?iss={}&sid=gone", encoded(&idp.issuer));
    bff.browser().sign_in("bob").await;
    framed(&mut bff.browser(), &idp, &query).await;
    assert_eq!(told(), before);
    idp.misbehave(Fault::no_claim("sid"));
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    for _ in 0..3 {
        assert_eq!(framed(&mut alice, &idp, &query).await.status, 200);
    }
    assert_eq!(told(), before + 1, "once a minute");
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
}

/// E15: both must be there, once, and the issuer must be ours.
#[tokio::test]
async fn a_frame_that_does_not_say_whose_ends_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    let (iss, sid) = (encoded(&idp.issuer), encoded(&idp.sids("alice")[0]));
    for query in [
        String::new(),
        format!("?iss={iss}"),
        format!("?sid={sid}"),
        format!("?iss={iss}&sid="),
        format!("?iss={iss}/&sid={sid}"),
        format!("?iss=https://evil.example&sid={sid}"),
        format!("?iss={iss}&iss=https://evil.example&sid={sid}"),
        format!("?iss={iss}&sid=x&sid={sid}"),
        format!("?iss={iss}&sid={sid}&sid={sid}"),
    ] {
        let reply = framed(&mut alice, &idp, &query).await;
        assert_eq!(refusal(&reply), "400 bad_request", "{query}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
    }
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
}

/// E15: only the provider's frame says so, not what a browser fetches ahead nor an image.
#[tokio::test]
async fn nothing_that_a_browser_does_by_itself_ends_the_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    let (iss, sid) = (encoded(&idp.issuer), encoded(&idp.sids("alice")[0]));
    let target = format!("{PUBLIC_URL}/bff/frontchannel-logout?iss={iss}&sid={sid}");
    for ahead in LOOKING_AHEAD {
        let frame = [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "iframe"),
            ahead,
        ];
        let reply = alice.curl("GET", &target, &frame, None).await;
        assert_eq!(refusal(&reply), "403 prefetch_refused", "{ahead:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    alice.stand_on(&idp.url("/signed_out"));
    for fetch in [Fetch::image(&target), Fetch::get(&target).credentials()] {
        let reply = alice.fetch(fetch).await;
        assert_eq!(refusal(&reply), "400 not_a_navigation");
    }
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
}
