//! Signs a user in again and again, as a browser would, and says how long that took.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use crate::{Outcome, tell};

/// Makes `count` logins one after the other at the bff on `port`; tells how many a second.
pub(crate) fn run(port: &str, count: &str) -> Outcome {
    let (port, count): (u16, u32) = (port.parse()?, count.parse()?);
    let began = Instant::now();
    for _ in 0..count {
        log_in(port)?;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    tell(format!("{rate:.0}"));
    Ok(())
}

fn log_in(port: u16) -> Outcome {
    let start = Url::parse(&format!(
        "http://localhost:{port}/bff/login?login_hint=alice&return_to=/"
    ))?;
    let begun = get(&start, "")?;
    let cookie = pair(&begun).ok_or("the login set no cookie")?;
    let asked = get(&start.join(location(&begun)?)?, "")?;
    let done = get(&start.join(location(&asked)?)?, cookie)?;
    let session = format!("set-cookie: bff-{port}=");
    let signed_in = done
        .lines()
        .any(|line| line.to_ascii_lowercase().starts_with(&session));
    if signed_in {
        Ok(())
    } else {
        Err(format!("no session cookie in\n{done}").into())
    }
}

/// The head of an answer, on a connection of its own.
fn get(url: &Url, cookie: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let address = url.socket_addrs(|| None)?;
    let mut stream = TcpStream::connect(address.as_slice())?;
    let target = &url[url::Position::BeforePath..];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn location(head: &str) -> Result<&str, String> {
    field(head, "location").ok_or_else(|| format!("no Location in\n{head}"))
}

fn pair(head: &str) -> Option<&str> {
    field(head, "set-cookie")?.split(';').next()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
