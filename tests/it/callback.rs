//! `/bff/callback`: which answers of the provider are believed, in which order they are looked
//! at, and what a login comes to.

use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};
use url::Url;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{
    LOGIN_COOKIE, SESSION_COOKIE, login_url, parameter, refusal, sign_in_link, steady_fields,
    with_parameter,
};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// What holds of every login that failed: a refusal that nobody keeps, no session cookie, and
/// the session that was there lives.
async fn check_failed(name: &str, reply: &Reply, expected: &str, browser: &mut Browser) {
    assert_eq!(refusal(reply), expected, "{name}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
    assert_eq!(reply.header("location"), None, "{name}");
    let touched = reply
        .all("set-cookie")
        .iter()
        .any(|line| line.starts_with(&format!("{SESSION_COOKIE}=")));
    assert!(!touched, "{name}: the session cookie was touched");
    let sub = browser.signed_in().await;
    assert_eq!(sub.as_deref(), Some("alice"), "{name}");
}

/// What holds of a callback whose login is none of this browser's any more: it leads on to where the
/// session shows itself, with neither code nor state in the address, and nothing has happened yet.
async fn check_set_aside(name: &str, reply: &Reply, browser: &mut Browser) {
    assert_eq!(reply.status, 303, "{name}");
    let place = reply.location().unwrap();
    assert_eq!(place.path(), "/bff/login/resume", "{name}");
    for secret in ["code", "state", "iss"] {
        assert_eq!(parameter(&place, secret), None, "{name}");
    }
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
    let touched = reply
        .all("set-cookie")
        .iter()
        .any(|line| line.starts_with(&format!("{SESSION_COOKIE}=")));
    assert!(!touched, "{name}: the session cookie was touched");
    let sub = browser.signed_in().await;
    assert_eq!(sub.as_deref(), Some("alice"), "{name}");
}

/// A browser in which alice is signed in and bob is on the way back from the provider.
async fn bob_on_the_way(bff: &Bff<'_>, query: &str) -> (Browser, Url) {
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let callback = browser
        .callback_url(&format!("login_hint=bob&{query}"))
        .await;
    (browser, callback)
}

/// C11: what a login comes to, to the letter.
#[tokio::test]
async fn a_login_ends_where_it_began() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser
        .callback_url("login_hint=alice&return_to=/orders%3Fpage%3D2%23row-7")
        .await;
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(reply.status, 303);
    assert_eq!(reply.header("location"), Some("/orders?page=2#row-7"));
    insta::assert_snapshot!(steady_fields(&reply), @r#"
    cache-control: no-store
    content-length: 0
    nel: {"max_age":0}
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000
    "#);
    let lines = reply.all("set-cookie");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let session = lines[0].split_once(';').unwrap();
    assert!(session.0.starts_with(&format!("{SESSION_COOKIE}=")));
    assert_eq!(session.1, " HttpOnly; SameSite=Strict; Secure; Path=/");
    let login = lines[1].split_once(';').unwrap();
    assert!(login.0.starts_with(LOGIN_COOKIE));
    insta::assert_snapshot!(login.1, @" HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400");
    assert_eq!(browser.login_cookies(), Vec::<String>::new());
    assert_eq!(browser.past_logins().len(), 1);
    assert_eq!(browser.jar.refused(), &[] as &[String]);
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// C11, G4: each login has a new session id, and the session before it ends.
#[tokio::test]
async fn a_second_login_takes_the_place_of_the_first() {
    for response_mode in ["query", "form_post"] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start())
            .set("provider.response_mode", response_mode)
            .start();
        let mut browser = bff.browser();
        let finish = async |browser: &mut Browser, name: &str| {
            let visit = browser
                .visit(&login_url(&format!("login_hint={name}")))
                .await;
            if response_mode == "form_post" {
                // Across sites, so the Strict session cookie stays behind.
                browser.submit_form_of(visit.last(), None).await;
            }
            browser.session().await
        };
        let alice = finish(&mut browser, "alice").await;
        let old = browser.jar.clone();
        let first = browser.session_cookie();
        let bob = finish(&mut browser, "bob").await;
        assert_eq!(bob["user"]["sub"], "bob", "{response_mode}");
        assert_ne!(alice["session"]["tag"], bob["session"]["tag"]);
        assert_ne!(first, browser.session_cookie());
        browser.jar = old;
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(refusal(&reply), "401 session_superseded", "{response_mode}");
    }
}

/// A login that is refused for its user's limit ends no other user's session in this browser.
#[tokio::test]
async fn a_refused_login_ends_nobody_elses_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("session.max_per_user", 1)
        .set("session.on_limit", "refuse")
        .start();
    let mut elsewhere = bff.browser();
    elsewhere.sign_in("alice").await;
    let mut browser = bff.browser();
    browser.sign_in("bob").await;
    let visit = browser.visit(&login_url("login_hint=alice")).await;
    assert_eq!(visit.last().status, 403);
    assert_eq!(browser.signed_in().await.as_deref(), Some("bob"));
    // One's own session makes room for the one that takes its place.
    elsewhere.sign_in("alice").await;
    assert_eq!(elsewhere.signed_in().await.as_deref(), Some("alice"));
}

