//! The stores outside the process: one contract, and each one's own faults.

mod contract;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::sync::Arc;

use bff::clock::{SeededRandomness, SystemRandomness};
use bff::secret::SessionKey;
use bff::session::seal::Keys;
use bff::session::store::StoreError;
use bff::session::store::voice::Voice;

/// The voice of a node; all have the same key.
pub(crate) fn voice() -> Voice {
    let key = SessionKey::random(&SeededRandomness::new(7));
    Voice::new(Keys::of(&key), Arc::new(SystemRandomness))
}

/// The sentence of a store that will not do until it is mended.
#[track_caller]
fn unusable<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(error @ StoreError::Unusable(_)) => error.to_string(),
        other => panic!("not unusable: {other:?}"),
    }
}

/// The sentence of a store that another process has.
#[cfg(feature = "sqlite")]
#[track_caller]
fn taken<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(error @ StoreError::Taken(_)) => error.to_string(),
        other => panic!("not taken: {other:?}"),
    }
}

/// The sentence of a store that is away.
#[track_caller]
fn away<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(error @ StoreError::Away(_)) => error.to_string(),
        other => panic!("not away: {other:?}"),
    }
}
