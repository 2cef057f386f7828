//! `/bff/login`: how a login begins, and who may begin it.

use std::collections::BTreeSet;
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use url::Url;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::Fetch;
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{
    LOGIN_COOKIE, LOOKING_AHEAD, NAVIGATION, SESSION_COOKIE, login_url, parameter, refusal,
    sign_in_link, steady_fields,
};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// B1: 303 to the provider, kept nowhere and told nobody.
#[tokio::test]
async fn a_login_is_a_redirect_that_leaves_no_trace() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let reply = bff.browser().begin_login("").await;
    assert_eq!(reply.status, 303);
    insta::assert_snapshot!(steady_fields(&reply), @r#"
    cache-control: no-store
    content-length: 0
    nel: {"max_age":0}
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000
    "#);
    let location = reply.location().unwrap();
    assert!(location.as_str().starts_with(&idp.url("/authorize?")));
}

/// A2, A3, B9: the code grant with PKCE S256, to our own address, and nothing more.
#[tokio::test]
async fn the_authorization_request_asks_for_a_code() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let location = bff.browser().begin_login("").await.location().unwrap();
    let names: Vec<String> = location
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    insta::assert_snapshot!(names.join(" "), @"response_type client_id redirect_uri scope state nonce code_challenge code_challenge_method");
    let says = |name| parameter(&location, name).unwrap();
    assert_eq!(says("response_type"), "code");
    assert_eq!(says("client_id"), "app");
    assert_eq!(says("redirect_uri"), format!("{PUBLIC_URL}/bff/callback"));
    assert_eq!(says("scope"), "openid profile email offline_access");
    assert_eq!(says("code_challenge_method"), "S256");
    assert_eq!(says("code_challenge").len(), 43, "a SHA-256 in base64url");
}

/// A3, B2: state, nonce and challenge are unpredictable and new each time; a nonce is no state.
#[tokio::test]
async fn every_login_has_its_own_secrets() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut seen = BTreeSet::new();
    let mut positions = vec![BTreeSet::new(); 22];
    for _ in 0..64 {
        let location = bff.browser().begin_login("").await.location().unwrap();
        for name in ["state", "nonce", "code_challenge"] {
            let value = parameter(&location, name).unwrap();
            // 22 characters of base64url hold 128 bits; FAPI takes no nonce above 64.
            assert!((22..=64).contains(&value.len()), "{name}={value}");
            for (position, letter) in positions.iter_mut().zip(value.chars()) {
                position.insert(letter);
            }
            assert!(seen.insert(value), "{name} came twice");
        }
    }
    assert_eq!(seen.len(), 3 * 64);
    let poorest = positions.iter().map(BTreeSet::len).min();
    assert!(
        poorest > Some(32),
        "a position takes few values: {positions:?}"
    );
}

/// A3: the verifier that is sent with the code has 256 bits and is the challenge's own.
#[tokio::test]
async fn the_code_verifier_fits_the_specification() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut verifiers = BTreeSet::new();
    for _ in 0..4 {
        // The provider compares it with the challenge.
        bff.browser().sign_in("alice").await;
        let asked = idp.asked(Endpoint::Token).pop().unwrap();
        let verifier = asked.form.value("code_verifier").unwrap().to_owned();
        assert!((43..=128).contains(&verifier.len()), "{}", verifier.len());
        let unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        assert!(verifier.bytes().all(unreserved));
        verifiers.insert(verifier);
    }
    assert_eq!(verifiers.len(), 4);
}

/// The attributes of a `Set-Cookie` for a login, after its name's prefix and its value.
fn login_cookie_attributes(reply: &Reply) -> String {
    let lines = reply.all("set-cookie");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (pair, attributes) = lines[0].split_once(';').unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    let suffix = name.strip_prefix(LOGIN_COOKIE).unwrap();
    assert_eq!(suffix.len(), 12, "{name}");
    assert!(name.len() + value.len() <= 4096, "{}", value.len());
    format!("{LOGIN_COOKIE}…=…;{attributes}")
}

/// B3, B4: the cookie of a login, to the letter.
#[tokio::test]
async fn the_cookie_of_a_login_is_bound_to_host_and_time() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let reply = browser.begin_login("").await;
    insta::assert_snapshot!(login_cookie_attributes(&reply), @"__Host-Http-bff-login-…=…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=90000");
    assert_eq!(browser.jar.refused(), &[] as &[String]);
    let state = parameter(&reply.location().unwrap(), "state").unwrap();
    let cookie = &browser.login_cookies()[0];
    assert!(!cookie.contains(&state[..12]), "the name shows no state");
}