/// C1: with `query` the callback is a GET and nothing else, and HEAD uses nothing up.
#[tokio::test]
async fn the_callback_takes_the_method_of_its_mode() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let body = (method == "POST").then(|| callback.query().unwrap());
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let reply = browser.curl(method, callback.as_str(), &form, body).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("GET"), "{method}");
    }
    assert_eq!(idp.count(Endpoint::Token), 0);
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
}

/// C1, B3: with `form_post` it is the POST of a form, with a cookie that crosses sites.
#[tokio::test]
async fn the_provider_posts_the_answer() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.response_mode", "form_post")
        .start();
    let mut browser = bff.browser();
    let visit = browser
        .visit(&login_url("login_hint=alice&return_to=/orders"))
        .await;
    let form = visit.last().clone();
    // The same parameters in a GET, in no form, or in too large a one, are no answer.
    let answer = parameters_of(&form);
    let callback = format!("{PUBLIC_URL}/bff/callback");
    let got = browser.open(&format!("{callback}?{answer}")).await;
    assert_eq!(got.status, 405);
    assert_eq!(got.header("allow"), Some("POST"));
    let padded = format!("{answer}&padding={}", "a".repeat(70_000));
    let form_type = "application/x-www-form-urlencoded";
    let bad_bodies = [
        ("text/plain", answer.as_str()),
        ("application/json", answer.as_str()),
        ("multipart/form-data; boundary=x", answer.as_str()),
        ("", answer.as_str()),
        (form_type, padded.as_str()),
        (form_type, ""),
    ];
    for (content_type, body) in bad_bodies {
        let fields = [("Content-Type", content_type)];
        let fields = if content_type.is_empty() {
            &[]
        } else {
            &fields[..]
        };
        let reply = browser.curl("POST", &callback, fields, Some(body)).await;
        assert_eq!(refusal(&reply), "400 login_failed", "{content_type}");
    }
    assert_eq!(idp.count(Endpoint::Token), 0);
    let visit = browser.submit_form_of(&form, None).await;
    let reply = visit.reply_of("/bff/callback");
    assert_eq!(reply.status, 303, "{}", reply.text());
    assert_eq!(reply.header("location"), Some("/orders"));
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(browser.jar.refused(), &[] as &[String]);
}

/// The fields of the provider's form, as a query.
fn parameters_of(form: &Reply) -> String {
    let text = form.text();
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!("{name}=\""))?;
        rest.split('"')
            .next()
            .map(|text| text.replace("&amp;", "&"))
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for input in text.split("<input").skip(1) {
        if let (Some(name), Some(value)) = (attribute(input, "name"), attribute(input, "value")) {
            query.append_pair(&name, &value);
        }
    }
    query.finish()
}

/// C1: a charset beside the media type is no other media type.
#[tokio::test]
async fn the_form_may_name_its_charset() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.response_mode", "form_post")
        .start();
    let mut browser = bff.browser();
    let visit = browser.visit(&login_url("login_hint=alice")).await;
    let answer = parameters_of(visit.last());
    let fields = [(
        "Content-Type",
        "application/x-www-form-urlencoded;charset=UTF-8",
    )];
    let callback = format!("{PUBLIC_URL}/bff/callback");
    let reply = browser
        .curl("POST", &callback, &fields, Some(&answer))
        .await;
    assert_eq!(reply.status, 303, "{}", reply.text());
}

/// C2: no parameter may stand twice, even if it says the same twice.
#[tokio::test]
async fn a_repeated_parameter_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for name in [
        "state",
        "code",
        "iss",
        "error",
        "id_token",
        "access_token",
        "response",
    ] {
        let (mut browser, mut callback) = bob_on_the_way(&bff, "").await;
        let value = parameter(&callback, name);
        let asked = idp.count(Endpoint::Token);
        let value = value.unwrap_or_else(|| "x".to_owned());
        callback.query_pairs_mut().append_pair(name, &value);
        if parameter_count(&callback, name) == 1 {
            callback.query_pairs_mut().append_pair(name, &value);
        }
        let reply = browser.open(callback.as_str()).await;
        check_failed(name, &reply, "400 login_failed", &mut browser).await;
        assert_eq!(idp.count(Endpoint::Token), asked, "{name}");
        let left = usize::from(name == "state");
        assert_eq!(browser.login_cookies().len(), left, "{name}");
    }
}

fn parameter_count(url: &Url, name: &str) -> usize {
    url.query_pairs().filter(|(known, _)| known == name).count()
}

/// C2: what is not ours may be there, once or twice: providers add things.
#[tokio::test]
async fn unknown_parameters_are_passed_over() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let mut callback = browser.callback_url("login_hint=alice").await;
    callback
        .query_pairs_mut()
        .append_pair("session_state", "a.b")
        .append_pair("foo", "1")
        .append_pair("foo", "2");
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
}

