//! The whole of a person's way, at every kind of site (DESIGN §7): on a host of its own and on a path, at
//! one provider and at the other, behind the certificate that is its host's.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::idp::ACCESS_TOKEN_SECONDS;
use crate::support::journey::refusal;
use crate::support::sites::{FourSites, PLACES, Place, Providers, call, session, sign_in};
use crate::support::upstream::{Answer, Upstream};

/// In one browser that is signed in at all of them all along: what is done at one is done there alone.
#[tokio::test]
async fn the_whole_way_goes_at_each_kind_of_site() {
    let providers = Providers::start(&nine_o_clock());
    let upstream = Upstream::start();
    upstream.answers(|_| Answer::text("answered"));
    let bff = FourSites::start(&providers, &upstream);
    let mut browser = bff.browser();
    for place in PLACES {
        sign_in(&mut browser, place, "alice").await;
    }
    for place in PLACES {
        let walk = Walk {
            bff: &bff,
            upstream: &upstream,
            place,
        };
        walk.is_told_who_it_is(&mut browser).await;
        walk.calls_the_api(&mut browser).await;
        walk.writes_by_the_rules(&mut browser).await;
        walk.is_refreshed(&mut browser).await;
        walk.steps_up(&mut browser).await;
        walk.all_are_signed_in_but(&mut browser, |_| false).await;
        walk.signs_out(&mut browser).await;
        walk.all_are_signed_in_but(&mut browser, |other| other == place)
            .await;
        sign_in(&mut browser, place, "alice").await;
        walk.is_signed_out_by_the_provider(&mut browser).await;
        let is_of_the_client = |other: Place| other.provider == place.provider;
        walk.all_are_signed_in_but(&mut browser, is_of_the_client)
            .await;
        for other in PLACES.into_iter().filter(|other| is_of_the_client(*other)) {
            sign_in(&mut browser, other, "alice").await;
        }
    }
}

struct Walk<'a> {
    bff: &'a FourSites<'a>,
    upstream: &'a Upstream,
    place: Place,
}

