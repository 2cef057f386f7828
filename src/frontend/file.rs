//! The file that is looked for, inside the folder and never outside it by way of a link (I9): what is
//! in it, packed as the browser likes it. Blocking.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::download::Named;
use super::encoding::{Encoding, Encodings};
use super::lookup::Lookup;
use super::packed::{Packed, State};
use super::shared::{Hash, Shared};
use super::{caching, content_type};

/// Files up to this size are read at once and named by what they hold.
const SMALL: u64 = 64 * 1024;

/// What is known of files that were asked for before.
#[derive(Debug)]
pub(super) struct Known {
    /// `None` where only what lies there packed is sent so.
    pub(super) packed: Option<Packed>,
    pub(super) shared: Shared,
}

/// A file to answer with.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) content: Content,
    pub(super) bytes: u64,
    pub(super) content_type: &'static str,
    pub(super) encoding: Encoding,
    pub(super) caching: &'static str,
    /// With its quotes.
    pub(super) etag: String,
    pub(super) modified: Option<SystemTime>,
}

/// What is in it.
#[derive(Debug)]
pub(super) enum Content {
    Read(Bytes),
    /// Read on its way.
    Large(Named),
}

impl FoundFile {
    /// The same packed, where that is worth it.
    fn packed(mut self, path: &Path, packed: &Packed) -> io::Result<Self> {
        if !content_type::is_packable(self.content_type) {
            return Ok(self);
        }
        let state = State {
            path,
            etag: &self.etag,
            bytes: self.bytes,
            modified: self.modified,
        };
        let content = &self.content;
        if let Some(gzip) = packed.gzip(state, || content.read())? {
            self.encoding = Encoding::Gzip;
            self.etag = tag(self.etag.trim_matches('"'), Encoding::Gzip);
            self.bytes = gzip.len() as u64;
            self.content = Content::Read(gzip);
        }
        Ok(self)
    }
}

impl Content {
    /// All of it.
    fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::Read(all) => Ok(all.clone()),
            Self::Large(file) => file.read(),
        }
    }
}

/// A tag with its quotes: each way of packing is a representation of its own (RFC 9110 §8.8.3.3).
fn tag(state: &str, encoding: Encoding) -> String {
    format!("\"{state}{}\"", encoding.suffix().replace('.', "-"))
}

/// Looks `lookup` up below `dir`. `Ok(None)`: there is no such file.
pub(super) fn find(
    dir: &Path,
    known: &Known,
    lookup: &Lookup,
    encodings: Encodings,
) -> io::Result<Option<FoundFile>> {
    // At each request, since a deployment may point a link of this name elsewhere.
    let root = fs::canonicalize(dir)?;
    let mut asked = root.join(&lookup.relative);
    if lookup.folder {
        asked.push("index.html");
    }
    if let Some(found) = open(&root, known, &asked, encodings)? {
        return Ok(Some(found));
    }
    if lookup.or_index {
        return open(&root, known, &root.join("index.html"), encodings);
    }
    Ok(None)
}

fn open(
    root: &Path,
    known: &Known,
    asked: &Path,
    encodings: Encodings,
) -> io::Result<Option<FoundFile>> {
    let Some(plain) = inside(root, asked)? else {
        return Ok(None);
    };
    for encoding in encodings.preferred() {
        let mut variant = plain.clone().into_os_string();
        variant.push(encoding.suffix());
        if let Some(variant) = inside(root, Path::new(&variant))?
            && let Some(found) = describe(&variant, asked, encoding, &known.shared)?
        {
            return Ok(Some(found));
        }
    }
    let found = describe(&plain, asked, Encoding::Identity, &known.shared)?;
    let takes_gzip = || encodings.preferred().any(|taken| taken == Encoding::Gzip);
    match (found, &known.packed) {
        (Some(found), Some(packed)) if takes_gzip() => found.packed(&plain, packed).map(Some),
        (found, _) => Ok(found),
    }
}

/// Where `asked` really lies; `None` where it is nowhere, or outside by way of a link.
fn inside(root: &Path, asked: &Path) -> io::Result<Option<PathBuf>> {
    match fs::canonicalize(asked) {
        Ok(real) if real.starts_with(root) => Ok(Some(real)),
        Ok(_) => {
            tracing::warn!(
                event = "frontend.link_refused",
                "a link in the frontend's folder leads out of it and is not followed"
            );
            Ok(None)
        }
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names that cannot exist are absent like those that do not.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidInput
    )
}

fn describe(
    real: &Path,
    asked: &Path,
    encoding: Encoding,
    shared: &Shared,
) -> io::Result<Option<FoundFile>> {
    // Before it is opened, since opening a pipe waits for whoever writes to it.
    let opened =
        fs::metadata(real).and_then(|found| found.is_file().then(|| File::open(real)).transpose());
    let mut file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    let modified = found.modified().ok();
    let (content, bytes, etag) = if found.len() <= SMALL {
        let mut read = Vec::new();
        (&mut file).take(SMALL).read_to_end(&mut read)?;
        // By content: images that are built to be the same each time give all files one date,
        // and an index.html that names other hashes has the same size.
        let hash = digest(&SHA256, &read);
        let hash: Hash = hash.as_ref().try_into().map_err(io::Error::other)?;
        let (short, _) = hash.split_at(16);
        let bytes = read.len() as u64;
        (
            Content::Read(shared.one(hash, read)),
            bytes,
            URL_SAFE_NO_PAD.encode(short),
        )
    } else {
        let nanos = modified
            .and_then(|modified| modified.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos());
        let etag = format!("{nanos:x}-{:x}", found.len());
        (Content::Large(Named::new(real, &found)), found.len(), etag)
    };
    Ok(Some(FoundFile {
        content,
        bytes,
        content_type: content_type::of_path(asked).unwrap_or(content_type::UNKNOWN),
        encoding,
        caching: caching::of(asked),
        etag: tag(&etag, encoding),
        modified,
    }))
}