/// C3: a state that is not this browser's own, or no state, is refused.
#[tokio::test]
async fn a_foreign_state_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut attacker = bff.browser();
    let foreign = attacker.callback_url("login_hint=bob").await;
    let foreign = parameter(&foreign, "state").unwrap();
    type Forge = fn(own: String, foreign: &str) -> Option<String>;
    let cases: [(&str, Forge); 7] = [
        ("no state", |_, _| None),
        ("an empty one", |_, _| Some(String::new())),
        ("another", |_, _| Some("A".repeat(43))),
        ("one letter less", |own, _| Some(own[1..].to_owned())),
        ("one letter more", |own, _| Some(own + "A")),
        ("another case", |own, _| Some(own.to_ascii_uppercase())),
        ("another browser's", |_, foreign| Some(foreign.to_owned())),
    ];
    for (name, forge) in cases {
        let (mut browser, callback) = bob_on_the_way(&bff, "").await;
        let asked = idp.count(Endpoint::Token);
        let state = forge(parameter(&callback, "state").unwrap(), &foreign);
        let forged = with_parameter(&callback, "state", state.as_deref());
        let reply = browser.open(forged.as_str()).await;
        if state.is_none_or(|state| state.is_empty()) {
            check_failed(name, &reply, "400 login_failed", &mut browser).await;
        } else {
            check_set_aside(name, &reply, &mut browser).await;
        }
        assert_eq!(idp.count(Endpoint::Token), asked, "{name}");
        // The login that is under way is nobody else's to spoil.
        assert_eq!(browser.open(callback.as_str()).await.status, 303, "{name}");
    }
}

/// C3: a whole answer of somebody else's login is refused: no login CSRF.
#[tokio::test]
async fn an_answer_cannot_be_handed_to_another_browser() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut attacker = bff.browser();
    let stolen = attacker.callback_url("login_hint=bob").await;
    let (mut browser, _) = bob_on_the_way(&bff, "").await;
    let asked = idp.count(Endpoint::Token);
    browser.stand_on("https://evil.example/");
    let visit = browser.click(stolen.as_str()).await;
    check_set_aside("stolen", &visit.replies[0], &mut browser).await;
    let visit = browser.come_back(&stolen).await;
    assert_eq!(visit.replies[0].header("location"), Some("/"));
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    // Whoever is not signed in is asked, since any link could lead here.
    browser.jar.remove(SESSION_COOKIE);
    let visit = browser.come_back(&stolen).await;
    assert_eq!(idp.count(Endpoint::Token), asked);
    assert_eq!(refusal(visit.last()), "400 login_failed");
    let link = sign_in_link(visit.last());
    let (_, count) = link.split_once("tried=").unwrap();
    let page = main_of(visit.last()).replace(count, "[count]");
    insta::assert_snapshot!(page, @r#"
    <h1>Sign-in failed</h1>
    <p>This sign-in is over or was started in another browser. Please sign in again.</p><p class="ways"><a class="button" href="/bff/login?return_to=%2F&amp;tried=[count]">Sign in</a></p><dl><dt>Status</dt><dd>400</dd><dt>Code</dt><dd>login_failed</dd><dt>Request</dt><dd>[id]</dd></dl>
    "#);
}

/// C3, G6: a login cookie that was changed, or moved to another login's name, opens nothing.
#[tokio::test]
async fn a_changed_login_cookie_opens_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.begin_login("").await;
    let other = browser.login_cookies().pop().unwrap();
    let callback = browser.callback_url("login_hint=alice").await;
    let name = browser.login_cookies().pop().unwrap();
    let value = browser.jar.cookie(&name).unwrap().value.clone();
    let moved = browser.jar.cookie(&other).unwrap().value.clone();
    let changed = |at: usize| {
        let mut bytes = value.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let cases = [
        ("first letter", changed(0)),
        ("in the middle", changed(value.len() / 2)),
        ("near the end", changed(value.len() - 2)),
        ("cut short", value[..value.len() - 4].to_owned()),
        ("empty", String::new()),
        ("another login's", moved),
        ("no base64url", "%%%".to_owned()),
    ];
    for (case, value) in cases {
        let cookie = format!("{name}={value}");
        let fields = [("Cookie", cookie.as_str())];
        let reply = browser.curl("GET", callback.as_str(), &fields, None).await;
        assert_eq!(refusal(&reply), "400 login_failed", "{case}");
    }
    assert_eq!(idp.count(Endpoint::Token), 0);
    let cookie = format!("{name}={value}");
    let fields = [("Cookie", cookie.as_str())];
    let reply = browser.curl("GET", callback.as_str(), &fields, None).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
}

/// C4: RFC 9207: the issuer must be named where the provider says that it always does, and must
/// be ours wherever it is named, in an error as well.
#[tokio::test]
async fn an_answer_of_another_issuer_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let slashed = format!("{}/", idp.issuer);
    for (name, iss) in [
        ("no iss", None),
        ("an empty one", Some("")),
        ("another", Some("https://evil.example")),
        ("nearly ours", Some(slashed.as_str())),
    ] {
        for error in [None, Some("access_denied")] {
            let (mut browser, callback) = bob_on_the_way(&bff, "").await;
            let asked = idp.count(Endpoint::Token);
            let mut forged = with_parameter(&callback, "iss", iss);
            if let Some(error) = error {
                forged = with_parameter(&forged, "code", None);
                forged = with_parameter(&forged, "error", Some(error));
            }
            let reply = browser.open(forged.as_str()).await;
            check_failed(name, &reply, "400 login_failed", &mut browser).await;
            assert_eq!(browser.login_cookies().len(), 0, "{name}");
            assert_eq!(idp.count(Endpoint::Token), asked, "{name}");
            // An operator looks elsewhere for one that is missing than for one that is wrong.
            let lacks = !bff.logs().lines_with("lacks iss").is_empty();
            let other = !bff.logs().lines_with("another issuer").is_empty();
            assert_eq!((lacks, other), (true, name != "no iss"), "{name}");
        }
    }
}

