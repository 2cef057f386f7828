//! The relying party as the browser sees it: login, callback, logout, session, user; and as the
//! provider does, that says when a session has ended.

pub mod access_token;
mod admission;
pub mod answer;
mod attempts;
mod authorization_response;
pub mod backchannel_logout;
pub mod callback;
mod callback_fault;
pub mod choices;
pub mod client_tokens;
mod ended_at_provider;
pub mod ending;
pub mod events;
mod flights;
pub mod frontchannel_logout;
mod live_token;
mod logged_in;
pub mod login;
mod login_error;
mod login_owner;
mod login_params;
mod login_tail;
pub mod logout;
mod new_session;
mod new_token;
pub mod past_login;
pub mod pending_login;
pub mod places;
mod prompt;
mod refresh;
pub mod renewal;
pub mod resume;
pub mod return_to;
mod revocation;
pub mod session;
pub mod sessions;
mod spenders;
mod token_error;
pub mod user;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use url::Url;

use crate::clock::{Clock, Randomness, Timestamp};
use crate::oidc::{Provider, ResponseMode};
use crate::session::Sessions;
use crate::session::cookie::SessionCookie;
use crate::session::record::Session;
use crate::session::seal::Keys;
use crate::telemetry::Metrics;
use crate::web::background::Background;
use crate::web::open_limits::OpenLimits;
use crate::web::repeats::Repeats;
use crate::web::strangers::Strangers;
use crate::web::token_spec::{TokenGrant, TokenSpec};

pub use login_params::{LoginParams, LoginValues, why_not};

use choices::Choices;

use access_token::{AccessTokens, Patience, Refreshes};
use backchannel_logout::ProviderLogouts;
use client_tokens::ClientTokens;
use ending::{Endings, RevocationRules};
use login::Logins;
use logout::Logouts;
use new_token::TokenKeeper;
use places::Places;
use refresh::Refresher;
use session::SessionEndpoints;
use spenders::Spenders;

/// What the endpoints under the base path need to know.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The origin that browsers see.
    pub public_url: Url,
    /// The path that the site lives below, `/shop`; empty where it has the whole origin.
    pub mount: String,
    /// Where our endpoints live, `/bff` or `/shop/bff`: a leading slash, no trailing one.
    pub base_path: String,
    /// Whether `/bff/session` answers 200 or 401 to the anonymous.
    pub anonymous: AnonymousAnswer,
    /// The claims that `/bff/session` shows.
    pub claims: Vec<String>,
    /// Those that a session keeps for us beside them, by the paths that routes ask by.
    pub kept_claims: Vec<String>,
    /// How long before its end an access token is refreshed.
    pub refresh_before: Duration,
    /// Whose tokens are revoked at the provider.
    pub revocation: RevocationRules,
    /// How long after its end an access token that the provider refuses to renew is a reason to ask
    /// for a login (L4).
    pub unrefreshable_after: Duration,
    /// What the end-session request carries (E3).
    pub logout_hint: LogoutHint,
    /// The claim that goes along as `logout_hint`, if one does.
    pub logout_hint_claim: Option<String>,
    /// Whether a login may be started from elsewhere (OIDC Core §4, B7).
    pub third_party_login: bool,
    /// Whether the `acr` of every login that asks for some must be one of them (D13).
    pub essential_acr: bool,
    /// How long a login may take (B4).
    pub login_timeout: Duration,
    /// Where a login ends that was cancelled at the provider (C5).
    pub access_denied: AccessDenied,
    /// What a login link may carry for the provider, beside the usual (B8).
    pub login_params: LoginParams,
    /// What links call this provider, where the site has several.
    pub name: Option<Box<str>>,
    /// All that the site offers, where it has several.
    pub choices: Arc<Choices>,
}

/// Where a login ends that was cancelled at the provider, or for which consent was refused (C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessDenied {
    /// On a page of ours.
    Page,
    /// Where it began, with `bff_error=access_denied`, if that place needs no session.
    ReturnTo,
}

impl AuthSettings {
    /// Where the app begins.
    pub fn app_url(&self) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(&format!("{}/", self.mount));
        url
    }

    /// Whether a logout may look at the last ID token.
    pub fn needs_id_tokens(&self) -> bool {
        self.logout_hint == LogoutHint::IdToken || self.logout_hint_claim.is_some()
    }
}

/// How `/bff/session` answers the anonymous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousAnswer {
    /// 200 with `{"authenticated": false}`.
    Ok,
    /// 401 with the same body.
    Unauthorized,
}

/// What tells the provider whose session ends (E3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutHint {
    /// The last ID token, as `id_token_hint`.
    IdToken,
    /// The `client_id` alone.
    None,
}

/// The relying party: the OAuth client that the browser meets under the base path. Shared by all workers;
/// what answers there is one part for each group of endpoints.
#[derive(Debug)]
pub struct RelyingParty {
    common: Common,
    endings: Endings,
    tokens: AccessTokens,
    clients: ClientTokens,
    logins: Logins,
    logouts: Logouts,
    provider_logouts: ProviderLogouts,
    session_endpoints: SessionEndpoints,
}

/// What the groups of endpoints take their parts from.
#[derive(Debug)]
struct Common {
    settings: Arc<AuthSettings>,
    places: Places,
    provider: Provider,
    sessions: Sessions,
    session_cookie: SessionCookie,
    keys: Keys,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    metrics: Metrics,
}