/// B3: a form post of the provider is accompanied by `SameSite=None` cookies alone.
#[tokio::test]
async fn the_cookie_of_a_login_by_form_post_is_same_site_none() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.response_mode", "form_post")
        .start();
    let mut browser = bff.browser();
    let reply = browser.begin_login("").await;
    insta::assert_snapshot!(login_cookie_attributes(&reply), @"__Host-Http-bff-login-…=…; HttpOnly; SameSite=None; Secure; Path=/; Max-Age=90000");
    assert_eq!(browser.jar.refused(), &[] as &[String]);
    let mode = parameter(&reply.location().unwrap(), "response_mode");
    assert_eq!(mode.as_deref(), Some("form_post"));
}

/// B4: five logins under way; the sixth pushes the oldest out and no other. Of those that are over,
/// five are remembered, without a secret.
#[tokio::test]
async fn the_sixth_login_pushes_the_oldest_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let mut begun = Vec::new();
    for nth in 1..=12_usize {
        let before = browser.login_cookies();
        let reply = browser.begin_login("return_to=/here").await;
        let mut new = browser.login_cookies();
        new.retain(|name| !before.contains(name));
        begun.extend(new);
        let (deleted, set): (Vec<&str>, Vec<&str>) = reply
            .all("set-cookie")
            .into_iter()
            .partition(|line| line.ends_with("Max-Age=0"));
        let pushed_out = nth.saturating_sub(5);
        let forgotten = pushed_out.saturating_sub(5);
        assert_eq!(set.len(), 1 + pushed_out.min(1), "{set:?}");
        assert_eq!(deleted.len(), forgotten.min(1), "{deleted:?}");
        assert_eq!(browser.login_cookies(), begun[pushed_out..]);
        let mut past = browser.past_logins();
        past.sort_unstable();
        let mut expected = begun[forgotten..pushed_out].to_vec();
        expected.sort_unstable();
        assert_eq!(past, expected);
        bff.clock().advance(Duration::from_secs(1));
    }
    assert_eq!(browser.jar.refused(), &[] as &[String]);
}

/// B4: tabs log in at once, and each finishes its own.
#[tokio::test]
async fn two_tabs_finish_their_own_logins() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let first = browser
        .callback_url("login_hint=alice&return_to=/one")
        .await;
    let second = browser
        .callback_url("login_hint=alice&return_to=/two")
        .await;
    for (url, place) in [(second, "/two"), (first, "/one")] {
        let reply = browser.open(url.as_str()).await;
        assert_eq!(reply.header("location"), Some(place));
    }
    assert_eq!(browser.login_cookies(), Vec::<String>::new());
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// B4: a login that takes longer than it may is over, whatever the browser kept; by default that is
/// an hour. It was ten minutes for everybody, too few to register or to find a second factor.
#[tokio::test]
async fn a_login_is_over_after_its_time() {
    let hour = (None, 3600);
    let quarter = (Some("15m"), 900);
    for ((configured, limit), early) in [
        (hour, true),
        (hour, false),
        (quarter, true),
        (quarter, false),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let mut bff = Bff::with(&idp, &Upstream::start());
        if let Some(configured) = configured {
            bff = bff.set("provider.login_timeout", configured);
        }
        let bff = bff.start();
        let (seconds, expected) = if early {
            (limit - 1, "/")
        } else {
            (limit, "/bff/login/resume")
        };
        let mut browser = bff.browser();
        let begun = browser.begin_login("login_hint=alice").await;
        // Kept for a day more, so that whoever comes too late goes on.
        let line = begun.header("set-cookie").unwrap();
        let kept_for = limit + 86_400;
        assert!(line.ends_with(&format!("Max-Age={kept_for}")), "{line}");
        let name = browser.login_cookies().pop().unwrap();
        let kept = browser.jar.cookie(&name).unwrap().clone();
        bff.clock().advance(Duration::from_secs(seconds));
        // Past the browser's own Max-Age: the age inside the cookie counts.
        browser.jar.remove(&name);
        browser.jar.plant(crate::support::cookie_jar::Cookie {
            expires_at: None,
            ..kept
        });
        let authorize = begun.location().unwrap();
        let callback = browser.open(authorize.as_str()).await.location().unwrap();
        let reply = browser.open(callback.as_str()).await;
        let place = reply.location().unwrap();
        assert_eq!(place.path(), expected, "after {seconds} s");
        let bought = usize::from(early);
        assert_eq!(idp.count(Endpoint::Token), bought, "after {seconds} s");
    }
}

