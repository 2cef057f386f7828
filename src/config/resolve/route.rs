//! `[[route]]`: where API calls go, each by itself and all of them together.

use std::time::Duration;

use http::Method;
use url::Url;

use crate::config::error::Faults;
use crate::config::lists::OneOrMany;
use crate::config::reader::{Field, Written};
use crate::config::resolve::frontend::Frontend;
use crate::config::resolve::header_templates::request_changes;
use crate::config::resolve::headers::{answer_changes, keep_private, passed};
use crate::config::resolve::public::{Public, host_of};
use crate::config::resolve::{
    Purpose, Surroundings, client_cert, dpop_htu, identity, path_prefix, requirement, roots,
    route_token, span, upstream_url,
};
use crate::config::route_table::RouteTable;
use crate::config::words::{Chosen, Size};
use crate::proxy::path::{EncodedSlashes, PathRules, Semicolons};
use crate::proxy::{CsrfCheck, HostSent, PathRewrite, RouteAuth, RouteSettings, SetCookie};
use crate::web::activity::Activity;

/// The upstream that stands for the demo API of `bff dev`.
#[cfg(feature = "dev")]
pub(in crate::config) const DEMO_API: &str = "dev:api";
/// The upstream that stands for the demo app of `bff dev`.
#[cfg(feature = "dev")]
pub(in crate::config) const DEMO_APP: &str = "dev:app";

const TIMEOUT: Duration = Duration::from_mins(1);
/// What is written in place of none at all.
const IDLE_EXAMPLE: Duration = Duration::from_mins(5);

/// All routes in the order written, the frontend's server last.
pub(super) fn routes(
    field: &Field<Vec<Written<RouteTable>>>,
    public: Option<&Public>,
    frontend: Option<&Frontend>,
    defaults: PathRules,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Vec<RouteSettings>> {
    #[cfg(feature = "dev")]
    let purpose = surroundings.purpose;
    let written = field.or(Vec::new());
    let read: Vec<Option<RouteSettings>> = written
        .iter()
        .map(|route| self::route(route, defaults, surroundings, faults))
        .collect();
    for (index, (written, settings)) in written.iter().zip(&read).enumerate() {
        let Some(settings) = settings else { continue };
        let earlier = || read.iter().take(index).flatten();
        let path = written.value.path.written();
        if let (Some(public), Some(path)) = (public, path)
            && is_below(&settings.path, &public.base_path)
        {
            path.refuse(
                faults,
                format!(
                    "lies under {}, which is for the endpoints of bff",
                    public.base_path
                ),
                "write another path, or another base_path",
            );
        }
        if let (Some(public), Some(host)) = (public, written.value.host.written()) {
            keep_sessions_home(host, settings, public, faults);
        }
        if let Some(path) = path {
            compare(path, settings, earlier(), faults);
        }
        if let (Some(Frontend::Files(_) | Frontend::Server(_)), Some(path)) = (frontend, path)
            && takes_everything(std::slice::from_ref(settings))
        {
            path.warn(
                faults,
                "takes every path, so that [frontend] is never reached",
                "write the path of the API alone, or leave [frontend] out",
            );
        }
    }
    let mut routes: Vec<RouteSettings> = read.into_iter().collect::<Option<_>>()?;
    if field.stands() && field.written().is_none() {
        return None;
    }
    match frontend {
        Some(Frontend::Server(url)) => routes.push(frontend_route(url.clone())),
        #[cfg(feature = "dev")]
        Some(Frontend::None) if purpose.is_development() && !takes_everything(&routes) => {
            routes.extend(Url::parse(DEMO_APP).ok().map(frontend_route));
        }
        Some(Frontend::None | Frontend::Files(_)) | None => {}
    }
    Some(routes)
}

/// People sign in at the host of `public_url`, and their cookie goes to no other.
fn keep_sessions_home(
    written: &Written<String>,
    route: &RouteSettings,
    public: &Public,
    faults: &mut Faults,
) {
    let Some(host) = route.host.as_deref() else {
        return;
    };
    if route.auth != RouteAuth::None && host != public.host() {
        written.refuse(
            faults,
            format!(
                "is a host where nobody is signed in: a session's cookie goes to {} alone",
                public.host()
            ),
            "make it a site of its own (server.sites), or write auth = \"none\"",
        );
    }
}

fn takes_everything(routes: &[RouteSettings]) -> bool {
    routes
        .iter()
        .any(|route| route.path == "/" && route.host.is_none() && route.methods.is_empty())
}

/// Two routes for the same calls: refused if alike, warned of if the earlier one takes them all.
fn compare<'a>(
    path: &Written<String>,
    route: &RouteSettings,
    mut earlier: impl Iterator<Item = &'a RouteSettings>,
    faults: &mut Faults,
) {
    let Some(other) = earlier.find(|other| {
        other.path == route.path && other.host == route.host && takes_all_of(other, route)
    }) else {
        return;
    };
    if takes_all_of(route, other) {
        path.refuse(
            faults,
            format!(
                "stands twice with the same host and methods: {:?}",
                route.path
            ),
            "leave one of the two routes out, or give them different methods",
        );
    } else {
        path.warn(
            faults,
            format!(
                "is never reached: an earlier route on {:?} takes these methods",
                route.path
            ),
            "put the route with fewer methods first",
        );
    }
}

