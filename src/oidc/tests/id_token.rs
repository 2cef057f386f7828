//! The claims of ID tokens, rule by rule.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{NOW, settings};
use crate::clock::Timestamp;
use crate::oidc::ClaimFault::{self, Missing, Type as Mistyped, Value as Wrong};
use crate::oidc::envelope::Envelope;
use crate::oidc::id_token::{PROTOCOL_CLAIMS, Verifier};
use crate::oidc::jws::Verified;
use crate::oidc::{ExpectedIdToken, IdTokenAlg, Identity, ProviderSettings};
use crate::secret::{AccessToken, Nonce};

const ISSUER: &str = "https://id.example.com";

fn claims(change: &Value) -> Verified {
    let mut claims = json!({
        "iss": ISSUER, "aud": "app", "sub": "alice",
        "iat": NOW, "exp": NOW + 300, "nonce": "n-1",
    });
    let all = claims.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        // `null` takes a claim away; a claim that is null is written as [null].
        match value {
            Value::Null => drop(all.remove(name)),
            Value::Array(items) if *items == [Value::Null] => {
                all.insert(name.clone(), Value::Null);
            }
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    Verified {
        alg: IdTokenAlg::Rs256,
        claims: all.clone(),
    }
}

struct Asked<'a> {
    settings: ProviderSettings,
    /// Seconds that the login has taken.
    under_way: i64,
    max_age: Option<u64>,
    essential_acr: &'a [String],
}

impl Default for Asked<'_> {
    fn default() -> Self {
        let mut settings = settings(ISSUER);
        settings.trusted_audiences = vec!["friend".to_owned()];
        Self {
            settings,
            under_way: 0,
            max_age: None,
            essential_acr: &[],
        }
    }
}

