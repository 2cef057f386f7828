//! Which route a request takes: the longest prefix of whole segments.
//!
//! The table is built once; finding costs one hash for each depth at which some route stands,
//! whatever the number of routes.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{HeaderValue, Method};
use url::Url;

use crate::proxy::RouteSettings;
use crate::proxy::path::RequestPath;

/// All routes.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    /// Indices into `routes` by prefix; the root's prefix is the empty string.
    by_prefix: HashMap<String, Vec<usize>>,
    /// The most segments that a prefix has.
    deepest: usize,
    /// Hosts that routes name.
    hosts: Vec<String>,
}

/// One route, with what can be worked out beforehand.
#[derive(Debug)]
pub struct Route {
    settings: RouteSettings,
    /// As in the settings, for what outlives the request.
    name: Arc<str>,
    index: usize,
    upstreams: Vec<Upstream>,
    turn: AtomicUsize,
}

/// Where a route leads.
#[derive(Debug)]
pub struct Upstream {
    origin: Arc<Origin>,
    base_path: String,
}

/// What a connection is made to, and may be shared by.
#[derive(Debug)]
pub struct Origin {
    url: String,
    pub(super) security: Security,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authority: HeaderValue,
    /// Whether it took no connection when it was tried last.
    away: AtomicBool,
}

/// Whether the way to an upstream is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    Tls,
}

/// What [`RouteTable::find`] found.
#[derive(Debug)]
pub enum RouteMatch<'a> {
    /// The route to take.
    Found(&'a Route),
    /// Nothing is at this path.
    NoRoute,
    /// Something is, but not for this method; these are the ones it takes.
    MethodNotAllowed(Vec<Method>),
}

/// A route that cannot be used; found at the start.
#[derive(Debug, thiserror::Error)]
pub enum RouteFault {
    /// It leads nowhere.
    #[error("route {0} has no upstream")]
    NoUpstream(String),
    /// Its upstream is not an http or https URL with a host.
    #[error("route {route}: {upstream} is not an http or https URL")]
    NotHttp {
        /// The route's name.
        route: String,
        /// The URL.
        upstream: Url,
    },
}

impl RouteTable {
    /// The table of these routes; where two are alike, the first one stands.
    ///
    /// # Errors
    ///
    /// Where a route has no usable upstream.
    pub fn new(settings: Vec<RouteSettings>) -> Result<Self, RouteFault> {
        let mut origins = Origins::default();
        let mut routes = Vec::with_capacity(settings.len());
        let mut by_prefix: HashMap<String, Vec<usize>> = HashMap::new();
        let mut deepest = 0;
        let mut hosts = Vec::new();
        for (index, settings) in settings.into_iter().enumerate() {
            if let Some(host) = settings.host.clone()
                && !hosts.contains(&host)
            {
                hosts.push(host);
            }
            let prefix = settings.path.trim_end_matches('/');
            deepest = deepest.max(prefix.matches('/').count());
            by_prefix.entry(prefix.to_owned()).or_default().push(index);
            routes.push(Route::new(settings, index, &mut origins)?);
        }
        for indices in by_prefix.values_mut() {
            // Those for one host come before those for any; the order is kept otherwise.
            indices.sort_by_key(|&index| {
                routes
                    .get(index)
                    .is_some_and(|route| route.settings.host.is_none())
            });
        }
        Ok(Self {
            routes,
            by_prefix,
            deepest,
            hosts,
        })
    }

    /// The route for a request: the longest prefix wins, and at one prefix a route for this host
    /// comes before one for any. A shorter prefix never stands in where the longest one refuses the
    /// method, since its protection may be weaker (I10).
    pub fn find(&self, host: &str, method: &Method, path: &RequestPath) -> RouteMatch<'_> {
        let text = path.as_str();
        // Cut first: the cost must not grow with the segments that a stranger sends.
        let mut prefix = text
            .match_indices('/')
            .nth(self.deepest)
            .and_then(|(at, _)| text.get(..at))
            .unwrap_or(text);
        loop {
            if let Some(indices) = self.by_prefix.get(prefix) {
                match self.among(indices, host, method) {
                    RouteMatch::NoRoute => {}
                    found => return found,
                }
            }
            match prefix.rsplit_once('/') {
                Some((shorter, _)) => prefix = shorter,
                None => return RouteMatch::NoRoute,
            }
        }
    }

    /// All routes, in the order written.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Whether some route is for this host alone; where none is and the host is not the public one
    /// either, the request was meant for somebody else (I8).
    pub fn names_host(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|named| named.eq_ignore_ascii_case(host))
    }

    fn among(&self, indices: &[usize], host: &str, method: &Method) -> RouteMatch<'_> {
        let mut allow = Vec::new();
        for route in indices.iter().filter_map(|&index| self.routes.get(index)) {
            if !route.serves_host(host) {
                continue;
            }
            if route.takes(method) {
                return RouteMatch::Found(route);
            }
            for method in &route.settings.methods {
                if !allow.contains(method) {
                    allow.push(method.clone());
                }
            }
        }
        if allow.is_empty() {
            RouteMatch::NoRoute
        } else {
            RouteMatch::MethodNotAllowed(allow)
        }
    }
}

