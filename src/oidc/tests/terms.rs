//! What is chosen of a provider's offer, and what is said where it does not fit.

use serde_json::{Map, Value, json};

use super::{SigningKey, settings};
use crate::oidc::terms::{Lack, Terms, agree};
use crate::oidc::{
    AssertionAudience, ClientAuth, IdTokenAlg, Profile, ProviderSettings, PushedAuthorization,
    ResponseMode,
};
use crate::secret::{ClientKey, ClientSecret};

const ISSUER: &str = "https://id.example.com";

/// With nothing configured that the provider's offer can decide.
fn unconfigured() -> ProviderSettings {
    let mut settings = settings(ISSUER);
    settings.client_auth = ClientAuth::Secret(ClientSecret::new("s3cret"));
    settings.scopes = None;
    settings.id_token_algs = None;
    settings
}

/// Metadata that say nothing of what they offer, with `change` laid over.
fn document(change: &Value) -> Map<String, Value> {
    let mut document = json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example.com/authorize",
        "token_endpoint": "https://id.example.com/token",
        "jwks_uri": "https://id.example.com/jwks",
        "end_session_endpoint": "https://id.example.com/end",
        "revocation_endpoint": "https://id.example.com/revoke",
    });
    let document = document.as_object_mut().unwrap();
    document.extend(change.as_object().unwrap().clone());
    document.clone()
}

fn agreed(change: &Value) -> Terms {
    agree(&unconfigured(), &document(change))
}

/// D1: with nothing configured an ID token may be signed as the provider offers it, with what we
/// verify. Any other than RS256 failed every login.
#[test]
fn the_algorithm_is_one_that_is_offered() {
    use IdTokenAlg::{EdDsa, Es256, Ps256, Rs256};
    let cases = [
        (json!(null), vec![Rs256]),
        (json!([]), vec![Rs256]),
        (json!("ES256"), vec![Rs256]),
        (json!(["EdDSA"]), vec![EdDsa]),
        (json!(["ES256"]), vec![Es256]),
        (
            json!(["ES256", "PS256", "RS256"]),
            vec![Rs256, Ps256, Es256],
        ),
        (json!(["none", "HS256", "ES256"]), vec![Es256]),
    ];
    for (offered, expected) in cases {
        let terms = agreed(&json!({"id_token_signing_alg_values_supported": offered}));
        assert_eq!(terms.id_token_algs, expected, "{offered}");
        assert!(terms.lacks.is_empty(), "{offered}: {:?}", terms.lacks);
    }
    for offered in [
        json!(["none"]),
        json!(["HS256", "HS512"]),
        json!(["ES256K"]),
    ] {
        let terms = agreed(&json!({"id_token_signing_alg_values_supported": offered}));
        assert_eq!(terms.id_token_algs, [Rs256], "never {offered}");
        assert!(terms.lacks[0].prevents_login(), "{offered}");
    }
}

/// A9: a secret goes where the provider takes it. Where only the form was offered, every login was
/// 400.
#[test]
fn the_secret_goes_where_it_is_taken() {
    let cases = [
        (json!(null), false, 0),
        (
            json!(["client_secret_basic", "client_secret_post"]),
            false,
            0,
        ),
        (
            json!(["client_secret_post", "client_secret_basic"]),
            false,
            0,
        ),
        (json!(["client_secret_post"]), true, 0),
        (json!(["client_secret_post", "none"]), true, 0),
        (json!(["private_key_jwt"]), false, 1),
        (json!(["none"]), false, 1),
        (json!(["client_secret_jwt", "tls_client_auth"]), false, 1),
    ];
    for (offered, in_form, lacks) in cases {
        let terms = agreed(&json!({"token_endpoint_auth_methods_supported": offered}));
        assert_eq!(terms.secret_in_form, in_form, "{offered}");
        assert_eq!(terms.lacks.len(), lacks, "{offered}: {:?}", terms.lacks);
        assert!(terms.lacks.iter().all(Lack::prevents_login));
    }
}

