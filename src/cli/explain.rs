//! `bff explain`: what becomes of one call, in words.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::config::{Config, SiteConfig};
use crate::pipeline::endpoint::{Endpoint, MethodRules, UnderBase};
use crate::proxy::headers::kept_back;
use crate::proxy::path::{PathFault, RequestPath};
use crate::proxy::route::{RouteFault, RouteMatch, RouteTable};
use crate::proxy::{
    CsrfCheck, HeaderChanges, HostSent, PathRewrite, RouteAuth, RouteSettings, SetCookie,
};
use crate::web::activity::Activity;
use crate::web::socket_url;

/// Why a call cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The method is none.
    #[error("{0:?} is not a method; write one such as GET")]
    Method(String),
    /// The path is none.
    #[error("{0:?} is not a path; write one such as /api/orders, or a whole address")]
    Path(String),
    /// The header has no name.
    #[error("{0:?} is not a header; write one such as 'X-Team: orders'")]
    Header(String),
    /// Nothing is there to be called.
    #[error("no site is configured")]
    NoSite,
    /// The routes cannot be used.
    #[error(transparent)]
    Routes(#[from] RouteFault),
}

/// One call to explain.
#[derive(Debug)]
pub(super) struct Call<'a> {
    method: Method,
    /// A path or a whole address, as it was given.
    target: &'a str,
    headers: HeaderMap,
}

impl<'a> Call<'a> {
    /// The call of `method` on `target` with `headers`, of which most count by their names alone.
    pub(super) fn parse(
        method: &str,
        target: &'a str,
        headers: &[String],
    ) -> Result<Self, ExplainError> {
        let field = |header: &String| {
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        };
        let field = |header| field(header).ok_or_else(|| ExplainError::Header(header.clone()));
        Ok(Self {
            method: Method::from_bytes(method.as_bytes())
                .map_err(|_| ExplainError::Method(method.to_owned()))?,
            target,
            headers: headers.iter().map(field).collect::<Result<_, _>>()?,
        })
    }
}

/// What becomes of the call.
pub(super) fn explain(config: &Config, call: &Call<'_>) -> Result<String, ExplainError> {
    let site = config.sites.first().ok_or(ExplainError::NoSite)?;
    let Call { method, target, .. } = call;
    let url = if target.starts_with('/') {
        // Not joined: two slashes would name a host.
        site.auth.public_url.join(&format!(".{target}"))
    } else {
        Url::parse(target)
    };
    let url = url
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| ExplainError::Path((*target).to_owned()))?;
    let host = url.host_str().unwrap_or_default();
    let mut page = Page::new(&format!("{method} {target}"));
    let upper = method.as_str().to_ascii_uppercase();
    if method.as_str() != upper {
        let text = format!("{method} is not {upper}: case tells methods apart");
        page.line("method", &text);
    }
    if !serves(site, host) {
        page.line(
            "answer",
            &format!("404 no_route: {host} is neither public_url's nor a route's host"),
        );
        return Ok(page.0.concat());
    }
    let routes = RouteTable::new(site.routes.clone())?;
    let raw = path_as_written(target);
    let base_path = &site.auth.base_path;
    let rules = site.path_rules.or(routes.path_rules());
    let path = match RequestPath::parse(raw, rules) {
        Ok(path) => path,
        Err(fault) => {
            odd_path(&mut page, site, &routes, raw, fault);
            return Ok(page.0.concat());
        }
    };
    match UnderBase::at(path.as_str(), base_path) {
        UnderBase::Endpoint(endpoint) => self::endpoint(&mut page, site, endpoint, method),
        UnderBase::Nothing => page.line("answer", "404 no_route: no endpoint has this path"),
        UnderBase::Outside => match routes.find(host, method, &path) {
            RouteMatch::Found(route) => match routes.check(route, &path, base_path) {
                Ok(()) => {
                    let is_told = !config.trusted_proxies.is_empty();
                    self::route(&mut page, site, route.settings(), &path, &call.headers);
                    page.line("client", client(is_told));
                }
                Err(fault) => {
                    page.line("route", &route.settings().name);
                    page.line("answer", &format!("400: {fault}"));
                }
            },
            RouteMatch::MethodNotAllowed(allowed) => {
                page.line(
                    "answer",
                    &format!("405: this path takes {} only", list(&allowed)),
                );
            }
            RouteMatch::NoRoute => match path.check(site.path_rules) {
                Ok(()) => frontend(&mut page, site, method),
                Err(fault) => odd_path(&mut page, site, &routes, raw, fault),
            },
        },
    }
    Ok(page.0.concat())
}

