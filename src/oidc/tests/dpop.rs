//! Tokens that are bound to a key, as they are bought (A14): the proof that goes along, the nonce that a
//! provider may want first, and what its answers come to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fake_provider::Asked;
use super::signing::login_claims;
use super::{Answer, NOW, SigningKey, Stage};
use crate::clock::Timestamp;
use crate::oidc::{
    AssertionAudience, ClientAuth, Dpop, ExchangeError, ExpectedIdToken, RefreshError, TokenRefusal,
};
use crate::secret::{AccessToken, AuthorizationCode, ClientKey, CodeVerifier, Nonce, RefreshToken};
use crate::web::proof::Prover;
use crate::web::token_spec::{ExchangeForm, ExchangeTerms, TokenGrant, TokenSpec};

/// Everything that a token is bought with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purchase {
    Code,
    Refresh,
    Client,
    Exchange,
}

const ALL: [Purchase; 4] = [
    Purchase::Code,
    Purchase::Refresh,
    Purchase::Client,
    Purchase::Exchange,
];

const USE_NONCE: &str = r#"{"error":"use_dpop_nonce"}"#;

impl Stage {
    async fn binding(dpop: Dpop) -> Self {
        let key = SigningKey::es256("client");
        Self::set_with(|settings| {
            settings.dpop = dpop;
            settings.client_auth = ClientAuth::PrivateKeyJwt {
                key: ClientKey::new(key.pem.as_str()),
                key_id: None,
                audience: AssertionAudience::Issuer,
            };
        })
        .await
    }

    /// A success with a token of this type.
    fn of_type(&self, token_type: &Value) -> Answer {
        let mut answer = json!({
            "access_token": "at-1", "token_type": token_type, "expires_in": 60,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "id_token": self.key.sign(&login_claims(self.fake.issuer())),
        });
        answer
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        Answer::json(200, &answer)
    }

    /// The token, or what its lack comes to.
    async fn purchase(
        &self,
        purchase: Purchase,
        prover: Option<&Arc<Prover>>,
    ) -> Result<AccessToken, &'static str> {
        let provider = &self.provider;
        let of_refusal = |refusal| match refusal {
            TokenRefusal::Unavailable(_) => "unavailable",
            TokenRefusal::Refused(_) => "refused",
        };
        let spec = |grant| TokenSpec::new(grant, Vec::new(), None, Vec::new());
        match purchase {
            Purchase::Code => {
                let nonce = Nonce::new("n-1");
                let expected = ExpectedIdToken {
                    nonce: &nonce,
                    begun: Timestamp::from_unix_seconds(NOW),
                    max_age: None,
                    essential_acr: &[],
                };
                let code = AuthorizationCode::new("code-1");
                let verifier = CodeVerifier::new("verifier-1");
                let grant = provider
                    .exchange_code(&code, verifier, &expected, prover.cloned())
                    .await;
                grant
                    .map(|grant| grant.tokens.access_token)
                    .map_err(|error| match error {
                        ExchangeError::Unavailable(_) => "unavailable",
                        ExchangeError::Refused(_) => "refused",
                        ExchangeError::Untrusted(_) => "untrusted",
                    })
            }
            Purchase::Refresh => {
                let token = RefreshToken::new("rt-1");
                let facts = self.granted();
                let refreshed = provider.refresh(&token, &facts, None, prover).await;
                refreshed
                    .map(|refreshed| refreshed.tokens.access_token)
                    .map_err(|error| match error {
                        RefreshError::Unavailable(_) => "unavailable",
                        RefreshError::Refused(_) => "refused",
                        RefreshError::GrantOver(_) | RefreshError::AboutAnother { .. } => "over",
                    })
            }
            Purchase::Client => {
                let spec = spec(TokenGrant::ClientCredentials);
                let bought = provider
                    .client_token(&spec, prover.map(|prover| &**prover))
                    .await;
                bought.map(|bought| bought.access_token).map_err(of_refusal)
            }
            Purchase::Exchange => {
                let spec = spec(TokenGrant::Exchange(ExchangeTerms {
                    form: ExchangeForm::TokenExchange,
                    requested_token_type: None,
                    by_client: false,
                }));
                let subject = AccessToken::bound("at-0");
                let bought = provider
                    .exchange(
                        &subject,
                        None,
                        &spec,
                        spec.exchange().unwrap(),
                        prover.map(|prover| &**prover),
                    )
                    .await;
                bought.map(|bought| bought.access_token).map_err(of_refusal)
            }
        }
    }
}

