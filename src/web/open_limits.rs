//! How many WebSockets or event streams may be open at once, over all workers and for each session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many may be open; cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenLimits(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    total: usize,
    per_owner: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<String, usize>,
}

/// The right to one that is open; frees itself.
pub struct OpenPermit {
    limits: OpenLimits,
    owner: Option<String>,
}

/// As many are open as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenLimitReached {
    /// Over all.
    #[error("too many are open")]
    Total,
    /// Of this owner.
    #[error("too many of one owner are open")]
    Owner,
}

impl OpenLimits {
    /// At most `total`, and `per_owner` of one owner.
    pub fn new(total: usize, per_owner: usize) -> Self {
        Self(Arc::new(Counts {
            total,
            per_owner,
            open: Mutex::default(),
        }))
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open().all
    }

    /// Takes one for `owner`, whatever names a session best; nobody's count only in total.
    ///
    /// # Errors
    ///
    /// Where a limit is reached.
    pub fn take(&self, owner: Option<&str>) -> Result<OpenPermit, OpenLimitReached> {
        let mut open = self.open();
        if open.all >= self.0.total {
            return Err(OpenLimitReached::Total);
        }
        if let Some(owner) = owner {
            let of_owner = open.of.get(owner).copied().unwrap_or(0);
            if of_owner >= self.0.per_owner {
                return Err(OpenLimitReached::Owner);
            }
            open.of.insert(owner.to_owned(), of_owner + 1);
        }
        open.all += 1;
        drop(open);
        Ok(OpenPermit {
            limits: self.clone(),
            owner: owner.map(str::to_owned),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenPermit {
    fn drop(&mut self) {
        let mut open = self.limits.open();
        open.all = open.all.saturating_sub(1);
        let Some(owner) = &self.owner else {
            return;
        };
        match open.of.get_mut(owner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.of.remove(owner);
            }
        }
    }
}

impl fmt::Debug for OpenPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenPermit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M6: what is open is counted, over all and for each session, and freed by themselves.
    #[test]
    fn what_is_open_is_counted() {
        let limits = OpenLimits::new(3, 2);
        let first = limits.take(Some("alice")).unwrap();
        let _second = limits.take(Some("alice")).unwrap();
        assert_eq!(
            limits.take(Some("alice")).unwrap_err(),
            OpenLimitReached::Owner
        );
        let third = limits.take(None).unwrap();
        assert_eq!(
            limits.take(Some("bob")).unwrap_err(),
            OpenLimitReached::Total
        );
        drop(third);
        drop(first);
        let _again = limits.take(Some("alice")).unwrap();
        assert!(limits.take(Some("bob")).is_ok());
        assert_eq!(limits.open().of.len(), 1);
    }
}