/// B4: the server keeps nothing for a login: another process with the same key finishes it.
#[tokio::test]
async fn a_login_lives_in_the_browser_alone() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let start = || {
        Bff::with(&idp, &upstream)
            .variable("KEY", &key)
            .set("session.keys", vec!["env:KEY".to_owned()])
            .start()
    };
    let (one, other) = (start(), start());
    let mut browser = one.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    browser.resolve(PUBLIC_URL, other.public_addr);
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// B4: logins that nobody finishes leave no session and no metric of their own behind.
#[tokio::test]
async fn abandoned_logins_leave_nothing_behind() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    // A series is a name with its labels; what it counts comes after.
    let series = |metrics: &str| -> BTreeSet<String> {
        let names = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    let mut known = Vec::new();
    // What it says of its provider's keys comes in its own time.
    bff.ready().await;
    for number in 0..500 {
        let query = format!("login_hint=person{number}&return_to=/{number}");
        assert_eq!(bff.browser().begin_login(&query).await.status, 303);
        if number % 250 == 1 {
            known.push(series(&bff.metrics().unwrap()));
        }
    }
    let metrics = bff.metrics().unwrap();
    let sessions: Vec<&str> = metrics
        .lines()
        .filter(|line| line.split([' ', '{']).next() == Some("bff_sessions"))
        .collect();
    assert_eq!(sessions.len(), 1, "{metrics}");
    assert!(sessions[0].ends_with(" 0"), "{sessions:?}");
    let grown: Vec<_> = known[1].difference(&known[0]).collect();
    // Of 250 logins, which may be the first ones that something is said of.
    assert!(grown.len() < 100, "a series for each login: {grown:#?}");
    assert!(!metrics.contains("person"), "{metrics}");
}

/// B5: beginning a login touches no session, and neither does one that fails.
#[tokio::test]
async fn a_login_that_begins_touches_no_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let cookie = browser.session_cookie();
    let reply = browser.begin_login("login_hint=bob").await;
    assert!(
        reply
            .all("set-cookie")
            .iter()
            .all(|line| !line.starts_with(&format!("{SESSION_COOKIE}="))),
        "the session cookie was touched"
    );
    let failed = format!("{PUBLIC_URL}/bff/callback?code=x&state=not-ours");
    let reply = browser.open(&failed).await;
    assert_eq!(reply.location().unwrap().path(), "/bff/login/resume");
    assert_eq!(browser.session_cookie(), cookie);
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// B6: another site's link ends at a page of ours, which asks.
#[tokio::test]
async fn another_site_cannot_begin_a_login_by_itself() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for page in ["https://evil.example/", "https://sibling.app.example/"] {
        let mut browser = bff.browser();
        browser.stand_on(page);
        let visit = browser
            .click(&login_url(
                "return_to=/orders%3Fx%3D%22%3E&login_hint=alice&scope=admin",
            ))
            .await;
        let asks = visit.last();
        assert_eq!(asks.status, 200, "{page}");
        assert_eq!(asks.header("set-cookie"), None, "{page}");
        assert_eq!(asks.header("cache-control"), Some("no-store"));
        let policy = asks.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let text = asks.text();
        let main = text.split_once("<main>").unwrap().1;
        let main = main.split_once("</main>").unwrap().0;
        insta::allow_duplicates! {
            insta::assert_snapshot!(main.trim(), @r#"
            <h1>Sign in</h1>
            <p>Another site sent you here to sign in.</p><p class="ways"><a class="button" href="/bff/login?return_to=%2Forders%3Fx%3D%2522%253E&amp;login_hint=alice">Continue to sign in</a></p>
            "#);
        }
        // The person presses the button: now the login is our page's own.
        let link = main.split_once("href=\"").unwrap().1;
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        let visit = browser.click(&link).await;
        let callback = visit.reply_of("/bff/callback");
        assert_eq!(callback.status, 303, "{page}");
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    }
}

/// B6: the person at the address bar, and our own pages, are asked nothing.
#[tokio::test]
async fn our_own_pages_begin_a_login_at_once() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    assert_eq!(browser.begin_login("").await.status, 303);
    browser.stand_on(PUBLIC_URL);
    let visit = browser.click("/bff/login?login_hint=alice").await;
    assert_eq!(visit.reply_of("/bff/login").status, 303);
}

/// B7: with `third_party_login` a link or a form of another site begins a login, at our
/// provider, with the hint passed on and nothing else of what it says.
#[tokio::test]
async fn a_third_party_begins_a_login() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.third_party_login", true)
        .start();
    let issuer = idp.issuer.as_str();
    let parameters = [
        ("iss", issuer),
        ("login_hint", "alice"),
        ("target_link_uri", "https://app.example/orders?page=2"),
        ("scope", "admin"),
        ("redirect_uri", "https://evil.example/"),
        ("prompt", "none"),
        ("return_to", "/elsewhere"),
    ];
    let mut link = Url::parse(&login_url("")).unwrap();
    link.query_pairs_mut().clear().extend_pairs(parameters);
    for posts in [false, true] {
        let mut browser = bff.browser();
        browser.stand_on("https://portal.example/");
        let visit = if posts {
            browser.submit(&login_url(""), &parameters).await
        } else {
            browser.click(link.as_str()).await
        };
        // First a step of our own site, on which nothing of the stranger's words is left.
        let step = visit.last().clone();
        assert_eq!(
            (step.status, visit.replies.len()),
            (200, 1),
            "posts: {posts}"
        );
        assert_eq!(step.header("set-cookie"), None);
        let visit = browser.go_on(&step).await;
        let location = visit.reply_of("/bff/login").location().unwrap();
        let says = |name| parameter(&location, name);
        assert_eq!(says("login_hint").as_deref(), Some("alice"));
        assert_eq!(
            says("scope").as_deref(),
            Some("openid profile email offline_access")
        );
        assert_eq!(says("prompt"), None);
        let callback = visit.reply_of("/bff/callback");
        assert_eq!(callback.header("location"), Some("/orders?page=2"));
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    }
}

