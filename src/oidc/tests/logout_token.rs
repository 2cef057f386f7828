//! Logout tokens, rule by rule, and what a flood of bad ones costs.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Answer, NOW, SigningKey, Stage, settings};
use crate::clock::Timestamp;
use crate::oidc::ClaimFault::{self, Missing, Type as Mistyped, Value as Wrong};
use crate::oidc::envelope::Envelope;
use crate::oidc::jws::JwsFault;
use crate::oidc::logout_token::read;
use crate::oidc::{
    LogoutToken, LogoutTokenError, LogoutTokenFault, LogoutTokenRules, ProviderSettings,
};

const ISSUER: &str = "https://id.example.com";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn good(issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": "app", "sub": "alice", "sid": "s-1", "jti": "j-1",
        "iat": NOW, "exp": NOW + 120, "events": {EVENT: {}},
    })
}

/// The good claims, changed: `null` takes one away, `[null]` writes null.
fn claims(change: &Value) -> Map<String, Value> {
    let mut claims = good(ISSUER).as_object().unwrap().clone();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.remove(name)),
            Value::Array(items) if *items == [Value::Null] => {
                claims.insert(name.clone(), Value::Null);
            }
            value => drop(claims.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn trusting(rules: LogoutTokenRules) -> ProviderSettings {
    let mut settings = settings(ISSUER);
    settings.trusted_audiences = vec!["friend".to_owned()];
    settings.logout_tokens = rules;
    settings
}

fn judge(settings: &ProviderSettings, change: &Value) -> Result<LogoutToken, ClaimFault> {
    let envelope = Envelope {
        settings,
        now: Timestamp::from_unix_seconds(NOW),
    };
    read(&claims(change), envelope)
}

fn check_with(rules: LogoutTokenRules, cases: &[(&str, Value, Option<ClaimFault>)]) {
    let settings = trusting(rules);
    for (name, change, expected) in cases {
        let fault = judge(&settings, change).err();
        assert_eq!(fault, *expected, "{name}: {change}");
    }
}

fn check(cases: &[(&str, Value, Option<ClaimFault>)]) {
    check_with(LogoutTokenRules::default(), cases);
}

/// E8: what it says is handed on, and what we do not know of is passed over.
#[test]
fn a_logout_token_says_who_and_which() {
    let settings = trusting(LogoutTokenRules::default());
    let whole = judge(&settings, &json!({"trace_id": 7, "toe": {"a": []}})).unwrap();
    let expected = LogoutToken {
        iss: ISSUER.to_owned(),
        sub: Some("alice".to_owned()),
        sid: Some("s-1".to_owned()),
        jti: "j-1".to_owned(),
        issued_at: Timestamp::from_unix_seconds(NOW),
        forget_replays_after: Timestamp::from_unix_seconds(NOW + 180),
    };
    assert_eq!(whole, expected);
    let sub_alone = judge(&settings, &json!({"sid": null})).unwrap();
    assert_eq!((sub_alone.sub, sub_alone.sid), (expected.sub, None));
    let sid_alone = judge(&settings, &json!({"sub": null})).unwrap();
    assert_eq!((sid_alone.sub, sid_alone.sid), (None, expected.sid));
}

/// E8: about the one event, as an object.
#[test]
fn it_is_about_a_logout() {
    let events = |events: Value| json!({ "events": events });
    check(&[
        ("more in it", events(json!({EVENT: {"why": "x"}})), None),
        ("other beside", events(json!({EVENT: {}, "x": 1})), None),
        ("missing", json!({"events": null}), Some(Missing("events"))),
        ("null", events(json!([null])), Some(Missing("events"))),
        ("string", events(json!(EVENT)), Some(Mistyped("events"))),
        ("array", events(json!([EVENT])), Some(Mistyped("events"))),
        ("empty", events(json!({})), Some(Wrong("events"))),
        (
            "another",
            events(json!({"urn:other": {}})),
            Some(Wrong("events")),
        ),
        (
            "https for http",
            events(json!({"https://schemas.openid.net/event/backchannel-logout": {}})),
            Some(Wrong("events")),
        ),
        (
            "no object",
            events(json!({EVENT: true})),
            Some(Wrong("events")),
        ),
        (
            "null inside",
            events(json!({EVENT: null})),
            Some(Wrong("events")),
        ),
        (
            "array inside",
            events(json!({EVENT: []})),
            Some(Wrong("events")),
        ),
    ]);
}

/// E8: a nonce is for sign-ins.
#[test]
fn it_has_no_nonce() {
    check(&[
        ("nonce", json!({"nonce": "n-1"}), Some(Wrong("nonce"))),
        ("empty", json!({"nonce": ""}), Some(Wrong("nonce"))),
        ("null", json!({"nonce": [null]}), None),
    ]);
}

/// D6, D7, D8: from the provider, for us, and for nobody whom we do not trust.
#[test]
fn it_is_from_the_provider_and_for_us() {
    let friends = json!(["app", "friend"]);
    check(&[
        ("no iss", json!({"iss": null}), Some(Missing("iss"))),
        (
            "another iss",
            json!({"iss": "https://evil.example"}),
            Some(Wrong("iss")),
        ),
        (
            "a slash more",
            json!({"iss": format!("{ISSUER}/")}),
            Some(Wrong("iss")),
        ),
        ("iss list", json!({"iss": [ISSUER]}), Some(Mistyped("iss"))),
        ("aud list", json!({"aud": ["app"]}), None),
        ("no aud", json!({"aud": null}), Some(Missing("aud"))),
        ("empty aud", json!({"aud": []}), Some(Missing("aud"))),
        ("another aud", json!({"aud": "other"}), Some(Wrong("aud"))),
        (
            "stranger beside",
            json!({"aud": ["app", "x"]}),
            Some(Wrong("aud")),
        ),
        ("friend beside", json!({"aud": friends}), None),
        ("azp ours", json!({"aud": friends, "azp": "app"}), None),
        ("azp other", json!({"azp": "friend"}), Some(Wrong("azp"))),
        ("azp null", json!({"aud": friends, "azp": [null]}), None),
    ]);
}

/// E8: somebody or something must end.
#[test]
fn it_names_a_user_or_a_session() {
    check(&[
        ("sub alone", json!({"sid": null}), None),
        ("sid alone", json!({"sub": null}), None),
        (
            "neither",
            json!({"sub": null, "sid": null}),
            Some(Missing("sid")),
        ),
        ("empty sub", json!({"sub": ""}), Some(Wrong("sub"))),
        ("empty sid", json!({"sid": ""}), Some(Wrong("sid"))),
        ("sub number", json!({"sub": 7}), Some(Mistyped("sub"))),
        ("sub null", json!({"sub": [null]}), None),
        ("sid null", json!({"sid": [null]}), None),
        (
            "both null",
            json!({"sub": [null], "sid": [null]}),
            Some(Missing("sid")),
        ),
        ("sid number", json!({"sid": 7}), Some(Mistyped("sid"))),
        (
            "endless sub",
            json!({"sub": "s".repeat(256)}),
            Some(Wrong("sub")),
        ),
        ("not ASCII", json!({"sub": "ålice"}), Some(Wrong("sub"))),
    ]);
}

/// E8, E9: it has a name of its own, by which it is good once.
#[test]
fn it_has_a_name() {
    check(&[
        ("missing", json!({"jti": null}), Some(Missing("jti"))),
        ("empty", json!({"jti": ""}), Some(Wrong("jti"))),
        ("number", json!({"jti": 1}), Some(Mistyped("jti"))),
    ]);
}

/// D9, E9: young, begun, not over, by numbers in range.
#[test]
fn it_is_of_now() {
    let made = |at: i64| json!({"iat": at, "exp": NOW + 3600});
    check(&[
        ("five minutes old", made(NOW - 300), None),
        ("a second older", made(NOW - 301), Some(Wrong("iat"))),
        ("from a fast clock", made(NOW + 60), None),
        ("from the future", made(NOW + 61), Some(Wrong("iat"))),
        ("no iat", json!({"iat": null}), Some(Missing("iat"))),
        ("iat string", json!({"iat": "1"}), Some(Mistyped("iat"))),
        ("iat 1e300", json!({"iat": 1e300}), Some(Wrong("iat"))),
        ("iat negative", json!({"iat": -1}), Some(Wrong("iat"))),
        ("no exp", json!({"exp": null}), Some(Missing("exp"))),
        ("nearly over", json!({"exp": NOW - 59}), None),
        ("just over", json!({"exp": NOW - 60}), Some(Wrong("exp"))),
        ("far ahead", json!({"exp": i64::MAX}), None),
        ("beyond i64", json!({"exp": u64::MAX}), Some(Wrong("exp"))),
        ("exp null", json!({"exp": [null]}), Some(Missing("exp"))),
        ("nbf null", json!({"nbf": [null]}), None),
        ("exp bool", json!({"exp": true}), Some(Mistyped("exp"))),
        ("not begun", json!({"nbf": NOW + 61}), Some(Wrong("nbf"))),
        ("nbf string", json!({"nbf": "1"}), Some(Mistyped("nbf"))),
    ]);
}

/// E8: where the operator allows it, two minutes stand for an `exp` that is missing.
#[test]
fn without_exp_it_lives_for_two_minutes() {
    let rules = LogoutTokenRules {
        exp_optional: true,
        ..LogoutTokenRules::default()
    };
    let made = |at: i64| json!({"iat": at, "exp": null});
    check_with(
        rules,
        &[
            ("new", made(NOW), None),
            ("at the end, with skew", made(NOW - 179), None),
            ("over", made(NOW - 180), Some(Wrong("iat"))),
            ("exp that is over", json!({"exp": 1}), Some(Wrong("exp"))),
            ("exp null", json!({"exp": [null]}), None),
            ("exp string", json!({"exp": "1"}), Some(Mistyped("exp"))),
        ],
    );
}

/// E9: a `jti` is remembered for as long as the token is good, which is never long.
#[test]
fn a_name_is_remembered_while_the_token_is_good() {
    let settings = trusting(LogoutTokenRules::default());
    for (iat, exp) in [
        (NOW, NOW + 10),
        (NOW - 250, NOW + 1),
        (NOW, i64::MAX),
        (NOW - 300, i64::MAX),
        (NOW + 60, NOW + 3600),
    ] {
        let change = json!({"iat": iat, "exp": exp});
        let until = judge(&settings, &change).unwrap().forget_replays_after;
        let at = |now: Timestamp| {
            let settings = &settings;
            read(&claims(&change), Envelope { settings, now })
        };
        let second = Duration::from_secs(1);
        assert!(at(until - second).is_ok(), "{change}");
        assert!(at(until).is_err(), "{change}");
        assert!(until <= Timestamp::from_unix_seconds(NOW + 361), "{change}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// D9: no claims, whatever their JSON, make it panic, and what passes names somebody.
    #[test]
    fn no_claims_panic(
        changes in proptest::collection::vec(
            (
                prop::sample::select(vec![
                    "iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "sid", "jti",
                    "events", "extra",
                ]),
                super::id_token::any_json(),
            ),
            0..5,
        ),
        exp_optional in any::<bool>(),
    ) {
        let mut claims = claims(&json!({}));
        for (name, value) in changes {
            claims.insert(name.to_owned(), value);
        }
        let settings = trusting(LogoutTokenRules { exp_optional, ..LogoutTokenRules::default() });
        let now = Timestamp::from_unix_seconds(NOW);
        if let Ok(token) = read(&claims, Envelope { settings: &settings, now }) {
            prop_assert!(token.sub.is_some() || token.sid.is_some());
            prop_assert!(!token.jti.is_empty());
            prop_assert!(token.forget_replays_after > now);
        }
    }
}

impl Stage {
    async fn judge(&self, header: &Value) -> &'static str {
        let token = self.key.sign_with(header, &good(self.fake.issuer()));
        self.verdict(&token).await
    }

    async fn verdict(&self, token: &str) -> &'static str {
        use LogoutTokenError::{Invalid, Unavailable};
        match self.provider.verify_logout_token(token).await {
            Ok(_) => "ok",
            Err(Invalid(LogoutTokenFault::Claim(_))) => "claim",
            Err(Invalid(LogoutTokenFault::Jws(JwsFault::Alg | JwsFault::OtherAlg(_)))) => "alg",
            Err(Invalid(LogoutTokenFault::Jws(JwsFault::Typ))) => "typ",
            Err(Invalid(LogoutTokenFault::Jws(JwsFault::Crit))) => "crit",
            Err(Invalid(LogoutTokenFault::Jws(JwsFault::Signature))) => "signature",
            Err(Invalid(LogoutTokenFault::Jws(JwsFault::UnknownKey))) => "unknown key",
            Err(Invalid(LogoutTokenFault::Jws(_))) => "malformed",
            Err(Unavailable(JwsFault::Throttled)) => "throttled",
            Err(Unavailable(_)) => "no keys",
        }
    }

    /// With the key set at hand, as it is in a process that serves.
    async fn set_with_keys(change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let stage = Self::set_with(change).await;
        stage.provider.0.jwks.refresh().await.unwrap();
        stage
    }
}

/// D1, D4, E8: what the header may say, by default and where the operator is strict.
#[tokio::test]
async fn the_header_says_what_it_may() {
    let lenient = Stage::set_with_keys(|_| {}).await;
    let strict = Stage::set_with_keys(|settings| {
        settings.logout_tokens.typ_required = true;
    })
    .await;
    let cases = [
        ("no typ", json!({}), "ok", "typ"),
        ("JWT", json!({"typ": "JWT"}), "ok", "typ"),
        ("jwt", json!({"typ": "jwt"}), "ok", "typ"),
        ("logout+jwt", json!({"typ": "logout+jwt"}), "ok", "ok"),
        ("Logout+JWT", json!({"typ": "Logout+JWT"}), "ok", "ok"),
        ("at+jwt", json!({"typ": "at+jwt"}), "typ", "typ"),
        ("secevent+jwt", json!({"typ": "secevent+jwt"}), "typ", "typ"),
        ("empty", json!({"typ": ""}), "typ", "typ"),
        ("null", json!({"typ": null}), "ok", "typ"),
        (
            "none",
            json!({"typ": "logout+jwt", "alg": "none"}),
            "alg",
            "alg",
        ),
        (
            "HS256",
            json!({"typ": "logout+jwt", "alg": "HS256"}),
            "alg",
            "alg",
        ),
        (
            "not allowed",
            json!({"typ": "logout+jwt", "alg": "RS256"}),
            "alg",
            "alg",
        ),
        (
            "crit",
            json!({"typ": "logout+jwt", "crit": ["x"]}),
            "crit",
            "crit",
        ),
    ];
    for (name, extra, by_default, when_strict) in cases {
        for (stage, expected) in [(&lenient, by_default), (&strict, when_strict)] {
            let mut header = stage.key.header();
            let members = header.as_object_mut().unwrap();
            members.extend(extra.as_object().unwrap().clone());
            assert_eq!(stage.judge(&header).await, expected, "{name}");
        }
    }
    assert_eq!(lenient.fetches(), 1, "nothing here asks for keys");
}

/// D2, D5: signed by the provider, and no ID token.
#[tokio::test]
async fn nobody_else_can_make_one() {
    let stage = Stage::set_with_keys(|_| {}).await;
    let claims = good(stage.fake.issuer());
    let stranger = SigningKey::es256(&stage.key.kid);
    let id_token = super::signing::login_claims(stage.fake.issuer());
    let other = stage.key.sign(&json!({"sub": "bob"}));
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    let whole = stage.key.sign(&claims);
    let (message, _) = whole.rsplit_once('.').unwrap();
    let cases = [
        ("whole", whole.clone(), "ok"),
        ("a stranger's", stranger.sign(&claims), "signature"),
        (
            "another's signature",
            format!("{message}.{other_signature}"),
            "signature",
        ),
        ("no signature", format!("{message}."), "signature"),
        ("garbage", "a.b.c".to_owned(), "malformed"),
        ("empty", String::new(), "malformed"),
        ("an ID token", stage.key.sign(&id_token), "claim"),
    ];
    for (name, token, expected) in cases {
        assert_eq!(stage.verdict(&token).await, expected, "{name}");
        stage.clock.advance(Duration::from_secs(30));
    }
}

/// D15: a rotation that a logout token brings to light.
#[tokio::test]
async fn a_rotated_key_is_fetched_for_a_logout() {
    let stage = Stage::set_with_keys(|_| {}).await;
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&new]);
    let token = new.sign(&good(stage.fake.issuer()));
    assert_eq!(stage.verdict(&token).await, "ok");
    assert_eq!(stage.fetches(), 2);
}

