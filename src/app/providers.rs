//! The providers that sites sign people in at. One that the configuration leaves as it was outlives a
//! reload, with its metadata, its keys and what is limited there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::config::Print;
use crate::oidc::Provider;

/// Those in use; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Providers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    known: Mutex<HashMap<Print, Known>>,
    /// Where their metadata are kept fresh.
    care: Handle,
}

#[derive(Debug)]
struct Known {
    provider: Provider,
    fresh: AbortHandle,
}

/// When a provider is asked for its metadata and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// At once, so that no login waits for them.
    AtOnce,
    /// Once somebody needs them: a tenant's, of which there may be thousands.
    OnceNeeded,
}

impl Providers {
    /// None yet; those to come are looked after on `care`.
    pub(super) fn on(care: Handle) -> Self {
        Self(Arc::new(Inner {
            known: Mutex::default(),
            care,
        }))
    }

    /// The provider of a configuration with this print: the one that is in use already, or a new one,
    /// which is asked `when` that says.
    pub(super) fn get_or_make(
        &self,
        print: &Print,
        when: Asked,
        make: impl FnOnce() -> Provider,
    ) -> Provider {
        let mut known = self.known();
        if let Some(known) = known.get(print) {
            return known.provider.clone();
        }
        let provider = make();
        let looked_after = provider.clone();
        let fresh = self.0.care.spawn(async move {
            match when {
                Asked::AtOnce => looked_after.keep_fresh().await,
                Asked::OnceNeeded => looked_after.keep_fresh_once_found().await,
            }
        });
        let made = Known {
            provider: provider.clone(),
            fresh: fresh.abort_handle(),
        };
        known.insert(print.clone(), made);
        provider
    }

    /// Lets go of all but those that some site uses.
    pub(super) fn keep(&self, used: impl IntoIterator<Item = Provider>) {
        let used: HashSet<usize> = used.into_iter().map(|provider| provider.key()).collect();
        self.retain(|provider| used.contains(&provider.key()));
    }

    /// Lets go of these, which no site uses any more.
    pub(super) fn let_go(&self, unused: impl IntoIterator<Item = Provider>) {
        let unused: HashSet<usize> = unused.into_iter().map(|provider| provider.key()).collect();
        self.retain(|provider| !unused.contains(&provider.key()));
    }

    fn retain(&self, stays: impl Fn(&Provider) -> bool) {
        self.known().retain(|_, known| {
            let stays = stays(&known.provider);
            if !stays {
                known.fresh.abort();
            }
            stays
        });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Print, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
