//! From the path of a request to what is looked for below the folder, and never outside it (I9).

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::content_type;

/// What to look for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup {
    /// Below the folder.
    pub(super) relative: PathBuf,
    pub(super) folder: bool,
    /// `index.html` where there is no such file: the app draws this page itself.
    pub(super) or_index: bool,
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
        let or_index = navigation && content_type::of_path(&relative).is_none();
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

#[cfg(test)]
mod tests {
    use super::*;

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
