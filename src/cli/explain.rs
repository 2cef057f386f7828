//! `bff explain`: what becomes of one call, in words.

use http::Method;
use url::Url;

use crate::config::Config;
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
    let (host, path) = (url.host_str().unwrap_or_default(), url.path());

    let mut page = Page::new(&format!("{method} {path}"));
    match destination(config, host, &method, path) {
        Destination::Endpoint => endpoint(&mut page, config),
        Destination::Route(route) => self::route(&mut page, config, route, path),
        Destination::WrongMethod(route) => {
            let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
            page.line("route", &route.name);
            page.line(
                "answer",
                &format!("405, since it takes {} only", methods.join(", ")),
            );
        }
        Destination::Frontend => frontend(&mut page, config, &method),
        Destination::Nowhere => page.line("answer", "404 no_route"),
    }
    Ok(page.0.concat())
}

enum Destination<'a> {
    Endpoint,
    Route(&'a RouteSettings),
    WrongMethod(&'a RouteSettings),
    Frontend,
    Nowhere,
}

/// Endpoints first, then the longest route, then the app's files.
fn destination<'a>(config: &'a Config, host: &str, method: &Method, path: &str) -> Destination<'a> {
    if is_below(path, &config.auth.base_path) {
        return Destination::Endpoint;
    }
    let mut fitting: Vec<&RouteSettings> = config
        .routes
        .iter()
        .filter(|route| is_below(path, &route.path))
        .filter(|route| route.host.as_deref().is_none_or(|only| only == host))
        .collect();
    // The sort is stable: among equals the order of the file stands.
    fitting.sort_by_key(|route| (std::cmp::Reverse(route.path.len()), route.host.is_none()));
    let Some(first) = fitting.first().copied() else {
        return if config.frontend.is_some() {
            Destination::Frontend
        } else {
            Destination::Nowhere
        };
    };
    // A shorter prefix never stands in where the longest one refuses the method (I10).
    fitting
        .into_iter()
        .filter(|route| route.path == first.path)
        .find(|route| takes(route, method))
        .map_or(Destination::WrongMethod(first), Destination::Route)
}

fn takes(route: &RouteSettings, method: &Method) -> bool {
    route.methods.is_empty()
        || route.methods.contains(method)
        || (method == Method::HEAD && route.methods.contains(&Method::GET))
}

fn is_below(path: &str, prefix: &str) -> bool {
    prefix == "/"
        || path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn endpoint(page: &mut Page, config: &Config) {
    page.line(
        "goes to",
        &format!("an endpoint of bff, under {}", config.auth.base_path),
    );
    page.line("upstream", "none: no route is looked at");
}

fn frontend(page: &mut Page, config: &Config, method: &Method) {
    if let Some(frontend) = &config.frontend {
        page.line(
            "goes to",
            &format!("the app's files in {}", frontend.dir.display()),
        );
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        page.line("answer", "405, since files are only read");
    }
}

fn route(page: &mut Page, config: &Config, route: &RouteSettings, path: &str) {
    page.line("route", &route.name);
    let upstreams: Vec<String> = route
        .upstreams
        .iter()
        .map(|upstream| sent_to(upstream, &rewritten(route, path)))
        .collect();
    page.line("goes to", &upstreams.join(", in turn with "));
    page.line("token", token(route.auth));
    page.line("must show", proof(route.csrf));
    page.line("anonymous", anonymous(route));
    page.line(
        "request",
        "loses Authorization, our cookies, X-CSRF, X-Forwarded-*, hop-by-hop",
    );
    page.line(
        "",
        "fields and names with an underscore; gets X-Forwarded-For, -Host and",
    );
    page.line("", "-Proto, Via and X-Request-Id of our own");
    changes(page, &route.request_headers);
    page.line(
        "answer",
        "loses our cookies' names, Access-Control-* and hop-by-hop fields; is",
    );
    page.line("", "kept out of shared caches");
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
    page.line(
        "WebSocket",
        if route.websocket {
            "passes, where Origin is ours"
        } else {
            "is refused"
        },
    );
    if config.trusted_proxies.is_empty() {
        page.line(
            "client",
            "is whoever connects; no proxy before us is trusted",
        );
    }
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

fn anonymous(route: &RouteSettings) -> &'static str {
    match (route.auth, route.csrf) {
        (RouteAuth::Required, Some(CsrfCheck::Origin)) => {
            "401 login_required; a navigation is sent to the provider"
        }
        (RouteAuth::Required, _) => "401 login_required",
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
