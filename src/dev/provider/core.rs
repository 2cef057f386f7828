//! What a provider knows and decides: people, relying parties, sessions, grants and what was
//! issued. No HTTP, and honest: every lie comes in through [`Tamper`].
//!
//! The endpoints' rules stand beside this file: `authorize`, `token`, `logout`, `client`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::keys::{KeyFault, KeySet};
use super::parameters::Parameters;
use super::relying_party::RelyingParty;
use super::shown::PROOF_ALGS;
use super::tamper::{Stage, Tamper};
use crate::clock::{Clock, Randomness, Timestamp};
use crate::dev::DevUser;
use crate::secret::random_base64url;

/// The authentication contexts that the provider offers, the weaker first.
pub const ACR_VALUES: [&str; 2] = ["pwd", "mfa"];

/// `grant_type` of a token exchange (RFC 8693 §2.1).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// `grant_type` of an assertion (RFC 7523 §2.1).
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long an ID token is recognised as a hint.
const HINT_LIFETIME: Duration = Duration::from_hours(24);

/// What a provider starts with.
#[derive(Debug)]
pub struct CoreSettings {
    /// The issuer: its origin, no trailing slash.
    pub issuer: String,
    /// Who can sign in.
    pub users: Vec<DevUser>,
    /// Who may ask.
    pub relying_parties: Vec<RelyingParty>,
    /// Seconds that an access token lives.
    pub access_token_seconds: u64,
}

/// Why a request is refused (RFC 6749 §5.2, RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {description}")]
pub struct OAuthError {
    /// The code that the specification names.
    pub code: &'static str,
    /// A sentence for a person.
    pub description: &'static str,
}

impl OAuthError {
    pub(super) const fn new(code: &'static str, description: &'static str) -> Self {
        Self { code, description }
    }
}

impl From<KeyFault> for OAuthError {
    fn from(_: KeyFault) -> Self {
        Self::new("server_error", "the token could not be signed")
    }
}

/// The provider behind its endpoints.
#[derive(Debug)]
pub struct Core {
    issuer: String,
    users: Vec<DevUser>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    tamper: Arc<dyn Tamper>,
    state: Mutex<State>,
}

/// Everything that changes. Never held while a [`Tamper`] runs or a key signs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) relying_parties: Vec<RelyingParty>,
    pub(super) keys: Arc<KeySet>,
    pub(super) access_token_seconds: u64,
    pub(super) sessions: HashMap<String, ProviderSession>,
    pub(super) codes: HashMap<String, IssuedCode>,
    pub(super) grants: HashMap<GrantId, Grant>,
    pub(super) access_tokens: HashMap<String, IssuedAccess>,
    pub(super) refresh_tokens: HashMap<String, IssuedRefresh>,
    /// Each ID token, byte for byte: a hint is good after its expiry and after a revocation.
    pub(super) id_tokens: HashMap<String, IssuedIdToken>,
    assertion_ids: HashMap<String, i64>,
    /// Whether a proof of possession must hold a nonce, and those that are good.
    pub(super) demands_nonces: bool,
    pub(super) proof_nonces: HashSet<String>,
    /// Whether requests must be pushed, and those that were.
    pub(super) demands_pushed: bool,
    pub(super) pushed: HashMap<String, PushedRequest>,
    /// With which code exchanges are refused, if they are.
    pub(super) exchange_refusal: Option<&'static str>,
    next_grant: u64,
}

/// Names a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GrantId(u64);

/// A person signed in at the provider, in one browser.
#[derive(Debug, Clone)]
pub(super) struct ProviderSession {
    /// The `sid` of ID tokens.
    pub(super) sid: String,
    pub(super) sub: String,
    pub(super) auth_time: Timestamp,
    pub(super) acr: &'static str,
    /// The relying parties that it signed somebody in at.
    pub(super) client_ids: BTreeSet<String>,
    /// How often its tokens were renewed.
    pub(super) refreshes: u64,
}

/// What one authorization request was granted; its refresh tokens are a family.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) session: ProviderSession,
    pub(super) scope: Vec<String>,
    pub(super) nonce: Option<String>,
    /// For whom its tokens are, where no other is asked for (RFC 8707 §2.2).
    pub(super) audience: Vec<String>,
}

/// An authorization request that was handed over.
#[derive(Debug, Clone)]
pub(super) struct PushedRequest {
    pub(super) client_id: String,
    pub(super) parameters: Parameters,
    pub(super) expires_at: Timestamp,
}

/// A code, good once.
#[derive(Debug, Clone)]
pub(super) struct IssuedCode {
    pub(super) grant: GrantId,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    /// The key that its tokens are to be bound to, where that was said (RFC 9449 §10).
    pub(super) thumbprint: Option<String>,
    pub(super) expires_at: Timestamp,
    /// Whether it was exchanged: a second use ends the grant (RFC 6749 §4.1.2).
    pub(super) spent: bool,
}