impl Walk<'_> {
    /// What the app's own script asks for at `path` of its site.
    async fn fetch(&self, browser: &mut Browser, method: &'static str, path: &str) -> Fetched {
        browser.stand_on(&format!("{}/", self.place.url));
        let before = self.upstream.seen().len();
        let target = format!("{}{path}", self.place.mount);
        let mut fetch = Fetch::new(method, &target).csrf();
        if method == "POST" {
            fetch = fetch.json(&json!({ "a": 1 }));
        }
        let reply = browser.fetch(fetch).await;
        let seen = self.upstream.seen();
        Fetched {
            status: reply.status,
            token: seen
                .get(before)
                .map(|seen| seen.bearer().unwrap().to_owned()),
        }
    }

    async fn is_told_who_it_is(&self, browser: &mut Browser) {
        let told = session(browser, self.place).await;
        assert_eq!(told["user"]["sub"], "alice", "{:?}: {told}", self.place);
        let base = format!("{}/bff/", self.place.mount);
        let logout = told["logout_url"].as_str().unwrap();
        assert!(logout.starts_with(&base), "{:?}: {told}", self.place);
    }

    /// With a token of the site's own provider.
    async fn calls_the_api(&self, browser: &mut Browser) {
        let fetched = self.fetch(browser, "GET", "/api/orders").await;
        assert_eq!(fetched.status, 200, "{:?}", self.place);
        self.is_of_its_provider(&fetched.token.unwrap());
    }

    fn is_of_its_provider(&self, token: &str) {
        for place in PLACES {
            let issued = self.bff.provider(place).issued_secrets();
            let is_issued = issued.iter().any(|(_, secret)| secret == token);
            let is_here = place.provider == self.place.provider;
            assert_eq!(is_issued, is_here, "{:?}: {place:?}", self.place);
        }
    }

    /// H1–H5: a write says whose it is, and comes from the site's own pages; what does not, reaches nobody.
    async fn writes_by_the_rules(&self, browser: &mut Browser) {
        let Self {
            place, upstream, ..
        } = *self;
        let fetched = self.fetch(browser, "POST", "/api/orders").await;
        assert_eq!(fetched.status, 200, "{place:?}");
        let before = upstream.seen().len();
        let target = format!("{}{}/api/orders", self.origin(), place.mount);
        browser.stand_on(&format!("{}/", place.url));
        let bare = browser.fetch(Fetch::new("POST", &target)).await;
        assert_eq!(refusal(&bare), "403 csrf", "{place:?}");
        for other in PLACES.into_iter().filter(|other| other.host != place.host) {
            browser.stand_on(&format!("{}/", other.url));
            let forged = Fetch::new("POST", &target).csrf().no_cors();
            let reply = browser.fetch(forged).await;
            let refused = refusal(&reply);
            assert_eq!(refused, "403 origin_not_allowed", "{place:?} by {other:?}");
        }
        assert_eq!(upstream.seen().len(), before, "{place:?}");
    }

    fn origin(&self) -> &'static str {
        self.place.url.trim_end_matches(self.place.mount)
    }

    /// Once, at its own provider.
    async fn is_refreshed(&self, browser: &mut Browser) {
        let count = || PLACES.map(|place| self.bff.provider(place).refreshes());
        let old = self.fetch(browser, "GET", "/api/orders").await;
        let before = count();
        self.bff
            .clock()
            .advance(Duration::from_secs(ACCESS_TOKEN_SECONDS + 60));
        let new = self.fetch(browser, "GET", "/api/orders").await;
        assert_eq!(new.status, 200, "{:?}", self.place);
        assert_ne!(new.token, old.token, "{:?}", self.place);
        self.is_of_its_provider(&new.token.unwrap());
        let again = self.fetch(browser, "GET", "/api/orders").await;
        assert_eq!(again.status, 200, "{:?}", self.place);
        for (at, place) in PLACES.into_iter().enumerate() {
            let own = usize::from(place.provider == self.place.provider);
            assert_eq!(count()[at], before[at] + own, "{:?}", self.place);
        }
    }

    /// A second login, which asks anew: the session goes on under another id, and the first one is nothing any
    /// more.
    async fn steps_up(&self, browser: &mut Browser) {
        let Self { place, bff, .. } = *self;
        let before = session(browser, place).await;
        let old = browser.jar.cookie(place.cookie).unwrap().value.clone();
        bff.clock().advance(Duration::from_secs(5));
        let return_to = format!("{}/settings", place.mount);
        let link = format!(
            "{}/bff/login?max_age=0&login_hint=alice&return_to={return_to}",
            place.url
        );
        let visit = browser.visit(&link).await;
        let callback = visit.reply_of(&format!("{}/bff/callback", place.mount));
        assert_eq!(callback.status, 303, "{place:?}: {}", callback.text());
        assert_eq!(callback.location().unwrap().path(), return_to, "{place:?}");
        let after = session(browser, place).await;
        assert_eq!(after["user"]["sub"], "alice", "{place:?}: {after}");
        assert_eq!(
            after["session"]["tag"], before["session"]["tag"],
            "{place:?}"
        );
        let reply = call(place, "GET", "/bff/user", &old)
            .send(bff.addr(place))
            .await;
        assert_eq!(reply.status, 401, "{place:?}: {reply:?}");
    }

    /// By the link, over the provider and back to the site's own front page.
    async fn signs_out(&self, browser: &mut Browser) {
        let Self { place, bff, .. } = *self;
        let told = session(browser, place).await;
        let visit = browser.click(told["logout_url"].as_str().unwrap()).await;
        let at_the_provider = visit.replies[0].location().unwrap();
        assert!(
            at_the_provider
                .as_str()
                .starts_with(&bff.provider(place).issuer),
            "{place:?}: {at_the_provider}"
        );
        let back = visit.reply_of(&format!("{}/bff/logout/callback", place.mount));
        let home = format!("{}/", place.mount);
        assert_eq!(back.location().unwrap().path(), home, "{place:?}");
        let fetched = self.fetch(browser, "GET", "/api/orders").await;
        assert_eq!((fetched.status, fetched.token), (401, None), "{place:?}");
    }

    async fn is_signed_out_by_the_provider(&self, browser: &mut Browser) {
        let Self { place, bff, .. } = *self;
        let token = bff.provider(place).logout_token(Some("alice"), None);
        let reply = bff.hand_over(place, &token).await;
        assert_eq!(reply.status, 200, "{place:?}: {reply:?}");
        let told = session(browser, place).await;
        assert_eq!(told["ended"], "provider_logout", "{told}");
        let fetched = self.fetch(browser, "GET", "/api/orders").await;
        assert_eq!((fetched.status, fetched.token), (401, None), "{place:?}");
    }

    async fn all_are_signed_in_but(
        &self,
        browser: &mut Browser,
        is_signed_out: impl Fn(Place) -> bool,
    ) {
        for other in PLACES {
            let here = session(browser, other).await["authenticated"] == true;
            assert_eq!(
                here,
                !is_signed_out(other),
                "{other:?} after {:?}",
                self.place
            );
        }
    }
}

/// What became of a call, and with which token it went on.
struct Fetched {
    status: u16,
    token: Option<String>,
}

/// N2: each host is shown its own certificate (a tunnel takes no other), and a connection carries the hosts
/// alone that its certificate is for.
#[tokio::test]
async fn each_host_has_its_certificate_and_no_other_answers_on_it() {
    let providers = Providers::start(&nine_o_clock());
    let bff = FourSites::start(&providers, &Upstream::start());
    for place in PLACES {
        for other in PLACES {
            let reply = call(other, "GET", "/bff/session", "none")
                .send(bff.addr(place))
                .await;
            let expected = if other.certificate == place.certificate {
                200
            } else {
                421
            };
            let what = format!("{} on a connection for {}", other.url, place.host);
            assert_eq!(reply.status, expected, "{what}: {reply:?}");
        }
    }
}
