//! `bff explain`: what becomes of one call, in words.

mod headers;
mod requirement;
mod sign_in;
mod token;

use std::collections::HashMap;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::app::{self, StartError};
use crate::auth::RelyingParty;
use crate::config::Config;
use crate::frontend::Frontend;
use crate::pipeline::endpoint::{Endpoint, UnderBase};
use crate::pipeline::site::{Destination, Site};
use crate::pipeline::sites::{Absence, Sites};
use crate::proxy::headers::kept_back;
use crate::proxy::path::{PathFault, RequestPath};
use crate::proxy::{CsrfCheck, HostSent, PathRewrite, RouteAuth, RouteSettings, SetCookie};
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
    /// A site cannot be made of what it says.
    #[error(transparent)]
    Start(#[from] StartError),
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
pub(super) fn explain(mut config: Config, call: &Call<'_>) -> Result<String, ExplainError> {
    let Call { method, target, .. } = call;
    let has_many = config.sites.len() > 1 || !config.tenanted.is_empty();
    let first = config.faces().next().ok_or(ExplainError::NoSite)?;
    let url = if target.starts_with('/') {
        // Not joined: two slashes would name a host.
        first.auth.public_url.join(&format!(".{target}"))
    } else {
        Url::parse(target)
    };
    let url = url
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| ExplainError::Path((*target).to_owned()))?;
    let host = url.host_str().unwrap_or_default();
    let files: HashMap<String, PathBuf> = config
        .faces()
        .map(|site| (site.id.site().to_owned(), site.file.clone()))
        .collect();
    let sites = app::explained(&mut config)?;
    let mut page = Page::new(&format!("{method} {target}"));
    let upper = method.as_str().to_ascii_uppercase();
    if method.as_str() != upper {
        let text = format!("{method} is not {upper}: case tells methods apart");
        page.line("method", &text);
    }
    let raw = path_as_written(target);
    let site = match sites.at(host, raw) {
        Ok(site) => site,
        Err(absence) => {
            page.line("answer", &absent(&absence, &sites, host, has_many));
            if let Some((tenant, own)) = sites.tenant_elsewhere(host) {
                page.line(
                    "tenant",
                    &format!("{tenant} is at a host of its own: {own}"),
                );
            }
            return Ok(page.0.concat());
        }
    };
    if has_many {
        let file = files
            .get(site.id().site())
            .map(|file| file.display().to_string());
        page.line("site", &named(&site, &file.unwrap_or_default()));
        if let Some(tenant) = site.id().tenant_name() {
            page.line("tenant", tenant);
        }
    }
    let is_told = !config.trusted_proxies.is_empty();
    Explained {
        site: &site,
        is_told,
        raw,
    }
    .of(&mut page, host, call);
    sign_in::providers(&mut page, &site);
    Ok(page.0.concat())
}

/// What is answered where there is no site.
fn absent(absence: &Absence, sites: &Sites, host: &str, has_many: bool) -> String {
    match absence {
        Absence::Nobody => nobody(sites, host, has_many),
        Absence::NoTenant(address) => format!(
            "a page load is sent to {}: {host} is no tenant's; else 404 no_route",
            String::from_utf8_lossy(address.as_bytes())
        ),
        Absence::Unmade(fault) => format!("503 site_unavailable: {fault}"),
    }
}

/// Why no site takes the call.
fn nobody(sites: &Sites, host: &str, has_many: bool) -> String {
    if sites.serve(host) {
        return "404 no_route: no site of this host lies at this path".to_owned();
    }
    let whose = if has_many {
        "is the host of no site, nor a route's"
    } else {
        "is neither public_url's nor a route's host"
    };
    format!("404 no_route: {host} {whose}")
}

/// A site by its name and its file; that of bff.toml has no name.
fn named(site: &Site, file: &str) -> String {
    match site.id().site() {
        "" => file.to_owned(),
        name => format!("{name} ({file})"),
    }
}

/// A site, and what is asked of it.
struct Explained<'a> {
    site: &'a Site,
    /// Whether proxies before us say who calls.
    is_told: bool,
    /// The path as it was given.
    raw: &'a str,
}

