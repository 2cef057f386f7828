//! The log as an operator reads it: one session followed from login to end, and docs/logs.md, which
//! names every event and every field (N4, G14).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::call::{Call, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{ACCESS_TOKEN_SECONDS, Idp, PUBLIC_URL};
use crate::support::upstream::Upstream;

type Line = Map<String, Value>;

/// The lines of an event so far.
fn lines_of(bff: &Bff<'_>, event: &str) -> Vec<Line> {
    let lines = bff.logs().lines_with(&format!("\"event\":\"{event}\""));
    let fields = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["fields"].as_object().unwrap().clone()
    };
    lines.iter().map(fields).collect()
}

/// The one line of an event, once it is there.
async fn the_one(bff: &Bff<'_>, event: &str) -> Line {
    let mut lines = soon(event, async {
        loop {
            let lines = lines_of(bff, event);
            if !lines.is_empty() {
                break lines;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(lines.len(), 1, "{event}: {lines:#?}");
    lines.pop().unwrap()
}

/// N4: a session is followed from its login over a call and a refresh to its end by the provider's back
/// channel, by one name. The lines had the session's id at the login and at a logout alone; a call, a
/// refresh that went well and an end by the provider named no session at all.
#[tokio::test]
async fn one_session_is_followed_from_login_to_end() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let tag = alice.session().await["session"]["tag"].clone();

    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0";
    let call = Call::get("/api/orders?secret=canary-of-a-query").of(&alice);
    let call = call
        .header("X-Forwarded-For", "203.0.113.7")
        .header("User-Agent", firefox)
        .with("Sec-Fetch-Site", "same-origin");
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    bff.clock()
        .advance(Duration::from_secs(ACCESS_TOKEN_SECONDS));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    idp.sign_out("alice", bff.public_addr).await;
    let refused = call.send(bff.public_addr).await;
    assert_eq!(refused.status, 401);

    let started = the_one(&bff, "session.started").await;
    let refreshed = the_one(&bff, "session.refreshed").await;
    let ended = the_one(&bff, "session.ended").await;
    for line in [&started, &refreshed, &ended] {
        assert_eq!(line["session"], tag);
        assert_eq!(line["subject"], started["subject"]);
        assert_eq!(line["session_id"], started["session_id"]);
    }
    assert_eq!(started["client"], "127.0.0.1");
    assert_eq!(refreshed["outcome"], "ok");
    assert_eq!(ended["reason"], "provider_logout");
    assert_eq!(the_one(&bff, "logout.backchannel").await["ended"], 1);

    let requests = lines_of(&bff, "request");
    let of_session: Vec<_> = requests
        .iter()
        .filter(|line| line.get("session") == Some(&tag))
        .collect();
    assert!(
        of_session
            .iter()
            .any(|line| line["path"] == "/bff/callback")
    );
    assert!(of_session.iter().any(|line| line["path"] == "/bff/session"));
    let call = of_session
        .iter()
        .find(|line| line["path"] == "/api/orders")
        .unwrap();
    for (field, expected) in [
        ("route", "/api"),
        ("method", "GET"),
        ("client", "203.0.113.7"),
        ("browser", "Firefox"),
        ("site", "same-origin"),
    ] {
        assert_eq!(call[field], expected, "{field}");
    }
    // Numbers as numbers: the time of a request was a text.
    assert_eq!(call["status"], 200);
    assert!(call["elapsed_us"].is_u64(), "{call:?}");
    let refused = requests.last().unwrap();
    assert_eq!(refused["code"], "session_expired");

    let log = bff.logs().text();
    for absent in ["canary-of-a-query", "Some(", "\"alice\"", "alice@"] {
        assert!(!log.contains(absent), "{absent}");
    }
}

/// N4: where the operator says so, users are called by their subject.
#[tokio::test]
async fn a_subject_is_told_in_the_clear_where_asked() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("log.subject", "clear")
        .start();
    signed_in(&bff, "alice").await;
    assert_eq!(the_one(&bff, "session.started").await["subject"], "alice");
}

/// N4: each end is one event with its cause, however the session ended.
#[tokio::test]
async fn every_end_is_one_event_with_its_reason() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("session.max_per_user", 1)
        .start();
    let mut first = signed_in(&bff, "alice").await;
    let mut second = signed_in(&bff, "alice").await;
    second.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    first.sign_in("bob").await;
    bff.clock().advance(Duration::from_mins(31));
    let mut third = signed_in(&bff, "alice").await;
    bff.clock()
        .advance(Duration::from_secs(ACCESS_TOKEN_SECONDS));
    idp.misbehave(Fault::invalid_grant());
    let reply = third.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(reply.status, 401);
    let reasons = soon("every end", async {
        loop {
            let ended = lines_of(&bff, "session.ended");
            if ended.len() >= 4 {
                break ended;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut reasons: Vec<_> = reasons.iter().map(|line| line["reason"].clone()).collect();
    reasons.sort_by_key(Value::to_string);
    assert_eq!(
        reasons,
        ["expired", "logout", "refresh_refused", "superseded"]
    );
    let failed = the_one(&bff, "refresh.failed").await;
    assert_eq!(
        (&failed["outcome"], &failed["code"]),
        (&"refused".into(), &"invalid_grant".into())
    );
    let metrics = bff.metrics().unwrap();
    for reason in ["expired", "logout", "refresh_refused", "superseded"] {
        let series = format!("bff_sessions_ended_total{{reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&series), "{series}\n{metrics}");
    }
}

/// N4: a login that failed is an event with its cause, under the id that the page shows; so is an answer
/// for one that is over.
#[tokio::test]
async fn a_failed_login_is_an_event() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();
    let url = format!("{PUBLIC_URL}/bff/callback?error=server_error");
    let reply = browser.open(&url).await;
    let failed = the_one(&bff, "login.failed").await;
    assert_eq!(failed["code"], "login_failed");
    assert_eq!(failed["status"], 400);
    assert_eq!(failed["request.id"], reply.header("x-request-id").unwrap());
    assert!(!failed["cause"].as_str().unwrap().is_empty());
    let reply = browser.open(&format!("{url}&state=made-up")).await;
    assert_eq!(reply.status, 303);
    let over = the_one(&bff, "login.over").await;
    assert_eq!(over["request.id"], reply.header("x-request-id").unwrap());
}

/// N4: the id that a known proxy gave a request joins its lines to ours; a stranger's joins nothing, and
/// one that could do harm is replaced.
#[tokio::test]
async fn a_trusted_proxys_request_id_is_kept() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let behind = Bff::with(&idp, &upstream)
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .start();
    let alone = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&behind, "alice").await;
    let given = "4bf92f35.77b3_4da6-a3ce";
    let ask = async |bff: &Bff<'_>, id: &str| {
        let call = Call::get("/api/orders").of(&alice).with("X-Request-Id", id);
        let reply = call.send(bff.public_addr).await;
        reply.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask(&behind, given).await, given);
    assert_eq!(upstream.last().header("x-request-id"), Some(given));
    assert!(!behind.logs().lines_with(given).is_empty());
    assert_ne!(ask(&alone, given).await, given);
    for odd in ["a b", "\"quoted\"", "<b>", &"x".repeat(129)] {
        assert_ne!(ask(&behind, odd).await, odd);
    }
}

/// N4: docs/logs.md lists every event and every field that is written at `info` or louder, and none
/// that is not.
#[test]
fn every_event_and_field_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut events, mut fields, mut nameless) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for file in sources(&root.join("src")) {
        let code = fs::read_to_string(&file).unwrap();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for arguments in log_calls(code) {
            let named = named_values(&arguments);
            match named.iter().find(|(name, _)| name == "event") {
                Some((_, event)) => drop(events.insert(event.trim_matches('"').to_owned())),
                None => nameless.push(format!("{}: {arguments:?}", file.display())),
            }
            fields.extend(named.into_iter().map(|(name, _)| name));
        }
    }
    assert!(nameless.is_empty(), "lines without an event: {nameless:#?}");
    let docs = fs::read_to_string(root.join("docs/logs.md")).unwrap();
    let (told_events, told_fields) = docs.split_once("\n## Fields").unwrap();
    assert_eq!(events, listed(told_events), "events: code, docs/logs.md");
    assert_eq!(fields, listed(told_fields), "fields: code, docs/logs.md");
}

