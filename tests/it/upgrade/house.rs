//! A house as a release left it, and the product of today in it.

use std::net::SocketAddr;
use std::sync::Arc;

use bff::clock::ManualClock;
use serde_json::Value;

use super::left::{KeptCookie, Left};
use super::provider::{ISSUER, Provider};
use super::store::{Kind, Store};
use crate::support::bff::Bff;
use crate::support::browser::{Browser, Visit};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{parameter, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// What a release left in one store, and all that the product of today needs to go on with it.
pub(super) struct House {
    pub(super) kind: Kind,
    pub(super) left: Left,
    pub(super) store: Store,
    pub(super) provider: Provider,
    /// Its clock is everybody's; nobody signs in there.
    idp: Idp,
    pub(super) upstream: Upstream,
}

impl House {
    /// What each release left in each store, put back.
    pub(super) async fn each() -> Vec<Self> {
        let houses = Self::each_empty().await;
        for house in &houses {
            house
                .store
                .put_back(&house.left.rows, house.left.made)
                .await;
        }
        houses
    }

    /// The same with the store still empty.
    pub(super) async fn each_empty() -> Vec<Self> {
        let mut houses = Vec::new();
        for kind in Kind::ALL {
            for left in Left::by_each_release(kind) {
                let Some(store) = Store::start(kind).await else {
                    continue;
                };
                let clock = left.clock();
                houses.push(Self {
                    kind,
                    store,
                    provider: Provider::start(clock.clone()),
                    idp: Idp::start(&clock),
                    upstream: Upstream::start(),
                    left,
                });
            }
        }
        houses
    }

    /// The product of today.
    pub(super) fn start(&self) -> Bff<'_> {
        let mut builder = Bff::with(&self.idp, &self.upstream)
            .administered()
            .set("provider.issuer", ISSUER)
            .set("provider.internal_url", self.provider.internal_url())
            .set("provider.internal_http", true)
            .set("session.store", self.kind.word())
            .set("session.keys", vec!["env:BFF_SESSION_KEY"])
            .variable("BFF_SESSION_KEY", &self.left.key);
        if let Some(url) = self.store.url() {
            builder = builder
                .set("session.store_url", "env:BFF_STORE_URL")
                .variable("BFF_STORE_URL", &url);
        }
        builder.start()
    }

    /// A browser with what it held that day.
    pub(super) fn browser(&self, bff: &Bff<'_>, cookies: &[KeptCookie]) -> Browser {
        let mut browser = browser_at(bff.clock(), bff.public_addr, &self.provider);
        for cookie in cookies {
            browser.jar.plant(cookie.at("app.example"));
        }
        browser
    }

    /// The browser whose session is of this kind.
    pub(super) fn alive(&self, bff: &Bff<'_>, what: &str) -> Browser {
        self.browser(bff, &self.left.alive[what].cookies)
    }

    /// Which one it is, for whoever reads a failure.
    pub(super) fn name(&self) -> String {
        format!("{} on {}", self.left.release, self.kind.word())
    }
}

/// A browser that finds the product and the provider there.
pub(super) fn browser_at(
    clock: &Arc<ManualClock>,
    bff: SocketAddr,
    provider: &Provider,
) -> Browser {
    let mut browser = Browser::new(Arc::clone(clock));
    browser.resolve(PUBLIC_URL, bff);
    browser.resolve(ISSUER, provider.addr());
    browser.stand_on(PUBLIC_URL);
    browser
}

/// What `/bff/session` says, without the spans that run.
pub(super) fn steady(mut session: Value) -> Value {
    for (table, member) in [
        ("session", "expires_in"),
        ("session", "ends_in"),
        ("token", "expires_in"),
    ] {
        let table = session[table].as_object_mut();
        let span = table.and_then(|table| table.remove(member));
        assert!(span.is_some(), "{member} is missing");
    }
    session
}

/// Status and code.
pub(super) fn told(reply: &Reply) -> String {
    refusal(reply).trim().to_owned()
}

/// Each step of a visit; the queries hold what no two logins share.
pub(super) fn way(visit: &Visit) -> String {
    let step = |reply: &Reply| format!("{} {}", told(reply), reply.url.path());
    let steps: Vec<String> = visit.replies.iter().map(step).collect();
    steps.join(", ")
}

/// The code that the provider sends the browser back with.
pub(super) fn code_of(callback: &str) -> String {
    parameter(&callback.parse().unwrap(), "code").unwrap()
}