/// B7: a third party may name no other issuer, and no place but ours.
#[tokio::test]
async fn a_third_party_may_not_say_more() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.third_party_login", true)
        .start();
    let issuer = idp.issuer.as_str();
    let slashed = format!("{issuer}/");
    let cases = [
        (
            "another issuer",
            vec![("iss", "https://evil.example")],
            "400 login_failed",
        ),
        (
            "nearly ours",
            vec![("iss", slashed.as_str())],
            "400 login_failed",
        ),
        (
            "ours and another",
            vec![("iss", issuer), ("iss", "https://evil.example")],
            "400 login_failed",
        ),
        (
            "elsewhere",
            vec![
                ("iss", issuer),
                ("target_link_uri", "https://evil.example/"),
            ],
            "400 bad_return_to",
        ),
        (
            "a network path",
            vec![("iss", issuer), ("target_link_uri", "//evil.example/")],
            "400 bad_return_to",
        ),
    ];
    for (name, parameters, expected) in cases {
        let mut link = Url::parse(&login_url("")).unwrap();
        link.query_pairs_mut().clear().extend_pairs(&parameters);
        for posts in [false, true] {
            let mut browser = bff.browser();
            browser.stand_on("https://portal.example/");
            let visit = if posts {
                browser.submit(&login_url(""), &parameters).await
            } else {
                browser.click(link.as_str()).await
            };
            assert_eq!(refusal(visit.last()), expected, "{name}, posts: {posts}");
            assert_eq!(visit.last().header("set-cookie"), None, "{name}");
        }
    }
}

/// B7: a form that names no issuer begins nothing.
#[tokio::test]
async fn a_third_party_must_name_the_issuer() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.third_party_login", true)
        .start();
    for fields in [&[][..], &[("target_link_uri", "/orders")], &[("iss", "")]] {
        let mut browser = bff.browser();
        browser.stand_on("https://portal.example/");
        let visit = browser.submit(&login_url(""), fields).await;
        assert_eq!(refusal(visit.last()), "400 login_failed", "{fields:?}");
        assert_eq!(visit.last().header("set-cookie"), None, "{fields:?}");
    }
}

/// B7: where it is not offered, a form begins nothing and `iss` makes no difference.
#[tokio::test]
async fn a_third_party_begins_nothing_unless_it_may() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.stand_on("https://portal.example/");
    let visit = browser
        .submit(&login_url(""), &[("iss", &idp.issuer)])
        .await;
    assert_eq!(refusal(visit.last()), "405 method_not_allowed");
    assert_eq!(visit.last().header("allow"), Some("GET"));
    browser.stand_on("https://portal.example/");
    let visit = browser
        .click(&login_url(&format!("iss={}", idp.issuer)))
        .await;
    assert_eq!(visit.last().status, 200, "the page that asks");
    assert_eq!(visit.last().header("set-cookie"), None);
}

/// B8: what may be passed on is passed on.
#[tokio::test]
async fn five_parameters_are_passed_on() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let cases = [
        ("prompt", "login"),
        ("prompt", "none"),
        ("login_hint", "a+b&c=d@example.com"),
        ("ui_locales", "de-CH fr"),
        ("acr_values", "urn:mfa pwd"),
        ("max_age", "0"),
        ("max_age", "3600"),
    ];
    for (name, value) in cases {
        let mut url = Url::parse(&login_url("")).unwrap();
        url.query_pairs_mut().clear().append_pair(name, value);
        let reply = bff.browser().open(url.as_str()).await;
        let location = reply.location().unwrap();
        assert_eq!(parameter(&location, name).as_deref(), Some(value));
    }
}

