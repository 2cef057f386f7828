//! One browser app as the outside sees it: its origin, its relying party, its routes and its files.

use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::auth::RelyingParty;
use crate::auth::backchannel_logout::ProviderLogouts;
use crate::auth::choices::Choices;
use crate::frontend::{ErrorPage, Frontend};
use crate::pipeline::endpoint::{Endpoint, MethodRules, UnderBase};
use crate::pipeline::identity::Identities;
use crate::pipeline::own_headers::OwnHeaders;
use crate::proxy::path::{PathFault, PathRules, RequestPath};
use crate::proxy::route::{Route, RouteMatch, RouteTable};
use crate::session::record::Session;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::web::cookie_names::CookieNames;
use crate::web::public_origin::PublicOrigin;
use crate::web::site_id::SiteId;

/// A site, shared by all workers.
#[derive(Debug)]
pub struct Site {
    pub(super) id: SiteId,
    /// At its own provider; of several at the default, or the first.
    pub(super) relying_party: Arc<RelyingParty>,
    /// At the others.
    pub(super) others: Vec<Arc<RelyingParty>>,
    pub(super) routes: RouteTable,
    pub(super) frontend: Option<Frontend>,
    pub(super) error_page: Option<ErrorPage>,
    pub(super) public: PublicOrigin,
    /// What the paths of the app's files may hold.
    pub(super) path_rules: PathRules,
    pub(super) own_headers: OwnHeaders,
    pub(super) strip_cookies: CookieNames,
    neighbours: Neighbours,
    /// What tells upstreams who calls, where there are keys to sign it.
    pub(super) identities: Option<Identities>,
    pub(super) metrics: SiteMetrics,
}

/// The parts that a [`Site`] is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by their types")]
pub struct SiteParts {
    pub id: SiteId,
    pub relying_party: Arc<RelyingParty>,
    pub others: Vec<Arc<RelyingParty>>,
    pub routes: RouteTable,
    pub frontend: Option<Frontend>,
    pub error_page: Option<ErrorPage>,
    pub public: PublicOrigin,
    pub path_rules: PathRules,
    pub own_headers: OwnHeaders,
    pub neighbours: Neighbours,
    pub identities: Option<Identities>,
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

impl Neighbours {
    /// Adds what a site below `mount` must know of one below `other` with these cookies.
    pub fn add(&mut self, mount: &str, other: &str, cookies: &CookieNames) {
        if other.len() > mount.len() && other.starts_with(mount) {
            self.mounts.push(other.to_owned());
        }
        self.cookies = std::mem::take(&mut self.cookies).and(cookies);
    }
}

/// What a call comes to at a site.
#[derive(Debug)]
pub enum Destination<'a> {
    /// An endpoint of ours, and whose it is: where a site has several providers, each has some to itself.
    Endpoint(Endpoint, &'a RelyingParty),
    /// Where a provider that is not here, or not any more, would send a browser back.
    CallbackOfNobody,
    /// A route.
    Route(&'a Route),
    /// A route that does not take a path of this form, in which its upstream may read another.
    RouteRefuses(&'a Route, PathFault),
    /// Routes for other methods than this one.
    MethodNotAllowed(Vec<Method>),
    /// The app's files.
    Files(&'a Frontend),
    /// The app's files, which have no such path; the app may draw a page for it.
    OddPath(PathFault),
    /// Nobody.
    Nothing,
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
            others,
            routes,
            frontend,
            error_page,
            public,
            path_rules,
            own_headers,
            neighbours,
            identities,
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
            others,
            routes,
            frontend,
            error_page,
            public,
            path_rules,
            own_headers,
            identities,
            metrics,
        }
    }

    /// The relying parties at all its providers.
    pub fn relying_parties(&self) -> impl Iterator<Item = &Arc<RelyingParty>> + Clone {
        std::iter::once(&self.relying_party).chain(&self.others)
    }

    /// All that it offers its people, where it has several.
    pub(super) fn choices(&self) -> &Choices {
        &self.relying_party.settings().choices
    }

    /// The one at the provider of this name, where there are several.
    pub(super) fn named(&self, name: &str) -> Option<&RelyingParty> {
        let mut all = self.relying_parties();
        all.find(|at| at.settings().name.as_deref() == Some(name))
            .map(AsRef::as_ref)
    }

    /// The one at the provider that signed this session's user in; the site's own where that is gone,
    /// which renews nothing of another's.
    pub(super) fn of(&self, session: &Session) -> &RelyingParty {
        let mut others = self.others.iter();
        others
            .find(|at| at.signed_in(session))
            .unwrap_or(&self.relying_party)
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

    /// The names of its cookies, and of its neighbours'.
    pub(super) const fn cookies(&self) -> &CookieNames {
        &self.strip_cookies
    }

    /// Its routes, by the paths that browsers ask for.
    pub const fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The origin that browsers see.
    pub const fn public(&self) -> &PublicOrigin {
        &self.public
    }

    /// The hosts that it answers at, in lower case: the public one, and those that routes name.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.public.host()).chain(self.routes.hosts())
    }

    /// What a call to this host of ours comes to: the one answer, for whoever serves and whoever explains.
    #[inline]
    pub fn destination(&self, host: &str, method: &Method, path: &RequestPath) -> Destination<'_> {
        let base_path = &self.relying_party.settings().base_path;
        match UnderBase::at(path.as_str(), base_path) {
            UnderBase::Outside => {}
            UnderBase::Nothing => return Destination::Nothing,
            UnderBase::Endpoint(endpoint) => return self.endpoint(endpoint, None),
            UnderBase::OfProvider(endpoint, name) => return self.endpoint(endpoint, Some(name)),
        }
        match self.routes.find(host, method, path) {
            RouteMatch::Found(route) => match self.routes.check(route, path, base_path) {
                Ok(()) => Destination::Route(route),
                Err(fault) => Destination::RouteRefuses(route, fault),
            },
            RouteMatch::MethodNotAllowed(allow) => Destination::MethodNotAllowed(allow),
            RouteMatch::NoRoute => match (&self.frontend, path.check(self.path_rules)) {
                (None, _) => Destination::Nothing,
                (Some(frontend), Ok(())) => Destination::Files(frontend),
                (Some(_), Err(fault)) => Destination::OddPath(fault),
            },
        }
    }

    /// An endpoint, by the name that its address has of a provider.
    fn endpoint(&self, endpoint: Endpoint, name: Option<&str>) -> Destination<'_> {
        let own = match name {
            // Each has an address of its own, unless one is everybody's default.
            None if endpoint.is_a_providers() && !self.choices().has_default() => None,
            None => Some(&*self.relying_party),
            Some(name) => self.named(name),
        };
        match own {
            Some(own) => Destination::Endpoint(endpoint, own),
            None if endpoint == Endpoint::Callback => Destination::CallbackOfNobody,
            None => Destination::Nothing,
        }
    }

