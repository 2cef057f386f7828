//! Makes the fixtures: people sign in at a binary of that release, over HTTP and by the machine's
//! clock, and what is left in browsers and store is put down. `tests/upgrade/make_fixtures.sh` builds
//! the binary and calls this.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bff::clock::{Clock as _, ManualClock, SystemClock};

use super::house::{browser_at, code_of, steady, told, way};
use super::left::{Alive, KeptCookie, Left, Login, Over};
use super::provider::{HASTY, ISSUER, NAMELESS, Provider, WORDY};
use super::rows::Rows;
use super::store::{Kind, Store};

use crate::support::browser::{Browser, Fetch};
use crate::support::call::Call;
use crate::support::idp::{CLIENT_ID, PUBLIC_URL, logout_call};
use crate::support::node::{Node, ask};
use crate::support::upstream::Upstream;

/// Sealed by this: no secret, and 32 octets long.
const KEY: &[u8; 32] = b"a key that stands in a test file";

const ADMIN_KEY: &str = "the administrators' key of many letters";

/// The binary whose rows and cookies are to be put down.
#[expect(
    clippy::disallowed_methods,
    reason = "a choice of whoever makes the fixtures"
)]
fn older() -> PathBuf {
    let older = std::env::var_os("BFF_TEST_OLDER");
    older.expect("BFF_TEST_OLDER names a binary").into()
}

#[tokio::test]
#[ignore = "makes the fixtures of a release; see tests/upgrade/make_fixtures.sh"]
async fn make_fixtures() {
    for kind in Kind::ALL {
        let maker = Maker::start(kind).await;
        maker.put_down().await;
    }
}

/// A house of that release.
struct Maker {
    kind: Kind,
    release: String,
    key: String,
    node: Node,
    store: Store,
    provider: Provider,
    upstream: Upstream,
    clock: Arc<ManualClock>,
}