/// What the relying parties of all sites share, and what outlives each of them: it is limited, and under
/// way, for the process.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Event streams that are open.
    streams: OpenLimits,
    /// Turns to look for the session of a front-channel logout.
    front_channel: Arc<Semaphore>,
    refreshes: Refreshes,
    spenders: Spenders,
}

impl Shared {
    /// Nothing is open, and nothing under way.
    pub fn new() -> Self {
        Self {
            streams: OpenLimits::new(events::MOST_STREAMS, events::MOST_STREAMS_PER_SESSION),
            front_channel: Arc::new(Semaphore::new(frontchannel_logout::LOOKED_FOR_AT_ONCE)),
            refreshes: Refreshes::default(),
            spenders: Spenders::default(),
        }
    }

    /// How many event streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.count()
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// The parts that a [`RelyingParty`] is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by their types")]
pub struct RelyingPartyParts {
    pub settings: AuthSettings,
    pub provider: Provider,
    pub sessions: Sessions,
    pub endings: Endings,
    pub session_cookie: SessionCookie,
    pub keys: Keys,
    pub clock: Arc<dyn Clock>,
    pub randomness: Arc<dyn Randomness>,
    pub metrics: Metrics,
    pub background: Background,
    pub strangers: Strangers,
    pub shared: Shared,
}

impl RelyingParty {
    /// Puts the parts together.
    pub fn new(parts: RelyingPartyParts) -> Self {
        let RelyingPartyParts {
            settings,
            provider,
            sessions,
            endings,
            session_cookie,
            keys,
            clock,
            randomness,
            metrics,
            background,
            strangers,
            shared,
        } = parts;
        let settings = Arc::new(settings);
        let clients = ClientTokens::new(
            provider.clone(),
            Arc::clone(&clock),
            background.clone(),
            settings.refresh_before,
        );
        let refresher = Refresher {
            registration: provider.settings().registration(),
            provider: provider.clone(),
            randomness: Arc::clone(&randomness),
            refresh_before: settings.refresh_before,
            keeper: TokenKeeper {
                sessions: sessions.clone(),
                clock: Arc::clone(&clock),
                revocations: endings.revocations().clone(),
                warnings: Repeats::default(),
            },
            clients: clients.clone(),
            actor: Arc::new(TokenSpec::new(
                TokenGrant::ClientCredentials,
                Vec::new(),
                None,
                Vec::new(),
            )),
            spenders: shared.spenders.clone(),
        };
        let patience = Patience {
            wait: provider.settings().timeout,
            unrefreshable_after: settings.unrefreshable_after,
        };
        let refreshes = shared.refreshes.clone();
        let tokens = AccessTokens::new(
            refresher,
            refreshes,
            Arc::clone(&clock),
            background,
            patience,
        );
        let common = Common {
            places: Places::new(
                settings.public_url.clone(),
                settings.mount.clone(),
                settings.base_path.clone(),
            ),
            settings,
            provider,
            sessions,
            session_cookie,
            keys,
            clock,
            randomness,
            metrics,
        };
        Self {
            logins: Logins::new(&common, tokens.clone(), endings.clone(), strangers),
            endings,
            logouts: Logouts::new(&common),
            provider_logouts: ProviderLogouts::new(&common, shared.front_channel),
            session_endpoints: SessionEndpoints::new(&common, shared.streams),
            tokens,
            clients,
            common,
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.common.clock.now()
    }

    /// What the endpoints know.
    pub fn settings(&self) -> &AuthSettings {
        &self.common.settings
    }

    /// Live access tokens.
    pub const fn tokens(&self) -> &AccessTokens {
        &self.tokens
    }

    /// Our own access tokens.
    pub const fn clients(&self) -> &ClientTokens {
        &self.clients
    }

    /// What follows the end of sessions that begin here.
    pub const fn endings(&self) -> &Endings {
        &self.endings
    }

    /// Whether this session came of a login here, and not at another provider of the site, or at one
    /// that is gone.
    pub fn signed_in(&self, session: &Session) -> bool {
        self.tokens.are_of(session)
    }

    /// Who we are signing people in at.
    pub const fn provider(&self) -> &Provider {
        &self.common.provider
    }

    /// The sessions.
    pub const fn sessions(&self) -> &Sessions {
        &self.common.sessions
    }

    /// The session cookie.
    pub const fn session_cookie(&self) -> &SessionCookie {
        &self.common.session_cookie
    }

    /// Where the provider's answer travels: which method `/bff/callback` takes (C1).
    pub fn response_mode(&self) -> ResponseMode {
        self.common.provider.settings().response_mode
    }

    /// Where browsers go.
    pub const fn places(&self) -> &Places {
        &self.common.places
    }

    /// How people sign in.
    pub const fn logins(&self) -> &Logins {
        &self.logins
    }

    /// How they sign out.
    pub const fn logouts(&self) -> &Logouts {
        &self.logouts
    }

    /// How the provider signs them out.
    pub const fn provider_logouts(&self) -> &ProviderLogouts {
        &self.provider_logouts
    }

    /// What a browser asks of its session.
    pub const fn session_endpoints(&self) -> &SessionEndpoints {
        &self.session_endpoints
    }
}
