//! The session cookie: reading it from any bytes, writing it, taking it back.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cookie::Cookie;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::clock::{Randomness, Timestamp};
use crate::session::carried::{self, Place};
use crate::session::chunks::{Chunks, Joined, MOST_CHUNKS, chunk_name};
use crate::session::id::{SessionHash, SessionId};
use crate::session::record::Session;
use crate::session::seal::{FieldReader, FieldWriter, Keys};
use crate::session::{CookieSettings, SameSite};
use crate::web::cookie_line::pairs;

pub use crate::session::carried::{Carrier, Carries, TooLarge};

/// What a request presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// No cookie of ours.
    Nothing,
    /// A cookie of our name that does not open: as good as none, and to be deleted (G6).
    Unreadable,
    /// A cookie that opened.
    Session(OpenedCookie),
}

/// What an opened cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedCookie {
    /// Where its session is kept.
    pub hash: SessionHash,
    /// When it was written.
    pub issued: Timestamp,
    /// What it says of the session, where it carries the whole of it.
    pub carries: Option<Carries>,
}

/// Reads and writes the session cookie.
#[derive(Debug, Clone)]
pub struct SessionCookie {
    settings: CookieSettings,
    keys: Keys,
    carrier: Option<Carrier>,
}

impl SessionCookie {
    /// The cookie of these settings, sealed by these keys.
    pub const fn new(settings: CookieSettings, keys: Keys) -> Self {
        Self {
            settings,
            keys,
            carrier: None,
        }
    }