/// C4: a provider that promises nothing may leave the issuer out, but not name another.
#[tokio::test]
async fn an_issuer_that_was_not_promised_may_be_missing() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Remove(
        Stage::Metadata,
        "authorization_response_iss_parameter_supported",
    ));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for (iss, expected) in [(None, 303), (Some("https://evil.example"), 400)] {
        let mut browser = bff.browser();
        let callback = browser.callback_url("login_hint=alice").await;
        let callback = with_parameter(&callback, "iss", iss);
        assert_eq!(browser.open(callback.as_str()).await.status, expected);
    }
}

/// C4: the same through a provider that lies by itself.
#[tokio::test]
async fn a_provider_that_lies_about_its_issuer_signs_nobody_in() {
    let stage = Stage::AuthorizationResponse;
    for fault in [
        Fault::Set(stage, "iss", json!("https://evil.example")),
        Fault::Remove(stage, "iss"),
        Fault::Set(stage, "iss", json!(["https://evil.example", "x"])),
    ] {
        let idp = Idp::start(&nine_o_clock());
        idp.misbehave(fault.clone());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browser = bff.browser();
        let visit = browser.visit(&login_url("login_hint=alice")).await;
        assert_eq!(refusal(visit.last()), "400 login_failed", "{fault:?}");
        assert_eq!(idp.count(Endpoint::Token), 0, "{fault:?}");
        assert_eq!(browser.signed_in().await, None);
    }
}

/// The page between `<main>` and its end, without the request's id.
fn main_of(reply: &Reply) -> String {
    let text = reply.text();
    let main = text.split_once("<main>").unwrap().1;
    let main = main.split_once("</main>").unwrap().0.trim();
    let id = reply.header("x-request-id").unwrap();
    main.replace(id, "[id]")
}

/// C5: an error of the provider becomes our own words; nothing of it is repeated to anybody.
#[tokio::test]
async fn an_error_of_the_provider_is_told_in_our_words() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let marker = "zq-marker-7";
    let mut pages = Vec::new();
    for error in ["access_denied", "server_error", "<script>zq-marker-7", ""] {
        let (mut browser, callback) = bob_on_the_way(&bff, "").await;
        let asked = idp.count(Endpoint::Token);
        let mut callback = with_parameter(&callback, "code", None);
        callback
            .query_pairs_mut()
            .append_pair("error", error)
            .append_pair("error_description", &format!("<b>{marker}</b>\r\nX: y"))
            .append_pair("error_uri", &format!("javascript:{marker}"));
        let reply = browser.open(callback.as_str()).await;
        check_failed(error, &reply, "400 login_failed", &mut browser).await;
        assert_eq!(browser.login_cookies().len(), 0, "{error}");
        assert_eq!(idp.count(Endpoint::Token), asked, "{error}");
        let raw = String::from_utf8_lossy(&reply.raw).into_owned() + &reply.text();
        assert!(!raw.contains(marker), "{raw}");
        pages.push(main_of(&reply));
    }
    pages.dedup();
    assert_eq!(pages.len(), 1, "one page for whatever error: {pages:#?}");
    insta::assert_snapshot!(pages[0], @r#"
    <h1>Sign-in failed</h1>
    <p>The identity provider did not sign you in. Please try again.</p><p class="ways"><a class="button" href="/bff/login">Sign in</a></p><dl><dt>Status</dt><dd>400</dd><dt>Code</dt><dd>login_failed</dd><dt>Request</dt><dd>[id]</dd></dl>
    "#);
    assert!(bff.logs().lines_with(marker).is_empty(), "it was logged");
}

/// C5: errors, too, must belong to a login of this browser.
#[tokio::test]
async fn an_error_without_a_state_spoils_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let (mut browser, callback) = bob_on_the_way(&bff, "").await;
    let forged = format!("{PUBLIC_URL}/bff/callback?error=access_denied");
    let reply = browser.open(&forged).await;
    check_failed("no state", &reply, "400 login_failed", &mut browser).await;
    let reply = browser.open(&format!("{forged}&state=other")).await;
    check_set_aside("another state", &reply, &mut browser).await;
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
}

/// C5: `prompt=none` asks whether somebody is signed in at the provider; no is an answer.
#[tokio::test]
async fn a_silent_login_may_come_back_with_nobody() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let expected = [
        "login_required",
        "interaction_required",
        "consent_required",
        "account_selection_required",
    ];
    let cases = expected.map(|error| ("prompt=none", error, true));
    let others = [
        ("prompt=none", "access_denied", false),
        ("prompt=none", "server_error", false),
        ("prompt=login", "login_required", false),
        ("", "login_required", false),
    ];
    for (query, error, quiet) in cases.into_iter().chain(others) {
        let (mut browser, callback) =
            bob_on_the_way(&bff, &format!("{query}&return_to=/app")).await;
        let callback = with_parameter(&callback, "code", None);
        let callback = with_parameter(&callback, "error", Some(error));
        let reply = browser.open(callback.as_str()).await;
        let name = format!("{query} {error}");
        if quiet {
            assert_eq!(reply.status, 303, "{name}");
            assert_eq!(reply.header("location"), Some("/app"), "{name}");
            // Whoever was signed in here still is.
            assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        } else {
            check_failed(&name, &reply, "400 login_failed", &mut browser).await;
        }
        assert_eq!(browser.login_cookies().len(), 0, "{name}");
    }
}