    /// The path of a request here, in its one form.
    ///
    /// # Errors
    ///
    /// Nobody here takes it.
    #[inline]
    pub fn path(&self, raw: &str) -> Result<RequestPath, PathFault> {
        RequestPath::parse(raw, self.path_rules())
    }

    /// The app, where it may draw a page for a path that nobody takes: nobody could find a route or an
    /// endpoint in it.
    pub fn page_for(&self, raw: &str) -> Option<&Frontend> {
        let base_path = &self.relying_party.settings().base_path;
        let frontend = self.frontend.as_ref()?;
        (!self.routes.may_serve(raw, base_path)).then_some(frontend)
    }

    /// What decides on the methods that the endpoints take at which this one answers.
    pub fn method_rules(&self, relying_party: &RelyingParty) -> MethodRules {
        let mut all = self.relying_parties();
        MethodRules {
            response_mode: relying_party.response_mode(),
            third_party_login: all.any(|at| at.settings().third_party_login),
        }
    }

    /// What browsers are told of https here.
    pub const fn hsts(&self) -> Option<&HeaderValue> {
        self.own_headers.hsts.as_ref()
    }

    /// Whether a path that came here as it is written may be read as one of another site's on this host.
    pub fn may_be_a_neighbours(&self, path: &RequestPath) -> bool {
        let mut mounts = self.neighbours.mounts.iter();
        mounts.any(|mount| RouteTable::may_lie_below(path, mount))
    }

    /// What a path may hold for anybody here to take it.
    fn path_rules(&self) -> PathRules {
        self.path_rules.or(self.routes.path_rules())
    }

    /// Who takes logout tokens at this path, whatever the host.
    pub(super) fn back_channel_at(&self, path: &str) -> Option<&ProviderLogouts> {
        let base_path = &self.relying_party.settings().base_path;
        let (endpoint, name) = match UnderBase::at(path, base_path) {
            UnderBase::Endpoint(endpoint) => (endpoint, None),
            UnderBase::OfProvider(endpoint, name) => (endpoint, Some(name)),
            UnderBase::Nothing | UnderBase::Outside => return None,
        };
        match self.endpoint(endpoint, name) {
            Destination::Endpoint(Endpoint::BackchannelLogout, of) => Some(of.provider_logouts()),
            _ => None,
        }
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