fn claims(asked: &Asked) -> Option<Value> {
    let proof = asked.headers.get("dpop")?.to_str().unwrap();
    Some(jsonwebtoken::dangerous::insecure_decode_claims(proof).unwrap())
}

/// A14: a nonce that is wanted costs one more request, with another proof and another assertion (A10), of
/// whatever is bought; the next purchase has it from the start, also where it came with a success.
#[tokio::test]
async fn a_nonce_costs_one_more_request() {
    for purchase in ALL {
        let stage = Stage::binding(Dpop::Always).await;
        let prover = Prover::fresh().map(Arc::new);
        stage
            .fake
            .answer_once("/token", Answer::with_nonce(400, "n-1", USE_NONCE));
        let bound = stage.of_type(&json!("DPoP"));
        stage
            .fake
            .answer_once("/token", bound.clone().and_nonce("n-2"));
        let token = stage.purchase(purchase, prover.as_ref()).await;
        let token = token.unwrap_or_else(|why| panic!("{purchase:?}: {why}"));
        assert!(token.is_bound());
        stage.fake.answer("/token", bound);
        stage.purchase(purchase, prover.as_ref()).await.unwrap();

        let asked = stage.fake.asked("/token");
        let proofs: Vec<Value> = asked.iter().map(|asked| claims(asked).unwrap()).collect();
        let nonces: Vec<_> = proofs.iter().map(|proof| proof["nonce"].as_str()).collect();
        assert_eq!(nonces, [None, Some("n-1"), Some("n-2")], "{purchase:?}");
        for proof in &proofs {
            assert_eq!(proof["htm"], "POST");
            assert_eq!(proof["htu"], stage.fake.url("/token"));
            assert_eq!(proof.get("ath"), None);
        }
        assert_ne!(proofs[0]["jti"], proofs[1]["jti"]);
        let assertion = |at: usize| &asked[at].form["client_assertion"];
        assert_ne!(assertion(0), assertion(1), "{purchase:?}");
        let form = |at: usize| {
            let mut form = asked[at].form.clone();
            form.remove("client_assertion");
            form
        };
        assert_eq!(form(0), form(1), "{purchase:?}: it asks for the same");
    }
}

/// A14, C8, L5: what answers come to that concern the binding. A proof that is not taken says nothing of
/// code, grant or session, be it said twice.
#[tokio::test]
async fn what_is_said_of_a_binding_is_no_end() {
    let error = |status, code: &str| Answer::json(status, &json!({ "error": code }));
    let twice = Answer::with_nonce(400, "n-1", USE_NONCE);
    let fits = |purchase| match purchase {
        Purchase::Code => "untrusted",
        _ => "unavailable",
    };
    for purchase in ALL {
        let stage = Stage::binding(Dpop::Always).await;
        let of_type = |token_type| stage.of_type(&token_type);
        let late = "unavailable";
        for (name, answer, expected, requests) in [
            ("a nonce, twice", twice.clone(), Err(late), 2),
            (
                "a nonce that none came with",
                error(400, "use_dpop_nonce"),
                Err(late),
                1,
            ),
            (
                "a nonce that is none",
                Answer::with_nonce(400, "a b", USE_NONCE),
                Err(late),
                1,
            ),
            (
                "a nonce, with 401",
                Answer::with_nonce(401, "n", USE_NONCE),
                Err(late),
                2,
            ),
            (
                "a bad proof",
                error(400, "invalid_dpop_proof"),
                Err(late),
                1,
            ),
            (
                "a bad proof, with 401",
                error(401, "invalid_dpop_proof"),
                Err(late),
                1,
            ),
            ("DPoP", of_type(json!("DPoP")), Ok(()), 1),
            ("dpop", of_type(json!("dpop")), Ok(()), 1),
            ("Bearer", of_type(json!("Bearer")), Err(fits(purchase)), 1),
            ("none", of_type(json!(null)), Err(fits(purchase)), 1),
            ("mac", of_type(json!("mac")), Err(fits(purchase)), 1),
            ("N_A", of_type(json!("N_A")), Err(fits(purchase)), 1),
            ("a number", of_type(json!(1)), Err(fits(purchase)), 1),
        ] {
            let before = stage.fake.asked("/token").len();
            stage.fake.answer("/token", answer);
            let prover = Prover::fresh().map(Arc::new);
            let outcome = stage.purchase(purchase, prover.as_ref()).await.map(drop);
            assert_eq!(outcome, expected, "{purchase:?}: {name}");
            let asked = stage.fake.asked("/token").len() - before;
            assert_eq!(asked, requests, "{purchase:?}: {name}");
        }
    }
}