/// B8: of the parameters that the operator lists, a link carries the values that are listed, also from
/// the page that asks first; the rest, and one that comes twice, begin nothing. None could be listed.
#[tokio::test]
async fn a_link_carries_what_the_operator_lists() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set(
            "provider.login_params.kc_idp_hint",
            vec!["google", "saml & co"],
        )
        .set("provider.login_params.organization", "*")
        .set("provider.login_params.display", "popup")
        .start();
    let longest = "ü".repeat(200);
    for (name, value) in [
        ("kc_idp_hint", "google"),
        ("kc_idp_hint", "saml & co"),
        ("organization", "acme & sons"),
        ("organization", ""),
        ("organization", &longest),
        ("display", "popup"),
    ] {
        let mut url = Url::parse(&login_url("")).unwrap();
        url.query_pairs_mut().clear().append_pair(name, value);
        let mut browser = bff.browser();
        let location = browser.open(url.as_str()).await.location().unwrap();
        assert_eq!(parameter(&location, name).as_deref(), Some(value));
        browser.stand_on("https://portal.example/");
        let asked = browser.click(url.as_str()).await;
        let query = url.query().unwrap();
        assert!(asked.last().text().contains(query), "{query}");
    }
    let too_long = format!("organization={}", "a".repeat(201));
    for query in [
        "kc_idp_hint=github",
        "kc_idp_hint=Google",
        "kc_idp_hint=",
        "kc_idp_hint=*",
        "kc_idp_hint=google&kc_idp_hint=google",
        "kc_idp_hint=google&kc_idp_hint=saml+%26+co",
        "organization=acme&organization=globex",
        "organization=a%0d%0ab",
        "display=page",
        &too_long,
    ] {
        let reply = bff.browser().begin_login(query).await;
        assert_eq!(refusal(&reply), "400 bad_request", "{query}");
        assert_eq!(reply.header("set-cookie"), None, "{query}");
        assert_eq!(reply.header("location"), None, "{query}");
    }
    let unlisted = bff.browser().begin_login("connection=github").await;
    let location = unlisted.location().unwrap();
    assert_eq!(parameter(&location, "connection"), None);
}

/// B8: what a link says beside that changes nothing, least of all what is ours.
#[tokio::test]
async fn a_link_overrides_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let ours = [
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "response_type",
        "response_mode",
        "request",
        "request_uri",
        "client_secret",
        "client_assertion",
        "claims",
        "resource",
        "display",
        "id_token_hint",
        "Prompt",
        "anything",
    ];
    let plain = bff.browser().begin_login("").await.location().unwrap();
    let steady = |url: &Url| -> Vec<(String, String)> {
        url.query_pairs()
            .into_owned()
            .map(|(name, value)| match name.as_str() {
                "state" | "nonce" | "code_challenge" => (name, "…".to_owned()),
                _ => (name, value),
            })
            .collect()
    };
    for name in ours {
        let reply = bff.browser().begin_login(&format!("{name}=evil")).await;
        let location = reply.location().unwrap();
        assert_eq!(steady(&location), steady(&plain), "{name}");
        assert!(!location.as_str().contains("evil"), "{name}");
    }
}

/// B8: what the operator fixed, a link does not change, but for `prompt`: a page that asked in silence
/// met a person with a form.
#[tokio::test]
async fn a_link_does_not_override_the_operator() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.authorize_params.prompt", "consent")
        .set("provider.authorize_params.audience", "https://api.example")
        .start();
    for (query, prompt) in [
        ("audience=x", "consent"),
        ("prompt=none&audience=x", "none"),
        ("prompt=login", "login"),
    ] {
        let reply = bff.browser().begin_login(query).await;
        let location = reply.location().unwrap();
        let sent = parameter(&location, "prompt");
        assert_eq!(sent.as_deref(), Some(prompt), "{query}");
        assert_eq!(
            parameter(&location, "audience").as_deref(),
            Some("https://api.example")
        );
    }
}

/// OIDC Core §3.1.2.1: a login that asks in silence says whose session is meant, where the ID token may
/// travel and is not too long for an address; no other login does.
#[tokio::test]
async fn a_silent_login_says_whose_session_is_meant() {
    let idp = Idp::start(&nine_o_clock());
    let cases = [
        ("id_token", "prompt=none", 0, true),
        ("id_token", "prompt=none", 4000, false),
        ("id_token", "prompt=login", 0, false),
        ("id_token", "", 0, false),
        ("none", "prompt=none", 0, false),
    ];
    for (hint, query, roles, expected) in cases {
        let bff = Bff::with(&idp, &Upstream::start())
            .set("provider.logout_hint", hint)
            .start();
        let mut browser = bff.browser();
        let reply = browser.begin_login(query).await;
        let nobody = parameter(&reply.location().unwrap(), "id_token_hint");
        assert_eq!(nobody, None, "{query}: nobody is signed in");
        idp.misbehave(Fault::claim("roles", "r".repeat(roles)));
        browser.sign_in("alice").await;
        idp.behave();
        let issued = idp.issued_secrets();
        let (_, last) = issued
            .iter()
            .rfind(|(kind, _)| *kind == "ID token")
            .unwrap();
        let reply = browser.begin_login(query).await;
        let sent = parameter(&reply.location().unwrap(), "id_token_hint");
        let name = format!("{hint}, {query}, {roles} octets more");
        assert_eq!(sent.as_ref(), expected.then_some(last), "{name}");
    }
}

