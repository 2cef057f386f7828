//! Problem details (RFC 9457) and the readable page for navigations.
//!
//! How a refusal looks, not what it says: statuses, codes and texts come from whoever refuses.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use crate::web::body::Body;

/// A refusal that a browser, and perhaps a person, reads.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// The stable word that programs compare.
    pub code: &'static str,
    /// The same for every problem of this code.
    pub title: &'static str,
    /// This one in a sentence, fit for strangers: no internals, no secret (N4).
    pub detail: String,
    /// Joins the answer to its log line.
    pub request_id: String,
    /// Where a login would help: its address.
    pub login_url: Option<String>,
    /// The same in the words of people, where programs and their authors are told otherwise.
    pub for_people: Option<ForPeople>,
    /// Where a person goes on from the page.
    pub on: Option<Way>,
    /// Where the app begins.
    pub home: Option<Way>,
    /// Further members of the object; they never replace the ones above.
    pub extra: Map<String, Value>,
}

/// What a page says to people, who need not know what a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForPeople {
    /// The page's title.
    pub title: &'static str,
    /// What has happened, and what to do.
    pub detail: &'static str,
}

/// A link that leads away from a page of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What it says.
    pub label: &'static str,
    /// Where it leads.
    pub link: String,
}

impl Way {
    /// This label on this link.
    pub fn new(label: &'static str, link: impl Into<String>) -> Self {
        Self {
            label,
            link: link.into(),
        }
    }
}

/// The ways away from a page as HTML: the way on as a button, the way home beside it.
pub fn ways(on: Option<&Way>, home: Option<&Way>) -> String {
    let mut html = String::new();
    let (button, beside) = match on {
        Some(on) => (Some(on), home),
        None => (home, None),
    };
    if let Some(way) = button {
        let link = escape(&way.link);
        let label = way.label;
        push(
            &mut html,
            format_args!("<a class=\"button\" href=\"{link}\">{label}</a>"),
        );
    }
    if let Some(way) = beside {
        let link = escape(&way.link);
        let label = way.label;
        push(
            &mut html,
            format_args!(" <a class=\"beside\" href=\"{link}\">{label}</a>"),
        );
    }
    if html.is_empty() {
        return html;
    }
    format!("<p class=\"ways\">{html}</p>")
}

impl Problem {
    /// The answer to a fetch: `application/problem+json`.
    pub fn json(&self) -> Response<Body> {
        let mut members = self.extra.clone();
        // `type` names the kind of problem and need not lead anywhere (RFC 9457 §3.1.1).
        members.insert(
            "type".into(),
            format!("urn:bff:problem:{}", self.code).into(),
        );
        members.insert("title".into(), self.title.into());
        members.insert("status".into(), self.status.as_u16().into());
        members.insert("code".into(), self.code.into());
        members.insert("detail".into(), self.detail.as_str().into());
        members.insert("request_id".into(), self.request_id.as_str().into());
        if let Some(login_url) = &self.login_url {
            members.insert("login_url".into(), login_url.as_str().into());
        }
        let mut response = Response::new(Body::full(Value::Object(members).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// The answer to a navigation: a page that says the same.
    pub fn page(&self) -> Response<Body> {
        let mut response = page(self.title_for_people(), &self.body_html());
        *response.status_mut() = self.status;
        response
    }

    /// The title of the page.
    pub fn title_for_people(&self) -> &'static str {
        self.for_people.map_or(self.title, |people| people.title)
    }

    /// The sentence of the page.
    pub fn detail_for_people(&self) -> &str {
        self.for_people.map_or(&self.detail, |people| people.detail)
    }

    /// What stands in the page below its title.
    fn body_html(&self) -> String {
        let ways = ways(self.on.as_ref(), self.home.as_ref());
        format!("{}{ways}{}", self.detail_html(), self.facts_html())
    }

    /// Its sentence.
    pub fn detail_html(&self) -> String {
        format!("<p>{}</p>", escape(self.detail_for_people()))
    }

    /// What whoever looks into it is asked for.
    pub fn facts_html(&self) -> String {
        let mut body = String::new();
        push(
            &mut body,
            format_args!(
                "<dl><dt>Status</dt><dd>{}</dd><dt>Code</dt><dd>{}</dd>",
                self.status.as_u16(),
                escape(self.code),
            ),
        );
        if self.for_people.is_some() {
            // Whoever wrote the link may be looking at it.
            let detail = escape(&self.detail);
            push(
                &mut body,
                format_args!("<dt>For developers</dt><dd>{detail}</dd>"),
            );
        }
        let request_id = escape(&self.request_id);
        push(
            &mut body,
            format_args!("<dt>Request</dt><dd>{request_id}</dd></dl>"),
        );
        body
    }
}

/// A page of our own, status 200, with the look and the headers that they all share (H6).
///
/// `title` is text. `body_html` is HTML: whatever in it comes from elsewhere must have been
/// through [`escape`]. `<a class="button" href="…">` is a button. There are no scripts, and a
/// form may be sent to this origin only; since browsers hold redirects of a form to that as well,
/// a step that leads to the provider is a link.
pub fn page(title: &str, body_html: &str) -> Response<Body> {
    page_with(title, body_html, Beside::Nothing)
}

/// As [`page`], with images of this origin.
pub fn page_with_images(title: &str, body_html: &str) -> Response<Body> {
    page_with(title, body_html, Beside::Images)
}

/// As [`page`], with this one script, which is fixed and runs at the end.
pub fn page_with_script(title: &str, body_html: &str, script: &'static str) -> Response<Body> {
    page_with(title, body_html, Beside::Script(script))
}

/// What a page holds beside its text and its style.
#[derive(Debug, Clone, Copy)]
enum Beside {
    Nothing,
    Images,
    Script(&'static str),
}

fn page_with(title: &str, body_html: &str, beside: Beside) -> Response<Body> {
    let title = escape(title);
    let script_html = match beside {
        Beside::Nothing | Beside::Images => String::new(),
        Beside::Script(script) => format!("<script type=\"module\">{script}</script>\n"),
    };
    let html = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n\
         <style>{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <main>\n\
         <h1>{title}</h1>\n\
         {body_html}\n\
         </main>\n\
         {script_html}</body>\n\
         </html>\n"
    );
    let mut response = Response::new(Body::full(html));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CONTENT_SECURITY_POLICY, page_policy(beside));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `text` with the five characters that mean something in HTML written as references: fit for
/// element content and for attribute values in quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The one style element is allowed by its hash, and so is the one script; nothing else is, but for images
/// of this origin where there are some.
fn page_policy(beside: Beside) -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let beside = match beside {
        Beside::Nothing => String::new(),
        Beside::Images => " img-src 'self';".to_owned(),
        Beside::Script(script) => format!(" script-src 'sha256-{}';", hash(script)),
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}';{} form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        beside
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'",
    ))
}

