//! The provider's metadata: fetched once, kept, never redirected.

use std::time::Duration;

use serde_json::json;

use super::fake_provider::METADATA;
use super::{Answer, Stage};
use crate::oidc::{Misbehaviour, ProviderError, Unavailable};

/// A5, A7: what cannot be the configured issuer's metadata is no metadata.
#[tokio::test]
async fn metadata_that_may_not_be_used_are_refused() {
    let stage = Stage::set().await;
    let elsewhere = stage.fake.url("/elsewhere");
    stage
        .fake
        .answer("/elsewhere", Answer::json(200, &stage.fake.metadata()));
    let cases = [
        ("not found", Answer::json(404, &json!({}))),
        ("redirect", Answer::Redirect(elsewhere)),
        ("array", Answer::json(200, &json!([]))),
        (
            "other issuer",
            Answer::json(200, &json!({"issuer": "https://evil.example"})),
        ),
        (
            "too large",
            Answer::Body(200, "application/json", vec![b' '; 1024 * 1024 + 1].into()),
        ),
        ("broken off", Answer::BreakOff),
    ];
    for (name, answer) in cases {
        stage.fake.answer(METADATA, answer);
        assert!(stage.provider.metadata().await.is_err(), "{name}");
    }
    assert!(
        stage.fake.asked("/elsewhere").is_empty(),
        "redirects are not followed"
    );
}

/// A8: the last good copy stays when the provider is down, or turns bad.
#[tokio::test]
async fn the_last_good_copy_stays() {
    let stage = Stage::set().await;
    let good = stage.provider.metadata().await.unwrap();
    stage.fake.answer(METADATA, Answer::json(503, &json!({})));
    stage.provider.0.discovery.refresh().await.unwrap_err();
    stage
        .fake
        .publish_metadata(&json!({"issuer": "https://evil.example"}));
    stage.provider.0.discovery.refresh().await.unwrap_err();
    assert_eq!(stage.provider.metadata().await.unwrap(), good);
}

/// A8: a provider that comes up late is found without anyone's help.
#[tokio::test]
async fn a_provider_that_comes_late_is_found() {
    let stage = Stage::set().await;
    stage
        .fake
        .answer_once(METADATA, Answer::json(503, &json!({})));
    let keeping = tokio::spawn(stage.provider.clone().keep_fresh());
    let found = async {
        while stage.provider.0.jwks.current().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), found)
        .await
        .unwrap();
    assert_eq!(stage.fake.asked(METADATA).len(), 2);
    assert_eq!(stage.fake.asked("/jwks").len(), 1);
    keeping.abort();
}

/// DESIGN §7: a provider that nobody can use is asked when somebody needs it, and never by itself; once it was
/// found it is looked at as any is.
#[tokio::test(start_paused = true)]
async fn one_that_is_not_found_is_asked_when_it_is_needed() {
    let stage = Stage::set().await;
    stage.fake.answer(METADATA, Answer::json(503, &json!({})));
    let keeping = tokio::spawn(stage.provider.clone().keep_fresh_once_found());
    let an_hour = Duration::from_hours(1);
    tokio::time::sleep(an_hour).await;
    assert_eq!(stage.fake.asked(METADATA).len(), 0);
    for logins in 1..=3 {
        stage.provider.metadata().await.unwrap_err();
        tokio::time::sleep(an_hour).await;
        // The login's own look, and at most the one that it set off.
        let asked = stage.fake.asked(METADATA).len();
        assert!((logins..=2 * logins).contains(&asked), "{asked}");
    }
    keeping.abort();
}

/// However many ask at once, the provider is asked once, and all share the failure.
#[tokio::test]
async fn many_logins_ask_once() {
    for (status, good) in [(200, true), (503, false)] {
        let stage = Stage::set().await;
        let metadata = stage.fake.metadata();
        stage.fake.answer(METADATA, Answer::json(status, &metadata));
        stage.fake.hold();
        let waiters: Vec<_> = (0..50)
            .map(|_| {
                let provider = stage.provider.clone();
                tokio::spawn(async move { provider.metadata().await.is_ok() })
            })
            .collect();
        // On one thread: each waiter runs up to the fetch before this goes on.
        while stage.fake.asked(METADATA).is_empty() {
            tokio::task::yield_now().await;
        }
        stage.fake.open();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), good);
        }
        assert_eq!(stage.fake.asked(METADATA).len(), 1, "status {status}");
    }
}

/// Whose fault it is can be told from the error.
#[tokio::test]
async fn an_error_says_whose_fault_it_is() {
    let stage = Stage::set().await;
    stage.fake.answer(METADATA, Answer::json(500, &json!({})));
    let Err(ProviderError::Unavailable(unavailable)) = stage.provider.metadata().await else {
        panic!("a 500 is unavailability");
    };
    assert!(matches!(
        *unavailable,
        Unavailable::Status { answer, .. } if answer.status == 500
    ));
    stage
        .fake
        .publish_metadata(&json!({"issuer": "https://evil.example"}));
    let Err(ProviderError::Misbehaved(misbehaviour)) = stage.provider.metadata().await else {
        panic!("another issuer is misbehaviour");
    };
    assert!(matches!(*misbehaviour, Misbehaviour::OtherIssuer(_)));
}