/// B8: a parameter of ours that is repeated or malformed begins nothing.
#[tokio::test]
async fn a_malformed_login_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let long = format!("login_hint={}", "a".repeat(513));
    for query in [
        "prompt=login&prompt=none",
        "max_age=1&max_age=2",
        "max_age=soon",
        "max_age=-1",
        "max_age=99999999999",
        "login_hint=a%0d%0ab",
        "return_to=/a&return_to=/b",
        "return_to=/a&returnUrl=/b",
        &long,
    ] {
        let reply = bff.browser().begin_login(query).await;
        assert_eq!(refusal(&reply), "400 bad_request", "{query}");
        assert_eq!(reply.header("set-cookie"), None, "{query}");
        assert_eq!(reply.header("location"), None, "{query}");
    }
}

/// B9: our address at the provider comes from the configuration, whatever a request says.
#[tokio::test]
async fn no_header_moves_the_redirect_uri() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for field in [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Original-Host", "evil.example"),
        ("Forwarded", "host=evil.example;proto=http"),
        ("Host", "app.example"),
    ] {
        let reply = bff
            .browser()
            .curl("GET", &login_url(""), &[field], None)
            .await;
        let location = reply.location().unwrap();
        assert_eq!(
            parameter(&location, "redirect_uri"),
            Some(format!("{PUBLIC_URL}/bff/callback")),
            "{field:?}"
        );
        assert!(!location.as_str().contains("evil"), "{field:?}");
    }
    let fields = [("Host", "evil.example")];
    let reply = bff
        .browser()
        .curl("GET", &login_url(""), &fields, None)
        .await;
    assert_eq!(refusal(&reply), "404 no_route");
    assert_eq!(reply.header("set-cookie"), None);
}

/// B10: a script that fetches the login is told to navigate.
#[tokio::test]
async fn a_fetched_login_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    browser.stand_on(PUBLIC_URL);
    for fetch in [
        Fetch::get("/bff/login"),
        Fetch::get("/bff/login").csrf(),
        Fetch::image("/bff/login"),
    ] {
        let reply = browser.fetch(fetch).await;
        assert_eq!(refusal(&reply), "400 not_a_navigation");
        assert_eq!(reply.header("set-cookie"), None);
    }
    // Without Fetch Metadata it counts as a navigation: scripts, curl, old browsers.
    let reply = bff.browser().curl("GET", &login_url(""), &[], None).await;
    assert_eq!(reply.status, 303);
    let mut old = bff.browser().without_fetch_metadata();
    assert_eq!(old.begin_login("").await.status, 303);
}

/// B10: an API call without a session is told where to sign in, and never redirected.
#[tokio::test]
async fn an_api_call_is_told_where_to_sign_in() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.stand_on(PUBLIC_URL);
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    let mut problem = reply.json();
    problem["request_id"].take();
    insta::assert_snapshot!(format!("{} {problem}", reply.status), @r#"401 {"code":"login_required","detail":"You need to sign in first.","login_url":"/bff/login","request_id":null,"status":401,"title":"Sign-in required","type":"urn:bff:problem:login_required"}"#);
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(reply.header("location"), None);
    // Not even with an Accept that a page would send.
    let reply = browser
        .fetch(
            Fetch::get("/api/orders")
                .csrf()
                .header("Accept", "text/html"),
        )
        .await;
    assert_eq!(reply.status, 401);
    assert!(upstream.seen().is_empty());
}

/// B10: a navigation to a page that needs a session begins the login by itself.
#[tokio::test]
async fn a_page_that_needs_a_session_begins_the_login() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/reports"  csrf = "origin" },
            &upstream,
        )
        .start();
    let mut browser = bff.browser();
    // A link of another site works too: no login is told from outside what to do.
    browser.stand_on("https://mail.example/");
    let visit = browser
        .click(&format!("{PUBLIC_URL}/reports/7?full=1"))
        .await;
    let step = visit.reply_of("/reports/7").clone();
    let visit = browser.go_on(&step).await;
    assert_eq!(visit.reply_of("/reports/7").status, 303);
    let location = visit.reply_of("/reports/7").location().unwrap();
    assert!(location.as_str().starts_with(&idp.url("/authorize?")));
    assert!(upstream.seen().is_empty());
    // What is no navigation to a document is told instead.
    browser.stand_on(PUBLIC_URL);
    for fetch in [
        Fetch::get("/reports/7"),
        Fetch::image("/reports/7"),
        Fetch::frame("/reports/7"),
        Fetch::new("POST", "/reports/7"),
    ] {
        let reply = browser.fetch(fetch.clone()).await;
        assert_eq!(refusal(&reply), "401 login_required", "{fetch:?}");
    }
}

