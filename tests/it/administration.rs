//! The administration API through the whole product (DESIGN §4, N1).

use std::collections::BTreeSet;
use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::oidc::GrantFacts;
use bff::session::record::facts_of_login;
use serde_json::{Value, json};

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, HOST, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::upstream::Upstream;
use crate::websocket::{closed_with, echo};

/// A page of the list.
async fn page(bff: &Bff<'_>, query: &str) -> (Vec<Value>, Option<String>) {
    let path = format!("/api/sessions?{query}");
    let reply = bff.administer("GET", &path).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let page = reply.json();
    let next = page["next"].as_str().map(str::to_owned);
    (page["sessions"].as_array().unwrap().clone(), next)
}

/// The id of the one session that `query` finds.
async fn the_one(bff: &Bff<'_>, query: &str) -> String {
    let (found, next) = page(bff, query).await;
    assert_eq!((found.len(), next), (1, None), "{query}");
    found[0]["id"].as_str().unwrap().to_owned()
}

/// The tag of the session that a browser is in, in its own words.
async fn tag(browser: &mut Browser) -> Value {
    browser.session().await["session"]["tag"].clone()
}

/// N1: administration is on the second listener, and nowhere on the first.
#[tokio::test]
async fn the_public_listener_knows_no_administration() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).no_routes();
    let route = "path = '/other'".parse().unwrap();
    let bff = bff.route(route, &upstream).administered().start();
    let alice = signed_in(&bff, "alice").await;
    let key = format!("Bearer {}", crate::support::bff::ADMIN_KEY);
    for path in [
        "/api/sessions",
        "/api/stats",
        "/admin.js",
        "/",
        "/api/openapi.json",
    ] {
        assert_eq!(bff.administer("GET", path).await.status, 200, "{path}");
        for host in [HOST, "admin"] {
            let call = Call::get(path).of(&alice).with("Host", host);
            let call = call.header("Authorization", &key);
            let reply = call.send(bff.public_addr).await;
            assert_eq!(refusal(&reply), "404 no_route", "{path} as {host}");
        }
    }
    // Nor does a session of a user open anything there.
    for path in ["/api/sessions", "/api/stats"] {
        let call = Call::get(path).of(&alice).with("Host", "127.0.0.1");
        let reply = call.send(bff.admin_addr.unwrap()).await;
        assert_eq!(refusal(&reply), "401 unauthorized", "{path}");
    }
    assert!(upstream.seen().is_empty());
}

/// DESIGN §4: who is signed in is told as the browsers tell it, and no secret with it.
#[tokio::test]
async fn a_session_is_found_and_shown() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    assert_eq!(page(&bff, "").await, (vec![], None));
    let mut alice = signed_in(&bff, "alice").await;
    signed_in(&bff, "bob").await;
    let (all, _) = page(&bff, "").await;
    assert_eq!(all.len(), 2);
    bff.clock().advance(Duration::from_mins(10));
    let id = the_one(&bff, "subject=alice").await;
    assert_eq!(the_one(&bff, "q=alice").await, id);
    let shown = bff.administer("GET", &format!("/api/sessions/{id}")).await;
    let shown = shown.json();
    assert_eq!(shown["tag"], tag(&mut alice).await);
    let sid = shown["provider_sid"].as_str().unwrap();
    assert_eq!(the_one(&bff, &format!("sid={sid}")).await, id);
    for (member, expected) in [
        ("subject", "alice"),
        ("created_at", "2026-11-21T09:00:00Z"),
        ("last_seen", "2026-11-21T09:00:00Z"),
        ("expires_at", "2026-11-21T09:30:00Z"),
        ("ends_at", "2026-11-21T17:00:00Z"),
    ] {
        assert_eq!(shown[member], expected, "{member}");
    }
    assert_eq!(shown["readable"], true);
    // `tag` slid it.
    let shown = bff.administer("GET", &format!("/api/sessions/{id}")).await;
    assert_eq!(shown.json()["last_seen"], "2026-11-21T09:10:00Z");
    // Those that ran into a limit are not listed, whether they were swept or not.
    bff.clock().advance(Duration::from_mins(29));
    assert_eq!(the_one(&bff, "").await, id);
}

