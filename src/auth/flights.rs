//! One call to the provider, however many wait for what it brings.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::auth::token_error::{NotNow, Outcome, TokenError};
use crate::clock::Timestamp;

/// The calls under way, each by what it brings; and those that failed too recently to be made again.
pub(in crate::auth) struct Flights<K>(Arc<Mutex<HashMap<K, Flight>>>);

#[derive(Debug)]
enum Flight {
    UnderWay(UnderWay),
    /// None may begin before this moment, since the last one failed so.
    NotBefore(Timestamp, TokenError),
}

/// A call that is under way.
#[derive(Debug, Clone)]
pub(in crate::auth) struct UnderWay {
    /// Where its outcome comes.
    outcome: watch::Receiver<Option<Outcome>>,
    /// Until when others wait for it. It goes on after that: whoever breaks it off loses what it may
    /// have spent.
    awaited_until: Instant,
}

/// What whoever wants something finds.
pub(in crate::auth) enum Joined<K: Hash + Eq> {
    /// There is nothing to wait for.
    Settled(Outcome),
    /// A call is under way.
    UnderWay(UnderWay),
    /// None was; this one is to be made, in a task of its own.
    Begins(UnderWay, Flying<K>),
}

/// A call that is being made: off the list once it is dropped, however it ends.
pub(in crate::auth) struct Flying<K: Hash + Eq> {
    flights: Flights<K>,
    key: K,
    told: watch::Sender<Option<Outcome>>,
}

impl<K: Hash + Eq + Clone> Flights<K> {
    /// Joins the call that brings `key`, or begins it. `look` says what has come of it already: under the
    /// lock, since what a call brings is stored before it leaves the list.
    pub(in crate::auth) fn join(
        &self,
        key: K,
        now: Timestamp,
        wait: Duration,
        look: impl FnOnce() -> Option<Outcome>,
    ) -> Joined<K> {
        let mut flights = self.lock();
        match flights.get(&key) {
            Some(Flight::UnderWay(under_way)) => return Joined::UnderWay(under_way.clone()),
            Some(Flight::NotBefore(moment, error)) if now < *moment => {
                return Joined::Settled(Err(*error));
            }
            _ => {}
        }
        if let Some(outcome) = look() {
            return Joined::Settled(outcome);
        }
        flights.retain(|_, flight| match flight {
            Flight::UnderWay(_) => true,
            Flight::NotBefore(moment, _) => now < *moment,
        });
        let (told, outcome) = watch::channel(None);
        let under_way = UnderWay {
            outcome,
            awaited_until: Instant::now() + wait,
        };
        flights.insert(key.clone(), Flight::UnderWay(under_way.clone()));
        let flying = Flying {
            flights: self.clone(),
            key,
            told,
        };
        Joined::Begins(under_way, flying)
    }

    /// Whether a call is under way.
    pub(in crate::auth) fn is_under_way(&self, key: &K) -> bool {
        matches!(self.lock().get(key), Some(Flight::UnderWay(_)))
    }
}

impl<K> Flights<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Flying<K> {
    /// Where those who wait are told, before the call is over.
    pub(in crate::auth) const fn told(&self) -> &watch::Sender<Option<Outcome>> {
        &self.told
    }

    /// Tells those who wait; none begins again before `not_before`.
    pub(in crate::auth) fn land(self, outcome: Outcome, not_before: Option<Timestamp>)
    where
        K: Clone,
    {
        if let (Err(error), Some(moment)) = (outcome, not_before) {
            let flight = Flight::NotBefore(moment, error);
            self.flights.lock().insert(self.key.clone(), flight);
        }
        let told = self.told.clone();
        drop(self);
        told.send_replace(Some(outcome));
    }
}

impl<K: Hash + Eq> Drop for Flying<K> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if let Some(Flight::UnderWay(_)) = flights.get(&self.key) {
            flights.remove(&self.key);
        }
    }
}

impl UnderWay {
    /// What it comes to, if it does so before anybody stops waiting for it.
    pub(in crate::auth) async fn outcome(mut self) -> Outcome {
        let outcome = self.outcome.wait_for(Option::is_some);
        match timeout_at(self.awaited_until, outcome).await {
            Ok(Ok(outcome)) => outcome.unwrap_or(Err(TokenError::Unavailable(NotNow::BrokeOff))),
            Ok(Err(_)) => Err(TokenError::Unavailable(NotNow::BrokeOff)),
            Err(_) => Err(TokenError::Unavailable(NotNow::Slow)),
        }
    }
}

impl<K> Clone for Flights<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> fmt::Debug for Flights<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({})", self.lock().len())
    }
}

/// What may happen once in a while for each `K`.
#[derive(Debug)]
pub(in crate::auth) struct Seldom<K>(Mutex<HashMap<K, Timestamp>>);

impl<K> Default for Seldom<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Seldom<K> {
    /// Whether it may happen now: it did not within `every`.
    pub(in crate::auth) fn may(&self, key: K, now: Timestamp, every: Duration) -> bool {
        let mut happened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        happened.retain(|_, at| now < *at + every);
        let may = !happened.contains_key(&key);
        if may {
            happened.insert(key, now);
        }
        may
    }
}
