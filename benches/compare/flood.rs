//! A flood from two hundred addresses of loopback, beside a signed-in visitor whose calls are timed and
//! other people who sign in.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use url::{Url, form_urlencoded};

use crate::{Outcome, tell};

/// Where the flood comes from: 127.0.1.1 and on.
const ADDRESSES: u16 = 200;
/// Its requests a second, over all addresses.
const RATE: u32 = 1000;
/// How long the visitor is timed alone.
const ALONE: Duration = Duration::from_secs(10);
/// Between two calls of the visitor.
const PACE: Duration = Duration::from_millis(10);
/// Between two logins of other people.
const LOGINS: Duration = Duration::from_millis(500);
/// Longer, and a call or a login counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connections of the idle flood that are held at a time; bff lets in 10,000.
const HELD: usize = 15_000;

type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A login and an answer that carries an error.
    ErrorAnswers,
    /// A login and an answer with a code that nobody gave.
    MadeUpCodes,
    /// Many cookies that look sealed.
    Cookies,
    /// A `Connection` field that names thousands.
    Nominations,
    /// Logout tokens that are none.
    LogoutTokens,
    /// Connections on which nothing comes.
    IdleConnections,
}

impl Kind {
    fn of(word: &str) -> Result<Self, Fault> {
        Ok(match word {
            "error-answers" => Self::ErrorAnswers,
            "made-up-codes" => Self::MadeUpCodes,
            "cookies" => Self::Cookies,
            "nominations" => Self::Nominations,
            "logout-tokens" => Self::LogoutTokens,
            "idle-connections" => Self::IdleConnections,
            other => return Err(format!("no flood is called {other}").into()),
        })
    }
}

/// Floods the bff on `port` for `seconds`, and tells what the visitor and others noticed.
pub(crate) fn run(kind: &str, port: &str, seconds: &str, cookie: &str) -> Outcome {
    let kind = Kind::of(kind)?;
    let target = Target {
        port: port.parse()?,
        cookie: cookie.to_owned(),
    };
    let span = Duration::from_secs(seconds.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, flood(kind, Rc::new(target), span))
}

struct Target {
    port: u16,
    cookie: String,
}

#[derive(Default)]
struct Seen {
    sent: Cell<u64>,
    failed: Cell<u64>,
    logins: Cell<u64>,
    failed_logins: RefCell<Vec<String>>,
    open: RefCell<VecDeque<TcpStream>>,
}

async fn flood(kind: Kind, target: Rc<Target>, span: Duration) -> Outcome {
    let alone = visit(&target, ALONE).await?;
    let seen = Rc::new(Seen::default());
    for n in 0..ADDRESSES {
        let (target, seen) = (Rc::clone(&target), Rc::clone(&seen));
        tokio::task::spawn_local(async move {
            let [high, low] = n.to_be_bytes();
            let from = Ipv4Addr::new(127, 0, 1 + high, low);
            // One after the other, not two hundred at a time.
            let pause = Duration::from_secs(1) * u32::from(ADDRESSES) / RATE;
            let first = Instant::now() + pause * u32::from(n) / u32::from(ADDRESSES);
            let mut tick = interval_at(first, pause);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let outcome = attack(kind, &target, from, &seen).await;
                seen.sent.set(seen.sent.get() + 1);
                seen.failed
                    .set(seen.failed.get() + u64::from(outcome.is_err()));
            }
        });
    }
    {
        let (target, seen) = (Rc::clone(&target), Rc::clone(&seen));
        tokio::task::spawn_local(async move {
            let mut tick = interval(LOGINS);
            loop {
                tick.tick().await;
                match timeout(PATIENCE, log_in(&target)).await {
                    Ok(Ok(())) => seen.logins.set(seen.logins.get() + 1),
                    Ok(Err(fault)) => seen.failed_logins.borrow_mut().push(fault.to_string()),
                    Err(_) => seen.failed_logins.borrow_mut().push("too late".to_owned()),
                }
            }
        });
    }
    let beside = visit(&target, span).await?;
    tell(format!(
        "visitor alone   p50 {:?} p99 {:?} worst {:?}, {} calls, {} failed",
        alone.at(0.5),
        alone.at(0.99),
        alone.at(1.0),
        alone.times.len(),
        alone.failed
    ));
    tell(format!(
        "visitor beside  p50 {:?} p99 {:?} worst {:?}, {} calls, {} failed",
        beside.at(0.5),
        beside.at(0.99),
        beside.at(1.0),
        beside.times.len(),
        beside.failed
    ));
    tell(format!(
        "p99 {:.2} times, flood {} ({} refused or cut), logins {} ok, {} failed",
        beside.at(0.99).as_secs_f64() / alone.at(0.99).as_secs_f64(),
        seen.sent.get(),
        seen.failed.get(),
        seen.logins.get(),
        seen.failed_logins.borrow().len()
    ));
    for fault in seen.failed_logins.borrow().iter().take(3) {
        tell(format!("a login failed: {fault}"));
    }
    Ok(())
}

struct Visit {
    times: Vec<Duration>,
    failed: u64,
}

