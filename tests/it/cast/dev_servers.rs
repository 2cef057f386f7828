//! The development servers of `bff dev`, asked over HTTP as `bff` and a browser would.

use std::sync::Arc;

use bff::clock::{Clock as _, SystemClock, SystemRandomness};
use bff::dev::provider::parameters::Parameters;
use bff::dev::{DevApp, DevServers, DevSettings, DevUser, start};
use bff::web::site_id::SiteId;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use url::Url;

use super::relying_party::{RelyingParty, get, send_body};
use crate::support::browser::Browser;
use crate::support::call::Call;
use crate::support::clock::{nine_o_clock, soon};
use crate::support::upstream::Upstream;

/// The servers, whose app listens for logout tokens.
fn servers_of(app: &Upstream) -> DevServers {
    let claims = json!({ "name": "Alice <Adams>", "email": "alice@example.com" });
    let settings = DevSettings {
        users: vec![DevUser {
            name: "alice".to_owned(),
            claims: claims.as_object().unwrap().clone(),
        }],
        provider_port: 0,
        access_token_seconds: 300,
    };
    let main = DevApp {
        id: SiteId::main(),
        origin: origin_of(app).parse().unwrap(),
        mount: String::new(),
        base_path: "/bff".to_owned(),
        providers: Vec::new(),
    };
    start(
        &settings,
        vec![main],
        Arc::new(SystemClock),
        Arc::new(SystemRandomness),
    )
    .unwrap()
}

/// The app by a name that browsers and the back channel look for on this machine.
fn origin_of(app: &Upstream) -> String {
    format!("http://app.localhost:{}", app.addr().port())
}

fn relying_party(servers: &DevServers, app: &Upstream) -> RelyingParty {
    let main = SiteId::main();
    let client_id = servers.clients.id(&main, None);
    let secret = servers.clients.secret(&client_id);
    RelyingParty::new(&servers.issuer, &client_id, secret.expose()).at(&origin_of(app))
}

/// A page of another site can have its own name point at this machine (DNS rebinding), where the control
/// page turns the provider about and anybody signs in as anybody.
#[tokio::test]
async fn the_development_servers_answer_to_no_strangers_name() {
    let app = Upstream::start();
    let servers = servers_of(&app);
    for url in [&servers.control_url, &servers.demo_url] {
        let address = url.socket_addrs(|| None).unwrap()[0];
        for (host, expected) in [
            (address.to_string(), 200),
            (format!("localhost:{}", address.port()), 200),
            (format!("rebound.example:{}", address.port()), 421),
        ] {
            let call = Call::bare("GET", url.path()).header("Host", &host);
            let reply = call.send(address).await;
            assert_eq!(reply.status, expected, "{url} as {host}");
        }
    }
}

#[tokio::test]
async fn the_demo_api_shows_what_arrived_and_no_part_of_the_token() {
    let app = Upstream::start();
    let servers = servers_of(&app);
    let relying_party = relying_party(&servers, &app);
    let login = relying_party
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    let token = login["access_token"].as_str().unwrap();
    let api = |path: &str| servers.api_url.join(path).unwrap().to_string();

    let hello = get(&api("/api/hello?x=1"), Some(token)).await;
    assert_eq!(hello.status, 200);
    assert_eq!(hello.json()["path"], "/api/hello?x=1");
    assert_eq!(hello.json()["sub"], "alice");
    assert_eq!(hello.json()["bearer"], true);
    assert_eq!(hello.json()["headers"]["host"], servers.api_url.authority());
    let authorization = format!("Bearer {token}");
    let echo = send_body(
        "POST",
        &api("/api/echo"),
        &[("Authorization", &authorization)],
        "application/json",
        r#"{"a":1}"#,
    )
    .await
    .unwrap();
    assert_eq!(echo.json()["body"], json!({ "a": 1 }));
    for reply in [&hello, &echo] {
        assert!(!reply.text().contains(&token[..12]), "{}", reply.text());
    }
    let stranger = get(&api("/api/hello"), Some("not-a-token")).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(get(&api("/api/hello"), None).await.status, 401);
}

#[tokio::test]
async fn the_demo_api_streams_the_time_and_says_back_what_is_said() {
    let app = Upstream::start();
    let servers = servers_of(&app);
    let login = relying_party(&servers, &app)
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    let authorization = format!("Bearer {}", login["access_token"].as_str().unwrap());
    let port = servers.api_url.port().unwrap();

    let url = Url::parse(&format!("http://127.0.0.1:{port}/api/events")).unwrap();
    let mut wire = crate::support::wire::Wire::connect(([127, 0, 0, 1], port).into()).await;
    let request = format!(
        "GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
    );
    wire.send(request.as_bytes()).await;
    let head = soon("a head", wire.head(&url)).await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let event = soon("an event", wire.chunk()).await.unwrap();
    assert!(event.starts_with(b"event: time\ndata: 20"), "{event:?}");

    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let mut request = format!("ws://127.0.0.1:{port}/api/ws")
        .into_client_request()
        .unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", authorization.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let said = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(said, Message::text("hello"));
}