impl Maker {
    async fn start(kind: Kind) -> Self {
        let store = Store::start(kind).await.expect("a store of each kind");
        let provider = Provider::start(Arc::new(SystemClock));
        let upstream = Upstream::start();
        let key = URL_SAFE_NO_PAD.encode(KEY);
        let mut environment = BTreeMap::from([
            (
                "BFF_CLIENT_SECRET".to_owned(),
                "of no consequence".to_owned(),
            ),
            ("BFF_SESSION_KEY".to_owned(), key.clone()),
            ("BFF_ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned()),
        ]);
        let mut store_url = "";
        if let Some(url) = store.url() {
            environment.insert("BFF_STORE_URL".to_owned(), url);
            store_url = "store_url = \"env:BFF_STORE_URL\"\n";
        }
        let mut node = Node::new(environment, |addr, admin| {
            format!(
                "[server]\nlisten = \"{addr}\"\nadmin_listen = \"{admin}\"\n\
                 admin_key = \"env:BFF_ADMIN_KEY\"\npublic_url = \"{PUBLIC_URL}\"\n\
                 [provider]\nissuer = \"{ISSUER}\"\ninternal_url = \"{}\"\ninternal_http = true\n\
                 client_id = \"{CLIENT_ID}\"\nclient_secret = \"env:BFF_CLIENT_SECRET\"\n\
                 [session]\nkeys = [\"env:BFF_SESSION_KEY\"]\nstore = \"{}\"\n{store_url}\
                 [[route]]\npath = \"/api\"\nupstream = \"{}\"\n",
                provider.internal_url(),
                kind.word(),
                upstream.url(),
            )
        });
        let older = older();
        let version = Command::new(&older).arg("--version").output().unwrap();
        let release = String::from_utf8(version.stdout).unwrap();
        node.runs(older);
        node.start().await;
        Self {
            kind,
            release: release.trim().to_owned(),
            key,
            node,
            store,
            provider,
            upstream,
            clock: Arc::new(ManualClock::starting_at(SystemClock.now())),
        }
    }

    async fn put_down(mut self) {
        let kind = self.kind;
        let mut left = Left {
            release: self.release.clone(),
            day: SystemClock.now().rfc3339(),
            made: 0,
            key: self.key.clone(),
            alive: self.alive().await,
            over: BTreeMap::new(),
            logins: BTreeMap::new(),
            used_logout_token: None,
            rows: Rows::None,
        };
        // What ends is remembered by no other process where cookies are all there is.
        if kind != Kind::Cookie {
            left.over = self.over().await;
            left.used_logout_token = Some(self.used_logout_token().await);
            left.logins = self.logins_that_are_noted().await;
        }
        left.logins.extend(self.logins().await);
        self.node.stop().await;
        left.made = SystemClock.now().unix_millis();
        left.rows = self.store.rows().await;
        left.put_down(kind);
    }

    fn browser(&self) -> Browser {
        browser_at(&self.clock, self.node.addr, &self.provider)
    }

    async fn signed_in(&self, user: &str) -> Browser {
        let mut browser = self.browser();
        browser.sign_in(user).await;
        browser
    }

    async fn alive(&self) -> BTreeMap<String, Alive> {
        let mut alive = BTreeMap::new();
        for (what, user) in [
            ("one of two", "alice"),
            ("the other of two", "alice"),
            ("a session", "bob"),
            ("a session with renewed tokens", HASTY),
            ("a session without a sid", NAMELESS),
            ("a session with long tokens", WORDY),
        ] {
            let mut browser = self.signed_in(user).await;
            if user == HASTY {
                // Its first token ends by the clock of the machine.
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
            assert_eq!(reply.status, 200, "{what}: {reply:?}");
            let session = browser.session().await;
            assert_eq!(session["user"]["sub"], user);
            let kept = Alive {
                session: steady(session),
                bearer: self.upstream.last().bearer().unwrap().to_owned(),
                cookies: cookies(&browser),
            };
            alive.insert(what.to_owned(), kept);
        }
        alive
    }

    async fn over(&self) -> BTreeMap<String, Over> {
        let mut absent = BTreeMap::new();
        let carol = self.signed_in("carol").await;
        let reply = self.administer("GET", "/api/sessions?subject=carol").await;
        let id = reply.json()["sessions"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let reply = self
            .administer("DELETE", &format!("/api/sessions/{id}"))
            .await;
        assert_eq!(reply.status, 204);
        absent.insert("by an administrator", carol);

        let dave = self.signed_in("dave").await;
        let token = self.provider.logout_token(Some("dave"), None);
        let reply = logout_call(&token).send(self.node.addr).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        absent.insert("by the provider", dave);

        let erin = self.signed_in("erin").await;
        let mut elsewhere = self.signed_in("erin").await;
        let end = Fetch::new("DELETE", "/bff/sessions").csrf();
        assert_eq!(elsewhere.fetch(end).await.status, 200);
        absent.insert("from another browser", erin);

        let mut frank = self.signed_in("frank").await;
        let before = cookies(&frank);
        frank.sign_in("frank").await;
        for cookie in before {
            frank.jar.remove(&cookie.at("app.example").name);
            frank.jar.plant(cookie.at("app.example"));
        }
        absent.insert("by a newer login", frank);

        let grace = self.signed_in("grace").await;
        let logout = Call::new("POST", "/bff/logout").of(&grace);
        let reply = logout.send(self.node.addr).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        absent.insert("in another window", grace);

        let mut over = BTreeMap::new();
        for (how, mut browser) in absent {
            let cookies = cookies(&browser);
            let refused = Call::get("/api/orders").of(&browser);
            let refusal = told(&refused.send(self.node.addr).await);
            let session = browser.session().await;
            let ended = session["ended"]
                .as_str()
                .unwrap_or_else(|| panic!("{how}: {session}"));
            let kept = Over {
                cookies,
                ended: ended.to_owned(),
                refusal,
            };
            over.insert(how.to_owned(), kept);
        }
        over
    }

    /// Used, and used once more.
    async fn used_logout_token(&self) -> (String, String) {
        let token = self.provider.logout_token(Some("heidi"), None);
        let first = logout_call(&token).send(self.node.addr).await;
        assert_eq!(first.status, 200, "{first:?}");
        let second = logout_call(&token).send(self.node.addr).await;
        (token, told(&second))
    }

    /// Logins of which the store knows something.
    async fn logins_that_are_noted(&self) -> BTreeMap<String, Login> {
        // The browser that has its old cookie back, and comes once more.
        let mut used = self.under_way("ivan").await;
        self.play(&used).await;
        used.answer = self.play(&used).await;
        // The provider ends the sign-on while its browser is on the way.
        let mut late = self.under_way("judy").await;
        let rehearsed = self.under_way("kurt").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for login in [&late, &rehearsed] {
            let code = code_of(&login.callback);
            let sid = Provider::sid_of(&code).unwrap();
            let token = self.provider.logout_token(None, Some(&sid));
            let reply = logout_call(&token).send(self.node.addr).await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        late.answer = self.play(&rehearsed).await;
        BTreeMap::from([
            ("one that was used".to_owned(), used),
            ("one whose sign-on has ended".to_owned(), late),
        ])
    }

    async fn logins(&self) -> BTreeMap<String, Login> {
        let mut under_way = self.under_way("leo").await;
        under_way.answer = self.play(&self.under_way("mia").await).await;
        // *Back* to the provider, which sends the browser on at once.
        let begun = self.under_way("nina").await;
        let mut browser = self.browser();
        give(&mut browser, &begun.cookies);
        browser.come_back(&begun.callback.parse().unwrap()).await;
        let mut past = Login {
            cookies: cookies(&browser),
            ..begun
        };
        past.answer = self.play(&past).await;
        BTreeMap::from([
            ("one under way".to_owned(), under_way),
            ("one that is over".to_owned(), past),
        ])
    }

    async fn under_way(&self, user: &str) -> Login {
        let mut browser = self.browser();
        let query = format!("login_hint={user}&return_to=/far/away");
        let callback = browser.callback_url(&query).await;
        Login {
            cookies: cookies(&browser),
            callback: callback.to_string(),
            answer: String::new(),
        }
    }

    async fn play(&self, login: &Login) -> String {
        let mut browser = self.browser();
        give(&mut browser, &login.cookies);
        way(&browser.come_back(&login.callback.parse().unwrap()).await)
    }

    async fn administer(&self, method: &str, path: &str) -> crate::support::wire::Reply {
        let call = Call::bare(method, path)
            .header("Host", "127.0.0.1")
            .header("Authorization", &format!("Bearer {ADMIN_KEY}"));
        ask(self.node.admin, &call).await.unwrap()
    }
}

fn cookies(browser: &Browser) -> Vec<KeptCookie> {
    browser.jar.cookies().iter().map(KeptCookie::of).collect()
}

fn give(browser: &mut Browser, cookies: &[KeptCookie]) {
    for cookie in cookies {
        browser.jar.plant(cookie.at("app.example"));
    }
}
