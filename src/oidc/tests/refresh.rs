//! A refresh: what it brings, what it may not change, what a failure means.

use serde_json::{Value, json};

use super::signing::login_claims;
use super::{Answer, NOW, SigningKey, Stage};
use crate::oidc::{AssertionAudience, ClientAuth, GrantFacts, RefreshError, RefreshedTokens};
use crate::secret::{ClientKey, RefreshToken};

impl Stage {
    pub(super) fn granted(&self) -> GrantFacts {
        GrantFacts {
            sub: "alice".to_owned(),
            iss: self.fake.issuer().to_owned(),
            aud: vec!["app".to_owned()],
            azp: None,
            auth_time: Some(NOW - 100),
            iat: NOW - 100,
            nonce: None,
            scope: ["openid", "profile"].map(str::to_owned).to_vec(),
        }
    }

    async fn refresh(&self) -> Result<RefreshedTokens, RefreshError> {
        self.provider
            .refresh(&RefreshToken::new("rt-1"), &self.granted(), None, None)
            .await
    }

    fn answer_refresh(&self, more: &Value) {
        let mut response = json!({"access_token": "at-2", "token_type": "bearer"});
        let more = more.as_object().unwrap().clone();
        response.as_object_mut().unwrap().extend(more);
        self.fake.answer("/token", Answer::json(200, &response));
    }
}

fn word(outcome: &Result<RefreshedTokens, RefreshError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(RefreshError::GrantOver(_)) => "over",
        Err(RefreshError::Refused(_)) => "refused",
        Err(RefreshError::Unavailable(_)) => "unavailable",
        Err(RefreshError::AboutAnother { claim, .. }) => claim,
    }
}

/// L3: a new refresh token where one came, none where the old one is to be kept.
#[tokio::test]
async fn a_refresh_token_is_rotated_or_kept() {
    let stage = Stage::set().await;
    stage.answer_refresh(&json!({"refresh_token": "rt-2"}));
    let refreshed = stage.refresh().await.unwrap();
    assert!(refreshed.tokens.refresh_token.unwrap().matches("rt-2"));
    stage.answer_refresh(&json!({}));
    let refreshed = stage.refresh().await.unwrap();
    assert_eq!(refreshed.tokens.access_token.expose(), "at-2");
    assert!(refreshed.tokens.refresh_token.is_none());
    assert!(refreshed.identity.is_none());
    let asked = &stage.fake.asked("/token")[0];
    assert_eq!(asked.form["grant_type"], "refresh_token");
    assert_eq!(asked.form["refresh_token"], "rt-1");
    assert_eq!(asked.form.len(), 2, "no scope is asked for");
}

/// L7: never more than was granted; absent is as granted, empty is nothing (C9).
#[tokio::test]
async fn a_refresh_never_widens_the_scope() {
    let cases = [
        ("absent", json!({}), vec!["openid", "profile"]),
        (
            "wider",
            json!({"scope": "openid profile admin"}),
            vec!["openid", "profile"],
        ),
        ("narrower", json!({"scope": "openid"}), vec!["openid"]),
        ("empty", json!({"scope": ""}), vec![]),
    ];
    for (name, more, expected) in cases {
        let stage = Stage::set().await;
        stage.answer_refresh(&more);
        assert_eq!(
            stage.refresh().await.unwrap().tokens.scope,
            expected,
            "{name}"
        );
    }
}

/// L4, L5: what ends the grant, what is a refusal of another kind, what only passes.
#[tokio::test]
async fn an_answer_is_an_end_a_refusal_or_an_outage() {
    let error = |status, error: &str| Answer::json(status, &json!({"error": error}));
    let cases = [
        ("invalid_grant", error(400, "invalid_grant"), "over"),
        (
            "interaction_required",
            error(400, "interaction_required"),
            "over",
        ),
        ("invalid_client", error(401, "invalid_client"), "refused"),
        ("invalid_request", error(400, "invalid_request"), "refused"),
        ("slow_down", error(400, "slow_down"), "unavailable"),
        ("500", error(500, "invalid_grant"), "unavailable"),
        ("503", error(503, "temporarily_unavailable"), "unavailable"),
        ("429", error(429, "slow_down"), "unavailable"),
        (
            "page",
            Answer::Body(200, "text/html", "<p>maintenance".into()),
            "unavailable",
        ),
        (
            "page of a proxy",
            Answer::Body(403, "text/html", "<p>no".into()),
            "refused",
        ),
        (
            "too large",
            Answer::Body(200, "application/json", vec![b' '; 1024 * 1024 + 1].into()),
            "unavailable",
        ),
        (
            "redirect",
            Answer::Redirect("/token".to_owned()),
            "unavailable",
        ),
    ];
    for (name, answer, expected) in cases {
        let stage = Stage::set().await;
        stage.fake.answer("/token", answer);
        assert_eq!(word(&stage.refresh().await), expected, "{name}");
        assert_eq!(
            stage.fake.asked("/token").len(),
            1,
            "{name}: answered, so no retry"
        );
    }
}

