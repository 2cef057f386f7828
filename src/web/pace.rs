//! How slowly a body may go: a least rate over a window, in which only the time counts in which
//! somebody is waited for (J18).

use std::time::Duration;

use tokio::time::Instant;

/// The slowest that a body may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeastRate {
    /// What must go by in a window; nothing where any rate will do.
    bytes: u64,
    window: Duration,
}

impl LeastRate {
    /// As slow as it likes.
    pub const ANY: Self = Self {
        bytes: 0,
        window: Duration::ZERO,
    };

    /// So many bytes a second, looked at whenever `window` has been waited; 0 lets every body pass.
    pub fn new(bytes_per_second: u64, window: Duration) -> Self {
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Self {
            bytes: bytes_per_second.saturating_mul(millis) / 1000,
            window,
        }
    }

    /// How often to look at a body that may begin to be too slow meanwhile, where any can be.
    pub fn look_every(self) -> Option<Duration> {
        (self.bytes > 0).then_some(self.window)
    }
}

/// How one body fares.
#[derive(Debug)]
pub struct Pace {
    least: LeastRate,
    /// What went by since the window began.
    bytes: u64,
    /// The waits of this window that are over.
    waited: Duration,
    /// When the one under way began.
    since: Option<Instant>,
}

impl Pace {
    /// A body that may not go more slowly than this.
    pub const fn new(least: LeastRate) -> Self {
        Self {
            least,
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
        }
    }

    /// Whoever moves the body is waited for, from now on if not already. When to look whether it
    /// [is too slow](Self::is_too_slow), where it can be.
    pub fn waits(&mut self) -> Option<Instant> {
        if self.least.bytes == 0 {
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        Some(since + self.least.window.saturating_sub(self.waited))
    }

    /// So much went by, and the wait is over.
    pub fn moves(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Whether a window is over in which too little went by. If enough did, the next one begins.
    pub fn is_too_slow(&mut self) -> bool {
        let waiting = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.waited + waiting < self.least.window {
            return false;
        }
        if self.bytes < self.least.bytes {
            return true;
        }
        self.bytes = 0;
        self.waited = Duration::ZERO;
        self.since = self.since.map(|_| Instant::now());
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body of `bytes` after every `wait`: the seconds after which it is too slow, within 1,000.
    async fn fate(least: LeastRate, wait: Duration, bytes: u64) -> Option<u64> {
        let mut pace = Pace::new(least);
        let begun = Instant::now();
        while begun.elapsed() < 1000 * SECOND {
            let moved_at = Instant::now() + wait;
            while let Some(look_at) = pace.waits().filter(|look_at| *look_at < moved_at) {
                advance(look_at - Instant::now()).await;
                if pace.is_too_slow() {
                    return Some(begun.elapsed().as_secs());
                }
            }
            advance(moved_at - Instant::now()).await;
            pace.moves(bytes);
        }
        None
    }

    /// J18: who drips is found out at the end of the first window, and a slow phone never.
    #[tokio::test(start_paused = true)]
    async fn a_drip_is_told_from_a_slow_line() {
        let least = LeastRate::new(64, 30 * SECOND);
        for (name, wait, bytes, expected) in [
            ("a byte in two seconds", 2 * SECOND, 1, Some(30)),
            ("nothing", 2000 * SECOND, 0, Some(30)),
            ("just too little", SECOND, 63, Some(30)),
            ("just enough", SECOND, 66, None),
            ("much, seldom", 25 * SECOND, 4096, None),
            (
                "in one piece at the last moment",
                30 * SECOND - SECOND,
                1920,
                None,
            ),
        ] {
            assert_eq!(fate(least, wait, bytes).await, expected, "{name}");
        }
        let any = LeastRate::new(0, 30 * SECOND);
        assert_eq!(fate(any, 2 * SECOND, 1).await, None);
    }

    /// The time in which nobody is waited for is not held against the body.
    #[tokio::test(start_paused = true)]
    async fn only_waits_count() {
        let mut pace = Pace::new(LeastRate::new(64, 30 * SECOND));
        for _ in 0..29 {
            pace.waits();
            advance(SECOND).await;
            pace.moves(1);
            advance(60 * SECOND).await;
        }
        assert!(!pace.is_too_slow());
        let look_at = pace.waits().unwrap();
        assert_eq!(look_at - Instant::now(), SECOND);
        advance(SECOND).await;
        assert!(pace.is_too_slow());
    }

    /// A good start does not pay for a drip for ever.
    #[tokio::test(start_paused = true)]
    async fn each_window_counts_for_itself() {
        let mut pace = Pace::new(LeastRate::new(64, 30 * SECOND));
        pace.moves(1 << 30);
        pace.waits();
        advance(30 * SECOND).await;
        assert!(!pace.is_too_slow());
        advance(30 * SECOND).await;
        assert!(pace.is_too_slow());
    }
}
