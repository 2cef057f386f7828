//! What we and the provider can do together. Where nothing is configured, what its metadata offer
//! is chosen; what is configured stays, and where they do not offer it, a sentence says what to
//! write. Made once the metadata are there, for `serve` and `check` alike.
//!
//! What is chosen is never `none`, a symmetric algorithm or a public client. No word of the provider's
//! own stands in a sentence.

use std::fmt;

use serde_json::{Map, Value};

use crate::oidc::client_key::client_key_algs;
use crate::oidc::offer::Offer;
use crate::oidc::{
    Certification, ClientAuth, Dpop, IdTokenAlg, OwnCertificate, Profile, ProviderSettings,
    PushedAuthorization, RequestObject, ResponseMode,
};
use crate::web::proof::PROOF_ALG;

/// The scopes asked for where none are configured and the provider lists them.
pub const SCOPES: [&str; 4] = ["openid", "profile", "email", OFFLINE_ACCESS];

const OFFLINE_ACCESS: &str = "offline_access";

/// The scopes that OIDC Core §5.4 and §11 define. A provider that lists scopes lists these, and need
/// not list an API's own.
const STANDARD_SCOPES: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    OFFLINE_ACCESS,
];

/// What both can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// Whether the client secret travels in the form, where it is left to us.
    pub(super) secret_in_form: bool,
    /// Whether tokens are asked for that are bound to a key (A14).
    pub(super) binds: bool,
    /// Whether authorization requests are pushed (A12).
    pub(super) pushes: bool,
    /// The algorithms an ID token may be signed with (D1).
    pub(super) id_token_algs: Vec<IdTokenAlg>,
    /// The scopes asked for.
    pub(super) scopes: Vec<String>,
    /// What is asked of the provider and not offered.
    pub(super) lacks: Vec<Lack>,
}

/// Something that is asked of the provider and not offered; a sentence in the words of the
/// configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    key: &'static str,
    what: String,
    remedy: String,
    prevents_login: bool,
}

impl Lack {
    /// One for which no login can work.
    pub(super) fn refused(
        key: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            key,
            what: what.into(),
            remedy: remedy.into(),
            prevents_login: true,
        }
    }

    /// One that logins survive.
    pub(super) fn unwise(
        key: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            prevents_login: false,
            ..Self::refused(key, what, remedy)
        }
    }

    /// Whether no login can work because of it.
    pub const fn prevents_login(&self) -> bool {
        self.prevents_login
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.key, self.what, self.remedy)
    }
}

/// Holds `settings` against what the metadata in `document` offer.
pub(super) fn agree(settings: &ProviderSettings, document: &Map<String, Value>) -> Terms {
    let mut side = Side {
        offer: Offer(document),
        lacks: Vec::new(),
    };
    side.check_flow(settings);
    side.check_endpoints(settings);
    side.check_profile(settings);
    Terms {
        secret_in_form: side.secret_in_form(settings),
        binds: side.binds(settings.dpop),
        pushes: side.pushes(settings),
        id_token_algs: side.id_token_algs(settings),
        scopes: side.scopes(settings),
        lacks: side.lacks,
    }
}

struct Side<'a> {
    offer: Offer<'a>,
    lacks: Vec<Lack>,
}

