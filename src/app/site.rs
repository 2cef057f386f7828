//! Makes sites: the one way from a configuration to what answers, for whoever needs one.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::NamesSites;
use crate::app::StartError;
use crate::app::providers::Providers;
use crate::app::stores::{self, Opened};
use crate::auth::ending::{AllEndings, Endings};
use crate::auth::{self, RelyingParty, RelyingPartyParts};
use crate::clock::{Clock, Randomness, Timestamp};
use crate::config::{ClientConfig, SiteConfig};
use crate::frontend::{FileRoom, Frontend};
use crate::oidc::{Provider, ProviderSettings};
use crate::pipeline::own_headers::{NEL, OwnHeaders};
use crate::pipeline::site::{Neighbours, Site, SiteParts};
use crate::pipeline::sites::Sites;
use crate::proxy::route::RouteTable;
use crate::session::cookie::{Carrier, SessionCookie};
use crate::session::journal::Journal;
use crate::session::seal::Keys;
use crate::session::{Inherited, SessionSettings, Sessions};
use crate::telemetry::Metrics;
use crate::web::background::Background;
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

impl Ground {
    /// The sites of a configuration.
    ///
    /// # Errors
    ///
    /// What keeps one from being served, in one sentence.
    pub(super) fn build_all(&self, configs: Vec<SiteConfig>) -> Result<Vec<Arc<Site>>, StartError> {
        let neighbours: Vec<_> = configs
            .iter()
            .map(|config| neighbours(config, &configs))
            .collect();
        configs
            .into_iter()
            .zip(neighbours)
            .map(|(config, neighbours)| Ok(Arc::new(self.build(config, neighbours)?)))
            .collect()
    }

    /// What these sites stand for from now on, and none before them.
    pub(super) fn now_under(&self, sites: &[Arc<Site>]) {
        if let Some(main) = sites.iter().find(|site| site.id().is_main()) {
            let own = main.relying_party();
            let provider = own.provider().settings();
            self.inherited
                .replace(stores::inherited_at(own.settings(), provider));
        }
        let all = sites
            .iter()
            .flat_map(|site| site.relying_parties().map(move |at| (site, at)));
        self.endings.replace(all.clone().map(|(site, at)| {
            let registration = at.provider().settings().registration();
            (site.id().clone(), registration, at.endings().clone())
        }));
        let used: Vec<Provider> = all.map(|(_, at)| at.provider().clone()).collect();
        let expire = used
            .iter()
            .filter_map(|provider| provider.settings().client_secret_expires);
        if let Some(first) = expire.min() {
            self.metrics.client_secret_expires(first);
        }
        self.providers.keep(&used);
    }

    /// The site that `config` describes, beside these.
    fn build(&self, config: SiteConfig, neighbours: Neighbours) -> Result<Site, StartError> {
        // Nobody takes back what the operator says.
        let own_headers = OwnHeaders {
            clears_nel: !config.sets_header(&NEL),
            hsts: config.hsts(),
        };
        let session_cookie = self.session_cookie(&config);
        let sessions = self.sessions_of(&config.id, &config.session);
        let sessions = sessions.telling(Arc::new(self.endings.clone()));
        let at = |client| {
            let relying_party = self.relying_party(&config.id, client, &sessions, &session_cookie);
            Arc::new(relying_party)
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
        let routes = routes.collect();
        let frontend = config
            .frontend
            .map(|settings| {
                let (room, clock) = (self.file_room.clone(), Arc::clone(&self.clock));
                match self.files {
                    Files::Judged => Frontend::new(settings, room, clock),
                    Files::Unseen => Ok(Frontend::unseen(settings, room, clock)),
                }
            })
            .transpose()?;
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
        }))
    }

    /// What answers for one client of a site.
    fn relying_party(
        &self,
        site: &SiteId,
        client: ClientConfig,
        sessions: &Sessions,
        session_cookie: &SessionCookie,
    ) -> RelyingParty {
        warn_of_expiry(&client.provider, self.clock.now());
        let provider = self.providers.get_or_make(&client.provider_print, || {
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
            sessions: sessions.clone(),
            endings,
            session_cookie: session_cookie.clone(),
            keys: self.keys.of_site(site),
            clock: Arc::clone(&self.sessions.clock),
            randomness: Arc::clone(&self.randomness),
            metrics: self.metrics.at(site),
            background: self.background.clone(),
            strangers: self.strangers.clone(),
            shared: self.shared.clone(),
        })
    }

    /// The sessions by a site's rules.
    fn sessions_of(&self, site: &SiteId, settings: &SessionSettings) -> Sessions {
        let Opened {
            store,
            clock,
            carried,
        } = &self.sessions;
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        let journal = self.journal.clone();
        let sessions = Sessions::new(store, clock, site.clone(), settings, journal);
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
        let carrier = Carrier {
            store: Arc::clone(store),
            idle_timeout: config.session.idle_timeout,
            max_lifetime: config.session.max_lifetime,
            room: self.room_for_cookies,
            id_token: config.auth.needs_id_tokens(),
        };
        SessionCookie::carrying(settings, keys, carrier)
    }
}

/// What `config` must know of those that share its host.
fn neighbours(config: &SiteConfig, all: &[SiteConfig]) -> Neighbours {
    let host = config.auth.public_url.host();
    let others = all
        .iter()
        .filter(|other| other.id != config.id && other.auth.public_url.host() == host);
    let mut neighbours = Neighbours::default();
    for other in others {
        let mount = &other.auth.mount;
        if mount.len() > config.auth.mount.len() && mount.starts_with(&config.auth.mount) {
            neighbours.mounts.push(mount.clone());
        }
        let names = other.session.cookie.derived_names();
        neighbours.cookies = neighbours.cookies.and(&names);
    }
    neighbours
}

impl NamesSites for Sites {
    fn sites(&self) -> Vec<SiteId> {
        self.all().iter().map(|site| site.id().clone()).collect()
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
