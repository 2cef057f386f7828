//! How the store has been of late: told once when it changes, and on `/readyz`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::store::{Condition, StoreError};

/// What of a record's fault is told on `/readyz` for this long.
const NOTICED_FOR: Duration = Duration::from_mins(5);

/// How the store has been.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_down: AtomicBool,
    noticed: Mutex<Option<(Instant, String)>>,
}

impl Health {
    /// A step was carried out.
    pub(super) fn answered(&self) {
        if self.is_down.load(Ordering::Relaxed) && self.is_down.swap(false, Ordering::AcqRel) {
            tracing::info!("the session store answers again");
        }
    }

    /// A step was not. One line an outage, not one a request.
    pub(super) fn failed(&self, error: &StoreError) {
        if !self.is_down.swap(true, Ordering::AcqRel) {
            tracing::warn!(%error, "sessions cannot be looked up; nobody is signed out");
        }
    }

    /// A record has a fault, which is nobody else's.
    pub(super) fn noticed(&self, fault: &str) {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = noticed.as_ref().is_some_and(|(_, known)| known == fault);
        if !known {
            tracing::warn!("{fault}");
        }
        *noticed = Some((Instant::now(), fault.to_owned()));
    }

    /// How it is, given that it answers.
    pub(super) fn condition(&self) -> Condition {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        match noticed.take_if(|(at, _)| at.elapsed() >= NOTICED_FOR) {
            Some(_) => Condition::Well,
            None => noticed.as_ref().map_or(Condition::Well, |(_, fault)| {
                Condition::Noticed(fault.clone())
            }),
        }
    }
}
