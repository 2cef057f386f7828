//! `/bff/backchannel-logout`: the provider signs somebody out (E7–E12, E14).

use std::time::Duration;

use bff::clock::Clock as _;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::json;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, HOST};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, logout_call};
use crate::support::journey::{SESSION_COOKIE, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

async fn browser_of(bff: &Bff<'_>, user: &str) -> Browser {
    let mut browser = bff.browser();
    browser.sign_in(user).await;
    browser
}

async fn lives(browser: &mut Browser) -> bool {
    browser.signed_in().await.is_some()
}

async fn tell(bff: &Bff<'_>, token: &str) -> Reply {
    logout_call(token).send(bff.public_addr).await
}

fn assert_taken(reply: &Reply) {
    assert_eq!(reply.status_and_text(), "200\n");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("set-cookie"), None);
}

fn assert_refused(reply: &Reply, what: &str) {
    let expected = "400\n{\"error\":\"invalid_request\"}";
    assert_eq!(reply.status_and_text(), expected, "{what}");
    let fields = ["content-type", "cache-control"].map(|name| reply.header(name));
    assert_eq!(fields, [Some("application/json"), Some("no-store")]);
}

fn now(idp: &Idp) -> i64 {
    idp.clock().now().unix_seconds()
}

/// E10, E11: the session that came of the one at the provider ends, and no other; its browser is told
/// why.
#[tokio::test]
async fn the_provider_ends_one_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut first = browser_of(&bff, "alice").await;
    let sid = idp.sids("alice")[0].clone();
    let mut second = browser_of(&bff, "alice").await;
    let mut bob = browser_of(&bff, "bob").await;
    let replies = idp.end_session(&sid, bff.public_addr).await;
    assert_eq!(replies.len(), 1);
    assert_taken(&replies[0]);
    assert_eq!(
        first.session().await,
        json!({ "authenticated": false, "login_url": "/bff/login", "ended": "provider_logout" })
    );
    assert!(lives(&mut second).await);
    assert!(lives(&mut bob).await);
    let metrics = bff.metrics().unwrap();
    assert!(metrics.contains("bff_logouts_total{outcome=\"backchannel\"} 1"));
    assert_eq!(idp.count(Endpoint::Revocation), 0, "E12");
}

/// E10: the old cookie is refused at once, by the word for an ended session.
#[tokio::test]
async fn the_old_cookie_opens_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = browser_of(&bff, "alice").await;
    idp.sign_out("alice", bff.public_addr).await;
    let reply = alice.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(refusal(&reply), "401 session_expired");
    assert!(alice.jar.cookie(SESSION_COOKIE).is_none(), "taken back");
}

/// E10: a token with the user alone ends all of the user's sessions; the other address is as good.
#[tokio::test]
async fn the_provider_ends_all_sessions_of_a_user() {
    for path in ["/bff/backchannel-logout", "/bff/backchannel"] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browsers = Vec::new();
        for _ in 0..3 {
            browsers.push(browser_of(&bff, "alice").await);
        }
        let mut bob = browser_of(&bff, "bob").await;
        let token = idp.logout_token(Some("alice"), None);
        let call = Call::bare("POST", path)
            .header("Host", HOST)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("logout_token={token}"));
        assert_taken(&call.send(bff.public_addr).await);
        for browser in &mut browsers {
            assert!(!lives(browser).await, "{path}");
        }
        assert!(lives(&mut bob).await);
    }
}

/// E10: of one session at the provider several may have come here; all of them end.
#[tokio::test]
async fn all_sessions_of_one_sid_end() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut first = browser_of(&bff, "alice").await;
    // The same profile at the provider, and nothing of ours: another app domain, say.
    let mut second = bff.browser();
    second.jar = first.jar.clone();
    second.jar.remove(SESSION_COOKIE);
    second.sign_in("alice").await;
    assert_eq!(idp.sids("alice").len(), 1);
    assert!(lives(&mut first).await && lives(&mut second).await);
    let sid = idp.sids("alice")[0].clone();
    idp.end_session(&sid, bff.public_addr).await;
    assert!(!lives(&mut first).await && !lives(&mut second).await);
}

/// E10: a session of somebody else is not meant, whatever it is called.
#[tokio::test]
async fn a_sid_of_another_user_ends_nobody() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = browser_of(&bff, "alice").await;
    let mut bob = browser_of(&bff, "bob").await;
    let sid = idp.sids("alice")[0].clone();
    let token = idp.logout_token(Some("bob"), Some(&sid));
    assert_taken(&tell(&bff, &token).await);
    assert!(lives(&mut alice).await && lives(&mut bob).await);
    // Neither is a login under way ended by it.
    let mut again = bff.browser();
    again.jar = alice.jar.clone();
    again.sign_in("alice").await;
    let token = idp.logout_token(Some("alice"), Some(&sid));
    assert_taken(&tell(&bff, &token).await);
    assert!(!lives(&mut again).await);
    assert!(lives(&mut bob).await);
}