fn login(asked: &Asked<'_>, verified: &Verified) -> Result<Identity, ClaimFault> {
    let nonce = Nonce::new("n-1");
    let verifier = Verifier {
        envelope: Envelope {
            settings: &asked.settings,
            now: Timestamp::from_unix_seconds(NOW),
        },
        access_token: &AccessToken::new("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
    };
    let expected = ExpectedIdToken {
        nonce: &nonce,
        begun: Timestamp::from_unix_seconds(NOW - asked.under_way),
        max_age: asked.max_age,
        essential_acr: asked.essential_acr,
    };
    verifier.login(verified, &expected, &[])
}

fn check(asked: &Asked<'_>, cases: &[(&str, Value, Option<ClaimFault>)]) {
    for (name, change, expected) in cases {
        let fault = login(asked, &claims(change)).err();
        assert_eq!(fault, *expected, "{name}: {change}");
    }
}

/// D5: a token about an event is no ID token.
#[test]
fn an_event_is_no_identity() {
    let event = "http://schemas.openid.net/event/backchannel-logout";
    check(
        &Asked::default(),
        &[
            ("plain", json!({}), None),
            (
                "logout",
                json!({"events": {event: {}}}),
                Some(Wrong("events")),
            ),
            ("any", json!({"events": []}), Some(Wrong("events"))),
            ("null", json!({"events": [null]}), None),
        ],
    );
}

/// D6: the issuer, byte for byte.
#[test]
fn the_issuer_is_exact() {
    check(
        &Asked::default(),
        &[
            ("missing", json!({"iss": null}), Some(Missing("iss"))),
            ("null", json!({"iss": [null]}), Some(Missing("iss"))),
            (
                "a slash more",
                json!({"iss": format!("{ISSUER}/")}),
                Some(Wrong("iss")),
            ),
            (
                "other case",
                json!({"iss": "https://ID.example.com"}),
                Some(Wrong("iss")),
            ),
        ],
    );
}

/// D7, D8: for us, for nobody whom we do not trust, and asked for by us.
#[test]
fn the_audience_is_us_and_only_the_trusted() {
    let friends = json!(["app", "friend"]);
    check(
        &Asked::default(),
        &[
            ("array of one", json!({"aud": ["app"]}), None),
            ("missing", json!({"aud": null}), Some(Missing("aud"))),
            ("empty", json!({"aud": []}), Some(Missing("aud"))),
            ("other", json!({"aud": "other"}), Some(Wrong("aud"))),
            ("friend alone", json!({"aud": "friend"}), Some(Wrong("aud"))),
            (
                "stranger beside",
                json!({"aud": ["app", "x"], "azp": "app"}),
                Some(Wrong("aud")),
            ),
            ("object", json!({"aud": {"app": 1}}), Some(Mistyped("aud"))),
            ("friend beside", json!({"aud": friends, "azp": "app"}), None),
            (
                "friend beside, no azp",
                json!({"aud": friends}),
                Some(Missing("azp")),
            ),
            (
                "friend asked",
                json!({"aud": friends, "azp": "friend"}),
                Some(Wrong("azp")),
            ),
            ("azp ours", json!({"azp": "app"}), None),
            ("azp other", json!({"azp": "other"}), Some(Wrong("azp"))),
            ("azp number", json!({"azp": 1}), Some(Mistyped("azp"))),
        ],
    );
}

/// D9: times are numbers in range, and two clocks may differ by a minute.
#[test]
fn the_times_are_right() {
    check(
        &Asked::default(),
        &[
            ("no exp", json!({"exp": null}), Some(Missing("exp"))),
            ("just over", json!({"exp": NOW - 60}), Some(Wrong("exp"))),
            ("nearly over", json!({"exp": NOW - 59}), None),
            ("far ahead", json!({"exp": i64::MAX}), None),
            ("beyond i64", json!({"exp": u64::MAX}), Some(Wrong("exp"))),
            ("1e300", json!({"exp": 1e300}), Some(Wrong("exp"))),
            ("negative", json!({"exp": -1}), Some(Wrong("exp"))),
            (
                "string",
                json!({"exp": "9999999999"}),
                Some(Mistyped("exp")),
            ),
            ("null", json!({"exp": [null]}), Some(Missing("exp"))),
            ("bool", json!({"exp": true}), Some(Mistyped("exp"))),
            ("no iat", json!({"iat": null}), Some(Missing("iat"))),
            ("iat null", json!({"iat": [null]}), Some(Missing("iat"))),
            ("from a fast clock", json!({"iat": NOW + 60}), None),
            (
                "from the future",
                json!({"iat": NOW + 61}),
                Some(Wrong("iat")),
            ),
            ("iat string", json!({"iat": "1"}), Some(Mistyped("iat"))),
            ("iat 1e300", json!({"iat": 1e300}), Some(Wrong("iat"))),
            ("begun", json!({"nbf": NOW + 60}), None),
            ("not begun", json!({"nbf": NOW + 61}), Some(Wrong("nbf"))),
            ("nbf string", json!({"nbf": "1"}), Some(Mistyped("nbf"))),
        ],
    );
    let mut asked = Asked::default();
    asked.settings.clock_skew = Duration::from_hours(1);
    check(
        &asked,
        &[
            ("within the cap", json!({"exp": NOW - 299}), None),
            (
                "beyond the cap",
                json!({"exp": NOW - 300}),
                Some(Wrong("exp")),
            ),
        ],
    );
}

/// D10: the nonce that was sent.
#[test]
fn the_nonce_is_that_of_the_login() {
    check(
        &Asked::default(),
        &[
            ("missing", json!({"nonce": null}), Some(Missing("nonce"))),
            ("other", json!({"nonce": "n-2"}), Some(Wrong("nonce"))),
            ("longer", json!({"nonce": "n-11"}), Some(Wrong("nonce"))),
            ("empty", json!({"nonce": ""}), Some(Wrong("nonce"))),
            ("null", json!({"nonce": [null]}), Some(Missing("nonce"))),
        ],
    );
}

/// D11: a subject of 1 to 255 ASCII characters.
#[test]
fn the_subject_is_there() {
    check(
        &Asked::default(),
        &[
            ("missing", json!({"sub": null}), Some(Missing("sub"))),
            ("null", json!({"sub": [null]}), Some(Missing("sub"))),
            ("empty", json!({"sub": ""}), Some(Wrong("sub"))),
            ("number", json!({"sub": 1}), Some(Mistyped("sub"))),
            ("255", json!({"sub": "a".repeat(255)}), None),
            ("256", json!({"sub": "a".repeat(256)}), Some(Wrong("sub"))),
            ("not ASCII", json!({"sub": "ålice"}), Some(Wrong("sub"))),
        ],
    );
}

/// D12: the example of OIDC Core, appendix A.3; any other hash is of another token.
#[test]
fn the_access_token_is_the_one_that_came_with_it() {
    check(
        &Asked::default(),
        &[
            ("right", json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}), None),
            (
                "other",
                json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RR"}),
                Some(Wrong("at_hash")),
            ),
            ("empty", json!({"at_hash": ""}), Some(Wrong("at_hash"))),
            ("number", json!({"at_hash": 1}), Some(Mistyped("at_hash"))),
        ],
    );
    let mut other_hash = claims(&json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}));
    other_hash.alg = IdTokenAlg::Es384;
    let fault = login(&Asked::default(), &other_hash).err();
    assert_eq!(
        fault,
        Some(Wrong("at_hash")),
        "the hash goes with the algorithm"
    );
}

