//! The token and revocation endpoints (RFC 6749 §3.2, RFC 7009): requests with our credential (C7–C9,
//! E5). The grants are spoken by oauth2's client, over our own way to the provider.
//!
//! What of that crate is left alone, and why: it knows of secrets and not of assertions, so that every
//! credential is `client_auth`'s; its errors hold what the provider sent, so that it is shown nothing but
//! answers that can be used; it wants a media type that real providers forget; it knows no exchange of
//! tokens; and it revokes over https alone, which a provider on this machine may not speak.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response};
use oauth2::basic::{BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AsyncHttpClient, ClientId, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardRevocableToken, TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::oidc::calls::{Calls, form_post};
use crate::oidc::client_auth::ClientAuthenticator;
use crate::oidc::client_key::ClientKeyFault;
use crate::oidc::credential_fault::CredentialFault;
use crate::oidc::error::{TokenResponseFault, Unavailable};
use crate::oidc::error_code::ErrorCode;
use crate::oidc::metadata::Metadata;
use crate::oidc::token_failure::TokenFailure;
use crate::oidc::token_response::{Answer, Binding, TokenResponse, error_answer};
use crate::oidc::{Dpop, ProviderSettings};
use crate::secret::{AccessToken, AuthorizationCode, CodeVerifier, RefreshToken};
use crate::web::proof::{DPOP, Proving, ServerNonce};
use crate::web::token_spec::TokenSpec;

const ENDPOINT: &str = "token";

/// oauth2's client, with answers that are read as we read them.
type Grants<HasTokenUrl = EndpointNotSet> = oauth2::Client<
    NoError,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    HasTokenUrl,
>;

/// Speaks to the token endpoint and its neighbour as this relying party.
pub(super) struct TokenEndpoint<'a> {
    pub(super) settings: &'a ProviderSettings,
    pub(super) metadata: &'a Metadata,
    pub(super) calls: &'a Calls,
    pub(super) authenticator: &'a ClientAuthenticator,
    /// What the tokens are to be bound to, if to anything.
    pub(super) proving: Option<Proving<'a>>,
}