/// C5: the same with a provider at which nobody is signed in.
#[tokio::test]
async fn a_silent_login_with_nobody_at_the_provider_comes_back() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let visit = browser
        .visit(&login_url("prompt=none&return_to=/app"))
        .await;
    let reply = visit.reply_of("/bff/callback");
    assert_eq!(reply.status, 303);
    assert_eq!(reply.header("location"), Some("/app"));
    assert_eq!(browser.signed_in().await, None);
    assert_eq!(browser.login_cookies(), Vec::<String>::new());
}

/// C6: an answer is good once, also with the cookie put back, and costs one token request.
#[tokio::test]
async fn a_replayed_callback_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    let before = browser.jar.clone();
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
    let signed_in = browser.jar.clone();
    for _ in 0..3 {
        browser.jar = before.clone();
        let reply = browser.open(callback.as_str()).await;
        assert_eq!(reply.location().unwrap().path(), "/bff/login/resume");
        assert_eq!(browser.login_cookies(), Vec::<String>::new());
        assert_eq!(browser.signed_in().await, None);
        // A program is told.
        browser.jar = before.clone();
        let reply = browser.curl("GET", callback.as_str(), &[], None).await;
        assert_eq!(refusal(&reply), "400 login_failed");
    }
    assert_eq!(idp.count(Endpoint::Token), 1);
    browser.jar = signed_in;
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// C6: of several that come at once, one wins. Whether a state was used and that it now is were
/// two steps once, between which a second answer slipped through.
#[tokio::test]
async fn a_callback_that_comes_twice_at_once_is_used_once() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for round in 1..=20 {
        let mut browser = bff.browser();
        let callback = browser.callback_url("login_hint=alice").await;
        let tabs: Vec<_> = (0..8)
            .map(|_| {
                let mut tab = bff.browser();
                tab.jar = browser.jar.clone();
                let callback = callback.clone();
                tokio::spawn(async move { tab.open(callback.as_str()).await.location() })
            })
            .collect();
        let mut places = Vec::new();
        for tab in tabs {
            places.push(tab.await.unwrap().unwrap().path().to_owned());
        }
        places.sort_unstable();
        let mut expected = vec!["/bff/login/resume"; 8];
        expected[0] = "/";
        assert_eq!(places, expected, "round {round}");
        assert_eq!(idp.count(Endpoint::Token), round, "round {round}");
    }
}

/// N4: why a login failed is in the log at its default level: a line each, with the whole chain of
/// causes under the id that the page shows, and one warning a minute and cause. Never in the
/// provider's own words.
#[tokio::test]
async fn the_log_says_why_a_login_failed() {
    let token = Endpoint::Token;
    for (fault, said, remedy) in [
        (
            Fault::Error(token, 401, "invalid_client"),
            "refused the code: status 401, invalid_client",
            Some("look at provider.client_id"),
        ),
        (
            Fault::Error(token, 400, "canary_of_a_code"),
            "refused the code: status 400\"",
            None,
        ),
        (
            Fault::Error(token, 503, "slow_down"),
            "the token endpoint answered with status 503, slow_down",
            None,
        ),
        (
            Fault::claim("aud", "canary-of-an-audience"),
            "bad ID token: by its claims: `aud` has a wrong value",
            None,
        ),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        idp.misbehave(fault);
        for _ in 0..2 {
            let mut browser = bff.browser();
            let callback = browser.callback_url("login_hint=alice").await;
            let reply = browser.open(callback.as_str()).await;
            assert!(reply.status >= 400, "{said}");
            let id = reply.header("x-request-id").unwrap();
            let lines = bff.logs().lines_with(id);
            let line = lines.iter().find(|line| line.contains(said));
            let line = line.unwrap_or_else(|| panic!("{said}\n{lines:?}"));
            assert!(line.contains("\"level\":\"INFO\""), "{line}");
        }
        let lines = bff.logs().lines_with(said);
        let warned = lines
            .iter()
            .filter(|line| line.contains("\"level\":\"WARN\""));
        let warned: Vec<_> = warned.collect();
        assert_eq!(warned.len(), 1, "{lines:?}");
        if let Some(remedy) = remedy {
            assert!(warned[0].contains(remedy), "{warned:?}");
        }
        let log = bff.logs().text();
        assert!(!log.contains("canary_of_a_code") && !log.contains("canary-of-an-audience"));
    }
}

/// C6: a login that failed at the provider is used up as well.
#[tokio::test]
async fn a_failed_callback_is_used_up() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    let before = browser.jar.clone();
    idp.misbehave_once(Fault::unavailable(Endpoint::Token));
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    assert_eq!(browser.login_cookies(), Vec::<String>::new());
    browser.jar = before;
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(reply.location().unwrap().path(), "/bff/login/resume");
    assert_eq!(idp.count(Endpoint::Token), 1);
}

/// C7: the token request, to the letter.
#[tokio::test]
async fn the_token_request_says_what_it_must() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    browser.open(callback.as_str()).await;
    let asked = idp.asked(Endpoint::Token).pop().unwrap();
    let mut names: Vec<&str> = asked.form.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    insta::assert_snapshot!(names.join(" "), @"code code_verifier grant_type redirect_uri");
    let says = |name| asked.form.value(name).unwrap();
    assert_eq!(says("grant_type"), "authorization_code");
    assert_eq!(says("redirect_uri"), format!("{PUBLIC_URL}/bff/callback"));
    assert_eq!(Some(says("code").to_owned()), parameter(&callback, "code"));
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.query.iter().count(), 0, "nothing in the query");
    assert_eq!(
        asked.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(!asked.headers.contains_key("cookie"));
}

