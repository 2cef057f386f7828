//! A fixed number of requests on a fixed number of kept connections, for counting what one costs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use crate::{Outcome, tell};

/// Kept connections; each has one request under way.
const CONNECTIONS: usize = 8;

/// Sends `count` requests for `path` to the bff on `port`, with a body of `body` octets and a line of
/// the file `cookies` each, one after the other and from the top again; fails where one is not answered
/// 200.
pub(crate) fn run(
    port: &str,
    count: &str,
    method: &str,
    path: &str,
    body: &str,
    cookies: &str,
) -> Outcome {
    let (port, count): (u16, usize) = (port.parse()?, count.parse()?);
    let body = "b".repeat(body.parse()?);
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let cookies = std::fs::read_to_string(cookies)?;
    let mut cookies = cookies.lines().cycle();
    let mut connections = (0..CONNECTIONS)
        .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(BufReader::new))
        .collect::<Result<Vec<_>, _>>()?;
    for _ in 0..count / CONNECTIONS {
        for connection in &mut connections {
            let cookie = cookies.next().ok_or("no cookie in the file")?;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {cookie}\r\n\
                 X-CSRF: 1\r\nAccept: application/json\r\n{length}\r\n{body}"
            );
            connection.get_mut().write_all(request.as_bytes())?;
        }
        for connection in &mut connections {
            read_answer(connection)?;
        }
    }
    tell(count / CONNECTIONS * CONNECTIONS);
    Ok(())
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> Outcome {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(format!("answered {}", line.trim_end()).into());
    }
    let mut length = None;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let field = line.trim_end();
        if field.is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.ok_or("an answer without a length")?];
    connection.read_exact(&mut body)?;
    Ok(())
}
