//! What nodes say on the store's channel, so that they know each other's voice: whoever may speak there
//! need not be one of them, and whoever may listen learns no hash.
//!
//! All that is said is sealed by the key ring: the first key seals, all open, so a key is changed under
//! it as under records and cookies. A heartbeat is bound to the server that it goes round by.
//!
//! The release before this one understands events in the clear alone, and speaks in the clear. So they
//! are told both ways while such a node was heard within [`OLDER_FOR`]; what comes in the clear is a
//! hint, which the store is asked about.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Randomness, Timestamp};
use crate::secret::random_base64url;
use crate::session::id::SessionHash;
use crate::session::seal::Keys;
use crate::session::store::record_store::Event;
use crate::web::ending::EndReason;

/// A node of the release before says a heartbeat a second at the least.
const OLDER_FOR: Duration = Duration::from_secs(10);

/// Nothing that a node says is longer.
const LONGEST: usize = 512;

/// What events are bound to.
const EVENT: &str = "event on the store's channel";

/// The kinds of events.
const ENDED: u8 = 0;
const CHANGED: u8 = 1;

/// The voice of one node, which knows those of the others. Cheap to clone.
#[derive(Clone)]
pub struct Voice(Arc<Inner>);

struct Inner {
    keys: Keys,
    randomness: Arc<dyn Randomness>,
    ear: String,
    /// When a node of the release before was last heard.
    older: Mutex<Instant>,
}

/// What a node says of itself, round the whole channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heartbeat {
    /// Who says it.
    pub(super) node: Box<str>,
    /// Counts the heartbeats of this node.
    pub(super) number: u64,
    /// When it was said, by the node's own clock.
    pub(super) said: Timestamp,
    /// How far that clock is ahead of the store's, in milliseconds, where the node knows.
    pub(super) ahead: Option<i64>,
}

impl Voice {
    /// A voice by these keys.
    pub fn new(keys: Keys, randomness: Arc<dyn Randomness>) -> Self {
        Self(Arc::new(Inner {
            keys,
            ear: random_base64url::<9>(&*randomness),
            randomness,
            // One that was not heard yet may be there.
            older: Mutex::new(Instant::now()),
        }))
    }

    /// The name by which this node hears itself, where a store has such a channel. It says nothing of it.
    pub(super) fn ear(&self) -> &str {
        &self.0.ear
    }

    /// An event, sealed: as short as may be, since every node hears it.
    pub(super) fn event(&self, event: Event) -> String {
        let (kind, hash, number) = match event {
            Event::Ended(hash, reason) => (ENDED, hash, u32::from(reason as u8)),
            Event::Changed(hash, version) => (CHANGED, hash, version_told(version)),
        };
        let number = number.to_be_bytes();
        self.seal(EVENT, &[&[kind], &hash.as_bytes()[..], &number].concat())
    }

    /// The event that one of us told.
    pub(super) fn read_event(&self, sealed: &str) -> Option<Event> {
        let opened = self.open(EVENT, sealed)?;
        let (&kind, rest) = opened.split_first()?;
        let (hash, number) = rest.split_last_chunk()?;
        let hash = SessionHash::from_slice(hash)?;
        let number = u64::from(u32::from_be_bytes(*number));
        match kind {
            ENDED => Some(Event::Ended(hash, reason_of(number))),
            CHANGED => Some(Event::Changed(hash, number)),
            _ => None,
        }
    }

    /// The copy of a heartbeat that goes round by this server, sealed.
    pub(super) fn heartbeat(&self, server: &str, heartbeat: &str) -> String {
        self.seal(&place_of_heartbeat(server), heartbeat.as_bytes())
    }

    /// The heartbeat that one of us sent round by this server. One in the clear is of an older node.
    pub(super) fn read_heartbeat(&self, server: &str, said: &str) -> Option<String> {
        if let Some(opened) = self.open(&place_of_heartbeat(server), said) {
            return String::from_utf8(opened.to_vec()).ok();
        }
        if is_older_heartbeat(said) {
            *self.older() = Instant::now();
        }
        None
    }

    /// Whether events are to be told in the clear as well.
    pub(super) fn speaks_plainly(&self) -> bool {
        self.older().elapsed() < OLDER_FOR
    }

    fn seal(&self, place: &str, plaintext: &[u8]) -> String {
        self.0.keys.seal(place, plaintext, &*self.0.randomness)
    }

    fn open(&self, place: &str, sealed: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.0.keys.open_within(place, sealed.as_bytes(), LONGEST)
    }

    fn older(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.0.older.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Voice")
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.said.unix_millis();
        write!(f, "{} {} {said}", self.node, self.number)?;
        self.ahead.map_or(Ok(()), |ahead| write!(f, " {ahead}"))
    }
}

