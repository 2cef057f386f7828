//! A login, from the authorization request to the identity.

use serde_json::{Value, json};

use super::signing::login_claims;
use super::{Answer, NOW, SigningKey, Stage};
use crate::clock::Timestamp;
use crate::oidc::own_parameters::OURS;
use crate::oidc::{
    AssertionAudience, AuthorizationRequest, ClientAuth, ExchangeError, ExpectedIdToken, Grant,
    IssuerCheck, ResponseMode, Untrusted,
};
use crate::secret::{AuthorizationCode, ClientKey, ClientSecret, CodeVerifier, Nonce, State};

impl Stage {
    /// What the token endpoint says to a login that went well.
    fn token_response(&self, claims: &Value) -> Value {
        json!({
            "access_token": "at-1",
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "rt-1",
            "id_token": self.key.sign(claims),
        })
    }

    async fn exchange(&self) -> Result<Grant, ExchangeError> {
        let nonce = Nonce::new("n-1");
        let expected = ExpectedIdToken {
            nonce: &nonce,
            begun: Timestamp::from_unix_seconds(NOW),
            max_age: None,
            essential_acr: &[],
        };
        self.provider
            .exchange_code(
                &AuthorizationCode::new("code-1"),
                CodeVerifier::new("verifier-1"),
                &expected,
                None,
            )
            .await
    }

    fn answer_login(&self) {
        let response = self.token_response(&login_claims(self.fake.issuer()));
        self.fake.answer("/token", Answer::json(200, &response));
    }

