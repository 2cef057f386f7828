//! The providers that sites sign people in at. One that the configuration leaves as it was outlives a
//! reload, with its metadata, its keys and what is limited there.

use std::collections::HashMap;
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

impl Providers {
    /// None yet; those to come are looked after on `care`.
    pub(super) fn on(care: Handle) -> Self {
        Self(Arc::new(Inner {
            known: Mutex::default(),
            care,
        }))
    }

    /// The provider of a configuration with this print: the one that is in use already, or a new one.
    pub(super) fn get_or_make(&self, print: &Print, make: impl FnOnce() -> Provider) -> Provider {
        let mut known = self.known();
        if let Some(known) = known.get(print) {
            return known.provider.clone();
        }
        let provider = make();
        let fresh = self.0.care.spawn(provider.clone().keep_fresh());
        let made = Known {
            provider: provider.clone(),
            fresh: fresh.abort_handle(),
        };
        known.insert(print.clone(), made);
        provider
    }

    /// Lets go of all but those that some site uses.
    pub(super) fn keep(&self, used: &[Provider]) {
        self.known().retain(|_, known| {
            let stays = used.iter().any(|used| used.is(&known.provider));
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
