//! The pages of the development provider: drawn in `assets/provider`, filled in here.

use std::fmt::Write as _;

use url::Url;

use super::authorize::AuthorizationResponse;
use super::parameters::Parameters;
use crate::dev::DevUser;
use crate::web::problem::escape;

pub(super) const CONTROL_HTML: &str = include_str!("../assets/provider/control.html");
pub(super) const CONTROL_JS: &str = include_str!("../assets/provider/control.js");
pub(super) const PROVIDER_CSS: &str = include_str!("../assets/provider/provider.css");
pub(super) const SIGNED_OUT_JS: &str = include_str!("../assets/provider/signed_out.js");
const SIGNED_OUT_HTML: &str = include_str!("../assets/provider/signed_out.html");
const LOGIN_HTML: &str = include_str!("../assets/provider/login.html");

/// A file of its own, since the pages' policy allows no inline script.
pub(super) const FORM_POST_JS: &str = "document.forms[0].submit()\n";

/// Asks who is there, at `app` where there are several: a button a user, and the request to go on with.
pub(super) fn login(users: &[DevUser], request: &Parameters, app: Option<&str>) -> String {
    let mut buttons = String::new();
    for user in users {
        let name = escape(&user.name);
        let text = |claim: &str| user.claims.get(claim).and_then(serde_json::Value::as_str);
        let shown = escape(text("name").unwrap_or(&user.name));
        let detail = escape(text("email").unwrap_or_default());
        // Writing to a String cannot fail.
        _ = write!(
            buttons,
            r#"<button name="user" value="{name}">{shown} <small>{detail}</small></button>"#
        );
    }
    LOGIN_HTML
        .replace("<!--HIDDEN-->", &hidden_fields(request))
        .replace("<!--USERS-->", &buttons)
        .replace("<!--APP-->", &app.map(to_sign_in_at).unwrap_or_default())
}

fn to_sign_in_at(app: &str) -> String {
    format!("To sign in at <strong>{}</strong>. ", escape(app))
}

/// A form that posts itself (OAuth 2.0 Form Post Response Mode).
pub(super) fn form_post(response: &AuthorizationResponse) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Signing in</title>\
         <form method=\"post\" action=\"{}\">{}<noscript><button>Go on</button></noscript></form>\
         <script src=\"/form_post.js\" defer></script>",
        escape(response.redirect_uri.as_str()),
        hidden_fields(&response.parameters),
    )
}

/// Says that the session has ended, lets the relying parties in `frames` know through the browser
/// (Front-Channel Logout §2), then goes on to `next`.
pub(super) fn signed_out(frames: &[Url], next: Option<&Url>) -> String {
    let mut framed = String::new();
    for frame in frames {
        let source = escape(frame.as_str());
        _ = write!(framed, r#"<iframe src="{source}" hidden></iframe>"#);
    }
    let farewell = match next {
        Some(next) => format!(
            r#"<p><a class="button" id="next" href="{}">Back to the app</a></p>
      <script type="module" src="/signed_out.js"></script>"#,
            escape(next.as_str()),
        ),
        None => String::from(
            r#"<p class="muted">Apps that registered an address to return to take you back by themselves; this one did not.</p>"#,
        ),
    };
    SIGNED_OUT_HTML
        .replace("<!--NEXT-->", &farewell)
        .replace("<!--FRAMES-->", &framed)
}

/// Says why the browser is sent nowhere.
pub(super) fn refusal(why: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Refused</title>\
         <link rel=\"stylesheet\" href=\"/provider.css\"><main><h1>Refused</h1><p>{}</p></main>",
        escape(why),
    )
}

fn hidden_fields(parameters: &Parameters) -> String {
    let mut fields = String::new();
    for (name, value) in parameters.iter() {
        _ = write!(
            fields,
            r#"<input type="hidden" name="{}" value="{}">"#,
            escape(name),
            escape(value),
        );
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E15: each relying party in a frame, and the way on, as text and never as markup.
    #[test]
    fn a_signed_out_page_frames_the_relying_parties() {
        let url = |text: &str| Url::parse(text).unwrap();
        let frames = [
            url("https://a.example/out?iss=i&sid=s"),
            url("https://b.example/"),
        ];
        let next = url("https://a.example/?\"><script>&state=1");
        let page = signed_out(&frames, Some(&next));
        assert!(page.contains(r#"<iframe src="https://a.example/out?iss=i&amp;sid=s" hidden>"#));
        assert!(page.contains(r#"<iframe src="https://b.example/" hidden>"#));
        assert!(page.contains("/signed_out.js") && page.contains("&amp;state=1"));
        assert!(!page.contains("\"><script>"), "{page}");
        let page = signed_out(&[], None);
        assert!(!page.contains("iframe") && !page.contains("<!--"), "{page}");
    }

    /// C5: nothing of a request becomes markup.
    #[test]
    fn parameters_are_escaped() {
        let request = Parameters::parse(b"state=%22%3E%3Cscript%3E");
        let page = login(&[], &request, Some("<b>"));
        assert!(page.contains("&quot;&gt;&lt;script&gt;"), "{page}");
        assert!(!page.contains("\"><script>"), "{page}");
        assert!(page.contains("at <strong>&lt;b&gt;</strong>."), "{page}");
    }
}