impl Side<'_> {
    fn refuse(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.lacks.push(Lack::refused(key, what, remedy));
    }

    fn warn(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.lacks.push(Lack::unwise(key, what, remedy));
    }

    /// D1: those of ours that the provider offers, or RS256, which every provider must have (OIDC
    /// Discovery §3).
    fn id_token_algs(&mut self, settings: &ProviderSettings) -> Vec<IdTokenAlg> {
        const KEY: &str = "provider.id_token_algs";
        let list = self.offer.list("id_token_signing_alg_values_supported");
        let offered: Vec<_> = IdTokenAlg::ALL
            .into_iter()
            .filter(|(_, name)| list.as_ref().is_some_and(|list| list.contains(name)))
            .collect();
        if list.is_some() && offered.is_empty() {
            self.refuse(
                KEY,
                "holds no algorithm that the provider signs ID tokens with",
                "let the provider sign those of this client with RS256, PS256, ES256 or EdDSA",
            );
        }
        match &settings.id_token_algs {
            None if offered.is_empty() => vec![IdTokenAlg::Rs256],
            None => offered.into_iter().map(|(alg, _)| alg).collect(),
            Some(own) => {
                let is_own = |(alg, _): &(IdTokenAlg, _)| own.contains(alg);
                if !offered.is_empty() && !offered.iter().any(is_own) {
                    let names = quoted(offered.iter().map(|(_, name)| *name));
                    self.refuse(
                        KEY,
                        "holds no algorithm that the provider signs ID tokens with",
                        format!("write id_token_algs = [{names}], or leave the key out"),
                    );
                }
                own.clone()
            }
        }
    }

    /// A9, A10: how we prove who we are. A secret goes into the header, or into the form where the
    /// provider takes it there alone.
    fn secret_in_form(&mut self, settings: &ProviderSettings) -> bool {
        const LIST: &str = "token_endpoint_auth_methods_supported";
        const KEY: &str = "provider.client_auth";
        const BASIC: &str = "client_secret_basic";
        const POST: &str = "client_secret_post";
        const JWT: &str = "private_key_jwt";
        const SECRET_JWT: &str = "client_secret_jwt";
        const BY_AUTHORITY: &str = "tls_client_auth";
        const SELF_SIGNED: &str = "self_signed_tls_client_auth";
        let takes = |method| self.offer.may_be(LIST, method);
        let (basic, post, jwt) = (takes(BASIC), takes(POST), takes(JWT));
        let in_form = !basic && post;
        let (own, is_taken) = match &settings.client_auth {
            ClientAuth::Secret(_) => ("client_secret", basic || post),
            ClientAuth::SecretBasic(_) => (BASIC, basic),
            ClientAuth::SecretPost(_) => (POST, post),
            ClientAuth::SecretJwt { .. } => (SECRET_JWT, takes(SECRET_JWT)),
            ClientAuth::Certificate(Certification::Authority) => {
                (BY_AUTHORITY, takes(BY_AUTHORITY))
            }
            ClientAuth::Certificate(Certification::SelfSigned) => (SELF_SIGNED, takes(SELF_SIGNED)),
            ClientAuth::PrivateKeyJwt { key, .. } => {
                let algs = client_key_algs(key);
                let list = "token_endpoint_auth_signing_alg_values_supported";
                if jwt && !algs.iter().any(|alg| self.offer.may_be(list, alg)) {
                    self.refuse(
                        "provider.client_key",
                        "signs with no algorithm that the provider takes",
                        "register a key of another kind there and put it in place of this one",
                    );
                }
                (JWT, jwt)
            }
            // The one was written by somebody who was warned, and a list that leaves `none` out says little;
            // for assertions that others make, some list no method.
            ClientAuth::Public | ClientAuth::AssertionFile(_) => return in_form,
        };
        if !is_taken {
            let remedy = if basic {
                "write client_auth = \"client_secret_basic\" with a client_secret"
            } else if post {
                "write client_auth = \"client_secret_post\" with a client_secret"
            } else if jwt {
                "register a key there and write client_auth = \"private_key_jwt\" with a client_key"
            } else {
                "let the provider take client_secret_basic or private_key_jwt of this client"
            };
            self.refuse(
                KEY,
                format!("is {own:?}, which the provider does not take"),
                remedy,
            );
        }
        in_form
    }

    /// The scopes asked for. `offline_access` is left out where refresh tokens come without it: at
    /// Keycloak it takes the sign-in out of the user's session there, so that no logout of that
    /// session is told here.
    fn scopes(&mut self, settings: &ProviderSettings) -> Vec<String> {
        const KEY: &str = "provider.scopes";
        let offer = &self.offer;
        let lists = |scope: &str| offer.may_be("scopes_supported", scope);
        let is_keycloak = offer.is_keycloak();
        let Some(own) = &settings.scopes else {
            let fits = |scope: &&str| {
                *scope == "openid" || (lists(scope) && !(is_keycloak && *scope == OFFLINE_ACCESS))
            };
            return SCOPES.into_iter().filter(fits).map(str::to_owned).collect();
        };
        let unknown: Vec<&str> = own
            .iter()
            .map(String::as_str)
            .filter(|scope| STANDARD_SCOPES.contains(scope) && !lists(scope))
            .collect();
        if !unknown.is_empty() {
            let what = format!(
                "asks for {}, which the provider does not list",
                quoted(unknown)
            );
            self.warn(KEY, what, "leave it out, or let the provider give it");
        }
        if is_keycloak && own.iter().any(|scope| scope == OFFLINE_ACCESS) {
            self.warn(
                KEY,
                "asks Keycloak for \"offline_access\", and such a sign-in outlives the user's session there: no logout at Keycloak ends the session here",
                "leave it out: refresh tokens come without it",
            );
        }
        own.clone()
    }

    /// That a login of our kind is offered at all.
    fn check_flow(&mut self, settings: &ProviderSettings) {
        const ISSUER: &str = "provider.issuer";
        let code = self.offer.may_be("response_types_supported", "code")
            && self
                .offer
                .may_be("grant_types_supported", "authorization_code");
        if !code {
            self.refuse(
                ISSUER,
                "offers no authorization code flow",
                "let the provider offer this client the response type code",
            );
        } else if !self.offer.may_be("grant_types_supported", "refresh_token") {
            self.warn(
                ISSUER,
                "offers no refresh tokens, so that sessions end with their access token",
                "let the provider give this client refresh tokens",
            );
        }
        self.check_request_object(settings);
        self.check_response_mode(settings.response_mode);
        self.check_prompt(settings);
    }

    fn check_response_mode(&mut self, own: ResponseMode) {
        let (own, other) = match own {
            ResponseMode::Query => ("query", "form_post"),
            ResponseMode::FormPost => ("form_post", "query"),
        };
        const LIST: &str = "response_modes_supported";
        if self.offer.may_be(LIST, own) {
            return;
        }
        let remedy = if self.offer.may_be(LIST, other) {
            format!("write response_mode = {other:?}")
        } else {
            "let the provider offer \"query\" or \"form_post\"".to_owned()
        };
        let what = format!("is {own:?}, which the provider does not offer");
        self.refuse("provider.response_mode", what, remedy);
    }

    /// A14: whether a login draws a key. A provider that does not say which proofs it takes may take ours.
    fn binds(&mut self, dpop: Dpop) -> bool {
        const KEY: &str = "provider.dpop";
        let taken = self.offer.list("dpop_signing_alg_values_supported");
        let takes_ours = taken.as_ref().map(|algs| algs.contains(&PROOF_ALG));
        match (dpop, takes_ours) {
            (Dpop::Never, _) | (Dpop::Auto, None | Some(false)) => return false,
            (Dpop::Auto | Dpop::Always, Some(true)) => {}
            (Dpop::Always, Some(false)) => self.refuse(
                KEY,
                "is \"always\", and the provider takes no proof that is signed with ES256",
                "let it take them of this client, or leave dpop out",
            ),
            (Dpop::Always, None) => self.warn(
                KEY,
                "is \"always\", and the provider does not say that it knows DPoP; a login whose token is not bound is refused",
                "let the provider bind the tokens of this client, or leave dpop out",
            ),
        }
        true
    }

    /// A12: whether a login hands its request over first.
    fn pushes(&mut self, settings: &ProviderSettings) -> bool {
        const KEY: &str = "provider.pushed_authorization";
        const ENDPOINT: &str = "pushed_authorization_request_endpoint";
        let demanded = self.offer.demands("require_pushed_authorization_requests");
        let is_offered = self.offer.address(ENDPOINT).is_some();
        let pushes = match settings.pushed_authorization {
            PushedAuthorization::Never if demanded => {
                self.refuse(
                    KEY,
                    "is \"never\", and the provider demands pushed authorization requests",
                    "leave it out",
                );
                false
            }
            PushedAuthorization::Never => false,
            PushedAuthorization::Auto => demanded,
            PushedAuthorization::Always => true,
        };
        if pushes && !is_offered {
            self.refuse(
                KEY,
                format!("asks for pushed requests, and the provider has no {ENDPOINT}"),
                "leave it out, or write its address as provider.endpoints.pushed_authorization",
            );
        }
        pushes
    }

    /// A13: that the provider takes what we sign, and gets it where it wants it.
    fn check_request_object(&mut self, settings: &ProviderSettings) {
        const KEY: &str = "provider.request_object";
        let demanded = self.offer.demands("require_signed_request_object");
        match (settings.request_object, &settings.client_auth) {
            (RequestObject::Never, _) if demanded => self.refuse(
                KEY,
                "is \"never\", and the provider demands signed request objects (JAR)",
                "write request_object = \"signed\", which takes a client_key",
            ),
            (RequestObject::Signed, ClientAuth::PrivateKeyJwt { key, .. }) => {
                const LIST: &str = "request_object_signing_alg_values_supported";
                let algs = client_key_algs(key);
                if !algs.iter().any(|alg| self.offer.may_be(LIST, alg)) {
                    self.refuse(
                        "provider.client_key",
                        "signs with no algorithm that the provider takes of a request object",
                        "register a key of another kind there and put it in place of this one",
                    );
                }
            }
            (RequestObject::Never | RequestObject::Signed, _) => {}
        }
    }

    /// That the provider does its part of the profile (FAPI 2.0 §5.3.2).
    fn check_profile(&mut self, settings: &ProviderSettings) {
        const KEY: &str = "provider.profile";
        if settings.profile != Profile::Fapi2 {
            return;
        }
        let lacks = |name: &str| !self.offer.demands(name);
        let names_itself = !lacks("authorization_response_iss_parameter_supported");
        let binds_to_certificates = !lacks("tls_client_certificate_bound_access_tokens");
        let takes_s256 = self
            .offer
            .list("code_challenge_methods_supported")
            .is_some();
        if !names_itself {
            self.refuse(
                KEY,
                "is \"fapi2\", and the provider does not say its name in authorization responses (authorization_response_iss_parameter_supported)",
                "let it do so, as RFC 9207 has it",
            );
        }
        if !takes_s256 {
            self.warn(
                KEY,
                "is \"fapi2\", and the provider does not say that it takes PKCE with S256",
                "see that it holds each code to its code_verifier",
            );
        }
        let bound_by_certificate = settings.certificate == OwnCertificate::Shown;
        if settings.dpop == Dpop::Never && bound_by_certificate && !binds_to_certificates {
            self.refuse(
                KEY,
                "is \"fapi2\", and the provider binds no tokens to certificates (tls_client_certificate_bound_access_tokens)",
                "let it do so for this client, or write dpop = \"always\"",
            );
        }
    }

    fn check_prompt(&mut self, settings: &ProviderSettings) {
        const LIST: &str = "prompt_values_supported";
        let mut params = settings.authorize_params.iter();
        let Some((_, prompt)) = params.find(|(name, _)| name == "prompt") else {
            return;
        };
        let words = prompt.split_ascii_whitespace();
        let unknown: Vec<&str> = words
            .filter(|word| !self.offer.may_be(LIST, word))
            .collect();
        if !unknown.is_empty() {
            let offered = ["login", "consent", "select_account", "create"];
            let offered = offered
                .into_iter()
                .filter(|word| self.offer.may_be(LIST, word));
            let remedy = format!("leave it out, or write of {}", quoted(offered));
            self.refuse(
                "provider.authorize_params.prompt",
                format!("is {}, which the provider does not offer", quoted(unknown)),
                remedy,
            );
        }
    }

    /// That there is an endpoint for what is wanted beyond a login.
    fn check_endpoints(&mut self, settings: &ProviderSettings) {
        let lacks = |name| self.offer.address(name).is_none();
        let (userinfo, end_session, revocation) = (
            settings.userinfo && lacks("userinfo_endpoint"),
            settings.logout.at_provider && lacks("end_session_endpoint"),
            settings.logout.revokes && lacks("revocation_endpoint"),
        );
        if userinfo {
            self.refuse(
                "provider.userinfo",
                "is true, and the provider has no userinfo_endpoint",
                "write userinfo = false, or its address as provider.endpoints.userinfo",
            );
        }
        if end_session {
            self.warn(
                "provider.logout",
                "is to be at the provider, which has no end_session_endpoint: who signs out here stays signed in there",
                "write logout = \"local\" if that is meant, or its address as provider.endpoints.end_session",
            );
        }
        if revocation {
            self.warn(
                "provider.revoke_on_logout",
                "is true, and the provider has no revocation_endpoint: the tokens of a session that ended live on until they expire",
                "write revoke_on_logout = false if that is meant, or its address as provider.endpoints.revocation",
            );
        }
    }
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}