impl Heartbeat {
    /// Reads what [`Display`](fmt::Display) wrote; what a later release adds is passed over.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        Some(Self {
            node: parts.next()?.into(),
            number: parts.next()?.parse().ok()?,
            said: Timestamp::from_unix_millis(parts.next()?.parse().ok()?),
            ahead: match parts.next() {
                Some(ahead) => Some(ahead.parse().ok()?),
                None => None,
            },
        })
    }
}

/// No session gets so many tokens; one that did would be asked for once more than needed.
fn version_told(version: u64) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}

/// A reason that a newer node knows and we do not is an end all the same.
pub(super) fn reason_of(number: u64) -> EndReason {
    let known = u8::try_from(number).ok().and_then(EndReason::from_u8);
    known.unwrap_or(EndReason::Expired)
}

/// What the release before says of itself: who, the how-manieth heartbeat, when.
fn is_older_heartbeat(said: &str) -> bool {
    said.len() <= LONGEST
        && Heartbeat::read(said).is_some_and(|heartbeat| heartbeat.ahead.is_none())
}

fn place_of_heartbeat(server: &str) -> String {
    format!("word on the store's channel by {server}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use crate::secret::SessionKey;

    fn voice(keys: &[&SessionKey]) -> Voice {
        let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
        Voice::new(Keys::new(&keys).unwrap(), Arc::new(SystemRandomness))
    }

    fn hash() -> SessionHash {
        SessionHash::from_slice(&[7; 32]).unwrap()
    }

    /// Nodes whose rings differ, as they do while a key is changed, hear each other.
    #[test]
    fn nodes_hear_each_other_while_a_key_is_changed() {
        let (old, new) = (
            SessionKey::random(&SystemRandomness),
            SessionKey::random(&SystemRandomness),
        );
        let rings: [&[&SessionKey]; 3] = [&[&old], &[&old, &new], &[&new, &old]];
        for (speaks, hears) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1)] {
            let (one, other) = (voice(rings[speaks]), voice(rings[hears]));
            for event in [
                Event::Ended(hash(), EndReason::Revoked),
                Event::Changed(hash(), 7),
            ] {
                assert_eq!(other.read_event(&one.event(event)), Some(event));
            }
            let said = one.heartbeat("a", "who 1 2");
            assert_eq!(other.read_heartbeat("a", &said).as_deref(), Some("who 1 2"));
        }
        let stranger = voice(&[&SessionKey::random(&SystemRandomness)]);
        let event = stranger.event(Event::Changed(hash(), 7));
        assert_eq!(voice(&[&old]).read_event(&event), None);
    }

    #[test]
    fn what_is_said_shows_no_hash_and_serves_nowhere_else() {
        let voice = voice(&[&SessionKey::random(&SystemRandomness)]);
        let event = voice.event(Event::Changed(hash(), 7));
        assert!(!event.contains(&hash().to_hex()));
        assert_eq!(voice.read_heartbeat("", &event), None);
        let heartbeat = voice.heartbeat("one", "who 1 2");
        assert_eq!(
            voice.read_heartbeat("other", &heartbeat),
            None,
            "another server"
        );
        assert_eq!(voice.read_event(&heartbeat), None);
        assert_eq!(voice.read_event(&"A".repeat(LONGEST + 1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_told_in_the_clear_while_an_older_node_is_heard() {
        let voice = voice(&[&SessionKey::random(&SystemRandomness)]);
        assert!(voice.speaks_plainly(), "one may be there");
        tokio::time::advance(OLDER_FOR).await;
        assert!(!voice.speaks_plainly());
        let own = voice.heartbeat("", "who 1 2 -3");
        for said in [own.as_str(), "who 1 2 3", "who 1", "nonsense", ""] {
            drop(voice.read_heartbeat("", said));
            assert!(!voice.speaks_plainly(), "{said}");
        }
        assert_eq!(voice.read_heartbeat("", "who 1 1795251600000"), None);
        assert!(voice.speaks_plainly());
    }

    #[test]
    fn a_heartbeat_reads_back() {
        let mut heartbeat = Heartbeat {
            node: "who".into(),
            number: 7,
            said: Timestamp::from_unix_millis(1_795_251_600_000),
            ahead: Some(-1_860_000),
        };
        assert_eq!(
            Heartbeat::read(&heartbeat.to_string()),
            Some(heartbeat.clone())
        );
        heartbeat.ahead = None;
        assert_eq!(
            Heartbeat::read(&heartbeat.to_string()),
            Some(heartbeat.clone())
        );
        assert_eq!(
            Heartbeat::read(&format!("{heartbeat} 1 of a later release"))
                .unwrap()
                .ahead,
            Some(1)
        );
    }
}
