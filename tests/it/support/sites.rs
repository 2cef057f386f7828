//! Four sites in one process: three on hosts of their own and one on a path, at two providers, where TLS
//! ends with two certificates.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use bff::clock::ManualClock;
use serde_json::Value;

use super::authority::Authority;
use super::bff::{Bff, BffBuilder};
use super::browser::{Browser, Fetch, Visit};
use super::call::Call;
use super::helper::Helper;
use super::idp::{Idp, ORIGINS, PATH_SITE, PUBLIC_URL, SECOND_SITE, THIRD_SITE};
use super::upstream::Upstream;
use super::wire::Reply;

/// A site as the tests know it: where it is, what its session cookie is called, where people sign in, and
/// which certificate it is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) url: &'static str,
    pub(crate) host: &'static str,
    pub(crate) mount: &'static str,
    pub(crate) cookie: &'static str,
    /// Which of the two providers.
    pub(crate) provider: usize,
    /// Which of the two certificates.
    pub(crate) certificate: usize,
}

/// That of bff.toml, two on hosts of their own, and one on a path of the first one's host. We have the same
/// `client_id` at both providers, where the same people have the same `sub`.
pub(crate) const PLACES: [Place; 4] = [
    Place {
        url: PUBLIC_URL,
        host: "app.example",
        mount: "",
        cookie: "__Host-Http-bff",
        provider: 0,
        certificate: 0,
    },
    Place {
        url: SECOND_SITE,
        host: "shop.example",
        mount: "",
        cookie: "__Host-Http-bff",
        provider: 1,
        certificate: 1,
    },
    Place {
        url: THIRD_SITE,
        host: "desk.example",
        mount: "",
        cookie: "__Host-Http-bff",
        provider: 0,
        certificate: 0,
    },
    Place {
        url: PATH_SITE,
        host: "app.example",
        mount: "/team",
        cookie: "__Host-Http-bff.team",
        provider: 1,
        certificate: 0,
    },
];

/// Who signs people in, at the first and at the second provider.
#[derive(Debug)]
pub(crate) struct Providers(pub(crate) [Idp; 2]);

/// The product with its four sites.
pub(crate) struct FourSites<'a> {
    bff: Bff<'a>,
    providers: &'a Providers,
    /// How browsers come to each of the origins.
    tunnels: Vec<(&'static str, Helper)>,
}

impl Providers {
    pub(crate) fn start(clock: &Arc<ManualClock>) -> Self {
        Self([Idp::start(clock), Idp::start(clock)])
    }

    /// Where people sign in at this site.
    pub(crate) fn of(&self, place: Place) -> &Idp {
        &self.0[place.provider]
    }
}

impl<'a> FourSites<'a> {
    pub(crate) fn start(providers: &'a Providers, upstream: &Upstream) -> Self {
        Self::start_with(providers, upstream, |builder| builder)
    }