/// D13: recent enough, where that was asked, by the login or by the operator.
#[test]
fn the_sign_in_is_recent_enough() {
    let cases = [
        ("missing", json!({}), Some(Missing("auth_time"))),
        ("recent", json!({"auth_time": NOW - 160}), None),
        (
            "too old",
            json!({"auth_time": NOW - 161}),
            Some(Wrong("auth_time")),
        ),
        (
            "future",
            json!({"auth_time": NOW + 61}),
            Some(Wrong("auth_time")),
        ),
        (
            "string",
            json!({"auth_time": "1"}),
            Some(Mistyped("auth_time")),
        ),
    ];
    let mut asked = Asked {
        max_age: Some(100),
        ..Asked::default()
    };
    check(&asked, &cases);
    // The operator's was sent in place of the login's.
    asked.max_age = Some(100_000);
    asked.settings.authorize_params = vec![("max_age".to_owned(), "100".to_owned())];
    check(&asked, &cases);
    asked.max_age = None;
    check(&asked, &cases);
    let longest = Asked {
        max_age: Some(u64::MAX),
        ..Asked::default()
    };
    check(&longest, &[("any age", json!({"auth_time": 1}), None)]);
}

/// D13: a `max_age` below the skew of two clocks is enforced by the provider's own: up to a minute
/// more was let through. A login that takes its time is none the older for it.
#[test]
fn a_short_max_age_is_enforced() {
    let auth_time = |ago: i64| json!({"auth_time": NOW - ago});
    let fast = |ago: i64| json!({"iat": NOW + 50, "auth_time": NOW + 50 - ago});
    let old = Some(Wrong("auth_time"));
    for (max_age, under_way, ago, expected) in [
        (0, 0, 5, None),
        (0, 0, 6, old),
        (10, 0, 20, None),
        (10, 0, 21, old),
        (30, 0, 60, None),
        (30, 0, 61, old),
        (0, 240, 245, None),
        (0, 240, 246, old),
        (300, 600, 960, None),
        (300, 600, 961, old),
    ] {
        let asked = Asked {
            max_age: Some(max_age),
            under_way,
            ..Asked::default()
        };
        let name = format!("{ago} s ago for {max_age} s, after {under_way} s");
        check(
            &asked,
            &[
                (&name, auth_time(ago), expected),
                (&name, fast(ago), expected),
            ],
        );
    }
}

/// An `auth_time` that is no date, which nobody asked for, is left out: in milliseconds it was an
/// empty string to the app, and 0 was 1970.
#[test]
fn an_auth_time_that_is_no_date_is_left_out() {
    const END_OF_9999: i64 = 253_402_300_799;
    for (name, value, expected) in [
        ("seconds", json!(NOW), Some(NOW)),
        ("fraction", json!(1.5), Some(1)),
        ("the last", json!(END_OF_9999), Some(END_OF_9999)),
        ("beyond it", json!(END_OF_9999 + 1), None),
        ("milliseconds", json!(NOW * 1000), None),
        ("zero", json!(0), None),
        ("negative", json!(-1), None),
        ("beyond i64", json!(u64::MAX), None),
        ("string", json!("1795251600"), None),
        ("null", json!([null]), None),
    ] {
        let verified = claims(&json!({ "auth_time": value }));
        let identity = login(&Asked::default(), &verified).unwrap();
        assert_eq!(identity.auth_time, expected, "{name}");
        assert_eq!(identity.facts.auth_time, expected, "{name}");
        let asked = Asked {
            max_age: Some(u64::MAX),
            ..Asked::default()
        };
        let refused = login(&asked, &verified).is_err();
        assert!(refused || expected.is_some(), "{name}: it was asked for");
    }
}

/// JSON libraries write `null` for what is not there: nobody is refused for it.
#[test]
fn a_claim_that_is_null_is_not_there() {
    let names = [
        "acr",
        "amr",
        "sid",
        "auth_time",
        "azp",
        "nbf",
        "at_hash",
        "events",
    ];
    for name in names {
        let verified = claims(&json!({ name: [null] }));
        let identity = login(&Asked::default(), &verified).unwrap();
        let without = login(&Asked::default(), &claims(&json!({}))).unwrap();
        assert_eq!(identity.facts.azp, without.facts.azp, "{name}");
        assert_eq!(identity.sid, None, "{name}");
        assert_eq!(identity.acr, None, "{name}");
    }
    let friends = json!({"aud": ["app", "friend"], "azp": [null]});
    check(
        &Asked::default(),
        &[("azp that must be", friends, Some(Missing("azp")))],
    );
}