impl Explained<'_> {
    fn of(&self, page: &mut Page, host: &str, call: &Call<'_>) {
        let site = self.site;
        let path = match site.path(self.raw) {
            Ok(path) => path,
            Err(fault) => return self.odd_path(page, fault),
        };
        if site.may_be_a_neighbours(&path) {
            return page.line("answer", &format!("400: {}", PathFault::TwoRoutes));
        }
        match site.destination(host, &call.method, &path) {
            Destination::Endpoint(endpoint, of) => {
                self::endpoint(page, site, (endpoint, of), &call.method);
            }
            Destination::CallbackOfNobody => page.line(
                "answer",
                "400 login_failed: no provider of this name is configured",
            ),
            Destination::Route(route) => {
                self::route(page, site, route.settings(), &path, &call.headers);
                page.line("client", client(self.is_told));
            }
            Destination::RouteRefuses(route, fault) => {
                page.line("route", &route.settings().name);
                page.line("answer", &format!("400: {fault}"));
            }
            Destination::MethodNotAllowed(allowed) => {
                let text = format!("405: this path takes {} only", list(&allowed));
                page.line("answer", &text);
            }
            Destination::Files(files) => frontend(page, site, files, &call.method),
            Destination::OddPath(fault) => self.odd_path(page, fault),
            Destination::Nothing => {
                let base_path = &site.relying_party().settings().base_path;
                match UnderBase::at(path.as_str(), base_path) {
                    UnderBase::Nothing => {
                        page.line("answer", "404 no_route: no endpoint has this path");
                    }
                    _ => page.line("answer", "404 no_route"),
                }
            }
        }
    }

    fn odd_path(&self, page: &mut Page, fault: PathFault) {
        if self.site.page_for(self.raw).is_some() {
            page.line("goes to", "the app's index.html, where a page is asked for");
            page.line("answer", &format!("else 400: {fault}"));
        } else {
            page.line("answer", &format!("400: {fault}"));
        }
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

fn list(methods: &[Method]) -> String {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

fn endpoint(
    page: &mut Page,
    site: &Site,
    (endpoint, of): (Endpoint, &RelyingParty),
    method: &Method,
) {
    page.line("goes to", "an endpoint of bff");
    if let Some(name) = &of.settings().name
        && endpoint.is_a_providers()
    {
        page.line("provider", name);
    }
    page.line(
        "upstream",
        "none; no route is looked at below the base path",
    );
    sign_in::addresses(page, site, endpoint, of);
    if let Err(allowed) = endpoint.take(method, site.method_rules(of)) {
        page.line("answer", &format!("405: it takes {} only", list(&allowed)));
    }
}

fn frontend(page: &mut Page, site: &Site, files: &Frontend, method: &Method) {
    page.line(
        "goes to",
        &format!("the app's files in {}", files.dir().display()),
    );
    if !matches!(*method, Method::GET | Method::HEAD) {
        page.line("answer", "405: files take GET, HEAD only");
    }
    hsts(page, "answer", site);
}

fn route(
    page: &mut Page,
    site: &Site,
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
    if let Some(shown) = &route.client_certificate {
        let text = format!(
            "where it is shown the certificate in {}",
            shown.path().display()
        );
        page.line("", &text);
    }
    token::lines(page, site, route);
    requirement::lines(page, route);
    page.line("must show", proof(route.csrf));
    page.line("anonymous", anonymous(route.auth, route.csrf));
    if route.auth != RouteAuth::None {
        page.line("activity", activity(route, headers));
    }
    request(page, route, headers);
    headers::changes(page, &route.request_headers, route.identity.as_ref());
    headers::identity(page, route);
    answer(page, site, route);
    headers::changes(page, &route.response_headers, None);
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
fn answer(page: &mut Page, site: &Site, route: &RouteSettings) {
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
fn hsts(page: &mut Page, word: &str, site: &Site) {
    if let Some(value) = site.hsts().and_then(|value| value.to_str().ok()) {
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
    let prefix =
        if mounted && (!route.mount.is_empty() || route.path_rewrite == PathRewrite::StripPrefix) {
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
