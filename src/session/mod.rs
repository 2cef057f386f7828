//! Who is this browser: session ids, records, the sealed cookie, the key ring and the stores.

mod carried;
mod chunks;
pub mod claims;
pub mod cookie;
mod email;
mod everywhere;
mod fields;
#[cfg(test)]
pub(crate) mod fixture;
pub mod id;
mod inherited;
pub mod journal;
mod opened;
pub mod record;
pub mod seal;
mod sessions;
mod settings;
pub mod store;
pub mod tokens;
mod weight;

pub use crate::web::activity::Activity;
pub use everywhere::{Everywhere, KnownUser};
pub use inherited::Inherited;
pub use sessions::{Remaining, Sessions};
pub use settings::{CookieSettings, SameSite, SessionSettings, StorePlace, StoreSettings};