/// E11: nobody to sign out is no error.
#[tokio::test]
async fn an_unknown_session_is_signed_out_already() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = browser_of(&bff, "alice").await;
    for (sub, sid) in [
        (None, Some("nobody's")),
        (Some("carol"), None),
        (Some("carol"), Some("hers")),
    ] {
        assert_taken(&tell(&bff, &idp.logout_token(sub, sid)).await);
    }
    assert!(lives(&mut alice).await);
}

/// E8, D: what is wrong with a logout token in any one way ends nobody.
#[tokio::test]
async fn a_bad_logout_token_ends_nobody() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.id_token_algs", vec!["RS256".to_owned()])
        .start();
    let mut alice = browser_of(&bff, "alice").await;
    let sid = idp.sids("alice")[0].clone();
    for at in 0..Fault::bad_logout_tokens(0).len() {
        let (name, fault) = Fault::bad_logout_tokens(now(&idp)).swap_remove(at);
        idp.misbehave(fault);
        let token = idp.logout_token(Some("alice"), Some(&sid));
        assert_refused(&tell(&bff, &token).await, name);
        idp.behave();
        assert!(lives(&mut alice).await, "{name}");
        // Keys that were looked for in vain are not looked for again at once (D16).
        bff.clock().advance(Duration::from_secs(30));
    }
    let metrics = bff.metrics().unwrap();
    let refused = Fault::bad_logout_tokens(0).len();
    let counted = format!("bff_logouts_total{{outcome=\"backchannel_refused\"}} {refused}\n");
    assert!(metrics.contains(&counted), "{metrics}");
}

/// E8: what looks odd and is right ends the session.
#[tokio::test]
async fn an_odd_logout_token_is_as_good() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let count = Fault::odd_but_valid_logout_tokens(0).len();
    for at in 0..count {
        let mut alice = browser_of(&bff, "alice").await;
        let sid = idp.sids("alice").pop().unwrap();
        // "Just not old" is of before; so the session must be older.
        bff.clock().advance(Duration::from_secs(295));
        let (name, fault) = Fault::odd_but_valid_logout_tokens(now(&idp)).swap_remove(at);
        idp.misbehave(fault);
        let token = idp.logout_token(Some("alice"), Some(&sid));
        idp.behave();
        assert_eq!(tell(&bff, &token).await.status, 200, "{name}");
        assert!(!lives(&mut alice).await, "{name}");
    }
}

/// E9: a token is good once; whoever caught one cannot sign the user out again.
#[tokio::test]
async fn a_replayed_logout_token_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = browser_of(&bff, "alice").await;
    let token = idp.logout_token(Some("alice"), None);
    assert_taken(&tell(&bff, &token).await);
    assert!(!lives(&mut alice).await);
    alice.sign_in("alice").await;
    for _ in 0..3 {
        assert_refused(&tell(&bff, &token).await, "a replay");
        assert!(lives(&mut alice).await);
        bff.clock().advance(Duration::from_mins(1));
    }
    // By now it is too old as well.
    bff.clock().advance(Duration::from_mins(3));
    assert_refused(&tell(&bff, &token).await, "an old one");
    assert!(lives(&mut alice).await);
}

/// E10: a token that was long on its way does not end what the user began meanwhile.
#[tokio::test]
async fn a_late_logout_token_spares_a_later_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut before = browser_of(&bff, "alice").await;
    let token = idp.logout_token(Some("alice"), None);
    bff.clock().advance(Duration::from_mins(1));
    let mut after = browser_of(&bff, "alice").await;
    assert_taken(&tell(&bff, &token).await);
    assert!(!lives(&mut before).await);
    assert!(lives(&mut after).await);
}

