//! How many connections may be open, over all workers, and who goes first where there is no room.
//!
//! A connection that waits for nothing of ours comes to rest here: one kept between requests, one that
//! shakes hands, one that is slow to say what it wants. Four fifths of the room are anybody's. Beyond,
//! whoever comes takes the room of the idlest: of the address that has most at rest, the connection
//! that rests longest. The last fifth is for when nobody rests.
//!
//! Who is told to go may find a request in its socket at that moment. It stays then, and the next one
//! goes. Nobody comes here while requests are under way: a connection rests after half a second.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::web::strangers::Source;

/// The room of one listener; cheap to clone.
#[derive(Clone)]
pub(super) struct Room(Arc<Inner>);

struct Inner {
    /// What is left free as long as somebody rests.
    reserve: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    next_id: u64,
    /// Who waits at the doors, one a worker at most.
    waiting: VecDeque<Waiting>,
    at_rest: AtRest,
    /// Who was told to go and is still there.
    told: HashSet<u64>,
}

struct Waiting {
    source: Source,
    place: oneshot::Sender<Place>,
}

/// The right to one open connection; frees itself.
pub(super) struct Place(Rest);

/// Where a connection comes to rest.
#[derive(Clone)]
pub(super) struct Rest {
    room: Room,
    id: u64,
    source: Source,
}

/// A connection at rest, until this is dropped.
pub(super) struct Resting {
    rest: Rest,
    key: Key,
    told: oneshot::Receiver<()>,
    goes: bool,
}

/// Since when a connection rests, and which one it is.
type Key = (Instant, u64);

/// Who rests, of whom.
#[derive(Default)]
struct AtRest {
    of: HashMap<Source, BTreeMap<Key, oneshot::Sender<()>>>,
    /// The same by how many, the most last.
    most: BTreeSet<(usize, Source)>,
}

impl Room {
    /// Room for so many.
    pub(super) fn new(connections: usize) -> Self {
        Self(Arc::new(Inner {
            reserve: connections / 5,
            state: Mutex::new(State {
                free: connections,
                next_id: 0,
                waiting: VecDeque::new(),
                at_rest: AtRest::default(),
                told: HashSet::new(),
            }),
        }))
    }

    /// Lets one more in, in another's place if need be; waits where all are busy.
    pub(super) async fn enter(&self, source: Source) -> Option<Place> {
        let place = {
            let mut state = self.state();
            if state.waiting.is_empty() && state.free > self.0.reserve {
                return Some(state.place(self, source));
            }
            let (sender, place) = oneshot::channel();
            state.waiting.push_back(Waiting {
                source,
                place: sender,
            });
            place
        };
        self.balance();
        place.await.ok()
    }

    /// Lets in who can come in, and tells as many to go as still wait.
    fn balance(&self) {
        loop {
            let (place, to) = {
                let mut state = self.state();
                let Some(next) = state.next_to_enter(self.0.reserve) else {
                    return;
                };
                (state.place(self, next.source), next.place)
            };
            // With the lock let go: a place whose owner has left frees itself.
            drop(to.send(place));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&mut self, room: &Room, source: Source) -> Place {
        self.free = self.free.saturating_sub(1);
        self.next_id += 1;
        Place(Rest {
            room: room.clone(),
            id: self.next_id,
            source,
        })
    }

    fn next_to_enter(&mut self, reserve: usize) -> Option<Waiting> {
        self.waiting.retain(|one| !one.place.is_closed());
        if self.free > reserve {
            return self.waiting.pop_front();
        }
        while self.told.len() < self.waiting.len() {
            let Some(idlest) = self.at_rest.tell_the_idlest() else {
                // Nobody rests: this is what the reserve is for.
                return if self.free > 0 {
                    self.waiting.pop_front()
                } else {
                    None
                };
            };
            self.told.insert(idlest);
        }
        None
    }
}

impl AtRest {
    fn add(&mut self, source: Source, key: Key, tell: oneshot::Sender<()>) {
        let own = self.of.entry(source).or_default();
        self.most.remove(&(own.len(), source));
        own.insert(key, tell);
        self.most.insert((own.len(), source));
    }

    /// Whether it was there.
    fn remove(&mut self, source: Source, key: &Key) -> bool {
        let Some(own) = self.of.get_mut(&source) else {
            return false;
        };
        let before = own.len();
        if own.remove(key).is_none() {
            return false;
        }
        self.most.remove(&(before, source));
        if own.is_empty() {
            self.of.remove(&source);
        } else {
            self.most.insert((own.len(), source));
        }
        true
    }

    /// Its id; `None` where nobody rests.
    fn tell_the_idlest(&mut self) -> Option<u64> {
        let (before, source) = self.most.pop_last()?;
        let own = self.of.get_mut(&source)?;
        let ((_, id), tell) = own.pop_first()?;
        if before > 1 {
            self.most.insert((before - 1, source));
        } else {
            self.of.remove(&source);
        }
        let heard = tell.send(());
        debug_assert!(heard.is_ok(), "who leaves takes itself out");
        Some(id)
    }
}

impl Place {
    /// Where this connection may come to rest.
    pub(super) fn rest(&self) -> Rest {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let room = &self.0.room;
        let handed_over = {
            let mut state = room.state();
            state.free += 1;
            state.told.remove(&self.0.id);
            // Whatever the reserve: it was as large before.
            let next = state.waiting.pop_front();
            next.map(|next| (state.place(room, next.source), next.place))
        };
        if let Some((place, to)) = handed_over {
            drop(to.send(place));
        }
        room.balance();
    }
}

impl Rest {
    /// Comes to rest, as one that has been idle since then.
    pub(super) fn begin(&self, since: Instant) -> Resting {
        let key = (since, self.id);
        let (tell, told) = oneshot::channel();
        self.room.state().at_rest.add(self.source, key, tell);
        // Somebody may wait for just this.
        self.room.balance();
        Resting {
            rest: self.clone(),
            key,
            told,
            goes: false,
        }
    }
}

impl Resting {
    /// Ready when this connection has to go. Its owner then closes it at once.
    pub(super) fn poll_told(&mut self, ctx: &mut Context<'_>) -> Poll<()> {
        // An error would mean that it does not rest any more, which only its drop can bring about.
        drop(ready!(Pin::new(&mut self.told).poll(ctx)));
        self.goes = true;
        Poll::Ready(())
    }