    /// As [`new`](Self::new), with the whole session in it.
    pub const fn carrying(settings: CookieSettings, keys: Keys, carrier: Carrier) -> Self {
        Self {
            settings,
            keys,
            carrier: Some(carrier),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How it is written.
    pub const fn settings(&self) -> &CookieSettings {
        &self.settings
    }

    /// What the request presents. Of two cookies of our name the one that opens counts (G2).
    /// A session that one carries is known from here on, unless it is over.
    pub fn read(&self, headers: &HeaderMap, opened: &OpenedCookies) -> Presented {
        if let Some(carrier) = &self.carrier {
            return self.read_carried(headers, opened, carrier);
        }
        let mut presented = Presented::Nothing;
        for value in values_of(headers, &self.settings.name) {
            match opened.open(self, value) {
                Some(cookie) => return Presented::Session(cookie),
                None => presented = Presented::Unreadable,
            }
        }
        presented
    }

    fn open(&self, value: &[u8]) -> Option<OpenedCookie> {
        let plaintext = self.keys.open(&self.settings.name, value)?;
        let mut fields = FieldReader::new(&plaintext);
        let id = SessionId::from_opened(fields.bytes()?)?;
        let issued = Timestamp::from_unix_millis(fields.number()?);
        fields.is_empty().then(|| OpenedCookie {
            hash: id.hash(),
            issued,
            carries: None,
        })
    }

    fn read_carried(
        &self,
        headers: &HeaderMap,
        opened: &OpenedCookies,
        carrier: &Carrier,
    ) -> Presented {
        let chunks = Chunks::of(headers, &self.settings.name);
        let keys = self.keys.generation();
        for Joined { count, whole } in chunks.joined() {
            let known = opened.remembered(keys, &whole).filter(|cookie| {
                let hash = &cookie.hash;
                let brings_nothing =
                    |own: Carries| carrier.store.knows(hash, own.version, own.seen);
                cookie.carries.is_some_and(brings_nothing)
            });
            let known = known.or_else(|| {
                let cookie = self.open_carried(&whole, carrier)?;
                opened.remember(keys, whole.into(), cookie);
                Some(cookie)
            });
            if let Some(mut cookie) = known {
                if let Some(carries) = &mut cookie.carries {
                    carries.surplus = chunks.indexes().any(|index| index >= count);
                }
                return Presented::Session(cookie);
            }
        }
        if chunks.indexes().next().is_some() {
            Presented::Unreadable
        } else {
            Presented::Nothing
        }
    }

    fn open_carried(&self, whole: &[u8], carrier: &Carrier) -> Option<OpenedCookie> {
        let session = carried::open(&self.settings.name, &self.keys, whole)?.session;
        let cookie = OpenedCookie {
            hash: session.hash,
            issued: session.created,
            carries: Some(Carries {
                version: session.tokens().version,
                seen: session.last_seen(),
                outdated: self.keys.is_outdated(whole.get(1..)?),
                surplus: false,
            }),
        };
        carrier.store.take_in(session);
        Some(cookie)
    }

    /// `Set-Cookie` lines that give the browser a session that has just begun; `headers` are those of
    /// its request.
    ///
    /// # Errors
    ///
    /// The cookie would have to carry the session, which is too large.
    pub fn begin(
        &self,
        id: &SessionId,
        session: &Session,
        headers: &HeaderMap,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        match &self.carrier {
            Some(carrier) => self.carry(id, session, carrier, headers, lifetime, randomness),
            None => Ok(vec![self.issue(id, session.created, lifetime, randomness)]),
        }
    }

    /// `Set-Cookie` lines with the session as it is now, where the request's cookie carried an older
    /// state of it.
    ///
    /// # Errors
    ///
    /// The session has become too large; said once of the tokens that it has now.
    pub fn bring_up_to_date(
        &self,
        cookie: &OpenedCookie,
        session: &Session,
        headers: &HeaderMap,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let (Some(carrier), Some(carries)) = (&self.carrier, &cookie.carries) else {
            return Ok(Vec::new());
        };
        if carries.is_current(session) || carrier.store.has_outgrown(session) {
            return Ok(Vec::new());
        }
        let Some(opened) = carried::find(&self.settings.name, &self.keys, headers) else {
            return Ok(Vec::new());
        };
        if opened.session.hash != session.hash {
            return Ok(Vec::new());
        }
        let lines = self.carry(&opened.id, session, carrier, headers, lifetime, randomness);
        if lines.is_err() {
            carrier.store.outgrows(session);
        }
        lines
    }

    /// Writes all chunks anew, and takes back those of the request that are left over.
    fn carry(
        &self,
        id: &SessionId,
        session: &Session,
        carrier: &Carrier,
        headers: &HeaderMap,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let max_age = self.settings.persistent.then_some(lifetime);
        let line = |name: &str, value: &str| self.line(name, value, max_age);
        let last = chunk_name(&self.settings.name, 1);
        let place = Place {
            name: &self.settings.name,
            keys: &self.keys,
            frame: line(&last, "").len(),
        };
        let chunks = carried::seal(id, session, carrier, &place, randomness)?;
        let mut lines: Vec<_> = chunks
            .iter()
            .map(|(name, value)| line(name, value))
            .collect();
        lines.extend(self.delete_chunks(headers, chunks.len()));
        Ok(lines)
    }

    /// Whether the whole session travels in it.
    pub const fn carries_sessions(&self) -> bool {
        self.carrier.is_some()
    }

    /// `Set-Cookie` that gives the browser this session.
    pub fn issue(
        &self,
        id: &SessionId,
        now: Timestamp,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> HeaderValue {
        let fields = FieldWriter::default()
            .session_id(id)
            .number(now.unix_millis());
        let sealed = self
            .keys
            .seal(&self.settings.name, fields.finish(), randomness);
        let max_age = self.settings.persistent.then_some(lifetime);
        self.line(&self.settings.name, &sealed, max_age)
    }

    /// `Set-Cookie` with the same session sealed by the first key, where the request's cookie was
    /// sealed by an older one: so a key can be retired and nobody is signed out (G7). A cookie that
    /// carries the session is [brought up to date](Self::bring_up_to_date) with any answer.
    pub fn renew(
        &self,
        headers: &HeaderMap,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Option<HeaderValue> {
        if self.carrier.is_some() {
            return None;
        }
        let outdated = values_of(headers, &self.settings.name)
            .filter(|value| self.keys.is_outdated(value))
            .find_map(|value| self.keys.open(&self.settings.name, value))?;
        let mut fields = FieldReader::new(&outdated);
        let id = SessionId::from_opened(fields.bytes()?)?;
        let issued = Timestamp::from_unix_millis(fields.number()?);
        Some(self.issue(&id, issued, lifetime, randomness))
    }

    /// `Set-Cookie` lines that take the cookie back, with every chunk that the request carries and the
    /// attributes they were given with (E2).
    pub fn delete(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        let first = self.line(&self.settings.name, "", Some(Duration::ZERO));
        let mut lines = vec![first];
        lines.extend(self.delete_chunks(headers, 1));
        lines
    }

    /// The names of all cookies that it may be written to.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..MOST_CHUNKS).map(|index| chunk_name(&self.settings.name, index))
    }

    /// Takes the request's chunks back from the one of this number on.
    fn delete_chunks(&self, headers: &HeaderMap, from: usize) -> Vec<HeaderValue> {
        let chunks = Chunks::of(headers, &self.settings.name);
        let left_over = chunks.indexes().filter(|index| *index >= from);
        left_over
            .map(|index| chunk_name(&self.settings.name, index))
            .map(|name| self.line(&name, "", Some(Duration::ZERO)))
            .collect()
    }

    fn line(&self, name: &str, value: &str, max_age: Option<Duration>) -> HeaderValue {
        let same_site = match self.settings.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
        };
        set_cookie(name, value, self.settings.secure, same_site, max_age)
    }
}

/// A `Set-Cookie` value in the one shape that all our cookies have: `HttpOnly`, `Path=/`, no
/// `Domain` (G1).
pub fn set_cookie(
    name: &str,
    value: &str,
    secure: bool,
    same_site: cookie::SameSite,
    max_age: Option<Duration>,
) -> HeaderValue {
    let mut cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(same_site);
    if secure {
        cookie = cookie.secure(true);
    }
    if let Some(max_age) = max_age {
        let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        cookie = cookie.max_age(::cookie::time::Duration::seconds(seconds));
    }
    // Names are configuration that was checked, values are base64url: always a valid header.
    let mut header = HeaderValue::try_from(cookie.build().to_string())
        .unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// Every cookie of the request, in order, as bytes; names are compared by exact case (G2).
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| {
        pairs(line.as_bytes()).filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = pair.split_at_checked(at)?;
            Some((name, value.get(1..)?))
        })
    })
}

