//! The session cookie: reading it from any bytes, writing it, taking it back.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cookie::Cookie;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::clock::{Randomness, Timestamp};
use crate::session::id::{SessionHash, SessionId};
use crate::session::seal::{FieldReader, FieldWriter, Keys};
use crate::session::{CookieSettings, SameSite};
use crate::web::cookie_line::pairs;

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
}

/// Reads and writes the session cookie.
#[derive(Debug, Clone)]
pub struct SessionCookie {
    settings: CookieSettings,
    keys: Keys,
}

impl SessionCookie {
    /// The cookie of these settings, sealed by these keys.
    pub const fn new(settings: CookieSettings, keys: Keys) -> Self {
        Self { settings, keys }
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
    pub fn read(&self, headers: &HeaderMap, opened: &OpenedCookies) -> Presented {
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
        })
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
        let same_site = match self.settings.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
        };
        set_cookie(
            &self.settings.name,
            &sealed,
            self.settings.secure,
            same_site,
            max_age,
        )
    }

    /// `Set-Cookie` with the same session sealed by the first key, where the request's cookie was
    /// sealed by an older one: so a key can be retired and nobody is signed out (G7).
    pub fn renew(
        &self,
        headers: &HeaderMap,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Option<HeaderValue> {
        let outdated = values_of(headers, &self.settings.name)
            .filter(|value| self.keys.is_outdated(value))
            .find_map(|value| self.keys.open(&self.settings.name, value))?;
        let mut fields = FieldReader::new(&outdated);
        let id = SessionId::from_opened(fields.bytes()?)?;
        let issued = Timestamp::from_unix_millis(fields.number()?);
        Some(self.issue(&id, issued, lifetime, randomness))
    }

    /// `Set-Cookie` that takes the cookie back, with the attributes it was given with (E2).
    pub fn delete(&self) -> HeaderValue {
        let same_site = match self.settings.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
        };
        set_cookie(
            &self.settings.name,
            "",
            self.settings.secure,
            same_site,
            Some(Duration::ZERO),
        )
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

/// Entries a generation: two of them at about 200 bytes an entry.
const GENERATION: usize = 4096;

impl OpenedCookies {
    fn open(&self, cookie: &SessionCookie, value: &[u8]) -> Option<OpenedCookie> {
        let generation = cookie.keys.generation();
        {
            let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if memory.keys != generation {
                *memory = Memory {
                    keys: generation,
                    ..Memory::default()
                };
            }
            if let Some(opened) = memory.young.get(value) {
                return Some(*opened);
            }
            if let Some((value, opened)) = memory.old.remove_entry(value) {
                memory.remember(value, opened);
                return Some(opened);
            }
        }
        let opened = cookie.open(value)?;
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.keys == generation {
            memory.remember(value.into(), opened);
        }
        Some(opened)
    }
}

impl Memory {
    fn remember(&mut self, value: Box<[u8]>, opened: OpenedCookie) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
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
            session_cookie().delete(),
            "__Host-Http-bff=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0"
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