    /// Waits until this connection has to go.
    pub(super) async fn told(&mut self) {
        poll_fn(|ctx| self.poll_told(ctx)).await;
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        if self.goes {
            return;
        }
        let Rest { room, id, source } = &self.rest;
        let stays_though_told = {
            let mut state = room.state();
            !state.at_rest.remove(*source, &self.key) && state.told.remove(id)
        };
        if stays_though_told {
            room.balance();
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Room")
            .field("free", &state.free)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.0.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn from(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn enter(room: &Room, last: u8) -> Place {
        let entered = room.enter(from(last)).now_or_never();
        entered.expect("at once").unwrap()
    }

    fn is_told(resting: &mut Resting) -> bool {
        resting.told().now_or_never().is_some()
    }

    /// Room for five, all of it taken.
    fn full() -> (Room, Vec<Place>) {
        let room = Room::new(5);
        let places = (0..5).map(|_| enter(&room, 1)).collect();
        (room, places)
    }

    #[tokio::test]
    async fn who_comes_takes_the_room_of_the_idlest() {
        let (room, mut places) = full();
        let now = Instant::now();
        let long = now.checked_sub(Duration::from_secs(9)).unwrap();
        // The second has been idle for longer, though it came to rest later.
        let mut first = places[0].rest().begin(now);
        let mut second = places[1].rest().begin(long);
        let mut newcomer = tokio::spawn({
            let room = room.clone();
            async move { room.enter(from(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(!is_told(&mut first));
        assert!(is_told(&mut second));
        assert!((&mut newcomer).now_or_never().is_none(), "before it went");
        drop(places.remove(1));
        let _entered = newcomer.await.unwrap().unwrap();
        assert!(!is_told(&mut first), "one goes for one");
    }

    #[tokio::test]
    async fn the_address_that_has_most_gives_way() {
        let room = Room::new(5);
        let long = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        let places = [1, 2, 2, 2, 3].map(|last| enter(&room, last));
        let mut resting: Vec<_> = places
            .iter()
            .enumerate()
            .map(|(at, place)| {
                let later = Duration::from_millis(u64::try_from(at).unwrap());
                place.rest().begin(long + later)
            })
            .collect();
        let mut waiting = [room.enter(from(4)).boxed(), room.enter(from(5)).boxed()];
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        let told: Vec<bool> = resting.iter_mut().map(is_told).collect();
        assert_eq!(told, [false, true, true, false, false]);
    }

    /// Who finds a request in its socket stays, and another goes in its stead.
    #[tokio::test]
    async fn whoever_has_to_do_stays() {
        let (room, places) = full();
        let now = Instant::now();
        let first = places[0].rest().begin(now);
        let mut second = places[1].rest().begin(now + Duration::from_millis(1));
        let mut newcomer = room.enter(from(1)).boxed();
        assert!((&mut newcomer).now_or_never().is_none());
        assert!(!is_told(&mut second));
        drop(first);
        assert!(is_told(&mut second));
    }

    #[tokio::test]
    async fn where_nobody_rests_one_waits_until_somebody_does() {
        let (room, mut places) = full();
        let mut newcomer = room.enter(from(1)).boxed();
        assert!((&mut newcomer).now_or_never().is_none());
        let mut late = places[3].rest().begin(Instant::now());
        assert!(is_told(&mut late));
        drop(places.remove(0));
        assert!(newcomer.now_or_never().is_some(), "or somebody leaves");
    }

    /// The last fifth is taken only where nobody rests.
    #[tokio::test]
    async fn a_reserve_is_kept_while_somebody_rests() {
        let room = Room::new(10);
        let mut places: Vec<_> = (0..8).map(|_| enter(&room, 1)).collect();
        let mut resting = places[0].rest().begin(Instant::now());
        let mut newcomer = room.enter(from(2)).boxed();
        assert!((&mut newcomer).now_or_never().is_none());
        assert!(is_told(&mut resting));
        drop(places.remove(0));
        let _ninth = newcomer.now_or_never().unwrap();
        let _tenth = enter(&room, 3);
        assert_eq!(room.state().free, 1);
    }

    #[tokio::test]
    async fn whoever_gave_up_is_passed_over() {
        let (room, mut places) = full();
        let mut gone = room.enter(from(1)).boxed();
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        let mut newcomer = room.enter(from(2)).boxed();
        assert!((&mut newcomer).now_or_never().is_none());
        places.clear();
        drop(newcomer.now_or_never().unwrap());
        let state = room.state();
        assert_eq!((state.free, state.told.len()), (5, 0));
        assert!(state.at_rest.of.is_empty() && state.at_rest.most.is_empty());
    }
}
