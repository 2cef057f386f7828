//! The protocol, as the relying party speaks it to the provider: OAuth 2.0 and OpenID Connect.
//!
//! Knows no browser, cookie or session; `auth` puts the two together.

mod binding;
mod bought;
mod provider;
mod refresh;

// Before the browser leaves.
mod authorization;
mod discovery;
mod hint;
mod internal;
mod metadata;
mod offer;
pub mod own_parameters;
mod pkce;
mod rehearsal;
mod standing;
mod table_name;
mod terms;

// When it leaves for good.
mod end_session;

// When it is back.
mod assertion_file;
mod client_auth;
mod client_key;
mod token_endpoint;
mod token_failure;
mod token_response;

// Whether to believe what came.
mod envelope;
mod id_token;
mod jwks;
mod jws;
mod key_fetches;
mod logout_token;
mod userinfo;
mod verifying_key;

// What it all comes down to.
mod calls;
mod claims;
mod credential_fault;
mod error;
mod error_code;
mod grant;
mod grant_end;
mod oddities;
mod untrusted;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use self::assertion_file::{AssertionFault, check_assertion_file};
pub use self::authorization::AuthorizationRequest;
pub use self::bought::{BoughtToken, TokenRefusal};
pub use self::claims::ClaimFault;
pub use self::client_key::{ClientKeyFault, check_client_key, client_key_algs};
pub use self::credential_fault::CredentialFault;
pub use self::end_session::EndSessionRequest;
pub use self::error::{Misbehaviour, OtherIssuer, ProviderError, TokenResponseFault, Unavailable};
pub use self::error_code::{ErrorAnswer, ErrorCode};
pub use self::grant::{Grant, GrantFacts, Identity, TokenSet};
pub use self::grant_end::GrantEnd;
pub use self::hint::LONGEST_ADDRESS;
pub use self::id_token::ExpectedIdToken;
pub use self::internal::InternalAddress;
pub use self::jws::JwsFault;
pub use self::logout_token::{LogoutToken, LogoutTokenRules};
pub use self::metadata::Metadata;
pub use self::provider::{IssuerCheck, Provider};
pub use self::refresh::RefreshedTokens;
pub use self::standing::Standing;
pub use self::table_name::TableName;
pub use self::terms::{Lack, SCOPES};
pub use self::untrusted::{
    ExchangeError, IdTokenFault, LogoutTokenError, LogoutTokenFault, RefreshError, RevocationError,
    Untrusted, UserInfoFault,
};
use crate::clock::Timestamp;
use crate::secret::{ClientKey, ClientSecret};
use crate::web::registration::Registration;

