//! The browser app's files: SPA fallback, precompressed variants, caching, security headers.
//!
//! A dev server (`[frontend] upstream`) is a route like any other and the proxy's work.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

/// `[frontend]` with a folder of files.
#[derive(Debug, Clone)]
pub struct FrontendSettings {
    /// The folder that holds `index.html`.
    pub dir: PathBuf,
    /// Headers of every answer, laid over the defaults; an empty value removes the default.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}
