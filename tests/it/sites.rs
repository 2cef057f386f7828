//! Several sites in one process (DESIGN §7): each is whole, and nothing of one is anything at another.

use serde_json::Value;

use crate::support::browser::Fetch;
use crate::support::call::Call;
use crate::support::clock::nine_o_clock;
use crate::support::journey::{NAVIGATION, steady_fields};
use crate::support::sites::{FourSites, PLACES, Place, Providers, call, session, sign_in};
use crate::support::upstream::{Answer, Upstream};

/// What a script of the site is told with this cookie.
async fn told(bff: &FourSites<'_>, place: Place, cookie: &str) -> Value {
    let call = call(place, "GET", "/bff/session", cookie);
    call.send(bff.addr(place)).await.json()
}

async fn is_signed_in(bff: &FourSites<'_>, place: Place, cookie: &str) -> bool {
    told(bff, place, cookie).await["authenticated"] == true
}

/// A cookie of alice at each of the sites.
async fn a_cookie_each(bff: &FourSites<'_>) -> Vec<(Place, String)> {
    let mut cookies = Vec::new();
    for place in PLACES {
        cookies.push((place, bff.cookie_of(place, "alice").await));
    }
    cookies
}

/// One browser is signed in at all of them at once, as somebody else at each; each has its own routes, and
/// a logout at one is none at the others.
#[tokio::test]
async fn a_browser_is_signed_in_at_each_site() {
    let providers = Providers::start(&nine_o_clock());
    let upstream = Upstream::start();
    upstream.answers(|_| Answer::text("answered"));
    let bff = FourSites::start(&providers, &upstream);
    let mut browser = bff.browser();
    let users = PLACES.into_iter().zip(["alice", "bob", "bob", "alice"]);
    for (place, user) in users.clone() {
        sign_in(&mut browser, place, user).await;
    }
    for (place, user) in users {
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
    let [.., team] = PLACES;
    browser.stand_on(&format!("{}/", team.url));
    let logout = Fetch::new("POST", "/team/bff/logout").csrf();
    assert_eq!(browser.fetch(logout).await.status, 200);
    for place in PLACES {
        let here = session(&mut browser, place).await["authenticated"] == true;
        assert_eq!(here, place != team, "{place:?}");
    }
}

/// A session belongs to its site: its cookie is nothing at each other site, under whichever name, and no less
/// after it was used at its own on the same worker.
#[tokio::test]
async fn a_cookie_of_one_site_is_nothing_at_another() {
    let providers = Providers::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = FourSites::start_with(&providers, &upstream, |builder| {
        builder.set("server.workers", 1)
    });
    let cookies = a_cookie_each(&bff).await;
    for round in ["before", "after"] {
        for (own, cookie) in &cookies {
            for other in PLACES {
                let is_own = other == *own;
                let what = format!("{} at {}, {round} it was used", own.url, other.url);
                if is_own && round == "before" {
                    continue;
                }
                assert_eq!(is_signed_in(&bff, other, cookie).await, is_own, "{what}");
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
                        .send(bff.addr(other))
                        .await;
                    assert_eq!(
                        reply.status, status,
                        "{what}: {method} {endpoint} {reply:?}"
                    );
                }
                // It would end the session, too; here it ends none.
                if !is_own {
                    let logout = call(other, "POST", "/bff/logout", cookie);
                    let reply = logout.send(bff.addr(other)).await;
                    assert!(reply.status < 500, "{what}: {reply:?}");
                }
            }
        }
        for (place, cookie) in &cookies {
            assert!(
                is_signed_in(&bff, *place, cookie).await,
                "{place:?} {round}"
            );
        }
    }
}