#[derive(Debug, Clone)]
pub(super) struct IssuedAccess {
    /// Whose it is; a client's own is nobody's.
    pub(super) grant: Option<GrantId>,
    pub(super) client_id: String,
    pub(super) scope: Vec<String>,
    /// For whom, where somebody asked (RFC 8707).
    pub(super) audience: Vec<String>,
    /// Who acts for the user (RFC 8693 §4.1).
    pub(super) actor: Option<String>,
    /// The key that it is bound to (RFC 9449 §6).
    pub(super) thumbprint: Option<String>,
    pub(super) expires_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct IssuedRefresh {
    pub(super) grant: GrantId,
    /// Whether a newer one took its place: a second use ends the family (RFC 9700 §4.14.2).
    pub(super) spent: bool,
}

/// What an `id_token_hint` says.
#[derive(Debug, Clone)]
pub(super) struct IssuedIdToken {
    pub(super) client_id: String,
    pub(super) sid: String,
    pub(super) issued_at: Timestamp,
}

/// What an access token stands for, for an API that asks (RFC 7662).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspection {
    /// Whose it is: a user's, or a client's own.
    pub sub: String,
    /// What it may be used for.
    pub scope: Vec<String>,
    /// Who got it.
    pub client_id: String,
    /// For whom it is; empty where nobody asked.
    pub audience: Vec<String>,
    /// Who acts for the user.
    pub actor: Option<String>,
    /// How strongly the user signed in (RFC 9470 §6.2); none for a client's own.
    pub acr: Option<&'static str>,
    /// The key that it is bound to (RFC 9449 §6.2).
    pub thumbprint: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A person signed in, as the control page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    /// Who.
    pub sub: String,
    /// The `sid` of their ID tokens.
    pub sid: String,
    /// The relying parties that it signed them in at.
    pub client_ids: Vec<String>,
    /// Since when.
    pub auth_time: Timestamp,
    /// How often its tokens were renewed.
    pub refreshes: u64,
}

impl Core {
    /// A provider with fresh keys and nobody signed in.
    ///
    /// # Errors
    /// Where the cryptographic library cannot make a key.
    pub fn new(
        settings: CoreSettings,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        tamper: Arc<dyn Tamper>,
    ) -> Result<Self, KeyFault> {
        let keys = Arc::new(KeySet::generate(&*randomness)?);
        Ok(Self {
            issuer: settings.issuer,
            users: settings.users,
            clock,
            randomness,
            tamper,
            state: Mutex::new(State {
                relying_parties: settings.relying_parties,
                keys,
                access_token_seconds: settings.access_token_seconds,
                sessions: HashMap::new(),
                codes: HashMap::new(),
                grants: HashMap::new(),
                access_tokens: HashMap::new(),
                refresh_tokens: HashMap::new(),
                id_tokens: HashMap::new(),
                assertion_ids: HashMap::new(),
                demands_nonces: false,
                proof_nonces: HashSet::new(),
                demands_pushed: false,
                pushed: HashMap::new(),
                exchange_refusal: None,
                next_grant: 0,
            }),
        })
    }

    /// The issuer, byte for byte as metadata and tokens say it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who can sign in.
    pub fn users(&self) -> &[DevUser] {
        &self.users
    }