/// D13: one of the authentication contexts asked for.
#[test]
fn the_sign_in_is_strong_enough() {
    let acrs = ["gold", "silver"].map(str::to_owned);
    let asked = Asked {
        essential_acr: &acrs,
        ..Asked::default()
    };
    check(
        &asked,
        &[
            ("missing", json!({}), Some(Missing("acr"))),
            ("one of them", json!({"acr": "silver"}), None),
            ("another", json!({"acr": "bronze"}), Some(Wrong("acr"))),
            ("number", json!({"acr": 1}), Some(Mistyped("acr"))),
        ],
    );
}

/// D18: a refreshed ID token is about the same login.
#[test]
fn a_refreshed_token_changes_nothing() {
    let asked = Asked::default();
    let first = claims(&json!({"auth_time": NOW - 50, "iat": NOW - 10}));
    let mut granted = login(&asked, &first).unwrap().facts;
    granted.scope = vec!["openid".to_owned()];
    let friends = json!({"aud": ["app", "friend"], "azp": "app"});
    let cases = [
        ("plain", json!({}), None),
        ("no nonce", json!({"nonce": null}), None),
        ("other nonce", json!({"nonce": "n-2"}), Some(Wrong("nonce"))),
        ("same auth_time", json!({"auth_time": NOW - 50}), None),
        (
            "other auth_time",
            json!({"auth_time": NOW - 49}),
            Some(Wrong("auth_time")),
        ),
        ("other subject", json!({"sub": "bob"}), Some(Wrong("sub"))),
        (
            "other issuer",
            json!({"iss": "https://evil.example"}),
            Some(Wrong("iss")),
        ),
        (
            "other audience",
            json!({"aud": "other"}),
            Some(Wrong("aud")),
        ),
        ("older", json!({"iat": NOW - 11}), Some(Wrong("iat"))),
        ("as old", json!({"iat": NOW - 10}), None),
        ("azp is new", json!({"azp": "app"}), Some(Wrong("azp"))),
        ("expired", json!({"exp": NOW - 60}), Some(Wrong("exp"))),
    ];
    let verifier = Verifier {
        envelope: Envelope {
            settings: &asked.settings,
            now: Timestamp::from_unix_seconds(NOW),
        },
        access_token: &AccessToken::new("at"),
    };
    for (name, change, expected) in cases {
        let outcome = verifier.refreshed(&claims(&change), &granted);
        assert_eq!(outcome.as_ref().err(), expected.as_ref(), "{name}");
        if let Ok(identity) = outcome {
            assert_eq!(identity.auth_time, Some(NOW - 50), "{name}");
            assert_eq!(identity.facts.nonce, granted.nonce, "{name}");
            assert_eq!(identity.facts.scope, granted.scope, "{name}");
        }
    }
    let granted = login(&asked, &claims(&friends)).unwrap().facts;
    let outcome = verifier.refreshed(&claims(&json!({"azp": "app"})), &granted);
    assert_eq!(outcome.err(), Some(Wrong("aud")), "an audience is gone");
    let gone = json!({"aud": ["app"]});
    let one = login(&asked, &claims(&json!({"azp": "app"})))
        .unwrap()
        .facts;
    assert_eq!(
        verifier.refreshed(&claims(&gone), &one).err(),
        Some(Wrong("azp")),
        "azp is gone"
    );
}

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!(ISSUER)),
        Just(json!("app")),
        Just(json!(NOW)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z]{0,4}", inner, 0..4)
                .prop_map(|object| Value::Object(object.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// D9: no claims, whatever their JSON, make the verifier panic.
    #[test]
    fn no_claims_panic(
        changes in proptest::collection::vec(
            (
                prop::sample::select(vec![
                    "iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash",
                    "auth_time", "acr", "amr", "sid", "events", "extra",
                ]),
                any_json(),
            ),
            0..5,
        ),
        max_age in any::<Option<u64>>(),
    ) {
        let mut verified = claims(&json!({}));
        for (name, value) in changes {
            verified.claims.insert(name.to_owned(), value);
        }
        let asked = Asked { max_age, ..Asked::default() };
        if let Ok(identity) = login(&asked, &verified) {
            prop_assert_eq!(&identity.facts.iss, ISSUER);
            prop_assert!(identity.facts.aud.iter().any(|aud| aud == "app"));
            prop_assert!(PROTOCOL_CLAIMS.iter().all(|name| !identity.claims.contains_key(*name)));
        }
    }
}
