//! `bff explain`: what becomes of one call, in words.

use http::Method;
use url::Url;

use crate::config::Config;
use crate::pipeline::endpoint::{Endpoint, MethodRules, UnderBase};
use crate::proxy::path::{RequestPath, Semicolons};
use crate::proxy::route::{RouteFault, RouteMatch, RouteTable};
use crate::proxy::{CsrfCheck, HeaderChanges, PathRewrite, RouteAuth, RouteSettings};

/// Why a call cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The method is none.
    #[error("{0:?} is not a method; write one such as GET")]
    Method(String),
    /// The path is none.
    #[error("{0:?} is not a path; write one such as /api/orders, or a whole address")]
    Path(String),
    /// The routes cannot be used.
    #[error(transparent)]
    Routes(#[from] RouteFault),
}

/// What becomes of `method` on `target`, a path or a whole address.
pub(super) fn explain(config: &Config, method: &str, target: &str) -> Result<String, ExplainError> {
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
        .map_err(|_| ExplainError::Method(method.to_owned()))?;
    let url = if target.starts_with('/') {
        config.auth.public_url.join(target)
    } else {
        Url::parse(target)
    };
    let url = url
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| ExplainError::Path(target.to_owned()))?;
    let host = url.host_str().unwrap_or_default();
    let mut page = Page::new(&format!("{method} {target}"));
    if !serves(config, host) {
        page.line(
            "answer",
            &format!("404 no_route: {host} is neither public_url's nor a route's host"),
        );
        return Ok(page.0.concat());
    }
    let semicolons = if config.allow_semicolon {
        Semicolons::Allow
    } else {
        Semicolons::Refuse
    };
    let path = match RequestPath::parse(path_as_written(target), semicolons) {
        Ok(path) => path,
        Err(fault) => {
            page.line("answer", &format!("400: {fault}"));
            return Ok(page.0.concat());
        }
    };
    let routes = RouteTable::new(config.routes.clone())?;
    match UnderBase::at(path.as_str(), &config.auth.base_path) {
        UnderBase::Endpoint(endpoint) => self::endpoint(&mut page, config, endpoint, &method),
        UnderBase::Nothing => page.line("answer", "404 no_route: no endpoint has this path"),
        UnderBase::Outside => match routes.find(host, &method, &path) {
            RouteMatch::Found(route) => self::route(&mut page, config, route.settings(), &path),
            RouteMatch::MethodNotAllowed(allowed) => {
                page.line(
                    "answer",
                    &format!("405: this path takes {} only", list(&allowed)),
                );
            }
            RouteMatch::NoRoute => frontend(&mut page, config, &method),
        },
    }
    Ok(page.0.concat())
}

/// The path as it was given: a URL would already have tidied what a request is refused for.
fn path_as_written(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    path.split(['?', '#']).next().unwrap_or(path)
}

/// Whether browsers may name this host at all (I8).
fn serves(config: &Config, host: &str) -> bool {
    config.auth.public_url.host_str() == Some(host)
        || config
            .routes
            .iter()
            .any(|route| route.host.as_deref() == Some(host))
}