    /// With a configuration that `change` has had its way with.
    pub(crate) fn start_with(
        providers: &'a Providers,
        upstream: &Upstream,
        change: impl FnOnce(BffBuilder<'a>) -> BffBuilder<'a>,
    ) -> Self {
        let [first, second] = &providers.0;
        let authority = Authority::new();
        let own = authority.certificate_for_all(&["app.example", "desk.example"]);
        let shops = authority.certificate_for("shop.example");
        let elsewhere = format!(
            "[provider]\nissuer = {:?}\nclient_secret = \"env:BFF_OTHER_SECRET\"\n",
            second.issuer
        );
        let tls = "tls = { cert = \"shop.crt\", key = \"shop.key\" }\n";
        let builder = Bff::with(first, upstream)
            .beside(second)
            .set("server.sites", "sites")
            .set("server.tls.cert", "tls.crt")
            .set("server.tls.key", "tls.key")
            .file("tls.crt", own.0)
            .file("tls.key", own.1)
            .file("sites/shop.crt", shops.0)
            .file("sites/shop.key", shops.1)
            .file(
                "sites/shop.toml",
                format!("public_url = {SECOND_SITE:?}\n{tls}{elsewhere}"),
            )
            .file("sites/desk.toml", format!("public_url = {THIRD_SITE:?}\n"))
            .file(
                "sites/team.toml",
                format!("public_url = {PATH_SITE:?}\n{elsewhere}"),
            );
        let bff = change(builder).start();
        let tunnels = ORIGINS.map(|origin| {
            let host = origin.trim_start_matches("https://");
            (origin, authority.tunnel(host, bff.public_addr))
        });
        Self {
            bff,
            providers,
            tunnels: tunnels.into(),
        }
    }

    /// A browser that finds each of the sites at its name, by TLS.
    pub(crate) fn browser(&self) -> Browser {
        let mut browser = self.bff.browser();
        for (origin, tunnel) in &self.tunnels {
            browser.resolve(origin, tunnel.addr());
        }
        browser
    }

    /// Where a connection leads that was opened for the host of `place`.
    pub(crate) fn addr(&self, place: Place) -> SocketAddr {
        let mut tunnels = self.tunnels.iter();
        let found = tunnels.find(|(origin, _)| origin.ends_with(&format!("//{}", place.host)));
        found.unwrap().1.addr()
    }

    /// Where people sign in at this site.
    pub(crate) fn provider(&self, place: Place) -> &'a Idp {
        self.providers.of(place)
    }

    /// The value of the session cookie that somebody got who signed in at this place.
    pub(crate) async fn cookie_of(&self, place: Place, user: &str) -> String {
        let mut browser = self.browser();
        let visit = sign_in(&mut browser, place, user).await;
        let callback: &Reply = visit.reply_of(&format!("{}/bff/callback", place.mount));
        let lines = callback.all("set-cookie");
        let own = format!("{}=", place.cookie);
        let line = lines.iter().find_map(|line| line.strip_prefix(&own));
        let value = line.unwrap_or_else(|| panic!("{place:?} sets no session cookie: {lines:?}"));
        value.split(';').next().unwrap().to_owned()
    }

    /// Hands a logout token over to this site, as a provider does.
    pub(crate) async fn hand_over(&self, place: Place, logout_token: &str) -> Reply {
        let target = format!("{}/bff/backchannel-logout", place.mount);
        Call::bare("POST", &target)
            .header("Host", place.host)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("logout_token={logout_token}"))
            .send(self.addr(place))
            .await
    }
}

impl<'a> Deref for FourSites<'a> {
    type Target = Bff<'a>;

    fn deref(&self) -> &Bff<'a> {
        &self.bff
    }
}

/// Signs `user` in at this site; the tab shows its front page afterwards.
pub(crate) async fn sign_in(browser: &mut Browser, place: Place, user: &str) -> Visit {
    let login = format!("{}/bff/login?login_hint={user}", place.url);
    let visit = browser.visit(&login).await;
    let callback = visit.reply_of(&format!("{}/bff/callback", place.mount));
    assert_eq!(callback.status, 303, "{place:?}: {}", callback.text());
    browser.stand_on(&format!("{}/", place.url));
    visit
}

/// What `/bff/session` of this site tells its page.
pub(crate) async fn session(browser: &mut Browser, place: Place) -> Value {
    browser.stand_on(&format!("{}/", place.url));
    let endpoint = format!("{}/bff/session", place.mount);
    browser.fetch(Fetch::get(&endpoint).csrf()).await.json()
}

/// A call of the site's own script, with this cookie under the site's name for it.
pub(crate) fn call(place: Place, method: &str, endpoint: &str, cookie: &str) -> Call {
    Call::bare(method, &format!("{}{endpoint}", place.mount))
        .header("Host", place.host)
        .header("X-CSRF", "1")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Cookie", &format!("{}={cookie}", place.cookie))
}
