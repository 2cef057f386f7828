//! Makes sites: the one way from a configuration to what answers, for whoever needs one.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::NamesSites;
use crate::app::StartError;
use crate::app::providers::{Asked, Providers};
use crate::app::stores::{self, Opened};
use crate::auth::ending::{AllEndings, Endings};
use crate::auth::{self, AuthSettings, RelyingParty, RelyingPartyParts};
use crate::clock::{Clock, Randomness, Timestamp};
use crate::config::{ClientConfig, SiteConfig};
use crate::frontend::{FileRoom, Frontend, FrontendSettings};
use crate::oidc::{Provider, ProviderSettings};
use crate::pipeline::identity::Identities;
use crate::pipeline::own_headers::{NEL, OwnHeaders};
use crate::pipeline::site::{Neighbours, Site, SiteParts};
use crate::pipeline::sites::{Sites, Table};
use crate::proxy::RouteSettings;
use crate::proxy::route::RouteTable;
use crate::session::cookie::{Carrier, SessionCookie};
use crate::session::journal::Journal;
use crate::session::seal::Keys;
use crate::session::{Inherited, SessionSettings, Sessions};
use crate::telemetry::Metrics;
use crate::web::background::Background;
use crate::web::identity::KeysInUse;
use crate::web::outbound::Outbound;
use crate::web::public_origin::PublicOrigin;
use crate::web::site_id::SiteId;
use crate::web::strangers::Strangers;

/// What all sites of a process stand on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
    pub(super) metrics: Metrics,
    pub(super) keys: Keys,
    /// What signs the tokens that tell upstreams who calls.
    pub(super) identity_keys: KeysInUse,
    pub(super) sessions: Opened,
    /// Whose sessions are that name no site.
    pub(super) inherited: Inherited,
    pub(super) journal: Journal,
    /// What follows the end of a session, of whichever site.
    pub(super) endings: AllEndings,
    /// What the cookies of a session may take of a request's head, in octets.
    pub(super) room_for_cookies: usize,
    pub(super) background: Background,
    pub(super) strangers: Strangers,
    pub(super) shared: auth::Shared,
    pub(super) file_room: FileRoom,
    pub(super) files: Files,
    pub(super) providers: Providers,
    /// How servers are verified that a site names no roots for.
    pub(super) tls: rustls::ClientConfig,
}

/// Whether the apps' files must be there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Files {
    /// They are served, or judged as if they were.
    Judged,
    /// Whoever only explains may be where no app was built.
    Unseen,
}

/// Whose site is made.
enum Whose<'a> {
    /// The one that a file describes.
    Its,
    /// A tenant's, which has this in common with the others.
    ATenants(&'a Face),
}

/// What the tenants of a site have in common.
#[derive(Debug)]
pub(super) struct Face {
    frontend: Option<Frontend>,
}

impl Ground {
    /// The site that a file describes, beside these.
    ///
    /// # Errors
    ///
    /// What keeps it from being served, in one sentence.
    pub(super) fn site(
        &self,
        config: SiteConfig,
        neighbours: Neighbours,
    ) -> Result<Site, StartError> {
        self.build(config, neighbours, &Whose::Its)
    }

    /// What these sites stand for from now on, and none before them.
    pub(super) fn now_under(&self, table: &Table) {
        let sites = table.all();
        if let Some(main) = sites.iter().find(|site| site.id().is_main()) {
            let own = main.relying_party();
            let provider = own.provider().settings();
            self.inherited
                .replace(stores::inherited_at(own.settings(), provider));
        }
        let all = sites
            .iter()
            .flat_map(|site| site.relying_parties().map(move |at| (site, at)));
        self.endings.replace(all.map(|(site, at)| {
            let registration = at.provider().settings().registration();
            (site.id().clone(), registration, at.endings().clone())
        }));
        let used: Vec<Provider> = table.made().flat_map(|site| providers_of(&site)).collect();
        let expire = used
            .iter()
            .filter_map(|provider| provider.settings().client_secret_expires);
        if let Some(first) = expire.min() {
            self.metrics.client_secret_expires(first);
        }
        self.providers.keep(used);
    }

    /// What the tenants' sites that are like `face` have in common.
    ///
    /// # Errors
    ///
    /// What keeps all of them from being served, in one sentence.
    pub(super) fn face(&self, face: SiteConfig) -> Result<Face, StartError> {
        let others = face.others.iter().map(|at| &at.provider);
        for provider in std::iter::once(&face.provider).chain(others) {
            warn_of_expiry(provider, self.clock.now());
        }
        PublicOrigin::new(&face.auth.public_url)?;
        RouteTable::new(face.routes)?;
        Ok(Face {
            frontend: self.frontend(face.frontend)?,
        })
    }

    /// The site of a tenant.
    ///
    /// # Errors
    ///
    /// What keeps it from being served, in one sentence.
    pub(super) fn tenants_site(
        &self,
        config: SiteConfig,
        neighbours: Neighbours,
        face: &Face,
    ) -> Result<Site, StartError> {
        self.build(config, neighbours, &Whose::ATenants(face))
    }