fn list(methods: &[Method]) -> String {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

fn endpoint(page: &mut Page, config: &Config, endpoint: Endpoint, method: &Method) {
    page.line("goes to", "an endpoint of bff");
    page.line(
        "upstream",
        "none; no route is looked at below the base path",
    );
    let rules = MethodRules {
        response_mode: config.provider.response_mode,
        third_party_login: config.auth.third_party_login,
    };
    if let Err(allowed) = endpoint.take(method, rules) {
        page.line("answer", &format!("405: it takes {} only", list(&allowed)));
    }
}

fn frontend(page: &mut Page, config: &Config, method: &Method) {
    let Some(frontend) = &config.frontend else {
        page.line("answer", "404 no_route");
        return;
    };
    page.line(
        "goes to",
        &format!("the app's files in {}", frontend.dir.display()),
    );
    if !matches!(*method, Method::GET | Method::HEAD) {
        page.line("answer", "405: files take GET, HEAD only");
    }
}

fn route(page: &mut Page, config: &Config, route: &RouteSettings, path: &RequestPath) {
    page.line("route", &route.name);
    let path = rewritten(route, path.as_str());
    let upstreams: Vec<String> = route
        .upstreams
        .iter()
        .map(|upstream| sent_to(upstream, &path))
        .collect();
    page.line("goes to", &upstreams.join(", in turn with "));
    page.line("token", token(route.auth));
    page.line("must show", proof(route.csrf));
    page.line("anonymous", anonymous(route.auth, route.csrf));
    page.line(
        "request",
        "loses Authorization, our cookies, X-CSRF, X-Forwarded-*, names with an",
    );
    page.line(
        "",
        "underscore and hop-by-hop fields; gets Host, Via, X-Request-Id and our own",
    );
    page.line("", "X-Forwarded-For, -Host and -Proto");
    changes(page, &route.request_headers);
    page.line(
        "answer",
        "loses Set-Cookie, Access-Control-*, Strict-Transport-Security, Alt-Svc and",
    );
    page.line("", "hop-by-hop fields");
    if route.auth != RouteAuth::None {
        page.line("", "is kept out of shared caches");
    }
    changes(page, &route.response_headers);
    let timeout = humantime::format_duration(route.timeout);
    let body = route.max_body.map_or_else(
        || "bodies stream, of any length".to_owned(),
        |bytes| format!("at most {bytes} bytes of body"),
    );
    page.line(
        "limits",
        &format!("{timeout} to the head of the answer; {body}"),
    );
    let websocket = if route.websocket {
        "passes, where Origin is ours"
    } else {
        "is refused"
    };
    page.line("WebSocket", websocket);
    let client = if config.trusted_proxies.is_empty() {
        "is whoever connects; no proxy before us is trusted"
    } else {
        "is taken from X-Forwarded-For of trusted proxies"
    };
    page.line("client", client);
}

fn rewritten(route: &RouteSettings, path: &str) -> String {
    let rest = path
        .strip_prefix(route.path.trim_end_matches('/'))
        .unwrap_or(path);
    let path = match &route.path_rewrite {
        PathRewrite::Keep => path.to_owned(),
        PathRewrite::StripPrefix => rest.to_owned(),
        PathRewrite::ReplacePrefix(prefix) => format!("{}{rest}", prefix.trim_end_matches('/')),
    };
    if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    }
}

fn sent_to(upstream: &Url, path: &str) -> String {
    format!("{}{path}", upstream.as_str().trim_end_matches('/'))
}

fn token(auth: RouteAuth) -> &'static str {
    match auth {
        RouteAuth::Required => "Authorization: Bearer … of the session, fresh",
        RouteAuth::Optional => "Authorization: Bearer … where there is a session, else none",
        RouteAuth::None => "none: no credential of any kind is carried",
    }
}

fn proof(csrf: Option<CsrfCheck>) -> &'static str {
    match csrf {
        Some(CsrfCheck::Header) => "X-CSRF: 1, and no foreign Origin or Sec-Fetch-Site",
        Some(CsrfCheck::Origin) => {
            "Sec-Fetch-Site: same-origin or our Origin, save for navigations"
        }
        None => "nothing",
    }
}

fn anonymous(auth: RouteAuth, csrf: Option<CsrfCheck>) -> &'static str {
    match (auth, csrf) {
        (RouteAuth::Required, Some(CsrfCheck::Origin)) => {
            "401 login_required; a navigation is sent to the provider"
        }
        (RouteAuth::Required, Some(CsrfCheck::Header) | None) => "401 login_required",
        (RouteAuth::Optional | RouteAuth::None, _) => "the upstream's answer",
    }
}

fn changes(page: &mut Page, changes: &HeaderChanges) {
    // Names alone: a value may be a secret between bff and the upstream.
    for (name, _) in &changes.set {
        page.line("", &format!("sets {name}, as configured"));
    }
    for name in &changes.remove {
        page.line("", &format!("removes {name}, as configured"));
    }
}

/// Lines of a word and what it says.
struct Page(Vec<String>);

impl Page {
    fn new(title: &str) -> Self {
        Self(vec![format!("{title}\n")])
    }

    fn line(&mut self, word: &str, text: &str) {
        self.0.push(format!("  {word:<11}{text}\n"));
    }
}
