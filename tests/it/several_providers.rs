//! One site with several providers: each signs people in at addresses of its own, and what comes of one is
//! never taken for another's (DESIGN §7, RFC 9700 §4.4).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bff::clock::ManualClock;
use bff::dev::provider::client::Proof;
use bff::dev::provider::endpoints::Endpoint;
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, HOST};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::journey::{
    SESSION_COOKIE, login_url, parameter, refusal, sign_in_link, with_parameter,
};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

const NAMES: [&str; 3] = ["corp", "social", "guest"];

/// Past the moment at which a token is renewed, and past its end.
const DUE: Duration = Duration::from_secs(301);

/// Three providers, all of which know alice and bob by the same names, and a site that offers them.
struct Cast {
    clock: Arc<ManualClock>,
    idps: [Idp; 3],
    upstream: Upstream,
}

impl Cast {
    fn new() -> Self {
        let clock = nine_o_clock();
        Self {
            idps: NAMES.map(|name| Idp::start(&clock).called(name)),
            upstream: Upstream::start(),
            clock,
        }
    }

    fn idp(&self, name: &str) -> &Idp {
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        &self.idps[at]
    }

    fn site(&self) -> BffBuilder<'_> {
        let bff = Bff::with(&self.idps[0], &self.upstream).set("providers.corp.label", "Staff");
        NAMES.into_iter().fold(bff, |bff, name| {
            let idp = self.idp(name);
            let secret = format!("SECRET_{}", name.to_uppercase());
            let key = |key: &str| format!("providers.{name}.{key}");
            bff.set(&key("issuer"), idp.issuer.as_str())
                .set(&key("client_id"), CLIENT_ID)
                .set(&key("client_secret"), format!("env:{secret}"))
                .variable(&secret, &idp.client_secret)
        })
    }

    /// A browser of a person of their own: hosts of one name share cookies, whatever their ports.
    fn browser(&self, bff: &Bff<'_>) -> Browser {
        let mut browser = bff.browser();
        for idp in &self.idps {
            browser.resolve(&idp.issuer, idp.addr());
        }
        browser
    }

    async fn signed_in(&self, bff: &Bff<'_>, provider: &str, user: &str) -> Browser {
        let mut browser = self.browser(bff);
        sign_in(&mut browser, provider, user).await;
        browser
    }

    fn code_exchanges(&self) -> usize {
        let of = |idp: &Idp| idp.count(Endpoint::Token) - idp.refreshes();
        self.idps.iter().map(of).sum()
    }

    /// How often each was asked to renew a token.
    fn refreshes(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.idps[at].refreshes())
    }
}

async fn sign_in(browser: &mut Browser, provider: &str, user: &str) {
    let link = login_url(&format!("provider={provider}&login_hint={user}"));
    let visit = browser.visit(&link).await;
    let callback = format!("/bff/callback/{provider}");
    assert_eq!(visit.reply_of(&callback).status, 303, "{visit:?}");
    browser.stand_on(PUBLIC_URL);
}

async fn call(browser: &mut Browser) -> Reply {
    browser.fetch(Fetch::get("/api/orders").csrf()).await
}

async fn tell(bff: &Bff<'_>, address: &str, logout_token: &str) -> Reply {
    Call::bare("POST", address)
        .header("Host", HOST)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("logout_token={logout_token}"))
        .send(bff.public_addr)
        .await
}

async fn framed(browser: &mut Browser, address: &str, issuer: &str, sid: &str) -> Reply {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let query = format!("iss={}&sid={}", encoded(issuer), encoded(sid));
    browser.stand_on(issuer);
    browser
        .fetch(Fetch::frame(&format!("{PUBLIC_URL}{address}?{query}")))
        .await
}

fn at(url: &Url, path: &str) -> Url {
    let mut moved = url.clone();
    moved.set_path(path);
    moved
}

