//! Several sites in one process (DESIGN §7): each is whole, and nothing of one is anything at another.

use serde_json::Value;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::Call;
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PATH_SITE, PUBLIC_URL, SECOND_SITE};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;

/// A site as the tests know it: where it is, and what its session cookie is called.
#[derive(Debug, Clone, Copy)]
struct Place {
    url: &'static str,
    host: &'static str,
    mount: &'static str,
    cookie: &'static str,
}

/// That of bff.toml, one on a host of its own, and one on a path of the first one's host.
const PLACES: [Place; 3] = [
    Place {
        url: PUBLIC_URL,
        host: "app.example",
        mount: "",
        cookie: "__Host-Http-bff",
    },
    Place {
        url: SECOND_SITE,
        host: "shop.example",
        mount: "",
        cookie: "__Host-Http-bff",
    },
    Place {
        url: PATH_SITE,
        host: "app.example",
        mount: "/team",
        cookie: "__Host-Http-bff.team",
    },
];

fn three_sites<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    Bff::with(idp, upstream)
        .set("server.sites", "sites")
        .file("sites/shop.toml", format!("public_url = {SECOND_SITE:?}\n"))
        .file("sites/team.toml", format!("public_url = {PATH_SITE:?}\n"))
}

fn browser(bff: &Bff<'_>) -> Browser {
    let mut browser = bff.browser();
    browser.resolve(SECOND_SITE, bff.public_addr);
    browser
}

async fn sign_in(browser: &mut Browser, place: Place, user: &str) {
    let login = format!("{}/bff/login?login_hint={user}", place.url);
    let visit = browser.visit(&login).await;
    let callback = visit.reply_of(&format!("{}/bff/callback", place.mount));
    assert_eq!(callback.status, 303, "{place:?}: {}", callback.text());
    browser.stand_on(&format!("{}/", place.url));
}

async fn session(browser: &mut Browser, place: Place) -> Value {
    browser.stand_on(&format!("{}/", place.url));
    let endpoint = format!("{}/bff/session", place.mount);
    browser.fetch(Fetch::get(&endpoint).csrf()).await.json()
}

/// A call of the site's own script, with this cookie under the site's name for it.
fn call(place: Place, method: &str, endpoint: &str, cookie: &str) -> Call {
    Call::bare(method, &format!("{}{endpoint}", place.mount))
        .header("Host", place.host)
        .header("X-CSRF", "1")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Cookie", &format!("{}={cookie}", place.cookie))
}

/// The value of the session cookie that somebody got who signed in at this place.
async fn cookie_of(bff: &Bff<'_>, place: Place, user: &str) -> String {
    let mut browser = browser(bff);
    let login = format!("{}/bff/login?login_hint={user}", place.url);
    let visit = browser.visit(&login).await;
    let callback: &Reply = visit.reply_of(&format!("{}/bff/callback", place.mount));
    let lines = callback.all("set-cookie");
    let own = format!("{}=", place.cookie);
    let line = lines.iter().find_map(|line| line.strip_prefix(&own));
    let value = line.unwrap_or_else(|| panic!("{place:?} sets no session cookie: {lines:?}"));
    value.split(';').next().unwrap().to_owned()
}

/// One browser is signed in at all of them at once, as somebody else at each; each has its own routes, and
/// a logout at one is none at the others.
#[tokio::test]
async fn a_browser_is_signed_in_at_each_site() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    upstream.answers(|_| Answer::text("answered"));
    let bff = three_sites(&idp, &upstream).start();
    let mut browser = browser(&bff);
    for (place, user) in PLACES.into_iter().zip(["alice", "bob", "alice"]) {
        sign_in(&mut browser, place, user).await;
    }
    for (place, user) in PLACES.into_iter().zip(["alice", "bob", "alice"]) {
        assert_eq!(
            session(&mut browser, place).await["user"]["sub"],
            user,
            "{place:?}"
        );
        let api = format!("{}/api/orders?a=1", place.mount);
        let reply = browser.fetch(Fetch::get(&api).csrf()).await;
        assert_eq!(reply.status, 200, "{place:?}: {reply:?}");
        let seen = upstream.last();
        assert_eq!(
            seen.target, "/api/orders?a=1",
            "the path of the site is off"
        );
        assert!(seen.bearer().is_some());
        let prefix = Some(place.mount).filter(|mount| !mount.is_empty());
        assert_eq!(seen.header("x-forwarded-prefix"), prefix);
        assert_eq!(
            seen.header("cookie"),
            None,
            "no site's cookie goes upstream"
        );
    }
    let team = PLACES[2];
    browser.stand_on(&format!("{}/", team.url));
    let logout = Fetch::new("POST", "/team/bff/logout").csrf();
    assert_eq!(browser.fetch(logout).await.status, 200);
    assert_eq!(session(&mut browser, team).await["authenticated"], false);
    for place in [PLACES[0], PLACES[1]] {
        assert_eq!(
            session(&mut browser, place).await["authenticated"],
            true,
            "{place:?}"
        );
    }
}