impl TokenEndpoint<'_> {
    /// Redeems a code, once: it is good for one use, so a second try could only look like theft
    /// (C7, RFC 6749 §4.1.2).
    pub(super) async fn exchange_code(
        &self,
        code: &AuthorizationCode,
        code_verifier: &CodeVerifier,
    ) -> Result<TokenResponse, TokenFailure> {
        let grants = self.grants();
        let code = oauth2::AuthorizationCode::new(code.expose().to_owned());
        let verifier = PkceCodeVerifier::new(code_verifier.expose().to_owned());
        let mut request = grants.exchange_code(code).set_pkce_verifier(verifier);
        for (name, value) in self.own_targets() {
            request = request.add_extra_param(name, value);
        }
        Ok(request.request_async(self).await?.into())
    }

    /// Redeems a refresh token; once more where no one can tell whether the first try arrived,
    /// since providers allow for that (L6). Without a `spec`, `scope` is left out: as granted (L7).
    pub(super) async fn refresh(
        &self,
        refresh_token: &RefreshToken,
        spec: Option<&TokenSpec>,
    ) -> Result<TokenResponse, TokenFailure> {
        let grants = self.grants();
        let token = oauth2::RefreshToken::new(refresh_token.expose().to_owned());
        twice_if_lost(|| {
            let mut request = grants.exchange_refresh_token(&token);
            for (name, value) in spec.map_or_else(|| self.own_targets(), targets) {
                request = request.add_extra_param(name, value);
            }
            let scopes = spec.map(scopes).unwrap_or_default();
            request.add_scopes(scopes).request_async(self)
        })
        .await
    }

    /// For whom the login's own access token is (RFC 8707 §2.2). Of several the provider chooses: some give no
    /// token that is for more than one, and refuse to be asked.
    fn own_targets(&self) -> Vec<(&'static str, &str)> {
        match self.settings.resources.as_slice() {
            [only] => vec![("resource", only)],
            _ => Vec::new(),
        }
    }

    /// Buys a token of our own (RFC 6749 §4.4); once more where no one can tell whether the first try
    /// arrived, for nothing is spent.
    pub(super) async fn client_credentials(
        &self,
        spec: &TokenSpec,
    ) -> Result<TokenResponse, TokenFailure> {
        let grants = self.grants();
        twice_if_lost(|| {
            let mut request = grants.exchange_client_credentials();
            for (name, value) in targets(spec) {
                request = request.add_extra_param(name, value);
            }
            request.add_scopes(scopes(spec)).request_async(self)
        })
        .await
    }

    /// Buys a token by a grant of another name, which spends nothing either.
    pub(super) async fn buy(&self, form: &[(&str, &str)]) -> Result<TokenResponse, TokenFailure> {
        twice_if_lost(|| async { Answer::parse(&self.answer_to(form).await?, self.binding()) })
            .await
    }

    /// What is answered to this form, whatever it is.
    pub(super) async fn answer_to(
        &self,
        form: &[(&str, &str)],
    ) -> Result<Response<Bytes>, TokenFailure> {
        let request = form_request(&self.metadata.token_endpoint, form);
        self.attempt(request.map_err(TokenFailure::Credential)?)
            .await
    }

    /// oauth2 takes us for a client with an empty secret, since it would write the `client_id` into the form
    /// of any other; where that stands is for [`Self::finished`] to say, as all that proves who we are.
    fn grants(&self) -> Grants<EndpointSet> {
        let mut url = self.metadata.token_endpoint.clone();
        url.set_fragment(None);
        <Grants>::new(ClientId::new(self.settings.client_id.clone()))
            .set_client_secret(oauth2::ClientSecret::new(String::new()))
            .set_redirect_uri(RedirectUrl::from_url(self.settings.redirect_uri.clone()))
            .set_token_uri(TokenUrl::from_url(url))
    }

    /// Asks the token endpoint, be it for oauth2 or for ourselves: once, and once more where that is to hear
    /// nothing but a nonce first (A14). Nothing was spent then.
    async fn attempt(&self, request: HttpRequest) -> Result<Response<Bytes>, TokenFailure> {
        let Some(proving) = &self.proving else {
            return self.ask(request, None).await;
        };
        let again = request.clone();
        let mut answer = self.ask(request, None).await?;
        let mut nonce = ServerNonce::of(answer.headers());
        if nonce.is_some() && wants_nonce(&answer) {
            answer = self.ask(again, nonce.as_ref()).await?;
            nonce = ServerNonce::of(answer.headers()).or(nonce);
        }
        proving.note(&self.metadata.token_htu, nonce);
        Ok(answer)
    }

    /// Asks once; after a refusal, with the nonce that it gave.
    async fn ask(
        &self,
        request: HttpRequest,
        refused_for: Option<&ServerNonce>,
    ) -> Result<Response<Bytes>, TokenFailure> {
        let request = self.finished(request).await;
        let mut request = request.map_err(TokenFailure::Credential)?;
        if let Some(proving) = &self.proving {
            let htu = &self.metadata.token_htu;
            let proof = proving.proof(&Method::POST, htu, None, refused_for);
            let headers = request.headers_mut();
            headers.extend(proof.map(|proof| (DPOP, proof)));
        }
        let answer = self.calls.buy(ENDPOINT, request).await;
        answer.map_err(TokenFailure::NoAnswer)
    }

    fn binding(&self) -> Binding {
        match (&self.proving, self.settings.dpop) {
            (None, _) => Binding::Unasked,
            (Some(_), Dpop::Always) => Binding::Demanded,
            (Some(_), Dpop::Auto | Dpop::Never) => Binding::Asked,
        }
    }

    /// Revokes a refresh token.
    pub(super) async fn revoke_refresh_token(
        &self,
        endpoint: &Url,
        token: &RefreshToken,
    ) -> Result<(), Unavailable> {
        self.revoke(endpoint, token.expose(), "refresh_token").await
    }

    /// Revokes an access token.
    pub(super) async fn revoke_access_token(
        &self,
        endpoint: &Url,
        token: &AccessToken,
    ) -> Result<(), Unavailable> {
        self.revoke(endpoint, token.expose(), "access_token").await
    }

    async fn revoke(&self, endpoint: &Url, token: &str, hint: &str) -> Result<(), Unavailable> {
        const ENDPOINT: &str = "revocation";
        let form = [("token", token), ("token_type_hint", hint)];
        let request = self.request(endpoint, &form).await;
        let request = request.map_err(Unavailable::Credential)?;
        let answer =
            self.calls
                .send(ENDPOINT, request)
                .await
                .map_err(|source| Unavailable::NoAnswer {
                    endpoint: ENDPOINT,
                    source,
                })?;
        // A token that the provider does not know is 200 as well (RFC 7009 §2.2).
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(Unavailable::Status {
                endpoint: ENDPOINT,
                answer: error_answer(&answer),
            })
        }
    }

    /// A form post with our credential.
    pub(super) async fn request(
        &self,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<Request<Bytes>, CredentialFault> {
        self.finished(form_request(url, form)?).await
    }

    /// An authorization request to hand over, with our credential; it says who we are in any case (RFC 9126 §2.1).
    pub(super) async fn pushed(
        &self,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<Request<Bytes>, CredentialFault> {
        let request = self.request(url, form).await?;
        if !request.headers().contains_key(AUTHORIZATION) {
            return Ok(request);
        }
        Ok(request.map(|form| {
            let form = String::from_utf8_lossy(&form).into_owned();
            let mut form = Serializer::new(form);
            form.append_pair("client_id", &self.settings.client_id);
            form.finish().into()
        }))
    }

    /// `request` with what proves who we are, made anew for every attempt (A10). All that goes to the token
    /// endpoint passes here.
    async fn finished(&self, request: HttpRequest) -> Result<Request<Bytes>, CredentialFault> {
        let ready = self.calls.outbound.ready(self.authenticator.now()).await;
        ready.map_err(CredentialFault::Certificate)?;
        let written = self.authenticator.written().await?;
        let written = written.as_deref();
        let (mut head, form) = request.into_parts();
        head.headers.remove(AUTHORIZATION);
        let form = String::from_utf8(form).unwrap_or_default();
        let mut form = Serializer::new(form);
        let headers = &mut head.headers;
        self.authenticator
            .apply(written, self.settings, self.metadata, headers, &mut form)?;
        Ok(Request::from_parts(head, Bytes::from(form.finish())))
    }
}

impl<'c> AsyncHttpClient<'c> for TokenEndpoint<'_> {
    type Error = TokenFailure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenFailure>> + Send + 'c>>;

    /// Hands over nothing but an answer that can be used, without its media type.
    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.attempt(request).await?;
            Answer::parse(&answer, self.binding())?;
            Ok(HttpResponse::new(answer.into_body().into()))
        })
    }
}