/// Another configuration, taken into use while all is served.
async fn reload(bff: &Bff<'_>, path: &Path, toml: &str) {
    std::fs::write(path, toml).unwrap();
    let reply = bff.administer("POST", "/reload").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// DESIGN §7: sign in by each; `/bff/session` names it; refresh, step-up, silent look, back channel, front
/// channel and logout go to the one that signed in.
#[tokio::test]
async fn each_provider_keeps_its_own_sessions() {
    let cast = Cast::new();
    let bff = cast.site().start();
    for (index, name) in NAMES.into_iter().enumerate() {
        let own = cast.idp(name);
        let mut alice = cast.signed_in(&bff, name, "alice").await;
        assert_eq!(alice.session().await["provider"], name);
        let mut expected = cast.refreshes();
        expected[index] += 1;
        cast.clock.advance(DUE);
        assert_eq!(call(&mut alice).await.status, 200, "{name}");
        assert_eq!(cast.refreshes(), expected, "{name}");
        for query in ["acr_values=mfa", "prompt=none"] {
            let sent = alice.begin_login(query).await.location().unwrap();
            assert!(
                sent.as_str().starts_with(&own.issuer),
                "{name} {query}: {sent}"
            );
        }
        let sid = own.sids("alice")[0].clone();
        let address = format!("/bff/backchannel-logout/{name}");
        let told = tell(&bff, &address, &own.logout_token(None, Some(&sid))).await;
        assert_eq!(told.status, 200, "{name}");
        assert_eq!(alice.session().await["ended"], "provider_logout", "{name}");

        let mut bob = cast.signed_in(&bff, name, "bob").await;
        let sid = own.sids("bob")[0].clone();
        let address = format!("/bff/frontchannel-logout/{name}");
        let reply = framed(&mut bob, &address, &own.issuer, &sid).await;
        assert_eq!(reply.status, 200, "{name}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.ends_with(&own.issuer), "{name}: {policy}");
        assert_eq!(bob.session().await["ended"], "provider_logout", "{name}");

        let mut carol = cast.signed_in(&bff, name, "alice").await;
        let count = |idp: &Idp| idp.count(Endpoint::EndSession);
        let before = [0, 1, 2].map(|at| count(&cast.idps[at]));
        let link = carol.session().await["logout_url"].clone();
        carol.click(link.as_str().unwrap()).await;
        assert_eq!(carol.signed_in().await, None);
        let mut expected = before;
        expected[index] += 1;
        assert_eq!(
            [0, 1, 2].map(|at| count(&cast.idps[at])),
            expected,
            "{name}"
        );
    }
}

/// RFC 9700 §4.4, C3, C4: over all pairs, a code, `iss`, `state` and ID token of one gets nowhere at the
/// address of another: no code is exchanged, nobody is signed in, and the login goes on where it belongs.
#[tokio::test]
async fn an_answer_is_never_taken_for_anothers() {
    let cast = Cast::new();
    let bff = cast.site().start();
    for from in NAMES {
        for other in NAMES.into_iter().filter(|other| *other != from) {
            let case = format!("{from} at {other}");
            let elsewhere = format!("/bff/callback/{other}");
            let mut alice = cast.browser(&bff);
            let answer = alice
                .callback_url(&format!("provider={from}&login_hint=alice"))
                .await;
            let state = parameter(&answer, "state").unwrap();
            assert_eq!(answer.path(), format!("/bff/callback/{from}"));
            let others = alice.begin_login(&format!("provider={other}")).await;
            let others = parameter(&others.location().unwrap(), "state").unwrap();
            let issuer = cast.idp(other).issuer.as_str();
            let before = cast.code_exchanges();
            for (what, url) in [
                ("all of it", at(&answer, &elsewhere)),
                (
                    "with the other's iss",
                    at(&with_parameter(&answer, "iss", Some(issuer)), &elsewhere),
                ),
                (
                    "without iss",
                    at(&with_parameter(&answer, "iss", None), &elsewhere),
                ),
                (
                    "with the other's state, at its own",
                    with_parameter(&answer, "state", Some(&others)),
                ),
                (
                    "with the other's state, at the other's",
                    at(&with_parameter(&answer, "state", Some(&others)), &elsewhere),
                ),
                ("at nobody's", at(&answer, "/bff/callback")),
                (
                    "at somebody's who is not",
                    at(&answer, "/bff/callback/none"),
                ),
            ] {
                let mut copy = cast.browser(&bff);
                copy.jar = alice.jar.clone();
                let visit = copy.come_back(&url).await;
                assert!(refusal(visit.last()).starts_with("400 "), "{case}, {what}");
                assert_eq!(copy.signed_in().await, None, "{case}, {what}");
                assert_eq!(cast.code_exchanges(), before, "{case}, {what}");
            }
            // Nothing of that used the login up.
            assert_eq!(parameter(&answer, "state"), Some(state));
            alice.come_back(&answer).await;
            assert_eq!(alice.session().await["provider"], from, "{case}");

            // Whoever answers for one hands over an ID token of another.
            let idp = cast.idp(other);
            let secrets = cast.idp(from).issued_secrets();
            let (_, foreign) = secrets
                .iter()
                .rfind(|(kind, _)| *kind == "ID token")
                .unwrap();
            let theirs = cast.idp(from).issuer.clone();
            for fault in [
                Fault::token("id_token", foreign.as_str()),
                Fault::claim("iss", theirs),
            ] {
                let mut bob = cast.browser(&bff);
                idp.misbehave(fault.clone());
                let link = login_url(&format!("provider={other}&login_hint=bob"));
                let visit = bob.visit(&link).await;
                idp.behave();
                assert_eq!(
                    refusal(visit.last()),
                    "400 login_failed",
                    "{case} {fault:?}"
                );
                assert_eq!(bob.signed_in().await, None, "{case} {fault:?}");
            }
        }
    }
}

/// E7, E15: over all pairs, a logout token, and a front-channel logout, of one ends nothing at the address of
/// another, nor the other's session of a user whom both call alike.
#[tokio::test]
async fn a_logout_is_never_taken_for_anothers() {
    let cast = Cast::new();
    let bff = cast.site().start();
    let mut browsers = Vec::new();
    for name in NAMES {
        browsers.push(cast.signed_in(&bff, name, "alice").await);
    }
    for from in NAMES {
        let idp = cast.idp(from);
        let sid = idp.sids("alice")[0].clone();
        let elsewhere = NAMES.into_iter().filter(|other| *other != from);
        for other in elsewhere {
            for token in [
                idp.logout_token(Some("alice"), None),
                idp.logout_token(None, Some(&sid)),
            ] {
                let told = tell(&bff, &format!("/bff/backchannel-logout/{other}"), &token).await;
                // With no key of theirs to hold it against, it cannot be judged.
                assert!(
                    matches!(told.status, 400 | 503),
                    "{from} at {other}: {told:?}"
                );
            }
            let address = format!("/bff/frontchannel-logout/{other}");
            let mut page = cast.browser(&bff);
            let own = framed(&mut page, &address, &idp.issuer, &sid).await;
            assert_eq!(refusal(&own), "400 bad_request", "{from} at {other}");
            let theirs = cast.idp(other).issuer.clone();
            framed(&mut page, &address, &theirs, &sid).await;
        }
        let token = idp.logout_token(None, Some(&sid));
        for nobody in ["/bff/backchannel-logout", "/bff/backchannel-logout/none"] {
            let told = tell(&bff, nobody, &token).await;
            assert_eq!(told.status, 404, "{from} at {nobody}");
        }
        for browser in &mut browsers {
            assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
        }
    }
    // At its own address the user's sessions end, and those of the namesakes go on.
    let token = cast.idp("social").logout_token(Some("alice"), None);
    assert_eq!(
        tell(&bff, "/bff/backchannel-logout/social", &token)
            .await
            .status,
        200
    );
    let live: Vec<_> = [
        browsers[0].signed_in().await,
        browsers[1].signed_in().await,
        browsers[2].signed_in().await,
    ]
    .map(|user| user.is_some())
    .into();
    assert_eq!(live, [true, false, true]);
}

/// DESIGN §7: without a name a person chooses, and this browser's last choice stands first; whoever may not
/// be asked is answered at once.
#[tokio::test]
async fn a_person_chooses_and_is_remembered() {
    let cast = Cast::new();
    let site = cast
        .site()
        .set("providers.social.label", "Friends & <b>family</b>")
        .set("providers.social.logo", "/logos/social.svg");
    let bff = site.start();
    let mut alice = cast.browser(&bff);
    let page = alice.begin_login("return_to=/orders&acr_values=mfa").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("set-cookie"), None);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("img-src 'self';"), "{policy}");
    let text = page.text();
    let place = |text: &str, name: &str| text.find(&format!("provider={name}\"")).unwrap();
    for expected in [
        "<title>Sign in to app.example</title>",
        "<h1>Sign in to app.example</h1>",
        ">Staff<",
        ">Friends &amp; &lt;b&gt;family&lt;/b&gt;<",
        "<img src=\"/logos/social.svg\"",
        "href=\"/bff/login?return_to=%2Forders&amp;acr_values=mfa&amp;provider=corp\"",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("Last used"), "{text}");
    assert!(place(&text, "corp") < place(&text, "guest"));
    assert!(place(&text, "guest") < place(&text, "social"), "as written");
    // Nobody can be asked, and nobody was chosen: back with nobody signed in.
    let silent = alice.begin_login("prompt=none&return_to=/orders").await;
    assert_eq!(silent.status, 303);
    assert_eq!(silent.header("location"), Some("/orders"));
    let popup = alice.begin_login("prompt=none&mode=popup").await.text();
    assert!(popup.contains("login_required"), "{popup}");

    sign_in(&mut alice, "social", "alice").await;
    alice.jar.remove(SESSION_COOKIE);
    let text = alice.begin_login("").await.text();
    assert!(place(&text, "social") < place(&text, "corp"), "{text}");
    assert_eq!(text.matches("Last used").count(), 1);
    let silent = alice.begin_login("prompt=none").await.location().unwrap();
    assert!(silent.as_str().starts_with(&cast.idp("social").issuer));

    for (query, expected) in [
        ("provider=none", "400 bad_request"),
        ("provider=corp&provider=corp", "400 bad_request"),
        ("return_to=https://evil.example", "400 bad_return_to"),
    ] {
        let reply = alice.begin_login(query).await;
        assert_eq!(refusal(&reply), expected, "{query}");
    }
    // The page told of a repeated or malformed parameter, and the log of nothing.
    let unknown = alice.begin_login("provider=none").await.text();
    assert!(
        unknown.contains("names an identity provider that this site does not have"),
        "{unknown}"
    );
    let logged = bff.logs().text();
    for cause in [
        "provider names a provider that is not configured",
        "provider is repeated",
    ] {
        assert!(logged.contains(cause), "{cause} in {logged}");
    }
}