/// A product with a page route, `/reports`.
fn with_reports<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let reports = toml::toml! { path = "/reports"  csrf = "origin" };
    Bff::with(idp, upstream).route(reports, upstream)
}

/// B10: what a browser fetches ahead begins no login, neither at `/bff/login` nor at a page that
/// needs a session, and the callback is not used up by it. It used to begin one, and a fifth pushed
/// out the login that a person had under way.
#[tokio::test]
async fn what_is_fetched_ahead_begins_no_login() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_reports(&idp, &upstream).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    let pages = [
        login_url(""),
        format!("{PUBLIC_URL}/reports/7"),
        callback.to_string(),
    ];
    for ahead in LOOKING_AHEAD {
        for page in &pages {
            for site in ["same-origin", "cross-site", "none"] {
                let mut fields = NAVIGATION.to_vec();
                fields[0].1 = site;
                fields.push(ahead);
                let reply = browser.curl("GET", page, &fields, None).await;
                assert_eq!(refusal(&reply), "403 prefetch_refused", "{ahead:?} {page}");
                assert_eq!(reply.header("cache-control"), Some("no-store"));
                assert_eq!(reply.header("set-cookie"), None, "{ahead:?} {page}");
                assert_eq!(reply.header("location"), None, "{ahead:?} {page}");
            }
        }
    }
    assert_eq!(idp.count(Endpoint::Token), 0);
    assert!(upstream.seen().is_empty());
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
    // In a session the page is the upstream's own affair.
    let mut fields = NAVIGATION.to_vec();
    fields.push(LOOKING_AHEAD[0]);
    let page = format!("{PUBLIC_URL}/reports/7");
    assert_eq!(browser.curl("GET", &page, &fields, None).await.status, 200);
}

/// C1: no script and no image uses a callback up, whoever's page it is on.
#[tokio::test]
async fn a_callback_that_is_fetched_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    for page in [PUBLIC_URL, "https://evil.example/"] {
        browser.stand_on(page);
        let target = callback.as_str();
        for fetch in [
            Fetch::get(target).credentials(),
            Fetch::get(target).no_cors(),
            Fetch::image(target),
        ] {
            let reply = browser.fetch(fetch).await;
            assert_eq!(refusal(&reply), "400 not_a_navigation", "{page}");
            assert_eq!(reply.header("set-cookie"), None, "{page}");
        }
    }
    assert_eq!(idp.count(Endpoint::Token), 0);
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
}

/// B10: behind a service worker that passes everything on, a navigation has no destination, and in
/// some browsers another mode; it begins a login like any other. It was answered with a page.
#[tokio::test]
async fn a_navigation_that_a_service_worker_passes_on_begins_the_login() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_reports(&idp, &upstream).start();
    for mode in ["navigate", "same-origin"] {
        let fields = [
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", mode),
            ("Sec-Fetch-Dest", "empty"),
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ];
        for page in [login_url(""), format!("{PUBLIC_URL}/reports/7")] {
            let reply = bff.browser().curl("GET", &page, &fields, None).await;
            assert_eq!(reply.status, 303, "{mode} {page}");
            let location = reply.location().unwrap();
            assert!(location.as_str().starts_with(&idp.url("/authorize?")));
        }
    }
}

/// B5, G4: a link of another site arrives without the Strict cookie; it comes again as a step of our
/// own, and the session that was there is the one that is used. It began a second session, beside the
/// first one that lived on, and was refused where a user may have but one.
#[tokio::test]
async fn a_link_of_another_site_makes_no_second_session() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_reports(&idp, &upstream)
        .set("session.max_per_user", 1)
        .set("session.on_limit", "refuse")
        .start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let before = browser.session().await["session"]["tag"].clone();
    browser.stand_on("https://mail.example/inbox");
    let visit = browser
        .click(&format!("{PUBLIC_URL}/reports/7?q=%22%3E&x=1"))
        .await;
    let step = visit.last().clone();
    assert_eq!((step.status, visit.replies.len()), (200, 1));
    assert_eq!(step.header("cache-control"), Some("no-store"));
    assert_eq!(step.header("set-cookie"), None);
    assert!(upstream.seen().is_empty(), "nobody came without a session");
    let visit = browser.go_on(&step).await;
    assert_eq!((visit.last().status, visit.replies.len()), (200, 1));
    let seen = upstream.the_one();
    assert_eq!(seen.target, "/reports/7?q=%22%3E&x=1");
    assert!(seen.bearer().is_some());
    assert_eq!(browser.session().await["session"]["tag"], before);
    assert_eq!(idp.count(Endpoint::Token), 1, "no second login");
}