/// What names a session names none of another site: the tag of `X-BFF-Session` and of a `DELETE`, the `sid`
/// in the link to the logout, the provider's `sid` by the front channel.
#[tokio::test]
async fn a_name_of_one_sites_session_is_nothing_at_another() {
    let providers = Providers::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = FourSites::start(&providers, &upstream);
    let cookies = a_cookie_each(&bff).await;
    let mut sessions = Vec::new();
    for (place, cookie) in &cookies {
        sessions.push((*place, told(&bff, *place, cookie).await));
    }
    for (place, cookie) in &cookies {
        for (other, theirs) in &sessions {
            let what = format!("{} with a word of {}", place.url, other.url);
            let is_own = other == place;
            let tag = theirs["session"]["tag"].as_str().unwrap();
            let api = call(*place, "GET", "/api/orders", cookie).header("X-BFF-Session", tag);
            let reply = api.send(bff.addr(*place)).await;
            assert_eq!(reply.status, if is_own { 200 } else { 409 }, "{what}");
            if is_own {
                continue;
            }
            let one = format!("/bff/sessions?tag={tag}");
            let reply = call(*place, "DELETE", &one, cookie)
                .send(bff.addr(*place))
                .await;
            assert!(reply.status < 500, "{what}: {reply:?}");
            let link = theirs["logout_url"].as_str().unwrap();
            let query = link.split_once('?').unwrap().1;
            let mut logout = call(*place, "GET", &format!("/bff/logout?{query}"), cookie);
            for (name, value) in NAVIGATION {
                logout = logout.with(name, value);
            }
            let reply = logout.send(bff.addr(*place)).await;
            assert!(reply.status < 500, "{what}: {reply:?}");
        }
    }
    // Nobody's session went by any of it.
    for (place, cookie) in &cookies {
        assert!(is_signed_in(&bff, *place, cookie).await, "{place:?}");
    }
}

/// A logout token ends that client's sessions at all its sites, whichever of them took it; at those of
/// another client it is nothing, and ends nothing.
#[tokio::test]
async fn a_logout_token_ends_the_clients_sessions_at_all_its_sites() {
    let providers = Providers::start(&nine_o_clock());
    let bff = FourSites::start(&providers, &Upstream::start());
    for taker in PLACES {
        for (whose, issuer) in providers.0.iter().enumerate() {
            let cookies = a_cookie_each(&bff).await;
            let token = issuer.logout_token(Some("alice"), None);
            let reply = bff.hand_over(taker, &token).await;
            let is_taken = whose == taker.provider;
            let status = if is_taken { 200 } else { 400 };
            assert_eq!(reply.status, status, "{taker:?}: {reply:?}");
            for (place, cookie) in &cookies {
                let ended = is_taken && place.provider == whose;
                assert_eq!(
                    is_signed_in(&bff, *place, cookie).await,
                    !ended,
                    "{place:?}, by a token of the provider {whose} at {taker:?}"
                );
            }
        }
    }
}

/// A host that is no site's is answered alike whoever asks, and so is a path of no site on a host of one.
#[tokio::test]
async fn a_host_of_no_site_is_answered_alike() {
    let providers = Providers::start(&nine_o_clock());
    let bff = FourSites::start(&providers, &Upstream::start());
    let [first, second, ..] = PLACES;
    let cookie = bff.cookie_of(first, "alice").await;
    let stranger = Place {
        host: "other.example",
        ..first
    };
    for cookie in [cookie.as_str(), "none"] {
        for endpoint in ["/bff/session", "/bff/login", "/api/orders", "/"] {
            let reply = call(stranger, "GET", endpoint, cookie)
                .send(bff.addr(first))
                .await;
            assert_eq!(reply.status, 404, "{endpoint}: {reply:?}");
            assert!(reply.all("set-cookie").is_empty());
        }
    }
    let upper = Place {
        host: "SHOP.example:8443",
        ..second
    };
    let told = call(upper, "GET", "/bff/session", "none").send(bff.addr(second));
    assert_eq!(
        told.await.status,
        200,
        "neither case nor port separates sites"
    );
}

