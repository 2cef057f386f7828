//! The binary itself: what each command prints, how it ends, and `bff dev` from end to end.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bff::clock::{Clock as _, ManualClock, SystemClock};
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::mpsc;

use crate::support::bff::{ADMIN_KEY, Bff};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, home, sign_in, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::ports::free_port;
use crate::support::process::{Ended, Process, run};
use crate::support::upstream::{Answer, Upstream};

/// A folder with these files, and the environment beside it.
struct Place {
    dir: TempDir,
    environment: BTreeMap<String, String>,
}

impl Place {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let environment = [
            ("SECRET", "a client secret of some length"),
            ("KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            dir,
            environment: environment.into(),
        }
    }

    /// Where the client secret is the one that `idp` gave us.
    fn known_to(idp: &Idp, config: &str) -> Self {
        let mut place = Self::with(&[("bff.toml", config)]);
        let secret = idp.client_secret.clone();
        place.environment.insert("SECRET".to_owned(), secret);
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        run(arguments, self.path(), &self.environment).await
    }
}

/// A proper configuration; `server` and `issuer` are the test's.
fn config(server: &str, issuer: &str) -> String {
    format!(
        "[server]\n{server}\npublic_url = \"{PUBLIC_URL}\"\n\
         [provider]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
         client_secret = \"env:SECRET\"\n\
         [session]\nkeys = [\"env:KEY\"]\n\
         [[route]]\npath = \"/api\"\nupstream = \"http://localhost:9000\"\n"
    )
}

const FREE: &str = "listen = \"127.0.0.1:0\"";

/// N3: every fault of a configuration at once, each with its place and what to write instead.
#[tokio::test]
async fn every_fault_of_a_configuration_is_named_with_its_remedy() {
    let faulty = r#"
[server]
listen = "8443"
public_url = "http://app.example.com"
worker = 2

[provider]
issuer = "http://id.example.com"
client_id = "app"
client_secret = "env:NOT_THERE"
clock_skew = "10m"

[session]
keys = ["short"]
idle_timeout = 30

[[route]]
path = "api"
upstream = "orders.internal:9000"
auth = "none"
csrf = "origin"

[frontned]
dir = "dist"
"#;
    let place = Place::with(&[("bff.toml", faulty)]);
    let mut told = Vec::new();
    for command in ["check", "serve"] {
        let ended = place.run(&[command]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{command}");
        told.push(ended.err);
    }
    assert_eq!(told[0], told[1], "serve says what check says");
    insta::assert_snapshot!(told[0], @r#"
    bff.toml:3:10: server.listen is not an IP address with a port: "8443"; write "127.0.0.1:8443", or "0.0.0.0:8443" for all
    bff.toml:4:14: server.public_url is http, so that anyone on the way can take over sessions; write "https://app.example.com"
    bff.toml:5:1: server.worker is not a key of [server]; write workers instead
    bff.toml:8:10: provider.issuer is http, so that anyone on the way can sign in as anyone: "http://id.example.com"; write "https://id.example.com"; where this is bff's own name for the provider, write the browsers' as issuer and this one as provider.internal_url
    bff.toml:10:17: provider.client_secret is to come from the variable NOT_THERE, which is not set; set NOT_THERE for this process
    bff.toml:11:14: provider.clock_skew would accept tokens that ended long ago; write "5m" or less, and set the clocks
    bff.toml:14:9: session.keys (written out) holds no key of 32 bytes; put what bff keygen prints there
    bff.toml:15:16: session.idle_timeout has no unit; write "30s" or "30m", with its unit and in quotes
    bff.toml:18:8: route.path does not start with a slash: "api"; write one such as "/api"
    bff.toml:19:12: route.upstream is not an http or https address: "orders.internal:9000"; write one such as "http://orders.internal:9000"
    bff.toml:21:8: route.csrf has no meaning where auth is "none": no credential is carried; leave csrf out
    bff.toml:23:2: frontned is not a known table; write [frontend] instead
    "#);
}

/// DESIGN §1: what keeps `bff` from starting is one clear sentence, and exit code 2.
#[tokio::test]
async fn what_keeps_it_from_starting_is_one_sentence() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = format!("listen = \"{}\"", held.local_addr().unwrap());
    let tls = format!("{FREE}\ntls = {{ cert = \"tls.crt\", key = \"tls.key\" }}");

    let host = || vec!["app.example".to_owned()];
    let pair = rcgen::generate_simple_self_signed(host()).unwrap();
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let mut expired = rcgen::CertificateParams::new(host()).unwrap();
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = expired.self_signed(&pair.signing_key).unwrap().pem();

    let issuer = "http://localhost:1";
    for (name, config, files, says) in [
        (
            "a port in use",
            config(&in_use, issuer),
            vec![],
            "is in use by another program; stop it, or write another address",
        ),
        (
            "a key that is not there",
            config(&tls, issuer),
            vec![("tls.crt", cert.as_str())],
            "tls.key",
        ),
        (
            "a key that is none",
            config(&tls, issuer),
            vec![("tls.crt", cert.as_str()), ("tls.key", "no key")],
            "tls.key",
        ),
        (
            "an expired certificate",
            config(&tls, issuer),
            vec![("tls.crt", expired.as_str()), ("tls.key", key.as_str())],
            "server.tls.cert names tls.crt, which expired at 2021-01-01T00:00:00Z; renew the certificate",
        ),
        (
            "a session key that is not there",
            config(FREE, issuer).replace("env:KEY", "file:session.key"),
            vec![],
            "session.key",
        ),
    ] {
        let place = Place::with(&[("bff.toml", config.as_str())]);
        for (file, content) in files {
            std::fs::write(place.path().join(file), content).unwrap();
        }
        let ended = place.run(&["serve"]).await;
        assert_eq!(ended.code, Some(2), "{name}: {}", ended.err);
        let complaints: Vec<&str> = ended
            .err
            .lines()
            .filter(|line| !line.starts_with("warning: "))
            .collect();
        assert_eq!(complaints.len(), 1, "{name}: {}", ended.err);
        assert!(complaints[0].contains(says), "{name}: {}", ended.err);
        assert!(!ended.err.contains("panicked"), "{name}: {}", ended.err);
    }
}

/// A5: `check --online` tells a wrong issuer from one that is away, and a right one from both.
#[tokio::test]
async fn check_online_asks_the_provider() {
    let idp = Idp::start(&nine_o_clock());
    let check = async |issuer: &str| {
        let place = Place::known_to(&idp, &config(FREE, issuer));
        let ended = place.run(&["check", "--online"]).await;
        (ended.code, ended.out, ended.err)
    };
    let (code, out, err) = check(&idp.issuer).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("answers as it should"), "{out}");

    idp.misbehave(Fault::Set(
        Stage::Metadata,
        "issuer",
        json!("https://other.example"),
    ));
    let (code, _, err) = check(&idp.issuer).await;
    assert_eq!(code, Some(2), "{err}");
    let says = err.lines().last().unwrap();
    assert!(
        says.contains(&idp.issuer) && says.contains("another issuer"),
        "{says}"
    );

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (code, _, err) = check(&away).await;
    assert_eq!(code, Some(1), "{err}");
}

