//! The browser app's files: SPA fallback, packed variants, caching, security headers.
//!
//! A dev server (`[frontend] upstream`) is a route like any other and the proxy's work.

mod caching;
mod conditional;
mod content_type;
mod download;
mod encoding;
mod error_page;
mod file;
mod lookup;
mod packed;
mod shared;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::clock::Clock;
use crate::web::body::Body;
use crate::web::navigation::takes_a_page;
use crate::web::repeats::Repeats;

pub use self::download::FileRoom;
pub use self::error_page::{ErrorPage, LARGEST_ERROR_PAGE};

use self::conditional::{Condition, Part, Validators};
use self::encoding::{Encoding, Encodings};
use self::file::{Content, FoundFile, Known};
use self::lookup::Lookup;
use self::packed::Packed;
use self::shared::Shared;

/// `[frontend]` with a folder of files.
#[derive(Debug, Clone)]
pub struct FrontendSettings {
    /// The folder that holds `index.html`.
    pub dir: PathBuf,
    /// The path that the site lives below, `/shop`; empty where it has the whole origin.
    pub mount: String,
    /// Headers of every answer, laid over the defaults; an empty value removes the default.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether text that lies there unpacked is packed on its way.
    pub compress: bool,
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// It is not there, or not ours to read.
    #[error("cannot read the folder {}: {source}", dir.display())]
    Unreadable {
        /// The folder.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is a file.
    #[error("{} is not a folder", dir.display())]
    NotAFolder {
        /// The path.
        dir: PathBuf,
    },
    /// It has no `index.html`: not built yet, or the folder above the right one.
    #[error("the folder {} holds no index.html; build the app first", dir.display())]
    NoIndex {
        /// The folder.
        dir: PathBuf,
    },
}

/// The app's files, ready to be asked for; cheap to clone.
///
/// A new build is served as soon as it is there: what is kept between requests is what packing made
/// of one state of a file.
#[derive(Debug, Clone)]
pub struct Frontend(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    mount: String,
    headers: HeaderMap,
    known: Known,
    room: FileRoom,
    clock: Arc<dyn Clock>,
    /// Of files that cannot be read.
    warnings: Repeats,
}

/// What the folder has to say.
#[derive(Debug)]
pub enum FrontendAnswer {
    /// This, whatever its status.
    Answer(Response<Body>),
    /// There is no such file, and the request is not a page that the app could draw.
    NotFound,
}

/// Laid under the operator's own. The policy allows what builds make of small images and fonts
/// (`data:`) and nothing inline.
const DEFAULT_HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data:; font-src 'self' data:; base-uri 'none'; \
         object-src 'none'; frame-ancestors 'none'; form-action 'self'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

impl FrontendSettings {
    /// Looks that the folder can be served.
    ///
    /// # Errors
    ///
    /// See [`FrontendError`].
    pub fn check(&self) -> Result<(), FrontendError> {
        let dir = &self.dir;
        match dir.metadata() {
            Err(source) => Err(FrontendError::Unreadable {
                dir: dir.clone(),
                source,
            }),
            Ok(found) if !found.is_dir() => Err(FrontendError::NotAFolder { dir: dir.clone() }),
            Ok(_) if !dir.join("index.html").is_file() => {
                Err(FrontendError::NoIndex { dir: dir.clone() })
            }
            Ok(_) => Ok(()),
        }
    }
}

impl Frontend {
    /// Serves the folder, with room for so many open files.
    ///
    /// # Errors
    ///
    /// As [`FrontendSettings::check`].
    pub fn new(
        settings: FrontendSettings,
        room: FileRoom,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FrontendError> {
        settings.check()?;
        Ok(Self::unseen(settings, room, clock))
    }

    /// The same, whether or not the folder is there: for whoever only asks what would be served.
    pub fn unseen(settings: FrontendSettings, room: FileRoom, clock: Arc<dyn Clock>) -> Self {
        let FrontendSettings {
            dir,
            mount,
            headers,
            compress,
        } = settings;
        Self(Arc::new(Folder {
            dir,
            mount,
            headers: laid_over_defaults(headers),
            known: Known {
                packed: compress.then(Packed::default),
                shared: Shared::default(),
            },
            room,
            clock,
            warnings: Repeats::default(),
        }))
    }

    /// The folder that it serves.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Answers for `path`, the normal form of the request's path (I9), percent-encoded.
    pub async fn answer(&self, parts: &Parts, path: &str) -> FrontendAnswer {
        if !is_read(parts) {
            return FrontendAnswer::Answer(self.method_not_allowed());
        }
        let Some(path) = path.strip_prefix(self.0.mount.as_str()) else {
            return FrontendAnswer::NotFound;
        };
        if path.is_empty() {
            return FrontendAnswer::Answer(self.with_a_slash(parts));
        }
        match Lookup::of(path, takes_a_page(&parts.headers)) {
            Some(lookup) => self.look_up(parts, lookup).await,
            None => FrontendAnswer::NotFound,
        }
    }

    /// Answers with the app's page, where a page is asked for, whatever the path: none is looked at.
    pub async fn page(&self, parts: &Parts) -> FrontendAnswer {
        if is_read(parts) && takes_a_page(&parts.headers) {
            self.look_up(parts, Lookup::index()).await
        } else {
            FrontendAnswer::NotFound
        }
    }

    async fn look_up(&self, parts: &Parts, lookup: Lookup) -> FrontendAnswer {
        let encodings = Encodings::accepted(&parts.headers);
        match self.find(lookup, encodings).await {
            Ok(Some(found)) => FrontendAnswer::Answer(self.found(parts, found)),
            Ok(None) => FrontendAnswer::NotFound,
            Err(error) => {
                let Folder {
                    warnings, clock, ..
                } = &*self.0;
                if let Some(left_out) = warnings.due("unreadable", clock.now()) {
                    tracing::error!(
                        event = "frontend.unreadable",
                        %error,
                        left_out,
                        "a file of the frontend cannot be read"
                    );
                }
                FrontendAnswer::NotFound
            }
        }
    }

    async fn find(&self, lookup: Lookup, encodings: Encodings) -> io::Result<Option<FoundFile>> {
        let folder = Arc::clone(&self.0);
        let turn = folder.room.briefly().await?;
        // All that may block, in one trip off the worker.
        let found = tokio::task::spawn_blocking(move || {
            let found = file::find(&folder.dir, &folder.known, &lookup, encodings);
            drop(turn);
            found
        });
        found.await.map_err(io::Error::other)?
    }

    fn found(&self, parts: &Parts, found: FoundFile) -> Response<Body> {
        let validators = Validators {
            etag: found.etag,
            modified: found.modified,
        };
        let mut response = Response::new(Body::Empty);
        let headers = response.headers_mut();
        headers.extend(self.0.headers.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(found.caching));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(etag) = HeaderValue::from_str(&validators.etag) {
            headers.insert(ETAG, etag);
        }
        if let Some(date) = validators.date() {
            headers.insert(LAST_MODIFIED, date);
        }
        let unsent = match validators.judge(&parts.headers) {
            Condition::Send => None,
            Condition::Unchanged => Some(StatusCode::NOT_MODIFIED),
            Condition::Failed => Some(StatusCode::PRECONDITION_FAILED),
        };
        if let Some(status) = unsent {
            *response.status_mut() = status;
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(found.content_type));
        if let Some(encoding) = found.encoding.token() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let part = if found.encoding == Encoding::Identity {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            conditional::part(parts, &validators, found.bytes)
        } else {
            Part::Whole
        };
        let (start, length) = match part {
            Part::Whole => (0, found.bytes),
            Part::Range { start, length } => {
                let last = start + length - 1;
                insert_text(
                    headers,
                    CONTENT_RANGE,
                    &format!("bytes {start}-{last}/{}", found.bytes),
                );
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                (start, length)
            }
            Part::Outside => {
                insert_text(headers, CONTENT_RANGE, &format!("bytes */{}", found.bytes));
                headers.remove(CONTENT_TYPE);
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return response;
            }
        };
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
        if parts.method == Method::GET {
            *response.body_mut() = self.body(found.content, start, length);
        }
        response
    }

    fn body(&self, content: Content, start: u64, length: u64) -> Body {
        match content {
            Content::Read(bytes) => {
                let from = usize::try_from(start)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let wanted = usize::try_from(length).unwrap_or(usize::MAX);
                let to = from.saturating_add(wanted).min(bytes.len());
                Body::full(bytes.slice(from..to))
            }
            Content::Large(file) => download::body(file, self.0.room.clone(), start, length),
        }
    }

    /// What the app's page names by a relative address lies below the mount, so the page must as well.
    fn with_a_slash(&self, parts: &Parts) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        let query = parts.uri.query();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let place = format!("{}/{query}", self.0.mount);
        insert_text(response.headers_mut(), LOCATION, &place);
        insert_text(response.headers_mut(), CACHE_CONTROL, "no-cache");
        response
    }

    fn method_not_allowed(&self) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().extend(self.0.headers.clone());
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    }
}

fn laid_over_defaults(headers: Vec<(HeaderName, HeaderValue)>) -> HeaderMap {
    let mut all: HeaderMap = DEFAULT_HEADERS
        .into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect();
    for (name, _) in &headers {
        all.remove(name);
    }
    for (name, value) in headers {
        if !value.is_empty() {
            all.append(name, value);
        }
    }
    all
}

fn is_read(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