/// The values of the cookies of this name.
pub fn values_of<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    cookies(headers)
        .filter(move |(own, _)| *own == name.as_bytes())
        .map(|(_, value)| value)
}

/// The cookies that one worker opened lately, so that a busy browser's cookie is decrypted once
/// and not with each call. Bounded; empties itself when the keys change.
#[derive(Debug, Default)]
pub struct OpenedCookies(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    keys: u64,
    /// Octets of the young.
    octets: usize,
    /// Entries of this and of the last generation; a full generation pushes the older one out.
    young: HashMap<Box<[u8]>, OpenedCookie, TailState>,
    old: HashMap<Box<[u8]>, OpenedCookie, TailState>,
}

type TailState = BuildHasherDefault<TailHasher>;

/// Hashes a cookie by its last characters. They are of the seal, which nobody can choose for a
/// cookie that opens, and no other is remembered; so a hash of the whole, with a secret in it, would
/// keep nobody out.
#[derive(Debug, Default)]
struct TailHasher(u64);

impl Hasher for TailHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Characters of base64 leave bits unused; a multiplication spreads the others.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        if let Some(tail) = bytes.last_chunk() {
            let product = u64::from_le_bytes(*tail).wrapping_mul(SPREAD);
            self.0 = product ^ product.rotate_left(32);
        }
    }

    /// The length tells no two of them apart.
    fn write_usize(&mut self, _: usize) {}
}