fn odd_path(page: &mut Page, site: &SiteConfig, routes: &RouteTable, raw: &str, fault: PathFault) {
    if site.frontend.is_some() && !routes.may_serve(raw, &site.auth.base_path) {
        page.line("goes to", "the app's index.html, where a page is asked for");
        page.line("answer", &format!("else 400: {fault}"));
    } else {
        page.line("answer", &format!("400: {fault}"));
    }
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
fn serves(site: &SiteConfig, host: &str) -> bool {
    site.auth.public_url.host_str() == Some(host)
        || site
            .routes
            .iter()
            .any(|route| route.host.as_deref() == Some(host))
}

fn list(methods: &[Method]) -> String {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

fn endpoint(page: &mut Page, site: &SiteConfig, endpoint: Endpoint, method: &Method) {
    page.line("goes to", "an endpoint of bff");
    page.line(
        "upstream",
        "none; no route is looked at below the base path",
    );
    let rules = MethodRules {
        response_mode: site.provider.response_mode,
        third_party_login: site.auth.third_party_login,
    };
    if let Err(allowed) = endpoint.take(method, rules) {
        page.line("answer", &format!("405: it takes {} only", list(&allowed)));
    }
}

fn frontend(page: &mut Page, site: &SiteConfig, method: &Method) {
    let Some(frontend) = &site.frontend else {
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
    hsts(page, "answer", site);
}

fn route(
    page: &mut Page,
    site: &SiteConfig,
    route: &RouteSettings,
    path: &RequestPath,
    headers: &HeaderMap,
) {
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
    if route.auth != RouteAuth::None {
        page.line("activity", activity(route, headers));
    }
    request(page, route, headers);
    changes(page, &route.request_headers);
    answer(page, site, route);
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
        "passes, where Origin is ours and no Sec-Fetch-Site foreign"
    } else {
        "is refused"
    };
    page.line("WebSocket", websocket);
    let worker = if route.service_worker {
        "may come from here"
    } else {
        "is refused: service_worker is false"
    };
    page.line("worker", worker);
}

/// Whose address upstreams are told.
fn client(is_told: bool) -> &'static str {
    if is_told {
        "is taken from X-Forwarded-For of trusted proxies"
    } else {
        "is whoever connects; no proxy before us is trusted"
    }
}

/// What reaches the browser of the upstream's fields, and what of ours.
fn answer(page: &mut Page, site: &SiteConfig, route: &RouteSettings) {
    page.line(
        "answer",
        "loses Access-Control-*, Strict-Transport-Security, NEL and all else that speaks",
    );
    page.line(
        "",
        "for the origin (docs/headers.md), and hop-by-hop fields",
    );
    match route.set_cookie {
        SetCookie::Drop => page.line("", "loses Set-Cookie: set_cookie is \"drop\""),
        SetCookie::Keep => page.line("", "keeps Set-Cookie, for our host and not by our names"),
    }
    if route.auth != RouteAuth::None {
        page.line("", "is kept out of shared caches");
    }
    if route.csrf != Some(CsrfCheck::Header) {
        hsts(page, "", site);
    }
}

/// Where the operator's word stands, it is shown with their changes.
fn hsts(page: &mut Page, word: &str, site: &SiteConfig) {
    if let Some(value) = site.hsts().as_ref().and_then(|value| value.to_str().ok()) {
        page.line(word, &format!("gets Strict-Transport-Security: {value}"));
    }
}

/// What reaches the upstream of the browser's fields, and what of ours.
fn request(page: &mut Page, route: &RouteSettings, headers: &HeaderMap) {
    if route.passed_fields.is_some() {
        page.line("request", "loses all but what request_headers.pass names");
    } else {
        page.line(
            "request",
            "loses Authorization, our cookies, X-CSRF, X-Forwarded-*, names with an",
        );
        page.line(
            "",
            "underscore, hop-by-hop fields, and those by which proxies vouch for a user",
        );
        page.line("", "(X-User, Remote-User, …; all in docs/headers.md)");
    }
    for name in headers.keys() {
        let verdict = match (&route.passed_fields, kept_back::reason(name.as_str())) {
            (Some(passed), _) if !passed.contains(name) => {
                format!("loses {name}: request_headers.pass does not name it")
            }
            (_, _) if *name == http::header::COOKIE => "loses our cookies of cookie".to_owned(),
            (None, Some(reason)) => format!("loses {name}: {reason}"),
            (Some(_), _) | (None, None) => format!("passes {name}"),
        };
        page.line("", &verdict);
    }
    let host = match route.host_sent {
        HostSent::Upstreams => "Host",
        HostSent::Ours => "our Host",
    };
    let mounted = route
        .upstreams
        .iter()
        .any(|upstream| socket_url::base_path(upstream).is_empty());
    let prefix = if mounted && route.path_rewrite == PathRewrite::StripPrefix {
        ", -Prefix"
    } else {
        ""
    };
    page.line("", &format!("gets {host}, Via, X-Request-Id and our own"));
    page.line("", &format!("X-Forwarded-For, -Host{prefix} and -Proto"));
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
    let between = match socket_url::path_of(upstream) {
        Some(_) => ", ",
        None => "",
    };
    format!("{}{between}{path}", upstream.as_str().trim_end_matches('/'))
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

/// Whether the call is a use of its session (G9).
fn activity(route: &RouteSettings, headers: &HeaderMap) -> &'static str {
    match (route.activity, Activity::said_by(headers)) {
        (Activity::Observes, _) => "does not put session.idle_timeout off: activity is false",
        (_, Activity::Observes) => "does not put session.idle_timeout off: X-BFF-Activity is none",
        (Activity::Slides, Activity::Slides) => "puts session.idle_timeout off",
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
