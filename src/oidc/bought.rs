//! Tokens that are bought without the user: our own, and those that a user's token is exchanged for.

use std::time::Duration;

use crate::oidc::error::{ProviderError, TokenResponseFault, Unavailable};
use crate::oidc::error_code::ErrorAnswer;
use crate::oidc::provider::Provider;
use crate::oidc::token_endpoint::targets;
use crate::oidc::token_failure::TokenFailure;
use crate::oidc::token_response::TokenResponse;
use crate::secret::AccessToken;
use crate::web::proof::Prover;
use crate::web::token_spec::{ExchangeForm, ExchangeTerms, TokenSpec};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// An access token that no login brought.
#[derive(Debug)]
pub struct BoughtToken {
    /// For the upstreams.
    pub access_token: AccessToken,
    /// How long it lives, where the provider said so (C8).
    pub expires_in: Option<Duration>,
}

/// Why there is none. Neither is about the user's session.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefusal {
    /// The provider says no to what was asked for.
    #[error("the token endpoint refuses: {0}")]
    Refused(ErrorAnswer),
    /// It cannot be asked now, takes us for nobody, or its answer may not be used (L5).
    #[error("the provider cannot be asked")]
    Unavailable(#[source] ProviderError),
}

impl Provider {
    /// Buys a token of our own (RFC 6749 §4.4).
    ///
    /// # Errors
    ///
    /// The provider refuses, or cannot be asked.
    pub async fn client_token(
        &self,
        spec: &TokenSpec,
        prover: Option<&Prover>,
    ) -> Result<BoughtToken, TokenRefusal> {
        let metadata = self.metadata().await.map_err(TokenRefusal::Unavailable)?;
        let endpoint = self.token_endpoint(&metadata, self.proving(prover));
        Ok(endpoint.client_credentials(spec).await?.into())
    }

    /// Exchanges `subject` on these terms for the token that `spec` asks for, in the name of its user; `actor`
    /// says who acts for them (RFC 8693 §2.1). `prover` holds the key that the subject is bound to, and so is
    /// the token.
    ///
    /// # Errors
    ///
    /// The provider refuses, or cannot be asked.
    pub async fn exchange(
        &self,
        subject: &AccessToken,
        actor: Option<&AccessToken>,
        spec: &TokenSpec,
        terms: &ExchangeTerms,
        prover: Option<&Prover>,
    ) -> Result<BoughtToken, TokenRefusal> {
        let wanted = terms.requested_token_type.as_deref();
        let mut form = match terms.form {
            ExchangeForm::OnBehalfOf => vec![
                ("grant_type", spec.grant_type()),
                ("assertion", subject.expose()),
                ("requested_token_use", "on_behalf_of"),
            ],
            ExchangeForm::TokenExchange => vec![
                ("grant_type", spec.grant_type()),
                ("subject_token", subject.expose()),
                ("subject_token_type", ACCESS_TOKEN),
            ],
        };
        form.extend(wanted.map(|kind| ("requested_token_type", kind)));
        if let Some(actor) = actor {
            form.extend([
                ("actor_token", actor.expose()),
                ("actor_token_type", ACCESS_TOKEN),
            ]);
        }
        form.extend(targets(spec));
        form.extend(spec.scope().map(|scope| ("scope", scope)));
        let metadata = self.metadata().await.map_err(TokenRefusal::Unavailable)?;
        let endpoint = self.token_endpoint(&metadata, self.proving(prover));
        let response = endpoint.buy(&form).await?;
        if terms.form == ExchangeForm::TokenExchange {
            let issued = response.issued_token_type.as_deref();
            let fits = match wanted {
                Some(wanted) => issued == Some(wanted),
                None => matches!(issued, Some(ACCESS_TOKEN | JWT)),
            };
            if !fits {
                let fault = TokenResponseFault::IssuedTokenType;
                return Err(TokenRefusal::Unavailable(
                    Unavailable::BadTokenResponse(fault).into(),
                ));
            }
        }
        Ok(response.into())
    }
}

impl From<TokenResponse> for BoughtToken {
    fn from(response: TokenResponse) -> Self {
        Self {
            access_token: response.access_token,
            expires_in: response.expires_in,
        }
    }
}

impl From<TokenFailure> for TokenRefusal {
    fn from(failure: TokenFailure) -> Self {
        match failure.later() {
            Ok(unavailable) => Self::Unavailable(unavailable.into()),
            // That is about us and not about what was asked for.
            Err(answer) if answer.is_about_us() => {
                let status = Unavailable::Status {
                    endpoint: "token",
                    answer,
                };
                Self::Unavailable(status.into())
            }
            Err(answer) => Self::Refused(answer),
        }
    }
}