impl Visit {
    fn at(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a short list"
        )]
        let at = ((self.times.len() as f64 - 1.0) * part).round() as usize;
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Calls of the signed-in visitor, each on a connection of its own, so that being let in is timed too.
async fn visit(target: &Target, span: Duration) -> Result<Visit, Fault> {
    let mut visit = Visit {
        times: Vec::new(),
        failed: 0,
    };
    let until = Instant::now() + span;
    while Instant::now() < until {
        let began = Instant::now();
        let head = format!(
            "GET /api/small HTTP/1.1\r\nHost: localhost:{}\r\nCookie: {}\r\nX-CSRF: 1\r\nConnection: close\r\n\r\n",
            target.port, target.cookie
        );
        let answer = timeout(
            PATIENCE,
            ask(target.port, Ipv4Addr::LOCALHOST, head.as_bytes()),
        )
        .await;
        match answer {
            Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => {
                visit.times.push(began.elapsed());
            }
            _ => visit.failed += 1,
        }
        tokio::time::sleep(PACE).await;
    }
    visit.times.sort_unstable();
    Ok(visit)
}

async fn attack(kind: Kind, target: &Target, from: Ipv4Addr, seen: &Seen) -> Outcome {
    let port = target.port;
    match kind {
        Kind::ErrorAnswers | Kind::MadeUpCodes => {
            let begun = get(port, from, "/bff/login", "").await?;
            let cookie = field(&begun, "set-cookie").ok_or("refused")?;
            let cookie = cookie.split(';').next().unwrap_or_default();
            let authorize = Url::parse(field(&begun, "location").ok_or("refused")?)?;
            let state = parameter(&authorize, "state").ok_or("no state")?;
            let issuer = authorize.origin().ascii_serialization();
            let answer = if kind == Kind::ErrorAnswers {
                "error=access_denied"
            } else {
                "code=made-up"
            };
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("state", &state)
                .append_pair("iss", &issuer)
                .finish();
            let reply = get(
                port,
                from,
                &format!("/bff/callback?{query}&{answer}"),
                cookie,
            )
            .await?;
            accepted(&reply)
        }
        Kind::Cookies => {
            let value = "A".repeat(900);
            let name = target.cookie.split('=').next().unwrap_or_default();
            let cookies = vec![format!("{name}={value}"); 8].join("; ");
            let reply = get(port, from, "/api/small", &cookies).await?;
            accepted(&reply)
        }
        Kind::Nominations => {
            let names = vec!["x"; 15_000].join(",");
            let head = format!(
                "GET /api/small HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close,{names}\r\n\r\n"
            );
            accepted(&ask(port, from, head.as_bytes()).await?)
        }
        Kind::LogoutTokens => {
            let body = "logout_token=eyJhbGciOiJSUzI1NiIsImtpZCI6Im5vbmUifQ.e30.AAAA";
            let head = format!(
                "POST /bff/backchannel-logout HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            accepted(&ask(port, from, head.as_bytes()).await?)
        }
        Kind::IdleConnections => {
            let stream = timeout(Duration::from_secs(1), connect(port, from)).await??;
            let mut open = seen.open.borrow_mut();
            // More than bff lets in, and fewer than this process may hold beside the visitor's.
            if open.len() == HELD {
                open.pop_front();
            }
            open.push_back(stream);
            Ok(())
        }
    }
}

fn accepted(reply: &str) -> Outcome {
    if reply.starts_with("HTTP/1.1 429") || reply.starts_with("HTTP/1.1 503") || reply.is_empty() {
        return Err("refused".into());
    }
    Ok(())
}

/// A whole login of somebody else, from an address that floods nobody.
async fn log_in(target: &Target) -> Outcome {
    let from = Ipv4Addr::new(127, 0, 9, 1);
    let port = target.port;
    let begun = get(port, from, "/bff/login?login_hint=alice", "").await?;
    let cookie = field(&begun, "set-cookie").ok_or_else(|| first_line(&begun))?;
    let cookie = cookie.split(';').next().unwrap_or_default();
    let authorize = Url::parse(field(&begun, "location").ok_or("no Location")?)?;
    let provider = authorize.port().ok_or("no port")?;
    let asked = get(provider, from, &authorize[url::Position::BeforePath..], "").await?;
    let callback = Url::parse(field(&asked, "location").ok_or_else(|| first_line(&asked))?)?;
    let done = get(port, from, &callback[url::Position::BeforePath..], cookie).await?;
    let name = format!("{}=", target.cookie.split('=').next().unwrap_or_default());
    let signed_in = done
        .lines()
        .any(|line| line.to_ascii_lowercase().starts_with("set-cookie:") && line.contains(&name));
    if signed_in {
        Ok(())
    } else {
        Err(first_line(&done).into())
    }
}

fn first_line(reply: &str) -> String {
    reply.lines().next().unwrap_or("no answer").to_owned()
}

async fn get(port: u16, from: Ipv4Addr, target: &str, cookie: &str) -> Result<String, Fault> {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {cookie}\r\nX-CSRF: 1\r\nConnection: close\r\n\r\n"
    );
    ask(port, from, head.as_bytes()).await
}

async fn ask(port: u16, from: Ipv4Addr, request: &[u8]) -> Result<String, Fault> {
    let mut stream = connect(port, from).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    // A refusal may come as a reset behind its answer.
    let read = stream.read_to_end(&mut answer).await;
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn connect(port: u16, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