/// B6, B10: another site's link, and a page that needs a session, lead to the choice and no further; the step
/// from there is our own.
#[tokio::test]
async fn a_stranger_leads_to_the_choice_and_no_further() {
    let cast = Cast::new();
    let site = cast.site().route(
        toml::toml! { path = "/pages" csrf = "origin" },
        &cast.upstream,
    );
    let bff = site.start();
    let mut alice = cast.browser(&bff);
    alice.stand_on("https://evil.example/");
    let visit = alice.click(&login_url("return_to=/orders")).await;
    assert_eq!(visit.last().status, 200);
    assert!(visit.last().text().contains("provider=guest"));
    alice.stand_on("https://evil.example/");
    let named = alice.click(&login_url("provider=guest")).await;
    assert!(named.last().text().contains("Another site sent you here"));
    assert!(named.last().text().contains("provider=guest"));

    let visit = alice.visit(&format!("{PUBLIC_URL}/pages/one")).await;
    let text = visit.last().text();
    assert!(
        text.contains("return_to=%2Fpages%2Fone&amp;provider=corp"),
        "{text}"
    );
    let idps = &cast.idps;
    assert!(idps.iter().all(|idp| idp.count(Endpoint::Authorize) == 0));
    alice.stand_on(PUBLIC_URL);
    let link = "/bff/login?return_to=%2Fpages%2Fone&provider=guest&login_hint=bob";
    let there = alice.click(link).await;
    assert!(there.last().text().contains("url=/pages/one"), "{there:?}");
    assert_eq!(alice.session().await["provider"], "guest");
}

