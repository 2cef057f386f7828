//! The session cookie: reading it from any bytes, writing it, taking it back.

use std::time::Duration;

use cookie::Cookie;
use http::{HeaderMap, HeaderValue};

use crate::clock::{Randomness, Timestamp};
use crate::session::carried::{self, Place};
use crate::session::chunks::{Chunks, Joined};
use crate::session::id::SessionId;
use crate::session::opened::At;
use crate::session::record::Session;
use crate::session::seal::{FieldReader, FieldWriter, Keys, sealed_len};
use crate::session::{CookieSettings, SameSite};
use crate::web::cookie_names;

pub use crate::session::carried::{Carrier, Carries, LARGEST_COOKIE, TooLarge};
pub use crate::session::opened::{Name, OpenedCookie, OpenedCookies};
pub use crate::web::cookie_line::{MOST_VALUES, cookies, values_of};

/// How long a value is that holds an id alone; any other is none.
const VALUE_LEN: usize = sealed_len(4 + SessionId::LEN + 4 + 8);

/// What a request presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// No cookie that opens, or several, of which none is believed (G2). What does not open may be
    /// another product's, or another `bff`'s on another port of this host: it is left alone (G6).
    Nothing,
    /// A cookie that opened.
    Session(OpenedCookie),
}

/// What stands under one name.
enum Reading {
    Nothing,
    One(OpenedCookie),
    Several,
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
    pub fn carrying(settings: CookieSettings, keys: Keys, carrier: Carrier) -> Self {
        carrier.store.outlast(carrier.max_lifetime);
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

    fn name_of(&self, under: Name) -> Option<&str> {
        match under {
            Name::Current => Some(&self.settings.name),
            Name::Former => self.settings.former_name.as_deref(),
        }
    }

    /// What the request presents: the one cookie of our name that opens, wherever it stands (G2). The
    /// former name counts where nothing opens under the current one.
    ///
    /// Where the cookie carries the whole session this does more than read: the store takes in what it
    /// did not know yet, so that the session is found as any other is. One that is over stays over.
    pub fn read(&self, headers: &HeaderMap, opened: &OpenedCookies) -> Presented {
        let current = self.read_under(Name::Current, headers, opened);
        let found = match current {
            Reading::Nothing => self.read_under(Name::Former, headers, opened),
            found => found,
        };
        match found {
            Reading::One(cookie) => Presented::Session(cookie),
            Reading::Nothing => Presented::Nothing,
            Reading::Several => {
                tracing::info!(
                    event = "session.ambiguous",
                    "several session cookies that open were presented: none is believed"
                );
                Presented::Nothing
            }
        }
    }

    fn read_under(&self, under: Name, headers: &HeaderMap, opened: &OpenedCookies) -> Reading {
        let Some(name) = self.name_of(under) else {
            return Reading::Nothing;
        };
        if let Some(carrier) = &self.carrier {
            let chunks = Chunks::of(headers, name);
            let joined = chunks.joined();
            let found =
                joined.filter_map(|joined| self.open_joined(under, &joined, opened, carrier));
            let mut found = only(found);
            if let Reading::One(cookie) = &mut found
                && let Some(carries) = &mut cookie.carries
            {
                carries.left_over = chunks.left_over_behind(carries.chunks);
            }
            return found;
        }
        let values = values_of(headers, name).take(MOST_VALUES);
        only(values.filter_map(|value| self.open_value(under, value, opened)))
    }

    fn open_value(
        &self,
        under: Name,
        value: &[u8],
        opened: &OpenedCookies,
    ) -> Option<OpenedCookie> {
        if value.len() != VALUE_LEN {
            return None;
        }
        let keys = self.keys.generation();
        let presented = At {
            site: self.keys.site(),
            under,
        };
        opened.remembered(keys, presented, value).or_else(|| {
            let (id, issued) = self.open(self.name_of(under)?, value)?;
            let cookie = OpenedCookie {
                under,
                outdated: self.keys.is_outdated(value),
                ..OpenedCookie::of(id.hash(), issued)
            };
            opened.remember(keys, presented, value.into(), cookie);
            Some(cookie)
        })
    }

    fn open(&self, name: &str, value: &[u8]) -> Option<(SessionId, Timestamp)> {
        let plaintext = self.keys.open(name, value)?;
        let mut fields = FieldReader::new(&plaintext);
        let id = SessionId::from_opened(fields.bytes()?)?;
        let issued = Timestamp::from_unix_millis(fields.number()?);
        fields.is_empty().then_some((id, issued))
    }

    fn open_joined(
        &self,
        under: Name,
        joined: &Joined<'_>,
        opened: &OpenedCookies,
        carrier: &Carrier,
    ) -> Option<OpenedCookie> {
        let keys = self.keys.generation();
        let presented = At {
            site: self.keys.site(),
            under,
        };
        let known = opened
            .remembered(keys, presented, &joined.whole)
            .filter(|cookie| {
                let hash = &cookie.hash;
                let brings_nothing =
                    |own: Carries| carrier.store.knows(hash, own.version, own.seen);
                cookie.carries.is_some_and(brings_nothing)
            });
        known.or_else(|| {
            let cookie = self.open_carried(under, joined, carrier)?;
            opened.remember(keys, presented, joined.whole.to_vec().into(), cookie);
            Some(cookie)
        })
    }

    fn open_carried(
        &self,
        under: Name,
        joined: &Joined<'_>,
        carrier: &Carrier,
    ) -> Option<OpenedCookie> {
        let session =
            carried::open(self.name_of(under)?, &self.keys, carrier, &joined.whole)?.session;
        let cookie = OpenedCookie {
            under,
            outdated: self.keys.is_outdated(joined.whole.get(1..)?),
            carries: Some(Carries {
                version: session.tokens().version,
                seen: session.last_seen(),
                chunks: joined.chunks(),
                left_over: 0,
            }),
            ..OpenedCookie::of(session.hash, session.created)
        };
        carrier.store.take_in(session);
        Some(cookie)
    }

    /// `Set-Cookie` lines that give the browser a session that has just begun, in the place of the
    /// cookie that it presented.
    ///
    /// # Errors
    ///
    /// The cookie would have to carry the session, which is too large.
    pub fn begin(
        &self,
        id: &SessionId,
        session: &Session,
        presented: Presented,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let mut lines = match &self.carrier {
            Some(carrier) => self.carry(id, session, carrier, lifetime, randomness)?,
            None => vec![self.issue(id, session.created, lifetime, randomness)],
        };
        if let Presented::Session(before) = presented {
            self.take_back(&before, &mut lines);
        }
        Ok(lines)
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
        let says_it_all = carries.is_current(session) && !cookie.is_to_be_replaced();
        if says_it_all || carrier.store.has_outgrown(session) {
            return Ok(Vec::new());
        }
        let name = self.name_of(cookie.under).unwrap_or_default();
        let Some(id) = carried::find(name, &self.keys, carrier, headers, &session.hash) else {
            return Ok(Vec::new());
        };
        match self.carry(&id, session, carrier, lifetime, randomness) {
            Ok(mut lines) => {
                self.take_back(cookie, &mut lines);
                Ok(lines)
            }
            Err(too_large) => {
                carrier.store.outgrows(session);
                Err(too_large)
            }
        }
    }

    /// Writes all chunks anew.
    fn carry(
        &self,
        id: &SessionId,
        session: &Session,
        carrier: &Carrier,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let max_age = self.settings.persistent.then_some(lifetime);
        let line = |name: &str, value: &str| self.line(name, value, max_age);
        let last = cookie_names::chunk(&self.settings.name, 1);
        let place = Place {
            name: &self.settings.name,
            keys: &self.keys,
            frame: line(&last, "").len(),
        };
        let chunks = carried::seal(id, session, carrier, &place, randomness)?;
        Ok(chunks
            .iter()
            .map(|(name, value)| line(name, value))
            .collect())
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

    /// `Set-Cookie` lines with the same session under the name and by the key of today, where the
    /// request's cookie has an older one: so a key can be retired and nobody is signed out (G7). A
    /// cookie that carries the session is [brought up to date](Self::bring_up_to_date) with any
    /// answer.
    pub fn renew(
        &self,
        cookie: &OpenedCookie,
        headers: &HeaderMap,
        lifetime: Duration,
        randomness: &dyn Randomness,
    ) -> Vec<HeaderValue> {
        if self.carrier.is_some() || !cookie.is_to_be_replaced() {
            return Vec::new();
        }
        let name = self.name_of(cookie.under).unwrap_or_default();
        let found = values_of(headers, name)
            .take(MOST_VALUES)
            .filter_map(|value| self.open(name, value))
            .find(|(id, _)| id.hash() == cookie.hash);
        let Some((id, issued)) = found else {
            return Vec::new();
        };
        let mut lines = vec![self.issue(&id, issued, lifetime, randomness)];
        self.take_back(cookie, &mut lines);
        lines
    }

    /// `Set-Cookie` lines that take a cookie back that opened and whose session is over, with every
    /// chunk of it and the attributes they were given with (E2).
    pub fn delete(&self, cookie: &OpenedCookie) -> Vec<HeaderValue> {
        let mut lines = Vec::new();
        self.take_back(cookie, &mut lines);
        lines
    }

    /// Adds the lines that take back what of `cookie` the lines before do not write over.
    fn take_back(&self, cookie: &OpenedCookie, lines: &mut Vec<HeaderValue>) {
        let written = match cookie.under {
            Name::Current => lines.len(),
            Name::Former => 0,
        };
        let name = self.name_of(cookie.under).unwrap_or_default();
        let left = cookie.chunks().filter(|index| *index >= written);
        lines.extend(
            left.map(|index| {
                self.line(&cookie_names::chunk(name, index), "", Some(Duration::ZERO))
            }),
        );
    }

    fn line(&self, name: &str, value: &str, max_age: Option<Duration>) -> HeaderValue {
        let same_site = match self.settings.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
        };
        set_cookie(name, value, self.settings.secure, same_site, max_age)
    }
}

/// The one that opened, where it is one alone (G2).
fn only(mut opened: impl Iterator<Item = OpenedCookie>) -> Reading {
    match (opened.next(), opened.next()) {
        (None, _) => Reading::Nothing,
        (Some(cookie), None) => Reading::One(cookie),
        (Some(_), Some(_)) => Reading::Several,
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

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;
    use crate::clock::{SeededRandomness, SystemRandomness};
    use crate::secret::SessionKey;
    use crate::session::fixture;
    use crate::web::site_id::SiteId;

    fn session_cookie() -> SessionCookie {
        of_site("")
    }

    fn of_site(site: &str) -> SessionCookie {
        let settings = CookieSettings {
            name: "__Host-Http-bff".to_owned(),
            secure: true,
            ..fixture::cookie()
        };
        let keys = Keys::of(&SessionKey::random(&SeededRandomness::new(1)));
        SessionCookie::new(settings, keys.of_site(&SiteId::new(site)))
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
        let hash = SessionId::random(&SystemRandomness).hash();
        let opened = OpenedCookie::of(hash, Timestamp::from_unix_seconds(0));
        assert_eq!(
            session_cookie().delete(&opened),
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

    /// G6: a bad cookie is no cookie.
    #[test]
    fn a_cookie_that_does_not_open_is_none() {
        let cookie = session_cookie();
        let (_, value) = issued(&cookie);
        let truncated = format!("__Host-Http-bff={}", value.get(2..).unwrap());
        for line in [
            truncated.as_bytes(),
            b"__Host-Http-bff=",
            b"__Host-Http-bff=%%%",
        ] {
            let presented = cookie.read(&request(&[line]), &OpenedCookies::default());
            assert_eq!(presented, Presented::Nothing);
        }
        assert_eq!(
            cookie.read(&request(&[b"a=b"]), &OpenedCookies::default()),
            Presented::Nothing
        );
    }

    /// §7: a cookie of one site is nothing at another, with the same name and key, also where the worker
    /// remembers it of its own; and its own site finds it after that.
    #[test]
    fn a_cookie_is_its_own_sites() {
        let sites = ["", "shop", "shop/acme"].map(of_site);
        let opened = OpenedCookies::default();
        for own in &sites {
            let (id, value) = issued(own);
            let headers = request(&[format!("__Host-Http-bff={value}").as_bytes()]);
            for round in 0..2 {
                for other in &sites {
                    let presented = other.read(&headers, &opened);
                    let found =
                        matches!(presented, Presented::Session(found) if found.hash == id.hash());
                    let is_own = own.keys.site() == other.keys.site();
                    assert_eq!(found, is_own, "round {round}");
                }
            }
        }
    }

    /// G7: a cookie of an older key is sealed anew, with the id and the age it had.
    #[test]
    fn an_outdated_cookie_is_renewed() {
        let cookie = session_cookie();
        let (id, value) = issued(&cookie);
        let headers = request(&[format!("__Host-Http-bff={value}").as_bytes()]);
        let opened = OpenedCookies::default();
        let renew = || match cookie.read(&headers, &opened) {
            Presented::Session(own) => {
                cookie.renew(&own, &headers, Duration::from_mins(1), &SystemRandomness)
            }
            Presented::Nothing => panic!("it opens"),
        };
        assert!(renew().is_empty(), "the first key's cookie stays");
        let (old, new) = (
            SessionKey::random(&SeededRandomness::new(1)),
            SessionKey::random(&SeededRandomness::new(2)),
        );
        cookie.keys.replace(&[new.clone(), old]);
        let renewed = renew();
        let value = renewed[0].to_str().unwrap().split(';').next().unwrap();
        assert_eq!(renewed.len(), 1);
        cookie.keys.replace(&[new]);
        let presented = cookie.read(&request(&[value.as_bytes()]), &OpenedCookies::default());
        let expected = OpenedCookie::of(id.hash(), Timestamp::from_unix_seconds(1000));
        assert_eq!(presented, Presented::Session(expected));
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
        assert_eq!(cookie.read(&headers, &opened), Presented::Nothing);
    }
}
