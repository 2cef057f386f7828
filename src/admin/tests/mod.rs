//! Who may ask what, and what the API answers, over real sockets and a shelf of sessions.

mod shelf;
mod sites;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Mutex;

use super::*;
use crate::clock::SystemRandomness;
use crate::secret::AdminKey;
use crate::session::journal::{End, OnEnd};
use crate::session::record::Session;
use crate::telemetry::LoginOutcome;
use crate::web::site_id::SiteId;
use shelf::{Shelf, readable, sessions, unreadable};

struct Fixed(&'static str, CheckState);

impl Check for Fixed {
    fn name(&self) -> &'static str {
        self.0
    }

    fn state(&self) -> Pin<Box<dyn Future<Output = CheckState> + Send + '_>> {
        let state = self.1.clone();
        Box::pin(async move { state })
    }
}

struct Silent;

impl Check for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn state(&self) -> Pin<Box<dyn Future<Output = CheckState> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// What follows an end, as far as it is told here.
#[derive(Debug)]
struct Told(Arc<Mutex<Vec<Arc<Session>>>>);

impl OnEnd for Told {
    fn ended(&self, session: &Arc<Session>, _end: &End<'_>) {
        self.0.lock().unwrap().push(Arc::clone(session));
    }
}

struct Running {
    server: Server,
    draining: CancellationToken,
    shutdown: CancellationToken,
    store: Arc<Shelf>,
    /// The sessions that were ended, as the wiring is told of them.
    told: Arc<Mutex<Vec<Arc<Session>>>>,
}

/// A configuration that comes from no file.
#[derive(Debug)]
struct NoFile;

impl Reloads for NoFile {
    fn reload(&self) -> Option<ReloadAnswer> {
        None
    }
}

/// The sites that a process serves.
#[derive(Debug)]
struct Served(&'static [&'static str]);

impl NamesSites for Served {
    fn sites(&self) -> Vec<SiteId> {
        self.0.iter().map(|id| SiteId::new(id)).collect()
    }
}

