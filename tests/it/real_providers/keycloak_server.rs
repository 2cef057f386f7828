//! Keycloak as a process, and realms in it that are imported from the example's file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::form_urlencoded;

use super::{House, Server, TOKEN_LIFE, administer, eventually, json_call, variable};
use crate::support::browser::{Browser, Visit};
use crate::support::call::Call;
use crate::support::node::ask;
use crate::support::ports::free_port;
use crate::support::wire::Reply;

/// The example's realm, which every story begins with.
const REALM: &str = include_str!("../../../examples/keycloak/realm.json");
/// What that file has the app at: for browsers, and for Keycloak.
const APP: [&str; 2] = ["http://localhost:8080", "http://bff:8080"];

/// A Keycloak that runs, or is down for a while.
#[derive(Debug)]
pub(super) struct Keycloak {
    pub(super) addr: SocketAddr,
    dir: TempDir,
    server: Option<Server>,
}

/// The one that all stories share that leave it running.
pub(super) async fn shared() -> &'static Keycloak {
    static SHARED: OnceCell<Keycloak> = OnceCell::const_new();
    SHARED.get_or_init(async || Keycloak::start().await).await
}

impl Keycloak {
    /// A fresh one, known to browsers by its address.
    pub(super) async fn start() -> Self {
        let mut keycloak = Self {
            addr: SocketAddr::from(([127, 0, 0, 1], free_port())),
            dir: TempDir::new().unwrap(),
            server: None,
        };
        let known_as = format!("http://{}", keycloak.addr);
        keycloak.launch(&known_as, &[]).await;
        keycloak
    }

    /// Starts it where it is down: what it keeps is there again. Browsers know it as `known_as`.
    pub(super) async fn launch(&mut self, known_as: &str, options: &[&str]) {
        let home = PathBuf::from(variable("BFF_TEST_KEYCLOAK"));
        let program = home.join("bin/kc.sh");
        let port = format!("--http-port={}", self.addr.port());
        let hostname = format!("--hostname={known_as}");
        let file = self.dir.path().join("db");
        let url = format!(
            "--db-url=jdbc:h2:file:{};NON_KEYWORDS=VALUE",
            file.display()
        );
        let command = [
            &[
                program.to_str().unwrap(),
                "start",
                "--optimized",
                "--http-enabled=true",
                "--http-host=127.0.0.1",
                &port,
                &hostname,
                &url,
            ],
            options,
        ];
        let environment = [
            ("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"),
            ("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin"),
            ("JAVA_OPTS_APPEND", "-Xmx768m"),
        ];
        self.server = Some(Server::start(
            &command.concat(),
            self.dir.path(),
            &environment,
        ));
        Server::listens(self.addr).await;
        let call = Call::bare("GET", "/realms/master").header("Host", &self.addr.to_string());
        eventually("Keycloak answers", async || {
            ask(self.addr, &call)
                .await
                .is_some_and(|reply| reply.status == 200)
        })
        .await;
    }

    /// Stops it, as a service manager does.
    pub(super) fn stop(&mut self) {
        self.server = None;
    }

    /// A new realm for `house`: the example's, with short-lived access tokens and its events kept.
    pub(super) async fn realm(&self, house: &House) -> Realm<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("realm-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut text = REALM.replace("default-roles-main", &format!("default-roles-{name}"));
        for address in APP {
            text = text.replace(address, &house.origin());
        }
        let mut realm: Value = serde_json::from_str(&text).unwrap();
        realm["realm"] = json!(name);
        realm["accessTokenLifespan"] = json!(TOKEN_LIFE.as_secs());
        realm["eventsEnabled"] = json!(true);
        realm["enabledEventTypes"] = json!(["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"]);
        let made = Realm {
            keycloak: self,
            name,
        };
        made.administer(json_call("POST", "/admin/realms", &realm))
            .await;
        made
    }

    /// A realm that was made before.
    pub(super) fn known(&self, name: &str) -> Realm<'_> {
        Realm {
            keycloak: self,
            name: name.to_owned(),
        }
    }

    async fn admin_token(&self) -> String {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "password"),
                ("client_id", "admin-cli"),
                ("username", "admin"),
                ("password", "admin"),
            ])
            .finish();
        let call = Call::bare("POST", "/realms/master/protocol/openid-connect/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = administer(self.addr, &call).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

/// A realm with the client `app`, and the users alice and bob.
#[derive(Debug)]
pub(super) struct Realm<'a> {
    keycloak: &'a Keycloak,
    pub(super) name: String,
}

