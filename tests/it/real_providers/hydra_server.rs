//! Ory Hydra as a process. Its login, consent and logout pages are the test's: where Hydra sends the
//! browser, the test answers in the place of the page.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

use super::{House, Server, TOKEN_LIFE, administer, eventually, json_call, trail, variable};
use crate::support::browser::{Browser, Visit};
use crate::support::call::Call;
use crate::support::journey::parameter;
use crate::support::node::ask;
use crate::support::ports::free_port;

/// Where the pages would be; the browser goes nowhere there.
const PAGES: &str = "http://pages.example";

/// Hydra, with clients of the stories.
#[derive(Debug)]
pub(super) struct Hydra {
    public: SocketAddr,
    admin: SocketAddr,
    _dir: TempDir,
    _server: Server,
}

/// The one that all stories share.
pub(super) async fn shared() -> &'static Hydra {
    static SHARED: OnceCell<Hydra> = OnceCell::const_new();
    SHARED.get_or_init(Hydra::start).await
}

impl Hydra {
    async fn start() -> Self {
        let [public, admin] = [free_port(), free_port()];
        let dir = TempDir::new().unwrap();
        let life = TOKEN_LIFE.as_secs();
        let config = format!(
            "dsn: memory\nlog: {{ level: info }}\n\
             secrets: {{ system: [\"a secret of the tests alone\"] }}\n\
             serve:\n  public: {{ host: 127.0.0.1, port: {public} }}\n  \
             admin: {{ host: 127.0.0.1, port: {admin} }}\n\
             urls:\n  self: {{ issuer: \"http://127.0.0.1:{public}\" }}\n  \
             login: {PAGES}/login\n  consent: {PAGES}/consent\n  logout: {PAGES}/logout\n  \
             post_logout_redirect: {PAGES}/out\n\
             ttl: {{ access_token: {life}s }}\n"
        );
        fs::write(dir.path().join("hydra.yaml"), config).unwrap();
        let program = variable("BFF_TEST_HYDRA");
        let command = [&*program, "serve", "all", "--dev", "-c", "hydra.yaml"];
        let server = Server::start(&command, dir.path(), &[("SQA_OPT_OUT", "true")]);
        let hydra = Self {
            public: SocketAddr::from(([127, 0, 0, 1], public)),
            admin: SocketAddr::from(([127, 0, 0, 1], admin)),
            _dir: dir,
            _server: server,
        };
        Server::listens(hydra.public).await;
        // Its keys are made when they are first asked for, which takes longer than a login would wait.
        let call =
            Call::bare("GET", "/.well-known/jwks.json").header("Host", &hydra.public.to_string());
        eventually("Hydra has its keys", async || {
            ask(hydra.public, &call)
                .await
                .is_some_and(|reply| reply.status == 200)
        })
        .await;
        hydra
    }

    /// A new client for `house`, with these members beside those that it needs.
    pub(super) async fn client(&self, house: &House, more: &Value) -> Client<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("app-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut client = json!({
            "client_id": id,
            "client_secret": "hydra-client-secret",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": "openid offline_access profile email",
            "redirect_uris": [house.at("/bff/callback")],
            "post_logout_redirect_uris": [house.at("/bff/logout/callback")],
            "token_endpoint_auth_method": "client_secret_basic",
        });
        for (name, value) in more.as_object().unwrap() {
            client[name] = value.clone();
        }
        administer(self.admin, &json_call("POST", "/admin/clients", &client)).await;
        Client { hydra: self, id }
    }

    /// A new key for ID tokens takes the place of the one before, which stays in the key set.
    pub(super) async fn rotate_keys(&self) {
        let path = "/admin/keys/hydra.openid.id-token";
        let key = json!({ "alg": "RS256", "use": "sig", "kid": "" });
        administer(self.admin, &json_call("POST", path, &key)).await;
    }

    /// The page says yes: to the `login`, `consent` or `logout` whose challenge the browser was sent
    /// with. Goes on in the browser.
    async fn accept(&self, browser: &mut Browser, at: &Url, what: &str, with: &Value) -> Visit {
        self.decide(browser, at, what, "accept", with).await
    }

    async fn decide(
        &self,
        browser: &mut Browser,
        at: &Url,
        what: &str,
        decision: &str,
        with: &Value,
    ) -> Visit {
        let challenge = parameter(at, &format!("{what}_challenge"))
            .unwrap_or_else(|| panic!("no {what} challenge in {at}"));
        let path =
            format!("/admin/oauth2/auth/requests/{what}/{decision}?{what}_challenge={challenge}");
        let answer = administer(self.admin, &json_call("PUT", &path, with)).await;
        browser.stand_on(at.as_str());
        let visit = browser.click(answer["redirect_to"].as_str().unwrap()).await;
        if visit.left.is_none() && visit.last().text().contains("content=\"0;url=") {
            return browser.go_on(&visit.last().clone()).await;
        }
        visit
    }
}