/// Entries a generation: two of them at about 200 bytes an entry, where it holds an id alone.
const GENERATION: usize = 4096;

/// The octets of cookies a generation, which matter where cookies carry whole sessions.
const GENERATION_OCTETS: usize = 8 << 20;

impl OpenedCookies {
    fn open(&self, cookie: &SessionCookie, value: &[u8]) -> Option<OpenedCookie> {
        let keys = cookie.keys.generation();
        self.remembered(keys, value).or_else(|| {
            let opened = cookie.open(value)?;
            self.remember(keys, value.into(), opened);
            Some(opened)
        })
    }

    fn remembered(&self, keys: u64, value: &[u8]) -> Option<OpenedCookie> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.keys != keys {
            *memory = Memory {
                keys,
                ..Memory::default()
            };
        }
        if let Some(opened) = memory.young.get(value) {
            return Some(*opened);
        }
        let (value, opened) = memory.old.remove_entry(value)?;
        memory.remember(value, opened);
        Some(opened)
    }

    /// `keys` are those that it was opened with.
    fn remember(&self, keys: u64, value: Box<[u8]>, opened: OpenedCookie) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.keys == keys {
            memory.remember(value, opened);
        }
    }
}

impl Memory {
    fn remember(&mut self, value: Box<[u8]>, opened: OpenedCookie) {
        if self.young.len() >= GENERATION || self.octets >= GENERATION_OCTETS {
            self.old = std::mem::take(&mut self.young);
            self.octets = 0;
        }
        self.octets += value.len();
        self.young.insert(value, opened);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cookies", self.young.len() + self.old.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SeededRandomness, SystemRandomness};
    use crate::secret::SessionKey;

    fn session_cookie() -> SessionCookie {
        let settings = CookieSettings {
            name: "__Host-Http-bff".to_owned(),
            secure: true,
            same_site: SameSite::Strict,
            persistent: false,
        };
        let key = SessionKey::random(&SeededRandomness::new(1));
        SessionCookie::new(settings, Keys::new(&[key]).unwrap())
    }

    fn request(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn issued(cookie: &SessionCookie) -> (SessionId, String) {
        let id = SessionId::random(&SystemRandomness);
        let now = Timestamp::from_unix_seconds(1000);
        let header = cookie.issue(&id, now, Duration::from_mins(1), &SystemRandomness);
        let text = header.to_str().unwrap().to_owned();
        let value = text.split([';', '=']).nth(1).unwrap().to_owned();
        (id, value)
    }

    /// G1: the exact attributes, no Domain, no Max-Age.
    #[test]
    fn the_cookie_is_written_as_its_prefix_demands() {
        let cookie = session_cookie();
        let id = SessionId::random(&SystemRandomness);
        let header = cookie.issue(
            &id,
            Timestamp::from_unix_seconds(0),
            Duration::ZERO,
            &SystemRandomness,
        );
        let text = header.to_str().unwrap();
        let (pair, attributes) = text.split_once("; ").unwrap();
        assert!(pair.starts_with("__Host-Http-bff="), "{text}");
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Secure; Path=/");
        assert!(text.len() < 300, "far below 4096 octets (G8)");
    }

    /// E2: deleted with the attributes it was given with.
    #[test]
    fn the_cookie_is_deleted_as_it_was_given() {
        assert_eq!(
            session_cookie().delete(&HeaderMap::new()),
            ["__Host-Http-bff=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0"]
        );
    }

    /// G2: lines may be split, strangers stand between, names are compared by case, any bytes.
    #[test]
    fn the_cookie_is_found_among_any_others() {
        let cookie = session_cookie();
        let (id, value) = issued(&cookie);
        let ours = format!("__Host-Http-bff={value}");
        let other_case = format!("__host-http-bff={value}");
        struct Case<'a> {
            name: &'a str,
            lines: Vec<&'a [u8]>,
            finds: bool,
        }
        let joined = format!("a=b; {ours}; c=d");
        let twice = format!("__Host-Http-bff=junk; {ours}");
        let cases = [
            Case {
                name: "alone",
                lines: vec![ours.as_bytes()],
                finds: true,
            },
            Case {
                name: "between others",
                lines: vec![joined.as_bytes()],
                finds: true,
            },
            Case {
                name: "split lines",
                lines: vec![b"a=b", ours.as_bytes()],
                finds: true,
            },
            Case {
                name: "after junk of our name",
                lines: vec![twice.as_bytes()],
                finds: true,
            },
            Case {
                name: "odd bytes",
                lines: vec![b"\xff\xfe;;=;==", ours.as_bytes()],
                finds: true,
            },
            Case {
                name: "another case",
                lines: vec![other_case.as_bytes()],
                finds: false,
            },
        ];
        for case in cases {
            let presented = cookie.read(&request(&case.lines), &OpenedCookies::default());
            let found = matches!(presented, Presented::Session(opened) if opened.hash == id.hash());
            assert_eq!(found, case.finds, "{}", case.name);
        }
    }

    /// G6: a bad cookie is told apart from none only so that it can be deleted.
    #[test]
    fn a_cookie_that_does_not_open_is_unreadable() {
        let cookie = session_cookie();
        let (_, value) = issued(&cookie);
        let truncated = format!("__Host-Http-bff={}", value.get(2..).unwrap());
        for line in [
            truncated.as_bytes(),
            b"__Host-Http-bff=",
            b"__Host-Http-bff=%%%",
        ] {
            let presented = cookie.read(&request(&[line]), &OpenedCookies::default());
            assert_eq!(presented, Presented::Unreadable);
        }
        assert_eq!(
            cookie.read(&request(&[b"a=b"]), &OpenedCookies::default()),
            Presented::Nothing
        );
    }

    /// G7: a cookie of an older key is sealed anew, with the id and the age it had.
    #[test]
    fn an_outdated_cookie_is_renewed() {
        let cookie = session_cookie();
        let (id, value) = issued(&cookie);
        let headers = request(&[format!("__Host-Http-bff={value}").as_bytes()]);
        let renew = || cookie.renew(&headers, Duration::from_mins(1), &SystemRandomness);
        assert!(renew().is_none(), "the first key's cookie stays");
        let (old, new) = (
            SessionKey::random(&SeededRandomness::new(1)),
            SessionKey::random(&SeededRandomness::new(2)),
        );
        cookie.keys.replace(&[new.clone(), old]);
        let renewed = renew().unwrap();
        let value = renewed.to_str().unwrap().split(';').next().unwrap();
        cookie.keys.replace(&[new]);
        let presented = cookie.read(&request(&[value.as_bytes()]), &OpenedCookies::default());
        let expected = OpenedCookie {
            hash: id.hash(),
            issued: Timestamp::from_unix_seconds(1000),
            carries: None,
        };
        assert_eq!(presented, Presented::Session(expected));
        assert!(renew().is_none(), "what does not open is not renewed");
    }

    /// G7: what a worker remembers does not outlive the key that sealed it.
    #[test]
    fn a_remembered_cookie_is_forgotten_with_its_key() {
        let cookie = session_cookie();
        let (_, value) = issued(&cookie);
        let headers = request(&[format!("__Host-Http-bff={value}").as_bytes()]);
        let opened = OpenedCookies::default();
        for _ in 0..2 {
            assert!(matches!(
                cookie.read(&headers, &opened),
                Presented::Session(_)
            ));
        }
        cookie
            .keys
            .replace(&[SessionKey::random(&SeededRandomness::new(2))]);
        assert_eq!(cookie.read(&headers, &opened), Presented::Unreadable);
    }
}
