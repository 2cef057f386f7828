//! The whole journey at a glance: sign in, call the API, sign out.

use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_person_signs_in_calls_the_api_and_signs_out() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();

    let visit = browser
        .visit(&format!("{PUBLIC_URL}/bff/login?login_hint=alice"))
        .await;
    assert_eq!(
        visit.reply_of("/bff/callback").status,
        303,
        "{:?}",
        visit.paths()
    );

    let session = browser
        .fetch(Fetch::get("/bff/session").csrf())
        .await
        .json();
    assert_eq!(session["user"]["sub"], "alice");
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(reply.status, 200);
    assert!(upstream.the_one().bearer().is_some());

    let logout = browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await
        .json();
    let onward = logout["redirect_to"].as_str().unwrap().to_owned();
    browser.click(&onward).await;
    let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(reply.json()["code"], "login_required");
    assert_eq!(
        upstream.seen().len(),
        1,
        "nothing more reached the upstream"
    );
}
