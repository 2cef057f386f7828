//! The demo app: its files built into the binary, and where the provider is.

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use super::serve::{json as json_reply, reply};
use crate::web::body::Body;

const INDEX_HTML: &str = include_str!("assets/index.html");
const APP_JS: &str = include_str!("assets/app.js");
const STYLE_CSS: &str = include_str!("assets/style.css");
const FAVICON_SVG: &str = include_str!("assets/favicon.svg");

/// Answers a request for the demo app; `issuer` is where the provider is.
pub(super) fn answer(method: &Method, path: &str, issuer: &str) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD.");
    }
    match path {
        "/app.js" => reply(StatusCode::OK, "text/javascript; charset=utf-8", APP_JS),
        "/style.css" => reply(StatusCode::OK, "text/css; charset=utf-8", STYLE_CSS),
        "/favicon.svg" => reply(StatusCode::OK, "image/svg+xml", FAVICON_SVG),
        "/dev/info.json" => json_reply(
            StatusCode::OK,
            &json!({ "provider": issuer, "control": format!("{issuer}/control") }),
        ),
        path if is_file(path) => reply(StatusCode::NOT_FOUND, "text/plain", "No such file."),
        _ => index(),
    }
}

/// A missing file stays missing; every other path is a page of the app.
fn is_file(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'))
}

fn index() -> Response<Body> {
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", INDEX_HTML);
    let policy = HeaderValue::from_static(
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; \
         form-action 'self'",
    );
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_get_the_app_and_missing_files_do_not() {
        let cases = [
            ("/", 200, "text/html; charset=utf-8"),
            ("/orders/42", 200, "text/html; charset=utf-8"),
            ("/app.js", 200, "text/javascript; charset=utf-8"),
            ("/favicon.svg", 200, "image/svg+xml"),
            ("/dev/info.json", 200, "application/json"),
            ("/assets/gone.js", 404, "text/plain"),
        ];
        for (path, status, content_type) in cases {
            let answer = answer(&Method::GET, path, "http://localhost:1");
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(
                answer.headers()[header::CONTENT_TYPE],
                content_type,
                "{path}"
            );
        }
    }
}