/// L6, A10: where nobody can tell whether it arrived, the same refresh token is tried once more,
/// with a new assertion.
#[tokio::test]
async fn an_ambiguous_refresh_is_tried_once_more() {
    let key = SigningKey::es256("client");
    let stage = Stage::set_with(|settings| {
        settings.client_auth = ClientAuth::PrivateKeyJwt {
            key: ClientKey::new(key.pem.as_str()),
            key_id: None,
            audience: AssertionAudience::Issuer,
        };
    })
    .await;
    stage.answer_refresh(&json!({}));
    stage.fake.answer_once("/token", Answer::BreakOff);
    stage.refresh().await.unwrap();
    let asked = stage.fake.asked("/token");
    assert_eq!(asked.len(), 2);
    assert!(
        asked
            .iter()
            .all(|asked| asked.form["refresh_token"] == "rt-1")
    );
    assert_ne!(
        asked[0].form["client_assertion"],
        asked[1].form["client_assertion"]
    );

    stage.fake.answer("/token", Answer::BreakOff);
    assert_eq!(word(&stage.refresh().await), "unavailable");
    assert_eq!(
        stage.fake.asked("/token").len(),
        4,
        "once more, not for ever"
    );
}

/// D18: a new ID token about the same login is taken, any other ends the session.
#[tokio::test]
async fn a_refreshed_id_token_is_about_the_same_login() {
    let stage = Stage::set().await;
    let good = {
        let mut claims = login_claims(stage.fake.issuer());
        claims.as_object_mut().unwrap().remove("nonce");
        claims["name"] = json!("Alice");
        claims
    };
    stage.answer_refresh(&json!({"id_token": stage.key.sign(&good)}));
    let refreshed = stage.refresh().await.unwrap();
    assert!(refreshed.tokens.id_token.is_some());
    let identity = refreshed.identity.unwrap();
    assert_eq!(identity.claims["name"], "Alice");
    assert_eq!(identity.auth_time, Some(NOW - 100), "unsaid, so as before");
    let expected = GrantFacts {
        iat: NOW,
        ..stage.granted()
    };
    assert_eq!(identity.facts, expected);

    // Also where the signature says nothing.
    let stranger = SigningKey::es256("one");
    for (name, value) in [
        ("sub", json!("bob")),
        ("iss", json!("https://evil.example")),
    ] {
        for key in [&stage.key, &stranger] {
            let mut claims = good.clone();
            claims[name] = value.clone();
            stage.answer_refresh(
                &json!({"id_token": key.sign(&claims), "refresh_token": "rt-of-another"}),
            );
            let outcome = stage.refresh().await;
            assert_eq!(word(&outcome), name);
            let Err(RefreshError::AboutAnother { tokens, .. }) = outcome else {
                panic!("{name}");
            };
            let refresh_token = tokens.refresh_token.unwrap();
            assert!(refresh_token.matches("rt-of-another"), "to be revoked");
        }
    }
}

/// D18: what is in doubt for any other reason is left out, and the rest is taken.
#[tokio::test]
async fn a_refreshed_id_token_in_doubt_is_left_out() {
    let stage = Stage::set().await;
    let signed = |name: &str, value: Value| {
        let mut claims = login_claims(stage.fake.issuer());
        claims.as_object_mut().unwrap().remove("nonce");
        claims[name] = value;
        json!(stage.key.sign(&claims))
    };
    let stranger = SigningKey::es256("one");
    let badly_signed = stranger.sign(&login_claims(stage.fake.issuer()));
    let cases = [
        ("iat before the login", signed("iat", json!(NOW - 130))),
        ("iat ahead", signed("iat", json!(NOW + 90))),
        ("over", signed("exp", json!(NOW - 1200))),
        ("auth_time moved", signed("auth_time", json!(NOW))),
        ("aud", signed("aud", json!("other"))),
        ("azp", signed("azp", json!("other"))),
        ("at_hash", signed("at_hash", json!("AAAA"))),
        ("no sub", signed("sub", json!(null))),
        ("signature", json!(badly_signed)),
        ("empty", json!("")),
        ("no JWT", json!("x.y")),
        ("a number", json!(1)),
    ];
    for (name, id_token) in cases {
        stage.answer_refresh(&json!({"id_token": id_token, "refresh_token": "rt-2"}));
        let refreshed = stage.refresh().await.unwrap();
        assert!(refreshed.doubt.is_some(), "{name}");
        assert!(refreshed.identity.is_none(), "{name}");
        assert!(refreshed.tokens.id_token.is_none(), "{name}");
        assert_eq!(refreshed.tokens.access_token.expose(), "at-2", "{name}");
        let refresh_token = refreshed.tokens.refresh_token.unwrap();
        assert!(refresh_token.matches("rt-2"), "{name}");
    }
}

/// L5: keys that cannot be had cost the ID token, not the session; it is used for nothing.
#[tokio::test]
async fn an_id_token_that_cannot_be_verified_is_left_out() {
    let stage = Stage::set().await;
    stage.fake.answer("/jwks", Answer::json(500, &json!({})));
    let claims = login_claims(stage.fake.issuer());
    stage.answer_refresh(&json!({"id_token": stage.key.sign(&claims), "refresh_token": "rt-2"}));
    let refreshed = stage.refresh().await.unwrap();
    assert!(refreshed.identity.is_none());
    assert!(refreshed.tokens.id_token.is_none());
    assert!(refreshed.tokens.refresh_token.unwrap().matches("rt-2"));
}