/// E7: a POST with a form with one logout token, whatever else stands there; no cookie, no header of
/// ours.
#[tokio::test]
async fn a_logout_token_comes_in_a_form() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let form = "application/x-www-form-urlencoded";
    let with_charset = "application/x-www-form-urlencoded; charset=UTF-8";
    for (name, kind, body, good) in [
        ("as it should be", form, "logout_token=T", true),
        ("with a charset", with_charset, "logout_token=T", true),
        (
            "in capitals",
            "Application/X-WWW-Form-URLEncoded",
            "logout_token=T",
            true,
        ),
        ("other fields", form, "a=1&logout_token=T&foo=bar&a=2", true),
        ("none", form, "", false),
        ("an empty one", form, "logout_token=", false),
        ("another field", form, "token=T", false),
        ("two", form, "logout_token=T&logout_token=T", false),
        (
            "JSON",
            "application/json",
            "{\"logout_token\":\"T\"}",
            false,
        ),
        ("no form", "text/plain", "logout_token=T", false),
        ("not UTF-8", form, "logout_token=%ff", false),
    ] {
        let mut alice = browser_of(&bff, "alice").await;
        let token = idp.logout_token(Some("alice"), None);
        let call = Call::bare("POST", "/bff/backchannel-logout")
            .header("Host", HOST)
            .header("Content-Type", kind)
            .body(body.replace('T', &token));
        let reply = call.send(bff.public_addr).await;
        if good {
            assert_taken(&reply);
        } else {
            assert_refused(&reply, name);
        }
        assert_eq!(lives(&mut alice).await, !good, "{name}");
        idp.sign_out("alice", bff.public_addr).await;
    }
    let token = idp.logout_token(Some("alice"), None);
    let get = Call::bare(
        "GET",
        &format!("/bff/backchannel-logout?logout_token={token}"),
    )
    .header("Host", HOST);
    let reply = get.send(bff.public_addr).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    let large = logout_call(&"x".repeat(70_000));
    assert_refused(&large.send(bff.public_addr).await, "too large");
}

/// E9: a token whose keys could not be had is not used up; the provider tries again.
#[tokio::test]
async fn a_token_that_cannot_be_verified_now_is_good_later() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = browser_of(&bff, "alice").await;
    idp.core.rotate_keys().unwrap();
    idp.misbehave(Fault::unavailable(Endpoint::Jwks));
    let token = idp.logout_token(Some("alice"), None);
    let reply = tell(&bff, &token).await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    assert!(reply.header("retry-after").is_some());
    assert!(lives(&mut alice).await);
    idp.behave();
    bff.clock().advance(Duration::from_mins(1));
    assert_taken(&tell(&bff, &token).await);
    assert!(!lives(&mut alice).await);
}

/// D15, D16: the key set cannot be had at the start, a login fetches it, the provider rotates: a logout
/// token by the new key ends the session. It was 503, and the session lived.
#[tokio::test]
async fn a_logout_is_not_lost_after_a_rotation() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave_once(Fault::unavailable(Endpoint::Jwks));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    idp.asked_times(Endpoint::Jwks, 1).await;
    let mut alice = browser_of(&bff, "alice").await;
    idp.core.rotate_keys().unwrap();
    let token = idp.logout_token(Some("alice"), None);
    assert_taken(&tell(&bff, &token).await);
    assert!(!lives(&mut alice).await);
}

/// E10: a logout that comes while the login of that session is on its way is not lost: the session
/// ends before anybody has it.
#[tokio::test]
async fn a_logout_overtakes_a_login_on_its_way() {
    for by in ["sid", "sub", "both"] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut alice = bff.browser();
        let callback = alice.callback_url("login_hint=alice").await;
        let gate = idp.hold(Endpoint::Token);
        let finishing = async {
            let reply = alice.open(callback.as_str()).await;
            (reply, alice)
        };
        let logging_out = async {
            idp.asked_times(Endpoint::Token, 1).await;
            // Within the second in which the ID token will be issued.
            bff.clock().advance(Duration::from_millis(1));
            let sid = idp.sids("alice")[0].clone();
            let token = match by {
                "sid" => idp.logout_token(None, Some(&sid)),
                "sub" => idp.logout_token(Some("alice"), None),
                _ => idp.logout_token(Some("alice"), Some(&sid)),
            };
            assert_taken(&tell(&bff, &token).await);
            drop(gate);
        };
        let ((reply, mut alice), ()) =
            soon("both", async { tokio::join!(finishing, logging_out) }).await;
        assert_eq!(refusal(&reply), "400 login_failed", "{by}");
        assert!(alice.session_cookie().is_none(), "{by}");
        assert_eq!(alice.signed_in().await, None);
        idp.asked_times(Endpoint::Revocation, 1).await;
        // Whoever signs in anew is signed in, though it is the same second.
        alice.sign_in("alice").await;
        assert_eq!(alice.signed_in().await.as_deref(), Some("alice"), "{by}");
    }
}

/// E12: tokens that were not meant to outlive the session at the provider are revoked.
#[tokio::test]
async fn tokens_without_offline_access_are_revoked() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.scopes", vec!["openid"])
        .start();
    browser_of(&bff, "alice").await;
    let token = idp.logout_token(Some("alice"), None);
    assert_taken(&tell(&bff, &token).await);
    idp.asked_times(Endpoint::Revocation, 1).await;
}