/// A host of nobody's has nobody's face: the page of the first site was shown there, with the link to its
/// start page.
#[tokio::test]
async fn a_host_of_no_site_has_no_sites_face() {
    const FACE: &str = "<h1>The face of the first</h1> %bff.link% %bff.code%";
    let providers = Providers::start(&nine_o_clock());
    let bff = FourSites::start_with(&providers, &Upstream::start(), |builder| {
        builder
            .file("error.html", FACE)
            .file("dist/index.html", "<h1>The app</h1>")
            .set("frontend.dir", "dist")
            .set("frontend.error_page", "error.html")
    });
    let [first, ..] = PLACES;
    let page = |host: &str, target: &str| {
        let mut call = Call::bare("GET", target).header("Host", host);
        for (name, value) in NAVIGATION {
            call = call.header(name, value);
        }
        call.send(bff.addr(first))
    };
    // Whose face it is that a site shows.
    let own = page(first.host, "/bff/nothing").await;
    assert_eq!(own.status, 404);
    assert!(own.text().contains("The face of the first"), "{own:?}");
    let mut seen = Vec::new();
    for target in [
        "/",
        "/bff/login?return_to=/a",
        "/bff/callback?code=a&state=b",
    ] {
        let reply = page("other.example", target).await;
        assert_eq!(reply.status, 404, "{reply:?}");
        let text = reply.text();
        assert!(text.contains("This host is not served here"), "{text}");
        for theirs in ["The face of the first", "href", "app.example", "Sign in"] {
            assert!(!text.contains(theirs), "{theirs}: {text}");
        }
        assert!(reply.header("strict-transport-security").is_none());
        seen.push(steady_fields(&reply));
    }
    assert!(seen.iter().all(|fields| *fields == seen[0]), "{seen:?}");
    let told = bff.logs().lines_with("request.elsewhere");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].contains("app.example"), "{told:?}");
}

/// N1 and DESIGN §7: what happens at a site is counted and told under its name, and what happens at that of
/// bff.toml under none, as before there were others. Routes of one name counted together.
#[tokio::test]
async fn each_site_is_told_apart_in_metrics_and_log() {
    let providers = Providers::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = FourSites::start(&providers, &upstream);
    let cookies = a_cookie_each(&bff).await;
    for (at, (place, cookie)) in cookies.iter().enumerate() {
        for _ in 0..=at {
            let reply = call(*place, "GET", "/api/orders", cookie).send(bff.addr(*place));
            assert_eq!(reply.await.status, 200);
        }
    }
    let [_, (shop, cookie), ..] = &cookies[..] else {
        panic!("four of them");
    };
    let logout = call(*shop, "POST", "/bff/logout", cookie);
    assert_eq!(logout.send(bff.addr(*shop)).await.status, 200);
    let metrics = bff.metrics().unwrap();
    for line in [
        "bff_requests_total{route=\"/api\",method=\"GET\",status=\"2xx\"} 1",
        "bff_requests_total{route=\"/api\",method=\"GET\",status=\"2xx\",site=\"shop\"} 2",
        "bff_requests_total{route=\"/api\",method=\"GET\",status=\"2xx\",site=\"desk\"} 3",
        "bff_requests_total{route=\"/api\",method=\"GET\",status=\"2xx\",site=\"team\"} 4",
        "bff_upstream_head_duration_seconds_count{route=\"/api\"} 1",
        "bff_upstream_head_duration_seconds_count{route=\"/api\",site=\"desk\"} 3",
        "bff_logins_total{outcome=\"ok\"} 1",
        "bff_logins_total{outcome=\"ok\",site=\"team\"} 1",
        "bff_logouts_total{outcome=\"ok\"} 0",
        "bff_logouts_total{outcome=\"ok\",site=\"shop\"} 1",
        "bff_sessions_ended_total{reason=\"logout\",site=\"shop\"} 1",
        "bff_sessions_ended_total{reason=\"logout\"} 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\nin\n{metrics}"
        );
    }
    let lines = |needle: &str, site: Option<&str>| {
        let lines = bff.logs().lines_with(needle);
        let is_meant = |line: &&String| match site {
            Some(site) => line.contains(&format!("\"site_id\":\"{site}\"")),
            None => !line.contains("site_id"),
        };
        lines.iter().filter(is_meant).count()
    };
    for (site, calls) in [(None, 1), (Some("shop"), 2), (Some("desk"), 3)] {
        assert_eq!(lines("\"route\":\"/api\"", site), calls, "{site:?}");
        assert_eq!(lines("session.started", site), 1, "{site:?}");
    }
    assert_eq!(lines("session.ended", Some("shop")), 1);
}