/// Only what is listed is asked for; `offline_access` not of Keycloak, where no logout would reach
/// such a sign-in.
#[test]
fn the_scopes_are_those_that_are_offered() {
    let keycloak = "https://id.example.com/protocol/openid-connect/token";
    let all = ["openid", "profile", "email", "offline_access"];
    let cases = [
        (json!({}), &all[..]),
        (json!({"scopes_supported": all}), &all[..]),
        (
            json!({"scopes_supported": ["openid", "email", "phone", "profile"]}),
            &all[..3],
        ),
        (json!({"scopes_supported": ["api"]}), &all[..1]),
        (
            json!({"scopes_supported": all, "token_endpoint": keycloak}),
            &all[..3],
        ),
        (json!({"token_endpoint": keycloak}), &all[..3]),
    ];
    for (change, expected) in cases {
        let terms = agreed(&change);
        assert_eq!(terms.scopes, expected, "{change}");
        assert!(terms.lacks.is_empty(), "{change}: {:?}", terms.lacks);
    }
}

/// What is configured stays, and each sentence says what to write.
#[test]
fn a_lack_says_what_to_write() {
    type Change = fn(&mut ProviderSettings);
    let auth = |methods: &[&str]| json!({"token_endpoint_auth_methods_supported": methods});
    let cases: Vec<(Change, Value, &str)> = vec![
        (
            |own| own.id_token_algs = Some(vec![IdTokenAlg::Rs256]),
            json!({"id_token_signing_alg_values_supported": ["EdDSA"]}),
            "! provider.id_token_algs holds no algorithm that the provider signs ID tokens with; write id_token_algs = [\"EdDSA\"], or leave the key out",
        ),
        (
            |own| own.client_auth = ClientAuth::SecretBasic(ClientSecret::new("s")),
            auth(&["client_secret_post"]),
            "! provider.client_auth is \"client_secret_basic\", which the provider does not take; write client_auth = \"client_secret_post\" with a client_secret",
        ),
        (
            |own| own.client_auth = ClientAuth::SecretPost(ClientSecret::new("s")),
            auth(&["private_key_jwt"]),
            "! provider.client_auth is \"client_secret_post\", which the provider does not take; register a key there and write client_auth = \"private_key_jwt\" with a client_key",
        ),
        (
            |own| {
                let key = ClientKey::new(SigningKey::es256("k").pem);
                own.client_auth = ClientAuth::PrivateKeyJwt {
                    key,
                    key_id: None,
                    audience: AssertionAudience::Issuer,
                };
            },
            json!({
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
            }),
            "! provider.client_key signs with no algorithm that the provider takes; register a key of another kind there and put it in place of this one",
        ),
        (
            |own| own.response_mode = ResponseMode::FormPost,
            json!({"response_modes_supported": ["query", "fragment"]}),
            "! provider.response_mode is \"form_post\", which the provider does not offer; write response_mode = \"query\"",
        ),
        (
            |own| own.authorize_params = vec![("prompt".to_owned(), "consent".to_owned())],
            json!({"prompt_values_supported": ["none", "login"]}),
            "! provider.authorize_params.prompt is \"consent\", which the provider does not offer; leave it out, or write of \"login\"",
        ),
        (
            |own| own.userinfo = true,
            json!({}),
            "! provider.userinfo is true, and the provider has no userinfo_endpoint; write userinfo = false, or its address as provider.endpoints.userinfo",
        ),
        (
            |_| {},
            json!({"require_pushed_authorization_requests": true}),
            "! provider.pushed_authorization asks for pushed requests, and the provider has no pushed_authorization_request_endpoint; leave it out, or write its address as provider.endpoints.pushed_authorization",
        ),
        (
            |own| own.pushed_authorization = PushedAuthorization::Never,
            json!({"require_pushed_authorization_requests": true}),
            "! provider.pushed_authorization is \"never\", and the provider demands pushed authorization requests; leave it out",
        ),
        (
            |own| own.profile = Profile::Fapi2,
            json!({"code_challenge_methods_supported": ["S256"]}),
            "! provider.profile is \"fapi2\", and the provider does not say its name in authorization responses (authorization_response_iss_parameter_supported); let it do so, as RFC 9207 has it",
        ),
        (
            |_| {},
            json!({"require_signed_request_object": true}),
            "! provider.request_object is \"never\", and the provider demands signed request objects (JAR); write request_object = \"signed\", which takes a client_key",
        ),
        (
            |_| {},
            json!({"response_types_supported": ["id_token"]}),
            "! provider.issuer offers no authorization code flow; let the provider offer this client the response type code",
        ),
        (
            |_| {},
            json!({"grant_types_supported": ["authorization_code"]}),
            "provider.issuer offers no refresh tokens, so that sessions end with their access token; let the provider give this client refresh tokens",
        ),
        (
            |own| {
                own.scopes = Some(vec![
                    "openid".to_owned(),
                    "phone".to_owned(),
                    "api".to_owned(),
                ]);
            },
            json!({"scopes_supported": ["openid"]}),
            "provider.scopes asks for \"phone\", which the provider does not list; leave it out, or let the provider give it",
        ),
        (
            |own| own.scopes = Some(vec!["openid".to_owned(), "offline_access".to_owned()]),
            json!({"token_endpoint": "https://id.example.com/protocol/openid-connect/token"}),
            "provider.scopes asks Keycloak for \"offline_access\", and such a sign-in outlives the user's session there: no logout at Keycloak ends the session here; leave it out: refresh tokens come without it",
        ),
        (
            |_| {},
            json!({"end_session_endpoint": null}),
            "provider.logout is to be at the provider, which has no end_session_endpoint: who signs out here stays signed in there; write logout = \"local\" if that is meant, or its address as provider.endpoints.end_session",
        ),
        (
            |_| {},
            json!({"revocation_endpoint": null}),
            "provider.revoke_on_logout is true, and the provider has no revocation_endpoint: the tokens of a session that ended live on until they expire; write revoke_on_logout = false if that is meant, or its address as provider.endpoints.revocation",
        ),
    ];
    for (change, offer, expected) in cases {
        let mut own = unconfigured();
        change(&mut own);
        let (algs, scopes) = (own.id_token_algs.clone(), own.scopes.clone());
        let terms = agree(&own, &document(&offer));
        let said: Vec<String> = terms
            .lacks
            .iter()
            .map(|lack| format!("{}{lack}", if lack.prevents_login() { "! " } else { "" }))
            .collect();
        assert_eq!(said, [expected], "{offer}");
        assert!(algs.is_none_or(|own| own == terms.id_token_algs), "{offer}");
        assert!(scopes.is_none_or(|own| own == terms.scopes), "{offer}");
    }
}

/// A provider that says nothing of what it offers, or offers all, lacks nothing.
#[test]
fn nothing_is_said_where_all_fits() {
    let offers = [
        json!({}),
        json!({
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "require_pushed_authorization_requests": false,
            "prompt_values_supported": ["none", "login"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        }),
    ];
    for offer in offers {
        let mut own = unconfigured();
        own.authorize_params = vec![("prompt".to_owned(), "login".to_owned())];
        own.scopes = Some(vec![
            "openid".to_owned(),
            "https://api.example.com/orders".to_owned(),
        ]);
        let terms = agree(&own, &document(&offer));
        assert!(terms.lacks.is_empty(), "{offer}: {:?}", terms.lacks);
    }
    let mut local = unconfigured();
    local.logout.at_provider = false;
    local.logout.revokes = false;
    let bare = json!({"end_session_endpoint": null, "revocation_endpoint": null});
    assert!(agree(&local, &document(&bare)).lacks.is_empty());
}
