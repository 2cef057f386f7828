//! Which route a request takes: the longest prefix of whole segments.
//!
//! The table is built once; finding costs one hash for each depth at which some route stands,
//! whatever the number of routes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::request::Parts;
use http::{HeaderValue, Method};
use url::Url;

use crate::proxy::message::external_host;
use crate::proxy::origin::{Origin, Origins, Trust};
use crate::proxy::path::{PathFault, PathRules, RequestPath};
use crate::proxy::reading::{lies_below, loosest_reading};
use crate::proxy::{HostSent, PathRewrite, RouteSettings};
use crate::web::public_origin::PublicOrigin;
use crate::web::socket_url;

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
    /// What some route takes.
    path_rules: PathRules,
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
    /// Its path as a reading is held against it.
    reading: String,
    /// Whether a cookie of its upstreams has been dropped yet.
    dropped_a_cookie: AtomicBool,
}

/// Where a route leads.
#[derive(Debug)]
pub struct Upstream {
    origin: Arc<Origin>,
    base_path: String,
    /// What the browser's path has before the upstream's; told where the route takes it off.
    forwarded_prefix: Option<HeaderValue>,
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
    /// Its upstream is neither an http or https URL with a host nor a socket file.
    #[error("route {route}: {upstream} is not an http, https or unix URL")]
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
        let mut path_rules = PathRules::STRICT;
        for (index, settings) in settings.into_iter().enumerate() {
            if let Some(host) = settings.host.clone()
                && !hosts.contains(&host)
            {
                hosts.push(host);
            }
            path_rules = path_rules.or(settings.path_rules);
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
            path_rules,
        })
    }

    /// What a path may hold for some route to take it; [`RouteTable::check`] asks the one it leads
    /// to.
    pub const fn path_rules(&self) -> PathRules {
        self.path_rules
    }

    /// Whether `route`, which was found for `path`, takes it: by its own rules, and only where the
    /// loosest reading finds neither another route nor an endpoint of ours.
    ///
    /// # Errors
    ///
    /// What the route refuses.
    pub fn check(
        &self,
        route: &Route,
        path: &RequestPath,
        base_path: &str,
    ) -> Result<(), PathFault> {
        if !path.has_two_readings() {
            return Ok(());
        }
        path.check(route.settings.path_rules)?;
        let reading = loosest_reading(path.as_str()).ok_or(PathFault::TwoRoutes)?;
        let others = self.routes.iter().map(|route| route.reading.as_str());
        let leads_elsewhere = lies_below(&reading, &base_path.to_ascii_lowercase())
            || others
                .filter(|other| other.len() > route.reading.len())
                .any(|other| lies_below(&reading, other));
        if leads_elsewhere {
            return Err(PathFault::TwoRoutes);
        }
        Ok(())
    }

    /// Whether a path that came to one site may be taken to lie below `mount`, where another one is.
    pub fn may_lie_below(path: &RequestPath, mount: &str) -> bool {
        if !path.has_two_readings() {
            return lies_below(path.as_str(), mount);
        }
        loosest_reading(path.as_str())
            .is_none_or(|reading| lies_below(&reading, &mount.to_ascii_lowercase()))
    }

    /// Whether some reader may take the path to lie below a route, of whatever host and method, or
    /// below our endpoints.
    pub fn may_serve(&self, raw_path: &str, base_path: &str) -> bool {
        let Some(reading) = loosest_reading(raw_path) else {
            return true;
        };
        lies_below(&reading, &base_path.to_ascii_lowercase())
            || self
                .routes
                .iter()
                .any(|route| lies_below(&reading, &route.reading))
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

    /// Where routes lead, each once.
    pub(super) fn origins(&self) -> Vec<Arc<Origin>> {
        let mut origins: Vec<Arc<Origin>> = Vec::new();
        for upstream in self.routes.iter().flat_map(|route| &route.upstreams) {
            if !origins.contains(&upstream.origin) {
                origins.push(Arc::clone(&upstream.origin));
            }
        }
        origins
    }

    /// The hosts that some route is for alone; a request for none of them and not for the public one
    /// was meant for somebody else (I8).
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &**host)
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
        let trust = Trust {
            roots: settings.roots.clone(),
            shown: settings.client_certificate.clone(),
        };
        for url in &settings.upstreams {
            let origin = origins
                .get(url, &trust)
                .ok_or_else(|| RouteFault::NotHttp {
                    route: settings.name.clone(),
                    upstream: url.clone(),
                })?;
            let base_path = socket_url::base_path(url).to_owned();
            upstreams.push(Upstream {
                origin,
                forwarded_prefix: forwarded_prefix(&settings, &base_path),
                base_path,
            });
        }
        if upstreams.is_empty() {
            return Err(RouteFault::NoUpstream(settings.name));
        }
        Ok(Self {
            name: settings.name.as_str().into(),
            // No path of the configuration is unclear.
            reading: loosest_reading(&settings.path).unwrap_or_default(),
            settings,
            index,
            upstreams,
            turn: AtomicUsize::new(0),
            dropped_a_cookie: AtomicBool::new(false),
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

    /// Notes that a cookie of an upstream's was dropped; whether that is news.
    pub(super) fn is_first_cookie_dropped(&self) -> bool {
        !self.dropped_a_cookie.load(Ordering::Relaxed)
            && !self.dropped_a_cookie.swap(true, Ordering::Relaxed)
    }

    /// The `Host` that an upstream is called by. Of the browser's word for ours only the name
    /// counts, which was found to be one of ours; the port is that of `public_url` (I8).
    pub(super) fn host_sent(
        &self,
        upstream: &Upstream,
        public: &PublicOrigin,
        asked: &Parts,
    ) -> HeaderValue {
        match self.settings.host_sent {
            HostSent::Upstreams => upstream.origin.authority.clone(),
            HostSent::Ours => external_host(asked)
                .and_then(|host| public.authority_of(host))
                .unwrap_or_else(|| public.authority().clone()),
        }
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

    /// `X-Forwarded-Prefix`, where there is one to tell.
    pub(super) const fn forwarded_prefix(&self) -> Option<&HeaderValue> {
        self.forwarded_prefix.as_ref()
    }
}

/// An upstream with a path of its own would put the prefix before that, which is no address of
/// ours.
fn forwarded_prefix(settings: &RouteSettings, base_path: &str) -> Option<HeaderValue> {
    let stripped = match settings.path_rewrite {
        PathRewrite::StripPrefix if settings.path != "/" => &settings.path,
        _ => &settings.mount,
    };
    (!stripped.is_empty() && base_path.is_empty())
        .then(|| HeaderValue::from_str(stripped).ok())
        .flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proxy::path::{EncodedSlashes, Semicolons};

    /// A route of `path` to `upstream` that asks for nothing.
    pub(in crate::proxy) fn settings(path: &str, upstream: &str) -> RouteSettings {
        RouteSettings::open(path, Url::parse(upstream).unwrap())
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
        let path = RequestPath::parse(path, PathRules::STRICT).unwrap();
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
        assert_eq!(table.hosts().collect::<Vec<_>>(), ["admin.example"]);
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
                find(&table, method, host, path),
                expected,
                "{method} {host} {path}"
            );
        }
    }

    /// I9: what a route lets pass never leads a lenient upstream to where another route, or an
    /// endpoint, has other rules.
    #[test]
    fn a_path_with_two_readings_stays_with_its_route() {
        let loose = PathRules {
            semicolons: Semicolons::Allow,
            encoded_slashes: EncodedSlashes::Pass,
        };
        let of = |path, path_rules| RouteSettings {
            path_rules,
            ..settings(path, "http://up.example")
        };
        let table = RouteTable::new(vec![
            of("/", loose),
            of("/files", loose),
            of("/files/Admin", PathRules::STRICT),
            of("/api", PathRules::STRICT),
        ])
        .unwrap();
        assert_eq!(table.path_rules(), loose);
        for (path, expected) in [
            ("/files/a%2Fb", Ok(())),
            ("/files/a;v=1/b", Ok(())),
            ("/files/a%2Fadmin", Ok(())),
            ("/x;y", Ok(())),
            ("/files/Admin/x", Ok(())),
            ("/files/Admin/a%2Fb", Err(PathFault::Separator)),
            ("/api/a;b", Err(PathFault::Semicolon)),
            ("/files/admin%2Fx", Err(PathFault::TwoRoutes)),
            ("/files/Admin;v=1/x", Err(PathFault::TwoRoutes)),
            ("/files%2FAdmin", Err(PathFault::TwoRoutes)),
            ("/api%2Fx", Err(PathFault::TwoRoutes)),
            ("/BFF%2Flogin", Err(PathFault::TwoRoutes)),
            ("/bff;x/login", Err(PathFault::TwoRoutes)),
        ] {
            let path = RequestPath::parse(path, loose).unwrap();
            let RouteMatch::Found(route) = table.find("app.example", &Method::GET, &path) else {
                panic!("{path:?}");
            };
            assert_eq!(table.check(route, &path, "/bff"), expected, "{path:?}");
        }
    }

    /// I9: beside routes, an odd path is the app's only where no reader finds a route in it.
    #[test]
    fn an_odd_path_may_be_a_routes() {
        let table = table(&[("api", &["POST"], Some("other.example"), "/api")]);
        for (path, expected) in [
            ("/heroes;id=15", false),
            ("/files/a%2Fb", false),
            ("//", false),
            ("/apis;x", false),
            ("//api", true),
            ("/API;x/y", true),
            ("/%2561pi", true),
            ("/x/..;/api", true),
            ("/x%00", true),
            ("/bff%2Flogin", true),
        ] {
            assert_eq!(table.may_serve(path, "/bff"), expected, "{path}");
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