/// A client of Hydra.
#[derive(Debug)]
pub(super) struct Client<'a> {
    hydra: &'a Hydra,
    id: String,
}

impl Client<'_> {
    /// Lines of `[provider]` for this client.
    pub(super) fn provider(&self) -> String {
        format!(
            "issuer = \"http://{}\"\nclient_id = \"{}\"\nclient_secret = \"hydra-client-secret\"",
            self.hydra.public, self.id
        )
    }

    /// The address of something of Hydra's.
    pub(super) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.hydra.public)
    }

    /// Until Hydra asks who it is.
    async fn begin(&self, house: &House, browser: &mut Browser) -> Url {
        let begun = browser.visit(&house.login()).await;
        begun
            .left
            .clone()
            .unwrap_or_else(|| panic!("{}", trail(&begun)))
    }

    /// The person signs in.
    pub(super) async fn sign_in(&self, house: &House, browser: &mut Browser, name: &str) {
        let at = self.begin(house, browser).await;
        let login = json!({ "subject": name, "remember": true });
        let visit = self.hydra.accept(browser, &at, "login", &login).await;
        let at = visit
            .left
            .clone()
            .unwrap_or_else(|| panic!("{}", trail(&visit)));
        let consent = json!({
            "grant_scope": ["openid", "offline_access"],
            "session": { "id_token": { "email": format!("{name}@example.com") } },
        });
        let visit = self.hydra.accept(browser, &at, "consent", &consent).await;
        assert_eq!(visit.url().as_str(), house.at("/"), "{}", trail(&visit));
        assert!(house.is_signed_in(browser).await);
    }

    /// The person cancels at Hydra: where that leads.
    pub(super) async fn cancel(&self, house: &House, browser: &mut Browser) -> Visit {
        let at = self.begin(house, browser).await;
        let no = json!({ "error": "access_denied", "error_description": "Not today." });
        self.hydra
            .decide(browser, &at, "login", "reject", &no)
            .await
    }

    /// The person goes to `link`, which leads to Hydra's end-session endpoint, and says yes there.
    pub(super) async fn sign_out(&self, browser: &mut Browser, link: &str) -> Visit {
        let visit = browser.click(link).await;
        let visit = if visit.left.is_none() {
            browser.go_on(&visit.last().clone()).await
        } else {
            visit
        };
        let at = visit
            .left
            .clone()
            .unwrap_or_else(|| panic!("{}", trail(&visit)));
        self.hydra.accept(browser, &at, "logout", &json!({})).await
    }

    /// The user takes back the consent, and with it every token.
    pub(super) async fn revoke_consent(&self, name: &str) {
        let path = format!(
            "/admin/oauth2/auth/sessions/consent?subject={name}&client={}",
            self.id
        );
        administer(self.hydra.admin, &Call::bare("DELETE", &path)).await;
    }
}