/// `check --online` holds what is configured against what is offered: an error where no login can work,
/// a warning where something else is lacking, each with what to write. It said "answers as it should".
#[tokio::test]
async fn check_online_compares_with_what_is_offered() {
    let set = |name, value| Fault::Set(Stage::Metadata, name, value);
    let algs = "id_token_signing_alg_values_supported";
    let cases = [
        (
            "id_token_algs = [\"RS256\"]",
            set(algs, json!(["EdDSA"])),
            Some(2),
            "bff.toml: provider.id_token_algs holds no algorithm that the provider signs ID tokens with; write id_token_algs = [\"EdDSA\"], or leave the key out",
        ),
        ("", set(algs, json!(["EdDSA"])), Some(0), ""),
        (
            "client_auth = \"client_secret_basic\"",
            set(
                "token_endpoint_auth_methods_supported",
                json!(["client_secret_post"]),
            ),
            Some(2),
            "write client_auth = \"client_secret_post\" with a client_secret",
        ),
        (
            "",
            set("require_pushed_authorization_requests", json!(true)),
            Some(0),
            "",
        ),
        (
            "pushed_authorization = \"never\"",
            set("require_pushed_authorization_requests", json!(true)),
            Some(2),
            "provider.pushed_authorization is \"never\", and the provider demands pushed",
        ),
        (
            "pushed_authorization = \"always\"",
            set("pushed_authorization_request_endpoint", json!(null)),
            Some(2),
            "provider.pushed_authorization asks for pushed requests, and the provider has no",
        ),
        (
            "",
            set("require_signed_request_object", json!(true)),
            Some(2),
            "write request_object = \"signed\", which takes a client_key",
        ),
        (
            "",
            set("revocation_endpoint", json!(null)),
            Some(0),
            "warning: bff.toml: provider.revoke_on_logout is true",
        ),
    ];
    for (keys, fault, code, says) in cases {
        let idp = Idp::start(&nine_o_clock());
        let name = format!("{keys} {fault:?}");
        idp.misbehave(fault);
        let own = format!("client_secret = \"env:SECRET\"\n{keys}");
        let config = config(FREE, &idp.issuer).replace("client_secret = \"env:SECRET\"", &own);
        let ended = Place::known_to(&idp, &config)
            .run(&["check", "--online"])
            .await;
        assert_eq!(ended.code, code, "{name}: {}", ended.err);
        let of_the_file = [
            "frontend is missing",
            "provider.issuer is http",
            "nothing is known of who ends TLS",
            "the upstream http://localhost:9000 cannot be reached",
        ];
        let lines = ended.err.lines();
        let said: Vec<&str> = lines
            .filter(|line| !of_the_file.iter().any(|own| line.contains(own)))
            .collect();
        assert_eq!(
            said.len(),
            usize::from(!says.is_empty()),
            "{name}: {said:?}"
        );
        assert!(
            said.iter().all(|line| line.contains(says)),
            "{name}: {said:?}"
        );
        let is_fine = ended.out.contains("answers as it should");
        assert_eq!(is_fine, code == Some(0), "{name}: {}", ended.out);
    }
}