    /// The site that `config` describes, beside these.
    fn build(
        &self,
        config: SiteConfig,
        neighbours: Neighbours,
        whose: &Whose<'_>,
    ) -> Result<Site, StartError> {
        // Nobody takes back what the operator says.
        let own_headers = OwnHeaders {
            clears_nel: !config.sets_header(&NEL),
            hsts: config.hsts(),
        };
        let session_cookie = self.session_cookie(&config);
        let (frontend, asked) = match whose {
            Whose::Its => (self.frontend(config.frontend)?, Asked::AtOnce),
            Whose::ATenants(face) => (face.frontend.clone(), Asked::OnceNeeded),
        };
        let sessions = self.sessions_of(&config.id, &config.session);
        let at = |client| {
            let cookie = session_cookie.clone();
            Arc::new(self.relying_party(&config.id, client, asked, sessions.clone(), cookie))
        };
        let relying_party = at(ClientConfig {
            auth: config.auth,
            provider: config.provider,
            outbound: config.outbound,
            provider_print: config.provider_print,
        });
        let others = config.others.into_iter().map(at).collect();
        let mount = relying_party.settings().mount.as_str();
        let routes = config.routes.into_iter().map(|route| route.below(mount));
        let routes: Vec<RouteSettings> = routes.collect();
        let issuer = &relying_party.settings().public_url;
        let tells = routes.iter().any(|route| route.identity.is_some());
        let identities = tells.then(|| {
            let issuer = issuer.origin().ascii_serialization();
            Identities::new(self.identity_keys.clone(), issuer)
        });
        Ok(Site::new(SiteParts {
            metrics: self.metrics.at(&config.id),
            id: config.id,
            public: PublicOrigin::new(&relying_party.settings().public_url)?,
            relying_party,
            others,
            routes: RouteTable::new(routes)?,
            frontend,
            error_page: config.error_page,
            path_rules: config.path_rules,
            own_headers,
            neighbours,
            identities,
        }))
    }

    /// What answers for one client of a site.
    fn relying_party(
        &self,
        site: &SiteId,
        client: ClientConfig,
        asked: Asked,
        sessions: Sessions,
        session_cookie: SessionCookie,
    ) -> RelyingParty {
        if asked == Asked::AtOnce {
            warn_of_expiry(&client.provider, self.clock.now());
        }
        let print = &client.provider_print;
        let provider = self.providers.get_or_make(print, asked, || {
            let timeout = client.provider.timeout;
            Provider::new(
                client.provider,
                Outbound::with_tls(self.tls.clone(), timeout, client.outbound),
                Arc::clone(&self.clock),
                Arc::clone(&self.randomness),
                self.metrics.clone(),
            )
        });
        let endings = Endings::new(
            provider.clone(),
            Arc::clone(&self.sessions.clock),
            self.background.clone(),
            client.auth.revocation,
        );
        RelyingParty::new(RelyingPartyParts {
            settings: client.auth,
            provider,
            sessions,
            endings,
            session_cookie,
            keys: self.keys.of_site(site),
            clock: Arc::clone(&self.sessions.clock),
            randomness: Arc::clone(&self.randomness),
            metrics: self.metrics.at(site),
            background: self.background.clone(),
            strangers: self.strangers.clone(),
            shared: self.shared.clone(),
        })
    }

    /// The app's files.
    fn frontend(&self, settings: Option<FrontendSettings>) -> Result<Option<Frontend>, StartError> {
        let Some(settings) = settings else {
            return Ok(None);
        };
        let (room, clock) = (self.file_room.clone(), Arc::clone(&self.clock));
        Ok(Some(match self.files {
            Files::Judged => Frontend::new(settings, room, clock)?,
            Files::Unseen => Frontend::unseen(settings, room, clock),
        }))
    }

    /// The sessions by a site's rules. Whoever tends those of all sites, and looks for them, may have any
    /// site's.
    pub(super) fn sessions_of(&self, site: &SiteId, settings: &SessionSettings) -> Sessions {
        let Opened {
            store,
            clock,
            carried,
        } = &self.sessions;
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        let journal = self.journal.clone();
        let sessions = Sessions::new(store, clock, site.clone(), settings, journal)
            .telling(Arc::new(self.endings.clone()));
        match carried {
            // Nobody can look for what travels in cookies.
            Some(_) => sessions,
            None => sessions.found_by_email(self.keys.clone()),
        }
    }

    fn session_cookie(&self, config: &SiteConfig) -> SessionCookie {
        let settings = config.session.cookie.clone();
        let keys = self.keys.of_site(&config.id);
        let Some(store) = &self.sessions.carried else {
            return SessionCookie::new(settings, keys);
        };
        let mut clients =
            std::iter::once(&config.auth).chain(config.others.iter().map(|at| &at.auth));
        let carrier = Carrier {
            store: Arc::clone(store),
            idle_timeout: config.session.idle_timeout,
            max_lifetime: config.session.max_lifetime,
            room: self.room_for_cookies,
            id_token: clients.any(AuthSettings::needs_id_tokens),
        };
        SessionCookie::carrying(settings, keys, carrier)
    }
}

/// All providers at which a site signs people in.
pub(super) fn providers_of(site: &Site) -> Vec<Provider> {
    let all = site.relying_parties();
    all.map(|at| at.provider().clone()).collect()
}

impl NamesSites for Sites {
    fn sites(&self) -> Vec<SiteId> {
        self.ids()
    }
}

/// Without the secret nobody signs in, and no session is renewed.
fn warn_of_expiry(provider: &ProviderSettings, now: Timestamp) {
    const EARLY: Duration = Duration::from_hours(30 * 24);
    let Some(expires) = provider.client_secret_expires else {
        return;
    };
    if now + EARLY >= expires {
        let table = &provider.table;
        tracing::warn!(
            event = "client_secret.expires",
            at = expires.rfc3339(),
            "{table}.client_secret ends within a month, or has ended: without it nobody signs in; \
             get another one from the provider, and write its end as {table}.client_secret_expires"
        );
    }
}
