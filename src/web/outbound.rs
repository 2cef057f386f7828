//! Calls to the provider.
