//! The end of a session as its open streams learn of it.
//!
//! A WebSocket, a server-sent event stream or a long download holds an [`Ending`] and stops when
//! it comes. It costs a request nothing until something actually waits.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// The user signed out in this browser.
    Logout = 1,
    /// The idle or the absolute limit was reached.
    Expired = 2,
    /// Another login took its place.
    Superseded = 3,
    /// The provider no longer honours the refresh token (L4).
    RefreshRefused = 4,
    /// An administrator.
    Revoked = 5,
    // 6 was never written by any release.
    /// The provider, by its back channel or front channel.
    ProviderLogout = 7,
    /// The user, from another browser.
    SignedOutElsewhere = 8,
    /// There was no room for it any more in the memory that sessions may take.
    Evicted = 9,
}

impl EndReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::Logout,
        Self::Expired,
        Self::Superseded,
        Self::RefreshRefused,
        Self::Revoked,
        Self::ProviderLogout,
        Self::SignedOutElsewhere,
        Self::Evicted,
    ];

    /// The word for logs, metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::RefreshRefused => "refresh_refused",
            Self::Revoked => "revoked",
            Self::ProviderLogout => "provider_logout",
            Self::SignedOutElsewhere => "signed_out_elsewhere",
            Self::Evicted => "evicted",
        }
    }

    /// The reason that `value` stands for, as stores write it down.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Logout,
            2 => Self::Expired,
            3 => Self::Superseded,
            4 => Self::RefreshRefused,
            5 => Self::Revoked,
            7 => Self::ProviderLogout,
            8 => Self::SignedOutElsewhere,
            9 => Self::Evicted,
            _ => return None,
        })
    }
}

/// A handle on the end of one session: cheap to clone, free until waited for.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    reason: AtomicU8,
    waiters: Notify,
    /// The end of the session that goes on in the place of this one.
    successor: Mutex<Option<Ending>>,
}

impl Ending {
    /// An ending that has not come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Brings the end about; the first reason stays.
    pub fn come(&self, reason: EndReason) {
        let first =
            self.0
                .reason
                .compare_exchange(0, reason as u8, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.0.waiters.notify_waiters();
        }
    }

    /// The reason, once the end has come.
    pub fn reason(&self) -> Option<EndReason> {
        EndReason::from_u8(self.0.reason.load(Ordering::SeqCst))
    }

    /// From now on whoever waits for this end waits for that of the session which goes on in its place, or,
    /// with `None`, for this one again.
    pub fn pass_to(&self, successor: Option<Self>) {
        *self.successor() = successor;
    }

    fn successor(&self) -> MutexGuard<'_, Option<Self>> {
        let successor = self.0.successor.lock();
        successor.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything but its own session holds it.
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Waits for the end, of the last session of those that went on in the place of one another. Safe to drop
    /// and to call again.
    pub async fn wait(&self) -> EndReason {
        let mut awaited = self.clone();
        loop {
            let reason = awaited.come_itself().await;
            let successor = awaited.successor().clone();
            match successor {
                Some(successor) => awaited = successor,
                None => return reason,
            }
        }
    }

    async fn come_itself(&self) -> EndReason {
        loop {
            let mut notified = std::pin::pin!(self.0.waiters.notified());
            // Registered before the look, so that an end between the two is not missed.
            notified.as_mut().enable();
            if let Some(reason) = self.reason() {
                return reason;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_waiter_learns_the_first_reason() {
        let ending = Ending::new();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let ending = ending.clone();
                tokio::spawn(async move { ending.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        ending.come(EndReason::Logout);
        ending.come(EndReason::Expired);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), EndReason::Logout);
        }
        assert_eq!(ending.wait().await, EndReason::Logout);
    }

    /// K1: what is open on behalf of a session that was renewed goes on until the end of the new one.
    #[tokio::test]
    async fn a_session_that_goes_on_in_another_ends_with_it() {
        let endings = [Ending::new(), Ending::new(), Ending::new()];
        let waiter = tokio::spawn({
            let first = endings[0].clone();
            async move { first.wait().await }
        });
        tokio::task::yield_now().await;
        for (old, new) in endings.iter().zip(&endings[1..]) {
            old.pass_to(Some(new.clone()));
            old.come(EndReason::Superseded);
            tokio::task::yield_now().await;
        }
        assert!(!waiter.is_finished());
        endings[2].come(EndReason::Logout);
        assert_eq!(waiter.await.unwrap(), EndReason::Logout);
        // One that was not renewed after all.
        let ending = Ending::new();
        ending.pass_to(Some(Ending::new()));
        ending.pass_to(None);
        ending.come(EndReason::Expired);
        assert_eq!(ending.wait().await, EndReason::Expired);
    }
}
