//! A refresh: new tokens of the same login, and what to make of the ID token that comes with them
//! (D18, L7).

use std::sync::Arc;

use crate::oidc::IdTokenAlg;
use crate::oidc::error::ProviderError;
use crate::oidc::error_code::ErrorCode;
use crate::oidc::grant::{GrantFacts, Identity, TokenSet};
use crate::oidc::id_token::{self, about_another};
use crate::oidc::provider::Provider;
use crate::oidc::token_failure::TokenFailure;
use crate::oidc::untrusted::{IdTokenFault, RefreshError, Untrusted};
use crate::secret::{AccessToken, IdToken, RefreshToken};
use crate::web::proof::Prover;
use crate::web::token_spec::TokenSpec;

/// What a refresh token brought.
#[derive(Debug)]
pub struct RefreshedTokens {
    /// The tokens.
    pub tokens: TokenSet,
    /// What a new ID token said, where one came. UserInfo is not asked again, so lay these claims
    /// over the ones you have.
    pub identity: Option<Identity>,
    /// Why the ID token that came was left out (D18).
    pub doubt: Option<Untrusted>,
}

impl Provider {
    /// Redeems a refresh token. An ID token about another user or of another issuer costs the whole
    /// answer; one that is in doubt for any other reason is left out alone, since the tokens came
    /// from the token endpoint itself (OIDC Core §3.1.3.7 (6), D18). The scope is never wider than
    /// what was granted (L7). `spec` says what the access token is for, where it is for something else
    /// than the login's (RFC 8707 §2.2); `prover` is what the login's tokens were to be bound to.
    ///
    /// # Errors
    ///
    /// The refresh token is dead, the provider refuses or cannot be asked, or what it answered is
    /// about somebody else.
    pub async fn refresh(
        &self,
        refresh_token: &RefreshToken,
        granted: &GrantFacts,
        spec: Option<&TokenSpec>,
        prover: Option<&Arc<Prover>>,
    ) -> Result<RefreshedTokens, RefreshError> {
        let metadata = self.metadata().await.map_err(RefreshError::Unavailable)?;
        let proving = self.proving(prover.map(|prover| &**prover));
        let endpoint = self.token_endpoint(&metadata, proving);
        let response = endpoint.refresh(refresh_token, spec).await?;
        let mut tokens = TokenSet {
            prover: prover.cloned(),
            grant_end: self.grant_end(response.grant_end),
            access_token: response.access_token,
            refresh_token: response.refresh_token,
            id_token: None,
            expires_in: response.expires_in,
            scope: narrowed(response.scope, &granted.scope),
        };
        let id_token = match response.id_token {
            Ok(Some(id_token)) => id_token,
            Ok(None) => return Ok(of_no_id_token(tokens, None)),
            Err(fault) => return Ok(of_no_id_token(tokens, Some(fault.into()))),
        };
        if let Some(claim) = about_another(&id_token, granted) {
            let tokens = Box::new(tokens);
            return Err(RefreshError::AboutAnother { claim, tokens });
        }
        let algs = &metadata.terms.id_token_algs;
        let told = self.refreshed_identity(&id_token, algs, &tokens.access_token, granted);
        match told.await {
            Ok(identity) => {
                tokens.id_token = Some(id_token);
                Ok(RefreshedTokens {
                    tokens,
                    identity: Some(identity),
                    doubt: None,
                })
            }
            Err(fault) => Ok(of_no_id_token(tokens, Some(fault.into()))),
        }
    }

    async fn refreshed_identity(
        &self,
        id_token: &IdToken,
        algs: &[IdTokenAlg],
        access_token: &AccessToken,
        granted: &GrantFacts,
    ) -> Result<Identity, IdTokenFault> {
        let verified = id_token::verify_signature(id_token, algs, &self.0.jwks).await?;
        Ok(self.verifier(access_token).refreshed(&verified, granted)?)
    }
}

const fn of_no_id_token(tokens: TokenSet, doubt: Option<Untrusted>) -> RefreshedTokens {
    RefreshedTokens {
        tokens,
        identity: None,
        doubt,
    }
}

/// What of `scope` was granted at login; all of it where nothing is said (C9).
fn narrowed(scope: Option<Vec<String>>, granted: &[String]) -> Vec<String> {
    match scope {
        None => granted.to_vec(),
        Some(mut scope) => {
            scope.retain(|item| granted.contains(item));
            scope
        }
    }
}

impl From<TokenFailure> for RefreshError {
    /// Only a code that says so is about the grant. All else is about us, the provider or the way
    /// there, and passes (L4, L5).
    fn from(failure: TokenFailure) -> Self {
        match failure.later() {
            Ok(unavailable) => Self::Unavailable(ProviderError::from(unavailable)),
            Err(answer) if answer.code.is_some_and(ErrorCode::ends_the_grant) => {
                Self::GrantOver(answer)
            }
            Err(answer) => Self::Refused(answer),
        }
    }
}