/// A session belongs to its site: its cookie, its tag and its `sid` are nothing at each other site, under
/// whichever name, and no less after the cookie was used at its own on the same worker.
#[tokio::test]
async fn nothing_of_one_site_is_anything_at_another() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = three_sites(&idp, &upstream)
        .set("server.workers", 1)
        .start();
    let mut cookies = Vec::new();
    for place in PLACES {
        cookies.push(cookie_of(&bff, place, "alice").await);
    }
    for round in ["before", "after"] {
        for (own, cookie) in PLACES.into_iter().zip(&cookies) {
            for other in PLACES {
                let is_own = other.url == own.url;
                let what = format!("{} at {}, {round} it was used", own.url, other.url);
                if is_own && round == "before" {
                    continue;
                }
                let told = call(other, "GET", "/bff/session", cookie).send(bff.public_addr);
                assert_eq!(told.await.json()["authenticated"], is_own, "{what}");
                let status = if is_own { 200 } else { 401 };
                for (method, endpoint) in [
                    ("GET", "/api/orders"),
                    ("GET", "/bff/sessions"),
                    ("GET", "/bff/user"),
                    ("DELETE", "/bff/sessions"),
                ] {
                    // It would end the session.
                    if is_own && method == "DELETE" {
                        continue;
                    }
                    let reply = call(other, method, endpoint, cookie)
                        .send(bff.public_addr)
                        .await;
                    assert_eq!(
                        reply.status, status,
                        "{what}: {method} {endpoint} {reply:?}"
                    );
                }
            }
        }
        for (place, cookie) in PLACES.into_iter().zip(&cookies) {
            let told = call(place, "GET", "/bff/session", cookie).send(bff.public_addr);
            assert_eq!(
                told.await.json()["authenticated"],
                true,
                "{place:?} {round}"
            );
        }
    }
    // A page that was made for a session of one site acts in no session of another.
    let mut tags = Vec::new();
    for (place, cookie) in PLACES.into_iter().zip(&cookies) {
        let told = call(place, "GET", "/bff/session", cookie).send(bff.public_addr);
        tags.push(
            told.await.json()["session"]["tag"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    for (place, cookie) in PLACES.into_iter().zip(&cookies) {
        for (other, tag) in PLACES.into_iter().zip(&tags) {
            let api = call(place, "GET", "/api/orders", cookie).header("X-BFF-Session", tag);
            let reply = api.send(bff.public_addr).await;
            let expected = if other.url == place.url { 200 } else { 409 };
            assert_eq!(
                reply.status, expected,
                "{} with a tag of {}",
                place.url, other.url
            );
        }
    }
}

/// A logout token ends that client's sessions at all its sites, whichever of them took it.
#[tokio::test]
async fn a_logout_token_ends_the_clients_sessions_at_all_its_sites() {
    let idp = Idp::start(&nine_o_clock());
    let bff = three_sites(&idp, &Upstream::start()).start();
    for taker in PLACES {
        let mut cookies = Vec::new();
        for place in PLACES {
            cookies.push(cookie_of(&bff, place, "alice").await);
        }
        let token = idp.logout_token(Some("alice"), None);
        let form = format!("logout_token={token}");
        let target = format!("{}/bff/backchannel-logout", taker.mount);
        let reply = Call::bare("POST", &target)
            .header("Host", taker.host)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
            .send(bff.public_addr)
            .await;
        assert_eq!(reply.status, 200, "{taker:?}: {reply:?}");
        for (place, cookie) in PLACES.into_iter().zip(&cookies) {
            let told = call(place, "GET", "/bff/session", cookie).send(bff.public_addr);
            assert_eq!(
                told.await.json()["authenticated"],
                false,
                "{place:?} by {taker:?}"
            );
        }
    }
}

/// A host that is no site's is answered alike whoever asks, and so is a path of no site on a host of one.
#[tokio::test]
async fn a_host_of_no_site_is_answered_alike() {
    let idp = Idp::start(&nine_o_clock());
    let bff = three_sites(&idp, &Upstream::start()).start();
    let cookie = cookie_of(&bff, PLACES[0], "alice").await;
    let stranger = Place {
        host: "other.example",
        ..PLACES[0]
    };
    for cookie in [cookie.as_str(), "none"] {
        for endpoint in ["/bff/session", "/bff/login", "/api/orders", "/"] {
            let reply = call(stranger, "GET", endpoint, cookie)
                .send(bff.public_addr)
                .await;
            assert_eq!(reply.status, 404, "{endpoint}: {reply:?}");
            assert!(reply.all("set-cookie").is_empty());
        }
    }
    let upper = Place {
        host: "SHOP.example:8443",
        ..PLACES[1]
    };
    let told = call(upper, "GET", "/bff/session", "none").send(bff.public_addr);
    assert_eq!(
        told.await.status,
        200,
        "neither case nor port separates sites"
    );
}