fn push(body: &mut String, html: std::fmt::Arguments<'_>) {
    #[expect(
        clippy::let_underscore_must_use,
        reason = "writing to a String cannot fail"
    )]
    let _ = body.write_fmt(html);
}

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn problem() -> Problem {
        Problem {
            status: StatusCode::UNAUTHORIZED,
            code: "login_required",
            title: "Sign-in needed",
            detail: "This needs a session <script>alert('x')</script> & \"more\".".into(),
            request_id: "r-1<".into(),
            login_url: Some("/bff/login?a=1&b=\"2".into()),
            for_people: None,
            on: Some(Way::new("Sign in", "/bff/login?a=1&b=\"2")),
            home: Some(Way::new("Start page", "/")),
            extra: Map::new(),
        }
    }

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_fetch_reads_problem_details() {
        let mut problem = problem();
        problem.extra.insert("acr_values".into(), "gold".into());
        problem.extra.insert("code".into(), "mine".into());
        let response = problem.json();
        assert_eq!(response.status(), 401);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(response.headers()["cache-control"], "no-store");
        let members: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(
            members,
            serde_json::json!({
                "type": "urn:bff:problem:login_required",
                "title": "Sign-in needed",
                "status": 401,
                "code": "login_required",
                "detail": "This needs a session <script>alert('x')</script> & \"more\".",
                "request_id": "r-1<",
                "login_url": "/bff/login?a=1&b=\"2",
                "acr_values": "gold",
            })
        );
    }

    /// C5, N4: nothing that a stranger wrote is HTML in our page.
    #[tokio::test]
    async fn everything_in_the_page_is_escaped() {
        let html = text(problem().page()).await;
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more"));
        assert!(html.contains("href=\"/bff/login?a=1&amp;b=&quot;2\""));
        assert!(html.contains("r-1&lt;"));
    }

    /// H6: pages of our own allow nothing but their own style, and no frame.
    #[tokio::test]
    async fn the_page_allows_its_own_style_alone() {
        let response = problem().page();
        assert_eq!(response.status(), 401);
        let headers = response.headers().clone();
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-store");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
        let html = text(response).await;
        let style = html
            .split("<style>")
            .nth(1)
            .unwrap()
            .split("</style>")
            .next()
            .unwrap();
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
        assert!(
            !html.contains("style="),
            "an inline style attribute would be refused"
        );
    }
}
