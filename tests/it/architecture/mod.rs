//! The rules of the house: who may name whom, and what is nowhere to be found (DESIGN §5).
//!
//! Reads the sources as text. What a rule looks for is written out, so that one who meets a
//! failure knows which arrow was drawn against the direction.

mod circles;
mod figures;
mod sources;

use std::fmt::Write as _;

use sources::{Source, sources, strip};

/// The parts that name nothing but each other.
const LEAVES: [&str; 4] = ["web", "telemetry", "secret", "clock"];

/// Who may name whom beside the leaves. What stands lower never names what stands higher.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    // `cli` and `app` may name everything below them.
    (
        "cli",
        &[
            "app", "config", "server", "pipeline", "auth", "oidc", "session", "proxy", "frontend",
            "admin", "dev",
        ],
    ),
    (
        "app",
        &[
            "config", "server", "pipeline", "auth", "oidc", "session", "proxy", "frontend",
            "admin", "dev",
        ],
    ),
    // The parts' own settings types.
    (
        "config",
        &[
            "server", "auth", "oidc", "session", "proxy", "frontend", "admin", "dev",
        ],
    ),
    // `server` for the `Handler` that it offers; the context of a request holds the session, and
    // `error/` writes down what the protocol's failures mean.
    (
        "pipeline",
        &["server", "auth", "oidc", "session", "proxy", "frontend"],
    ),
    ("auth", &["oidc", "session"]),
    ("server", &[]),
    // A listener of its own, made of the same stuff, that shows and ends sessions.
    ("admin", &["server", "session"]),
    ("oidc", &[]),
    ("session", &[]),
    ("proxy", &[]),
    ("frontend", &[]),
    // A provider of its own: it shares no protocol code with the relying party it is to test.
    ("dev", &[]),
    ("web", &[]),
    ("telemetry", &[]),
    ("secret", &[]),
    ("clock", &[]),
];

/// Where a failure's status may be picked. `pipeline/error/` does it for every request of the
/// product; the others answer for themselves: `web/problem.rs` writes statuses down, `frontend`
/// serves files (404, 405, 416), `admin` and `dev` are other listeners, and the server answers
/// what never became a request. `auth/session.rs` writes what the operator asked for with
/// `session.anonymous = 401`; `oidc` reads the provider's statuses and answers nobody.
const PICK_FAILURES: [&str; 8] = [
    "pipeline/error/",
    "web/problem.rs",
    "frontend/",
    "admin/",
    "dev/",
    "server/",
    "auth/session.rs",
    "oidc/",
];

/// The failure statuses that have a name in `http::StatusCode`.
const FAILURES: [&str; 20] = [
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "REQUEST_TIMEOUT",
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "URI_TOO_LONG",
    "EXPECTATION_FAILED",
    "MISDIRECTED_REQUEST",
    "UPGRADE_REQUIRED",
    "TOO_MANY_REQUESTS",
    "REQUEST_HEADER_FIELDS_TOO_LARGE",
    "INTERNAL_SERVER_ERROR",
    "NOT_IMPLEMENTED",
    "BAD_GATEWAY",
    "SERVICE_UNAVAILABLE",
    "GATEWAY_TIMEOUT",
    "LOOP_DETECTED",
];

/// The files that put a secret's text on the wire, seal it, or print it where its owner asked.
const EXPOSE: [&str; 14] = [
    "app/stores.rs",
    "secret.rs",
    "oidc/bought.rs",
    "oidc/token_endpoint.rs",
    "oidc/client_auth.rs",
    "oidc/client_key.rs",
    "oidc/id_token.rs",
    "oidc/pkce.rs",
    "oidc/userinfo.rs",
    "session/fields.rs",
    "session/seal.rs",
    "session/store/redis/url.rs",
    "web/proof.rs",
    "config/secret_source.rs",
];

#[test]
fn every_part_names_only_what_stands_below_it() {
    check("names what it may not", |source| {
        let Some((_, allowed)) = ARROWS.iter().find(|(part, _)| *part == source.part()) else {
            return vec![format!("{} is a part that no arrow knows", source.part())];
        };
        source
            .names()
            .into_iter()
            .filter(|name| {
                // The leaves may lean on each other: secrets are drawn from `clock`'s source.
                name != source.part()
                    && !allowed.contains(&name.as_str())
                    && !LEAVES.contains(&name.as_str())
            })
            .collect()
    });
}

#[test]
fn the_protocol_knows_no_cookie_and_no_session() {
    check("speaks of browsers", |source| {
        if source.part() != "oidc" {
            return Vec::new();
        }
        found(
            source,
            &[
                "cookie",
                "Cookie",
                "COOKIE",
                "SET_COOKIE",
                "SessionId",
                "SessionStore",
                "SessionRecord",
            ],
        )
    });
}