#[tokio::test]
async fn the_control_page_makes_the_provider_misbehave() {
    let app = Upstream::start();
    let servers = servers_of(&app);
    let state = format!("{}/state", servers.control_url);
    let change = async |change: Value| {
        send_body("POST", &state, &[], "application/json", &change.to_string())
            .await
            .unwrap()
    };
    let login = relying_party(&servers, &app)
        .log_in(&mut Browser::new(nine_o_clock()))
        .await
        .json();
    let seen = get(&state, None).await.json();
    assert_eq!(seen["fail"], "none");
    assert_eq!(seen["access_token_seconds"], 300);
    assert_eq!(seen["sessions"][0]["user"], "alice");
    assert_eq!(seen["requests"][1]["path"], "/token");
    assert_eq!(seen["requests"][1]["status"], 200);

    let discovery = format!("{}/.well-known/openid-configuration", servers.issuer);
    change(json!({ "fail": "503", "fail_endpoints": ["discovery"] })).await;
    assert_eq!(get(&discovery, None).await.status, 503);
    change(json!({ "fail": "none", "access_token_seconds": 5, "revoke_all": true })).await;
    assert_eq!(get(&discovery, None).await.status, 200);
    let userinfo = format!("{}/userinfo", servers.issuer);
    let token = login["access_token"].as_str();
    assert_eq!(get(&userinfo, token).await.status, 401);
    let again = relying_party(&servers, &app)
        .log_in(&mut Browser::new(nine_o_clock()))
        .await;
    assert_eq!(again.json()["expires_in"], 5);

    // A form of another site cannot do this.
    let form = send_body("POST", &state, &[], "text/plain", r#"{"revoke_all":true}"#).await;
    assert_eq!(form.unwrap().status, 415);
    assert_eq!(change(json!({ "unknown": 1 })).await.status, 400);
}

/// BCL §2.5: the control page signs a user out of one session, or of all, and the app is told;
/// whether it is there or not, the sign-out is done.
#[tokio::test]
async fn the_control_page_signs_users_out_and_tells_the_app() {
    let app = Upstream::start();
    let servers = servers_of(&app);
    let state = format!("{}/state", servers.control_url);
    let change = async |change: Value| {
        send_body("POST", &state, &[], "application/json", &change.to_string())
            .await
            .unwrap()
            .json()
    };
    let party = relying_party(&servers, &app);
    for _ in 0..3 {
        party.log_in(&mut Browser::new(nine_o_clock())).await;
    }
    let sessions = get(&state, None).await.json()["sessions"].clone();
    let sid = sessions[1]["sid"].as_str().unwrap();

    let left = change(json!({ "sign_out_session": sid })).await;
    assert_eq!(left["sessions"].as_array().unwrap().len(), 2);
    let one = told(&party, &app, 1).await;
    assert_eq!((&one["sid"], &one["sub"]), (&json!(sid), &json!("alice")));

    let left = change(json!({ "sign_out_user": "alice" })).await;
    assert_eq!(left["sessions"], json!([]));
    let all = told(&party, &app, 2).await;
    assert_eq!((all.get("sid"), &all["sub"]), (None, &json!("alice")));
    assert_ne!(one["jti"], all["jti"]);

    // What the app answered stands among the requests.
    let uri = format!("{}/bff/backchannel-logout", origin_of(&app));
    let listed = async || {
        let requests = get(&state, None).await.json()["requests"].clone();
        let lines = requests.as_array().unwrap().clone().into_iter();
        lines
            .filter(|line| line["path"] == uri)
            .map(|line| line["status"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    soon("two lines", async {
        while listed().await.len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(listed().await, [200, 200]);
    party.log_in(&mut Browser::new(nine_o_clock())).await;
    drop(app);
    change(json!({ "sign_out_user": "alice" })).await;
    soon("a third line", async {
        while listed().await.len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(listed().await, [200, 200, 0]);
}

/// The claims of the logout token that `app` was sent as the `count`th.
async fn told(party: &RelyingParty, app: &Upstream, count: usize) -> Map<String, Value> {
    app.wait("a logout token", |seen| {
        let told = seen.iter().filter(|seen| seen.method == "POST");
        told.filter(|seen| seen.complete).count() == count
    })
    .await;
    let seen = app.last();
    assert_eq!(
        (&*seen.method, &*seen.target),
        ("POST", "/bff/backchannel-logout")
    );
    assert_eq!(
        seen.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let form = Parameters::parse(&seen.body);
    let token = form.value("logout_token").unwrap();
    let now = SystemClock.now().unix_seconds();
    party.judge_logout_token(token, now).await.unwrap()
}

#[tokio::test]
async fn the_demo_app_is_served_with_a_strict_policy() {
    let app = Upstream::start();
    let servers = servers_of(&app);
    let at = |path: &str| servers.demo_url.join(path).unwrap().to_string();
    let index = get(&at("/"), None).await;
    let policy = index.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert_eq!(get(&at("/app.js"), None).await.status, 200);
    assert_eq!(get(&at("/gone.js"), None).await.status, 404);
    let info = get(&at("/dev/info.json"), None).await.json();
    assert_eq!(info["provider"], servers.issuer);
    assert_eq!(info["control"], servers.control_url.as_str());
    let page = get(servers.control_url.as_str(), None).await;
    assert_eq!(page.status, 200);

    // The users' names are text, never markup.
    let login = relying_party(&servers, &app).authorization_url(&[]);
    let asked = get(&login, None).await.text();
    assert!(asked.contains("Alice &lt;Adams&gt;"), "{asked}");
}
