//! The provider as the rest of the code knows it: one handle, one method for each thing that a
//! relying party asks of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Randomness};
use crate::oidc::calls::Calls;
use crate::oidc::client_auth::ClientAuthenticator;
use crate::oidc::discovery::Discovery;
use crate::oidc::envelope::Envelope;
use crate::oidc::error::{Misbehaviour, ProviderError};
use crate::oidc::grant::{Grant, Identity, TokenSet};
use crate::oidc::grant_end::{GrantEnd, Told};
use crate::oidc::id_token::{self, ExpectedIdToken, Verifier};
use crate::oidc::jwks::Jwks;
use crate::oidc::logout_token::{self, LogoutToken};
use crate::oidc::metadata::Metadata;
use crate::oidc::oddities::Oddities;
use crate::oidc::standing::{Looks, Standing};
use crate::oidc::terms::SCOPES;
use crate::oidc::token_endpoint::TokenEndpoint;
use crate::oidc::token_response::TokenResponse;
use crate::oidc::untrusted::{
    ExchangeError, IdTokenFault, LogoutTokenError, RevocationError, Untrusted,
};
use crate::oidc::userinfo::{self, UserInfo};
use crate::oidc::{IdTokenAlg, ProviderSettings};
use crate::secret::{AccessToken, AuthorizationCode, CodeVerifier, RefreshToken};
use crate::telemetry::Metrics;
use crate::web::outbound::Outbound;
use crate::web::proof::{Prover, Proving};

/// How often metadata and keys are fetched anew.
const FRESHEN: Duration = Duration::from_mins(10);
/// The same after a failure, while there is a good copy.
const FRESHEN_AGAIN: Duration = Duration::from_secs(30);
/// The same while there is none, so that a provider that starts late is found within 5 s.
const FIND: Duration = Duration::from_secs(2);

/// The provider; cheap to clone.
#[derive(Clone)]
pub struct Provider(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Arc<ProviderSettings>,
    pub(super) calls: Arc<Calls>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) jwks: Jwks,
    pub(super) authenticator: ClientAuthenticator,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
    looks: Looks,
    pub(super) oddities: Oddities,
}

/// What the `iss` of an authorization response says (RFC 9207).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerCheck {
    /// It is from this provider, as far as this provider says such things.
    Fits,
    /// It is from another.
    Other,
    /// It does not say, and this provider announces that it always does.
    Missing,
}

impl Provider {
    /// Asks nobody yet.
    pub fn new(
        settings: ProviderSettings,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        metrics: Metrics,
    ) -> Self {
        let calls = Arc::new(Calls {
            outbound,
            timeout: settings.timeout,
            metrics,
        });
        let settings = Arc::new(settings);
        let discovery = Arc::new(Discovery::new(Arc::clone(&settings), Arc::clone(&calls)));
        Self(Arc::new(Inner {
            jwks: Jwks::new(
                Arc::clone(&calls),
                Arc::clone(&discovery),
                Arc::clone(&clock),
            ),
            authenticator: ClientAuthenticator::new(
                &settings.client_auth,
                Arc::clone(&clock),
                Arc::clone(&randomness),
            ),
            settings,
            calls,
            discovery,
            clock,
            randomness,
            looks: Looks::default(),
            oddities: Oddities::default(),
        }))
    }

    /// Who the provider is and who we are to it.
    pub fn settings(&self) -> &ProviderSettings {
        &self.0.settings
    }

    /// Fetches metadata and keys anew; a failure leaves the last good copy of each in place (A8).
    ///
    /// # Errors
    ///
    /// One of the two could not be had, or may not be used.
    pub async fn look(&self) -> Result<Arc<Metadata>, ProviderError> {
        let discovery = &self.0.discovery;
        // A login that needs the first copy may be fetching it.
        let metadata = match discovery.cached() {
            Some(_) => discovery.refresh().await?,
            None => discovery.find().await?,
        };
        self.0.jwks.refresh().await?;
        Ok(metadata)
    }

