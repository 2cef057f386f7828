//! Where an API call goes and what it carries.
//!
//! Knows no session: the pipeline hands over the bearer value and the [`Ending`] of whoever calls.
//!
//! [`Ending`]: crate::web::ending::Ending

pub mod message;
pub mod path;
pub mod reading;
pub mod route;

mod origin;

pub mod headers;

mod call;
pub mod dial;
mod error;
mod exchange;
pub mod forward;
mod proven;
mod upload;
pub mod upstream;
pub mod wire;

mod frames;
mod tunnel;
pub mod upgrade;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use self::headers::PassedFields;
use self::path::PathRules;
use crate::web::activity::Activity;
use crate::web::client_certificate::ClientCertificate;
use crate::web::header_template::HeaderTemplate;
use crate::web::identity::IdentitySettings;
use crate::web::requirement::Requirement;
use crate::web::token_spec::RouteToken;
use crate::web::trust::Roots;

/// One `[[route]]`, validated.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Its name in logs and metrics: the path as written.
    pub name: String,
    /// The path prefix, by whole segments; `/` takes everything. Normalised, no trailing slash but for `/`.
    pub path: String,
    /// Only for this external host (lower case, no port), where set.
    pub host: Option<String>,
    /// Only these methods; empty takes all.
    pub methods: Vec<Method>,
    /// The upstreams' origins (scheme, host, port; an optional base path), taken in turn.
    pub upstreams: Vec<Url>,
    /// Whose certificates are believed there, in place of the machine's own authorities.
    pub roots: Option<Roots>,
    /// What we show there, in TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// Who may call.
    pub auth: RouteAuth,
    /// The access token that its calls carry.
    pub token: RouteToken,
    /// How the upstream knows its own address, where that is not how it is reached: an origin and a path, with
    /// no slash at the end. Proofs of possession are made for it (RFC 9449 §4.3).
    pub dpop_htu: Option<String>,
    /// What else is asked of who calls.
    pub require: Option<Requirement>,
    /// How the upstream is told who calls, in a token of ours.
    pub identity: Option<IdentitySettings>,
    /// How a call proves that our own page made it; `None` where `auth` is none.
    pub csrf: Option<CsrfCheck>,
    /// What becomes of the path on its way.
    pub path_rewrite: PathRewrite,
    /// The path that its site lives below, `/shop`; empty where that has the whole origin.
    pub mount: String,
    /// What its paths may hold beyond the plain.
    pub path_rules: PathRules,
    /// Whose name the upstream is called by.
    pub host_sent: HostSent,
    /// The only fields of the browser's that pass; `None` passes all but those on our list.
    pub passed_fields: Option<PassedFields>,
    /// Changes to the request's headers, after all of ours.
    pub request_headers: HeaderChanges,
    /// Changes to the answer's headers, after all of ours.
    pub response_headers: HeaderChanges,
    /// To the head of the upstream's answer.
    pub timeout: Duration,
    /// The most bytes a request's body may have; `None` streams without end.
    pub max_body: Option<u64>,
    /// Whether WebSocket upgrades pass.
    pub websocket: bool,
    /// Between two pieces of a body, either way; `None` takes what holds for all.
    pub idle_timeout: Option<Duration>,
    /// Whether bodies of requests are streams, which may come as slowly as they like.
    pub streams: bool,
    /// Whether its scripts may become service workers, which stand between all pages and us.
    pub service_worker: bool,
    /// Whether its calls are uses of their session, whatever they say of themselves.
    pub activity: Activity,
    /// What becomes of the cookies that its upstream sets.
    pub set_cookie: SetCookie,
}

impl RouteSettings {
    /// The same route of a site that lives below `mount`: browsers find it there, and its upstream knows
    /// nothing of it but what `X-Forwarded-Prefix` says.
    #[must_use]
    pub fn below(mut self, mount: &str) -> Self {
        if mount.is_empty() {
            return self;
        }
        let own = self.path.trim_end_matches('/').to_owned();
        self.path = format!("{mount}{own}");
        if self.path_rewrite == PathRewrite::Keep {
            self.path_rewrite = PathRewrite::ReplacePrefix(own);
        }
        mount.clone_into(&mut self.mount);
        self
    }

    /// The claims that it asks of a session, by their paths.
    pub fn claims_asked(&self) -> impl Iterator<Item = &str> {
        let ruled = self.require.iter().flat_map(|rule| &rule.claims);
        let told = self.request_headers.templates.iter();
        let signed = self.identity.iter().filter_map(|to| to.claims.as_ref());
        ruled
            .map(|(path, _)| path.as_str())
            .chain(told.flat_map(|(_, template)| template.claims()))
            .chain(signed.flatten().map(String::as_str))
    }

    /// A route of `path` to `upstream` that asks for nothing and changes nothing.
    pub fn open(path: &str, upstream: Url) -> Self {
        Self {
            name: path.to_owned(),
            path: path.to_owned(),
            host: None,
            methods: Vec::new(),
            upstreams: vec![upstream],
            roots: None,
            client_certificate: None,
            auth: RouteAuth::None,
            token: RouteToken::None,
            dpop_htu: None,
            require: None,
            identity: None,
            csrf: None,
            path_rewrite: PathRewrite::Keep,
            mount: String::new(),
            path_rules: PathRules::STRICT,
            host_sent: HostSent::Upstreams,
            passed_fields: None,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            timeout: Duration::from_mins(1),
            max_body: None,
            websocket: true,
            idle_timeout: None,
            streams: false,
            service_worker: false,
            activity: Activity::Slides,
            set_cookie: SetCookie::Drop,
        }
    }
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAuth {
    /// A session is needed.
    Required,
    /// With a session or without one.
    Optional,
    /// No session is looked for, and no user's credential carried.
    None,
}

/// How a call proves that our own page made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrfCheck {
    /// `X-CSRF: 1`, and nothing foreign in Origin or Fetch Metadata (H2, H3).
    Header,
    /// Fetch Metadata says same-origin, or a navigation (H7).
    Origin,
}

/// Whose name an upstream is called by, in `Host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostSent {
    /// Its own, as configured.
    Upstreams,
    /// Ours, as the browser asked for it, for upstreams that hold it against `Origin`.
    Ours,
}

/// What becomes of the cookies that an upstream sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCookie {
    /// They stay here.
    Drop,
    /// They pass, for our host alone; never one of ours.
    Keep,
}

/// What becomes of the path on its way to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Goes as it came.
    Keep,
    /// The route's prefix is taken off.
    StripPrefix,
    /// The route's prefix becomes this one.
    ReplacePrefix(String),
}

/// Headers that the operator sets and removes.
#[derive(Debug, Clone, Default)]
pub struct HeaderChanges {
    /// Set, in place of any that came.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Set to what is known of the session of a call. Their names are among those removed, so that no
    /// browser can write one where nothing is known.
    pub templates: Vec<(HeaderName, HeaderTemplate)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl HeaderChanges {
    /// Whether a field of this name goes, or another takes its place.
    pub fn touch(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|(set, _)| set == name)
    }
}

#[cfg(test)]
mod tests;
