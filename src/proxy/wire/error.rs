//! Why a connection to an upstream brought no answer, or not the whole of one.

use std::io;

use crate::proxy::upload::UploadFault;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The request cannot have been seen, not a byte of it.
    #[error("nothing of the request could be sent")]
    Unsent(#[source] io::Error),
    /// The body that was to be sent broke off.
    #[error("the body of the request broke off")]
    Upload(#[source] UploadFault),
    /// The connection failed.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The connection ended before the head of an answer did.
    #[error("the connection ended before an answer")]
    Ended,
    /// The head has no end within our limits.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// The head is none of HTTP/1.1.
    #[error("the head of the answer is not HTTP/1.1")]
    Head(#[source] httparse::Error),
    /// A status, or a field, that is none.
    #[error("the head of the answer has {0}")]
    Malformed(&'static str),
    /// The connection ended inside the body.
    #[error("the connection ended inside the body")]
    Cut,
    /// A body in chunks that is not.
    #[error("the answer's chunks are malformed: {0}")]
    Chunks(&'static str),
}
