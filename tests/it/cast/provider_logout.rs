//! Logout that the provider begins: whom it tells, through which channel, and every fault of what it
//! says.

use bff::clock::Clock as _;
use bff::dev::provider::parameters::Parameters;
use serde_json::{Map, Value};
use url::Url;

use super::relying_party::{RelyingParty, get, parameter};
use crate::support::browser::Browser;
use crate::support::clock::nine_o_clock;
use crate::support::faults::{Fault, KeySetFault};
use crate::support::idp::{Idp, PUBLIC_URL, logout_call};
use crate::support::upstream::{Answer, Upstream};

/// The verdict of a strict relying party on a logout token of alice.
async fn verdict(idp: &Idp, token: &str) -> Result<Map<String, Value>, String> {
    let now = idp.clock().now().unix_seconds();
    let relying_party = RelyingParty::of(idp);
    relying_party.judge_logout_token(token, now).await
}

/// The `sid` of the ID token that a login brought.
fn sid_of(login: &Value) -> String {
    let id_token = login["id_token"].as_str().unwrap();
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(id_token).unwrap();
    claims["sid"].as_str().unwrap().to_owned()
}

fn end_session(idp: &Idp, login: &Value) -> String {
    let hint = login["id_token"].as_str().unwrap();
    let home = format!("{PUBLIC_URL}/bff/logout/callback");
    idp.url(&format!(
        "/end_session?id_token_hint={hint}&state=s1&post_logout_redirect_uri={home}"
    ))
}

/// E8: every fault of a logout token is a fault, and the honest one has none.
#[tokio::test]
async fn a_strict_relying_party_refuses_every_bad_logout_token() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    let honest = idp.logout_token(Some("alice"), Some("s-1"));
    verdict(&idp, &honest).await.unwrap();
    for (name, fault) in Fault::bad_logout_tokens(now) {
        idp.misbehave_once(fault);
        let token = idp.logout_token(Some("alice"), Some("s-1"));
        assert!(verdict(&idp, &token).await.is_err(), "{name} passed");
        let honest = idp.logout_token(Some("alice"), Some("s-1"));
        assert!(verdict(&idp, &honest).await.is_ok(), "after {name}");
    }
}

/// E8, D14, D17: what is only odd is no fault.
#[tokio::test]
async fn a_strict_relying_party_takes_odd_logout_tokens() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    let keys = [
        KeySetFault::OneWithoutKid,
        KeySetFault::ManyWithoutKid,
        KeySetFault::Junk,
    ];
    let keys = keys.map(|fault| ("another key set", Fault::Keys(fault)));
    let odd = Fault::odd_but_valid_logout_tokens(now);
    for (name, fault) in odd.into_iter().chain(keys) {
        idp.misbehave(fault);
        let token = idp.logout_token(Some("alice"), Some("s-1"));
        let verdict = verdict(&idp, &token).await;
        idp.behave();
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
    }
}

/// RP-initiated logout: the relying parties of the session are told, with user and session, and
/// the browser does not wait for it.
#[tokio::test]
async fn an_ended_session_is_told_through_the_back_channel() {
    let idp = Idp::start(&nine_o_clock());
    let app = Upstream::start();
    app.answers(|_| Answer::status(204));
    idp.deliver_to(app.addr());
    let mut browser = Browser::new(nine_o_clock());
    let login = RelyingParty::of(&idp).log_in(&mut browser).await.json();
    let other = &mut Browser::new(nine_o_clock());
    RelyingParty::of(&idp).log_in(other).await;

    let visit = browser.visit(&end_session(&idp, &login)).await;
    assert_eq!(parameter(&visit.left.unwrap(), "state").unwrap(), "s1");
    let told = idp.told_times(1).await;
    let uri = format!("{PUBLIC_URL}/bff/backchannel-logout");
    assert_eq!((told[0].uri.as_str(), told[0].status), (&*uri, Some(204)));
    let seen = app.the_one();
    assert_eq!(
        (&*seen.method, &*seen.target, seen.header("host")),
        ("POST", "/bff/backchannel-logout", Some("app.example"))
    );
    let form = Parameters::parse(&seen.body);
    assert_eq!(form.value("logout_token"), Some(&*told[0].logout_token));
    let claims = verdict(&idp, &told[0].logout_token).await.unwrap();
    assert_eq!(claims["sid"], sid_of(&login));
    assert_eq!(claims["sub"], "alice");
    // The other browser's session goes on.
    assert_eq!(idp.sids("alice").len(), 1);

    // Nobody is told of what ended before.
    browser.visit(&end_session(&idp, &login)).await;
    assert_eq!(idp.told().len(), 1);
}

