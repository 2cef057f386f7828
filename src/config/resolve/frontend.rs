//! `[frontend]`: the app's files, or its development server.

use url::Url;

use crate::config::error::Faults;
use crate::config::file::FrontendTable;
use crate::config::lists::Named;
use crate::config::reader::Field;
use crate::config::resolve::headers::{self, Direction};
use crate::config::resolve::public::Public;
use crate::config::resolve::{Surroundings, table, upstream_url};
use crate::config::values::HeaderText;
use crate::frontend::{ErrorPage, FrontendSettings, LARGEST_ERROR_PAGE};
use crate::web::regular_file;

/// Where the browser app comes from.
#[derive(Debug)]
pub(super) enum Frontend {
    /// From nowhere.
    None,
    /// From a folder.
    Files(FrontendSettings),
    /// From a server, as the last route.
    Server(Url),
}

impl Frontend {
    /// The files, where they are what was asked for.
    pub(super) fn files(self) -> Option<FrontendSettings> {
        match self {
            Self::Files(files) => Some(files),
            Self::None | Self::Server(_) => None,
        }
    }
}

/// `[frontend]`.
pub(super) fn frontend(
    field: &Field<FrontendTable>,
    public: Option<&Public>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Frontend> {
    let (frontend, place) = table(field);
    let (dir, upstream) = (&frontend.dir, &frontend.upstream);
    if let (true, Some(upstream)) = (dir.stands(), upstream.written()) {
        upstream.refuse(
            faults,
            "stands beside dir, and the app can come from one place only",
            "leave one of the two out",
        );
        return None;
    }
    if !dir.stands()
        && let Some(headers) = frontend.headers.written()
    {
        headers.refuse(
            faults,
            "are for files, and there is no dir",
            "write dir = \"dist\", or leave the headers to the app's server",
        );
    }
    if !dir.stands()
        && let Some(compress) = frontend.compress.written()
    {
        compress.refuse(
            faults,
            "is for files, and there is no dir",
            "write dir = \"dist\", or leave compressing to the app's server",
        );
    }
    if upstream.stands() {
        let url = upstream_url(upstream.written()?, "http://localhost:5173", faults)?;
        return Some(Frontend::Server(url));
    }
    if !dir.stands() {
        if !surroundings.purpose.is_development() {
            faults.warn(
                &place,
                "frontend",
                "is missing, so that only the routes and endpoints answer",
                "write [frontend] with dir = \"dist\" to serve the app",
            );
        }
        return Some(Frontend::None);
    }
    let written = dir.written()?;
    let dir = surroundings.folder.public(written, &written.value);
    // Whoever only explains may be where no app was built.
    if surroundings.purpose.needs_secrets() && !dir.join("index.html").is_file() {
        let what = if dir.is_dir() {
            format!("names {}, which holds no index.html", dir.display())
        } else {
            format!(
                "names {}, which is no folder that can be read",
                dir.display()
            )
        };
        written.refuse(
            faults,
            what,
            "build the app, or write the folder that it is built into",
        );
        return None;
    }
    Some(Frontend::Files(FrontendSettings {
        mount: public.map_or_else(String::new, |public| public.mount.clone()),
        dir,
        headers: file_headers(&frontend.headers, faults)?,
        compress: frontend.compress.or(true),
    }))
}

/// What is bff's own does not lie where everybody may read it. After all else, which is what names it.
pub(super) fn shows_nothing_private(
    field: &Field<FrontendTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) {
    let (frontend, _) = table(field);
    let Some(written) = frontend.dir.written() else {
        return;
    };
    if !surroundings.purpose.needs_secrets() {
        // Nothing is served.
        return;
    }
    let folder = surroundings.folder;
    let dir = folder.public(written, &written.value);
    let private = folder.private_below(&dir);
    if private.is_empty() {
        return;
    }
    let private: Vec<String> = private.iter().map(ToString::to_string).collect();
    written.refuse(
        faults,
        format!(
            "serves everybody {}, in which lies what is for bff alone: {}",
            dir.display(),
            private.join(", ")
        ),
        "move the app's files into a folder of their own, such as \"public\", and write that",
    );
}

/// `[frontend] error_page`: read once, at start.
pub(super) fn error_page(
    field: &Field<FrontendTable>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<ErrorPage> {
    let (frontend, _) = table(field);
    let written = frontend.error_page.written()?;
    if !surroundings.purpose.needs_secrets() {
        // Nothing is served.
        return None;
    }
    let path = surroundings.folder.public(written, &written.value);
    match regular_file::read_text(&path, LARGEST_ERROR_PAGE) {
        Ok(html) => {
            let headers = frontend.headers.written();
            let headers = headers.and_then(|_| file_headers(&frontend.headers, faults));
            Some(ErrorPage::new(html, headers.unwrap_or_default()))
        }
        Err(error) => {
            written.refuse(
                faults,
                format!("names {}, which can't be read ({error})", path.display()),
                "write the path of an HTML file, or leave error_page out for the page of bff",
            );
            None
        }
    }
}

fn file_headers(
    field: &Field<Named<HeaderText>>,
    faults: &mut Faults,
) -> Option<Vec<(http::HeaderName, http::HeaderValue)>> {
    if field.stands() && field.written().is_none() {
        return None;
    }
    headers::set(field, Direction::Answer, faults)
}
