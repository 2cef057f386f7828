//! What `benches/memory.sh` holds: a memory store full of sessions, and many open connections.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Randomness as _, SystemClock, SystemRandomness};
use bff::secret::{AccessToken, IdToken, LogoutSid, RefreshToken, random_base64url};
use bff::session::id::SessionId;
use bff::session::journal::{Journal, SubjectNames};
use bff::session::record::{Details, Facts, NewSession, Session};
use bff::session::store::memory::MemoryStore;
use bff::session::tokens::{Access, Tokens};
use bff::session::{CookieSettings, SameSite, SessionSettings, Sessions};
use bff::telemetry::Metrics;
use bff::web::registration::Registration;
use bff::web::site_id::SiteId;

use crate::{Outcome, one_thread, tell, until_left_alone};

/// Puts `count` sessions with `token_bytes` of tokens each into a memory store, says so, and keeps
/// them until it is left alone.
pub(crate) fn fill(count: &str, token_bytes: &str) -> Outcome {
    let (count, token_bytes): (u64, usize) = (count.parse()?, token_bytes.parse()?);
    let sessions = Sessions::new(
        Arc::new(MemoryStore::new(u64::MAX)),
        Arc::new(SystemClock),
        SiteId::main(),
        &settings(),
        Journal::new(Metrics::new(), SubjectNames::Clear),
    );
    one_thread()?.block_on(async {
        for _ in 0..count {
            let session = sessions.prepare(session(token_bytes)?);
            sessions.admit(&session).await?;
        }
        Outcome::Ok(())
    })?;
    let kept = sessions.count();
    if kept != count {
        return Err(format!("{kept} of {count} sessions are left").into());
    }
    tell(kept);
    until_left_alone()
}

/// Sessions as production has them.
pub(crate) fn settings() -> SessionSettings {
    SessionSettings {
        idle_timeout: Duration::from_hours(1),
        max_lifetime: Duration::from_hours(8),
        limit: None,
        cookie: CookieSettings {
            name: "bff".to_owned(),
            former_name: None,
            secure: false,
            same_site: SameSite::Strict,
            persistent: false,
        },
    }
}

/// Who we are at the provider of all sessions.
pub(crate) fn registration() -> Registration {
    Registration::new("https://id.example.com", "app")
}

/// A session as a login leaves it: half of the bytes are the access token, the rest is shared by
/// the ID token and the refresh token.
fn session(token_bytes: usize) -> Result<NewSession, &'static str> {
    session_of(&text(36), token_bytes)
}

/// The same, of this user.
pub(crate) fn session_of(subject: &str, token_bytes: usize) -> Result<NewSession, &'static str> {
    let access_token = AccessToken::new(&text(token_bytes / 2));
    Ok(NewSession {
        facts: Facts {
            provider_sid: Some(text(36).into()),
            name: "Alice Adams".into(),
            ..Facts::new(
                SessionId::random(&SystemRandomness).hash(),
                SiteId::main(),
                registration(),
                subject,
            )
        },
        details: Details {
            claims: r#"{"sub":"…","name":"Alice Adams","email":"alice@example.com"}"#.into(),
            grant_facts: r#"{"iss":"https://id.example.com","aud":["app"]}"#.into(),
            ..Details::new(
                &random_base64url::<12>(&SystemRandomness),
                LogoutSid::random(&SystemRandomness),
            )
        },
        tokens: Tokens {
            refresh_token: Some(Arc::new(RefreshToken::new(text(token_bytes / 8)))),
            id_token: Some(Arc::new(IdToken::new(text(token_bytes / 8 * 3)))),
            ..Tokens::first(Access::new(1, access_token).ok_or("a token no header takes")?)
        },
    })
}

/// What a refresh would bring this session.
pub(crate) fn refreshed(session: &Session, token_bytes: usize) -> Result<Tokens, &'static str> {
    let mut tokens = session_of("nobody", token_bytes)?.tokens;
    tokens.version = session.tokens().version + 1;
    tokens.own.version = tokens.version;
    tokens.spent = tokens.version;
    Ok(tokens)
}

fn text(length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    SystemRandomness.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect()
}

/// Opens `count` connections to `port`, sends one request on each and reads the answer's head, says
/// so, and keeps them open until it is left alone.
pub(crate) fn hold_connections(port: &str, count: &str) -> Outcome {
    use std::io::{Read as _, Write as _};
    let (port, count): (u16, usize) = (port.parse()?, count.parse()?);
    let request = format!(
        "GET /bff/session HTTP/1.1\r\nhost: localhost:{port}\r\nx-csrf: 1\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
         accept: application/json\r\n\r\n"
    );
    let mut held = Vec::with_capacity(count);
    let mut answer = [0_u8; 4096];
    for _ in 0..count {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.write_all(request.as_bytes())?;
        let read = socket.read(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(format!(
                "answered {}",
                String::from_utf8_lossy(answer.get(..read).unwrap_or_default())
            )
            .into());
        }
        held.push(socket);
    }
    tell(held.len());
    until_left_alone()
}
