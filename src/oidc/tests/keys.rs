//! The provider's keys change, vanish and cannot be had.

use std::time::Duration;

use serde_json::json;

use super::signing::login_claims;
use super::{Answer, SigningKey, Stage};
use crate::oidc::IdTokenAlg;
use crate::oidc::jws::{self, Expected, JwsFault};
use crate::oidc::key_fetches::Source;

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
    assert!(matches!(verdict, Err(JwsFault::UnknownKey)), "{verdict:?}");
    // It was just looked for in vain, so nobody looks again.
    let verdict = stage.verify(&stage.token(&stage.key)).await;
    assert!(matches!(verdict, Err(JwsFault::Throttled)), "{verdict:?}");
    stage.clock.advance(Duration::from_secs(30));
    let verdict = stage.verify(&stage.token(&stage.key)).await;
    assert!(matches!(verdict, Err(JwsFault::UnknownKey)), "{verdict:?}");
}

/// D15: a new key under an old `kid` is noticed by the signature, in tokens of either kind. The keys
/// were not asked for again, so that logins failed until the next fetch on schedule.
#[tokio::test]
async fn a_new_key_under_an_old_kid_is_fetched() {
    for source in [Source::Provider, Source::Stranger] {
        let stage = Stage::set().await;
        let expected = Expected { source, ..ID_TOKEN };
        let verify = async |token: String| {
            let verdict = jws::verify(&token, expected, &stage.provider.0.jwks).await;
            verdict.map(drop)
        };
        verify(stage.token(&stage.key)).await.unwrap();
        let new = SigningKey::es256(&stage.key.kid);
        stage.fake.publish(&[&new]);
        verify(stage.token(&new)).await.unwrap();
        assert_eq!(stage.fetches(), 2);
        let old = verify(stage.token(&stage.key)).await;
        assert!(matches!(old, Err(JwsFault::Signature)), "{old:?}");
        // What cannot be a signature of any key is worth no fetch.
        let token = stage.token(&new);
        let (message, _) = token.rsplit_once('.').unwrap();
        for signature in ["", "!!"] {
            let verdict = verify(format!("{message}.{signature}")).await;
            assert!(matches!(verdict, Err(JwsFault::Signature)), "{verdict:?}");
        }
        assert_eq!(stage.fetches(), 3);
    }
}

/// D15, D16: three rotations within seconds, each met by a login, and a logout token right after
/// them: nobody is refused.
#[tokio::test]
async fn three_rotations_within_seconds_are_followed() {
    let stage = Stage::set().await;
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    for kid in ["two", "three", "four"] {
        let new = SigningKey::es256(kid);
        stage.fake.publish(&[&new]);
        stage.verify(&stage.token(&new)).await.unwrap();
    }
    let last = SigningKey::es256("five");
    stage.fake.publish(&[&last]);
    let expected = Expected {
        source: Source::Stranger,
        ..ID_TOKEN
    };
    let verdict = jws::verify(&stage.token(&last), expected, &stage.provider.0.jwks).await;
    assert!(verdict.is_ok(), "{verdict:?}");
}

/// D16: a fetch that failed says nothing of the key, so the next token asks again.
#[tokio::test]
async fn a_failed_fetch_is_not_held_against_a_key() {
    let stage = Stage::set().await;
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&new]);
    stage
        .fake
        .answer_once("/jwks", Answer::json(500, &json!({})));
    let verdict = stage.verify(&stage.token(&new)).await;
    assert!(matches!(verdict, Err(JwsFault::NoKeys(_))), "{verdict:?}");
    stage.verify(&stage.token(&new)).await.unwrap();
}

/// D16: a thousand tokens with made-up kids cause a burst of fetches, short of what is kept for logout
/// tokens, and one more each 30 s.
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
    assert_eq!(stage.fetches(), 1 + 4);
    stage.clock.advance(Duration::from_mins(1));
    for kid in ["a", "b", "c", "d"] {
        let header = json!({"alg": "ES256", "kid": kid});
        stage
            .verify(&stage.key.sign_with(&header, &claims))
            .await
            .unwrap_err();
    }
    assert_eq!(stage.fetches(), 1 + 4 + 2);
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