fn run(key: Option<&str>, checks: Vec<Arc<dyn Check>>) -> Running {
    let (draining, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let metrics = Metrics::new();
    metrics.login(LoginOutcome::Ok);
    let settings = AdminSettings {
        listen: Listen::Tcp("127.0.0.1:0".parse().unwrap()),
        keys: AdminKeys::new(key.map(AdminKey::new), Vec::new()),
        hosts: OwnHosts::new(vec!["a".to_owned(), "admin.example".to_owned()]),
    };
    let store = Arc::new(Shelf::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let on_end = Arc::new(Told(Arc::clone(&told)));
    let admin = Admin {
        checks,
        metrics,
        history: History::new(),
        sessions: sessions(Arc::clone(&store)).telling(on_end),
        sites: Arc::new(Served(&["shop", "", "shop/globex", "shop/acme"])),
        reload: Arc::new(NoFile),
        randomness: Arc::new(SystemRandomness),
        draining: draining.clone(),
    };
    Running {
        server: start(settings, admin, shutdown.clone(), &LogLines::default()).unwrap(),
        draining,
        shutdown,
        store,
        told,
    }
}

impl Running {
    /// Status and body of one exchange.
    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let (head, body) = self.answer(method, path, headers);
        (head.get(9..12).unwrap().parse().unwrap(), body)
    }

    /// Head and body of one exchange.
    fn answer(&self, method: &str, path: &str, headers: &str) -> (String, String) {
        let mut socket = TcpStream::connect(self.server.local_addr().tcp().unwrap()).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// The JSON of an answer to whoever has the key.
    fn json(&self, method: &str, path: &str) -> (u16, Value) {
        let (status, body) = self.ask(method, path, KEY);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// The names on a page, and the cursor behind it.
    fn page(&self, query: &str) -> (Vec<String>, Option<String>) {
        let (status, page) = self.json("GET", &format!("/api/sessions?{query}"));
        assert_eq!(status, 200, "{query}: {page}");
        let names = page["sessions"].as_array().unwrap().iter();
        let names = names.map(|one| one["name"].as_str().unwrap().to_owned());
        (names.collect(), page["next"].as_str().map(str::to_owned))
    }

    /// All names of a list, page by page.
    fn all(&self, query: &str) -> Vec<String> {
        let (mut names, mut next) = self.page(query);
        for _ in 0..1000 {
            let Some(cursor) = next else {
                return names;
            };
            let (more, after) = self.page(&format!("{query}&cursor={cursor}"));
            names.extend(more);
            next = after;
        }
        panic!("a list without an end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

const KEY: &str = "authorization: Bearer k\r\n";

/// N1: there is health, there are metrics, and nothing else; the rest only with the key.
#[test]
fn who_may_ask_what() {
    struct Case {
        name: &'static str,
        key: Option<&'static str>,
        ask: (&'static str, &'static str, &'static str),
        status: u16,
    }
    let cases = [
        Case {
            name: "live",
            key: Some("k"),
            ask: ("GET", "/livez", ""),
            status: 200,
        },
        Case {
            name: "live, head",
            key: None,
            ask: ("HEAD", "/livez", ""),
            status: 200,
        },
        Case {
            name: "ready",
            key: Some("k"),
            ask: ("GET", "/readyz", ""),
            status: 200,
        },
        Case {
            name: "metrics",
            key: Some("k"),
            ask: ("GET", "/metrics", ""),
            status: 200,
        },
        Case {
            name: "posted",
            key: None,
            ask: ("POST", "/livez", ""),
            status: 405,
        },
        Case {
            name: "unknown, no key set",
            key: None,
            ask: ("GET", "/x", ""),
            status: 404,
        },
        Case {
            name: "no key set, empty one sent",
            key: None,
            ask: ("GET", "/x", "authorization: Bearer \r\n"),
            status: 404,
        },
        Case {
            name: "unknown, none sent",
            key: Some("k"),
            ask: ("GET", "/x", ""),
            status: 401,
        },
        Case {
            name: "unknown, wrong one",
            key: Some("k"),
            ask: ("GET", "/x", "authorization: Bearer j\r\n"),
            status: 401,
        },
        Case {
            name: "unknown, longer one",
            key: Some("k"),
            ask: ("GET", "/x", "authorization: Bearer kk\r\n"),
            status: 401,
        },
        Case {
            name: "unknown, basic",
            key: Some("k"),
            ask: ("GET", "/x", "authorization: Basic k\r\n"),
            status: 401,
        },
        Case {
            name: "unknown, two",
            key: Some("k"),
            ask: (
                "GET",
                "/x",
                "authorization: Bearer k\r\nauthorization: Bearer k\r\n",
            ),
            status: 401,
        },
        Case {
            name: "unknown, right one",
            key: Some("k"),
            ask: ("GET", "/x", "authorization: bearer k\r\n"),
            status: 404,
        },
    ];
    for case in cases {
        let running = run(case.key, vec![]);
        let (status, _) = running.ask(case.ask.0, case.ask.1, case.ask.2);
        assert_eq!(status, case.status, "{}", case.name);
    }
}

#[test]
fn metrics_are_shown() {
    let (_, body) = run(None, vec![]).ask("GET", "/metrics", "");
    assert!(
        body.contains("bff_logins_total{outcome=\"ok\"} 1"),
        "{body}"
    );
}

/// A8: an absent provider is told and no reason to be sent no work.
#[test]
fn readiness_is_the_checks_and_the_drain() {
    let away: Arc<dyn Check> = Arc::new(Fixed("provider", CheckState::Degraded("away".into())));
    let store: Arc<dyn Check> = Arc::new(Fixed("store", CheckState::Ok));
    let running = run(None, vec![away, store]);
    let (status, body) = running.ask("GET", "/readyz", "");
    assert_eq!(status, 200);
    insta::assert_snapshot!(body, @r#"{"checks":{"provider":{"detail":"away","state":"degraded"},"store":{"state":"ok"}},"status":"ready"}"#);
    running.draining.cancel();
    let (status, body) = running.ask("GET", "/readyz", "");
    assert_eq!(status, 503);
    assert!(body.contains(r#""status":"draining""#), "{body}");

    let running = run(None, vec![Arc::new(Silent)]);
    let (status, body) = running.ask("GET", "/readyz", "");
    assert_eq!(status, 503);
    insta::assert_snapshot!(body, @r#"{"checks":{"silent":{"detail":"no answer in time","state":"failed"}},"status":"unready"}"#);
}

/// N1: without the key none of the sessions is told of, and without a configured one there is no
/// page either.
#[test]
fn administration_is_for_the_key() {
    let everything = [
        ("GET", "/api/sessions"),
        ("DELETE", "/api/sessions?subject=s"),
        ("GET", "/api/sessions/00"),
        ("DELETE", "/api/sessions/00"),
        ("DELETE", "/api/sessions?site="),
        ("GET", "/api/sites"),
        ("GET", "/api/stats"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/nothing"),
        ("OPTIONS", "/api/sessions"),
    ];
    let page = [("GET", "/"), ("GET", "/admin.css"), ("HEAD", "/admin.js")];
    let (keyless, keyed) = (run(None, vec![]), run(Some("k"), vec![]));
    keyed.store.put(readable("ada", "s", None));
    for (method, path) in everything {
        assert_eq!(keyless.ask(method, path, KEY).0, 404, "{path}");
        for headers in ["", "authorization: Bearer j\r\n"] {
            let (head, body) = keyed.answer(method, path, headers);
            assert!(head.starts_with("HTTP/1.1 401"), "{path}: {head}");
            assert!(head.contains("www-authenticate: Bearer"), "{path}: {head}");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["code"], "unauthorized", "{path}");
            let id = problem["request_id"].as_str().unwrap();
            assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
        }
    }
    for (method, path) in page {
        assert_eq!(keyless.ask(method, path, "").0, 404, "{path}");
        assert_eq!(keyed.ask(method, path, "").0, 200, "{path}");
        assert_eq!(keyed.ask("POST", path, "").0, 405, "{path}");
    }
    assert_eq!(keyed.store.names(), ["ada"], "nothing has ended");
}

/// N1: a page of another origin gets nothing, whatever it knows.
#[test]
fn another_origin_may_not_ask() {
    let running = run(Some("k"), vec![]);
    for (name, fields, status) in [
        ("no page", "", 200),
        (
            "our page",
            "sec-fetch-site: same-origin\r\norigin: http://a\r\n",
            200,
        ),
        ("typed by a person", "sec-fetch-site: none\r\n", 200),
        ("our page, over plain http", "origin: http://a\r\n", 200),
        ("our page, behind https", "origin: https://a\r\n", 200),
        ("a neighbour", "sec-fetch-site: same-site\r\n", 403),
        ("a stranger", "sec-fetch-site: cross-site\r\n", 403),
        ("a stranger, over plain http", "origin: http://b\r\n", 403),
        ("another port", "origin: http://a:1\r\n", 403),
        ("a sandbox", "origin: null\r\n", 403),
    ] {
        let headers = format!("{KEY}{fields}");
        for path in ["/api/sessions", "/api/stats"] {
            assert_eq!(running.ask("GET", path, &headers).0, status, "{name}");
        }
        if status == 403 {
            let (_, body) = running.ask("DELETE", "/api/sessions?subject=s", &headers);
            assert!(body.contains("origin_not_allowed"), "{name}: {body}");
        }
    }
}

/// H6: the page may load its own script and style, ask the API beside it, and nothing else.
#[test]
fn the_page_may_do_little() {
    let running = run(Some("k"), vec![]);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/admin.css", "text/css; charset=utf-8"),
        ("/admin.js", "text/javascript; charset=utf-8"),
    ] {
        let (head, body) = running.answer("GET", path, "");
        for field in [
            &format!("content-type: {kind}"),
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ] {
            assert!(head.contains(field), "{path}: {field} in {head}");
        }
        // What the policy would refuse, and what would not work without the network.
        for forbidden in [
            "style=\"",
            "onclick=",
            "<style",
            "src=\"http",
            "href=\"http",
            "@import",
        ] {
            assert!(!body.contains(forbidden), "{path} has {forbidden}");
        }
    }
}

/// DESIGN §4: a page is asked for by name, subject or provider sid, and each session comes once.
#[test]
fn a_search_finds_by_subject_sid_and_name() {
    let running = run(Some("k"), vec![]);
    let store = &running.store;
    store.put(readable("Ada Lovelace", "u-1", Some("p-1")));
    store.put(readable("ada", "u-1", Some("p-2")));
    store.put(readable("Adam", "u-2", Some("p-2")));
    // Its subject is the beginning of its own name, and of others.
    store.put(readable("adabert", "ada", None));
    store.put(unreadable("Ähre", "u-3", Some("ada")));
    for (query, names) in [
        ("", &["ada", "Ada Lovelace", "adabert", "Adam", "Ähre"][..]),
        ("q=", &["ada", "Ada Lovelace", "adabert", "Adam", "Ähre"]),
        ("name=ADA", &["ada", "Ada Lovelace", "adabert", "Adam"]),
        ("q=ada", &["adabert", "Ähre", "ada", "Ada Lovelace", "Adam"]),
        ("q=%C3%A4H", &["Ähre"]),
        ("subject=u-1", &["ada", "Ada Lovelace"]),
        ("subject=U-1", &[]),
        ("sid=p-2", &["ada", "Adam"]),
        ("q=p-2", &["ada", "Adam"]),
        ("q=nobody", &[]),
    ] {
        for limit in ["", "&limit=1", "&limit=2", "&limit=3", "&limit=200"] {
            let found = running.all(&format!("{query}{limit}"));
            assert_eq!(found, names, "{query}{limit}");
        }
    }
}

/// DESIGN §4: sessions that come and go between two pages make no other come twice or be left out.
#[test]
fn pages_stay_good_while_sessions_come_and_go() {
    let running = run(Some("k"), vec![]);
    let store = &running.store;
    let name = |number: usize| format!("user {:02}", number % 20);
    for number in 0..60 {
        store.put(readable(&name(number), &format!("u-{}", number % 3), None));
    }
    for query in [
        "limit=7",
        "name=user&limit=7",
        "subject=u-1&limit=7",
        "q=u-1&limit=7",
    ] {
        let lasting: Vec<String> = running.all(query);
        let (mut seen, mut next) = running.page(query);
        let mut comings = Vec::new();
        while let Some(cursor) = next {
            // One that was shown ends, and others begin before and behind the cursor.
            for (name, subject) in [("aaa", "u-x"), ("user 10 new", "u-x"), ("zzz", "u-x")] {
                comings.push(store.put(readable(name, subject, None)));
            }
            let (more, after) = running.page(&format!("{query}&cursor={cursor}"));
            seen.extend(more);
            next = after;
        }
        seen.retain(|name| lasting.contains(name));
        assert_eq!(seen, lasting, "{query}");
        for hash in comings {
            store.take(&hash);
        }
    }
    // All of a page end before the next one is asked for.
    let (shown, next) = running.page("limit=30");
    for hash in store.hashes().into_iter().take(30) {
        store.take(&hash);
    }
    let (rest, _) = running.page(&format!("limit=30&cursor={}", next.unwrap()));
    assert_eq!((shown.len(), rest.len()), (30, 30));
}

/// What is asked for wrongly is said in a sentence, and nothing is guessed.
#[test]
fn a_wrong_question_is_refused() {
    let running = run(Some("k"), vec![]);
    for name in ["ada", "bob", "eve"] {
        running.store.put(readable(name, "s", None));
    }
    let (_, next) = running.page("limit=1");
    let cursor = next.unwrap();
    let long = format!("q={}", "x".repeat(1025));
    for (query, code) in [
        ("limit=0", "bad_request"),
        ("limit=201", "bad_request"),
        ("limit=-1", "bad_request"),
        ("limit=ten", "bad_request"),
        ("limit=1&limit=2", "bad_request"),
        ("name=a&subject=b", "bad_request"),
        ("q=a&sid=b", "bad_request"),
        ("page=2", "bad_request"),
        ("tenant=acme", "bad_request"),
        ("site=shop&tenant=", "bad_request"),
        ("site=shop/acme", "bad_request"),
        ("site=shop&site=", "bad_request"),
        (&long, "bad_request"),
        ("cursor=AAAA", "bad_cursor"),
        ("cursor=%20", "bad_cursor"),
        ("cursor=Yg", "bad_cursor"),
        (&format!("cursor={cursor}&name=z"), "bad_cursor"),
        (&format!("cursor={cursor}&subject=s"), "bad_cursor"),
        (&format!("cursor={cursor}x"), "bad_cursor"),
    ] {
        let (status, problem) = running.json("GET", &format!("/api/sessions?{query}"));
        assert_eq!((status, &problem["code"]), (400, &code.into()), "{query}");
    }
    for query in [
        "",
        "?subject=",
        "?q=s",
        "?subject=s&q=s",
        "?subject=s&subject=t",
        "?tenant=acme",
        "?site=shop&tenant=",
        "?site=shop/acme",
        "?site=shop&q=s",
        "?sites=",
    ] {
        let (status, problem) = running.json("DELETE", &format!("/api/sessions{query}"));
        assert_eq!(
            (status, &problem["code"]),
            (400, &"bad_request".into()),
            "{query}"
        );
    }
    let hex = "0".repeat(64);
    for id in ["", "0", "xyz", &hex, &format!("{hex}0"), "%30"] {
        for method in ["GET", "DELETE"] {
            let (status, problem) = running.json(method, &format!("/api/sessions/{id}"));
            let told = (status, &problem["code"]);
            assert_eq!(told, (404, &"no_such_session".into()), "{method} {id}");
        }
    }
    for (method, path, allowed) in [
        ("POST", "/api/sessions", "GET, HEAD, DELETE"),
        ("PUT", "/api/sessions/00", "GET, HEAD, DELETE"),
        ("DELETE", "/api/stats", "GET, HEAD"),
    ] {
        let (head, body) = running.answer(method, path, KEY);
        assert!(head.starts_with("HTTP/1.1 405"), "{head}");
        assert!(head.contains(&format!("allow: {allowed}")), "{head}");
        assert!(body.contains("method_not_allowed"), "{body}");
    }
    assert_eq!(running.json("GET", "/api/else").1["code"], "not_found");
    assert_eq!(running.store.names().len(), 3, "nothing has ended");
}

/// G14: what is shown of a session opens nothing.
#[test]
fn a_session_is_shown_without_its_secrets() {
    let running = run(Some("k"), vec![]);
    let hash = running.store.put(readable("Ada", "u-1", Some("p-1")));
    let (status, shown) = running.json("GET", &format!("/api/sessions/{}", hash.to_hex()));
    assert_eq!(status, 200);
    let shown = serde_json::to_string_pretty(&shown).unwrap();
    assert!(!shown.contains("canary"), "{shown}");
    insta::assert_snapshot!(shown.replace(&hash.to_hex(), "(id)"), @r#"
    {
      "acr": "gold",
      "amr": [
        "pwd",
        "otp"
      ],
      "browser": "Firefox on Linux",
      "client": null,
      "client_id": "app",
      "created_at": "2026-11-21T09:00:00Z",
      "ends_at": "2026-11-21T17:00:00Z",
      "expires_at": "2026-11-21T09:30:00Z",
      "id": "(id)",
      "issuer": "https://id.example.com",
      "last_seen": "2026-11-21T09:00:00Z",
      "name": "Ada",
      "provider_sid": "p-1",
      "readable": true,
      "site": "",
      "subject": "u-1",
      "tag": "tag",
      "tenant": null,
      "token_expires_at": "2026-11-21T09:05:00Z",
      "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0"
    }
    "#);
}

/// DESIGN §4: one ends, or all of a subject, and whoever ends the tokens is told of each.
#[test]
fn sessions_are_ended() {
    let running = run(Some("k"), vec![]);
    let store = &running.store;
    let one = store.put(readable("ada", "u-1", None)).to_hex();
    for name in ["bob", "bobby"] {
        store.put(readable(name, "u-2", None));
    }
    store.put(unreadable("bobert", "u-2", None));
    let lost = store.put(unreadable("eve", "u-3", None)).to_hex();
    let told = || {
        let told = running.told.lock().unwrap();
        told.iter()
            .map(|session| session.name.to_string())
            .collect::<Vec<_>>()
    };
    let end = |path: &str| running.json("DELETE", &format!("/api/sessions{path}"));
    assert_eq!(end(&format!("/{one}")).0, 204);
    assert_eq!(end(&format!("/{one}")).0, 404, "it has ended already");
    assert_eq!(told(), ["ada"]);
    let (status, shown) = running.json("GET", &format!("/api/sessions/{lost}"));
    assert_eq!((status, &shown["readable"]), (200, &false.into()));
    assert_eq!(end(&format!("/{lost}")).0, 204, "unreadable, and ended");
    assert_eq!(end("?subject=u-2").1["ended"], 3);
    assert_eq!(end("?subject=u-2").1["ended"], 0);
    assert_eq!(told(), ["ada", "bob", "bobby"]);
    assert_eq!(store.names(), Vec::<String>::new());
}

/// DESIGN §4: a store that is away is told in its own words, and has ended nothing.
#[test]
fn a_store_that_is_away_is_told() {
    let running = run(Some("k"), vec![]);
    let id = running.store.put(readable("ada", "u-1", None)).to_hex();
    running.store.leave();
    for (method, path) in [
        ("GET", "/api/sessions"),
        ("GET", "/api/sessions?q=a"),
        ("GET", &format!("/api/sessions/{id}")),
        ("DELETE", &format!("/api/sessions/{id}")),
        ("DELETE", "/api/sessions?subject=u-1"),
        ("DELETE", "/api/sessions?site="),
    ] {
        let (head, body) = running.answer(method, path, KEY);
        assert!(head.starts_with("HTTP/1.1 503"), "{path}: {head}");
        assert!(head.contains("retry-after: 2"), "{path}: {head}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["code"], "store_unavailable", "{path}");
        let detail = "The session store does not answer: gone fishing.";
        assert_eq!(problem["detail"], detail, "{path}");
    }
    let (status, stats) = running.json("GET", "/api/stats");
    assert_eq!(status, 200);
    assert_eq!(stats["store_state"]["state"], "failed");
    assert_eq!(stats["store_state"]["detail"], "gone fishing");
    assert_eq!(running.store.names(), ["ada"]);
}

/// DESIGN §4: where sessions are in the browsers alone, there is no list.
#[test]
fn a_store_without_a_list_says_so() {
    let running = run(Some("k"), vec![]);
    running.store.is("cookie");
    for (method, path) in [
        ("GET", "/api/sessions"),
        ("DELETE", "/api/sessions?subject=u-1"),
        ("DELETE", "/api/sessions?site="),
        ("GET", "/api/sessions?site=shop"),
        ("GET", "/api/sessions/00"),
    ] {
        let (status, problem) = running.json(method, path);
        assert_eq!((status, &problem["code"]), (501, &"no_session_list".into()));
    }
    let (_, stats) = running.json("GET", "/api/stats");
    assert_eq!(
        (&stats["store"], &stats["sessions"]),
        (&"cookie".into(), &Value::Null)
    );
}

/// The description is JSON; each path in it answers, as it says, and nothing answers that is not in
/// it.
#[test]
fn the_description_is_of_what_there_is() {
    let running = run(Some("k"), vec![]);
    let hash = running.store.put(readable("ada", "u-1", None)).to_hex();
    let (status, described) = running.json("GET", "/api/openapi.json");
    assert_eq!((status, &described["openapi"]), (200, &"3.1.0".into()));
    let mut answered = Vec::new();
    let paths = described["paths"].as_object().unwrap();
    // What reads comes first: what ends leaves nothing to be read.
    let operations = ["get", "delete"].into_iter().flat_map(|method| {
        let of = move |(path, item): (&String, &Value)| {
            let operation = item.get(method)?.clone();
            Some((method.to_ascii_uppercase(), path.clone(), operation))
        };
        paths.iter().filter_map(of)
    });
    for (method, path, operation) in operations {
        let mut asked = path.replace("{id}", &hash);
        if operation["operationId"] == "endSessions" {
            asked.push_str("?subject=nobody");
        }
        let open = operation["security"].as_array().is_some_and(Vec::is_empty);
        let (status, _) = running.ask(&method, &asked, "");
        assert_eq!(status == 401, !open, "{method} {path} without the key");

        let (status, body) = running.ask(&method, &asked, KEY);
        let response = &operation["responses"][status.to_string()];
        assert!(matches!(status, 200 | 204), "{method} {path}: {status}");
        assert!(response.is_object(), "{method} {path}: {status}");
        let schema = &response["content"]["application/json"]["schema"]["$ref"];
        let schema = schema.as_str().and_then(|name| name.rsplit('/').next());
        if let Some(schema) = schema {
            let body: Value = serde_json::from_str(&body).unwrap();
            let described = &described["components"]["schemas"][schema];
            for member in described["required"].as_array().unwrap() {
                let member = member.as_str().unwrap();
                assert!(body.get(member).is_some(), "{method} {path}: {member}");
            }
            for member in body.as_object().unwrap().keys() {
                let described = described["properties"].get(member);
                assert!(described.is_some(), "{method} {path}: {member}");
            }
        }
        answered.push(format!("{method} {path}"));
    }
    insta::assert_snapshot!(answered.join("\n"), @r"
    GET /
    GET /api/openapi.json
    GET /api/sessions
    GET /api/sessions/{id}
    GET /api/sites
    GET /api/stats
    GET /livez
    GET /metrics
    GET /readyz
    DELETE /api/sessions
    DELETE /api/sessions/{id}
    ");
    // Whatever is refused is refused with a code that is in it.
    let codes = &described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes = codes.as_array().unwrap().iter();
    let codes: Vec<&str> = codes.map(|code| code.as_str().unwrap()).collect();
    insta::assert_snapshot!(codes.join("\n"), @r"
    bad_request
    bad_cursor
    unauthorized
    origin_not_allowed
    no_such_session
    not_found
    method_not_allowed
    no_session_list
    store_unavailable
    ");
    let parameters = &described["paths"]["/api/sessions"]["get"]["parameters"];
    let mut parameters = parameters.as_array().unwrap().iter();
    let limit = parameters.find(|one| one["name"] == "limit").unwrap();
    assert_eq!(limit["schema"]["maximum"], 200);
}