/// What stands in no metadata is asked for, with nobody signed in: a wrong secret, a redirect URI that is
/// not registered, demands on this client alone.
#[tokio::test]
async fn check_online_rehearses_a_login() {
    let back = |error: &str| {
        let location = format!("{PUBLIC_URL}/bff/callback?error={error}");
        Fault::Redirect(Endpoint::Authorize, location)
    };
    let cases = [
        (None, "", Some(0), ""),
        (
            None,
            "another secret",
            Some(2),
            "bff.toml: provider.client_secret is refused by the token endpoint (invalid_client); put the secret of this client there",
        ),
        (
            Some(Fault::Error(
                Endpoint::Authorize,
                400,
                "invalid_redirect_uri",
            )),
            "",
            Some(2),
            "bff.toml: provider.client_id is no client there that may come back to https://app.example/bff/callback",
        ),
        (
            Some(back("invalid_request")),
            "",
            Some(2),
            "pushed requests (PAR), for which write",
        ),
        (
            Some(Fault::Error(Endpoint::Token, 400, "invalid_request")),
            "",
            Some(0),
            "warning: bff.toml: provider.issuer refuses the token request",
        ),
        (Some(Fault::unavailable(Endpoint::Token)), "", Some(0), ""),
    ];
    for (fault, secret, code, says) in cases {
        let idp = Idp::start(&nine_o_clock());
        let name = format!("{fault:?} {secret}");
        if let Some(fault) = fault {
            idp.misbehave(fault);
        }
        let mut place = Place::known_to(&idp, &config(FREE, &idp.issuer));
        if !secret.is_empty() {
            place
                .environment
                .insert("SECRET".to_owned(), secret.to_owned());
        }
        let ended = place.run(&["check", "--online"]).await;
        assert_eq!(ended.code, code, "{name}: {}", ended.err);
        let of_provider = ["provider.client", "provider.issuer refuses"];
        let lines = ended.err.lines();
        let said: Vec<&str> = lines
            .filter(|line| of_provider.iter().any(|own| line.contains(own)))
            .collect();
        assert_eq!(
            said.len(),
            usize::from(!says.is_empty()),
            "{name}: {said:?}"
        );
        assert!(
            said.iter().all(|line| line.contains(says)),
            "{name}: {said:?}"
        );
        assert!(idp.core.sessions().is_empty(), "nobody was signed in");
    }
}

/// DESIGN §1: `keygen` prints the key and nothing else, another each time, and it is one that
/// `session.keys` takes.
#[tokio::test]
async fn keygen_prints_a_key() {
    let mut place = Place::with(&[("bff.toml", &config(FREE, "http://localhost:1"))]);
    let (first, second) = (place.run(&["keygen"]).await, place.run(&["keygen"]).await);
    assert_ne!(first.out, second.out);
    for ended in [&first, &second] {
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert_eq!(ended.out.lines().count(), 1);
        let key = ended.out.trim_end();
        assert_eq!(key.len(), 43, "{key}");
        place.environment.insert("KEY".to_owned(), key.to_owned());
        assert_eq!(place.run(&["check"]).await.code, Some(0));
    }
}