/// C7: a code is tried once, whatever becomes of the try.
#[tokio::test]
async fn a_code_is_sent_once() {
    let token = Endpoint::Token;
    let refused = "400 login_failed";
    let away = "503 provider_unavailable";
    let cases = [
        ("dropped unheard", Fault::DropUnheard(token), away),
        ("dropped afterwards", Fault::DropAfterwards(token), away),
        ("503", Fault::unavailable(token), away),
        ("429", Fault::Error(token, 429, "slow_down"), away),
        ("never", Fault::never(token), away),
        ("invalid_grant", Fault::invalid_grant(), refused),
        (
            "invalid_client",
            Fault::Error(token, 401, "invalid_client"),
            refused,
        ),
        (
            "a page",
            Fault::Answer(token, 200, "text/html", b"<html>".to_vec()),
            refused,
        ),
        (
            "a redirect",
            Fault::Redirect(token, "https://evil.example/".to_owned()),
            refused,
        ),
    ];
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.timeout", "500ms")
        .start();
    for (name, fault, expected) in cases {
        let (mut browser, callback) = bob_on_the_way(&bff, "").await;
        let asked = idp.count(token);
        idp.misbehave(fault);
        let reply = browser.open(callback.as_str()).await;
        idp.behave();
        check_failed(name, &reply, expected, &mut browser).await;
        assert_eq!(idp.count(token), asked + 1, "{name}");
        assert_eq!(browser.login_cookies().len(), 0, "{name}");
        let retry_after = reply.header("retry-after").is_some();
        assert_eq!(retry_after, reply.status == 503, "{name}");
    }
}

/// C8: a token response that is none signs nobody in.
#[tokio::test]
async fn a_bad_token_response_signs_nobody_in() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut cases = Fault::bad_token_responses();
    cases.push((
        "C8 an access token that no header takes",
        Fault::token("access_token", "line\r\nbreak-and-some-more"),
    ));
    cases.push((
        "C10 an ID token that is a list",
        Fault::token("id_token", json!([1])),
    ));
    for (name, fault) in cases {
        let (mut browser, callback) = bob_on_the_way(&bff, "").await;
        idp.misbehave(fault);
        let reply = browser.open(callback.as_str()).await;
        idp.behave();
        check_failed(name, &reply, "400 login_failed", &mut browser).await;
        assert_eq!(browser.login_cookies().len(), 0, "{name}");
    }
}

/// C8: how long a token lives may be missing, a string, or nonsense; none of it is a failure.
#[tokio::test]
async fn the_lifetime_of_a_token_is_read_kindly() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let cases = [
        (Fault::no_token("expires_in"), Value::Null),
        (Fault::token("expires_in", "120"), json!(120)),
        (Fault::token("expires_in", 120.9), json!(120)),
        (Fault::token("expires_in", "soon"), Value::Null),
        (Fault::token("expires_in", -5), Value::Null),
        (Fault::token("expires_in", true), Value::Null),
        (Fault::token("expires_in", Value::Null), Value::Null),
    ];
    for (fault, expected) in cases {
        idp.misbehave(fault.clone());
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        idp.behave();
        let session = browser.session().await;
        assert_eq!(session["token"]["expires_in"], expected, "{fault:?}");
    }
    // So long that the clock could not count it.
    idp.misbehave(Fault::token("expires_in", json!(1e300)));
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let reply = browser.fetch(Fetch::get("/bff/session").csrf()).await;
    assert_eq!(reply.status, 200);
}

/// C9: an empty scope, or one that is no string, is no reason to fail.
#[tokio::test]
async fn an_empty_scope_is_no_failure() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for scope in [json!(""), json!("openid"), json!(7), Value::Null] {
        idp.misbehave(Fault::token("scope", scope));
        bff.browser().sign_in("alice").await;
        idp.behave();
    }
}

/// C12: where UserInfo is asked, its claims are shown; the token travels in the header alone.
#[tokio::test]
async fn userinfo_adds_claims() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::Set(
        Stage::UserInfo,
        "name",
        json!("Alice of UserInfo"),
    ));
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.userinfo", true)
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let session = browser.session().await;
    assert_eq!(session["user"]["name"], "Alice of UserInfo");
    let asked = idp.asked(Endpoint::UserInfo);
    assert_eq!(asked.len(), 1);
    let authorization = asked[0].headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("Bearer "));
    assert_eq!(asked[0].query.iter().count(), 0);
    assert_eq!(asked[0].form.iter().count(), 0);
}

/// C12: UserInfo about somebody else ends the login, and so does one that says nothing usable.
#[tokio::test]
async fn userinfo_of_somebody_else_ends_the_login() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.userinfo", true)
        .start();
    let user_info = Endpoint::UserInfo;
    let answer = |body: &[u8]| Fault::Answer(user_info, 200, "application/json", body.to_vec());
    let cases = [
        (
            "another sub",
            Fault::Set(Stage::UserInfo, "sub", json!("mallory")),
            "400 login_failed",
        ),
        (
            "no sub",
            Fault::Remove(Stage::UserInfo, "sub"),
            "400 login_failed",
        ),
        (
            "sub in a list",
            Fault::Set(Stage::UserInfo, "sub", json!(["bob"])),
            "400 login_failed",
        ),
        ("a list", answer(b"[]"), "400 login_failed"),
        ("nothing", answer(b""), "400 login_failed"),
        (
            "401",
            Fault::Error(user_info, 401, "invalid_token"),
            "400 login_failed",
        ),
        (
            "503",
            Fault::unavailable(user_info),
            "503 provider_unavailable",
        ),
    ];
    for (name, fault, expected) in cases {
        let (mut browser, callback) = bob_on_the_way(&bff, "").await;
        idp.misbehave(fault);
        let reply = browser.open(callback.as_str()).await;
        idp.behave();
        check_failed(name, &reply, expected, &mut browser).await;
    }
}