/// DESIGN §7: the app may draw the choice itself.
#[tokio::test]
async fn the_app_may_offer_the_choice_itself() {
    let cast = Cast::new();
    let bff = cast
        .site()
        .set("choose_provider_url", "/sign-in?a=b")
        .start();
    let mut alice = cast.browser(&bff);
    let sent = alice.begin_login("return_to=/orders").await;
    assert_eq!(sent.status, 303);
    let place = sent.location().unwrap();
    assert_eq!(
        place.as_str(),
        format!("{PUBLIC_URL}/sign-in?a=b&return_to=%2Forders")
    );
}

/// DESIGN §7: the default has today's addresses, is asked where nothing names another, and no address of its
/// own is another's.
#[tokio::test]
async fn the_default_keeps_the_addresses_of_one_provider() {
    let cast = Cast::new();
    let social = cast.idp("social");
    social.expect_proof(Proof::Secret(social.client_secret.clone()));
    let bff = cast.site().set("default_provider", "social").start();
    let mut alice = cast.browser(&bff);
    alice.sign_in("alice").await;
    assert_eq!(alice.session().await["provider"], "social");
    let choice = format!("{SESSION_COOKIE}-provider");
    assert!(
        alice.jar.cookie(&choice).is_none(),
        "there is none to remember"
    );
    let bob = cast.signed_in(&bff, "corp", "bob").await;
    let idp = cast.idp("social");
    let token = idp.logout_token(Some("alice"), None);
    for (address, takes) in [
        ("/bff/backchannel-logout/corp", false),
        ("/bff/backchannel-logout", true),
    ] {
        let told = tell(&bff, address, &token).await;
        assert_eq!(told.status == 200, takes, "{address}");
    }
    let of_bob = cast.idp("corp").logout_token(Some("bob"), None);
    assert_ne!(
        tell(&bff, "/bff/backchannel-logout", &of_bob).await.status,
        200
    );
    let mut bob = bob;
    assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
    assert_eq!(alice.signed_in().await, None);
    // Whoever is signed in elsewhere is sent there, whatever the default.
    let step_up = bob.begin_login("acr_values=mfa").await.location().unwrap();
    assert!(step_up.as_str().starts_with(&cast.idp("corp").issuer));
}

