//! `bff dev` with several sites, by the binary: each is whole, and one provider stands behind them all.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::browser::{Browser, Fetch};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::ports::free_port;
use crate::support::process::Process;

/// A site as a browser finds it.
#[derive(Debug, Clone)]
struct Place {
    origin: String,
    mount: &'static str,
    base_path: &'static str,
}

impl Place {
    fn at(host: &str, port: u16, mount: &'static str, base_path: &'static str) -> Self {
        Self {
            origin: format!("http://{host}:{port}"),
            mount,
            base_path,
        }
    }

    fn url(&self) -> String {
        format!("{}{}/", self.origin, self.mount)
    }

    async fn sign_in(&self, browser: &mut Browser, hint: &str) {
        let login = format!("{}{}/login{hint}", self.origin, self.base_path);
        let visit = browser.visit(&login).await;
        assert_eq!(visit.last().status, 200, "{:?}", visit.paths());
        assert_eq!(visit.url().as_str(), self.url());
    }

    async fn session(&self, browser: &mut Browser) -> Value {
        browser.stand_on(&self.url());
        let endpoint = format!("{}/session?slide=false", self.base_path);
        browser.fetch(Fetch::get(&endpoint).csrf()).await.json()
    }

    async fn user(&self, browser: &mut Browser) -> Value {
        self.session(browser).await["user"]["sub"].clone()
    }

