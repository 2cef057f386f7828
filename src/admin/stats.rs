//! `/api/stats`: how many sessions there are and how much goes on, now and in the last minutes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::health::{CHECK_TIMEOUT, CheckState, shown};
use super::json_answer;
use crate::clock::{Clock, Timestamp};
use crate::session::Sessions;
use crate::session::store::Condition;
use crate::telemetry::{Metrics, Totals};
use crate::web::body::Body;

/// How far two samples are apart.
const STEP: Duration = Duration::from_secs(2);

/// Ten minutes of them.
const SAMPLES: usize = 300;

/// How much went on lately. Cheap to clone; one task [keeps](Self::keep) it.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<VecDeque<Sample>>>);

/// What went on in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    /// The end of the step.
    at: Timestamp,
    requests_per_second: f64,
    refreshes_per_second: f64,
    sessions: u64,
}

impl History {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample every two seconds; runs for ever.
    pub async fn keep(&self, metrics: &Metrics, sessions: &Sessions, clock: &dyn Clock) {
        let mut tick = interval(STEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = (tick.tick().await, metrics.totals());
        loop {
            let now = (tick.tick().await, metrics.totals());
            self.sample(clock.now(), before, now, sessions.count());
            before = now;
        }
    }

    fn sample(
        &self,
        at: Timestamp,
        (since, before): (Instant, Totals),
        (until, now): (Instant, Totals),
        sessions: u64,
    ) {
        let seconds = (until - since).as_secs_f64().max(f64::EPSILON);
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact below 2^53 events in a step"
        )]
        let rate = |before: u64, now: u64| {
            let rate = now.saturating_sub(before) as f64 / seconds;
            // The interval is not exact to the microsecond, so neither is this.
            (rate * 100.0).round() / 100.0
        };
        let sample = Sample {
            at,
            requests_per_second: rate(before.requests, now.requests),
            refreshes_per_second: rate(before.refreshes, now.refreshes),
            sessions,
        };
        let mut samples = self.samples();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

/// Answers even while the store does not, and then says so.
pub(super) async fn stats(
    sessions: &Sessions,
    metrics: &Metrics,
    history: &History,
) -> Response<Body> {
    let condition = timeout(CHECK_TIMEOUT, sessions.condition());
    let state = condition.await.map_or_else(
        |_| CheckState::Failed("no answer in time".into()),
        |condition| match condition {
            Condition::Well => CheckState::Ok,
            Condition::Noticed(fault) => CheckState::Degraded(fault),
            Condition::Unwell(fault) => CheckState::Failed(fault),
        },
    );
    let kind = sessions.store_kind();
    // Those in the browsers' cookies are counted by nobody.
    let countable = kind != "cookie";
    let samples: Vec<Value> = history
        .samples()
        .iter()
        .map(|sample| {
            json!({
                "at": sample.at.unix_millis(),
                "requests_per_s": sample.requests_per_second,
                "refreshes_per_s": sample.refreshes_per_second,
                "sessions": countable.then_some(sample.sessions),
            })
        })
        .collect();
    let totals = metrics.totals();
    let body = json!({
        "sessions": countable.then(|| sessions.count()),
        "store": kind,
        "store_state": shown(state),
        "requests_total": totals.requests,
        "refreshes_total": totals.refreshes,
        "logins_total": totals.logins,
        "failed_logins_total": totals.failed_logins,
        "history": samples,
    });
    json_answer(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes are kept, in rates that do not depend on how late the samples are taken.
    #[tokio::test(start_paused = true)]
    async fn the_last_ten_minutes_are_kept() {
        let history = History::new();
        let totals = |requests: u64| Totals {
            requests,
            refreshes: requests / 10,
            ..Totals::default()
        };
        let begin = Instant::now();
        let mut before = (begin, totals(0));
        for step in 1..=400_u32 {
            let late = if step % 2 == 0 { STEP } else { STEP * 2 };
            let requests = before.1.requests + late.as_secs() * 50;
            let now = (before.0 + late, totals(requests));
            let at = Timestamp::from_unix_millis(i64::from(step));
            history.sample(at, before, now, u64::from(step));
            before = now;
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!(samples.front().unwrap().sessions, 101);
        assert_eq!(samples.back().unwrap().at, Timestamp::from_unix_millis(400));
        for sample in &*samples {
            assert_eq!(
                (sample.requests_per_second, sample.refreshes_per_second),
                (50.0, 5.0)
            );
        }
    }
}
