//! One browser app as the outside sees it: its origin, its relying party, its routes and its files.

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use crate::auth::RelyingParty;
use crate::frontend::{ErrorPage, Frontend};
use crate::pipeline::endpoint::{Endpoint, UnderBase};
use crate::pipeline::own_headers::OwnHeaders;
use crate::proxy::path::{PathRules, RequestPath};
use crate::proxy::route::RouteTable;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::web::cookie_names::CookieNames;
use crate::web::public_origin::PublicOrigin;
use crate::web::site_id::SiteId;

/// A site, shared by all workers.
#[derive(Debug)]
pub struct Site {
    pub(super) id: SiteId,
    pub(super) relying_party: Arc<RelyingParty>,
    pub(super) routes: RouteTable,
    pub(super) frontend: Option<Frontend>,
    pub(super) error_page: Option<ErrorPage>,
    pub(super) public: PublicOrigin,
    /// What the paths of the app's files may hold.
    pub(super) path_rules: PathRules,
    pub(super) own_headers: OwnHeaders,
    pub(super) strip_cookies: CookieNames,
    neighbours: Neighbours,
    pub(super) metrics: SiteMetrics,
}

/// The parts that a [`Site`] is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by their types")]
pub struct SiteParts {
    pub id: SiteId,
    pub relying_party: Arc<RelyingParty>,
    pub routes: RouteTable,
    pub frontend: Option<Frontend>,
    pub error_page: Option<ErrorPage>,
    pub public: PublicOrigin,
    pub path_rules: PathRules,
    pub own_headers: OwnHeaders,
    pub neighbours: Neighbours,
    pub metrics: Metrics,
}

/// What a site must know of the others on its host, with which it shares an origin.
#[derive(Debug, Clone, Default)]
pub struct Neighbours {
    /// The paths below its own that are theirs.
    pub mounts: Vec<String>,
    /// The names of their cookies.
    pub cookies: CookieNames,
}

/// Where the requests of a site are counted.
#[derive(Debug)]
pub(super) struct SiteMetrics {
    pub(super) routes: Vec<RouteMetrics>,
    endpoints: Vec<(Endpoint, RouteMetrics)>,
    pub(super) frontend: RouteMetrics,
}

impl Site {
    /// Puts the parts together.
    pub fn new(parts: SiteParts) -> Self {
        let SiteParts {
            id,
            relying_party,
            routes,
            frontend,
            error_page,
            public,
            path_rules,
            own_headers,
            neighbours,
            metrics,
        } = parts;
        let base_path = &relying_party.settings().base_path;
        let metrics = SiteMetrics {
            routes: routes
                .routes()
                .map(|route| metrics.route(&route.settings().name))
                .collect(),
            endpoints: Endpoint::ALL
                .into_iter()
                .map(|(endpoint, path)| (endpoint, metrics.route(&format!("{base_path}{path}"))))
                .collect(),
            frontend: metrics.route("frontend"),
        };
        Self {
            strip_cookies: (relying_party.session_cookie().settings().derived_names())
                .and(&neighbours.cookies),
            neighbours,
            id,
            relying_party,
            routes,
            frontend,
            error_page,
            public,
            path_rules,
            own_headers,
            metrics,
        }
    }

    /// Which one it is.
    pub const fn id(&self) -> &SiteId {
        &self.id
    }

    /// The relying party that browsers meet here.
    pub const fn relying_party(&self) -> &Arc<RelyingParty> {
        &self.relying_party
    }

    /// The path that it lives below, `/shop`; empty where it has the whole origin.
    pub fn mount(&self) -> &str {
        &self.relying_party.settings().mount
    }

    /// The origin that browsers see.
    pub const fn public(&self) -> &PublicOrigin {
        &self.public
    }

    /// The hosts that it answers at, in lower case: the public one, and those that routes name.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.public.host()).chain(self.routes.hosts())
    }

    /// Whether a path that came here as it is written may be read as one of another site's on this host.
    pub(super) fn may_be_a_neighbours(&self, path: &RequestPath) -> bool {
        let mut mounts = self.neighbours.mounts.iter();
        mounts.any(|mount| RouteTable::may_lie_below(path, mount))
    }

    /// What a path may hold for anybody here to take it.
    pub(super) fn path_rules(&self) -> PathRules {
        self.path_rules.or(self.routes.path_rules())
    }

    /// Whether this is the back channel of a provider that has another name for us, as we have for it.
    /// Any other that was given another address of ours than the public one would sign nobody out, and
    /// nobody would know why.
    pub(super) fn is_the_provider_within(&self, host: &str, parts: &Parts) -> bool {
        let base_path = &self.relying_party.settings().base_path;
        let wanted = UnderBase::at(parts.uri.path(), base_path);
        let is_back_channel = parts.method == Method::POST
            && wanted == UnderBase::Endpoint(Endpoint::BackchannelLogout);
        let logouts = self.relying_party.provider_logouts();
        if is_back_channel && !logouts.is_called_by_any_name() {
            logouts.backchannel_logout_elsewhere(host);
            return false;
        }
        is_back_channel
    }
}

impl SiteMetrics {
    pub(super) fn endpoint(&self, endpoint: Endpoint) -> Option<RouteMetrics> {
        self.endpoints
            .iter()
            .find(|(own, _)| *own == endpoint)
            .map(|(_, metrics)| metrics.clone())
    }
}