fn takes_all_of(route: &RouteSettings, other: &RouteSettings) -> bool {
    route.methods.is_empty()
        || !other.methods.is_empty()
            && other
                .methods
                .iter()
                .all(|method| route.methods.contains(method))
}

pub(super) fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One route by itself.
fn route(
    written: &Written<RouteTable>,
    defaults: PathRules,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<RouteSettings> {
    let table = &written.value;
    let path = table
        .path
        .required(&written.place, "route.path", "path = \"/api\"", faults)
        .and_then(|path| Some((path.value.clone(), path_prefix(path, "/api", faults)?)));
    let upstreams = table
        .upstream
        .required(
            &written.place,
            "route.upstream",
            "upstream = \"http://orders.internal:9000\"",
            faults,
        )
        .and_then(|upstream| upstreams(upstream, surroundings.purpose, faults));
    let roots = roots(&table.ca, "the upstream's", surroundings, faults);
    warn_of_idle_roots(&table.ca, upstreams.as_deref(), faults);
    warn_of_idle_roots(&table.client_cert, upstreams.as_deref(), faults);
    let client_certificate = client_cert::client_cert(&table.client_cert, surroundings, faults);
    let host = host(&table.host, faults);
    let auth = table.auth.or(Chosen(RouteAuth::Required)).0;
    let token = route_token::token(&table.token, auth, faults);
    let dpop_htu = dpop_htu::dpop_htu(&table.dpop_htu, token.as_ref(), faults);
    let require = requirement::requirement(&table.require, auth, faults);
    let csrf = csrf(table, auth, faults);
    let path_rewrite = path_rewrite(table, faults);
    let passed_fields = passed(&table.request_headers, faults);
    let mut request_headers = request_changes(&table.request_headers, auth, faults);
    let identity = identity::identity(&table.identity, auth, request_headers.as_mut(), faults);
    let response_headers = answer_changes(&table.response_headers, faults);
    if auth != RouteAuth::None {
        keep_private(&table.response_headers, faults);
    }
    if let Some(max_body) = table.max_body.written()
        && max_body.value == Size(0)
    {
        max_body.refuse(
            faults,
            "is zero, so that no body could ever pass",
            "write a size such as \"8MiB\", or limit the methods",
        );
    }
    let timeout = span(&table.timeout, TIMEOUT, faults);
    let idle_timeout = span(&table.idle_timeout, IDLE_EXAMPLE, faults);
    let methods = methods(&table.methods, faults);
    let (name, path) = path?;
    Some(RouteSettings {
        mount: String::new(),
        name,
        path,
        host,
        methods,
        upstreams: upstreams?,
        roots,
        client_certificate: client_certificate?,
        auth,
        token: token?,
        dpop_htu: dpop_htu?,
        require: require?,
        identity: identity?,
        csrf,
        path_rewrite: path_rewrite?,
        path_rules: PathRules {
            semicolons: table
                .allow_semicolon
                .written()
                .map_or(defaults.semicolons, |allow| semicolons(allow.value)),
            encoded_slashes: table.encoded_slashes.or(Chosen(defaults.encoded_slashes)).0,
        },
        host_sent: if table.preserve_host.or(false) {
            HostSent::Ours
        } else {
            HostSent::Upstreams
        },
        passed_fields: passed_fields?,
        request_headers: request_headers?,
        response_headers: response_headers?,
        timeout,
        max_body: table.max_body.written().map(|size| size.value.0),
        websocket: table.websocket.or(true),
        idle_timeout: table.idle_timeout.written().map(|_| idle_timeout),
        streams: table.streams.or(false),
        service_worker: table.service_worker.or(false),
        activity: activity(&table.activity, auth, faults),
        set_cookie: table.set_cookie.or(Chosen(SetCookie::Drop)).0,
    })
}

/// N2: a certificate is shown over https alone.
fn warn_of_idle_roots<T>(field: &Field<T>, upstreams: Option<&[Url]>, faults: &mut Faults) {
    if let (Some(written), Some(upstreams)) = (field.written(), upstreams)
        && upstreams.iter().all(|url| url.scheme() != "https")
    {
        written.warn(
            faults,
            "changes nothing, since no upstream of the route is https",
            "write an https upstream, or leave it out",
        );
    }
}

/// I1: the only addresses that are ever dialled.
fn upstreams(
    written: &Written<OneOrMany<String>>,
    purpose: Purpose,
    faults: &mut Faults,
) -> Option<Vec<Url>> {
    if written.value.0.is_empty() {
        written.refuse(
            faults,
            "is empty",
            "write an address such as \"http://orders.internal:9000\"",
        );
        return None;
    }
    let read: Vec<Option<Url>> = written
        .value
        .0
        .iter()
        .map(|upstream| {
            #[cfg(feature = "dev")]
            if upstream.value == DEMO_API && purpose.is_without_provider() {
                // It has an address only while it runs; an explanation needs one of that form.
                let explained = purpose == Purpose::Explain;
                return Url::parse(if explained {
                    "http://demo-api"
                } else {
                    DEMO_API
                })
                .ok();
            }
            if upstream.value.starts_with("dev:") && !purpose.is_development() {
                upstream.refuse(
                    faults,
                    format!("is {:?}, which is there under bff dev only", upstream.value),
                    "write the address of your API, such as \"http://orders.internal:9000\"",
                );
                return None;
            }
            upstream_url(upstream, "http://orders.internal:9000", faults)
        })
        .collect();
    read.into_iter().collect()
}

/// A host as browsers send it, without a port.
fn host(field: &Field<String>, faults: &mut Faults) -> Option<String> {
    let written = field.written()?;
    let host = host_of(&written.value)
        .filter(|_| !written.value.contains(['*', '%', '/', '@']))
        .map(|host| host.to_string());
    if host.is_none() {
        written.refuse(
            faults,
            format!("is not a host name: {:?}", written.value),
            "write one without port, path or wildcard, such as \"app.example.com\"",
        );
    }
    host
}

fn methods(field: &Field<Vec<Written<Method>>>, faults: &mut Faults) -> Vec<Method> {
    let Some(written) = field.written() else {
        return Vec::new();
    };
    if written.value.is_empty() {
        written.refuse(
            faults,
            "is empty, so that the route takes nothing",
            "write [\"GET\"], or leave the key out for all methods",
        );
    }
    written
        .value
        .iter()
        .map(|method| method.value.clone())
        .collect()
}

/// H1, H7: every route that carries a credential has a check.
fn csrf(table: &RouteTable, auth: RouteAuth, faults: &mut Faults) -> Option<CsrfCheck> {
    match (auth, table.csrf.written()) {
        (RouteAuth::None, Some(csrf)) => {
            csrf.refuse(
                faults,
                "has no meaning where auth is \"none\": no credential is carried",
                "leave csrf out",
            );
            None
        }
        (RouteAuth::None, None) => None,
        (RouteAuth::Required | RouteAuth::Optional, csrf) => {
            Some(csrf.map_or(CsrfCheck::Header, |csrf| csrf.value.0))
        }
    }
}

/// G9: whether a call is a use of the session that it is made in.
fn activity(field: &Field<bool>, auth: RouteAuth, faults: &mut Faults) -> Activity {
    if let (RouteAuth::None, Some(written)) = (auth, field.written()) {
        written.refuse(
            faults,
            "has no meaning where auth is \"none\": no session is looked for",
            "leave activity out",
        );
    }
    if field.or(true) {
        Activity::Slides
    } else {
        Activity::Observes
    }
}

/// I9: what `allow_semicolon` says, of the server and of a route.
pub(super) const fn semicolons(allow: bool) -> Semicolons {
    if allow {
        Semicolons::Allow
    } else {
        Semicolons::Refuse
    }
}

fn path_rewrite(table: &RouteTable, faults: &mut Faults) -> Option<PathRewrite> {
    let strip = table.strip_prefix.or(false);
    match table.rewrite.written() {
        None if table.rewrite.stands() => None,
        None if strip => Some(PathRewrite::StripPrefix),
        None => Some(PathRewrite::Keep),
        Some(rewrite) if strip => {
            rewrite.refuse(
                faults,
                "stands beside strip_prefix, and only one can name the new path",
                "leave one of the two out",
            );
            None
        }
        // The same, in other words.
        Some(rewrite) if rewrite.value == "/" => Some(PathRewrite::StripPrefix),
        Some(rewrite) => path_prefix(rewrite, "/v2", faults).map(PathRewrite::ReplacePrefix),
    }
}

/// The app's development server: public files, with the WebSocket of its hot reload. Its paths are
/// the app's own, as they are where the app comes from a folder.
fn frontend_route(url: Url) -> RouteSettings {
    RouteSettings {
        path_rules: PathRules {
            semicolons: Semicolons::Allow,
            encoded_slashes: EncodedSlashes::Pass,
        },
        timeout: TIMEOUT,
        service_worker: true,
        ..RouteSettings::open("/", url)
    }
}
