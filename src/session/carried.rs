//! A whole session in the browser's cookie: what is sealed, and when it is sealed anew.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::clock::{Randomness, Timestamp};
use crate::session::chunks::{Chunks, count_of, split};
use crate::session::id::{SessionHash, SessionId};
use crate::session::record::Session;
use crate::session::seal::{FieldReader, FieldWriter, Keys, TokenPart, sealed_len, token_sizes};
use crate::session::store::cookie::CookieStore;
use crate::session::store::sealed;
use crate::session::tokens::Tokens;
use crate::web::cookie_names::{self, MOST_CHUNKS};

/// The form of what is sealed. Another number, and the one before must still be read.
const FORM: i64 = 1;

/// The most octets of a cookie, with its name and its attributes: what every browser keeps (G8).
pub const LARGEST_COOKIE: usize = 4096;

/// What may be said of a session whose cookie is too large is of claims this large.
const WORTH_NAMING: usize = 256;

/// What lets cookies carry whole sessions.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// The sessions that this process has seen.
    pub store: Arc<CookieStore>,
    /// Without a call for this long, a session of this site ends.
    pub idle_timeout: Duration,
    /// However active, it ends after this long.
    pub max_lifetime: Duration,
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
    /// The numbers of its chunks, a bit each.
    pub(super) chunks: u8,
    /// And of chunks that the request has behind them.
    pub(super) left_over: u8,
}

