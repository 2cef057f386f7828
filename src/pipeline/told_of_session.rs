//! What an upstream is told of the session that a call is made in, in headers of the operator's own.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::proxy::HeaderChanges;
use crate::session::claims::Held;
use crate::session::record::Session;
use crate::web::header_template::KnownOfCall;
use crate::web::site_id::SiteId;

/// The fields whose templates can be filled for this call.
pub(super) fn fields(
    changes: &HeaderChanges,
    session: Option<&Session>,
    site: &SiteId,
) -> Vec<(HeaderName, HeaderValue)> {
    let known = Known { session, site };
    let templates = changes.templates.iter();
    templates
        .filter_map(|(name, template)| Some((name.clone(), template.fill(&known)?)))
        .collect()
}

struct Known<'a> {
    session: Option<&'a Session>,
    site: &'a SiteId,
}

impl KnownOfCall for Known<'_> {
    fn claim(&self, path: &str) -> Option<&Value> {
        match self.session?.claims().get(path) {
            Held::Said(claim) => Some(claim),
            Held::Unsaid | Held::Unknown => None,
        }
    }

    fn session_tag(&self) -> Option<&str> {
        Some(&self.session?.details.tag)
    }

    fn site(&self) -> &str {
        self.site.site()
    }
}
