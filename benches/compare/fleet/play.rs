//! Sessions that begin, are used, get other tokens and end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock};
use bff::session::Sessions;
use bff::session::record::Session;
use bff::web::ending::EndReason;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Store;
use crate::sessions::{refreshed, session_of};
use crate::stores::{self, AT_ONCE};

/// Sessions that are moved.
const MOVED: usize = 2000;
/// What nodes tell twice in a store's first seconds, for fear of an older one, is not measured.
const PLAINLY_FOR: Duration = Duration::from_secs(11);

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What happens to a session.
#[derive(Clone, Copy)]
enum Change {
    Begins,
    IsUsed,
    GetsTokens,
    Ends,
}

impl Change {
    /// Of twenty changes of a house whose tokens live for five minutes and whose sessions slide every six.
    const fn at(number: u64) -> Self {
        match number % 20 {
            0 => Self::Begins,
            10 => Self::Ends,
            odd if odd % 2 == 1 && odd != 19 => Self::IsUsed,
            _ => Self::GetsTokens,
        }
    }

    const fn is_told(self) -> bool {
        matches!(self, Self::GetsTokens | Self::Ends)
    }
}

/// Who plays.
pub(super) struct Play {
    store: Store,
    sessions: Sessions,
    moved: VecDeque<Arc<Session>>,
    count: u64,
}

impl Play {
    pub(super) async fn prepare(store: Store) -> Fallible<Self> {
        let sessions = stores::sessions(&store);
        let began = Instant::now();
        let mut play = Self {
            store,
            sessions,
            moved: VecDeque::new(),
            count: 0,
        };
        for _ in 0..MOVED {
            let session = begin(&play.sessions).await?;
            play.moved.push_back(session);
        }
        tokio::time::sleep_until(began + PLAINLY_FOR).await;
        Ok(play)
    }

    /// Makes `rate` changes a second; how many there were, and of how many others are told.
    pub(super) async fn run(&mut self, rate: u32, span: Duration) -> Fallible<(u64, u64)> {
        let (mut begun, mut told) = (0, 0);
        let began = Instant::now();
        let mut beat = interval(super::beat(rate));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = FuturesUnordered::new();
        while began.elapsed() < span {
            beat.tick().await;
            let due = began.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            while u128::from(begun) < due && began.elapsed() < span {
                let change = Change::at(self.count);
                self.count += 1;
                begun += 1;
                told += u64::from(change.is_told());
                let session = self.moved.pop_front().ok_or("no session is left")?;
                under_way.push(carry_out(&self.store, &self.sessions, change, session));
                if under_way.len() >= AT_ONCE {
                    let moved = under_way.next().await;
                    self.moved.extend(moved.transpose()?.into_iter().flatten());
                }
            }
        }
        while let Some(moved) = under_way.next().await {
            self.moved.extend(moved?);
        }
        Ok((begun, told))
    }
}

/// The sessions that are there afterwards, to be moved again.
async fn carry_out(
    store: &Store,
    sessions: &Sessions,
    change: Change,
    session: Arc<Session>,
) -> Fallible<Vec<Arc<Session>>> {
    match change {
        Change::Begins => return Ok(vec![session, begin(sessions).await?]),
        Change::IsUsed => {
            let now = SystemClock.now();
            store.slide(&session, now, now + Duration::from_hours(1));
        }
        Change::GetsTokens => {
            let tokens = refreshed(&session, 2048)?;
            store.save_tokens(&session, Arc::new(tokens)).await?;
        }
        Change::Ends => {
            store.end(&session.hash, EndReason::Logout).await?;
            return Ok(Vec::new());
        }
    }
    Ok(vec![session])
}

async fn begin(sessions: &Sessions) -> Fallible<Arc<Session>> {
    let session = sessions.prepare(session_of("nobody", 2048)?);
    sessions.admit(&session).await?;
    Ok(session)
}
