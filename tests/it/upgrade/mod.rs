//! An upgrade loses nobody: what a release before left in its store and in browsers is alive here, and
//! what is written here is read by it still.
//!
//! What it left stands in `tests/fixtures`, a folder a release, made by its own binary. The tests go on
//! at the minute at which that was put down, so they hold in any year.

mod house;
mod left;
mod make;
mod provider;
mod reader;
mod rows;
mod store;

use std::collections::BTreeSet;
use std::time::Duration;

use self::house::{House, steady, told, way};
use self::provider::{ACCESS_TOKEN_SECONDS, Provider};
use self::store::Kind;
use crate::support::browser::{Browser, Fetch};
use crate::support::idp::logout_call;
use crate::support::journey::{LOGIN_COOKIE, SESSION_COOKIE};
use crate::support::wire::Reply;

async fn call(browser: &mut Browser) -> Reply {
    browser.fetch(Fetch::get("/api/orders").csrf()).await
}

async fn tag(browser: &mut Browser) -> String {
    let session = browser.session().await;
    session["session"]["tag"].as_str().unwrap().to_owned()
}

/// G5, L3: whoever was signed in is signed in, as the same user and with the same token; and when that
/// is over, the refresh token of that day brings the next one.
#[tokio::test]
async fn whoever_was_signed_in_is_signed_in() {
    for house in House::each().await {
        let bff = house.start();
        let lifetime = Duration::from_secs(ACCESS_TOKEN_SECONDS);
        for is_later in [false, true] {
            if is_later {
                bff.clock().advance(lifetime);
            }
            for (what, was) in &house.left.alive {
                let what = format!("{} of {}, later: {is_later}", what, house.name());
                let mut browser = house.browser(&bff, &was.cookies);
                let session = browser.session().await;
                assert_eq!(session["authenticated"], true, "{what}: {session}");
                assert_eq!(steady(session), was.session, "{what}");
                let reply = call(&mut browser).await;
                assert_eq!(reply.status, 200, "{what}: {}", reply.text());
                let bearer = house.upstream.last().bearer().unwrap().to_owned();
                assert_eq!(bearer != was.bearer, is_later, "{what}");
                let user = was.session["user"]["sub"].as_str().unwrap().to_owned();
                assert_eq!(Provider::is_of(&bearer), Some(("access", user)), "{what}");
            }
        }
    }
}