/// DESIGN §4: an administrator ends one session: its browser gets 401, its sockets close, its tokens
/// are revoked; the user's others go on.
#[tokio::test]
async fn one_session_is_ended() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).administered().start();
    let mut here = signed_in(&bff, "alice").await;
    let mut there = signed_in(&bff, "alice").await;
    let mut socket = here
        .web_socket("wss://app.example/api/socket")
        .await
        .unwrap();
    let tag = tag(&mut here).await;
    let (both, _) = page(&bff, "subject=alice").await;
    let ours = both.iter().find(|session| session["tag"] == tag).unwrap();
    let path = format!("/api/sessions/{}", ours["id"].as_str().unwrap());

    let ended = bff.administer("DELETE", &path).await;
    assert_eq!((ended.status, ended.text()), (204, String::new()));
    assert_eq!(closed_with(&mut socket).await, Some(1008));
    let refused = here.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(refusal(&refused), "401 session_expired");
    assert_eq!(
        here.session().await["ended"],
        Value::Null,
        "no cookie, no reason"
    );
    soon("the revocation", async {
        while idp.count(Endpoint::Revocation) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for method in ["DELETE", "GET"] {
        let again = bff.administer(method, &path).await;
        assert_eq!(refusal(&again), "404 no_such_session", "{method}");
    }
    let fine = there.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(fine.status, 200);
    assert_eq!(page(&bff, "").await.0.len(), 1);
}

/// DESIGN §4: and all of a user, who can sign in again.
#[tokio::test]
async fn all_sessions_of_a_user_are_ended() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    let mut alices = Vec::new();
    for _ in 0..3 {
        alices.push(signed_in(&bff, "alice").await);
    }
    let mut bob = signed_in(&bff, "bob").await;
    let end = || bff.administer("DELETE", "/api/sessions?subject=alice");
    assert_eq!(end().await.json()["ended"], 3);
    assert_eq!(end().await.json()["ended"], 0);
    for alice in &mut alices {
        assert_eq!(alice.session().await["ended"], "revoked");
    }
    assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
    alices[0].sign_in("alice").await;
    assert_eq!(alices[0].signed_in().await.as_deref(), Some("alice"));
}

/// With `provider.revoke_on_logout = false` an administrator's end leaves tokens alone too.
#[tokio::test]
async fn tokens_are_left_where_logout_leaves_them() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("provider.revoke_on_logout", false)
        .administered()
        .start();
    signed_in(&bff, "alice").await;
    let ended = bff
        .administer("DELETE", "/api/sessions?subject=alice")
        .await;
    assert_eq!(ended.json()["ended"], 1);
    // Stopping waits for whatever is under way.
    drop(bff);
    assert_eq!(idp.count(Endpoint::Revocation), 0);
}

/// DESIGN §4: pages stay good while people come and go: of those who stay, each is listed once.
#[tokio::test]
async fn pages_are_stable_while_people_come_and_go() {
    const PEOPLE: usize = 30;
    let idp = Idp::with_crowd(&nine_o_clock(), PEOPLE + 10);
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).administered().start();
    let mut staying = BTreeSet::new();
    for at in 0..PEOPLE {
        signed_in(&bff, &format!("user-{at}")).await;
        if at % 3 != 0 {
            staying.insert(format!("user-{at}"));
        }
    }
    let coming_and_going = async {
        for at in 0..10 {
            signed_in(&bff, &format!("user-{}", PEOPLE + at)).await;
            let path = format!("/api/sessions?subject=user-{}", at * 3);
            assert_eq!(bff.administer("DELETE", &path).await.json()["ended"], 1);
        }
    };
    let reading = async {
        let mut rounds = Vec::new();
        for _ in 0..8 {
            let (mut listed, mut next) = page(&bff, "limit=4").await;
            for _ in 0..100 {
                let Some(cursor) = next else { break };
                let (more, after) = page(&bff, &format!("limit=4&cursor={cursor}")).await;
                listed.extend(more);
                next = after;
            }
            rounds.push(listed);
        }
        rounds
    };
    let ((), rounds) = tokio::join!(coming_and_going, reading);
    for listed in rounds {
        let ids: BTreeSet<String> = listed.iter().map(|one| one["id"].to_string()).collect();
        assert_eq!(ids.len(), listed.len(), "one came twice");
        let subjects: BTreeSet<String> = listed
            .iter()
            .map(|one| one["subject"].as_str().unwrap().to_owned())
            .collect();
        assert!(staying.is_subset(&subjects), "{subjects:?}");
    }
    assert_eq!(page(&bff, "limit=200").await.0.len(), PEOPLE);
}

