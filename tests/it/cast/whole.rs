//! The whole cast with the product in the middle: the shortest story there is.

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn alice_signs_in_calls_the_api_and_signs_out() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser: Browser = bff.browser();

    let visit = browser
        .visit(&format!("{PUBLIC_URL}/bff/login?login_hint=alice"))
        .await;
    assert_eq!(visit.reply_of("/bff/callback").status, 303, "{visit:?}");
    browser.stand_on(PUBLIC_URL);
    let session = browser.fetch(Fetch::get("/bff/session").csrf()).await;
    assert_eq!(session.json()["user"]["sub"], "alice", "{session:?}");

    let called = browser.fetch(Fetch::get("/api/hello").csrf()).await;
    assert_eq!(called.status, 200, "{called:?}");
    let seen = upstream.the_one();
    let token = idp.core.introspect(seen.bearer().unwrap()).unwrap();
    assert_eq!(token.sub, "alice");

    let logout = session.json()["logout_url"].as_str().unwrap().to_owned();
    let visit = browser.click(&logout).await;
    assert!(
        visit.paths().contains(&idp.url("/end_session")),
        "{visit:?}"
    );
    browser.stand_on(PUBLIC_URL);
    let after = browser.fetch(Fetch::get("/bff/session").csrf()).await;
    assert_eq!(after.json()["authenticated"], false);
    assert!(
        bff.metrics()
            .is_some_and(|metrics| metrics.contains("bff_"))
    );
}