/// E14, D16: a flood of made-up keys is answered at once and makes us fetch next to nothing; real
/// logouts come through beside it.
#[tokio::test]
async fn a_flood_of_made_up_tokens_harms_nobody() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = browser_of(&bff, "alice").await;
    let fetched = idp.count(Endpoint::Jwks);
    idp.misbehave(Fault::Signature(
        crate::support::faults::SignatureFault::UnknownKid,
    ));
    let made_up: Vec<String> = (0..50)
        .map(|_| idp.logout_token(Some("alice"), None))
        .collect();
    idp.behave();
    let flood = made_up.iter().map(|token| tell(&bff, token));
    for reply in soon("the flood", futures_util::future::join_all(flood)).await {
        assert!([400, 429, 503].contains(&reply.status), "{reply:?}");
    }
    assert!(idp.count(Endpoint::Jwks) <= fetched + 3);
    assert!(lives(&mut alice).await);
    idp.sign_out("alice", bff.public_addr).await;
    assert!(!lives(&mut alice).await);
}

/// E14: tokens that wait for keys, however many, keep no genuine one waiting: it got 429 while the key
/// set was slow. All that anybody may send is one line a minute in the log.
#[tokio::test]
async fn a_slow_key_set_keeps_no_logout_waiting() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    idp.asked_times(Endpoint::Jwks, 1).await;
    let mut alice = browser_of(&bff, "alice").await;
    let mut bob = browser_of(&bff, "bob").await;
    let genuine = idp.logout_token(Some("alice"), None);
    let mut made_up = Vec::new();
    for attempt in 0..200 {
        let kid = json!(format!("made-up-{attempt}"));
        idp.misbehave_once(Fault::Set(Stage::LogoutTokenHeader, "kid", kid));
        made_up.push(idp.logout_token(Some("bob"), None));
    }
    idp.core.rotate_keys().unwrap();
    let by_new_key = idp.logout_token(Some("bob"), None);
    let told = || bff.logs().lines_with("a logout token signed nobody out");
    let before = told().len();
    let gate = idp.hold(Endpoint::Jwks);
    let flood = made_up.iter().map(|token| tell(&bff, token));
    let honest = async {
        idp.asked_times(Endpoint::Jwks, 2).await;
        assert_taken(&tell(&bff, &genuine).await);
        assert!(!lives(&mut alice).await);
        // One by a key that nobody has yet waits with the others for the one fetch.
        let waits = tell(&bff, &by_new_key);
        let opens = async { drop(gate) };
        let (reply, ()) = tokio::join!(waits, opens);
        assert_taken(&reply);
        assert!(!lives(&mut bob).await);
    };
    let both = async { tokio::join!(futures_util::future::join_all(flood), honest) };
    let (replies, ()) = soon("the flood", both).await;
    for reply in replies {
        assert!([400, 503].contains(&reply.status), "{reply:?}");
    }
    let lines = told();
    assert_eq!(lines.len(), before + 1, "{lines:?}");
    bff.clock().advance(Duration::from_mins(1));
    tell(&bff, &made_up[0]).await;
    assert!(told().last().unwrap().contains("\"left_out\":199"));
}

/// E8: why a token of the provider's was refused is a warning, beside whatever anybody sends.
#[tokio::test]
async fn the_log_says_why_a_logout_token_was_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let why = || bff.logs().lines_with("`exp` is missing").len();
    let before = why();
    assert_refused(&tell(&bff, "a.b.c").await, "garbage");
    idp.misbehave(Fault::no_logout_claim("exp"));
    for _ in 0..2 {
        let token = idp.logout_token(Some("alice"), None);
        assert_refused(&tell(&bff, &token).await, "no exp");
    }
    let warned = bff.logs().lines_with("`exp` is missing");
    let warned = warned.iter().filter(|line| line.contains("WARN"));
    assert_eq!(warned.count(), before + 1);
}

/// A provider that knows another address of ours than the public one signs nobody out; the log says
/// which host it asked, and what to register.
#[tokio::test]
async fn a_logout_sent_to_another_host_is_told() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let token = idp.logout_token(Some("alice"), None);
    let host = format!("node-{}.internal", bff.public_addr.port());
    let call = Call::bare("POST", "/bff/backchannel-logout")
        .header("Host", &host)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("logout_token={token}"));
    assert_eq!(call.send(bff.public_addr).await.status, 404);
    let told = bff.logs().lines_with(&host);
    let told: Vec<_> = told.iter().filter(|line| line.contains("WARN")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("https://app.example/bff/backchannel-logout"));
}