    /// Runs for ever: [looks](Self::look) at once, then on an interval.
    pub async fn keep_fresh(self) {
        loop {
            let outcome = self.look().await;
            self.0.looks.note(outcome.as_deref());
            let found = self.0.discovery.cached().is_some() && self.0.jwks.current().is_some();
            let pause = match (&outcome, found) {
                (Ok(_), _) => FRESHEN,
                (Err(_), true) => FRESHEN_AGAIN,
                (Err(_), false) => FIND,
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    event = "provider.unavailable",
                    issuer = self.0.settings.issuer,
                    error = &error as &dyn std::error::Error,
                    retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "metadata and keys of the provider could not be fetched"
                );
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs for ever: as [`Self::keep_fresh`], once a look was good. Until then it looks when somebody needs
    /// metadata and has none, and never by itself: of thousands, those that nobody can use cost nothing.
    pub async fn keep_fresh_once_found(self) {
        loop {
            self.0.discovery.needed().await;
            let outcome = self.look().await;
            self.0.looks.note(outcome.as_deref());
            if outcome.is_ok() {
                break;
            }
        }
        tokio::time::sleep(FRESHEN).await;
        self.keep_fresh().await;
    }

    /// Tells it from every other that there is, those just like it among them.
    pub fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// How it stands, as far as [`Self::keep_fresh`] has looked; asks nobody.
    pub fn standing(&self) -> Standing {
        self.0.looks.standing()
    }

    /// The provider's metadata: the last good copy, or a fetch where there is none yet.
    ///
    /// # Errors
    ///
    /// The provider was never reached and is not reached now, or misbehaves.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        self.0.discovery.metadata().await
    }

    /// Judges the `iss` of an authorization response, success or error (RFC 9207 §2.4, C4).
    ///
    /// # Errors
    ///
    /// As [`Self::metadata`].
    pub async fn check_response_issuer(
        &self,
        iss: Option<&str>,
    ) -> Result<IssuerCheck, ProviderError> {
        let metadata = self.metadata().await?;
        Ok(match iss {
            Some(iss) if self.is_issuer(iss) => IssuerCheck::Fits,
            Some(_) => IssuerCheck::Other,
            None if metadata.names_itself => IssuerCheck::Missing,
            None => IssuerCheck::Fits,
        })
    }

    /// Redeems a code for tokens and the identity that a verified ID token gives, with UserInfo
    /// where that is configured (C7–C10, C12, D). One attempt. The tokens are to be bound to the key of
    /// `prover`.
    ///
    /// # Errors
    ///
    /// The provider cannot be asked, refuses the code, or answers what may not be believed.
    pub async fn exchange_code(
        &self,
        code: &AuthorizationCode,
        code_verifier: CodeVerifier,
        expected: &ExpectedIdToken<'_>,
        prover: Option<Arc<Prover>>,
    ) -> Result<Grant, ExchangeError> {
        let metadata = self.metadata().await.map_err(ExchangeError::Unavailable)?;
        let proving = self.proving(prover.as_deref());
        let endpoint = self.token_endpoint(&metadata, proving);
        let response = endpoint.exchange_code(code, &code_verifier).await?;
        let scope = response
            .scope
            .clone()
            .unwrap_or_else(|| metadata.terms.scopes.clone());
        let identity = self
            .login_identity(&metadata, &response, expected, (&scope, proving))
            .await?;
        let tokens = TokenSet {
            prover: prover.filter(|_| response.access_token.is_bound()),
            grant_end: self.grant_end(response.grant_end),
            access_token: response.access_token,
            refresh_token: response.refresh_token,
            id_token: response.id_token.ok().flatten(),
            expires_in: response.expires_in,
            scope,
        };
        Ok(Grant { tokens, identity })
    }

    async fn login_identity(
        &self,
        metadata: &Metadata,
        response: &TokenResponse,
        expected: &ExpectedIdToken<'_>,
        (scope, proving): (&[String], Option<Proving<'_>>),
    ) -> Result<Identity, ExchangeError> {
        let untrusted = |fault: IdTokenFault| ExchangeError::Untrusted(fault.into());
        let id_token = match &response.id_token {
            Ok(Some(id_token)) => id_token,
            Ok(None) => return Err(untrusted(IdTokenFault::Missing)),
            Err(fault) => return Err(ExchangeError::Untrusted((*fault).into())),
        };
        let algs = &metadata.terms.id_token_algs;
        let verified = id_token::verify_signature(id_token, algs, &self.0.jwks)
            .await
            .map_err(|fault| match fault {
                IdTokenFault::Jws(fault) => fault
                    .or_unavailable()
                    .map_or_else(|fault| untrusted(fault.into()), ExchangeError::Unavailable),
                fault => untrusted(fault),
            })?;
        let verifier = self.verifier(&response.access_token);
        let mut identity = verifier
            .login(&verified, expected, scope)
            .map_err(|fault| untrusted(fault.into()))?;
        self.0.oddities.look_at(&identity, &verified);
        if self.0.settings.userinfo {
            let url = metadata.userinfo_endpoint.as_ref().ok_or_else(|| {
                let missing = Misbehaviour::Missing("userinfo_endpoint");
                ExchangeError::Untrusted(Untrusted::Metadata(Arc::new(missing)))
            })?;
            let asked = UserInfo {
                url,
                htu: &metadata.userinfo_htu,
                proving: proving.filter(|_| response.access_token.is_bound()),
                calls: &self.0.calls,
            };
            let claims = userinfo::fetch(&asked, &identity.sub, &verifier, algs, &self.0.jwks);
            let claims = claims.await?;
            identity.claims.extend(claims);
        }
        Ok(identity)
    }

    /// Revokes the refresh token, then the access token, where the provider offers it (E5). Tries
    /// both whatever becomes of the first.
    ///
    /// # Errors
    ///
    /// What lives on. It never stands in the way of a logout here.
    pub async fn revoke(
        &self,
        refresh_token: Option<&RefreshToken>,
        access_token: Option<&AccessToken>,
    ) -> Result<(), RevocationError> {
        let metadata = match (self.metadata().await, refresh_token) {
            (Ok(metadata), _) => metadata,
            (Err(error), Some(_)) => return Err(RevocationError::RefreshToken(error)),
            (Err(error), None) => return Err(RevocationError::AccessToken(error)),
        };
        let Some(url) = &metadata.revocation_endpoint else {
            return Ok(());
        };
        let endpoint = self.token_endpoint(&metadata, None);
        let mut outcome = Ok(());
        if let Some(token) = refresh_token {
            let revoked = endpoint.revoke_refresh_token(url, token).await;
            outcome = revoked.map_err(|error| RevocationError::RefreshToken(error.into()));
        }
        if let Some(token) = access_token {
            let revoked = endpoint.revoke_access_token(url, token).await;
            let revoked = revoked.map_err(|error| RevocationError::AccessToken(error.into()));
            outcome = outcome.and(revoked);
        }
        outcome
    }

    /// What `text` says has ended at the provider, where it is a logout token for us (E8), whoever
    /// brought it. Whether its `jti` was seen before is the caller's to know (E9).
    ///
    /// # Errors
    ///
    /// It may not be believed, or the keys cannot be had now.
    pub async fn verify_logout_token(&self, text: &str) -> Result<LogoutToken, LogoutTokenError> {
        let metadata = self.0.discovery.cached();
        let every = IdTokenAlg::ALL.map(|(alg, _)| alg);
        let algs = match (&metadata, &self.0.settings.id_token_algs) {
            (Some(metadata), _) => &metadata.terms.id_token_algs,
            (None, Some(own)) => own,
            // Whoever makes keys for one of them is the provider; it says more once it is reached.
            (None, None) => every.as_slice(),
        };
        logout_token::verify(text, self.envelope(), algs, &self.0.jwks).await
    }

    /// Whether `scope` is among those asked for; as configured, while the provider was never reached.
    pub fn asks_for(&self, scope: &str) -> bool {
        let metadata = self.0.discovery.cached();
        let scopes = metadata.as_ref().map(|metadata| &metadata.terms.scopes);
        match scopes.or(self.0.settings.scopes.as_ref()) {
            Some(scopes) => scopes.iter().any(|own| own == scope),
            None => SCOPES.contains(&scope),
        }
    }

    /// Whether the ID token of the last login had no `sid`, by which a front-channel logout finds
    /// its session.
    pub fn id_tokens_lack_sid(&self) -> bool {
        self.0.oddities.id_tokens_lack_sid()
    }

    /// Whether this is the provider's issuer, byte for byte (E15). No secret.
    pub fn is_issuer(&self, iss: &str) -> bool {
        iss == self.0.settings.issuer
    }

    /// When the provider lets go of a refresh token, as an answer has it that came just now.
    pub(super) fn grant_end(&self, told: Told) -> GrantEnd {
        let (end, odd) = told.at(self.0.clock.now());
        if let Some(name) = odd {
            self.0.oddities.end_is_odd(name);
        }
        end
    }

    pub(super) fn token_endpoint<'a>(
        &'a self,
        metadata: &'a Metadata,
        proving: Option<Proving<'a>>,
    ) -> TokenEndpoint<'a> {
        TokenEndpoint {
            proving,
            settings: &self.0.settings,
            metadata,
            calls: &self.0.calls,
            authenticator: &self.0.authenticator,
        }
    }

    pub(super) fn verifier<'a>(&'a self, access_token: &'a AccessToken) -> Verifier<'a> {
        Verifier {
            envelope: self.envelope(),
            access_token,
        }
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            settings: &self.0.settings,
            now: self.0.clock.now(),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("issuer", &self.0.settings.issuer)
            .finish_non_exhaustive()
    }
}
