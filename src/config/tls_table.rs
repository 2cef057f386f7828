//! A certificate and its key as written, of the listener, of a site or of a tenant.

use crate::config::reader::table;

table! {
    /// PEM files, relative to the folder of this file and read again when they change.
    TlsTable {
        /// The certificate chain, leaf first. Required.
        cert: String,
        /// The leaf's private key. Required.
        key: String,
    }
}
