//! A whole session in the browser's cookie: what is sealed, and when it is sealed anew.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::clock::{Randomness, Timestamp};
use crate::session::chunks::{Chunks, MOST_CHUNKS, chunk_name, count_of, split};
use crate::session::id::SessionId;
use crate::session::record::{Session, Tokens};
use crate::session::seal::{FieldReader, FieldWriter, Keys, sealed_len, token_sizes};
use crate::session::store::cookie::CookieStore;
use crate::session::store::sealed;

/// The form of what is sealed. Another number, and the one before must still be read.
const FORM: i64 = 1;

/// The most octets of a cookie, with its name and its attributes: what every browser keeps (G8).
const LARGEST_COOKIE: usize = 4096;

/// What may be said of a session whose cookie is too large is of claims this large.
const WORTH_NAMING: usize = 256;

/// What lets cookies carry whole sessions.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// The sessions that this process has seen.
    pub store: Arc<CookieStore>,
    /// The most octets that the cookies of a session may take of a request's head.
    pub room: usize,
    /// Whether the ID token goes along, for the provider's logout.
    pub id_token: bool,
}

/// What a cookie carried, as against the session as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carries {
    /// The version of its tokens.
    pub(super) version: u64,
    /// The last use that it knows of.
    pub(super) seen: Timestamp,
    /// Whether it was sealed by another key than the first (G7).
    pub(super) outdated: bool,
    /// Whether the request has chunks that are not of it.
    pub(super) surplus: bool,
}

impl Carries {
    /// Whether the browser's cookie says of this session what there is to say.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        self.version >= session.tokens().version
            && self.seen >= session.last_seen()
            && !self.outdated
            && !self.surplus
    }
}

/// A session that no browser can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    octets: usize,
    room: usize,
    parts: Vec<(String, usize)>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            octets,
            room,
            parts,
        } = self;
        write!(
            f,
            "with session.store = \"cookie\" this session takes {octets} octets of cookies, and \
             {MOST_CHUNKS} cookies within server.limits.head have room for {room}; it holds"
        )?;
        for (at, (name, size)) in parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {name} of {size}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TooLarge {}

/// An opened cookie.
pub(super) struct Opened {
    pub(super) id: SessionId,
    pub(super) session: Session,
}

/// The chunks of a session, by the names of their cookies.
pub(super) fn seal(
    id: &SessionId,
    session: &Session,
    carrier: &Carrier,
    place: &Place<'_>,
    randomness: &dyn Randomness,
) -> Result<Vec<(String, String)>, TooLarge> {
    let tokens = Arc::clone(&session.tokens());
    let id_token = tokens.id_token.as_deref().filter(|_| carrier.id_token);
    let capacity = LARGEST_COOKIE.saturating_sub(place.frame);
    let contents = sealed::fields_with_hint(session, &tokens, id_token);
    let fields = |count: usize| {
        FieldWriter::default()
            .number(FORM)
            .session_id(id)
            .number(i64::try_from(count).unwrap_or(i64::MAX))
            .number(session.last_seen().unix_millis())
            .bytes(contents.finish())
    };
    // A count has eight octets, whichever it is.
    let len = sealed_len(fields(0).finish().len());
    let octets = |count: usize| len + 1 + count * (place.name.len() + "-1=; ".len());
    let count = count_of(len, capacity).filter(|count| octets(*count) <= carrier.room);
    let too_large = || TooLarge {
        octets: octets(len.div_ceil(capacity.max(1))),
        room: carrier.room.min(MOST_CHUNKS * capacity),
        parts: parts(session, &tokens, carrier.id_token),
    };
    let count = count.ok_or_else(too_large)?;
    let text = place
        .keys
        .seal(place.name, fields(count).finish(), randomness);
    let chunks = split(&text, capacity).ok_or_else(too_large)?;
    let names = (0..).map(|index| chunk_name(place.name, index));
    Ok(names.zip(chunks).collect())
}

/// Where a session is sealed to.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) keys: &'a Keys,
    /// The octets of a cookie's name and attributes, with an empty value.
    pub(super) frame: usize,
}

/// What a value holds, its count in front; `None` where it does not open, or was in another number
/// of chunks than it was written in.
pub(super) fn open(place: &str, keys: &Keys, whole: &[u8]) -> Option<Opened> {
    let (digit, text) = whole.split_first()?;
    let joined = i64::from(digit.checked_sub(b'0')?);
    let plaintext = keys.open_within(place, text, MOST_CHUNKS * LARGEST_COOKIE)?;
    read(&plaintext, joined)
}

fn read(plaintext: &Zeroizing<Vec<u8>>, joined: i64) -> Option<Opened> {
    let mut reader = FieldReader::new(plaintext);
    if reader.number()? != FORM {
        return None;
    }
    let id = SessionId::from_opened(reader.bytes()?)?;
    let count = reader.number()?;
    let seen = Timestamp::from_unix_millis(reader.number()?);
    let session = sealed::read(reader.bytes()?, id.hash(), seen)?;
    (reader.is_empty() && count == joined).then_some(Opened { id, session })
}

/// The first of the request's values that opens (G2).
pub(super) fn find(name: &str, keys: &Keys, headers: &HeaderMap) -> Option<Opened> {
    let chunks = Chunks::of(headers, name);
    chunks
        .joined()
        .find_map(|joined| open(name, keys, &joined.whole))
}

/// What of a session is large, the largest first.
fn parts(session: &Session, tokens: &Tokens, id_token: bool) -> Vec<(String, usize)> {
    let mut parts: Vec<(String, usize)> = token_sizes(tokens)
        .into_iter()
        .filter(|(name, _)| id_token || *name != "id_token")
        .map(|(name, size)| (name.to_owned(), size))
        .collect();
    if let Ok(Value::Object(claims)) = serde_json::from_str(&session.claims) {
        let sizes = claims
            .iter()
            .map(|(name, value)| (name, value.to_string().len()));
        parts.extend(
            sizes
                .filter(|(_, size)| *size >= WORTH_NAMING)
                .map(|(name, size)| (format!("the claim {name:?}"), size)),
        );
    }
    parts.retain(|(_, size)| *size > 0);
    parts.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    parts
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({:?})", self.session.hash)
    }
}
