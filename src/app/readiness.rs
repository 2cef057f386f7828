//! What `/readyz` asks about: the provider, the session store, strangers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{Check, CheckState};
use crate::clock::{Clock, Timestamp};
use crate::oidc::{Provider, Standing};
use crate::pipeline::site::Site;
use crate::pipeline::sites::Sites;
use crate::session::Sessions;
use crate::session::store::Condition;
use crate::web::strangers::{Pressure, Strangers};

/// How long a provider that says nothing is waited for. Not longer: a node that restarts during its
/// outage would take no work, and the sessions that are there need none of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The providers. A wrong answer since the start keeps work away, since a deploy with a wrong issuer
/// must not replace one that works. Once it was found, its outage is told and no more (A8).
pub(super) struct ProvidersCheck {
    sites: Sites,
    clock: Arc<dyn Clock>,
    started: Timestamp,
}

impl ProvidersCheck {
    /// Waits from now on.
    pub(super) fn new(sites: Sites, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self {
            sites,
            clock,
            started,
        }
    }

    fn is_waiting(&self) -> bool {
        let now = self.clock.now();
        // A clock that was set back must not make a minute of an hour.
        now >= self.started && now.since(self.started) < PATIENCE
    }

    /// Of several providers each takes its own logins away alone: work is kept away where no login works.
    fn state_of_site(&self, site: &Site) -> CheckState {
        let mut states: Vec<_> = site
            .relying_parties()
            .map(|at| self.state_of(at.provider()))
            .collect();
        states.sort_by_key(weight);
        let some_login_works = !matches!(states.first(), Some(CheckState::Failed(_)));
        match states.pop() {
            Some(CheckState::Failed(reason)) if some_login_works => CheckState::Degraded(reason),
            worst => worst.unwrap_or(CheckState::Ok),
        }
    }

    fn state_of(&self, provider: &Provider) -> CheckState {
        match provider.standing() {
            Standing::Known => CheckState::Ok,
            Standing::Wrong(reason) => CheckState::Failed(reason),
            Standing::Silent(reason) if self.is_waiting() => CheckState::Failed(format!(
                "{reason}; it is waited for until a minute after the start"
            )),
            Standing::KnownOnce(reason) | Standing::Silent(reason) => CheckState::Degraded(reason),
        }
    }
}

impl Check for ProvidersCheck {
    fn name(&self) -> &'static str {
        "provider"
    }

    /// As the last look found it: a provider that is asked here and hangs would fail the check
    /// itself.
    fn state(&self) -> Pin<Box<dyn Future<Output = CheckState> + Send + '_>> {
        let worst = self
            .sites
            .all()
            .iter()
            .map(|site| self.state_of_site(site))
            .max_by_key(weight)
            .unwrap_or(CheckState::Ok);
        Box::pin(std::future::ready(worst))
    }
}

fn weight(state: &CheckState) -> u8 {
    match state {
        CheckState::Ok => 0,
        CheckState::Degraded(_) => 1,
        CheckState::Failed(_) => 2,
    }
}

/// The sessions: without them, no request can be served here.
pub(super) struct StoreCheck(pub(super) Sessions);

impl Check for StoreCheck {
    fn name(&self) -> &'static str {
        "session_store"
    }

    fn state(&self) -> Pin<Box<dyn Future<Output = CheckState> + Send + '_>> {
        Box::pin(async {
            match self.0.condition().await {
                Condition::Well => CheckState::Ok,
                Condition::Noticed(fault) => CheckState::Degraded(fault),
                Condition::Unwell(fault) => CheckState::Failed(fault),
            }
        })
    }
}

/// Who floods us is told, and no reason to send work elsewhere, where it would be the same.
pub(super) struct StrangersCheck(pub(super) Strangers, pub(super) Arc<dyn Clock>);

impl Check for StrangersCheck {
    fn name(&self) -> &'static str {
        "strangers"
    }

    fn state(&self) -> Pin<Box<dyn Future<Output = CheckState> + Send + '_>> {
        let pressed: Vec<String> = self
            .0
            .pressure(self.1.now())
            .into_iter()
            .filter(|pressure| pressure.is_high())
            .map(
                |Pressure {
                     demand,
                     used,
                     total,
                     ..
                 }| format!("{} {used} of {total}", demand.as_str()),
            )
            .collect();
        Box::pin(std::future::ready(if pressed.is_empty() {
            CheckState::Ok
        } else {
            CheckState::Degraded(format!("under pressure: {}", pressed.join(", ")))
        }))
    }
}
