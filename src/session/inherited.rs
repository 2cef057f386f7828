//! What sessions belong to that were written before sites: they name no site and no registration.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::web::registration::Registration;

/// The registration that the main site has at its own provider; cheap to clone.
///
/// Releases before sites knew no other, so that what they wrote, and still write in a cluster that is
/// being upgraded, is of it.
#[derive(Debug, Clone)]
pub struct Inherited(Arc<ArcSwap<Registration>>);

impl Inherited {
    /// What names none is of this registration.
    pub fn new(registration: Registration) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(registration)))
    }

    /// Where there is no main site, what names no registration is nobody's.
    pub fn nobody() -> Self {
        Self::new(Registration::unnamed())
    }

    /// The registration.
    pub fn now(&self) -> Arc<Registration> {
        self.0.load_full()
    }

    /// Puts another in its place, where the configuration has changed.
    pub fn replace(&self, registration: Registration) {
        self.0.store(Arc::new(registration));
    }
}