/// B5: whoever has no session after all signs in after that step, once; where the cookie would have
/// come along, there is none.
#[tokio::test]
async fn a_step_of_our_own_is_taken_once_and_where_it_helps() {
    for (same_site, site, steps) in [
        ("Strict", "https://mail.example/", true),
        ("Strict", "https://sibling.app.example/", false),
        ("Lax", "https://mail.example/", false),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let upstream = Upstream::start();
        let bff = with_reports(&idp, &upstream)
            .set("session.cookie.same_site", same_site)
            .start();
        let mut browser = bff.browser();
        browser.stand_on(site);
        let mut visit = browser.click(&format!("{PUBLIC_URL}/reports/7")).await;
        if steps {
            let step = visit.last().clone();
            visit = browser.go_on(&step).await;
        }
        let begun = visit.reply_of("/reports/7");
        assert_eq!(begun.status, 303, "{same_site} {site}");
        assert_eq!(browser.login_cookies().len(), 1, "{same_site} {site}");
    }
}

/// B7, G4: a third party's login takes the place of the session that the browser had, by a link and by
/// a form. The Strict cookie stayed behind, and the session lived on beside the new one.
#[tokio::test]
async fn a_third_partys_login_takes_the_place_of_the_session() {
    for (same_site, posts) in [("Strict", false), ("Strict", true), ("Lax", true)] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start())
            .set("provider.third_party_login", true)
            .set("session.cookie.same_site", same_site)
            .start();
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let old = browser.jar.clone();
        browser.stand_on("https://portal.example/");
        let parameters = [("iss", idp.issuer.as_str()), ("login_hint", "bob")];
        let mut link = Url::parse(&login_url("")).unwrap();
        link.query_pairs_mut().clear().extend_pairs(parameters);
        let visit = if posts {
            browser.submit(&login_url(""), &parameters).await
        } else {
            browser.click(link.as_str()).await
        };
        let step = visit.last().clone();
        browser.go_on(&step).await;
        assert_eq!(
            browser.signed_in().await.as_deref(),
            Some("bob"),
            "{same_site}"
        );
        browser.jar = old;
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(
            refusal(&reply),
            "401 session_superseded",
            "{same_site} {posts}"
        );
    }
}

/// B6, B7: another site's script begins no login, so it pushes none out. Five of its posts did.
#[tokio::test]
async fn a_third_partys_script_begins_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.third_party_login", true)
        .start();
    let mut browser = bff.browser();
    let callback = browser.callback_url("login_hint=alice").await;
    browser.stand_on("https://evil.example/");
    let fields = format!("iss={}", idp.issuer);
    let link = login_url(&fields);
    for _ in 0..5 {
        let posted = Fetch::new("POST", &login_url(""))
            .no_cors()
            .body("application/x-www-form-urlencoded", fields.clone());
        for fetch in [posted, Fetch::image(&link), Fetch::get(&link).no_cors()] {
            let reply = browser.fetch(fetch).await;
            assert_eq!(refusal(&reply), "400 not_a_navigation");
            assert_eq!(reply.header("set-cookie"), None);
        }
    }
    assert_eq!(browser.open(callback.as_str()).await.status, 303);
}

/// B10: the page that offers a login comes back to where the person was: at a page in a frame, after a
/// form that was sent without a session, while the provider is away. It forgot the place.
#[tokio::test]
async fn the_link_to_sign_in_keeps_the_place() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = with_reports(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.stand_on(&format!("{PUBLIC_URL}/reports/7?page=2"));
    let framed = browser.fetch(Fetch::frame("/reports/8?full=1")).await;
    assert_eq!(refusal(&framed), "401 login_required");
    let kept = "/bff/login?return_to=%2Freports%2F8%3Ffull%3D1";
    assert_eq!(sign_in_link(&framed), kept);
    let sent = browser.submit("/reports/9", &[("a", "1")]).await;
    assert_eq!(refusal(sent.last()), "401 login_required");
    // The page that sent it: what was sent is lost.
    let kept = "/bff/login?return_to=%2Freports%2F7%3Fpage%3D2";
    assert_eq!(sign_in_link(sent.last()), kept);
    idp.misbehave(Fault::unavailable(Endpoint::Discovery));
    let bff = with_reports(&idp, &upstream).start();
    for target in [
        "/reports/8?full=1".to_owned(),
        "/bff/login?login_hint=x&return_to=/reports/8%3Ffull%3D1".to_owned(),
    ] {
        let reply = bff.browser().open(&format!("{PUBLIC_URL}{target}")).await;
        assert_eq!(refusal(&reply), "503 provider_unavailable", "{target}");
        let kept = "/bff/login?return_to=%2Freports%2F8%3Ffull%3D1";
        assert_eq!(sign_in_link(&reply), kept, "{target}");
    }
}
