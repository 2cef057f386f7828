//! A login in a window of its own: `/bff/login?mode=popup`, and the page at which it ends.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bff::dev::provider::endpoints::Endpoint;
use serde_json::{Value, json};

use crate::support::bff::Bff;
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{login_url, parameter, refusal, with_parameter};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// What the page says on the channel, after looking that its one script may run and no other.
fn message_of(reply: &Reply) -> Value {
    let text = reply.text();
    let script = text.split_once("<script type=\"module\">").unwrap().1;
    let script = script.split_once("</script>").unwrap().0;
    assert!(script.contains("new BroadcastChannel('bff-login')"));
    assert!(script.contains("window.close()"));
    let hash = STANDARD.encode(digest(&SHA256, script.as_bytes()));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(
        policy.contains(&format!("script-src 'sha256-{hash}';")),
        "{policy}"
    );
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(
        reply.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let message = text.split_once("data-message=\"").unwrap().1;
    let message = message.split('"').next().unwrap().replace("&quot;", "\"");
    serde_json::from_str(&message).unwrap()
}

/// A login in a window of its own ends at a page that says whose session it is by its tag, sets the same
/// cookies as any login, and goes on to its place where the window stays.
#[tokio::test]
async fn a_login_in_a_window_tells_who_opened_it() {
    for mode in ["query", "form_post"] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start())
            .set("provider.response_mode", mode)
            .start();
        let mut browser = bff.browser();
        browser.stand_on(PUBLIC_URL);
        let visit = browser
            .click("/bff/login?mode=popup&return_to=/form%3Fa%3D1%26b&login_hint=alice")
            .await;
        let end = if mode == "form_post" {
            browser.submit_form_of(visit.last(), None).await
        } else {
            visit
        };
        let end = end.last();
        assert_eq!(
            (end.status, end.url.path()),
            (200, "/bff/callback"),
            "{mode}"
        );
        let session = browser.session().await;
        assert_eq!(session["user"]["sub"], "alice");
        let expected = json!({
            "type": "bff-login", "outcome": "signed_in", "session": session["session"]["tag"],
        });
        assert_eq!(message_of(end), expected, "{mode}");
        let text = end.text();
        assert!(text.contains("<button class=\"button\" id=\"close\" type=\"button\" hidden>"));
        assert!(
            text.contains("href=\"/form?a=1&amp;b\">Go on in this window</a>"),
            "{text}"
        );
        assert_eq!(browser.login_cookies(), Vec::<String>::new());
    }
}

/// However else it ends, the page that opened it hears a fixed word, and the person can try again in the
/// same window.
#[tokio::test]
async fn a_login_in_a_window_that_fails_says_why() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.access_denied", "return_to")
        .route(
            toml::toml! { path = "/open"  auth = "none" },
            &Upstream::start(),
        )
        .start();
    let cases = [
        (Some("access_denied"), None, 400, "access_denied"),
        (Some("<script>no-word-of-ours"), None, 400, "login_failed"),
        (
            None,
            Some(Fault::unavailable(Endpoint::Token)),
            503,
            "provider_unavailable",
        ),
        (
            None,
            Some(Fault::claim("aud", "somebody-else")),
            400,
            "login_failed",
        ),
    ];
    for (error, fault, status, word) in cases {
        let mut browser = bff.browser();
        let mut callback = browser
            .callback_url("mode=popup&return_to=/open/7&login_hint=alice")
            .await;
        if error.is_some() {
            callback = with_parameter(&callback, "code", None);
            callback = with_parameter(&callback, "error", error);
        }
        if let Some(fault) = fault {
            idp.misbehave_once(fault);
        }
        let reply = browser.open(callback.as_str()).await;
        idp.behave();
        assert_eq!(reply.status, status, "{word}");
        let expected = json!({ "type": "bff-login", "outcome": "failed", "error": word });
        assert_eq!(message_of(&reply), expected);
        let text = reply.text();
        assert!(!text.contains("no-word-of-ours"), "{text}");
        let again = "href=\"/bff/login?mode=popup&amp;return_to=%2Fopen%2F7\">Sign in</a>";
        assert!(text.contains(again), "{text}");
        assert_eq!(browser.signed_in().await, None);
    }
    // It may fail before it has begun.
    let mut browser = bff.browser();
    let reply = browser
        .open(&login_url("mode=popup&return_to=//evil.example"))
        .await;
    assert_eq!(message_of(&reply)["error"], "bad_return_to");
    // A script that asks is told as ever.
    let reply = browser.open(&login_url("mode=window")).await;
    assert_eq!(refusal(&reply), "400 bad_request");
}

/// A login in a window that is asked nothing, and at whose provider nobody is signed in, is no session.
#[tokio::test]
async fn a_silent_login_in_a_window_may_find_nobody() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let visit = browser.visit(&login_url("mode=popup&prompt=none")).await;
    let expected = json!({ "type": "bff-login", "outcome": "failed", "error": "login_required" });
    assert_eq!(message_of(visit.last()), expected);
}

/// *Back* in the window, or its callback loaded again, ends at the same page in the living session.
#[tokio::test]
async fn a_window_that_goes_back_ends_as_it_did() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser
        .callback_url("mode=popup&return_to=/form&login_hint=alice")
        .await;
    let first = message_of(&browser.open(callback.as_str()).await);
    let visit = browser.come_back(&callback).await;
    assert_eq!(message_of(visit.last()), first);
    assert_eq!(visit.last().url.path(), "/bff/login/resume");
    assert_eq!(idp.count(Endpoint::Token), 1);
    // Without the session the login begins once more, in the window that it had.
    browser.jar.remove(crate::support::journey::SESSION_COOKIE);
    let visit = browser.come_back(&callback).await;
    let again = visit.last();
    assert_eq!(message_of(again)["outcome"], "signed_in");
    assert_eq!(again.url.path(), "/bff/callback");
    assert!(parameter(&again.url, "state").unwrap().contains('.'));
}