/// B7: a third party's login begins at the issuer that it names, and at no other.
#[tokio::test]
async fn a_third_party_names_the_issuer() {
    let cast = Cast::new();
    let bff = cast
        .site()
        .set("providers.social.third_party_login", true)
        .start();
    let iss = |idp: &Idp| byte_serialize(idp.issuer.as_bytes()).collect::<String>();
    let mut alice = cast.browser(&bff);
    let begun = alice
        .begin_login(&format!("iss={}", iss(cast.idp("social"))))
        .await;
    let sent = begun.location().unwrap();
    assert!(sent.as_str().starts_with(&cast.idp("social").issuer));
    for other in [iss(cast.idp("corp")), "https%3A%2F%2Fother".to_owned()] {
        let reply = alice.begin_login(&format!("iss={other}")).await;
        assert_eq!(refusal(&reply), "400 login_failed", "{other}");
        alice.stand_on("https://other.example/");
        let fields = [("iss", cast.idp("corp").issuer.as_str())];
        let visit = alice.submit(&login_url(""), &fields).await;
        assert_eq!(refusal(visit.last()), "400 login_failed");
    }
}

/// DESIGN §7: one that is away takes its own logins away, and nobody else's, nor anybody's session.
#[tokio::test]
async fn one_that_is_away_takes_its_own_logins_away() {
    let cast = Cast::new();
    let bff = cast.site().start();
    let mut browsers = Vec::new();
    for name in NAMES {
        browsers.push(cast.signed_in(&bff, name, "alice").await);
    }
    bff.ready().await;
    let social = cast.idp("social");
    for endpoint in [Endpoint::Authorize, Endpoint::Discovery, Endpoint::Token] {
        social.misbehave(Fault::unavailable(endpoint));
    }
    for (name, browser) in NAMES.into_iter().zip(&mut browsers) {
        assert_eq!(call(browser).await.status, 200, "{name}");
        assert_eq!(browser.session().await["provider"], name);
    }
    cast.clock.advance(Duration::from_secs(270));
    for browser in &mut browsers {
        assert_eq!(call(browser).await.status, 200, "while its token lives");
    }
    cast.clock.advance(Duration::from_mins(1));
    for (name, browser) in NAMES.into_iter().zip(&mut browsers) {
        let reply = call(browser).await;
        match name {
            "social" => assert_eq!(refusal(&reply), "503 provider_unavailable"),
            _ => assert_eq!(reply.status, 200, "{name}"),
        }
        assert_eq!(
            browser.signed_in().await.as_deref(),
            Some("alice"),
            "{name}"
        );
    }
    for name in ["corp", "guest"] {
        cast.signed_in(&bff, name, "bob").await;
    }
    social.behave();
    cast.clock.advance(Duration::from_secs(6));
    assert_eq!(call(&mut browsers[1]).await.status, 200, "it is back");
}