/// C12: UserInfo is not asked unless the configuration says so.
#[tokio::test]
async fn userinfo_is_left_alone_by_default() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    bff.browser().sign_in("alice").await;
    assert_eq!(idp.count(Endpoint::UserInfo), 0);
}

/// C13: a page that needs the session at once is reached over a page of ours, since a Strict
/// cookie stays behind on the redirect that comes from the provider.
#[tokio::test]
async fn a_page_that_needs_the_session_is_reached() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/reports"  csrf = "origin" },
            &upstream,
        )
        .start();
    let mut browser = bff.browser();
    // Alice is known at the provider, and not here.
    browser.sign_in("alice").await;
    browser.jar.remove(SESSION_COOKIE);
    let visit = browser
        .visit(&format!("{PUBLIC_URL}/reports/7?q=%22%3E&x=1"))
        .await;
    let hop = visit.last();
    assert_eq!((hop.status, hop.url.path()), (200, "/bff/callback"));
    assert!(upstream.seen().is_empty(), "nobody came without a session");
    insta::assert_snapshot!(main_of(hop), @r#"
    <h1>Signed in</h1>
    <meta http-equiv="refresh" content="0;url=/reports/7?q=%22%3E&amp;x=1"><p class="ways"><a class="button" href="/reports/7?q=%22%3E&amp;x=1">Continue</a></p>
    "#);
    for once in [
        "cache-control",
        "content-security-policy",
        "referrer-policy",
    ] {
        assert_eq!(hop.all(once).len(), 1, "{once}");
    }
    assert_eq!(hop.header("cache-control"), Some("no-store"));
    assert_eq!(hop.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(hop.all("set-cookie").len(), 2);
    // The page's refresh is a navigation of our own.
    let link = attribute(&hop.text(), "href");
    let visit = browser.click(&link).await;
    assert_eq!(visit.replies.len(), 1, "{:?}", visit.paths());
    assert_eq!(visit.last().status, 200);
    let seen = upstream.the_one();
    assert_eq!(seen.target, "/reports/7?q=%22%3E&x=1");
    assert!(seen.bearer().is_some());
}

fn attribute(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!("{name}=\"")).unwrap();
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

/// C13: a Lax cookie arrives with the redirect, and a place that needs none is not held up.
#[tokio::test]
async fn no_hop_is_made_where_none_is_needed() {
    for (same_site, place, hops) in [
        ("Strict", "/reports/7", true),
        ("Strict", "/open/7", false),
        ("Strict", "/", false),
        ("Lax", "/reports/7", false),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let upstream = Upstream::start();
        let bff = Bff::with(&idp, &upstream)
            .set("session.cookie.same_site", same_site)
            .route(
                toml::toml! { path = "/reports"  csrf = "origin" },
                &upstream,
            )
            .route(toml::toml! { path = "/open"  auth = "none" }, &upstream)
            .start();
        let mut browser = bff.browser();
        let query = format!("login_hint=alice&return_to={place}");
        let visit = browser.visit(&login_url(&query)).await;
        let callback = visit.reply_of("/bff/callback");
        let expected = if hops { 200 } else { 303 };
        assert_eq!(callback.status, expected, "{same_site} {place}");
        if place.starts_with("/reports") && !hops {
            assert_eq!(visit.last().status, 200, "{:?}", visit.paths());
            assert!(upstream.the_one().bearer().is_some());
        }
    }
}

/// A8: a provider that cannot be asked for its metadata costs the login nothing: the same
/// answer works once it is back.
#[tokio::test]
async fn a_callback_can_be_loaded_again_when_the_provider_is_back() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let start = || {
        Bff::with(&idp, &upstream)
            .variable("KEY", &key)
            .set("session.keys", vec!["env:KEY".to_owned()])
            .start()
    };
    let one = start();
    let mut browser = one.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    idp.misbehave(Fault::unavailable(Endpoint::Discovery));
    let other = start();
    browser.resolve(PUBLIC_URL, other.public_addr);
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    assert_eq!(browser.login_cookies().len(), 1);
    idp.behave();
    // A fetch that began before may still fail; who loads the page once more gets in.
    let back = async {
        loop {
            match browser.open(callback.as_str()).await.status {
                503 => assert_eq!(browser.login_cookies().len(), 1),
                status => return status,
            }
        }
    };
    assert_eq!(soon("the provider to be found again", back).await, 303);
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// C11: no browser that does not come back keeps a login from ending in an hour.
#[tokio::test]
async fn an_answer_that_comes_too_late_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    bff.clock().advance(Duration::from_hours(1));
    let reply = browser.open(callback.as_str()).await;
    assert_eq!(reply.location().unwrap().path(), "/bff/login/resume");
    assert_eq!(idp.count(Endpoint::Token), 0);
    assert_eq!(browser.signed_in().await, None);
}