/// Whether all that is wanted is another proof.
fn wants_nonce(answer: &Response<Bytes>) -> bool {
    answer.status().is_client_error()
        && error_answer(answer).code == Some(ErrorCode::USE_DPOP_NONCE)
}

/// Once more where no one can tell whether the first try arrived.
async fn twice_if_lost<F, E>(ask: impl Fn() -> F) -> Result<TokenResponse, TokenFailure>
where
    F: Future<Output = Result<Answer, E>>,
    TokenFailure: From<E>,
{
    let answer = match ask().await.map_err(TokenFailure::from) {
        Err(TokenFailure::NoAnswer(error)) if error.is_ambiguous() => ask().await?,
        outcome => outcome?,
    };
    Ok(answer.into())
}

/// The parameters that say for whom a token is (RFC 8707 §2, RFC 8693 §2.1).
pub(super) fn targets(spec: &TokenSpec) -> Vec<(&'static str, &str)> {
    let resources = spec.resources.iter();
    let resources = resources.map(|resource| ("resource", resource.as_str()));
    let audience = spec.audience.iter();
    let audience = audience.map(|audience| ("audience", audience.as_str()));
    resources.chain(audience).collect()
}

fn scopes(spec: &TokenSpec) -> Vec<Scope> {
    let scopes = spec.scopes.iter();
    scopes.map(|scope| Scope::new(scope.clone())).collect()
}

/// A form post without a credential.
fn form_request(url: &Url, form: &[(&str, &str)]) -> Result<HttpRequest, CredentialFault> {
    let mut body = Serializer::new(String::new());
    body.extend_pairs(form);
    let request = form_post(url).body(body.finish().into_bytes());
    // The URL was checked; there is nothing left that could be refused.
    request.map_err(|_| ClientKeyFault::Unreadable.into())
}

/// An error that oauth2 read: none, since it is never shown one.
#[derive(Debug, Serialize, Deserialize)]
enum NoError {}

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl oauth2::ErrorResponse for NoError {}

impl From<RequestTokenError<Self, NoError>> for TokenFailure {
    fn from(error: RequestTokenError<Self, NoError>) -> Self {
        match error {
            RequestTokenError::Request(failure) => failure,
            RequestTokenError::ServerResponse(none) => match none {},
            // What they hold is what the provider sent.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                Self::Fault(TokenResponseFault::NotAnObject)
            }
        }
    }
}