/// The provider and who we are to it.
#[derive(Debug)]
pub struct ProviderSettings {
    /// Where all this is written.
    pub table: TableName,
    /// The issuer, byte for byte as its metadata must say it (A5).
    pub issuer: String,
    /// Where we ask it, where that is not where browsers do.
    pub internal: Option<InternalAddress>,
    /// Who we are at the provider.
    pub client_id: String,
    /// How we prove it.
    pub client_auth: ClientAuth,
    /// Whether we show a certificate in TLS: the provider may have other addresses for us then (A11).
    pub certificate: OwnCertificate,
    /// When the client secret ends, where the operator says so.
    pub client_secret_expires: Option<Timestamp>,
    /// Where the provider sends the browser back: `public_url` + base path + `/callback` (B9),
    /// and `/NAME` where the site has several.
    pub redirect_uri: Url,
    /// Whether it is asked for its metadata; where it is not, `endpoints` stand in their place.
    pub discovery: bool,
    /// Addresses that stand for those of the metadata, by their name there.
    pub endpoints: Vec<(&'static str, Url)>,
    /// The scopes asked for; `openid` among them makes it OpenID Connect. `None`: those of
    /// [`SCOPES`] that the provider offers.
    pub scopes: Option<Vec<String>>,
    /// The algorithms an ID token may be signed with (D1). `None`: those of ours that the provider
    /// offers.
    pub id_token_algs: Option<Vec<IdTokenAlg>>,
    /// Audiences of an ID token that may stand beside ours (D7).
    pub trusted_audiences: Vec<String>,
    /// How far the provider's clock may be off; 60 s, at most 300 (D9).
    pub clock_skew: Duration,
    /// What a logout token must hold beyond that (E8).
    pub logout_tokens: LogoutTokenRules,
    /// How the provider hands the answer to the browser.
    pub response_mode: ResponseMode,
    /// Whether tokens are to be bound to a key of ours (A14).
    pub dpop: Dpop,
    /// Whether the authorization request goes to the provider past the browser (A12).
    pub pushed_authorization: PushedAuthorization,
    /// Whether it is signed (A13).
    pub request_object: RequestObject,
    /// The APIs that a login is for, as absolute addresses (RFC 8707 §2).
    pub resources: Vec<String>,
    /// What is to be authorized, a JSON array (RFC 9396 §2).
    pub authorization_details: Option<String>,
    /// What all of it must amount to.
    pub profile: Profile,
    /// Whether that answer must name its issuer, also where the metadata do not announce it (C4).
    pub require_response_iss: bool,
    /// Whether UserInfo is asked at login (C12).
    pub userinfo: bool,
    /// The deadline of each call.
    pub timeout: Duration,
    /// Parameters of the operator's own for the authorization request.
    pub authorize_params: Vec<(String, String)>,
    /// How a logout goes on at the provider.
    pub logout: ProviderLogout,
}

impl ProviderSettings {
    /// Who we are, and where.
    pub fn registration(&self) -> Registration {
        Registration::new(&self.issuer, &self.client_id)
    }
}

/// How a logout goes on at the provider.
#[derive(Debug, Clone)]
pub struct ProviderLogout {
    /// Whether the browser is sent to its end-session endpoint (E3), where it has one (E6).
    pub at_provider: bool,
    /// Whether tokens are to be revoked there (E5).
    pub revokes: bool,
    /// Parameters of the operator's own for the end-session request, in place of ours of the same
    /// name; an empty value leaves one out.
    pub params: Vec<(String, String)>,
}

/// How the relying party proves who it is at the token endpoint (A9).
#[derive(Debug)]
pub enum ClientAuth {
    /// A secret, in the header or in the form: as the provider takes it.
    Secret(ClientSecret),
    /// `Authorization: Basic`, both halves form-encoded first (RFC 6749 §2.3.1).
    SecretBasic(ClientSecret),
    /// `client_secret` in the form.
    SecretPost(ClientSecret),
    /// An assertion signed with the secret, a new one for each attempt (A10).
    SecretJwt {
        /// The secret.
        secret: ClientSecret,
        /// For whom the assertions are.
        audience: AssertionAudience,
    },
    /// An assertion that others write and renew in this file (RFC 7523 §2.2).
    AssertionFile(PathBuf),
    /// A signed assertion, a new one for each attempt (A10).
    PrivateKeyJwt {
        /// The private key in PEM.
        key: ClientKey,
        /// Its `kid` at the provider, where it has one.
        key_id: Option<String>,
        /// For whom the assertions are.
        audience: AssertionAudience,
    },
    /// The certificate that we show in TLS (RFC 8705 §2).
    Certificate(Certification),
    /// Nothing but the `client_id`; only where `allow_public_client` is set (A1).
    Public,
}

/// Whether we show a certificate to those who ask for one in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnCertificate {
    /// We have none.
    None,
    /// That of `provider.client_cert`.
    Shown,
}

/// By what a provider knows a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certification {
    /// An authority signed it for a subject that is registered (RFC 8705 §2.1).
    Authority,
    /// It is registered itself (RFC 8705 §2.2).
    SelfSigned,
}

/// Whom a client assertion names as its audience (A10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The issuer, so that no other server can use it.
    Issuer,
    /// The token endpoint, as OIDC Core §9 has it and some providers insist; at each endpoint.
    TokenEndpoint,
}

/// Whether access tokens are to be good together with a proof of ours alone (A14, RFC 9449).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dpop {
    /// They are plain.
    Never,
    /// Where the provider says that it takes our proofs; what it gives is taken, bound or not.
    Auto,
    /// In any case; a plain one is refused.
    Always,
}

/// Whether the authorization request is pushed (A12, RFC 9126).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushedAuthorization {
    /// It travels in the browser's address.
    Never,
    /// Where the provider demands it.
    Auto,
    /// In any case; a provider that takes none signs nobody in.
    Always,
}

/// Whether the authorization request is signed (A13, RFC 9101).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestObject {
    /// It is plain.
    Never,
    /// With the key that proves who we are.
    Signed,
}

/// A set of rules that all of a login keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Those of OAuth and OpenID Connect.
    Plain,
    /// FAPI 2.0 Security Profile, for banks, health and government.
    Fapi2,
}

impl Profile {
    /// The names of the algorithms that anything may be signed with; `None` where all will do (FAPI 2.0 §5.4.1).
    pub const fn algs(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Plain => None,
            Self::Fapi2 => Some(&["PS256", "ES256", "EdDSA", "Ed25519"]),
        }
    }

    /// Whether something may be signed with this one.
    pub fn allows(self, alg: &str) -> bool {
        self.algs().is_none_or(|algs| algs.contains(&alg))
    }
}

/// Where the answer to an authorization request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of a GET.
    Query,
    /// In the form of a POST (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// A signature algorithm that an ID token may use (RFC 7518 §3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's own")]
pub enum IdTokenAlg {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl IdTokenAlg {
    /// Every algorithm we verify, with its name in a header.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Ps384, "PS384"),
        (Self::Ps512, "PS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::Es512, "ES512"),
        (Self::EdDsa, "EdDSA"),
    ];
}