/// E14, D16: a thousand made-up kids force a burst of fetches and one more each 30 s; what is left of
/// the bucket is for logins.
#[tokio::test]
async fn a_flood_forces_few_fetches_and_starves_no_login() {
    let stage = Stage::set_with_keys(|_| {}).await;
    let flood = async |count: usize| {
        let mut verdicts = Vec::new();
        for attempt in 0..count {
            let header = json!({"alg": "ES256", "kid": format!("made-up-{attempt}")});
            verdicts.push(stage.judge(&header).await);
        }
        verdicts
    };
    let verdicts = flood(1000).await;
    let (looked, throttled) = verdicts.split_at(4);
    assert!(looked.iter().all(|verdict| *verdict == "unknown key"));
    assert!(throttled.iter().all(|verdict| *verdict == "throttled"));
    assert_eq!(stage.fetches(), 1 + 4);
    // A good token is not slowed down.
    assert_eq!(stage.judge(&stage.key.header()).await, "ok");
    // An ID token of a key that is new is not refused for it.
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&stage.key, &new]);
    stage.verify(&stage.token(&new)).await.unwrap();
    assert_eq!(stage.fetches(), 1 + 5);
    stage.clock.advance(Duration::from_mins(1));
    flood(100).await;
    assert_eq!(
        stage.fetches(),
        1 + 6,
        "half of what came back is kept for logins"
    );
}

