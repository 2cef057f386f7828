//! The pages that stand between two steps of a journey, or at its end.

use http::header::SET_COOKIE;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::auth::callback::LoggedIn;
use crate::auth::choices::Choice;
use crate::auth::return_to::ReturnTo;
use crate::web::body::Body;
use crate::web::problem::{self, Problem, Way};

/// Tells the page that opened a window how its login ended, and closes the window.
const CLOSING: &str = include_str!("closing.js");

/// Another site sent the browser to sign in here; a person confirms (B6).
pub(super) fn confirm_login(link: &str, home: Option<&Way>) -> Response<Body> {
    let on = Way::new("Continue to sign in", link);
    let ways = problem::ways(Some(&on), home);
    problem::page(
        "Sign in",
        &format!("<p>Another site sent you here to sign in.</p>{ways}"),
    )
}

/// One way to sign in, as the page of them shows it.
pub(super) struct Offer<'a> {
    pub(super) choice: &'a Choice,
    /// Where it leads.
    pub(super) link: String,
    /// Whether this browser chose it last.
    pub(super) is_last: bool,
}

/// The providers at which a person may sign in to `site`, each a link, in this order.
pub(super) fn choose_provider<'a>(
    site: &str,
    offers: impl Iterator<Item = Offer<'a>>,
    home: Option<&Way>,
) -> Response<Body> {
    let list: String = offers.map(|offer| offer.html()).collect();
    let home = home.map(|way| format!("<p class=\"ways\">{}</p>", link("beside", way)));
    let home = home.unwrap_or_default();
    problem::page_with_images(
        &format!("Sign in to {site}"),
        &format!("<p>How would you like to sign in?</p><ul class=\"choices\">{list}</ul>{home}"),
    )
}

impl Offer<'_> {
    fn html(&self) -> String {
        let Choice { label, logo, .. } = self.choice;
        let mark = match logo {
            Some(logo) => format!("<img src=\"{}\" alt=\"\">", problem::escape(logo)),
            None => problem::escape(&label.chars().take(1).collect::<String>()),
        };
        let (class, note) = if self.is_last {
            ("choice last", "<small>Last used</small>")
        } else {
            ("choice", "")
        };
        format!(
            "<li><a class=\"{class}\" href=\"{}\"><span class=\"mark\" aria-hidden=\"true\">{mark}</span><span>{}{note}</span></a></li>",
            problem::escape(&self.link),
            problem::escape(label),
        )
    }
}

/// Where the apps are, for a developer who came to an address of none.
pub(super) fn apps_elsewhere(status: StatusCode, addresses: &[Url]) -> Response<Body> {
    let links = addresses.iter().map(|address| {
        let address = problem::escape(address.as_str());
        format!("<p><a href=\"{address}\">{address}</a></p>")
    });
    let body = format!(
        "<p>These are served by bff dev:</p>{}",
        links.collect::<String>()
    );
    let mut page = problem::page("No app is at this address", &body);
    *page.status_mut() = status;
    page
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
    let ways = problem::ways(Some(&Way::new("Continue", link)), None);
    let link = problem::escape(link);
    problem::page(
        title,
        &format!("<meta http-equiv=\"refresh\" content=\"0;url={link}\">{ways}"),
    )
}

/// The end of a login in a window of its own that left somebody signed in, or nobody where the
/// provider was to ask nothing.
pub(super) fn signed_in_window(logged_in: LoggedIn) -> Response<Body> {
    let (title, sentence, message) = match &logged_in.session {
        Some(session) => (
            "Signed in",
            "You are signed in. This window can be closed.",
            json!({ "type": "bff-login", "outcome": "signed_in", "session": session.details.tag }),
        ),
        None => (
            "Not signed in",
            "The identity provider would have to ask you something first. This window can be closed.",
            failed("login_required"),
        ),
    };
    let on = Way::new("Go on in this window", logged_in.return_to.as_str());
    let ways = closing(&message, &[CLOSE_BUTTON, &link("beside", &on)]);
    let body = format!("<p>{sentence}</p>{ways}");
    let mut page = problem::page_with_script(title, &body, CLOSING);
    for line in logged_in.cookies {
        page.headers_mut().append(SET_COOKIE, line);
    }
    page
}

/// The end of a login in a window of its own that failed, for this reason: one of the fixed words.
pub(super) fn failed_window(problem: &Problem, reason: &str) -> Response<Body> {
    let on = problem.on.as_ref().map(|way| link("button", way));
    let home = problem.home.as_ref().map(|way| link("beside", way));
    let ways = [on.as_deref(), Some(QUIET_CLOSE_BUTTON), home.as_deref()];
    let ways: Vec<&str> = ways.into_iter().flatten().collect();
    let body = format!(
        "{}{}{}",
        problem.detail_html(),
        closing(&failed(reason), &ways),
        problem.facts_html()
    );
    let mut page = problem::page_with_script(problem.title, &body, CLOSING);
    *page.status_mut() = problem.status;
    page
}

/// Shown by the script, which alone can close a window.
const CLOSE_BUTTON: &str =
    "<button class=\"button\" id=\"close\" type=\"button\" hidden>Close this window</button>";
/// The same beside a better way on.
const QUIET_CLOSE_BUTTON: &str =
    "<button class=\"quiet\" id=\"close\" type=\"button\" hidden>Close this window</button>";

fn failed(reason: &str) -> Value {
    json!({ "type": "bff-login", "outcome": "failed", "error": reason })
}

fn link(class: &str, way: &Way) -> String {
    let address = problem::escape(&way.link);
    format!("<a class=\"{class}\" href=\"{address}\">{}</a>", way.label)
}

/// The ways on from a window, and what its script sends.
fn closing(message: &Value, ways: &[&str]) -> String {
    format!(
        "<p class=\"ways\" id=\"said\" data-message=\"{}\">{}</p>",
        problem::escape(&message.to_string()),
        ways.join(" ")
    )
}
