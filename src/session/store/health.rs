//! How the store has been of late: told once when it changes, and on `/readyz`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::store::{Condition, StoreError};

/// What of a record's fault is told on `/readyz` for this long.
const NOTICED_FOR: Duration = Duration::from_mins(5);

/// How the store has been.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_down: AtomicBool,
    /// When a step was last not carried out.
    failed_at: Mutex<Option<Instant>>,
    noticed: Mutex<Option<(Instant, String)>>,
}

impl Health {
    /// A step was carried out.
    pub(super) fn answered(&self) {
        if self.is_down.load(Ordering::Relaxed) && self.is_down.swap(false, Ordering::AcqRel) {
            tracing::info!(event = "store.back", "the session store answers again");
        }
    }

    /// A step was not. One line an outage, not one a request.
    pub(super) fn failed(&self, error: &StoreError) {
        *lock(&self.failed_at) = Some(Instant::now());
        if !self.is_down.swap(true, Ordering::AcqRel) {
            tracing::warn!(event = "store.away", %error, "sessions cannot be looked up; nobody is signed out");
        }
    }

    /// How long until the last failure lies `span` behind.
    pub(super) fn settles_within(&self, span: Duration) -> Duration {
        let failed_at = *lock(&self.failed_at);
        failed_at.map_or(Duration::ZERO, |at| span.saturating_sub(at.elapsed()))
    }

    /// A record has a fault, which is nobody else's.
    pub(super) fn noticed(&self, fault: &str) {
        let mut noticed = lock(&self.noticed);
        let known = noticed.as_ref().is_some_and(|(_, known)| known == fault);
        if !known {
            tracing::warn!(event = "store.damaged_record", "{fault}");
        }
        *noticed = Some((Instant::now(), fault.to_owned()));
    }

    /// How it is, given that it answers.
    pub(super) fn condition(&self) -> Condition {
        let mut noticed = lock(&self.noticed);
        match noticed.take_if(|(at, _)| at.elapsed() >= NOTICED_FOR) {
            Some(_) => Condition::Well,
            None => noticed.as_ref().map_or(Condition::Well, |(_, fault)| {
                Condition::Noticed(fault.clone())
            }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