/// A8: of several, one that was never found, or is wrong, keeps no work away; where none can sign anybody in,
/// nothing is ready.
#[tokio::test]
async fn one_that_is_wrong_keeps_no_work_away() {
    let cast = Cast::new();
    let wrong = Fault::Answer(Endpoint::Discovery, 200, "application/json", b"{}".to_vec());
    cast.idp("corp").misbehave(wrong.clone());
    let bff = cast.site().start();
    let ready = bff.ready().await.text();
    assert!(ready.contains("degraded"), "{ready}");
    let mut alice = cast.browser(&bff);
    let refused = alice.begin_login("provider=corp").await;
    assert_eq!(refusal(&refused), "503 provider_unavailable");
    assert!(sign_in_link(&refused).starts_with("/bff/login"));
    sign_in(&mut alice, "guest", "alice").await;
}

/// DESIGN §7: sessions know issuer and `client_id`: under another name they go on, a session whose provider is
/// gone is not renewed and goes to no other, and a login under way there fails with a sentence.
#[tokio::test]
async fn a_session_outlives_a_name_and_goes_to_no_other_client() {
    let cast = Cast::new();
    let builder = cast.site().administered();
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    let mut alice = cast.signed_in(&bff, "social", "alice").await;
    let mut bob = cast.browser(&bff);
    let under_way = bob.callback_url("provider=social&login_hint=bob").await;

    let renamed = toml.replace("[providers.social]", "[providers.friends]");
    assert_ne!(renamed, toml);
    reload(&bff, &path, &renamed).await;
    assert_eq!(alice.session().await["provider"], "friends");
    cast.clock.advance(DUE);
    assert_eq!(call(&mut alice).await.status, 200);
    assert_eq!(cast.refreshes(), [0, 1, 0]);
    let visit = bob.come_back(&under_way).await;
    assert_eq!(refusal(visit.last()), "400 login_failed");
    let page = visit.last().text();
    assert!(
        page.contains("is not offered here, or not any more"),
        "{page}"
    );
    assert!(sign_in_link(visit.last()).starts_with("/bff/login"));

    // The one name now stands for another client, and the session's own is gone.
    let (_, below) = toml.split_once("[providers.social]").unwrap();
    let own = below.split("\n[").next().unwrap();
    let (_, others) = toml.split_once("[providers.corp]").unwrap();
    let others = others
        .split("\n[")
        .next()
        .unwrap()
        .replace(CLIENT_ID, "another");
    reload(&bff, &path, &toml.replace(own, &others)).await;
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(alice.session().await.get("provider"), None);
    assert_eq!(call(&mut alice).await.status, 200, "while the token lives");
    cast.clock.advance(DUE);
    assert_eq!(refusal(&call(&mut alice).await), "401 token_unrefreshable");
    assert_eq!(cast.refreshes(), [0, 1, 0]);
    let asked = alice.begin_login("acr_values=mfa").await;
    assert_eq!(asked.status, 200, "a person chooses anew");
    let ends: usize = cast
        .idps
        .iter()
        .map(|idp| idp.count(Endpoint::EndSession))
        .sum();
    let link = alice.session().await["logout_url"].clone();
    alice.click(link.as_str().unwrap()).await;
    assert_eq!(alice.signed_in().await, None);
    let after: usize = cast
        .idps
        .iter()
        .map(|idp| idp.count(Endpoint::EndSession))
        .sum();
    assert_eq!(after, ends, "it ended here alone");
}

/// C13: a login that is over goes on at its own provider alone.
#[tokio::test]
async fn a_login_that_is_over_goes_on_at_its_own_provider() {
    let cast = Cast::new();
    let bff = cast.site().start();
    let mut alice = cast.browser(&bff);
    let answer = alice
        .callback_url("provider=guest&login_hint=alice&return_to=/orders")
        .await;
    cast.clock.advance(Duration::from_hours(2));
    alice.stand_on("https://id.example/form");
    let over = alice.open(answer.as_str()).await;
    let resume = over.location().unwrap();
    assert_eq!(parameter(&resume, "provider").as_deref(), Some("guest"));
    let moved = with_parameter(&resume, "provider", Some("corp"));
    let mut copy = cast.browser(&bff);
    copy.jar = alice.jar.clone();
    let step = copy.open(moved.as_str()).await;
    let visit = copy.go_on(&step).await;
    assert_eq!(refusal(visit.last()), "400 login_failed", "at another's");
    let step = alice.open(resume.as_str()).await;
    let visit = alice.go_on(&step).await;
    let again = visit.replies[0].location().unwrap();
    assert!(
        again.as_str().starts_with(&cast.idp("guest").issuer),
        "{again}"
    );
}