    /// The discovery document (OIDC Discovery §3).
    pub fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let mut metadata = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"),
            "jwks_uri": at("/jwks"),
            "end_session_endpoint": at("/end_session"),
            "revocation_endpoint": at("/revoke"),
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported":
                ["authorization_code", "refresh_token", "client_credentials", TOKEN_EXCHANGE, JWT_BEARER],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
            "token_endpoint_auth_signing_alg_values_supported":
                ["RS256", "PS256", "ES256", "EdDSA"],
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "select_account", "consent"],
            "acr_values_supported": ACR_VALUES,
            "dpop_signing_alg_values_supported": PROOF_ALGS,
            "authorization_response_iss_parameter_supported": true,
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
            "frontchannel_logout_supported": true,
            "frontchannel_logout_session_supported": true,
            "pushed_authorization_request_endpoint": at("/par"),
            "require_pushed_authorization_requests": self.state().demands_pushed,
            "request_parameter_supported": true,
            "request_object_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA"],
            "request_uri_parameter_supported": false,
        });
        self.tamper.tamper(Stage::Metadata, &mut metadata);
        metadata
    }

    /// The public keys (RFC 7517 §5).
    pub fn jwks(&self) -> Value {
        let mut jwks = self.keys().jwks();
        self.tamper.tamper(Stage::Jwks, &mut jwks);
        jwks
    }

    /// The keys that sign now.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.state().keys)
    }

    /// Signs with fresh keys from now on; the old ones leave the key set.
    ///
    /// # Errors
    /// Where the cryptographic library cannot make a key.
    pub fn rotate_keys(&self) -> Result<(), KeyFault> {
        let keys = Arc::new(KeySet::generate(&*self.randomness)?);
        self.state().keys = keys;
        Ok(())
    }

    /// Adds a relying party, or replaces the one of that name.
    pub fn register(&self, relying_party: RelyingParty) {
        let mut state = self.state();
        state
            .relying_parties
            .retain(|known| known.client_id != relying_party.client_id);
        state.relying_parties.push(relying_party);
    }

    /// What a live access token stands for; `None` for any other.
    pub fn introspect(&self, access_token: &str) -> Option<Introspection> {
        let now = self.clock.now();
        let state = self.state();
        let issued = state.access_tokens.get(access_token)?;
        let (sub, acr) = match issued.grant {
            Some(grant) => {
                let session = &state.grants.get(&grant)?.session;
                (session.sub.clone(), Some(session.acr))
            }
            None => (issued.client_id.clone(), None),
        };
        (now < issued.expires_at).then(|| Introspection {
            sub,
            scope: issued.scope.clone(),
            client_id: issued.client_id.clone(),
            audience: issued.audience.clone(),
            actor: issued.actor.clone(),
            acr,
            thumbprint: issued.thumbprint.clone(),
            expires_at: issued.expires_at,
        })
    }

    /// Who is signed in here.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        let mut sessions: Vec<_> = self
            .state()
            .sessions
            .values()
            .map(|session| SessionSummary {
                sub: session.sub.clone(),
                sid: session.sid.clone(),
                client_ids: session.client_ids.iter().cloned().collect(),
                auth_time: session.auth_time,
                refreshes: session.refreshes,
            })
            .collect();
        sessions.sort_by(|a, b| (a.auth_time, &a.sid).cmp(&(b.auth_time, &b.sid)));
        sessions
    }

    /// Ends every session and every grant: no token works any more.
    pub fn revoke_all(&self) {
        let mut state = self.state();
        state.sessions.clear();
        state.codes.clear();
        state.grants.clear();
        state.access_tokens.clear();
    }

    /// Seconds that the next access tokens live.
    pub fn access_token_seconds(&self) -> u64 {
        self.state().access_token_seconds
    }

    /// Changes how long the next access tokens live.
    pub fn set_access_token_seconds(&self, seconds: u64) {
        self.state().access_token_seconds = seconds;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(super) fn tamper(&self, stage: Stage, value: &mut Value) {
        self.tamper.tamper(stage, value);
    }

    /// 256 unpredictable bits.
    pub(super) fn random(&self) -> String {
        random_base64url::<32>(&*self.randomness)
    }

    /// Whether more than one relying party signs people in here.
    pub(super) fn has_several(&self) -> bool {
        self.state().relying_parties.len() > 1
    }

    /// The relying party of that name.
    pub fn relying_party(&self, client_id: &str) -> Option<RelyingParty> {
        self.state()
            .relying_parties
            .iter()
            .find(|known| known.client_id == client_id)
            .cloned()
    }

    pub(super) fn user(&self, name: &str) -> Option<&DevUser> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The claims that `scope` asks for (OIDC Core §5.4); custom claims come with `profile`.
    pub(super) fn claims_of(&self, sub: &str, scope: &[String]) -> Map<String, Value> {
        let asked = |name: &str| scope.iter().any(|scope| scope == name);
        let Some(user) = self.user(sub) else {
            return Map::new();
        };
        user.claims
            .iter()
            .filter(|(name, _)| match name.as_str() {
                "email" | "email_verified" => asked("email"),
                _ => asked("profile"),
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Whether this `jti` is new; it is remembered until `exp` (A10).
    pub(super) fn remember_assertion(&self, jti: &str, exp: i64) -> bool {
        let now = self.clock.now().unix_seconds();
        let mut state = self.state();
        state.assertion_ids.retain(|_, ends| *ends > now);
        state.assertion_ids.insert(jti.to_owned(), exp).is_none()
    }
}

impl State {
    pub(super) fn add_grant(&mut self, grant: Grant) -> GrantId {
        let id = GrantId(self.next_grant);
        self.next_grant += 1;
        self.grants.insert(id, grant);
        id
    }

    /// Ends a grant: its tokens are unknown from here on.
    pub(super) fn end_grant(&mut self, grant: GrantId) {
        self.grants.remove(&grant);
        self.access_tokens
            .retain(|_, issued| issued.grant != Some(grant));
    }

    /// Lets go of what time has ended.
    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        self.codes.retain(|_, code| now < code.expires_at);
        self.access_tokens
            .retain(|_, issued| now < issued.expires_at);
        let grants = &self.grants;
        self.refresh_tokens
            .retain(|_, issued| grants.contains_key(&issued.grant));
        self.id_tokens
            .retain(|_, issued| now.since(issued.issued_at) < HINT_LIFETIME);
    }
}