/// DESIGN §4: how many there are, and how much goes on, now and lately.
#[tokio::test]
async fn the_figures_are_of_what_happened() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    let alice = signed_in(&bff, "alice").await;
    let mut nobody = bff.browser();
    nobody
        .open(&format!("{PUBLIC_URL}/bff/callback?code=x&state=y"))
        .await;
    let stats = soon("a sample with a request in it", async {
        loop {
            let call = Call::get("/api/orders").of(&alice).send(bff.public_addr);
            assert_eq!(call.await.status, 200);
            let stats = bff.administer("GET", "/api/stats").await.json();
            let history = stats["history"].as_array().unwrap();
            if history.iter().any(|sample| sample["requests_per_s"] != 0.0) {
                break stats;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(stats["sessions"], 1);
    assert_eq!(
        (&stats["store"], &stats["store_state"]["state"]),
        (&"memory".into(), &"ok".into())
    );
    assert_eq!(
        (&stats["logins_total"], &stats["failed_logins_total"]),
        (&1.into(), &1.into())
    );
    assert!(stats["requests_total"].as_u64().unwrap() > 3, "{stats}");
    let sample = &stats["history"][0];
    assert_eq!(sample["at"], 1_795_251_600_000_i64);
    assert_eq!(sample["sessions"], 1);
}

/// N4: what an administrator did stands in the log, with the request that did it.
#[tokio::test]
async fn an_end_is_logged() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    signed_in(&bff, "alice").await;
    let id = the_one(&bff, "").await;
    let ended = bff
        .administer("DELETE", &format!("/api/sessions/{id}"))
        .await;
    let request = ended.header("x-request-id").unwrap();
    let lines = bff.logs().lines_with(request);
    assert!(
        lines
            .iter()
            .any(|line| line.contains(&id[..8]) && line.contains("administrator")),
        "{lines:#?}"
    );
}

/// DESIGN §4: people are looked for by what a caller says, the last name or the e-mail address.
/// Names were found by how the whole name begins alone, and addresses not at all.
#[tokio::test]
async fn a_session_is_found_by_last_name_and_by_email() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    signed_in(&bff, "alice").await;
    signed_in(&bff, "bob").await;
    let alice = the_one(&bff, "subject=alice").await;
    let email = page(&bff, "").await.0[0]["name"].clone();
    assert_eq!(email, "Alice Adams");
    for query in [
        "q=adams",
        "name=ADA",
        "q=alice%20adams",
        "email=alice@example.com",
        "email=Alice@Example.COM",
        "q=alice@example.com",
    ] {
        assert_eq!(the_one(&bff, query).await, alice, "{query}");
    }
    for query in [
        "name=dams",
        "email=alice",
        "email=nobody@example.com",
        "q=lice",
    ] {
        assert_eq!(page(&bff, query).await, (vec![], None), "{query}");
    }
    let (both, _) = page(&bff, "email=alice@example.com").await;
    assert_eq!(both[0]["client"], "127.0.0.1");
}

/// The list of all can be read by last use, page by page.
#[tokio::test]
async fn the_list_is_sorted_by_last_use() {
    let (idp, upstream) = (Idp::with_crowd(&nine_o_clock(), 7), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    for at in [3, 0, 6, 2, 5, 1, 4] {
        signed_in(&bff, &format!("user-{at}")).await;
        bff.clock().advance(Duration::from_mins(1));
    }
    let (mut subjects, mut cursor) = (Vec::new(), String::new());
    for _ in 0..7 {
        let (found, next) = page(&bff, &format!("sort=last_seen&limit=2{cursor}")).await;
        subjects.extend(
            found
                .iter()
                .map(|one| one["subject"].as_str().unwrap().to_owned()),
        );
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    let expected = [4, 1, 5, 2, 6, 0, 3].map(|at| format!("user-{at}"));
    assert_eq!(subjects, expected);
    for query in ["sort=colour", "sort=name&sort=name"] {
        let path = format!("/api/sessions?{query}");
        let reply = bff.administer("GET", &path).await;
        assert_eq!(refusal(&reply), "400 bad_request", "{query}");
    }
    let path = format!("/api/sessions?limit=2{cursor}");
    let foreign = bff.administer("GET", &path).await;
    assert_eq!(refusal(&foreign), "400 bad_cursor");
}

/// N4: with a key for each person, the event of an end says who it was.
#[tokio::test]
async fn an_end_says_who_ended_it() {
    const ANNA: &str = "the key of Anna, of many letters";
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .administered()
        .set("server.admin_keys.anna", "env:ANNAS_KEY")
        .variable("ANNAS_KEY", ANNA)
        .start();
    signed_in(&bff, "alice").await;
    let id = the_one(&bff, "").await;
    let as_anna = |method: &str, path: &str, key: &str| {
        let call = Call::bare(method, path).header("Host", "admin");
        let call = call.header("Authorization", &format!("Bearer {key}"));
        call.send(bff.admin_addr.unwrap())
    };
    let path = format!("/api/sessions/{id}");
    assert_eq!(as_anna("DELETE", &path, "not a key").await.status, 401);
    let ended = as_anna("DELETE", &path, ANNA).await;
    assert_eq!(ended.status, 204);
    let request = ended.header("x-request-id").unwrap();
    let lines = bff.logs().lines_with(request);
    let told = |line: &String| {
        line.contains("\"event\":\"session.ended\"")
            && line.contains("\"by\":\"anna\"")
            && line.contains("\"reason\":\"revoked\"")
    };
    assert!(lines.iter().any(told), "{lines:#?}");
    assert!(!bff.logs().text().contains(ANNA));
}

/// The address of a login travels where nodes of the release before read past it: a record with a field
/// more would not open there, and its user be signed out.
#[test]
fn the_release_before_reads_a_record_with_an_address() {
    let facts = json!({
        "sub": "alice", "iss": "https://id.example", "aud": ["app"], "azp": null,
        "auth_time": null, "iat": 1_795_251_600, "nonce": null, "scope": ["openid"],
    });
    let facts: GrantFacts = serde_json::from_value(facts).unwrap();
    let written = facts_of_login(
        &facts,
        "203.0.113.7".parse().unwrap(),
        serde_json::Map::new(),
    );
    assert!(written.contains("203.0.113.7"));
    let read: GrantFacts = serde_json::from_str(&written).unwrap();
    assert_eq!(read, facts);
}

/// §7: sessions are seen by site and by tenant, and all of one end in one action, which spares the others.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sites_are_told_apart_and_ended() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = at_three_sites(&idp, &upstream).await;
    let mut bob = signed_in(&bff, "bob").await;
    let sites = async |query: &str| {
        let (found, _) = page(&bff, query).await;
        let mut sites: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}", one["site"], one["tenant"]).replace('"', ""))
            .collect();
        sites.sort();
        sites
    };
    let (own, shop, acme) = (" null", "shop null", "shop acme");
    assert_eq!(sites("").await, [own, own, acme, acme, shop]);
    assert_eq!(sites("site=").await, [own, own]);
    assert_eq!(sites("site=&q=bob").await, [own]);
    assert_eq!(sites("site=shop").await, [acme, acme, shop]);
    assert_eq!(
        sites("site=shop&tenant=acme&subject=alice").await,
        [acme, acme]
    );
    let listed = bff.administer("GET", "/api/sites").await.json();
    let only = json!({ "sites": [{ "site": "", "tenants": [] }] });
    assert_eq!(listed, only, "the others are in the store alone");

    for (query, ended) in [
        ("site=shop&tenant=acme", 2),
        ("site=shop&tenant=acme", 0),
        ("site=shop", 1),
    ] {
        let path = format!("/api/sessions?{query}");
        let told = bff.administer("DELETE", &path).await.json();
        assert_eq!(told["ended"], ended, "{query}");
    }
    assert_eq!(sites("").await, [own, own]);
    assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
    let told = bff.administer("DELETE", "/api/sessions?site=").await;
    assert_eq!(told.json()["ended"], 2);
    assert_eq!(bob.session().await["ended"], "revoked");
}

/// A process whose store has sessions of sites that it does not serve.
#[cfg(feature = "sqlite")]
pub(crate) async fn at_three_sites<'a>(idp: &'a Idp, upstream: &'a Upstream) -> Bff<'a> {
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let bff = Bff::with(idp, upstream)
        .administered()
        .set("session.store", "sqlite")
        .set("session.store_url", "sqlite://sessions.db")
        .set("session.keys", vec!["env:BFF_SESSION_KEY"])
        .variable("BFF_SESSION_KEY", &key);
    crate::stores::sqlite::file_of_three_sites(&bff.path("sessions.db")).await;
    let bff = bff.start();
    bff.clock().advance(Duration::from_mins(1));
    bff
}
