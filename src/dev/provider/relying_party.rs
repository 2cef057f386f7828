//! A relying party, as a provider knows it.

use serde_json::Value;
use url::Url;

/// A relying party, as registered.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    /// Its name.
    pub client_id: String,
    /// Its proof.
    pub proof: Proof,
    /// Where a code may be sent; compared byte for byte.
    pub redirect_uris: Vec<String>,
    /// Where the browser may go after a logout; compared byte for byte.
    pub post_logout_redirect_uris: Vec<String>,
    /// Where a logout token is posted when a session ends (Back-Channel Logout §2.2).
    pub backchannel_logout_uri: Option<Url>,
    /// What a page of the provider loads in a frame then (Front-Channel Logout §2).
    pub frontchannel_logout_uri: Option<Url>,
    /// The algorithm of its ID tokens and logout tokens: `RS256`, `PS256` or `ES256`.
    pub id_token_alg: String,
}

/// How a relying party proves who it is.
#[derive(Clone)]
pub enum Proof {
    /// A password, by `client_secret_basic` or `client_secret_post`.
    Secret(String),
    /// A signed assertion; the public key as a JWK with its `alg`.
    PrivateKeyJwt(Value),
    /// None.
    Public,
}

/// The kind alone.
impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::PrivateKeyJwt(_) => "PrivateKeyJwt(…)",
            Self::Public => "Public",
        })
    }
}