/// A14: a plain token will do where the provider may choose; a bound one is of no use to whoever has no key.
#[tokio::test]
async fn who_may_choose_gives_what_it_likes() {
    for purchase in ALL {
        let stage = Stage::binding(Dpop::Auto).await;
        let prover = Prover::fresh().map(Arc::new);
        for token_type in ["Bearer", "DPoP"] {
            stage
                .fake
                .answer("/token", stage.of_type(&json!(token_type)));
            let token = stage.purchase(purchase, prover.as_ref()).await.unwrap();
            assert_eq!(token.is_bound(), token_type == "DPoP", "{purchase:?}");
        }
        let unasked = stage.purchase(purchase, None).await;
        assert!(unasked.is_err(), "{purchase:?}");
        let asked = stage.fake.asked("/token");
        assert!(claims(asked.last().unwrap()).is_none());
    }
}

/// A14: whether a key is drawn follows from the configuration and from what the provider says of itself.
#[tokio::test]
async fn a_key_is_drawn_where_the_provider_takes_our_proofs() {
    let algs = |algs: &[&str]| Some(json!(algs));
    for (dpop, listed, drawn, lack) in [
        (Dpop::Never, algs(&["ES256"]), false, None),
        (Dpop::Auto, algs(&["RS256", "ES256"]), true, None),
        (Dpop::Auto, algs(&["RS256"]), false, None),
        (Dpop::Auto, None, false, None),
        (Dpop::Always, algs(&["ES256"]), true, None),
        (Dpop::Always, algs(&["EdDSA"]), true, Some(true)),
        (Dpop::Always, None, true, Some(false)),
    ] {
        let stage = Stage::binding(dpop).await;
        let mut metadata = stage.fake.metadata();
        if let Some(listed) = &listed {
            metadata["dpop_signing_alg_values_supported"] = listed.clone();
        }
        stage.fake.publish_metadata(&metadata);
        let prover = stage.provider.new_prover().await.unwrap();
        assert_eq!(prover.is_some(), drawn, "{dpop:?} {listed:?}");
        let metadata = stage.provider.metadata().await.unwrap();
        let said = metadata.lacks().iter();
        let mut said = said.filter(|lack| lack.to_string().starts_with("provider.dpop"));
        let said = said.next().map(crate::oidc::Lack::prevents_login);
        assert_eq!(said, lack, "{dpop:?} {listed:?}");
    }
}

/// A14, RFC 9449 §7, §9: UserInfo is shown the token with a proof of its own, and once more where it wants a
/// nonce.
#[tokio::test]
async fn user_info_is_asked_with_a_proof() {
    let stage = Stage::set_with(|settings| {
        settings.dpop = Dpop::Always;
        settings.userinfo = true;
    })
    .await;
    stage.fake.answer("/token", stage.of_type(&json!("DPoP")));
    stage.fake.answer_once(
        "/userinfo",
        Answer::challenge("DPoP error=\"use_dpop_nonce\"", "n-1"),
    );
    stage
        .fake
        .answer("/userinfo", Answer::json(200, &json!({"sub": "alice"})));
    let prover = Prover::fresh().map(Arc::new);
    stage
        .purchase(Purchase::Code, prover.as_ref())
        .await
        .unwrap();
    let asked = stage.fake.asked("/userinfo");
    let proofs: Vec<Value> = asked.iter().map(|asked| claims(asked).unwrap()).collect();
    let nonces: Vec<_> = proofs.iter().map(|proof| proof["nonce"].as_str()).collect();
    assert_eq!(nonces, [None, Some("n-1")]);
    for (asked, proof) in asked.iter().zip(&proofs) {
        assert_eq!(asked.headers["authorization"], "DPoP at-1");
        assert_eq!(proof["htm"], "GET");
        assert_eq!(proof["htu"], stage.fake.url("/userinfo"));
        assert!(proof["ath"].is_string());
    }
    // Where it goes on wanting one, the login is over, and nobody asks for ever.
    stage.fake.answer(
        "/userinfo",
        Answer::challenge("dpop error=use_dpop_nonce", "n-2"),
    );
    let outcome = stage
        .purchase(Purchase::Code, prover.as_ref())
        .await
        .map(drop);
    assert_eq!(outcome, Err("untrusted"));
    assert_eq!(stage.fake.asked("/userinfo").len(), 4);
}
