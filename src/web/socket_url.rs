//! The address of a socket file, `unix:/run/app.sock`: a URL, so that it may stand wherever one does.

use std::path::{Path, PathBuf};

use url::Url;

/// What such an address begins with.
pub const SCHEME: &str = "unix";

/// The address of the socket file at `path`; `None` where the path is not whole, or holds what ends a
/// path in a URL.
pub fn of(path: &Path) -> Option<Url> {
    let text = path.to_str().filter(|text| text.starts_with('/'))?;
    let is_plain = !text.contains(['?', '#', '%']) && !text.ends_with('/');
    let url = Url::parse(&format!("{SCHEME}:{text}")).ok()?;
    (is_plain && !url.has_host()).then_some(url)
}

/// The socket file that `url` names; `None` where it is of another kind.
pub fn path_of(url: &Url) -> Option<PathBuf> {
    (url.scheme() == SCHEME)
        .then(|| url.to_file_path().ok())
        .flatten()
}

/// The path within what is served at `url`; a socket file serves from the root.
pub fn base_path(url: &Url) -> &str {
    if url.scheme() == SCHEME {
        ""
    } else {
        url.path().trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_an_address_and_back() {
        for path in ["/run/bff/app.sock", "/run/my app/a+b.sock", "/s"] {
            let url = of(Path::new(path)).unwrap();
            assert_eq!(path_of(&url).as_deref(), Some(Path::new(path)), "{url}");
            assert_eq!(base_path(&url), "");
        }
        for path in [
            "run/app.sock",
            "",
            "/run/",
            "//host/app.sock",
            "/a?b",
            "/a#b",
            "/a%20b",
        ] {
            assert_eq!(of(Path::new(path)), None, "{path}");
        }
        let url = Url::parse("http://orders.internal:9000/base/").unwrap();
        assert_eq!(path_of(&url), None);
        assert_eq!(base_path(&url), "/base");
    }
}