/// E10: the sessions of that day are found by whoever asks for a user's.
#[tokio::test]
async fn sessions_of_the_release_before_are_listed_and_ended() {
    for house in House::each().await {
        let bff = house.start();
        let mut one = house.alive(&bff, "one of two");
        let mut other = house.alive(&bff, "the other of two");
        let mut bob = house.alive(&bff, "a session");
        let tags = BTreeSet::from([tag(&mut one).await, tag(&mut other).await]);
        tag(&mut bob).await;
        let reply = one.fetch(Fetch::get("/bff/sessions").csrf()).await.json();
        let listed = reply["sessions"].as_array().unwrap().iter();
        let listed: BTreeSet<String> = listed
            .map(|session| session["tag"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(listed, tags, "{}", house.name());

        // Where cookies are all there is, nobody administers them.
        if house.kind != Kind::Cookie {
            let path = "/api/sessions?subject=bob";
            let of_bob = bff.administer("GET", path).await.json();
            let found = of_bob["sessions"].as_array().unwrap();
            assert_eq!(found.len(), 1, "{}: {of_bob}", house.name());
            assert_eq!(found[0]["readable"], true);
            let path = format!("/api/sessions/{}", found[0]["id"].as_str().unwrap());
            assert_eq!(bff.administer("DELETE", &path).await.status, 204);
            assert_eq!(bob.session().await["ended"], "revoked", "{}", house.name());
        }

        let end = Fetch::new("DELETE", "/bff/sessions").csrf();
        assert_eq!(one.fetch(end).await.status, 200);
        let ended = other.session().await["ended"].clone();
        assert_eq!(ended, "signed_out_elsewhere", "{}", house.name());
        assert_eq!(one.signed_in().await.as_deref(), Some("alice"));
    }
}

/// E9, E10: the provider ends sessions of that day, one by its `sid` and all of a user's.
#[tokio::test]
async fn the_provider_ends_sessions_of_the_release_before() {
    for house in House::each().await {
        let bff = house.start();
        let sid = Provider::sid_of(&house.left.alive["a session"].bearer);
        let by_sid = house.provider.logout_token(None, sid.as_deref());
        let by_sub = house.provider.logout_token(Some("alice"), None);
        for token in [by_sid, by_sub] {
            let reply = logout_call(&token).send(bff.public_addr).await;
            assert_eq!(reply.status, 200, "{}: {}", house.name(), reply.text());
        }
        for (what, is_over) in [
            ("a session", true),
            ("one of two", true),
            ("the other of two", true),
            ("a session without a sid", false),
            ("a session with renewed tokens", false),
        ] {
            let session = house.alive(&bff, what).session().await;
            let ended = session["ended"].as_str();
            // A cookie that was never seen since carries no more than itself.
            let expected = is_over.then_some("provider_logout");
            assert_eq!(ended, expected, "{what} of {}: {session}", house.name());
            assert_eq!(session["authenticated"], !is_over, "{what}");
        }
    }
}

/// A browser whose session ended that day is told why, in the same words.
#[tokio::test]
async fn an_end_of_the_release_before_says_why() {
    for house in House::each().await {
        let bff = house.start();
        assert_eq!(house.left.over.is_empty(), house.kind == Kind::Cookie);
        for (how, was) in &house.left.over {
            let what = format!("{how} of {}", house.name());
            let mut browser = house.browser(&bff, &was.cookies);
            assert_eq!(told(&call(&mut browser).await), was.refusal, "{what}");
            let mut browser = house.browser(&bff, &was.cookies);
            let session = browser.session().await;
            assert_eq!(session["ended"], was.ended, "{what}: {session}");
        }
    }
}

/// B4, C6, E9, E10: a login that was under way completes, one that is over leads where it was going, and
/// what was used that day is used.
#[tokio::test]
async fn a_login_under_way_completes() {
    for house in House::each().await {
        let bff = house.start();
        for (which, login) in &house.left.logins {
            let what = format!("{which} of {}", house.name());
            let mut browser = house.browser(&bff, &login.cookies);
            let visit = browser.come_back(&login.callback.parse().unwrap()).await;
            assert_eq!(way(&visit), login.answer, "{what}");
            if which == "one under way" {
                let user = browser.signed_in().await;
                assert_eq!(user.as_deref(), Some("leo"), "{what}");
            }
        }
        if let Some((token, answer)) = &house.left.used_logout_token {
            let reply = logout_call(token).send(bff.public_addr).await;
            assert_eq!(told(&reply), *answer, "{}", house.name());
        }
    }
}

/// B4, G5: what is written here is read by a node of release 0.2.0 that still runs, or runs again:
/// cookies, logins, records that were there and new ones. The store calls itself by no newer version.
#[tokio::test]
async fn what_is_written_is_read_by_the_release_before() {
    for house in House::each().await {
        let version = house.store.schema_version().await;
        let bff = house.start();
        let key = &house.left.key;
        bff.clock()
            .advance(Duration::from_secs(ACCESS_TOKEN_SECONDS));
        let mut bearers = BTreeSet::new();
        let mut browsers = Vec::new();
        for was in house.left.alive.values() {
            browsers.push(house.browser(&bff, &was.cookies));
        }
        let mut olivia = house.browser(&bff, &[]);
        olivia.sign_in("olivia").await;
        browsers.push(olivia);
        for browser in &mut browsers {
            assert_eq!(call(browser).await.status, 200, "{}", house.name());
            bearers.insert(house.upstream.last().bearer().unwrap().to_owned());
        }
        let mut pat = house.browser(&bff, &[]);
        pat.begin_login("login_hint=pat&return_to=/far/away").await;
        let names = pat.login_cookies();
        let login = pat.jar.cookie(&names[0]).unwrap();
        let read = reader::pending_login(key, &login.name, &login.value);
        assert_eq!(read.return_to, "/far/away");
        assert!(login.name.starts_with(LOGIN_COOKIE));
        drop(bff);

        let mut read = BTreeSet::new();
        if house.kind == Kind::Cookie {
            for browser in &browsers {
                let chunks = (1..).map_while(|number| {
                    let name = format!("{SESSION_COOKIE}-{number}");
                    Some(browser.jar.cookie(&name)?.value.as_str())
                });
                let whole = browser.jar.cookie(SESSION_COOKIE).into_iter();
                let chunks: Vec<&str> = whole
                    .map(|cookie| cookie.value.as_str())
                    .chain(chunks)
                    .collect();
                read.insert(reader::carried(key, SESSION_COOKIE, &chunks).access_token);
            }
        } else {
            let records = house.store.records().await;
            let hashes: Vec<_> = records.iter().map(|record| record.hash.clone()).collect();
            for browser in &browsers {
                let cookie = browser.session_cookie().unwrap();
                let hash = reader::session_hash(key, SESSION_COOKIE, &cookie);
                assert!(hashes.contains(&hash), "{}", house.name());
            }
            for record in &records {
                read.insert(record.contents(key).access_token);
            }
        }
        assert!(bearers.is_subset(&read), "{}", house.name());
        assert_eq!(house.store.schema_version().await, version);
    }
}

/// A node of release 0.2.0 inserts as it always did, whatever we have made of the tables since: beside
/// us in an upgrade, after us where that is rolled back. Its sessions are alive here, and found.
#[tokio::test]
async fn what_the_release_before_writes_after_us_is_alive() {
    for house in House::each_empty().await {
        house.start().ready().await;
        let left = &house.left;
        house.store.write_beside(&left.rows, left.made).await;
        let bff = house.start();
        let mut one = house.alive(&bff, "one of two");
        assert_eq!(call(&mut one).await.status, 200, "{}", house.name());
        let token = house.provider.logout_token(Some("alice"), None);
        let reply = logout_call(&token).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let session = house.alive(&bff, "the other of two").session().await;
        assert_eq!(session["ended"], "provider_logout", "{}", house.name());
        let mut bob = house.alive(&bff, "a session");
        assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
    }
}
