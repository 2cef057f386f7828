//! The demo app: its files built into the binary, where the provider is, and which other apps this
//! process serves.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::apps::{Apps, DevApp};
use super::serve::{json as json_reply, reply};
use crate::web::body::Body;
use crate::web::problem::escape;

const INDEX_HTML: &str = include_str!("assets/index.html");
const APP_JS: &str = include_str!("assets/app.js");
const SITES_JS: &str = include_str!("assets/sites.js");
const STYLE_CSS: &str = include_str!("assets/style.css");
const FAVICON_SVG: &str = include_str!("assets/favicon.svg");

/// The most apps that the menu lists; whoever looks for another types a part of its name.
const LISTED: usize = 60;

/// The demo app of every site that has none of its own; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Demo(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    apps: Apps,
    issuer: String,
}

impl Demo {
    /// The demo among these apps; `issuer` is where the provider is.
    pub(super) fn new(apps: Apps, issuer: &str) -> Self {
        let issuer = issuer.to_owned();
        Self(Arc::new(Inner { apps, issuer }))
    }

    /// Answers a request for the demo app.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD.");
        }
        let javascript = "text/javascript; charset=utf-8";
        match request.uri().path() {
            "/app.js" => reply(StatusCode::OK, javascript, APP_JS),
            "/sites.js" => reply(StatusCode::OK, javascript, SITES_JS),
            "/style.css" => reply(StatusCode::OK, "text/css; charset=utf-8", STYLE_CSS),
            "/favicon.svg" => reply(StatusCode::OK, "image/svg+xml", FAVICON_SVG),
            "/dev/info.json" => {
                let Inner { issuer, .. } = &*self.0;
                let info = json!({ "provider": issuer, "control": format!("{issuer}/control") });
                json_reply(StatusCode::OK, &info)
            }
            "/dev/sites.json" => json_reply(StatusCode::OK, &self.sites(request)),
            path if is_file(path) => reply(StatusCode::NOT_FOUND, "text/plain", "No such file."),
            _ => self.index(request),
        }
    }

    /// The app that a request came to, as bff says.
    fn here<B>(&self, request: &Request<B>) -> Option<&DevApp> {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let host = header("x-forwarded-host")?;
        let mount = header("x-forwarded-prefix").unwrap_or_default();
        self.0.apps.at(host, mount)
    }

    /// The page, which may be mounted at a path, with its endpoints elsewhere.
    fn index<B>(&self, request: &Request<B>) -> Response<Body> {
        let here = self.here(request);
        let mount = here.map_or("", |app| &app.mount);
        let base_path = here.map_or("/bff", |app| &app.base_path);
        let page = INDEX_HTML
            .replace("{mount}", &escape(mount))
            .replace("{bff}", &escape(base_path));
        let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", page);
        let policy = HeaderValue::from_static(
            "default-src 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'; \
             form-action 'self'",
        );
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    }

    /// The apps of this process whose names hold what is asked for with `?find=`, and the one that asks.
    fn sites<B>(&self, request: &Request<B>) -> Value {
        let apps = &self.0.apps;
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let sought = pairs.find_map(|(name, value)| (name == "find").then_some(value));
        let found = apps.find(&sought.unwrap_or_default());
        json!({
            "here": self.here(request).map(told),
            "all": apps.all().len(),
            "apps": found.iter().take(LISTED).map(|app| told(app)).collect::<Vec<_>>(),
            "more": found.len().saturating_sub(LISTED),
        })
    }
}

/// An app as the menu shows it.
fn told(app: &DevApp) -> Value {
    json!({ "site": app.id.site(), "tenant": app.id.tenant_name(), "url": app.url().as_str() })
}

/// A missing file stays missing; every other path is a page of the app.
fn is_file(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::site_id::SiteId;

    fn app(id: SiteId, origin: &str, mount: &str, base_path: &str) -> DevApp {
        DevApp {
            id,
            origin: origin.parse().unwrap(),
            mount: mount.to_owned(),
            base_path: base_path.to_owned(),
            providers: Vec::new(),
        }
    }

    fn demo() -> Demo {
        let mut all = vec![
            app(SiteId::main(), "http://localhost:8080", "", "/bff"),
            app(
                SiteId::new("shop"),
                "http://localhost:8080",
                "/a&b",
                "/a&b/auth",
            ),
        ];
        all.extend((0..100).map(|number| {
            let origin = format!("http://t{number}.desk.localhost:8080");
            let tenant = SiteId::new("desk").tenant(&format!("t{number}"));
            app(tenant, &origin, "", "/bff")
        }));
        Demo::new(Apps::new(all), "http://localhost:1")
    }

    fn ask(path: &str, host: &str, mount: &str) -> Request<()> {
        let request = Request::get(path).header("x-forwarded-host", host);
        request
            .header("x-forwarded-prefix", mount)
            .body(())
            .unwrap()
    }

    #[test]
    fn pages_get_the_app_and_missing_files_do_not() {
        let cases = [
            ("/", 200, "text/html; charset=utf-8"),
            ("/orders/42", 200, "text/html; charset=utf-8"),
            ("/app.js", 200, "text/javascript; charset=utf-8"),
            ("/sites.js", 200, "text/javascript; charset=utf-8"),
            ("/favicon.svg", 200, "image/svg+xml"),
            ("/dev/info.json", 200, "application/json"),
            ("/dev/sites.json", 200, "application/json"),
            ("/assets/gone.js", 404, "text/plain"),
        ];
        for (path, status, content_type) in cases {
            let answer = demo().answer(&Request::get(path).body(()).unwrap());
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(
                answer.headers()[header::CONTENT_TYPE],
                content_type,
                "{path}"
            );
        }
    }

    /// Of ten thousand tenants a menu shows some, and says how many there are.
    #[test]
    fn the_menu_lists_what_is_looked_for() {
        let sites = |query: &str, host: &str, mount: &str| {
            demo().sites(&ask(&format!("/dev/sites.json{query}"), host, mount))
        };
        let all = sites("", "localhost:8080", "/a&b");
        assert_eq!(all["here"]["site"], "shop");
        assert_eq!(all["here"]["url"], "http://localhost:8080/a&b/");
        assert_eq!((&all["all"], &all["more"]), (&json!(102), &json!(42)));
        assert_eq!(all["apps"].as_array().unwrap().len(), LISTED);
        let found = sites("?find=desk/t7", "t7.desk.localhost:8080", "");
        assert_eq!(found["here"]["tenant"], "t7");
        assert_eq!((&found["all"], &found["more"]), (&json!(102), &json!(0)));
        let tenants: Vec<_> = found["apps"].as_array().unwrap().iter().collect();
        assert_eq!(tenants.len(), 11, "t7 and t70 to t79");
        assert_eq!(sites("", "elsewhere", "")["here"], Value::Null);
    }
}