impl Realm<'_> {
    /// Lines of `[provider]` for this realm.
    pub(super) fn provider(&self) -> String {
        format!(
            "issuer = \"{}\"\nclient_id = \"app\"\nclient_secret = \"demo-client-secret\"",
            self.at("")
        )
    }

    /// The address of a page of this realm.
    pub(super) fn at(&self, path: &str) -> String {
        format!("http://{}/realms/{}{path}", self.keycloak.addr, self.name)
    }

    async fn administer(&self, call: Call) -> Value {
        let token = self.keycloak.admin_token().await;
        let call = call.header("Authorization", &format!("Bearer {token}"));
        administer(self.keycloak.addr, &call).await
    }

    /// Asks the realm's administration.
    pub(super) async fn ask(&self, path: &str) -> Value {
        let path = format!("/admin/realms/{}{path}", self.name);
        self.administer(Call::bare("GET", &path)).await
    }

    /// Orders something of the realm's administration.
    pub(super) async fn order(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/admin/realms/{}{path}", self.name);
        self.administer(json_call(method, &path, body)).await
    }

    /// Changes members of the client; those of `attributes` one by one.
    pub(super) async fn change_client(&self, changes: Value) {
        let mut client = self.ask("/clients?clientId=app").await[0].clone();
        let id = client["id"].as_str().unwrap().to_owned();
        lay_over(&mut client, &changes);
        self.order("PUT", &format!("/clients/{id}"), &client).await;
    }

    /// The id of a user.
    async fn user(&self, name: &str) -> String {
        let found = self
            .ask(&format!("/users?exact=true&username={name}"))
            .await;
        found[0]["id"].as_str().unwrap().to_owned()
    }

    /// An administrator signs a user out, of everything.
    pub(super) async fn sign_out(&self, name: &str) {
        let user = self.user(name).await;
        let path = format!("/users/{user}/logout");
        self.order("POST", &path, &json!({})).await;
    }

    /// An administrator ends one session of a user.
    pub(super) async fn end_session(&self, name: &str) {
        let user = self.user(name).await;
        let sessions = self.ask(&format!("/users/{user}/sessions")).await;
        let session = sessions[0]["id"].as_str().unwrap();
        self.order("DELETE", &format!("/sessions/{session}"), &json!({}))
            .await;
    }

    /// How many sessions a user has there.
    pub(super) async fn sessions(&self, name: &str) -> usize {
        let user = self.user(name).await;
        let sessions = self.ask(&format!("/users/{user}/sessions")).await;
        sessions.as_array().unwrap().len()
    }

    /// How often something happened, by Keycloak's own word for it.
    pub(super) async fn events(&self, kind: &str) -> usize {
        let events = self.ask(&format!("/events?type={kind}&max=500")).await;
        events.as_array().unwrap().len()
    }

    /// A new signing key takes the place of the one before, which stays in the key set.
    pub(super) async fn rotate_keys(&self) {
        static PRIORITY: AtomicU32 = AtomicU32::new(200);
        let priority = PRIORITY.fetch_add(1, Ordering::Relaxed);
        let key = json!({
            "name": format!("rotated-{priority}"),
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": {
                "priority": [priority.to_string()],
                "enabled": ["true"],
                "active": ["true"],
                "algorithm": ["RS256"],
                "keySize": ["2048"],
            },
        });
        self.order("POST", "/components", &key).await;
    }

    /// The person signs in from the front page on, with their name as the password.
    pub(super) async fn sign_in(&self, house: &House, browser: &mut Browser, name: &str) {
        let visit = self.try_to_sign_in(house, browser, name).await;
        let last = visit.last();
        assert_eq!(
            visit.url().as_str(),
            house.at("/"),
            "{} {}",
            last.status,
            last.text()
        );
        assert!(house.is_signed_in(browser).await);
    }

    /// The same, wherever it leads.
    pub(super) async fn try_to_sign_in(
        &self,
        house: &House,
        browser: &mut Browser,
        name: &str,
    ) -> Visit {
        let form = browser.visit(&house.login()).await;
        assert!(asks_for_password(form.last()), "{:?}", form.last());
        log_in(browser, form.last(), name).await
    }
}

/// Whether it is Keycloak's form for name and password.
pub(super) fn asks_for_password(shown: &Reply) -> bool {
    shown.text().contains("kc-form-login")
}

/// Fills Keycloak's form in; the name is the password too. Goes on by itself where a page of the
/// product does.
pub(super) async fn log_in(browser: &mut Browser, form: &Reply, name: &str) -> Visit {
    let fields = [("username", name), ("password", name)];
    let visit = browser.fill_form_of(form, &fields).await;
    if visit.last().text().contains("http-equiv=\"refresh\"") {
        return browser.go_on(&visit.last().clone()).await;
    }
    visit
}

fn lay_over(value: &mut Value, changes: &Value) {
    match (value, changes) {
        (Value::Object(value), Value::Object(changes)) => {
            for (name, change) in changes {
                lay_over(value.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change.clone(),
    }
}
