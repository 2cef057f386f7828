//! The provider's keys change, vanish and cannot be had.

use std::time::Duration;

use serde_json::json;

use super::signing::login_claims;
use super::{Answer, SigningKey, Stage};
use crate::oidc::IdTokenAlg;
use crate::oidc::jwks::Source;
use crate::oidc::jws::{self, Expected, JwsFault};

const ID_TOKEN: Expected<'_> = Expected {
    algs: &[IdTokenAlg::Es256],
    typ: &["JWT"],
    typ_optional: true,
    source: Source::Provider,
};

impl Stage {
    pub(super) async fn verify(&self, token: &str) -> Result<(), JwsFault> {
        let verdict = jws::verify(token, ID_TOKEN, &self.provider.0.jwks).await;
        verdict.map(drop)
    }

    pub(super) fn token(&self, key: &SigningKey) -> String {
        key.sign(&login_claims(self.fake.issuer()))
    }

    pub(super) fn fetches(&self) -> usize {
        self.fake.asked("/jwks").len()
    }
}

/// D15, D16: a rotation right after the first fetch is noticed.
#[tokio::test]
async fn a_rotated_key_is_fetched() {
    let stage = Stage::set().await;
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&stage.key, &new]);
    stage.verify(&stage.token(&new)).await.unwrap();
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    assert_eq!(stage.fetches(), 2);
}

/// D17: a key that is no longer published stops working.
#[tokio::test]
async fn a_removed_key_stops_working() {
    let stage = Stage::set().await;
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&new]);
    stage.verify(&stage.token(&new)).await.unwrap();
    let verdict = stage.verify(&stage.token(&stage.key)).await;
    // The burst is spent, so nobody looks again.
    assert!(matches!(verdict, Err(JwsFault::Throttled)), "{verdict:?}");
    stage.clock.advance(Duration::from_secs(30));
    let verdict = stage.verify(&stage.token(&stage.key)).await;
    assert!(matches!(verdict, Err(JwsFault::UnknownKey)), "{verdict:?}");
}

/// D16: a thousand tokens with made-up kids cause a burst of fetches and one more each 30 s.
#[tokio::test]
async fn unknown_keys_cause_few_fetches() {
    let stage = Stage::set().await;
    stage.provider.0.jwks.refresh().await.unwrap();
    let claims = login_claims(stage.fake.issuer());
    for attempt in 0..1000 {
        let kid = format!("made-up-{attempt}");
        let header = json!({"alg": "ES256", "kid": kid});
        let verdict = stage.verify(&stage.key.sign_with(&header, &claims)).await;
        assert!(verdict.is_err());
    }
    assert_eq!(stage.fetches(), 1 + 2);
    stage.clock.advance(Duration::from_mins(1));
    for kid in ["a", "b", "c", "d"] {
        let header = json!({"alg": "ES256", "kid": kid});
        stage
            .verify(&stage.key.sign_with(&header, &claims))
            .await
            .unwrap_err();
    }
    assert_eq!(stage.fetches(), 1 + 2 + 2);
    // A good key is not slowed down meanwhile.
    stage.verify(&stage.token(&stage.key)).await.unwrap();
}

/// D15: those who miss the same key at once share one fetch.
#[tokio::test]
async fn a_missing_key_is_fetched_once_for_all() {
    let stage = Stage::set().await;
    stage.provider.0.jwks.refresh().await.unwrap();
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&new]);
    stage.fake.hold();
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let (provider, token) = (stage.provider.clone(), stage.token(&new));
            tokio::spawn(async move {
                let verdict = jws::verify(&token, ID_TOKEN, &provider.0.jwks).await;
                verdict.is_ok()
            })
        })
        .collect();
    while stage.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    stage.fake.open();
    for waiter in waiters {
        assert!(waiter.await.unwrap());
    }
    assert_eq!(stage.fetches(), 2);
}

/// D17: keys outlive a failed fetch, for a bounded time.
#[tokio::test]
async fn keys_outlive_a_failure_but_not_for_ever() {
    let stage = Stage::set().await;
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    let bad = [
        Answer::json(500, &json!({})),
        Answer::json(200, &json!([])),
        Answer::json(200, &json!({"keys": vec![json!({}); 101]})),
        Answer::BreakOff,
    ];
    for answer in bad {
        stage.fake.answer("/jwks", answer);
        stage.provider.0.jwks.refresh().await.unwrap_err();
    }
    stage.clock.advance(Duration::from_hours(24));
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    stage.clock.advance(Duration::from_secs(1));
    let verdict = stage.verify(&stage.token(&stage.key)).await;
    assert!(matches!(verdict, Err(JwsFault::NoKeys(_))), "{verdict:?}");
}

/// D14, D15: a provider that names no keys may rotate them as well.
#[tokio::test]
async fn a_rotation_without_kids_is_noticed() {
    let stage = Stage::set().await;
    let claims = login_claims(stage.fake.issuer());
    let header = json!({"alg": "ES256"});
    let old = stage.key.sign_with(&header, &claims);
    stage.verify(&old).await.unwrap();
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&new]);
    stage
        .verify(&new.sign_with(&header, &claims))
        .await
        .unwrap();
}