/// DESIGN §7: a reload leaves those as they are of which nothing else is said, with their metadata.
#[tokio::test]
async fn a_reload_asks_those_anew_that_changed() {
    let cast = Cast::new();
    let builder = cast.site().administered();
    let (path, toml) = (builder.path("bff.toml"), builder.toml());
    let bff = builder.start();
    for name in NAMES {
        cast.signed_in(&bff, name, "alice").await;
    }
    let asked = |name: &str| cast.idp(name).count(Endpoint::Discovery);
    let before = NAMES.map(asked);
    let changed = toml.replace(
        "[providers.social]",
        "[providers.social]\nscopes = [\"openid\"]",
    );
    reload(&bff, &path, &changed).await;
    let social = cast.idp("social");
    social.asked_times(Endpoint::Discovery, before[1] + 1).await;
    for name in NAMES {
        cast.signed_in(&bff, name, "bob").await;
    }
    assert_eq!(NAMES.map(asked), [before[0], before[1] + 1, before[2]]);
}

/// What an operator has to renew is told of the secret that ends first.
#[tokio::test]
async fn the_secret_that_ends_first_is_shown() {
    let cast = Cast::new();
    let bff = cast
        .site()
        .set("providers.corp.client_secret_expires", "2027-03-31")
        .set("providers.social.client_secret_expires", "2027-01-31")
        .start();
    let metrics = bff.metrics().unwrap();
    // 2027-01-31T00:00:00Z.
    let first = "bff_client_secret_expires_timestamp_seconds 1801353600";
    assert!(metrics.contains(first), "{metrics}");
}

/// DESIGN §7: a second provider signs nobody out of the first, which is the default: sessions of before are its
/// own, and so are the addresses that are registered there.
#[tokio::test]
async fn a_second_provider_signs_nobody_out() {
    let cast = Cast::new();
    let corp = &cast.idps[0];
    corp.expect_proof(Proof::Secret(corp.client_secret.clone()));
    let several = cast.site().set("default_provider", "corp").administered();
    let (path, toml) = (several.path("bff.toml"), several.toml());
    let bff = several.start();
    let (provider, _) = toml.split_once("[providers.corp]").unwrap();
    let (_, rest) = toml.rsplit_once("[providers.social]").unwrap();
    let (_, rest) = rest.split_once("\n[").unwrap();
    let one = format!("{provider}\n[{rest}").replace("default_provider", "#default_provider");
    reload(&bff, &path, &one).await;
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    assert_eq!(alice.session().await.get("provider"), None);

    reload(&bff, &path, &toml).await;
    assert_eq!(alice.session().await["provider"], "corp");
    cast.clock.advance(DUE);
    assert_eq!(call(&mut alice).await.status, 200);
    assert_eq!(cast.refreshes(), [1, 0, 0]);
    let token = corp.logout_token(Some("alice"), None);
    assert_eq!(
        tell(&bff, "/bff/backchannel-logout", &token).await.status,
        200
    );
    assert_eq!(alice.session().await["ended"], "provider_logout");
}

/// C5: where a login ends that was cancelled is said of the provider that it was at.
#[tokio::test]
async fn a_cancelled_login_ends_where_its_own_provider_says() {
    let cast = Cast::new();
    let open = toml::toml! { path = "/open" auth = "none" };
    let bff = cast
        .site()
        .set("providers.social.access_denied", "return_to")
        .route(open, &cast.upstream)
        .start();
    for name in ["corp", "social"] {
        let mut alice = cast.browser(&bff);
        let query = format!("provider={name}&login_hint=alice&return_to=/open/x");
        let answer = alice.callback_url(&query).await;
        let cancelled = with_parameter(&answer, "code", None);
        let cancelled = with_parameter(&cancelled, "error", Some("access_denied"));
        let visit = alice.visit(cancelled.as_str()).await;
        if name == "social" {
            let place = format!("{PUBLIC_URL}/open/x?bff_error=access_denied");
            assert_eq!(visit.url().as_str(), place);
        } else {
            assert_eq!(refusal(visit.last()), "400 login_failed");
        }
    }
}
