//! A session as a row, and back: what a store is given holds no secret that it could read (G5).

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Randomness, Timestamp};
use crate::secret::{IdToken, LogoutSid};
use crate::session::id::SessionHash;
use crate::session::record::{Authentication, NewSession, Session, Tokens};
use crate::session::seal::{FieldReader, FieldWriter, Keys, UnsealError};
use crate::session::store::record_store::Row;

/// The form of what is sealed. Another number, and the one before must still be read.
const FORM: i64 = 1;

/// The row of a session with these tokens.
pub(super) fn row(
    session: &Session,
    tokens: &Tokens,
    idle_timeout: Duration,
    keys: &Keys,
    randomness: &dyn Randomness,
) -> Row {
    Row {
        hash: session.hash,
        version: tokens.version,
        subject: session.subject.clone(),
        provider_sid: session.provider_sid.clone(),
        name: session.name.clone(),
        created: session.created,
        seen: session.last_seen(),
        expires: session.expires(idle_timeout),
        ends: session.ends,
        sealed: contents(session, tokens, keys, randomness).into(),
    }
}

/// The sealed part of the row of a session with these tokens.
pub(super) fn contents(
    session: &Session,
    tokens: &Tokens,
    keys: &Keys,
    randomness: &dyn Randomness,
) -> Vec<u8> {
    keys.seal_bytes(
        &place(&session.hash),
        fields(session, tokens).finish(),
        randomness,
    )
}

/// The session of a row.
///
/// # Errors
///
/// The row does not open; see [`UnsealError`].
pub(super) fn open(row: &Row, keys: &Keys) -> Result<Arc<Session>, UnsealError> {
    let plaintext = keys.open_bytes(&place(&row.hash), &row.sealed)?;
    let session = read(&plaintext, row.hash, row.seen).ok_or(UnsealError::Corrupt)?;
    // Whoever can write to the store could put old contents under a new version.
    if session.tokens().version == row.version {
        Ok(Arc::new(session))
    } else {
        Err(UnsealError::Corrupt)
    }
}

/// All of a session, and the moments that bound its life: a store's word is not taken for them.
fn fields(session: &Session, tokens: &Tokens) -> FieldWriter {
    facts(session).tokens(tokens)
}

/// As [`fields`], with an ID token or without, for where there is little room.
pub(in crate::session) fn fields_with_hint(
    session: &Session,
    tokens: &Tokens,
    id_token: Option<&IdToken>,
) -> FieldWriter {
    facts(session).tokens_and_hint(tokens, id_token)
}

fn facts(session: &Session) -> FieldWriter {
    let authentication = &session.authentication;
    let mut writer = FieldWriter::default()
        .number(FORM)
        .number(session.created.unix_millis())
        .number(session.ends.unix_millis())
        .text(&session.tag)
        .text(session.logout_sid.in_link())
        .text(&session.subject)
        .optional_text(session.provider_sid.as_deref())
        .text(&session.name)
        .optional_text(session.user_agent.as_deref())
        .text(&session.claims)
        .text(&session.grant_facts)
        .optional_text(authentication.acr.as_deref())
        .optional_moment(authentication.auth_time)
        .number(i64::try_from(authentication.amr.len()).unwrap_or(i64::MAX));
    for method in &authentication.amr {
        writer = writer.text(method);
    }
    writer
}

/// Reads what [`fields`] wrote.
pub(in crate::session) fn read(
    plaintext: &[u8],
    hash: SessionHash,
    seen: Timestamp,
) -> Option<Session> {
    let mut reader = FieldReader::new(plaintext);
    if reader.number()? != FORM {
        return None;
    }
    let created = Timestamp::from_unix_millis(reader.number()?);
    let ends = Timestamp::from_unix_millis(reader.number()?);
    let new = NewSession {
        hash,
        tag: reader.text()?.into(),
        logout_sid: LogoutSid::new(reader.text()?),
        subject: reader.text()?.into(),
        provider_sid: reader.optional_text()?.map(Into::into),
        name: reader.text()?.into(),
        user_agent: reader.optional_text()?.map(Into::into),
        claims: reader.text()?.into(),
        grant_facts: reader.text()?.into(),
        authentication: Authentication {
            acr: reader.optional_text()?.map(Into::into),
            auth_time: reader.optional_moment()?,
            amr: {
                let methods = reader.number()?;
                (0..methods)
                    .map(|_| reader.text().map(Into::into))
                    .collect::<Option<_>>()?
            },
        },
        tokens: reader.tokens()?,
    };
    reader
        .is_empty()
        .then(|| Session::restored(new, created, seen, ends))
}

/// What the contents are bound to: moved to another session's place, they do not open.
fn place(hash: &SessionHash) -> String {
    format!("session record {}", hash.to_hex())
}