/// D15, D16, E14: the key set fails once at the start, a login fetches it, the provider rotates: a
/// logout token by the new key is taken. A login's fetch was charged to both, and what was left was
/// for logins alone, so that the session lived on.
#[tokio::test]
async fn a_logout_is_not_lost_after_a_rotation() {
    let stage = Stage::set().await;
    stage
        .fake
        .answer_once("/jwks", Answer::json(500, &json!({})));
    stage.provider.0.jwks.refresh().await.unwrap_err();
    stage.verify(&stage.token(&stage.key)).await.unwrap();
    let new = SigningKey::es256("two");
    stage.fake.publish(&[&new]);
    assert_eq!(
        stage.verdict(&new.sign(&good(stage.fake.issuer()))).await,
        "ok"
    );
}

/// The provider is away and no key is at hand: that is no fault of the token, and a flood does not
/// make it worse.
#[tokio::test]
async fn without_keys_the_answer_is_later() {
    let stage = Stage::set().await;
    stage.fake.answer("/jwks", Answer::json(503, &json!({})));
    let header = stage.key.header();
    assert_eq!(stage.judge(&header).await, "no keys");
    for _ in 0..50 {
        stage.judge(&header).await;
    }
    assert_eq!(stage.judge(&header).await, "throttled");
    assert_eq!(stage.fetches(), 4, "logins have the rest");
    stage.fake.publish(&[&stage.key]);
    stage.clock.advance(Duration::from_mins(1));
    assert_eq!(stage.judge(&header).await, "ok");
}

/// E15: byte for byte.
#[tokio::test]
async fn the_issuer_is_known_by_its_name() {
    let stage = Stage::set().await;
    let issuer = stage.fake.issuer();
    assert!(stage.provider.is_issuer(issuer));
    for other in ["", "https://evil.example", &format!("{issuer}/")] {
        assert!(!stage.provider.is_issuer(other), "{other}");
    }
}
