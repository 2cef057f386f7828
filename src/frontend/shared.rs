//! Small files on their way to browsers: one copy of each, however many wait for it.
//!
//! Nothing is remembered: the last stream of a file takes its copy along, so that all of them take as
//! much as the app is large, and no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// What a file holds, by its hash.
pub(super) type Hash = [u8; 32];

/// So many entries may be of files that are under way no more.
const LEAST_SWEPT: usize = 256;

/// The copies under way.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Copies>);

#[derive(Debug, Default)]
struct Copies {
    of: HashMap<Hash, Weak<[u8]>>,
    /// When they are as many, those that are gone are forgotten.
    sweep_at: usize,
}

impl Shared {
    /// `read`, or a copy of the same that is under way.
    pub(super) fn one(&self, hash: Hash, read: Vec<u8>) -> Bytes {
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copy) = copies.of.get(&hash).and_then(Weak::upgrade) {
            return Bytes::from_owner(copy);
        }
        let copy: Arc<[u8]> = read.into();
        if copies.of.len() >= copies.sweep_at {
            copies.of.retain(|_, copy| copy.strong_count() > 0);
            copies.sweep_at = LEAST_SWEPT.max(copies.of.len() * 2);
        }
        copies.of.insert(hash, Arc::downgrade(&copy));
        Bytes::from_owner(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_the_same_shares_it() {
        let shared = Shared::default();
        let one = |first: u8| shared.one([first; 32], vec![first; 100]);
        let (a, b, again) = (one(1), one(2), one(1));
        assert_eq!(a.as_ptr(), again.as_ptr());
        assert_ne!(a.as_ptr(), b.as_ptr());
        assert_eq!((a.len(), a[0], b[0]), (100, 1, 2));
    }

    #[test]
    fn what_nobody_waits_for_is_forgotten() {
        let shared = Shared::default();
        let held = shared.one([0; 32], vec![0; 100]);
        for n in 0..10_000_u32 {
            let mut hash = [1; 32];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            shared.one(hash, vec![1; 10]);
        }
        assert!(shared.0.lock().unwrap().of.len() <= LEAST_SWEPT);
        let again = shared.one([0; 32], vec![0; 100]);
        assert_eq!(held.as_ptr(), again.as_ptr());
    }
}