impl Route {
    fn new(
        settings: RouteSettings,
        index: usize,
        origins: &mut Origins,
    ) -> Result<Self, RouteFault> {
        let mut upstreams = Vec::with_capacity(settings.upstreams.len());
        for url in &settings.upstreams {
            let origin = origins.get(url).ok_or_else(|| RouteFault::NotHttp {
                route: settings.name.clone(),
                upstream: url.clone(),
            })?;
            upstreams.push(Upstream {
                origin,
                base_path: url.path().trim_end_matches('/').to_owned(),
            });
        }
        if upstreams.is_empty() {
            return Err(RouteFault::NoUpstream(settings.name));
        }
        Ok(Self {
            name: settings.name.as_str().into(),
            settings,
            index,
            upstreams,
            turn: AtomicUsize::new(0),
        })
    }

    /// What the operator wrote.
    pub const fn settings(&self) -> &RouteSettings {
        &self.settings
    }

    /// Its name in logs and metrics.
    pub(super) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its place among the routes, counted from 0.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Whether there is another upstream where one cannot be reached.
    pub(super) const fn has_others(&self) -> bool {
        self.upstreams.len() > 1
    }

    /// Every upstream once: first the one whose turn it is, or the next of those that are there.
    pub(super) fn upstreams_in_turn(&self) -> impl Iterator<Item = &Upstream> {
        let first = if self.has_others() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
            let (before, from) = self.upstreams.split_at(turn);
            let mut in_turn = from.iter().chain(before);
            let there = in_turn.position(|upstream| !upstream.origin.is_away());
            (turn + there.unwrap_or(0)) % self.upstreams.len()
        } else {
            0
        };
        let (before, from) = self.upstreams.split_at(first);
        from.iter().chain(before)
    }

    fn serves_host(&self, host: &str) -> bool {
        let only = self.settings.host.as_deref();
        only.is_none_or(|only| only.eq_ignore_ascii_case(host))
    }

    /// A route for GET answers HEAD too (RFC 9110 §9.3.2).
    fn takes(&self, method: &Method) -> bool {
        let methods = &self.settings.methods;
        methods.is_empty()
            || methods.contains(method)
            || (method == Method::HEAD && methods.contains(&Method::GET))
    }
}

impl Upstream {
    /// What is connected to.
    pub(super) const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// What stands before every path, without a slash at its end.
    pub(super) fn base_path(&self) -> &str {
        &self.base_path
    }
}

impl Origin {
    /// `http://orders.internal:9000`, with the port where it is not the scheme's own.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether it could not be reached when it was tried last.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Notes that it cannot be reached; whether that is news.
    pub(super) fn note_away(&self) -> bool {
        !self.away.swap(true, Ordering::Relaxed)
    }

    /// Notes that it was reached; whether that is news.
    pub(super) fn note_back(&self) -> bool {
        self.is_away() && self.away.swap(false, Ordering::Relaxed)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.hash(state);
    }
}

/// The origins seen so far, each once.
#[derive(Debug, Default)]
struct Origins(HashMap<String, Arc<Origin>>);

