//! The pages that stand between two steps of a journey.

use http::Response;
use http::header::SET_COOKIE;

use crate::auth::return_to::ReturnTo;
use crate::web::body::Body;
use crate::web::problem;

/// Another site sent the browser to sign in here; a person confirms (B6).
pub(super) fn confirm_login(link: &str) -> Response<Body> {
    problem::page(
        "Sign in",
        &format!(
            "<p>Another site sent you here to sign in.</p>\
             <p><a class=\"button\" href=\"{}\">Continue to sign in</a></p>",
            problem::escape(link)
        ),
    )
}

/// The redirect as a page of our own, from which the browser goes on by itself: that step is
/// same-site, so it carries the Strict cookie (C13).
pub(super) fn hop_page(redirect: &Response<Body>, place: &ReturnTo) -> Response<Body> {
    let mut page = step_page("Signed in", place.as_str());
    for line in redirect.headers().get_all(SET_COOKIE) {
        page.headers_mut().append(SET_COOKIE, line.clone());
    }
    page
}

/// Leads to `link`, an address of ours, by itself and as a step of our own site: what another site's
/// link left behind comes along (B5). That step says where it comes from, so none follows it.
pub(super) fn same_site_step(link: &str) -> Response<Body> {
    step_page("One moment", link)
}

fn step_page(title: &str, link: &str) -> Response<Body> {
    let link = problem::escape(link);
    problem::page(
        title,
        &format!(
            "<meta http-equiv=\"refresh\" content=\"0;url={link}\">\
             <p><a class=\"button\" href=\"{link}\">Continue</a></p>"
        ),
    )
}
