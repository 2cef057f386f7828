//! From a path to a file inside the folder, and never outside it (I9). Blocking.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, RANGE};
use percent_encoding::percent_decode_str;

use super::content_type;
use super::download::Named;
use super::packed::{Packed, State};
use super::shared::{Hash, Shared};

/// Files up to this size are read at once and named by what they hold.
const SMALL: u64 = 64 * 1024;

/// For files whose name changes with what they hold.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For all others: kept, and asked about before each use.
const REVALIDATE: &str = "no-cache";

/// What is known of files that were asked for before.
#[derive(Debug)]
pub(super) struct Known {
    /// `None` where only what lies there packed is sent so.
    pub(super) packed: Option<Packed>,
    pub(super) shared: Shared,
}

/// What to look for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup {
    /// Below the folder.
    relative: PathBuf,
    folder: bool,
    /// `index.html` where there is no such file: the app draws this page itself.
    or_index: bool,
}

impl Lookup {
    /// The app's own page.
    pub(super) fn index() -> Self {
        Self {
            relative: PathBuf::new(),
            folder: true,
            or_index: false,
        }
    }

    /// `None` for a path that no request may reach. `navigation`: a page is asked for.
    pub(super) fn of(path: &str, navigation: bool) -> Option<Self> {
        let mut relative = PathBuf::new();
        let mut segments = path.strip_prefix('/')?.split('/').peekable();
        let mut folder = false;
        let mut depth = 0;
        while let Some(segment) = segments.next() {
            if segment.is_empty() {
                // Only the end may be empty: `/` and `/docs/`.
                if segments.peek().is_some() {
                    return None;
                }
                folder = true;
                break;
            }
            let segment = percent_decode_str(segment).decode_utf8().ok()?;
            if !may_be_asked_for(&segment, depth) {
                return None;
            }
            relative.push(&*segment);
            depth += 1;
        }
        // By the kinds that we know, so that `/users/jane.doe` is a page and `/app.js` is not.
        let or_index = navigation && known_type(&relative).is_none();
        Some(Self {
            relative,
            folder,
            or_index,
        })
    }
}

/// Whether a segment may name a file: nothing hidden, nothing that leads elsewhere.
fn may_be_asked_for(segment: &str, depth: usize) -> bool {
    let hidden = segment.starts_with('.') && !(depth == 0 && segment == ".well-known");
    !hidden
        && !segment
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'))
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
        content_type: known_type(asked).unwrap_or(content_type::UNKNOWN),
        encoding,
        caching: caching(asked),
        etag: tag(&etag, encoding),
        modified,
    }))
}

fn known_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    content_type::of(&extension)
}

fn caching(path: &Path) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str());
    match name {
        Some(name) if !is_html(name) && is_hashed(name) => IMMUTABLE,
        _ => REVALIDATE,
    }
}

fn is_html(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// Whether a bundler put a hash of the content into the name: `index-BqT0x_3d.js`,
/// `main.1a2b3c4d.chunk.js`. In doubt it did not: a file wrongly kept for a year is a fault that
/// its owner cannot mend, a question too many is not.
fn is_hashed(name: &str) -> bool {
    // Each place after `-` or `.` up to the next `.`; the last part is the extension.
    let mut parts: Vec<&str> = name.split('.').collect();
    parts.pop();
    parts.iter().enumerate().any(|(index, part)| {
        let whole = (index > 0).then_some(*part);
        let after_dash = part
            .match_indices('-')
            .filter_map(|(at, _)| part.get(at + 1..));
        whole.into_iter().chain(after_dash).any(looks_like_a_hash)
    })
}

fn looks_like_a_hash(text: &str) -> bool {
    // Eight is what today's bundlers write, in an alphabet that has `-` and `_`.
    let eight = text.len() == 8;
    let characters = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || (eight && matches!(b, b'-' | b'_')));
    let letter = text.bytes().any(|b| b.is_ascii_alphabetic());
    let digit = text.bytes().any(|b| b.is_ascii_digit());
    // Not a word: `-Component` has a capital in front, `-precomposed` has none.
    let capital_inside = text.bytes().skip(1).any(|b| b.is_ascii_uppercase());
    let size_of_image = text.split_once('x').is_some_and(|(width, height)| {
        [width, height]
            .iter()
            .all(|side| !side.is_empty() && side.bytes().all(|b| b.is_ascii_digit()))
    });
    (8..=64).contains(&text.len())
        && characters
        && letter
        && (digit || (eight && capital_inside))
        && !size_of_image
}

/// How the bytes of an answer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
    Identity,
}

impl Encoding {
    /// Its name in `Content-Encoding`.
    pub(super) const fn token(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }
}

/// The encodings that a browser takes, in thousandths of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encodings {
    brotli: u16,
    gzip: u16,
    /// What is packed less gladly than this is not packed.
    identity: u16,
}

impl Encodings {
    /// The plain bytes alone.
    const PLAIN: Self = Self {
        brotli: 0,
        gzip: 0,
        identity: 0,
    };