/// DESIGN §1: the schema is JSON, needs no configuration, and knows every table.
#[tokio::test]
async fn the_schema_is_json() {
    let ended = Place::with(&[]).run(&["schema"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&ended.out).unwrap();
    for table in [
        "server", "provider", "session", "route", "frontend", "log", "dev",
    ] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

/// DESIGN §1: `explain` says which route, which token, which upstream.
#[tokio::test]
async fn explain_says_what_becomes_of_a_call() {
    let place = Place::with(&[("bff.toml", &config(FREE, "http://localhost:1"))]);
    let ended = place.run(&["explain", "GET", "/api/orders/7"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for word in ["/api", "http://localhost:9000", "X-CSRF"] {
        assert!(ended.out.contains(word), "{word} in {}", ended.out);
    }
    let ended = place.run(&["explain", "GET", "/api/../etc"]).await;
    assert!(
        !ended.out.contains("http://localhost:9000"),
        "{}",
        ended.out
    );
}

/// DESIGN §1: a command line that is none ends with 2, and the help with 0.
#[tokio::test]
async fn a_wrong_command_line_ends_with_2() {
    let place = Place::with(&[]);
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["serve", "--help"], 0),
        (&["--version"], 0),
        (&[], 2),
        (&["sevre"], 2),
        (&["serve", "--confg", "x"], 2),
        (&["serve"], 2),
        (&["check", "--config", "not-there.toml"], 2),
        (&["explain", "GET"], 2),
    ] {
        let ended = place.run(arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        let said = if code == 0 { &ended.out } else { &ended.err };
        assert!(!said.is_empty(), "{arguments:?}");
    }
}

/// DESIGN §1: `bff dev` as the README shows it: alice signs in with no form, the session says so, the
/// API gets a token that the browser never sees; without the jar 401, and the API sees nothing.
#[tokio::test]
async fn bff_dev_works_as_the_readme_says() {
    let recording = Upstream::start();
    let port = free_port();
    let public_url = format!("http://localhost:{port}");
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{public_url}\"\n\
         [[route]]\npath = \"/api\"\nupstream = \"dev:api\"\n\
         [[route]]\npath = \"/recorded\"\nupstream = \"{}\"\n",
        recording.url()
    );
    let place = Place::with(&[("bff.toml", &config)]);
    let mut process = Process::start(&["dev"], place.path(), &BTreeMap::new());
    process.line("bff dev is ready").await;
    let shown = process.line("app  ").await;
    assert!(shown.contains(&public_url), "{shown}");

    let mut browser = Browser::new(nine_o_clock());
    let demo = browser.visit(&format!("{public_url}/")).await;
    assert_eq!(demo.last().status, 200);
    assert!(demo.last().text().contains("<script"), "the demo app");
    let visit = browser
        .visit(&format!("{public_url}/bff/login?login_hint=alice"))
        .await;
    assert_eq!(visit.last().status, 200, "{:?}", visit.paths());
    let session = browser
        .fetch(Fetch::get("/bff/session").csrf())
        .await
        .json();
    assert_eq!(session["authenticated"], true);
    assert_eq!(session["user"]["sub"], "alice");
    let hello = browser.fetch(Fetch::get("/api/hello").csrf()).await;
    assert_eq!(hello.status, 200, "{}", hello.text());
    assert_eq!(hello.json()["bearer"], true);
    assert_eq!(hello.json()["sub"], "alice");

    let recorded = browser.fetch(Fetch::get("/recorded/x").csrf()).await;
    assert_eq!(recorded.status, 200);
    let token = recording.the_one().bearer().unwrap().to_owned();
    assert!(!hello.text().contains(&token), "the browser never sees it");
    let stranger = Call::get("/recorded/x").with("Host", &format!("localhost:{port}"));
    let refused = stranger.send(([127, 0, 0, 1], port).into()).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["code"], "login_required");
    assert_eq!(recording.seen().len(), 1, "the API saw nothing of it");

    let logout = browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    let onward = logout.json()["redirect_to"].as_str().unwrap().to_owned();
    browser.click(&onward).await;
    browser.stand_on(&public_url);
    let gone = browser.fetch(Fetch::get("/api/hello").csrf()).await;
    assert_eq!(gone.status, 401);
    assert!(!process.said().contains(&token), "nor does the log");

    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}

/// A developer has started bff and nothing else: it was "The service behind this address cannot be
/// reached". `bff serve` says no more than that, since what is behind it is nobody's business.
#[tokio::test]
async fn bff_dev_names_what_is_not_started() {
    let (port, vite, api) = (free_port(), free_port(), free_port());
    let public_url = format!("http://localhost:{port}");
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n\
         [[route]]\npath = \"/orders\"\nupstream = \"http://127.0.0.1:{api}\"\nauth = \"none\"\n\
         [frontend]\nupstream = \"http://localhost:{vite}\"\n"
    );
    let place = Place::with(&[("bff.toml", &config)]);
    let mut process = Process::start(&["dev"], place.path(), &BTreeMap::new());
    process.line("bff dev is ready").await;
    let mut browser = Browser::new(nine_o_clock());
    let page = browser.visit(&format!("{public_url}/")).await;
    assert_eq!(page.last().status, 502);
    let said = page.last().text();
    let expected = format!(
        "Nothing answers at http://localhost:{vite}, the app&#39;s development server. \
         Start it: npm run dev"
    );
    assert!(said.contains(&expected), "{said}");
    browser.stand_on(&public_url);
    let call = browser.fetch(Fetch::get("/orders/7").csrf()).await;
    assert_eq!(call.json()["code"], "upstream_unavailable");
    let detail = call.json()["detail"].as_str().unwrap().to_owned();
    let expected =
        format!("Nothing answers at http://127.0.0.1:{api}, where bff.toml sends /orders.");
    assert!(detail.starts_with(&expected), "{detail}");
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}

/// `bff dev` builds on its configuration, and reads it once: `bff reload` said that nothing had changed.
#[tokio::test]
async fn bff_dev_is_restarted_instead_of_reloaded() {
    let (port, admin) = (free_port(), free_port());
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\nadmin_listen = \"127.0.0.1:{admin}\"\nadmin_key = \"env:ADMIN\"\n"
    );
    let mut place = Place::with(&[("bff.toml", &config)]);
    let key = ("ADMIN".to_owned(), ADMIN_KEY.to_owned());
    place.environment.extend([key]);
    let mut process = Process::start(&["dev"], place.path(), &place.environment);
    process.line("bff dev is ready").await;
    let ended = place.run(&["reload"]).await;
    let says = "bff dev reads its configuration at its start alone; restart it.\n";
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (Some(1), "", says)
    );
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}

/// A second `bff dev`, or anything else on its port: it named the address and left one to edit a file.
#[tokio::test]
async fn bff_dev_offers_the_next_port() {
    let port = free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let config = format!("[server]\nlisten = \"127.0.0.1:{port}\"\n");
    let place = Place::with(&[("app.toml", &config)]);
    let ended = place.run(&["dev", "--config", "app.toml"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    let (before, offer) = ended.err.split_once("bff dev --port ").unwrap();
    let in_use = format!("127.0.0.1:{port} is in use by another program");
    assert!(before.starts_with(&in_use), "{before}");
    let (next, file) = offer.trim().split_once(' ').unwrap();
    assert_eq!(file, "--config app.toml");

    let arguments = ["dev", "--port", next, "--config", "app.toml"];
    let mut process = Process::start(&arguments, place.path(), &BTreeMap::new());
    process.line("bff dev is ready").await;
    let shown = process.line("app  ").await;
    assert!(
        shown.contains(&format!("http://localhost:{next}/")),
        "{shown}"
    );
    let mut browser = Browser::new(nine_o_clock());
    let visit = browser
        .visit(&format!(
            "http://localhost:{next}/bff/login?login_hint=alice"
        ))
        .await;
    assert_eq!(visit.last().status, 200, "{:?}", visit.paths());
    // At any other name of this machine it says where to go: it was a page without a way on.
    let there = Call::bare("GET", "/nowhere")
        .header("Host", &format!("127.0.0.1:{next}"))
        .header("Sec-Fetch-Mode", "navigate");
    let there = there.send(([127, 0, 0, 1], next.parse().unwrap()).into());
    let there = there.await;
    let way = format!("href=\"http://localhost:{next}/\">Open the public address");
    assert!(there.text().contains(&way), "{}", there.text());
    assert!(!there.text().contains("Start page"), "{}", there.text());
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0));
}