impl Origins {
    fn get(&mut self, url: &Url) -> Option<Arc<Origin>> {
        let security = match url.scheme() {
            "http" => Security::Plain,
            "https" => Security::Tls,
            _ => return None,
        };
        let host = url.host_str()?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let text = format!("{}://{authority}", url.scheme());
        if let Some(known) = self.0.get(&text) {
            return Some(Arc::clone(known));
        }
        let origin = Arc::new(Origin {
            url: text.clone(),
            security,
            // An IPv6 address is written without its brackets everywhere but in URLs.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default()?,
            authority: HeaderValue::try_from(authority).ok()?,
            away: AtomicBool::new(false),
        });
        self.0.insert(text, Arc::clone(&origin));
        Some(origin)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proxy::path::Semicolons;
    use crate::proxy::{HeaderChanges, PathRewrite, RouteAuth};

    /// A route of `path` to `upstream` that asks for nothing.
    pub(in crate::proxy) fn settings(path: &str, upstream: &str) -> RouteSettings {
        RouteSettings {
            name: path.to_owned(),
            path: path.to_owned(),
            host: None,
            methods: Vec::new(),
            upstreams: vec![Url::parse(upstream).unwrap()],
            auth: RouteAuth::None,
            csrf: None,
            path_rewrite: PathRewrite::Keep,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            timeout: std::time::Duration::from_secs(5),
            max_body: None,
            websocket: true,
            idle_timeout: None,
            streams: false,
        }
    }

    /// `name: [METHOD,…] [host]path`
    fn table(routes: &[(&str, &[&str], Option<&str>, &str)]) -> RouteTable {
        RouteTable::new(
            routes
                .iter()
                .map(|(name, methods, host, path)| RouteSettings {
                    name: (*name).to_owned(),
                    methods: methods.iter().map(|text| text.parse().unwrap()).collect(),
                    host: host.map(str::to_owned),
                    ..settings(path, "http://localhost:9000")
                })
                .collect(),
        )
        .unwrap()
    }

    fn find(table: &RouteTable, method: &str, host: &str, path: &str) -> String {
        let path = RequestPath::parse(path, Semicolons::Refuse).unwrap();
        match table.find(host, &method.parse().unwrap(), &path) {
            RouteMatch::Found(route) => route.settings().name.clone(),
            RouteMatch::NoRoute => "none".to_owned(),
            RouteMatch::MethodNotAllowed(allow) => format!("{allow:?}"),
        }
    }

    /// I9, I10: whole segments, the longest prefix, and never a weaker route for a refused method.
    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let table = table(&[
            ("api", &[], None, "/api"),
            ("orders", &["GET", "POST"], None, "/api/orders"),
            ("orders-put", &["PUT"], None, "/api/orders"),
            ("admin-api", &[], Some("admin.example"), "/api"),
            ("admin-only", &[], Some("admin.example"), "/only"),
            ("deep", &[], None, "/a/b/c/d"),
        ]);
        for (method, host, path, expected) in [
            ("GET", "app.example", "/api", "api"),
            ("GET", "app.example", "/api/", "api"),
            ("GET", "app.example", "/api/x/y/z/1/2/3", "api"),
            ("GET", "app.example", "/apis", "none"),
            ("GET", "app.example", "/Api", "none"),
            ("GET", "app.example", "/%61pi/orders", "orders"),
            ("GET", "app.example", "/api/orders/7", "orders"),
            ("HEAD", "app.example", "/api/orders/7", "orders"),
            ("PUT", "app.example", "/api/orders/7", "orders-put"),
            ("DELETE", "app.example", "/api/orders/7", "[GET, POST, PUT]"),
            ("GET", "app.example", "/api/ordersx", "api"),
            ("GET", "ADMIN.example", "/api/x", "admin-api"),
            ("GET", "admin.example", "/api/orders", "orders"),
            ("GET", "app.example", "/only", "none"),
            ("GET", "admin.example", "/only/x", "admin-only"),
            ("GET", "app.example", "/a/b/c", "none"),
            ("GET", "app.example", "/a/b/c/d/e", "deep"),
            ("GET", "app.example", "/", "none"),
        ] {
            assert_eq!(
                table.names_host(host),
                host.eq_ignore_ascii_case("admin.example")
            );
            assert_eq!(
                find(&table, method, host, path),
                expected,
                "{method} {host} {path}"
            );
        }
    }

    #[test]
    fn the_root_takes_what_is_left() {
        let table = table(&[("root", &[], None, "/"), ("api", &[], None, "/api")]);
        for (path, expected) in [("/", "root"), ("/x/y", "root"), ("/api/x", "api")] {
            assert_eq!(find(&table, "GET", "h", path), expected, "{path}");
        }
    }

    #[test]
    fn of_two_alike_the_first_stands() {
        let table = table(&[("first", &[], None, "/x"), ("second", &[], None, "/x")]);
        assert_eq!(find(&table, "GET", "h", "/x"), "first");
    }

    #[test]
    fn upstreams_take_turns() {
        let mut two = settings("/", "http://a.example");
        two.upstreams
            .push(Url::parse("http://b.example/base/").unwrap());
        let table = RouteTable::new(vec![two]).unwrap();
        let route = table.routes().next().unwrap();
        let first = || {
            let upstream = route.upstreams_in_turn().next().unwrap();
            format!("{}{}", upstream.origin().as_str(), upstream.base_path())
        };
        let seen = [first(), first(), first()];
        assert_eq!(
            seen,
            [
                "http://a.example",
                "http://b.example/base",
                "http://a.example"
            ]
        );
        assert_eq!(route.upstreams_in_turn().count(), 2);
    }

    /// I1: an upstream that is no http URL is refused at the start.
    #[test]
    fn only_http_upstreams_are_taken() {
        assert!(RouteTable::new(vec![settings("/", "ftp://a.example")]).is_err());
        let mut none = settings("/", "http://a.example");
        none.upstreams.clear();
        assert!(RouteTable::new(vec![none]).is_err());
    }
}
