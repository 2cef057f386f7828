//! The app's own page for what goes wrong, in place of ours: its HTML with a few places for what
//! happened.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::frontend::laid_over_defaults;
use crate::web::body::Body;
use crate::web::problem::{Problem, escape};

/// Where the way on is named: a page without it leads nowhere.
const LINK: &str = "%bff.link%";

/// The largest page that is taken.
pub const LARGEST_ERROR_PAGE: u64 = 256 * 1024;

/// The app's page for what goes wrong.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    html: String,
    headers: HeaderMap,
}

impl ErrorPage {
    /// This page, with these headers laid over those of the app's files.
    pub fn new(html: String, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self {
            html,
            headers: laid_over_defaults(headers),
        }
    }

    /// The page with what happened in it; none where a login would help and the page has no place for
    /// the link to it. What is filled in is text, in an attribute too.
    pub fn fill(&self, problem: &Problem) -> Option<Response<Body>> {
        let way = problem.on.as_ref().or(problem.home.as_ref());
        if problem.on.is_some() && !self.html.contains(LINK) {
            return None;
        }
        let status = problem.status.as_u16().to_string();
        let values = [
            ("status", &*status),
            ("code", problem.code),
            ("title", problem.title_for_people()),
            ("detail", problem.detail_for_people()),
            ("request_id", &problem.request_id),
            ("link", way.map_or("/", |way| &way.link)),
            ("link_text", way.map_or("Start page", |way| way.label)),
        ];
        let mut html = String::with_capacity(self.html.len() + 512);
        let mut rest = &*self.html;
        while let Some((before, after)) = rest.split_once("%bff.") {
            html.push_str(before);
            let known = values.iter().find_map(|(name, value)| {
                Some((value, after.strip_prefix(name)?.strip_prefix('%')?))
            });
            if let Some((value, left)) = known {
                html.push_str(&escape(value));
                rest = left;
            } else {
                html.push_str("%bff.");
                rest = after;
            }
        }
        html.push_str(rest);
        let mut response = Response::new(Body::full(html));
        *response.status_mut() = problem.status;
        let headers = response.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}