/// What stands in the first column of the tables.
fn listed(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.map(|row| row.split('`').next().unwrap().to_owned());
    names.collect()
}

/// The source files under a folder, without those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    found
}

/// The arguments of each call that writes a line at `info` or louder.
fn log_calls(code: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for level in ["info", "warn", "error"] {
        let opening = format!("tracing::{level}!(");
        for (at, _) in code.match_indices(&opening) {
            let line = code[..at].rsplit('\n').next().unwrap();
            if !line.trim_start().starts_with("//") {
                calls.push(arguments(&code[at + opening.len()..]));
            }
        }
    }
    calls
}

/// What stands between the commas up to the bracket that closes.
fn arguments(code: &str) -> Vec<String> {
    let (mut all, mut one) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in code.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    all.push(std::mem::take(&mut one).trim().to_owned());
                    continue;
                }
                _ => {}
            }
        }
        one.push(c);
    }
    all.push(one.trim().to_owned());
    all.retain(|one| !one.is_empty());
    all
}

/// The fields among the arguments, with what stands for their values.
fn named_values(arguments_of_call: &[String]) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for argument in arguments_of_call {
        if argument.starts_with('"') {
            break;
        }
        if let Some(group) = argument.strip_prefix('{') {
            named.extend(named_values(&arguments(group)));
        } else if let Some((name, value)) = argument.split_once(" = ") {
            named.push((name.to_owned(), value.to_owned()));
        } else if !argument.starts_with("target:") {
            let name = argument.trim_start_matches(['?', '%', '&']);
            named.push((name.to_owned(), String::new()));
        }
    }
    named
}