/// E3: a hint ends the session that it is of, and that of nobody who has signed in here since. It ended both,
/// so that a sign-out at one app signed somebody else out of another.
#[tokio::test]
async fn a_hint_ends_no_later_session() {
    let idp = Idp::start(&nine_o_clock());
    let mut browser = Browser::new(nine_o_clock());
    let alice = RelyingParty::of(&idp).log_in(&mut browser).await.json();
    let bob = RelyingParty::of(&idp);
    let asked = bob.authorization_url(&[("login_hint", "bob")]);
    bob.code(&browser.visit(&asked).await);

    browser.visit(&end_session(&idp, &alice)).await;
    assert_eq!(idp.sids("alice"), Vec::<String>::new());
    assert_eq!(idp.sids("bob").len(), 1);
    // His browser keeps it too.
    let silent = RelyingParty::of(&idp);
    let asked = silent.authorization_url(&[("prompt", "none")]);
    silent.code(&browser.visit(&asked).await);
    assert_eq!(idp.sids("bob").len(), 1);
}

/// E10: one session by its `sid`, or all of a user's by the `sub` alone.
#[tokio::test]
async fn the_provider_signs_out_of_one_session_or_of_all() {
    let idp = Idp::start(&nine_o_clock());
    let app = Upstream::start();
    let mut sids = Vec::new();
    for _ in 0..3 {
        let mut browser = Browser::new(nine_o_clock());
        let login = RelyingParty::of(&idp).log_in(&mut browser).await.json();
        sids.push(sid_of(&login));
    }
    let told = async || {
        let form = Parameters::parse(&app.last().body);
        let token = form.value("logout_token").unwrap().to_owned();
        verdict(&idp, &token).await.unwrap()
    };

    let replies = idp.end_session(&sids[1], app.addr()).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].status, 200);
    let claims = told().await;
    assert_eq!(claims["sid"], sids[1]);
    assert_eq!(idp.sids("alice").len(), 2);

    let replies = idp.sign_out("alice", app.addr()).await;
    assert_eq!(replies.len(), 1, "one relying party, one token");
    let claims = told().await;
    assert_eq!((claims.get("sid"), &claims["sub"]), (None, &"alice".into()));
    assert_eq!(idp.sids("alice"), Vec::<String>::new());
    assert!(idp.sign_out("bob", app.addr()).await.is_empty());
}

/// A token that was caught can be sent again, byte for byte.
#[tokio::test]
async fn a_logout_token_can_be_replayed() {
    let idp = Idp::start(&nine_o_clock());
    let app = Upstream::start();
    let token = idp.logout_token(Some("alice"), None);
    for _ in 0..2 {
        logout_call(&token).send(app.addr()).await;
    }
    let seen = app.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
    assert!(
        idp.issued_secrets()
            .iter()
            .any(|(_, known)| *known == token)
    );
}

/// E15: a signed-out page loads the front channel of the relying party, with issuer and session,
/// and goes on from there.
#[tokio::test]
async fn the_signed_out_page_frames_the_front_channel() {
    let idp = Idp::start(&nine_o_clock());
    idp.use_front_channel();
    let mut browser = Browser::new(nine_o_clock());
    let login = RelyingParty::of(&idp).log_in(&mut browser).await.json();

    let visit = browser.visit(&end_session(&idp, &login)).await;
    assert_eq!((visit.last().status, &visit.left), (200, &None));
    let policy = visit.last().header("content-security-policy").unwrap();
    assert!(
        policy.ends_with("; frame-src https://app.example"),
        "{policy}"
    );
    let page = visit.last().text();
    let source = between(&page, "<iframe src=\"", "\"").replace("&amp;", "&");
    let frame = Url::parse(&source).unwrap();
    assert_eq!(frame.path(), "/bff/frontchannel-logout");
    assert_eq!(parameter(&frame, "iss"), Some(idp.issuer.clone()));
    assert_eq!(parameter(&frame, "sid"), Some(sid_of(&login)));
    let next = between(&page, "id=\"next\" href=\"", "\"");
    assert_eq!(next, format!("{PUBLIC_URL}/bff/logout/callback?state=s1"));
    let script = get(&idp.url("/signed_out.js"), None).await;
    assert_eq!(script.status, 200);

    // With nobody left to tell, the browser is sent on at once.
    let visit = browser.visit(&end_session(&idp, &login)).await;
    assert!(visit.left.is_some());
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// Discovery says what is offered.
#[tokio::test]
async fn both_channels_are_in_the_metadata() {
    let idp = Idp::start(&nine_o_clock());
    let metadata = get(&idp.url("/.well-known/openid-configuration"), None)
        .await
        .json();
    for name in [
        "backchannel_logout_supported",
        "backchannel_logout_session_supported",
        "frontchannel_logout_supported",
        "frontchannel_logout_session_supported",
    ] {
        assert_eq!(metadata[name], true, "{name}");
    }
}
