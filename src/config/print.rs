//! Tells whether what was configured somewhere is what it was.

/// A digest of what was configured, and nothing more: some of it is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Print(pub(super) Vec<u8>);