    async fn authorize(&self, extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let request = AuthorizationRequest {
            state: &State::new("s-1"),
            nonce: &Nonce::new("n-1"),
            code_verifier: &CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            extra,
            id_token_hint: None,
            prover: None,
        };
        let url = self.provider.authorization_url(&request).await.unwrap();
        assert_eq!(url.path(), "/authorize");
        url.query_pairs().into_owned().collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

const PLAIN: [(&str, &str); 8] = [
    ("response_type", "code"),
    ("client_id", "app"),
    ("redirect_uri", "https://app.example.com/bff/callback"),
    ("scope", "openid profile"),
    ("state", "s-1"),
    ("nonce", "n-1"),
    (
        "code_challenge",
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    ),
    ("code_challenge_method", "S256"),
];

/// A2, A3, B9: the request says what it must, each thing once.
#[tokio::test]
async fn the_authorization_request_is_complete() {
    let stage = Stage::set().await;
    assert_eq!(stage.authorize(&[]).await, pairs(&PLAIN));
}

/// B8: neither the link nor the operator's extras change what is ours; the operator's win, but for
/// `prompt`.
#[tokio::test]
async fn extra_parameters_override_nothing() {
    let stage = Stage::set_with(|settings| {
        settings.response_mode = ResponseMode::FormPost;
        settings.authorize_params = pairs(&[
            ("prompt", "consent"),
            ("scope", "admin"),
            ("ui_locales", "de"),
        ]);
    })
    .await;
    let forged = OURS.iter().map(|(name, _)| (*name, "evil"));
    let extra = [
        ("scope", "admin"),
        ("redirect_uri", "https://evil.example"),
        ("client_id", "evil"),
        ("state", "evil"),
        ("nonce", "evil"),
        ("code_challenge", "evil"),
        ("response_type", "token"),
        ("response_mode", "fragment"),
        ("request_uri", "https://evil.example"),
        ("request", "evil"),
        ("prompt", "none"),
        ("login_hint", "alice"),
        ("login_hint", "bob"),
        ("ui_locales", "fr"),
    ];
    let extra: Vec<_> = forged.chain(extra).collect();
    let expected = [
        &PLAIN[..],
        &[
            ("response_mode", "form_post"),
            ("ui_locales", "de"),
            ("prompt", "none"),
            ("login_hint", "alice"),
        ],
    ]
    .concat();
    assert_eq!(stage.authorize(&extra).await, pairs(&expected));
    let expected = [
        &PLAIN[..],
        &[
            ("response_mode", "form_post"),
            ("prompt", "consent"),
            ("ui_locales", "de"),
        ],
    ]
    .concat();
    assert_eq!(stage.authorize(&[]).await, pairs(&expected));
}

/// RFC 6749 §3.1: the query of the authorization endpoint stays.
#[tokio::test]
async fn the_endpoints_own_query_stays() {
    let stage = Stage::set().await;
    let mut metadata = stage.fake.metadata();
    metadata["authorization_endpoint"] = json!(stage.fake.url("/authorize?tenant=a"));
    stage.fake.publish_metadata(&metadata);
    let expected = [&[("tenant", "a")], &PLAIN[..]].concat();
    assert_eq!(stage.authorize(&[]).await, pairs(&expected));
}

/// C4: RFC 9207, byte for byte, in success and error responses alike.
#[tokio::test]
async fn the_issuer_of_a_response_is_checked() {
    for announced in [false, true] {
        let stage = Stage::set().await;
        let mut metadata = stage.fake.metadata();
        metadata["authorization_response_iss_parameter_supported"] = json!(announced);
        stage.fake.publish_metadata(&metadata);
        let issuer = stage.fake.issuer();
        let slash = format!("{issuer}/");
        let absent = if announced {
            IssuerCheck::Missing
        } else {
            IssuerCheck::Fits
        };
        let cases = [
            ("right", Some(issuer), IssuerCheck::Fits),
            ("absent", None, absent),
            ("a slash more", Some(slash.as_str()), IssuerCheck::Other),
            ("other", Some("https://evil.example"), IssuerCheck::Other),
            ("empty", Some(""), IssuerCheck::Other),
        ];
        for (name, iss, expected) in cases {
            let verdict = stage.provider.check_response_issuer(iss).await.unwrap();
            assert_eq!(verdict, expected, "{name}, announced: {announced}");
        }
    }
}

/// C7, C10: the code, the `redirect_uri`, the verifier and our credential buy verified tokens.
#[tokio::test]
async fn a_code_buys_tokens_and_an_identity() {
    let stage = Stage::set().await;
    let mut claims = login_claims(stage.fake.issuer());
    claims["name"] = json!("Alice");
    claims["sid"] = json!("sid-1");
    claims["amr"] = json!(["pwd"]);
    let response = stage.token_response(&claims);
    stage.fake.answer("/token", Answer::json(200, &response));
    let grant = stage.exchange().await.unwrap();

    assert_eq!(grant.tokens.access_token.expose(), "at-1");
    assert!(grant.tokens.refresh_token.unwrap().matches("rt-1"));
    assert!(
        grant
            .tokens
            .id_token
            .unwrap()
            .matches(response["id_token"].as_str().unwrap())
    );
    assert_eq!(
        grant.tokens.scope,
        ["openid", "profile"],
        "absent: as requested"
    );
    assert_eq!(grant.identity.sub, "alice");
    assert_eq!(grant.identity.sid.as_deref(), Some("sid-1"));
    assert_eq!(grant.identity.amr, ["pwd"]);
    let shown = Value::Object(grant.identity.claims);
    assert_eq!(
        shown,
        json!({"sub": "alice", "name": "Alice", "amr": ["pwd"]})
    );
    assert_ne!(
        grant.identity.facts.nonce.as_deref(),
        Some("n-1"),
        "kept as a hash"
    );

    let asked = &stage.fake.asked("/token")[0];
    let form: Vec<(String, String)> = {
        let mut form: Vec<_> = asked.form.clone().into_iter().collect();
        form.sort();
        form
    };
    let expected = [
        ("code", "code-1"),
        ("code_verifier", "verifier-1"),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://app.example.com/bff/callback"),
    ];
    assert_eq!(form, pairs(&expected));
    assert_eq!(asked.headers["authorization"], "Basic YXBwOnMzY3JldA==");
}

/// A9, A10: each way to prove who we are, as the token endpoint sees it.
#[tokio::test]
async fn each_credential_reaches_the_token_endpoint() {
    let client_key = SigningKey::es256("client");
    let private_key_jwt = ClientAuth::PrivateKeyJwt {
        key: ClientKey::new(client_key.pem.as_str()),
        key_id: None,
        audience: AssertionAudience::Issuer,
    };
    let cases = [
        (
            "post",
            ClientAuth::SecretPost(ClientSecret::new("s3cret")),
            Some("client_secret"),
        ),
        ("private_key_jwt", private_key_jwt, Some("client_assertion")),
        ("public", ClientAuth::Public, None),
    ];
    for (name, client_auth, field) in cases {
        let stage = Stage::set_with(|settings| settings.client_auth = client_auth).await;
        stage.answer_login();
        stage.exchange().await.unwrap();
        let asked = &stage.fake.asked("/token")[0];
        assert_eq!(asked.form["client_id"], "app", "{name}");
        for candidate in ["client_secret", "client_assertion"] {
            let there = asked.form.contains_key(candidate);
            assert_eq!(there, field == Some(candidate), "{name}: {candidate}");
        }
        assert!(!asked.headers.contains_key("authorization"), "{name}");
    }
}

/// C7: a code is tried once, whatever happens to the try.
#[tokio::test]
async fn a_code_is_tried_once() {
    let refused = |error: &str| Answer::json(400, &json!({"error": error}));
    let cases = [
        ("broken off", Answer::BreakOff, "unavailable"),
        (
            "500",
            Answer::json(500, &json!({"error": "invalid_grant"})),
            "unavailable",
        ),
        ("429", Answer::json(429, &json!({})), "unavailable"),
        ("refused", refused("invalid_grant"), "invalid_grant"),
        ("refused oddly", refused("<script>"), "refused"),
        (
            "redirect",
            Answer::Redirect("/token".to_owned()),
            "untrusted",
        ),
        (
            "page",
            Answer::Body(200, "text/html", "<p>hello".into()),
            "untrusted",
        ),
        (
            "no ID token",
            Answer::json(200, &json!({"access_token": "a", "token_type": "bearer"})),
            "untrusted",
        ),
    ];
    for (name, answer, expected) in cases {
        let stage = Stage::set().await;
        stage.fake.answer("/token", answer);
        let outcome = match stage.exchange().await.unwrap_err() {
            ExchangeError::Unavailable(_) => "unavailable",
            ExchangeError::Refused(answer) => answer.as_str(),
            ExchangeError::Untrusted(_) => "untrusted",
        };
        assert_eq!(outcome, expected, "{name}");
        assert_eq!(stage.fake.asked("/token").len(), 1, "{name}");
    }
}

/// L5's kin at login: a silent provider costs one deadline.
#[tokio::test]
async fn a_silent_provider_costs_one_deadline() {
    let timeout = std::time::Duration::from_millis(300);
    let stage = Stage::set_with(|settings| settings.timeout = timeout).await;
    stage.provider.metadata().await.unwrap();
    stage.fake.answer("/token", Answer::Silence);
    let outcome = stage.exchange().await;
    assert!(
        matches!(outcome, Err(ExchangeError::Unavailable(_))),
        "{outcome:?}"
    );
    assert_eq!(stage.fake.asked("/token").len(), 1);
}

/// C9: the scope granted counts where it is said; an empty one is nothing.
#[tokio::test]
async fn the_scope_is_what_was_granted() {
    let cases = [
        ("narrower", json!("openid"), vec!["openid"]),
        ("empty", json!(""), vec![]),
        (
            "wider",
            json!("openid  profile api"),
            vec!["openid", "profile", "api"],
        ),
    ];
    for (name, scope, expected) in cases {
        let stage = Stage::set().await;
        let mut response = stage.token_response(&login_claims(stage.fake.issuer()));
        response["scope"] = scope;
        stage.fake.answer("/token", Answer::json(200, &response));
        let grant = stage.exchange().await.unwrap();
        assert_eq!(grant.tokens.scope, expected, "{name}");
        assert_eq!(grant.identity.facts.scope, expected, "{name}");
    }
}

/// D: what is wrong with the ID token ends the login; keys that cannot be had do not condemn it.
#[tokio::test]
async fn a_bad_id_token_ends_the_login() {
    let stage = Stage::set().await;
    let mut claims = login_claims(stage.fake.issuer());
    claims["nonce"] = json!("n-2");
    stage
        .fake
        .answer("/token", Answer::json(200, &stage.token_response(&claims)));
    let outcome = stage.exchange().await;
    let untrusted = matches!(
        outcome,
        Err(ExchangeError::Untrusted(Untrusted::IdToken(_)))
    );
    assert!(untrusted, "{outcome:?}");

    let stage = Stage::set().await;
    stage.answer_login();
    stage.fake.answer("/jwks", Answer::json(500, &json!({})));
    let outcome = stage.exchange().await;
    assert!(
        matches!(outcome, Err(ExchangeError::Unavailable(_))),
        "{outcome:?}"
    );
}

/// C12: UserInfo is believed about the same subject only, in JSON or signed for us.
#[tokio::test]
async fn userinfo_is_believed_about_the_same_subject() {
    let stage = Stage::set_with(|settings| settings.userinfo = true).await;
    stage.answer_login();
    let issuer = stage.fake.issuer();
    let signed = |claims: &Value| {
        Answer::Body(
            200,
            "application/jwt; charset=utf-8",
            stage.key.sign(claims).into(),
        )
    };
    let alice = json!({"sub": "alice", "email": "a@example.com", "acr": "gold", "iss": "x"});
    let signed_alice = json!({
        "iss": issuer, "aud": "app", "sub": "alice", "email": "a@example.com",
    });
    let but = |name: &str, value: &str| {
        let mut claims = signed_alice.clone();
        claims[name] = json!(value);
        claims
    };
    let mut over = signed_alice.clone();
    over["exp"] = json!(NOW - 60);
    let cases = [
        ("JSON", Answer::json(200, &alice), "ok"),
        ("signed", signed(&signed_alice), "ok"),
        (
            "other subject",
            Answer::json(200, &json!({"sub": "bob"})),
            "untrusted",
        ),
        ("no subject", Answer::json(200, &json!({})), "untrusted"),
        ("array", Answer::json(200, &json!([])), "untrusted"),
        (
            "signed, other subject",
            signed(&but("sub", "bob")),
            "untrusted",
        ),
        (
            "signed, other issuer",
            signed(&but("iss", "https://evil.example")),
            "untrusted",
        ),
        (
            "signed, other audience",
            signed(&but("aud", "other")),
            "untrusted",
        ),
        ("signed, over", signed(&over), "untrusted"),
        (
            "signed by another",
            Answer::Body(
                200,
                "application/jwt",
                SigningKey::es256("one").sign(&signed_alice).into(),
            ),
            "untrusted",
        ),
        ("refused", Answer::json(401, &json!({})), "untrusted"),
        ("down", Answer::json(502, &json!({})), "unavailable"),
        ("broken off", Answer::BreakOff, "unavailable"),
    ];
    for (name, answer, expected) in cases {
        stage.fake.answer("/userinfo", answer);
        let outcome = match stage.exchange().await {
            Ok(grant) => {
                let shown = Value::Object(grant.identity.claims);
                assert_eq!(
                    shown,
                    json!({"sub": "alice", "email": "a@example.com"}),
                    "{name}"
                );
                assert_eq!(grant.identity.acr, None, "{name}");
                "ok"
            }
            Err(ExchangeError::Unavailable(_)) => "unavailable",
            Err(ExchangeError::Refused(_)) => "refused",
            Err(ExchangeError::Untrusted(_)) => "untrusted",
        };
        assert_eq!(outcome, expected, "{name}");
    }
    let asked = &stage.fake.asked("/userinfo")[0];
    assert_eq!(asked.headers["authorization"], "Bearer at-1");
}
