//! `choose_provider_url`: whoever is sent there to choose must find a page, and not be sent to sign in again.

use http::Method;
use url::Url;

use crate::config::SiteConfig;
use crate::config::error::Faults;
use crate::config::reader::Field;
use crate::config::resolve::route::is_below;
use crate::proxy::path::RequestPath;
use crate::proxy::{RouteAuth, RouteSettings};

/// Refuses a page that leads whoever chooses back to the choice.
pub(super) fn judge(field: &Field<String>, site: &SiteConfig, faults: &mut Faults) {
    let (Some(written), Some(page)) = (field.written(), &site.auth.choices.page) else {
        return;
    };
    // As a request for it is judged, however it is escaped.
    let path = RequestPath::parse(page.path(), site.path_rules);
    let path = path.map_or_else(|_| page.path().to_owned(), |path| path.as_str().to_owned());
    if is_below(&path, &site.auth.base_path) {
        let what = format!(
            "is below {}, where the endpoints of bff are: whoever is to choose would go round in circles",
            site.auth.base_path
        );
        return written.refuse(
            faults,
            what,
            "write the path of a page of the app, as in \"/sign-in\"",
        );
    }
    if let Some(route) = route_of(&path, page, site)
        && route.auth == RouteAuth::Required
    {
        let what = format!(
            "is at the route {}, which nobody opens without a session: whoever is to choose would go round in circles",
            route.name
        );
        let remedy =
            "give the page a [[route]] of its own with auth = \"none\", or write another page";
        written.refuse(faults, what, remedy);
    }
}

/// The route that a navigation there comes to: the longest one.
fn route_of<'a>(path: &str, page: &Url, site: &'a SiteConfig) -> Option<&'a RouteSettings> {
    let below_mount = path.strip_prefix(&*site.auth.mount)?;
    let takes = |route: &&RouteSettings| {
        let host = route.host.as_deref();
        let is_here = host.is_none() || host == page.host_str();
        let is_asked = route.methods.is_empty() || route.methods.contains(&Method::GET);
        let is_there = route.path == "/" || is_below(below_mount, &route.path);
        is_here && is_asked && is_there
    };
    let routes = site.routes.iter().filter(takes);
    // One of the host's own comes before one of any.
    routes.max_by_key(|route| (route.path.len(), route.host.is_some()))
}