/// C5: an answer with neither a code nor an error is none.
#[tokio::test]
async fn an_answer_without_a_code_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for code in [None, Some("")] {
        let (mut browser, callback) = bob_on_the_way(&bff, "").await;
        let asked = idp.count(Endpoint::Token);
        let callback = with_parameter(&callback, "code", code);
        let reply = browser.open(callback.as_str()).await;
        check_failed("no code", &reply, "400 login_failed", &mut browser).await;
        assert_eq!(idp.count(Endpoint::Token), asked);
    }
}

/// C7: a code whose call was not answered is used up, so the page does not say to load it again, and
/// offers the login that comes back to the same place.
#[tokio::test]
async fn a_code_that_was_not_answered_is_not_to_be_sent_again() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.timeout", "500ms")
        .start();
    let mut browser = bff.browser();
    let callback = browser
        .callback_url("login_hint=alice&return_to=/orders%3Fpage%3D2")
        .await;
    idp.misbehave_once(Fault::never(Endpoint::Token));
    let reply = browser.open(callback.as_str()).await;
    idp.behave();
    insta::assert_snapshot!(main_of(&reply), @r#"
    <h1>Sign-in unavailable</h1>
    <p>This sign-in could not be finished, and loading the page again does not help: sign in again in a moment. If it lasts, tell the operators of this site the id of this request.</p><p class="ways"><a class="button" href="/bff/login?return_to=%2Forders%3Fpage%3D2">Sign in</a></p><dl><dt>Status</dt><dd>503</dd><dt>Code</dt><dd>provider_unavailable</dd><dt>Request</dt><dd>[id]</dd></dl>
    "#);
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    browser.stand_on(callback.as_str());
    let link = format!("{}&login_hint=alice", sign_in_link(&reply));
    let visit = browser.click(&link).await;
    let again = visit.reply_of("/bff/callback");
    assert_eq!(again.header("location"), Some("/orders?page=2"));
}

/// B10: a login that failed is offered again to the same place, whatever made it fail.
#[tokio::test]
async fn a_failed_login_keeps_the_place() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    type Spoil = fn(&Url) -> Url;
    let cases: [(&str, Spoil); 3] = [
        ("refused", |callback| {
            let callback = with_parameter(callback, "code", None);
            with_parameter(&callback, "error", Some("access_denied"))
        }),
        ("another issuer", |callback| {
            with_parameter(callback, "iss", Some("https://evil.example"))
        }),
        ("no code", |callback| with_parameter(callback, "code", None)),
    ];
    for (name, spoil) in cases {
        let (mut browser, callback) = bob_on_the_way(&bff, "return_to=/app%3Fa%3D1").await;
        let reply = browser.open(spoil(&callback).as_str()).await;
        assert_eq!(refusal(&reply), "400 login_failed", "{name}");
        let kept = "/bff/login?return_to=%2Fapp%3Fa%3D1";
        assert_eq!(sign_in_link(&reply), kept, "{name}");
    }
}

/// C5: by key, a login that was cancelled goes back to where it began and says so in our words, unless
/// that place would begin the login anew.
#[tokio::test]
async fn a_cancelled_login_goes_back_to_where_it_began() {
    let page = ("page", None);
    for ((configured, expected), return_to, error) in [
        (page, "/open/7", "access_denied"),
        (
            ("return_to", Some("/open/7?bff_error=access_denied")),
            "/open/7",
            "access_denied",
        ),
        (
            ("return_to", Some("/open/7?a=1&bff_error=access_denied#row")),
            "/open/7?a=1&bff_error=x%3Cscript%3E#row",
            "access_denied",
        ),
        (
            ("return_to", Some("/both/7?bff_error=access_denied")),
            "/both/7",
            "access_denied",
        ),
        // These would begin a login, answer no navigation, or are not there at all.
        (("return_to", None), "/reports/7", "access_denied"),
        (("return_to", None), "/api/orders", "access_denied"),
        (("return_to", None), "/nowhere", "access_denied"),
        // Other failures are no decision of the user's.
        (("return_to", None), "/open/7", "server_error"),
        (("return_to", None), "/open/7", "ACCESS_DENIED"),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let upstream = Upstream::start();
        let bff = Bff::with(&idp, &upstream)
            .set("provider.access_denied", configured)
            .route(
                toml::toml! { path = "/reports"  csrf = "origin" },
                &upstream,
            )
            .route(toml::toml! { path = "/open"  auth = "none" }, &upstream)
            .route(
                toml::toml! { path = "/both"  auth = "optional"  csrf = "origin" },
                &upstream,
            )
            .start();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", return_to);
        let (mut browser, callback) = bob_on_the_way(&bff, &query.finish()).await;
        let callback = with_parameter(&callback, "code", None);
        let callback = with_parameter(&callback, "error", Some(error));
        let reply = browser.open(callback.as_str()).await;
        let name = format!("{configured} {return_to} {error}");
        if let Some(expected) = expected {
            assert_eq!(reply.status, 303, "{name}");
            assert_eq!(reply.header("location"), Some(expected), "{name}");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
            assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        } else {
            check_failed(&name, &reply, "400 login_failed", &mut browser).await;
        }
        assert_eq!(browser.login_cookies().len(), 0, "{name}");
    }
}