impl Carries {
    /// Whether the browser's cookie says of this session what there is to say.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        self.version >= session.tokens().version
            && self.seen >= session.last_seen()
            && self.left_over == 0
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
    let contents = sealed::fields(session, &tokens, id_token, carrier.store.inherited());
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
    let names = (0..).map(|index| cookie_names::chunk(place.name, index));
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
pub(super) fn open(place: &str, keys: &Keys, carrier: &Carrier, whole: &[u8]) -> Option<Opened> {
    let (digit, text) = whole.split_first()?;
    let joined = i64::from(digit.checked_sub(b'0')?);
    let plaintext = keys.open_within(place, text, MOST_CHUNKS * LARGEST_COOKIE)?;
    let opened = read(&plaintext, joined, carrier)?;
    (opened.session.site == *keys.site()).then_some(opened)
}

fn read(plaintext: &Zeroizing<Vec<u8>>, joined: i64, carrier: &Carrier) -> Option<Opened> {
    let mut reader = FieldReader::new(plaintext);
    if reader.number()? != FORM {
        return None;
    }
    let id = SessionId::from_opened(reader.bytes()?)?;
    let count = reader.number()?;
    let seen = Timestamp::from_unix_millis(reader.number()?);
    let session = sealed::read(reader.bytes()?, id.hash(), carrier.store.inherited())?;
    let session = session.seen(seen, |ends| ends.min(seen + carrier.idle_timeout));
    (reader.is_empty() && count == joined).then_some(Opened { id, session })
}

/// The id of the session that a cookie of the request carries.
pub(super) fn find(
    name: &str,
    keys: &Keys,
    carrier: &Carrier,
    headers: &HeaderMap,
    hash: &SessionHash,
) -> Option<SessionId> {
    let chunks = Chunks::of(headers, name);
    let mut opened = chunks
        .joined()
        .filter_map(|joined| open(name, keys, carrier, &joined.whole));
    let found = opened.find(|opened| opened.session.hash == *hash)?;
    Some(found.id)
}

/// What of a session is large, the largest first.
fn parts(session: &Session, tokens: &Tokens, id_token: bool) -> Vec<(String, usize)> {
    let mut parts: Vec<(String, usize)> = token_sizes(tokens)
        .filter(|(part, _)| id_token || *part != TokenPart::IdToken)
        .map(|(part, size)| (part.to_string(), size))
        .collect();
    if let Ok(Value::Object(claims)) = serde_json::from_str(&session.details.claims) {
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

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::clock::{Clock as _, ManualClock, SeededRandomness, SystemRandomness};
    use crate::secret::{AccessToken, IdToken, RefreshToken, SessionKey};
    use crate::session::cookie::{OpenedCookies, Presented, SessionCookie};
    use crate::session::record::Times;
    use crate::session::store::SessionStore as _;
    use crate::session::tokens::Access;
    use crate::session::{CookieSettings, fixture};

    const NAME: &str = "__Host-Http-bff";
    const HOUR: Duration = Duration::from_hours(1);

    /// Cookies by name and value.
    type Pairs = Vec<(String, String)>;

    struct Stage {
        clock: Arc<ManualClock>,
        store: Arc<CookieStore>,
        keys: Keys,
        cookie: SessionCookie,
    }

    impl Stage {
        fn new() -> Self {
            Self::with_room(24 * 1024)
        }

        fn with_room(room: usize) -> Self {
            let now = Timestamp::from_unix_seconds(1_000_000);
            let clock = Arc::new(ManualClock::starting_at(now));
            let keys = Keys::of(&key(1));
            let settings = CookieSettings {
                name: NAME.to_owned(),
                secure: true,
                ..fixture::cookie()
            };
            let store = CookieStore::new(1 << 20, clock.clone(), fixture::inherited());
            let store = Arc::new(store);
            let carrier = carrier(&store, room);
            let cookie = SessionCookie::carrying(settings, keys.clone(), carrier);
            Self {
                clock,
                store,
                keys,
                cookie,
            }
        }

        /// A session whose access token has this many octets, and its cookies.
        fn begin(&self, octets: usize) -> (Session, Vec<(String, String)>) {
            let (id, session) = self.session(octets);
            let lines = self
                .cookie
                .begin(&id, &session, Presented::Nothing, HOUR, &SystemRandomness)
                .unwrap();
            (session, pairs(&lines))
        }

        fn session(&self, octets: usize) -> (SessionId, Session) {
            let id = SessionId::random(&SystemRandomness);
            let mut new = fixture::new_session(id.hash(), "alice");
            new.details.claims =
                format!(r#"{{"sub":"alice","groups":"{}"}}"#, "g".repeat(300)).into();
            new.tokens = tokens(1, octets);
            let times = Times::beginning(self.clock.now(), HOUR / 2, 8 * HOUR);
            (id, Session::new(new, times))
        }

        fn read(&self, pairs: &[(String, String)]) -> Presented {
            self.cookie.read(&request(pairs), &OpenedCookies::default())
        }

        fn opens(&self, pairs: &[(String, String)], session: &Session) -> bool {
            match self.read(pairs) {
                Presented::Session(cookie) => cookie.hash == session.hash,
                Presented::Nothing => false,
            }
        }
    }

    fn carrier(store: &Arc<CookieStore>, room: usize) -> Carrier {
        Carrier {
            store: Arc::clone(store),
            idle_timeout: HOUR / 2,
            max_lifetime: 8 * HOUR,
            room,
            id_token: true,
        }
    }

    fn key(seed: u64) -> SessionKey {
        SessionKey::random(&SeededRandomness::new(seed))
    }

    fn tokens(version: u64, octets: usize) -> Tokens {
        let access_token = AccessToken::new(&"a".repeat(octets));
        Tokens {
            refresh_token: Some(Arc::new(RefreshToken::new("r"))),
            id_token: Some(Arc::new(IdToken::new("i".repeat(500)))),
            ..Tokens::first(Access::new(version, access_token).unwrap())
        }
    }

    fn request(pairs: &[(String, String)]) -> HeaderMap {
        let line: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(line.join("; ")).unwrap());
        headers
    }

    /// The cookies that these lines set; each is as large as every browser takes it (G8).
    fn pairs(lines: &[HeaderValue]) -> Vec<(String, String)> {
        let mut set = Vec::new();
        for line in lines {
            let line = line.to_str().unwrap();
            assert!(line.len() <= LARGEST_COOKIE, "{}", line.len());
            let (pair, attributes) = line.split_once("; ").unwrap();
            if !attributes.contains("Max-Age=0") {
                assert_eq!(attributes, "HttpOnly; SameSite=Strict; Secure; Path=/");
                let (name, value) = pair.split_once('=').unwrap();
                set.push((name.to_owned(), value.to_owned()));
            }
        }
        set
    }

    fn taken_back(lines: &[HeaderValue]) -> Vec<String> {
        lines
            .iter()
            .map(|line| line.to_str().unwrap())
            .filter(|line| line.ends_with("Max-Age=0"))
            .map(|line| line.split('=').next().unwrap().to_owned())
            .collect()
    }

    /// G8: at each size around a whole number of chunks, written and read again.
    #[test]
    fn sessions_of_every_size_are_read_again() {
        let stage = Stage::with_room(40 * 1024);
        let mut counts = Vec::new();
        let mut before = 0;
        for octets in (1..23_000).step_by(500) {
            let (session, pairs) = stage.begin(octets);
            assert!(stage.opens(&pairs, &session), "{octets}");
            counts.push(pairs.len());
        }
        counts.dedup();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
        // One octet more is four characters for three octets: every fill of the last chunk comes.
        for octets in 1_500..2_600 {
            let (session, pairs) = stage.begin(octets);
            assert!(stage.opens(&pairs, &session), "{octets}");
            if pairs.len() == 2 && before == 1 {
                assert!(pairs[0].1.len() > 4000);
                assert!(pairs[1].1.len() <= 4, "{}", pairs[1].1.len());
            }
            before = pairs.len();
        }
        assert_eq!(before, 2);
    }

    /// G8: all of the chunks, each in its place, and none of another session; else it is no cookie.
    #[test]
    fn chunks_that_do_not_belong_together_open_nothing() {
        let stage = Stage::new();
        let (session, own) = stage.begin(7_000);
        let (_, foreign) = stage.begin(7_000);
        assert_eq!(own.len(), 3);
        assert!(stage.opens(&own, &session));
        let changed = |change: &dyn Fn(&mut Pairs)| {
            let mut pairs = own.clone();
            change(&mut pairs);
            pairs
        };
        let cases = [
            ("the first missing", changed(&|all| drop(all.remove(0)))),
            ("one missing", changed(&|all| drop(all.remove(1)))),
            ("the last missing", changed(&|all| drop(all.pop()))),
            (
                "two swapped",
                changed(&|all| {
                    let value = std::mem::take(&mut all[1].1);
                    all[1].1 = std::mem::replace(&mut all[2].1, value);
                }),
            ),
            (
                "one of another session",
                changed(&|all| all[1] = foreign[1].clone()),
            ),
            ("the last cut short", changed(&|all| all[2].1.truncate(10))),
            ("one octet more", changed(&|all| all[2].1.push('A'))),
            (
                "said to be two",
                changed(&|all| all[0].1.replace_range(..1, "2")),
            ),
            (
                "said to be four",
                changed(&|all| all[0].1.replace_range(..1, "4")),
            ),
            (
                "said to be nine",
                changed(&|all| all[0].1.replace_range(..1, "9")),
            ),
            (
                "said to be none",
                changed(&|all| all[0].1.replace_range(..1, "0")),
            ),
            // Joined it is the same text: the sealed count says that it was three.
            (
                "in other pieces",
                changed(&|all| {
                    let last = all.pop().unwrap().1;
                    all[1].1.push_str(&last);
                    all[0].1.replace_range(..1, "2");
                }),
            ),
            (
                "without a count",
                changed(&|all| all[0].1.replace_range(..1, "")),
            ),
            (
                "names in another case",
                changed(&|all| all[0].0.make_ascii_lowercase()),
            ),
        ];
        for (name, pairs) in cases {
            assert_eq!(stage.read(&pairs), Presented::Nothing, "{name}");
        }
    }

    /// G2, G8: order and strangers mean nothing; of two values of a name the one counts that opens.
    #[test]
    fn chunks_are_found_among_others() {
        let stage = Stage::new();
        let (session, own) = stage.begin(7_000);
        let (_, foreign) = stage.begin(7_000);
        let reversed: Vec<_> = own.iter().rev().cloned().collect();
        assert!(stage.opens(&reversed, &session));
        let doubled: Vec<_> = foreign[1..].iter().chain(&own).cloned().collect();
        assert!(stage.opens(&doubled, &session));
        let mut more = own;
        more.push((format!("{NAME}-3"), "left over".to_owned()));
        more.push((format!("{NAME}-9"), "nobody's".to_owned()));
        assert!(stage.opens(&more, &session));
    }

    /// G8: what is left over when a session shrinks from three chunks to one is taken back, and so is
    /// everything at its end (E2).
    #[test]
    fn left_over_chunks_are_taken_back() {
        let stage = Stage::new();
        let (_, three) = stage.begin(7_000);
        let headers = request(&three);
        let Presented::Session(cookie) = stage.cookie.read(&headers, &OpenedCookies::default())
        else {
            panic!("it opens");
        };
        let of_three = cookie;
        let session = stage
            .store
            .at_hand(&cookie.hash, stage.clock.now())
            .unwrap();
        let renew = |cookie: &_, headers: &_| {
            stage
                .cookie
                .bring_up_to_date(cookie, &session, headers, HOUR, &SystemRandomness)
                .unwrap()
        };
        assert!(renew(&cookie, &headers).is_empty(), "nothing new");
        session.replace_tokens(&Arc::new(tokens(2, 100)));
        let lines = renew(&cookie, &headers);
        let one = pairs(&lines);
        assert_eq!(one.len(), 1);
        assert!(stage.opens(&one, &session));
        let left_over = [format!("{NAME}-1"), format!("{NAME}-2")];
        assert_eq!(taken_back(&lines), left_over);
        // A browser that kept them all the same is told again.
        let mut with_old = one;
        with_old.push(three[2].clone());
        let headers = request(&with_old);
        let Presented::Session(cookie) = stage.cookie.read(&headers, &OpenedCookies::default())
        else {
            panic!("it opens");
        };
        assert_eq!(taken_back(&renew(&cookie, &headers)), left_over[1..]);
        let all = taken_back(&stage.cookie.delete(&of_three));
        assert_eq!(all, [NAME, &left_over[0], &left_over[1]]);
    }

    /// L3: whatever order cookies come in, the newest tokens stay.
    #[test]
    fn an_old_cookie_takes_no_new_tokens_place() {
        let stage = Stage::new();
        let (begun, old) = stage.begin(100);
        assert!(stage.opens(&old, &begun));
        let session = stage.store.at_hand(&begun.hash, stage.clock.now()).unwrap();
        session.replace_tokens(&Arc::new(tokens(2, 100)));
        assert!(stage.opens(&old, &begun));
        assert_eq!(session.tokens().version, 2);
    }

    /// G7: another key seals it anew; one that is gone opens it no more.
    #[test]
    fn a_session_is_sealed_anew_when_keys_rotate() {
        let stage = Stage::new();
        let (begun, old) = stage.begin(7_000);
        let opened = OpenedCookies::default();
        let headers = request(&old);
        let renew = || {
            let Presented::Session(cookie) = stage.cookie.read(&headers, &opened) else {
                panic!("it opens");
            };
            let session = stage.store.at_hand(&begun.hash, stage.clock.now()).unwrap();
            stage
                .cookie
                .bring_up_to_date(&cookie, &session, &headers, HOUR, &SystemRandomness)
                .unwrap()
        };
        assert!(renew().is_empty());
        stage.keys.replace(&[key(2), key(1)]);
        let new = pairs(&renew());
        stage.keys.replace(&[key(2)]);
        assert!(stage.opens(&new, &begun));
        assert_eq!(stage.cookie.read(&headers, &opened), Presented::Nothing);
    }

    /// G5: a cookie that holds an id alone is no session here, nor the other way round.
    #[test]
    fn a_cookie_of_another_form_does_not_open() {
        let stage = Stage::new();
        let plain = SessionCookie::new(stage.cookie.settings().clone(), stage.keys.clone());
        let (id, session) = stage.session(100);
        let line = plain.issue(&id, session.created, HOUR, &SystemRandomness);
        assert_eq!(stage.read(&pairs(&[line])), Presented::Nothing);
        let (_, carried) = stage.begin(100);
        let presented = plain.read(&request(&carried), &OpenedCookies::default());
        assert_eq!(presented, Presented::Nothing);
        // Not even what was sealed in it, without its count.
        let mut bare = carried;
        bare[0].1.remove(0);
        let presented = plain.read(&request(&bare), &OpenedCookies::default());
        assert_eq!(presented, Presented::Nothing);
    }

    /// G8: what does not fit is refused, with what makes it large; where no logout needs the ID token,
    /// it stays at home.
    #[test]
    fn a_session_that_is_too_large_says_why() {
        let stage = Stage::with_room(4_000);
        let (id, session) = stage.session(3_000);
        let begin = |cookie: &SessionCookie| {
            cookie.begin(&id, &session, Presented::Nothing, HOUR, &SystemRandomness)
        };
        let text = begin(&stage.cookie).unwrap_err().to_string();
        for says in [
            "octets of cookies",
            "have room for 4000",
            "it holds access_token of 3000, id_token of 500, the claim \"groups\" of 302",
        ] {
            assert!(text.contains(says), "{text}");
        }
        let with_room = |room, id_token| {
            let carrier = Carrier {
                id_token,
                ..carrier(&stage.store, room)
            };
            let settings = stage.cookie.settings().clone();
            SessionCookie::carrying(settings, stage.keys.clone(), carrier)
        };
        let sizes = |cookie: &SessionCookie| -> usize {
            let pairs = pairs(&begin(cookie).unwrap());
            pairs.iter().map(|(_, value)| value.len()).sum()
        };
        let (with, without) = (with_room(9_000, true), with_room(9_000, false));
        assert!(sizes(&with) - sizes(&without) > 650);
        let more_than_eight = stage.session(30_000);
        let far_too_large = with_room(usize::MAX, true).begin(
            &more_than_eight.0,
            &more_than_eight.1,
            Presented::Nothing,
            HOUR,
            &SystemRandomness,
        );
        assert!(far_too_large.is_err());
    }
}