#[test]
fn the_proxy_knows_no_session() {
    check("speaks of sessions", |source| {
        if source.part() != "proxy" {
            return Vec::new();
        }
        found(
            source,
            &[
                "session",
                "Session",
                "SessionId",
                "SessionStore",
                "RefreshToken",
                "IdToken",
            ],
        )
    });
}

#[test]
fn the_wiring_alone_chooses_a_store() {
    check("names a store", |source| {
        if source.path == "app/stores.rs" || source.path.starts_with("session/store/") {
            return Vec::new();
        }
        // The cookie that carries sessions speaks to the store that keeps none.
        let carries = source.path == "session/carried.rs";
        let of_others = ["MemoryStore", "SqliteStore", "RedisStore", "PostgresStore"];
        let mut stores = found(source, &of_others);
        stores.extend(found(source, if carries { &[] } else { &["CookieStore"] }));
        stores
    });
}

#[test]
fn one_file_picks_the_status_of_a_failure() {
    check("picks the status of a failure", |source| {
        if PICK_FAILURES
            .iter()
            .any(|path| source.path.starts_with(path))
        {
            return Vec::new();
        }
        FAILURES
            .iter()
            .map(|name| format!("StatusCode::{name}"))
            .filter(|status| {
                // What an upstream answered is looked at, not picked.
                let looked_at = [format!("== {status}"), format!("!= {status}")];
                source.says(status) && !looked_at.iter().any(|look| source.code.contains(look))
            })
            .collect()
    });
}

#[test]
fn only_config_reads_the_environment() {
    check("reads the environment", |source| {
        if source.part() == "config" {
            return Vec::new();
        }
        found(
            source,
            &["env::var", "env::vars", "env::var_os", "env::vars_os"],
        )
    });
}

#[test]
fn only_clock_reads_the_time_and_draws_randomness() {
    check("reads the time or draws randomness", |source| {
        if source.part() == "clock" {
            return Vec::new();
        }
        found(
            source,
            &[
                "SystemTime::now",
                "std::time::Instant",
                "OffsetDateTime::now_utc",
                "getrandom::fill",
                "OsRng",
            ],
        )
    });
}

#[test]
fn no_static_holds_state() {
    check("holds state in a static", |source| {
        let mutable = [
            "Mutex", "RwLock", "Atomic", "Once", "Lazy", "Cell", "ArcSwap", "mut ",
        ];
        let mut found: Vec<String> = source
            .code
            .lines()
            .map(str::trim)
            .filter(|line| {
                let item = line
                    .trim_start_matches("pub(crate) ")
                    .trim_start_matches("pub ");
                item.starts_with("static ") && mutable.iter().any(|word| item.contains(word))
            })
            .map(str::to_owned)
            .collect();
        if source.code.contains("thread_local!") {
            found.push("thread_local!".to_owned());
        }
        found
    });
}

#[test]
fn a_secret_is_exposed_only_where_it_is_used() {
    check("exposes a secret", |source| {
        if EXPOSE.contains(&source.path.as_str()) {
            return Vec::new();
        }
        source
            .code
            .lines()
            .filter(|line| line.contains(".expose()"))
            .map(|line| line.trim().to_owned())
            .collect()
    });
}

/// The checks themselves, on sources made up to break each of them.
#[test]
fn the_reader_of_sources_sees_what_it_has_to() {
    let source = |code: &str| Source {
        path: "proxy/route.rs".to_owned(),
        code: strip(code),
    };
    let cases: [(&str, &[&str]); 6] = [
        ("use crate::web::body::Body;", &["web"]),
        (
            "fn f() -> crate::session::Id { crate::web::x() }",
            &["session", "web"],
        ),
        (
            "use crate::{clock::Clock, oidc::{Provider, jwks}, web};",
            &["clock", "oidc", "web"],
        ),
        ("// use crate::session::Id;\nfn f() {}", &[]),
        (
            "fn f() {}\n#[cfg(test)]\nmod tests { use crate::session::Id; }",
            &[],
        ),
        (
            "#[cfg(test)]\nfn f() {}\nuse crate::session::Id;",
            &["session"],
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(source(code).names(), expected, "{code}");
    }
    assert!(source("let x = env::var(\"A\");").says("env::var"));
    assert!(!source("let x = env::vars();").says("env::var"));
    assert!(!source("/// env::var").says("env::var"));
    assert_eq!(
        source("let a = \"http://x\"; crate::web::y()").names(),
        ["web"]
    );
}

/// Runs `rule` over every source and fails with all that it found.
fn check(fault: &str, rule: impl Fn(&Source) -> Vec<String>) {
    let sources = sources();
    let mut report = String::new();
    for source in &sources {
        for found in rule(source) {
            writeln!(report, "src/{} {fault}: {found}", source.path).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

fn found(source: &Source, words: &[&str]) -> Vec<String> {
    words
        .iter()
        .filter(|word| source.says(word))
        .map(|word| (*word).to_owned())
        .collect()
}