    /// RFC 9110 §12.5.3. A range is of the plain bytes, so none is packed then.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        if headers.contains_key(RANGE) {
            return Self::PLAIN;
        }
        let (mut brotli, mut gzip, mut identity, mut any) = (None, None, None, None);
        let fields = headers.get_all(ACCEPT_ENCODING).iter();
        for item in fields
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.split(','))
        {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight(parameters);
            match coding.trim().to_ascii_lowercase().as_str() {
                "br" => brotli = Some(weight),
                "gzip" | "x-gzip" => gzip = Some(weight),
                "identity" => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        Self {
            brotli: brotli.or(any).unwrap_or(0),
            gzip: gzip.or(any).unwrap_or(0),
            // Unnamed, it is what is sent when nothing better is there; refused, it still is.
            identity: identity.unwrap_or(0),
        }
    }

    /// Those that are taken and not less gladly than the plain bytes, best first.
    fn preferred(self) -> impl Iterator<Item = Encoding> {
        let mut both = [(self.brotli, Encoding::Brotli), (self.gzip, Encoding::Gzip)];
        if self.gzip > self.brotli {
            both.swap(0, 1);
        }
        both.into_iter()
            .filter(move |(weight, _)| *weight > 0 && *weight >= self.identity)
            .map(|(_, encoding)| encoding)
    }
}

/// `q=0.5` in thousandths; 1 where there is none or it cannot be read.
fn weight(parameters: &str) -> u16 {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .and_then(|(_, value)| value.trim().parse::<f32>().ok())
        .map_or(1000, |weight| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 1000"
            )]
            let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
            thousandths
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundlers_hash_is_told_from_a_word() {
        let hashed = [
            "index-BqT0x_3d.js",
            "index-B-T0x_3d.js",
            "vendor-DhKjZqPw.css",
            "main.1a2b3c4d.js",
            "main.1a2b3c4d.chunk.js",
            "main-5A7BC2D1.js",
            "2.8f3a9c01b2d4e5f60718.js.map",
            "logo-D4fk2Xya.svg",
        ];
        let plain = [
            "index.html",
            "favicon.ico",
            "robots.txt",
            "service-worker.js",
            "apple-touch-icon-precomposed.png",
            "photo-20240101.jpg",
            "hero-1024x7680.jpg",
            "my-Component.js",
            "react.production.min.js",
            "1a2b3c4d.js",
            "main.js",
            "a-.js",
        ];
        for name in hashed {
            assert!(is_hashed(name), "{name}");
        }
        for name in plain {
            assert!(!is_hashed(name), "{name}");
        }
        assert_eq!(caching(Path::new("page-5A7BC2D1.html")), REVALIDATE);
    }

    #[test]
    fn the_best_encoding_that_the_browser_takes_comes_first() {
        use Encoding::{Brotli, Gzip};
        struct Case(&'static str, &'static [Encoding]);
        for Case(accept, expected) in [
            Case("gzip, deflate, br, zstd", &[Brotli, Gzip]),
            Case("br;q=0.5, gzip;q=0.8", &[Gzip, Brotli]),
            Case("br;q=0, gzip", &[Gzip]),
            Case("br;q=0.0,*", &[Gzip]),
            Case("*", &[Brotli, Gzip]),
            Case("*;q=0", &[]),
            Case("GZIP ; Q=0.1", &[Gzip]),
            Case("identity", &[]),
            Case("identity;q=1, br;q=0.5", &[]),
            Case("identity;q=0.6, br;q=0.5, gzip;q=0.7", &[Gzip]),
            Case("identity;q=0.5, br;q=0.5", &[Brotli]),
            Case("identity;q=0.5, *;q=0.4", &[]),
            Case("identity;q=0, gzip;q=0.1", &[Gzip]),
            Case("", &[]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            let found: Vec<_> = Encodings::accepted(&headers).preferred().collect();
            assert_eq!(found, expected, "{accept}");
            headers.insert(RANGE, "bytes=0-1".parse().unwrap());
            assert_eq!(
                Encodings::accepted(&headers).preferred().count(),
                0,
                "{accept}"
            );
        }
    }

    /// I9: no path leads out of the folder or to what is hidden in it.
    #[test]
    fn some_paths_are_never_looked_for() {
        for path in [
            "",
            "index.html",
            "/../secret",
            "/a/../../secret",
            "/%2e%2e/secret",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/%ff",
            "//etc/passwd",
            "/a//b",
            "/.env",
            "/.git/config",
            "/a/.well-known/x",
            "/%2egit/config",
            "/.well-known/.secret",
            "/c:/x",
        ] {
            assert_eq!(Lookup::of(path, true), None, "{path}");
        }
        for path in ["/", "/a", "/a/", "/a%20b.js", "/.well-known/x", "/..a/"] {
            assert_eq!(Lookup::of(path, true).is_some(), path != "/..a/", "{path}");
        }
    }

    #[test]
    fn only_pages_fall_back_to_the_app() {
        for (path, navigation, or_index) in [
            ("/", true, true),
            ("/orders/7", true, true),
            ("/orders/7", false, false),
            ("/users/jane.doe", true, true),
            ("/assets/x.js", true, false),
            ("/assets/x.JS", true, false),
            ("/old.html", true, false),
        ] {
            let lookup = Lookup::of(path, navigation).unwrap();
            assert_eq!(lookup.or_index, or_index, "{path} {navigation}");
        }
    }
}