/// DESIGN §1: `bff dev` is for this machine alone: what is elsewhere in production is here then, and a
/// listener that others reach is refused.
#[tokio::test]
async fn bff_dev_stays_on_this_machine() {
    for listen in ["0.0.0.0:0", "192.0.2.1:8080"] {
        let place = Place::with(&[("bff.toml", &format!("[server]\nlisten = {listen:?}\n"))]);
        let ended = place.run(&["dev"]).await;
        assert_eq!(ended.code, Some(2), "{listen}: {}", ended.err);
        assert!(
            ended.err.contains("anyone can sign in as anyone"),
            "{listen}: {}",
            ended.err
        );
    }
    for public_url in ["https://app.example.com", "http://192.0.2.1:8080"] {
        let port = free_port();
        let server = format!("listen = \"127.0.0.1:{port}\"\npublic_url = {public_url:?}\n");
        let place = Place::with(&[("bff.toml", &format!("[server]\n{server}"))]);
        let mut process = Process::start(&["dev"], place.path(), &BTreeMap::new());
        let shown = process.line("app  ").await;
        let expected = format!("http://localhost:{port}/   (for {public_url})");
        assert!(shown.ends_with(&expected), "{shown}");
        let mut browser = Browser::new(nine_o_clock());
        let login = format!("http://localhost:{port}/bff/login?login_hint=alice");
        let visit = browser.visit(&login).await;
        assert_eq!(visit.url().as_str(), format!("http://localhost:{port}/"));
        process.terminate().await;
        assert_eq!(process.ended().await, Some(0));
    }
}

/// DESIGN §1, N1: told to stop, it takes no more connections and says that it is draining; a download
/// under way is finished, and the process ends with 0.
#[tokio::test]
async fn a_download_outlives_the_order_to_stop() {
    let now = Arc::new(ManualClock::starting_at(SystemClock.now()));
    let (idp, upstream) = (Idp::start(&now), Upstream::start());
    let (pieces, coming) = mpsc::unbounded_channel();
    let coming = Mutex::new(Some(coming));
    upstream.answers(move |_| Answer::pieces(coming.lock().unwrap().take().unwrap()));
    let server =
        format!("{FREE}\nadmin_listen = \"127.0.0.1:0\"\ntimeouts = {{ drain = \"20s\" }}");
    let config = config(&server, &idp.issuer).replace("http://localhost:9000", &upstream.url());
    let mut place = Place::with(&[("bff.toml", &config)]);
    let secret = idp.client_secret.clone();
    place.environment.insert("SECRET".to_owned(), secret);
    let mut process = Process::start(&["serve"], place.path(), &place.environment);
    let public = process.listens("listen").await;
    let admin = process.listens("admin").await;

    let mut alice = Browser::new(Arc::clone(&now));
    alice.resolve(PUBLIC_URL, public);
    sign_in(&mut alice, "alice").await;
    let call = Call::get("/api/file").of(&alice);
    let mut wire = call.begin(public).await;
    pieces.send("one".to_owned()).unwrap();
    assert_eq!(
        soon("a head", wire.head(&home())).await.unwrap().status,
        200
    );
    assert_eq!(soon("a piece", wire.chunk()).await.unwrap(), b"one");

    process.terminate().await;
    soon("the listener to close", async {
        while TcpStream::connect(public).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ready = Call::bare("GET", "/readyz")
        .header("Host", "localhost")
        .send(admin)
        .await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &json!("draining"))
    );
    pieces.send("two".to_owned()).unwrap();
    assert_eq!(soon("a piece", wire.chunk()).await.unwrap(), b"two");
    drop(pieces);
    assert_eq!(soon("the end", wire.chunk()).await, Some(Vec::new()));
    assert!(soon("the close", wire.is_closed()).await);
    assert_eq!(process.ended().await, Some(0), "{}", process.said());
}