    /// Why the session has ended, once it has.
    async fn end(&self, browser: &mut Browser) -> Value {
        soon("the end of a session", async {
            loop {
                let session = self.session(browser).await;
                if session["authenticated"] == false {
                    break session["ended"].clone();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    async fn sign_out(&self, browser: &mut Browser) {
        browser.stand_on(&self.url());
        let logout = Fetch::new("POST", &format!("{}/logout", self.base_path));
        let answer = browser.fetch(logout.csrf()).await.json();
        let visit = browser.click(answer["redirect_to"].as_str().unwrap()).await;
        assert_eq!(visit.url().as_str(), self.url(), "{:?}", visit.paths());
    }
}

/// A shop, a team on a path of its host with endpoints of another name, and a desk as it is in production.
fn folder(port: u16) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sites")).unwrap();
    let main = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\nsites = \"sites\"\n\
         [[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n"
    );
    let shop = format!("public_url = \"http://shop.localhost:{port}\"\n");
    let team =
        format!("public_url = \"http://shop.localhost:{port}/team\"\nbase_path = \"/auth\"\n");
    let desk = "public_url = \"https://desk.example.com\"\n\
                tls = { cert = \"desk.crt\", key = \"desk.key\" }\n\
                [provider]\nissuer = \"https://id.example.com\"\nclient_id = \"desk\"\n\
                client_secret = \"env:DESK_SECRET\"\n";
    for (name, text) in [
        ("bff.toml", main.as_str()),
        ("sites/shop.toml", &shop),
        ("sites/team.toml", &team),
        ("sites/desk.toml", desk),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// DESIGN §7: it served the first site, and had no client for the others.
#[tokio::test]
async fn bff_dev_serves_several_sites() {
    let port = free_port();
    let folder = folder(port);
    let mut process = Process::start(&["dev"], folder.path(), &BTreeMap::new());
    let misbehave = process.line("misbehave  ").await;
    let control = misbehave.split_whitespace().last().unwrap().to_owned();
    let places = [
        Place::at("desk.example.com.localhost", port, "", "/bff"),
        Place::at("shop.localhost", port, "", "/bff"),
        Place::at("shop.localhost", port, "/team", "/team/auth"),
    ];
    let [desk, shop, team] = &places;
    for (name, place) in ["desk", "shop", "team"].into_iter().zip(&places) {
        let line = process.line(&place.url()).await;
        assert!(line.trim_start().starts_with(name), "{line}");
    }

    let mut browser = Browser::new(nine_o_clock());
    // At the last one the provider knows bob, who came in between: alice begins another session there.
    for (place, user) in [(shop, "alice"), (desk, "bob"), (team, "alice")] {
        let hint = format!("?login_hint={user}");
        place.sign_in(&mut browser, &hint).await;
        assert_eq!(place.user(&mut browser).await, user, "{place:?}");
        let api = format!("{}/api/hello", place.mount);
        let hello = browser.fetch(Fetch::get(&api).csrf()).await;
        assert_eq!(hello.json()["sub"], user, "{place:?}: {}", hello.text());

        // The demo is at home at each, and knows of the others.
        let page = browser.visit(&place.url()).await.last().text();
        let endpoints = format!("data-bff=\"{}\"", place.base_path);
        assert!(page.contains(&endpoints), "{page}");
        let own = format!("<base href=\"{}/\">", place.mount);
        assert!(page.contains(&own), "{page}");
        browser.stand_on(&place.url());
        let menu = browser.fetch(Fetch::get("dev/sites.json")).await.json();
        assert_eq!(
            (&menu["all"], &menu["here"]["url"]),
            (&json!(3), &json!(place.url()))
        );
    }

    // By the address of none of them a developer is told where they are.
    let nowhere = browser.visit(&format!("http://localhost:{port}/")).await;
    assert_eq!(nowhere.last().status, 404);
    let said = nowhere.last().text();
    for place in &places {
        let link = format!("<a href=\"{}\">", place.url());
        assert!(said.contains(&link), "{said}");
    }

    // Each is a session of its own at the provider, whose end is told to its own site.
    shop.sign_out(&mut browser).await;
    assert_eq!(shop.user(&mut browser).await, Value::Null);
    for (place, user) in [(desk, "bob"), (team, "alice")] {
        assert_eq!(place.user(&mut browser).await, user, "{place:?}");
    }
    browser.stand_on(&control);
    let state = browser.fetch(Fetch::get("/control/state")).await.json();
    let apps = |user: &str| {
        let sessions = state["sessions"].as_array().unwrap().clone();
        let mut own = sessions
            .into_iter()
            .filter(|session| session["user"] == user);
        let session = own.next().unwrap();
        assert!(own.next().is_none(), "{state}");
        session
    };
    assert_eq!(apps("alice")["apps"], json!(["team"]));
    let bobs = apps("bob");
    assert_eq!(bobs["apps"], json!(["desk"]));
    let change = json!({ "sign_out_session": bobs["sid"] });
    browser
        .fetch(Fetch::new("POST", "/control/state").json(&change))
        .await;
    assert_eq!(desk.end(&mut browser).await, "provider_logout");
    assert_eq!(team.user(&mut browser).await, "alice");

    // Who is signed in at the provider signs in to the next site with no form, and out of both at once.
    shop.sign_in(&mut browser, "").await;
    assert_eq!(shop.user(&mut browser).await, "alice");
    shop.sign_out(&mut browser).await;
    assert_eq!(team.end(&mut browser).await, "provider_logout");
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}

/// A desk for two customers as it is in production, one of them on a domain of its own.
fn folder_of_tenants(port: u16) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sites")).unwrap();
    let main = format!("[server]\nlisten = \"127.0.0.1:{port}\"\nsites = \"sites\"\n");
    let desk = "public_url = \"https://{tenant}.desk.example.com\"\n\
                no_tenant = \"https://desk.example.com/choose\"\n\
                tenants_file = \"../tenants.toml\"\n\
                [[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n\
                request_headers = { set = { X-Plan = \"{plan}\" } }\n\
                [tenants.acme]\nplan = \"Team\"\n";
    let more = "[globex]\nhost = \"support.globex.example\"\nplan = \"Enterprise\"\n";
    for (name, text) in [
        ("bff.toml", main.as_str()),
        ("sites/desk.toml", desk),
        (
            "sites/shop.toml",
            "public_url = \"https://shop.example.com\"\n",
        ),
        ("tenants.toml", more),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// DESIGN §7: each tenant is a site of its own here too, with its client and its variables.
#[tokio::test]
async fn bff_dev_serves_tenants() {
    let port = free_port();
    let folder = folder_of_tenants(port);
    let mut process = Process::start(&["dev"], folder.path(), &BTreeMap::new());
    process.line("misbehave  ").await;
    let places = [
        Place::at("acme.desk.example.com.localhost", port, "", "/bff"),
        Place::at("support.globex.example.localhost", port, "", "/bff"),
    ];
    let [acme, globex] = &places;
    for (name, place) in ["acme", "globex"].into_iter().zip(&places) {
        let line = process.line(&place.url()).await;
        assert!(line.trim_start().starts_with(name), "{line}");
    }
    let mut browser = Browser::new(nine_o_clock());
    for (place, user, plan) in [(acme, "alice", "Team"), (globex, "bob", "Enterprise")] {
        place
            .sign_in(&mut browser, &format!("?login_hint={user}"))
            .await;
        assert_eq!(place.user(&mut browser).await, user, "{place:?}");
        let hello = browser.fetch(Fetch::get("/api/hello").csrf()).await.json();
        assert_eq!(hello["headers"]["x-plan"], plan, "{place:?}");
        let menu = browser.fetch(Fetch::get("/dev/sites.json")).await.json();
        assert_eq!(
            (&menu["all"], &menu["here"]["url"]),
            (&json!(3), &json!(place.url()))
        );
        assert_eq!(menu["here"]["site"], "desk");
    }
    acme.sign_out(&mut browser).await;
    assert_eq!(acme.user(&mut browser).await, Value::Null);
    assert_eq!(globex.user(&mut browser).await, "bob");

    let nobodys = format!("http://nobody.desk.example.com.localhost:{port}/");
    let sent = browser.open(&nobodys).await;
    let choose = format!("http://desk.example.com.localhost:{port}/choose");
    assert_eq!(sent.header("location"), Some(&*choose), "{sent:?}");
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}

/// DESIGN §7: the choice of a provider is seen here too, and each of several signs in; all of them were one, and
/// the page was first met in production.
#[tokio::test]
async fn bff_dev_shows_the_choice_of_a_provider() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let main = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n\
         [provider]\nclient_id = \"app\"\nclient_secret = \"env:NOT_HERE\"\n\
         [providers.corp]\nissuer = \"https://id.example.com\"\nlabel = \"Staff\"\n\
         [providers.social]\nissuer = \"https://social.example.com\"\n"
    );
    fs::write(folder.path().join("bff.toml"), main).unwrap();
    let mut process = Process::start(&["dev"], folder.path(), &BTreeMap::new());
    let script = process.line("script  ").await;
    assert!(script.contains("&provider=corp'"), "{script}");
    let app = Place::at("localhost", port, "", "/bff");
    let mut browser = Browser::new(nine_o_clock());
    let page = browser.open(&format!("{}bff/login", app.url())).await;
    assert_eq!(page.status, 200, "{page:?}");
    for label in ["Staff", "social"] {
        assert!(page.text().contains(label), "{label}: {page:?}");
    }
    for name in ["corp", "social"] {
        let hint = format!("?provider={name}&login_hint=alice");
        app.sign_in(&mut browser, &hint).await;
        assert_eq!(app.session(&mut browser).await["provider"], name);
        app.sign_out(&mut browser).await;
        assert_eq!(app.user(&mut browser).await, Value::Null);
    }
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}
