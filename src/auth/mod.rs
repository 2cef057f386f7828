//! The relying party as the browser sees it: login, callback, logout, session, user; and as the
//! provider does, that says when a session has ended.

pub mod access_token;
mod answer;
mod attempts;
mod authorization_response;
pub mod backchannel_logout;
pub mod callback;
mod callback_fault;
mod ended_at_provider;
pub mod ending;
pub mod events;
pub mod frontchannel_logout;
mod logged_in;
pub mod login;
pub mod logout;
mod new_session;
pub mod past_login;
pub mod pending_login;
mod prompt;
mod refresh;
pub mod renewal;
pub mod resume;
pub mod return_to;
mod revocation;
pub mod session;
pub mod sessions;
mod token_error;
pub mod user;

use std::sync::Arc;
use std::time::Duration;

use http::header::REFERER;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;
use url::Url;

use crate::clock::{Clock, Randomness, Timestamp};
use crate::oidc::{Provider, ResponseMode};
use crate::session::Sessions;
use crate::session::cookie::{Presented, SessionCookie};
use crate::session::seal::Keys;
use crate::telemetry::Metrics;
use crate::web::background::Background;
use crate::web::open_limits::OpenLimits;
use crate::web::repeats::Repeats;
use crate::web::strangers::Strangers;

use access_token::{AccessTokens, Patience, Refreshes};
use ending::{Endings, RevocationRules};
use pending_login::PendingLoginCookie;
use refresh::Refresher;
use return_to::{BadReturnTo, ReturnTo};

/// What the endpoints under the base path need to know.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The origin that browsers see.
    pub public_url: Url,
    /// Where our endpoints live, `/bff`: a leading slash, no trailing one.
    pub base_path: String,
    /// Whether `/bff/session` answers 200 or 401 to the anonymous.
    pub anonymous: AnonymousAnswer,
    /// The claims that `/bff/session` shows.
    pub claims: Vec<String>,
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
    /// How long a login may take (B4).
    pub login_timeout: Duration,
    /// Where a login ends that was cancelled at the provider (C5).
    pub access_denied: AccessDenied,
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

/// The relying party: the OAuth client that the browser meets under the base path.
///
/// Shared by all workers; holds no state of a login, which travels in the browser's cookies.
#[derive(Debug)]
pub struct RelyingParty {
    settings: AuthSettings,
    post_logout_redirect_uri: Url,
    provider: Provider,
    sessions: Sessions,
    session_cookie: SessionCookie,
    pending_logins: PendingLoginCookie,
    keys: Keys,
    tokens: AccessTokens,
    endings: Endings,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    metrics: Metrics,
    /// What all sites share.
    shared: Shared,
    /// What logouts at the provider warned of lately.
    warnings: Repeats,
    strangers: Strangers,
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
}

impl Shared {
    /// Nothing is open, and nothing under way.
    pub fn new() -> Self {
        Self {
            streams: OpenLimits::new(events::MOST_STREAMS, events::MOST_STREAMS_PER_SESSION),
            front_channel: Arc::new(Semaphore::new(frontchannel_logout::LOOKED_FOR_AT_ONCE)),
            refreshes: Refreshes::default(),
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
        let mut post_logout_redirect_uri = settings.public_url.clone();
        post_logout_redirect_uri.set_path(&format!("{}/logout/callback", settings.base_path));
        let pending_logins = PendingLoginCookie::new(
            session_cookie.settings(),
            provider.settings().response_mode == ResponseMode::FormPost,
            keys.clone(),
            settings.login_timeout,
        );
        let refresher = Refresher {
            provider: provider.clone(),
            sessions: sessions.clone(),
            clock: Arc::clone(&clock),
            randomness: Arc::clone(&randomness),
            revocations: endings.revocations().clone(),
            refresh_before: settings.refresh_before,
            warnings: Repeats::default(),
        };
        let patience = Patience {
            wait: provider.settings().timeout,
            unrefreshable_after: settings.unrefreshable_after,
        };
        let tokens = AccessTokens::new(
            refresher,
            shared.refreshes.clone(),
            Arc::clone(&clock),
            background.clone(),
            patience,
        );
        Self {
            settings,
            post_logout_redirect_uri,
            provider,
            sessions,
            session_cookie,
            pending_logins,
            keys,
            tokens,
            endings,
            clock,
            randomness,
            metrics,
            warnings: Repeats::default(),
            strangers,
            shared,
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the endpoints know.
    pub const fn settings(&self) -> &AuthSettings {
        &self.settings
    }

    /// Live access tokens.
    pub const fn tokens(&self) -> &AccessTokens {
        &self.tokens
    }

    /// Who we are signing people in at.
    pub const fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The sessions.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The session cookie.
    pub const fn session_cookie(&self) -> &SessionCookie {
        &self.session_cookie
    }

    /// Where the provider's answer travels: which method `/bff/callback` takes (C1).
    pub fn response_mode(&self) -> ResponseMode {
        self.provider.settings().response_mode
    }

    /// `Set-Cookie` lines that take back the cookie of a session that is over. One that did not open is
    /// not ours to take (G6).
    fn take_back(&self, presented: Presented) -> Vec<HeaderValue> {
        match presented {
            Presented::Session(cookie) => self.session_cookie.delete(&cookie),
            Presented::Nothing => Vec::new(),
        }
    }

    /// Where a browser signs in.
    pub fn login_url(&self) -> String {
        format!("{}/login", self.settings.base_path)
    }

    /// The place that was asked for, if it is one of ours (section F). Where it is none at all, the
    /// page that asked is the nearest to it, and else the front page.
    ///
    /// # Errors
    ///
    /// The place is elsewhere.
    pub fn place(&self, asked: &str, headers: &HeaderMap) -> Result<ReturnTo, BadReturnTo> {
        let place = self.parse_place(asked)?;
        Ok(place.unwrap_or_else(|| self.page_that_asked(headers)))
    }

    /// The page of ours that the browser comes from, as far as it says; else the front page.
    pub fn page_that_asked(&self, headers: &HeaderMap) -> ReturnTo {
        let referer = headers.get(REFERER).and_then(|value| value.to_str().ok());
        referer
            .and_then(|referer| self.parse_place(referer).ok()?)
            .unwrap_or_else(ReturnTo::root)
    }

    fn parse_place(&self, text: &str) -> Result<Option<ReturnTo>, BadReturnTo> {
        ReturnTo::parse(text, &self.settings.public_url, &self.settings.base_path)
    }
}
