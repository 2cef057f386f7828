use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;

use super::*;

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

struct Running {
    server: Server,
    draining: CancellationToken,
    shutdown: CancellationToken,
}

fn run(key: Option<&str>, checks: Vec<Arc<dyn Check>>) -> Running {
    let (draining, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let metrics = Metrics::new();
    metrics.login("ok");
    let settings = AdminSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        key: key.map(AdminKey::new),
    };
    let admin = Admin {
        checks,
        metrics,
        draining: draining.clone(),
    };
    Running {
        server: start(settings, admin, shutdown.clone()).unwrap(),
        draining,
        shutdown,
    }
}

impl Running {
    /// Status and body of one exchange.
    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.server.local_addr()).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.get(9..12).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

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
