//! For how long a browser may keep a file, by its name alone.

use std::path::Path;

/// For files whose name changes with what they hold.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For all others: kept, and asked about before each use.
const REVALIDATE: &str = "no-cache";

/// The `Cache-Control` of the file at this path.
pub(super) fn of(path: &Path) -> &'static str {
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
        assert_eq!(of(Path::new("page-5A7BC2D1.html")), REVALIDATE);
    }
}