/// N1: between the order to stop and the drain `/readyz` says no and everybody is served, new
/// connections too, so that a balancer has time to notice. A second order ends the wait.
#[tokio::test]
async fn told_to_stop_it_serves_until_the_balancer_knows() {
    for (delay, told_again) in [("10m", true), ("1s", false)] {
        let server = format!(
            "{FREE}\nadmin_listen = \"127.0.0.1:0\"\ntimeouts = {{ drain_delay = \"{delay}\" }}"
        );
        let idp = Idp::start(&nine_o_clock());
        let place = Place::known_to(&idp, &config(&server, &idp.issuer));
        let mut process = Process::start(&["serve"], place.path(), &place.environment);
        let public = process.listens("listen").await;
        let admin = process.listens("admin").await;
        let ready = || {
            Call::bare("GET", "/readyz")
                .header("Host", "localhost")
                .send(admin)
        };
        soon("the provider to be found", async {
            while ready().await.status != 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        process.terminate().await;
        process.line("told to stop").await;
        let reply = ready().await;
        let told = (reply.status, &reply.json()["status"]);
        assert_eq!(told, (503, &json!("draining")), "{delay}");
        let served = Call::get("/bff/session").send(public).await;
        assert_eq!(served.status, 200, "{delay}");
        // So that no proxy sends a call into a connection that the drain closes.
        assert_eq!(served.header("connection"), Some("close"), "{delay}");
        if told_again {
            process.terminate().await;
        }
        assert_eq!(process.ended().await, Some(0), "{}", process.said());
    }
}

/// A hang-up never ends the process: it has the configuration read again, and the log says what came of
/// it and what takes a restart. (It ended the process, with every session in it; later it said nothing
/// of changes that it did not take, nor of a file that it could not.)
#[tokio::test]
async fn a_hang_up_reloads_and_never_ends() {
    let now = Arc::new(ManualClock::starting_at(SystemClock.now()));
    let idp = Idp::start(&now);
    let before = config(FREE, &idp.issuer);
    let place = Place::known_to(&idp, &before);
    let mut process = Process::start(&["serve"], place.path(), &place.environment);
    process.listens("listen").await;
    let file = place.path().join("bff.toml");
    process.signal("-HUP").await;
    process.line("told to reload").await;
    process.line("nothing has changed").await;

    let after = before.replace(
        "[[route]]",
        "idle_timeout = \"20m\"\nnear_cache = 5000\n[[route]]",
    );
    std::fs::write(&file, after.replace("/api", "/v2")).unwrap();
    process.signal("-HUP").await;
    let line = process.line("is in use as it stands now").await;
    assert!(line.contains("route, session.idle_timeout"), "{line}");
    let line = process.line("restart to use them").await;
    assert!(line.contains("session.near_cache"), "{line}");

    std::fs::write(&file, "[server").unwrap();
    process.signal("-HUP").await;
    let line = process.line("the configuration cannot be used").await;
    assert!(line.contains("bff.toml:1:"), "{line}");

    std::fs::write(&file, before).unwrap();
    process.signal("-HUP").await;
    process.terminate().await;
    assert_eq!(process.ended().await, Some(0), "{}", process.said());
}

/// A service manager hears when the process is ready, reloads and stops, and that it lives.
#[tokio::test]
async fn a_service_manager_is_told() {
    let idp = Idp::start(&nine_o_clock());
    let server = format!("{FREE}\ntimeouts = {{ drain_delay = \"1s\", drain = \"2s\" }}");
    let mut place = Place::known_to(&idp, &config(&server, &idp.issuer));
    let socket = place.path().join("notify");
    let heard = UnixDatagram::bind(&socket).unwrap();
    let variables = [
        ("NOTIFY_SOCKET", socket.display().to_string()),
        ("WATCHDOG_USEC", "200000".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    place.environment.extend(variables);
    let mut process = Process::start(&["serve"], place.path(), &place.environment);
    let hears = async |word: &str| {
        soon(word, async {
            let mut bytes = [0; 256];
            loop {
                let read = heard.recv(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                if text.starts_with(word) {
                    return text;
                }
            }
        })
        .await
    };
    hears("READY=1").await;
    // A ready process listens.
    let public = process.listens("listen").await;
    assert_eq!(Call::get("/bff/session").send(public).await.status, 200);
    hears("WATCHDOG=1").await;
    hears("WATCHDOG=1").await;
    process.signal("-HUP").await;
    let told = hears("RELOADING=1").await;
    assert!(told.contains("\nMONOTONIC_USEC="), "{told}");
    hears("READY=1").await;
    process.terminate().await;
    let told = hears("STOPPING=1").await;
    assert!(told.contains("EXTEND_TIMEOUT_USEC=6000000"), "{told}");
    assert_eq!(process.ended().await, Some(0), "{}", process.said());
}

/// H7: a route without the CSRF header is named in the log at the start.
#[tokio::test]
async fn exceptions_are_logged_at_the_start() {
    let more = "[[route]]\npath = \"/files\"\nupstream = \"http://localhost:9000\"\n\
                csrf = \"origin\"\n";
    let config = config(FREE, "http://localhost:1") + more;
    let place = Place::with(&[("bff.toml", &config)]);
    let mut process = Process::start(&["serve"], place.path(), &place.environment);
    process.listens("listen").await;
    let said = process.said();
    let line = said.lines().find(|line| line.contains("/files"));
    assert!(line.is_some_and(|line| line.contains("X-CSRF")), "{said}");
}

/// N4: what is unwise in the configuration is told in the log's own form, where whoever collects that
/// finds it. It was text on standard error beside the JSON.
#[tokio::test]
async fn warnings_at_the_start_are_log_lines() {
    let more = "[log]\nformat = \"json\"\n";
    let config = config(FREE, "http://localhost:1").replace("env:SECRET", "written out") + more;
    let place = Place::with(&[("bff.toml", &config)]);
    let mut process = Process::start(&["serve"], place.path(), &place.environment);
    let line = process.line("provider.client_secret").await;
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["event"], "config.warning");
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["key"], "provider.client_secret");
    assert!(!line.contains("written out"), "{line}");
    let serving = process.line("\"serving\"").await;
    let serving: Value = serde_json::from_str(&serving).unwrap();
    assert!(
        serving["listen"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    assert!(!process.said().contains("warning:"), "{}", process.said());
}

/// DESIGN §1: `bff sessions` asks the administration listener of what runs, and ends sessions there.
#[tokio::test]
async fn sessions_are_listed_shown_and_ended() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    let address = bff.admin_addr.unwrap();
    let with_admin = format!("{FREE}\nadmin_listen = \"{address}\"\nadmin_key = \"env:ADMIN\"");
    let mut place = Place::with(&[
        ("bff.toml", &config(&with_admin, "http://localhost:1")),
        ("key", &format!("{ADMIN_KEY}\n")),
    ]);
    // Of all secrets the key alone is needed.
    place.environment.clear();
    place
        .environment
        .insert("ADMIN".to_owned(), ADMIN_KEY.to_owned());
    let run = async |arguments: &[&str]| {
        let arguments = [&["sessions"], arguments].concat();
        let ended = place.run(&arguments).await;
        (ended.code.unwrap(), ended.out, ended.err)
    };
    let nobody = (0, "nobody is signed in\n".to_owned(), String::new());
    assert_eq!(run(&["list"]).await, nobody);

    signed_in(&bff, "alice").await;
    signed_in(&bff, "alice").await;
    let mut bob = signed_in(&bff, "bob").await;
    let (code, out, err) = run(&["list"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let ids: Vec<&str> = out.lines().skip(1).map(|line| &line[..8]).collect();
    let shown = ids
        .iter()
        .fold(out.clone(), |out, id| out.replace(id, "(the id)"));
    insta::assert_snapshot!(shown, @r"
    ID        NAME         SUBJECT  BROWSER  CLIENT     SIGNED IN            LAST SEEN            EXPIRES
    (the id)  Alice Adams  alice    unknown  127.0.0.1  2026-11-21 09:00:00  2026-11-21 09:00:00  2026-11-21 09:30:00
    (the id)  Alice Adams  alice    unknown  127.0.0.1  2026-11-21 09:00:00  2026-11-21 09:00:00  2026-11-21 09:30:00
    (the id)  Bob Brown    bob      unknown  127.0.0.1  2026-11-21 09:00:00  2026-11-21 09:00:00  2026-11-21 09:30:00
    ");

    let (code, out, err) = run(&["list", "--limit", "1", "--json"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let page: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(page["sessions"].as_array().unwrap().len(), 1);
    assert!(page["next"].is_string());
    let (_, _, err) = run(&["list", "--limit", "2"]).await;
    assert_eq!(err, "there are more; --all lists them\n");
    for filter in [["--subject", "bob"], ["--name", "BO"], ["--query", "bob"]] {
        let (_, out, _) = run(&[&["list"], &filter[..]].concat()).await;
        assert_eq!(out.lines().count(), 2, "{filter:?}: {out}");
    }
    assert_eq!(
        run(&["list", "--sid", "x"]).await.1,
        "no session is like that\n"
    );

    // By the beginning of its id, by address and key alone.
    let url = format!("http://{address}");
    let elsewhere = ["--url", &url, "--key-file", "key", "--config", "not-there"];
    let (code, out, err) = run(&[&["show", ids[2]], &elsewhere[..]].concat()).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let whole = out.lines().find(|line| line.contains(ids[2])).unwrap();
    let whole = whole.split_whitespace().last().unwrap();
    assert_eq!(whole.len(), 64);
    assert!(out.contains("  subject       bob\n"), "{out}");

    let (code, out, _) = run(&["revoke", ids[2]]).await;
    assert_eq!((code, out), (0, format!("ended {}\n", ids[2])));
    assert_eq!(bob.session().await["ended"], "revoked");
    let gone = format!("no session has the id {whole}, or it has ended\n");
    assert_eq!(
        run(&["show", whole]).await,
        (1, String::new(), gone.clone())
    );
    assert_eq!(run(&["revoke", whole]).await, (1, String::new(), gone));
    // One that is not there keeps none of the others from ending.
    let (code, out, err) = run(&["revoke", whole, ids[0]]).await;
    assert_eq!((code, out), (1, format!("ended {}\n", ids[0])), "{err}");
    let (code, out, _) = run(&["revoke", "--subject", "alice"]).await;
    assert_eq!((code, out.as_str()), (0, "ended 1 session of alice\n"));
    assert_eq!(run(&["list"]).await, nobody);
}

/// §7: `bff sessions` sees and ends by site and tenant, also of a site that is gone and has sessions in the
/// store; where a site is named and nobody at it, nobody's session ends. A site that is not there was told
/// as "ended 0 sessions", with exit code 0, and `shop/acme` in the words of the API.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sessions_of_a_site_are_listed_and_ended() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = crate::administration::at_three_sites(&idp, &upstream).await;
    let url = format!("http://{}", bff.admin_addr.unwrap());
    let mut place = Place::with(&[]);
    place
        .environment
        .insert("ADMIN".to_owned(), ADMIN_KEY.to_owned());
    let run = async |arguments: &[&str]| {
        let listener = ["--url", &url, "--key-env", "ADMIN"];
        let ended = place
            .run(&[&["sessions"], arguments, &listener].concat())
            .await;
        (ended.code.unwrap(), ended.out, ended.err)
    };
    let column = async |arguments: &[&str]| {
        let (_, out, _) = run(&[&["list"], arguments].concat()).await;
        let rows = out
            .lines()
            .map(|row| row.split_whitespace().nth(3).unwrap());
        let mut sites: Vec<String> = rows.map(str::to_owned).collect();
        sites.sort();
        sites
    };
    let all = ["(bff.toml)", "SITE", "shop", "shop/acme", "shop/acme"];
    assert_eq!(column(&[]).await, all);
    assert_eq!(column(&["--site", "shop"]).await, all[1..]);
    // One site alone needs no column.
    let (_, acme, _) = run(&["list", "--site", "shop", "--tenant", "acme"]).await;
    assert_eq!(acme.lines().count(), 3, "{acme}");
    assert!(!acme.contains("SITE"), "{acme}");
    let id = acme.lines().nth(1).and_then(|line| line.get(..8)).unwrap();
    // As the column writes them.
    let (_, copied, err) = run(&["list", "--site", "shop/acme"]).await;
    assert_eq!((copied, err.as_str()), (acme.clone(), ""));
    let (_, copied, err) = run(&["list", "--site", "(bff.toml)"]).await;
    assert_eq!((copied.lines().count(), err.as_str()), (2, ""));
    let absent = "there is no site nowhere; there is (bff.toml)\n";
    let (code, shown, err) = run(&["list", "--site", "nowhere"]).await;
    assert_eq!(
        (code, shown.as_str(), err.as_str()),
        (0, "no session is like that\n", absent)
    );
    let nowhere = run(&["revoke", "--site", "nowhere", "--all"]).await;
    assert_eq!(nowhere, (1, String::new(), absent.to_owned()));
    let (_, shown, err) = run(&["list", "--json", "--site", "shop", "--tenant", "acme"]).await;
    let page: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(page["sessions"].as_array().unwrap().len(), 2, "{err}");
    let whole = page["sessions"][0]["id"].as_str().unwrap();
    assert!(whole.starts_with(id) || page["sessions"][1]["id"].as_str().unwrap().starts_with(id));
    let (_, shown, err) = run(&["show", whole]).await;
    for line in ["  site          shop\n", "  tenant        acme\n"] {
        assert!(shown.contains(line), "{shown}{err}");
    }

    for arguments in [
        &["--site", "shop"][..],
        &["--site", "shop", "--tenant", "acme"],
        &["--all"],
        &["--tenant", "acme", "--all"],
        &["--site", "shop", whole],
        &["--site", "shop", "--all", whole],
        &["--site", "shop", "--all", "--subject", "alice"],
        &["--site", "shop/acme", "--tenant", "acme", "--all"],
    ] {
        let (code, out, err) = run(&[&["revoke"], arguments].concat()).await;
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
    }
    assert_eq!(column(&[]).await, all, "nothing has ended");
    for (arguments, says) in [
        (
            &["--site", "shop/acme", "--all"][..],
            "ended 2 sessions at shop/acme\n",
        ),
        (
            &["--site", "shop", "--subject", "alice"],
            "ended 1 session of alice at shop\n",
        ),
        (&["--site", "", "--all"], "ended 1 session at (bff.toml)\n"),
        (
            &["--site", "(bff.toml)", "--all"],
            "ended 0 sessions at (bff.toml)\n",
        ),
    ] {
        let (code, out, err) = run(&[&["revoke"], arguments].concat()).await;
        assert_eq!((code, out.as_str()), (0, says), "{err}");
    }
}

/// DESIGN §1: what keeps it from asking is one clear sentence.
#[tokio::test]
async fn sessions_say_why_nothing_is_answered() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).administered().start();
    let keyless = Bff::with(&idp, &upstream).start();
    let closed = format!("127.0.0.1:{}", free_port());
    let mut place = Place::with(&[]);
    let mut set = |name: &str, value: &str| {
        place.environment.insert(name.to_owned(), value.to_owned());
    };
    set("RIGHT", ADMIN_KEY);
    set("WRONG", "another key of many letters");
    set("BROKEN", "a\nb");
    for (address, key, code, says) in [
        (
            bff.admin_addr.unwrap().to_string(),
            "WRONG",
            2,
            "does not take this key",
        ),
        (
            keyless.admin_addr.unwrap().to_string(),
            "RIGHT",
            2,
            "has no administration",
        ),
        (bff.public_addr.to_string(), "RIGHT", 1, ""),
        (
            closed,
            "RIGHT",
            1,
            "does not answer, so bff does not run there: ",
        ),
        (
            bff.admin_addr.unwrap().to_string(),
            "BROKEN",
            2,
            "holds characters that no key has",
        ),
    ] {
        let url = format!("http://{address}");
        for command in [
            &["list"][..],
            &["show", "12345678"],
            &["revoke", "--subject", "a"],
        ] {
            let arguments = [&["sessions"], command, &["--url", &url, "--key-env", key]].concat();
            let ended = place.run(&arguments).await;
            assert_eq!(
                (ended.code, ended.out.as_str()),
                (Some(code), ""),
                "{}",
                ended.err
            );
            assert!(ended.err.contains(says), "{command:?}: {}", ended.err);
            assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
            assert!(!ended.err.contains(ADMIN_KEY), "{}", ended.err);
        }
    }
}

/// G7: `keygen --rotate` says what to do and does nothing.
#[tokio::test]
async fn keygen_says_how_a_key_is_rotated() {
    let place = Place::with(&[("bff.toml", &config(FREE, "http://localhost:1"))]);
    let before = std::fs::read(place.path().join("bff.toml")).unwrap();
    let ended = place.run(&["keygen", "--rotate"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out.lines().next().unwrap().len(), 43);
    assert!(
        ended.out.contains("\n1. Set the variable KEY_2"),
        "{}",
        ended.out
    );
    assert_eq!(
        std::fs::read(place.path().join("bff.toml")).unwrap(),
        before
    );
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}
